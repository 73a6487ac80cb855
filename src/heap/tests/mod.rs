//! The heap as its users see it.
#![forbid(unsafe_code)]

mod access;
mod find;
mod graph;
mod limits;
mod marking;
mod mutators;
mod threads;
mod verify;
mod windows;

use super::{AccessError, AccessErrorKind, AllocError, Bit, HeapError, HeapOptions, Marking};
use super::{SetId, TypedId};
use crate::base::random::Rng;
use crate::runtime::Runtime;
use crate::runtime::collect::{Space, Weakness};
use crate::runtime::mutator::Mutator;
use crate::types::{TypeId, Types};
use crate::world::threads::WorldError;
use std::num::NonZeroU32;
use std::sync::Arc;

/// A runtime's heap where objects die without a word.
fn space(options: HeapOptions) -> Arc<Space> {
    Space::new(Arc::new(Types::new()), options, Arc::new(())).unwrap()
}

/// A mutator of a runtime of its own on the space.
fn attach(space: &Arc<Space>) -> Result<Mutator, WorldError> {
    Runtime::over(space).attach()
}

/// Sets an id without a word, as [`Heap::set_id`] does, for an object of any type.
fn set_id(space: &Space, addr: usize, id: NonZeroU32) -> SetId {
    let heap = space.heap();
    match heap.type_at(addr) {
        Ok(desc) => heap.set_id(addr, &TypedId::new(desc, id, false), None),
        Err(_) => SetId::NotThere,
    }
}

/// The id of an object.
fn id_of(space: &Space, addr: usize) -> Option<NonZeroU32> {
    space.heap().id(addr).map(|(id, _)| id)
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

/// `struct { ID int; P [n]unsafe.Pointer }`; without `P` when it would be empty, as Go makes room
/// behind an empty last field.
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
