//! perf's format for generated code, *jitdump*: a file with the name, the place and the bytes of
//! each piece, and when it was published. `perf inject --jit` makes symbols of it.
//!
//! The simpler format, `/tmp/perf-PID.map`, is of no use here: perf looks there for anonymous
//! memory only, and the arena is a file's.
#![expect(
    unsafe_code,
    reason = "maps the file's first page, reads clock and code"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use super::{Code, object};
use crate::lock::lock;
use crate::{Arch, StubError};

const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER: u32 = 40;
const CODE_LOAD: u32 = 0;
const CODE_CLOSE: u32 = 3;
/// Bytes of the header of a record, and of a record of code without name and code.
const RECORD: u32 = 16;
const LOAD: u32 = RECORD + 40;

/// The file of one cache.
#[derive(Debug)]
pub(super) struct JitDump {
    state: Mutex<State>,
    /// Where the file's first page is mapped, for perf to see that there is such a file.
    #[cfg(target_os = "linux")]
    mark: usize,
    process: u32,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Pieces of code so far.
    count: u64,
    bytes: u64,
    /// The process's limit on the size of files: a write past it is a signal that ends the process.
    limit: Option<u64>,
}

/// The limit on the size of files that `limits` states, in the form of `/proc/self/limits`.
fn file_size_limit(limits: &str) -> Option<u64> {
    let line = limits.lines();
    let mut sizes = line.filter_map(|line| line.strip_prefix("Max file size"));
    sizes.next()?.split_whitespace().next()?.parse().ok()
}

impl State {
    /// Appends a whole record.
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let bytes = self.bytes + record.len() as u64;
        if let Some(limit) = self.limit.filter(|&limit| bytes > limit) {
            let text = format!("jitdump of {bytes} bytes, the process's limit is {limit}");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        self.file.write_all(record)?;
        self.bytes = bytes;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
impl JitDump {
    /// Begins `jit-PID.dump` in a directory.
    pub(super) fn create(directory: &Path) -> Result<JitDump, StubError> {
        let process = std::process::id();
        let path = directory.join(format!("jit-{process}.dump"));
        JitDump::begin(&path, process).map_err(|source| StubError::JitDump { path, source })
    }

    fn begin(path: &Path, process: u32) -> io::Result<JitDump> {
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::OpenOptionsExt;
        let arch = Arch::host().and_then(object::machine);
        let (machine, _) = arch.ok_or(io::ErrorKind::Unsupported)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create_new(true).mode(0o600);
        let file = options.open(path)?;
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let mut state = State {
            file,
            count: 0,
            bytes: 0,
            limit: file_size_limit(&limits),
        };
        let mut header = Vec::new();
        for word in [MAGIC, VERSION, HEADER, machine.into(), 0, process] {
            header.extend(word.to_ne_bytes());
        }
        header.extend(now().to_ne_bytes());
        let flags = 0_u64;
        header.extend(flags.to_ne_bytes());
        state.write(&header)?;
        // SAFETY: I4: a new mapping at an address of the kernel's choice, of a file that is open.
        let mark = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                HEADER as usize,
                libc::PROT_READ | libc::PROT_EXEC,
                libc::MAP_PRIVATE,
                state.file.as_raw_fd(),
                0,
            )
        };
        if mark == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            std::fs::remove_file(path)?;
            return Err(error);
        }
        Ok(JitDump {
            state: Mutex::new(state),
            mark: mark.expose_provenance(),
            process,
        })
    }

    /// Appends a piece of code that was just published.
    pub(super) fn add(&self, code: &Code<'_>) -> io::Result<()> {
        // SAFETY: I4: published code of the caller's, which is readable and does not change.
        let bytes = unsafe {
            let start = std::ptr::with_exposed_provenance::<u8>(code.address);
            std::slice::from_raw_parts(start, code.bytes)
        };
        // SAFETY: I25: the call takes nothing and reads no memory.
        let thread = unsafe { libc::gettid() };
        let mut state = lock(&self.state);
        let size = LOAD as usize + code.name.len() + 1 + bytes.len();
        let mut record = head(CODE_LOAD, size as u32);
        record.extend(self.process.to_ne_bytes());
        record.extend(thread.to_ne_bytes());
        let address = code.address as u64;
        for word in [address, address, bytes.len() as u64, state.count] {
            record.extend(word.to_ne_bytes());
        }
        record.extend(code.name.as_bytes());
        record.push(0);
        record.extend(bytes);
        state.count += 1;
        state.write(&record)
    }
}

#[cfg(target_os = "linux")]
impl Drop for JitDump {
    fn drop(&mut self) {
        // SAFETY: I4: the mapping was made by `begin`, and nothing reads it.
        unsafe {
            let mark = std::ptr::with_exposed_provenance_mut(self.mark);
            libc::munmap(mark, HEADER as usize);
        }
        // The file is the parent's.
        if self.process == std::process::id() {
            // A file without this record is as good: perf reads up to its end.
            let _ = lock(&self.state).write(&head(CODE_CLOSE, RECORD));
        }
    }
}

/// The header of a record of so many bytes.
#[cfg(target_os = "linux")]
fn head(kind: u32, bytes: u32) -> Vec<u8> {
    let mut record = Vec::with_capacity(bytes as usize);
    record.extend(kind.to_ne_bytes());
    record.extend(bytes.to_ne_bytes());
    record.extend(now().to_ne_bytes());
    record
}

/// The monotonic clock in nanoseconds, which `perf record -k 1` uses too.
#[cfg(target_os = "linux")]
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: I30: the call writes this structure; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
impl JitDump {
    pub(super) fn create(directory: &Path) -> Result<JitDump, StubError> {
        Err(StubError::JitDump {
            path: directory.to_owned(),
            source: io::ErrorKind::Unsupported.into(),
        })
    }

    pub(super) fn add(&self, _: &Code<'_>) -> io::Result<()> {
        let _ = &self.process;
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::file_size_limit;

    #[test]
    fn limits_are_read() {
        let limits = "Limit              Soft Limit           Hard Limit           Units\n\
                      Max cpu time       unlimited            unlimited            seconds\n\
                      Max file size      1024000              unlimited            bytes\n";
        assert_eq!(file_size_limit(limits), Some(1_024_000));
        let unlimited = limits.replace("1024000", "unlimited");
        assert_eq!(file_size_limit(&unlimited), None);
        assert_eq!(file_size_limit(""), None);
    }
}
