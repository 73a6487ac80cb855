//! Linux: code memory is an anonymous file, mapped twice.
#![expect(unsafe_code, reason = "maps memory")]

use std::io;
use std::sync::Arc;

use crate::barrier::membarrier;
use crate::{Gate, StubError};

/// What this operating system lacks to run stubs: nothing.
pub(super) const MISSING: Option<&str> = None;

unsafe extern "C" {
    #[link_name = "__register_frame"]
    pub(crate) fn register_frame(entry: *const u8);
    #[link_name = "__deregister_frame"]
    pub(crate) fn deregister_frame(entry: *const u8);
}

/// The two mappings of one anonymous file: `[start, start + bytes)` writable, the next `bytes`
/// executable.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: usize,
    bytes: usize,
    /// The kernel serializes running threads on request.
    has_barrier: bool,
    gate: Arc<Gate>,
    #[cfg(feature = "testing")]
    emulator: Option<emulator::File>,
}

const MEMBARRIER_PRIVATE_EXPEDITED_SYNC_CORE: libc::c_int = 1 << 5;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: libc::c_int = 1 << 6;

fn failed(operation: &'static str) -> StubError {
    StubError::ExecutableMemory {
        operation,
        source: io::Error::last_os_error(),
    }
}

fn refused(operation: &'static str, error: libc::c_int) -> StubError {
    StubError::ExecutableMemory {
        operation,
        source: io::Error::from_raw_os_error(error),
    }
}

/// An anonymous file, executable where the kernel wants to be asked.
fn anonymous_file() -> Result<libc::c_int, StubError> {
    let name = c"fing-stubs";
    // SAFETY: I30: the name is a C string; the kernel copies it.
    let mut fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_EXEC) };
    if fd < 0 {
        // Kernels before 6.3 don't know the flag, and don't need it.
        // SAFETY: I30: as above.
        fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    }
    if fd < 0 {
        Err(failed("memfd_create"))
    } else {
        Ok(fd)
    }
}

/// Sets the size of a file. A process that may not make files of that size gets an error, and not
/// the signal that the kernel sends with the error (`SIGXFSZ`, which ends a process).
fn set_size(fd: libc::c_int, bytes: usize) -> Result<(), StubError> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: I30: fills in the structure it is given.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0;
    if known && limit.rlim_cur != libc::RLIM_INFINITY && limit.rlim_cur < bytes as libc::rlim_t {
        return Err(refused("ftruncate (over RLIMIT_FSIZE)", libc::EFBIG));
    }
    // SAFETY: I4: the descriptor is the caller's.
    match unsafe { libc::ftruncate(fd, bytes as libc::off_t) } {
        0 => Ok(()),
        _ => Err(failed("ftruncate")),
    }
}

impl Mapping {
    /// Maps `bytes` of fresh memory twice, for the process of the gate.
    pub(crate) fn new(bytes: usize, gate: Arc<Gate>) -> Result<Mapping, StubError> {
        let both = bytes.checked_mul(2);
        let both = both.ok_or_else(|| refused("reserving address space", libc::ENOMEM))?;
        let fd = anonymous_file()?;
        let mapping = set_size(fd, bytes).and_then(|()| map(fd, bytes, both, gate));
        #[cfg(feature = "testing")]
        let mapping = mapping.map(|mut mapping| {
            mapping.emulator = emulator::File::keep(fd);
            mapping
        });
        // SAFETY: I4: the descriptor was made above, and the mappings don't need it any more.
        unsafe { libc::close(fd) };
        mapping
    }

    /// Bytes of each mapping.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address where byte `offset` is written.
    pub(crate) fn writable(&self, offset: usize) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.start + offset)
    }

    /// The address where byte `offset` is run.
    pub(crate) fn executable(&self, offset: usize) -> usize {
        self.start + self.bytes + offset
    }

    /// Makes the writable alias accessible, or inaccessible.
    pub(crate) fn set_writable(&self, on: bool) -> Result<(), StubError> {
        let protection = match on {
            true => libc::PROT_READ | libc::PROT_WRITE,
            false => libc::PROT_NONE,
        };
        // SAFETY: I4, I20: the writable alias, which nobody accesses while it is not writable.
        match unsafe { libc::mprotect(self.writable(0).cast(), self.bytes, protection) } {
            0 => Ok(()),
            _ => Err(failed("mprotect (writable alias)")),
        }
    }

    /// Takes the writable alias away for good; its addresses stay reserved.
    pub(crate) fn give_up_writing(&self) -> Result<(), StubError> {
        let reserve = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let flags = reserve | libc::MAP_FIXED;
        let at = self.writable(0).cast();
        // SAFETY: I4, I20: the writable alias, which nobody accesses any more.
        let gone = unsafe { libc::mmap(at, self.bytes, libc::PROT_NONE, flags, -1, 0) };
        if gone == libc::MAP_FAILED {
            return Err(failed("mmap (giving up the writable alias)"));
        }
        // SAFETY: I4: the reservation just made, which is left out of forks as the alias was.
        match unsafe { libc::madvise(gone, self.bytes, libc::MADV_DONTFORK) } {
            0 => Ok(()),
            _ => Err(failed("madvise (giving up the writable alias)")),
        }
    }

    /// Ends every thread's speculation about code that was just written at `offset`.
    pub(crate) fn synchronize(&self, offset: usize, bytes: usize) {
        if self.has_barrier {
            membarrier(MEMBARRIER_PRIVATE_EXPEDITED_SYNC_CORE);
        }
        #[cfg(feature = "testing")]
        if let Some(file) = &self.emulator {
            file.map_again(self, offset, bytes);
        }
        #[cfg(not(feature = "testing"))]
        let _ = (offset, bytes);
    }
}

