//! The table of registration shapes: a function, prepared for one type of object.
//!
//! Objects of one type with one finalizer share a shape. It holds what is the same for all their records: the stub,
//! the context, an interface's first word. A shape lives while a registration or a queued record names it.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;

use fing_stubs::{Abi, KeyOptions, Record, Stub, StubCache, StubError, StubKey};

use crate::collector::CyclePolicy;
use crate::finalizer::{Entry, FinalizerFn};
use crate::lock::{Lock, Rank};
use crate::queue::{Block, Tag};

/// What stands in a record's words beside the object or argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Argument {
    /// Word 0 is the object's address.
    Pointer,
    /// Word 0 is this, an itab or a type; word 1 is the object's address.
    Interface(usize),
    /// Both words are a cleanup's argument; bit n of `references`: word n is a reference.
    Image { references: u8 },
    /// Word 0 is the address of a cleanup's argument, which is an object; word 1 of room for results.
    Block,
}

/// How a function is registered, beside its argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Manner {
    /// The context is a reference to an object, where it is one at all.
    pub(crate) traced_context: bool,
    /// What becomes of cycles, in topological order.
    pub(crate) cycle: CyclePolicy,
}

impl Manner {
    /// On a heap whose collector knows which addresses are its own, so that any context may be traced.
    pub(crate) fn of(function: &FinalizerFn, cycle: CyclePolicy) -> Manner {
        Manner {
            traced_context: function.context().is_some(),
            cycle,
        }
    }
}

/// What makes a shape: the function's identity, and how it is called.
type Key = (usize, Argument, Manner);

/// One function for one kind of argument, ready to be queued.
#[derive(Debug)]
pub(crate) struct Shape {
    function: FinalizerFn,
    argument: Argument,
    manner: Manner,
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
    /// Makes every stub the function may need, so that nothing is left to fail when it is due.
    pub(crate) fn prepare(
        function: &FinalizerFn,
        argument: Argument,
        manner: Manner,
        cache: &StubCache,
    ) -> Result<Shape, StubError> {
        let context = manner.traced_context || function.context().is_some();
        let make = |abi: Abi| {
            let signature = function.signature();
            let key = if argument == Argument::Block {
                let options = KeyOptions {
                    context_argument: context,
                    frame_limit: cache.options().frame_limit,
                };
                StubKey::block(signature, abi, options)?
            } else {
                cache.key(signature, abi, context)?
            };
            cache.get(&key)
        };
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
            manner,
            stubs,
        })
    }

    pub(crate) fn function(&self) -> &FinalizerFn {
        &self.function
    }

    /// What becomes of cycles its objects are on.
    pub(crate) fn cycle(&self) -> CyclePolicy {
        self.manner.cycle
    }

    /// The stub for a drain with `int_arg_regs` registers.
    pub(crate) fn stub(&self, int_arg_regs: u8) -> &Arc<Stub> {
        match &self.stubs {
            Stubs::Fixed { stub, .. } => stub,
            Stubs::Following(stubs) => &stubs[usize::from(int_arg_regs)].1,
        }
    }

    /// The record for an object (word 0 is its address) or an argument. A function that follows the register count has
    /// no code yet.
    pub(crate) fn record(&self, words: [u64; 2]) -> Record {
        let words = match self.argument {
            Argument::Pointer | Argument::Image { .. } | Argument::Block => words,
            Argument::Interface(first) => [first as u64, words[0]],
        };
        let code = match &self.stubs {
            Stubs::Fixed { code, .. } => *code,
            Stubs::Following(_) => 0,
        };
        Record {
            code,
            context: self.function.context().unwrap_or(0),
            words,
        }
    }

    /// Which words of a record are references.
    pub(crate) fn references(&self) -> u8 {
        let word = match self.argument {
            Argument::Pointer | Argument::Block => Tag::WORD_0,
            Argument::Interface(_) => Tag::WORD_1,
            Argument::Image { references } => references,
        };
        word | if self.manner.traced_context {
            Tag::CONTEXT
        } else {
            0
        }
    }
}

/// The shapes of a runtime, by index.
#[derive(Debug)]
pub(crate) struct Shapes {
    table: Lock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_key: HashMap<Key, u32>,
    /// Shapes whose records get their code when they are drained.
    following: usize,
}

#[derive(Debug)]
struct Slot {
    shape: Arc<Shape>,
    /// Registrations and queued records.
    uses: u64,
    /// Registrations alone.
    registered: u64,
}

impl Shapes {
    pub(crate) fn new() -> Shapes {
        Shapes {
            table: Lock::new(Rank::Shapes, Table::default()),
        }
    }

