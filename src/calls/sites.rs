//! What has become of registrations and calls, by type, function and place of registration.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use fing_stubs::{Signature, Type};

use crate::base::events::drop_guarded;
use crate::calls::goroutine::Calls;
use crate::calls::queue::{Backlog, CallKind, CallStats, OfShape};
use crate::calls::shape::Shape;
use crate::types::TypeId;

/// What has become of the finalizers or cleanups of one function, for objects of one type, that
/// were registered at one place.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SiteStats {
    /// Whether these are finalizers or cleanups.
    pub kind: CallKind,
    /// The type of pointer that a finalizer was set for. `None` for cleanups, whose function says
    /// what they take, and for the objects of a foreign collector.
    pub pointer: Option<Type>,
    /// The function's signature.
    pub signature: Signature,
    /// The function's address; 0 for a Rust closure, and the one for the largest register count for
    /// a function that follows the count.
    pub code: usize,
    /// Where they were registered, if that was
    /// [recorded](crate::FinalizerOptions::record_site). Registrations for which it was not are
    /// one row.
    pub site: Option<&'static Location<'static>>,
    /// The counts. Those of a function that nothing can register any more are forgotten once none
    /// of its calls is left; and what would have been queued after a shutdown is not among them.
    pub calls: CallStats,
    /// What waits of them. The age is that of the oldest block of the queue that has one of them
    /// which has not ended.
    pub backlog: Backlog,
    /// The longest of the calls that were timed; `None` if none was
    /// ([`RuntimeBuilder::sample_calls`](crate::RuntimeBuilder::sample_calls)).
    pub longest: Option<Duration>,
}

/// How many registrations each shape has.
#[derive(Debug, Default)]
pub(crate) struct Registered(HashMap<u32, u64>);

impl Registered {
    pub(crate) fn add(&mut self, shape: u32) {
        *self.0.entry(shape).or_default() += 1;
    }
}

/// What is known of all shapes at one moment.
pub(crate) struct Counts {
    shapes: Vec<(u32, Arc<Shape>, Option<TypeId>)>,
    registered: Registered,
    queue: HashMap<u32, OfShape>,
}

/// What tells rows apart: the function's identity, the kind and the type of pointer, and the site.
type Key = (
    usize,
    CallKind,
    Option<TypeId>,
    Option<&'static Location<'static>>,
);

impl Counts {
    /// Looks at everything. Nothing may be registered or queued meanwhile.
    pub(crate) fn new(calls: &Calls, registered: Registered) -> Counts {
        Counts {
            queue: calls.queue.by_shape(),
            registered,
            shapes: calls.shapes.all(),
        }
    }

    /// The rows, those with the most calls waiting first. No lock may be held: functions that are
    /// not used any more are dropped.
    pub(crate) fn rows(
        self,
        calls: &Calls,
        type_of: impl Fn(TypeId) -> Option<Type>,
    ) -> Vec<SiteStats> {
        let mut rows: HashMap<Key, SiteStats> = HashMap::new();
        for (index, shape, pointer) in &self.shapes {
            let (function, site, kind) = (shape.function(), shape.handling().site, shape.kind());
            let found = self.queue.get(index).copied().unwrap_or_default();
            let registered = self.registered.0.get(index).copied().unwrap_or_default();
            let stats = found.fates.stats(kind, registered, shape.reports());
            match rows.entry((function.identity(), kind, *pointer, site)) {
                Entry::Occupied(row) => row.into_mut().add(stats, found.backlog),
                Entry::Vacant(row) => {
                    let longest = calls.samples.as_ref();
                    row.insert(SiteStats {
                        kind,
                        pointer: pointer.and_then(&type_of),
                        signature: function.signature().clone(),
                        code: shape.code(),
                        site,
                        calls: stats,
                        backlog: found.backlog,
                        longest: longest.and_then(|samples| samples.longest(shape)),
                    });
                }
            }
        }
        for (_, shape, _) in self.shapes {
            drop_guarded("the owner of a function", shape);
        }
        let mut rows: Vec<SiteStats> = rows.into_values().collect();
        rows.sort_by_cached_key(|row| {
            let text = row.signature.to_string();
            (
                std::cmp::Reverse(row.backlog.calls),
                text,
                row.code,
                row.site,
            )
        });
        rows
    }
}

impl SiteStats {
    fn add(&mut self, calls: CallStats, backlog: Backlog) {
        self.calls += calls;
        let sum = &mut self.backlog;
        sum.calls += backlog.calls;
        sum.age = sum.age.max(backlog.age);
        sum.bytes += backlog.bytes;
        sum.external_bytes = sum.external_bytes.saturating_add(backlog.external_bytes);
    }
}
