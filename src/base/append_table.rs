//! An append-only table: entries are written once, never move and never go while the table lives.
//!
//! So a shared reference to the table gives references to entries, without any lock.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

const FIRST: u32 = 64;
const CHUNKS: usize = 26;

/// Chunk `k` holds `64 << k` entries.
#[derive(Debug)]
pub(crate) struct Table<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
}

/// The chunk of an entry, and the position in it.
fn place(index: u32) -> (usize, usize) {
    let chunk = (index / FIRST + 1).ilog2();
    (
        chunk as usize,
        (index - ((1 << chunk) - 1) * FIRST) as usize,
    )
}

impl<T> Table<T> {
    pub(crate) fn new() -> Table<T> {
        Table {
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }

    /// The entry, if it was written.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (chunk, at) = place(index);
        self.chunks.get(chunk)?.get()?.get(at)?.get()
    }

    /// Writes an entry unless it was written before, and returns it. The caller numbers its entries
    /// under a lock. `None`: the table is full (2^32 - 64 entries).
    pub(crate) fn put(&self, index: u32, value: T) -> Option<&T> {
        let (chunk, at) = place(index);
        let entries = self.chunks.get(chunk)?.get_or_init(|| {
            let many = (FIRST as usize) << chunk;
            (0..many).map(|_| OnceLock::new()).collect()
        });
        Some(entries.get(at)?.get_or_init(|| value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_where_they_are() {
        let table = Table::new();
        let first = std::ptr::from_ref(table.put(0, 0u32).unwrap());
        for i in 1..100_000 {
            assert_eq!(table.get(i), None);
            assert_eq!(table.put(i, i), Some(&i));
        }
        assert_eq!(first, std::ptr::from_ref(table.get(0).unwrap()));
        assert!((0..100_000).all(|i| table.get(i) == Some(&i)));
        assert_eq!(table.get(u32::MAX), None);
    }
}
