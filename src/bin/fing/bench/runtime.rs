//! fing as a subject, through its public interface only, in this process.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use fing::{
    Cleanup, Executor, FinalizerFn, FinalizerState, HeapOptions, Mutator, Obj, Policy, Runtime,
    RuntimeBuilder, TypeFinalizer, TypeId,
};

use super::subject::{
    Fault, Laps, Phase, Round, STEP, Subject, Work, percentiles, resident, shuffle, shuffled,
};
use crate::callees::{self, Kind};

/// How long a drain may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// Nothing: what the same round costs without finalizers.
    Nothing,
    /// A System V finalizer.
    Finalizer(Kind),
    /// A System V finalizer prepared for the type, attached to each object.
    Prepared,
    /// As `Prepared`, drained function by function.
    Grouped,
    /// As `Prepared`, with a function that is called with many objects at once.
    Bulk,
    /// A System V finalizer that every object of the type has from the moment that it is made.
    Implied,
    /// A System V cleanup with an integer.
    Cleanup,
    /// A Go finalizer, called with this many integer argument registers.
    Go(Kind, usize),
}

impl Registered {
    /// Whether it is prepared for the type.
    fn is_prepared(self) -> bool {
        use Registered::{Bulk, Grouped, Implied, Prepared};
        matches!(self, Prepared | Grouped | Bulk | Implied)
    }

    /// Whether objects are registered one by one.
    fn registers(self) -> bool {
        !matches!(self, Registered::Nothing | Registered::Implied)
    }
}

/// A runtime as all rounds have it. If nothing churns, collections are timed, and none happens by itself.
pub(crate) fn builder(churns: bool) -> RuntimeBuilder {
    Runtime::builder()
        .heap(HeapOptions {
            limit: 64 << 30,
            percent: churns.then_some(100),
            ..HeapOptions::default()
        })
        .executor(if churns {
            Executor::Thread
        } else {
            Executor::Inline
        })
}

/// A runtime and what is registered with it.
pub(crate) struct Fing {
    runtime: Runtime,
    object: TypeId,
    /// An array of references, which keeps the objects.
    keep: TypeId,
    registered: Registered,
    functions: Vec<FinalizerFn>,
    /// The functions, prepared for the type, if that is what is measured.
    prepared: Vec<TypeFinalizer>,
    work: Work,
    objects: usize,
}

