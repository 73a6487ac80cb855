//! The heap's verifier: checks every block and object, and reports the first fault.
//!
//! A fault is a bug of this crate, or of code that writes to objects without a mutator. For tests
//! and debugging: it stops the world and takes time in proportion to the heap.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::Heap;
use super::block::{Bit, Block};
use super::find::Cell;
use crate::world::safepoint::Stopped;

/// What the verifier counted in a heap without faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapReport {
    /// Blocks in use.
    pub blocks: usize,
    /// Objects, including dead ones that are not yet freed.
    pub objects: usize,
    /// Pointer words that point into an object of this heap.
    pub references: usize,
}

/// A fault of a heap: tables that contradict each other, or a pointer to no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeapFault {
    /// The heap's tables contradict a block, or a block contradicts itself.
    #[error("heap: block at {block:#x}: {what}")]
    Books {
        /// Address of the block.
        block: usize,
        /// The contradiction.
        what: &'static str,
    },
    /// The word in front of an object is not the address of a type descriptor of this runtime.
    #[error(
        "heap: the header of the object at {object:#x} is {found:#x}, wanted a type of this runtime"
    )]
    Header {
        /// Where the object starts.
        object: usize,
        /// The word found.
        found: u64,
    },
    /// A pointer points into the heap, but to no object: the object was freed, or the word was
    /// never a pointer.
    #[error(
        "heap: {ty} at {object:#x}: the pointer at offset {offset} leads to {addr:#x}, where no \
         object is"
    )]
    Dangling {
        /// Where the object starts.
        object: usize,
        /// Its type.
        ty: String,
        /// Byte offset of the pointer in it.
        offset: usize,
        /// The address it holds.
        addr: usize,
    },
}

impl Heap {
    /// Checks every block and object, and returns the first fault found.
    pub(crate) fn verify(&self, stopped: &Stopped<'_>) -> Result<HeapReport, HeapFault> {
        self.close_windows(stopped);
        let headers = self.types.addresses().into_iter();
        let headers: HashSet<u64> = headers.map(|address| address as u64).collect();
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
                return wrong("the block table does not point to it");
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
                    return wrong("an object's header differs from the block's common header");
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

    /// Counts the pointers of an object that point into objects of this heap. A pointer into a free
    /// cell or block is a fault.
    fn references(&self, cell: &Cell<'_>) -> Result<usize, HeapFault> {
        let (mut count, mut fault) = (0, None);
        self.for_each_pointer(cell.start(), cell.desc, &mut |word| {
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
            // Block 0 is the address that all objects without size share.
            None | Some(0) => false,
            Some(_) => self.block_at(addr).is_none_or(|block| {
                block
                    .cell_of(addr)
                    .is_some_and(|(index, _)| !block.get(Bit::Used, index))
            }),
        }
    }
}

/// Finds a state of a block's bits that cannot be between collections.
fn bits_fault(block: &Block) -> Option<&'static str> {
    (0..block.words()).find_map(|word| {
        let used = block.word(Bit::Used, word);
        let last = block.cells - 64 * word;
        if last < 64 && used >> last != 0 {
            Some("a cell behind the last one is used")
        } else if block.word(Bit::Mark, word) != 0 {
            Some("an object is marked, and nobody collects")
        } else if block.word(Bit::Special, word) & !used != 0 {
            Some("a free cell has cleanups or weak handles")
        } else {
            None
        }
    })
}
