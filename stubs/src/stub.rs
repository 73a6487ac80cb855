//! A call stub: the machine code (or the interpretation) of one key.
#![expect(unsafe_code, reason = "enters generated code")]

use std::sync::Arc;
use std::sync::atomic::AtomicPtr;

use crate::interp::Interpreter;
use crate::publish::{CodePart, Published};
use crate::{GBlock, Gate, Record, StubKey};

// With the two counts of its `Arc` a stub is one allocation of 64 bytes, as most allocators make
// them.
const _: () = assert!(size_of::<Stub>() <= 40);

/// The type of a generated stub.
type Entry = unsafe extern "C-unwind" fn(
    *const Record,
    *const AtomicPtr<Record>,
    *const AtomicPtr<Record>,
    *const GBlock,
);

/// The type of the entrance of stubs that save no registers. The last argument is the stub's
/// address.
type Entrance = unsafe extern "C-unwind" fn(
    *const Record,
    *const AtomicPtr<Record>,
    *const AtomicPtr<Record>,
    *const GBlock,
    usize,
);

/// Calls functions of one key: a compiled loop over records, or its interpretation. Made by a
/// [`StubCache`](crate::StubCache), shared by all users of the key; its code is freed when the last
/// of them drops it.
#[derive(Debug)]
pub struct Stub {
    key: StubKey,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Generated(Published),
    Interpreted(Box<Interpreter>),
}

/// The code of a stub that has no entrance, found without a look at the stub, which must be kept.
#[derive(Clone, Debug)]
pub(crate) struct Direct {
    entry: Entry,
    gate: Arc<Gate>,
}

impl Direct {
    /// Whether a look at a word shows that this process made the code.
    #[inline(always)]
    pub(crate) fn is_surely_own(&self) -> bool {
        self.gate.is_surely_own()
    }

    /// As [`Stub::run`].
    ///
    /// # Safety
    /// As [`Stub::run`] of the stub, which is alive, in the process that made it.
    #[inline(always)]
    pub(crate) unsafe fn run(
        &self,
        first: *const Record,
        end: &AtomicPtr<Record>,
        progress: &AtomicPtr<Record>,
        g: &GBlock,
    ) {
        // SAFETY: I4, I5, I6: the caller's promises are what a stub's code relies on.
        unsafe { (self.entry)(first, end, progress, g) }
    }
}

impl Stub {
    pub(crate) fn generated(key: StubKey, published: Published) -> Stub {
        Stub {
            key,
            body: Body::Generated(published),
        }
    }

    pub(crate) fn interpreted(key: StubKey, interpreter: Interpreter) -> Stub {
        Stub {
            key,
            body: Body::Interpreted(Box::new(interpreter)),
        }
    }

    /// The key.
    pub fn key(&self) -> &StubKey {
        &self.key
    }

    /// Bytes of code memory this stub takes, its veneer included, which it may share with others; 0
    /// if it is interpreted.
    pub fn code_bytes(&self) -> usize {
        match &self.body {
            Body::Generated(published) => published.bytes(),
            Body::Interpreted(_) => 0,
        }
    }

    /// True if there is machine code for this key.
    pub fn is_generated(&self) -> bool {
        matches!(self.body, Body::Generated(_))
    }

    /// Address of the generated code's first instruction, for listings and profilers.
    pub fn entry(&self) -> Option<usize> {
        match &self.body {
            Body::Generated(published) => Some(published.entry()),
            Body::Interpreted(_) => None,
        }
    }

    /// Address of the code that saves the caller's registers and then calls the code at
    /// [`Stub::entry`]: all stubs of a cache for Go functions on x86-64 share it. `None` for stubs
    /// which are called as they are.
    pub fn entrance(&self) -> Option<usize> {
        match &self.body {
            Body::Generated(published) => published.entrance(),
            Body::Interpreted(_) => None,
        }
    }

    /// The code at [`Stub::entry`], if it is called as it is.
    pub(crate) fn direct(&self) -> Option<Direct> {
        match &self.body {
            Body::Generated(published) if published.entrance().is_none() => Some(Direct {
                // SAFETY: I4: a published stub, compiled with this signature.
                entry: unsafe { std::mem::transmute::<usize, Entry>(published.entry()) },
                gate: published.gate().clone(),
            }),
            _ => None,
        }
    }

    /// Which part of this stub's code lies at an address, if any does.
    pub fn part_at(&self, address: usize) -> Option<CodePart> {
        match &self.body {
            Body::Generated(published) => published.part_at(address),
            Body::Interpreted(_) => None,
        }
    }

