//! Uses of shapes that a mutator has in advance, so that registering one object after another takes no lock.
//!
//! A mutator that registers objects of one type with one function again and again is lent uses of their shape, each time
//! twice as many as the time before; none the first time. A registration takes one, a registration that is taken back
//! gives one. What is left is called in by the next collection: the mutators have stopped then, and so all that
//! collections decide by is exact.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::collector::CyclePolicy;
use crate::heap::TypedId;

/// Functions that a mutator knows at a time, a power of two.
const ROWS: usize = 8;
/// Most uses lent at a time.
const MOST: u64 = 4096;

/// What a function is registered as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The function's identity.
    pub(crate) function: usize,
    pub(crate) cycle: CyclePolicy,
    pub(crate) shape: u32,
    /// What an object of the type is given.
    pub(crate) id: TypedId,
}

/// What the collection sees of one mutator: for each row the shape, in the upper half, and the uses left, in the lower.
/// One word, so that they belong together. Written by the mutator while it runs.
#[derive(Debug, Default)]
pub(crate) struct Left([AtomicU64; ROWS]);

const SHAPE: u32 = 32;
const USES: u64 = (1 << SHAPE) - 1;

/// Shape and uses, if there are uses.
fn split(word: u64) -> Option<(u32, u64)> {
    (word & USES > 0).then_some(((word >> SHAPE) as u32, word & USES))
}

/// All that is lent to mutators.
#[derive(Debug, Default)]
pub(crate) struct Lending(Vec<Arc<Left>>);

impl Lending {
    /// A mutator is lent something for the first time.
    pub(crate) fn join(&mut self, left: Arc<Left>) {
        self.0.push(left);
    }

    /// Calls in what is left: shapes and uses. With the world stopped.
    pub(crate) fn call_in(&mut self) -> Vec<(u32, u64)> {
        let rows = self.0.iter().flat_map(|left| &left.0);
        let left = rows.filter_map(|row| split(row.swap(0, Relaxed))).collect();
        // Only this list has those of mutators that are gone.
        self.0.retain(|left| Arc::strong_count(left) > 1);
        left
    }
}

/// One mutator's side.
#[derive(Debug, Default)]
pub(crate) struct Lent {
    rows: [Cell<Option<Known>>; ROWS],
    /// How many uses a row was lent last.
    last: [Cell<u64>; ROWS],
    left: Arc<Left>,
    joined: Cell<bool>,
}

/// Functions are shared, so their identities are addresses of what is not small.
fn row_of(function: usize) -> usize {
    (function >> 4 ^ function >> 8) % ROWS
}

impl Lent {
    /// What objects are given that get this function, if a use is left for it.
    #[inline]
    pub(crate) fn find(&self, function: usize, cycle: CyclePolicy) -> Option<Known> {
        let row = row_of(function);
        let left = self.left.0[row].load(Relaxed);
        let known = self.rows[row].get()?;
        let found = known.function == function && known.cycle == cycle && left & USES > 0;
        found.then_some(known)
    }

    /// Takes a use that [`Lent::find`] has found.
    #[inline]
    pub(crate) fn take(&self, known: &Known) {
        let left = &self.left.0[row_of(known.function)];
        left.store(left.load(Relaxed) - 1, Relaxed);
    }

    /// Keeps the use of a registration that was taken back, if there are some of the shape.
    #[inline]
    pub(crate) fn give(&self, shape: u32) -> bool {
        // A row of which nothing is left may be of a shape that is gone, whose number another one has now.
        let of_shape =
            |word: u64| word >> SHAPE == u64::from(shape) && (1..USES).contains(&(word & USES));
        let row = self.left.0.iter().find(|left| of_shape(left.load(Relaxed)));
        row.map(|left| left.store(left.load(Relaxed) + 1, Relaxed))
            .is_some()
    }

    /// How many uses to lend after a registration that took the long way; `None`: there are some left.
    pub(crate) fn next(&self, known: &Known) -> Option<u64> {
        let row = row_of(known.function);
        if self.rows[row].get() != Some(*known) {
            return Some(0);
        }
        let none_left = self.left.0[row].load(Relaxed) & USES == 0;
        none_left.then(|| (2 * self.last[row].get()).clamp(1, MOST))
    }

    /// Notes what was lent. Returns what was left in the row, to be given back.
    #[must_use = "what is left is to be given back"]
    pub(crate) fn lend(&self, known: Known, uses: u64) -> Option<(u32, u64)> {
        let row = row_of(known.function);
        self.rows[row].set(Some(known));
        self.last[row].set(uses);
        let before = self.left.0[row].swap(u64::from(known.shape) << SHAPE | uses, Relaxed);
        split(before)
    }

    /// Has the collections know what is lent.
    pub(crate) fn join(&self, lending: impl FnOnce(Arc<Left>)) {
        if !self.joined.replace(true) {
            lending(self.left.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Types;
    use std::num::NonZeroU32;

    fn known(function: usize, shape: u32) -> Known {
        let types = Types::new();
        let desc = types.empty();
        Known {
            function,
            cycle: CyclePolicy::default(),
            shape,
            id: TypedId::new(desc, NonZeroU32::MIN.saturating_add(shape)),
        }
    }

    #[test]
    fn uses_are_lent_taken_given_and_called_in() {
        let (lent, mut lending) = (Lent::default(), Lending::default());
        lent.join(|left| lending.join(left));
        let (one, other) = (known(0x1000, 7), known(0x2000, 8));
        assert_eq!(row_of(one.function), row_of(other.function), "one row");
        let find = |known: &Known| lent.find(known.function, known.cycle);
        // The first time nothing, then twice as much each time.
        for uses in [0, 1, 2, 4] {
            assert_eq!((find(&one), lent.next(&one)), (None, Some(uses)));
            assert_eq!(lent.lend(one, uses), None);
            assert_eq!(lent.next(&one).is_some(), uses == 0);
            (0..uses).for_each(|_| lent.take(&find(&one).unwrap()));
        }
        // Nothing is kept by a row that may be out of date.
        assert!(!lent.give(7) && !lent.give(8));
        assert_eq!(lent.lend(one, 1), None);
        assert!(lent.give(7) && !lent.give(8));
        // Another function takes the row.
        assert_eq!((find(&other), lent.next(&other)), (None, Some(0)));
        assert_eq!(lent.lend(other, 3), Some((7, 2)));
        assert_eq!((find(&one), find(&other)), (None, Some(other)));
        assert_eq!(lending.call_in(), [(8, 3)]);
        assert_eq!((find(&other), lending.call_in()), (None, Vec::new()));
    }

    #[test]
    fn what_a_mutator_leaves_behind_is_called_in_once() {
        let (lent, mut lending) = (Lent::default(), Lending::default());
        (0..2).for_each(|_| lent.join(|left| lending.join(left)));
        assert_eq!(lent.lend(known(16, 1), 5), None);
        drop(lent);
        assert_eq!((lending.0.len(), lending.call_in()), (1, vec![(1, 5)]));
        assert_eq!(lending.0.len(), 0);
    }
}
