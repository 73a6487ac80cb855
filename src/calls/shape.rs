//! A shape: a function, prepared for one kind of argument. It holds what all its records have in
//! common: the stub, the code address, an interface's first word, which words are references.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use fing_stubs::{Abi, KeyOptions, Record, Stub, StubCache, StubError, StubKey};

use crate::calls::function::{ContextKind, Entry, Function, RustCode};
use crate::calls::lent::RustBody;
use crate::calls::options::Handling;
use crate::calls::queue::{CallKind, LaneId, Route, Tag};
use crate::calls::status::StatusResult;
use crate::order::CyclePolicy;

/// How a record's two words carry the object or argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Argument {
    /// Word 0 is the object's address.
    Pointer,
    /// Word 0 is this itab or type descriptor; word 1 is the object's address.
    Interface(usize),
    /// Word 0 is the object's address. One call takes the objects of many records.
    Bulk,
    /// Word 0 is a cleanup's argument as a number, and a reference if bit 0 of `references` is set.
    Word { references: u8 },
    /// Both words are a cleanup's argument as memory holds it; word n is a reference if bit n of
    /// `references` is set.
    Image { references: u8 },
    /// Word 0 is the address of an object that holds a cleanup's argument; word 1 is the address of
    /// space for results.
    Block,
}

impl Argument {
    /// Whether the calls are those of a finalizer or of a cleanup.
    pub(crate) fn kind(self) -> CallKind {
        match self {
            Argument::Pointer | Argument::Interface(_) | Argument::Bulk => CallKind::Finalizer,
            Argument::Word { .. } | Argument::Image { .. } | Argument::Block => CallKind::Cleanup,
        }
    }

    /// Which words are references, as bits of [`Tag`].
    pub(crate) fn references(self) -> u8 {
        match self {
            Argument::Pointer | Argument::Bulk | Argument::Block => Tag::WORD_0,
            Argument::Interface(_) => Tag::WORD_1,
            Argument::Word { references } | Argument::Image { references } => references,
        }
    }
}

/// What all shapes of one function have in common in one runtime.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    /// How many of its calls have failed.
    failures: AtomicU64,
    /// Whether no call of it is made any more.
    quarantined: AtomicBool,
    /// See [`watch`].
    watch: AtomicU8,
}

/// One function for one kind of argument, ready to be queued.
#[derive(Clone)]
pub(crate) struct Shape {
    function: Function,
    argument: Argument,
    handling: Handling,
    /// The lane in which its calls are made.
    lane: LaneId,
    stubs: Stubs,
    /// Where the status is that the function returns.
    status: Option<StatusResult>,
    /// Set when the shape becomes one of a table.
    conduct: Arc<Conduct>,
    /// Reports of failed calls of this shape.
    failed: Arc<AtomicU64>,
}

/// Whether the calls of a function are made one by one, so that a mutator which one of them keeps
/// is found before the next one begins.
mod watch {
    /// They are: none was made so far.
    pub(super) const NEW: u8 = 0;
    /// They are not, as none had a mutator so far.
    pub(super) const NEVER: u8 = 1;
    /// They are, as one had a mutator.
    pub(super) const ALWAYS: u8 = 2;
}

#[derive(Clone)]
enum Stubs {
    Fixed {
        code: usize,
        stub: Arc<Stub>,
    },
    /// By register count.
    Following(Box<[(usize, Arc<Stub>)]>),
    /// A Rust closure needs none.
    Rust(Arc<dyn RustBody>),
}

/// What makes the calls of a shape.
#[derive(Clone, Copy)]
pub(crate) enum Callee<'s> {
    Stub(&'s Arc<Stub>),
    Rust(&'s dyn RustBody),
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shape")
            .field("function", &self.function)
            .field("argument", &self.argument)
            .finish_non_exhaustive()
    }
}

impl Shape {
    /// Makes every stub the function may need, so that nothing is left to fail when a call is due.
    pub(super) fn prepare(
        function: &Function,
        argument: Argument,
        (handling, lane): (Handling, LaneId),
        cache: &StubCache,
    ) -> Result<Shape, StubError> {
        let options = KeyOptions::default()
            .context_argument(*function.context() != ContextKind::None)
            .frame_limit(cache.options().frame_limit);
        let status = match function.returns_status() {
            true => StatusResult::of(function.signature()),
            false => None,
        };
        let key = match argument {
            // From memory to memory: the results are looked at.
            _ if status.is_some() => StubKey::block,
            Argument::Pointer | Argument::Word { .. } | Argument::Bulk => StubKey::words,
            Argument::Interface(_) | Argument::Image { .. } => StubKey::new,
            Argument::Block => StubKey::block,
        };
        let make = |abi: Abi| cache.get(&key(function.signature(), abi, options)?);
        let stubs = match function.entry() {
            Entry::Fixed { abi, code } => Stubs::Fixed {
                code: *code,
                stub: make(*abi)?,
            },
            Entry::Following { arch, codes } => {
                let stubs = (0..).zip(codes).map(|(count, &code)| {
                    Ok((code, make(Abi::go(*arch).with_int_arg_regs(count)?)?))
                });
                Stubs::Following(stubs.collect::<Result<_, StubError>>()?)
            }
            Entry::Rust(RustCode(body)) => Stubs::Rust(body.clone()),
        };
        Ok(Shape {
            function: function.clone(),
            argument,
            handling,
            lane,
            stubs,
            status,
            conduct: Arc::default(),
            failed: Arc::default(),
        })
    }

