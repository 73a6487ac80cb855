//! The registry: which objects have finalizers and cleanups, and what becomes of them when they are
//! unreachable.
//!
//! A finalizer that is set for an object's start is an id of the object, and its context is the
//! id's word; the heap keeps both. What is rarer is kept in lists here: finalizers of interior
//! pointers, watchers, cleanups, weak pointers, external bytes. `collect` decides what a collection
//! does with them.
#![forbid(unsafe_code)]

mod add_cleanup;
mod after;
mod argument;
mod attached;
mod collect;
mod downgrade;
mod ephemerons;
mod error;
mod exit;
mod external;
mod globals;
mod list;
mod lists;
mod pointer;
mod prepared;
mod set_finalizer;
mod suspects;
mod take_back;
mod topological;
mod value;
mod watch;
mod why;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fing_stubs::{Gate, StubCache};

pub use add_cleanup::{Cleanup, CleanupOptions};
pub use after::AfterError;
pub use argument::CleanupArgument;
pub(crate) use attached::{AttachError, Attachment};
pub use error::{AddCleanupError, AddWatcherError, DowngradeError, SetFinalizerError};
pub use list::{Listed, State};
pub use pointer::Pointer;
pub use prepared::PreparedFinalizer;
pub use set_finalizer::FinalizerState;
pub use suspects::{Link, Reason, Registration, Suspect};
pub use topological::CycleReport;
pub(crate) use topological::Ordering as FinalizationOrder;
pub use watch::Watcher;
pub use why::WhyError;

use crate::base::lock::{Lock, Rank};
use crate::calls::function::{ContextKind, Function};
use crate::calls::goroutine::Calls;
use crate::calls::post::Posts;
use crate::calls::pressure::{BacklogExceeded, Pressure};
use crate::calls::queue::Queue;
use crate::calls::shape::Shape;
use crate::calls::shapes::Shapes;
use crate::order::Declared;
use crate::runtime::mutator::Mutator;
use crate::runtime::weak::WeakCell;
use add_cleanup::{Closure, KnownCleanups};
use globals::Globals;
use lists::Lists;

/// What is registered, except for the ids that the heap keeps.
pub(crate) struct Registry {
    specials: Lock<Specials>,
    shapes: Arc<Shapes>,
    queue: Arc<Queue>,
    posts: Arc<Posts>,
    pressure: Arc<Pressure>,
    stubs: Arc<StubCache>,
    gate: Arc<Gate>,
    /// The gate is closed for an exit that has still to look at what is registered: till then
    /// collections go on as before.
    pub(in crate::runtime) exit_begun: AtomicBool,
    order: FinalizationOrder,
    /// Shapes that the last collection has removed, to be dropped when no lock is held.
    removed: Lock<Vec<Arc<Shape>>>,
    /// What was attached to objects that the last collection has found dead, to be ended likewise.
    orphaned: Lock<Vec<Arc<dyn Attachment>>>,
}

#[derive(Debug, Default)]
struct Specials {
    lists: Lists<Special>,
    known_cleanups: KnownCleanups,
    /// Finalizers in the lists: those of interior pointers, and watchers. The heap counts the
    /// others.
    listed: u64,
    cleanups: u64,
    /// External bytes of all objects.
    external: u128,
    /// External bytes of those objects that the collection under way has found alive.
    live_external: u128,
    topological: topological::State,
    declared: Declared<usize>,
    attached: attached::Attached,
    weak: ephemerons::WeakObjects,
    /// Whether the collection under way drops what it finds dead, as nothing is finalized any more.
    dropping: bool,
    /// Weak pointers to what never dies, by address.
    immortal: HashMap<usize, Arc<WeakCell>>,
    /// How many of them there may be before those that no one has are looked for.
    most_immortal: usize,
    /// Memory that is no object and never dies: the embedder's globals.
    globals: Globals,
    /// Functions that are set for all objects of a type, and kept as long as the runtime.
    for_ever: Vec<Function>,
}

#[derive(Debug)]
enum Special {
    /// A watcher, or the finalizer of a pointer into the object.
    Finalizer {
        addr: usize,
        shape: u32,
        context: u64,
        watches: bool,
    },
    Cleanup {
        shape: u32,
        /// Bit n is set if word n of the argument is a reference.
        references: u8,
        words: [u64; 2],
    },
    /// A cleanup with a context of its own.
    Closure(Box<Closure>),
    Weak(Arc<WeakCell>),
    /// Bytes outside the heap that the object owns.
    External(u64),
}

const _: () = assert!(size_of::<lists::Node<Special>>() == 40);

/// Nothing of what is registered: handles that authors print lead here.
impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    pub(crate) fn new(calls: &Calls, order: FinalizationOrder) -> Registry {
        Registry {
            specials: Lock::new(Rank::Registry, Specials::default()),
            shapes: calls.shapes.clone(),
            queue: calls.queue.clone(),
            posts: calls.posts.clone(),
            pressure: calls.pressure.clone(),
            stubs: calls.stubs.clone(),
            gate: calls.gate.clone(),
            exit_begun: AtomicBool::new(false),
            order,
            removed: Lock::new(Rank::Removed, Vec::new()),
            orphaned: Lock::new(Rank::Orphaned, Vec::new()),
        }
    }

    /// Whether registrations need not look at the bounds of the backlog.
    #[inline]
    fn is_unpressed(&self) -> bool {
        self.queue.demands() == 0
    }

    /// Checks that the backlog admits a registration by this thread, which may have to assist later
    /// on.
    fn admit(&self, mutator: &Mutator) -> Result<(), BacklogExceeded> {
        if self.pressure.admit(&self.queue)? {
            mutator.owe_assistance();
        }
        Ok(())
    }

    /// Returns how many finalizers in the lists, and how many cleanups, are registered and not yet
    /// queued.
    pub(crate) fn registered(&self) -> (u64, u64) {
        let specials = self.specials.lock();
        (specials.listed, specials.cleanups)
    }

    /// Declares these addresses as globals.
    pub(crate) fn add_global(&self, range: Range<usize>) {
        self.specials.lock().globals.add(range);
    }

    fn is_global(&self, addr: usize) -> bool {
        self.specials.lock().globals.contain(addr)
    }

    /// Keeps the function, and so its shapes, as long as the runtime.
    fn keep_for_ever(&self, function: &Function) {
        self.specials.lock().for_ever.push(function.clone());
    }
}

/// Whether the context of each of the function's registrations is an object.
fn is_traced(function: &Function) -> bool {
    matches!(function.context(), ContextKind::Object(_))
}

/// Returns the id of objects whose finalizer has this shape: its index plus 1, as 0 is no id.
fn shape_id(shape: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(shape)
}

fn shape_of(id: NonZeroU32) -> u32 {
    id.get() - 1
}
