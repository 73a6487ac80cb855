//! Where the descriptors of a universe are, by the index of the type, for readers without a lock.
#![forbid(unsafe_code)]

use super::{TypeDesc, TypeId};
use crate::base::append_table::Table;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::*};

/// The slots of all indices. They are written under the lock of the universe's books.
#[derive(Debug)]
pub(super) struct Slots(Table<Slot>);

/// The descriptor of an index.
#[derive(Debug, Default)]
struct Slot {
    /// Its address, 0 if there is none.
    address: AtomicUsize,
    /// How many types with this index were given back.
    generation: AtomicU32,
}

impl Default for Slots {
    fn default() -> Slots {
        Slots(Table::new())
    }
}

impl Slots {
    /// Puts a descriptor where none is. `None`: there is no such slot.
    pub(super) fn fill(&self, index: u32, desc: &TypeDesc) -> Option<()> {
        let slot = self
            .0
            .get(index)
            .or_else(|| self.0.put(index, Slot::default()))?;
        slot.address.store(desc.address(), Release);
        Some(())
    }

    /// Takes a descriptor away. Returns whether the slot may be filled again: not when the next
    /// generation would be one that it had. Only with the world stopped.
    pub(super) fn clear(&self, index: u32) -> bool {
        let Some(slot) = self.0.get(index) else {
            return false;
        };
        slot.address.store(0, Relaxed);
        slot.generation.fetch_add(1, Relaxed) != u32::MAX
    }

    /// The generation that the next type with this index has.
    pub(super) fn generation(&self, index: u32) -> u32 {
        let slot = self.0.get(index);
        slot.map_or(0, |slot| slot.generation.load(Relaxed))
    }

    /// The address of the descriptor with an index.
    pub(super) fn address_at(&self, index: u32) -> Option<usize> {
        let address = self.0.get(index)?.address.load(Acquire);
        (address != 0).then_some(address)
    }

    /// The address of the descriptor of an id of this universe; `None` if it was given back.
    #[inline]
    pub(super) fn address(&self, id: TypeId) -> Option<usize> {
        let slot = self.0.get(id.index)?;
        let address = slot.address.load(Acquire);
        (address != 0 && slot.generation.load(Relaxed) == id.generation).then_some(address)
    }
}
