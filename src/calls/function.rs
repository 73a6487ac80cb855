//! The functions that can be registered. Building one takes the embedder's only promise about it:
//! that at this address is a function of this signature and ABI.
//!
//! A finalizer function and a cleanup function are two types, because their callers promise
//! different things: a finalizer is only ever called with an object whose type was checked when it
//! was registered, a cleanup with any value of its parameter's type.
#![expect(
    unsafe_code,
    reason = "declares the unsafe constructors; contains no unsafe block"
)]

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use fing_stubs::{Abi, Arch, Signature, Type};

use crate::calls::lane::MailboxId;
use crate::calls::lent::RustBody;
use crate::calls::status::StatusResult;

/// A function that can be set as a finalizer. Cheap to clone; clones are the same function.
///
/// ```
/// use fing::{Abi, FinalizerFn};
/// extern "C" fn close(_file: *mut u8) {}
///
/// let signature = "func(*uint8)".parse()?;
/// // SAFETY: `close` is a C function of one pointer, and lives as long as the program.
/// let close = unsafe {
///     FinalizerFn::builder(signature, Abi::host_native()?).at(close as *const ())
/// };
/// assert_eq!(close.signature().to_string(), "func(*uint8)");
/// # Ok::<(), fing::stubs::StubError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FinalizerFn(Function);

/// A function that can be added as a cleanup. Cheap to clone; clones are the same function.
///
/// ```
/// use fing::{Abi, CleanupFn};
/// extern "C" fn close(_descriptor: i32) {}
///
/// let signature = "func(int32)".parse()?;
/// // SAFETY: `close` is a C function of one 32-bit integer, whatever its value is.
/// let close = unsafe {
///     CleanupFn::builder(signature, Abi::host_native()?).at(close as *const ())
/// };
/// assert_eq!(close.signature().to_string(), "func(int32)");
/// # Ok::<(), fing::stubs::StubError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CleanupFn(Function);

/// What finalizer and cleanup functions have in common.
#[derive(Clone, Debug)]
pub(crate) struct Function(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    signature: Signature,
    entry: Entry,
    context: ContextKind,
    interface_word: Option<usize>,
    bulk: bool,
    returns_status: bool,
    takes_any: bool,
    free_threaded: bool,
    mailbox: Option<MailboxId>,
    /// The owner of the code; dropped with the last clone of the function.
    _keep_alive: KeepAlive,
}

/// Where the code is, and for which ABI it was compiled.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// One address, one ABI.
    Fixed { abi: Abi, code: usize },
    /// Go code that follows the runtime's register count: the address for count n is `codes[n]`.
    Following { arch: Arch, codes: Box<[usize]> },
    /// A Rust closure that takes the mutator.
    Rust(RustCode),
}

/// A Rust closure, called without a stub.
#[derive(Clone)]
pub(crate) struct RustCode(pub(crate) Arc<dyn RustBody>);

impl std::fmt::Debug for RustCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closure")
    }
}

/// Where the context that a function is called with comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ContextKind {
    /// The function takes none.
    #[default]
    None,
    /// All registrations share this word, which is not traced.
    Fixed(usize),
    /// Each registration has its own word, which is not traced.
    Word,
    /// Each registration has its own object, which is traced. Pointers to it are of this type.
    Object(Type),
    /// Each call is lent the runtime's mutator, in place of a context. (Rust closures are lent it
    /// in any case.)
    Mutator,
}

impl ContextKind {
    /// Whether each registration has its own context.
    pub(crate) fn is_per_registration(&self) -> bool {
        matches!(self, ContextKind::Word | ContextKind::Object(_))
    }
}

#[derive(Clone, Default)]
struct KeepAlive(Option<Arc<dyn Any + Send + Sync>>);

impl std::fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "KeepAlive" } else { "-" })
    }
}

/// Builds a [`FinalizerFn`] or [`CleanupFn`]. Holds everything known about the function except its
/// address.
#[derive(Clone, Debug)]
pub struct FunctionBuilder<F, A = Abi> {
    signature: Signature,
    abi: A,
    context: ContextKind,
    interface_word: Option<usize>,
    bulk: bool,
    returns_status: bool,
    takes_any: bool,
    free_threaded: bool,
    mailbox: Option<MailboxId>,
    keep_alive: KeepAlive,
    makes: PhantomData<fn() -> F>,
}

