//! The table of shapes: one for each combination of function, kind of argument and handling.
//! Registrations and queued records hold the index of their shape.
//!
//! Shapes are not reference counted. A collection sweeps the table instead ([`Shapes::sweep`]): it
//! removes a shape when its function can no longer be registered, because only shapes hold clones
//! of it, and no registration and no queued record holds the shape's index.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fing_stubs::{StubCache, StubError};

use crate::base::lock::{Lock, Rank};
use crate::calls::function::Function;
use crate::calls::lane::{LaneError, Lanes};
use crate::calls::options::Handling;
use crate::calls::queue::Block;
use crate::calls::shape::{Argument, Conduct, Shape};
use crate::types::TypeId;

/// What identifies a shape: the function's identity, the kind of argument and the handling.
type Key = (usize, Argument, Handling);

/// The shapes of a runtime, by index.
#[derive(Debug)]
pub(crate) struct Shapes {
    table: Lock<Table>,
    lanes: Lanes,
    /// Whether there may be shapes whose records get their code address when they are drained.
    following: AtomicBool,
    /// The number of sweeps that removed a shape. Shapes looked up at another number may be stale.
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Option<Arc<Shape>>>,
    free: Vec<u32>,
    by_key: HashMap<Key, u32>,
    /// The shapes of each function.
    holders: HashMap<usize, Holders>,
    /// Shapes that earlier registrations found, by function, handling and pointer type.
    by_type: HashMap<(usize, Handling, TypeId), u32>,
    /// While a sweep asks which shapes are named: those that calls were queued again with since it
    /// began, which it may not be told.
    requeued: Option<Vec<u32>>,
}

/// The shapes of one function.
#[derive(Debug, Default)]
struct Holders {
    /// How many there are. Each of them holds a clone of the function.
    count: usize,
    /// What they have in common.
    conduct: Arc<Conduct>,
}

/// Why a function can't be registered.
#[derive(Debug)]
pub(crate) enum ShapeError {
    Stub(StubError),
    Lane(LaneError),
}

impl From<StubError> for ShapeError {
    fn from(error: StubError) -> ShapeError {
        ShapeError::Stub(error)
    }
}

impl From<LaneError> for ShapeError {
    fn from(error: LaneError) -> ShapeError {
        ShapeError::Lane(error)
    }
}

/// The set of indices in use, which is collected for a sweep.
#[derive(Debug)]
pub(crate) struct Named(Vec<u64>);

impl Named {
    fn new(indices: usize) -> Named {
        Named(vec![0; indices.div_ceil(64)])
    }

    #[inline]
    pub(crate) fn add(&mut self, index: u32) {
        if let Some(word) = self.0.get_mut(index as usize / 64) {
            *word |= 1 << (index % 64);
        }
    }

    fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 != 0
    }
}

impl Shapes {
    pub(crate) fn new(lanes: Lanes) -> Shapes {
        Shapes {
            lanes,
            table: Lock::new(Rank::Shapes, Table::default()),
            following: AtomicBool::new(false),
            generation: AtomicU64::new(0),
        }
    }

    /// Returns the index of the shape for this function, argument and policy, after making the
    /// shape if there is none. The index is valid as long as the caller holds a clone of the
    /// function.
    pub(crate) fn index_of(
        &self,
        function: &Function,
        argument: Argument,
        handling: Handling,
        cache: &StubCache,
    ) -> Result<u32, ShapeError> {
        let key = (function.identity(), argument, handling);
        if let Some(&index) = self.table.lock().by_key.get(&key) {
            return Ok(index);
        }
        // Made without the lock. If another thread has added an equal shape meanwhile, this one is
        // dropped.
        let lane = self.lanes.lane(function, handling.lane)?;
        let shape = Shape::prepare(function, argument, (handling, lane), cache)?;
        if shape.follows() {
            self.following.store(true, Ordering::Release);
        }
        let mut table = self.table.lock();
        let there = table.by_key.get(&key).copied();
        Ok(there.unwrap_or_else(|| table.insert(key, shape)))
    }

    /// Returns the index of the shape that calls of the shape at `index` get when they are queued
    /// again, after making it if there is none.
    pub(crate) fn requeued(&self, index: u32) -> u32 {
        let shape = self.get(index).requeued();
        let key = (
            shape.function().identity(),
            shape.argument(),
            *shape.handling(),
        );
        let mut table = self.table.lock();
        let there = table.by_key.get(&key).copied();
        let index = there.unwrap_or_else(|| table.insert(key, shape));
        if let Some(requeued) = &mut table.requeued {
            requeued.push(index);
        }
        index
    }

    /// Returns the index that [`Shapes::note`] stored for this function, handling and pointer type,
    /// if any.
    pub(crate) fn noted(
        &self,
        function: &Function,
        handling: Handling,
        pointer: TypeId,
    ) -> Option<u32> {
        let table = self.table.lock();
        let key = (function.identity(), handling, pointer);
        table.by_type.get(&key).copied()
    }

    /// Stores that the shape at `index` is the one for this function, handling and pointer type.
    pub(crate) fn note(
        &self,
        function: &Function,
        handling: Handling,
        pointer: TypeId,
        index: u32,
    ) {
        let key = (function.identity(), handling, pointer);
        self.table.lock().by_type.insert(key, index);
    }

    /// Forgets what [`Shapes::note`] stored for pointer types that were given back.
    pub(crate) fn forget_types(&self, gone: &HashSet<TypeId>) {
        let mut table = self.table.lock();
        table.by_type.retain(|(_, _, ty), _| !gone.contains(ty));
    }

