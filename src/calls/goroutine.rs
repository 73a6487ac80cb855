//! The finalizer goroutine: takes the queue, finds runs of records with one stub, and calls each
//! run.
//!
//! During a call it holds no lock and no right to the heap: it is *native*, so a finalizer that
//! blocks never blocks a collection, and one that touches the heap attaches a mutator of its own.
#![expect(unsafe_code, reason = "runs stubs over the queue's records")]

use std::any::Any;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use fing_stubs::{
    AbiError, Arch, CacheOptions, GBlock, Gate, Machine, Record, RegClass, Stub, StubCache,
    StubError,
};

use crate::base::events::{guarded, span, tell, wants_calls};
use crate::calls::lookup::Lookup;
use crate::calls::observer::{Call, Observer, ParkReason};
use crate::calls::queue::{
    Block, CallKind, CallStats, Counts, DrainOrder, Queue, Slot, Tag, Taken, status,
};
use crate::calls::samples::{Sample, Samples};
use crate::calls::shape::Shape;
use crate::calls::shapes::Shapes;

const OBSERVER: &str = "the observer";

/// A finalizer or cleanup that panicked. The panic was caught; the records after it were run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FinalizerPanic {
    /// The panic's message, or `(not a text)` if its payload was no string.
    pub message: String,
    /// Signature of the function.
    pub signature: String,
    /// Address of the function.
    pub code: usize,
    /// The words it was called with: an object's address, or an interface, or a cleanup's argument.
    pub words: [u64; 2],
}

/// The hook that is called with each panic.
pub(crate) type PanicHook = dyn Fn(&FinalizerPanic) + Send + Sync;

/// The queue, and everything that is needed to run its calls.
pub(crate) struct Calls {
    /// Closed when nothing may be registered any more.
    pub(crate) gate: Arc<Gate>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) stubs: Arc<StubCache>,
    on_panic: Box<PanicHook>,
    pub(crate) panics: AtomicU64,
    /// Times the goroutine was restarted after a panic in this crate's own code.
    pub(crate) restarts: AtomicU64,
    observer: Option<Box<dyn Observer>>,
    /// Calls of each kind that panicked.
    failed: [AtomicU64; 2],
    pub(crate) samples: Option<Samples>,
    /// Whether a subscriber of `tracing` wanted each call when the drain began.
    traced: AtomicBool,
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
    pub(crate) on_panic: Box<PanicHook>,
    pub(crate) observer: Option<Box<dyn Observer>>,
    /// One of so many calls is timed.
    pub(crate) sample_every: Option<NonZeroU32>,
}