/// Marks a [`FunctionBuilder`] of a Go function that follows the runtime's count of integer
/// argument registers; see [`FinalizerFn::following_int_arg_regs`].
#[derive(Clone, Copy, Debug)]
pub struct Following(Arch);

/// Why a function could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FunctionError {
    /// A function that follows the register count needs an address for each.
    #[error(
        "at_each: found {found} addresses, wanted {wanted}: one for each register count of {arch}"
    )]
    Addresses {
        /// How many were given.
        found: usize,
        /// How many there must be.
        wanted: usize,
        /// The machine.
        arch: Arch,
    },
}

/// `func(unsafe.Pointer)`.
fn one_word() -> Signature {
    match Signature::new(None, vec![Type::unsafe_pointer()], Vec::new(), false) {
        Ok(signature) => signature,
        Err(error) => unreachable!("a signature of one pointer: {error}"),
    }
}

/// The number of register counts of a machine: from 0 to its maximum.
fn counts(arch: Arch) -> usize {
    fing_stubs::Machine::of(arch).int_regs.len() + 1
}

impl FinalizerFn {
    /// Returns a builder of a function of `signature` that was compiled for `abi` and is always
    /// called by it.
    pub fn builder(signature: Signature, abi: Abi) -> FunctionBuilder<FinalizerFn> {
        FunctionBuilder::begin(signature, abi)
    }

    /// Returns a builder of a Go function that follows the runtime's count of integer argument
    /// registers ([`Runtime::set_int_arg_regs`](crate::Runtime::set_int_arg_regs)): each drain of
    /// the queue calls it by the ABI of the count that is set when the drain begins.
    pub fn following_int_arg_regs(
        signature: Signature,
        arch: Arch,
    ) -> FunctionBuilder<FinalizerFn, Following> {
        FunctionBuilder::begin(signature, Following(arch))
    }

    /// Returns a builder of a function of one word: the address of an object, whatever its type.
    /// For VMs whose finalizers look at the object's own header, or whose types Go has not. It can
    /// be set for objects of every type.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing::{Abi, FinalizerFn, Runtime};
    ///
    /// extern "C" fn finalize(object: usize) {
    ///     assert_ne!(object, 0);
    /// }
    ///
    /// let runtime = Runtime::new()?;
    /// // SAFETY: `finalize` is a C function of one word, and takes every object.
    /// let finalize = unsafe {
    ///     FinalizerFn::of_any_object(Abi::host_native()?).at(finalize as *const ())
    /// };
    /// let types = ["uint64", "struct { P *uint8 }"].map(|ty| runtime.types().id(ty));
    /// let mutator = runtime.attach()?;
    /// for ty in types {
    ///     mutator.set_finalizer(mutator.alloc(ty?)?, &finalize)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_any_object(abi: Abi) -> FunctionBuilder<FinalizerFn> {
        FunctionBuilder {
            takes_any: true,
            ..FunctionBuilder::begin(one_word(), abi)
        }
    }

    /// A function that is a Rust closure, which is lent the mutator. Without a signature it
    /// takes objects of all types.
    pub(crate) fn of_rust(
        signature: Option<Signature>,
        context: ContextKind,
        body: Arc<dyn RustBody>,
    ) -> FinalizerFn {
        let takes_any = signature.is_none();
        let signature = signature.unwrap_or_else(one_word);
        let mut builder = FunctionBuilder::<FinalizerFn, ()>::begin(signature, ());
        builder.context = context;
        builder.takes_any = takes_any;
        // The closure is `Fn + Send + Sync`.
        builder.free_threaded = true;
        FinalizerFn(builder.finish(Entry::Rust(RustCode(body))))
    }

    /// Returns the signature that the function was declared with.
    pub fn signature(&self) -> &Signature {
        self.0.signature()
    }

    #[inline]
    pub(crate) fn function(&self) -> &Function {
        &self.0
    }
}

