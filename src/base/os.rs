//! What is asked of the system about this process and its threads.
#![expect(unsafe_code, reason = "system calls")]

/// Ends the process at once with this status. No destructor, exit handler or other thread runs any
/// more.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: I22: takes no pointer; it does not return, so nothing can observe what it leaves.
    unsafe { libc::_exit(status) }
}
