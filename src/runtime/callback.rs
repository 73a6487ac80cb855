//! Callbacks that objects own: foreign code calls a closure that is lent a mutator, for as long as
//! an object lives.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use fing_stubs::StubError;
use fing_stubs::entry::{
    Call, CallbackOptions, Close, CloseError, EntryPoint, PointFunction, SharedCallback,
};

use crate::calls::executor::Closed;
use crate::heap::{AccessError, AccessErrorKind};
use crate::runtime::collect::Space;
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;
use crate::runtime::registry::{AttachError, Attachment, Registry};
use crate::runtime::weak_runtime::WeakRuntime;
use crate::world::handle::Handle;
use crate::world::threads::{Join, WorldError};

/// Why an object got no callback.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// Nothing is registered any more.
    #[error("callback: {0}")]
    Closed(Closed),
    /// The owner is of another runtime.
    #[error("callback: the owner is {addr:#x}, which is in no object of this heap")]
    OwnerNotInHeap {
        /// Where it points.
        addr: usize,
    },
    /// The owner shares its block with others, or has no size: it does not die by itself.
    #[error(
        "callback: the owner at {addr:#x} has no block of its own, wanted an object that dies by \
         itself"
    )]
    OwnerShared {
        /// Where it is.
        addr: usize,
    },
    /// A captured object is of another runtime.
    #[error("callback: captured object {index} is {addr:#x}, which is in no object of this heap")]
    CapturedNotInHeap {
        /// Which one.
        index: usize,
        /// Where it points.
        addr: usize,
    },
    /// No code or no memory for it.
    #[error("callback: {0}")]
    Stub(#[from] StubError),
}

impl From<AttachError> for CallbackError {
    fn from(error: AttachError) -> CallbackError {
        match error {
            AttachError::Closed(closed) => CallbackError::Closed(closed),
            AttachError::Shared { addr } => CallbackError::OwnerShared { addr },
            AttachError::NotInHeap { kept: None, addr } => CallbackError::OwnerNotInHeap { addr },
            AttachError::NotInHeap {
                kept: Some(index),
                addr,
            } => CallbackError::CapturedNotInHeap { index, addr },
        }
    }
}

/// Why an object's callback was not closed. It goes on as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackCloseError {
    /// This thread runs with a mutator of the runtime, for which a call that is waited for may
    /// wait.
    #[error(
        "close callback: found this thread with a running mutator, wanted a native region or no \
         mutator to wait for calls under way"
    )]
    HoldsMutator,
    /// Calls are under way, or this is one of them.
    #[error(transparent)]
    Close(#[from] CloseError),
}

/// The objects that a call of an object's [callback](Mutator::callback) may use: its owner and what
/// it has captured. They are whole until the call returns, whatever is collected meanwhile.
pub struct Captured<'c> {
    space: &'c Arc<Space>,
    owner: &'c Handle,
    objects: &'c [usize],
}

impl Captured<'_> {
    /// Returns the object that owns the callback.
    ///
    /// # Errors
    /// [`ForeignHandle`](crate::error::AccessErrorKind::ForeignHandle) if the mutator is of
    /// another runtime.
    pub fn owner<'m>(&self, mutator: &'m Mutator) -> Result<Obj<'m>, AccessError> {
        mutator.get(self.owner)
    }

    /// Returns a captured object, by its index among those with which the callback was made.
    ///
    /// # Errors
    /// [`ForeignHandle`](crate::error::AccessErrorKind::ForeignHandle) if the mutator is of
    /// another runtime.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len), as for a slice.
    pub fn get<'m>(&self, mutator: &'m Mutator, index: usize) -> Result<Obj<'m>, AccessError> {
        if !Arc::ptr_eq(self.space, mutator.space()) {
            return Err(AccessErrorKind::ForeignHandle.into());
        }
        Ok(Obj::at(self.objects[index]))
    }

    /// Returns how many objects were captured.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether no object was captured.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

impl fmt::Debug for Captured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("owner", self.owner)
            .field("objects", &self.objects)
            .finish_non_exhaustive()
    }
}

/// What a callback and its owner know of each other.
#[derive(Debug)]
struct Bond {
    owner: usize,
    /// Whether the owner has not been found dead.
    alive: AtomicBool,
    /// The attachment's id, once it is attached.
    id: AtomicU64,
}

/// What the closure of a callback consists of besides the embedder's.
struct Context {
    runtime: WeakRuntime,
    registry: Weak<Registry>,
    bond: Arc<Bond>,
    captured: Box<[usize]>,
}

/// Why a call did not get to the closure.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the runtime of its owner was dropped")]
    NoRuntime,
    #[error(transparent)]
    World(#[from] WorldError),
    #[error("its owner was found unreachable while the call was on its way")]
    NoOwner,
}

