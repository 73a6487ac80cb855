//! From an object to its entry: a hash table of entry numbers that never allocates but when an entry is added.
//!
//! A line of it is 16 cells, as many as the processor loads at once. Objects that are neighbours have one line, so those
//! registered one after the other find it loaded; a neighbourhood is so small that it leaves room for others even where
//! it is full. A cell has the number of an entry, and above it as much of the hash as there is room for, so other
//! entries are rarely looked at. A key goes to the first line with room, from its own on: looking for it ends at
//! the first line with an empty cell.
#![forbid(unsafe_code)]

use super::Kind;

const EMPTY: u32 = u32::MAX;
const GONE: u32 = u32::MAX - 1;

/// Cells of a line.
const CELLS: usize = 16;
/// A neighbourhood is so many times the distance of objects, as a power of two.
const NEIGHBOURS: u32 = 3;
/// Objects are taken to be that far apart at most, as a power of two.
const APART: u32 = 4;

/// In use or gone, at most; in use after growing. Parts of 40.
const FULL: usize = 33;
const ROOMY: usize = 24;
const PARTS: usize = 40;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u32; CELLS]);

impl Line {
    const EMPTY: Line = Line([EMPTY; CELLS]);

    /// Bit n is set if those bits of cell n that are in `mask` are `wanted`. Compiles to comparisons of four at once.
    #[inline(always)]
    fn equal(&self, mask: u32, wanted: u32) -> u32 {
        let mut bits = 0;
        for (n, cell) in self.0.iter().enumerate() {
            bits |= u32::from(cell & mask == wanted) << n;
        }
        bits
    }

    /// Which cells never were in use, or are so again.
    #[inline(always)]
    fn empty(&self) -> u32 {
        self.equal(u32::MAX, EMPTY)
    }

    #[inline(always)]
    fn gone(&self) -> u32 {
        self.equal(u32::MAX, GONE)
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
    /// Objects are at least that far apart, as a power of two.
    apart: u32,
    /// The bits of a cell that are of the hash.
    tag: u32,
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
        let near = (near ^ near >> 32).wrapping_mul(MIX);
        let line = (u128::from(near) * self.lines.len() as u128) >> 64;
        let own = object.wrapping_mul(MIX.rotate_left(32) | 1);
        (line as usize, (own >> 32) as u32 & self.tag)
    }

    fn after(&self, line: usize) -> usize {
        if line + 1 == self.lines.len() {
            0
        } else {
            line + 1
        }
    }

    /// The entry with this key, of which `is` knows; or a free cell for one, if there is any.
    #[inline]
    pub(super) fn seek(&self, key: Key, is: impl Fn(u32) -> bool) -> Result<u32, Option<Vacant>> {
        let mut vacant = None;
        if self.lines.is_empty() {
            return Err(vacant);
        }
        let (mut at, tag) = self.place(key);
        for _ in 0..self.lines.len() {
            let line = &self.lines[at];
            let mut same = line.equal(self.tag, tag);
            while same != 0 {
                let cell = line.0[same.trailing_zeros() as usize];
                if cell < GONE && is(cell & !self.tag) {
                    return Ok(cell & !self.tag);
                }
                same &= same - 1;
            }
            let empty = line.empty();
            let free = empty | if self.gone > 0 { line.gone() } else { 0 };
            if vacant.is_none() && free != 0 {
                let cell = free.trailing_zeros() as usize;
                vacant = Some(Vacant {
                    line: at,
                    cell,
                    tag,
                });
            }
            if empty != 0 {
                break;
            }
            at = self.after(at);
        }
        Err(vacant)
    }

    /// The entry with this key.
    #[inline]
    pub(super) fn find(&self, key: Key, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.seek(key, is).ok()
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
            let lines = ((self.used + 1) * PARTS).div_ceil(ROOMY * CELLS);
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
        for (entry, key) in keys {
            self.insert(key, entry);
        }
    }

