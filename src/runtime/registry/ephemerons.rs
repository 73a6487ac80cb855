//! Weak references that are objects of the heap: cells, of one address, and ephemerons, of a key
//! and a value.
//!
//! Both are two words of plain data, which the collector does not follow: an address that it sets
//! to 0, and for an ephemeron the value's. What they are is written down here.
//!
//! An ephemeron that is reachable keeps its value as long as its key is reachable, too. Keys and
//! ephemerons are special objects, so each is seen once when it is marked; whichever of the two is
//! marked last marks the value ([`Registry::follow`]). That takes one step for each ephemeron,
//! however they lead to one another.
//!
//! In topological order one object that is due may have marked another one: what refers to it
//! weakly is cleared when that is decided ([`WeakObjects::clear_due`]).
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::{DowngradeError, Registry, Specials};
use crate::heap::{AllocError, Heap, Location, Marking, Word};
use crate::order::WeakEdges;
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;
use crate::types::{TypeId, Types, WEAK_OBJECT};

/// Byte offsets in a cell or an ephemeron.
const KEY: usize = 0;
pub(super) const VALUE: usize = 8;

/// All weak objects.
#[derive(Debug, Default)]
pub(super) struct WeakObjects {
    /// Their type, once there was one. It has 16 bytes, so none of them shares a block.
    ty: Option<TypeId>,
    /// Cells, by what they refer to.
    cells: HashMap<usize, usize>,
    /// Keys, by their ephemerons.
    ephemerons: HashMap<usize, usize>,
    /// Ephemerons, by where their keys start.
    by_key: HashMap<usize, Vec<usize>>,
}

impl WeakObjects {
    fn ty(&mut self, types: &Types) -> Result<TypeId, AllocError> {
        if let Some(ty) = self.ty {
            return Ok(ty);
        }
        let ty = types.define_own(WEAK_OBJECT, "[2]uintptr")?;
        types.desc(ty)?.keep();
        self.ty = Some(ty);
        Ok(ty)
    }

    /// Whether marking has to follow ephemerons.
    pub(super) fn has_ephemerons(&self) -> bool {
        !self.ephemerons.is_empty()
    }

    /// Marks the values that are kept now that a key or an ephemeron was marked.
    pub(super) fn follow(&self, object: usize, marking: &mut Marking<'_>) {
        if let Some(key) = self.ephemerons.get(&object)
            && marking.is_marked(*key)
        {
            mark_value(object, marking);
        }
        for ephemeron in self.by_key.get(&object).into_iter().flatten() {
            if marking.is_marked(*ephemeron) {
                mark_value(*ephemeron, marking);
            }
        }
    }

    /// Clears what refers to unmarked objects, and forgets what is itself unmarked.
    pub(super) fn clear(&mut self, marking: &Marking<'_>) {
        self.retain(marking.heap(), |weak, of| {
            marking.is_marked(of) && marking.is_marked(weak)
        });
    }

    /// Clears what refers to objects whose finalizers are due, whether they are marked or not;
    /// `is_due` is given where an object starts.
    pub(super) fn clear_due(&mut self, heap: &Heap, is_due: impl Fn(usize) -> bool) {
        self.retain(heap, |_, of| {
            heap.find(of).is_none_or(|(start, _)| !is_due(start))
        });
    }

    /// Clears and forgets the weak objects for which `is_kept` returns false; it is given the weak
    /// object and the address to which that refers.
    fn retain(&mut self, heap: &Heap, is_kept: impl Fn(usize, usize) -> bool) {
        let is_kept = |weak: usize, of: usize| {
            let kept = is_kept(weak, of);
            if !kept {
                set(heap, weak, KEY, 0);
                set(heap, weak, VALUE, 0);
            }
            kept
        };
        self.cells.retain(|of, cell| is_kept(*cell, *of));
        let before = self.ephemerons.len();
        self.ephemerons
            .retain(|ephemeron, key| is_kept(*ephemeron, *key));
        if self.ephemerons.len() < before {
            let ephemerons = &self.ephemerons;
            self.by_key.retain(|_, all| {
                all.retain(|ephemeron| ephemerons.contains_key(ephemeron));
                !all.is_empty()
            });
        }
    }

