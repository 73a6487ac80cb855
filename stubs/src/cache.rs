//! One stub per key: made once, shared, counted.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};
use std::time::{Duration, Instant};

use crate::code::{Arena, DEFAULT_ARENA_CAPACITY, WriteAccess};
use crate::compile::Compiler;
use crate::interp::Interpreter;
use crate::lock::{lock, none_held, read, write};
use crate::publish::{CodePart, Publisher};
use crate::tools::Tools;
use crate::{
    Abi, CallStub, DEFAULT_FRAME_LIMIT, Gate, KeyOptions, Signature, Stub, StubError, StubKey,
};

/// How stubs are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodePolicy {
    /// Machine code; an error where it is not available.
    #[default]
    Generate,
    /// No machine code: every call is interpreted, tens of times slower.
    Interpret,
    /// Machine code where it is available, else interpretation. A fallback is reported: counted in
    /// [`CacheStats::fallbacks`], and a `tracing` warning with the reason.
    GenerateOrInterpret,
}

/// How a cache is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheOptions {
    /// How stubs are made.
    pub policy: CodePolicy,
    /// Bytes of address space for code; memory is taken as stubs are made.
    pub arena_capacity: usize,
    /// Largest frame of a stub, in bytes.
    pub frame_limit: u64,
    /// Whether debuggers are told of each stub by gdb's JIT interface: name, place and unwind
    /// information. It costs some kilobytes and a search of the debugger's for each stub.
    ///
    /// The interface is one list for the whole process and has no lock. Caches take turns; another
    /// code generator that registers at the very moment may damage the list. So it is off unless
    /// asked for.
    pub debugger: bool,
    /// The directory for a file `jit-PID.dump`, in which perf finds the name and the code of each
    /// stub: `perf record -k 1`, then `perf inject --jit`. `None`: no such file.
    ///
    /// The file must not be there yet, so two caches of a process need two directories. The file
    /// is not removed.
    pub jitdump: Option<PathBuf>,
    /// When code memory can be written.
    pub write_access: WriteAccess,
}

impl CacheOptions {
    /// The options with another policy.
    #[must_use]
    pub fn policy(self, policy: CodePolicy) -> CacheOptions {
        CacheOptions { policy, ..self }
    }

    /// The options with an arena of so many bytes of address space, rounded up to whole regions.
    #[must_use]
    pub fn arena_capacity(self, arena_capacity: usize) -> CacheOptions {
        CacheOptions {
            arena_capacity,
            ..self
        }
    }

    /// The options with another limit on the frames of stubs, in bytes.
    #[must_use]
    pub fn frame_limit(self, frame_limit: u64) -> CacheOptions {
        CacheOptions {
            frame_limit,
            ..self
        }
    }
}

impl CacheOptions {
    /// The options with [debuggers](CacheOptions::debugger) told of stubs, or not.
    #[must_use]
    pub fn debugger(self, debugger: bool) -> CacheOptions {
        CacheOptions { debugger, ..self }
    }

    /// The options with another time for code memory to be writable.
    #[must_use]
    pub fn write_access(self, write_access: WriteAccess) -> CacheOptions {
        CacheOptions {
            write_access,
            ..self
        }
    }

    /// The options with a [file for perf](CacheOptions::jitdump) in this directory.
    #[must_use]
    pub fn jitdump(self, directory: impl Into<PathBuf>) -> CacheOptions {
        CacheOptions {
            jitdump: Some(directory.into()),
            ..self
        }
    }
}

impl Default for CacheOptions {
    fn default() -> Self {
        CacheOptions {
            policy: CodePolicy::default(),
            arena_capacity: DEFAULT_ARENA_CAPACITY,
            frame_limit: DEFAULT_FRAME_LIMIT,
            debugger: false,
            jitdump: None,
            write_access: WriteAccess::default(),
        }
    }
}

/// Statistics of a cache since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Look-ups that found a stub.
    pub hits: u64,
    /// Look-ups that had to make one.
    pub misses: u64,
    /// Stubs in the cache.
    pub stubs: usize,
    /// Of these, how many are interpreted.
    pub interpreted: usize,
    /// Keys whose stubs are interpreted although machine code was asked for.
    pub fallbacks: u64,
    /// Bytes of code memory in use.
    pub code_bytes: usize,
    /// Entries in the unwinder's registry.
    pub unwind_entries: usize,
    /// Time spent making stubs.
    pub compile_time: Duration,
    /// Pieces of code that a debugger or perf could not be told of, as a `tracing` warning said.
    pub unnamed: u64,
}