    /// Adds an entry for which there is room. Where its object is nearer to others than all have been, it is found
    /// nevertheless, but not as fast.
    pub(super) fn insert(&mut self, key: Key, entry: u32) {
        let (mut at, tag) = self.place(key);
        for _ in 0..self.lines.len() {
            let line = &self.lines[at];
            let free = line.empty() | line.gone();
            if free != 0 {
                let cell = free.trailing_zeros() as usize;
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
        if self.lines.is_empty() {
            return;
        }
        let (mut at, tag) = self.place(key);
        for _ in 0..self.lines.len() {
            let line = &mut self.lines[at];
            let found = line.equal(u32::MAX, tag | entry);
            // Nobody has gone past a line with an empty cell.
            let ends = line.empty() != 0;
            if found != 0 {
                line.0[found.trailing_zeros() as usize] = if ends { EMPTY } else { GONE };
                self.used -= 1;
                self.room += usize::from(ends);
                self.gone += usize::from(!ends);
                return;
            }
            if ends {
                return;
            }
            at = self.after(at);
        }
    }

    /// Removals have left so little that was never used that looking for what is not there takes long.
    pub(super) fn is_worn(&self) -> bool {
        (self.used + self.gone) * 8 > self.lines.len() * CELLS * 7
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const KINDS: [Kind; 2] = [Kind::Weak, Kind::Finalizer];

    fn plain((kind, object): Key) -> (u8, u64) {
        (kind as u8, object)
    }

    /// Entries by number, as the table has them.
    #[derive(Default)]
    struct Keys(Vec<Option<Key>>);

    impl Keys {
        fn all(&self) -> impl Iterator<Item = (u32, Key)> {
            (0..).zip(&self.0).filter_map(|(at, key)| Some((at, (*key)?)))
        }
    }

    fn add(index: &mut Index, keys: &Keys, key: Key, entry: u32) {
        if !index.has_room(key.1, keys.0.len()) {
            index.make_room(key.1, keys.0.len(), keys.all());
        }
        let found = index.seek(key, |at| keys.0[at as usize] == Some(key));
        index.fill(found.unwrap_err().unwrap(), entry);
    }

    #[test]
    fn agrees_with_a_map() {
        let (mut index, mut keys) = (Index::new(), Keys(vec![None; 1 << 10]));
        let mut map: HashMap<(u8, u64), u32> = HashMap::new();
        let mut state = 1_u64;
        for step in 0..40_000_u64 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(step);
            let n = (state >> 33) as u32 & 0x3ff;
            // Far apart at first, then neighbours.
            let of = |n: u32| {
                let object = u64::from(n / 2) << if step < 20_000 { 12 } else { 0 };
                (KINDS[n as usize % 2], object)
            };
            if step == 20_000 {
                map.clear();
                keys.0.fill(None);
                index.fill_with(std::iter::empty());
            }
            let key = of(n);
            if map.remove(&plain(key)).is_some() {
                index.remove(key, n);
                index.remove(key, n);
                keys.0[n as usize] = None;
            } else {
                add(&mut index, &keys, key, n);
                keys.0[n as usize] = Some(key);
                map.insert(plain(key), n);
            }
            let probe = of((state >> 20) as u32 & 0x3ff);
            let found = index.find(probe, |at| keys.0[at as usize] == Some(probe));
            assert_eq!(found, map.get(&plain(probe)).copied());
            assert_eq!(index.used, map.len());
        }
        assert!(index.lines.len() * CELLS <= 2048);
    }

    /// Lines looked at for each object that is not in.
    fn length(index: &Index, objects: &[u64]) -> f64 {
        let lines = |object: u64| {
            let (mut at, _) = index.place((Kind::Finalizer, object));
            let mut count = 1;
            while index.lines[at].empty() == 0 {
                at = index.after(at);
                count += 1;
            }
            count
        };
        let all: u32 = objects.iter().map(|object| lines(*object)).sum();
        f64::from(all) / objects.len() as f64
    }

    /// However the objects lie, few lines are looked at, and the memory is as promised, at every size.
    #[test]
    fn lines_have_room_wherever_objects_are() {
        const MANY: u64 = 30_000;
        let scatter = |n: u64| n.wrapping_mul(0xd134_2543_de82_ef95) >> 17 << 4;
        let patterns: [(&str, &dyn Fn(u64) -> u64); 8] = [
            ("numbers", &|n| n),
            ("16 bytes", &|n| 0x7f00_0000_0000 + 16 * n),
            ("32 bytes, headers", &|n| 0x7f00_0000_0010 + 32 * n),
            ("48 bytes", &|n| 0x5500_0000_0000 + 48 * n),
            ("pages", &|n| 0x7f00_0000_0000 + 4096 * n),
            ("one of 100", &|n| 0x7f00_0000_0000 + 3200 * n),
            ("scattered", &scatter),
            ("blocks", &|n| scatter(n / 512) << 16 | n % 512 * 48),
        ];
        for (name, object) in patterns {
            let (mut index, mut keys) = (Index::new(), Keys::default());
            let (mut objects, mut worst) = (Vec::new(), 0.0_f64);
            for n in 0..MANY {
                let key = (Kind::Finalizer, object(n));
                let lines = index.lines.len();
                // What is about to grow is as full as it gets.
                if index.room == 0 && n > 1000 {
                    worst = worst.max(length(&index, &objects));
                }
                add(&mut index, &keys, key, n as u32);
                keys.0.push(Some(key));
                objects.push(key.1);
                let bytes = index.lines.len() * 64;
                let grown = n > 1000 && index.lines.len() > lines;
                assert!(!grown || bytes as f64 <= 6.67 * (n + 1) as f64 + 64.0, "{name}: {bytes} for {n}");
            }
            println!("{name}: {worst:.2} lines at most");
            assert!(worst < 4.0, "{name}: {worst} lines");
        }
    }
}
