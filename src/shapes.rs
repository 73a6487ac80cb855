//! The table of registration shapes: a function, prepared for one type of object.
//!
//! Objects of one type with one finalizer share a shape. It holds what is the same for all their records: the stub,
//! the context, an interface's first word. A shape lives while a registration or a queued record names it.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fing_stubs::{Abi, KeyOptions, Record, Signature, Stub, StubCache, StubError, StubKey, Type};

use crate::collector::CyclePolicy;
use crate::finalizer::{Entry, FinalizerFn};
use crate::lock::{Lock, Rank};
use crate::queue::{Block, Tag};
use crate::types::TypeId;

/// What stands in a record's words beside the object or argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Argument {
    /// Word 0 is the object's address.
    Pointer,
    /// Word 0 is this, an itab or a type; word 1 is the object's address.
    Interface(usize),
    /// Word 0 is the object's address, of which a bulk finalizer gets many.
    Bulk,
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

/// What makes a shape: the function's identity, how it is called, and whether its uses are counted.
type Key = (usize, Argument, Manner, bool);

/// One function for one kind of argument, ready to be queued.
#[derive(Debug)]
pub(crate) struct Shape {
    function: FinalizerFn,
    argument: Argument,
    manner: Manner,
    /// Its registrations and records are counted.
    counted: bool,
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
        counted: bool,
        cache: &StubCache,
    ) -> Result<Shape, StubError> {
        let signature = match argument {
            Argument::Bulk => Cow::Owned(bulk_image(function.signature())?),
            _ => Cow::Borrowed(function.signature()),
        };
        let context = manner.traced_context || function.context().is_some();
        let make = |abi: Abi| {
            let key = if argument == Argument::Block {
                let options = KeyOptions {
                    context_argument: context,
                    frame_limit: cache.options().frame_limit,
                };
                StubKey::block(&signature, abi, options)?
            } else {
                cache.key(&signature, abi, context)?
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
            counted,
            stubs,
        })
    }

    /// Whether uses of it are to be given back.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted
    }

    pub(crate) fn function(&self) -> &FinalizerFn {
        &self.function
    }

    /// Whether one call takes the objects of many records.
    pub(crate) fn is_bulk(&self) -> bool {
        self.argument == Argument::Bulk
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
            Argument::Pointer | Argument::Bulk | Argument::Image { .. } | Argument::Block => words,
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
            Argument::Pointer | Argument::Bulk | Argument::Block => Tag::WORD_0,
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

/// A signature of one parameter that goes where a bulk finalizer's two words go: every ABI but Go's with one register
/// passes an interface as it passes a pointer and an integer.
fn bulk_image(signature: &Signature) -> Result<Signature, StubError> {
    let results = signature.results().to_vec();
    let image = Signature::new(None, vec![Type::empty_interface()], results, false);
    image.map_err(StubError::from)
}

/// What the records of a finalizer's shape have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    record: Record,
    /// Which word is the object's address.
    at: usize,
    tag: Tag,
}

impl Template {
    /// The record for an object, and its tag.
    #[inline]
    pub(crate) fn record(&self, addr: usize) -> (Record, Tag) {
        // By choosing, not by storing to `words[at]`: a word stored to memory and read back in a pair stalls.
        let [first, second] = self.record.words;
        let words = match self.at {
            0 => [addr as u64, second],
            _ => [first, addr as u64],
        };
        (
            Record {
                words,
                ..self.record
            },
            self.tag,
        )
    }
}

/// The shapes of a runtime, by index.
#[derive(Debug)]
pub(crate) struct Shapes {
    table: Lock<Table>,
    /// There may be shapes whose records get their code when they are drained.
    following: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_key: HashMap<Key, u32>,
    /// By function, manner and type of pointer: what was found good for such objects.
    by_type: HashMap<(usize, Manner, TypeId), u32>,
    /// Uncounted shapes without uses.
    idle: usize,
}

#[derive(Debug)]
struct Slot {
    shape: Arc<Shape>,
    /// Registrations and queued records; of an uncounted shape, those who may register objects.
    uses: u64,
    /// Registrations alone.
    registered: u64,
}

