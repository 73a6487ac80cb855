//! Exit policies: what is run, in which order, and what is said not to have run.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fing::ends::{ExitPolicy, NotRun};
use fing::error::{ExecutorError, ExitError, WorldError};
use fing::executor::DrainOrder;
use fing::failure::CallKind;
use fing::{
    CallStage, CyclePolicy, Executor, FinalizerFn, FinalizerOptions, Handle, Mutator, Obj, Order,
    Pointer, Runtime, RuntimeBuilder,
};

use super::Blocking;
use super::door::until;
use super::runner::command;
use super::vm::{LONG, Vm};

/// A runtime whose calls note a number: finalizers that of their object, cleanups their argument.
struct World {
    vm: Vm,
    function: FinalizerFn,
    cleanup: fing::CleanupFn,
    ran: Arc<Mutex<Vec<u64>>>,
}

impl World {
    fn new(builder: RuntimeBuilder) -> World {
        let vm = Vm::with(builder.number_registrations(true));
        let ran: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (notes, more) = (ran.clone(), ran.clone());
        let function = vm.function("func(*main.T)", move |[object, _]| {
            // SAFETY: I6: a finalizer's object is whole until it returns.
            let number = unsafe { *std::ptr::with_exposed_provenance::<u64>(object) };
            notes.lock().unwrap().push(number);
        });
        let cleanup = vm.cleanup("func(uint64)", move |[number, _]| {
            more.lock().unwrap().push(number as u64);
        });
        World {
            vm,
            function,
            cleanup,
            ran,
        }
    }

    fn object<'m>(&self, m: &'m Mutator, number: u64) -> Obj<'m> {
        let object = m.alloc(self.vm.t).unwrap();
        m.store_word(object, 0, number).unwrap();
        object
    }

    /// Objects 1 to 9 with finalizers, of which 4 to 6 are reachable, and cleanups 14 to 16 of
    /// these; the finalizers of the dead 1 to 3 are queued. Registered: 9 first, then downwards.
    fn fill(&self) -> Vec<Handle> {
        let mut roots = Vec::new();
        self.vm.enter(|m| {
            for number in 1..=3 {
                let object = self.object(m, number);
                m.set_finalizer(object, &self.function).unwrap();
            }
        });
        self.vm.runtime.gc().unwrap();
        self.vm.enter(|m| {
            let all: Vec<_> = (4..=9).map(|number| self.object(m, number)).collect();
            for (object, number) in all.iter().zip([4, 5, 6, 7, 8, 9]).rev() {
                m.set_finalizer(*object, &self.function).unwrap();
                if number <= 6 {
                    m.add_cleanup(*object, &self.cleanup, 10 + number).unwrap();
                    roots.push(m.root(*object).unwrap());
                }
            }
        });
        roots
    }

    fn ran(&self) -> Vec<u64> {
        std::mem::take(&mut *self.ran.lock().unwrap())
    }
}

fn inline() -> RuntimeBuilder {
    Runtime::builder().executor(Executor::Inline)
}