impl Default for CallOptions {
    fn default() -> CallOptions {
        CallOptions {
            code: CacheOptions::default(),
            drain_order: DrainOrder::default(),
            int_arg_regs: None,
            on_panic: Box::new(|panic| tell(|| tracing::error!(?panic, "a finalizer panicked"))),
            observer: None,
            sample_every: None,
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
        Ok(Calls {
            gate: Arc::new(Gate::new().map_err(CallsError::Gate)?),
            queue: Arc::new(Queue::new(
                checked_int_arg_regs(count)?,
                options.drain_order,
            )),
            shapes: Arc::new(Shapes::new()),
            stubs: Arc::new(StubCache::new(options.code)?),
            on_panic: options.on_panic,
            observer: options.observer,
            panics: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            failed: Default::default(),
            traced: AtomicBool::new(false),
            samples: options.sample_every.map(Samples::new),
        })
    }

    /// Counts of the calls of finalizers and of cleanups, of which so many are registered.
    pub(crate) fn stats(&self, counts: &Counts, registered: [u64; 2]) -> [CallStats; 2] {
        [CallKind::Finalizer, CallKind::Cleanup].map(|kind| {
            let failed = self.failed[kind as usize].load(Ordering::Relaxed);
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
    pub(crate) fn run_until_stopped(&self) {
        while let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.drain_until_stopped())) {
            self.restarts.fetch_add(1, Ordering::Relaxed);
            let message = message_of(&*payload);
            tell(|| tracing::error!(message, "the finalizer goroutine was restarted"));
            std::mem::forget(payload);
        }
    }

    fn drain_until_stopped(&self) {
        loop {
            match self.take_or_park() {
                Taken::Drain { int_arg_regs } => {
                    self.drain(int_arg_regs);
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
        loop {
            match self.queue.take(false) {
                Taken::Drain { int_arg_regs } => executed += self.drain(int_arg_regs),
                Taken::Nothing | Taken::Stop => return executed,
            }
        }
    }

    fn drain(&self, int_arg_regs: u8) -> u64 {
        let mut executed = 0;
        let _span = span(|| tracing::debug_span!("drain", int_arg_regs));
        self.traced.store(wants_calls(), Ordering::Relaxed);
        let mut lookup = Lookup::beside_sweeps(&self.shapes);
        let g = GBlock::zeroed();
        if let Some(observer) = &self.observer {
            guarded(OBSERVER, || observer.drain_began(int_arg_regs.into()));
        }
        let choose = |block: &Block| self.shapes.choose_codes(block, int_arg_regs);
        let mut next = self.queue.interrupted(choose);
        while let Some((block, from)) = next.or_else(|| self.queue.next_block(choose)) {
            lookup.refresh();
            executed += self.run_block(block, from, int_arg_regs, &mut lookup, &g);
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
        executed
    }

    /// Runs the records of a block from number `from` on.
    fn run_block(
        &self,
        block: Arc<Block>,
        from: usize,
        int_arg_regs: u8,
        lookup: &mut Lookup<'_>,
        g: &GBlock,
    ) -> u64 {
        let (slots, tags) = (block.slots(), block.tags());
        let mut objects = Vec::new();
        let mut at = from;
        self.queue.set_status(status::RUNNING, true);
        while at < slots.len() {
            if self.queue.is_cut(&slots[at]) {
                match self.queue.pass(at) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            // If a bug of this crate panics between here and the call, this record is skipped.
            let publish: *const Slot = &raw const slots[at];
            self.queue
                .progress()
                .store(publish.cast_mut().cast(), Ordering::Release);
            let end = match block.is_uniform() {
                true => slots.len(),
                false => at + same_batch(&tags[at..], int_arg_regs, lookup),
            };
            let shape = &lookup.get(tags[at].shape()).shape;
            // An observer sees each call by itself, and so does a trace.
            let traced = self.traced.load(Ordering::Relaxed);
            let end = match self.observer.is_some() || traced {
                true if !shape.is_bulk() => at + 1,
                _ => end,
            };
            let (end, timed) = match &self.samples {
                None => (end, None),
                Some(samples) => {
                    let (calls, timed) = samples.split(end - at, shape.is_bulk());
                    (at + calls, timed.then_some(samples))
                }
            };
            let end = self.queue.begin_batch(&block, at, end, shape.is_bulk());
            if end == at {
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
            let stub = shape.stub(int_arg_regs);
            let begun = timed.map(|samples| (samples, Instant::now()));
            let outcome = if shape.is_bulk() {
                self.run_bulk(stub, batch, &mut objects, g)
            } else {
                let first = batch.as_ptr();
                // SAFETY: I6: the block is shared, and rooted by the queue, as is an argument that
                // has an object of its own; a collection changes its references only while this
                // thread is inside a call. I8: `choose_codes` set each record's code for the
                // register count by which the stub was chosen. The rest is what the maker of the
                // function promised.
                catch_unwind(AssertUnwindSafe(|| unsafe {
                    stub.run(first.cast(), self.queue.end(), self.queue.progress(), g);
                }))
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
                guarded(OBSERVER, || observer.call_ended(&call, outcome.is_err()));
            }
            at = match outcome {
                Ok(()) => self.reached(slots),
                Err(payload) => {
                    let is_bulk = shape.is_bulk();
                    let index = self.reached(slots);
                    let shape = &lookup.get(tags[index].shape()).shape;
                    let kind = tags[index].kind();
                    self.failed[kind as usize].fetch_add(1, Ordering::Relaxed);
                    self.report(shape, &slots[index].record(), payload);
                    // A bulk finalizer was given all of its batch.
                    if is_bulk { end } else { index + 1 }
                }
            };
        }
        self.queue.set_status(status::RUNNING, false);
        self.queue.finish_block(block, at)
    }

    /// The number of the record that stubs published last.
    fn reached(&self, slots: &[Slot]) -> usize {
        let published = self.queue.progress().load(Ordering::Acquire);
        (published.addr() - slots.as_ptr().addr()) / size_of::<Record>()
    }

    /// Makes one call for all records of a batch, which have the same shape. All of them are roots
    /// until it has returned.
    fn run_bulk(
        &self,
        stub: &Stub,
        batch: &[Slot],
        objects: &mut Vec<u64>,
        g: &GBlock,
    ) -> std::thread::Result<()> {
        objects.clear();
        objects.extend(batch.iter().map(Slot::first_word));
        let all = Record {
            words: [
                objects.as_ptr().expose_provenance() as u64,
                batch.len() as u64,
            ],
            ..batch[0].record()
        };
        let batch = batch.as_ptr_range();
        let progress = self.queue.progress();
        progress.store(batch.start.cast_mut().cast(), Ordering::Release);
        // SAFETY: I6: the queue roots every record of the batch, as its progress stays where it is.
        // I8: a bulk finalizer has a fixed ABI; its stub passes the array's address and its length.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
            stub.run_all(std::slice::from_ref(&all), g);
        }));
        if outcome.is_ok() {
            progress.store(batch.end.cast_mut().cast(), Ordering::Release);
        }
        outcome
    }

    fn report(&self, shape: &Shape, record: &Record, payload: Box<dyn Any + Send>) {
        let panic = FinalizerPanic {
            message: message_of(&*payload).to_owned(),
            signature: shape.function().signature().to_string(),
            code: record.code,
            words: record.words,
        };
        self.panics.fetch_add(1, Ordering::Relaxed);
        guarded("the hook for panicking finalizers", || {
            (self.on_panic)(&panic)
        });
        guarded("the payload of a panic", || drop(payload));
    }
}

/// The message of a panic, if it is a string.
fn message_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("(not a text)")
}

/// Returns how many of these records, from the first on, can run in one batch: they have the same
/// stub, or the same bulk finalizer.
fn same_batch(tags: &[Tag], int_arg_regs: u8, lookup: &mut Lookup<'_>) -> usize {
    let mut batch = |tag: &Tag| {
        let shape = &lookup.get(tag.shape()).shape;
        match shape.is_bulk() {
            true => tag.shape() as usize,
            false => Arc::as_ptr(shape.stub(int_arg_regs)).addr(),
        }
    };
    let first = tags.first().map(&mut batch);
    let joins = |tag: &&Tag| Some(batch(tag)) == first;
    tags.iter().take_while(joins).count()
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
            scope.spawn(|| calls.run_until_stopped());
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
