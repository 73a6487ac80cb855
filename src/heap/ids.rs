//! The ids prepared for the objects of one block: a number beside each cell once there is any, or one number that all
//! objects of the block have from the beginning.
//!
//! Mutators write ids by plain stores, and one byte that says so; when they have stopped, the collector works out from
//! them which cells are finalizable. `Relaxed` will do for all of it, as stopping orders everything.
#![forbid(unsafe_code)]

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// An id as it lies beside a cell: with a bit that says whether the object has no pointers, so that deciding over such
/// an object need not touch it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Prepared(NonZeroU32);

impl Prepared {
    /// `id` is below 2^31.
    pub(super) fn new(id: NonZeroU32, leaf: bool) -> Prepared {
        debug_assert!(id.get() < 1 << 31);
        Prepared(NonZeroU32::new(id.get() << 1 | u32::from(leaf)).unwrap_or(id))
    }

    fn read(word: u32) -> Option<Prepared> {
        NonZeroU32::new(word).map(Prepared)
    }

    pub(super) fn id(self) -> NonZeroU32 {
        NonZeroU32::new(self.0.get() >> 1).unwrap_or(NonZeroU32::MIN)
    }

    pub(super) fn is_leaf(self) -> bool {
        self.0.get() & 1 != 0
    }
}

/// The ids of a block's objects.
#[derive(Debug)]
pub(super) struct Ids {
    cells: usize,
    /// By cell, 0 for none.
    own: OnceLock<Box<[AtomicU32]>>,
    /// `own` was written since somebody last asked.
    changed: AtomicBool,
    implied: Option<Implied>,
}

/// What every object of the block has until it is taken away.
#[derive(Debug)]
struct Implied {
    id: Prepared,
    /// Bit for bit the cells whose object has it no more; clear where there is no object.
    spent: Box<[AtomicU64]>,
}

impl Implied {
    #[inline]
    fn is_at(&self, index: usize) -> bool {
        self.spent[index / 64].load(Relaxed) >> (index % 64) & 1 == 0
    }

    fn take(&self, index: usize) -> bool {
        let mask = 1 << (index % 64);
        self.spent[index / 64].fetch_or(mask, Relaxed) & mask == 0
    }
}

impl Ids {
    pub(super) fn new(cells: usize, implied: Option<Prepared>) -> Ids {
        let spent = || (0..cells.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ids {
            cells,
            own: OnceLock::new(),
            changed: AtomicBool::new(false),
            implied: implied.map(|id| Implied { id, spent: spent() }),
        }
    }

    #[inline]
    fn own(&self) -> &[AtomicU32] {
        match self.own.get() {
            Some(own) => own,
            None => self.make_own(),
        }
    }

    #[cold]
    fn make_own(&self) -> &[AtomicU32] {
        let own = || (0..self.cells).map(|_| AtomicU32::new(0)).collect();
        self.own.get_or_init(own)
    }

    #[inline]
    fn implied_at(&self, index: usize) -> Option<Prepared> {
        let implied = self.implied.as_ref()?;
        implied.is_at(index).then_some(implied.id)
    }

    #[inline]
    fn remember(&self) {
        if !self.changed.load(Relaxed) {
            self.changed.store(true, Relaxed);
        }
    }

    /// Whether an object of the block may have an id.
    pub(super) fn are_there(&self) -> bool {
        self.own.get().is_some() || self.implied.is_some()
    }

    /// Whether all objects of the block that have an id have no pointers, as far as is known without looking at each.
    pub(super) fn are_leaves(&self) -> bool {
        let implied = self.implied.as_ref();
        self.own.get().is_none() && implied.is_none_or(|implied| implied.id.is_leaf())
    }

    /// The id of a cell's object.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<Prepared> {
        let own = self.own.get();
        own.and_then(|own| Prepared::read(own[index].load(Relaxed)))
            .or_else(|| self.implied_at(index))
    }

    /// Prepares an id; `Err`: the one that is there already.
    #[inline]
    pub(super) fn set(&self, index: usize, id: Prepared) -> Result<(), NonZeroU32> {
        if let Some(there) = self.implied_at(index) {
            return Err(there.id());
        }
        match self.own()[index].compare_exchange(0, id.0.get(), Relaxed, Relaxed) {
            Ok(_) => {
                self.remember();
                Ok(())
            }
            Err(there) => Err(Prepared::read(there).unwrap_or(id).id()),
        }
    }

