//! Ordering the memory accesses of other threads from outside.
#![expect(unsafe_code, reason = "asks the kernel for a barrier on other threads")]

/// Has every thread of this process that runs now make a full memory barrier, and returns whether
/// that was possible. For a thread that has lowered the end of a batch which another one runs; see
/// [`Stub::run`](crate::Stub::run).
///
/// It takes a system call and interrupts other processors: some microseconds. False on systems
/// other than Linux, and where a sandbox forbids the call; then nothing is ordered.
pub fn barrier_on_all_threads() -> bool {
    imp::barrier()
}

/// Whether the kernel has done what this command of its `membarrier` says.
#[cfg(target_os = "linux")]
pub(crate) fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: I25: the call takes two integers and no pointer.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0) == 0 }
}

#[cfg(target_os = "linux")]
mod imp {
    use super::membarrier;

    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    /// A process registers its use of the barrier once; it is refused before.
    pub(super) fn barrier() -> bool {
        membarrier(PRIVATE_EXPEDITED)
            || membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    pub(super) fn barrier() -> bool {
        false
    }
}
