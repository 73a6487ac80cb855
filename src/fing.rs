//! The finalizer goroutine: takes the queue, finds runs of records with one stub, and calls each run.
//!
//! During a call it holds no lock and no right to the heap: it is *native*, so a finalizer that blocks never blocks a
//! collection, and one that touches the heap attaches a mutator of its own.
#![expect(unsafe_code, reason = "runs stubs over the queue's records")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fing_stubs::{
    AbiError, Arch, CacheOptions, GBlock, Machine, Record, RegClass, StubCache, StubError,
};

use crate::observer::{Call, Observer, ParkReason};
use crate::queue::{Block, Queue, Taken, status};
use crate::shapes::{Shape, Shapes};

/// A finalizer or cleanup that panicked. The panic was caught; the records after it were run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FinalizerPanic {
    /// The panic's message, if it was a text.
    pub message: String,
    /// Signature of the function.
    pub signature: String,
    /// Address of the function.
    pub code: usize,
    /// The words it was called with: an object's address, or an interface, or a cleanup's argument.
    pub words: [u64; 2],
}

/// Runs code of the user's that is no finalizer. A panic of it, even one whose payload panics when it is dropped, does
/// not end the goroutine.
fn guarded(what: &str, body: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        tracing::error!("{what} panicked");
        std::mem::forget(payload);
    }
}

/// Who is told of panics.
pub(crate) type PanicHook = dyn Fn(&FinalizerPanic) + Send + Sync;

/// What is due, and all that is needed to call it.
pub(crate) struct Calls {
    pub(crate) queue: Arc<Queue>,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) stubs: Arc<StubCache>,
    on_panic: Box<PanicHook>,
    pub(crate) panics: AtomicU64,
    observer: Option<Box<dyn Observer>>,
}

