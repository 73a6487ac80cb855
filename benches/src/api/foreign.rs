//! Finalizers for the heaps of other collectors, with two collectors that follow nothing. Has
//! unsafe code: makes the collector's promise for them.
#![expect(unsafe_code, reason = "makes the collector's promise")]

pub(crate) use fing::foreign::Scope;
use fing::foreign::{Finalizers, PreparedFinalizer, Tracer};
use fing::{CyclePolicy, Executor};

use super::functions::{Finalizer, of_any_pointer, reading};
use crate::by_hand::Records;
use crate::callees::{self, Kind};
use crate::measure::Fault;
use crate::measure::random::permutation;

/// The first object's address, behind a header as objects mostly are.
const BASE: u64 = 0x7f00_0000_0010;
/// Bytes of an object, a power of two.
const SIZE: u64 = 32;

/// The address of an object of [`Heap`].
pub(crate) fn address(n: usize) -> u64 {
    BASE + SIZE * n as u64
}

/// A heap of objects of one size without references, of which there are only the mark bits.
pub(crate) struct Heap {
    marks: Vec<u64>,
    /// Objects from this address on are young.
    old: u64,
}

impl Heap {
    /// Of `n` objects, all old.
    pub(crate) fn new(n: usize) -> Heap {
        Heap {
            marks: vec![0; n.div_ceil(64)],
            old: address(n),
        }
    }

    /// Marks all, or none.
    pub(crate) fn mark_all(&mut self, alive: bool) {
        self.marks.fill(if alive { u64::MAX } else { 0 });
    }

    /// Objects from this number on are young from now on.
    pub(crate) fn make_young(&mut self, from: usize) {
        self.old = address(from);
    }
}

// SAFETY: no function that is registered follows its reference, and nothing moves or is freed.
unsafe impl Tracer for Heap {
    type Ref = u64;

    #[inline]
    fn is_reached(&mut self, object: u64) -> bool {
        let n = (object - BASE) / SIZE;
        self.marks[(n / 64) as usize] >> (n % 64) & 1 != 0
    }

    #[inline]
    fn trace(&mut self, object: u64) -> u64 {
        let n = (object - BASE) / SIZE;
        self.marks[(n / 64) as usize] |= 1 << (n % 64);
        object
    }

    fn children(&mut self, _: u64, _: &mut dyn FnMut(&mut Self, u64)) {}

    #[inline]
    fn is_young(&mut self, object: u64) -> bool {
        object >= self.old
    }

    fn moves(&self) -> bool {
        false
    }
}

/// The finalizers of a [`Heap`], with one function.
pub(crate) struct Table {
    finalizers: Finalizers<u64>,
    function: Finalizer,
    prepared: PreparedFinalizer<u64>,
}

impl Table {
    /// An empty one.
    pub(crate) fn new() -> Result<Table, Fault> {
        let finalizers = Finalizers::builder().executor(Executor::Inline).build()?;
        let function = of_any_pointer()?;
        Ok(Table {
            prepared: finalizers.prepare_finalizer(&function, CyclePolicy::default())?,
            finalizers,
            function,
        })
    }

    /// Sets the prepared finalizer of each object.
    pub(crate) fn set_prepared(&self, order: &[usize]) -> Result<(), Fault> {
        for &n in order {
            // SAFETY: the function follows nothing.
            unsafe { self.prepared.set(address(n)) }?;
        }
        Ok(())
    }

    /// Takes each back. Returns how many there were.
    pub(crate) fn clear_prepared(&self, order: &[usize]) -> usize {
        let found = order
            .iter()
            .filter(|n| self.prepared.clear(address(**n)).is_cancelled());
        found.count()
    }

    /// Sets the prepared finalizer of all these objects.
    pub(crate) fn set_prepared_all(&self, addresses: &[u64]) -> Result<(), Fault> {
        // SAFETY: the function follows nothing.
        unsafe { self.prepared.set_all(addresses) }?;
        Ok(())
    }

