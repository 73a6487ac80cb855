//! A cache of shapes, so that many records of one shape cost one look-up in the table.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::base::events::drop_guarded;
use crate::calls::shape::{Shape, Template};
use crate::calls::shapes::Shapes;

/// Rows of the cache, a power of two. A program with more shapes looks some of them up again.
const ROWS: usize = 1024;

/// A shape and the template of its records.
#[derive(Debug)]
pub(crate) struct Found {
    index: u32,
    pub(crate) shape: Arc<Shape>,
    pub(crate) template: Template,
}

/// A direct-mapped cache of shapes, by the low bits of their indices. Entries are valid until a
/// sweep removes shapes; see [`Lookup::refresh`].
pub(crate) struct Lookup<'s> {
    shapes: &'s Shapes,
    generation: u64,
    rows: Vec<Option<Found>>,
    /// Drops a replaced entry.
    drop: fn(Found),
}

impl<'s> Lookup<'s> {
    /// A cache that may outlive a sweep. An entry may then hold the last reference to its shape,
    /// and dropping it may run the `Drop` of the function's owner: the caller must hold no lock.
    pub(crate) fn beside_sweeps(shapes: &'s Shapes) -> Lookup<'s> {
        Lookup::new(shapes, |found| {
            drop_guarded("the owner of a function", found);
        })
    }

    /// A cache that no sweep can happen during. The table still holds every shape, so dropping an
    /// entry runs no user code.
    pub(crate) fn between_sweeps(shapes: &'s Shapes) -> Lookup<'s> {
        Lookup::new(shapes, drop)
    }

    fn new(shapes: &'s Shapes, drop: fn(Found)) -> Lookup<'s> {
        Lookup {
            shapes,
            generation: shapes.generation(),
            rows: Vec::new(),
            drop,
        }
    }

    /// Empties the cache if a sweep has removed shapes. Call it when the records to be looked up
    /// are known to the queue, so that no later sweep removes their shapes.
    pub(crate) fn refresh(&mut self) {
        let now = self.shapes.generation();
        if now != self.generation {
            self.generation = now;
            self.clear();
        }
    }

    /// Returns the shape at `index`, which must be held by a registration or a record.
    #[inline]
    pub(crate) fn get(&mut self, index: u32) -> &Found {
        let row = index as usize & (ROWS - 1);
        let is_it = |found: &Found| found.index == index;
        if !matches!(self.rows.get(row), Some(Some(found)) if is_it(found)) {
            self.look_up(row, index);
        }
        match &self.rows[row] {
            Some(found) => found,
            None => unreachable!("looked up just now"),
        }
    }

    #[cold]
    fn look_up(&mut self, row: usize, index: u32) {
        if self.rows.len() <= row {
            self.rows.resize_with(row + 1, || None);
        }
        let shape = self.shapes.get(index);
        let template = shape.template(index);
        let before = self.rows[row].replace(Found {
            index,
            shape,
            template,
        });
        before.into_iter().for_each(self.drop);
    }

    fn clear(&mut self) {
        self.rows.drain(..).flatten().for_each(self.drop);
    }
}

impl Drop for Lookup<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}
