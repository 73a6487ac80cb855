//! A thread's right to touch the heap, and references that last until its next safepoint.
#![forbid(unsafe_code)]

use crate::collect::{Collection, Space};
use crate::handle::Handle;
use crate::heap::{AccessError, AllocError, Cache, Location, Word};
use crate::lent::Lent;
use crate::safepoint::{Member, WorldError};
use crate::types::{TypeDesc, TypeId, Types};
use crate::weak::Weak;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

/// A thread's right to touch the objects of one runtime. While it exists, collections wait for the thread: it must
/// come to a [`Mutator::safepoint`] now and then, and put what takes long in a [`Mutator::native`] region.
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<fing::Mutator>();
/// ```
///
/// A collection can only happen where the mutator is borrowed mutably, and an [`Obj`] borrows it. So no `Obj`
/// survives a safepoint; a [`Handle`] does:
///
/// ```compile_fail,E0502
/// fn lost(m: &mut fing::Mutator, handle: &fing::Handle) -> usize {
///     let object = m.get(handle).unwrap();
///     m.safepoint();
///     object.addr()
/// }
/// ```
///
/// ```
/// fn kept(m: &mut fing::Mutator, handle: &fing::Handle) -> usize {
///     m.safepoint();
///     let object = m.get(handle).unwrap();
///     object.addr()
/// }
/// ```
///
/// Forgetting a mutator ([`std::mem::forget`]) leaves the thread attached for ever, and every collection of another
/// thread waiting for it.
pub struct Mutator {
    space: Arc<Space>,
    member: Member,
    cache: RefCell<Cache>,
    lent: Lent,
    /// Not `Send`: a mutator is a thread's.
    _thread: PhantomData<*const ()>,
}

/// A reference to an object, good until the mutator's next safepoint. One word, not rooted, `Copy`; not `Send`.
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<fing::Obj<'_>>();
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Obj<'m> {
    addr: usize,
    _mutator: PhantomData<&'m Mutator>,
}

/// A mutator that may be stopped. Whatever happens, it does not go on with cells that a sweep has taken back.
struct Refresh<'a>(&'a mut Mutator);

impl Drop for Refresh<'_> {
    fn drop(&mut self) {
        self.0.space.heap().refresh(self.0.cache.get_mut());
    }
}

impl Obj<'_> {
    /// The object's address: of its first byte, which is what a finalizer gets.
    #[inline]
    pub fn addr(self) -> usize {
        self.addr
    }
}

/// The object's address.
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

impl Mutator {
    /// A mutator for this thread, which has none. Waits while the world is stopped.
    pub(crate) fn attach(space: &Arc<Space>) -> Result<Mutator, WorldError> {
        Ok(Mutator::of(space, space.world().join(false)?))
    }

    /// Runs `body` with a mutator of its own. The thread has none, or is in a native region of the one it has: this
    /// is how a native function calls back.
    pub(crate) fn enter<R>(
        space: &Arc<Space>,
        body: impl FnOnce(&mut Mutator) -> R,
    ) -> Result<R, WorldError> {
        Ok(body(&mut Mutator::of(space, space.world().join(true)?)))
    }

