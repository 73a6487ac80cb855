//! What the runtime costs an object with a finalizer, beside what the machine itself can do.
//!
//! `cargo bench -p fing-benches --bench runtime` prints a table: each row is measured in turn with the floor it is compared to, in one
//! process, `PASSES` times, and the medians are shown. Only ratios mean anything: the digits are this machine's.
//! Arguments choose rows by a part of their name; `--huge` adds the rows with ten million objects.

use std::hint::black_box;
use std::sync::atomic::Ordering::Relaxed;

use fing::stubs::Record;
use fing::{
    Abi, Executor, FinalizerFn, FinalizerOptions, FinalizerState, Finalizers, HeapOptions, Mutator,
    Obj, Policy, Runtime, Scope, Tracer, TypeFinalizer, TypeId,
};
use fing_benches::figures::{Figures, head, median, next, row, shuffled, time};
use fing_benches::machine::{CALLS, FINALIZERS, Machine, f0};

const N: usize = 1_000_000;
const PASSES: usize = 9;

extern "C" fn bulk(first: *const *const u64, count: usize) {
    CALLS.store(CALLS.load(Relaxed).wrapping_add(count as u64), Relaxed);
    black_box(first);
}

// ------------------------------------------------------------------------------------------ the runtime

/// A runtime with one type of 32 bytes, without pointers, and an array that keeps `n` of them.
struct World {
    runtime: Runtime,
    ty: TypeId,
    array: TypeId,
    n: usize,
}

fn finalizer(runtime: &Runtime, code: extern "C" fn(*const u64)) -> FinalizerFn {
    let signature = runtime.types().parse_signature("func(*main.T)").unwrap();
    // SAFETY: `code` is a System V function of one pointer.
    unsafe { FinalizerFn::builder(signature, Abi::system_v()).at(code as *const ()) }
}

impl World {
    fn new(n: usize) -> World {
        World::build(n, |builder| builder)
    }

    fn build(n: usize, with: impl FnOnce(fing::RuntimeBuilder) -> fing::RuntimeBuilder) -> World {
        let options = HeapOptions {
            limit: 2 << 30,
            ..HeapOptions::default()
        };
        let builder = Runtime::builder().executor(Executor::Inline).heap(options);
        let runtime = with(builder).build().unwrap();
        let types = runtime.types();
        let ty = types
            .define(
                "main.T",
                "struct { A uint64; B uint64; C uint64; D uint64 }",
            )
            .unwrap();
        let array = types.id(&format!("[{n}]*main.T")).unwrap();
        World {
            runtime,
            ty,
            array,
            n,
        }
    }

    fn prepare(&self, code: extern "C" fn(*const u64)) -> TypeFinalizer {
        self.runtime
            .prepare_finalizer(self.ty, &finalizer(&self.runtime, code))
            .unwrap()
    }