    /// As [`Ids::set`], without an atomic exchange: of threads that prepare one cell's ids at the same time, one wins,
    /// and the others may not be told. `false`: there is one already.
    pub(super) fn set_fast(&self, index: usize, id: Prepared) -> bool {
        if self.implied_at(index).is_some() {
            return false;
        }
        self.own();
        self.swap_fast(index, 0, id.0.get())
    }

    /// Puts one number beside a cell in the place of another. `false`: another one stands there, or there are no
    /// numbers. Knows nothing of implied ids. For the paths that have to be short.
    #[inline(always)]
    fn swap_fast(&self, index: usize, from: u32, to: u32) -> bool {
        let cell = match self.own.get().and_then(|own| own.get(index)) {
            Some(cell) if cell.load(Relaxed) == from => cell,
            _ => return false,
        };
        cell.store(to, Relaxed);
        self.remember();
        true
    }

    /// [`Ids::set_fast`] where that takes next to nothing.
    #[inline(always)]
    pub(super) fn set_at_once(&self, index: usize, id: Prepared) -> bool {
        self.implied.is_none() && self.swap_fast(index, 0, id.0.get())
    }

    /// [`Ids::take_fast`] where that takes next to nothing.
    #[inline(always)]
    pub(super) fn take_at_once(&self, index: usize, id: Prepared) -> bool {
        self.swap_fast(index, id.0.get(), 0)
    }

    /// [`Ids::set`] where that takes little more than an atomic exchange.
    #[inline(always)]
    pub(super) fn set_exactly_at_once(&self, index: usize, id: Prepared) -> bool {
        let own = self.own.get().filter(|_| self.implied.is_none());
        let cell = own.and_then(|own| own.get(index));
        let exchange = |cell: &AtomicU32| cell.compare_exchange(0, id.0.get(), Relaxed, Relaxed);
        let set = cell.is_some_and(|cell| exchange(cell).is_ok());
        if set {
            self.remember();
        }
        set
    }

    /// Takes the id away. The cell stays finalizable until the next collection has looked at it.
    #[inline]
    pub(super) fn take(&self, index: usize) -> Option<NonZeroU32> {
        let own = self.own.get();
        let taken = own.and_then(|own| Prepared::read(own[index].swap(0, Relaxed)));
        let implied = || self.implied.as_ref().filter(|implied| implied.take(index));
        taken
            .or_else(|| implied().map(|implied| implied.id))
            .map(Prepared::id)
    }

    /// Takes the id away if it is this one, without an atomic exchange where it is the object's own: of threads that
    /// take one cell's id at the same time, several may be told that it was they.
    pub(super) fn take_fast(&self, index: usize, id: Prepared) -> bool {
        let implied = self.implied.as_ref();
        self.take_at_once(index, id)
            || implied.is_some_and(|implied| implied.id == id && implied.take(index))
    }

    // ------------------------------------------------------------------------------------------ with the world stopped

    /// Takes ids away, from the first of these cells of a word on, as long as they are the same. Returns the id, and the
    /// cells that were looked at; no id: the first cell's object has none.
    #[inline]
    pub(super) fn take_alike(&self, word: usize, cells: u64) -> (Option<NonZeroU32>, u64) {
        let Some(own) = self.own.get() else {
            return self.take_implied(word, cells);
        };
        let own = &own[word * 64..];
        let first = own[cells.trailing_zeros() as usize].load(Relaxed);
        let Some(id) = Prepared::read(first) else {
            return self.take_implied(word, cells & cells.wrapping_neg());
        };
        let mut rest = cells;
        while rest != 0 {
            let cell = &own[rest.trailing_zeros() as usize];
            if cell.load(Relaxed) != first {
                break;
            }
            cell.store(0, Relaxed);
            rest &= rest - 1;
        }
        (Some(id.id()), cells & !rest)
    }

