//! `add_cleanup`: any number of calls after an object's death, each with its own argument.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::argument::{Captured, capture, number};
use super::lists::Name;
use super::{AddCleanupError, CleanupArgument, Registry, Special, Specials, is_traced};
use crate::calls::failure::FailurePolicy;
use crate::calls::function::Function;
use crate::calls::lane::Lane;
use crate::calls::options::{Handling, HeldValue};
use crate::calls::queue::{CallId, CallStage};
use crate::heap::{Heap, Location, Place};
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;

/// A cleanup that was added, which can be stopped. Dropping this does not stop it.
#[derive(Clone, Debug)]
pub struct Cleanup {
    registry: Arc<Registry>,
    object: Place,
    /// [`Name::NOTHING`] if the object never dies.
    name: Name,
}

impl Cleanup {
    /// Removes the cleanup, or cancels its call if that is queued and has not begun, so that it
    /// will not run. Returns how far it had come; [`CallStage::Done`] also if it was stopped
    /// before, or could never have run as its object never dies. Needs no mutator.
    pub fn stop(&self) -> CallStage {
        self.registry.stop_cleanup(self.object, self.name)
    }

    /// Returns two words that stand for this cleanup: a VM whose programs hold cleanups keeps these
    /// in its collected memory, where this value can't be, and
    /// [`Runtime::stop_cleanup`](crate::Runtime::stop_cleanup) takes them. They refer to
    /// nothing, and may stand for another cleanup in another runtime.
    ///
    /// ```
    /// # use fing::{Abi, CleanupFn, Runtime};
    /// extern "C" fn close(descriptor: u64) {
    ///     println!("{descriptor} is closed");
    /// }
    ///
    /// let runtime = Runtime::new()?;
    /// let types = runtime.types();
    /// let file = types.define("main.File", "struct { FD int; Close [2]uint64 }")?;
    /// let signature = types.parse_signature("func(int)")?;
    /// // SAFETY: `close` is a C function of one number.
    /// let close = unsafe {
    ///     CleanupFn::builder(signature, Abi::host_native()?).at(close as *const ())
    /// };
    ///
    /// let mutator = runtime.attach()?;
    /// let object = mutator.alloc(file)?;
    /// let words = mutator.add_cleanup(object, &close, 3)?.words();
    /// mutator.store_word(object, 8, words[0])?;
    /// mutator.store_word(object, 16, words[1])?;
    /// // Later on, when the program closes the file itself:
    /// let words = [mutator.load_word(object, 8)?, mutator.load_word(object, 16)?];
    /// assert!(runtime.stop_cleanup(words).is_cancelled());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn words(&self) -> [u64; 2] {
        [self.object.to_word(), self.name.id().unwrap_or(0)]
    }
}

/// Options for adding a cleanup.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "options do nothing by themselves"]
pub struct CleanupOptions<'m> {
    context: Option<HeldValue<Obj<'m>>>,
    handling: Handling,
}

impl<'m> CleanupOptions<'m> {
    /// Returns the defaults: no context, the runtime's failure policy, no site.
    pub const fn new() -> Self {
        CleanupOptions {
            context: None,
            handling: Handling::new(),
        }
    }

    /// Sets what is done if the call fails, in place of the runtime's
    /// [`failure_policy`](crate::RuntimeBuilder::failure_policy).
    pub fn failure(mut self, policy: FailurePolicy) -> Self {
        self.handling = self.handling.failure(policy);
        self
    }

    /// Sets where the call is made; see [`FinalizerOptions::lane`](crate::FinalizerOptions::lane).
    pub fn lane(mut self, lane: Lane) -> Self {
        self.handling = self.handling.lane(lane);
        self
    }

    /// Records where this is called, for [reports](crate::failure::Failure::site) of failures. It
    /// takes no memory for each registration, but some for each site.
    #[track_caller]
    pub fn record_site(mut self) -> Self {
        self.handling = self.handling.record_site();
        self
    }