fn map(fd: libc::c_int, bytes: usize, both: usize, gate: Arc<Gate>) -> Result<Mapping, StubError> {
    let reserve = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let any = std::ptr::null_mut();
    // SAFETY: I4: a fresh reservation at an address of the kernel's choice.
    let start = unsafe { libc::mmap(any, both, libc::PROT_NONE, reserve, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(failed("mmap (reserving address space)"));
    }
    let mapping = Mapping {
        start: start.expose_provenance(),
        bytes,
        has_barrier: membarrier(MEMBARRIER_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE),
        gate,
        #[cfg(feature = "testing")]
        emulator: None,
    };
    let write = libc::PROT_READ | libc::PROT_WRITE;
    let execute = libc::PROT_READ | libc::PROT_EXEC;
    for (offset, protection, operation) in [
        (0, write, "mmap (writable alias)"),
        (bytes, execute, "mmap (executable alias)"),
    ] {
        // SAFETY: I4: inside the reservation, which nothing else uses yet.
        let alias = unsafe { alias(start.byte_add(offset), bytes, protection, fd, 0) };
        alias.map_err(|()| failed(operation))?;
    }
    // The mapping is shared: a child that changed code would change the parent's. The other alias
    // is inherited, or the child's next mapping might get its addresses.
    // SAFETY: I4: the writable alias just made.
    match unsafe { libc::madvise(start, bytes, libc::MADV_DONTFORK) } {
        0 => Ok(mapping),
        _ => Err(failed("madvise (leaving the writable alias out of forks)")),
    }
}

/// Maps part of the file at `at`.
///
/// # Safety
/// The caller owns those addresses.
unsafe fn alias(
    at: *mut libc::c_void,
    bytes: usize,
    protection: libc::c_int,
    fd: libc::c_int,
    offset: usize,
) -> Result<(), ()> {
    let shared = libc::MAP_SHARED | libc::MAP_FIXED;
    // SAFETY: I4: the caller's promise.
    let alias = unsafe { libc::mmap(at, bytes, protection, shared, fd, offset as libc::off_t) };
    match alias == libc::MAP_FAILED {
        true => Err(()),
        false => Ok(()),
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A forked child has inherited the executable alias only: the other one's addresses may
        // have been given to another mapping.
        let inherited = if self.gate.is_forked() { self.bytes } else { 0 };
        let start = std::ptr::with_exposed_provenance_mut(self.start + inherited);
        // SAFETY: I4: the aliases are ours; slices hold the arena, so none of its code can be in
        // use any more.
        unsafe { libc::munmap(start, 2 * self.bytes - inherited) };
    }
}

/// Flushes the instruction caches of all processors for a range of addresses. Only riscv64 has the
/// system call.
#[cfg_attr(
    not(target_arch = "riscv64"),
    expect(dead_code, reason = "the instruction set does without")
)]
pub(super) fn flush_instruction_cache(start: usize, bytes: usize) {
    const SYS_RISCV_FLUSH_ICACHE: libc::c_long = 259;
    // SAFETY: I4: a range of the arena; the kernel does not access it.
    unsafe { libc::syscall(SYS_RISCV_FLUSH_ICACHE, start, start + bytes, 0) };
}

/// For tests under qemu's user mode, which does not see that code was written through another
/// alias, and on riscv64 and s390x does not look again when asked by the machine's own means. A new
/// mapping of the same pages makes it look.
#[cfg(feature = "testing")]
mod emulator {
    use super::{Mapping, alias};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    /// Set to 1 by `scripts/test-host`, for the instruction sets that need it.
    const VARIABLE: &str = "FING_EMULATOR_MAPS_CODE_AGAIN";

    #[derive(Debug)]
    pub(super) struct File(OwnedFd);

    impl File {
        /// Keeps the file open, if the tests run under an emulator that needs it.
        pub(super) fn keep(fd: libc::c_int) -> Option<File> {
            if std::env::var_os(VARIABLE)? != "1" {
                return None;
            }
            // SAFETY: I4: the caller's descriptor is open; the copy is a new one, owned here.
            unsafe {
                let copy = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0);
                (copy >= 0).then(|| File(OwnedFd::from_raw_fd(copy)))
            }
        }

        pub(super) fn map_again(&self, mapping: &Mapping, offset: usize, bytes: usize) {
            const LARGEST_PAGE: usize = 64 << 10;
            let first = offset / LARGEST_PAGE * LARGEST_PAGE;
            let end = (offset + bytes).next_multiple_of(LARGEST_PAGE);
            let at = std::ptr::with_exposed_provenance_mut(mapping.executable(first));
            let execute = libc::PROT_READ | libc::PROT_EXEC;
            // SAFETY: I4: pages of the arena, which go on to show the same bytes of the file.
            let again = unsafe { alias(at, end - first, execute, self.0.as_raw_fd(), first) };
            assert!(again.is_ok(), "mapping code again for an emulator");
        }
    }
}
