//! Allocation by generated code, without a call.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::heap::{self, AllocError, Heap};
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;
use crate::types::TypeId;

/// Objects of one type, made in advance, that one thread takes without a call.
///
/// Two words of 64 bits lie at [`address`](Self::address): where the next object starts, and where
/// the last one ends. Generated code takes an object by six instructions or less:
///
/// ```text
///     object = load.i64 window            ; address()
///     next   = iadd_imm object, stride    ; stride()
///     end    = load.i64 window+8
///     brif (icmp ugt next, end), slow, fast
/// fast:
///     store next, window                  ; the object is at `object`
/// ```
///
/// and in `slow` calls the host, through an exit stub, which may collect and then returns what
/// [`Mutator::alloc_in`] does. The object is complete: all zeroes, with its header, and with the
/// finalizer that [`PreparedFinalizer::set_for_all`](crate::PreparedFinalizer::set_for_all) has set
/// for its type.
///
/// Generated code may use the window on the thread of the mutator that made it, as long as that
/// mutator exists, while it or another mutator of the runtime runs there (such as one that a
/// finalizer got by [`Runtime::enter`](crate::Runtime::enter)). Each collection empties all
/// windows, and so do `verify_heap`, `list` and others that look at the whole heap; the address
/// stays, as long as a clone of the window exists. When the mutator is dropped, the window is empty
/// for good.
///
/// A window has a block of 64 KiB of its own while objects are taken from it. What no one has taken
/// yet is not counted as [objects](crate::observe::HeapStats::objects), and never finalized. Under
/// [stress](crate::HeapOptions::stress) each object is taken by a call, so that each may collect.
#[derive(Clone, Debug)]
pub struct Window {
    inner: Arc<heap::Window>,
    /// Stays on its thread.
    _thread: PhantomData<*const ()>,
}

impl Window {
    /// Returns where its two words are.
    pub fn address(&self) -> usize {
        self.inner.address()
    }

    /// Returns how many bytes behind the start of an object the next one starts.
    pub fn stride(&self) -> usize {
        self.inner.stride
    }

    /// Returns the type of its objects.
    pub fn ty(&self) -> TypeId {
        self.inner.ty()
    }
}

/// The windows of one mutator, by the numbers of their types. A number is used again when its type
/// was given back, so there are no more of them than there were types at a time.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Windows(RefCell<BTreeMap<u32, Window>>);

impl Windows {
    /// Ends all. `run`: whether the mutator runs.
    pub(in crate::runtime) fn end(&self, heap: &Heap, run: bool) {
        let windows = self.0.take();
        let end = |window: Window| heap.end_window(&window.inner, run);
        windows.into_values().for_each(end);
    }
}

impl Mutator {
    /// Returns the window from which generated code of this thread takes objects of type `ty`; the
    /// same one each time.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// let runtime = fing::Runtime::new()?;
    /// let ty = runtime.types().define("main.T", "struct { Next *main.T; N uint64 }")?;
    /// let mutator = runtime.attach()?;
    /// let window = mutator.window(ty)?;
    /// let first = mutator.alloc_in(&window)?;
    /// let second = mutator.alloc_in(&window)?;
    /// assert_eq!(second.addr() - first.addr(), window.stride());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Values of the type have no size or no cells of their own
    /// ([`tiny`](crate::HeapOptions::tiny)), or are larger than 8 KiB less 8 bytes; or it is of
    /// another runtime.
    pub fn window(&self, ty: TypeId) -> Result<Window, AllocError> {
        let mut windows = self.windows().0.borrow_mut();
        if let Some(window) = windows.get(&ty.index())
            && window.ty() == ty
            && !window.inner.is_closed()
        {
            return Ok(window.clone());
        }
        let window = Window {
            inner: self.space().heap().window(ty)?,
            _thread: PhantomData,
        };
        windows.insert(ty.index(), window.clone());
        Ok(window)
    }

    /// Allocates an object of zeroes from a window of this thread, which gets new objects if it has
    /// none: what generated code calls then. Never collects; a VM that wants to does so before
    /// ([`is_collection_due`](Self::is_collection_due)).
    ///
    /// # Errors
    /// The heap is full; the mutator that made the window is gone; or the window is of another
    /// runtime.
    #[inline]
    pub fn alloc_in(&self, window: &Window) -> Result<Obj<'_>, AllocError> {
        // An address could be that of a runtime which is gone.
        if window.ty().universe() != self.space().types().empty().id().universe() {
            return Err(AllocError::ForeignWindow);
        }
        Ok(Obj::at(self.space().heap().alloc_in(&window.inner)?))
    }
}