impl CleanupFn {
    /// Returns a builder of a function of `signature` that was compiled for `abi` and is always
    /// called by it.
    pub fn builder(signature: Signature, abi: Abi) -> FunctionBuilder<CleanupFn> {
        FunctionBuilder::begin(signature, abi)
    }

    /// Returns a builder of a Go function that follows the runtime's count of integer argument
    /// registers ([`Runtime::set_int_arg_regs`](crate::Runtime::set_int_arg_regs)): each drain of
    /// the queue calls it by the ABI of the count that is set when the drain begins.
    pub fn following_int_arg_regs(
        signature: Signature,
        arch: Arch,
    ) -> FunctionBuilder<CleanupFn, Following> {
        FunctionBuilder::begin(signature, Following(arch))
    }

    /// Returns the signature that the function was declared with.
    pub fn signature(&self) -> &Signature {
        self.0.signature()
    }

    #[inline]
    pub(crate) fn function(&self) -> &Function {
        &self.0
    }
}

impl Function {
    pub(crate) fn signature(&self) -> &Signature {
        &self.0.signature
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.0.entry
    }

    /// The ABI, unless it is one of Go's that follows the runtime's register count, or there is
    /// none, as a Rust closure is called without a stub.
    pub(crate) fn fixed_abi(&self) -> Option<Abi> {
        match self.0.entry {
            Entry::Fixed { abi, .. } => Some(abi),
            Entry::Following { .. } | Entry::Rust(_) => None,
        }
    }

    pub(crate) fn context(&self) -> &ContextKind {
        &self.0.context
    }

    /// Whether each call is lent the mutator.
    pub(crate) fn takes_mutator(&self) -> bool {
        self.0.context == ContextKind::Mutator || matches!(self.0.entry, Entry::Rust(_))
    }

    pub(crate) fn interface_word(&self) -> Option<usize> {
        self.0.interface_word
    }

    pub(crate) fn is_bulk(&self) -> bool {
        self.0.bulk
    }

    /// Whether its last result says whether the call has failed.
    pub(crate) fn returns_status(&self) -> bool {
        self.0.returns_status
    }

    /// Whether it bears calls on any thread, several at a time.
    pub(crate) fn is_free_threaded(&self) -> bool {
        self.0.free_threaded
    }

    /// The mailbox that all its calls are made in, if it was made for one.
    pub(crate) fn mailbox(&self) -> Option<MailboxId> {
        self.0.mailbox
    }

    /// Whether it returns a status that can be read, or none.
    pub(crate) fn has_readable_status(&self) -> bool {
        !self.returns_status() || StatusResult::of(self.signature()).is_some()
    }

    /// Returns the type of its parameter, if it has exactly one that is not variadic.
    pub(crate) fn only_parameter(&self) -> Option<&Type> {
        let mut parameters = self.signature().arguments();
        let only = parameters.next().filter(|_| parameters.next().is_none());
        only.filter(|_| !self.signature().is_variadic())
    }

    /// Whether it takes objects of all types, as one word.
    pub(crate) fn takes_any(&self) -> bool {
        self.0.takes_any
    }

    /// Whether its address, or one of its addresses, is null.
    pub(crate) fn is_nil(&self) -> bool {
        match &self.0.entry {
            Entry::Fixed { code, .. } => *code == 0,
            Entry::Following { codes, .. } => codes.contains(&0),
            Entry::Rust(_) => false,
        }
    }

