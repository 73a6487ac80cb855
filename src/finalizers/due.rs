//! From what is due in the table to records in the queue.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::sync::Arc;

use crate::collector::{Due, Kind, Reference, Table};
use crate::fing::Calls;
use crate::queue::{Filling, Tag};
use crate::shapes::{Shape, Shapes, Template};

/// Shapes that are known at a time.
const ROWS: usize = 64;

/// A shape, looked up once for many of its records.
struct Known {
    index: u32,
    /// Records since it is known.
    count: u64,
    shape: Arc<Shape>,
    template: Template,
    takes_context: bool,
}

/// One handing over.
pub(super) struct Handing<'a, 'q> {
    shapes: &'a Shapes,
    queue: &'a mut Filling<'q>,
    rows: [Option<Known>; ROWS],
    queued: usize,
}

impl<'a, 'q> Handing<'a, 'q> {
    pub(super) fn new(shapes: &'a Shapes, queue: &'a mut Filling<'q>) -> Handing<'a, 'q> {
        Handing {
            shapes,
            queue,
            rows: [const { None }; ROWS],
            queued: 0,
        }
    }

    /// Queues a call.
    pub(super) fn hand_over(&mut self, due: &Due) {
        let row = &mut self.rows[due.shape as usize % ROWS];
        if row.as_ref().is_none_or(|known| known.index != due.shape) {
            let before = row.replace(Known::look_up(self.shapes, due.shape));
            self.shapes.unregister_all(before.map(Known::used));
        }
        let Some(known) = row else { return };
        known.count += 1;
        let (mut record, tag) = match due.kind {
            Kind::Finalizer => known.template.record(due.object as usize),
            Kind::Cleanup | Kind::Weak => {
                let record = known.shape.record([due.word, 0]);
                (record, Tag::new(due.shape, known.shape.references()))
            }
        };
        if known.takes_context {
            record.context = due.word as usize;
        }
        self.queue.push(&record, tag);
        self.queued += 1;
    }

    /// All is handed over. Answers how many calls that were.
    pub(super) fn finish(self) -> usize {
        let known = self.rows.into_iter().flatten();
        self.shapes.unregister_all(known.map(Known::used));
        self.queued
    }
}

impl Known {
    fn look_up(shapes: &Shapes, index: u32) -> Known {
        let shape = shapes.get(index);
        Known {
            index,
            count: 0,
            template: shapes.template(index),
            takes_context: shape.references() & Tag::CONTEXT != 0,
            shape,
        }
    }

    /// What are registrations no longer.
    fn used(self) -> (u32, u64) {
        (self.index, self.count)
    }
}

/// Takes out the functions that were prepared and that nobody has or names any more; to be dropped without a lock.
pub(super) fn take_unnamed<R: Reference>(calls: &Calls, table: &Table<R>) -> Vec<Arc<Shape>> {
    if !calls.shapes.has_idle() {
        return Vec::new();
    }
    let mut named = HashSet::new();
    table.for_each_shape(|shape| _ = named.insert(shape));
    calls.queue.for_each_shape(|shape| _ = named.insert(shape));
    calls.shapes.take_unnamed(&named)
}
