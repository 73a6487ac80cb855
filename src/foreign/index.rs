//! A hash table from objects to the numbers of their entries. It allocates only when an entry is
//! added.
//!
//! A line of the table is 16 cells, which is one cache line. Objects that are neighbours in memory
//! have the same line, and neighbourhoods next to each other have lines next to each other, up to a
//! page of them; only the place of a page is hashed. So when objects are registered in the order of
//! addresses, their lines are in the cache. A neighbourhood has fewer objects than a line has
//! cells, so others find space in it as well.
//!
//! A cell holds the number of an entry in its low bits, and as much of the key's hash as fits above
//! it, so that entries of other keys are rarely looked at. A key goes to its own line, or to the
//! first line with space on its probe sequence. The stride of that sequence is a quarter to half of
//! the table, so that full lines next to each other do not lead into each other. A search ends at
//! the first line with an empty cell.
#![forbid(unsafe_code)]

use std::hint::black_box;

use super::entry::Kind;

const EMPTY: u32 = u32::MAX;
const GONE: u32 = u32::MAX - 1;

/// Cells of a line.
const CELLS: usize = 16;
/// A neighbourhood is `1 << NEIGHBOURS` times the distance of objects.
const NEIGHBOURS: u32 = 2;
/// A page is at most `1 << PAGE` neighbourhoods.
const PAGE: u32 = 6;
/// A page is more than one neighbourhood only if there are at least `1 << PAGES` pages.
const PAGES: u32 = 9;
/// Objects are taken to be at most `1 << APART` bytes apart.
const APART: u32 = 4;

/// How many of [`PARTS`] parts of the cells are in use or gone before the table grows, and how many
/// are in use after it has grown.
const FULL: usize = 33;
const ROOMY: usize = 24;
const PARTS: usize = 40;

/// Cells in use come first, then empty ones. In a line that was full once, removed cells are marked
/// as gone instead.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u32; CELLS]);

impl Line {
    const EMPTY: Line = Line([EMPTY; CELLS]);

    /// Whether the bits of any cell under `mask` are `wanted`. It has no early return, so that it
    /// compiles to vector comparisons.
    #[inline(always)]
    fn has(&self, mask: u32, wanted: u32) -> bool {
        let cells = self.0.iter();
        cells.fold(false, |has, cell| has | (cell & mask == wanted))
    }

    /// Whether it has an empty cell.
    #[inline(always)]
    fn has_room(&self) -> bool {
        self.0[CELLS - 1] == EMPTY
    }

    /// How many cells of a line that has room are in use: the first ones.
    #[inline(always)]
    fn in_use(&self) -> usize {
        let mut count = 0;
        for step in [8, 4, 2, 1] {
            let used = self.0[count + step - 1] != EMPTY;
            count += if used { step } else { 0 };
        }
        count
    }

    #[inline(never)]
    fn first_gone(&self) -> Option<usize> {
        self.0.iter().position(|cell| *cell == GONE)
    }

    /// Removes a cell.
    fn take(&mut self, cell: usize) {
        if self.has_room() {
            let last = self.in_use() - 1;
            self.0[cell] = self.0[last];
            self.0[last] = EMPTY;
        } else {
            self.0[cell] = GONE;
        }
    }
}

/// What an entry is found by.
pub(super) type Key = (Kind, u64);

/// Entry numbers by object and kind. The keys themselves are in the entries: searches are given a
/// predicate that knows whether an entry has the key.
#[derive(Debug)]
pub(super) struct Index {
    lines: Vec<Line>,
    used: usize,
    gone: usize,
    /// How many more can be added before the table must grow.
    room: usize,
    /// The stride of the probe sequence, a power of two.
    step: usize,
    /// A page is `1 << page` neighbourhoods.
    page: u32,
    /// Objects are at least `1 << apart` bytes apart.
    apart: u32,
    /// The mask of a cell's bits that belong to the hash.
    tag: u32,
}

/// A cell that is in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    line: usize,
    cell: usize,
    pub(super) entry: u32,
}

/// A free cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vacant {
    line: usize,
    cell: usize,
    tag: u32,
}

#[inline]
fn apart(object: u64) -> u32 {
    object.trailing_zeros().min(APART)
}

