//! boa_gc: the trait `Finalize`, whose method is called inside the collection. See ../../../README.md.

use std::cell::Cell;
use std::time::Instant;

use boa_gc::{Finalize, Gc, GcRefCell, Trace, force_collect};
use peers::{Job, Phases, dropped, serve};

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

fn round(job: &Job, phases: &mut Phases) {
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
    serve("boa_gc 0.22", round);
}
