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
    AbiError, Arch, CacheOptions, GBlock, Machine, Record, RegClass, Stub, StubCache, StubError,
};

use crate::observer::{Call, Observer, ParkReason};
use crate::queue::{Block, Policy, Queue, Slot, Tag, Taken, status};
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
    pub(crate) policy: Policy,
    /// The machine's maximum if `None`.
    pub(crate) int_arg_regs: Option<usize>,
    pub(crate) on_panic: Box<PanicHook>,
    pub(crate) observer: Option<Box<dyn Observer>>,
}

impl Default for CallOptions {
    fn default() -> CallOptions {
        CallOptions {
            code: CacheOptions::default(),
            policy: Policy::default(),
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
            queue: Arc::new(Queue::new(checked_int_arg_regs(count)?, options.policy)),
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
        let mut known = Known::new(&self.shapes, int_arg_regs);
        let g = GBlock::zeroed();
        if let Some(observer) = &self.observer {
            self.tell(|| observer.drain_began(int_arg_regs.into()));
        }
        while let Some(block) = self
            .queue
            .next_block(|block| self.shapes.choose_codes(block, int_arg_regs))
        {
            known.look_up(block.tags(), block.is_uniform());
            executed += self.run_block(block, &known, &g);
            // Dropped here, with no lock held: the last use of a function drops what its maker keeps alive for it.
            for last in known.release() {
                guarded("what a finalizer kept alive", || drop(last));
            }
        }
        if let Some(observer) = &self.observer {
            self.tell(|| observer.drain_ended(executed));
        }
        executed
    }

    fn run_block(&self, block: Arc<Block>, known: &Known<'_>, g: &GBlock) -> u64 {
        let (slots, tags) = (block.slots(), block.tags());
        let mut objects = Vec::new();
        let mut at = 0;
        self.queue.set_status(status::RUNNING, true);
        while at < slots.len() {
            let first = known.get(tags[at]);
            let joins = |tag: &Tag| known.get(*tag).batch == first.batch;
            // An observer sees each call by itself.
            let end = match (&self.observer, block.is_uniform()) {
                (Some(_), _) if !first.is_bulk() => at + 1,
                (_, true) => slots.len(),
                (_, false) => tags[at..]
                    .iter()
                    .position(|tag| !joins(tag))
                    .map_or(slots.len(), |run| at + run),
            };
            let record = slots[at].record();
            let call = Call {
                code: record.code,
                signature: first.shape.function().signature(),
                words: record.words,
            };
            if let Some(observer) = &self.observer {
                self.tell(|| observer.call_began(&call));
            }
            let batch = &slots[at..end];
            let outcome = if first.is_bulk() {
                self.run_bulk(&first.stub, batch, &mut objects, g)
            } else {
                let batch = batch.as_ptr_range();
                // SAFETY: I6: the block is shared, and rooted by the queue, as is an argument that has an object of
                // its own; a collection changes its references only while this thread is inside a call. I8:
                // `choose_codes` set each record's code for the register count by which the stub was chosen. The rest is
                // what whoever made the `FinalizerFn` promised.
                catch_unwind(AssertUnwindSafe(|| unsafe {
                    first.stub.run(
                        batch.start.cast(),
                        batch.end.cast(),
                        self.queue.progress(),
                        g,
                    );
                }))
            };
            if let Some(observer) = &self.observer {
                self.tell(|| observer.call_ended(&call, outcome.is_err()));
            }
            at = match outcome {
                Ok(()) => end,
                Err(payload) => {
                    let running = self.queue.progress().load(Ordering::Acquire);
                    let index = (running.addr() - slots.as_ptr().addr()) / size_of::<Record>();
                    self.report(
                        &known.get(tags[index]).shape,
                        &slots[index].record(),
                        payload,
                    );
                    // A bulk finalizer was given all of its batch.
                    if first.is_bulk() { end } else { index + 1 }
                }
            };
        }
        self.queue.set_status(status::RUNNING, false);
        let executed = slots.len() as u64;
        self.queue.finish_block(block, executed);
        executed
    }

    /// One call for all records of a batch, which are of one shape. All of them are roots until it has returned.
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
        // SAFETY: I6: the queue roots every record of the batch, as its progress stays where it is. I8: a bulk finalizer
        // has a fixed ABI; its stub passes the array's address and its length.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
            stub.run_all(std::slice::from_ref(&all), g);
        }));
        if outcome.is_ok() {
            progress.store(batch.end.cast_mut().cast(), Ordering::Release);
        }
        outcome
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

/// The shapes of a drain's records, looked up once.
struct Known<'a> {
    shapes: &'a Shapes,
    int_arg_regs: u8,
    /// By the shape's index.
    table: Vec<Option<Resolved>>,
    /// Those with uses to be given back.
    used: Vec<u32>,
}

/// A shape with the stub for this drain.
struct Resolved {
    shape: Arc<Shape>,
    stub: Arc<Stub>,
    /// Neighbours that are equal in this share a batch: they have one stub, or are of one bulk finalizer.
    batch: usize,
    /// Records of the block under way, if they are counted.
    uses: u64,
}

impl Resolved {
    fn is_bulk(&self) -> bool {
        self.shape.is_bulk()
    }
}

impl<'a> Known<'a> {
    fn new(shapes: &'a Shapes, int_arg_regs: u8) -> Known<'a> {
        Known {
            shapes,
            int_arg_regs,
            table: Vec::new(),
            used: Vec::new(),
        }
    }

    /// Looks up what is not known yet of a block's shapes, and counts the uses of each.
    fn look_up(&mut self, tags: &[Tag], uniform: bool) {
        match tags {
            [] => {}
            [first, ..] if uniform => self.count(*first, tags.len() as u64),
            _ => tags.iter().for_each(|tag| self.count(*tag, 1)),
        }
    }

    #[inline]
    fn count(&mut self, tag: Tag, uses: u64) {
        let index = tag.shape();
        let known = match self.table.get_mut(index as usize) {
            Some(Some(known)) => known,
            _ => self.resolve(index),
        };
        known.uses += uses;
        if known.uses == uses && known.shape.is_counted() {
            self.used.push(index);
        }
    }

    #[cold]
    fn resolve(&mut self, index: u32) -> &mut Resolved {
        let at = index as usize;
        if self.table.len() <= at {
            self.table.resize_with(at + 1, || None);
        }
        self.table[at].get_or_insert_with(|| {
            let shape = self.shapes.get(index);
            let stub = shape.stub(self.int_arg_regs).clone();
            Resolved {
                batch: if shape.is_bulk() {
                    index as usize
                } else {
                    Arc::as_ptr(&stub).addr()
                },
                shape,
                stub,
                uses: 0,
            }
        })
    }

    /// The shape of a record of a block that was looked up.
    fn get(&self, tag: Tag) -> &Resolved {
        let known = self.table.get(tag.shape() as usize);
        known
            .and_then(Option::as_ref)
            .expect("the shapes of a block are looked up before it runs")
    }

    /// Gives back the uses counted. What is returned is to be dropped with no lock held.
    fn release(&mut self) -> Vec<Resolved> {
        if self.used.is_empty() {
            return Vec::new();
        }
        let table = &mut self.table;
        let uses = self.used.drain(..).filter_map(|index| {
            let known = table[index as usize].as_mut()?;
            Some((index, std::mem::take(&mut known.uses)))
        });
        let gone = self.shapes.release_all(uses);
        // An index that is free may come to mean another shape.
        let taken = |index: u32| self.table[index as usize].take();
        gone.into_iter().filter_map(taken).collect()
    }
}
