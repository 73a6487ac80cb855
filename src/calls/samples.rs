//! How long calls take: one of so many is made by itself and timed.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::base::lock::{Lock, Rank};
use crate::calls::queue::CallKind;
use crate::calls::shape::Shape;

/// How many of the slowest calls are kept.
const SLOWEST: usize = 16;
/// How many functions are told apart. Calls of further ones count in the histograms only.
const FUNCTIONS: usize = 4096;

/// One of the slowest calls that were timed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowCall {
    /// How long it took.
    pub time: Duration,
    /// The function's signature.
    pub signature: String,
    /// The function's address.
    pub code: usize,
    /// The words it was called with.
    pub words: [u64; 2],
    /// Where the registration was made, if that was
    /// [recorded](crate::FinalizerOptions::record_site).
    pub site: Option<&'static Location<'static>>,
}

/// What is known of the calls of one function, for registrations made at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionTimes {
    /// The function's signature.
    pub signature: String,
    /// The function's address; 0 for a Rust closure.
    pub code: usize,
    /// Where the registrations were made, if that was
    /// [recorded](crate::FinalizerOptions::record_site).
    pub site: Option<&'static Location<'static>>,
    /// Calls that were timed.
    pub calls: u64,
    /// Their time together.
    pub total: Duration,
    /// The longest.
    pub longest: Duration,
}

/// Times of calls: of each kind, of each function, and the slowest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallTimes {
    /// Calls of finalizers by their time: element n counts those of at least 2^(n-1) and less than
    /// 2^n nanoseconds; element 0 those of none.
    pub finalizers: Vec<u64>,
    /// Calls of cleanups, in the same way.
    pub cleanups: Vec<u64>,
    /// The functions, by place of registration if that was recorded, those with the most time
    /// first; at most 4096.
    pub functions: Vec<FunctionTimes>,
    /// The slowest calls, the slowest first; at most 16.
    pub slowest: Vec<SlowCall>,
}

/// One call, to be timed.
pub(crate) struct Sample<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) kind: CallKind,
    pub(crate) code: usize,
    pub(crate) words: [u64; 2],
}

/// The sampler of one runtime.
#[derive(Debug)]
pub(crate) struct Samples {
    every: u32,
    /// Calls until the next one that is timed. Threads that change it at the same time may time one
    /// call more or less.
    left: AtomicU32,
    times: Lock<Times>,
}

/// The function's identity and address, and where its registrations were made.
type Key = (usize, usize, Option<&'static Location<'static>>);

fn key(shape: &Shape, code: usize) -> Key {
    (shape.function().identity(), code, shape.handling().site)
}

#[derive(Debug, Default)]
struct Times {
    by_kind: [Vec<u64>; 2],
    functions: HashMap<Key, FunctionTimes>,
    slowest: Vec<SlowCall>,
}

impl Samples {
    pub(crate) fn new(every: NonZeroU32) -> Samples {
        Samples {
            every: every.get(),
            left: AtomicU32::new(0),
            times: Lock::new(Rank::Samples, Times::default()),
        }
    }

    /// How many of the next `calls` calls are to be made as one batch, and whether it is one call
    /// that is timed. `whole`: they are made by one call of a bulk finalizer.
    pub(crate) fn split(&self, calls: usize, whole: bool) -> (usize, bool) {
        let left = self.left.load(Ordering::Relaxed);
        let timed = left == 0;
        let taken = match (whole, timed) {
            (true, _) => calls,
            (false, true) => 1,
            (false, false) => calls.min(left as usize),
        };
        let left = match timed {
            true => self.every - 1,
            false if whole => left - 1,
            false => left - taken as u32,
        };
        self.left.store(left, Ordering::Relaxed);
        (taken, timed)
    }

    /// Counts a call that was timed.
    pub(crate) fn add(&self, sample: &Sample<'_>, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - nanoseconds.leading_zeros()) as usize;
        let (code, words) = (sample.code, sample.words);
        let signature = || sample.shape.function().signature().to_string();
        let mut times = self.times.lock();
        let histogram = &mut times.by_kind[sample.kind as usize];
        if histogram.len() <= bucket {
            histogram.resize(bucket + 1, 0);
        }
        histogram[bucket] += 1;
        let is_full = times.functions.len() >= FUNCTIONS;
        let (key, site) = (key(sample.shape, code), sample.shape.handling().site);
        if !is_full || times.functions.contains_key(&key) {
            let function = times.functions.entry(key);
            let function = function.or_insert_with(|| FunctionTimes {
                signature: signature(),
                code,
                site,
                calls: 0,
                total: Duration::ZERO,
                longest: Duration::ZERO,
            });
            function.calls += 1;
            function.total = function.total.saturating_add(time);
            function.longest = function.longest.max(time);
        }
        let place = times.slowest.partition_point(|slow| slow.time >= time);
        if place < SLOWEST {
            times.slowest.truncate(SLOWEST - 1);
            let slow = SlowCall {
                time,
                signature: signature(),
                code,
                words,
                site,
            };
            times.slowest.insert(place, slow);
        }
    }

    /// The longest of the timed calls of this shape's function and place of registration.
    pub(super) fn longest(&self, shape: &Shape) -> Option<Duration> {
        let times = self.times.lock();
        let (function, site) = (shape.function().identity(), shape.handling().site);
        let own = times
            .functions
            .iter()
            .filter(|((of, _, at), _)| (*of, *at) == (function, site));
        own.map(|(_, times)| times.longest).max()
    }

    pub(crate) fn times(&self) -> CallTimes {
        let times = self.times.lock();
        let mut functions: Vec<FunctionTimes> = times.functions.values().cloned().collect();
        functions.sort_by_key(|function| (std::cmp::Reverse(function.total), function.code));
        let [finalizers, cleanups] = times.by_kind.clone();
        CallTimes {
            finalizers,
            cleanups,
            functions,
            slowest: times.slowest.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the batches are, each `every`th call is timed, by itself.
    #[test]
    fn one_call_of_so_many_is_timed() {
        for every in [1, 2, 3, 64, 1000] {
            let samples = Samples::new(NonZeroU32::new(every).unwrap());
            let (mut call, mut timed_calls) = (0, Vec::new());
            for batch in [1, 512, 3, 64, 512, 1, 1, 200, 512, 512] {
                let mut left = batch;
                while left > 0 {
                    let (taken, timed) = samples.split(left, false);
                    assert!((1..=left).contains(&taken));
                    if timed {
                        assert_eq!(taken, 1);
                        timed_calls.push(call);
                    }
                    call += taken;
                    left -= taken;
                }
            }
            let wanted: Vec<usize> = (0..call).step_by(every as usize).collect();
            assert_eq!(timed_calls, wanted);
        }
    }

    #[test]
    fn a_bulk_finalizer_is_one_call() {
        let samples = Samples::new(NonZeroU32::new(3).unwrap());
        let timed = [0; 7].map(|_| samples.split(512, true));
        let wanted = [true, false, false, true, false, false, true];
        assert_eq!(timed, wanted.map(|timed| (512, timed)));
    }
}