/// Why nothing can be called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallsError {
    #[error(transparent)]
    Stubs(#[from] StubError),
    #[error(transparent)]
    IntArgRegs(#[from] AbiError),
}

/// What the rooms that hold [`Calls`] are built with.
pub(crate) struct CallOptions {
    pub(crate) code: CacheOptions,
    /// The machine's maximum if `None`.
    pub(crate) int_arg_regs: Option<usize>,
    pub(crate) on_panic: Box<PanicHook>,
    pub(crate) observer: Option<Box<dyn Observer>>,
}

impl Default for CallOptions {
    fn default() -> CallOptions {
        CallOptions {
            code: CacheOptions::default(),
            int_arg_regs: None,
            on_panic: Box::new(|panic| tracing::error!(?panic, "a finalizer panicked")),
            observer: None,
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
            queue: Arc::new(Queue::new(checked_int_arg_regs(count)?)),
            shapes: Arc::new(Shapes::new()),
            stubs: Arc::new(StubCache::new(options.code)?),
            on_panic: options.on_panic,
            observer: options.observer,
            panics: AtomicU64::new(0),
        })
    }

    /// Sets the register count from the next drain on; returns the one before.
    pub(crate) fn set_int_arg_regs(&self, count: usize) -> Result<usize, AbiError> {
        let before = self.queue.set_int_arg_regs(checked_int_arg_regs(count)?);
        Ok(before.into())
    }

    /// Drains until the queue is stopped, parked while there is nothing to do.
    pub(crate) fn run_until_stopped(&self) {
        loop {
            match self.take_or_park() {
                Taken::Drain { int_arg_regs } => {
                    self.drain(int_arg_regs);
                }
                Taken::Nothing => {}
                Taken::Stop => break,
            }
        }
        self.release_discarded();
    }

    fn take_or_park(&self) -> Taken {
        let Some(observer) = &self.observer else {
            return self.queue.take(true);
        };
        match self.queue.take(false) {
            Taken::Nothing => {
                self.tell(|| observer.parked(ParkReason::FinalizerWait));
                let taken = self.queue.take(true);
                self.tell(|| observer.woken());
                taken
            }
            taken => taken,
        }
    }

    fn tell(&self, body: impl FnOnce()) {
        guarded("the observer", body);
    }

    /// Drains until nothing is due, on this thread. Returns how many records were run.
    pub(crate) fn run_due(&self) -> u64 {
        let mut executed = 0;
        loop {
            match self.queue.take(false) {
                Taken::Drain { int_arg_regs } => executed += self.drain(int_arg_regs),
                Taken::Nothing | Taken::Stop => return executed,
            }
        }
    }

    /// Gives back what the records hold that will never run.
    pub(crate) fn release_discarded(&self) {
        for (shape, count) in self.queue.discard() {
            let last = self.shapes.release(shape, count);
            guarded("what a finalizer kept alive", || drop(last));
        }
    }

    fn drain(&self, int_arg_regs: u8) -> u64 {
        let mut executed = 0;
        if let Some(observer) = &self.observer {
            self.tell(|| observer.drain_began(int_arg_regs.into()));
        }
        while let Some(block) = self
            .queue
            .next_block(|block| self.shapes.choose_codes(block, int_arg_regs))
        {
            executed += self.run_block(block, int_arg_regs);
        }
        if let Some(observer) = &self.observer {
            self.tell(|| observer.drain_ended(executed));
        }
        executed
    }

    fn run_block(&self, block: Arc<Block>, int_arg_regs: u8) -> u64 {
        let (slots, tags) = (block.slots(), block.tags());
        let g = GBlock::zeroed();
        let mut at = 0;
        while at < slots.len() {
            let shape = self.shapes.get(tags[at].shape());
            let stub = shape.stub(int_arg_regs);
            // Neighbours of one shape, or of shapes that share a stub, share a batch. An observer sees each by itself.
            let end = (at + 1..slots.len())
                .find(|&n| {
                    self.observer.is_some()
                        || tags[n].shape() != tags[n - 1].shape()
                            && !Arc::ptr_eq(
                                self.shapes.get(tags[n].shape()).stub(int_arg_regs),
                                stub,
                            )
                })
                .unwrap_or(slots.len());
            let record = slots[at].record();
            let call = Call {
                code: record.code,
                signature: shape.function().signature(),
                words: record.words,
            };
            if let Some(observer) = &self.observer {
                self.tell(|| observer.call_began(&call));
            }
            let batch = slots[at..end].as_ptr_range();
            self.queue.set_status(status::RUNNING, true);
            // SAFETY: I6: the block is shared, and rooted by the queue, as is an argument that has an object of
            // its own; a collection changes its references only while this thread is inside a call. I8: `choose_codes`
            // set each record's code for the register count by which the stub was chosen. The rest is what whoever made
            // the `FinalizerFn` promised.
            let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
                stub.run(
                    batch.start.cast(),
                    batch.end.cast(),
                    self.queue.progress(),
                    &g,
                );
            }));
            self.queue.set_status(status::RUNNING, false);
            if let Some(observer) = &self.observer {
                self.tell(|| observer.call_ended(&call, outcome.is_err()));
            }
            at = match outcome {
                Ok(()) => end,
                Err(payload) => {
                    let running = self.queue.progress().load(Ordering::Acquire);
                    let index = (running.addr() - slots.as_ptr().addr()) / size_of::<Record>();
                    self.report(
                        &self.shapes.get(tags[index].shape()),
                        &slots[index].record(),
                        payload,
                    );
                    index + 1
                }
            };
        }
        let executed = slots.len() as u64;
        let done = Shapes::count(tags);
        self.queue.finish_block(block, executed);
        for (shape, count) in done {
            // Dropped here, with no lock held: the last use of a function drops what its maker keeps alive for it.
            let last = self.shapes.release(shape, count);
            guarded("what a finalizer kept alive", || drop(last));
        }
        executed
    }

    fn report(&self, shape: &Shape, record: &Record, payload: Box<dyn Any + Send>) {
        let message = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| {
                payload
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
            })
            .unwrap_or_else(|| "(not a text)".to_owned());
        let panic = FinalizerPanic {
            message,
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