    /// Returns the shape at `index`, which must be held by a registration or a queued record, or be
    /// of a function that the caller holds a clone of.
    ///
    /// # Panics
    /// If there is no such shape, which is always a bug of this crate.
    pub(crate) fn get(&self, index: u32) -> Arc<Shape> {
        let table = self.table.lock();
        let shape = table.slots.get(index as usize).and_then(Option::as_ref);
        shape.expect("a shape in use is in the table").clone()
    }

    /// Returns a number that changes when a sweep removes shapes: shapes looked up by index before
    /// may be stale then.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Removes the shapes of functions that can no longer be registered, except those whose index
    /// `name` adds to its argument, and returns them. `name` must add the indices of all
    /// registrations and all queued records; it is not called when there is nothing to remove. Drop
    /// the result with no lock held, as that may run the `Drop` of a function's owner.
    ///
    /// `forget` is called with the indices of removed shapes before other shapes can get them. The
    /// table is not locked meanwhile.
    ///
    /// No thread may be registering a function of which only shapes hold clones.
    #[must_use = "dropping a shape may run its owner's code"]
    pub(crate) fn sweep(
        &self,
        name: impl FnOnce(&mut Named),
        forget: impl FnOnce(&[u32]),
    ) -> Vec<Arc<Shape>> {
        let (abandoned, indices) = {
            let mut table = self.table.lock();
            let is_abandoned = |index: &usize| table.is_abandoned(*index);
            let abandoned: Vec<usize> = (0..table.slots.len()).filter(is_abandoned).collect();
            if abandoned.is_empty() {
                return Vec::new();
            }
            table.requeued = Some(Vec::new());
            (abandoned, table.slots.len())
        };
        // The table is unlocked here, as its lock ranks after those of queue and registry, which
        // `name` takes. Meanwhile a failed call may be queued again, by a thread that holds its
        // function until then: either it held that before, or it gets the shape from now on.
        let mut named = Named::new(indices);
        name(&mut named);
        let (gone, shapes) = self.table.lock().remove_unnamed(&abandoned, named);
        if !gone.is_empty() {
            self.generation.fetch_add(1, Ordering::AcqRel);
            forget(&gone);
            self.table.lock().free.extend(gone);
        }
        shapes
    }

    /// Returns all shapes with their indices and, for those of finalizers that are known to be for
    /// pointers of a type, that type. Drop the result with no lock held: it may have the last
    /// reference to a function.
    pub(crate) fn all(&self) -> Vec<(u32, Arc<Shape>, Option<TypeId>)> {
        let table = self.table.lock();
        let mut types = HashMap::new();
        for (&(function, _, ty), &index) in &table.by_type {
            if let Some(shape) = &table.slots[index as usize] {
                types.insert((function, shape.argument()), ty);
            }
        }
        let shapes = (0..).zip(&table.slots);
        let shapes = shapes.filter_map(|(index, shape)| Some((index, shape.as_ref()?)));
        let with_type = shapes.map(|(index, shape)| {
            let key = (shape.function().identity(), shape.argument());
            (index, shape.clone(), types.get(&key).copied())
        });
        with_type.collect()
    }

    /// Which lanes the runtime has.
    pub(crate) fn lanes(&self) -> Lanes {
        self.lanes
    }

    /// Returns the number of shapes.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().by_key.len()
    }

    /// Sets the code address of each record whose function follows the register count.
    pub(crate) fn choose_codes(&self, block: &Block, int_arg_regs: u8) {
        if !self.following.load(Ordering::Acquire) {
            return;
        }
        let table = self.table.lock();
        for (slot, tag) in block.entries() {
            let shape = table.slots.get(tag.shape() as usize);
            let shape = shape.and_then(Option::as_ref);
            if let Some(code) = shape.and_then(|shape| shape.following_code(int_arg_regs)) {
                slot.set_code(code);
            }
        }
    }
}

impl Table {
    fn insert(&mut self, key: Key, shape: Shape) -> u32 {
        let holders = self.holders.entry(shape.function().identity()).or_default();
        holders.count += 1;
        let shape = Arc::new(shape.with_conduct(holders.conduct.clone()));
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(shape);
                index
            }
            None => {
                self.slots.push(Some(shape));
                self.slots.len() as u32 - 1
            }
        };
        self.by_key.insert(key, index);
        index
    }

    /// Whether only shapes hold clones of the function of the shape with this index.
    fn is_abandoned(&self, index: usize) -> bool {
        self.slots[index].as_ref().is_some_and(|shape| {
            let function = shape.function();
            let holders = self.holders.get(&function.identity());
            holders.is_some_and(|holders| holders.count == function.clones())
        })
    }

    /// Returns the indices of what was removed, which are not free yet, and the shapes.
    /// `before`: the shapes that were abandoned when the sweep began.
    fn remove_unnamed(
        &mut self,
        before: &[usize],
        mut named: Named,
    ) -> (Vec<u32>, Vec<Arc<Shape>>) {
        let requeued = self.requeued.take().unwrap_or_default();
        requeued.into_iter().for_each(|index| named.add(index));
        let before = before.iter().copied();
        let gone: Vec<usize> = before
            .filter(|&index| !named.has(index) && self.is_abandoned(index))
            .collect();
        if gone.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let removed: Vec<Arc<Shape>> = gone
            .iter()
            .filter_map(|&index| self.slots[index].take())
            .collect();
        for shape in &removed {
            let identity = shape.function().identity();
            self.by_key
                .remove(&(identity, shape.argument(), *shape.handling()));
            if let Some(holders) = self.holders.get_mut(&identity) {
                holders.count -= 1;
            }
        }
        self.holders.retain(|_, holders| holders.count > 0);
        let slots = &self.slots;
        self.by_type
            .retain(|_, index| slots[*index as usize].is_some());
        (gone.iter().map(|&index| index as u32).collect(), removed)
    }
}
