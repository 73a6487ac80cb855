//! The heap's memory: one contiguous range of addresses, divided into blocks.
//!
//! Objects are read and written with relaxed atomics of one word, so that threads that race on an
//! object get one of the values written and never undefined behaviour. Bytes go through their word
//! for the same reason.

use super::class::BLOCK;
use super::os::Mapping;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const WORD: usize = 8;

/// A reserved range. A subtraction and a shift find the block of an address.
#[derive(Debug)]
pub(super) struct Arena {
    mapping: Mapping,
    /// Bytes between the mapping's base and the first block.
    skip: usize,
    start: usize,
    blocks: usize,
    /// Bytes from `start` to the last word.
    last: usize,
}

impl Arena {
    /// Reserves `blocks` blocks.
    pub(super) fn reserve(blocks: usize) -> io::Result<Arena> {
        let bytes = blocks
            .checked_add(1)
            .and_then(|blocks| blocks.checked_mul(BLOCK))
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let mapping = Mapping::reserve(bytes)?;
        let base = mapping.base().as_ptr().expose_provenance();
        let start = base.next_multiple_of(BLOCK);
        Ok(Arena {
            mapping,
            skip: start - base,
            start,
            blocks,
            last: blocks * BLOCK - WORD,
        })
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    #[cfg(test)]
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// The index of the block that holds `addr`; `None` if that is not in the arena.
    #[inline]
    pub(super) fn block_of(&self, addr: usize) -> Option<usize> {
        let index = addr.wrapping_sub(self.start) / BLOCK;
        (index < self.blocks).then_some(index)
    }

    /// The address of a block.
    pub(super) fn block_start(&self, index: usize) -> usize {
        self.start + index * BLOCK
    }

    /// The word at `addr`.
    ///
    /// # Panics
    /// When `addr` is not that of an aligned word of the arena: always a bug of this crate.
    #[inline]
    fn word(&self, addr: usize) -> &AtomicU64 {
        let offset = addr.wrapping_sub(self.start);
        assert!(
            offset <= self.last && offset.is_multiple_of(WORD),
            "address {addr:#x}, wanted an aligned word of the arena"
        );
        // SAFETY: I12: in range and aligned, of the mapping whose base was exposed, mapped as long
        // as `self`; every access that can race is atomic and of one word (I15).
        unsafe { AtomicU64::from_ptr(std::ptr::with_exposed_provenance_mut(addr)) }
    }

    #[inline]
    pub(super) fn load(&self, addr: usize) -> u64 {
        self.word(addr).load(Relaxed)
    }

    #[inline]
    pub(super) fn store(&self, addr: usize, value: u64) {
        self.word(addr).store(value, Relaxed);
    }

    /// Stores a word at `first`, and `count` times in all, each `stride` bytes behind the last one.
    ///
    /// # Panics
    /// When one of them is not an aligned word of the arena: always a bug of this crate.
    pub(super) fn store_each(&self, first: usize, stride: usize, count: usize, value: u64) {
        let Some(more) = count.checked_sub(1) else {
            return;
        };
        let base = std::ptr::from_ref(self.word(first));
        let room = (self.last - first.wrapping_sub(self.start)) / WORD;
        let step = stride / WORD;
        assert!(
            stride.is_multiple_of(WORD) && more.checked_mul(step).is_some_and(|all| all <= room),
            "{count} words, {stride:#x} bytes apart, at {first:#x}, wanted words of the arena"
        );
        for n in 0..count {
            // SAFETY: I12: the last one was checked to be in the arena, whose words lie behind each
            // other; accesses are as those of `word`.
            unsafe { &*base.add(n * step) }.store(value, Relaxed);
        }
    }

    /// Replaces the word at `addr` by what `change` returns for it, even while other threads do.
    pub(super) fn update(&self, addr: usize, change: impl Fn(u64) -> u64) {
        self.word(addr).update(Relaxed, Relaxed, change);
    }

    /// Copies bytes out. Each word is read atomically; different words may be read at different
    /// times.
    pub(super) fn load_bytes(&self, addr: usize, to: &mut [u8]) {
        for (piece, range, word) in pieces(addr, to.len()) {
            to[piece].copy_from_slice(&self.load(word).to_ne_bytes()[range]);
        }
    }

    /// Copies bytes in. Other bytes of a word that is partly written are preserved, even while
    /// other threads write them.
    pub(super) fn store_bytes(&self, addr: usize, from: &[u8]) {
        for (piece, range, word) in pieces(addr, from.len()) {
            let merge = |old: u64| {
                let mut bytes = old.to_ne_bytes();
                bytes[range.clone()].copy_from_slice(&from[piece.clone()]);
                u64::from_ne_bytes(bytes)
            };
            if range.len() == WORD {
                self.store(word, merge(0));
            } else {
                self.update(word, merge);
            }
        }
    }

    /// Fills a part of the arena with one byte, not atomically.
    ///
    /// # Safety
    /// No other thread reads or writes the part meanwhile.
    ///
    /// # Panics
    /// When the part is not inside the arena.
    pub(super) unsafe fn fill(&self, addr: usize, bytes: usize, value: u8) {
        let offset = addr.wrapping_sub(self.start);
        let end = self.blocks * BLOCK;
        assert!(
            offset <= end && bytes <= end - offset,
            "{bytes:#x} bytes at {addr:#x}, wanted a part of the arena"
        );
        // SAFETY: I12: checked to be inside the mapping; no other thread accesses it now (I15).
        unsafe {
            self.mapping
                .base()
                .as_ptr()
                .add(self.skip + offset)
                .write_bytes(value, bytes)
        };
    }

    /// Gives the memory of blocks back to the system; they read as zero afterwards.
    ///
    /// # Safety
    /// No block of `first..first + count` is in use.
    pub(super) unsafe fn release(&self, first: usize, count: usize) -> io::Result<()> {
        // SAFETY: I14: the caller promises that the blocks are not in use; `Mapping::release`
        // checks the range.
        unsafe {
            self.mapping
                .release(self.skip + first * BLOCK, count * BLOCK)
        }
    }

    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn resident(&self) -> io::Result<usize> {
        self.mapping.resident()
    }
}

/// Splits `len` bytes at `addr` at word boundaries. Each item is the range in the caller's slice,
/// the range in the word, and the word's address.
fn pieces(
    addr: usize,
    len: usize,
) -> impl Iterator<Item = (std::ops::Range<usize>, std::ops::Range<usize>, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = addr + done;
        let first = at % WORD;
        let count = (WORD - first).min(len - done);
        let piece = (done..done + count, first..first + count, at - first);
        done += count;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_do_not_disturb_neighbours() {
        let arena = Arena::reserve(2).unwrap();
        let base = arena.start();
        let mut model = [0xeeu8; 64];
        arena.store_bytes(base, &model);
        for from in 0..24 {
            for len in 0..32 {
                let text: Vec<u8> = (0..len as u8).map(|i| i ^ from as u8).collect();
                arena.store_bytes(base + from, &text);
                model[from..from + len].copy_from_slice(&text);
                let mut all = [0; 64];
                arena.load_bytes(base, &mut all);
                assert_eq!(all, model);
                let mut part = vec![0; len];
                arena.load_bytes(base + from, &mut part);
                assert_eq!(part, text);
            }
        }
    }

    #[test]
    fn the_range_is_exact() {
        let arena = Arena::reserve(3).unwrap();
        let (start, end) = (arena.start(), arena.start() + 3 * BLOCK);
        assert_eq!(arena.block_of(start - 1), None);
        assert_eq!(arena.block_of(start), Some(0));
        assert_eq!(arena.block_of(end - 1), Some(2));
        assert_eq!(arena.block_of(end), None);
        assert_eq!(arena.block_of(0), None);
        assert_eq!(arena.block_of(usize::MAX), None);
    }

    #[test]
    #[should_panic(expected = "of the arena")]
    fn no_word_behind_the_end() {
        let arena = Arena::reserve(1).unwrap();
        arena.load(arena.start() + BLOCK);
    }
}