    /// Makes `n` objects; `each` has each of them. Their addresses, and what keeps them.
    fn fill(
        &self,
        mutator: &Mutator,
        mut each: impl FnMut(usize, Obj<'_>),
    ) -> (Vec<usize>, fing::Handle) {
        let array = mutator.alloc(self.array).unwrap();
        let handle = mutator.root(array);
        let addrs = (0..self.n).map(|i| {
            let object = mutator.alloc(self.ty).unwrap();
            mutator.store_ref(array, i * 8, Some(object)).unwrap();
            each(i, object);
            object.addr()
        });
        (addrs.collect(), handle)
    }

    fn drain(&self, mutator: &mut Mutator) -> u64 {
        mutator.native(|| self.runtime.run_finalizers().unwrap())
    }
}

// ------------------------------------------------------------------------------------------ rows

/// Registers and cancels, in the order of addresses and in random order.
fn registered(
    names: [&str; 2],
    world: &World,
    register: impl Fn(&Mutator, Obj<'_>),
    cancel: impl Fn(&Mutator, Obj<'_>),
) {
    let (mut floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 5]);
    let order = shuffled(N);
    let mut mutator = world.runtime.attach().unwrap();
    for _ in 0..PASSES {
        let (addrs, handle) = world.fill(&mutator, |_, _| {});
        let objects: Vec<Obj<'_>> = addrs.iter().map(|&a| mutator.adopt(a).unwrap()).collect();
        let mixed: Vec<Obj<'_>> = order.iter().map(|&i| objects[i]).collect();
        figures[0].push(floor.append());
        for (n, objects) in [&objects, &mixed].into_iter().enumerate() {
            figures[1 + n].push(time(N, || {
                for &object in objects {
                    register(&mutator, object);
                }
            }));
            figures[3 + n].push(time(N, || {
                for &object in objects {
                    cancel(&mutator, object);
                }
            }));
        }
        drop((objects, mixed, handle));
        mutator.gc().unwrap();
    }
    let [append, found @ ..] = &figures;
    let rows = [
        (0, "in order", 4.0),
        (0, "random order", 15.0),
        (1, "in order", 8.0),
        (1, "random order", 20.0),
    ];
    for ((name, order, bar), found) in rows.into_iter().zip(found) {
        row(
            &format!("{}, {order} : append 32 B", names[name]),
            found,
            append,
            bar,
        );
    }
}

fn registering() {
    let world = World::new(N);
    let close = world.prepare(f0);
    registered(
        ["attach", "detach"],
        &world,
        |mutator, object| close.attach(mutator, object).unwrap(),
        |mutator, object| assert!(close.detach(mutator, object).unwrap()),
    );
}

fn checked_registering() {
    let world = World::new(N);
    let close = finalizer(&world.runtime, f0);
    let set = |mutator: &Mutator, object: Obj<'_>, finalizer| {
        let state = world
            .runtime
            .set_finalizer(mutator, object.into(), finalizer);
        state.unwrap()
    };
    registered(
        ["set_finalizer", "set_finalizer, None"],
        &world,
        |mutator, object| assert_eq!(set(mutator, object, Some(&close)), FinalizerState::Set),
        |mutator, object| assert_eq!(set(mutator, object, None), FinalizerState::Cleared(true)),
    );
}

/// A function that takes a number.
fn number(runtime: &Runtime) -> FinalizerFn {
    extern "C" fn count(number: u64) {
        CALLS.store(CALLS.load(Relaxed).wrapping_add(number), Relaxed);
    }
    let signature = runtime.types().parse_signature("func(uint64)").unwrap();
    // SAFETY: `count` is a System V function of one number.
    unsafe { FinalizerFn::builder(signature, Abi::system_v()).at(count as *const ()) }
}

/// A life of cleanups: all of them are stopped once, then added again, and run.
fn cleanups() {
    let (mut floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 7]);
    let world = World::new(N);
    let count = number(&world.runtime);
    let mut mutator = world.runtime.attach().unwrap();
    for pass in 0..PASSES + 1 {
        let (addrs, handle) = world.fill(&mutator, |_, _| {});
        let add = |addr| world.runtime.add_cleanup(&mutator, addr, &count, 1);
        let mut added = Vec::with_capacity(N);
        added.extend(addrs.iter().map(|&addr| add(addr).unwrap()));
        let stop = time(N, || assert!(added.iter().all(fing::Cleanup::stop)));
        drop(added);
        let register = time(N, || {
            for &addr in &addrs {
                add(addr).unwrap();
            }
        });
        mutator.gc().unwrap();
        let alive = mutator.gc().unwrap().deciding.as_nanos() as f64 / N as f64;
        drop(handle);
        let discover = time(N, || _ = mutator.gc().unwrap());
        assert_eq!(world.drain(&mut mutator), N as u64);
        mutator.gc().unwrap();
        let base = [floor.append(), floor.scan(), floor.mark_checks()];
        if pass > 0 {
            let all = [&base[..], &[register, stop, alive, discover]].concat();
            for (figures, figure) in figures.iter_mut().zip(all) {
                figures.push(figure);
            }
        }
    }
    let [append, scan, check, register, stop, alive, discover] = &figures;
    row("add_cleanup : append 32 B", register, append, 15.0);
    row("Cleanup::stop : append 32 B", stop, append, 8.0);
    row(
        "a living cleanup, a collection : mark-bit check",
        alive,
        check,
        0.2,
    );
    row(
        "a collection that queues cleanups : append + scan",
        discover,
        &append
            .iter()
            .zip(scan)
            .map(|(a, b)| a + b)
            .collect::<Figures>(),
        6.0,
    );
}

