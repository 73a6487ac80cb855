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
    AbiError, Arch, CacheOptions, GBlock, Machine, Record, RegClass, Stub, StubCache, StubError,
};

use crate::base::events::{guarded, span, tell, wants_calls};
use crate::calls::budget::{Budget, Limit};
use crate::calls::lent::{Lender, Watch};
use crate::calls::lookup::Lookup;
use crate::calls::mailbox::{DueHook, Mailbox};
use crate::calls::misuse::{MisuseHook, tell_misuse};
use crate::calls::observer::{Call, Observer, ParkReason};
use crate::calls::queue::{
    Block, CallKind, CallStats, Counts, DrainOrder, Queue, Slot, Tag, Taken, status,
};
use crate::calls::samples::{Sample, Samples};
use crate::calls::shape::{Callee, Shape};
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
    pub(crate) queue: Arc<Queue>,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) stubs: Arc<StubCache>,
    on_panic: Box<PanicHook>,
    pub(super) on_misuse: Box<MisuseHook>,
    pub(crate) panics: AtomicU64,
    /// Mutators that calls did not leave as they must be.
    pub(crate) misuses: AtomicU64,
    /// Times the goroutine was restarted after a panic in this crate's own code.
    pub(crate) restarts: AtomicU64,
    observer: Option<Box<dyn Observer>>,
    pub(crate) mailbox: Arc<Mailbox>,
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
}

/// What [`Calls`] is built with.
pub(crate) struct CallOptions {
    pub(crate) code: CacheOptions,
    pub(crate) drain_order: DrainOrder,
    /// The machine's maximum if `None`.
    pub(crate) int_arg_regs: Option<usize>,
    pub(crate) on_panic: Box<PanicHook>,
    pub(crate) on_misuse: Box<MisuseHook>,
    pub(crate) observer: Option<Box<dyn Observer>>,
    pub(crate) on_due: Option<Box<DueHook>>,
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
            on_misuse: Box::new(tell_misuse),
            observer: None,
            on_due: None,
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
            queue: Arc::new(Queue::new(
                checked_int_arg_regs(count)?,
                options.drain_order,
            )),
            shapes: Arc::new(Shapes::new()),
            stubs: Arc::new(StubCache::new(options.code)?),
            on_panic: options.on_panic,
            on_misuse: options.on_misuse,
            observer: options.observer,
            mailbox: Arc::new(Mailbox::new(options.on_due)),
            panics: AtomicU64::new(0),
            misuses: AtomicU64::new(0),
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
    pub(crate) fn run_until_stopped(&self, lender: &dyn Lender) {
        let drain = || self.drain_until_stopped(lender);
        while let Err(payload) = catch_unwind(AssertUnwindSafe(drain)) {
            self.restarts.fetch_add(1, Ordering::Relaxed);
            let message = message_of(&*payload);
            tell(|| tracing::error!(message, "the finalizer goroutine was restarted"));
            std::mem::forget(payload);
        }
        self.discard();
    }

