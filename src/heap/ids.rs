//! The ids of the objects of one block: a number per cell once any object has one, or one number
//! that all objects of the block have from the beginning (the *implied* id).
//!
//! Mutators write ids, and a flag that ids have changed. When they have stopped, the collector
//! computes from the ids which cells are finalizable. `Relaxed` suffices between mutators and the
//! collector, because stopping the world orders their accesses.
#![forbid(unsafe_code)]

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};

/// An id as it is stored beside a cell, with two flags: whether the object has no pointers, so that
/// it need not be touched to decide about it, and whether the word stored with the id is a
/// reference.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct CellId(NonZeroU32);

impl CellId {
    /// `number` is below 2^29.
    pub(super) fn new(number: NonZeroU32, leaf: bool, traced: bool) -> CellId {
        debug_assert!(number.get() <= 1 << 29);
        let word = number.get() << 2 | u32::from(traced) << 1 | u32::from(leaf);
        CellId(NonZeroU32::new(word).unwrap_or(number))
    }

    fn read(word: u32) -> Option<CellId> {
        NonZeroU32::new(word)
            .filter(|word| word.get() != RESERVED)
            .map(CellId)
    }

    pub(super) fn number(self) -> NonZeroU32 {
        NonZeroU32::new(self.0.get() >> 2).unwrap_or(NonZeroU32::MIN)
    }

    pub(super) fn is_leaf(self) -> bool {
        self.0.get() & 1 != 0
    }

    fn is_traced(self) -> bool {
        self.0.get() & 2 != 0
    }
}

/// Stored beside a cell while a thread sets an id with a word: no other thread may set one, and the
/// cell counts as having none yet.
const RESERVED: u32 = u32::MAX;

/// The ids of a block's objects.
#[derive(Debug)]
pub(super) struct Ids {
    cells: usize,
    /// The id of each cell, as [`CellId`] stores it; 0 for none. Made when the first is set.
    own: OnceLock<Box<[AtomicU32]>>,
    /// The word stored with each cell's own id. Made when the first is set.
    words: OnceLock<Box<[AtomicU64]>>,
    /// The number of each cell's own id. Made when the first is set.
    numbers: OnceLock<Box<[AtomicU64]>>,
    /// Whether `own` was written since the last [`Ids::settle`].
    changed: AtomicBool,
    implied: Option<Implied>,
}