    /// The index of the shape for this function and argument, made if need be, with one more use.
    pub(crate) fn acquire(
        &self,
        function: &FinalizerFn,
        argument: Argument,
        manner: Manner,
        cache: &StubCache,
    ) -> Result<u32, StubError> {
        let key = (function.identity(), argument, manner);
        if let Some(index) = self.table.lock().reuse(key) {
            return Ok(index);
        }
        // Made without the lock. If another thread was faster, its shape is as good, and this one is dropped.
        let shape = Arc::new(Shape::prepare(function, argument, manner, cache)?);
        let mut table = self.table.lock();
        Ok(table.reuse(key).unwrap_or_else(|| table.insert(key, shape)))
    }

    /// The shape at `index`, which a registration or a record names.
    ///
    /// # Panics
    /// If none does: always a bug of this crate.
    pub(crate) fn get(&self, index: u32) -> Arc<Shape> {
        let table = self.table.lock();
        let slot = table.slots.get(index as usize).and_then(Option::as_ref);
        slot.expect("a shape in use is in the table").shape.clone()
    }

    /// The shape at `index`, for a record that takes the place of a registration.
    ///
    /// # Panics
    /// As [`Shapes::get`].
    pub(crate) fn queue(&self, index: u32) -> Arc<Shape> {
        self.unregister(index);
        self.get(index)
    }

    fn unregister(&self, index: u32) {
        let mut table = self.table.lock();
        if let Some(slot) = table.slots.get_mut(index as usize).and_then(Option::as_mut) {
            slot.registered = slot.registered.saturating_sub(1);
        }
    }

    /// Gives back the use of a registration that is taken back; see [`Shapes::release`].
    #[must_use = "dropping a shape may run its owner's code"]
    pub(crate) fn withdraw(&self, index: u32) -> Option<Arc<Shape>> {
        self.unregister(index);
        self.release(index, 1)
    }

    /// Gives back uses of records. When that was the last, the shape is returned, to be dropped where no lock is held.
    #[must_use = "dropping a shape may run its owner's code"]
    pub(crate) fn release(&self, index: u32, uses: u64) -> Option<Arc<Shape>> {
        let mut table = self.table.lock();
        let slot = table.slots.get_mut(index as usize)?.as_mut()?;
        slot.uses = slot.uses.saturating_sub(uses);
        if slot.uses > 0 {
            None
        } else {
            table.remove(index)
        }
    }

    /// Calls `visit` with the context of every registered function. (Queued records have theirs.)
    pub(crate) fn for_each_context(&self, mut visit: impl FnMut(usize)) {
        let table = self.table.lock();
        let slots = table.slots.iter().flatten();
        let registered =
            slots.filter(|slot| slot.registered > 0 && slot.shape.manner.traced_context);
        registered
            .filter_map(|slot| slot.shape.function.context())
            .for_each(&mut visit);
    }

    /// How many shapes there are.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().by_key.len()
    }

    /// Gives each record of a following function the code for this register count.
    pub(crate) fn choose_codes(&self, block: &Block, int_arg_regs: u8) {
        let table = self.table.lock();
        if table.following == 0 {
            return;
        }
        for (slot, tag) in block.entries() {
            let found = table.slots.get(tag.shape() as usize);
            let shape = found.and_then(Option::as_ref).map(|found| &found.shape);
            if let Some(Stubs::Following(stubs)) = shape.map(|shape| &shape.stubs) {
                slot.set_code(stubs[usize::from(int_arg_regs)].0);
            }
        }
    }

    /// How often each shape is named, neighbours together.
    pub(crate) fn count(tags: &[Tag]) -> Vec<(u32, u64)> {
        let runs = tags.chunk_by(|a, b| a.shape() == b.shape());
        runs.map(|run| (run[0].shape(), run.len() as u64)).collect()
    }
}

impl Table {
    fn reuse(&mut self, key: Key) -> Option<u32> {
        let index = *self.by_key.get(&key)?;
        let slot = self.slots[index as usize].as_mut()?;
        slot.uses += 1;
        slot.registered += 1;
        Some(index)
    }

    fn insert(&mut self, key: Key, shape: Arc<Shape>) -> u32 {
        self.following += usize::from(matches!(shape.stubs, Stubs::Following(_)));
        let slot = Some(Slot {
            shape,
            uses: 1,
            registered: 1,
        });
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        self.by_key.insert(key, index);
        index
    }

    fn remove(&mut self, index: u32) -> Option<Arc<Shape>> {
        let slot = self.slots.get_mut(index as usize)?.take()?;
        let Shape {
            function,
            argument,
            manner,
            ..
        } = &*slot.shape;
        self.by_key
            .remove(&(function.identity(), *argument, *manner));
        self.following -= usize::from(matches!(slot.shape.stubs, Stubs::Following(_)));
        self.free.push(index);
        Some(slot.shape)
    }
}
