//! What a subject of measurement is: something that does a kind of work, round by round, and says how long each phase took.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What is done in one round, with a given number of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Make and register all, collect while all are reachable, drop some, collect, run what is due, collect again.
    Cycle {
        /// How many are dropped, in percent.
        dead: u8,
        /// Different functions, in an order that cannot be predicted.
        targets: u8,
    },
    /// Make and register all, and take every registration back.
    Cancel,
    /// Make all; register them in a random order, and take the registrations back in another.
    Random,
    /// Make, register and drop one after the other, a tenth of all being reachable at a time; collections happen when the
    /// runtime sees fit.
    Churn,
    /// Make and register all, drop all, collect; how much memory the process has is read in between. Each round is a new
    /// process, for one that had the memory before does not grow.
    Memory,
    /// Make a binary tree of as many nodes, collect while it is reachable, drop it, collect. Nothing is registered.
    Tree,
    /// Make trees of [`SMALL_TREE`] nodes, [`CHURNED`] times as many nodes as there are objects, and drop each when it is made,
    /// while a tree of all objects stays; collections happen when the runtime sees fit. Nothing is registered.
    TreeChurn,
}

/// Nodes of a tree that does not live long.
pub(crate) const SMALL_TREE: usize = 127;
/// How many nodes [`Work::TreeChurn`] makes for each object that stays.
pub(crate) const CHURNED: usize = 4;

impl Work {
    /// As a peer program is told: name, percent, number of targets.
    pub(crate) fn arguments(self) -> [String; 3] {
        let (name, dead, targets) = match self {
            Work::Cycle { dead, targets } => ("cycle", dead, targets),
            Work::Cancel => ("cancel", 100, 1),
            Work::Random => ("random", 100, 1),
            Work::Churn => ("churn", 100, 1),
            Work::Memory => ("memory", 100, 1),
            Work::Tree => ("tree", 100, 1),
            Work::TreeChurn => ("tree-churn", 100, 1),
        };
        [name.to_owned(), dead.to_string(), targets.to_string()]
    }
}

/// Everything dies, and there is one function.
pub(crate) const ALL_DEAD: Work = Work::Cycle {
    dead: 100,
    targets: 1,
};

/// A part of a round that is measured. All in nanoseconds for each object of the round, if nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Making the objects.
    Alloc,
    /// Setting a finalizer on each.
    Register,
    /// A collection with all reachable, which have survived one before.
    Live,
    /// The collection that finds the dropped ones, up to their being queued.
    Discover,
    /// Running what is queued.
    Drain,
    /// The collection after that.
    Free,
    /// Taking registrations back.
    Cancel,
    /// Everything of [`Work::Churn`], up to the last object, or of [`Work::TreeChurn`], for each node that was dropped.
    Churn,
    /// Of all objects, those that were dropped and not finalized by then, in percent.
    Backlog,
    /// Time for 100 objects, half of all are faster. In nanoseconds.
    P50,
    /// 99 of 100 are faster.
    P99,
    /// 999 of 1000 are faster.
    P999,
    /// The slowest.
    Max,
    /// By how many bytes for each object the process has grown when all are registered.
    Memory,
    /// The same, when all are queued.
    Queued,
}

/// What a round took.
pub(crate) type Round = BTreeMap<Phase, f64>;

/// Whatever went wrong; for the reader of the report.
pub(crate) type Fault = Box<dyn Error>;

/// Made for one kind of work and one number of objects.
pub(crate) trait Subject {
    /// Does the work once.
    fn round(&mut self) -> Result<Round, Fault>;
}

/// Objects of a step of [`Work::Churn`]; its percentiles are of these.
pub(crate) const STEP: usize = 100;

/// Times phases.
pub(crate) struct Laps {
    objects: f64,
    last: Instant,
    round: Round,
}

impl Laps {
    /// Of a round with this many objects; the clock runs.
    pub(crate) fn new(objects: usize) -> Laps {
        Laps {
            objects: objects as f64,
            last: Instant::now(),
            round: Round::new(),
        }
    }

    /// What follows is timed.
    pub(crate) fn begin(&mut self) {
        self.last = Instant::now();
    }

    /// `phase` ends, and what follows is timed.
    pub(crate) fn end(&mut self, phase: Phase) {
        let elapsed = self.last.elapsed();
        self.round
            .insert(phase, elapsed.as_nanos() as f64 / self.objects);
        self.last = Instant::now();
    }

    /// A figure that is no time, for each object.
    pub(crate) fn note(&mut self, phase: Phase, figure: f64) {
        self.round.insert(phase, figure / self.objects);
    }

    /// The round.
    pub(crate) fn finish(self) -> Round {
        self.round
    }
}

/// The percentiles of steps.
pub(crate) fn percentiles(mut steps: Vec<Duration>) -> Round {
    steps.sort();
    let Some(last) = steps.len().checked_sub(1) else {
        return Round::new();
    };
    let at = |part: f64| steps[((last as f64 * part) as usize).min(last)].as_nanos() as f64;
    Round::from([
        (Phase::P50, at(0.5)),
        (Phase::P99, at(0.99)),
        (Phase::P999, at(0.999)),
        (Phase::Max, at(1.0)),
    ])
}

/// Numbers in an order that cannot be predicted, the same in every round (xorshift64).
fn numbers() -> impl Iterator<Item = usize> {
    let mut state = 88_172_645_463_325_252_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as usize
    })
}

/// Such numbers below `targets`.
pub(crate) fn shuffled(targets: u8) -> impl Iterator<Item = usize> {
    numbers().map(move |number| number % usize::from(targets.max(1)))
}

/// Puts values into a random order; the same order of as many values, in every round (Fisher and Yates).
pub(crate) fn shuffle<T>(values: &mut [T]) {
    for (last, number) in (1..values.len()).rev().zip(numbers()) {
        values.swap(last, number % (last + 1));
    }
}

/// Bytes of this process that are in memory now.
///
/// # Errors
/// The system does not say.
pub(crate) fn resident() -> Result<f64, Fault> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_whitespace().nth(1).ok_or("statm: no pages")?;
    // What Linux has on x86-64, the only machine that is measured.
    Ok(pages.parse::<f64>()? * 4096.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_are_permutations_and_always_the_same() {
        let mut twice = [(); 2].map(|()| (0..1000).collect::<Vec<usize>>());
        twice.iter_mut().for_each(|values| shuffle(values));
        let [mut one, other] = twice;
        assert_eq!(one, other);
        let moved = one.iter().enumerate().filter(|(at, value)| at != *value);
        assert!(moved.count() > 900);
        // Another order than the first, as registrations are taken back in.
        shuffle(&mut one);
        assert_ne!(one, other);
        one.sort();
        assert!(one.into_iter().eq(0..1000));
        shuffle::<u8>(&mut []);
    }

    #[test]
    fn memory_that_is_touched_is_resident() {
        let before = resident().unwrap();
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        let grown = resident().unwrap() - before;
        assert!(grown > 60e6, "{grown} bytes for {}", touched.len());
    }
}
