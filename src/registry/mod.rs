//! The registry: which objects have finalizers and cleanups, and what becomes of them when they are unreachable.
//!
//! A finalizer of an object's start is a bit and a number beside the object's block; this room keeps what is rarer:
//! finalizers of interior pointers, and cleanups. At a collection it answers the heap's three questions, by Go's rules:
//!
//! * *What is alive besides handles?* Records that are queued or running, and the arguments of cleanups.
//! * *What must the dying keep?* Everything an unreachable object with a finalizer points to, itself excepted. So of
//!   two such objects of which one refers to the other, the referring one is finalized first.
//! * *What is dead?* An unreachable object with finalizers is revived, and its finalizers are queued. One without is
//!   dead: its cleanups are queued.
#![forbid(unsafe_code)]

mod cleanup;
mod error;
mod finalizer;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fing_stubs::{Record, StubCache};

pub use cleanup::{Cleanup, CleanupArgument};
pub use error::{AddCleanupError, SetFinalizerError};
pub use finalizer::{FinalizerState, Value};

use crate::collect::{Collection, Weakness};
use crate::heap::{Bit, Cycle};
use crate::lock::{Lock, Rank};
use crate::queue::{Queue, Tag};
use crate::shapes::Shapes;

/// What is registered beside the heap's own books.
#[derive(Debug)]
pub(crate) struct Registry {
    specials: Lock<Specials>,
    shapes: Arc<Shapes>,
    queue: Arc<Queue>,
    stubs: Arc<StubCache>,
    finalizers: AtomicU64,
    cleanups: AtomicU64,
}

#[derive(Debug, Default)]
struct Specials {
    /// By the object's start.
    objects: HashMap<usize, Vec<Special>>,
    last_cleanup: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    /// Of a pointer into the object.
    Finalizer { addr: usize, shape: u32 },
    Cleanup {
        id: u64,
        shape: u32,
        word: u64,
        reference: bool,
    },
}

impl Registry {
    pub(crate) fn new(queue: Arc<Queue>, shapes: Arc<Shapes>, stubs: Arc<StubCache>) -> Registry {
        Registry {
            specials: Lock::new(Rank::Registry, Specials::default()),
            shapes,
            queue,
            stubs,
            finalizers: AtomicU64::new(0),
            cleanups: AtomicU64::new(0),
        }
    }

    /// Objects with a finalizer, and cleanups, that are registered and not yet queued.
    pub(crate) fn registered(&self) -> (u64, u64) {
        (
            self.finalizers.load(Ordering::Relaxed),
            self.cleanups.load(Ordering::Relaxed),
        )
    }

    fn record(&self, shape: u32, word: u64) -> (Record, Tag) {
        let found = self.shapes.get(shape);
        (found.record(word), Tag::new(shape, found.references()))
    }
}

/// The heap's number for a shape: any but 0.
fn prepared_id(shape: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(shape)
}

fn shape_of(id: NonZeroU32) -> u32 {
    id.get() - 1
}

impl Weakness for Registry {
    fn extra_roots(&self, cycle: &mut Cycle<'_>) {
        for special in self.specials.lock().objects.values().flatten() {
            if let Special::Cleanup {
                word,
                reference: true,
                ..
            } = special
            {
                cycle.mark(*word as usize);
            }
        }
        self.queue
            .visit_references(&mut |word| cycle.mark(word as usize));
    }

    fn retain(&self, cycle: &mut Cycle<'_>) {
        cycle.for_each_dying(|cycle, start, _| cycle.mark_children(start));
        let specials = self.specials.lock();
        let finalized = |start: usize| {
            let of = specials.objects.get(&start);
            of.into_iter()
                .flatten()
                .any(|special| matches!(special, Special::Finalizer { .. }))
        };
        cycle.for_each_unmarked(Bit::Special, |cycle, start| {
            if finalized(start) {
                cycle.mark_children(start);
            }
        });
    }

    /// All decisions first, then all revivals: an object that is revived has kept what it points to since `retain`,
    /// so no decision depends on another.
    fn decide(&self, cycle: &mut Cycle<'_>) {
        let mut revived: Vec<(usize, u64, u32)> = Vec::new();
        cycle.for_each_dying(|_, start, id| revived.push((start, start as u64, shape_of(id))));
        let mut specials = self.specials.lock();
        cycle.for_each_unmarked(Bit::Special, |_, start| {
            let Some(of) = specials.objects.get_mut(&start) else {
                return;
            };
            of.retain(|special| match *special {
                Special::Finalizer { addr, shape } => {
                    revived.push((start, addr as u64, shape));
                    false
                }
                Special::Cleanup { .. } => true,
            });
        });
        for &(start, _, _) in &revived {
            cycle.take_prepared(start);
            cycle.mark(start);
        }
        self.finalizers
            .fetch_sub(revived.len() as u64, Ordering::Relaxed);
        let mut due: Vec<(Record, Tag)> = revived
            .iter()
            .map(|&(_, word, shape)| self.record(shape, word))
            .collect();
        let before = due.len();
        cycle.for_each_unmarked(Bit::Special, |_, start| {
            for special in specials.objects.remove(&start).into_iter().flatten() {
                if let Special::Cleanup { shape, word, .. } = special {
                    due.push(self.record(shape, word));
                }
            }
        });
        self.cleanups
            .fetch_sub((due.len() - before) as u64, Ordering::Relaxed);
        drop(specials);
        self.queue.push(due);
    }

    fn resumed(&self, _: &Collection) {
        self.queue.wake();
    }
}
