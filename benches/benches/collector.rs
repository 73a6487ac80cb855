//! What a finalizer costs a VM that brings its own collector, beside what the machine itself can do.
//!
//! `cargo bench -p fing-benches --bench collector` prints two tables: the memory a registered finalizer takes beside its object, and
//! times, each measured in turn with the floor it is compared to, in one process, `PASSES` times; the medians are shown. Only ratios
//! mean anything: the digits are this machine's. Arguments choose rows by a part of their name.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use fing::{
    Abi, CyclePolicy, FinalizerFn, FinalizerOptions, Finalizers, PreparedFinalizer, Scope, Tracer,
};

use fing_benches::figures::{Figures, head, row, shuffled, time};
use fing_benches::machine::{Machine, f0};

const N: usize = 1_000_000;
const PASSES: usize = 9;
/// Registered when memory is measured.
const COUNTS: [usize; 5] = [10_000, 100_000, 1_000_000, 1_100_000, 10_000_000];
/// Bytes of a registered finalizer, at most.
const MEMORY_BAR: f64 = 24.0;

// ------------------------------------------------------------------------------------------ memory that is in use

static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which says how much it has given.
struct Counting;

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        IN_USE.fetch_add(size, Relaxed);
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of this process that are in memory, to the page.
fn resident() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes = line.unwrap().trim().trim_end_matches("kB").trim();
    kilobytes.parse::<usize>().unwrap() * 1024
}

// ------------------------------------------------------------------------------------------ a collector

/// Where the first object is, behind a header as objects mostly are.
const BASE: u64 = 0x7f00_0000_0010;
/// An object's size, a power of two.
const SIZE: u64 = 32;

fn address(n: u64) -> u64 {
    BASE + SIZE * n
}

/// A heap of objects of one size without references, of which there are only the mark bits.
struct Heap {
    marks: Vec<u64>,
    /// Objects from here on are young.
    old: u64,
}

impl Heap {
    fn new(n: usize) -> Heap {
        Heap {
            marks: vec![0; n.div_ceil(64)],
            old: address(n as u64),
        }
    }

    fn mark_all(&mut self, alive: bool) {
        self.marks.fill(if alive { u64::MAX } else { 0 });
    }

    fn collect(&mut self, scope: Scope, finalizers: &Finalizers<u64>) {
        finalizers.collect(scope, self, |_| {});
    }
}

// SAFETY: nobody follows the references, and nothing moves or is freed.
unsafe impl Tracer for Heap {
    type Ref = u64;

    fn is_reached(&mut self, object: u64) -> bool {
        let n = (object - BASE) / SIZE;
        self.marks[(n / 64) as usize] >> (n % 64) & 1 != 0
    }

    fn trace(&mut self, object: u64) -> u64 {
        let n = (object - BASE) / SIZE;
        self.marks[(n / 64) as usize] |= 1 << (n % 64);
        object
    }

    fn children(&mut self, _: u64, _: &mut dyn FnMut(&mut Self, u64)) {}

    fn is_young(&mut self, object: u64) -> bool {
        object >= self.old
    }

    fn moves(&self) -> bool {
        false
    }
}

fn closing() -> FinalizerFn {
    let signature = "func(unsafe.Pointer)".parse().unwrap();
    // SAFETY: `f0` is a System V function of one pointer.
    unsafe { FinalizerFn::builder(signature, Abi::system_v()).at(f0 as *const ()) }
}

fn prepared(finalizers: &Finalizers<u64>) -> PreparedFinalizer<u64> {
    finalizers
        .prepare(&closing(), CyclePolicy::default())
        .unwrap()
}

fn attach(close: &PreparedFinalizer<u64>, order: &[u64]) {
    for &n in order {
        // SAFETY: `close` follows nothing.
        unsafe { close.attach(address(n)) }.unwrap();
    }
}

fn detach(close: &PreparedFinalizer<u64>, order: &[u64]) {
    for &n in order {
        assert!(close.detach(address(n)));
    }
}

fn mixed(n: usize) -> Vec<u64> {
    shuffled(n).into_iter().map(|n| n as u64).collect()
}

fn orders() -> [Vec<u64>; 2] {
    [(0..N as u64).collect(), mixed(N)]
}

// ------------------------------------------------------------------------------------------ rows

