//! `FinalizerFn`: the one promise a user makes, "at this address is a function of this signature and ABI".
#![expect(
    unsafe_code,
    reason = "declares the one unsafe constructor; contains no unsafe block"
)]

use std::any::Any;
use std::sync::Arc;

use fing_stubs::{Abi, Arch, Signature, Type};

use crate::handle::{Handle, Roots};

/// A function that can be registered as a finalizer or cleanup. Cheap to clone; clones are the same function.
///
/// ```
/// use fing::{Abi, FinalizerFn};
/// extern "C" fn close(_file: *mut u8) {}
///
/// let signature = "func(*uint8)".parse()?;
/// // SAFETY: `close` is a System V function of one pointer, and lives as long as the program.
/// let close = unsafe { FinalizerFn::builder(signature, Abi::system_v()).at(close as *const ()) };
/// assert_eq!(close.signature().to_string(), "func(*uint8)");
/// # Ok::<(), fing::stubs::StubError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FinalizerFn(Arc<Function>);

#[derive(Debug)]
struct Function {
    signature: Signature,
    entry: Entry,
    context: Option<usize>,
    /// The context, if it is an object: a root.
    closure: Option<Handle>,
    interface_word: Option<usize>,
    bulk: bool,
    /// Held until no record names the function.
    _keep_alive: KeepAlive,
}

/// Where the code is, and for which ABI it was compiled.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// One address, one ABI.
    Fixed { abi: Abi, code: usize },
    /// Go code that follows the runtime's register count: the address for count n is `codes[n]`.
    Following { arch: Arch, codes: Box<[usize]> },
}

#[derive(Clone, Default)]
struct KeepAlive(Option<Arc<dyn Any + Send + Sync>>);

impl std::fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "KeepAlive" } else { "-" })
    }
}

/// A [`FinalizerFn`] in the making: all that is known of the function but where it is.
#[derive(Clone, Debug)]
pub struct FinalizerFnBuilder<A = Abi> {
    signature: Signature,
    abi: A,
    context: Option<usize>,
    closure: Option<Handle>,
    interface_word: Option<usize>,
    bulk: bool,
    keep_alive: KeepAlive,
}

/// Marks a function that follows the runtime's `int_arg_regs`.
#[derive(Clone, Copy, Debug)]
pub struct Following(Arch);

/// Why there is no such function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FinalizerFnError {
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

/// Register counts of a machine, 0 among them.
fn counts(arch: Arch) -> usize {
    fing_stubs::Machine::of(arch).int_regs.len() + 1
}

impl FinalizerFn {
    /// Begins a function of `signature`, compiled for `abi` and never called by another.
    pub fn builder(signature: Signature, abi: Abi) -> FinalizerFnBuilder {
        FinalizerFnBuilder::begin(signature, abi)
    }

    /// Begins a Go function that follows the runtime's
    /// [`set_int_arg_regs`](crate::Runtime::set_int_arg_regs): each drain calls it by the register count then in force.
    pub fn following_int_arg_regs(
        signature: Signature,
        arch: Arch,
    ) -> FinalizerFnBuilder<Following> {
        FinalizerFnBuilder::begin(signature, Following(arch))
    }

    /// The signature it was declared with.
    pub fn signature(&self) -> &Signature {
        &self.0.signature
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.0.entry
    }

    pub(crate) fn context(&self) -> Option<usize> {
        self.0.context
    }

    /// Whether the context may be used with the runtime of these roots.
    pub(crate) fn is_context_of(&self, roots: &Arc<Roots>) -> bool {
        let closure = self.0.closure.as_ref();
        closure.is_none_or(|closure| closure.is_of(roots))
    }

    pub(crate) fn interface_word(&self) -> Option<usize> {
        self.0.interface_word
    }

    pub(crate) fn is_bulk(&self) -> bool {
        self.0.bulk
    }

    /// The type of its parameter, if it has one and no more.
    pub(crate) fn only_parameter(&self) -> Option<&Type> {
        let mut parameters = self.signature().arguments();
        let only = parameters.next().filter(|_| parameters.next().is_none());
        only.filter(|_| !self.signature().is_variadic())
    }

    /// No function at all.
    pub(crate) fn is_nil(&self) -> bool {
        match &self.0.entry {
            Entry::Fixed { code, .. } => *code == 0,
            Entry::Following { codes, .. } => codes.contains(&0),
        }
    }

