//! Weak pointers: they don't keep their object, and are nil once it is unreachable.
#![forbid(unsafe_code)]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::world::handle::Roots;

/// The state that all weak pointers to one place in one object share.
#[derive(Debug)]
pub(crate) struct WeakCell {
    /// Identifies the runtime that it belongs to.
    roots: Arc<Roots>,
    /// Where it points; 0 once the object is unreachable.
    addr: AtomicUsize,
    /// Bytes from the object's start to where it points.
    offset: usize,
}

impl WeakCell {
    pub(crate) fn new(roots: &Arc<Roots>, addr: usize, offset: usize) -> Arc<WeakCell> {
        Arc::new(WeakCell {
            roots: roots.clone(),
            addr: AtomicUsize::new(addr),
            offset,
        })
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Makes the weak pointers nil, as their object is unreachable. Only with the world stopped, so
    /// that no mutator is between reading the address and rooting the object.
    pub(crate) fn clear(&self) {
        self.addr.store(0, Ordering::Release);
    }
}

/// A weak pointer: to an object, or into one. It does not keep the object alive, and is nil for
/// good as soon as a collection finds the object unreachable, before the object's finalizer or any
/// cleanup runs.
///
/// [`Mutator::downgrade`](crate::Mutator::downgrade) makes one,
/// [`Mutator::upgrade`](crate::Mutator::upgrade) gives the object. Two are equal if they were made
/// from the same address of the same object; they stay so when that is gone. An object that its
/// finalizer has brought back has weak pointers of its own, not equal to those before. The default
/// is nil.
///
/// One word; a clone is equal; can be kept anywhere and sent to any thread.
#[derive(Clone, Default)]
pub struct Weak(Option<Arc<WeakCell>>);

impl Weak {
    pub(crate) fn of(cell: Arc<WeakCell>) -> Weak {
        Weak(Some(cell))
    }

    /// Returns how many bytes behind the object's start it points, also when the object is gone; 0
    /// for nil.
    pub fn offset(&self) -> usize {
        self.0.as_ref().map_or(0, |cell| cell.offset)
    }

    /// Returns where it points, 0 if it is nil, or `None` if it belongs to another runtime.
    pub(crate) fn addr(&self, roots: &Arc<Roots>) -> Option<usize> {
        match &self.0 {
            None => Some(0),
            Some(cell) if Arc::ptr_eq(&cell.roots, roots) => {
                Some(cell.addr.load(Ordering::Acquire))
            }
            Some(_) => None,
        }
    }

    fn identity(&self) -> *const WeakCell {
        self.0.as_ref().map_or(std::ptr::null(), Arc::as_ptr)
    }
}

impl PartialEq for Weak {
    fn eq(&self, other: &Weak) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Weak {}

impl Hash for Weak {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Debug for Weak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self
            .0
            .as_ref()
            .map_or(0, |cell| cell.addr.load(Ordering::Relaxed));
        write!(f, "Weak({addr:#x})")
    }
}
