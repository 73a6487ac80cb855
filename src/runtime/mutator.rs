//! A thread's right to touch the heap.
#![forbid(unsafe_code)]

use crate::base::events::{span, tell};
use crate::calls::executor::StartError;
use crate::heap::{AccessError, AccessErrorKind, AllocError, Cache, Location, Reach, Word};
use crate::runtime::Runtime;
use crate::runtime::collect::Space;
use crate::runtime::collected::Collected;
use crate::runtime::embed::window::Windows;
use crate::runtime::known::KnownFunctions;
use crate::runtime::object::Obj;
use crate::runtime::weak::Weak;
use crate::types::{TypeDesc, TypeId, Types};
use crate::world::handle::Handle;
use crate::world::threads::{Join, Member, WorldError};
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

/// A thread's right to touch the objects of one runtime. While it exists, collections wait for the
/// thread: it must come to a [`Mutator::safepoint`] now and then, and put what takes long in a
/// [`Mutator::native`] region.
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<fing::Mutator>();
/// ```
///
/// A collection can only happen where the mutator is borrowed mutably, and an [`Obj`] borrows it.
/// So no `Obj` survives a safepoint; a [`Handle`] does:
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
/// Forgetting a mutator ([`std::mem::forget`]) leaves the thread attached for ever, and every
/// collection of another thread waiting for it. Only on a thread that runs finalizers this is
/// mended: a mutator that a finalizer or cleanup has made and not dropped when it returns is
/// *revoked*, and [reported](crate::RuntimeBuilder::on_misuse). A revoked mutator is of no use.
///
/// # Panics
/// Each use of a revoked mutator except dropping it.
pub struct Mutator {
    space: Arc<Space>,
    runtime: Runtime,
    member: Member,
    cache: RefCell<Cache>,
    windows: Windows,
    reach: Reach,
    /// Made with the first registration.
    known: OnceCell<Box<KnownFunctions>>,
    /// Whether the thread has registered something and should assist at its next safepoint.
    owes: Cell<bool>,
    /// Not `Send`: a mutator is a thread's.
    _thread: PhantomData<*const ()>,
}

#[cold]
fn revoked() -> ! {
    panic!(
        "a mutator was used that a finalizer had kept when it returned, and that was revoked then: \
         wanted one that was made since"
    )
}

/// A mutator at a point where a collection may happen. When this is dropped, also by a panic, the
/// mutator gives up cached cells and functions that a collection has made invalid.
struct Refresh<'a>(&'a mut Mutator);

impl Drop for Refresh<'_> {
    fn drop(&mut self) {
        let stale = self.0.space.heap().refresh(self.0.cache.get_mut());
        if stale && let Some(known) = self.0.known.get() {
            known.clear();
        }
    }
}

impl Mutator {
    /// Attaches this thread, which must have no mutator. Waits while the world is stopped.
    pub(crate) fn attach(runtime: &Runtime) -> Result<Mutator, WorldError> {
        Ok(Mutator::of(
            runtime,
            runtime.space().world().join(Join::Attach)?,
        ))
    }

    /// Runs `body` with a mutator of its own. The thread has none, or is in a native region of the
    /// one it has: this is how a native function calls back.
    pub(crate) fn enter<R>(
        runtime: &Runtime,
        body: impl FnOnce(&mut Mutator) -> R,
    ) -> Result<R, WorldError> {
        Ok(body(&mut Mutator::nested(runtime, Join::Enter)?))
    }

    /// A mutator for a thread that has none or is in a native region.
    pub(in crate::runtime) fn nested(runtime: &Runtime, join: Join) -> Result<Mutator, WorldError> {
        Ok(Mutator::of(runtime, runtime.space().world().join(join)?))
    }

    /// A mutator for a member that runs on this thread.
    fn of(runtime: &Runtime, member: Member) -> Mutator {
        let space = runtime.space().clone();
        let cache = RefCell::new(space.heap().cache());
        let reach = space.heap().reach();
        Mutator {
            space,
            runtime: runtime.clone(),
            member,
            cache,
            windows: Windows::default(),
            reach,
            known: OnceCell::new(),
            owes: Cell::new(false),
            _thread: PhantomData,
        }
    }

