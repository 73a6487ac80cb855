//! From an object to its entry: a hash table of entry numbers that never allocates but when an entry is added.
#![forbid(unsafe_code)]

const EMPTY: u32 = u32::MAX;
const GONE: u32 = u32::MAX - 1;

/// Entry numbers by hash. The keys are in the entries; whoever asks says which entry is meant.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A power of two of them.
    cells: Vec<u32>,
    used: usize,
    gone: usize,
}

/// Spreads a key over all bits.
pub(super) fn hash(key: u64) -> u64 {
    let mixed = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

impl Index {
    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.cells.len().wrapping_sub(1);
        (0..self.cells.len()).map(move |step| (hash as usize).wrapping_add(step) & mask)
    }

    /// The entry with this hash that `is` says yes to.
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        for at in self.probe(hash) {
            match self.cells[at] {
                EMPTY => return None,
                GONE => {}
                entry if is(entry) => return Some(entry),
                _ => {}
            }
        }
        None
    }

    /// Makes room for one more entry. `key` gives the hash of an entry that is in.
    pub(super) fn reserve(&mut self, key: impl Fn(u32) -> u64) {
        if (self.used + self.gone + 1) * 4 > self.cells.len() * 3 {
            let wanted = ((self.used + 1) * 3 / 2 + 1).next_power_of_two().max(8);
            let cells = std::mem::replace(&mut self.cells, vec![EMPTY; wanted]);
            (self.used, self.gone) = (0, 0);
            for entry in cells.into_iter().filter(|&cell| cell < GONE) {
                self.insert(key(entry), entry);
            }
        }
    }

    /// Adds an entry for which there is room: a reserved one, or one that was removed.
    pub(super) fn insert(&mut self, hash: u64, entry: u32) {
        let free = self.probe(hash).find(|&at| self.cells[at] >= GONE);
        if let Some(at) = free {
            self.gone -= usize::from(self.cells[at] == GONE);
            self.used += 1;
            self.cells[at] = entry;
        }
    }

    /// Removes an entry, if it is in with this hash.
    pub(super) fn remove(&mut self, hash: u64, entry: u32) {
        let found = self
            .probe(hash)
            .take_while(|&at| self.cells[at] != EMPTY)
            .find(|&at| self.cells[at] == entry);
        if let Some(at) = found {
            self.cells[at] = GONE;
            self.used -= 1;
            self.gone += 1;
        }
    }

    /// Forgets all entries, and keeps the room they had.
    pub(super) fn clear(&mut self) {
        self.cells.fill(EMPTY);
        (self.used, self.gone) = (0, 0);
    }

    /// Removals have left so little that was never used that looking for what is not there takes long.
    pub(super) fn is_worn(&self) -> bool {
        (self.used + self.gone) * 8 > self.cells.len() * 7
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn agrees_with_a_map() {
        let (mut index, mut map) = (Index::default(), HashMap::new());
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = hash(state.wrapping_add(7));
            let key = state >> 5 & 0x1ff;
            if let Some(entry) = map.remove(&key) {
                index.remove(hash(key), entry);
            } else {
                let entry = key as u32 * 3;
                index.reserve(|entry| hash(u64::from(entry / 3)));
                index.insert(hash(key), entry);
                map.insert(key, entry);
            }
            let probe = state >> 20 & 0x1ff;
            let found = index.find(hash(probe), |entry| u64::from(entry / 3) == probe);
            assert_eq!(found, map.get(&probe).copied());
        }
        assert!(index.cells.len() <= 2048);
    }
}