impl Shapes {
    pub(crate) fn new() -> Shapes {
        Shapes {
            table: Lock::new(Rank::Shapes, Table::default()),
            following: AtomicBool::new(false),
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
        self.acquire_as(function, argument, manner, true, cache)
    }

    /// The index of the shape that was acquired for this function and pointers of this type before, if it is still
    /// there, with one more use.
    pub(crate) fn acquire_again(
        &self,
        function: &FinalizerFn,
        manner: Manner,
        pointer: TypeId,
    ) -> Option<u32> {
        let mut table = self.table.lock();
        let index = *table.by_type.get(&(function.identity(), manner, pointer))?;
        let slot = table.slots[index as usize].as_mut()?;
        slot.uses += 1;
        slot.registered += 1;
        Some(index)
    }

    /// Notes for [`Shapes::acquire_again`] that the shape at `index`, which the caller has acquired, is the function's
    /// for pointers of this type.
    pub(crate) fn remember(
        &self,
        function: &FinalizerFn,
        manner: Manner,
        pointer: TypeId,
        index: u32,
    ) {
        let key = (function.identity(), manner, pointer);
        self.table.lock().by_type.insert(key, index);
    }

    /// As [`Shapes::acquire`], for somebody who registers objects without counting them. Given back by
    /// [`Shapes::release_uncounted`]; the shape goes when nobody has it and [`Shapes::take_unnamed`] says so.
    pub(crate) fn acquire_uncounted(
        &self,
        function: &FinalizerFn,
        argument: Argument,
        manner: Manner,
        cache: &StubCache,
    ) -> Result<u32, StubError> {
        self.acquire_as(function, argument, manner, false, cache)
    }

    fn acquire_as(
        &self,
        function: &FinalizerFn,
        argument: Argument,
        manner: Manner,
        counted: bool,
        cache: &StubCache,
    ) -> Result<u32, StubError> {
        let key = (function.identity(), argument, manner, counted);
        if let Some(index) = self.table.lock().reuse(key) {
            return Ok(index);
        }
        // Made without the lock. If another thread was faster, its shape is as good, and this one is dropped.
        let shape = Arc::new(Shape::prepare(function, argument, manner, counted, cache)?);
        if matches!(shape.stubs, Stubs::Following(_)) {
            self.following.store(true, Ordering::Release);
        }
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

    /// So many registrations of each shape are none any more. The context of an uncounted shape stays a root as long as
    /// the shape is there.
    pub(crate) fn unregister_all(&self, all: impl IntoIterator<Item = (u32, u64)>) {
        let mut table = self.table.lock();
        for (index, many) in all {
            table.unregister(index, many);
        }
    }

    /// For many records of each shape, which take the place of registrations that have one use of
    /// the shape in common: how many records, and whether they are of the last of these registrations.
    pub(crate) fn queue_all(&self, all: impl Iterator<Item = (u32, u64, bool)>) {
        let mut table = self.table.lock();
        for (index, records, last) in all {
            if last {
                table.unregister(index, 1);
            }
            if let Some(Some(slot)) = table.slots.get_mut(index as usize) {
                slot.uses += records - u64::from(last);
            }
        }
    }

    /// So many more registrations of a shape that the caller has registered.
    pub(crate) fn lend(&self, index: u32, uses: u64) {
        if let Some(Some(slot)) = self.table.lock().slots.get_mut(index as usize) {
            slot.uses += uses;
            slot.registered += uses;
        }
    }

    /// Gives back the use of a registration that is taken back; see [`Shapes::release`].
    #[must_use = "dropping a shape may run its owner's code"]
    pub(crate) fn withdraw(&self, index: u32) -> Option<Arc<Shape>> {
        self.withdraw_all(index, 1)
    }

    /// Gives back uses of registrations that are taken back, or were never made; see [`Shapes::release`].
    #[must_use = "dropping a shape may run its owner's code"]
    pub(crate) fn withdraw_all(&self, index: u32, uses: u64) -> Option<Arc<Shape>> {
        let mut table = self.table.lock();
        table.unregister(index, uses);
        table.release(index, uses)
    }

    /// Gives back uses of records. When that was the last, the shape is returned, to be dropped where no lock is held.
    #[must_use = "dropping a shape may run its owner's code"]
    pub(crate) fn release(&self, index: u32, uses: u64) -> Option<Arc<Shape>> {
        self.table.lock().release(index, uses)
    }

    /// Gives back uses of shapes that the caller keeps alive; see [`Shapes::release`]. Returns those that are gone from
    /// the table.
    pub(crate) fn release_all(&self, uses: impl Iterator<Item = (u32, u64)>) -> Vec<u32> {
        let mut table = self.table.lock();
        uses.filter(|&(index, uses)| table.release(index, uses).is_some())
            .map(|(index, _)| index)
            .collect()
    }

    /// One more use of an uncounted shape that somebody has.
    pub(crate) fn retain_uncounted(&self, index: u32) {
        if let Some(Some(slot)) = self.table.lock().slots.get_mut(index as usize) {
            slot.uses += 1;
        }
    }

    /// Gives back one use of an uncounted shape.
    pub(crate) fn release_uncounted(&self, index: u32) {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        if let Some(Some(slot)) = table.slots.get_mut(index as usize) {
            slot.uses -= 1;
            table.idle += usize::from(slot.uses == 0);
        }
    }

    /// Whether there are uncounted shapes that nobody has.
    pub(crate) fn has_idle(&self) -> bool {
        self.table.lock().idle > 0
    }

    /// Takes out the uncounted shapes that nobody has and that `named` does not know: no object and no record names
    /// them. To be dropped where no lock is held.
    #[must_use = "dropping a shape may run its owner's code"]
    pub(crate) fn take_unnamed(&self, named: &HashSet<u32>) -> Vec<Arc<Shape>> {
        let mut table = self.table.lock();
        let idle: Vec<u32> = (0..)
            .zip(&table.slots)
            .filter(|(index, slot)| {
                slot.as_ref()
                    .is_some_and(|slot| !slot.shape.counted && slot.uses == 0)
                    && !named.contains(index)
            })
            .map(|(index, _)| index)
            .collect();
        idle.into_iter()
            .filter_map(|index| table.remove(index))
            .collect()
    }

    /// What the records of the finalizer's shape at `index` have in common.
    pub(crate) fn template(&self, index: u32) -> Template {
        let shape = self.get(index);
        Template {
            record: shape.record([0; 2]),
            at: shape.references().trailing_zeros() as usize,
            tag: Tag::new(index, shape.references()),
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
        if !self.following.load(Ordering::Acquire) {
            return;
        }
        let table = self.table.lock();
        for (slot, tag) in block.entries() {
            let found = table.slots.get(tag.shape() as usize);
            let shape = found.and_then(Option::as_ref).map(|found| &found.shape);
            if let Some(Stubs::Following(stubs)) = shape.map(|shape| &shape.stubs) {
                slot.set_code(stubs[usize::from(int_arg_regs)].0);
            }
        }
    }
}

impl Table {
    fn reuse(&mut self, key: Key) -> Option<u32> {
        let index = *self.by_key.get(&key)?;
        let slot = self.slots[index as usize].as_mut()?;
        self.idle -= usize::from(!slot.shape.counted && slot.uses == 0);
        slot.uses += 1;
        slot.registered += 1;
        Some(index)
    }

    fn unregister(&mut self, index: u32, many: u64) {
        let slot = self.slots.get_mut(index as usize).and_then(Option::as_mut);
        if let Some(slot) = slot.filter(|slot| slot.shape.counted) {
            slot.registered = slot.registered.saturating_sub(many);
        }
    }

    fn release(&mut self, index: u32, uses: u64) -> Option<Arc<Shape>> {
        let slot = self.slots.get_mut(index as usize)?.as_mut()?;
        if !slot.shape.counted {
            return None;
        }
        slot.uses = slot.uses.saturating_sub(uses);
        if slot.uses > 0 {
            None
        } else {
            self.remove(index)
        }
    }

    fn insert(&mut self, key: Key, shape: Arc<Shape>) -> u32 {
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
            counted,
            ..
        } = &*slot.shape;
        self.by_key
            .remove(&(function.identity(), *argument, *manner, *counted));
        self.idle -= usize::from(!counted);
        self.by_type.retain(|_, known| *known != index);
        self.free.push(index);
        Some(slot.shape)
    }
}
