//! Handles of callbacks: how they are made, called by whom, closed and freed.
#![expect(unsafe_code, reason = "a function at an address is taken on trust")]

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread;

use super::call::Call;
use super::entries::{Entries, EntryPoint, Inner, Landing};
use super::error::CloseError;
use super::forward::Forward;
use super::handler::{Callee, Closure, Handler, owned, shared};
use super::held::Held;
use super::options::CallbackOptions;
use super::report::Freed;
use super::slot::{Opening, SlotRef, Target};
use super::state::Ending;
use super::thread::{ALL_THREADS, thread_number};
use crate::{Abi, Gate, Signature, StubError};

/// How a callback is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Only if no call of it is under way.
    IfIdle,
    /// New calls are late at once; waits until those under way have returned.
    Wait,
}

/// A function that a callback calls: of the callback's signature, under any ABI of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Its ABI: Go's with any number of argument registers, or a native one, `tail` included.
    pub abi: Abi,
    /// Address of its first instruction.
    pub code: usize,
    /// Go: its closure context. Native ABIs: unused.
    pub context: usize,
}

/// A callback that belongs to the thread on which it was made. A call by another thread is reported
/// and returns zeroes, or aborts ([`CallbackOptions::on_late`]).
///
/// It is freed when the handle is dropped. If that happens inside a call of it, what the closure
/// owns is dropped when the call returns.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// use fing_stubs::Abi;
/// use fing_stubs::entry::{Callback, Entries};
/// unsafe extern "C" {
///     fn qsort(base: *mut i32, count: usize, size: usize, compare: usize);
/// }
///
/// let entries = Entries::new(Default::default())?;
/// let calls = std::rc::Rc::new(std::cell::Cell::new(0));
/// let seen = calls.clone();
/// let signature = "func(*int32, *int32) int32".parse()?;
/// let compare = Callback::new(&entries, &signature, Abi::system_v(), move |call| {
///     seen.set(seen.get() + 1);
///     let [a, b] = [0, 1].map(|n| call.argument::<usize>(n).unwrap() as *const i32);
///     // SAFETY: `qsort` passes pointers to two elements.
///     let order = unsafe { (*a).cmp(&*b) };
///     call.set_result(0, order as i32).unwrap();
/// })?;
/// let mut numbers = [3, 1, 2];
/// // SAFETY: the array, its length, and a function of C's signature.
/// unsafe { qsort(numbers.as_mut_ptr(), 3, 4, compare.address()) };
/// assert_eq!(numbers, [1, 2, 3]);
/// assert!(calls.get() >= 2);
/// # Ok::<(), fing_stubs::StubError>(())
/// ```
#[derive(Debug)]
pub struct Callback {
    lease: Lease,
    /// The closure is of this thread.
    _thread: PhantomData<*const ()>,
}

/// A callback that every thread may call, several at a time.
///
/// It is freed when the handle is dropped. If calls are under way then, what the closure owns is
/// dropped by the last of them, when it returns.
#[derive(Debug)]
pub struct SharedCallback {
    lease: Lease,
}

/// A generation of a slot.
struct Lease {
    slot: SlotRef,
    generation: u32,
    point: EntryPoint,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}, {:?}", self.slot.entry(), self.point)
    }
}

impl Lease {
    /// A callback of this thread.
    fn owned<C: Callee>(
        point: &EntryPoint,
        options: &CallbackOptions,
        callee: C,
        landing: Landing,
        created: &'static Location<'static>,
    ) -> Result<Lease, StubError> {
        let handler = (owned::<C> as Handler, thread_number());
        Lease::new(point, options, Held::new(callee), handler, landing, created)
    }

    /// A callback of all threads.
    fn shared<C: Callee + Send + Sync>(
        point: &EntryPoint,
        options: &CallbackOptions,
        callee: C,
        landing: Landing,
        created: &'static Location<'static>,
    ) -> Result<Lease, StubError> {
        point.0.entries.share();
        let handler = (shared::<C> as Handler, ALL_THREADS);
        Lease::new(point, options, Held::new(callee), handler, landing, created)
    }

    /// `handler` is for the type of `callee`, and for `thread`; `landing` too, if its veneer jumps.
    fn new(
        point: &EntryPoint,
        options: &CallbackOptions,
        callee: Held,
        (handler, thread): (Handler, u64),
        landing: Landing,
        created: &'static Location<'static>,
    ) -> Result<Lease, StubError> {
        let slot = point.0.entries.take(point, options, created)?;
        slot.open(Opening {
            target: Target {
                callee,
                typed: NonNull::from(&*point.0.typed),
                on_panic: options.on_panic,
            },
            handler,
            thread,
            landing,
        });
        Ok(Lease {
            generation: slot.generation(),
            slot,
            point: point.clone(),
        })
    }