/// Each executor and order of drains; nothing is left when everything is to run.
#[test]
fn each_policy_runs_what_it_says() {
    let grouped = || Runtime::builder().drain_order(DrainOrder::Grouped);
    let last_first = [4, 5, 6, 7, 8, 9, 14, 15, 16];
    for (builder, policy, wanted, left) in [
        (inline(), ExitPolicy::Nothing, vec![], 12),
        (inline(), ExitPolicy::Queued, vec![], 9),
        (
            inline(),
            ExitPolicy::LastRegisteredFirst,
            last_first.to_vec(),
            0,
        ),
        (
            grouped().executor(Executor::Inline),
            ExitPolicy::LastRegisteredFirst,
            last_first.to_vec(),
            0,
        ),
    ] {
        let world = World::new(builder);
        let roots = world.fill();
        let report = world.vm.runtime.exit(policy, LONG).unwrap();
        // Those that were queued before run last, newest first.
        let mut ran = world.ran();
        if policy != ExitPolicy::Nothing {
            let mut queued = ran.split_off(wanted.len());
            queued.sort_unstable();
            assert_eq!(queued, [1, 2, 3]);
        }
        assert_eq!(ran, wanted, "{policy:?}");
        let queued = if policy == ExitPolicy::Nothing { 0 } else { 3 };
        assert_eq!(report.executed, wanted.len() as u64 + queued);
        assert_eq!(report.not_run.len(), left, "{:?}", report.not_run);
        let cleanups = |of: &&NotRun| of.kind == CallKind::Cleanup;
        assert_eq!(report.not_run.iter().filter(cleanups).count(), left.min(3));
        let stats = world.vm.runtime.stats();
        assert_eq!(stats.executed, report.executed);
        if left == 0 {
            assert_eq!((stats.finalizers, stats.cleanups), (0, 0));
        }
        // Nothing is finalized afterwards.
        drop(roots);
        assert_eq!(world.vm.runtime.gc().unwrap().live_objects, 0);
        assert_eq!(world.ran(), [0; 0]);
        world.vm.runtime.verify_heap().unwrap();
    }
}

/// On the goroutine's thread, with everything reachable, by references and declarations; those on
/// a cycle are left, and said to be.
#[test]
fn an_exit_in_topological_order() {
    for order in [Order::Go, Order::Topological] {
        let world = World::new(Runtime::builder().order(order));
        let (vm, f) = (&world.vm, &world.function);
        let roots: Vec<Handle> = vm.enter(|m| {
            let all: Vec<_> = (0..8).map(|number| world.object(m, number)).collect();
            for object in &all[..6] {
                m.set_finalizer(*object, f).unwrap();
                m.add_cleanup(*object, &world.cleanup, 100u64).unwrap();
            }
            // 3 before 1 before 4 before 0; 2 and 5 are a cycle, 6 and 7 one that is broken.
            m.store_ref(all[3], 8, Some(all[1])).unwrap();
            m.finalize_after(all[4], all[1]).unwrap();
            m.store_ref(all[4], 8, Some(all[0])).unwrap();
            m.store_ref(all[2], 8, Some(all[5])).unwrap();
            m.store_ref(all[5], 8, Some(all[2])).unwrap();
            let options = || FinalizerOptions::new().cycle(CyclePolicy::Break);
            m.set_finalizer_with(all[6], f, options()).unwrap();
            m.store_ref(all[6], 8, Some(all[7])).unwrap();
            m.store_ref(all[7], 8, Some(all[6])).unwrap();
            all.iter().map(|object| m.root(*object).unwrap()).collect()
        });
        let report = vm.runtime.exit(ExitPolicy::Topological, LONG).unwrap();
        let ran = world.ran();
        let (finalizers, cleanups) = ran.split_at(5);
        let chain: Vec<u64> = finalizers.iter().copied().filter(|n| *n != 6).collect();
        assert_eq!((chain, cleanups), (vec![3, 1, 4, 0], &[100; 6][..]));
        assert!(finalizers.contains(&6));
        let left: Vec<_> = report
            .not_run
            .iter()
            .map(|left| (left.kind, left.stage, left.function.as_str()))
            .collect();
        let wanted = (CallKind::Finalizer, CallStage::Registered, "func(*main.T)");
        assert_eq!(left, [wanted; 2]);
        assert_eq!(report.executed, 11);
        drop(roots);
    }
}

