//! Calls that are lent a mutator, and mutators that calls have kept.
//!
//! The thread enters the heap once for a run of calls of functions that are declared to take the
//! mutator, and leaves it before any other code of the embedder's runs. Between two calls a
//! collection may happen, and the mutator is looked at. Where the lent mutator is the only one of
//! its thread, that takes no look after each call: whatever there is to look at interrupts the
//! batch, which then ends in front of the next call.
//!
//! What a call does with mutators is watched for all functions: what this thread has made and not
//! dropped when a run of calls is over, is revoked and reported.
#![forbid(unsafe_code)]

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fing_stubs::{GBlock, Record, Stub};

use crate::base::events::{guarded, tell};
use crate::calls::failure::Cause;
use crate::calls::goroutine::{
    Calls, With, run_bulk, run_one, run_stub, run_with_status, with_context,
};
use crate::calls::lookup::Lookup;
use crate::calls::misuse::{MisuseKind, MutatorMisuse};
use crate::calls::queue::{Block, Slot, Tag, Turn};
use crate::calls::shape::{Callee, Shape};
use crate::world::safepoint::Interrupt;
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

/// A mutator that is lent to one call after another. Between two calls a collection that waits for
/// this thread happens.
pub(crate) trait Lent: Any {
    /// Makes one call after another with the mutator's address, to the last or until one did not
    /// leave the mutators of this thread as it found them.
    fn call_each(&mut self, calls: &mut StubCalls<'_, '_>);

    /// Whether it is still the mutator that was lent at first.
    fn is_own(&self) -> bool;
}

/// The body of a finalizer that is a Rust closure.
pub(crate) trait RustBody: Send + Sync {
    /// As [`Lent::call_each`], calls it with each of the objects. `lent` is a mutator of the
    /// runtime that the function is registered with.
    fn call_each(&self, lent: &mut dyn Lent, records: &mut Records<'_>);
}

/// The records of a batch, one after another.
pub(crate) struct Records<'b> {
    batch: &'b [Slot],
    /// The first one that was not asked for.
    next: usize,
    turn: &'b Arc<Turn>,
    object_word: usize,
    /// Whether the addresses lead into their objects, not to their starts.
    inside: bool,
}

impl<'b> Records<'b> {
    /// Whether the addresses lead into their objects, not to their starts.
    pub(crate) fn are_inside(&self) -> bool {
        self.inside
    }

    /// The calls, if they can be [begun](Self::begin) so that they can be interrupted, and there
    /// are several.
    pub(crate) fn interruptible(&self) -> Option<Arc<Turn>> {
        let several = self.next + 1 < self.batch.len();
        (several && self.turn.is_divisible()).then(|| self.turn.clone())
    }

    /// Begins what is left, so that it can be interrupted. Returns false if nothing is, or if the
    /// batch was ended.
    pub(crate) fn begin(&mut self) -> bool {
        let left = &self.batch[self.next..];
        self.turn.begin_interruptible(left.as_ptr_range().end);
        left.first().is_some_and(|first| !self.turn.is_cut(first))
    }

    /// The next record, published as stubs do; `None` at the end, or where the batch was ended.
    #[inline]
    fn next(&mut self) -> Option<&'b Slot> {
        let slot = self.batch.get(self.next)?;
        if !self.turn.publish(slot) {
            return None;
        }
        self.next += 1;
        Some(slot)
    }

    /// Calls with the objects of the records that are left, and with the records, each published as
    /// stubs do: to the last, or to where the batch was ended, or until a call returns false. If a
    /// call panics, what is left is what it was.
    #[inline(always)]
    pub(crate) fn each_object(&mut self, mut call: impl FnMut(usize, &Slot) -> bool) {
        let (turn, word) = (&**self.turn, self.object_word);
        let mut left = self.batch[self.next..].iter();
        while let Some(slot) = left.as_slice().first() {
            if !turn.publish(slot) {
                break;
            }
            left.next();
            if !call(slot.word(word) as usize, slot) {
                break;
            }
        }
        self.next = self.batch.len() - left.len();
    }
}

/// The calls of a batch, of a function that has a stub.
pub(crate) struct StubCalls<'c, 'b> {
    records: &'c mut Records<'b>,
    shape: &'b Shape,
    stub: &'b Stub,
    g: &'b GBlock,
    /// Whether a call is of one record, and has no status.
    plain: bool,
    /// The context that the records have; 0 before they have the mutator's address.
    context: usize,
    /// Why one has failed, if its status said so.
    cause: Option<Cause>,
}