/// What `n` registered finalizers take: allocated, and resident; and the most that was allocated for each at any number
/// from 10,000 on. In a process of its own, where no freed memory is used again.
fn measure(n: usize, random: bool) {
    let order = if random {
        mixed(n)
    } else {
        (0..n as u64).collect()
    };
    let finalizers = Finalizers::new().unwrap();
    let close = prepared(&finalizers);
    // So that all pages of code are there that this takes.
    let few = 1..1000;
    attach(&close, &few.clone().collect::<Vec<_>>());
    detach(&close, &few.collect::<Vec<_>>());
    let finalizers = Finalizers::new().unwrap();
    let close = prepared(&finalizers);
    resident();
    let (in_use, in_memory) = (IN_USE.load(Relaxed), resident());
    let (mut last, mut most) = (0, 0.0_f64);
    for (i, &n) in order.iter().enumerate() {
        // SAFETY: `close` follows nothing.
        unsafe { close.attach(address(n)) }.unwrap();
        let now = IN_USE.load(Relaxed) - in_use;
        if now != last && i + 1 >= COUNTS[0] {
            most = most.max(now as f64 / (i + 1) as f64);
            last = now;
        }
    }
    let each = |bytes: usize| bytes as f64 / n as f64;
    println!(
        "{} {} {most}",
        each(IN_USE.load(Relaxed) - in_use),
        each(resident() - in_memory)
    );
}

fn memory() {
    println!(
        "{:<58} {:>9} {:>9} {:>9} {:>6}",
        "bytes a registered finalizer", "allocated", "resident", "at most", "bar"
    );
    for order in ["in-order", "random"] {
        for n in COUNTS {
            let program = std::env::current_exe().unwrap();
            let mut measuring = Command::new(program);
            let output = measuring
                .args(["--measure", &n.to_string(), order])
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let figures: Vec<f64> = text
                .split_whitespace()
                .map(|f| f.parse().unwrap())
                .collect();
            let missed = figures.iter().any(|&figure| figure > MEMORY_BAR);
            println!(
                "{:<58} {:>9.2} {:>9.2} {:>9.2} {MEMORY_BAR:>6.1}{}",
                format!("  {n} of them, {order}"),
                figures[0],
                figures[1],
                figures[2],
                if missed { "  missed" } else { "" }
            );
        }
    }
}

fn registering() {
    let (mut floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 12]);
    let finalizers = Finalizers::new().unwrap();
    let close = prepared(&finalizers);
    let orders = orders();
    for pass in 0..PASSES + 1 {
        let mut found = vec![floor.append(), floor.locks()];
        for order in &orders {
            let addresses: Vec<u64> = order.iter().map(|n| address(*n)).collect();
            found.push(time(N, || attach(&close, order)));
            found.push(time(N, || detach(&close, order)));
            found.push(time(N, || {
                // SAFETY: `close` follows nothing.
                unsafe { close.attach_all(&addresses) }.unwrap();
            }));
            found.push(time(N, || assert_eq!(close.detach_all(&addresses), N)));
            let finalizers = Finalizers::new().unwrap();
            let close = prepared(&finalizers);
            found.push(time(N, || attach(&close, order)));
        }
        // The first pass meets a table that has yet to grow.
        if pass > 0 {
            for (figures, figure) in figures.iter_mut().zip(found) {
                figures.push(figure);
            }
        }
    }
    let [append, locks, figures @ ..] = &figures;
    row(
        "a lock taken and given back : append 32 B",
        locks,
        append,
        f64::INFINITY,
    );
    let rows = [
        ("attach", 4.0, 15.0),
        ("detach", 8.0, 20.0),
        ("attach_all", 4.0, 15.0),
        ("detach_all", 8.0, 20.0),
        ("  attach to a new table", f64::INFINITY, f64::INFINITY),
    ];
    for (n, (name, in_order, random)) in rows.into_iter().enumerate() {
        let rows = [("in order", in_order, n), ("random order", random, 5 + n)];
        for (order, bar, at) in rows {
            let name = format!("{name}, {order} : append 32 B");
            row(&name, &figures[at], append, bar);
        }
    }
}

fn checked_registering() {
    let (mut floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 3]);
    let finalizers = Finalizers::new().unwrap();
    let close = closing();
    for pass in 0..4 {
        let append = floor.append();
        let set = time(N, || {
            for n in 0..N as u64 {
                let options = FinalizerOptions::default();
                // SAFETY: `close` follows nothing.
                unsafe { finalizers.set_finalizer(address(n), &close, options) }.unwrap();
            }
        });
        let clear = time(N, || {
            for n in 0..N as u64 {
                assert!(finalizers.clear_finalizer(address(n)));
            }
        });
        if pass > 0 {
            for (figures, figure) in figures.iter_mut().zip([append, set, clear]) {
                figures.push(figure);
            }
        }
    }
    let [append, set, clear] = &figures;
    row(
        "set_finalizer, in order : append 32 B",
        set,
        append,
        f64::INFINITY,
    );
    row(
        "clear_finalizer, in order : append 32 B",
        clear,
        append,
        f64::INFINITY,
    );
}