/// Finalizers of interior pointers and closures; weak pointers are nil before.
#[test]
fn all_kinds_of_registrations_run_at_an_exit() {
    let world = World::new(inline());
    let vm = &world.vm;
    let (inner, ran) = vm.sender("func(*int)");
    let types = vm.runtime.types();
    let pair = types.define("main.Pair", "struct { A, B int }").unwrap();
    let int = types.intern(&"int".parse().unwrap()).unwrap();
    let to_int = types.pointer_to(int).unwrap();
    let for_all = types.define("main.All", "struct { V int; W int }").unwrap();
    let (all, called) = vm.sender("func(*main.All)");
    let prepared = vm.runtime.prepare_finalizer(for_all, &all).unwrap();
    prepared.set_for_all().unwrap();
    let (root, weak, addr) = vm.enter(|m| {
        let object = m.alloc(pair).unwrap();
        for place in [object.addr(), object.addr() + 8] {
            m.set_finalizer(Pointer::typed(to_int, place), &inner)
                .unwrap();
        }
        m.set_external_bytes(object, 1000).unwrap();
        m.alloc(for_all).unwrap();
        let weak = m.downgrade(object).unwrap();
        (m.root(object).unwrap(), weak, object.addr())
    });
    let report = vm
        .runtime
        .exit(ExitPolicy::LastRegisteredFirst, LONG)
        .unwrap();
    assert_eq!((report.executed, report.not_run.len()), (3, 0));
    let ran: Vec<_> = ran.try_iter().map(|[word, _]| word).collect();
    assert_eq!(ran, [addr + 8, addr]);
    assert_eq!(called.try_iter().count(), 1);
    vm.enter(|m| assert_eq!(m.upgrade(&weak), Ok(None)));
    assert_eq!(vm.runtime.stats().finalizers, 0);
    drop(root);
}

/// The time is over while a call is running: those behind it are not made, and listed.
#[test]
fn an_exit_has_a_deadline() {
    for executor in [Executor::Thread, Executor::Inline] {
        let vm = Vm::with(
            Runtime::builder()
                .executor(executor)
                .number_registrations(true),
        );
        let mut blocking = Blocking::new(&vm, 2);
        let addresses = blocking.doom(&vm, 0..700);
        let root = vm.doomed(0, |m, _| m.root(m.adopt(addresses[0]).unwrap()).unwrap());
        // Long enough for two calls on a busy machine, which is not what is tried here.
        let timeout = Duration::from_secs(2);
        let report = std::thread::scope(|scope| {
            // On the thread of an inline executor the exit waits for the call.
            let Blocking { running, go_on, .. } = &mut blocking;
            let helper = (executor == Executor::Inline).then(|| {
                let (go_on, runtime) = (go_on.clone(), &vm.runtime);
                scope.spawn(move || {
                    running.recv_timeout(LONG).unwrap();
                    // What waits was dropped when the time was over.
                    until("the time is over", || runtime.stats().discarded > 0);
                    go_on.send(()).unwrap();
                })
            });
            let report = vm
                .runtime
                .exit(ExitPolicy::LastRegisteredFirst, timeout)
                .unwrap();
            if helper.is_none() {
                go_on.send(()).unwrap();
            }
            report
        });
        // The last registered ones ran.
        let begun: Vec<u64> = (0..3).map(|n| 699 - n).collect();
        let stage = |left: &NotRun| left.stage;
        let stages: Vec<_> = report.not_run.iter().map(stage).collect();
        assert_eq!(stages[0], CallStage::Running);
        assert!(stages[1..].iter().all(|stage| *stage == CallStage::Queued));
        assert_eq!(stages.len(), 698);
        let objects: Vec<_> = report
            .not_run
            .iter()
            .map(|left| left.object.unwrap())
            .collect();
        let wanted: Vec<_> = addresses[..698].iter().rev().copied().collect();
        assert_eq!(objects, wanted, "in the order in which they would have run");
        vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
        assert_eq!(blocking.ran(), begun);
        drop(root);
    }
}

