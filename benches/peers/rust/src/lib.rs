//! The protocol of `benches/peers/README.md`, for programs in Rust.

use std::io::{BufRead, Write};
use std::time::Instant;

/// What the program is asked to do.
pub struct Job {
    /// What is registered.
    pub kind: String,
    /// `cycle`, for one.
    pub work: String,
    /// Objects.
    pub n: usize,
    /// How many are dropped, in percent.
    pub dead: u64,
}

impl Job {
    /// Whether anything is registered.
    pub fn registers(&self) -> bool {
        !["none", "marksweep", "immix"].contains(&self.kind.as_str())
    }
}

/// Nodes of a small tree in `tree-churn`.
pub const SMALL_TREE: usize = 127;

/// What a round's phases took, in nanoseconds per object.
pub struct Phases {
    n: f64,
    last: Instant,
    texts: Vec<String>,
}

impl Phases {
    /// What follows is timed.
    pub fn begin(&mut self) {
        self.last = Instant::now();
    }

    /// A phase ends, and what follows is timed.
    pub fn end(&mut self, name: &str) {
        let nanoseconds = self.last.elapsed().as_nanos() as f64;
        self.note(name, nanoseconds);
        self.last = Instant::now();
    }

    /// A phase of this many nanoseconds, or bytes, for all objects.
    pub fn note(&mut self, name: &str, all: f64) {
        self.texts.push(format!("\"{name}\":{:.3}", all / self.n));
    }
}

/// Numbers in an unpredictable order, the same each time.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 88_172_645_463_325_252_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 32
    })
}

/// Whether each object is dropped, in an unpredictable order, the same each time.
pub fn dropped(dead: u64) -> impl Iterator<Item = bool> {
    numbers().map(move |number| number % 100 < dead)
}

/// Puts values into a random order, the same each time.
pub fn shuffle<T>(values: &mut [T]) {
    for (last, number) in (1..values.len()).rev().zip(numbers()) {
        values.swap(last, number as usize % (last + 1));
    }
}

/// Bytes of the process that are in memory.
pub fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split_whitespace().nth(1).expect("its second number");
    pages.parse::<f64>().expect("a number") * 4096.0
}

/// Does a round for each line of input.
pub fn serve(version: &str, mut round: impl FnMut(&Job, &mut Phases)) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse().expect("a number");
    let job = Job {
        kind: arguments[0].clone(),
        work: arguments[1].clone(),
        n: number(2) as usize,
        dead: number(3),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{{\"version\":\"{version}\"}}").expect("somebody reads");
    for _ in std::io::stdin().lock().lines() {
        let mut phases = Phases {
            n: job.n as f64,
            last: Instant::now(),
            texts: Vec::new(),
        };
        round(&job, &mut phases);
        writeln!(out, "{{{}}}", phases.texts.join(",")).expect("somebody reads");
    }
}