    /// For a member that runs on this thread.
    fn of(space: &Arc<Space>, member: Member) -> Mutator {
        let cache = RefCell::new(space.heap().cache());
        Mutator {
            space: space.clone(),
            member,
            cache,
            lent: Lent::default(),
            _thread: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// What it may register without a lock.
    #[inline]
    pub(crate) fn lent(&self) -> &Lent {
        &self.lent
    }

    /// The types of the runtime.
    pub fn types(&self) -> &Types {
        self.space.types()
    }

    // ------------------------------------------------------------------------------------------ stopping

    /// Lets a collection that waits for this thread happen. Costs two loads when there is none.
    #[inline]
    pub fn safepoint(&mut self) {
        if self.space.world().poll(self.member) {
            drop(Refresh(self));
        }
        if self.space.heap().is_stressed() {
            self.collect_once();
        }
    }

    /// Runs `body` while collections don't wait for this thread. For whatever blocks or takes long. The thread may
    /// re-enter the runtime meanwhile, with a mutator of its own.
    pub fn native<R>(&mut self, body: impl FnOnce() -> R) -> R {
        /// Comes back also when `body` panics.
        struct Back<'a>(Refresh<'a>);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                let mutator = &*self.0.0;
                mutator.space.world().unpark(mutator.member);
            }
        }
        self.space.world().park(self.member);
        let _back = Back(Refresh(self));
        body()
    }

    /// Collects. Returns when the collection is over; finalizers may still have to run.
    ///
    /// # Errors
    /// When the thread is collecting already, or runs with another mutator of this runtime.
    pub fn gc(&mut self) -> Result<Collection, WorldError> {
        let from = Instant::now();
        let back = Refresh(self);
        let space = &back.0.space;
        Ok(space.run(space.world().stop(Some(back.0.member))?, from))
    }

    // ------------------------------------------------------------------------------------------ objects

    /// Makes an object of zeroes. Never collects. Objects without size all have one address.
    ///
    /// # Errors
    /// When the heap is full, or the type is of another runtime.
    #[inline]
    pub fn alloc(&self, ty: TypeId) -> Result<Obj<'_>, AllocError> {
        let addr = self.space.heap().alloc(&mut self.cache.borrow_mut(), ty)?;
        Ok(self.obj(addr))
    }

    /// Makes an object of zeroes, rooted. A safepoint; collects before when that is due, and when the heap is full.
    ///
    /// # Errors
    /// When the heap is full even then, or the type is of another runtime.
    pub fn alloc_collecting(&mut self, ty: TypeId) -> Result<Handle, AllocError> {
        self.safepoint();
        if self.space.heap().should_collect() {
            self.collect_once();
        }
        match self.alloc(ty) {
            Ok(object) => return Ok(self.root(object)),
            Err(AllocError::HeapLimit { .. }) => self.collect_once(),
            Err(other) => return Err(other),
        }
        let object = self.alloc(ty)?;
        Ok(self.root(object))
    }

    /// Collects if enough was allocated since the last collection for another one to be worth it. Answers whether there
    /// was one, this thread's or another's. For threads that allocate by [`Mutator::alloc`], which never collects.
    #[inline]
    pub fn collect_if_due(&mut self) -> bool {
        let due = self.space.heap().should_collect();
        if due {
            self.collect_once();
        }
        due
    }

    /// Collects unless another thread has just done it. Where a collection is impossible, nothing is freed.
    fn collect_once(&mut self) {
        let from = Instant::now();
        let back = Refresh(self);
        let space = &back.0.space;
        let epoch = space.heap().epoch();
        match space.world().stop(Some(back.0.member)) {
            Ok(stopped) if space.heap().epoch() == epoch => {
                space.run(stopped, from);
            }
            Ok(stopped) => drop(stopped),
            Err(refusal) => tracing::warn!(%refusal, "no collection although one is due"),
        }
    }

    #[inline]
    fn obj(&self, addr: usize) -> Obj<'_> {
        Obj {
            addr,
            _mutator: PhantomData,
        }
    }

    /// The object of a handle.
    ///
    /// # Errors
    /// When the handle is of another runtime.
    #[inline]
    pub fn get(&self, handle: &Handle) -> Result<Obj<'_>, AccessError> {
        if !handle.is_of(self.space.roots()) {
            return Err(AccessError::ForeignHandle);
        }
        Ok(self.obj(handle.addr()))
    }

    /// Roots an object of this runtime. (An object of another runtime is not kept by it; using the handle is an error.)
    pub fn root(&self, object: Obj<'_>) -> Handle {
        self.space.roots().root(object.addr)
    }

    /// The object a weak pointer points to, or into at [`Weak::offset`]; `None` if the weak pointer is nil.
    ///
    /// # Errors
    /// When it is one of another runtime, or points to a global, which is no object (see [`Mutator::upgrade_addr`]).
    pub fn upgrade(&self, weak: &Weak) -> Result<Option<Obj<'_>>, AccessError> {
        match self.upgrade_addr(weak)? {
            None => Ok(None),
            Some(addr) => self.adopt(addr - weak.offset()).map(Some),
        }
    }

    /// Where a weak pointer points, `None` if it is nil. The object is not kept by its address.
    ///
    /// # Errors
    /// When it is one of another runtime.
    pub fn upgrade_addr(&self, weak: &Weak) -> Result<Option<usize>, AccessError> {
        let addr = weak.addr(self.space.roots());
        let addr = addr.ok_or(AccessError::ForeignHandle)?;
        Ok((addr != 0).then_some(addr))
    }

    /// The object that starts at an address, such as one a finalizer was called with.
    ///
    /// # Errors
    /// When none of this heap's objects starts there.
    pub fn adopt(&self, addr: usize) -> Result<Obj<'_>, AccessError> {
        match self.space.heap().locate(addr) {
            Location::Object { start, desc }
                if start == addr || self.space.heap().is_tiny_block(desc) =>
            {
                Ok(self.obj(addr))
            }
            Location::Object { start, desc } => Err(AccessError::Interior {
                addr,
                base: start,
                ty: desc.ty().to_string(),
            }),
            Location::Zero => Ok(self.obj(addr)),
            Location::Nil => Err(AccessError::Nil),
            Location::NoObject => Err(AccessError::NotInHeap { addr }),
        }
    }

    /// The object's type. Objects without size are all of type `struct {}`, and [tiny](crate::HeapOptions::tiny) ones
    /// of their block's type.
    ///
    /// # Errors
    /// When the object is of another runtime.
    pub fn type_of(&self, object: Obj<'_>) -> Result<&TypeDesc, AccessError> {
        self.space.heap().type_at(object.addr)
    }

    // ------------------------------------------------------------------------------------------ fields

    /// Reads a pointer word, `None` if it is nil.
    ///
    /// # Errors
    /// When there is no pointer word at that byte offset, or what it points to is not the start of an object of this
    /// heap (read it with [`Mutator::load_addr`] then).
    #[inline]
    pub fn load_ref(&self, object: Obj<'_>, offset: usize) -> Result<Option<Obj<'_>>, AccessError> {
        match self.load_addr(object, offset)? {
            0 => Ok(None),
            addr => self.adopt(addr).map(Some),
        }
    }

    /// Writes a pointer word.
    ///
    /// # Errors
    /// When there is no pointer word at that byte offset, or one of the objects is of another runtime.
    #[inline]
    pub fn store_ref(
        &self,
        object: Obj<'_>,
        offset: usize,
        value: Option<Obj<'_>>,
    ) -> Result<(), AccessError> {
        if let Some(Obj { addr, .. }) = value
            && !self.space.heap().contains(addr)
        {
            return Err(AccessError::NotInHeap { addr });
        }
        self.store_addr(object, offset, value.map_or(0, Obj::addr))
    }

    /// Reads a pointer word as an address.
    ///
    /// # Errors
    /// When there is no pointer word at that byte offset.
    #[inline]
    pub fn load_addr(&self, object: Obj<'_>, offset: usize) -> Result<usize, AccessError> {
        Ok(self.space.heap().load(object.addr, offset, Word::Pointer)? as usize)
    }

    /// Writes a pointer word: any address. One inside an object of this heap keeps that object; others are ignored
    /// by the collector.
    ///
    /// # Errors
    /// When there is no pointer word at that byte offset.
    #[inline]
    pub fn store_addr(
        &self,
        object: Obj<'_>,
        offset: usize,
        addr: usize,
    ) -> Result<(), AccessError> {
        self.space
            .heap()
            .store(object.addr, offset, Word::Pointer, addr as u64)
    }

    /// Reads any word.
    ///
    /// # Errors
    /// When there is no aligned word at that byte offset.
    #[inline]
    pub fn load_word(&self, object: Obj<'_>, offset: usize) -> Result<u64, AccessError> {
        self.space.heap().load(object.addr, offset, Word::Any)
    }

    /// Writes a word that is no pointer.
    ///
    /// # Errors
    /// When there is no aligned word of plain data at that byte offset.
    #[inline]
    pub fn store_word(
        &self,
        object: Obj<'_>,
        offset: usize,
        value: u64,
    ) -> Result<(), AccessError> {
        self.space
            .heap()
            .store(object.addr, offset, Word::Data, value)
    }

    /// Reads bytes. Each word is read at once; what other threads write meanwhile may be seen in part.
    ///
    /// # Errors
    /// When they are not within the object.
    pub fn load_bytes(
        &self,
        object: Obj<'_>,
        offset: usize,
        to: &mut [u8],
    ) -> Result<(), AccessError> {
        self.space.heap().load_bytes(object.addr, offset, to)
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// When they are not within the object, or part of a pointer word.
    pub fn store_bytes(
        &self,
        object: Obj<'_>,
        offset: usize,
        from: &[u8],
    ) -> Result<(), AccessError> {
        self.space.heap().store_bytes(object.addr, offset, from)
    }
}

impl Drop for Mutator {
    fn drop(&mut self) {
        self.space.heap().retire(self.cache.get_mut());
        self.space.world().leave(self.member);
    }
}

impl fmt::Debug for Mutator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutator")
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}