    /// As [`Ids::take_alike`], of cells that have no ids of their own.
    fn take_implied(&self, word: usize, cells: u64) -> (Option<NonZeroU32>, u64) {
        let Some(Implied { id, spent }) = &self.implied else {
            return (None, cells);
        };
        let before = spent[word].load(Relaxed);
        let (left, first) = (cells & !before, cells & cells.wrapping_neg());
        if left & first == 0 {
            return (None, first);
        }
        // Those behind the first that is spent wait for the next call.
        let gap = cells & before;
        let taken = match gap {
            0 => cells,
            _ => cells & ((gap & gap.wrapping_neg()) - 1),
        };
        spent[word].store(before | taken, Relaxed);
        (Some(id.id()), taken)
    }

    /// Says which cells are finalizable, word for word, if that may have changed. `used`: the cells with an object.
    pub(super) fn settle(
        &self,
        words: usize,
        used: impl Fn(usize) -> u64,
        set: impl Fn(usize, u64),
    ) {
        let changed = self.changed.swap(false, Relaxed);
        if !changed && self.implied.is_none() {
            return;
        }
        let own = self.own.get().map_or(&[][..], |own| own);
        for word in 0..words {
            let own = own.get(word * 64..).unwrap_or_default();
            let own = own.iter().take(64).enumerate().fold(0, |bits, (bit, id)| {
                bits | u64::from(id.load(Relaxed) != 0) << bit
            });
            let implied = self
                .implied
                .as_ref()
                .map_or(0, |implied| used(word) & !implied.spent[word].load(Relaxed));
            set(word, own | implied);
        }
    }

    /// The next objects in these cells of a word have no ids of their own.
    pub(super) fn bury(&self, word: usize, freed: u64, finalizable: u64) {
        if let Some(own) = self.own.get()
            && freed & finalizable != 0
        {
            let cells = own.iter().skip(word * 64).take(64).enumerate();
            cells
                .filter(|(bit, _)| freed >> bit & 1 != 0)
                .for_each(|(_, id)| id.store(0, Relaxed));
        }
        if let Some(implied) = &self.implied {
            let spent = &implied.spent[word];
            spent.store(spent.load(Relaxed) & !freed, Relaxed);
        }
    }

    // ------------------------------------------------------------------------------------------ at any time

    /// Objects that have an id.
    pub(super) fn count(&self, words: usize, used: impl Fn(usize) -> u64) -> usize {
        let own = self.own.get().map_or(&[][..], |own| own);
        let own = own.iter().filter(|id| id.load(Relaxed) != 0).count();
        let implied = self.implied.as_ref().map_or(0, |implied| {
            let left = |word: usize| used(word) & !implied.spent[word].load(Relaxed);
            (0..words)
                .map(|word| left(word).count_ones() as usize)
                .sum()
        });
        own + implied
    }

    /// Calls `visit` with every id, the implied one once.
    pub(super) fn for_each(&self, mut visit: impl FnMut(NonZeroU32)) {
        let own = self.own.get().map_or(&[][..], |own| own);
        own.iter()
            .filter_map(|id| Prepared::read(id.load(Relaxed)))
            .chain(self.implied.as_ref().map(|implied| implied.id))
            .for_each(|id| visit(id.id()));
    }

