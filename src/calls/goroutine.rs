//! The finalizer goroutine: takes the queue, finds runs of records with one stub, and calls each
//! run.
//!
//! During a call it holds no lock and no right to the heap: it is *native*, so a finalizer that
//! blocks never blocks a collection, and one that touches the heap attaches a mutator of its own.
#![expect(unsafe_code, reason = "runs stubs over the queue's records")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fing_stubs::{
    AbiError, Arch, CacheOptions, GBlock, Gate, Machine, Record, RegClass, Stub, StubCache,
    StubError,
};

use crate::base::events::{guarded, tell};
use crate::calls::failing::{FailureHook, Failures, Policy};
use crate::calls::failure::{Cause, FailurePolicy};
use crate::calls::lookup::Lookup;
use crate::calls::observer::{Call, Observer, ParkReason};
use crate::calls::queue::{Block, DrainOrder, Queue, Slot, Tag, Taken, Turn, status};
use crate::calls::shape::Shape;
use crate::calls::shapes::Shapes;
use crate::calls::status::StatusResult;
use crate::calls::watchdog::{Watchdog, Workers};

const OBSERVER: &str = "the observer";

/// The queue, and everything that is needed to run its calls.
pub(crate) struct Calls {
    /// Closed when nothing may be registered any more.
    pub(crate) gate: Arc<Gate>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) stubs: Arc<StubCache>,
    pub(crate) failures: Failures,
    /// Times the goroutine was restarted after a panic in this crate's own code.
    pub(crate) restarts: AtomicU64,
    observer: Option<Box<dyn Observer>>,
    pub(crate) workers: Workers,
    pub(crate) watchdog: Option<Watchdog>,
}

