//! The finalizer goroutine: takes the queue, finds runs of records with one stub, and calls each
//! run.
//!
//! During a call it holds no lock and no right to the heap: it is *native*, so a finalizer that
//! blocks never blocks a collection, and one that touches the heap attaches a mutator of its own.
//! Functions that are declared to take the mutator are called inside the heap; see `lent`.
#![expect(unsafe_code, reason = "runs stubs over the queue's records")]

use std::any::Any;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use fing_stubs::{
    AbiError, Arch, CacheOptions, GBlock, Gate, Machine, Record, RegClass, Stub, StubCache,
};

use crate::base::events::{guarded, span, tell, wants_calls};
use crate::base::identity;
use crate::calls::budget::{Budget, Limit};
use crate::calls::builder::CallsError;
use crate::calls::failing::{FailureHook, Failures, Policy};
use crate::calls::failure::{Cause, FailurePolicy};
use crate::calls::lane::{Lanes, Pool};
use crate::calls::lent::{Lender, Watch};
use crate::calls::lookup::Lookup;
use crate::calls::misuse::{MisuseHook, tell_misuse};
use crate::calls::observer::{Call, Observer, ParkReason};
use crate::calls::post::Posts;
use crate::calls::pressure::{Pressure, PressureOptions};
use crate::calls::queue::{
    Block, CallKind, CallStats, Counts, DrainOrder, HandedOut, LaneId, Queue, Slot, Tag, Taken,
    Turn,
};
use crate::calls::samples::{Sample, Samples};
use crate::calls::shape::{Callee, Shape};
use crate::calls::shapes::Shapes;
use crate::calls::signal::DueHook;
use crate::calls::status::StatusResult;
use crate::calls::watchdog::{Watchdog, Workers};

const OBSERVER: &str = "the observer";

/// What a thread makes calls with.
pub(super) struct With<'d> {
    pub(super) turn: &'d Arc<Turn>,
    pub(super) lender: &'d dyn Lender,
    pub(super) watch: &'d mut Watch,
    pub(super) g: &'d GBlock,
}

/// The queue, and everything that is needed to run its calls.
pub(crate) struct Calls {
    /// Closed when nothing may be registered any more.
    pub(crate) gate: Arc<Gate>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) stubs: Arc<StubCache>,
    pub(crate) failures: Failures,
    pub(super) on_misuse: Box<MisuseHook>,
    /// Mutators that calls did not leave as they must be.
    pub(crate) misuses: AtomicU64,
    /// Times the goroutine was restarted after a panic in this crate's own code.
    pub(crate) restarts: AtomicU64,
    observer: Option<Box<dyn Observer>>,
    pub(crate) posts: Arc<Posts>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) samples: Option<Samples>,
    /// Whether a subscriber of `tracing` wanted each call when the drain began.
    traced: AtomicBool,
    pub(crate) workers: Workers,
    pub(crate) watchdog: Option<Watchdog>,
    pub(crate) pool: Option<Pool>,
}

/// What [`Calls`] is built with.
pub(crate) struct CallOptions {
    pub(crate) code: CacheOptions,
    pub(crate) drain_order: DrainOrder,
    /// The machine's maximum if `None`.
    pub(crate) int_arg_regs: Option<usize>,
    pub(crate) policy: Policy,
    pub(crate) on_failure: Box<FailureHook>,
    pub(crate) on_misuse: Box<MisuseHook>,
    pub(crate) observer: Option<Box<dyn Observer>>,
    pub(crate) on_due: Option<Box<DueHook>>,
    pub(crate) pool: Option<Pool>,
    pub(crate) pressure: PressureOptions,
    /// One of so many calls is timed.
    pub(crate) sample_every: Option<NonZeroU32>,
    pub(crate) watchdog: Option<Watchdog>,
}