    /// Takes them all back. Returns how many there were.
    pub(crate) fn clear_prepared_all(&self, addresses: &[u64]) -> usize {
        self.prepared.clear_all(addresses)
    }

    /// Sets an object's finalizer, with all checks.
    #[inline]
    pub(crate) fn set(&self, n: usize) -> Result<(), Fault> {
        // SAFETY: the function follows nothing.
        unsafe { self.finalizers.set_finalizer(address(n), &self.function) }?;
        Ok(())
    }

    /// Takes it back. Returns whether there was one.
    #[inline]
    pub(crate) fn clear(&self, n: usize) -> bool {
        self.finalizers.clear_finalizer(address(n)).is_cancelled()
    }

    /// A collection of all objects, or of the young ones, up to the last question to the heap.
    pub(crate) fn collect(&self, scope: Scope, heap: &mut Heap) -> Result<(), Fault> {
        // SAFETY: the only collector of these objects, in the only thread.
        unsafe { self.finalizers.collect(scope, heap, |_| {}) }?;
        Ok(())
    }

    /// Queues what a collection found dead. Returns how many.
    pub(crate) fn finish(&self) -> usize {
        self.finalizers.finish().queued
    }

    /// Runs what is queued, and returns how many calls were made.
    pub(crate) fn run(&self) -> Result<u64, Fault> {
        Ok(self.finalizers.run_finalizers()?)
    }
}

/// A collector that reaches nothing.
struct Nothing;

// SAFETY: it returns only references that it was given.
unsafe impl Tracer for Nothing {
    type Ref = usize;

    fn is_reached(&mut self, _: usize) -> bool {
        false
    }

    fn trace(&mut self, object: usize) -> usize {
        object
    }

    fn children(&mut self, _: usize, _: &mut dyn FnMut(&mut Nothing, usize)) {}
}

/// Objects in random order all over 128 bytes each, and a finalizer that reads its object.
pub(crate) struct Scattered {
    /// Lives as long as the calls: the finalizers and the records refer to it.
    _memory: Vec<u64>,
    objects: Vec<usize>,
    finalizers: Finalizers<usize>,
    function: Finalizer,
    by_hand: Records,
}

impl Scattered {
    /// `n` objects.
    pub(crate) fn new(n: usize) -> Result<Scattered, Fault> {
        const WORDS: usize = 16;
        let memory = vec![1_u64; WORDS * n];
        let place = |n: usize| memory[n * WORDS..].as_ptr().expose_provenance();
        let objects: Vec<usize> = permutation(n).into_iter().map(place).collect();
        let read: unsafe extern "C" fn(*const u64) = callees::read;
        let record = |object: &usize| fing_stubs::Record {
            code: read as *const () as usize,
            context: 0,
            words: [*object as u64, 0],
        };
        let records = objects.iter().map(record).collect();
        Ok(Scattered {
            // SAFETY: the function takes a pointer to a word of `memory`, which moves into the same
            // structure.
            by_hand: unsafe { Records::of(Kind::Pointer, records) },
            _memory: memory,
            objects,
            finalizers: Finalizers::builder().executor(Executor::Inline).build()?,
            function: reading()?,
        })
    }

    /// Sets all finalizers, and has all objects die.
    pub(crate) fn die(&self) -> Result<(), Fault> {
        for &object in &self.objects {
            // SAFETY: words of `_memory`, which outlives the calls.
            unsafe { self.finalizers.set_finalizer(object, &self.function) }?;
        }
        // SAFETY: as above; nothing is freed.
        unsafe { self.finalizers.collect(Scope::Full, &mut Nothing, |_| {}) }?;
        self.finalizers.finish();
        Ok(())
    }

    /// Runs what is queued, and returns how many calls were made.
    pub(crate) fn run(&self) -> Result<u64, Fault> {
        Ok(self.finalizers.run_finalizers()?)
    }

    /// The same calls by hand.
    pub(crate) fn run_by_hand(&self) {
        self.by_hand.run();
    }
}