    /// Sets the context of this cleanup. The function must have been declared to take a context
    /// from each registration ([`context_word`](crate::function::FunctionBuilder::context_word),
    /// [`context_object`](crate::function::FunctionBuilder::context_object)).
    pub fn context(mut self, context: HeldValue<Obj<'m>>) -> Self {
        self.context = Some(context);
        self
    }
}

/// A cleanup with a context of its own.
#[derive(Debug)]
pub(super) struct Closure {
    pub(super) shape: u32,
    /// Bit n: word n of the argument is a reference.
    pub(super) references: u8,
    pub(super) words: [u64; 2],
    pub(super) context: u64,
    /// Whether the context is an object.
    pub(super) traced: bool,
}

/// Rows of the cache, a power of two.
const KNOWN: usize = 8;

/// A cache of functions that take any number and have no context per registration: of a
/// registration of theirs only the pointer has to be checked. Cleared when a collection removes
/// shapes.
#[derive(Debug, Default)]
pub(super) struct KnownCleanups([Option<KnownCleanup>; KNOWN]);

#[derive(Clone, Copy, Debug)]
struct KnownCleanup {
    /// The function's identity. No other function can get it before the next collection, as the
    /// shape has a clone.
    function: usize,
    handling: Handling,
    shape: u32,
    /// The parameter's size in bytes.
    size: u8,
}

impl KnownCleanups {
    #[inline]
    fn row(function: usize) -> usize {
        let mixed = (function as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - KNOWN.ilog2())) as usize
    }

    #[inline]
    fn find(&self, function: usize, handling: Handling) -> Option<KnownCleanup> {
        let known = self.0[Self::row(function)];
        known.filter(|known| known.function == function && known.handling == handling)
    }

    fn note(&mut self, known: KnownCleanup) {
        self.0[Self::row(known.function)] = Some(known);
    }

    pub(super) fn clear(&mut self) {
        self.0 = [None; KNOWN];
    }
}

impl Registry {
    #[inline]
    pub(crate) fn add_cleanup(
        self: &Arc<Self>,
        mutator: &Mutator,
        pointer: usize,
        function: &Function,
        argument: CleanupArgument<'_>,
        options: CleanupOptions<'_>,
    ) -> Result<Cleanup, AddCleanupError> {
        let heap = mutator.space().heap();
        if let (CleanupArgument::Word(word), None) = (argument, options.context)
            && let Some(object) = heap.place(pointer)
            && self.gate.is_open()
            && self.is_unpressed()
        {
            let mut specials = self.specials.lock();
            let identity = function.identity();
            if let Some(known) = specials.known_cleanups.find(identity, options.handling) {
                let special = Special::Cleanup {
                    shape: known.shape,
                    references: 0,
                    words: number(word, known.size),
                };
                let name = specials.add(heap, object, special, false);
                drop(specials);
                return Ok(self.cleanup(object, name));
            }
        }
        self.check_and_add(mutator, pointer, function, argument, options)
    }

    fn cleanup(self: &Arc<Self>, object: Place, name: Name) -> Cleanup {
        Cleanup {
            registry: self.clone(),
            object,
            name,
        }
    }