/// The id that every object of the block has until it is removed.
#[derive(Debug)]
struct Implied {
    id: CellId,
    /// One bit per cell: the id was removed from its object. Clear where there is no object.
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
    pub(super) fn new(cells: usize, implied: Option<CellId>) -> Ids {
        let spent = || (0..cells.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ids {
            cells,
            own: OnceLock::new(),
            words: OnceLock::new(),
            numbers: OnceLock::new(),
            changed: AtomicBool::new(false),
            implied: implied.map(|id| Implied { id, spent: spent() }),
        }
    }

    #[cold]
    fn make_own(&self) -> &[AtomicU32] {
        let own = || (0..self.cells).map(|_| AtomicU32::new(0)).collect();
        self.own.get_or_init(own)
    }

    #[cold]
    fn make_words(&self) -> &[AtomicU64] {
        let words = || (0..self.cells).map(|_| AtomicU64::new(0)).collect();
        self.words.get_or_init(words)
    }

    /// Sets the number of a cell's own id, which was just set.
    #[cold]
    pub(super) fn set_number(&self, index: usize, number: u64) {
        let numbers = || (0..self.cells).map(|_| AtomicU64::new(0)).collect();
        self.numbers.get_or_init(numbers)[index].store(number, Relaxed);
    }

    /// The number of the id of a cell's object; 0 for an implied one.
    pub(super) fn number(&self, index: usize) -> u64 {
        let own = self.own.get().map_or(0, |own| own[index].load(Relaxed));
        let numbers = self.numbers.get().filter(|_| own != 0);
        numbers.map_or(0, |numbers| numbers[index].load(Relaxed))
    }

    #[inline]
    fn implied_at(&self, index: usize) -> Option<CellId> {
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

    /// Whether it is known, without a look at each cell, that no object of the block with an id has
    /// pointers.
    pub(super) fn are_leaves(&self) -> bool {
        let implied = self.implied.as_ref();
        self.own.get().is_none() && implied.is_none_or(|implied| implied.id.is_leaf())
    }

    /// The id of a cell's object.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<CellId> {
        let own = self.own.get();
        own.and_then(|own| CellId::read(own[index].load(Relaxed)))
            .or_else(|| self.implied_at(index))
    }

    /// The word stored with the id of a cell's object; 0 if there is none.
    #[inline]
    pub(super) fn word(&self, index: usize) -> u64 {
        let words = self.words.get();
        words.map_or(0, |words| words[index].load(Relaxed))
    }

    /// Sets an id, and the word stored with it if one is given. Returns false if there is an id
    /// already.
    #[inline(always)]
    pub(super) fn set(&self, index: usize, id: CellId, word: Option<u64>) -> bool {
        let own = self.own.get().filter(|_| self.implied.is_none());
        let words = self.words.get();
        let set = match (own.and_then(|own| own.get(index)), word) {
            (Some(cell), None) => exchange(cell, 0, id.0.get()),
            (Some(cell), Some(word)) if let Some(words) = words => {
                set_with(cell, id, &words[index], word)
            }
            _ => return self.set_first(index, id, word),
        };
        if set {
            self.remember();
        }
        set
    }

    /// [`Ids::set`] in a block that has no table of ids (or of words) yet, or that has an implied
    /// id.
    #[cold]
    #[inline(never)]
    fn set_first(&self, index: usize, id: CellId, word: Option<u64>) -> bool {
        if self.implied_at(index).is_some() {
            return false;
        }
        let cell = &self.make_own()[index];
        let set = match word {
            None => exchange(cell, 0, id.0.get()),
            Some(word) => set_with(cell, id, &self.make_words()[index], word),
        };
        if set {
            self.remember();
        }
        set
    }

    /// Removes and returns the id. The bit `Finalizable` stays until the next collection starts.
    #[inline]
    pub(super) fn take(&self, index: usize) -> Option<NonZeroU32> {
        if let Some(cell) = self.own.get().map(|own| &own[index]) {
            let mut there = cell.load(Relaxed);
            while let Some(id) = CellId::read(there) {
                match cell.compare_exchange_weak(there, 0, Relaxed, Relaxed) {
                    Ok(_) => {
                        self.remember();
                        return Some(id.number());
                    }
                    Err(now) => there = now,
                }
            }
        }
        let implied = self.implied.as_ref();
        let taken = implied.filter(|implied| implied.take(index));
        taken.map(|implied| implied.id.number())
    }

    /// Removes the id if it is this one, and returns whether it was. If several threads do so at
    /// the same time, one gets true.
    #[inline(always)]
    pub(super) fn take_this(&self, index: usize, id: CellId) -> bool {
        let cell = self.own.get().and_then(|own| own.get(index));
        let taken = cell.is_some_and(|cell| exchange(cell, id.0.get(), 0));
        if taken {
            self.remember();
        }
        taken || self.take_implied_this(index, id)
    }

    #[inline]
    fn take_implied_this(&self, index: usize, id: CellId) -> bool {
        let implied = self.implied.as_ref();
        implied.is_some_and(|implied| implied.id == id && implied.take(index))
    }

    // ------------------------------------------------------------------------------------------
    // with the world stopped

    /// Calls `visit` with every word that is stored with an id and is a reference.
    pub(super) fn for_each_reference(&self, mut visit: impl FnMut(u64)) {
        let (Some(own), Some(words)) = (self.own.get(), self.words.get()) else {
            return;
        };
        for (id, word) in own.iter().zip(words) {
            if CellId::read(id.load(Relaxed)).is_some_and(CellId::is_traced) {
                visit(word.load(Relaxed));
            }
        }
    }

    /// Removes the ids of these cells of a word, from the first cell on, as long as the ids are
    /// equal. Returns the id, and the cells looked at; if there is no id, those cells have none.
    #[inline]
    pub(super) fn take_alike(&self, word: usize, cells: u64) -> (Option<NonZeroU32>, u64) {
        let Some(own) = self.own.get() else {
            return self.take_implied(word, cells);
        };
        let own = &own[word * 64..];
        let first = own[cells.trailing_zeros() as usize].load(Relaxed);
        let Some(id) = CellId::read(first) else {
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
        (Some(id.number()), cells & !rest)
    }

    /// [`Ids::take_alike`] for cells that have no ids of their own.
    fn take_implied(&self, word: usize, cells: u64) -> (Option<NonZeroU32>, u64) {
        let Some(Implied { id, spent }) = &self.implied else {
            return (None, cells);
        };
        let before = spent[word].load(Relaxed);
        let (left, first) = (cells & !before, cells & cells.wrapping_neg());
        if left & first == 0 {
            return (None, first);
        }
        // The cells behind the first that has lost the id are left for the next call.
        let gap = cells & before;
        let taken = match gap {
            0 => cells,
            _ => cells & ((gap & gap.wrapping_neg()) - 1),
        };
        spent[word].store(before | taken, Relaxed);
        (Some(id.number()), taken)
    }

    /// Passes to `set`, for each word, which cells are finalizable, if that may have changed.
    /// `used`: which cells of a word hold an object.
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

    /// Resets freed cells of a word: the next objects in them have no ids of their own, and the
    /// implied id if there is one.
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

    // ------------------------------------------------------------------------------------------
    // at any time

    /// Number of objects that have an id. `used`: which cells of a word hold an object.
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
            .filter_map(|id| CellId::read(id.load(Relaxed)))
            .chain(self.implied.as_ref().map(|implied| implied.id))
            .for_each(|id| visit(id.number()));
    }

    /// Bytes of memory that the tables take, without `self`.
    pub(super) fn bytes(&self) -> usize {
        let implied = self.implied.as_ref();
        self.own.get().map_or(0, |own| size_of_val(&**own))
            + self.words.get().map_or(0, |words| size_of_val(&**words))
            + self
                .numbers
                .get()
                .map_or(0, |numbers| size_of_val(&**numbers))
            + implied.map_or(0, |implied| size_of_val(&*implied.spent))
    }
}

/// Replaces the number beside a cell if it is `from`, and returns whether it was.
#[inline(always)]
fn exchange(cell: &AtomicU32, from: u32, to: u32) -> bool {
    cell.compare_exchange(from, to, Relaxed, Relaxed).is_ok()
}

/// Sets an id together with its word. Returns false if there is an id already. The cell is reserved
/// meanwhile, so that no other thread writes the word, or removes the id before it has its word.
#[inline]
fn set_with(cell: &AtomicU32, id: CellId, place: &AtomicU64, word: u64) -> bool {
    let reserved = cell.compare_exchange(0, RESERVED, Acquire, Relaxed).is_ok();
    if reserved {
        place.store(word, Relaxed);
        cell.store(id.0.get(), Release);
    }
    reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell_id(id: u32, leaf: bool) -> CellId {
        CellId::new(NonZeroU32::new(id).unwrap(), leaf, false)
    }

    /// The finalizable cells of the first word, if there is news.
    fn settled(ids: &Ids, used: u64) -> Option<u64> {
        let word = AtomicU64::new(u64::MAX);
        ids.settle(1, |_| used, |_, bits| word.store(bits, Relaxed));
        Some(word.into_inner()).filter(|bits| *bits != u64::MAX)
    }

    #[test]
    fn an_id_is_set_once() {
        let ids = Ids::new(100, None);
        let (one, two) = (cell_id(1, false), cell_id(2, true));
        assert_eq!((one.is_leaf(), two.is_leaf()), (false, true));
        assert_eq!((one.number().get(), two.number().get()), (1, 2));
        assert_eq!(
            (ids.get(7), ids.take(7), ids.are_there()),
            (None, None, false)
        );
        assert!(ids.set(7, one, None));
        assert!(!ids.set(7, two, None));
        assert_eq!((ids.get(7), ids.get(8)), (Some(one), None));
        assert_eq!((ids.take(7), ids.take(7)), (Some(one.number()), None));
        assert!(ids.set(7, two, None) && !ids.set(7, one, None));
        assert_eq!(
            (settled(&ids, u64::MAX), settled(&ids, u64::MAX)),
            (Some(1 << 7), None)
        );
        assert_eq!((ids.count(1, |_| 0), ids.take_this(7, one)), (1, false));
        assert!(ids.take_this(7, two) && !ids.take_this(7, two));
        assert_eq!(ids.count(1, |_| 0), 0);
    }

    #[test]
    fn neighbours_with_the_same_id_are_taken_at_once() {
        let (one, two) = (cell_id(1, true), cell_id(2, true));
        for implied in [None, Some(one)] {
            let ids = Ids::new(128, implied);
            if implied.is_none() {
                (64..76).for_each(|cell| assert!(ids.set(cell, one, None)));
            }
            assert_eq!(ids.take(70), Some(one.number()));
            assert!(ids.set(70, two, None));
            assert_eq!(ids.take(72), Some(one.number()));
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
        let (one, two) = (cell_id(1, true), cell_id(2, true));
        let ids = Ids::new(64, Some(one));
        assert!(ids.are_there() && ids.are_leaves());
        assert_eq!(settled(&ids, 0b1111), Some(0b1111));
        assert!(!ids.set(0, two, None));
        assert!(!ids.set(0, two, None) && !ids.take_this(0, two));
        assert!(ids.take_this(0, one) && !ids.take_this(0, one));
        assert_eq!((ids.take(1), ids.take(1)), (Some(one.number()), None));
        assert_eq!(settled(&ids, 0b1111), Some(0b1100));
        assert_eq!(ids.take_alike(0, 0b0100), (Some(one.number()), 0b0100));
        assert_eq!(
            (settled(&ids, 0b1111), ids.count(1, |_| 0b1111)),
            (Some(0b1000), 1)
        );
        // One that was taken can have another.
        assert!(ids.set(0, two, None));
        assert_eq!((ids.get(0), ids.are_leaves()), (Some(two), false));
        assert_eq!(settled(&ids, 0b1111), Some(0b1001));
        assert_eq!(ids.take_alike(0, 0b1001), (Some(two.number()), 0b0001));
        assert_eq!(ids.take_alike(0, 0b1001), (None, 0b0001));
        assert_eq!(ids.take_alike(0, 0b1000), (Some(one.number()), 0b1000));
        assert_eq!(ids.take_alike(0, 0b1000), (None, 0b1000));
        // The next object of a cell has it again.
        ids.bury(0, 0b0001, 0b0001);
        assert_eq!((ids.get(0), ids.get(1)), (Some(one), None));
    }

    #[test]
    fn a_word_goes_with_its_id() {
        let ids = Ids::new(64, None);
        let plain = cell_id(1, true);
        let word = CellId::new(NonZeroU32::new(2).unwrap(), true, false);
        let traced = CellId::new(NonZeroU32::new(3).unwrap(), true, true);
        assert!(ids.set(0, plain, None) && ids.set(1, word, Some(16)));
        assert!(ids.set(2, traced, Some(32)) && !ids.set(2, traced, Some(48)));
        assert_eq!([0, 1, 2].map(|index| ids.word(index)), [0, 16, 32]);
        let references = |ids: &Ids| {
            let mut seen = Vec::new();
            ids.for_each_reference(|word| seen.push(word));
            seen
        };
        assert_eq!(references(&ids), [32]);
        // A word is forgotten with its id.
        assert!(ids.take_this(2, traced) && references(&ids).is_empty());
        assert!(ids.set(2, word, Some(64)) && references(&ids).is_empty());
        assert_eq!((ids.take(2), ids.take(2)), (Some(word.number()), None));
        assert!(ids.bytes() >= 64 * (4 + 8));
    }

    #[test]
    fn of_threads_that_set_an_id_with_a_word_one_wins_with_its_own_word() {
        let ids = Ids::new(64, None);
        let id = |n: u32| CellId::new(NonZeroU32::new(n).unwrap(), true, true);
        for round in 0..2000 {
            let cell = round % 64;
            let won: Vec<bool> = std::thread::scope(|scope| {
                let set = |n: u32| {
                    let ids = &ids;
                    move || {
                        let won = ids.set(cell, id(n), Some(u64::from(n)));
                        // Whatever the others do, an id is there with its own word.
                        let there = ids.get(cell);
                        assert!(there.is_none() || !won || there == Some(id(n)));
                        won
                    }
                };
                let threads = [1, 2].map(|n| scope.spawn(set(n)));
                threads.map(|thread| thread.join().unwrap()).to_vec()
            });
            assert_eq!(won.iter().filter(|won| **won).count(), 1);
            let there = ids.take(cell).unwrap();
            assert_eq!(u64::from(there.get()), ids.word(cell));
        }
    }
}
