//! The heap's verifier: looks at every block and object, and says what can't be.
//!
//! A fault is a bug of this crate, or of code that writes to objects past their mutator. For tests and debugging: it
//! stops the world and takes time in proportion to the heap.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::Heap;
use super::block::{Bit, Block};
use super::find::Cell;
use crate::safepoint::Stopped;

/// What a sound heap was found to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapReport {
    /// Blocks in use.
    pub blocks: usize,
    /// Objects, dead ones too.
    pub objects: usize,
    /// Pointer words that lead to an object of this heap.
    pub references: usize,
}

/// What is wrong with a heap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeapFault {
    /// The books and the blocks don't agree.
    #[error("heap: block at {block:#x}: {what}")]
    Books {
        /// Address of the block.
        block: usize,
        /// What does not agree.
        what: &'static str,
    },
    /// The word in front of an object is no type of this runtime.
    #[error(
        "heap: the header of the object at {object:#x} is {found:#x}, wanted a type of this runtime"
    )]
    Header {
        /// Where the object starts.
        object: usize,
        /// What its header says.
        found: u64,
    },
    /// A pointer leads into the heap, but to no object: its object was freed, or the word was never a pointer.
    #[error(
        "heap: {ty} at {object:#x}: the pointer at offset {offset} leads to {addr:#x}, where no object is"
    )]
    Dangling {
        /// Where the object starts.
        object: usize,
        /// Its type.
        ty: String,
        /// Byte offset of the pointer in it.
        offset: usize,
        /// Where it leads.
        addr: usize,
    },
}

impl Heap {
    /// Looks at everything.
    pub(crate) fn verify(&self, _proof: &Stopped<'_>) -> Result<HeapReport, HeapFault> {
        let headers: HashSet<u64> = self
            .types
            .descriptors()
            .map(|desc| desc.address() as u64)
            .collect();
        let books = self.books.lock();
        let mut report = HeapReport::default();
        let mut span = 0;
        for block in &books.all {
            let wrong = |what| {
                Err(HeapFault::Books {
                    block: block.start,
                    what,
                })
            };
            span += block.span;
            report.blocks += block.span;
            let covered = (block.index..block.index + block.span).all(|index| {
                let there = self.table[index].load(std::sync::atomic::Ordering::Acquire);
                books.taken.get(index) && std::ptr::eq(there, std::sync::Arc::as_ptr(block))
            });
            if !covered {
                return wrong("the table does not lead to it");
            }
            if let Some(what) = bits_fault(block) {
                return wrong(what);
            }
            for index in (0..block.cells).filter(|&index| block.get(Bit::Used, index)) {
                let found = self.arena.load(block.header(index));
                if !headers.contains(&found) {
                    return Err(HeapFault::Header {
                        object: block.object(index),
                        found,
                    });
                }
                if block.common_header().is_some_and(|common| common != found) {
                    return wrong("an object's type is not the one its objects have in common");
                }
                report.objects += 1;
                if let Some(cell) = self.object_at(block.object(index)) {
                    report.references += self.references(&cell)?;
                }
            }
        }
        if span != books.in_use {
            let what = "blocks in use were counted wrong";
            return Err(HeapFault::Books {
                block: self.arena.start(),
                what,
            });
        }
        Ok(report)
    }

    /// How many of an object's pointers lead to objects of this heap; none may lead where an object was.
    fn references(&self, cell: &Cell<'_>) -> Result<usize, HeapFault> {
        let (mut count, mut fault) = (0, None);
        cell.desc.pointers().for_each(cell.start(), &mut |word| {
            let addr = self.arena.load(word) as usize;
            if self.cell_at(addr).is_some() {
                count += 1;
            } else if self.is_vacant(addr) {
                fault = fault.take().or_else(|| {
                    let (object, ty) = (cell.start(), cell.desc.ty().to_string());
                    Some(HeapFault::Dangling {
                        object,
                        ty,
                        offset: word - object,
                        addr,
                    })
                });
            }
        });
        fault.map_or(Ok(count), Err)
    }

    /// Whether an address is in the heap's range, in a block or cell that holds no object.
    fn is_vacant(&self, addr: usize) -> bool {
        match self.arena.block_of(addr) {
            // Block 0 is the address of everything without size.
            None | Some(0) => false,
            Some(_) => self.block_at(addr).is_none_or(|block| {
                block
                    .cell_of(addr)
                    .is_some_and(|(index, _)| !block.get(Bit::Used, index))
            }),
        }
    }
}

/// What no block's bits may say between collections.
fn bits_fault(block: &Block) -> Option<&'static str> {
    (0..block.words()).find_map(|word| {
        let used = block.word(Bit::Used, word);
        let last = block.cells - 64 * word;
        if last < 64 && used >> last != 0 {
            Some("a cell behind its last one is used")
        } else if block.word(Bit::Mark, word) != 0 {
            Some("an object is marked, and nobody collects")
        } else if block.word(Bit::Special, word) & !used != 0 {
            Some("a free cell has cleanups or weak handles")
        } else {
            None
        }
    })
}
