//! Collections of objects with finalizers, the calls, and whole lives.
#![forbid(unsafe_code)]

use super::{CALL, CHECK, die, prepared, time_collection, time_run};
use crate::api::foreign::Scattered;
use crate::api::functions;
use crate::api::world::{Obj, Prepared, Setup, World};
use crate::callees::{Kind, TARGETS};
use crate::measure::clock::{time, try_time};
use crate::measure::floor::Floor;
use crate::measure::random::below;
use crate::measure::{Fault, Round, Subject, expect, rounds};

/// The whole of a collection is the same with finalizers and without but for the time that it takes
/// to decide over them, which would be lost in the noise of a difference: the runtime measures it.
pub(super) fn live(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let floor = Floor::new(n);
    let mut kept = Vec::new();
    for registers in [false, true] {
        let (world, close) = prepared(n, Setup::default())?;
        let keep = {
            let mutator = world.mutator()?;
            let mut objects = Vec::with_capacity(n);
            let keep = world.fill(&mutator, |object| objects.push(object))?;
            for object in objects.into_iter().filter(|_| registers) {
                close.set(object)?;
            }
            keep
        };
        // A prepared finalizer that is dropped makes collections look for what still names it.
        kept.push((world, close, keep));
    }
    Ok(rounds(move || {
        let mut round = Round::from([(CHECK.into(), floor.mark_checks())]);
        let names = [
            ["fing.collect-none", "fing.decide-none"],
            ["fing.collect-all", "fing.decide-all"],
        ];
        for ((world, ..), [collect, decide]) in kept.iter().zip(names) {
            let mut mutator = world.mutator()?;
            let mut deciding = 0.0;
            let whole = try_time(n, || {
                deciding = mutator.gc()?.deciding.as_nanos() as f64 / n as f64;
                Ok::<(), Fault>(())
            })?;
            round.insert(collect.into(), whole);
            round.insert(decide.into(), deciding);
        }
        Ok(round)
    }))
}

pub(super) fn drain(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let floor = Floor::new(n);
    let (world, one) = prepared(n, Setup::default())?;
    let many = World::new(n, Setup::default())?;
    let bulk = many.prepare(&functions::bulk(many.types())?)?;
    let scattered = Scattered::new(n)?;
    Ok(rounds(move || {
        let mut round = Round::from([(CALL.into(), floor.calls())]);
        for (name, world, close) in [("fing.one", &world, &one), ("fing.bulk", &many, &bulk)] {
            let mut mutator = world.mutator()?;
            die(world, &mut mutator, close)?;
            round.insert(name.into(), time_run(world, &mut mutator, n)?);
            mutator.gc()?;
        }
        let by_hand = time(n, || scattered.run_by_hand());
        round.insert("loop.scattered".into(), by_hand);
        scattered.die()?;
        let run = try_time(n, || expect("calls", scattered.run()?, n))?;
        round.insert("fing.scattered".into(), run);
        Ok(round)
    }))
}

/// Each object has a random one of eight finalizers.
pub(super) fn drain_mixed(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let floor = Floor::new(n);
    let mut worlds = Vec::new();
    for (name, grouped) in [("fing.lifo", false), ("fing.grouped", true)] {
        let setup = Setup {
            grouped,
            ..Setup::default()
        };
        let world = World::new(n, setup)?;
        let finalizers = functions::finalizers(world.types(), Kind::Pointer)?;
        let prepared = finalizers.iter().map(|one| world.prepare(one));
        let prepared: Vec<Prepared> = prepared.collect::<Result<_, _>>()?;
        worlds.push((name, world, prepared));
    }
    Ok(rounds(move || {
        let mut round = Round::from([(CALL.into(), floor.mixed_calls())]);
        for (name, world, prepared) in &worlds {
            let mut mutator = world.mutator()?;
            {
                let mut objects = Vec::with_capacity(n);
                let _keep = world.fill(&mutator, |object| objects.push(object))?;
                for (object, target) in objects.into_iter().zip(below(TARGETS as u8)) {
                    prepared[target].set(object)?;
                }
            }
            mutator.gc()?;
            round.insert((*name).into(), time_run(world, &mut mutator, n)?);
            mutator.gc()?;
        }
        Ok(round)
    }))
}