    /// Equal for clones of one function, different for all others that are alive.
    #[inline]
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Returns how many clones there are, this one included.
    pub(crate) fn clones(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl<F, A> FunctionBuilder<F, A> {
    fn begin(signature: Signature, abi: A) -> Self {
        FunctionBuilder {
            signature,
            abi,
            context: ContextKind::None,
            interface_word: None,
            bulk: false,
            returns_status: false,
            takes_any: false,
            free_threaded: false,
            mailbox: None,
            keep_alive: KeepAlive(None),
            makes: PhantomData,
        }
    }

    /// Sets a context that all registrations of the function share. Under Go's ABIs it is the
    /// address of the function's closure, passed in the closure context register; under native ABIs
    /// it is one more pointer argument after the parameter.
    ///
    /// The context is not traced: if it is the address of an object of the heap, it does not keep
    /// that object alive. For a context that differs between registrations see
    /// [`context_word`](Self::context_word) and [`context_object`](Self::context_object).
    pub fn context(mut self, context: usize) -> Self {
        self.context = ContextKind::Fixed(context);
        self
    }

    /// Sets the first word of the interface that the function is called with, in place of fing's
    /// own itab or type descriptor. Code that compares or follows such words by address needs it.
    pub fn interface_word(mut self, word: usize) -> Self {
        self.interface_word = Some(word);
        self
    }

    /// Keeps `owner` (code, closure, library) alive as long as the function may be called: until no
    /// clone of the function exists and a collection has found no registration and no queued call
    /// of it, or until the runtime is dropped.
    ///
    /// `owner` is dropped on the thread that collects or on the thread that runs finalizers, with
    /// no lock held; a panic of its `Drop` is caught and reported as a `tracing` event.
    pub fn keep_alive(mut self, owner: Arc<dyn Any + Send + Sync>) -> Self {
        self.keep_alive = KeepAlive(Some(owner));
        self
    }

    /// Gives each registration a context of its own, a word that is passed as
    /// [`context`](Self::context) is and is not traced. So one function serves any number of
    /// closures.
    ///
    /// ```
    /// use fing::{Abi, Executor, FinalizerFn, FinalizerOptions, HeldValue, Runtime};
    ///
    /// extern "C" fn release(_object: usize, slot: usize) {
    ///     println!("slot {slot} is free");
    /// }
    ///
    /// let runtime = Runtime::builder().executor(Executor::Inline).build()?;
    /// let ty = runtime.types().define("main.T", "struct { N uint64 }")?;
    /// let signature = runtime.types().parse_signature("func(*main.T)")?;
    /// // SAFETY: `release` is a C function of a pointer, with any word as its context.
    /// let release = unsafe {
    ///     FinalizerFn::builder(signature, Abi::host_native()?).context_word()
    ///         .at(release as *const ())
    /// };
    /// runtime.enter(|mutator| {
    ///     for slot in 0..3 {
    ///         let options = FinalizerOptions::new().context(HeldValue::Word(slot));
    ///         mutator.set_finalizer_with(mutator.alloc(ty)?, &release, options)?;
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// runtime.gc()?;
    /// assert_eq!(runtime.run_finalizers()?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn context_word(mut self) -> Self {
        self.context = ContextKind::Word;
        self
    }

    /// Gives each registration a context of its own, an object: a closure on the heap. `pointer` is
    /// the type of pointers to such objects (`*main.Env`), which each registration is checked
    /// against; `unsafe.Pointer` accepts objects of every type. (A foreign collector's objects have
    /// no types; there any object is accepted.)
    ///
    /// The object is a root exactly while the registration exists or its call is queued or running.
    /// So, as in Go, a finalizer or cleanup whose context leads to its own object never runs.
    ///
    /// Under the Go ABIs the object is a closure: its first word is the function's address.
    pub fn context_object(mut self, pointer: Type) -> Self {
        self.context = ContextKind::Object(pointer);
        self
    }

    /// Lends each call the runtime's mutator. Its address is passed as a context is: in the closure
    /// context register under Go's ABIs, and as one more pointer argument after the parameters
    /// under native ABIs. So such a function has no other context.
    ///
    /// Behind the address is a [`Mutator`](crate::Mutator), which the call has for itself until it
    /// returns: a function written in Rust may declare the argument as `&mut Mutator`. The thread
    /// is inside the heap then. Collections wait for the call, so one that takes long comes to
    /// [`safepoint`](crate::Mutator::safepoint)s, and one that blocks does so in a
    /// [`native`](crate::Mutator::native) region. Between two calls a collection that is wanted
    /// happens. The mutator must be left in its place; another one is reported
    /// ([`MisuseKind::Replaced`](crate::observe::MisuseKind::Replaced)).
    ///
    /// This is the cheap way for a finalizer to touch the heap: the thread enters once for many
    /// calls. [`foreign::Finalizers`](crate::foreign::Finalizers) have no mutator to lend, and
    /// refuse such functions.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing::{Abi, Executor, FinalizerFn, Mutator, Runtime};
    ///
    /// extern "C" fn close(object: usize, mutator: &mut Mutator) {
    ///     // SAFETY: a finalizer is called with its object.
    ///     let file = unsafe { mutator.adopt_unchecked(object) };
    ///     println!("closing descriptor {}", mutator.load_word(file, 0).unwrap());
    ///     mutator.store_word(file, 0, u64::MAX).unwrap();
    /// }
    ///
    /// let runtime = Runtime::builder().executor(Executor::Inline).build()?;
    /// let file = runtime.types().define("main.File", "struct { FD uint64 }")?;
    /// let signature = runtime.types().parse_signature("func(*main.File)")?;
    /// // SAFETY: `close` is a System V function of a pointer and the mutator.
    /// let close = unsafe {
    ///     FinalizerFn::builder(signature, Abi::system_v()).takes_mutator().at(close as *const ())
    /// };
    /// runtime.enter(|mutator| {
    ///     for descriptor in 3..6 {
    ///         let object = mutator.alloc(file)?;
    ///         mutator.store_word(object, 0, descriptor)?;
    ///         mutator.set_finalizer(object, &close)?;
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// runtime.gc()?;
    /// assert_eq!(runtime.run_finalizers()?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn takes_mutator(mut self) -> Self {
        self.context = ContextKind::Mutator;
        self
    }

