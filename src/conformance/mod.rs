//! A suite that any collector can run against itself: random programs, compared with a naive model
//! after each collection.
//!
//! A collector that is driven through [`Finalizers`](crate::foreign::Finalizers) implements
//! [`Collector`] and is wrapped in [`Foreign`]; anything else implements [`Subject`]. The embedded
//! heap does: [`Embedded`].
//!
//! ```no_run
//! # fn check<MyHeap: fing::conformance::Collector>() {
//! use fing::Order;
//! use fing::conformance::{Foreign, Suite};
//!
//! for order in [Order::Go, Order::Topological] {
//!     if let Err(failure) = Suite::new(order).run::<Foreign<MyHeap>>() {
//!         panic!("{failure}");
//!     }
//! }
//! # }
//! ```
//!
//! What is compared after each collection: which objects exist, which weak handles are alive, which
//! entries of weak maps are there, with which keys and values, which cycles are reported; and what
//! runs, with the right object, context and argument, exactly once, in an order that is allowed.
//! The programs build and drop graphs, register, declare orders, fill weak maps, clear, stop,
//! revive from inside of finalizers, collect inside of finalizers, mix minor, full and early-rooted
//! collections where the collector has them, and in some cases collect after every operation.
#![deny(unsafe_code)]
mod embedded;
mod foreign;
mod model;
mod probe;
mod program;
mod suite;

pub use embedded::Embedded;
pub use foreign::{Collector, Foreign};
pub use suite::{Failure, Suite, Summary};

use self::probe::Raw;
use crate::calls::queue::CallStage;
pub use crate::order::Fault;
use crate::order::{CyclePolicy, Order, Scope};

/// What a [`Subject`] is made with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// The order of finalization.
    pub order: Order,
    /// How many roots it has, all empty.
    pub roots: usize,
    #[doc(hidden)]
    pub fault: Option<Fault>,
}

/// What a collector can do besides full collections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// It has minor collections.
    pub minor: bool,
    /// It calls [`early_roots`](crate::foreign::Collection::early_roots) on request.
    pub early: bool,
    /// Objects can survive a minor collection and be young.
    pub ages: bool,
    /// It has weak handles.
    pub weak: bool,
    /// It has ephemerons.
    pub ephemerons: bool,
}

/// A call that was made. Objects are named by the number they were allocated with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A finalizer's.
    Finalizer {
        /// Its object.
        object: u64,
        /// The object that is its context.
        context: Option<u64>,
    },
    /// A cleanup's.
    Cleanup {
        /// The number it was added with.
        number: u64,
        /// The object that is its argument.
        argument: Option<u64>,
    },
    /// A watcher's.
    Watcher {
        /// The number it was added with.
        number: u64,
        /// Its object.
        object: u64,
    },
}

impl Call {
    /// The object of a finalizer or a watcher.
    fn object(&self) -> Option<u64> {
        match *self {
            Call::Finalizer { object, .. } | Call::Watcher { object, .. } => Some(object),
            Call::Cleanup { .. } => None,
        }
    }

    /// Turns a call into one that names objects by number; `id` returns the number of an object.
    fn of(raw: Raw, id: impl Fn(u64) -> u64) -> Call {
        match raw {
            Raw::Finalizer { object, context } => Call::Finalizer {
                object: id(object),
                context: context.map(id),
            },
            Raw::Cleanup { number, argument } => Call::Cleanup {
                number,
                argument: argument.map(id),
            },
            Raw::Watcher { number, object } => Call::Watcher {
                number,
                object: id(object),
            },
        }
    }
}

/// A heap with finalizers, under test. It has a few roots; operations name objects by the root that
/// holds them, which is never empty, so an implementation may move objects whenever it likes.
pub trait Subject {
    /// Makes an empty heap.
    fn make(setup: &Setup) -> Self;

    /// Returns what it can do.
    fn features() -> Features;

    /// Allocates an object of `fields` empty fields, numbered `id`, into a root.
    fn alloc(&mut self, root: usize, id: u64, fields: usize);

    /// Copies a root to another one, or empties it.
    fn copy(&mut self, to: usize, from: Option<usize>);

    /// Loads a field into a root.
    fn load(&mut self, to: usize, from: usize, field: usize);

    /// Stores a root, or nothing, in a field.
    fn store(&mut self, object: usize, field: usize, value: Option<usize>);

    /// Sets a finalizer, with an object as its context. Returns false if the object has one.
    fn set_finalizer(&mut self, object: usize, context: Option<usize>, cycle: CyclePolicy) -> bool;

    /// Clears a finalizer, or cancels its call.
    fn clear_finalizer(&mut self, object: usize) -> CallStage;

    /// Adds a cleanup, numbered, with an object as its argument.
    fn add_cleanup(&mut self, object: usize, number: u64, argument: Option<usize>);

    /// Stops a cleanup, or cancels its call.
    fn stop_cleanup(&mut self, number: u64) -> CallStage;

    /// Adds a watcher, numbered.
    fn add_watcher(&mut self, object: usize, number: u64, cycle: CyclePolicy);

    /// Stops a watcher, or cancels its call.
    fn stop_watcher(&mut self, number: u64) -> CallStage;

    /// Declares that an object is finalized after another. Returns false if that is refused, as the
    /// declarations would go round in a circle.
    fn finalize_after(&mut self, object: usize, parent: usize) -> bool;

    /// Makes a weak handle of the object, whose number is `id`.
    fn make_weak(&mut self, object: usize, id: u64);

    /// Returns the number of the object of the weak handle that was made for `id`, if the handle
    /// still gives one.
    fn upgrade(&mut self, id: u64) -> Option<u64>;

    /// Adds an entry, numbered, to the weak map that `map` is. It counts as an object to which only
    /// `map` refers. Called only if [`Features::ephemerons`] is set, like the next three.
    fn add_ephemeron(&mut self, number: u64, map: usize, key: usize, value: usize) {
        let _ = (number, map, key, value);
    }

    /// Returns the numbers of an entry's key and value, unless it has ended.
    fn ephemeron(&mut self, number: u64) -> Option<(u64, u64)> {
        let _ = number;
        None
    }

    /// Replaces the value of an entry. Returns false if it has ended.
    fn set_ephemeron_value(&mut self, number: u64, value: usize) -> bool {
        let _ = (number, value);
        false
    }

    /// Removes an entry. Returns false if it has ended.
    fn remove_ephemeron(&mut self, number: u64) -> bool {
        let _ = number;
        false
    }

    /// Collects.
    fn collect(&mut self, scope: Scope, early: bool);

    /// Runs what is due, and returns what was called, in order. Each finalizer puts its object in
    /// the root `revive`; each call then collects, if `collect` is given.
    fn run(&mut self, revive: Option<usize>, collect: Option<Scope>) -> Vec<Call>;

    /// Returns the numbers of all objects that exist, in any order.
    fn objects(&mut self) -> Vec<u64>;

    /// Returns the numbers of those that a minor collection may free.
    fn young(&mut self) -> Vec<u64> {
        Vec::new()
    }

    /// Returns the cycles that were reported since the last call of this.
    fn take_cycles(&mut self) -> Vec<Vec<u64>>;
}
