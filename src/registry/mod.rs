//! The registry: which objects have finalizers and cleanups, and what becomes of them when they are unreachable.
//!
//! A finalizer of an object's start is a bit and a number beside the object's block; this room keeps what is rarer:
//! finalizers of interior pointers, and cleanups. What a collection makes of them is decided in `decide`.
#![forbid(unsafe_code)]

mod argument;
mod calls;
mod check;
mod cleanup;
mod decide;
mod error;
mod finalizer;
mod functions;
mod lists;
mod topological;
mod typed;
mod weak;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

use fing_stubs::StubCache;

pub use argument::CleanupArgument;
pub use check::{Link, Reason, Registration, Suspect};
pub use cleanup::Cleanup;
pub use error::{AddCleanupError, DowngradeError, SetFinalizerError};
pub(crate) use finalizer::set_again;
pub use finalizer::{FinalizerState, Value};
pub use topological::CycleReport;
pub(crate) use topological::Ordering as FinalizationOrder;
pub use typed::{AttachError, TypeFinalizer};

use crate::lent::Lending;
use crate::lock::{Lock, Rank};
use crate::queue::Queue;
use crate::shapes::{Shape, Shapes};
use crate::weak::WeakCell;
use functions::Functions;
use lists::Lists;

/// What is registered beside the heap's own books.
#[derive(Debug)]
pub(crate) struct Registry {
    specials: Lock<Specials>,
    shapes: Arc<Shapes>,
    queue: Arc<Queue>,
    stubs: Arc<StubCache>,
    order: FinalizationOrder,
    lending: Lock<Lending>,
    /// Shapes to be dropped where nothing is locked.
    condemned: Lock<Vec<Arc<Shape>>>,
}

#[derive(Debug, Default)]
struct Specials {
    lists: Lists<Special>,
    functions: Functions,
    /// Finalizers of interior pointers. The heap counts the others.
    interior: u64,
    cleanups: u64,
    topological: topological::State,
    /// Weak pointers to what never dies, by address.
    immortal: HashMap<usize, Arc<WeakCell>>,
    /// Memory that is no object and never dies: the embedder's globals.
    globals: Vec<Range<usize>>,
}

#[derive(Debug)]
enum Special {
    /// Of a pointer into the object.
    Finalizer {
        addr: usize,
        shape: u32,
    },
    Cleanup {
        shape: u32,
        /// Bit n: word n of the argument is a reference.
        references: u8,
        words: [u64; 2],
    },
    Weak(Arc<WeakCell>),
}

const _: () = assert!(size_of::<lists::Node<Special>>() == 40);

impl Registry {
    pub(crate) fn new(
        queue: Arc<Queue>,
        shapes: Arc<Shapes>,
        stubs: Arc<StubCache>,
        order: FinalizationOrder,
    ) -> Registry {
        Registry {
            specials: Lock::new(Rank::Registry, Specials::default()),
            shapes,
            queue,
            stubs,
            order,
            lending: Lock::new(Rank::Lending, Lending::default()),
            condemned: Lock::new(Rank::Condemned, Vec::new()),
        }
    }

    /// Finalizers of interior pointers, and cleanups, that are registered and not yet queued.
    pub(crate) fn registered(&self) -> (u64, u64) {
        let specials = self.specials.lock();
        (specials.interior, specials.cleanups)
    }

    /// From now on these addresses are globals.
    pub(crate) fn add_global(&self, range: Range<usize>) {
        self.specials.lock().globals.push(range);
    }

    fn is_global(&self, addr: usize) -> bool {
        let specials = self.specials.lock();
        specials.globals.iter().any(|range| range.contains(&addr))
    }
}

/// The heap's number for a shape: any but 0.
fn prepared_id(shape: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(shape)
}

fn shape_of(id: NonZeroU32) -> u32 {
    id.get() - 1
}