    /// Bytes of memory they take beside this.
    pub(super) fn bytes(&self) -> usize {
        let implied = self.implied.as_ref();
        self.own.get().map_or(0, |own| size_of_val(&**own))
            + implied.map_or(0, |implied| size_of_val(&*implied.spent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(id: u32, leaf: bool) -> Prepared {
        Prepared::new(NonZeroU32::new(id).unwrap(), leaf)
    }

    /// The finalizable cells of the first word, if there is news.
    fn settled(ids: &Ids, used: u64) -> Option<u64> {
        let word = AtomicU64::new(u64::MAX);
        ids.settle(1, |_| used, |_, bits| word.store(bits, Relaxed));
        Some(word.into_inner()).filter(|bits| *bits != u64::MAX)
    }

    #[test]
    fn an_id_is_prepared_once() {
        let ids = Ids::new(100, None);
        let (one, two) = (prepared(1, false), prepared(2, true));
        assert_eq!((one.is_leaf(), two.is_leaf()), (false, true));
        assert_eq!((one.id().get(), two.id().get()), (1, 2));
        assert_eq!(
            (ids.get(7), ids.take(7), ids.are_there()),
            (None, None, false)
        );
        assert_eq!(ids.set(7, one), Ok(()));
        assert_eq!(ids.set(7, two), Err(one.id()));
        assert_eq!((ids.get(7), ids.get(8)), (Some(one), None));
        assert_eq!((ids.take(7), ids.take(7)), (Some(one.id()), None));
        assert!(ids.set_fast(7, two) && !ids.set_fast(7, one));
        assert_eq!(
            (settled(&ids, u64::MAX), settled(&ids, u64::MAX)),
            (Some(1 << 7), None)
        );
        assert_eq!((ids.count(1, |_| 0), ids.take_fast(7, one)), (1, false));
        assert!(ids.take_fast(7, two) && !ids.take_fast(7, two));
        assert_eq!(ids.count(1, |_| 0), 0);
    }

    #[test]
    fn neighbours_with_the_same_id_are_taken_at_once() {
        let (one, two) = (prepared(1, true), prepared(2, true));
        for implied in [None, Some(one)] {
            let ids = Ids::new(128, implied);
            if implied.is_none() {
                (64..76).for_each(|cell| assert_eq!(ids.set(cell, one), Ok(())));
            }
            assert_eq!(ids.take(70), Some(one.id()));
            assert_eq!(ids.set(70, two), Ok(()));
            assert_eq!(ids.take(72), Some(one.id()));
            let mut seen = Vec::new();
            let mut rest = 0b1101_1111_1101;
            while rest != 0 {
                let (id, cells) = ids.take_alike(1, rest);
                assert_eq!(cells & rest, cells);
                assert!(cells.trailing_zeros() == rest.trailing_zeros());
                rest &= !cells;
                seen.push((id.map(NonZeroU32::get), cells));
            }
            let own = [(Some(1), 0b11_1101), (Some(2), 0b100_0000)];
            let mut wanted = own.to_vec();
            wanted.extend([(Some(1), 0b1000_0000), (None, 0b1_0000_0000)]);
            wanted.push((Some(1), 0b1100_0000_0000));
            if implied.is_some() {
                // With ids of their own in the block, the implied ones are taken one by one.
                let each = |(id, cells): (Option<u32>, u64)| {
                    let bits = (0..64).filter(move |bit| cells >> bit & 1 != 0);
                    bits.map(move |bit| (id, 1 << bit))
                };
                wanted = wanted.into_iter().flat_map(each).collect();
            }
            assert_eq!(seen, wanted);
            // Two that were not asked for have theirs still, unless they are no objects.
            let used = |word: usize| word as u64 * 0b1101_1111_1101;
            let left = if implied.is_some() { 0 } else { 2 };
            assert_eq!(ids.count(2, used), left);
        }
    }

    #[test]
    fn an_implied_id_is_there_until_it_is_taken() {
        let (one, two) = (prepared(1, true), prepared(2, true));
        let ids = Ids::new(64, Some(one));
        assert!(ids.are_there() && ids.are_leaves());
        assert_eq!(settled(&ids, 0b1111), Some(0b1111));
        assert_eq!(ids.set(0, two), Err(one.id()));
        assert!(!ids.set_fast(0, two) && !ids.take_fast(0, two));
        assert!(ids.take_fast(0, one) && !ids.take_fast(0, one));
        assert_eq!((ids.take(1), ids.take(1)), (Some(one.id()), None));
        assert_eq!(settled(&ids, 0b1111), Some(0b1100));
        assert_eq!(ids.take_alike(0, 0b0100), (Some(one.id()), 0b0100));
        assert_eq!(
            (settled(&ids, 0b1111), ids.count(1, |_| 0b1111)),
            (Some(0b1000), 1)
        );
        // One that was taken can have another.
        assert_eq!(ids.set(0, two), Ok(()));
        assert_eq!((ids.get(0), ids.are_leaves()), (Some(two), false));
        assert_eq!(settled(&ids, 0b1111), Some(0b1001));
        assert_eq!(ids.take_alike(0, 0b1001), (Some(two.id()), 0b0001));
        assert_eq!(ids.take_alike(0, 0b1001), (None, 0b0001));
        assert_eq!(ids.take_alike(0, 0b1000), (Some(one.id()), 0b1000));
        assert_eq!(ids.take_alike(0, 0b1000), (None, 0b1000));
        // The next object of a cell has it again.
        ids.bury(0, 0b0001, 0b0001);
        assert_eq!((ids.get(0), ids.get(1)), (Some(one), None));
    }
}