impl Default for CallOptions {
    fn default() -> CallOptions {
        CallOptions {
            code: CacheOptions::default(),
            drain_order: DrainOrder::default(),
            int_arg_regs: None,
            policy: Policy::Fixed(FailurePolicy::default()),
            on_failure: Failures::default_hook(),
            on_misuse: Box::new(tell_misuse),
            observer: None,
            on_due: None,
            pool: None,
            pressure: PressureOptions::default(),
            sample_every: None,
            watchdog: None,
        }
    }
}

/// Integer argument registers of the host's Go ABI.
fn max_int_arg_regs() -> usize {
    Arch::host().map_or(0, |arch| Machine::of(arch).int_regs.len())
}

fn checked_int_arg_regs(count: usize) -> Result<u8, AbiError> {
    let max = max_int_arg_regs();
    match u8::try_from(count) {
        Ok(count) if usize::from(count) <= max => Ok(count),
        _ => Err(AbiError::TooManyRegisters {
            arch: Arch::host().unwrap_or(Arch::Amd64),
            class: RegClass::Int,
            found: count,
            max,
        }),
    }
}

impl Calls {
    pub(crate) fn new(options: CallOptions) -> Result<Calls, CallsError> {
        let count = options.int_arg_regs.unwrap_or_else(max_int_arg_regs);
        let pool = options.pool.as_ref().map_or(0, |pool| pool.threads.get());
        let queue = Queue::new(checked_int_arg_regs(count)?, options.drain_order, pool);
        let lanes = Lanes {
            identity: identity::random(),
            has_pool: pool > 0,
        };
        if options
            .watchdog
            .is_some_and(|watchdog| watchdog.hands_over())
        {
            queue.guard_turns();
        }
        let pressure = Pressure::new(options.pressure, &queue);
        Ok(Calls {
            gate: Arc::new(Gate::new().map_err(CallsError::Gate)?),
            queue: Arc::new(queue),
            shapes: Arc::new(Shapes::new(lanes)),
            stubs: Arc::new(StubCache::new(options.code)?),
            failures: Failures::new(options.policy, options.on_failure),
            on_misuse: options.on_misuse,
            observer: options.observer,
            posts: Arc::new(Posts::new(options.on_due)),
            pressure: Arc::new(pressure),
            pool: options.pool,
            misuses: AtomicU64::new(0),
            workers: Workers::new(),
            watchdog: options.watchdog,
            restarts: AtomicU64::new(0),
            traced: AtomicBool::new(false),
            samples: options.sample_every.map(Samples::new),
        })
    }

    /// Counts of the calls of finalizers and of cleanups, of which so many are registered.
    pub(crate) fn stats(&self, counts: &Counts, registered: [u64; 2]) -> [CallStats; 2] {
        [CallKind::Finalizer, CallKind::Cleanup].map(|kind| {
            let failed = self.failures.failed_of(kind);
            counts.fates.stats(kind, registered[kind as usize], failed)
        })
    }

    /// Sets the register count from the next drain on, and returns the previous one.
    pub(crate) fn set_int_arg_regs(&self, count: usize) -> Result<usize, AbiError> {
        let before = self.queue.set_int_arg_regs(checked_int_arg_regs(count)?);
        Ok(before.into())
    }

    /// Drains until the queue is stopped, and parks while it is empty. A panic outside of
    /// finalizers, hooks and observers is a bug of this crate: it is reported and counted, the
    /// record that was about to be called is skipped, and draining goes on with the next record.
    ///
    /// Returns early if another thread has taken over.
    pub(crate) fn run_until_stopped(&self, lender: &dyn Lender, turn: &Arc<Turn>) {
        let run = || catch_unwind(AssertUnwindSafe(|| self.drain_until_stopped(lender, turn)));
        while let Err(payload) = run() {
            self.restarts.fetch_add(1, Ordering::Relaxed);
            let message = message_of(&*payload);
            tell(|| tracing::error!(message, "the finalizer goroutine was restarted"));
            std::mem::forget(payload);
        }
        // If it was relieved between two blocks, or restarted; nothing if it has retired.
        if turn.is_relieved() {
            self.queue.retire(turn, None);
        }
    }

