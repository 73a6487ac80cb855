//! boa_gc: the trait `Finalize`, whose method is called inside the collection. See
//! ../../../README.md.

use std::cell::Cell;
use std::time::Instant;

use boa_gc::{Finalize, Gc, GcRefCell, Trace, force_collect};
use peers::{Job, Phases, SMALL_TREE, dropped, serve};

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static WANTED: Cell<usize> = const { Cell::new(0) };
    static FIRST: Cell<Option<Instant>> = const { Cell::new(None) };
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn tick() {
    let calls = CALLS.get() + 1;
    CALLS.set(calls);
    if calls == 1 {
        FIRST.set(Some(Instant::now()));
    }
    if calls == WANTED.get() {
        LAST.set(Some(Instant::now()));
    }
}

#[derive(Trace)]
struct Thing {
    _words: [u64; 3],
    _next: GcRefCell<Option<Gc<Thing>>>,
}

impl Finalize for Thing {
    fn finalize(&self) {
        tick();
    }
}

#[derive(Trace, Finalize)]
struct Node {
    left: Tree,
    right: Tree,
    _words: [u64; 2],
}

type Tree = Option<Gc<Node>>;

/// A tree of so many nodes.
fn grow(nodes: usize) -> Tree {
    let below = nodes.checked_sub(1)?;
    Some(Gc::new(Node {
        left: grow(below / 2),
        right: grow(below - below / 2),
        _words: [0; 2],
    }))
}

fn tree(job: &Job, phases: &mut Phases) {
    phases.begin();
    let kept = grow(job.n);
    phases.end("alloc");
    force_collect();
    phases.begin();
    force_collect();
    phases.end("live");
    drop(kept);
    phases.begin();
    force_collect();
    phases.end("free");
}

fn tree_churn(job: &Job, phases: &mut Phases) {
    let kept = grow(job.n);
    let trees = (4 * job.n).div_ceil(SMALL_TREE);
    let begun = Instant::now();
    for _ in 0..trees {
        assert!(grow(SMALL_TREE).is_some());
    }
    let all = begun.elapsed().as_nanos() as f64;
    phases.note("churn", all * job.n as f64 / (trees * SMALL_TREE) as f64);
    drop(kept);
    force_collect();
}

fn cycle(job: &Job, phases: &mut Phases) {
    phases.begin();
    let thing = |n| Thing {
        _words: [n as u64; 3],
        _next: GcRefCell::new(None),
    };
    let mut keep: Vec<Option<Gc<Thing>>> = (0..job.n).map(|n| Some(Gc::new(thing(n)))).collect();
    phases.end("alloc");
    force_collect();
    phases.begin();
    force_collect();
    phases.end("live");
    let mut dead = 0;
    for (object, _) in keep
        .iter_mut()
        .zip(dropped(job.dead))
        .filter(|(_, dead)| *dead)
    {
        *object = None;
        dead += 1;
    }
    CALLS.set(0);
    WANTED.set(dead);
    let begun = Instant::now();
    force_collect();
    let ended = Instant::now();
    assert_eq!(CALLS.get(), dead);
    if let (Some(first), Some(last)) = (FIRST.get(), LAST.get()) {
        phases.note("discover", (first - begun).as_nanos() as f64);
        phases.note("drain", (last - first).as_nanos() as f64);
        let again = Instant::now();
        force_collect();
        phases.note("free", (again.elapsed() + (ended - last)).as_nanos() as f64);
    }
    WANTED.set(0);
    drop(keep);
    force_collect();
}

fn main() {
    serve("boa_gc 0.22", |job, phases| match job.work.as_str() {
        "cycle" => cycle(job, phases),
        "tree" => tree(job, phases),
        "tree-churn" => tree_churn(job, phases),
        other => panic!("no work {other}"),
    });
}