    /// Declares that the function's last result is a status: an integer, which is not 0 if the call
    /// has failed, or an interface such as Go's `error`, which is not nil then. A call that failed
    /// is handled as one that panicked is: see [`FailurePolicy`](crate::failure::FailurePolicy).
    /// Registering a function whose last result is something else fails.
    ///
    /// Each call of such a function is made by itself, which takes some nanoseconds more than a
    /// call in a batch.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing::{Abi, Executor, FinalizerFn, Runtime};
    ///
    /// extern "C" fn close(_file: *const u64) -> i32 {
    ///     -5
    /// }
    ///
    /// let runtime = Runtime::builder()
    ///     .executor(Executor::Inline)
    ///     .on_failure(|failure| eprintln!("{failure}"))
    ///     .build()?;
    /// let file = runtime.types().define("main.File", "struct { FD int }")?;
    /// let signature = runtime.types().parse_signature("func(*main.File) int32")?;
    /// // SAFETY: `close` is a System V function of a pointer that returns a 32-bit integer.
    /// let close = unsafe {
    ///     FinalizerFn::builder(signature, Abi::system_v()).status().at(close as *const ())
    /// };
    /// runtime.enter(|mutator| mutator.set_finalizer(mutator.alloc(file)?, &close).map(drop)
    ///     .map_err(Box::<dyn std::error::Error>::from))??;
    /// runtime.gc()?;
    /// runtime.run_finalizers()?;
    /// assert_eq!(runtime.stats().failed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn status(mut self) -> Self {
        self.returns_status = true;
        self
    }

    /// Declares that the function may be called on any thread, while other calls of it and of other
    /// functions have not returned. Such functions may have their calls made in a pool or in any
    /// mailbox ([`Lane`](crate::executor::Lane)), and are by default if the runtime
    /// [has a pool](crate::RuntimeBuilder::pool). [Rust closures](FinalizerFn::from_rust) are
    /// free-threaded in any case.
    pub fn free_threaded(mut self) -> Self {
        self.free_threaded = true;
        self
    }

    /// Declares that the function is called in this mailbox only: for code that belongs to one
    /// thread. Registering it for another lane fails, and so does registering it with another
    /// runtime.
    pub fn mailbox(mut self, mailbox: MailboxId) -> Self {
        self.mailbox = Some(mailbox);
        self
    }

    fn finish(self, entry: Entry) -> Function {
        Function(Arc::new(Parts {
            signature: self.signature,
            entry,
            context: self.context,
            interface_word: self.interface_word,
            bulk: self.bulk,
            returns_status: self.returns_status,
            takes_any: self.takes_any,
            free_threaded: self.free_threaded,
            mailbox: self.mailbox,
            _keep_alive: self.keep_alive,
        }))
    }
}