impl Fing {
    /// # Errors
    /// The runtime's; all name what they wanted.
    pub(crate) fn new(registered: Registered, work: Work, objects: usize) -> Result<Fing, Fault> {
        let builder = builder(work == Work::Churn);
        let runtime = match registered {
            Registered::Go(_, count) => builder.int_arg_regs(count),
            Registered::Grouped => builder.policy(Policy::Grouped),
            _ => builder,
        }
        .build()?;
        let types = runtime.types();
        let (name, underlying) = callees::OBJECT;
        let object = types.define(name, underlying)?;
        let keep = types.define("bench.Keep", &format!("[{objects}]*{name}"))?;
        let functions = match registered {
            Registered::Nothing => Vec::new(),
            Registered::Finalizer(kind) => callees::finalizers(types, kind)?,
            Registered::Prepared | Registered::Grouped => {
                callees::finalizers(types, Kind::Pointer)?
            }
            Registered::Implied => callees::finalizers(types, Kind::Pointer)?[..1].to_vec(),
            Registered::Bulk => vec![callees::bulk(types)?],
            Registered::Cleanup => vec![callees::cleanup(types)?],
            Registered::Go(kind, _) => vec![callees::go_finalizer(types, kind)?],
        };
        let prepared: Vec<TypeFinalizer> = if registered.is_prepared() {
            let prepare = |function| runtime.prepare_finalizer(object, function);
            functions.iter().map(prepare).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        if let (Registered::Implied, [all]) = (registered, &prepared[..]) {
            all.attach_to_all()?;
        }
        Ok(Fing {
            prepared,
            runtime,
            object,
            keep,
            registered,
            functions,
            work,
            objects,
        })
    }

    /// Registers objects, each with the function of this number. Cleanups are given to `keep`, for nothing else takes them back.
    #[inline]
    fn register<'m>(
        &self,
        mutator: &'m Mutator,
        objects: impl Iterator<Item = (Obj<'m>, usize)>,
        mut keep: impl FnMut(Cleanup),
    ) -> Result<(), Fault> {
        match self.registered {
            Registered::Nothing | Registered::Implied => {}
            Registered::Prepared | Registered::Grouped | Registered::Bulk => {
                for (object, target) in objects {
                    self.prepared[target].attach(mutator, object)?;
                }
            }
            Registered::Cleanup => {
                for (object, target) in objects {
                    let (addr, function) = (object.addr(), &self.functions[target]);
                    keep(self.runtime.add_cleanup(mutator, addr, function, 1)?);
                }
            }
            Registered::Finalizer(_) | Registered::Go(..) => {
                for (object, target) in objects {
                    let function = Some(&self.functions[target]);
                    self.runtime
                        .set_finalizer(mutator, object.into(), function)?;
                }
            }
        }
        Ok(())
    }

    /// How many calls a round with this many dead objects makes.
    fn wanted(&self, dead: usize) -> u64 {
        if self.functions.is_empty() {
            0
        } else {
            dead as u64
        }
    }

    fn cycle(&self, dead: u8, targets: u8) -> Result<Round, Fault> {
        let mut mutator = self.runtime.attach()?;
        let before = callees::calls();
        let mut laps = Laps::new(self.objects);
        let keep = {
            let keep = mutator.alloc(self.keep)?;
            let mut objects = Vec::with_capacity(self.objects);
            laps.begin();
            for n in 0..self.objects {
                let object = mutator.alloc(self.object)?;
                mutator.store_addr(keep, 8 * n, object.addr())?;
                objects.push(object);
            }
            laps.end(Phase::Alloc);
            let objects = objects.iter().copied();
            if targets == 1 {
                self.register(&mutator, objects.map(|object| (object, 0)), drop)?;
            } else {
                self.register(&mutator, objects.zip(shuffled(targets)), drop)?;
            }
            if self.registered.registers() {
                laps.end(Phase::Register);
            }
            mutator.root(keep)
        };
        mutator.gc()?;
        laps.begin();
        mutator.gc()?;
        laps.end(Phase::Live);
        let mut died = 0;
        let array = mutator.get(&keep)?;
        for (n, hundredth) in (0..self.objects).zip(shuffled(100)) {
            if hundredth < dead.into() {
                mutator.store_addr(array, 8 * n, 0)?;
                died += 1;
            }
        }
        laps.begin();
        mutator.gc()?;
        laps.end(Phase::Discover);
        if !self.functions.is_empty() {
            mutator.native(|| self.runtime.run_finalizers())?;
            laps.end(Phase::Drain);
        }
        mutator.gc()?;
        laps.end(Phase::Free);
        let (found, wanted) = (callees::calls() - before, self.wanted(died));
        if found != wanted {
            return Err(format!("fing: {found} finalizers ran, wanted {wanted}").into());
        }
        // What is left of this round dies with its array; not the next round's.
        drop(keep);
        mutator.gc()?;
        mutator.native(|| self.runtime.run_finalizers())?;
        mutator.gc()?;
        Ok(laps.finish())
    }

    /// Makes all, registers them and takes that back, both in a random order if so said.
    fn cancel(&self, random: bool) -> Result<Round, Fault> {
        let mut mutator = self.runtime.attach()?;
        let mut laps = Laps::new(self.objects);
        let mut objects = Vec::with_capacity(self.objects);
        for _ in 0..self.objects {
            objects.push(mutator.alloc(self.object)?);
        }
        if random {
            shuffle(&mut objects);
        }
        let mut cleanups = Vec::with_capacity(self.objects);
        laps.begin();
        let all = objects.iter().map(|&object| (object, 0));
        self.register(&mutator, all, |cleanup| cleanups.push(cleanup))?;
        laps.end(Phase::Register);
        if random {
            shuffle(&mut objects);
            shuffle(&mut cleanups);
        }
        let mut canceled = 0;
        laps.begin();
        if self.registered == Registered::Cleanup {
            canceled += cleanups.iter().filter(|cleanup| cleanup.stop()).count();
        } else if let Some(prepared) = self.prepared.first() {
            for &object in &objects {
                canceled += usize::from(prepared.detach(&mutator, object)?);
            }
        } else {
            for &object in &objects {
                let state = self.runtime.set_finalizer(&mutator, object.into(), None)?;
                canceled += usize::from(state == FinalizerState::Cleared(true));
            }
        }
        laps.end(Phase::Cancel);
        if canceled != self.objects {
            let wanted = self.objects;
            return Err(format!("fing: {canceled} canceled, wanted {wanted}").into());
        }
        drop((objects, cleanups));
        mutator.gc()?;
        Ok(laps.finish())
    }

    /// What the process grows by. Only the first such round of a process means anything.
    fn memory(&self) -> Result<Round, Fault> {
        let mut mutator = self.runtime.attach()?;
        // So that what is made once is there: the first finalizer's stub, and what a collection itself takes.
        let first = std::iter::once((mutator.alloc(self.object)?, 0));
        self.register(&mutator, first, drop)?;
        mutator.gc()?;
        mutator.native(|| self.runtime.run_finalizers())?;
        let before = callees::calls();
        let mut laps = Laps::new(self.objects);
        let keep = {
            let keep = mutator.alloc(self.keep)?;
            for n in 0..self.objects {
                mutator.store_addr(keep, 8 * n, mutator.alloc(self.object)?.addr())?;
            }
            mutator.root(keep)
        };
        mutator.gc()?;
        let array = mutator.get(&keep)?;
        let small = resident()?;
        for n in 0..self.objects {
            let object = mutator.load_ref(array, 8 * n)?.into_iter();
            self.register(&mutator, object.map(|object| (object, 0)), drop)?;
        }
        laps.note(Phase::Memory, resident()? - small);
        for n in 0..self.objects {
            mutator.store_addr(array, 8 * n, 0)?;
        }
        mutator.gc()?;
        laps.note(Phase::Queued, resident()? - small);
        mutator.native(|| self.runtime.run_finalizers())?;
        let (found, wanted) = (callees::calls() - before, self.wanted(self.objects));
        if found != wanted {
            return Err(format!("fing: {found} finalizers ran, wanted {wanted}").into());
        }
        Ok(laps.finish())
    }

    fn churn(&self) -> Result<Round, Fault> {
        let before = callees::calls();
        let mut laps = Laps::new(self.objects);
        let mut steps = Vec::with_capacity(self.objects / STEP);
        {
            let mut mutator = self.runtime.attach()?;
            let mut ring = Vec::new();
            ring.resize_with((self.objects / 10).max(1), || None);
            let window = ring.len();
            laps.begin();
            let mut last = Instant::now();
            for n in 0..self.objects {
                let object = mutator.alloc_collecting(self.object)?;
                let once = std::iter::once((mutator.get(&object)?, 0));
                self.register(&mutator, once, drop)?;
                ring[n % window] = Some(object);
                if n % STEP == STEP - 1 {
                    let now = Instant::now();
                    steps.push(now - std::mem::replace(&mut last, now));
                }
            }
            laps.end(Phase::Churn);
        }
        let wanted = self.wanted(self.objects);
        let dropped = self.wanted(self.objects - (self.objects / 10).max(1));
        let waiting = (dropped + before).saturating_sub(callees::calls()) as f64;
        loop {
            self.runtime.gc()?;
            self.runtime.block_until_finalizer_queue_empty(PATIENCE)?;
            if callees::calls() - before >= wanted {
                break;
            }
        }
        let mut round = laps.finish();
        if wanted > 0 {
            round.insert(Phase::Backlog, 100.0 * waiting / self.objects as f64);
        }
        round.extend(percentiles(steps));
        Ok(round)
    }
}

impl Subject for Fing {
    fn round(&mut self) -> Result<Round, Fault> {
        match self.work {
            Work::Cycle { dead, targets } => self.cycle(dead, targets),
            Work::Cancel => self.cancel(false),
            Work::Random => self.cancel(true),
            Work::Churn => self.churn(),
            Work::Memory => self.memory(),
            Work::Tree | Work::TreeChurn => Err("fing: trees have no finalizers".into()),
        }
    }
}