fn living() {
    let (floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 3]);
    let mut heap = Heap::new(N);
    let orders = orders();
    let all = orders.map(|order| {
        let finalizers = Finalizers::new().unwrap();
        let close = prepared(&finalizers);
        attach(&close, &order);
        finalizers
    });
    heap.mark_all(true);
    for pass in 0..PASSES + 1 {
        let mut found = vec![floor.mark_checks()];
        for finalizers in &all {
            found.push(time(N, || heap.collect(Scope::Full, finalizers)));
        }
        if pass > 0 {
            for (figures, figure) in figures.iter_mut().zip(found) {
                figures.push(figure);
            }
        }
    }
    let [check, living, random] = &figures;
    row(
        "alive, in order, a collection : mark-bit check",
        living,
        check,
        4.0,
    );
    row(
        "alive, random order, a collection : mark-bit check",
        random,
        check,
        f64::INFINITY,
    );
}

fn minor() {
    const YOUNG: usize = N / 100;
    let (floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 2]);
    let mut heap = Heap::new(N);
    let finalizers = Finalizers::new().unwrap();
    let close = prepared(&finalizers);
    let order: Vec<u64> = (0..N as u64).collect();
    heap.mark_all(true);
    attach(&close, &order[..N - YOUNG]);
    heap.collect(Scope::Full, &finalizers);
    heap.old = address((N - YOUNG) as u64);
    attach(&close, &order[N - YOUNG..]);
    for pass in 0..5 * PASSES {
        let found = [
            floor.mark_checks(),
            time(YOUNG, || heap.collect(Scope::Minor, &finalizers)),
        ];
        if pass > 0 {
            for (figures, figure) in figures.iter_mut().zip(found) {
                figures.push(figure);
            }
        }
    }
    let [check, young] = &figures;
    row(
        "minor collection, 1 % young, a young one : mark-bit check",
        young,
        check,
        10.0,
    );
}

fn dying() {
    let (mut floor, mut figures) = (Machine::new(N), [const { Figures::new() }; 7]);
    let mut heap = Heap::new(N);
    let orders = orders();
    let finalizers = Finalizers::new().unwrap();
    let close = prepared(&finalizers);
    for pass in 0..PASSES + 1 {
        let mut found = vec![floor.append(), floor.calls()];
        for order in &orders {
            attach(&close, order);
            heap.mark_all(false);
            found.push(time(N, || heap.collect(Scope::Full, &finalizers)));
            found.push(time(N, || assert_eq!(finalizers.finish().queued, N)));
            let run = || assert_eq!(finalizers.run_finalizers().unwrap(), N as u64);
            let drain = time(N, run);
            if found.len() == 4 {
                found.push(drain);
            }
        }
        if pass > 0 {
            for (figures, figure) in figures.iter_mut().zip(found) {
                figures.push(figure);
            }
        }
    }
    let [append, call, discover, finish, drain, random, finish_random] = &figures;
    row(
        "found dead, in order, a collection : append 32 B",
        discover,
        append,
        f64::INFINITY,
    );
    row(
        "found dead, random order, a collection : append 32 B",
        random,
        append,
        f64::INFINITY,
    );
    row(
        "handed over, in order : append 32 B",
        finish,
        append,
        f64::INFINITY,
    );
    row(
        "handed over, random order : append 32 B",
        finish_random,
        append,
        f64::INFINITY,
    );
    row("drain, one function : indirect call", drain, call, 2.5);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [measuring, n, order] = &arguments[..]
        && measuring == "--measure"
    {
        return measure(n.parse().unwrap(), order == "random");
    }
    let chosen: Vec<&String> = arguments.iter().filter(|a| *a != "--bench").collect();
    let is_chosen =
        |name: &str| chosen.is_empty() || chosen.iter().any(|part| name.contains(part.as_str()));
    if is_chosen("memory") {
        memory();
        println!();
    }
    head();
    let rows: [(&str, fn()); 5] = [
        ("register", registering),
        ("set", checked_registering),
        ("live", living),
        ("minor", minor),
        ("dead drain", dying),
    ];
    for (name, rows) in rows {
        if is_chosen(name) {
            rows();
        }
    }
}
