//! gc-arena: weak pointers, `MarkedArena::finalize`, and a loop by hand. See ../../../README.md.

use std::cell::Cell;
use std::hint::black_box;

use gc_arena::lock::RefLock;
use gc_arena::{Arena, Collect, Gc, GcWeak, Rootable};
use peers::{Job, Phases, dropped, serve};

#[derive(Collect, Clone, Copy)]
#[collect(require_static)]
struct Thing {
    _words: [u64; 4],
}

/// A finalizer that was set.
#[derive(Collect, Clone, Copy)]
#[collect(no_drop)]
struct Set<'gc> {
    object: GcWeak<'gc, Thing>,
    #[collect(require_static)]
    finalizer: fn(*const Thing),
}

/// A finalizer that is due; its object is alive again.
#[derive(Collect, Clone, Copy)]
#[collect(no_drop)]
struct Due<'gc> {
    object: Gc<'gc, Thing>,
    #[collect(require_static)]
    finalizer: fn(*const Thing),
}

#[derive(Collect, Default)]
#[collect(no_drop)]
struct State<'gc> {
    keep: Vec<Option<Gc<'gc, Thing>>>,
    set: Vec<Set<'gc>>,
    due: Vec<Due<'gc>>,
}

type Heap = Arena<Rootable![Gc<'_, RefLock<State<'_>>>]>;

thread_local!(static CALLS: Cell<usize> = const { Cell::new(0) });

fn tick(_: *const Thing) {
    CALLS.set(CALLS.get() + 1);
}

/// Marks, queues what is due, marks that.
fn discover(heap: &mut Heap) {
    if let Some(marked) = heap.finish_marking() {
        marked.finalize(|finalization, state| {
            let state = &mut *state.borrow_mut(finalization);
            let due = &mut state.due;
            state.set.retain(|set| {
                let dead = set.object.is_dead(finalization);
                if dead && let Some(object) = set.object.resurrect(finalization) {
                    due.push(Due {
                        object,
                        finalizer: set.finalizer,
                    });
                }
                !dead
            });
        });
    }
    heap.finish_marking();
}

fn drain(heap: &mut Heap) {
    heap.mutate(|mc, state| {
        for due in std::mem::take(&mut state.borrow_mut(mc).due) {
            (due.finalizer)(Gc::as_ptr(due.object));
        }
    });
}

fn round(heap: &mut Heap, job: &Job, phases: &mut Phases) {
    CALLS.set(0);
    phases.begin();
    heap.mutate(|mc, state| {
        let keep = &mut state.borrow_mut(mc).keep;
        for n in 0..job.n {
            keep.push(Some(Gc::new(
                mc,
                Thing {
                    _words: [n as u64; 4],
                },
            )));
        }
    });
    phases.end("alloc");
    if job.registers {
        heap.mutate(|mc, state| {
            let state = &mut *state.borrow_mut(mc);
            for object in state.keep.iter().flatten() {
                state.set.push(Set {
                    object: Gc::downgrade(*object),
                    finalizer: black_box(tick),
                });
            }
        });
        phases.end("register");
    }
    discover(heap);
    heap.finish_cycle();
    phases.begin();
    discover(heap);
    heap.finish_cycle();
    phases.end("live");
    let dead = heap.mutate(|mc, state| {
        let keep = &mut state.borrow_mut(mc).keep;
        let pairs = keep
            .iter_mut()
            .zip(dropped(job.dead))
            .filter(|(_, dead)| *dead);
        pairs.map(|(object, _)| *object = None).count()
    });
    phases.begin();
    discover(heap);
    phases.end("discover");
    drain(heap);
    if job.registers {
        phases.end("drain");
        assert_eq!(CALLS.get(), dead);
    }
    // The rest of that collection, and the next one.
    phases.begin();
    heap.finish_cycle();
    heap.finish_cycle();
    phases.end("free");
    heap.mutate(|mc, state| state.borrow_mut(mc).keep.clear());
    discover(heap);
    drain(heap);
    heap.finish_cycle();
    heap.finish_cycle();
}

fn main() {
    let mut heap = Heap::new(|mc| Gc::new(mc, RefLock::new(State::default())));
    serve("gc-arena 0.7", |job, phases| round(&mut heap, job, phases));
}