    fn drain_until_stopped(&self, lender: &dyn Lender) {
        loop {
            match self.take_or_park() {
                Taken::Drain { int_arg_regs } => {
                    self.drain(int_arg_regs, &mut Limit::new(Budget::unlimited()), lender);
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

    /// Drains on this thread until nothing is due or the budget is used up. Returns how many
    /// records were run.
    pub(crate) fn run_due(&self, budget: Budget, lender: &dyn Lender) -> u64 {
        let mut executed = 0;
        let mut limit = Limit::new(budget);
        loop {
            match self.queue.take(false) {
                Taken::Drain { int_arg_regs } => {
                    let (done, whole) = self.drain(int_arg_regs, &mut limit, lender);
                    executed += done;
                    if !whole {
                        return executed;
                    }
                }
                Taken::Nothing | Taken::Stop => return executed,
            }
        }
    }

    /// Drops all queued records. Only for a goroutine that has ended.
    pub(crate) fn discard(&self) {
        self.queue.discard();
    }

    /// Runs what the queue has taken. Returns how many records were run, and false if the limit was
    /// reached first.
    fn drain(&self, int_arg_regs: u8, limit: &mut Limit, lender: &dyn Lender) -> (u64, bool) {
        let mut executed = 0;
        let mut most = limit.next(0);
        let mut watch = Watch::begin(&self.queue);
        let _span = span(|| tracing::debug_span!("drain", int_arg_regs));
        self.traced.store(wants_calls(), Ordering::Relaxed);
        let mut lookup = Lookup::beside_sweeps(&self.shapes);
        let g = GBlock::zeroed();
        if let Some(observer) = &self.observer {
            guarded(OBSERVER, || observer.drain_began(int_arg_regs.into()));
        }
        let choose = |block: &Block| self.shapes.choose_codes(block, int_arg_regs);
        let mut next = self.queue.interrupted(choose);
        while most > 0
            && let Some((block, from)) = next.or_else(|| self.queue.next_block(most, choose))
        {
            lookup.refresh();
            let on = (lender, &mut watch, &g);
            let done = self.run_block(block, from, int_arg_regs, &mut lookup, on);
            executed += done;
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

    /// Runs the records of a block from number `from` on.
    fn run_block(
        &self,
        block: Arc<Block>,
        from: usize,
        int_arg_regs: u8,
        lookup: &mut Lookup<'_>,
        (lender, watch, g): (&dyn Lender, &mut Watch, &GBlock),
    ) -> u64 {
        let (slots, tags) = (block.slots(), block.tags());
        let mut at = from;
        self.queue.set_status(status::RUNNING, true);
        while at < slots.len() {
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
            let end = match self.observer.is_some() || traced || shape.is_watched() {
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
            let outcome = match shape.callee(int_arg_regs) {
                Callee::Stub(stub) if !shape.takes_mutator() => {
                    catch_unwind(AssertUnwindSafe(|| match shape.is_bulk() {
                        true => self.run_bulk(stub, batch, None, g),
                        false => self.run_stub(stub, batch, g),
                    }))
                }
                callee => self.run_lent(lender, (shape, callee, tags[at]), batch, (watch, g)),
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
            let is_bulk = shape.is_bulk();
            let running = self.queue.progress().load(Ordering::Acquire);
            let index = (running.addr() - slots.as_ptr().addr()) / size_of::<Record>();
            self.mend(watch, &block, at..(index + 1).clamp(at + 1, end), lookup);
            at = match outcome {
                Ok(()) => index,
                Err(payload) => {
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
        let skipped = std::mem::take(&mut watch.skipped);
        let executed = slots.len() as u64 - skipped.all();
        self.queue.finish_block(block, executed, skipped);
        executed
    }

    /// Calls each record of a batch, which have the same stub.
    pub(super) fn run_stub(&self, stub: &Stub, batch: &[Slot], g: &GBlock) {
        let batch = batch.as_ptr_range();
        // SAFETY: I6: the block is shared, and rooted by the queue, as is an argument that has an
        // object of its own; a collection changes its references only while this thread is inside a
        // call. I8: `choose_codes` set each record's code for the register count by which the stub
        // was chosen. The rest is what the maker of the function promised.
        unsafe {
            stub.run(
                batch.start.cast(),
                batch.end.cast(),
                self.queue.progress(),
                g,
            );
        }
    }

    /// Makes one call for all records of a batch, which have the same shape. All of them are roots
    /// until it has returned. `context` replaces that of the records, if there is one.
    pub(super) fn run_bulk(&self, stub: &Stub, batch: &[Slot], context: Option<usize>, g: &GBlock) {
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
        let batch = batch.as_ptr_range();
        let progress = self.queue.progress();
        progress.store(batch.start.cast_mut().cast(), Ordering::Release);
        // SAFETY: I6: the queue roots every record of the batch, as its progress stays where it is.
        // I8: a bulk finalizer has a fixed ABI; its stub passes the array's address and its length.
        unsafe { stub.run_all(std::slice::from_ref(&all), g) };
        progress.store(batch.end.cast_mut().cast(), Ordering::Release);
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
/// stub, or the same shape if calls of that can't be mixed with those of others.
fn same_batch(tags: &[Tag], int_arg_regs: u8, lookup: &mut Lookup<'_>) -> usize {
    let mut batch = |tag: &Tag| {
        let shape = &lookup.get(tag.shape()).shape;
        match shape.callee(int_arg_regs) {
            Callee::Stub(stub) if shape.may_share_batch() => Arc::as_ptr(stub).addr(),
            _ => tag.shape() as usize,
        }
    };
    let first = tags.first().map(&mut batch);
    let joins = |tag: &&Tag| Some(batch(tag)) == first;
    tags.iter().take_while(joins).count()
}

#[cfg(test)]
mod tests {
    use super::*;
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
            scope.spawn(|| calls.run_until_stopped(&Nothing));
            for round in 1..=3 {
                calls.queue.push([broken(), broken()]);
                calls.queue.wake();
                let patience = std::time::Duration::from_secs(30);
                calls.queue.wait_until_settled(patience).unwrap();
                // Each is skipped, and the goroutine parks again.
                assert_eq!(calls.restarts.load(Ordering::Relaxed), 2 * round);
                assert_eq!(calls.queue.counts().executed, 2 * round);
            }
            calls.queue.stop();
        });
    }
}
