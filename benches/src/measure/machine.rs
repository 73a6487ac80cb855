//! The machine and the programs that measured: the head of a report.
#![forbid(unsafe_code)]

use std::process::Command;

/// Pairs of a name and a text.
pub(crate) type Facts = Vec<(String, String)>;

/// The first value of a `name : value` line in a file.
fn value(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = pairs.find(|(found, _)| found.trim() == name)?;
    Some(value.trim().to_owned())
}

fn said(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next()?.to_owned())
}

/// How this program was built. What is compiled incrementally is cut into many small units, and is
/// slower by up to a half.
fn build() -> &'static str {
    match option_env!("CARGO_INCREMENTAL") {
        _ if cfg!(debug_assertions) => "debug build: its figures mean nothing",
        Some("1") => "incremental release build (CARGO_INCREMENTAL=1): its figures mean little",
        _ => "release build",
    }
}

/// Processor, memory, kernel, compilers.
pub(crate) fn facts() -> Facts {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = value("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map(|kibibytes| format!("{} GiB", kibibytes >> 20));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.map(|text| text.split(' ').take(3).collect::<Vec<_>>().join(" "));
    let unknown = || "unknown".to_owned();
    let fact = |name: &str, value: Option<String>| (name.to_owned(), value.unwrap_or_else(unknown));
    vec![
        fact("processor", value("/proc/cpuinfo", "model name")),
        fact("cores", Some(cores.to_string())),
        fact("memory", memory),
        fact("kernel", kernel.map(|text| text.trim().to_owned())),
        fact("load when it began", load),
        fact("rustc", said("rustc", "--version")),
        fact(
            "fing",
            Some(format!("{}, {}", env!("CARGO_PKG_VERSION"), build())),
        ),
    ]
}
