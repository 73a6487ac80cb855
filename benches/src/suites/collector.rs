//! What a finalizer costs a VM that brings its own collector, beside what the machine itself can
//! do. The collector here has only mark bits.
#![forbid(unsafe_code)]

use crate::api::foreign::{Heap, Scope, Table, address};
use crate::measure::allocator;
use crate::measure::clock::{time, try_time};
use crate::measure::floor::Floor;
use crate::measure::memory::Mappings;
use crate::measure::random::permutation;
use crate::measure::{Fault, Round, Subject, expect, rounds};
use crate::plan::{Bar, Row, Scenario, Sizes, Suite};

const fn suite(name: &'static str, start: fn(usize) -> Result<Box<dyn Subject>, Fault>) -> Suite {
    Suite {
        name,
        sizes: Sizes::Chosen(&[1_000_000], 10_000_000),
        rounds: 9,
        // The first round meets a table that has yet to grow.
        warm_rounds: 1,
        alone: false,
        programs: &[],
        start,
    }
}

/// A process for each number and order: no freed memory is used again.
const fn memory_suite(
    name: &'static str,
    start: fn(usize) -> Result<Box<dyn Subject>, Fault>,
) -> Suite {
    Suite {
        sizes: Sizes::Chosen(
            &[10_000, 100_000, 1_000_000, 1_100_000, 10_000_000],
            10_000_000,
        ),
        rounds: 1,
        warm_rounds: 0,
        alone: true,
        ..suite(name, start)
    }
}

static MEMORY: Suite = memory_suite("collector-memory", |n| {
    Ok(rounds(move || memory(&in_order(n))))
});
static MEMORY_RANDOM: Suite = memory_suite("collector-memory-random", |n| {
    Ok(rounds(move || memory(&permutation(n))))
});
static ATTACH: Suite = suite("collector-attach", attach);
static SET: Suite = Suite {
    rounds: 3,
    ..suite("collector-set", set)
};
static LIVE: Suite = suite("collector-live", live);
static MINOR: Suite = Suite {
    rounds: 45,
    ..suite("collector-minor", minor)
};
static DEAD: Suite = suite("collector-dead", dead);

const fn scenario(
    suite: &'static Suite,
    about: &'static str,
    unit: &'static str,
    rows: fn() -> Vec<Row>,
) -> Scenario {
    Scenario::of_suite(suite, "collector", about, unit, rows)
}

const OBJECT: &str = "ns/object";
const BYTES: &str = "B/object";
const APPEND: &str = "floor.append";
const CHECK: &str = "floor.mark-check";
const CALL: &str = "floor.call";

/// All scenarios, in the order of reports.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(
        &MEMORY,
        "memory for one finalizer, registered in order of addresses",
        BYTES,
        memory_rows,
    ),
    scenario(
        &MEMORY_RANDOM,
        "memory for one finalizer, registered in random order",
        BYTES,
        memory_rows,
    ),
    scenario(
        &ATTACH,
        "setting a prepared finalizer, and taking it back",
        OBJECT,
        || {
            let bars = [
                ("attach", Some((4.0, 15.0))),
                ("detach", Some((8.0, 20.0))),
                ("attach-all", Some((4.0, 15.0))),
                ("detach-all", Some((8.0, 20.0))),
                ("attach-to-new", None),
            ];
            let mut rows = vec![Row::alone(APPEND), Row::beside("floor.lock", APPEND)];
            for (name, bars) in bars {
                let [in_order, random] = ORDERS.map(|order| {
                    let figure = format!("fing.{name}-{order}");
                    Row::beside(figure, APPEND)
                });
                rows.extend(match bars {
                    Some((bar, bar_random)) => [in_order.at_most(bar), random.at_most(bar_random)],
                    None => [in_order, random],
                });
            }
            rows
        },
    ),
    scenario(
        &SET,
        "setting a finalizer with all checks, and taking it back",
        OBJECT,
        || {
            vec![
                Row::alone(APPEND),
                Row::beside("fing.set", APPEND),
                Row::beside("fing.clear", APPEND),
            ]
        },
    ),
    scenario(
        &LIVE,
        "a collection with every object reachable",
        OBJECT,
        || {
            vec![
                Row::alone(CHECK),
                Row::beside("fing.collect-in-order", CHECK).at_most(4.0),
                Row::beside("fing.collect-random", CHECK),
            ]
        },
    ),
    scenario(
        &MINOR,
        "a minor collection, one of a hundred objects being young, for each of these",
        OBJECT,
        || {
            vec![
                Row::alone(CHECK),
                Row::beside("fing.collect", CHECK).at_most(10.0),
            ]
        },
    ),
    scenario(
        &DEAD,
        "a collection that finds every object dead, handing them over, running them",
        OBJECT,
        || {
            vec![
                Row::alone(APPEND),
                Row::alone(CALL),
                Row::beside("fing.discover-in-order", APPEND),
                Row::beside("fing.discover-random", APPEND),
                Row::beside("fing.finish-in-order", APPEND),
                Row::beside("fing.finish-random", APPEND),
                Row::beside("fing.run-in-order", CALL).at_most(2.5),
                Row::beside("fing.run-random", CALL),
            ]
        },
    ),
];

fn memory_rows() -> Vec<Row> {
    let bar = Bar::AtMost(24.0);
    vec![
        Row::alone("fing.allocated").bar(bar),
        Row::alone("fing.resident").bar(bar),
        Row::alone("fing.most-allocated").bar(bar),
    ]
}

// ------------------------------------------------------------------------------------------ what
// is measured

/// Orders of registration, as parts of figures' names.
const ORDERS: [&str; 2] = ["in-order", "random"];