impl Index {
    pub(super) fn new() -> Index {
        Index {
            lines: Vec::new(),
            used: 0,
            gone: 0,
            room: 0,
            step: 1,
            page: 0,
            apart: APART,
            tag: 0,
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// The first line for a key, and its tag.
    #[inline]
    fn place(&self, (kind, object): Key) -> (usize, u32) {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let object = object ^ (kind as u64) << 61;
        let near = object >> (self.apart + NEIGHBOURS);
        let page = near >> self.page;
        let page = (page ^ page >> 32).wrapping_mul(MIX);
        let first = (u128::from(page) * self.lines.len() as u128) >> 64;
        let line = first as usize + (near as usize & ((1 << self.page) - 1));
        let own = object.wrapping_mul(MIX.rotate_left(32) | 1);
        (self.wrap(line), (own >> 32) as u32 & self.tag)
    }

    #[inline]
    fn wrap(&self, line: usize) -> usize {
        if line < self.lines.len() {
            line
        } else {
            line % self.lines.len()
        }
    }

    /// The next line of the probe sequence. The number of lines is odd and the stride is a power of
    /// two, so the sequence reaches all lines.
    #[inline]
    fn after(&self, line: usize) -> usize {
        self.wrap(line + self.step)
    }

    /// A free cell of the line, if there is one.
    #[inline]
    fn vacant_in(&self, line: &Line) -> Option<usize> {
        if line.has_room() {
            return Some(line.in_use());
        }
        let gone = self.gone > 0 && line.has(u32::MAX, GONE);
        if gone { line.first_gone() } else { None }
    }

    /// Loads the lines of these keys, so that their cache misses overlap.
    #[inline]
    pub(super) fn touch(&self, keys: impl Iterator<Item = Key>) {
        if self.lines.is_empty() {
            return;
        }
        let cells = keys.map(|key| self.lines[self.place(key).0].0[0]);
        black_box(cells.fold(0, |all, cell| all ^ cell));
    }

    /// Returns the entry with this key, for which `is` returns true; otherwise a free cell for it,
    /// if there is one.
    #[inline]
    pub(super) fn seek(&self, key: Key, is: impl Fn(u32) -> bool) -> Result<u32, Option<Vacant>> {
        if self.lines.is_empty() {
            return Err(None);
        }
        let (at, tag) = self.place(key);
        let line = &self.lines[at];
        if line.has_room() && !line.has(self.tag, tag) {
            let cell = line.in_use();
            let line = at;
            return Err(Some(Vacant { line, cell, tag }));
        }
        self.seek_from(at, tag, is)
    }

    /// As [`Index::seek`], from the line `at` on.
    #[inline(never)]
    fn seek_from(
        &self,
        mut at: usize,
        tag: u32,
        is: impl Fn(u32) -> bool,
    ) -> Result<u32, Option<Vacant>> {
        let mut vacant = None;
        for _ in 0..self.lines.len() {
            let line = &self.lines[at];
            if line.has(self.tag, tag) {
                let same = |cell: &&u32| **cell & self.tag == tag && **cell < GONE;
                let mut entries = line.0.iter().filter(same).map(|cell| cell & !self.tag);
                if let Some(entry) = entries.find(|entry| is(*entry)) {
                    return Ok(entry);
                }
            }
            if vacant.is_none()
                && let Some(cell) = self.vacant_in(line)
            {
                vacant = Some(Vacant {
                    line: at,
                    cell,
                    tag,
                });
            }
            if line.has_room() {
                break;
            }
            at = self.after(at);
        }
        Err(vacant)
    }

    /// Returns the place of the entry with this key, for which `is` returns true.
    #[inline]
    pub(super) fn locate(&self, key: Key, is: impl Fn(u32) -> bool) -> Option<Place> {
        if self.lines.is_empty() {
            return None;
        }
        let (mut at, tag) = self.place(key);
        for _ in 0..self.lines.len() {
            let line = &self.lines[at];
            if line.has(self.tag, tag) {
                for (cell, &found) in line.0.iter().enumerate() {
                    let entry = found & !self.tag;
                    if found & self.tag == tag && found < GONE && is(entry) {
                        return Some(Place {
                            line: at,
                            cell,
                            entry,
                        });
                    }
                }
            }
            if line.has_room() {
                break;
            }
            at = self.after(at);
        }
        None
    }

    /// Removes the entry at a place that was just located. The index must not have changed since.
    #[inline]
    pub(super) fn cut(&mut self, place: Place) {
        let line = &mut self.lines[place.line];
        // No probe sequence has gone past a line with an empty cell.
        let ends = line.has_room();
        line.take(place.cell);
        self.used -= 1;
        self.room += usize::from(ends);
        self.gone += usize::from(!ends);
    }

    /// Fills a cell that was found free and has not been filled since.
    #[inline]
    pub(super) fn fill(&mut self, vacant: Vacant, entry: u32) {
        let cell = &mut self.lines[vacant.line].0[vacant.cell];
        if *cell == EMPTY {
            self.room = self.room.saturating_sub(1);
        } else {
            self.gone -= 1;
        }
        *cell = vacant.tag | entry;
        self.used += 1;
    }

    /// Whether there is room for one more entry, with this object, when entry numbers are below
    /// `entries`.
    #[inline]
    pub(super) fn has_room(&self, object: u64, entries: usize) -> bool {
        self.room > 0 && apart(object) >= self.apart && entries <= self.entries()
    }

    /// How many different entry numbers fit into a cell beside the hash.
    fn entries(&self) -> usize {
        (!self.tag).saturating_sub(1) as usize
    }

    /// Makes room for one more entry, with this object, and adds those with these keys again. Entry
    /// numbers are below `entries`.
    #[cold]
    pub(super) fn make_room(
        &mut self,
        object: u64,
        entries: usize,
        keys: impl Iterator<Item = (u32, Key)>,
    ) {
        if self.room == 0 || entries > self.entries() {
            let lines = ((self.used + 1) * PARTS).div_ceil(ROOMY * CELLS) | 1;
            self.step = 1 << (lines / 2).max(1).ilog2();
            self.page = lines.ilog2().saturating_sub(PAGES).min(PAGE);
            // Freed before the new ones are allocated.
            self.lines = Vec::new();
            self.lines = vec![Line::EMPTY; lines];
            let numbers = (entries + entries / 2 + 2).max(1 << 16);
            self.tag = !(u32::MAX >> (numbers as u64).leading_zeros().saturating_sub(32));
        }
        self.apart = self.apart.min(apart(object));
        self.fill_with(keys);
    }

    /// Replaces the contents by these keys, which must not be more than before. Allocates nothing.
    pub(super) fn fill_with(&mut self, keys: impl Iterator<Item = (u32, Key)>) {
        self.lines.fill(Line::EMPTY);
        (self.used, self.gone) = (0, 0);
        self.room = self.lines.len() * CELLS * FULL / PARTS;
        // In batches, so that their cache misses overlap.
        let mut some = [(0, (Kind::Finalizer, 0)); 64];
        let mut keys = keys.fuse();
        loop {
            let mut count = 0;
            for (place, key) in some.iter_mut().zip(&mut keys) {
                *place = key;
                count += 1;
            }
            let some = &some[..count];
            if some.is_empty() {
                return;
            }
            self.touch(some.iter().map(|(_, key)| *key));
            for (entry, key) in some {
                self.insert(*key, *entry);
            }
        }
    }

    /// Adds an entry, for which there must be room. If its object is nearer to others than `apart`
    /// says, it is still found, but less fast.
    pub(super) fn insert(&mut self, key: Key, entry: u32) {
        let (mut at, tag) = self.place(key);
        for _ in 0..self.lines.len() {
            let line = &self.lines[at];
            if let Some(cell) = self.vacant_in(line) {
                return self.fill(
                    Vacant {
                        line: at,
                        cell,
                        tag,
                    },
                    entry,
                );
            }
            at = self.after(at);
        }
    }

    /// Removes an entry, if the index has it with this key.
    #[inline]
    pub(super) fn remove(&mut self, key: Key, entry: u32) {
        if let Some(place) = self.locate(key, |found| found == entry) {
            self.cut(place);
        }
    }

    /// Whether removals have left so few empty cells that searches without success take long.
    pub(super) fn is_worn(&self) -> bool {
        (self.used + self.gone) * 8 > self.lines.len() * CELLS * 7
    }
}

#[cfg(test)]
mod tests;