    fn close(&self, how: Close, at: &'static Location<'static>) -> Result<(), CloseError> {
        let signature = || self.point.signature().clone();
        let gate = self.gate();
        if gate.is_forked() {
            return Err(CloseError::Forked {
                signature: signature(),
                owner: gate.owner(),
                found: std::process::id(),
            });
        }
        let (calls, inside) = self.slot.calls(self.generation);
        // Without calls, it is being freed here.
        let ends = || how == Close::Wait && !self.slot.is_gone(self.generation);
        if inside && (calls > 0 || ends()) {
            return Err(CloseError::Inside {
                signature: signature(),
            });
        }
        let freed = Freed::Closed(at);
        let (idle, waiter) = match how {
            Close::IfIdle => (true, None),
            Close::Wait => (false, Some(thread::current())),
        };
        match self
            .slot
            .close(self.generation, freed, idle, waiter, &self.point)
        {
            Ending::Busy(calls) if idle => Err(CloseError::Busy {
                signature: signature(),
                calls,
            }),
            Ending::Busy(_) | Ending::Closed if !idle => {
                while !self.slot.is_gone(self.generation) {
                    thread::park();
                }
                Ok(())
            }
            Ending::Busy(_) | Ending::Free | Ending::Closed => Ok(()),
        }
    }
}

impl Lease {
    /// Ends it without waiting for calls under way. In a forked child nothing happens: threads that
    /// are not in it may have held the locks, and what the closure owns stays.
    fn end(&self, freed: Freed) {
        if !self.gate().is_forked() {
            self.slot
                .close(self.generation, freed, false, None, &self.point);
        }
    }

    fn gate(&self) -> &Gate {
        self.point.0.entries.stubs.gate()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end(Freed::Dropped);
    }
}

