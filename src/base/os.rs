//! What is asked of the system about this process and its threads.
#![expect(unsafe_code, reason = "system calls")]

/// Ends the process at once with this status. No destructor, exit handler or other thread runs any
/// more.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: I25: takes no pointer; it does not return, so nothing can observe what it leaves.
    unsafe { libc::_exit(status) }
}

/// Identifies a thread of this process to the system, so that it can be asked whether the thread
/// exists. Another thread may get the same id once this one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OsThread(libc::pid_t);

impl OsThread {
    /// The calling thread.
    pub(crate) fn current() -> OsThread {
        // SAFETY: I25: takes no argument.
        OsThread(unsafe { libc::gettid() })
    }

    /// Returns false if there is no such thread in this process.
    pub(crate) fn exists(self) -> bool {
        let process = std::process::id();
        // SAFETY: I25: takes integers; signal 0 is not sent, only checked.
        let found = unsafe { libc::syscall(libc::SYS_tgkill, process, self.0, 0) };
        found == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_exists_until_it_has_ended() {
        assert!(OsThread::current().exists());
        let ended = std::thread::spawn(OsThread::current).join().unwrap();
        // The kernel may take a moment after `join` returns.
        while ended.exists() {
            std::thread::yield_now();
        }
        assert_ne!(ended, OsThread::current());
    }
}
