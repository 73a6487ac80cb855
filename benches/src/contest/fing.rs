//! fing as a subject, in this process.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::work::{STEP, Work, phase};
use crate::api::functions::{self, CleanupFunction, Finalizer};
use crate::api::world::{Cleanup, Mutator, Obj, Prepared, Setup, World};
use crate::callees::{self, Kind};
use crate::measure::clock::{Laps, percentiles};
use crate::measure::memory::resident;
use crate::measure::random::{below, shuffle};
use crate::measure::{Fault, Round, Subject, expect};

/// What is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// Nothing: what the same round costs without finalizers.
    Nothing,
    /// A System V finalizer.
    Finalizer(Kind),
    /// A System V finalizer with a context for each object.
    Closure,
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

/// The functions that are registered, one for each target.
enum Functions {
    None,
    Finalizers(Vec<Finalizer>),
    Closure(Finalizer),
    Prepared(Vec<Prepared>),
    /// Nothing is registered: the type has the finalizer.
    Implied,
    Cleanup(CleanupFunction),
}

/// A runtime and what is registered with it.
pub(crate) struct Fing {
    world: World,
    functions: Functions,
    work: Work,
    objects: usize,
}

impl Fing {
    /// # Errors
    /// The runtime's.
    pub(crate) fn new(registered: Registered, work: Work, objects: usize) -> Result<Fing, Fault> {
        let churns = work == Work::Churn;
        let setup = Setup {
            paced: churns,
            threaded: churns,
            grouped: registered == Registered::Grouped,
            int_arg_regs: match registered {
                Registered::Go(_, count) => Some(count),
                _ => None,
            },
        };
        let world = World::new(objects, setup)?;
        Ok(Fing {
            functions: Functions::new(registered, &world)?,
            world,
            work,
            objects,
        })
    }

    /// Registers objects, each with the function of this number. Cleanups are given to `keep`: only
    /// they can take a cleanup back.
    #[inline]
    fn register<'m>(
        &self,
        mutator: &'m Mutator,
        objects: impl Iterator<Item = (Obj<'m>, usize)>,
        mut keep: impl FnMut(Cleanup),
    ) -> Result<(), Fault> {
        match &self.functions {
            Functions::None | Functions::Implied => {}
            Functions::Finalizers(functions) => {
                for (object, target) in objects {
                    self.world.set(mutator, object, &functions[target])?;
                }
            }
            Functions::Closure(closure) => {
                for (n, (object, _)) in objects.enumerate() {
                    self.world.set_closure(mutator, object, closure, n)?;
                }
            }
            Functions::Prepared(prepared) => {
                for (object, target) in objects {
                    prepared[target].set(object)?;
                }
            }
            Functions::Cleanup(function) => {
                for (object, _) in objects {
                    keep(self.world.add_cleanup(mutator, object, function, 1)?);
                }
            }
        }
        Ok(())
    }

    /// Registers all these objects with the first function.
    fn register_all<'m>(&self, mutator: &'m Mutator, objects: &[Obj<'m>]) -> Result<(), Fault> {
        let objects = objects.iter().map(|&object| (object, 0));
        self.register(mutator, objects, drop)
    }

    /// How many calls a round with this many dead objects makes.
    fn wanted(&self, dead: usize) -> u64 {
        match self.functions {
            Functions::None => 0,
            _ => dead as u64,
        }
    }

    /// Compares the calls since `before` with those that `dead` objects make.
    fn check(&self, before: u64, dead: usize) -> Result<(), Fault> {
        let wanted = self.wanted(dead) as usize;
        expect(
            "fing: finalizers that ran",
            callees::calls() - before,
            wanted,
        )
    }

