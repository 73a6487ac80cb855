//! The two words of a window, which generated code, the window's thread and those who look up an
//! address share.
#![forbid(unsafe_code)]

use super::BLOCK;
use crate::base::sync::{AtomicU64, Ordering::*};

/// What generated code reads and writes: see [`Words::take`].
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Words {
    /// Address of the next object, if that is before `end`.
    pub(super) next: AtomicU64,
    /// Address behind the last one; 0: there are none.
    pub(super) end: AtomicU64,
}

impl Words {
    /// The objects from now on, which lie behind those from before, or in another block. At no time
    /// [has](Words::has) the window one that was taken.
    pub(super) fn set(&self, next: usize, end: usize) {
        self.clear();
        self.next.store(next as u64, Relaxed);
        self.end.store(end as u64, Release);
    }

    /// No more objects.
    pub(super) fn clear(&self) {
        self.end.store(0, Release);
    }

    /// Whether the address is in an object that no one has taken.
    #[inline]
    pub(super) fn has(&self, addr: usize) -> bool {
        let (addr, end) = (addr as u64, self.end.load(Acquire));
        if addr >= end {
            return false;
        }
        // The window may have gone on to another block, before this one.
        let next = self.next.load(Relaxed);
        next <= addr && next / BLOCK as u64 == addr / BLOCK as u64
    }

    /// What generated code does.
    #[inline]
    pub(super) fn take(&self, stride: usize) -> Option<usize> {
        let next = self.next.load(Relaxed);
        let after = next + stride as u64;
        if after > self.end.load(Relaxed) {
            return None;
        }
        self.next.store(after, Relaxed);
        Some(next as usize)
    }
}