    /// Equal for clones of one function, different for all others that are alive.
    #[inline]
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl<A> FinalizerFnBuilder<A> {
    fn begin(signature: Signature, abi: A) -> Self {
        FinalizerFnBuilder {
            signature,
            abi,
            context: None,
            closure: None,
            interface_word: None,
            bulk: false,
            keep_alive: KeepAlive(None),
        }
    }

    /// The function's context. Go ABIs: the address of its closure, passed in the closure context register. Native
    /// ABIs: one more pointer argument after the parameter.
    ///
    /// The address of an object of the heap does not keep that object; see
    /// [`context_object`](Self::context_object).
    pub fn context(mut self, context: usize) -> Self {
        (self.context, self.closure) = (Some(context), None);
        self
    }

    /// An object as the function's context, in place of an address: a closure on the heap. It is a root while the
    /// function is registered or queued, as in Go, and while a clone of the function exists. So a finalizer whose
    /// closure leads to its own object never runs.
    ///
    /// Under the Go ABIs the object is a closure: its first word is the function's address.
    pub fn context_object(mut self, closure: Handle) -> Self {
        (self.context, self.closure) = (Some(closure.addr()), Some(closure));
        self
    }

    /// The first word of the interface the function is given, in place of fing's own itab or type descriptor: foreign
    /// code compares and follows such words by address.
    pub fn interface_word(mut self, word: usize) -> Self {
        self.interface_word = Some(word);
        self
    }

    /// Keeps `owner` (code, closure, library) until no registration and no queued record names the function.
    pub fn keep_alive(mut self, owner: Arc<dyn Any + Send + Sync>) -> Self {
        self.keep_alive = KeepAlive(Some(owner));
        self
    }

    fn finish(self, entry: Entry) -> FinalizerFn {
        FinalizerFn(Arc::new(Function {
            signature: self.signature,
            entry,
            context: self.context,
            closure: self.closure,
            interface_word: self.interface_word,
            bulk: self.bulk,
            _keep_alive: self.keep_alive,
        }))
    }
}

impl FinalizerFnBuilder {
    /// The function takes many objects at once: its parameters are a pointer to an array of pointers to them, and their
    /// number, an integer of 8 bytes, as in `func(**main.T, int)`. It is called once for each run of queued calls of it,
    /// with at most 512 objects, in the order in which single calls would have had them. All of them are kept until it
    /// returns; if it panics, it is told once, and none of them is tried again. Not for cleanups, nor for the Go ABI with
    /// one integer register.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use fing::{Abi, Executor, FinalizerFn, Runtime};
    ///
    /// extern "C" fn free_all(first: *const *const u64, count: usize) {
    ///     // SAFETY: a bulk finalizer is given an array of that many objects, whole until it returns.
    ///     let objects = unsafe { std::slice::from_raw_parts(first, count) };
    ///     println!("{} objects, the first at {:?}", objects.len(), objects[0]);
    /// }
    ///
    /// let runtime = Runtime::builder().executor(Executor::Inline).build()?;
    /// let ty = runtime.types().define("main.T", "struct { N uint64 }")?;
    /// let signature = runtime.types().parse_signature("func(**main.T, uint)")?;
    /// // SAFETY: `free_all` is a System V function of a pointer and an integer.
    /// let free_all = unsafe {
    ///     FinalizerFn::builder(signature, Abi::system_v()).bulk().at(free_all as *const ())
    /// };
    /// let free_all = runtime.prepare_finalizer(ty, &free_all)?;
    /// runtime.enter(|mutator| {
    ///     for _ in 0..100 {
    ///         free_all.attach(mutator, mutator.alloc(ty)?)?;
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

    /// The function is at `code`. A null address makes a function that can't be registered.
    ///
    /// # Safety
    /// * At `code` is a function of the builder's signature and ABI; it stays there, and may be called, until no
    ///   record names it (see [`keep_alive`](Self::keep_alive)).
    /// * It may be called with the address of any object it is registered for, its context if it has one, and the
    ///   interface word if one was given, on the thread that runs the runtime's finalizers. As a cleanup it may be called
    ///   with any bytes of its parameter's size, for they are given to [`add_cleanup`](crate::Runtime::add_cleanup) by
    ///   safe code.
    /// * It keeps to its own frame as the signature describes it, and unwinds only if its ABI is declared to
    ///   (`extern "C-unwind"`).
    pub unsafe fn at(self, code: *const ()) -> FinalizerFn {
        let entry = Entry::Fixed {
            abi: self.abi,
            code: code.expose_provenance(),
        };
        self.finish(entry)
    }
}

impl FinalizerFnBuilder<Following> {
    /// For each register count n from 0 on, the function compiled for that count is at `codes[n]`.
    ///
    /// # Safety
    /// As [`at`](FinalizerFnBuilder::at), for each count.
    ///
    /// # Errors
    /// Not one address for each count from 0 to the machine's maximum.
    pub unsafe fn at_each(self, codes: &[*const ()]) -> Result<FinalizerFn, FinalizerFnError> {
        let wanted = counts(self.abi.0);
        if codes.len() != wanted {
            return Err(FinalizerFnError::Addresses {
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

    /// One function at `code` is good for every register count, by whatever means.
    ///
    /// # Safety
    /// As [`at`](FinalizerFnBuilder::at), for each count.
    pub unsafe fn at_every(self, code: *const ()) -> FinalizerFn {
        let codes = vec![code.expose_provenance(); counts(self.abi.0)].into_boxed_slice();
        let entry = Entry::Following {
            arch: self.abi.0,
            codes,
        };
        self.finish(entry)
    }
}