    fn drain_until_stopped(&self, lender: &dyn Lender, turn: &Arc<Turn>) {
        while !turn.is_relieved() {
            match self.take_or_park(turn) {
                Taken::Drain { int_arg_regs } => {
                    let mut limit = Limit::new(Budget::unlimited());
                    self.drain(int_arg_regs, &mut limit, lender, turn);
                }
                Taken::Nothing => {}
                Taken::Stop => return,
            }
        }
    }

    fn take_or_park(&self, turn: &Turn) -> Taken {
        let Some(observer) = &self.observer else {
            return self.queue.take(turn, true);
        };
        match self.queue.take(turn, false) {
            Taken::Nothing => {
                guarded(OBSERVER, || observer.parked(ParkReason::FinalizerWait));
                let taken = self.queue.take(turn, true);
                guarded(OBSERVER, || observer.woken());
                taken
            }
            taken => taken,
        }
    }

    /// Drains a lane on this thread until nothing is due there or the budget is used up. Returns
    /// how many records were run.
    pub(crate) fn run_due(&self, lane: LaneId, budget: Budget, lender: &dyn Lender) -> u64 {
        let mut executed = 0;
        let mut limit = Limit::new(budget);
        let Some(turn) = self.queue.turns_of(lane).pop() else {
            return 0;
        };
        let _leaving = Leaving(&self.queue, &turn);
        loop {
            match self.queue.take(&turn, false) {
                Taken::Drain { int_arg_regs } => {
                    let (done, whole) = self.drain(int_arg_regs, &mut limit, lender, &turn);
                    executed += done;
                    if !whole {
                        self.queue.rest(&turn);
                        return executed;
                    }
                }
                Taken::Nothing | Taken::Stop => return executed,
            }
        }
    }

    /// Runs what the queue has taken. Returns how many records were run, and false if the limit was
    /// reached first.
    fn drain(
        &self,
        int_arg_regs: u8,
        limit: &mut Limit,
        lender: &dyn Lender,
        turn: &Arc<Turn>,
    ) -> (u64, bool) {
        let mut executed = 0;
        let mut most = limit.next(0);
        let mut watch = Watch::begin(turn);
        let _span = span(|| tracing::debug_span!("drain", int_arg_regs));
        self.traced.store(wants_calls(), Ordering::Relaxed);
        let mut lookup = Lookup::beside_sweeps(&self.shapes);
        let g = GBlock::zeroed();
        if let Some(observer) = &self.observer {
            guarded(OBSERVER, || observer.drain_began(int_arg_regs.into()));
        }
        let choose = |block: &Block| self.shapes.choose_codes(block, int_arg_regs);
        let mut next = self.queue.interrupted(turn, choose);
        while most > 0
            && let Some((block, from)) = next.or_else(|| self.queue.next_block(turn, most, choose))
        {
            lookup.refresh();
            let mut with = With {
                turn,
                lender,
                watch: &mut watch,
                g: &g,
            };
            let done = self.run_block(block, from, int_arg_regs, &mut lookup, &mut with);
            executed += done;
            if turn.is_relieved() {
                return (executed, true);
            }
            most = limit.next(done);
            next = None;
        }
        drop(lookup);
        let queue = &self.queue;
        tell(|| {
            tracing::debug!(waiting = queue.counts().backlog.calls, "queue");
        });
        if let Some(observer) = &self.observer {
            guarded(OBSERVER, || observer.drain_ended(executed));
        }
        (executed, most > 0)
    }

    /// Makes a call that was handed out, and ends it.
    pub(super) fn call_handed_out(&self, call: &HandedOut, int_arg_regs: u8, lender: &dyn Lender) {
        let mut watch = Watch::begin(&call.turn);
        let mut lookup = Lookup::beside_sweeps(&self.shapes);
        let mut with = With {
            turn: &call.turn,
            lender,
            watch: &mut watch,
            g: &GBlock::zeroed(),
        };
        self.run_block(
            call.block.clone(),
            call.at,
            int_arg_regs,
            &mut lookup,
            &mut with,
        );
    }