impl StubCalls<'_, '_> {
    /// As [`Records::interruptible`]. Such calls are made by [`StubCalls::run`].
    pub(crate) fn interruptible(&self) -> Option<Arc<Turn>> {
        self.records.interruptible().filter(|_| self.plain)
    }

    /// As [`Records::begin`].
    pub(crate) fn begin(&mut self) -> bool {
        self.records.begin()
    }

    /// Makes the calls that were begun, with a mutator at this address, up to the last or until
    /// they are interrupted.
    pub(crate) fn run(&mut self, mutator: usize) {
        let batch = self.records.batch;
        let left = &batch[self.records.next..];
        if self.context != mutator {
            left.iter().for_each(|slot| slot.set_context(mutator));
            self.context = mutator;
        }
        run_stub(self.stub, left, self.records.turn, self.g);
        self.records.next = self.records.turn.reached(batch);
    }

    /// Makes the next call, with a mutator at this address. Returns false if there is none.
    #[inline]
    pub(crate) fn call_next(&mut self, mutator: usize) -> bool {
        if !self.plain {
            return self.call_other(mutator);
        }
        let Some(slot) = self.records.next() else {
            return false;
        };
        run_one(self.stub, slot, mutator, self.g);
        true
    }

    #[inline(never)]
    fn call_other(&mut self, mutator: usize) -> bool {
        let (shape, stub, g) = (self.shape, self.stub, self.g);
        let Some(status) = shape.status().filter(|_| !shape.is_bulk()) else {
            let all = &self.records.batch[self.records.next..];
            self.records.next = self.records.batch.len();
            if !all.is_empty() {
                self.cause = run_bulk(shape, stub, all, Some(mutator), g);
            }
            return !all.is_empty();
        };
        let Some(slot) = self.records.next() else {
            return false;
        };
        let record = with_context(slot, mutator);
        let argument = shape.argument_in_memory(&record);
        if let failed @ Some(_) = run_with_status(stub, &record, argument, status, g) {
            self.cause = failed;
        }
        true
    }
}

impl Interrupt for Turn {
    fn interrupt(&self) {
        Turn::interrupt(self);
    }
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

    /// If nothing had changed when there were so many `changes`, and one mutator was made and
    /// dropped since, nothing has changed: that is the mutator that was lent.
    fn ignore_one_mutator_since(&mut self, changes: u64) {
        if self.changes == changes && changes + threads::ONE_MUTATOR == threads::changes() {
            self.changes = threads::changes();
        }
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
        with: &mut With<'_>,
    ) -> std::thread::Result<Option<Cause>> {
        let With {
            turn, lender, g, ..
        } = *with;
        let changes = threads::changes();
        let (mut outcome, mut replaced) = (Ok(None), false);
        let mut records = Records {
            batch,
            next: 0,
            turn,
            object_word: shape.object_word(),
            inside: shape.handling().inside,
        };
        let lent = lender.lend(&mut |lent| {
            outcome = catch_unwind(AssertUnwindSafe(|| {
                let cause = match callee {
                    Callee::Stub(stub) => {
                        let mut calls = StubCalls {
                            records: &mut records,
                            shape,
                            stub,
                            g,
                            context: 0,
                            plain: shape.status().is_none() && !shape.is_bulk(),
                            cause: None,
                        };
                        lent.call_each(&mut calls);
                        calls.cause
                    }
                    Callee::Rust(body) => {
                        body.call_each(lent, &mut records);
                        None
                    }
                };
                turn.reach(batch[records.next..].as_ptr());
                cause
            }));
            replaced = !lent.is_own();
        });
        if outcome.is_err() {
            // The one that panicked was published last.
            records.next = turn.reached(batch) + 1;
        }
        turn.is_not_interrupted();
        if let Err(refusal) = lent {
            while records.next().is_some() {}
            let calls = records.next;
            tell(|| tracing::error!(%refusal, calls, "calls were dropped"));
            self.queue
                .skip(turn, &tags[..calls], true, batch[calls..].as_ptr());
            turn.reach(batch[calls..].as_ptr());
        }
        if replaced {
            // A mutator is replaced by a call, the last one.
            let last = &batch[records.next - 1];
            self.report_misuse(MisuseKind::Replaced, shape, &last.record());
        }
        with.watch.ignore_one_mutator_since(changes);
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
