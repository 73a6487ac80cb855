//! [`Entries`]: the home of callbacks: the code of entries, made once for each key, and pools of
//! slots, which grow by pages and are used again.
#![forbid(unsafe_code)]

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::call::Typed;
use super::function::Functions;
use super::options::{CallbackOptions, EntryOptions};
use super::pool::{Page, Pool};
use super::slot::{Slot, SlotRef};
use super::typed::Closures;
use crate::code::{Arena, CodeSlice, WriteAccess};
use crate::inward::{EntryKey, compile_entry, veneer};
use crate::lock::lock;
use crate::publish::{CodePart, Publisher};
use crate::tools::Tools;
use crate::unwind::CallState;
use crate::veneer::Encoded;
use crate::{Abi, CacheOptions, Compiler, Family, Signature, StubCache, StubError, StubKey};

/// Bytes of the code of a page of entries.
const PAGE: usize = 4096;

/// Where an entry begins, from a multiple of 16, at which everything begins that entries lead to:
/// processors that predict branches by the lower bits of an address take one for the other, and a
/// call takes 20 ns more (measured on an AMD EPYC, with an entry 256 KiB behind its veneer).
const SHIFT: usize = 8;

/// Figures of [`Entries`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryStats {
    /// Keys with code.
    pub keys: usize,
    /// Types of [typed closures](super::Callback::typed) that take the caller's arguments where
    /// they are, each counted for each key, and apart for callbacks of one thread and of all.
    pub jumps: usize,
    /// Addresses that callbacks have now.
    pub alive: usize,
    /// Addresses that were freed and can be used again.
    pub free: usize,
    /// Addresses that were ever made. Their number is what memory is in proportion to; it never
    /// falls.
    pub slots: usize,
    /// Bytes of code, entries included.
    pub code_bytes: usize,
}

/// Where callbacks live. Cheap to clone; `Send` and `Sync`.
///
/// Callbacks of one `Entries` share its memory. As long as the `Entries` or one of its callbacks is
/// there, a call of a freed callback is reported and returns zeroes (see
/// [`CallbackOptions`](super::CallbackOptions)). After that the memory is given back, and an
/// address must not be called any more; but if there was a
/// [`SharedCallback`](super::SharedCallback), the memory stays for the life of the process, since a
/// thread may be on its way out of it.
///
/// A forked child has none of the code: neither it nor code called in it may call an entry, and
/// making a callback there is an error.
#[derive(Clone)]
pub struct Entries(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) options: EntryOptions,
    compiler: Compiler,
    /// For functions that callbacks call.
    pub(super) stubs: StubCache,
    codes: Mutex<HashMap<EntryKey, Arc<Code>>>,
    /// Veneers that jump, by key and type of closure.
    jumps: Mutex<HashMap<(EntryKey, TypeId), Arc<Code>>>,
    numbers: AtomicU64,
    go: Arc<Pool>,
    native: Arc<Pool>,
    pub(super) functions: Functions,
    /// There was a callback that any thread may call.
    was_shared: AtomicBool,
    // Dropped last: the memory of all code.
    arenas: Mutex<Vec<Arc<Publisher>>>,
}

/// Veneer and body of a key, or one [veneer that jumps](super::jump).
pub(super) struct Code {
    number: u64,
    veneer: CodeSlice,
    /// `None`: the veneer calls the handler itself, or jumps.
    body: Option<CodeSlice>,
}

/// Where entries jump to, and the number of the code there, which stays as long as the entries.
#[derive(Clone, Copy)]
pub(super) struct Landing {
    pub(super) veneer: usize,
    pub(super) number: u64,
}

impl Code {
    pub(super) fn landing(&self) -> Landing {
        Landing {
            veneer: self.veneer.executable(),
            number: self.number,
        }
    }

    fn bytes(&self) -> usize {
        self.veneer.bytes() + self.body.as_ref().map_or(0, CodeSlice::bytes)
    }
}

/// Callers of one signature and convention: what a callback is made for, with its code.
#[derive(Clone)]
pub struct EntryPoint(pub(super) Arc<Point>);

pub(super) struct Point {
    pub(super) entries: Arc<Inner>,
    pub(super) code: Arc<Code>,
    pub(super) typed: Arc<Typed>,
    pub(super) key: EntryKey,
    pub(super) closures: Closures,
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries")
            .field("options", &self.0.options)
            .field("stats", &self.stats())
            .finish()
    }
}

impl fmt::Debug for EntryPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryPoint({} by {})", self.signature(), self.abi())
    }
}

impl Entries {
    /// An empty home of callbacks.
    ///
    /// # Errors
    /// The environment's: no code for this machine, no executable memory.
    pub fn new(options: EntryOptions) -> Result<Entries, StubError> {
        Entries::with_compiler(options, Compiler::host()?)
    }

