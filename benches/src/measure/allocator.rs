//! An allocator that counts the bytes in use while a subject asks for it. Has unsafe code: forwards
//! to the system's.
#![expect(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

static COUNTS: AtomicBool = AtomicBool::new(false);
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator. It counts only after [`count`]: until then an allocation costs one
/// predictable branch more.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// From now on allocations of this process are counted.
pub(crate) fn count() {
    COUNTS.store(true, Relaxed);
}

/// Bytes allocated since [`count`], less bytes given back since. Only differences mean anything: a
/// block from before may have been given back.
pub(crate) fn in_use() -> usize {
    IN_USE.load(Relaxed)
}

fn change(given: usize, taken_back: usize) {
    if COUNTS.load(Relaxed) {
        // Both wrap, as atomic additions do.
        IN_USE.fetch_add(given.wrapping_sub(taken_back), Relaxed);
    }
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        change(layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        change(layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        change(0, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        change(size, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }
}