    /// Runs the records of a block from number `from` on.
    fn run_block(
        &self,
        block: Arc<Block>,
        from: usize,
        int_arg_regs: u8,
        lookup: &mut Lookup<'_>,
        with: &mut With<'_>,
    ) -> u64 {
        let With { turn, g, .. } = *with;
        let (slots, tags) = (block.slots(), block.tags());
        let mut at = from;
        while at < slots.len() {
            if turn.is_cut(&slots[at]) {
                match self.queue.pass(turn, at) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            // If a bug of this crate panics between here and the call, this record is skipped.
            turn.publish(&slots[at]);
            let shape = &lookup.get(tags[at].shape()).shape;
            if self.failures.are_refused(shape) {
                // One at a time: each is a root until its report.
                let next = self.queue.begin_batch(turn, &block, (at, at + 1), true);
                if next > at {
                    self.fail(shape, &block, at..next, Cause::Quarantined);
                    let behind = slots[next..].as_ptr();
                    self.queue.skip(turn, &tags[at..next], false, behind);
                }
                at = next;
                continue;
            }
            let same = match block.is_uniform() {
                true => slots.len() - at,
                false => self.same_batch(&tags[at..], int_arg_regs, lookup),
            };
            let shape = &lookup.get(tags[at].shape()).shape;
            let Choice {
                calls,
                by_itself,
                traced,
                timed,
            } = self.choose(shape, same, turn);
            let (end, bulk) = (at + calls, shape.is_bulk());
            let end = self.queue.begin_batch(turn, &block, (at, end), bulk);
            // A stub looks by itself whether the batch was ended in front of a record.
            if end == at || by_itself && !bulk && !turn.publish(&slots[at]) {
                continue;
            }
            let record = slots[at].record();
            let call = Call {
                code: record.code,
                signature: shape.function().signature(),
                words: record.words,
            };
            if let Some(observer) = &self.observer {
                guarded(OBSERVER, || observer.call_began(&call));
            }
            let call_span = traced.then(|| {
                span(|| {
                    tracing::trace_span!(
                        target: "fing::calls",
                        "call",
                        signature = %call.signature,
                        code = call.code,
                        word = call.words[tags[at].own_word()],
                        calls = end - at
                    )
                })
            });
            let batch = &slots[at..end];
            let begun = timed.map(|samples| (samples, Instant::now()));
            let callee = shape.callee(int_arg_regs);
            // Such a call publishes its record anew, and is not made if the batch was ended.
            let is_lent = shape.takes_mutator() || !matches!(callee, Callee::Stub(_));
            let outcome = match callee {
                Callee::Stub(stub) if !is_lent => {
                    catch_unwind(AssertUnwindSafe(|| {
                        match (shape.is_bulk(), shape.status()) {
                            (true, _) => run_bulk(shape, stub, batch, None, g),
                            (false, None) if by_itself => {
                                // Its beginning was told: it is made, whatever ends the batch now.
                                run_one(stub, &batch[0], record.context, g);
                                turn.reach(batch.as_ptr_range().end);
                                None
                            }
                            (false, None) => {
                                run_stub(stub, batch, turn, g);
                                None
                            }
                            (false, Some(status)) => {
                                let argument = shape.argument_in_memory(&record);
                                run_with_status(stub, &record, argument, status, g)
                            }
                        }
                    }))
                }
                callee => self.run_lent((shape, callee), batch, &tags[at..end], with),
            };
            if let Some((samples, begun)) = begun {
                let sample = Sample {
                    shape,
                    kind: tags[at].kind(),
                    code: record.code,
                    words: record.words,
                };
                samples.add(&sample, begun.elapsed());
            }
            drop(call_span);
            if let Some(observer) = &self.observer {
                let failed = !matches!(outcome, Ok(None));
                guarded(OBSERVER, || observer.call_ended(&call, failed));
            }
            let is_whole = bulk || shape.status().is_some();
            let reached = turn.reached(slots);
            let ran = at..(reached + 1).clamp(at + 1, end);
            self.mend(with.watch, &block, ran, lookup);
            at = match outcome {
                Ok(None) if is_whole && !is_lent => end,
                Ok(None) => reached,
                Ok(Some(cause)) => {
                    let shape = &lookup.get(tags[at].shape()).shape;
                    self.fail(shape, &block, at..end, cause);
                    end
                }
                Err(payload) => {
                    // A bulk finalizer was given all of its batch.
                    let next = if bulk { end } else { reached + 1 };
                    let shape = &lookup.get(tags[reached].shape()).shape;
                    let cause = Cause::Panic(message_of(&*payload).to_owned());
                    self.fail(shape, &block, reached..next, cause);
                    guarded("the payload of a panic", || drop(payload));
                    next
                }
            };
        }
        let executed = self.queue.finish_block(turn, block, at);
        self.pressure.tell(&self.queue);
        executed
    }

    /// How many of the next records are called in one batch, of which `same` could be.
    fn choose(&self, shape: &Shape, same: usize, turn: &Turn) -> Choice<'_> {
        let traced = self.traced.load(Ordering::Relaxed);
        // An observer sees each call by itself, and so does a trace; and a status is read after
        // each.
        let by_itself = self.observer.is_some()
            || traced
            || shape.is_watched()
            || shape.status().is_some()
            || turn.is_single();
        let bulk = shape.is_bulk();
        let calls = if by_itself && !bulk { 1 } else { same };
        let (calls, timed) = match &self.samples {
            None => (calls, None),
            Some(samples) => {
                let (calls, timed) = samples.split(calls, bulk);
                (calls, timed.then_some(samples))
            }
        };
        Choice {
            calls,
            by_itself,
            traced,
            timed,
        }
    }