    /// As [`Entries::new`], with a mistake planted in the code of entries.
    ///
    /// # Errors
    /// As [`Entries::new`].
    #[cfg(feature = "faults")]
    pub fn with_fault(
        options: EntryOptions,
        fault: crate::faults::Fault,
    ) -> Result<Entries, StubError> {
        let mut compiler = Compiler::host()?;
        compiler.plant(fault);
        Entries::with_compiler(options, compiler)
    }

    fn with_compiler(options: EntryOptions, compiler: Compiler) -> Result<Entries, StubError> {
        let stubs = CacheOptions::default()
            .arena_capacity(options.arena_capacity)
            .frame_limit(options.frame_limit);
        let stubs = StubCache::new(stubs)?;
        let arena = arena(options.arena_capacity, &stubs)?;
        let observer = options.observer.clone();
        Ok(Entries(Arc::new(Inner {
            stubs,
            options,
            compiler,
            codes: Mutex::default(),
            jumps: Mutex::default(),
            numbers: AtomicU64::new(1),
            go: Pool::new(observer.clone()),
            native: Pool::new(observer),
            functions: Functions::default(),
            was_shared: AtomicBool::new(false),
            arenas: Mutex::new(vec![Arc::new(Publisher::new(arena))]),
        })))
    }

    /// Callers of `signature` under `abi`, for any number of callbacks. The code is made with the
    /// first that needs it.
    ///
    /// # Errors
    /// A type that `abi` can't pass, arguments or results past the limit, an ABI of another machine
    /// or without entries (`tail`); no memory for code; a forked child.
    pub fn point(&self, signature: &Signature, abi: Abi) -> Result<EntryPoint, StubError> {
        let key = EntryKey::new(signature, abi, self.0.options.frame_limit)?;
        self.point_of(key, signature, abi, abi)
    }

    pub(super) fn point_of(
        &self,
        key: EntryKey,
        signature: &Signature,
        abi: Abi,
        layout: Abi,
    ) -> Result<EntryPoint, StubError> {
        StubError::check_fork(self.0.stubs.gate())?;
        Ok(EntryPoint(Arc::new(Point {
            entries: self.0.clone(),
            code: self.0.code(&key)?,
            typed: Arc::new(Typed::new(signature, abi, layout)),
            key,
            closures: Closures::default(),
        })))
    }

    /// The figures now; in a forked child none, since they are counted under locks.
    pub fn stats(&self) -> EntryStats {
        if self.0.stubs.gate().is_forked() {
            return EntryStats::default();
        }
        let [go, native] = [&self.0.go, &self.0.native].map(|pool| pool.stats());
        let bytes = |code: &Arc<Code>| code.bytes();
        let (jumps, jump_bytes) = {
            let jumps = lock(&self.0.jumps);
            (jumps.len(), jumps.values().map(bytes).sum::<usize>())
        };
        let codes = lock(&self.0.codes);
        let code = codes.values().map(bytes).sum::<usize>() + jump_bytes;
        EntryStats {
            keys: codes.len(),
            jumps,
            alive: go.alive + native.alive,
            free: go.free + native.free,
            slots: go.slots + native.slots,
            code_bytes: go.code_bytes + native.code_bytes + code,
        }
    }
}

impl EntryPoint {
    /// The signature.
    pub fn signature(&self) -> &Signature {
        &self.0.typed.signature
    }

    /// The convention of the callers.
    pub fn abi(&self) -> Abi {
        self.0.typed.abi
    }

    /// The key of the code.
    pub fn key(&self) -> &EntryKey {
        &self.0.key
    }
}

/// Memory for code, of which debuggers and profilers are not told.
fn arena(capacity: usize, stubs: &StubCache) -> Result<Arc<Arena>, StubError> {
    let gate = stubs.gate().clone();
    Arena::new(capacity, WriteAccess::default(), gate, Tools::default())
}

impl Inner {
    fn pool(&self, family: Family) -> &Arc<Pool> {
        match family {
            Family::Go => &self.go,
            Family::Native(_) => &self.native,
        }
    }

