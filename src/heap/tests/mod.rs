//! The heap as its users see it.
#![forbid(unsafe_code)]

mod access;
mod cycle;
mod find;
mod graph;
mod limits;
mod mutators;
mod threads;
mod verify;

use super::{AccessError, AllocError, Bit, Cycle, HeapError, HeapOptions};
use crate::collect::{Space, Weakness};
use crate::types::{TypeId, Types};
use std::sync::Arc;

/// A runtime's heap where objects die without a word.
fn space(options: HeapOptions) -> Arc<Space> {
    Space::new(Arc::new(Types::new()), options, Arc::new(())).unwrap()
}

/// 64 MiB, never due, poisoned.
fn options() -> HeapOptions {
    HeapOptions {
        limit: 64 << 20,
        percent: None,
        poison: true,
        tiny: false,
        stress: false,
    }
}

/// Seeded random numbers (xorshift64*).
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// `struct { ID int; P [n]unsafe.Pointer }`; without `P` when it would be empty, as Go makes room behind an empty last
/// field.
fn shape(space: &Space, pointers: usize) -> TypeId {
    let text = match pointers {
        0 => "struct { ID int }".into(),
        _ => format!("struct {{ ID int; P [{pointers}]unsafe.Pointer }}"),
    };
    space.types().id(&text).unwrap()
}

/// Offset of pointer `index` of such an object.
fn slot(index: usize) -> usize {
    8 + 8 * index
}