    /// The shape as one of a function that has this conduct.
    pub(super) fn with_conduct(self, conduct: Arc<Conduct>) -> Shape {
        Shape { conduct, ..self }
    }

    /// The shape of the same calls once they are queued again.
    pub(super) fn requeued(&self) -> Shape {
        let requeued = self.handling.requeued.saturating_add(1);
        Shape {
            handling: Handling {
                requeued,
                ..self.handling
            },
            failed: Arc::default(),
            ..self.clone()
        }
    }

    pub(crate) fn function(&self) -> &Function {
        &self.function
    }

    pub(super) fn argument(&self) -> Argument {
        self.argument
    }

    /// Whether the calls are those of a finalizer or of a cleanup.
    pub(super) fn kind(&self) -> CallKind {
        self.argument.kind()
    }

    /// The word of a finalizer's record that is the object.
    pub(super) fn object_of(&self, record: &Record) -> u64 {
        record.words[self.object_word()]
    }

    /// The lane in which its calls are made.
    pub(super) fn lane(&self) -> LaneId {
        self.lane
    }

    /// Whether its calls have failed before, and were queued again.
    pub(crate) fn is_requeued(&self) -> bool {
        self.handling.requeued > 0
    }

    pub(super) fn handling(&self) -> &Handling {
        &self.handling
    }

    /// Where the status of a call is found, if the function returns one.
    pub(super) fn status(&self) -> Option<&StatusResult> {
        self.status.as_ref()
    }

    /// Whether no call of the function is made any more.
    #[inline]
    pub(super) fn is_quarantined(&self) -> bool {
        self.conduct.quarantined.load(Ordering::Relaxed)
    }

    /// Has no call of the function made any more. Returns false if that was so before.
    pub(super) fn quarantine(&self) -> bool {
        !self.conduct.quarantined.swap(true, Ordering::Relaxed)
    }

