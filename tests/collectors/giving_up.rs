//! A tracer that panics gives its collection up: another one can begin, and nothing is lost or done
//! twice. Each call that a tracer gets in a collection panics once.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};

use fing::foreign::{
    Collection, CollectionError, Ephemeron, Finalizers, Part, Scope, Tracer, Weak,
};
use fing::stubs::{CacheOptions, CodePolicy};
use fing::{CyclePolicy, FinalizerOptions, HeldValue, Order};

use super::{Heap, Marker, all, noting, noting_cleanup, noting_contexts, run};

/// A tracer's functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    IsReached,
    Trace,
    Children,
    IsYoung,
}

/// How the collection is made that is given up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Steps,
    /// With parts on other threads.
    Parts,
    Early,
    /// With everything young, and with the index of young objects to be made anew.
    Minor,
}

impl How {
    fn scope(self) -> Scope {
        match self {
            How::Minor => Scope::Minor,
            _ => Scope::Full,
        }
    }
}

/// Which call panics, of all threads.
struct Fuse {
    call: Call,
    left: AtomicI64,
    /// Calls count while there is a step.
    step: AtomicU32,
}

const NO_STEP: u32 = u32::MAX;

impl Fuse {
    fn burn(&self, call: Call) {
        let counts = self.call == call && self.step.load(Relaxed) != NO_STEP;
        if counts && self.left.fetch_sub(1, Relaxed) == 0 {
            // Without the panic hook.
            resume_unwind(Box::new("the tracer panics"));
        }
    }
}

/// A collection's tracer, which panics.
struct Faulty<'h> {
    marker: Marker<'h>,
    fuse: &'h Fuse,
}

// SAFETY: I16: objects are numbers, which nobody follows.
unsafe impl Tracer for Faulty<'_> {
    type Ref = u32;

    fn is_reached(&mut self, object: u32) -> bool {
        self.fuse.burn(Call::IsReached);
        self.marker.is_reached(object)
    }

    fn trace(&mut self, object: u32) -> u32 {
        self.fuse.burn(Call::Trace);
        self.marker.trace(object)
    }

    fn children(&mut self, object: u32, visit: &mut dyn FnMut(&mut Self, u32)) {
        self.fuse.burn(Call::Children);
        for field in self.marker.heap.fields[object as usize].clone() {
            visit(self, field);
        }
    }

    /// What survives becomes old, if the collection is not given up.
    fn is_young(&mut self, _: u32) -> bool {
        self.fuse.burn(Call::IsYoung);
        false
    }
}

/// A tracer of collections in which nothing becomes old.
struct Young<'h>(Marker<'h>);

// SAFETY: I16: as above.
unsafe impl Tracer for Young<'_> {
    type Ref = u32;

    fn is_reached(&mut self, object: u32) -> bool {
        self.0.is_reached(object)
    }

    fn trace(&mut self, object: u32) -> u32 {
        self.0.trace(object)
    }

    fn children(&mut self, object: u32, visit: &mut dyn FnMut(&mut Self, u32)) {
        for field in self.0.heap.fields[object as usize].clone() {
            visit(self, field);
        }
    }

    fn is_young(&mut self, _: u32) -> bool {
        true
    }
}

/// What is registered, with numbers below 100.
///
/// 0 -> 1 -> 2 and 3 -> 4 are chains, 5 -> 6 -> 5 and 7 -> 8 -> 7 are cycles that are reported, 9
/// has a context, 10 nothing but cleanups and a weak handle, 11 and 12 are queued and due when the
/// collection begins, 13 is a root until then, and refers to 11. Entries of weak maps keep 16 while
/// 13 is alive, 17 while 16 is, and 19 while 18 is, which it is not.
struct Program {
    heap: Heap,
    finalizers: Finalizers<u32>,
    weak: Weak,
    ephemerons: [Ephemeron; 3],
}

/// The maps, keys and values of the entries.
const ENTRIES: [[u32; 3]; 3] = [[ROOT, ROOT, 16], [16, 16, 17], [ROOT, 18, 19]];

/// Finalizers that run in the end. Those of cycles never do.
const RUN: [u64; 9] = [0, 1, 2, 3, 4, 914, 11, 12, 13];
/// What the cleanups are called with.
const CLEANED: [u64; 2] = [15, 77];
const ROOT: u32 = 13;