/// What objects with a finalizer cost a collection while they live: the time it takes to decide over them. (The rest of
/// a collection is the same with and without; the difference of two wholes would be lost in their noise.)
fn living() {
    let (floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 5]);
    let worlds = [World::new(N), World::new(N)];
    let closes = worlds.each_ref().map(|world| world.prepare(f0));
    let kept = std::array::from_fn::<_, 2, _>(|n| {
        let mutator = worlds[n].runtime.attach().unwrap();
        worlds[n]
            .fill(&mutator, |_, object| {
                if n == 1 {
                    closes[n].attach(&mutator, object).unwrap();
                }
            })
            .1
    });
    for pass in 0..3 * PASSES {
        let mut of = [(0.0, 0.0); 2];
        for n in 0..2 {
            let mut deciding = 0.0;
            let whole = time(N, || {
                deciding = worlds[n].runtime.gc().unwrap().deciding.as_nanos() as f64 / N as f64;
            });
            of[n] = (whole, deciding);
        }
        // The first collection after a registration works out what was registered.
        if pass > 0 {
            let all = [floor.mark_checks(), of[0].0, of[1].0, of[0].1, of[1].1];
            for (figures, figure) in figures.iter_mut().zip(all) {
                figures.push(figure);
            }
        }
    }
    drop(kept);
    let [check, none, all, deciding_none, deciding] = &figures;
    row(
        "collection, none registered : mark-bit check",
        none,
        check,
        f64::INFINITY,
    );
    row(
        "collection, all registered and alive : none registered",
        all,
        none,
        1.1,
    );
    row(
        "  deciding, none registered : mark-bit check",
        deciding_none,
        check,
        f64::INFINITY,
    );
    row(
        "living registered object, a collection : mark-bit check",
        deciding,
        check,
        0.2,
    );
}

fn draining() {
    let (floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 4]);
    let world = World::new(N);
    let close = world.prepare(f0);
    let mut mutator = world.runtime.attach().unwrap();
    for _ in 0..PASSES {
        let (_, handle) = world.fill(&mutator, |_, object| {
            close.attach(&mutator, object).unwrap()
        });
        drop(handle);
        mutator.gc().unwrap();
        figures[0].push(floor.calls());
        figures[1].push(time(N, || assert_eq!(world.drain(&mut mutator), N as u64)));
        mutator.gc().unwrap();
    }
    row(
        "drain, one target : indirect call",
        &figures[1],
        &figures[0],
        2.5,
    );
}

/// A drain of eight finalizers, each of a random one of them.
fn mixed_drain(n: usize, policy: Policy, row_name: &str, bar: f64) {
    let (floor, mut figures) = (Machine::new(n), [const { Figures::new() }; 2]);
    let world = World::build(n, |builder| builder.policy(policy));
    let closes = FINALIZERS.map(|code| world.prepare(code));
    let mut mutator = world.runtime.attach().unwrap();
    let mut state = 7;
    for pass in 0..PASSES * (N / n).min(5) + 1 {
        let (_, handle) = world.fill(&mutator, |_, object| {
            let close = &closes[(next(&mut state) % 8) as usize];
            close.attach(&mutator, object).unwrap();
        });
        drop(handle);
        mutator.gc().unwrap();
        let drain = time(n, || assert_eq!(world.drain(&mut mutator), n as u64));
        mutator.gc().unwrap();
        if pass > 0 {
            figures[0].push(floor.mixed_calls());
            figures[1].push(drain);
        }
    }
    row(row_name, &figures[1], &figures[0], bar);
}