    /// The space, whose objects this thread may touch.
    ///
    /// # Panics
    /// If a finalizer kept the mutator, so that it was revoked.
    #[inline]
    pub(crate) fn space(&self) -> &Arc<Space> {
        if !self.member.slot().is_running() {
            revoked();
        }
        &self.space
    }

    /// What accesses to fields have to know of the heap.
    #[inline(always)]
    pub(in crate::runtime) fn reach(&self) -> &Reach {
        &self.reach
    }

    pub(in crate::runtime) fn windows(&self) -> &Windows {
        &self.windows
    }

    #[inline]
    pub(in crate::runtime) fn member(&self) -> &Member {
        &self.member
    }

    /// Returns its runtime.
    #[inline]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Its cache of functions that passed the checks.
    #[inline]
    pub(crate) fn known(&self) -> &KnownFunctions {
        self.known.get_or_init(Box::default)
    }

    pub(crate) fn start_goroutine(&self) -> Result<(), StartError> {
        self.runtime.start_goroutine()
    }

    /// Returns the types of the runtime.
    pub fn types(&self) -> &Types {
        self.space.types()
    }

    // ------------------------------------------------------------------------------------------
    // stopping

    /// Lets a collection that waits for this thread happen. Costs two loads when there is none, and
    /// one to see whether this thread has registered something while the backlog exceeded a bound:
    /// then it [assists](Self::assist).
    #[inline]
    pub fn safepoint(&mut self) {
        if self.space().world().poll_with(&self.member) {
            drop(Refresh(self));
        }
        let heap = self.space().heap();
        if heap.is_stressed() && heap.should_collect() {
            self.collect_once();
        }
        if self.owes.get() {
            self.assist();
        }
    }

    /// If the backlog exceeds a bound whose action is to assist
    /// ([`BacklogAction::Assist`](crate::executor::BacklogAction::Assist)), makes calls in a
    /// [native region](Self::native), or waits there while another thread makes them. Returns how
    /// many were made meanwhile. [`alloc_collecting`](Self::alloc_collecting) and
    /// [`collect_if_due`](Self::collect_if_due) do the same; if no bound is exceeded, it costs them
    /// one load.
    pub fn assist(&mut self) -> u64 {
        self.owes.set(false);
        let runtime = self.runtime.clone();
        self.native(|| runtime.goroutine.assist())
    }

    #[inline]
    fn assist_if_asked(&mut self) {
        if self.runtime.is_assistance_wanted() {
            self.assist();
        }
    }

    /// Has the thread assist at its next safepoint, as it has objects at hand now.
    pub(crate) fn owe_assistance(&self) {
        self.owes.set(true);
    }

