//! gc-arena: weak pointers, `MarkedArena::finalize`, and a loop by hand. See ../../../README.md.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use gc_arena::lock::RefLock;
use gc_arena::{Arena, Collect, Gc, GcWeak, Mutation, Rootable};
use peers::{Job, Phases, SMALL_TREE, dropped, resident, serve, shuffle};

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

#[derive(Collect)]
#[collect(no_drop)]
struct Node<'gc> {
    left: Tree<'gc>,
    right: Tree<'gc>,
    _words: [u64; 2],
}

type Tree<'gc> = Option<Gc<'gc, Node<'gc>>>;

#[derive(Collect, Default)]
#[collect(no_drop)]
struct State<'gc> {
    keep: Vec<Option<Gc<'gc, Thing>>>,
    set: Vec<Set<'gc>>,
    due: Vec<Due<'gc>>,
    tree: Tree<'gc>,
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

fn allocate(heap: &mut Heap, job: &Job) {
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
}

fn register(heap: &mut Heap) {
    heap.mutate(|mc, state| {
        let state = &mut *state.borrow_mut(mc);
        for object in state.keep.iter().flatten() {
            state.set.push(Set {
                object: Gc::downgrade(*object),
                finalizer: black_box(tick),
            });
        }
    });
}

fn forget(heap: &mut Heap) {
    heap.mutate(|mc, state| state.borrow_mut(mc).keep.clear());
    discover(heap);
    drain(heap);
    heap.finish_cycle();
    heap.finish_cycle();
}

/// There is no taking back.
fn random(heap: &mut Heap, job: &Job, phases: &mut Phases) {
    allocate(heap, job);
    heap.mutate(|mc, state| shuffle(&mut state.borrow_mut(mc).keep));
    phases.begin();
    register(heap);
    phases.end("register");
    forget(heap);
}

fn memory(heap: &mut Heap, job: &Job, phases: &mut Phases) {
    allocate(heap, job);
    heap.finish_cycle();
    let small = resident();
    register(heap);
    phases.note("memory", resident() - small);
    heap.mutate(|mc, state| state.borrow_mut(mc).keep.fill(None));
    discover(heap);
    phases.note("queued", resident() - small);
}

/// A tree of so many nodes.
fn grow<'gc>(mc: &Mutation<'gc>, nodes: usize) -> Tree<'gc> {
    let below = nodes.checked_sub(1)?;
    let node = Node {
        left: grow(mc, below / 2),
        right: grow(mc, below - below / 2),
        _words: [0; 2],
    };
    Some(Gc::new(mc, node))
}

fn tree(heap: &mut Heap, job: &Job, phases: &mut Phases) {
    phases.begin();
    heap.mutate(|mc, state| state.borrow_mut(mc).tree = grow(mc, job.n));
    phases.end("alloc");
    heap.finish_cycle();
    phases.begin();
    heap.finish_cycle();
    phases.end("live");
    heap.mutate(|mc, state| state.borrow_mut(mc).tree = None);
    phases.begin();
    heap.finish_cycle();
    phases.end("free");
}

fn tree_churn(heap: &mut Heap, job: &Job, phases: &mut Phases) {
    heap.mutate(|mc, state| state.borrow_mut(mc).tree = grow(mc, job.n));
    let trees = (4 * job.n).div_ceil(SMALL_TREE);
    let begun = Instant::now();
    for _ in 0..trees {
        heap.mutate(|mc, _| assert!(grow(mc, SMALL_TREE).is_some()));
        heap.collect_debt();
    }
    let all = begun.elapsed().as_nanos() as f64;
    phases.note("churn", all * job.n as f64 / (trees * SMALL_TREE) as f64);
    heap.mutate(|mc, state| state.borrow_mut(mc).tree = None);
    heap.finish_cycle();
}

fn cycle(heap: &mut Heap, job: &Job, phases: &mut Phases) {
    CALLS.set(0);
    phases.begin();
    allocate(heap, job);
    phases.end("alloc");
    if job.registers() {
        register(heap);
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
    if job.registers() {
        phases.end("drain");
        assert_eq!(CALLS.get(), dead);
    }
    // The rest of that collection, and the next one.
    phases.begin();
    heap.finish_cycle();
    heap.finish_cycle();
    phases.end("free");
    forget(heap);
}

fn main() {
    let mut heap = Heap::new(|mc| Gc::new(mc, RefLock::new(State::default())));
    serve("gc-arena 0.7", |job, phases| {
        let round = match job.work.as_str() {
            "cycle" => cycle,
            "random" => random,
            "memory" => memory,
            "tree" => tree,
            "tree-churn" => tree_churn,
            other => panic!("no work {other}"),
        };
        round(&mut heap, job, phases);
    });
}
