//! A mutator's cache of functions that passed the checks, so that registering one object after
//! another looks nothing up and takes no lock. It is valid until the next collection, which may
//! remove shapes.
#![forbid(unsafe_code)]

use std::cell::Cell;

use crate::calls::options::{Handling, HeldValue};
use crate::heap::{Heap, TypedId};
use crate::runtime::object::Obj;

/// Rows of the cache, a power of two.
const ROWS: usize = 8;

/// A function that passed the checks for objects of one type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// The function's identity. No other function can get it before the next collection, as the
    /// shape has a clone.
    pub(in crate::runtime) function: usize,
    pub(in crate::runtime) handling: Handling,
    /// The id that an object of the type gets.
    pub(in crate::runtime) id: TypedId,
    pub(in crate::runtime) context: ContextCheck,
}

/// What the context of a registration must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum ContextCheck {
    /// There must be none.
    None,
    Word,
    /// An object of any type.
    Object,
    /// An object with this header, which stands for its type.
    ObjectOf(u64),
}

impl ContextCheck {
    /// Checks a context, and returns its word; `None` if there must be no context and there is
    /// none. The error says that the context is not what it must be.
    #[inline]
    pub(in crate::runtime) fn word(
        self,
        heap: &Heap,
        context: Option<HeldValue<Obj<'_>>>,
    ) -> Result<Option<u64>, ()> {
        match (self, context) {
            (ContextCheck::None, None) => Ok(None),
            (ContextCheck::Word, Some(HeldValue::Word(word))) => Ok(Some(word)),
            (ContextCheck::Object, Some(HeldValue::Object(object)))
                if heap.names_object(object.addr()) =>
            {
                Ok(Some(object.addr() as u64))
            }
            (ContextCheck::ObjectOf(header), Some(HeldValue::Object(object)))
                if heap.has_header(object.addr(), header) =>
            {
                Ok(Some(object.addr() as u64))
            }
            _ => Err(()),
        }
    }
}

/// The functions that a mutator registered last, by the low bits of their identities.
#[derive(Debug, Default)]
pub(crate) struct KnownFunctions([Cell<Option<Known>>; ROWS]);

/// The row of a function. Identities are addresses of allocations, so their lowest bits are equal.
fn row_of(function: usize) -> usize {
    (function >> 4 ^ function >> 8) % ROWS
}

impl KnownFunctions {
    #[inline]
    pub(in crate::runtime) fn find(&self, function: usize, handling: Handling) -> Option<Known> {
        let known = self.0[row_of(function)].get()?;
        (known.function == function && known.handling == handling).then_some(known)
    }

    pub(in crate::runtime) fn note(&self, known: Known) {
        self.0[row_of(known.function)].set(Some(known));
    }

    /// Empties the cache, as there may have been a collection.
    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|row| row.set(None));
    }
}
