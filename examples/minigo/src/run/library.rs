//! The host's part of small packages: files, the clock, the environment, the end of the process.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::callers::CALLS;
use super::object::{self, copy_bytes};
use super::{Ctx, Vm, lock};

impl Vm {
    /// Ends the process.
    pub(super) fn exit(&self, code: i32) -> ! {
        let _gone = io::stdout().flush();
        if self.stats {
            let stats = self.runtime.stats();
            let refills = object::REFILLS.load(Ordering::Relaxed);
            eprintln!("{stats:#?}\nrefills of windows: {refills}");
            if self.finalizers.go.is_some() {
                eprintln!("calls by Go's ABI: {}", CALLS.load(Ordering::Relaxed));
            }
        }
        std::process::exit(code)
    }
}

/// [`Vm::exit`] as a function of the host.
pub(super) fn exit(ctx: &Ctx, code: i64) {
    ctx.vm.exit(code as i32)
}

/// `debug.SetGCPercent`: nothing collects by itself while the setting is negative.
pub(super) fn set_percent(ctx: &Ctx, percent: i64) -> i64 {
    let percent = (percent >= 0).then(|| u32::try_from(percent).unwrap_or(u32::MAX));
    let before = ctx.vm.runtime.set_gc_percent(percent);
    before.map_or(-1, i64::from)
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The value of a variable of the environment, and whether there is one.
pub(super) fn environment(ctx: &mut Ctx, variable: &[u8]) {
    let value = std::env::var_os(name(variable));
    ctx.leave_text(value.as_deref().unwrap_or_default().as_encoded_bytes());
    ctx.results[2] = value.is_some().into();
}

/// Files that are open, by number; the first three numbers are the process's own streams.
static FILES: Mutex<BTreeMap<u64, File>> = Mutex::new(BTreeMap::new());

fn file(number: u64) -> io::Result<File> {
    match lock(&FILES).get(&number) {
        Some(file) => file.try_clone(),
        None => Err(io::Error::other("bad file descriptor")),
    }
}

/// Leaves the number that a function of the system returns, and what went wrong.
pub(super) fn outcome(ctx: &mut Ctx, result: io::Result<u64>) {
    let problem = result.as_ref().err().map(io::Error::to_string);
    let problem = problem.unwrap_or_default();
    let at = ctx.new_bytes(problem.as_bytes());
    ctx.leave([result.unwrap_or(0) as usize, at, problem.len()]);
}

/// Opens a file with flags of Linux, as the package `os` has them.
pub(super) fn open(path: &[u8], flags: u64) -> io::Result<u64> {
    let is = |flag: u64| flags & flag != 0;
    // Files that are made or truncated are opened for writing too.
    let (read, write) = (flags & 3 != 1, flags & 3 != 0 || is(0x240));
    let mut options = OpenOptions::new();
    options.read(read).write(write).append(is(0x400));
    options.create(is(0x40)).create_new(is(0x40) && is(0x80));
    let file = options.open(name(path))?;
    if is(0x200) {
        file.set_len(0)?;
    }
    let mut files = lock(&FILES);
    let number = files.last_key_value().map_or(3, |(last, _)| last + 1);
    files.insert(number, file);
    Ok(number)
}

pub(super) fn read_file(number: u64, to: usize, length: usize) -> io::Result<u64> {
    let mut part = vec![0; length];
    let count = match number {
        0 => io::stdin().read(&mut part)?,
        _ => file(number)?.read(&mut part)?,
    };
    copy_bytes(to, part.as_ptr().expose_provenance(), count);
    Ok(count as u64)
}

pub(super) fn write_file(number: u64, text: &[u8]) -> io::Result<u64> {
    match number {
        1 => io::stdout().write_all(text)?,
        2 => io::stderr().write_all(text)?,
        _ => file(number)?.write_all(text)?,
    }
    Ok(text.len() as u64)
}

pub(super) fn close(number: u64) -> io::Result<u64> {
    drop(lock(&FILES).remove(&number));
    Ok(0)
}

pub(super) fn remove(path: &[u8]) -> io::Result<u64> {
    let path = name(path);
    let removed = match std::fs::symlink_metadata(&path)?.is_dir() {
        true => std::fs::remove_dir(path),
        false => std::fs::remove_file(path),
    };
    removed.map(|()| 0)
}