/// What [`StubCache::find`] found at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundCode {
    /// The keys of the stubs whose code it is, in the order of their texts: one for the loop of a
    /// stub. Veneers are shared by stubs that need the same one, unless the cache tells debuggers
    /// or perf of its code. Empty for the entrance, which belongs to all.
    pub keys: Vec<StubKey>,
    /// What it is.
    pub part: CodePart,
}

/// A cache with one stub for each key. `Send` and `Sync`; nothing of it is shared between caches.
///
/// ```
/// use fing_stubs::{Abi, GBlock, Record, StubCache};
/// extern "C" fn add(counter: &std::cell::Cell<u64>) { counter.set(counter.get() + 1) }
///
/// let cache = StubCache::new(Default::default())?;
/// let stub = cache.for_signature(&"func(*int)".parse()?, Abi::host_native()?)?;
/// let counter = std::cell::Cell::new(41_u64);
/// let record = Record { code: add as usize, context: 0, words: [&raw const counter as u64, 0] };
/// // SAFETY: `add` is a C function of one pointer, and `counter` outlives the call.
/// unsafe { stub.run_all(&[record], &GBlock::zeroed()) };
/// assert_eq!(counter.get(), 42);
/// # Ok::<(), fing_stubs::StubError>(())
/// ```
#[derive(Debug)]
pub struct StubCache {
    options: CacheOptions,
    /// Never closed: it tells a forked child, which must not take the locks.
    gate: Arc<Gate>,
    stubs: [RwLock<Shelf>; SHELVES],
    front: Front,
    generator: OnceLock<Generator>,
    hits: AtomicU64,
    misses: AtomicU64,
    fallbacks: AtomicU64,
    nanoseconds: AtomicU64,
    /// Held while the generator is put in its place, so that none escapes a seal.
    is_sealed: Mutex<bool>,
}

/// Number of shelves; some bits of a key's hash choose one.
const SHELVES: usize = 64;

/// Some stubs, in the order of their keys' hashes. That takes a word for each and little more,
/// where a hash table takes two; stubs which are looked up often are found by the [`Front`].
#[derive(Debug, Default)]
struct Shelf(Vec<Arc<Stub>>);

impl Shelf {
    /// Where stubs with this hash begin.
    fn place(&self, hash: u64) -> usize {
        self.0.partition_point(|stub| stub.key().hash_code() < hash)
    }

    fn find(&self, key: &StubKey) -> Option<&Arc<Stub>> {
        let hash = key.hash_code();
        self.0[self.place(hash)..]
            .iter()
            .take_while(|stub| stub.key().hash_code() == hash)
            .find(|stub| stub.key() == key)
    }

    /// The stub that is there already, or this one from now on, and whether it is this one.
    fn insert_or_get(&mut self, stub: Stub) -> (Arc<Stub>, bool) {
        if let Some(found) = self.find(stub.key()) {
            return (found.clone(), false);
        }
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(4 + self.0.len() / 8);
        }
        let stub = Arc::new(stub);
        let place = self.place(stub.key().hash_code());
        self.0.insert(place, stub.clone());
        (stub, true)
    }
}

/// Slots of the front. Most programs have fewer stubs than that.
const FRONT: usize = 64;

/// A small lock-free table in front of the shelves, indexed by a key's hash; each slot has the
/// first stub that was looked up there.
///
/// A slot is set once and holds its stub weakly; when the stub is dropped, the slot stays unused.
#[derive(Debug)]
struct Front([OnceLock<(u64, Weak<Stub>)>; FRONT]);

impl Default for Front {
    fn default() -> Front {
        Front([const { OnceLock::new() }; FRONT])
    }
}

impl Front {
    fn slot(&self, hash: u64) -> &OnceLock<(u64, Weak<Stub>)> {
        &self.0[hash as usize % FRONT]
    }

    fn find(&self, key: &StubKey) -> Option<Arc<Stub>> {
        let (hash, stub) = self.slot(key.hash_code()).get()?;
        let stub = (*hash == key.hash_code()).then(|| stub.upgrade())??;
        (stub.key() == key).then_some(stub)
    }

    fn offer(&self, stub: &Arc<Stub>) {
        let hash = stub.key().hash_code();
        self.slot(hash).get_or_init(|| (hash, Arc::downgrade(stub)));
    }
}