/// Why [`Calls`] could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallsError {
    #[error(transparent)]
    Stubs(#[from] StubError),
    #[error(transparent)]
    IntArgRegs(#[from] AbiError),
    #[error("a page that forked children find empty: {0}")]
    Gate(std::io::Error),
}

/// What [`Calls`] is built with.
pub(crate) struct CallOptions {
    pub(crate) code: CacheOptions,
    pub(crate) drain_order: DrainOrder,
    /// The machine's maximum if `None`.
    pub(crate) int_arg_regs: Option<usize>,
    pub(crate) policy: Policy,
    pub(crate) on_failure: Box<FailureHook>,
    pub(crate) observer: Option<Box<dyn Observer>>,
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
            observer: None,
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
        let queue = Queue::new(checked_int_arg_regs(count)?, options.drain_order);
        if options
            .watchdog
            .is_some_and(|watchdog| watchdog.hands_over())
        {
            queue.guard_turns();
        }
        Ok(Calls {
            gate: Arc::new(Gate::new().map_err(CallsError::Gate)?),
            queue: Arc::new(queue),
            shapes: Arc::new(Shapes::new()),
            stubs: Arc::new(StubCache::new(options.code)?),
            failures: Failures::new(options.policy, options.on_failure),
            observer: options.observer,
            workers: Workers::new(),
            watchdog: options.watchdog,
            restarts: AtomicU64::new(0),
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
    pub(crate) fn run_until_stopped(&self, turn: &Arc<Turn>) {
        let run = || catch_unwind(AssertUnwindSafe(|| self.drain_until_stopped(turn)));
        while let Err(payload) = run() {
            self.restarts.fetch_add(1, Ordering::Relaxed);
            let message = message_of(&*payload);
            tell(|| tracing::error!(message, "the finalizer goroutine was restarted"));
            std::mem::forget(payload);
            if turn.is_relieved() {
                self.queue.retire(turn, None);
            }
        }
    }

    fn drain_until_stopped(&self, turn: &Arc<Turn>) {
        while !turn.is_relieved() {
            match self.take_or_park() {
                Taken::Drain { int_arg_regs } => {
                    self.drain(int_arg_regs, turn);
                }
                Taken::Nothing => {}
                Taken::Stop => return,
            }
        }
    }

    fn take_or_park(&self) -> Taken {
        let Some(observer) = &self.observer else {
            return self.queue.take(true);
        };
        match self.queue.take(false) {
            Taken::Nothing => {
                guarded(OBSERVER, || observer.parked(ParkReason::FinalizerWait));
                let taken = self.queue.take(true);
                guarded(OBSERVER, || observer.woken());
                taken
            }
            taken => taken,
        }
    }

    /// Drains on this thread until nothing is due. Returns how many records were run.
    pub(crate) fn run_due(&self) -> u64 {
        let mut executed = 0;
        let turn = self.queue.turn();
        loop {
            match self.queue.take(false) {
                Taken::Drain { int_arg_regs } => executed += self.drain(int_arg_regs, &turn),
                Taken::Nothing | Taken::Stop => return executed,
            }
        }
    }

    fn drain(&self, int_arg_regs: u8, turn: &Arc<Turn>) -> u64 {
        let mut executed = 0;
        let mut lookup = Lookup::beside_sweeps(&self.shapes);
        let g = GBlock::zeroed();
        if let Some(observer) = &self.observer {
            guarded(OBSERVER, || observer.drain_began(int_arg_regs.into()));
        }
        let choose = |block: &Block| self.shapes.choose_codes(block, int_arg_regs);
        let mut next = self.queue.interrupted(choose);
        while let Some((block, from)) = next.or_else(|| self.queue.next_block(choose)) {
            lookup.refresh();
            executed += self.run_block(block, from, int_arg_regs, turn, &mut lookup, &g);
            if turn.is_relieved() {
                return executed;
            }
            next = None;
        }
        drop(lookup);
        if let Some(observer) = &self.observer {
            guarded(OBSERVER, || observer.drain_ended(executed));
        }
        executed
    }

    /// Runs the records of a block from number `from` on.
    fn run_block(
        &self,
        block: Arc<Block>,
        from: usize,
        int_arg_regs: u8,
        turn: &Arc<Turn>,
        lookup: &mut Lookup<'_>,
        g: &GBlock,
    ) -> u64 {
        let (slots, tags) = (block.slots(), block.tags());
        let mut objects = Vec::new();
        let mut at = from;
        self.queue.set_status(status::RUNNING, true);
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
                    self.queue.skip(turn);
                }
                at = next;
                continue;
            }
            let end = match block.is_uniform() {
                true => slots.len(),
                false => at + self.same_batch(&tags[at..], int_arg_regs, lookup),
            };
            let shape = &lookup.get(tags[at].shape()).shape;
            // An observer sees each call by itself, and a status is read after each.
            let by_itself = self.observer.is_some() || shape.status().is_some() || turn.is_single();
            let end = match by_itself && !shape.is_bulk() {
                true => at + 1,
                false => end,
            };
            let bulk = shape.is_bulk();
            let end = self.queue.begin_batch(turn, &block, (at, end), bulk);
            // A stub looks by itself whether the batch was ended in front of a record.
            if end == at || shape.status().is_some() && !bulk && !turn.publish(&slots[at]) {
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
            let batch = &slots[at..end];
            let stub = shape.stub(int_arg_regs);
            let outcome = if shape.is_bulk() {
                self.run_bulk(shape, stub, batch, &mut objects, g)
            } else if let Some(status) = shape.status() {
                run_with_status(stub, &record, shape.argument_in_memory(&record), status, g)
            } else {
                let first = batch.as_ptr();
                // SAFETY: I6: the block is shared, and rooted by the queue, as is an argument that
                // has an object of its own; a collection changes its references only while this
                // thread is inside a call. I8: `choose_codes` set each record's code for the
                // register count by which the stub was chosen. The rest is what the maker of the
                // function promised.
                catch_unwind(AssertUnwindSafe(|| unsafe {
                    stub.run(first.cast(), turn.end(), turn.progress(), g);
                    None
                }))
            };
            if let Some(observer) = &self.observer {
                let failed = !matches!(outcome, Ok(None));
                guarded(OBSERVER, || observer.call_ended(&call, failed));
            }
            at = match outcome {
                Ok(None) if bulk || shape.status().is_some() => end,
                Ok(None) => turn.reached(slots),
                Ok(Some(cause)) => {
                    self.fail(shape, &block, at..end, cause);
                    end
                }
                Err(payload) => {
                    let index = turn.reached(slots);
                    // A bulk finalizer was given all of its batch.
                    let next = if shape.is_bulk() { end } else { index + 1 };
                    let shape = &lookup.get(tags[index].shape()).shape;
                    let cause = Cause::Panic(message_of(&*payload).to_owned());
                    self.fail(shape, &block, index..next, cause);
                    guarded("the payload of a panic", || drop(payload));
                    next
                }
            };
        }
        self.queue.finish_block(turn, block, at)
    }

    /// Makes one call for all records of a batch, which have the same shape. All of them are roots
    /// until it has returned.
    fn run_bulk(
        &self,
        shape: &Shape,
        stub: &Stub,
        batch: &[Slot],
        objects: &mut Vec<u64>,
        g: &GBlock,
    ) -> std::thread::Result<Option<Cause>> {
        objects.clear();
        objects.extend(batch.iter().map(Slot::first_word));
        let all = Record {
            words: [
                objects.as_ptr().expose_provenance() as u64,
                batch.len() as u64,
            ],
            ..batch[0].record()
        };
        if let Some(status) = shape.status() {
            return run_with_status(stub, &all, Some(all.words), status, g);
        }
        // SAFETY: I6: the queue roots every record of the batch, as its progress stays where it is.
        // I8: a bulk finalizer has a fixed ABI; its stub passes the array's address and its length.
        catch_unwind(AssertUnwindSafe(|| unsafe {
            stub.run_all(std::slice::from_ref(&all), g);
            None
        }))
    }

    /// Returns how many of these records, from the first on, can run in one batch: they have the
    /// same stub, or the same bulk finalizer, and all or none of them are refused.
    fn same_batch(&self, tags: &[Tag], int_arg_regs: u8, lookup: &mut Lookup<'_>) -> usize {
        let mut batch = |tag: &Tag| {
            let shape = &lookup.get(tag.shape()).shape;
            let refused = self.failures.are_refused(shape);
            match shape.is_bulk() || refused {
                true => (tag.shape() as usize, refused),
                false => (Arc::as_ptr(shape.stub(int_arg_regs)).addr(), false),
            }
        };
        let first = tags.first().map(&mut batch);
        let joins = |tag: &&Tag| Some(batch(tag)) == first;
        tags.iter().take_while(joins).count()
    }
}

/// Calls a function that returns a status, for the argument that is at `record.words[0]`, or is
/// `argument`. Returns why the call has failed, if the status says so.
fn run_with_status(
    stub: &Stub,
    record: &Record,
    argument: Option<[u64; 2]>,
    status: &StatusResult,
    g: &GBlock,
) -> std::thread::Result<Option<Cause>> {
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
    catch_unwind(AssertUnwindSafe(|| unsafe {
        stub.run_all(std::slice::from_ref(&call), g);
    }))
    .map(|()| status.read(&results))
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
            scope.spawn(|| calls.run_until_stopped(&calls.queue.turn()));
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