    /// Returns how many of these records, from the first on, can run in one batch: they have the
    /// same stub, or the same shape if calls of that can't be mixed with those of others; and all
    /// or none of them are refused.
    fn same_batch(&self, tags: &[Tag], int_arg_regs: u8, lookup: &mut Lookup<'_>) -> usize {
        let mut batch = |tag: &Tag| {
            let shape = &lookup.get(tag.shape()).shape;
            let refused = self.failures.are_refused(shape);
            match shape.callee(int_arg_regs) {
                Callee::Stub(stub) if shape.may_share_batch() && !refused => {
                    (Arc::as_ptr(stub).addr(), false)
                }
                _ => (tag.shape() as usize, refused),
            }
        };
        let first = tags.first().map(&mut batch);
        let joins = |tag: &&Tag| Some(batch(tag)) == first;
        tags.iter().take_while(joins).count()
    }
}

/// How the next calls are made.
struct Choice<'c> {
    calls: usize,
    /// Whether each call is a batch, unless it is that of a bulk finalizer.
    by_itself: bool,
    traced: bool,
    /// Where the time is noted that they take, if it is.
    timed: Option<&'c Samples>,
}

/// A thread of the embedder leaves a lane, also by a panic of this crate's own.
struct Leaving<'q>(&'q Queue, &'q Turn);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// Calls the records of a batch, which have the same stub, up to the turn's end.
pub(super) fn run_stub(stub: &Stub, batch: &[Slot], turn: &Turn, g: &GBlock) {
    // SAFETY: I6: the block is shared, and rooted by the queue, as is an argument that has an
    // object of its own; a collection changes its references only while this thread is inside a
    // call. I8: `choose_codes` set each record's code for the register count by which the stub was
    // chosen. The rest is what the maker of the function promised.
    unsafe { stub.run(batch.as_ptr().cast(), turn.end(), turn.progress(), g) }
}

/// A record with this context in place of its own.
#[inline]
pub(super) fn with_context(slot: &Slot, context: usize) -> Record {
    Record {
        context,
        ..slot.record()
    }
}

