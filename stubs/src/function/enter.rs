//! One call with blocks.
#![expect(unsafe_code, reason = "copies values, calls stubs")]

use crate::GBlock;
use crate::call::CallStub;

thread_local! {
    /// What stands in for a goroutine, for functions of Go's ABIs.
    static G: GBlock = const { GBlock::zeroed() };
}

/// Copies so many bytes, initialized or not; mostly those of a scalar or of two.
///
/// # Safety
/// As [`std::ptr::copy_nonoverlapping`].
#[inline(always)]
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, size: usize) {
    // SAFETY: I5: the caller's promise.
    unsafe {
        match size {
            8 => std::ptr::copy_nonoverlapping(from, to, 8),
            4 => std::ptr::copy_nonoverlapping(from, to, 4),
            16 => std::ptr::copy_nonoverlapping(from, to, 16),
            _ => std::ptr::copy_nonoverlapping(from, to, size),
        }
    }
}

/// Calls a function with blocks, and then `then`.
///
/// # Safety
/// At `code` is a function of the stub's signature and ABI, `from` is a block of arguments with
/// which it may be called, and `to` one for its results; both are where they may be.
#[inline(always)]
pub(super) unsafe fn enter<T>(
    stub: &CallStub,
    code: usize,
    from: *const u8,
    to: *mut u8,
    then: impl FnOnce() -> T,
) -> T {
    let g = G.with(std::ptr::from_ref);
    // SAFETY: I5: the thread's block is there as long as the thread; for the rest the caller's
    // promise.
    unsafe { stub.call_placed(code, 0, from, to, &*g) };
    then()
}

/// The thread's `errno`.
pub(super) fn errno() -> i32 {
    let error = std::io::Error::last_os_error();
    error.raw_os_error().unwrap_or(0)
}
