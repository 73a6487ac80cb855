//! The protocol of `benches/peers/README.md`, for programs in Rust.

use std::io::{BufRead, Write};
use std::time::Instant;

/// What the program is asked to do. Only `cycle` is done here.
pub struct Job {
    /// Whether anything is registered.
    pub registers: bool,
    /// Objects.
    pub n: usize,
    /// How many are dropped, in percent.
    pub dead: u64,
}

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

    /// A phase of this many nanoseconds.
    pub fn note(&mut self, name: &str, nanoseconds: f64) {
        self.texts
            .push(format!("\"{name}\":{:.3}", nanoseconds / self.n));
    }
}

/// Whether each object is dropped, in an unpredictable order, the same each time.
pub fn dropped(dead: u64) -> impl Iterator<Item = bool> {
    let mut state = 88_172_645_463_325_252_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) % 100 < dead
    })
}

/// Does a round for each line of input.
pub fn serve(version: &str, mut round: impl FnMut(&Job, &mut Phases)) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse().expect("a number");
    let job = Job {
        registers: arguments[0] != "none",
        n: number(2) as usize,
        dead: number(3),
    };
    assert_eq!(arguments[1], "cycle");
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