/// Lives of objects with a prepared finalizer, beside the floor's.
struct Lives {
    world: World,
    close: Prepared,
    floor: Floor,
    n: usize,
}

/// What the parts of a life took.
struct Life {
    floor: f64,
    register: f64,
    discover: f64,
    run: f64,
    free: f64,
}

impl Life {
    fn whole(&self) -> f64 {
        self.register + self.discover + self.run + self.free
    }
}

impl Lives {
    fn new(n: usize) -> Result<Lives, Fault> {
        let (world, close) = prepared(n, Setup::default())?;
        Ok(Lives {
            world,
            close,
            floor: Floor::new(n),
            n,
        })
    }

    fn live(&mut self) -> Result<Life, Fault> {
        let n = self.n;
        let mut mutator = self.world.mutator()?;
        let register = {
            let mut objects = Vec::with_capacity(n);
            let _keep = self.world.fill(&mutator, |object| objects.push(object))?;
            let attach = |object: &Obj<'_>| self.close.set(*object);
            try_time(n, || objects.iter().try_for_each(attach))?
        };
        let discover = time_collection(&mut mutator, n)?;
        let run = time_run(&self.world, &mut mutator, n)?;
        let free = time_collection(&mut mutator, n)?;
        let floor = self.floor.append() + self.floor.scan() + self.floor.calls();
        Ok(Life {
            floor,
            register,
            discover,
            run,
            free,
        })
    }
}

pub(super) fn live_and_die(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let mut lives = Lives::new(n)?;
    // Nothing is registered here: the type has the finalizer.
    let (implied, close) = prepared(n, Setup::default())?;
    close.set_for_all()?;
    Ok(rounds(move || {
        let life = lives.live()?;
        let mut mutator = implied.mutator()?;
        drop(implied.fill(&mutator, |_| {})?);
        let without_registration = time_collection(&mut mutator, n)?
            + time_run(&implied, &mut mutator, n)?
            + time_collection(&mut mutator, n)?;
        Ok(Round::from([
            ("floor.life".into(), life.floor),
            ("fing.register".into(), life.register),
            ("fing.discover".into(), life.discover),
            ("fing.run".into(), life.run),
            ("fing.free".into(), life.free),
            ("fing.life".into(), life.whole()),
            ("fing.life-implied".into(), without_registration),
        ]))
    }))
}

pub(super) fn grow(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (mut small, mut large) = (Lives::new((n / 100).max(1))?, Lives::new(n)?);
    Ok(rounds(move || {
        let (small, large) = (small.live()?, large.live()?);
        Ok(Round::from([
            ("floor.life".into(), large.floor / small.floor),
            ("fing.life".into(), large.whole() / small.whole()),
        ]))
    }))
}

pub(super) fn churn(n: usize) -> Result<Box<dyn Subject>, Fault> {
    const REACHABLE: usize = 100_000;
    let setup = Setup {
        paced: true,
        ..Setup::default()
    };
    let (world, close) = prepared(REACHABLE, setup)?;
    Ok(rounds(move || {
        let mut mutator = world.mutator()?;
        let array = world.array(&mutator)?;
        let array = mutator.root(array)?;
        let mut round = Round::new();
        for (name, registers) in [("fing.without", false), ("fing.with", true)] {
            let took = try_time(n, || {
                for i in 0..n {
                    if i % 64 == 0 && mutator.collect_if_due() {
                        world.run(&mut mutator)?;
                    }
                    let object = world.alloc(&mutator)?;
                    if registers {
                        close.set(object)?;
                    }
                    let array = mutator.get(&array)?;
                    world.keep(&mutator, array, i % REACHABLE, Some(object))?;
                }
                Ok::<(), Fault>(())
            })?;
            round.insert(name.into(), took);
        }
        Ok(round)
    }))
}