    /// The code of a key. No lock is held while it is made; what two threads make at the same time
    /// is kept once.
    fn code(&self, key: &EntryKey) -> Result<Arc<Code>, StubError> {
        let known = lock(&self.codes).get(key).cloned();
        if let Some(code) = known {
            return Ok(code);
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let compiled = compile_entry(&self.compiler, key, number, false)?;
        let mut veneer = compiled.veneer.bytes;
        let body = match &*compiled.body {
            [] => None,
            body => Some(self.place(key.call(), body, &compiled.body_state)?),
        };
        if let Some(body) = &body {
            veneer::aim(&mut veneer, key.abi().arch(), body.executable() as u64);
        }
        let veneer = self.place(key.call(), &veneer, &compiled.veneer_state)?;
        let code = Arc::new(Code {
            number,
            veneer,
            body,
        });
        Ok(lock(&self.codes).entry(key.clone()).or_insert(code).clone())
    }

    /// The veneer that jumps to closures of one type, which `make` makes with its number.
    /// word of its function.
    pub(super) fn jump(
        &self,
        key: &EntryKey,
        closure: TypeId,
        make: impl FnOnce(u64) -> Result<Encoded, String>,
    ) -> Result<Arc<Code>, StubError> {
        let own = (key.clone(), closure);
        let known = lock(&self.jumps).get(&own).cloned();
        if let Some(code) = known {
            return Ok(code);
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let jump = make(number).map_err(|detail| StubError::Internal {
            key: key.to_string(),
            step: "encoding a veneer that jumps",
            detail,
        })?;
        let code = Arc::new(Code {
            number,
            veneer: self.place(key.call(), &jump.bytes, &None)?,
            body: None,
        });
        Ok(lock(&self.jumps).entry(own).or_insert(code).clone())
    }

    /// Whether a mistake is planted in the code of entries.
    pub(super) fn is_faulty(&self) -> bool {
        self.compiler.has_fault()
    }

    /// Puts code into the last arena, or into a new one if that is full.
    fn place(
        &self,
        key: &StubKey,
        bytes: &[u8],
        state: &Option<CallState>,
    ) -> Result<CodeSlice, StubError> {
        // The part is for tools only, of which these arenas have none.
        let (part, code) = (CodePart::Veneer, (bytes.into(), state.clone()));
        let last = lock(&self.arenas).last().cloned();
        if let Some(publisher) = last {
            match publisher.place(&self.compiler, key, part, &code, None) {
                Err(StubError::ArenaFull { .. }) => {}
                other => return other,
            }
        }
        let publisher = Publisher::new(arena(self.options.arena_capacity, &self.stubs)?);
        let publisher = Arc::new(publisher);
        let slice = publisher.place(&self.compiler, key, part, &code, None)?;
        lock(&self.arenas).push(publisher);
        Ok(slice)
    }

    /// A free slot for a callback of callers of `point`.
    pub(super) fn take(
        &self,
        point: &EntryPoint,
        options: &CallbackOptions,
        created: &'static Location<'static>,
    ) -> Result<SlotRef, StubError> {
        StubError::check_fork(self.stubs.gate())?;
        let pool = self.pool(point.abi().family());
        loop {
            let taken = pool.take(self.options.quarantine, &point.0.typed, options, created);
            match taken {
                Some(slot) => return Ok(slot),
                None => self.grow(point)?,
            }
        }
    }

    /// Makes a page of slots.
    #[cold]
    fn grow(&self, point: &EntryPoint) -> Result<(), StubError> {
        let (abi, pool) = (point.abi(), self.pool(point.abi().family()));
        let stride = (SHIFT + veneer::entry_bytes(abi)).next_multiple_of(16);
        let slots = (0..PAGE / stride).map(|_| Slot::new(pool.clone()));
        let slots: Arc<[Slot]> = slots.collect();
        let mut entries = vec![0; PAGE];
        for (slot, place) in slots.iter().zip(entries.chunks_exact_mut(stride)) {
            let entry = veneer::entry(abi, slot.address());
            place[SHIFT..SHIFT + entry.len()].copy_from_slice(&entry);
        }
        let code = self.place(point.key().call(), &entries, &None)?;
        for (slot, n) in slots.iter().zip(0..) {
            slot.set_entry(code.executable() + stride * n + SHIFT);
        }
        pool.add(Page { slots, code });
        Ok(())
    }

    /// Callbacks of any thread are made: see the drop.
    pub(super) fn share(&self) {
        if !self.was_shared.load(Ordering::Relaxed) {
            self.was_shared.store(true, Ordering::Relaxed);
        }
    }
}

/// A thread that has left its call is still on its way out of the code, and nothing says when it is
/// through. So code that any thread may have called is never unmapped, and late calls of it are
/// still reported.
impl Drop for Inner {
    fn drop(&mut self) {
        if *self.was_shared.get_mut() {
            std::mem::forget(std::mem::take(&mut *lock(&self.codes)));
            std::mem::forget(std::mem::take(&mut *lock(&self.jumps)));
            std::mem::forget(std::mem::take(&mut *lock(&self.arenas)));
        } else {
            self.go.clear();
            self.native.clear();
        }
    }
}