    /// Counts a report of a failed call of this shape.
    pub(super) fn count_report(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many failed calls of this shape were reported.
    pub(super) fn reports(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Counts a failed call of the function, and returns how many there are.
    pub(super) fn count_failure(&self) -> u64 {
        self.conduct.failures.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many calls of the function have failed.
    pub(super) fn failures(&self) -> u64 {
        self.conduct.failures.load(Ordering::Relaxed)
    }

    /// Whether one call takes the objects of many records.
    pub(crate) fn is_bulk(&self) -> bool {
        self.argument == Argument::Bulk
    }

    /// Whether the argument is not in a record, whose word 0 is its address.
    pub(super) fn is_in_memory(&self) -> bool {
        self.argument == Argument::Block
    }

    /// The argument of a record as it lies in memory. `None` if word 0 is its address.
    pub(super) fn argument_in_memory(&self, record: &Record) -> Option<[u64; 2]> {
        let words = record.words;
        match self.argument {
            Argument::Block => None,
            // A number is in the low bytes of its word.
            Argument::Word { .. } if cfg!(target_endian = "big") => {
                let parameter = self.function.only_parameter();
                let parameter = parameter.and_then(fing_stubs::Type::layout);
                let size = parameter.map_or(8, |layout| layout.size as u32);
                Some([words[0] << (64 - 8 * size.clamp(1, 8)), 0])
            }
            _ => Some(words),
        }
    }

    /// The cycle policy of its registrations.
    pub(crate) fn cycle(&self) -> CyclePolicy {
        self.handling.cycle
    }

    /// What makes the calls in a drain with `int_arg_regs` registers.
    pub(crate) fn callee(&self, int_arg_regs: u8) -> Callee<'_> {
        match &self.stubs {
            Stubs::Fixed { stub, .. } => Callee::Stub(stub),
            Stubs::Following(stubs) => Callee::Stub(&stubs[usize::from(int_arg_regs)].1),
            Stubs::Rust(body) => Callee::Rust(&**body),
        }
    }

    /// Whether the next call of the shape is made by itself. Calls that are lent the mutator, and
    /// those of bulk finalizers, are made so anyway.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.conduct.watch.load(Ordering::Relaxed) != watch::NEVER
            && !self.takes_mutator()
            && !self.is_bulk()
    }

    /// Whether its calls may be in one batch with calls of other shapes.
    #[inline]
    pub(crate) fn may_share_batch(&self) -> bool {
        self.conduct.watch.load(Ordering::Relaxed) == watch::NEVER
            && !self.takes_mutator()
            && !self.is_bulk()
    }

    /// Notes that calls were made, and whether the thread made or dropped a mutator meanwhile.
    #[inline]
    pub(crate) fn note_calls(&self, had_mutator: bool) {
        let watched = self.conduct.watch.load(Ordering::Relaxed);
        if had_mutator && watched != watch::ALWAYS {
            self.conduct.watch.store(watch::ALWAYS, Ordering::Relaxed);
        } else if watched == watch::NEW {
            self.conduct.watch.store(watch::NEVER, Ordering::Relaxed);
        }
    }

    /// Whether each call is lent the mutator.
    pub(crate) fn takes_mutator(&self) -> bool {
        self.function.takes_mutator()
    }

    /// Which of a record's words is the object's address.
    pub(crate) fn object_word(&self) -> usize {
        usize::from(matches!(self.argument, Argument::Interface(_)))
    }

    /// The code address for this register count, if the function follows the count; `None` for all
    /// other functions.
    pub(super) fn following_code(&self, int_arg_regs: u8) -> Option<usize> {
        match &self.stubs {
            Stubs::Fixed { .. } | Stubs::Rust(_) => None,
            Stubs::Following(stubs) => Some(stubs[usize::from(int_arg_regs)].0),
        }
    }

    /// Whether each record has an object as its context.
    fn has_traced_context(&self) -> bool {
        matches!(self.function.context(), ContextKind::Object(_))
    }

    /// The address that it calls; 0 for a Rust closure, and that for the largest register count for
    /// a function that follows the count.
    pub(super) fn code(&self) -> usize {
        match &self.stubs {
            Stubs::Fixed { code, .. } => *code,
            Stubs::Following(stubs) => stubs.last().map_or(0, |(code, _)| *code),
            Stubs::Rust(_) => 0,
        }
    }

    pub(super) fn follows(&self) -> bool {
        matches!(self.stubs, Stubs::Following(_))
    }

    /// Returns the template of its records. `index` is the index of this shape.
    pub(super) fn template(&self, index: u32) -> Template {
        let words = match self.argument {
            Argument::Interface(first) => [first as u64, 0],
            _ => [0; 2],
        };
        let context = match self.function.context() {
            ContextKind::Fixed(context) => *context,
            _ => 0,
        };
        let traced = match self.has_traced_context() {
            true => Tag::CONTEXT,
            false => 0,
        };
        let cleanup = match self.kind() {
            CallKind::Cleanup => Tag::CLEANUP,
            CallKind::Finalizer => 0,
        };
        Template {
            record: Record {
                // A function that follows the register count gets its code when it is drained.
                code: match &self.stubs {
                    Stubs::Fixed { code, .. } => *code,
                    Stubs::Following(_) | Stubs::Rust(_) => 0,
                },
                context,
                words,
            },
            object_is_second: matches!(self.argument, Argument::Interface(_)),
            has_own_context: self.function.context().is_per_registration(),
            route: Route {
                lane: self.lane,
                tag: Tag::new(index, self.argument.references() | traced | cleanup),
            },
        }
    }
}

/// What the records of a shape have in common, and where they go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    record: Record,
    object_is_second: bool,
    has_own_context: bool,
    route: Route,
}

impl Template {
    /// The lane and the tag of the shape's records: which words are references, and the index of
    /// the shape.
    #[inline]
    pub(crate) fn route(&self) -> Route {
        self.route
    }

    /// Whether each record has a context of its own.
    #[inline]
    pub(crate) fn has_own_context(&self) -> bool {
        self.has_own_context
    }

    /// The record of a finalizer's call with this object. `context` is used only if each record has
    /// its own.
    #[inline]
    pub(crate) fn finalizer(&self, object: u64, context: u64) -> Record {
        // Selects the words instead of storing to `words[at]`: one word that is stored and then
        // read back as part of a pair stalls.
        let [first, second] = self.record.words;
        let words = match self.object_is_second {
            false => [object, second],
            true => [first, object],
        };
        let context = match self.has_own_context {
            false => self.record.context,
            true => context as usize,
        };
        Record {
            words,
            context,
            ..self.record
        }
    }

    /// The record of a cleanup's call with this argument.
    #[inline]
    pub(crate) fn cleanup(&self, words: [u64; 2]) -> Record {
        Record {
            words,
            ..self.record
        }
    }
}