    /// Calls each record of `first..end`, in ascending order of addresses. `end` is a cell which is
    /// read before each call: another thread may lower it to end the batch early.
    ///
    /// Before a call the record's address is stored to `progress`, and then `end` is read; so after
    /// the last call `progress` names the first record that was not run. A callee's results are
    /// dropped. If a callee unwinds (`extern "C-unwind"`), the panic passes through, `progress`
    /// names its record, and the records after it have not been run.
    ///
    /// The store is a release: who reads `progress` with acquire ordering sees what the calls
    /// before it have stored. That store and that load are not ordered for other threads, which
    /// would make each call slower. A thread that has lowered `end` and wants to know which record
    /// is the last one to run makes them ordered from its side (on Linux by `membarrier`), and then
    /// reads `progress`: no record from the new end on is called unless `progress` had passed it by
    /// then.
    ///
    /// A stub with machine code belongs to the process that made it. In a forked child its calls
    /// are interpreted, tens of times slower.
    ///
    /// # Panics
    /// In a forked child, on a host that has no interpreter for the key.
    ///
    /// # Safety
    /// * `first..end` are records of one allocation, which nobody changes but while this thread is
    ///   inside a callee: each record is read right before its call;
    /// * each `code` is the address of a function with this stub's key: of a signature and ABI that
    ///   lead to it;
    /// * `context` is what that function expects for its context, and the words are an argument it
    ///   may be given;
    /// * the stack has room for the key's frame and the callee's needs;
    /// * no exception but a Rust panic leaves the callee, and none if its ABI can't unwind.
    #[inline]
    pub unsafe fn run(
        &self,
        first: *const Record,
        end: &AtomicPtr<Record>,
        progress: &AtomicPtr<Record>,
        g: &GBlock,
    ) {
        if let Body::Generated(published) = &self.body
            && published.is_surely_own()
        {
            // SAFETY: I5, I6: the caller's promises above, in the process that made the code.
            return unsafe { Stub::enter(published, first, end, progress, g) };
        }
        // SAFETY: I5, I6: the caller's promises above.
        unsafe { self.run_otherwise(first, end, progress, g) }
    }

    /// # Safety
    /// As [`Stub::run`], in the process that made the code.
    #[inline(always)]
    unsafe fn enter(
        published: &Published,
        first: *const Record,
        end: &AtomicPtr<Record>,
        progress: &AtomicPtr<Record>,
        g: &GBlock,
    ) {
        if let Some(entrance) = published.entrance() {
            // SAFETY: I4: an entrance that `self` holds as it holds its stub, compiled with this
            // signature.
            let entrance = unsafe { std::mem::transmute::<usize, Entrance>(entrance) };
            // SAFETY: I5, I6: the caller's promises are what a stub's code relies on.
            return unsafe { entrance(first, end, progress, g, published.entry()) };
        }
        // SAFETY: I4: `entry` is a published stub whose code `self` holds, compiled with this
        // signature.
        let entry = unsafe { std::mem::transmute::<usize, Entry>(published.entry()) };
        // SAFETY: I5, I6: the caller's promises are what a stub's code relies on.
        unsafe { entry(first, end, progress, g) }
    }

    /// Where it takes more than a look at a word to know that the code may be run, or there is
    /// none.
    ///
    /// # Safety
    /// As [`Stub::run`].
    #[inline(never)]
    unsafe fn run_otherwise(
        &self,
        first: *const Record,
        end: &AtomicPtr<Record>,
        progress: &AtomicPtr<Record>,
        g: &GBlock,
    ) {
        match &self.body {
            // SAFETY: I5, I6: the caller's promises, for the same key.
            Body::Generated(published) if published.is_forked() => unsafe {
                self.run_in_fork(first, end, progress, g)
            },
            // SAFETY: I5, I6: the caller's promises.
            Body::Generated(published) => unsafe {
                Stub::enter(published, first, end, progress, g)
            },
            // SAFETY: I5, I6: the same promises.
            Body::Interpreted(interpreter) => unsafe { interpreter.run(first, end, progress, g) },
        }
    }

    /// In a forked child: the code is the parent's, which may change it, so the calls are
    /// interpreted.
    ///
    /// # Safety
    /// As [`Stub::run`].
    #[cold]
    unsafe fn run_in_fork(
        &self,
        first: *const Record,
        end: &AtomicPtr<Record>,
        progress: &AtomicPtr<Record>,
        g: &GBlock,
    ) {
        match Interpreter::new(&self.key) {
            // SAFETY: I5, I6: the caller's promises.
            Ok(interpreter) => unsafe { interpreter.run(first, end, progress, g) },
            Err(error) => panic!("a stub was called in a forked child: {error}"),
        }
    }

    /// Calls every record of a slice; see [`Stub::run`].
    ///
    /// # Safety
    /// As [`Stub::run`].
    #[inline]
    pub unsafe fn run_all(&self, records: &[Record], g: &GBlock) {
        let range = records.as_ptr_range();
        let progress = AtomicPtr::new(std::ptr::null_mut());
        let end = AtomicPtr::new(range.end.cast_mut());
        // SAFETY: I5, I6: one slice, borrowed for the whole run; the rest is the caller's promise.
        unsafe { self.run(range.start, &end, &progress, g) }
    }
}
