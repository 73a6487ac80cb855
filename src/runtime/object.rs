//! References to objects that last until the next safepoint of the thread's mutator.
#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;

/// A reference to an object, valid until the mutator's next safepoint. One word, not rooted,
/// `Copy`; not `Send`.
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<fing::Obj<'_>>();
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Obj<'m> {
    addr: usize,
    /// Borrows the mutator, and stays on its thread.
    _mutator: PhantomData<(&'m (), *const ())>,
}

impl<'m> Obj<'m> {
    /// The object that starts at this address. `'m` must be the borrow of a mutator of its heap.
    #[inline]
    pub(in crate::runtime) fn at(addr: usize) -> Obj<'m> {
        Obj {
            addr,
            _mutator: PhantomData,
        }
    }

    /// Returns the address of the object's first byte, which is what a finalizer is called with.
    #[inline]
    pub fn addr(self) -> usize {
        self.addr
    }
}

/// Converts to the object's address.
impl From<Obj<'_>> for usize {
    fn from(object: Obj<'_>) -> usize {
        object.addr
    }
}

impl fmt::Debug for Obj<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Obj({:#x})", self.addr)
    }
}
