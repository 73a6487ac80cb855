//! minigo is written to be read in one go, so it stays short.

use std::path::Path;

/// Lines of Rust of a folder and those in it.
fn lines(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let count = |path: std::path::PathBuf| match path.is_dir() {
        true => lines(&path),
        false => std::fs::read_to_string(&path)
            .expect("text")
            .lines()
            .count(),
    };
    paths.map(count).sum()
}

#[test]
fn what_makes_and_runs_code_has_at_most_5000_lines() {
    let lines = lines(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    println!("{lines} lines");
    assert!(lines <= 5000, "{lines} lines");
    assert!(lines > 1000, "only {lines} lines");
}