fn in_order(n: usize) -> Vec<usize> {
    (0..n).collect()
}

fn orders(n: usize) -> [(&'static str, Vec<usize>); 2] {
    let [first, second] = ORDERS;
    [(first, in_order(n)), (second, permutation(n))]
}

fn figure(name: &str, order: &str) -> std::borrow::Cow<'static, str> {
    format!("fing.{name}-{order}").into()
}

/// What registered finalizers take: allocated, and resident; and the most that was allocated for
/// each, at any number from 10,000 on (or from all, if they are fewer).
fn memory(order: &[usize]) -> Result<Round, Fault> {
    const FROM: usize = 10_000;
    allocator::count();
    // All pages of code that this takes are in memory afterwards.
    let table = Table::new()?;
    let few = in_order(1000);
    table.set_prepared(&few)?;
    expect("detached", table.clear_prepared(&few) as u64, few.len())?;
    let table = Table::new()?;
    Mappings::now()?;
    let (in_use, in_memory) = (allocator::in_use(), Mappings::now()?.resident);
    let (mut last, mut most) = (0, 0.0_f64);
    for (n, object) in order.iter().enumerate() {
        table.set_prepared(std::slice::from_ref(object))?;
        let now = allocator::in_use().wrapping_sub(in_use);
        if now != last && n + 1 >= FROM.min(order.len()) {
            most = most.max(now as f64 / (n + 1) as f64);
            last = now;
        }
    }
    let each = |bytes: f64| bytes / order.len() as f64;
    Ok(Round::from([
        ("fing.allocated".into(), each(last as f64)),
        (
            "fing.resident".into(),
            each(Mappings::now()?.resident - in_memory),
        ),
        ("fing.most-allocated".into(), most),
    ]))
}

fn attach(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (mut floor, orders) = (Floor::new(n), orders(n));
    let table = Table::new()?;
    Ok(rounds(move || {
        let mut round = Round::from([
            (APPEND.into(), floor.append()),
            ("floor.lock".into(), floor.locks()),
        ]);
        for (name, order) in &orders {
            let addresses: Vec<u64> = order.iter().map(|n| address(*n)).collect();
            let attach = try_time(n, || table.set_prepared(order))?;
            let mut found = 0;
            let detach = time(n, || found = table.clear_prepared(order));
            expect("detached", found as u64, n)?;
            let attach_all = try_time(n, || table.set_prepared_all(&addresses))?;
            let detach_all = time(n, || found = table.clear_prepared_all(&addresses));
            expect("detached", found as u64, n)?;
            let new = Table::new()?;
            let attach_to_new = try_time(n, || new.set_prepared(order))?;
            round.extend([
                (figure("attach", name), attach),
                (figure("detach", name), detach),
                (figure("attach-all", name), attach_all),
                (figure("detach-all", name), detach_all),
                (figure("attach-to-new", name), attach_to_new),
            ]);
        }
        Ok(round)
    }))
}

fn set(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (mut floor, table) = (Floor::new(n), Table::new()?);
    Ok(rounds(move || {
        let append = floor.append();
        let set = try_time(n, || (0..n).try_for_each(|n| table.set(n)))?;
        let mut cleared = 0;
        let clear = time(n, || cleared = (0..n).filter(|n| table.clear(*n)).count());
        expect("cleared", cleared as u64, n)?;
        Ok(Round::from([
            (APPEND.into(), append),
            ("fing.set".into(), set),
            ("fing.clear".into(), clear),
        ]))
    }))
}

fn live(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (floor, mut heap) = (Floor::new(n), Heap::new(n));
    heap.mark_all(true);
    let mut tables = Vec::new();
    for (name, order) in orders(n) {
        let table = Table::new()?;
        table.set_prepared(&order)?;
        tables.push((name, table));
    }
    Ok(rounds(move || {
        let mut round = Round::from([(CHECK.into(), floor.mark_checks())]);
        for (name, table) in &tables {
            let took = try_time(n, || table.collect(Scope::Full, &mut heap))?;
            round.insert(figure("collect", name), took);
        }
        Ok(round)
    }))
}

fn minor(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let young = (n / 100).max(1);
    let (floor, mut heap, table) = (Floor::new(n), Heap::new(n), Table::new()?);
    let order = in_order(n);
    heap.mark_all(true);
    table.set_prepared(&order[..n - young])?;
    table.collect(Scope::Full, &mut heap)?;
    heap.make_young(n - young);
    table.set_prepared(&order[n - young..])?;
    Ok(rounds(move || {
        Ok(Round::from([
            (CHECK.into(), floor.mark_checks()),
            (
                "fing.collect".into(),
                try_time(young, || table.collect(Scope::Minor, &mut heap))?,
            ),
        ]))
    }))
}

fn dead(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (mut floor, mut heap, table) = (Floor::new(n), Heap::new(n), Table::new()?);
    let orders = orders(n);
    Ok(rounds(move || {
        let mut round = Round::from([
            (APPEND.into(), floor.append()),
            (CALL.into(), floor.calls()),
        ]);
        for (name, order) in &orders {
            table.set_prepared(order)?;
            heap.mark_all(false);
            let discover = try_time(n, || table.collect(Scope::Full, &mut heap))?;
            let mut queued = 0;
            let finish = time(n, || queued = table.finish());
            expect("queued", queued as u64, n)?;
            let run = try_time(n, || expect("calls", table.run()?, n))?;
            round.extend([
                (figure("discover", name), discover),
                (figure("finish", name), finish),
                (figure("run", name), run),
            ]);
        }
        Ok(round)
    }))
}
