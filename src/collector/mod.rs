//! What a collector has to answer so that its objects can have finalizers. It knows no collector and no function.
//!
//! The embedded heap has its own books; every other collector is served by [`Finalizers`](crate::Finalizers), which is
//! asked in steps and never marks by itself:
//!
//! ```text
//! begin(scope);  while step(tracer) { follow everything the tracer has queued }  follow;  let the world go on;  finish()
//! ```
//!
//! That one choice fits collectors that follow references at once, that want to be called again later, and that must
//! return before marking goes on. `docs/collectors.md` has the whole sequence.
//!
//! Invariants of this room:
//! * All decisions of one kind come before what they bring about: first everybody is asked, then objects are revived.
//! * The kinds are weak handles, finalizers, cleanups, in this order: a weak handle does not see a revived object, and
//!   a revived object keeps its cleanups.
//! * A reference from an object to itself does not count; here, and nowhere else, it is skipped.
#![expect(
    unsafe_code,
    reason = "declares the one unsafe trait; contains no unsafe block"
)]

mod collecting;
mod entries;
mod entry;
mod faults;
mod index;
mod order;
mod part;
mod set;
mod table;

pub(crate) use entry::Kind;
#[cfg(feature = "conformance")]
pub use faults::Fault;
#[cfg(not(feature = "conformance"))]
use faults::Fault;
pub(crate) use faults::Faults;
pub(crate) use order::{Candidate, Plan, plan};
pub use order::{CyclePolicy, Order};
pub use part::Part;
pub(crate) use table::{Due, Id, Registration, Table};

use std::fmt::Debug;

/// A reference to an object as a collector has it: an address, or a number that stands for one. It fits a word, because
/// queued calls hold words.
pub trait Reference: Copy + Eq + Debug + Send + Sync + 'static {
    /// The word that stands for the reference: what a finalizer is called with.
    fn to_word(self) -> u64;

    /// The reference that a word stands for. Asked only with words that [`to_word`](Self::to_word) gave.
    fn from_word(word: u64) -> Self;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Reference for $number {
            fn to_word(self) -> u64 {
                self as u64
            }

            fn from_word(word: u64) -> Self {
                word as $number
            }
        }
    )*};
}

numbers!(usize, u64, u32);

/// Which objects a collection may free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Young ones only. What is registered on old objects is not looked at.
    Minor,
    /// All.
    Full,
}

/// The answers of a collector, while it has the world stopped.
///
/// A tracer does not call [`Finalizers`](crate::Finalizers), which are locked while they ask it.
///
/// Objects are named by the address they had before the collection, until [`trace`](Self::trace) has answered another.
///
/// # Safety
/// Finalizers are called with the words of what `trace` answers, and trust them:
///
/// * `is_reached` tells what this collection has reached so far. In a minor collection every old object is reached.
/// * What `trace` answers is the object's address after this collection, and the object is whole there, with all that
///   can be reached from it, until the next one.
/// * `children` visits every reference in the object, in any order.
/// * Between [`begin`](crate::Finalizers::begin) and the step that answers false nothing is freed, and nobody but the
///   collector touches objects.
pub unsafe trait Tracer {
    /// How it names objects.
    type Ref: Reference;

    /// Whether the object has been reached in this collection.
    fn is_reached(&mut self, object: Self::Ref) -> bool;

    /// Reaches the object, unless it was reached before: marks or copies it, and puts it in line for its references to be
    /// followed. Answers its address after this collection; the same for every call with the old address.
    fn trace(&mut self, object: Self::Ref) -> Self::Ref;

    /// Calls `visit` with every reference in an object that has not been reached. The object is not reached by this, and
    /// nothing is stored in it: it may be dead, or be copied later.
    fn children(&mut self, object: Self::Ref, visit: &mut dyn FnMut(&mut Self, Self::Ref))
    where
        Self: Sized;

    /// [`is_reached`](Self::is_reached) of many. For collectors that can answer several at once.
    fn are_reached(&mut self, objects: &[Self::Ref], answers: &mut [bool]) {
        for (object, answer) in objects.iter().zip(answers) {
            *answer = self.is_reached(*object);
        }
    }

    /// Whether a minor collection may move or free the object, named by its address after this collection. Collectors
    /// without generations, and those in which all survivors are old, leave the default.
    fn is_young(&mut self, object: Self::Ref) -> bool {
        let _ = object;
        false
    }

    /// Whether [`trace`](Self::trace) may answer another address than it was given. Collectors that do not move objects
    /// before the last step is over may say no: nobody is asked then where a reached object is.
    fn moves(&self) -> bool {
        true
    }
}