    /// Runs `body` while collections don't wait for this thread. Meant for calls that block or take
    /// long. Meanwhile the thread may enter the runtime again, with another mutator
    /// ([`Runtime::enter`]).
    pub fn native<R>(&mut self, body: impl FnOnce() -> R) -> R {
        /// Leaves the native region also when `body` panics.
        struct Back<'a>(Refresh<'a>);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                let mutator = &*self.0.0;
                mutator.space.world().unpark_with(&mutator.member);
            }
        }
        self.space().world().park_with(&self.member);
        let _back = Back(Refresh(self));
        body()
    }

    /// Parks; see [`Mutator::park`].
    pub(in crate::runtime) fn stop_running(&self) {
        self.space().world().set_aside_with(&self.member);
    }

    /// Runs again after [`stop_running`](Self::stop_running), unless it was revoked meanwhile: then
    /// each use panics.
    pub(in crate::runtime) fn run_again(&mut self) {
        if self.member.slot().is_revoked() {
            return;
        }
        self.space.world().resume_with(&self.member);
        drop(Refresh(self));
    }

    /// Has a parked mutator run again before it is dropped, if that takes no waiting.
    pub(in crate::runtime) fn run_to_end(&self) {
        self.space.world().resume_to_leave(&self.member);
    }

    /// Collects. Returns when the collection is over; finalizers may still have to run.
    ///
    /// # Errors
    /// When the thread is collecting already, or runs with another mutator of this runtime, or a
    /// [source of roots](Runtime::add_roots) fails.
    pub fn gc(&mut self) -> Result<Collected, WorldError> {
        let from = Instant::now();
        let _span = span(|| tracing::debug_span!("collect"));
        let back = Refresh(self);
        let space = back.0.space();
        let stopped = space.world().stop_with(Some(&back.0.member))?;
        let collection = space.run(stopped, from)?;
        Ok(back.0.runtime.collected(collection))
    }

    // ------------------------------------------------------------------------------------------
    // objects

    /// Allocates an object of zeroes. Never collects. All objects without size have the same
    /// address.
    ///
    /// # Errors
    /// When the heap is full, or the type is of another runtime.
    #[inline]
    pub fn alloc(&self, ty: TypeId) -> Result<Obj<'_>, AllocError> {
        let addr = self
            .space()
            .heap()
            .alloc(&mut self.cache.borrow_mut(), ty)?;
        Ok(self.obj(addr))
    }

    /// Allocates an object of an [array type](Types::define_array), of zeroes, with room for at
    /// least
    /// `elements` elements. Never collects.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// let runtime = fing::Runtime::new()?;
    /// let byte = runtime.types().id("uint8")?;
    /// let string = runtime.types().define_array("main.String", "struct { Length int }", byte)?;
    /// let mutator = runtime.attach()?;
    /// let hello = mutator.alloc_array(string, 5)?;
    /// mutator.store_word(hello, 0, 5)?;
    /// mutator.store_bytes(hello, 8, b"hello")?;
    /// assert!(mutator.capacity(hello)? >= 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The heap is full; the type is no array type, or is of another runtime.
    pub fn alloc_array(&self, ty: TypeId, elements: usize) -> Result<Obj<'_>, AllocError> {
        let heap = self.space().heap();
        let addr = heap.alloc_array(&mut self.cache.borrow_mut(), ty, elements)?;
        Ok(self.obj(addr))
    }

    /// Returns how many elements an object of an [array type](Types::define_array) has room for: at
    /// least as many as were asked for when it was allocated. 0 for objects of other types.
    ///
    /// # Errors
    /// The object is of another runtime.
    pub fn capacity(&self, object: Obj<'_>) -> Result<usize, AccessError> {
        let heap = self.space().heap();
        let tail = heap.type_at(object.addr())?.tail();
        Ok(tail.map_or(0, |tail| tail.capacity(heap.size_at(object.addr()))))
    }

    /// Allocates an object of zeroes, and roots it. This is a safepoint; it [assists](Self::assist)
    /// first if that is asked for, and collects if a collection is due, and when the heap is full.
    ///
    /// # Errors
    /// When the heap is full even then, or the type is of another runtime.
    pub fn alloc_collecting(&mut self, ty: TypeId) -> Result<Handle, AllocError> {
        self.safepoint();
        self.assist_if_asked();
        if self.space().heap().should_collect() {
            self.collect_once();
        }
        match self.alloc(ty) {
            Ok(object) => return Ok(self.root_own(object)),
            Err(AllocError::HeapLimit { .. }) => self.collect_once(),
            Err(other) => return Err(other),
        }
        let object = self.alloc(ty)?;
        Ok(self.root_own(object))
    }

    /// Collects if a collection [is due](Self::is_collection_due). Returns whether one was, which
    /// is then run by this thread or another one. For threads that allocate by [`Mutator::alloc`],
    /// which never collects. It [assists](Self::assist) first.
    #[inline]
    pub fn collect_if_due(&mut self) -> bool {
        self.assist_if_asked();
        let due = self.space().heap().should_collect();
        if due {
            self.collect_once();
        }
        due
    }

    /// Whether a collection is worth it: enough was allocated since the last one, enough types were
    /// [released](crate::types::Types::release), or the heap is
    /// [stressed](crate::HeapOptions::stress). For a VM that has work to do before it collects,
    /// such as to write its registers to a frame.
    #[inline]
    pub fn is_collection_due(&self) -> bool {
        self.space().heap().should_collect()
    }

    /// Does what the [flag of safepoints](crate::vm::SafepointFlag) asks for: lets a collection
    /// happen that waits for this thread, and collects if one is due. Returns whether one was due.
    /// Like each safepoint it may free every object that is no root.
    pub fn collect_at_safepoint(&mut self) -> bool {
        if self.space().world().poll_with(&self.member) {
            drop(Refresh(self));
        }
        self.collect_if_due()
    }

    /// Collects, unless another thread has just done so. If the world can't be stopped, or a source
    /// of roots fails, this logs a warning and frees nothing.
    fn collect_once(&mut self) {
        let from = Instant::now();
        let _span = span(|| tracing::debug_span!("collect"));
        let back = Refresh(self);
        let space = back.0.space();
        let epoch = space.heap().epoch();
        let stopped = space.world().stop_with(Some(&back.0.member));
        let collected = stopped.and_then(|stopped| match space.heap().epoch() == epoch {
            true => space.run(stopped, from).map(drop),
            false => Ok(()),
        });
        if let Err(refusal) = collected {
            tell(|| tracing::warn!(%refusal, "no collection although one is due"));
        }
    }

    #[inline]
    fn obj(&self, addr: usize) -> Obj<'_> {
        Obj::at(addr)
    }

    /// Returns the object of a handle.
    ///
    /// # Errors
    /// When the handle is of another runtime.
    #[inline]
    pub fn get(&self, handle: &Handle) -> Result<Obj<'_>, AccessError> {
        if !handle.is_of(self.space().roots()) {
            return Err(AccessErrorKind::ForeignHandle.into());
        }
        Ok(self.obj(handle.addr()))
    }

    /// Roots an object: it stays while the handle or a clone of it exists.
    ///
    /// # Errors
    /// When the object is of another runtime.
    pub fn root(&self, object: Obj<'_>) -> Result<Handle, AccessError> {
        if !self.space().heap().names_object(object.addr()) {
            return Err(AccessErrorKind::NotInHeap {
                addr: object.addr(),
            }
            .into());
        }
        Ok(self.root_own(object))
    }

    /// Roots an object of this runtime.
    fn root_own(&self, object: Obj<'_>) -> Handle {
        self.space().roots().root(object.addr())
    }

    /// Returns the object a weak pointer points to, or into at [`Weak::offset`]; `None` if the weak
    /// pointer is nil.
    ///
    /// # Errors
    /// When it is one of another runtime, or points to a global, which is no object (see
    /// [`Mutator::upgrade_addr`]).
    pub fn upgrade(&self, weak: &Weak) -> Result<Option<Obj<'_>>, AccessError> {
        match self.upgrade_addr(weak)? {
            None => Ok(None),
            Some(addr) => self.adopt(addr - weak.offset()).map(Some),
        }
    }

    /// Returns where a weak pointer points, `None` if it is nil. The address does not keep the
    /// object alive.
    ///
    /// # Errors
    /// When it is one of another runtime.
    pub fn upgrade_addr(&self, weak: &Weak) -> Result<Option<usize>, AccessError> {
        let addr = weak.addr(self.space().roots());
        let addr = addr.ok_or(AccessErrorKind::ForeignHandle)?;
        Ok((addr != 0).then_some(addr))
    }

    /// Returns the object that starts at an address, such as one a finalizer was called with.
    ///
    /// # Errors
    /// When none of this heap's objects starts there.
    #[inline]
    pub fn adopt(&self, addr: usize) -> Result<Obj<'_>, AccessError> {
        if self.space().heap().starts_object(addr) {
            return Ok(self.obj(addr));
        }
        self.adopt_other(addr)
    }

    /// [`Mutator::adopt`] of an address at which no cell starts.
    #[cold]
    fn adopt_other(&self, addr: usize) -> Result<Obj<'_>, AccessError> {
        match self.space().heap().locate(addr) {
            Location::Object { start, desc, .. }
                if start == addr || self.space().heap().is_tiny_block(desc) =>
            {
                Ok(self.obj(addr))
            }
            Location::Object { start, desc, .. } => Err(AccessErrorKind::Interior {
                addr,
                base: start,
                ty: desc.ty().to_string(),
            }
            .into()),
            Location::Zero => Ok(self.obj(addr)),
            Location::Nil => Err(AccessErrorKind::Nil.into()),
            Location::NoObject => Err(AccessErrorKind::NotInHeap { addr }.into()),
        }
    }

    /// Returns the object that an address is in.
    pub(crate) fn adopt_around(&self, addr: usize) -> Result<Obj<'_>, AccessError> {
        match self.space().heap().find(addr) {
            Some((start, desc)) if !self.space().heap().is_tiny_block(desc) => self.adopt(start),
            _ => self.adopt(addr),
        }
    }

    /// Returns the object's type. Objects without size are all of type `struct {}`, and
    /// [tiny](crate::HeapOptions::tiny) ones of their block's type.
    ///
    /// Who holds the descriptor names the type: see [`Types::release`].
    ///
    /// # Errors
    /// When the object is of another runtime.
    pub fn type_of(&self, object: Obj<'_>) -> Result<Arc<TypeDesc>, AccessError> {
        let id = self.space().heap().type_at(object.addr())?.id();
        Ok(self.types().desc(id)?)
    }

    // ------------------------------------------------------------------------------------------
    // fields

    /// Reads a pointer word, `None` if it is nil.
    ///
    /// # Errors
    /// When there is no pointer word at that byte offset, or what it points to is not the start of
    /// an object of this heap (read it with [`Mutator::load_addr`] then).
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
    /// When there is no pointer word at that byte offset, or one of the objects is of another
    /// runtime.
    #[inline]
    pub fn store_ref(
        &self,
        object: Obj<'_>,
        offset: usize,
        value: Option<Obj<'_>>,
    ) -> Result<(), AccessError> {
        if let Some(addr) = value.map(Obj::addr)
            && !self.space().heap().contains(addr)
        {
            return Err(AccessErrorKind::NotInHeap { addr }.into());
        }
        self.store_addr(object, offset, value.map_or(0, Obj::addr))
    }

    /// Reads a pointer word as an address.
    ///
    /// # Errors
    /// When there is no pointer word at that byte offset.
    #[inline]
    pub fn load_addr(&self, object: Obj<'_>, offset: usize) -> Result<usize, AccessError> {
        Ok(self
            .space()
            .heap()
            .load(object.addr(), offset, Word::Pointer)? as usize)
    }

    /// Writes a pointer word: any address. One inside an object of this heap keeps that object;
    /// others are ignored by the collector.
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
        self.space()
            .heap()
            .store(object.addr(), offset, Word::Pointer, addr as u64)
    }

    /// Reads any word.
    ///
    /// # Errors
    /// When there is no aligned word at that byte offset.
    #[inline]
    pub fn load_word(&self, object: Obj<'_>, offset: usize) -> Result<u64, AccessError> {
        self.space().heap().load(object.addr(), offset, Word::Any)
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
        self.space()
            .heap()
            .store(object.addr(), offset, Word::Data, value)
    }

    /// Reads bytes. Each word is read atomically, but not all of them together: of what other
    /// threads write meanwhile, only a part may be seen.
    ///
    /// # Errors
    /// When they are not within the object.
    pub fn load_bytes(
        &self,
        object: Obj<'_>,
        offset: usize,
        to: &mut [u8],
    ) -> Result<(), AccessError> {
        self.space().heap().load_bytes(object.addr(), offset, to)
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
        self.space().heap().store_bytes(object.addr(), offset, from)
    }
}

impl Drop for Mutator {
    fn drop(&mut self) {
        // One that was revoked, or is parked while a thread stops the world, leaves the heap as it
        // is: its cells are free again when a collection has swept.
        let runs = self.member.slot().is_running();
        self.windows.end(self.space.heap(), runs);
        if runs {
            self.space.heap().retire(self.cache.get_mut());
        }
        self.space.world().leave_with(&self.member);
    }
}

impl fmt::Debug for Mutator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutator")
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}