impl FunctionBuilder<FinalizerFn> {
    /// Declares a function that takes many objects at once. Its parameters are a pointer to an
    /// array of pointers to them, and their number, an integer of 8 bytes, as in
    /// `func(**main.T, int)`. It is called once for each run of queued calls of it, with at most
    /// 512 objects, in the order in which single calls would have had them. All of them are kept
    /// until it returns; if it panics, it is reported once, and none of them is tried again. A bulk
    /// finalizer can't have a context per registration, nor follow the register count; registering
    /// such a function fails.
    ///
    /// ```
    /// use fing::{Abi, Executor, FinalizerFn, Runtime};
    ///
    /// extern "C" fn free_all(first: *const *const u64, count: usize) {
    ///     // SAFETY: a bulk finalizer is given an array of that many whole objects.
    ///     let objects = unsafe { std::slice::from_raw_parts(first, count) };
    ///     println!("{} objects, the first at {:?}", objects.len(), objects[0]);
    /// }
    ///
    /// let runtime = Runtime::builder().executor(Executor::Inline).build()?;
    /// let ty = runtime.types().define("main.T", "struct { N uint64 }")?;
    /// let signature = runtime.types().parse_signature("func(**main.T, uint)")?;
    /// // SAFETY: `free_all` is a C function of a pointer and an integer.
    /// let free_all = unsafe {
    ///     FinalizerFn::builder(signature, Abi::host_native()?).bulk().at(free_all as *const ())
    /// };
    /// let free_all = runtime.prepare_finalizer(ty, &free_all)?;
    /// runtime.enter(|mutator| {
    ///     for _ in 0..100 {
    ///         free_all.set(mutator.alloc(ty)?)?;
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// runtime.gc()?;
    /// assert_eq!(runtime.run_finalizers()?, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bulk(mut self) -> Self {
        self.bulk = true;
        self
    }

    /// Builds the function whose code is at `code`. If `code` is null, registering the function
    /// fails.
    ///
    /// # Safety
    /// * At `code` is a function of the builder's signature and ABI; it stays there, and may be
    ///   called, as long as fing may call it (see [`keep_alive`](Self::keep_alive)).
    /// * It may be called with the address of any object of the type that its parameter points to
    ///   (of any type, if the parameter is an interface), with its context (any word, or any object
    ///   of the declared type, if each registration has one; the mutator, if it takes that), and
    ///   with the interface word if one was given, on the thread that runs the runtime's
    ///   finalizers: that of its executor; or, if it was declared so, on any thread
    ///   ([`free_threaded`](Self::free_threaded)) or on those that drain its
    ///   [`mailbox`](Self::mailbox), at the same time as functions elsewhere.
    /// * It keeps to its own frame as the signature describes it, and unwinds only if its ABI is
    ///   declared to (`extern "C-unwind"`).
    pub unsafe fn at(self, code: *const ()) -> FinalizerFn {
        FinalizerFn(self.fixed(code))
    }
}

impl FunctionBuilder<CleanupFn> {
    /// Builds the function whose code is at `code`. If `code` is null, adding the cleanup fails.
    ///
    /// # Safety
    /// * At `code` is a function of the builder's signature and ABI; it stays there, and may be
    ///   called, as long as fing may call it (see [`keep_alive`](Self::keep_alive)).
    /// * It may be called with any value of its parameter's type, and with its context or the
    ///   mutator if it takes one, on the thread that runs the runtime's finalizers: that of its
    ///   executor; or, if it was declared so, on any thread
    ///   ([`free_threaded`](Self::free_threaded)) or on those that drain its
    ///   [`mailbox`](Self::mailbox), at the same time as functions elsewhere. Values are
    ///   given to [`add_cleanup`](crate::Mutator::add_cleanup) by safe code. For a number, that is
    ///   any number (a `bool` is 0 or 1); for a pointer, nil or the address of a value of the type
    ///   it points to, in an object that lives until the function returns; for a string or a slice,
    ///   that many elements.
    /// * It keeps to its own frame as the signature describes it, and unwinds only if its ABI is
    ///   declared to (`extern "C-unwind"`).
    pub unsafe fn at(self, code: *const ()) -> CleanupFn {
        CleanupFn(self.fixed(code))
    }
}