fn bulk_drain() {
    let (floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 2]);
    let world = World::new(N);
    let types = world.runtime.types();
    let signature = types.parse_signature("func(**main.T, uint)").unwrap();
    let builder = FinalizerFn::builder(signature, Abi::system_v()).bulk();
    // SAFETY: `bulk` is a System V function of a pointer and a number.
    let close = unsafe { builder.at(bulk as *const ()) };
    let close = world.runtime.prepare_finalizer(world.ty, &close).unwrap();
    let mut mutator = world.runtime.attach().unwrap();
    for pass in 0..PASSES + 1 {
        let (_, handle) = world.fill(&mutator, |_, object| {
            close.attach(&mutator, object).unwrap()
        });
        drop(handle);
        mutator.gc().unwrap();
        let drain = time(N, || assert_eq!(world.drain(&mut mutator), N as u64));
        mutator.gc().unwrap();
        if pass > 0 {
            figures[0].push(floor.calls());
            figures[1].push(drain);
        }
    }
    row("drain, bulk : indirect call", &figures[1], &figures[0], 1.0);
}

fn drains() {
    draining();
    for (n, of) in [(N, "1 M"), (20_000, "20 k, in cache")] {
        for (policy, name, bar) in [
            (Policy::Lifo, "Lifo", 1.5),
            (Policy::Grouped, "Grouped", 0.5),
        ] {
            let name = format!("drain, 8 targets, {name}, {of} : loop over them");
            mixed_drain(n, policy, &name, bar);
        }
    }
    bulk_drain();
    scattered_drain();
}

/// A collector that reaches nothing.
struct Nothing;

// SAFETY: it answers no references but those it was given.
unsafe impl Tracer for Nothing {
    type Ref = usize;

    fn is_reached(&mut self, _: usize) -> bool {
        false
    }

    fn trace(&mut self, object: usize) -> usize {
        object
    }

    fn children(&mut self, _: usize, _: &mut dyn FnMut(&mut Nothing, usize)) {}
}

/// As what finalizers are for: looks into its object.
extern "C" fn look(object: *const u64) {
    // SAFETY: a word of `scattered_drain`'s.
    let word = unsafe { object.read() };
    CALLS.store(CALLS.load(Relaxed).wrapping_add(word), Relaxed);
}

/// Objects all over 128 MB, as another collector's may lie, and a finalizer that reads its object.
fn scattered_drain() {
    const WORDS: usize = 16;
    let memory = vec![1u64; WORDS * N];
    let objects: Vec<usize> = shuffled(N)
        .iter()
        .map(|&n| memory[n * WORDS..].as_ptr().expose_provenance())
        .collect();
    let finalizers = Finalizers::<usize>::builder()
        .executor(Executor::Inline)
        .build()
        .unwrap();
    let builder = FinalizerFn::builder("func(*uint64)".parse().unwrap(), Abi::system_v());
    // SAFETY: `look` is a System V function of one pointer.
    let function = unsafe { builder.at(look as *const ()) };
    let mut figures = [const { Figures::new() }; 2];
    for _ in 0..PASSES {
        let mut floor = Machine::new(0);
        for &object in &objects {
            // SAFETY: words of `memory`, which outlives the calls.
            unsafe { finalizers.set_finalizer(object, &function, FinalizerOptions::default()) }
                .unwrap();
            floor.records.push(Record {
                code: look as *const () as usize,
                words: [object as u64, 0],
                ..Record::default()
            });
        }
        figures[0].push(floor.calls());
        finalizers.collect(Scope::Full, &mut Nothing, |_| {});
        finalizers.finish();
        figures[1].push(time(N, || {
            assert_eq!(finalizers.run_finalizers().unwrap(), N as u64)
        }));
    }
    row(
        "drain, scattered objects that are read : loop over them",
        &figures[1],
        &figures[0],
        1.25,
    );
}

/// A life of objects whose type implies their finalizer: nothing is registered.
fn implied_life() {
    let (mut floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 3]);
    let world = World::new(N);
    world.prepare(f0).attach_to_all().unwrap();
    let mut mutator = world.runtime.attach().unwrap();
    for pass in 0..PASSES + 1 {
        drop(world.fill(&mutator, |_, _| {}));
        let discover = time(N, || _ = mutator.gc().unwrap());
        let drain = time(N, || assert_eq!(world.drain(&mut mutator), N as u64));
        let free = time(N, || _ = mutator.gc().unwrap());
        if pass > 0 {
            figures[0].push(floor.append() + floor.scan() + floor.calls());
            figures[1].push(discover + drain + free);
            figures[2].push(discover);
        }
    }
    row(
        "implied: discover + drain + free : append + scan + call",
        &figures[1],
        &figures[0],
        6.0,
    );
    row(
        "  discover : append + scan + call",
        &figures[2],
        &figures[0],
        f64::INFINITY,
    );
}

