//! What the runtime costs an object with a finalizer, beside what the machine itself can do in the same memory traffic.
#![forbid(unsafe_code)]

use std::hint::black_box;

use crate::api::foreign::Scattered;
use crate::api::functions::{self, Finalizer};
use crate::api::world::{Prepared, Setup, World};
use crate::api::{Cleanup, Mutator, Obj};
use crate::callees::{Kind, TARGETS};
use crate::measure::clock::{time, try_time};
use crate::measure::floor::Floor;
use crate::measure::memory::resident;
use crate::measure::random::{below, permutation};
use crate::measure::{Fault, Round, Subject, expect, rounds};
use crate::plan::{Bar, Row, Scenario, Sizes, Source, Suite};

const fn suite(name: &'static str, start: fn(usize) -> Result<Box<dyn Subject>, Fault>) -> Suite {
    Suite {
        name,
        sizes: Sizes::Chosen(&[1_000_000], 10_000_000),
        rounds: 9,
        // The first round meets memory that was never touched.
        warm_rounds: 1,
        alone: false,
        program: None,
        start,
    }
}

static MEMORY: Suite = Suite {
    rounds: 3,
    warm_rounds: 0,
    // What was measured before would leave memory that is used again.
    alone: true,
    ..suite("runtime-memory", |n| Ok(rounds(move || memory(n))))
};
static ALLOC: Suite = suite("runtime-alloc", allocate);
static ATTACH: Suite = suite("runtime-attach", attach);
static SET: Suite = suite("runtime-set", set);
static CLEANUP: Suite = suite("runtime-cleanup", clean_up);
static LIVE: Suite = Suite {
    rounds: 27,
    ..suite("runtime-live", live)
};
static DRAIN: Suite = suite("runtime-drain", drain);
static MIXED: Suite = Suite {
    sizes: Sizes::Chosen(&[20_000, 1_000_000], 10_000_000),
    rounds: 15,
    ..suite("runtime-drain-8", drain_mixed)
};
static LIFE: Suite = suite("runtime-life", live_and_die);
static GROWTH: Suite = Suite {
    sizes: Sizes::Chosen(&[10_000_000], 10_000_000),
    rounds: 2,
    ..suite("runtime-growth", grow)
};
static CHURN: Suite = suite("runtime-churn", churn);

const fn scenario(
    suite: &'static Suite,
    about: &'static str,
    unit: &'static str,
    rows: fn() -> Vec<Row>,
) -> Scenario {
    Scenario {
        name: suite.name,
        group: "runtime",
        about,
        unit,
        source: Source::Suite(suite, rows),
    }
}

const OBJECT: &str = "ns/object";
const APPEND: &str = "floor.append";
const CHECK: &str = "floor.mark-check";
const CALL: &str = "floor.call";