impl<F> FunctionBuilder<F> {
    fn fixed(self, code: *const ()) -> Function {
        let entry = Entry::Fixed {
            abi: self.abi,
            code: code.expose_provenance(),
        };
        self.finish(entry)
    }
}

impl<F> FunctionBuilder<F, Following> {
    fn each(self, codes: &[*const ()]) -> Result<Function, FunctionError> {
        let wanted = counts(self.abi.0);
        if codes.len() != wanted {
            return Err(FunctionError::Addresses {
                found: codes.len(),
                wanted,
                arch: self.abi.0,
            });
        }
        let entry = Entry::Following {
            arch: self.abi.0,
            codes: codes.iter().map(|code| code.expose_provenance()).collect(),
        };
        Ok(self.finish(entry))
    }

    fn every(self, code: *const ()) -> Function {
        let codes = vec![code.expose_provenance(); counts(self.abi.0)].into_boxed_slice();
        let entry = Entry::Following {
            arch: self.abi.0,
            codes,
        };
        self.finish(entry)
    }
}

impl FunctionBuilder<FinalizerFn, Following> {
    /// Builds the function from one address for each register count: `codes[n]` is the code
    /// compiled for n integer argument registers.
    ///
    /// # Safety
    /// Those of [`FunctionBuilder::<FinalizerFn>::at`], for each register count.
    ///
    /// # Errors
    /// [`FunctionError::Addresses`] if `codes` does not have exactly one address for each count
    /// from 0 to the machine's maximum.
    pub unsafe fn at_each(self, codes: &[*const ()]) -> Result<FinalizerFn, FunctionError> {
        self.each(codes).map(FinalizerFn)
    }

    /// Builds the function from one address that can be called with every register count, for
    /// example because the code reads the count itself.
    ///
    /// # Safety
    /// Those of [`FunctionBuilder::<FinalizerFn>::at`], for each register count.
    pub unsafe fn at_every(self, code: *const ()) -> FinalizerFn {
        FinalizerFn(self.every(code))
    }
}

impl FunctionBuilder<CleanupFn, Following> {
    /// Builds the function from one address for each register count: `codes[n]` is the code
    /// compiled for n integer argument registers.
    ///
    /// # Safety
    /// Those of [`FunctionBuilder::<CleanupFn>::at`], for each register count.
    ///
    /// # Errors
    /// [`FunctionError::Addresses`] if `codes` does not have exactly one address for each count
    /// from 0 to the machine's maximum.
    pub unsafe fn at_each(self, codes: &[*const ()]) -> Result<CleanupFn, FunctionError> {
        self.each(codes).map(CleanupFn)
    }

    /// Builds the function from one address that can be called with every register count, for
    /// example because the code reads the count itself.
    ///
    /// # Safety
    /// Those of [`FunctionBuilder::<CleanupFn>::at`], for each register count.
    pub unsafe fn at_every(self, code: *const ()) -> CleanupFn {
        CleanupFn(self.every(code))
    }
}

/// Bytes that the caller has promised to be a value of a cleanup's parameter type, for
/// [`CleanupArgument::Unchecked`](crate::CleanupArgument::Unchecked).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UncheckedBytes<'m>(pub(crate) &'m [u8]);

impl<'m> UncheckedBytes<'m> {
    /// Wraps bytes without checking them.
    ///
    /// # Safety
    /// The bytes are a value of the parameter's type of each cleanup function that is added with
    /// them. What their pointers lead to outside the heap stays there until the cleanup has run or
    /// is stopped; what they lead to in the heap is kept by the cleanup.
    pub unsafe fn new(bytes: &'m [u8]) -> Self {
        UncheckedBytes(bytes)
    }
}