    fn cycle(&self, dead: u8, targets: u8) -> Result<Round, Fault> {
        let mut mutator = self.world.mutator()?;
        let before = callees::calls();
        let mut laps = Laps::new(self.objects);
        let keep = {
            let mut objects = Vec::with_capacity(self.objects);
            laps.begin();
            let keep = self.world.fill(&mutator, |object| objects.push(object))?;
            laps.end(phase::ALLOC);
            if targets == 1 {
                self.register_all(&mutator, &objects)?;
            } else {
                let objects = objects.iter().copied().zip(below(targets));
                self.register(&mutator, objects, drop)?;
            }
            if !matches!(self.functions, Functions::None | Functions::Implied) {
                laps.end(phase::REGISTER);
            }
            keep
        };
        mutator.gc()?;
        laps.begin();
        mutator.gc()?;
        laps.end(phase::LIVE);
        let mut died = 0;
        let array = mutator.get(&keep)?;
        for (n, hundredth) in (0..self.objects).zip(below(100)) {
            if hundredth < dead.into() {
                self.world.keep(&mutator, array, n, None)?;
                died += 1;
            }
        }
        laps.begin();
        mutator.gc()?;
        laps.end(phase::DISCOVER);
        if !matches!(self.functions, Functions::None) {
            self.world.run(&mut mutator)?;
            laps.end(phase::DRAIN);
        }
        mutator.gc()?;
        laps.end(phase::FREE);
        self.check(before, died)?;
        // The rest of this round's objects die here, not in the next round.
        drop(keep);
        mutator.gc()?;
        self.world.run(&mut mutator)?;
        mutator.gc()?;
        Ok(laps.finish())
    }

    /// Makes all, registers them and takes that back, both in a random order if asked for.
    fn cancel(&self, random: bool) -> Result<Round, Fault> {
        let mut mutator = self.world.mutator()?;
        let mut laps = Laps::new(self.objects);
        let mut objects = Vec::with_capacity(self.objects);
        self.world.fill(&mutator, |object| objects.push(object))?;
        if random {
            shuffle(&mut objects);
        }
        let mut cleanups = Vec::with_capacity(self.objects);
        laps.begin();
        let all = objects.iter().map(|&object| (object, 0));
        self.register(&mutator, all, |cleanup| cleanups.push(cleanup))?;
        laps.end(phase::REGISTER);
        if random {
            shuffle(&mut objects);
            shuffle(&mut cleanups);
        }
        laps.begin();
        let canceled = self.take_back(&mutator, &objects, &cleanups)?;
        laps.end(phase::CANCEL);
        expect("fing: taken back", canceled, self.objects)?;
        drop((objects, cleanups));
        mutator.gc()?;
        Ok(laps.finish())
    }