/// A stub, and why it is interpreted although machine code was wanted.
struct Made {
    stub: Stub,
    fallback: Option<StubError>,
}

/// What machine code needs; made with the first stub.
struct Generator {
    compiler: Compiler,
    publisher: Publisher,
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generator")
            .field("target", self.compiler.triple())
            .field("publisher", &self.publisher)
            .finish()
    }
}

impl Generator {
    fn new(options: &CacheOptions, gate: &Arc<Gate>) -> Result<Generator, StubError> {
        let tools = Tools::new(options.debugger, options.jitdump.as_deref())?;
        Ok(Generator {
            compiler: Compiler::host()?,
            publisher: Publisher::new(Arena::new(
                options.arena_capacity,
                options.write_access,
                gate.clone(),
                tools,
            )?),
        })
    }
}

impl StubCache {
    /// An empty cache. Under [`CodePolicy::Generate`] the code arena is reserved here, so that a
    /// host without executable memory is known at once.
    ///
    /// # Errors
    /// The environment's: no such ISA in this build, no executable memory.
    pub fn new(options: CacheOptions) -> Result<StubCache, StubError> {
        let gate = Gate::new().map_err(|source| StubError::ExecutableMemory {
            operation: "mmap (a page that forked children find empty)",
            source,
        })?;
        let cache = StubCache {
            options,
            gate: Arc::new(gate),
            stubs: [const { RwLock::new(Shelf(Vec::new())) }; SHELVES],
            front: Front::default(),
            generator: OnceLock::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
            is_sealed: Mutex::new(false),
        };
        if cache.options.policy == CodePolicy::Generate {
            cache.generator()?;
        }
        Ok(cache)
    }

    /// How this cache was set up.
    pub fn options(&self) -> &CacheOptions {
        &self.options
    }

    /// The key of `signature` under `abi`, with this cache's frame limit.
    ///
    /// # Errors
    /// As [`StubKey::new`].
    pub fn key(
        &self,
        signature: &Signature,
        abi: Abi,
        context_argument: bool,
    ) -> Result<StubKey, StubError> {
        StubKey::new(
            signature,
            abi,
            KeyOptions {
                context_argument,
                frame_limit: self.options.frame_limit,
            },
        )
    }

    /// The stub for functions of `signature` under `abi`.
    ///
    /// # Errors
    /// As [`StubCache::key`] and [`StubCache::get`].
    pub fn for_signature(&self, signature: &Signature, abi: Abi) -> Result<Arc<Stub>, StubError> {
        self.get(&self.key(signature, abi, false)?)
    }

    /// Makes the stubs for functions of these signatures and ABIs ahead of time, so that none is
    /// made when it is first needed. Stubs that the caller keeps survive a
    /// [`trim`](Self::trim).
    ///
    /// ```
    /// use fing_stubs::{Abi, Arch, StubCache};
    ///
    /// let cache = StubCache::new(Default::default())?;
    /// let abis = [Abi::host_native()?, Abi::go(Arch::host().unwrap())];
    /// let signature = "func(*int) error".parse()?;
    /// let held = cache.warm(abis.map(|abi| (&signature, abi)))?;
    /// assert_eq!((held.len(), cache.stats().misses), (2, 2));
    ///
    /// cache.for_signature(&signature, Abi::host_native()?)?;
    /// assert_eq!((cache.stats().misses, cache.stats().hits), (2, 1));
    /// # Ok::<(), fing_stubs::StubError>(())
    /// ```
    ///
    /// # Errors
    /// As [`StubCache::for_signature`], of the first that fails; the stubs before it have been
    /// made.
    pub fn warm<'a>(
        &self,
        functions: impl IntoIterator<Item = (&'a Signature, Abi)>,
    ) -> Result<Vec<Arc<Stub>>, StubError> {
        let stubs = functions.into_iter();
        stubs
            .map(|(signature, abi)| self.for_signature(signature, abi))
            .collect()
    }

    /// A stub that calls functions of `signature` under `abi`, with arguments and results in
    /// memory.
    ///
    /// # Errors
    /// A type that `abi` can't pass, a frame past the limit; else as [`StubCache::get`].
    pub fn call_stub(&self, signature: &Signature, abi: Abi) -> Result<CallStub, StubError> {
        let options = KeyOptions {
            context_argument: false,
            frame_limit: self.options.frame_limit,
        };
        let stub = self.get(&StubKey::block(signature, abi, options)?)?;
        Ok(CallStub::new(stub, signature))
    }