/// All scenarios, in the order of reports. The floors: append a 32-byte record, look at a mark bit, publish a record and
/// call indirectly.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(
        &MEMORY,
        "memory for one finalizer or cleanup, beside the object",
        "B/object",
        || {
            vec![
                Row::alone("fing.prepared").bar(Bar::AtMost(16.0)),
                Row::alone("fing.prepared-queued").bar(Bar::AtMost(36.0)),
                Row::alone("fing.cleanup").bar(Bar::AtMost(48.0)),
            ]
        },
    ),
    scenario(&ALLOC, "making objects, and freeing all", OBJECT, || {
        vec![
            Row::alone(APPEND),
            Row::beside("fing.alloc", APPEND),
            Row::beside("fing.free", APPEND),
        ]
    }),
    scenario(
        &ATTACH,
        "setting a prepared finalizer, and taking it back",
        OBJECT,
        registration_rows,
    ),
    scenario(
        &SET,
        "setting a finalizer with all checks, and taking it back",
        OBJECT,
        registration_rows,
    ),
    scenario(&CLEANUP, "the life of a cleanup", OBJECT, || {
        vec![
            Row::alone(APPEND),
            Row::alone(CHECK),
            Row::alone("floor.append-scan"),
            Row::beside("fing.add", APPEND).at_most(15.0),
            Row::beside("fing.stop", APPEND).at_most(8.0),
            Row::beside("fing.live", CHECK).at_most(0.2),
            Row::beside("fing.discover", "floor.append-scan").at_most(6.0),
        ]
    }),
    scenario(
        &LIVE,
        "a collection with every object reachable; decide: the part that depends on finalizers",
        OBJECT,
        || {
            vec![
                Row::alone(CHECK),
                Row::beside("fing.collect-none", CHECK),
                Row::beside("fing.collect-all", "fing.collect-none").at_most(1.1),
                Row::beside("fing.decide-none", CHECK),
                Row::beside("fing.decide-all", CHECK).at_most(0.2),
            ]
        },
    ),
    scenario(&DRAIN, "running one finalizer", OBJECT, || {
        vec![
            Row::alone(CALL),
            Row::alone("loop.scattered"),
            Row::beside("fing.one", CALL).at_most(2.5),
            Row::beside("fing.bulk", CALL).at_most(1.0),
            Row::beside("fing.scattered", "loop.scattered").at_most(1.25),
        ]
    }),
    scenario(
        &MIXED,
        "running one of eight different finalizers, in random order",
        OBJECT,
        || {
            vec![
                Row::alone(CALL),
                Row::beside("fing.lifo", CALL).at_most(1.5),
                Row::beside("fing.grouped", CALL).at_most(0.5),
            ]
        },
    ),
    scenario(
        &LIFE,
        "a whole life: registered, found dead, run, freed",
        OBJECT,
        || {
            vec![
                Row::alone("floor.life"),
                Row::beside("fing.register", "floor.life"),
                Row::beside("fing.discover", "floor.life"),
                Row::beside("fing.run", "floor.life"),
                Row::beside("fing.free", "floor.life"),
                Row::beside("fing.life", "floor.life").at_most(6.0),
                Row::beside("fing.life-implied", "floor.life").at_most(6.0),
            ]
        },
    ),
    scenario(
        &GROWTH,
        "a whole life with as many objects, in one with a hundredth",
        "large / small",
        || {
            vec![
                Row::alone("floor.life"),
                Row::beside("fing.life", "floor.life").at_most(1.3),
            ]
        },
    ),
    scenario(
        &CHURN,
        "objects made and dropped, 100,000 reachable, with finalizers and without",
        OBJECT,
        || {
            vec![
                Row::alone("fing.without"),
                Row::beside("fing.with", "fing.without").at_most(2.0),
            ]
        },
    ),
];

/// The rows of [`ATTACH`] and [`SET`].
fn registration_rows() -> Vec<Row> {
    vec![
        Row::alone(APPEND),
        Row::beside("fing.set-in-order", APPEND).at_most(4.0),
        Row::beside("fing.set-random", APPEND).at_most(15.0),
        Row::beside("fing.clear-in-order", APPEND).at_most(8.0),
        Row::beside("fing.clear-random", APPEND).at_most(20.0),
    ]
}

// ------------------------------------------------------------------------------------------ what is measured

/// A world, and the first function prepared for its objects.
fn prepared(n: usize, setup: Setup) -> Result<(World, Prepared), Fault> {
    let world = World::new(n, setup)?;
    let finalizers = functions::finalizers(world.types(), Kind::Pointer)?;
    let prepared = world.prepare(&finalizers[0])?;
    Ok((world, prepared))
}

/// Makes all objects, with a finalizer each, and drops them.
fn die(world: &World, mutator: &mut Mutator, close: &Prepared) -> Result<(), Fault> {
    let mut attached = Ok(());
    let attach = |object| {
        if let Err(error) = close.attach(mutator, object) {
            attached = Err(error);
        }
    };
    drop(world.fill(mutator, attach)?);
    attached?;
    mutator.gc()?;
    Ok(())
}

/// Times the calls of all that is queued.
fn time_run(world: &World, mutator: &mut Mutator, n: usize) -> Result<f64, Fault> {
    try_time(n, || expect("calls", world.run(mutator)?, n))
}

fn time_collection(mutator: &mut Mutator, n: usize) -> Result<f64, Fault> {
    try_time(n, || {
        mutator.gc()?;
        Ok(())
    })
}

