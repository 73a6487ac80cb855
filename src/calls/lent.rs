//! Calls that are lent a mutator, and mutators that calls have kept.
//!
//! A function that is declared to take the mutator is not called from a loop in generated code, but
//! one call at a time: between two calls a collection may happen, and the mutator is looked at. The
//! thread enters the heap once for a run of such calls, and leaves it before any other code of the
//! embedder's runs.
//!
//! What a call does with mutators is watched for all functions: what this thread has made and not
//! dropped when a run of calls is over, is revoked and reported.
#![forbid(unsafe_code)]

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fing_stubs::Record;

use crate::base::events::{guarded, tell};
use crate::calls::failure::Cause;
use crate::calls::goroutine::{Calls, With, run_bulk, run_one};
use crate::calls::lookup::Lookup;
use crate::calls::misuse::{MisuseKind, MutatorMisuse};
use crate::calls::queue::{Block, Slot, Tag, Turn};
use crate::calls::shape::{Callee, Shape};
use crate::world::threads::{self, Calling, CallingHere, Members};

/// Has mutators to lend.
pub(crate) trait Lender {
    /// Enters the heap, calls `body` with a mutator of this thread, and leaves.
    ///
    /// # Errors
    /// Why the heap could not be entered; `body` was not called.
    fn lend(&self, body: &mut dyn FnMut(&mut dyn Lent)) -> Result<(), NotLent>;
}

/// Why no mutator was lent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lending a mutator: {0}")]
pub(crate) struct NotLent(pub(crate) String);

/// A mutator that is lent to one call after another.
pub(crate) trait Lent: Any {
    /// Has `call` make one call after another, with the mutator's address, until it returns false
    /// or a call did not leave the mutators of this thread as it found them. Between two calls a
    /// collection that waits for this thread happens.
    fn each(&mut self, call: &mut dyn FnMut(usize) -> bool);

    /// Whether it is still the mutator that was lent at first.
    fn is_own(&self) -> bool;
}

/// The body of a finalizer that is a Rust closure.
pub(crate) trait RustBody: Send + Sync {
    /// As [`Lent::each`], calls it with the object at each address that `next` returns. `lent` is a
    /// mutator of the runtime that the function is registered with.
    fn call_each(&self, lent: &mut dyn Lent, next: &mut dyn FnMut() -> Option<usize>);
}

impl Calling for Turn {
    fn call(&self) -> usize {
        self.progress().load(Ordering::Acquire).addr()
    }
}

/// What a thread that makes calls knows of its own mutators.
pub(crate) struct Watch {
    before: Members,
    changes: u64,
    _calling: CallingHere,
}

impl Watch {
    pub(super) fn begin(turn: &Arc<Turn>) -> Watch {
        Watch {
            before: Members::here(),
            changes: threads::changes(),
            _calling: threads::calling(Some(turn.clone())),
        }
    }

    /// Whether this thread made or dropped a mutator since this was asked last.
    #[inline]
    fn has_changed(&mut self) -> bool {
        let before = std::mem::replace(&mut self.changes, threads::changes());
        before != self.changes
    }
}

impl Calls {
    /// Runs the records of a batch, which have one shape, with a mutator. Ends early after a call
    /// that did not leave mutators as it found them, and where the batch was ended; the turn's
    /// progress then names the next record. The result is as for a batch of other functions.
    pub(super) fn run_lent(
        &self,
        (shape, callee): (&Shape, Callee<'_>),
        batch: &[Slot],
        tags: &[Tag],
        with: &With<'_>,
    ) -> std::thread::Result<Option<Cause>> {
        let With {
            turn, lender, g, ..
        } = *with;
        let (mut outcome, mut replaced) = (Ok(None), false);
        let mut slots = batch.iter();
        // The next record, published as stubs do.
        let next = |slots: &mut std::slice::Iter<'_, Slot>| {
            let slot = batch.get(batch.len() - slots.len())?;
            turn.publish(slot).then(|| slots.next()).map(|_| slot)
        };
        let lent = lender.lend(&mut |lent| {
            outcome = catch_unwind(AssertUnwindSafe(|| {
                let mut cause = None;
                match callee {
                    Callee::Stub(stub) if shape.is_bulk() => lent.each(&mut |mutator| {
                        let all = std::mem::take(&mut slots);
                        cause = run_bulk(shape, stub, all.as_slice(), Some(mutator), g);
                        false
                    }),
                    Callee::Stub(stub) => lent.each(&mut |mutator| {
                        let Some(slot) = next(&mut slots) else {
                            return false;
                        };
                        cause = run_one(shape, stub, slot, mutator, g);
                        true
                    }),
                    Callee::Rust(body) => body.call_each(lent, &mut || {
                        let slot = next(&mut slots)?;
                        Some(slot.word(shape.object_word()) as usize)
                    }),
                }
                turn.reach(batch[batch.len() - slots.len()..].as_ptr());
                cause
            }));
            replaced = !lent.is_own();
        });
        if let Err(refusal) = lent {
            while next(&mut slots).is_some() {}
            let calls = batch.len() - slots.len();
            tell(|| tracing::error!(%refusal, calls, "calls were dropped"));
            self.queue.skip(turn, &tags[..calls], true);
            turn.reach(batch[calls..].as_ptr());
        }
        if replaced {
            // A mutator is replaced by a call, the last one.
            let last = &batch[batch.len() - slots.len() - 1];
            self.report_misuse(MisuseKind::Replaced, shape, &last.record());
        }
        outcome
    }

    /// Revokes and reports the mutators that the last calls have kept: those of the records `ran`.
    #[inline]
    pub(super) fn mend(
        &self,
        watch: &mut Watch,
        block: &Block,
        ran: Range<usize>,
        lookup: &mut Lookup<'_>,
    ) {
        let (changed, tags) = (watch.has_changed(), block.tags());
        let shape = &lookup.get(tags[ran.start].shape()).shape;
        shape.note_calls(changed);
        if !changed {
            return;
        }
        for tag in &tags[ran.clone()] {
            lookup.get(tag.shape()).shape.note_calls(true);
        }
        let (slots, last) = (block.slots(), ran.end - 1);
        for address in watch.before.revoke_later() {
            // A mutator of an observer's was made while no record was running.
            let index = address.wrapping_sub(slots.as_ptr().addr()) / size_of::<Record>();
            let index = index.min(last);
            let shape = &lookup.get(tags[index].shape()).shape;
            self.report_misuse(MisuseKind::Kept, shape, &slots[index].record());
        }
    }

    fn report_misuse(&self, kind: MisuseKind, shape: &Shape, record: &Record) {
        let misuse = MutatorMisuse {
            kind,
            signature: shape.function().signature().to_string(),
            code: record.code,
            words: record.words,
        };
        self.misuses.fetch_add(1, Ordering::Relaxed);
        guarded("the hook for misused mutators", || {
            (self.on_misuse)(&misuse)
        });
    }
}
