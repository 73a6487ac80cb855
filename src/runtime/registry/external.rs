//! Accounting for memory outside the heap that objects own.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::collect::Due;
use super::lists::Lists;
use super::{Registry, Special, Specials};
use crate::calls::queue::Owned;
use crate::heap::{Bit, Heap, Kept, Marking, Place};
use crate::runtime::collect::Space;

impl Registry {
    /// Sets how many bytes outside the heap the object at `start` owns, in place of the previous
    /// figure.
    pub(crate) fn set_external_bytes(&self, space: &Space, start: usize, bytes: usize) {
        let heap = space.heap();
        let Some(object) = heap.place(start) else {
            return;
        };
        let is_external = |special: &Special| matches!(special, Special::External(_));
        let mut specials = self.specials.lock();
        let mut before = 0;
        specials.lists.take_if(object, is_external, |_, special| {
            if let Special::External(bytes) = special {
                before = bytes;
            }
        });
        if bytes > 0 {
            specials.number(heap);
            specials
                .lists
                .push(object, Special::External(bytes as u64), false);
            heap.set_special(object);
        }
        specials.external = specials.external - u128::from(before) + bytes as u128;
        drop(specials);
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        if bytes > before {
            heap.state_external(bytes - before);
        }
    }

    /// Returns the external bytes of all objects.
    pub(crate) fn external_bytes(&self) -> usize {
        usize::try_from(self.specials.lock().external).unwrap_or(usize::MAX)
    }
}

/// External bytes of an object.
pub(super) fn external_of(lists: &Lists<Special>, object: Place) -> u64 {
    let bytes = lists.of(object).map(|special| match special {
        Special::External(bytes) => *bytes,
        _ => 0,
    });
    bytes.sum()
}

impl Specials {
    /// What a queued finalizer has beside its record.
    #[inline]
    pub(super) fn owned_by(&self, heap: &Heap, start: usize) -> Owned {
        let external = match self.external {
            0 => 0,
            _ => heap
                .place(start)
                .map_or(0, |object| external_of(&self.lists, object)),
        };
        Owned {
            number: 0,
            external,
        }
    }

    /// The external bytes that each of these calls is to be queued with: of the calls of an object
    /// one has them. `after_ids`: the finalizers of objects' starts are not among these, and are
    /// queued too.
    pub(super) fn external_of_each(
        &self,
        marking: &Marking<'_>,
        due: &[Due],
        after_ids: bool,
    ) -> Vec<u64> {
        if self.external == 0 {
            return vec![0; due.len()];
        }
        let heap = marking.heap();
        let mut counted = HashSet::new();
        let mut external = |due: &Due| {
            let counts = counted.insert(due.start) && !(after_ids && marking.has_id(due.start));
            counts.then(|| self.owned_by(heap, due.start).external)
        };
        due.iter()
            .map(|due| external(due).unwrap_or_default())
            .collect()
    }

    /// Returns the external bytes of the marked objects.
    pub(super) fn live_external(&self, marking: &Marking<'_>) -> u128 {
        if self.external == 0 {
            return 0;
        }
        let mut live = 0;
        marking.for_each_live(Bit::Special, |object| {
            for special in self.lists.of(object) {
                if let Special::External(bytes) = special {
                    live += u128::from(*bytes);
                }
            }
        });
        live
    }

    /// Tells the heap the external bytes of the objects that were found alive, and of all that are
    /// left.
    pub(super) fn note_external(&self, marking: &mut Marking<'_>) {
        let bytes = |bytes: u128| usize::try_from(bytes).unwrap_or(usize::MAX);
        marking.note_external(Kept {
            live: bytes(self.live_external),
            all: bytes(self.external),
        });
    }
}