fn memory(n: usize) -> Result<Round, Fault> {
    let (world, close) = prepared(n, Setup::default())?;
    let mut mutator = world.mutator()?;
    let before = world.table_bytes();
    // The objects are made before, and their own tables with them.
    let mut objects = Vec::with_capacity(n);
    let keep = world.fill(&mutator, |object| objects.push(object))?;
    let made = world.table_bytes();
    for object in objects {
        close.attach(&mutator, object)?;
    }
    let set = world.table_bytes() - made.max(before);
    drop(keep);
    mutator.gc()?;
    let queued = world.queue_bytes();
    expect("calls", world.run(&mut mutator)?, n)?;
    let count = functions::cleanup(world.types())?;
    let mut objects = Vec::with_capacity(n);
    let _keep = world.fill(&mutator, |object| objects.push(object))?;
    let before = resident()?;
    for object in objects {
        world.add_cleanup(&mutator, object, &count, 1)?;
    }
    let cleanups = resident()? - before;
    let each = |bytes: f64| bytes / n as f64;
    Ok(Round::from([
        ("fing.prepared".into(), each(set as f64)),
        ("fing.prepared-queued".into(), each(queued as f64)),
        ("fing.cleanup".into(), each(cleanups)),
    ]))
}

fn allocate(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (world, mut floor) = (World::new(n, Setup::default())?, Floor::new(n));
    Ok(rounds(move || {
        let mut mutator = world.mutator()?;
        let append = floor.append();
        let alloc = try_time(n, || {
            for _ in 0..n {
                black_box(world.alloc(&mutator)?);
            }
            Ok::<(), Fault>(())
        })?;
        Ok(Round::from([
            (APPEND.into(), append),
            ("fing.alloc".into(), alloc),
            ("fing.free".into(), time_collection(&mut mutator, n)?),
        ]))
    }))
}

