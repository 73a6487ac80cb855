//! What the runtime costs an object with a finalizer, beside what the machine itself can do in the
//! same memory traffic.
#![forbid(unsafe_code)]

mod lent;
mod lives;
mod registrations;

use crate::api::functions;
use crate::api::world::{Mutator, Prepared, Setup, World};
use crate::callees::Kind;
use crate::measure::clock::try_time;
use crate::measure::{Fault, Subject, expect, rounds};
use crate::plan::{Bar, Row, Scenario, Sizes, Suite};
use lent::lend;
use lives::{churn, drain, drain_mixed, grow, live, live_and_die};
use registrations::{allocate, attach, clean_up, memory, set};

const fn suite(name: &'static str, start: fn(usize) -> Result<Box<dyn Subject>, Fault>) -> Suite {
    Suite {
        name,
        sizes: Sizes::Chosen(&[1_000_000], 10_000_000),
        rounds: 9,
        // The first round meets memory that was never touched.
        warm_rounds: 1,
        alone: false,
        programs: &[],
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
static LENT: Suite = Suite {
    rounds: 15,
    ..suite("runtime-lent", lend)
};
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
    Scenario::of_suite(suite, "runtime", about, unit, rows)
}

const OBJECT: &str = "ns/object";
const APPEND: &str = "floor.append";
const CHECK: &str = "floor.mark-check";
const CALL: &str = "floor.call";

/// All scenarios, in the order of reports. The floors: append a 32-byte record, look at a mark bit,
/// publish a record and call indirectly.
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
        &LENT,
        "running one finalizer that increments a word of its object; more: than one that only \
         counts; enter: entering the heap and leaving it, without a call",
        OBJECT,
        || {
            vec![
                Row::alone("fing.counts"),
                Row::beside("fing.lent", "fing.counts"),
                Row::alone("fing.lent-more").bar(Bar::AtMost(10.0)),
                Row::beside("fing.lent-rust", "fing.counts"),
                Row::alone("fing.lent-rust-more").bar(Bar::AtMost(10.0)),
                Row::beside("fing.lent-words", "fing.counts"),
                Row::beside("fing.entering", "fing.counts"),
                Row::alone("fing.enter").bar(Bar::AtMost(100.0)),
                Row::alone("fing.native").bar(Bar::AtMost(50.0)),
            ]
        },
    ),
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
        if let Err(error) = close.set(object) {
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
