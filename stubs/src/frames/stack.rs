//! What generated code writes down when it calls the host.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use super::maps::Shared;

/// What an exit stub has in its own frame while the host runs, and links to its [`Stack`].
///
/// | offset | what is there |
/// |---|---|
/// | 0 | the address of the record before it; 0 for the first |
/// | 8 | the exit stub's frame pointer, as Cranelift's `get_frame_pointer` returns it |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExitRecord {
    /// The record that was linked before; 0: none.
    pub previous: usize,
    /// The exit stub's frame pointer.
    pub frame_pointer: usize,
}

/// A stack on which generated code runs: that of a thread, or one that the embedder switches to.
///
/// It has one word at a [stable address](Self::address), which is the address of the newest
/// [`ExitRecord`], or 0. Exit stubs write it. The stack is forgotten when this is dropped.
#[derive(Debug)]
pub struct Stack {
    word: Arc<AtomicUsize>,
    maps: Weak<Shared>,
}

impl Stack {
    pub(super) fn new(maps: &Arc<Shared>) -> Stack {
        let word = Arc::new(AtomicUsize::new(0));
        maps.add_stack(&word);
        Stack {
            word,
            maps: Arc::downgrade(maps),
        }
    }

    /// Returns where its word is, as long as the `Stack` exists: for the context of generated code.
    pub fn address(&self) -> usize {
        self.word.as_ptr().expose_provenance()
    }

    /// Whether generated code of this stack is waiting for the host.
    pub fn is_in_host(&self) -> bool {
        self.word.load(Relaxed) != 0
    }

    /// Runs `body`, which calls generated code, and if it panics forgets the exit records of the
    /// frames that the panic has unwound. Wherever the host catches a panic that may have passed
    /// through generated code, it has called that code by this.
    pub fn enter<R>(&self, body: impl FnOnce() -> R) -> R {
        struct Restore<'s>(&'s AtomicUsize, usize);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.store(self.1, Relaxed);
            }
        }
        let _restore = Restore(&self.word, self.word.load(Relaxed));
        body()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(maps) = self.maps.upgrade() {
            maps.remove_stack(&self.word);
        }
    }
}
