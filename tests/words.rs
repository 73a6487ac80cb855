//! No text of the project uses words that mean something else to each peer, nor marks of unfinished
//! work.

#[path = "support/files.rs"]
mod files;

use files::{files, read};

/// Words that mean something else to each peer, and marks of unfinished work; in halves, so that
/// this file may be searched too.
const BANNED: &[(&str, &str)] = &[
    ("tram", "poline"),
    ("th", "unk"),
    ("TO", "DO"),
    ("FIX", "ME"),
    ("#[al", "low("),
    ("#![al", "low("),
];

/// The glossary says which words are not used, so it uses them.
const MAY_NAME_BANNED: &[&str] = &["docs/glossary.md"];

const TEXTS: &[&str] = &[
    ".rs",
    ".md",
    ".toml",
    ".go",
    ".s",
    ".py",
    ".c",
    ".cs",
    ".java",
    ".lua",
    ".mjs",
    ".ml",
    "test",
    "run",
    "section",
    "check-licenses",
    "check-packages",
    "install-oracles",
    "install-peers",
];

#[test]
fn no_banned_words() {
    let mut faults = Vec::new();
    for file in files("", TEXTS)
        .iter()
        .filter(|file| !MAY_NAME_BANNED.contains(&file.as_str()))
    {
        for (i, line) in read(file).lines().enumerate() {
            for (start, end) in BANNED {
                let (word, small) = (format!("{start}{end}"), line.to_lowercase());
                // Words in capitals are meant in capitals: "to do" and "fixme" are otherwise
                // harmless.
                let found = if word.contains(char::is_uppercase) {
                    line.contains(&word)
                } else {
                    small.contains(&word)
                };
                if found {
                    faults.push(format!("{file}:{}: {word}", i + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "banned words:\n{}", faults.join("\n"));
}