/// Registers and takes back, in the order of addresses and in random order.
fn registrations(
    world: &World,
    floor: &mut Floor,
    order: &[usize],
    set: impl Fn(&Mutator, Obj<'_>) -> Result<(), Fault>,
    clear: impl Fn(&Mutator, Obj<'_>) -> Result<bool, Fault>,
) -> Result<Round, Fault> {
    let n = order.len();
    let mut mutator = world.mutator()?;
    let mut round = Round::new();
    {
        let mut objects = Vec::with_capacity(n);
        let _keep = world.fill(&mutator, |object| objects.push(object))?;
        let mixed: Vec<Obj<'_>> = order.iter().map(|&i| objects[i]).collect();
        round.insert(APPEND.into(), floor.append());
        for (set_name, clear_name, objects) in [
            ("fing.set-in-order", "fing.clear-in-order", &objects),
            ("fing.set-random", "fing.clear-random", &mixed),
        ] {
            let took = try_time(n, || objects.iter().try_for_each(|&one| set(&mutator, one)))?;
            round.insert(set_name.into(), took);
            let mut cleared = 0;
            let took = try_time(n, || {
                for &object in objects {
                    cleared += u64::from(clear(&mutator, object)?);
                }
                Ok::<(), Fault>(())
            })?;
            expect("cleared", cleared, n)?;
            round.insert(clear_name.into(), took);
        }
    }
    mutator.gc()?;
    Ok(round)
}

fn attach(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (world, close) = prepared(n, Setup::default())?;
    let (mut floor, order) = (Floor::new(n), permutation(n));
    Ok(rounds(move || {
        registrations(
            &world,
            &mut floor,
            &order,
            |mutator, object| Ok(close.attach(mutator, object)?),
            |mutator, object| Ok(close.detach(mutator, object)?),
        )
    }))
}

fn set(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let world = World::new(n, Setup::default())?;
    let close: Finalizer = functions::finalizers(world.types(), Kind::Pointer)?.swap_remove(0);
    let (mut floor, order) = (Floor::new(n), permutation(n));
    Ok(rounds(move || {
        registrations(
            &world,
            &mut floor,
            &order,
            |mutator, object| world.set(mutator, object, &close),
            |mutator, object| world.clear(mutator, object),
        )
    }))
}

/// All cleanups are stopped once, then added again, and run.
fn clean_up(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (world, mut floor) = (World::new(n, Setup::default())?, Floor::new(n));
    let count = functions::cleanup(world.types())?;
    Ok(rounds(move || {
        let mut mutator = world.mutator()?;
        let keep;
        let (stop, add);
        {
            let mut objects = Vec::with_capacity(n);
            keep = world.fill(&mutator, |object| objects.push(object))?;
            let mut added: Vec<Cleanup> = Vec::with_capacity(n);
            for &object in &objects {
                added.push(world.add_cleanup(&mutator, object, &count, 1)?);
            }
            let mut stopped = 0;
            stop = time(n, || {
                stopped = added.iter().filter(|one| one.stop()).count()
            });
            expect("stopped", stopped as u64, n)?;
            drop(added);
            add = try_time(n, || {
                for &object in &objects {
                    world.add_cleanup(&mutator, object, &count, 1)?;
                }
                Ok::<(), Fault>(())
            })?;
        }
        mutator.gc()?;
        let live = mutator.gc()?.deciding.as_nanos() as f64 / n as f64;
        drop(keep);
        let discover = time_collection(&mut mutator, n)?;
        expect("calls", world.run(&mut mutator)?, n)?;
        mutator.gc()?;
        let (append, scan) = (floor.append(), floor.scan());
        Ok(Round::from([
            (APPEND.into(), append),
            (CHECK.into(), floor.mark_checks()),
            ("floor.append-scan".into(), append + scan),
            ("fing.add".into(), add),
            ("fing.stop".into(), stop),
            ("fing.live".into(), live),
            ("fing.discover".into(), discover),
        ]))
    }))
}

/// The whole of a collection is the same with finalizers and without but for the time that it takes to decide over
/// them, which would be lost in the noise of a difference: the runtime measures it.
fn live(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let floor = Floor::new(n);
    let mut kept = Vec::new();
    for registers in [false, true] {
        let (world, close) = prepared(n, Setup::default())?;
        let keep = {
            let mutator = world.mutator()?;
            let mut objects = Vec::with_capacity(n);
            let keep = world.fill(&mutator, |object| objects.push(object))?;
            for object in objects.into_iter().filter(|_| registers) {
                close.attach(&mutator, object)?;
            }
            keep
        };
        kept.push((world, keep));
    }
    Ok(rounds(move || {
        let mut round = Round::from([(CHECK.into(), floor.mark_checks())]);
        let names = [
            ["fing.collect-none", "fing.decide-none"],
            ["fing.collect-all", "fing.decide-all"],
        ];
        for ((world, _), [collect, decide]) in kept.iter().zip(names) {
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

fn drain(n: usize) -> Result<Box<dyn Subject>, Fault> {
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
fn drain_mixed(n: usize) -> Result<Box<dyn Subject>, Fault> {
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
                    prepared[target].attach(&mutator, object)?;
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
            let attach = |object: &Obj<'_>| self.close.attach(&mutator, *object);
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

fn live_and_die(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let mut lives = Lives::new(n)?;
    // Nothing is registered here: the type has the finalizer.
    let (implied, close) = prepared(n, Setup::default())?;
    close.attach_to_all()?;
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

fn grow(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (mut small, mut large) = (Lives::new((n / 100).max(1))?, Lives::new(n)?);
    Ok(rounds(move || {
        let (small, large) = (small.live()?, large.live()?);
        Ok(Round::from([
            ("floor.life".into(), large.floor / small.floor),
            ("fing.life".into(), large.whole() / small.whole()),
        ]))
    }))
}

fn churn(n: usize) -> Result<Box<dyn Subject>, Fault> {
    const REACHABLE: usize = 100_000;
    let setup = Setup {
        paced: true,
        ..Setup::default()
    };
    let (world, close) = prepared(REACHABLE, setup)?;
    Ok(rounds(move || {
        let mut mutator = world.mutator()?;
        let array = world.array(&mutator)?;
        let array = mutator.root(array);
        let mut round = Round::new();
        for (name, registers) in [("fing.without", false), ("fing.with", true)] {
            let took = try_time(n, || {
                for i in 0..n {
                    if i % 64 == 0 && mutator.collect_if_due() {
                        world.run(&mut mutator)?;
                    }
                    let object = world.alloc(&mutator)?;
                    if registers {
                        close.attach(&mutator, object)?;
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