    #[inline(never)]
    fn check_and_add(
        self: &Arc<Self>,
        mutator: &Mutator,
        pointer: usize,
        function: &Function,
        argument: CleanupArgument<'_>,
        options: CleanupOptions<'_>,
    ) -> Result<Cleanup, AddCleanupError> {
        mutator.start_goroutine()?;
        self.admit(mutator)?;
        if pointer == 0 {
            return Err(AddCleanupError::Nil);
        }
        let argument = capture(mutator, function, argument)?;
        if argument.pointer() == Some(pointer) {
            return Err(AddCleanupError::ArgumentIsObject { addr: pointer });
        }
        let space = mutator.space();
        let heap = space.heap();
        let (base, tiny) = match heap.locate(pointer) {
            Location::Object { start, desc, .. } => (start, heap.is_tiny_block(desc)),
            Location::Nil => return Err(AddCleanupError::Nil),
            Location::NoObject if !self.is_global(pointer) => {
                return Err(AddCleanupError::NotInHeap { addr: pointer });
            }
            Location::NoObject | Location::Zero => {
                return Ok(self.cleanup(Place::default(), Name::NOTHING));
            }
        };
        let within = |addr: usize| heap.find(addr).is_some_and(|(start, _)| start == base);
        // Two values of one tiny block are two objects to the program.
        if let Some(addr) = argument.pointer().filter(|&addr| !tiny && within(addr)) {
            return Err(AddCleanupError::ArgumentWithinObject { addr, base });
        }
        let context = self
            .context_check(space, function)
            .map(|(check, _)| check)
            .and_then(|check| self.check_context(space, function, check, options.context))
            .map_err(AddCleanupError::of_context)?;
        if let Some(HeldValue::Object(context)) = options.context {
            let context = context.addr();
            let mut closes_over = context == base;
            heap.for_each_child(context, |_, child| closes_over |= child == base);
            if closes_over {
                return Err(AddCleanupError::ClosesOver { context, base });
            }
        }
        if !function.has_readable_status() {
            return Err(AddCleanupError::Status {
                function: function.signature().clone(),
            });
        }
        if function.is_nil() {
            return Err(AddCleanupError::NilFunction {
                function: function.signature().clone(),
            });
        }
        let object = heap.place(pointer);
        let object = object.ok_or(AddCleanupError::NotInHeap { addr: pointer })?;
        let handling = options.handling;
        let name = self.add(heap, object, (function, handling), argument, context)?;
        Ok(self.cleanup(object, name))
    }

    /// Adds a cleanup that passed every check.
    fn add(
        &self,
        heap: &Heap,
        object: Place,
        (function, handling): (&Function, Handling),
        argument: Captured,
        context: Option<u64>,
    ) -> Result<Name, AddCleanupError> {
        let shape = self
            .shapes
            .index_of(function, argument.argument, handling, &self.stubs)?;
        let (references, words) = (argument.argument.references(), argument.words);
        let traced = is_traced(function);
        let special = match context {
            None => Special::Cleanup {
                shape,
                references,
                words,
            },
            Some(context) => Special::Closure(Box::new(Closure {
                shape,
                references,
                words,
                context,
                traced,
            })),
        };
        let mut specials = self.specials.lock();
        if let (Some(size), None) = (argument.number, context) {
            specials.known_cleanups.note(KnownCleanup {
                function: function.identity(),
                handling,
                shape,
                size,
            });
        }
        Ok(specials.add(heap, object, special, references != 0 || traced))
    }

    #[inline]
    fn stop_cleanup(&self, object: Place, name: Name) -> CallStage {
        let mut specials = self.specials.lock();
        if specials.lists.remove(object, name).is_some() {
            specials.cleanups -= 1;
            return CallStage::Registered;
        }
        drop(specials);
        match name.id() {
            Some(id) => self.queue.cancel(CallId::Cleanup(id), |_| true),
            None => CallStage::Done,
        }
    }
    /// Stops the cleanup that [`Cleanup::words`] stand for; other words stop nothing.
    pub(crate) fn stop_cleanup_of(&self, [object, number]: [u64; 2]) -> CallStage {
        let object = Place::of_word(object);
        let mut specials = self.specials.lock();
        let is = |(id, special): (u64, &Special)| id == number && special.is_cleanup();
        if specials.lists.of_with_ids(object).any(is) {
            specials.lists.remove_id(object, number);
            specials.cleanups -= 1;
            return CallStage::Registered;
        }
        drop(specials);
        self.queue.cancel(CallId::Cleanup(number), |_| true)
    }
}

impl Special {
    fn is_cleanup(&self) -> bool {
        matches!(self, Special::Cleanup { .. } | Special::Closure(_))
    }
}

impl Specials {
    /// If registrations are numbered: the next one is behind all others.
    #[inline]
    pub(super) fn number(&mut self, heap: &Heap) {
        if let Some(number) = heap.next_number() {
            self.lists.count_from(number);
        }
    }

    #[inline]
    fn add(&mut self, heap: &Heap, object: Place, special: Special, refers: bool) -> Name {
        self.number(heap);
        let name = self.lists.push(object, special, refers);
        heap.set_special(object);
        self.cleanups += 1;
        name
    }
}