    /// All ephemerons whose values are objects: each with where its key starts, unless that is in
    /// no object and never dies, and where its value does.
    pub(super) fn entries(
        &self,
        heap: &Heap,
    ) -> impl Iterator<Item = (usize, Option<usize>, usize)> {
        let start = |addr: usize| Some(heap.find(addr)?.0);
        self.ephemerons.iter().filter_map(move |(ephemeron, key)| {
            let value = heap.load(*ephemeron, VALUE, Word::Any).ok()?;
            Some((*ephemeron, start(*key), start(value as usize)?))
        })
    }

    /// The ephemerons that may keep an unmarked value.
    pub(super) fn edges(&self, marking: &Marking<'_>) -> WeakEdges<usize> {
        let mut edges = WeakEdges::default();
        let is_unmarked = |object: &usize| !marking.is_marked(*object);
        for (ephemeron, key, value) in self.entries(marking.heap()) {
            let holder = Some(ephemeron).filter(is_unmarked);
            let key = key.filter(is_unmarked);
            if is_unmarked(&value) && holder.or(key).is_some() {
                edges.add(holder, key, value);
            }
        }
        edges
    }

    /// All ephemerons, for an order in which it is not known what is alive.
    pub(super) fn all_edges(&self, heap: &Heap) -> WeakEdges<usize> {
        let mut edges = WeakEdges::default();
        for (ephemeron, key, value) in self.entries(heap) {
            edges.add_each(ephemeron, key.unwrap_or(ephemeron), value);
        }
        edges
    }
}

fn mark_value(ephemeron: usize, marking: &mut Marking<'_>) {
    let value = marking.heap().load(ephemeron, VALUE, Word::Any);
    if let Ok(value) = value {
        marking.mark(value as usize);
    }
}

/// Writes a word of a weak object, which exists.
fn set(heap: &Heap, object: usize, offset: usize, value: usize) {
    let written = heap.store(object, offset, Word::Data, value as u64);
    debug_assert!(written.is_ok(), "{written:?}");
}

impl Registry {
    /// Checks that `pointer` leads to what can be referred to weakly.
    fn check_weak(&self, heap: &Heap, pointer: usize) -> Result<(), DowngradeError> {
        match heap.locate(pointer) {
            Location::Object { .. } | Location::Zero => Ok(()),
            Location::NoObject if self.is_global(pointer) => Ok(()),
            _ => Err(DowngradeError::NotInHeap { addr: pointer }),
        }
    }

    fn weak_cell<'m>(
        &self,
        mutator: &'m Mutator,
        pointer: usize,
    ) -> Result<Obj<'m>, DowngradeError> {
        self.check_weak(mutator.space().heap(), pointer)?;
        let mut specials = self.specials.lock();
        if let Some(cell) = specials.weak.cells.get(&pointer) {
            return Ok(Obj::at(*cell));
        }
        let ty = specials.weak.ty(mutator.types())?;
        let cell = mutator.alloc(ty)?;
        set(mutator.space().heap(), cell.addr(), KEY, pointer);
        specials.weak.cells.insert(pointer, cell.addr());
        Ok(cell)
    }

    fn ephemeron<'m>(
        &self,
        mutator: &'m Mutator,
        key: usize,
        value: usize,
    ) -> Result<Obj<'m>, DowngradeError> {
        let heap = mutator.space().heap();
        self.check_weak(heap, key)?;
        let mut specials = self.specials.lock();
        let ty = specials.weak.ty(mutator.types())?;
        let ephemeron = mutator.alloc(ty)?;
        set(heap, ephemeron.addr(), KEY, key);
        set(heap, ephemeron.addr(), VALUE, value);
        let start = heap.find(key).map_or(key, |(start, _)| start);
        let places = [ephemeron.addr(), start].map(|object| heap.place(object));
        places
            .into_iter()
            .flatten()
            .for_each(|place| heap.set_special(place));
        heap.watch_specials();
        let weak = &mut specials.weak;
        weak.ephemerons.insert(ephemeron.addr(), key);
        weak.by_key.entry(start).or_default().push(ephemeron.addr());
        Ok(ephemeron)
    }
}