fn whole_life(n: usize, passes: usize) -> [Figures; 9] {
    let (mut floor, mut figures) = (Machine::new(n), [const { Figures::new() }; 9]);
    let world = World::new(n);
    let close = world.prepare(f0);
    let mut mutator = world.runtime.attach().unwrap();
    for pass in 0..passes + 1 {
        let (addrs, handle) = world.fill(&mutator, |_, _| {});
        let objects: Vec<Obj<'_>> = addrs.iter().map(|&a| mutator.adopt(a).unwrap()).collect();
        let register = time(n, || {
            for &object in &objects {
                close.attach(&mutator, object).unwrap();
            }
        });
        drop((objects, handle));
        let discover = time(n, || _ = mutator.gc().unwrap());
        let drain = time(n, || assert_eq!(world.drain(&mut mutator), n as u64));
        let free = time(n, || _ = mutator.gc().unwrap());
        let base = [floor.append(), floor.scan(), floor.calls()];
        let parts = [register, discover, drain, free];
        // The first pass meets memory that was never touched.
        if pass > 0 {
            let all = [
                base.as_slice(),
                &parts,
                &[base.iter().sum(), parts.iter().sum()],
            ]
            .concat();
            for (figures, figure) in figures.iter_mut().zip(all) {
                figures.push(figure);
            }
        }
    }
    figures
}

fn lives() {
    let figures = whole_life(N, PASSES);
    let [
        append,
        scan,
        call,
        register,
        discover,
        drain,
        free,
        floor,
        all,
    ] = &figures;
    row("  register : append", register, append, f64::INFINITY);
    row(
        "  discover : append + scan",
        discover,
        &append
            .iter()
            .zip(scan)
            .map(|(a, b)| a + b)
            .collect::<Figures>(),
        f64::INFINITY,
    );
    row("  drain : call", drain, call, f64::INFINITY);
    row("  free : call", free, call, f64::INFINITY);
    row(
        "register + discover + drain + free : append + scan + call",
        all,
        floor,
        6.0,
    );
    implied_life();
}

fn growth() {
    let (small, large) = (whole_life(100_000, 15), whole_life(10_000_000, 2));
    row(
        "  100 k objects : floor",
        &small[8],
        &small[7],
        f64::INFINITY,
    );
    row(
        "  10 M objects : floor",
        &large[8],
        &large[7],
        f64::INFINITY,
    );
    let ratio = |n: usize| vec![median(&large[n]) / median(&small[n])];
    row(
        "growth 100 k to 10 M : the floor's",
        &ratio(8),
        &ratio(7),
        1.3,
    );
}

fn churn() {
    const LIVE: usize = 100_000;
    let mut figures = [const { Figures::new() }; 2];
    let world = World::new(LIVE);
    let close = world.prepare(f0);
    let mut mutator = world.runtime.attach().unwrap();
    let array = mutator.alloc(world.array).unwrap();
    let array = mutator.root(array);
    for _ in 0..PASSES {
        for (with, figures) in figures.iter_mut().enumerate() {
            figures.push(time(N, || {
                for i in 0..N {
                    if i % 64 == 0 && mutator.collect_if_due() {
                        world.drain(&mut mutator);
                    }
                    let object = mutator.alloc(world.ty).unwrap();
                    if with == 1 {
                        close.attach(&mutator, object).unwrap();
                    }
                    let array = mutator.get(&array).unwrap();
                    mutator
                        .store_ref(array, i % LIVE * 8, Some(object))
                        .unwrap();
                }
            }));
        }
    }
    row(
        "churn with finalizers : without",
        &figures[1],
        &figures[0],
        2.0,
    );
}