    /// An empty cache that makes a mistake in every stub it generates.
    ///
    /// # Errors
    /// As [`StubCache::new`].
    #[cfg(feature = "faults")]
    pub fn with_fault(
        options: CacheOptions,
        fault: crate::faults::Fault,
    ) -> Result<StubCache, StubError> {
        let mut cache = StubCache::new(options)?;
        cache.generator()?;
        if let Some(generator) = cache.generator.get_mut() {
            generator.compiler.plant(fault);
        }
        Ok(cache)
    }

    /// The stub for `key`, made if need be.
    ///
    /// No lock is held while the stub is made or a fallback is reported, so subscribers of
    /// `tracing` and loggers may use the cache. A panic of theirs goes to the caller and leaves the
    /// cache as if there had been none.
    ///
    /// # Errors
    /// The key is for another machine; no code memory, or the arena is full, unless the policy
    /// allows interpretation.
    pub fn get(&self, key: &StubKey) -> Result<Arc<Stub>, StubError> {
        StubError::check_fork(&self.gate)?;
        match self.front.find(key) {
            Some(stub) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                Ok(stub)
            }
            None => self.get_slowly(key),
        }
    }

    /// Makes the stub, unless it is on a shelf, without a lock: Cranelift's log records run code of
    /// the user's, which may come here again. Threads that make the same stub at the same time end
    /// with the first one.
    #[cold]
    fn get_slowly(&self, key: &StubKey) -> Result<Arc<Stub>, StubError> {
        if let Some(stub) = self.on_shelf(key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(stub);
        }
        let begun = Instant::now();
        let made = match self.make(key) {
            Ok(made) => made,
            // Another thread may have made the same stub, and so have filled the arena.
            Err(error) => return self.on_shelf(key).ok_or(error),
        };
        let (stub, is_new) = write(self.shelf(key)).insert_or_get(made.stub);
        if !is_new {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(stub);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds
            .fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        if let Some(reason) = made.fallback {
            self.fallbacks.fetch_add(1, Ordering::Relaxed);
            none_held();
            tracing::warn!(%key, %reason, "no machine code for this stub: its calls are \
                interpreted");
        }
        Ok(stub)
    }

    /// Gives up writing to code memory for the rest of the cache's life. To be called when all
    /// stubs that are needed have been made: a look-up of another one is an error from then on, or
    /// under [`CodePolicy::GenerateOrInterpret`] a reported fallback, and memory of stubs that are
    /// dropped is not used again.
    ///
    /// Returns true if the writable alias is gone, or never was. If another thread is publishing a
    /// stub at this moment, that stub is made, the alias goes with it, and this returns false.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing_stubs::{Abi, StubCache, StubError};
    ///
    /// let cache = StubCache::new(Default::default())?;
    /// let held = cache.warm([(&"func(*int)".parse()?, Abi::system_v())])?;
    /// assert!(cache.seal()?);
    /// assert!(cache.for_signature(&"func(*int)".parse()?, Abi::system_v()).is_ok());
    /// let other = cache.for_signature(&"func(any)".parse()?, Abi::system_v());
    /// assert!(matches!(other, Err(StubError::Sealed)));
    /// # drop(held);
    /// # Ok::<(), StubError>(())
    /// ```
    ///
    /// # Errors
    /// The system refuses; or this process is a fork of the one that made the cache.
    pub fn seal(&self) -> Result<bool, StubError> {
        StubError::check_fork(&self.gate)?;
        *lock(&self.is_sealed) = true;
        match self.generator.get() {
            Some(generator) => generator.publisher.arena.seal(),
            None => Ok(true),
        }
    }

    /// Drops every stub that only the cache holds, so that its code memory can be used again.
    /// Returns their number. In a forked child nothing happens.
    pub fn trim(&self) -> usize {
        if self.gate.is_forked() {
            return 0;
        }
        let trimmed = self.stubs.iter().map(|shelf| {
            let mut shelf = write(shelf);
            let before = shelf.0.len();
            shelf.0.retain(|stub| Arc::strong_count(stub) > 1);
            before - shelf.0.len()
        });
        trimmed.sum()
    }

    /// What generated code of this cache lies at an address, such as a program counter of a
    /// backtrace or of a profile; `None` if none does, as in a forked child.
    ///
    /// Looks at each stub and takes locks: not for signal handlers.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing_stubs::{Abi, CodePart, StubCache};
    ///
    /// let cache = StubCache::new(Default::default())?;
    /// let stub = cache.for_signature(&"func(*int)".parse()?, Abi::system_v())?;
    /// let found = cache.find(stub.entry().unwrap() + 1).unwrap();
    /// assert_eq!((found.part, &found.keys[0]), (CodePart::Stub, stub.key()));
    /// # Ok::<(), fing_stubs::StubError>(())
    /// ```
    pub fn find(&self, address: usize) -> Option<FoundCode> {
        let generator = self.generator.get()?;
        if self.gate.is_forked() || !generator.publisher.arena.contains(address) {
            return None;
        }
        // A stub that was trimmed while a thread looked it up is known to the front only.
        let front = self.front.0.iter().filter_map(OnceLock::get);
        let mut stubs: Vec<Arc<Stub>> = front.filter_map(|(_, stub)| stub.upgrade()).collect();
        for shelf in &self.stubs {
            stubs.extend(read(shelf).0.iter().cloned());
        }
        let found = stubs.iter().filter_map(|stub| {
            let part = stub.part_at(address)?;
            Some((part, stub.key()))
        });
        let found: Vec<_> = found.collect();
        let part = found.first()?.0;
        let mut keys: Vec<StubKey> = match part {
            CodePart::Entrance => Vec::new(),
            _ => found.iter().map(|(_, key)| (*key).clone()).collect(),
        };
        keys.sort_by_cached_key(StubKey::to_string);
        keys.dedup();
        Some(FoundCode { keys, part })
    }

    /// The figures so far; in a forked child none, since they are counted under locks.
    pub fn stats(&self) -> CacheStats {
        if self.gate.is_forked() {
            return CacheStats::default();
        }
        let (mut stubs, mut interpreted) = (0, 0);
        for shelf in &self.stubs {
            let shelf = read(shelf);
            stubs += shelf.0.len();
            interpreted += shelf.0.iter().filter(|stub| !stub.is_generated()).count();
        }
        let arena = self
            .generator
            .get()
            .map(|generator| &generator.publisher.arena);
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            stubs,
            interpreted,
            fallbacks: self.fallbacks.load(Ordering::Relaxed),
            code_bytes: arena.map_or(0, |arena| arena.used()),
            unwind_entries: arena.map_or(0, |arena| arena.unwind_entries()),
            compile_time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
            unnamed: arena.map_or(0, |arena| arena.tools.failures()),
        }
    }

    fn shelf(&self, key: &StubKey) -> &RwLock<Shelf> {
        &self.stubs[(key.hash_code() >> 8) as usize % SHELVES]
    }

    fn on_shelf(&self, key: &StubKey) -> Option<Arc<Stub>> {
        let stub = read(self.shelf(key)).find(key)?.clone();
        self.front.offer(&stub);
        Some(stub)
    }

    /// The gate that tells whether this process made the cache.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    fn generator(&self) -> Result<&Generator, StubError> {
        if let Some(generator) = self.generator.get() {
            return Ok(generator);
        }
        let generator = Generator::new(&self.options, &self.gate)?;
        let is_sealed = lock(&self.is_sealed);
        if *is_sealed {
            return Err(StubError::Sealed);
        }
        Ok(self.generator.get_or_init(|| generator))
    }

    fn make(&self, key: &StubKey) -> Result<Made, StubError> {
        let interpreted = |fallback| {
            let stub = Stub::interpreted(key.clone(), Interpreter::new(key)?);
            Ok(Made { stub, fallback })
        };
        if self.options.policy == CodePolicy::Interpret {
            return interpreted(None);
        }
        match self.generate(key) {
            Ok(stub) => Ok(Made {
                stub,
                fallback: None,
            }),
            Err(reason) => match self.options.policy {
                CodePolicy::GenerateOrInterpret if reason.is_environment() => {
                    interpreted(Some(reason))
                }
                _ => Err(reason),
            },
        }
    }

    fn generate(&self, key: &StubKey) -> Result<Stub, StubError> {
        let generator = self.generator()?;
        let compiled = generator.compiler.compile(key, false)?;
        let published = generator
            .publisher
            .publish(&generator.compiler, key, &compiled)?;
        Ok(Stub::generated(key.clone(), published))
    }
}
