//! `downgrade`: one weak cell for each place of each object.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{DowngradeError, Registry, Special, Specials};
use crate::heap::{Heap, Location};
use crate::runtime::mutator::Mutator;
use crate::runtime::weak::{Weak, WeakCell};

impl Specials {
    /// Forgets the weak pointers to what never dies that no one has, from time to time.
    fn forget_immortal(&mut self) {
        if self.immortal.len() > self.most_immortal {
            self.immortal.retain(|_, cell| Arc::strong_count(cell) > 1);
            self.most_immortal = 2 * self.immortal.len() + 64;
            self.immortal.shrink_to(self.most_immortal);
        }
    }

    /// Makes all weak pointers to the object at `start` nil.
    pub(super) fn clear_weak(&mut self, heap: &Heap, start: usize) {
        if let Some(object) = heap.place(start) {
            let is_weak = |special: &Special| matches!(special, Special::Weak(_));
            self.lists.take_if(object, is_weak, |_, special| {
                if let Special::Weak(cell) = special {
                    cell.clear();
                }
            });
        }
    }
}

impl Registry {
    pub(crate) fn downgrade(
        &self,
        mutator: &Mutator,
        pointer: usize,
    ) -> Result<Weak, DowngradeError> {
        let roots = mutator.space().roots();
        let heap = mutator.space().heap();
        let (base, immortal) = match heap.locate(pointer) {
            Location::Nil => return Ok(Weak::default()),
            Location::Object { start, .. } => (start, false),
            Location::Zero => (pointer, true),
            Location::NoObject if self.is_global(pointer) => (pointer, true),
            Location::NoObject => return Err(DowngradeError::NotInHeap { addr: pointer }),
        };
        let offset = pointer - base;
        let mut specials = self.specials.lock();
        if immortal {
            let cell = specials.immortal.entry(pointer);
            let cell = cell.or_insert_with(|| WeakCell::new(roots, pointer, 0));
            let weak = Weak::of(cell.clone());
            specials.forget_immortal();
            return Ok(weak);
        }
        let Some(object) = heap.place(base) else {
            return Err(DowngradeError::NotInHeap { addr: pointer });
        };
        let there = specials.lists.of(object).find_map(|special| match special {
            Special::Weak(cell) if cell.offset() == offset => Some(cell),
            _ => None,
        });
        if let Some(cell) = there {
            return Ok(Weak::of(cell.clone()));
        }
        let cell = WeakCell::new(roots, pointer, offset);
        let special = Special::Weak(Arc::clone(&cell));
        specials.number(heap);
        specials.lists.push(object, special, false);
        heap.set_special(object);
        Ok(Weak::of(cell))
    }
}