fn allocating() {
    let mut figures = [const { Figures::new() }; 3];
    let mut floor = Machine::new(N);
    let world = World::new(N);
    let mut mutator = world.runtime.attach().unwrap();
    for _ in 0..PASSES {
        figures[0].push(floor.append());
        figures[1].push(time(N, || {
            for _ in 0..N {
                black_box(mutator.alloc(world.ty).unwrap());
            }
        }));
        figures[2].push(time(N, || _ = mutator.gc().unwrap()));
    }
    row(
        "alloc 32 B : append 32 B",
        &figures[1],
        &figures[0],
        f64::INFINITY,
    );
    row(
        "collection, all dead : append 32 B",
        &figures[2],
        &figures[0],
        f64::INFINITY,
    );
}

/// Binary trees of 2^19 - 1 nodes of 32 bytes, as other collectors are measured.
fn trees() {
    let mut figures = [const { Figures::new() }; 2];
    let runtime = Runtime::builder()
        .executor(Executor::Inline)
        .build()
        .unwrap();
    let node = runtime
        .types()
        .define(
            "main.Node",
            "struct { L *main.Node; R *main.Node; A uint64; B uint64 }",
        )
        .unwrap();
    fn build<'m>(mutator: &'m Mutator, node: TypeId, depth: usize) -> Obj<'m> {
        let object = mutator.alloc(node).unwrap();
        if depth > 1 {
            for offset in [0, 8] {
                let child = build(mutator, node, depth - 1);
                mutator.store_ref(object, offset, Some(child)).unwrap();
            }
        }
        object
    }
    let mut mutator = runtime.attach().unwrap();
    const NODES: usize = (1 << 19) - 1;
    for _ in 0..PASSES {
        let mut kept = None;
        figures[0].push(time(NODES, || {
            kept = Some(mutator.root(build(&mutator, node, 19)));
        }));
        figures[1].push(time(1_000_000, || _ = mutator.gc().unwrap()));
        drop(kept);
        mutator.gc().unwrap();
    }
    println!(
        "tree of 524,287 nodes: {:.1} M objects/s, collection {:.2} ms",
        1e3 / median(&figures[0]),
        median(&figures[1])
    );
}

/// Bytes of memory that the process has now.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    4096.0 * pages
}

fn memory() {
    let world = World::new(N);
    let close = world.prepare(f0);
    let mut mutator = world.runtime.attach().unwrap();
    let (addrs, handle) = world.fill(&mutator, |_, _| {});
    let before = world.runtime.stats().heap.table_bytes;
    for addr in addrs {
        close
            .attach(&mutator, mutator.adopt(addr).unwrap())
            .unwrap();
    }
    let after = world.runtime.stats().heap.table_bytes;
    drop(handle);
    mutator.gc().unwrap();
    let queued = world.runtime.stats().queue_bytes;
    let each = |bytes: usize| bytes as f64 / N as f64;
    println!(
        "memory, a registered finalizer: {:.2} B; while it is queued: {:.2} B",
        each(after - before),
        each(queued)
    );
    world.drain(&mut mutator);
    let (addrs, _kept) = world.fill(&mutator, |_, _| {});
    let count = number(&world.runtime);
    let before = resident();
    for addr in addrs {
        world
            .runtime
            .add_cleanup(&mutator, addr, &count, 1)
            .unwrap();
    }
    println!(
        "memory, a cleanup: {:.1} B",
        (resident() - before) / N as f64
    );
}

fn main() {
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    head();
    // Memory first: what later rows leave behind would be used again.
    let rows: [(&str, fn()); 10] = [
        ("memory", memory),
        ("alloc", allocating),
        ("trees", trees),
        ("register", registering),
        ("set", checked_registering),
        ("cleanup", cleanups),
        ("live", living),
        ("drain", drains),
        ("life", lives),
        ("churn", churn),
    ];
    for (name, rows) in rows {
        if chosen.is_empty() || chosen.iter().any(|part| name.contains(part.as_str())) {
            rows();
        }
    }
    if chosen.iter().any(|argument| argument == "--huge") {
        growth();
    }
}
