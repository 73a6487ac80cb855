//! Instructions, counted by valgrind: the same whatever else the machine does.
#![forbid(unsafe_code)]

use std::process::Command;

use super::Fault;

/// Instructions of a whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Instructions {
    pub(crate) all: f64,
    /// Those of the C library: in a loop that allocates from fing's heap, nearly all of them clear
    /// memory. Valgrind counts an instruction that repeats itself as often as it does.
    pub(crate) in_libc: f64,
}

/// Counts this program's instructions, run with these arguments.
///
/// # Errors
/// There is no valgrind, or the program failed.
pub(crate) fn count(arguments: &[&str]) -> Result<Instructions, Fault> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/stdout"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .output()
        .map_err(|error| format!("running valgrind: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("valgrind: {arguments:?} failed:\n{text}").into());
    }
    let counts = sum(&String::from_utf8_lossy(&output.stdout));
    if counts.all == 0.0 {
        return Err("valgrind printed no counts".into());
    }
    Ok(counts)
}

/// Sums the lines of a profile. A line of numbers is a place in the code and what it took itself,
/// or, behind a line `calls=`, what the calls took, which their own lines have.
fn sum(profile: &str) -> Instructions {
    let mut counts = Instructions::default();
    let (mut in_libc, mut of_calls) = (false, false);
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            in_libc = object.contains("libc.so") || object.contains("libc-");
        } else if line.starts_with("calls=") {
            of_calls = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            let took = line.split(' ').nth(1).and_then(|text| text.parse().ok());
            if !std::mem::take(&mut of_calls) {
                let took: f64 = took.unwrap_or(0.0);
                counts.all += took;
                counts.in_libc += if in_libc { took } else { 0.0 };
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_calls_took_is_not_counted_twice() {
        let profile = "events: Ir\n\nob=/bin/x\nfl=a.rs\nfn=f\n12 100\ncfn=memset\ncalls=3 0\n\
                       13 60\n14 7\n\nob=/lib/libc.so.6\nfn=memset\n0 60\n\ntotals: 167\n";
        let counts = sum(profile);
        let wanted = Instructions {
            all: 167.0,
            in_libc: 60.0,
        };
        assert_eq!(counts, wanted);
    }
}