impl Context {
    /// Runs `body` with a mutator, on any thread.
    fn enter<R>(&self, body: impl FnOnce(&mut Mutator, &Captured<'_>) -> R) -> Result<R, Refusal> {
        let runtime = self.runtime.upgrade().ok_or(Refusal::NoRuntime)?;
        // The foreign caller can't be told that the thread may not wait, so others have to give up.
        let mut mutator = Mutator::nested(&runtime, Join::EnterForCalls)?;
        // While it waited, a collection may have found the owner dead; from here on none can happen
        // before the owner is a root.
        if !self.bond.alive.load(Ordering::Acquire) {
            return Err(Refusal::NoOwner);
        }
        let space = mutator.space().clone();
        let owner = space.roots().root(self.bond.owner);
        let captured = Captured {
            space: &space,
            owner: &owner,
            objects: &self.captured,
        };
        Ok(body(&mut mutator, &captured))
    }
}

/// The last call is over: what was captured need not be kept any more.
impl Drop for Context {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            let id = self.bond.id.load(Ordering::Acquire);
            registry.detach(self.bond.owner, id);
        }
    }
}

/// A callback, as its owner has it.
#[derive(Debug)]
struct Owned {
    callback: SharedCallback,
    bond: Arc<Bond>,
    runtime: WeakRuntime,
}

impl Attachment for Owned {
    fn die(&self) {
        self.bond.alive.store(false, Ordering::Release);
    }

    fn release(&self, when: &'static str) {
        self.callback.release(when);
    }
}

/// A callback that an object of the heap owns; see [`Mutator::callback`]. Dropping this changes
/// nothing.
#[derive(Clone, Debug)]
pub struct OwnedCallback(Arc<Owned>);

impl OwnedCallback {
    /// Returns what foreign code calls: the address of a function of the signature and convention
    /// with which it was made. Once it is freed, a call of it is a late call, also after the
    /// runtime has gone.
    pub fn address(&self) -> usize {
        self.0.callback.address()
    }

    /// Returns the callers that it is for.
    pub fn point(&self) -> &EntryPoint {
        self.0.callback.point()
    }

    /// Frees it before its owner dies. When [`Close::Wait`] returns `Ok`, no call is under way, and
    /// what it captured is kept by it no longer.
    ///
    /// # Errors
    /// Calls are under way and it was not to wait; or this is inside one of them, or runs with a
    /// mutator, and was to wait.
    ///
    /// # Panics
    /// If the closure's destructor does, on this thread.
    #[track_caller]
    pub fn close(&self, how: Close) -> Result<(), CallbackCloseError> {
        let runs = || {
            let runtime = self.0.runtime.upgrade();
            runtime.is_some_and(|runtime| runtime.space().world().is_running_here())
        };
        if how == Close::Wait && runs() {
            return Err(CallbackCloseError::HoldsMutator);
        }
        Ok(self.0.callback.close(how)?)
    }
}

