//! fing as a subject, through its public interface only, in this process.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use fing::{
    Executor, FinalizerFn, FinalizerState, HeapOptions, Mutator, Obj, Policy, Runtime,
    TypeFinalizer, TypeId,
};

use super::subject::{Fault, Laps, Phase, Round, STEP, Subject, Work, percentiles, shuffled};
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
    /// A System V cleanup with an integer.
    Cleanup,
    /// A Go finalizer, called with this many integer argument registers.
    Go(Kind, usize),
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
        let churns = work == Work::Churn;
        let builder = Runtime::builder()
            .heap(HeapOptions {
                limit: 64 << 30,
                // Where collections are timed, none happens by itself.
                percent: churns.then_some(100),
                ..HeapOptions::default()
            })
            .executor(if churns {
                Executor::Thread
            } else {
                Executor::Inline
            });
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
            Registered::Cleanup => vec![callees::cleanup(types)?],
            Registered::Go(kind, _) => vec![callees::go_finalizer(types, kind)?],
        };
        let prepared = if matches!(registered, Registered::Prepared | Registered::Grouped) {
            let prepare = |function| runtime.prepare_finalizer(object, function);
            functions.iter().map(prepare).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
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

    fn register(&self, mutator: &Mutator, object: Obj<'_>, target: usize) -> Result<(), Fault> {
        if let Some(prepared) = self.prepared.get(target) {
            return Ok(prepared.attach(mutator, object)?);
        }
        let Some(function) = self.functions.get(target) else {
            return Ok(());
        };
        if self.registered == Registered::Cleanup {
            self.runtime
                .add_cleanup(mutator, object.addr(), function, 1)?;
        } else {
            self.runtime
                .set_finalizer(mutator, object.into(), Some(function))?;
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
            if targets == 1 {
                for &object in &objects {
                    self.register(&mutator, object, 0)?;
                }
            } else {
                for (&object, target) in objects.iter().zip(shuffled(targets)) {
                    self.register(&mutator, object, target)?;
                }
            }
            if !self.functions.is_empty() {
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

    fn cancel(&self) -> Result<Round, Fault> {
        let mut mutator = self.runtime.attach()?;
        let mut laps = Laps::new(self.objects);
        let mut cleanups = Vec::with_capacity(self.objects);
        let mut objects = Vec::with_capacity(self.objects);
        for _ in 0..self.objects {
            let object = mutator.alloc(self.object)?;
            match self.registered {
                Registered::Cleanup => {
                    let function = &self.functions[0];
                    cleanups.push(self.runtime.add_cleanup(
                        &mutator,
                        object.addr(),
                        function,
                        1,
                    )?);
                }
                _ => self.register(&mutator, object, 0)?,
            }
            objects.push(object);
        }
        laps.begin();
        let mut canceled = 0;
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
        drop(objects);
        mutator.gc()?;
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
                self.register(&mutator, mutator.get(&object)?, 0)?;
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
            Work::Cancel => self.cancel(),
            Work::Churn => self.churn(),
        }
    }
}
