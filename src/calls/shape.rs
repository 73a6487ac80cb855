//! A shape: a function, prepared for one kind of argument. It holds what all its records have in
//! common: the stub, the code address, an interface's first word, which words are references.
#![forbid(unsafe_code)]

use std::sync::Arc;

use fing_stubs::{Abi, KeyOptions, Record, Stub, StubCache, StubError, StubKey};

use crate::calls::function::{ContextKind, Entry, Function};
use crate::calls::queue::Tag;
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
    /// Whether it is a cleanup's.
    fn is_cleanup(self) -> bool {
        match self {
            Argument::Pointer | Argument::Interface(_) | Argument::Bulk => false,
            Argument::Word { .. } | Argument::Image { .. } | Argument::Block => true,
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

/// One function for one kind of argument, ready to be queued.
#[derive(Debug)]
pub(crate) struct Shape {
    function: Function,
    argument: Argument,
    cycle: CyclePolicy,
    stubs: Stubs,
}

#[derive(Debug)]
enum Stubs {
    Fixed {
        code: usize,
        stub: Arc<Stub>,
    },
    /// By register count.
    Following(Box<[(usize, Arc<Stub>)]>),
}

impl Shape {
    /// Makes every stub the function may need, so that nothing is left to fail when a call is due.
    pub(super) fn prepare(
        function: &Function,
        argument: Argument,
        cycle: CyclePolicy,
        cache: &StubCache,
    ) -> Result<Shape, StubError> {
        let options = KeyOptions::default()
            .context_argument(*function.context() != ContextKind::None)
            .frame_limit(cache.options().frame_limit);
        let key = match argument {
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
        };
        Ok(Shape {
            function: function.clone(),
            argument,
            cycle,
            stubs,
        })
    }

    pub(crate) fn function(&self) -> &Function {
        &self.function
    }

    pub(super) fn argument(&self) -> Argument {
        self.argument
    }

    /// Whether one call takes the objects of many records.
    pub(crate) fn is_bulk(&self) -> bool {
        self.argument == Argument::Bulk
    }

    /// The cycle policy of its registrations.
    pub(crate) fn cycle(&self) -> CyclePolicy {
        self.cycle
    }

    /// The stub for a drain with `int_arg_regs` registers.
    pub(crate) fn stub(&self, int_arg_regs: u8) -> &Arc<Stub> {
        match &self.stubs {
            Stubs::Fixed { stub, .. } => stub,
            Stubs::Following(stubs) => &stubs[usize::from(int_arg_regs)].1,
        }
    }

    /// The code address for this register count, if the function follows the count; `None` for all
    /// other functions.
    pub(super) fn following_code(&self, int_arg_regs: u8) -> Option<usize> {
        match &self.stubs {
            Stubs::Fixed { .. } => None,
            Stubs::Following(stubs) => Some(stubs[usize::from(int_arg_regs)].0),
        }
    }

    /// Whether each record has an object as its context.
    fn has_traced_context(&self) -> bool {
        matches!(self.function.context(), ContextKind::Object(_))
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
        Template {
            record: Record {
                // A function that follows the register count gets its code when it is drained.
                code: match &self.stubs {
                    Stubs::Fixed { code, .. } => *code,
                    Stubs::Following(_) => 0,
                },
                context,
                words,
            },
            object_is_second: matches!(self.argument, Argument::Interface(_)),
            has_own_context: self.function.context().is_per_registration(),
            tag: match self.argument.is_cleanup() {
                false => Tag::new(index, self.argument.references() | traced),
                true => Tag::new(index, self.argument.references() | traced).of_cleanup(),
            },
        }
    }
}

/// What the records of a shape have in common, and their tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    record: Record,
    object_is_second: bool,
    has_own_context: bool,
    tag: Tag,
}

impl Template {
    /// The tag of the shape's records: which words are references, and the index of the shape.
    #[inline]
    pub(crate) fn tag(&self) -> Tag {
        self.tag
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
