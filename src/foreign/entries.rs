//! Where the registrations are: chunks of 256 entries, each with its own book-keeping, so that
//! growing copies nothing and takes no more than what is there. Words beside the objects, which few
//! have, are allocated by chunk.
//!
//! Free, young and due entries are bits of a chunk, and the chunks with such bits are members of a
//! set: walking over such entries takes time in proportion to their number.
#![forbid(unsafe_code)]

use super::entry::Entry;
use super::set::Set;
use crate::order::{Reference, Scope, Tracer};

/// Entries of a chunk.
pub(super) const CHUNK: usize = 256;
/// Words of bits for them.
pub(super) const LINES: usize = CHUNK / 64;

/// A bit for each entry of a chunk.
pub(super) type Bits = [u64; LINES];

#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) free: Bits,
    /// Looked at by minor collections.
    pub(super) young: Bits,
    /// Found due, and not yet moved to the queue.
    pub(super) due: Bits,
    /// Found dead in this step.
    pub(super) dead: Bits,
    /// Finalizers whose objects are known to be reached in this collection.
    pub(super) reached: Bits,
    /// Contexts of finalizers and arguments of cleanups.
    words: Option<Box<[u64; CHUNK]>>,
    pub(super) entries: [Entry; CHUNK],
}

impl Chunk {
    /// The entries of a line that are neither free nor due, a bit for each.
    #[inline]
    pub(super) fn registered(&self, line: usize) -> u64 {
        !(self.free[line] | self.due[line])
    }

    /// The word of an entry; 0 if it never had one.
    #[inline]
    pub(super) fn word(&self, n: usize) -> u64 {
        self.words.as_ref().map_or(0, |words| words[n])
    }

    pub(super) fn set_word(&mut self, n: usize, word: u64) {
        if let Some(words) = &mut self.words {
            words[n] = word;
        }
    }

    /// Traces the word of an entry, and replaces it by what the tracer returns.
    pub(super) fn trace_word<T: Tracer>(&mut self, n: usize, tracer: &mut T) {
        let word = tracer.trace(T::Ref::from_word(self.word(n))).to_word();
        self.set_word(n, word);
    }
}

/// The line and the bit of an entry.
#[inline]
fn place(n: usize) -> (usize, u64) {
    (n / 64, 1 << (n % 64))
}

#[inline]
fn set(bits: &mut Bits, n: usize, on: bool) {
    let (line, bit) = place(n);
    bits[line] = bits[line] & !bit | if on { bit } else { 0 };
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    // Boxed so that a chunk never moves.
    pub(super) chunks: Vec<Box<Chunk>>,
    /// Chunks with a free entry.
    free: Set,
    /// No chunk before this one has a free entry.
    first_free: usize,
    /// Chunks with a young entry, and others perhaps.
    pub(super) young: Set,
    /// Chunks with an entry that is due.
    due: Set,
}