/// Calls the record, which has this stub, whose function has no status. `context` replaces that of
/// the record.
#[inline]
pub(super) fn run_one(stub: &Stub, slot: &Slot, context: usize, g: &GBlock) {
    let call = with_context(slot, context);
    // SAFETY: I6: the queue roots what the record refers to. I8: as in `run_stub`.
    unsafe { stub.run_all(std::slice::from_ref(&call), g) }
}

/// Makes one call for all records of a batch, which have the same shape. All of them are roots
/// until it has returned. `context` replaces that of the records, if there is one. Returns why the
/// call has failed, if its status says so.
pub(super) fn run_bulk(
    shape: &Shape,
    stub: &Stub,
    batch: &[Slot],
    context: Option<usize>,
    g: &GBlock,
) -> Option<Cause> {
    let objects: Vec<u64> = batch.iter().map(|slot| slot.word(0)).collect();
    let record = batch[0].record();
    let all = Record {
        words: [
            objects.as_ptr().expose_provenance() as u64,
            batch.len() as u64,
        ],
        context: context.unwrap_or(record.context),
        ..record
    };
    if let Some(status) = shape.status() {
        return run_with_status(stub, &all, Some(all.words), status, g);
    }
    // SAFETY: I6: the queue roots every record of the batch, as its progress stays where it is. I8:
    // a bulk finalizer has a fixed ABI; its stub passes the array's address and its length.
    unsafe { stub.run_all(std::slice::from_ref(&all), g) };
    None
}

/// Calls a function that returns a status, for the argument that is at `record.words[0]`, or is
/// `argument`. Returns why the call has failed, if the status says so.
pub(super) fn run_with_status(
    stub: &Stub,
    record: &Record,
    argument: Option<[u64; 2]>,
    status: &StatusResult,
    g: &GBlock,
) -> Option<Cause> {
    let mut results = vec![0_u64; status.words()];
    let argument = argument
        .as_ref()
        .map(|words| words.as_ptr().expose_provenance());
    let words = [
        argument.map_or(record.words[0], |address| address as u64),
        results.as_mut_ptr().expose_provenance() as u64,
    ];
    let call = Record { words, ..*record };
    // SAFETY: I5, I6, I8: the stub of a function with a status takes the addresses of its argument
    // and of space for its results; the queue roots the record that they are from.
    unsafe { stub.run_all(std::slice::from_ref(&call), g) };
    status.read(&results)
}

/// The message of a panic, if it is a string.
fn message_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("(not a text)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::deadline::Deadline;
    use crate::calls::lent::{Lent, NotLent};

    struct Nothing;

    impl Lender for Nothing {
        fn lend(&self, _: &mut dyn FnMut(&mut dyn Lent)) -> Result<(), NotLent> {
            unreachable!("no function takes a mutator")
        }
    }

    /// A record whose shape does not exist: it makes the goroutine panic between two calls.
    fn broken() -> (Record, Tag) {
        let record = Record {
            code: 0,
            context: 0,
            words: [0; 2],
        };
        (record, Tag::new(7, 0))
    }

    #[test]
    fn a_goroutine_that_ends_by_a_fault_of_its_own_is_begun_anew() {
        let mut options = CallOptions::default();
        options.code.policy = fing_stubs::CodePolicy::Interpret;
        let calls = Calls::new(options).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| calls.run_until_stopped(&Nothing, &calls.queue.turn()));
            for round in 1..=3 {
                calls.queue.push([broken(), broken()]);
                calls.queue.wake();
                let patience = std::time::Duration::from_secs(30);
                calls
                    .queue
                    .wait_until_settled(Deadline::after(patience))
                    .unwrap();
                // Each is skipped, and the goroutine parks again.
                assert_eq!(calls.restarts.load(Ordering::Relaxed), 2 * round);
                assert_eq!(calls.queue.counts().executed, 2 * round);
            }
            calls.queue.stop();
        });
    }
}