impl Mutator {
    /// Makes a callback that an object owns: the address of a function that foreign code calls, on
    /// any thread, by the signature and convention of `point`. Each call runs `closure` with a
    /// mutator.
    ///
    /// The callback is freed when `owner` is: if `owner` has a finalizer, after that has run. Until
    /// then, `captured` objects are kept alive as if `owner` referred to them; they may lead back
    /// to it, and then all of them die together. While a call is under way, `owner` is kept alive
    /// too.
    ///
    /// A call enters the heap as [`Runtime::enter`](crate::Runtime::enter) does: it waits while a
    /// collection is under way. It is *refused*, which is reported with the reason, when it can't
    /// enter, mostly as the foreign code that called it was itself called with a running mutator:
    /// make such calls in a [native region](Mutator::native). It is *late* after the callback was
    /// freed: with its owner, by [`OwnedCallback::close`], at the end of a
    /// [`shutdown`](crate::Runtime::shutdown) or [`exit`](crate::Runtime::exit), or with the
    /// runtime. In both cases the caller gets zeroes, or the process is aborted, as
    /// [`CallbackOptions::on_late`] says, and a panic of `closure` is handled as
    /// [`CallbackOptions::on_panic`] says.
    ///
    /// When the callback is freed, what `closure` owns is dropped by the thread that frees it: the
    /// one that collected, with no lock held but perhaps with its mutator, or that of the last call
    /// under way. A closure that holds a [`Runtime`](crate::Runtime) keeps it for ever; a call has
    /// its runtime from [`Mutator::runtime`].
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing::callbacks::CallbackOptions;
    /// use fing::stubs::entry::Entries;
    /// use fing::{Abi, Runtime};
    ///
    /// let runtime = Runtime::new()?;
    /// let ty = runtime.types().define("main.Counter", "struct { N uint64 }")?;
    /// let entries = Entries::new(Default::default())?;
    /// let point = entries.point(&"func(uint64) uint64".parse()?, Abi::host_native()?)?;
    /// let (owner, add) = runtime.enter(|mutator| {
    ///     let (owner, counter) = (mutator.alloc(ty)?, mutator.alloc(ty)?);
    ///     let options = CallbackOptions::default().owner("the counter");
    ///     let add = mutator.callback(owner, &point, &[counter], options, |m, captured, call| {
    ///         let counter = captured.get(m, 0).unwrap();
    ///         let sum = m.load_word(counter, 0).unwrap() + call.argument::<u64>(0).unwrap();
    ///         m.store_word(counter, 0, sum).unwrap();
    ///         call.set_result(0, sum).unwrap();
    ///     })?;
    ///     Ok::<_, Box<dyn std::error::Error>>((mutator.root(owner)?, add))
    /// })??;
    /// // SAFETY: an address of this signature and convention.
    /// let function: extern "C" fn(u64) -> u64 = unsafe { std::mem::transmute(add.address()) };
    /// assert_eq!(function(3), 3);
    /// runtime.gc()?;
    /// assert_eq!(std::thread::spawn(move || function(4)).join().unwrap(), 7);
    /// drop(owner);
    /// runtime.gc()?;
    /// // A late call: it is reported, and returns zero.
    /// assert_eq!(function(5), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// An object is of another runtime; `owner` has no size or shares a block; nothing is finalized
    /// any more; or there is no memory for more addresses. Nothing is made then.
    #[track_caller]
    pub fn callback(
        &self,
        owner: Obj<'_>,
        point: &EntryPoint,
        captured: &[Obj<'_>],
        options: CallbackOptions,
        closure: impl Fn(&mut Mutator, &Captured<'_>, &mut Call<'_>) + Send + Sync + 'static,
    ) -> Result<OwnedCallback, CallbackError> {
        let (runtime, registry) = (self.runtime().downgrade(), self.runtime().registry());
        registry.check_attach(self, owner, captured)?;
        let bond = Arc::new(Bond {
            owner: owner.addr(),
            alive: AtomicBool::new(true),
            id: AtomicU64::new(0),
        });
        let context = Context {
            runtime: runtime.clone(),
            registry: Arc::downgrade(registry),
            bond: bond.clone(),
            captured: captured.iter().map(|object| object.addr()).collect(),
        };
        let body = move |call: &mut Call<'_>| {
            let entered = context.enter(|mutator, captured| closure(mutator, captured, call));
            if let Err(refusal) = entered {
                call.refuse(refusal.to_string());
            }
        };
        let owned = Arc::new(Owned {
            callback: SharedCallback::at(point, options, body)?,
            bond,
            runtime,
        });
        let id = registry.attach(self, owner, captured, owned.clone());
        let id = id.map_err(CallbackError::Closed)?;
        owned.bond.id.store(id, Ordering::Release);
        Ok(OwnedCallback(owned))
    }

    /// Makes a callback that an object owns, as [`callback`](Self::callback), of a function instead
    /// of a closure: machine code of the VM's, of the signature of the callers, under any ABI of
    /// this machine. While it runs, its thread is in the heap, and `owner` is kept alive.
    ///
    /// The function's context may be the address of an object, for a closure of the VM's: `owner`
    /// itself, or one that is captured.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing::stubs::entry::{Entries, Function, PointFunction};
    /// use fing::{Abi, Runtime};
    ///
    /// extern "C" fn twice(n: u64) -> u64 {
    ///     2 * n
    /// }
    /// let runtime = Runtime::new()?;
    /// let ty = runtime.types().define("main.T", "struct { N uint64 }")?;
    /// let entries = Entries::new(Default::default())?;
    /// let abi = Abi::host_native()?;
    /// let point = entries.point(&"func(uint64) uint64".parse()?, abi)?;
    /// let function = Function { abi, code: twice as *const () as usize, context: 0 };
    /// // SAFETY: `twice` is a function of this signature and convention.
    /// let twice = unsafe { PointFunction::new(&point, function)? };
    /// let (owner, callback) = runtime.enter(|mutator| {
    ///     let owner = mutator.alloc(ty)?;
    ///     let callback = mutator.callback_function(owner, &[], Default::default(), twice)?;
    ///     Ok::<_, Box<dyn std::error::Error>>((mutator.root(owner)?, callback))
    /// })??;
    /// // SAFETY: an address of this signature and convention.
    /// let function: extern "C" fn(u64) -> u64 =
    ///     unsafe { std::mem::transmute(callback.address()) };
    /// assert_eq!(function(21), 42);
    /// drop(owner);
    /// runtime.gc()?;
    /// assert_eq!(function(21), 0, "a late call");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`callback`](Self::callback).
    #[track_caller]
    pub fn callback_function(
        &self,
        owner: Obj<'_>,
        captured: &[Obj<'_>],
        options: CallbackOptions,
        function: PointFunction,
    ) -> Result<OwnedCallback, CallbackError> {
        let point = function.point().clone();
        self.callback(owner, &point, captured, options, move |_, _, call| {
            if let Err(error) = call.forward(&function) {
                unreachable!("the callback is of the function's point: {error}");
            }
        })
    }
}

#[cfg(test)]
mod tests;
