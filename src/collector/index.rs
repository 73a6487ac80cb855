//! From an object to its entry: a hash table of entry numbers that never allocates but when an entry is added.
//!
//! A line of it is 16 cells, as many as the processor loads at once. Objects that are neighbours have one line, and
//! neighbourhoods next to each other lines next to each other, as far as a page goes, whose place is hashed: so what is
//! registered in the order of addresses finds its line loaded. A neighbourhood is so small that it leaves room for others
//! even where it is full. A cell has the number of an entry, and above it as much of the hash as there is room for, so
//! other entries are rarely looked at. A key goes to its own line, or the first one with room on a way that all lines
//! have in common, with steps so long that a crowd does not follow itself: looking for a key ends at the first line on
//! that way that has an empty cell.
#![forbid(unsafe_code)]

use std::hint::black_box;

use super::Kind;

const EMPTY: u32 = u32::MAX;
const GONE: u32 = u32::MAX - 1;

/// Cells of a line.
const CELLS: usize = 16;
/// A neighbourhood is so many times the distance of objects, as a power of two.
const NEIGHBOURS: u32 = 2;
/// A page is so many neighbourhoods at most, as a power of two.
const PAGE: u32 = 6;
/// And so many of them there are at least, as a power of two.
const PAGES: u32 = 9;
/// Objects are taken to be that far apart at most, as a power of two.
const APART: u32 = 4;

/// In use or gone, at most; in use after growing. Parts of 40.
const FULL: usize = 33;
const ROOMY: usize = 24;
const PARTS: usize = 40;

/// The cells in use come first. Where all are in use or were, some are gone.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u32; CELLS]);

impl Line {
    const EMPTY: Line = Line([EMPTY; CELLS]);

    /// Whether those bits of a cell that are in `mask` are `wanted`. Without a way out before the end, so that it
    /// compiles to comparisons of four at once.
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

    /// Takes a cell out.
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

/// Entry numbers by object and kind. The keys are in the entries; whoever asks says which entry is meant.
#[derive(Debug)]
pub(super) struct Index {
    lines: Vec<Line>,
    used: usize,
    gone: usize,
    /// How many more can be added before there has to be room made.
    room: usize,
    /// From a line to the one to go on at, a power of two.
    step: usize,
    /// Neighbourhoods of a page, as a power of two.
    page: u32,
    /// Objects are at least that far apart, as a power of two.
    apart: u32,
    /// The bits of a cell that are of the hash.
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

    /// The line to go on at. Their number is odd and the step is a power of two, so the way comes by all of them.
    #[inline]
    fn after(&self, line: usize) -> usize {
        self.wrap(line + self.step)
    }

    /// A cell of the line for one more entry.
    #[inline]
    fn vacant_in(&self, line: &Line) -> Option<usize> {
        if line.has_room() {
            return Some(line.in_use());
        }
        let gone = self.gone > 0 && line.has(u32::MAX, GONE);
        if gone { line.first_gone() } else { None }
    }

    /// Loads the lines of these keys all at once, for what is done with them one after the other.
    #[inline]
    pub(super) fn touch(&self, keys: impl Iterator<Item = Key>) {
        if self.lines.is_empty() {
            return;
        }
        let cells = keys.map(|key| self.lines[self.place(key).0].0[0]);
        black_box(cells.fold(0, |all, cell| all ^ cell));
    }

    /// The entry with this key, of which `is` knows; or a free cell for one, if there is any.
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

    /// Seeks from this line on.
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

    /// Where the entry with this key is.
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

    /// Removes the entry that was located there, and nothing has changed since.
    #[inline]
    pub(super) fn cut(&mut self, place: Place) {
        let line = &mut self.lines[place.line];
        // Nobody has gone past a line with an empty cell.
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

    /// Whether there is room for one more entry with this object, when there are so many entries.
    #[inline]
    pub(super) fn has_room(&self, object: u64, entries: usize) -> bool {
        self.room > 0 && apart(object) >= self.apart && entries <= self.entries()
    }

    /// How many entries it can tell apart.
    fn entries(&self) -> usize {
        (!self.tag).saturating_sub(1) as usize
    }

    /// Makes room for an entry with this object beside those that are in, with these keys; there are `entries` in all.
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
            // Before the new ones are there.
            self.lines = Vec::new();
            self.lines = vec![Line::EMPTY; lines];
            let numbers = (entries + entries / 2 + 2).max(1 << 16);
            self.tag = !(u32::MAX >> (numbers as u64).leading_zeros().saturating_sub(32));
        }
        self.apart = self.apart.min(apart(object));
        self.fill_with(keys);
    }

    /// Has these keys in place of all others. Allocates nothing; there is room for as many as there were.
    pub(super) fn fill_with(&mut self, keys: impl Iterator<Item = (u32, Key)>) {
        self.lines.fill(Line::EMPTY);
        (self.used, self.gone) = (0, 0);
        self.room = self.lines.len() * CELLS * FULL / PARTS;
        // Some at a time, so that their lines are waited for together.
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

    /// Adds an entry for which there is room. Where its object is nearer to others than all have been, it is found
    /// nevertheless, but not as fast.
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

    /// Removes an entry, if it is in with this key.
    #[inline]
    pub(super) fn remove(&mut self, key: Key, entry: u32) {
        if let Some(place) = self.locate(key, |found| found == entry) {
            self.cut(place);
        }
    }

    /// Removals have left so little that was never used that looking for what is not there takes long.
    pub(super) fn is_worn(&self) -> bool {
        (self.used + self.gone) * 8 > self.lines.len() * CELLS * 7
    }
}

#[cfg(test)]
mod tests;