impl Program {
    fn new(order: Order) -> Program {
        let mut heap = Heap::new(20);
        for (from, to) in [(0, 1), (1, 2), (3, 4), (5, 6), (6, 5), (7, 8), (8, 7)] {
            heap.fields[from].push(to);
        }
        let code = CacheOptions::default().policy(CodePolicy::Interpret);
        let builder = Finalizers::builder().order(order).code(code);
        let finalizers = builder.build().unwrap();
        let (plain, cleanup, [_, with]) = (noting(), noting_cleanup(), noting_contexts());
        // SAFETY: I16: objects are numbers, and no function follows any.
        unsafe {
            // One is queued, one is due.
            finalizers.set_finalizer(11, &plain).unwrap();
            heap.collect(&finalizers);
            finalizers.set_finalizer(12, &plain).unwrap();
            heap.collect_from(&[], &finalizers);
            heap.fields[ROOT as usize].push(11);
            for object in [0, 1, 2, 3, 4, ROOT] {
                finalizers.set_finalizer(object, &plain).unwrap();
            }
            for object in 5..9 {
                let options = FinalizerOptions::new().cycle(CyclePolicy::Report);
                let set = finalizers.set_finalizer_with(object, &plain, options);
                set.unwrap();
            }
            let options = FinalizerOptions::new().context(HeldValue::Object(14));
            let set = finalizers.set_finalizer_with(9, &with, options);
            set.unwrap();
            let add = |argument| finalizers.add_cleanup(10, &cleanup, argument).unwrap();
            add(HeldValue::Object(15));
            add(HeldValue::Word(77));
            let entry = |[map, key, value]: [u32; 3]| finalizers.ephemeron(map, key, value);
            Program {
                weak: finalizers.downgrade(10),
                ephemerons: ENTRIES.map(entry),
                heap,
                finalizers,
            }
        }
    }

    /// The keys and values of the entries that are there.
    fn entries(&self) -> [Option<(u32, u32)>; 3] {
        self.ephemerons
            .map(|ephemeron| self.finalizers.ephemeron_entry(ephemeron))
    }

    fn begin(&self, scope: Scope) -> Collection<u32> {
        // SAFETY: I16: objects are numbers, and the heap's own.
        unsafe { self.finalizers.begin(scope) }.unwrap()
    }

    /// A collection whose tracer may panic. Returns in which step it did.
    fn try_to_collect(&self, how: How, fuse: &Fuse) -> Option<u32> {
        let mut tracer = Faulty {
            marker: self.heap.mark(&[ROOT]),
            fuse,
        };
        let mut collection = self.begin(how.scope());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            if how == How::Early {
                fuse.step.store(0, Relaxed);
                collection.early_roots(&mut tracer).unwrap();
                fuse.step.store(NO_STEP, Relaxed);
                tracer.marker.follow();
            }
            for step in 1.. {
                fuse.step.store(step, Relaxed);
                let mut line = Vec::new();
                let again = match how {
                    How::Parts => collection.step_in_parts(&mut tracer, 2, |parts| {
                        for part in parts {
                            line.append(&mut self.run_part(part, fuse));
                        }
                    }),
                    _ => collection.step(&mut tracer),
                };
                fuse.step.store(NO_STEP, Relaxed);
                tracer.marker.line.append(&mut line);
                tracer.marker.follow();
                if !again {
                    break;
                }
            }
        }));
        let step = fuse.step.swap(NO_STEP, Relaxed);
        panicked.err()?;
        // It has ended, whether it is dropped or not.
        let mut marker = self.heap.mark(&[]);
        assert!(!collection.step(&mut marker));
        let early = collection.early_roots(&mut marker);
        assert_eq!(early, Err(CollectionError::Stepped));
        assert!(self.heap.marked().is_empty(), "nothing was traced");
        drop(self.begin(how.scope()));
        Some(step)
    }

    /// Runs a part on a thread of its own. Returns what is to be followed.
    fn run_part(&self, part: Part<'_, u32>, fuse: &Fuse) -> Vec<u32> {
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let marker = self.heap.marker();
                let mut tracer = Faulty { marker, fuse };
                part.run(&mut tracer);
                tracer.marker.line
            });
            work.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Sets the finalizer of an object anew, if it has one.
    fn set_again(&self, object: u32) {
        if !self.finalizers.clear_finalizer(object).is_cancelled() {
            return;
        }
        let (plain, [_, with]) = (noting(), noting_contexts());
        let report = FinalizerOptions::new().cycle(CyclePolicy::Report);
        let (function, options) = match object {
            9 => (&with, report.context(HeldValue::Object(14))),
            _ => (&plain, report),
        };
        // SAFETY: I16: objects are numbers, and no function follows any.
        let set = || unsafe {
            self.finalizers
                .set_finalizer_with(object, function, options)
        };
        set().unwrap();
        assert!(set().is_err());
    }

    /// Collects until nothing is left to do. Returns the calls and the reported cycles, in order of
    /// their numbers.
    fn settle(&self, scope: Scope) -> (Vec<u64>, Vec<Vec<u32>>) {
        let (mut calls, mut cycles) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let mut tracer = Young(self.heap.mark(&[]));
            let follow = |tracer: &mut Young<'_>| tracer.0.follow();
            // SAFETY: I16: objects are numbers, and the heap's own.
            let collected = unsafe { self.finalizers.collect(scope, &mut tracer, follow) };
            collected.unwrap();
            cycles.append(&mut self.finalizers.finish().cycles);
            calls.append(&mut run(&self.finalizers));
        }
        cycles.iter_mut().for_each(|cycle| cycle.sort_unstable());
        calls.sort_unstable();
        cycles.sort_unstable();
        (calls, cycles)
    }
}