impl Entries {
    /// How many entries there are, in use or not.
    pub(super) fn len(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    #[inline]
    pub(super) fn chunk(&mut self, at: u32) -> (&mut Chunk, usize) {
        let at = at as usize;
        (&mut self.chunks[at / CHUNK], at % CHUNK)
    }

    /// The entry, if there is one of this number.
    #[inline]
    pub(super) fn get(&self, at: u32) -> Option<&Entry> {
        let chunk = self.chunks.get(at as usize / CHUNK)?;
        Some(&chunk.entries[at as usize % CHUNK])
    }

    #[inline]
    pub(super) fn at(&self, at: u32) -> &Entry {
        &self.chunks[at as usize / CHUNK].entries[at as usize % CHUNK]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, at: u32) -> &mut Entry {
        let (chunk, n) = self.chunk(at);
        &mut chunk.entries[n]
    }

    pub(super) fn word(&self, at: u32) -> u64 {
        self.chunks[at as usize / CHUNK].word(at as usize % CHUNK)
    }

    /// Gives the entry a word.
    pub(super) fn add_word(&mut self, at: u32, word: u64) {
        let (chunk, n) = self.chunk(at);
        chunk.words.get_or_insert_with(|| Box::new([0; CHUNK]))[n] = word;
    }

    /// Takes the first free entry, after making some if there are none.
    #[inline]
    pub(super) fn take(&mut self, young: bool) -> u32 {
        let free = self.free.next(self.first_free);
        let at = free.unwrap_or_else(|| self.grow());
        self.first_free = at;
        let chunk = &mut *self.chunks[at];
        let line = chunk.free.iter().position(|line| *line != 0).unwrap_or(0);
        let free = chunk.free[line];
        let bit = free & free.wrapping_neg();
        chunk.free[line] = free & !bit;
        if free == bit && chunk.free.iter().all(|line| *line == 0) {
            self.free.remove(at);
        }
        if young {
            if chunk.young[line] == 0 {
                self.young.insert(at);
            }
            chunk.young[line] |= bit;
        }
        (at * CHUNK + line * 64) as u32 + bit.trailing_zeros()
    }

    #[cold]
    fn grow(&mut self) -> usize {
        let chunk = self.chunks.len();
        for set in [&mut self.free, &mut self.young, &mut self.due] {
            set.reserve(chunk + 1);
        }
        self.chunks.push(Box::new(Chunk {
            free: [u64::MAX; LINES],
            young: [0; LINES],
            due: [0; LINES],
            dead: [0; LINES],
            reached: [0; LINES],
            words: None,
            entries: [Entry::default(); CHUNK],
        }));
        self.free.insert(chunk);
        chunk
    }

    /// Frees an entry that is in no index.
    #[inline]
    pub(super) fn release(&mut self, at: u32) {
        let (chunk, n) = self.chunk(at);
        let again = chunk.entries[n].empty();
        let (line, bit) = place(n);
        for bits in [
            &mut chunk.young,
            &mut chunk.due,
            &mut chunk.dead,
            &mut chunk.reached,
        ] {
            bits[line] &= !bit;
        }
        if again {
            chunk.free[line] |= bit;
            let chunk = at as usize / CHUNK;
            self.free.insert(chunk);
            self.first_free = self.first_free.min(chunk);
        }
    }

    /// Marks an entry as due, and no longer dead.
    pub(super) fn set_due(&mut self, at: u32) {
        let (chunk, n) = self.chunk(at);
        set(&mut chunk.dead, n, false);
        set(&mut chunk.due, n, true);
        self.due.insert(at as usize / CHUNK);
    }

    pub(super) fn set_dead(&mut self, at: u32) {
        let (chunk, n) = self.chunk(at);
        set(&mut chunk.dead, n, true);
    }

    /// Whether it was found dead in this collection, and is still registered.
    pub(super) fn is_dead(&self, at: u32) -> bool {
        let (line, bit) = place(at as usize % CHUNK);
        self.chunks[at as usize / CHUNK].dead[line] & bit != 0
    }

    /// Clears the mark of all entries that are due.
    pub(super) fn none_due(&mut self) {
        while let Some(chunk) = self.due.next(0) {
            self.chunks[chunk].due = [0; LINES];
            self.due.remove(chunk);
        }
    }

    /// Clears what the collection under way has noted, and makes every registration young: it may
    /// have made some old that are not.
    pub(super) fn forget_collection(&mut self) {
        for (at, chunk) in self.chunks.iter_mut().enumerate() {
            (chunk.dead, chunk.reached) = ([0; LINES], [0; LINES]);
            chunk.young = std::array::from_fn(|line| chunk.registered(line));
            self.young.insert(at);
        }
    }

    /// Ends a collection: clears what it has noted, and makes those young entries old for which
    /// `is_young` returns false.
    pub(super) fn age(&mut self, scope: Scope, mut is_young: impl FnMut(&Chunk, usize) -> bool) {
        let mut from = 0;
        while let Some(at) = self.next_chunk(Walked::Scope(scope), from) {
            self.chunks[at].reached = [0; LINES];
            from = at + 1;
        }
        let mut from = 0;
        while let Some(at) = self.young.next(from) {
            let chunk = &mut self.chunks[at];
            for line in 0..LINES {
                let mut bits = chunk.young[line];
                while bits != 0 {
                    let n = line * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    if !is_young(chunk, n) {
                        set(&mut chunk.young, n, false);
                    }
                }
            }
            if chunk.young == [0; LINES] {
                self.young.remove(at);
            }
            from = at + 1;
        }
    }

    /// How many are dead, in a full collection.
    pub(super) fn dead(&self) -> usize {
        let lines = self.chunks.iter().flat_map(|chunk| chunk.dead);
        lines.map(|line| line.count_ones() as usize).sum()
    }

    /// Returns all entries that belong in the index, with their keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = (u32, (super::entry::Kind, u64))> {
        let entries = self.chunks.iter().flat_map(|chunk| &chunk.entries);
        (0..)
            .zip(entries)
            .filter_map(|(at, entry)| Some((at, entry.key()?)))
    }

    fn next_chunk(&self, walked: Walked, from: usize) -> Option<usize> {
        match walked {
            Walked::Scope(Scope::Minor) | Walked::Dead(Scope::Minor) => self.young.next(from),
            Walked::Due => self.due.next(from),
            Walked::Scope(Scope::Full) | Walked::Dead(Scope::Full) => {
                (from < self.chunks.len()).then_some(from)
            }
        }
    }
}

/// Which entries are walked over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Walked {
    /// What a collection of this scope looks at; in a full one, what is due as well.
    Scope(Scope),
    /// The entries in scope that were found dead.
    Dead(Scope),
    Due,
}

/// A walk over entries, in their order. Visited entries may change or be freed; those that are
/// still to come must be left as they are.
pub(super) struct Walk {
    walked: Walked,
    chunk: usize,
    line: usize,
    bits: u64,
}

impl Walk {
    pub(super) fn over(walked: Walked) -> Walk {
        Walk {
            walked,
            chunk: 0,
            // One line before the first line of the first chunk.
            line: usize::MAX,
            bits: 0,
        }
    }

    #[inline]
    pub(super) fn next(&mut self, entries: &Entries) -> Option<u32> {
        while self.bits == 0 {
            self.line = self.line.wrapping_add(1);
            if self.line == 0 || self.line == LINES {
                let from = self.chunk + usize::from(self.line == LINES);
                // So that the walk stays at its end.
                self.line = LINES - 1;
                self.chunk = entries.next_chunk(self.walked, from)?;
                self.line = 0;
            }
            let chunk = &entries.chunks[self.chunk];
            self.bits = match self.walked {
                Walked::Scope(Scope::Full) => !chunk.free[self.line],
                Walked::Scope(Scope::Minor) => chunk.young[self.line],
                Walked::Dead(_) => chunk.dead[self.line],
                Walked::Due => chunk.due[self.line],
            };
        }
        let n = self.line * 64 + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some((self.chunk * CHUNK + n) as u32)
    }
}

#[cfg(test)]
mod tests;
