//! What the records of one function have in common, looked up once in a collection.
#![forbid(unsafe_code)]

use std::sync::Arc;

use fing_stubs::Record;

use crate::queue::Tag;
use crate::shapes::{Shape, Shapes};

/// By shape. To be dropped before the records can be taken from the queue: until then none of the shapes goes.
#[derive(Debug)]
pub(super) struct Calls<'s> {
    shapes: &'s Shapes,
    of: Vec<Option<Call>>,
}

#[derive(Clone, Debug)]
struct Call {
    shape: Arc<Shape>,
    /// Of a cleanup, but for its words.
    record: Record,
    tag: Tag,
    count: u64,
}

impl<'s> Calls<'s> {
    pub(super) fn new(shapes: &'s Shapes) -> Calls<'s> {
        let of = Vec::new();
        Calls { shapes, of }
    }

    /// The record of a finalizer's call with this address.
    pub(super) fn finalizer(&mut self, shape: u32, addr: u64) -> (Record, Tag) {
        let call = self.next(shape);
        (call.shape.record([addr, 0]), call.tag)
    }

    /// The record of a cleanup's call with this argument.
    #[inline]
    pub(super) fn cleanup(&mut self, shape: u32, words: [u64; 2]) -> (Record, Tag) {
        let call = self.next(shape);
        let record = Record {
            words,
            ..call.record
        };
        (record, call.tag)
    }

    /// Counts one more record of the shape.
    #[inline]
    fn next(&mut self, shape: u32) -> &mut Call {
        let at = shape as usize;
        if !matches!(self.of.get(at), Some(Some(_))) {
            self.look_up(shape);
        }
        match &mut self.of[at] {
            Some(call) => {
                call.count += 1;
                call
            }
            None => unreachable!("looked up just now"),
        }
    }

    #[cold]
    fn look_up(&mut self, shape: u32) {
        let at = shape as usize;
        if self.of.len() <= at {
            self.of.resize(at + 1, None);
        }
        let found = self.shapes.get(shape);
        self.of[at] = Some(Call {
            record: found.record([0; 2]),
            tag: Tag::new(shape, found.references()),
            shape: found,
            count: 0,
        });
    }

    /// The shapes of the records, and how many there were of each.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u32, u64)> {
        let of = (0..).zip(&self.of);
        of.filter_map(|(shape, call)| Some((shape, call.as_ref()?.count)))
    }
}