#[test]
fn an_exit_that_cannot_be_is_refused() {
    let vm = Vm::new();
    let exit = |policy| vm.runtime.exit(policy, LONG);
    assert_eq!(
        exit(ExitPolicy::LastRegisteredFirst),
        Err(ExitError::NotNumbered)
    );
    let mut m = vm.runtime.attach().unwrap();
    assert!(matches!(
        exit(ExitPolicy::Queued),
        Err(ExitError::Executor(ExecutorError::HoldsMutator { .. }))
    ));
    // Nothing has ended.
    let runtime = vm.runtime.downgrade();
    let (tell, told) = channel();
    let f = vm.function("func(*main.T)", move |_| {
        let runtime = runtime.upgrade().unwrap();
        tell.send(runtime.exit(ExitPolicy::Nothing, LONG)).unwrap();
    });
    m.set_finalizer(m.alloc(vm.t).unwrap(), &f).unwrap();
    m.gc().unwrap();
    let refused = m.native(|| told.recv_timeout(LONG)).unwrap();
    assert_eq!(
        refused,
        Err(ExitError::Executor(ExecutorError::OnGoroutine))
    );
    // A mutator that does not stop, for the exit and for a collection that has begun before.
    let timeout = Duration::from_millis(50);
    let is_late = |late: Result<_, ExitError>| {
        assert!(
            matches!(late, Err(ExitError::World(WorldError::Timeout { .. }))),
            "{late:?}"
        );
    };
    std::thread::scope(|scope| {
        let exit = || vm.runtime.exit(ExitPolicy::Nothing, timeout);
        is_late(scope.spawn(exit).join().unwrap());
        let collecting = scope.spawn(|| vm.runtime.gc());
        let flag = vm.runtime.safepoint_flag();
        while !flag.is_set() {
            std::thread::yield_now();
        }
        is_late(scope.spawn(exit).join().unwrap());
        m.safepoint();
        m.native(|| collecting.join().unwrap()).unwrap();
    });
    drop(m);
    assert_eq!(exit(ExitPolicy::Queued).unwrap().not_run, []);
}

/// A program that ends: in a process of its own, whose output is looked at when it is gone.
#[test]
fn a_program_that_ends() {
    const POLICY: &str = "FING_TEST_EXIT_POLICY";
    if let Ok(name) = std::env::var(POLICY) {
        let policy = match name.as_str() {
            "nothing" => ExitPolicy::Nothing,
            "queued" => ExitPolicy::Queued,
            "last" => ExitPolicy::LastRegisteredFirst,
            _ => ExitPolicy::Topological,
        };
        // Inline: what is queued is so until the exit.
        let world = World::new(inline().order(Order::Topological));
        let vm = &world.vm;
        let print = vm.function("func(*main.T)", |[object, _]| {
            // SAFETY: I6: a finalizer's object is whole until it returns.
            let number = unsafe { *std::ptr::with_exposed_provenance::<u64>(object) };
            println!("ran {number}");
        });
        vm.doomed(1, |m, object| m.set_finalizer(object, &print).unwrap());
        vm.runtime.gc().unwrap();
        let roots = vm.enter(|m| {
            let [a, b] = [2, 3].map(|number| world.object(m, number));
            m.set_finalizer(b, &print).unwrap();
            m.set_finalizer(a, &print).unwrap();
            m.finalize_after(a, b).unwrap();
            [a, b].map(|object| m.root(object).unwrap())
        });
        let report = vm.runtime.exit(policy, LONG).unwrap();
        println!("left {}", report.not_run.len());
        // As a program ends that does not unwind: nothing more is said.
        std::mem::forget(roots);
        std::process::exit(17);
    }
    for (policy, wanted) in [
        ("nothing", "left 3;"),
        ("queued", "ran 1;left 2;"),
        ("last", "ran 2;ran 3;ran 1;left 0;"),
        ("topological", "ran 3;ran 2;ran 1;left 0;"),
    ] {
        let name = "exit::a_program_that_ends";
        let output = command(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(POLICY, policy)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(17), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| line.rsplit("... ").next().unwrap());
        let said: String = lines
            .filter(|line| line.starts_with("ran ") || line.starts_with("left "))
            .map(|line| format!("{line};"))
            .collect();
        assert_eq!(said, wanted, "{policy}: {text}");
    }
}