    /// Takes registrations back, and returns how many there were.
    #[inline]
    fn take_back(
        &self,
        mutator: &Mutator,
        objects: &[Obj<'_>],
        cleanups: &[Cleanup],
    ) -> Result<u64, Fault> {
        let mut canceled = 0;
        match &self.functions {
            Functions::Cleanup(_) => {
                canceled = cleanups
                    .iter()
                    .filter(|cleanup| cleanup.stop().is_cancelled())
                    .count() as u64;
            }
            Functions::Prepared(prepared) => {
                for &object in objects {
                    canceled += u64::from(prepared[0].clear(object)?);
                }
            }
            _ => {
                for &object in objects {
                    canceled += u64::from(self.world.clear(mutator, object)?);
                }
            }
        }
        Ok(canceled)
    }

    /// Registers all, takes that back, and registers all again for their finalizers to run.
    fn closures(&self) -> Result<Round, Fault> {
        let mut mutator = self.world.mutator()?;
        let (before, contexts) = (callees::calls(), callees::contexts());
        let mut laps = Laps::new(self.objects);
        {
            let mut objects = Vec::with_capacity(self.objects);
            self.world.fill(&mutator, |object| objects.push(object))?;
            laps.begin();
            self.register_all(&mutator, &objects)?;
            laps.end(phase::REGISTER);
            let canceled = self.take_back(&mutator, &objects, &[])?;
            laps.end(phase::CANCEL);
            expect("fing: taken back", canceled, self.objects)?;
            self.register_all(&mutator, &objects)?;
        }
        laps.begin();
        mutator.gc()?;
        laps.end(phase::DISCOVER);
        self.world.run(&mut mutator)?;
        laps.end(phase::DRAIN);
        mutator.gc()?;
        self.check(before, self.objects)?;
        let sum = match self.functions {
            Functions::Closure(_) => self.objects * (self.objects - 1) / 2,
            _ => 0,
        };
        expect(
            "fing: the sum of contexts",
            callees::contexts() - contexts,
            sum,
        )?;
        Ok(laps.finish())
    }

    /// What the process grows by. Only the first such round of a process means anything.
    fn memory(&self) -> Result<Round, Fault> {
        let mut mutator = self.world.mutator()?;
        // What is made once is made here: the first finalizer's stub, and what a collection itself
        // takes.
        let first = self.world.alloc(&mutator)?;
        self.register_all(&mutator, &[first])?;
        mutator.gc()?;
        self.world.run(&mut mutator)?;
        let before = callees::calls();
        let mut laps = Laps::new(self.objects);
        let keep = self.world.fill(&mutator, |_| {})?;
        mutator.gc()?;
        let array = mutator.get(&keep)?;
        let small = resident()?;
        for n in 0..self.objects {
            let object = self.world.kept(&mutator, array, n)?.into_iter();
            self.register(&mutator, object.map(|object| (object, 0)), drop)?;
        }
        laps.note(phase::MEMORY, resident()? - small);
        for n in 0..self.objects {
            self.world.keep(&mutator, array, n, None)?;
        }
        mutator.gc()?;
        laps.note(phase::QUEUED, resident()? - small);
        self.world.run(&mut mutator)?;
        self.check(before, self.objects)?;
        Ok(laps.finish())
    }

    fn churn(&self) -> Result<Round, Fault> {
        let before = callees::calls();
        let mut laps = Laps::new(self.objects);
        let mut steps = Vec::with_capacity(self.objects / STEP);
        {
            let mut mutator = self.world.mutator()?;
            let mut ring = Vec::new();
            ring.resize_with((self.objects / 10).max(1), || None);
            let window = ring.len();
            laps.begin();
            let mut last = Instant::now();
            for n in 0..self.objects {
                let object = self.world.alloc_collecting(&mut mutator)?;
                let once = std::iter::once((mutator.get(&object)?, 0));
                self.register(&mutator, once, drop)?;
                ring[n % window] = Some(object);
                if n % STEP == STEP - 1 {
                    let now = Instant::now();
                    steps.push(now - std::mem::replace(&mut last, now));
                }
            }
            laps.end(phase::CHURN);
        }
        let wanted = self.wanted(self.objects);
        let dropped = self.wanted(self.objects - (self.objects / 10).max(1));
        let waiting = (dropped + before).saturating_sub(callees::calls()) as f64;
        loop {
            self.world.settle()?;
            if callees::calls() - before >= wanted {
                break;
            }
        }
        let mut round = laps.finish();
        if wanted > 0 {
            round.insert(phase::BACKLOG.into(), 100.0 * waiting / self.objects as f64);
        }
        let percentiles = percentiles(&mut steps, [0.5, 0.99, 0.999, 1.0]);
        let names = [phase::P50, phase::P99, phase::P999, phase::MAX];
        round.extend(
            names
                .map(Into::into)
                .into_iter()
                .zip(percentiles.into_iter().flatten()),
        );
        Ok(round)
    }
}

impl Functions {
    fn new(registered: Registered, world: &World) -> Result<Functions, Fault> {
        let types = world.types();
        let prepare = |finalizers: &[Finalizer]| -> Result<Vec<Prepared>, Fault> {
            finalizers.iter().map(|one| world.prepare(one)).collect()
        };
        Ok(match registered {
            Registered::Nothing => Functions::None,
            Registered::Finalizer(kind) => {
                Functions::Finalizers(functions::finalizers(types, kind)?)
            }
            Registered::Closure => Functions::Closure(functions::closure(types)?),
            Registered::Prepared | Registered::Grouped => {
                Functions::Prepared(prepare(&functions::finalizers(types, Kind::Pointer)?)?)
            }
            Registered::Bulk => Functions::Prepared(prepare(&[functions::bulk(types)?])?),
            Registered::Implied => {
                let finalizers = functions::finalizers(types, Kind::Pointer)?;
                world.prepare(&finalizers[0])?.set_for_all()?;
                Functions::Implied
            }
            Registered::Cleanup => Functions::Cleanup(functions::cleanup(types)?),
            Registered::Go(kind, _) => {
                Functions::Finalizers(vec![functions::go_finalizer(types, kind)?])
            }
        })
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
            Work::Closures => self.closures(),
            other => Err(format!("fing: {other:?} is another subject's").into()),
        }
    }
}