impl Callback {
    /// A callback for callers of `signature` under `abi`, which calls `closure`, with the default
    /// options.
    ///
    /// # Errors
    /// As [`Entries::point`], and no memory for more addresses.
    #[track_caller]
    pub fn new(
        entries: &Entries,
        signature: &Signature,
        abi: Abi,
        closure: impl Fn(&mut Call<'_>) + 'static,
    ) -> Result<Callback, StubError> {
        let point = entries.point(signature, abi)?;
        Callback::at(&point, CallbackOptions::default(), closure)
    }

    /// A callback for these callers, which calls `closure`.
    ///
    /// # Errors
    /// No memory for more addresses.
    #[track_caller]
    pub fn at(
        point: &EntryPoint,
        options: CallbackOptions,
        closure: impl Fn(&mut Call<'_>) + 'static,
    ) -> Result<Callback, StubError> {
        Callback::of(point, &options, Closure(closure), Location::caller())
    }

    /// A callback for these callers, which calls a function with the same arguments.
    ///
    /// # Errors
    /// A type that the function's ABI can't pass, an ABI of another machine; no memory for code.
    ///
    /// # Safety
    /// At `function.code` is a function of the signature and of `function.abi`, which takes
    /// `function.context`, and may be called with whatever the foreign callers pass as long as the
    /// callback lives; the stack has room for it; no exception but a Rust panic leaves it, and none
    /// if its ABI can't unwind.
    #[track_caller]
    pub unsafe fn function(
        point: &EntryPoint,
        options: CallbackOptions,
        function: Function,
    ) -> Result<Callback, StubError> {
        let callee = Forward::to(point, function)?;
        Callback::of(point, &options, callee, Location::caller())
    }

    fn of(
        point: &EntryPoint,
        options: &CallbackOptions,
        callee: impl Callee,
        created: &'static Location<'static>,
    ) -> Result<Callback, StubError> {
        Callback::by(point.0.code.landing(), point, options, callee, created)
    }

    /// `landing` is the point's, or jumps to such callees of this thread.
    pub(super) fn by(
        landing: Landing,
        point: &EntryPoint,
        options: &CallbackOptions,
        callee: impl Callee,
        created: &'static Location<'static>,
    ) -> Result<Callback, StubError> {
        Ok(Callback {
            lease: Lease::owned(point, options, callee, landing, created)?,
            _thread: PhantomData,
        })
    }

    /// What foreign code calls: the address of a function of the signature and ABI. After the
    /// handle is dropped it is a late call; the memory is there as long as the [`Entries`].
    pub fn address(&self) -> usize {
        self.lease.slot.entry()
    }

    /// The callers it is for.
    pub fn point(&self) -> &EntryPoint {
        &self.lease.point
    }

    /// Frees it, as dropping the handle does; reports of late calls name the caller of this
    /// function. Since only this thread calls it, there is nothing to wait for.
    ///
    /// # Errors
    /// This is inside a call of it. It goes on as before.
    ///
    /// # Panics
    /// If the closure's destructor does.
    #[track_caller]
    pub fn close(&self, how: Close) -> Result<(), CloseError> {
        self.lease.close(how, Location::caller())
    }
}

impl SharedCallback {
    /// A callback for callers of `signature` under `abi`, which calls `closure`, with the default
    /// options.
    ///
    /// # Errors
    /// As [`Entries::point`], and no memory for more addresses.
    #[track_caller]
    pub fn new(
        entries: &Entries,
        signature: &Signature,
        abi: Abi,
        closure: impl Fn(&mut Call<'_>) + Send + Sync + 'static,
    ) -> Result<SharedCallback, StubError> {
        let point = entries.point(signature, abi)?;
        SharedCallback::at(&point, CallbackOptions::default(), closure)
    }

    /// A callback for these callers, which calls `closure`.
    ///
    /// # Errors
    /// No memory for more addresses.
    #[track_caller]
    pub fn at(
        point: &EntryPoint,
        options: CallbackOptions,
        closure: impl Fn(&mut Call<'_>) + Send + Sync + 'static,
    ) -> Result<SharedCallback, StubError> {
        SharedCallback::of(point, &options, Closure(closure), Location::caller())
    }

    /// A callback for these callers, which calls a function with the same arguments.
    ///
    /// # Errors
    /// As [`Callback::function`].
    ///
    /// # Safety
    /// As [`Callback::function`], and several threads may be inside the function at a time.
    #[track_caller]
    pub unsafe fn function(
        point: &EntryPoint,
        options: CallbackOptions,
        function: Function,
    ) -> Result<SharedCallback, StubError> {
        let callee = Forward::to(point, function)?;
        SharedCallback::of(point, &options, callee, Location::caller())
    }

    pub(super) fn of(
        point: &EntryPoint,
        options: &CallbackOptions,
        callee: impl Callee + Send + Sync,
        created: &'static Location<'static>,
    ) -> Result<SharedCallback, StubError> {
        SharedCallback::by(point.0.code.landing(), point, options, callee, created)
    }

    /// `landing` is the point's, or jumps to such callees of all threads.
    pub(super) fn by(
        landing: Landing,
        point: &EntryPoint,
        options: &CallbackOptions,
        callee: impl Callee + Send + Sync,
        created: &'static Location<'static>,
    ) -> Result<SharedCallback, StubError> {
        let lease = Lease::shared(point, options, callee, landing, created)?;
        Ok(SharedCallback { lease })
    }

    /// A callback that calls a Go function with its arguments where an assignment without roll-back
    /// has them.
    #[cfg(feature = "faults")]
    #[track_caller]
    pub(super) fn with_fault(
        point: &EntryPoint,
        options: CallbackOptions,
        function: Function,
    ) -> Result<SharedCallback, StubError> {
        let (signature, stubs) = (point.signature(), &point.0.entries.stubs);
        let wrong = crate::assign::assign_without_roll_back(signature, function.abi)?;
        let key = crate::StubKey::block_of(signature, &wrong, Default::default())?;
        let callee = Forward {
            stub: crate::CallStub::new(stubs.get(&key)?, signature),
            code: function.code,
            context: function.context,
        };
        SharedCallback::of(point, &options, callee, Location::caller())
    }

    /// What foreign code calls: the address of a function of the signature and ABI. After the
    /// handle is dropped it is a late call; the memory is there as long as the [`Entries`].
    pub fn address(&self) -> usize {
        self.lease.slot.entry()
    }

    /// The callers it is for.
    pub fn point(&self) -> &EntryPoint {
        &self.lease.point
    }

    /// Frees it, as dropping the handle does; reports of late calls name the caller of this
    /// function. When [`Close::Wait`] returns `Ok`, no call is under way and what the closure owned
    /// is dropped, whoever has closed it.
    ///
    /// # Errors
    /// Calls are under way and it was not to wait, or this is inside one of them. It goes on as
    /// before.
    ///
    /// # Panics
    /// If the closure's destructor does, on this thread.
    #[track_caller]
    pub fn close(&self, how: Close) -> Result<(), CloseError> {
        self.lease.close(how, Location::caller())
    }

    /// Frees it as dropping the handle does, without waiting for calls under way, and may be called
    /// inside one. Reports of late calls say that it was freed `when`, such as "with its window".
    ///
    /// # Panics
    /// If no call is under way and the closure's destructor does.
    pub fn release(&self, when: &'static str) {
        self.lease.end(Freed::Released(when));
    }
}

// Handles of shared callbacks go everywhere; the slot checks what may be called where.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<SharedCallback>();
    is_send_and_sync::<Entries>();
    is_send_and_sync::<Arc<Inner>>();
};