impl Specials {
    /// Whether marking has to follow more than references.
    pub(super) fn is_followed(&self) -> bool {
        self.has_hidden() || self.weak.has_ephemerons()
    }
}

impl Mutator {
    /// Returns the weak cell of a pointer: an object of the heap whose first word is the address,
    /// until a collection finds the object there unreachable, and 0 from then on. So generated code
    /// follows a weak pointer by one load, and copies it like any reference. It is cleared when
    /// [weak pointers](Self::downgrade) are, before the object's finalizer runs.
    ///
    /// There is one cell for each address as long as the cell is reachable: two weak pointers are
    /// equal if their cells are the same object. Only the runtime writes a cell. One that only its
    /// own finalizer keeps is cleared. A cell of a
    /// [global](crate::Runtime::add_global) or an object without size is never cleared.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// let runtime = fing::Runtime::new()?;
    /// let ty = runtime.types().id("uint64")?;
    /// let mut mutator = runtime.attach()?;
    /// let object = mutator.alloc(ty)?;
    /// let cell = mutator.weak_cell(object)?;
    /// assert_eq!(mutator.load_word(cell, 0)?, object.addr() as u64);
    /// let cell = mutator.root(cell)?;
    /// mutator.gc()?;
    /// assert_eq!(mutator.load_word(mutator.get(&cell)?, 0)?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The address is in no object of this heap, and in no global; or the heap is full.
    pub fn weak_cell(&self, pointer: impl Into<usize>) -> Result<Obj<'_>, DowngradeError> {
        let runtime = self.runtime();
        runtime.registry().weak_cell(self, pointer.into())
    }

    /// Allocates an ephemeron, an entry of a weak map: an object of two words, the addresses of a
    /// key and of a value. The ephemeron does not keep its key. It keeps its value as long as it is
    /// itself reachable and the key is reachable by another way than through the value. When the
    /// key is not, both words become 0, before the key's finalizer runs.
    ///
    /// The second word may be written at any time, as plain data
    /// ([`store_word`](Self::store_word) at offset 8): to any address, as in a pointer word. The
    /// first one is the runtime's. A table of them in an object of the heap is a weak map. The time
    /// that they take in a collection is proportional to their number, also where the value of one
    /// is the key of the next.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// let runtime = fing::Runtime::new()?;
    /// let ty = runtime.types().define("main.T", "struct { Key *main.T }")?;
    /// let mut mutator = runtime.attach()?;
    /// let (key, value) = (mutator.alloc(ty)?, mutator.alloc(ty)?);
    /// mutator.store_ref(value, 0, Some(key))?; // does not keep the key
    /// let entry = mutator.ephemeron(key, value)?;
    /// let (key, entry) = (mutator.root(key)?, mutator.root(entry)?);
    /// assert_eq!(mutator.gc()?.live_objects, 3);
    /// drop(key);
    /// assert_eq!(mutator.gc()?.live_objects, 1);
    /// assert_eq!(mutator.load_word(mutator.get(&entry)?, 8)?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The key is in no object of this heap, and in no global; or the heap is full.
    pub fn ephemeron(
        &self,
        key: impl Into<usize>,
        value: impl Into<usize>,
    ) -> Result<Obj<'_>, DowngradeError> {
        let runtime = self.runtime();
        runtime.registry().ephemeron(self, key.into(), value.into())
    }
}