/// Gives up a collection at each call of one function of its tracer. Returns in which steps.
fn give_up(order: Order, how: How, call: Call) -> BTreeSet<u32> {
    let mut wanted = [&RUN[..], &CLEANED].concat();
    wanted.sort_unstable();
    let reports = match order {
        Order::Go => vec![],
        Order::Topological => vec![vec![5, 6], vec![7, 8]],
    };
    let mut steps = BTreeSet::new();
    for left in 0.. {
        let case = format!("{order:?} order, {how:?}, call {left} of {call:?}");
        let program = Program::new(order);
        let fuse = Fuse {
            call,
            left: AtomicI64::new(left),
            step: AtomicU32::new(NO_STEP),
        };
        let step = program.try_to_collect(how, &fuse);
        let [first, second, third] = ENTRIES.map(|[_, key, value]| Some((key, value)));
        let there = [first, second, third.filter(|_| step.is_some())];
        assert_eq!(program.entries(), there, "{case}");
        let scope = match step {
            Some(_) => how.scope(),
            // The survivors are old.
            None => Scope::Full,
        };
        if step.is_some() {
            program.set_again(left as u32 % 14);
        }
        let (calls, cycles) = program.settle(scope);
        assert_eq!(calls, wanted, "{case}");
        assert_eq!(cycles, reports, "{case}");
        let finalizers = &program.finalizers;
        assert_eq!(finalizers.upgrade(program.weak), None, "{case}");
        assert_eq!(program.entries(), [None; 3], "{case}");
        let stats = finalizers.stats();
        assert_eq!(
            (stats.finalizers, stats.cleanups, stats.weak),
            (4, 0, 0),
            "{case}: the cycles are left"
        );
        match step {
            Some(step) => steps.insert(step),
            None => return steps,
        };
    }
    steps
}

#[test]
fn a_tracer_that_panics_gives_the_collection_up() {
    use Call::{Children, IsReached, IsYoung, Trace};
    for order in [Order::Go, Order::Topological] {
        for how in [How::Steps, How::Parts, How::Early, How::Minor] {
            let found = [IsReached, Trace, Children, IsYoung].map(|call| {
                let steps = give_up(order, how, call);
                steps.into_iter().collect::<Vec<_>>()
            });
            // The first step traces what entries of weak maps keep. What early roots have traced
            // (step 0) is not traced in the second one.
            let wanted: [&[u32]; 4] = match (order, how) {
                (Order::Go, How::Early) => [&[0, 1, 2, 3], &[0, 1, 3], &[0, 1], &[3]],
                (Order::Go, _) => [&[1, 2, 3], &[1, 2, 3], &[1, 2], &[3]],
                (Order::Topological, How::Early) => {
                    [&[1, 2, 3, 4, 5], &[0, 1, 3, 4, 5], &[1, 4], &[5]]
                }
                (Order::Topological, _) => [&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5], &[1, 4], &[5]],
            };
            assert_eq!(found, wanted, "{order:?} order, {how:?}");
        }
    }
}

/// What a part would have asked about may be dead: a step without it decides nothing.
#[test]
fn parts_that_are_not_run_give_the_collection_up() {
    const MANY: u32 = 1000;
    let (heap, finalizers) = (Heap::new(MANY), all(Order::Go, MANY));
    let fuse = |left| Fuse {
        call: Call::IsReached,
        left: AtomicI64::new(left),
        step: AtomicU32::new(0),
    };
    // Leaves a part out, or catches the panic of one.
    type Run<'h> = &'h dyn Fn(Vec<Part<'_, u32>>);
    let left_out: Run<'_> = &|mut parts| {
        parts.swap_remove(1);
        let mut marker = heap.marker();
        parts.into_iter().for_each(|part| part.run(&mut marker));
    };
    let caught: Run<'_> = &|parts| {
        for (n, part) in (0..).zip(parts) {
            let fuse = fuse(if n == 1 { 0 } else { i64::MAX });
            let marker = heap.marker();
            let mut tracer = Faulty {
                marker,
                fuse: &fuse,
            };
            let _ = catch_unwind(AssertUnwindSafe(|| part.run(&mut tracer)));
        }
    };
    for run_parts in [left_out, caught] {
        let mut marker = heap.mark(&[]);
        // SAFETY: I16: objects are numbers, and the heap's own.
        let mut collection = unsafe { finalizers.begin(Scope::Full) }.unwrap();
        let step = AssertUnwindSafe(|| collection.step_in_parts(&mut marker, 4, run_parts));
        let panic = catch_unwind(step).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("parts that were not run"), "{message}");
        assert!(!collection.step(&mut marker), "it has ended");
        assert_eq!(collection.finish().queued, 0);
    }
    heap.collect(&finalizers);
    assert_eq!(run(&finalizers).len(), MANY as usize);
}
