//! Times: of phases by the wall clock, of single-threaded work by the thread's own. Has unsafe
//! code: reads that clock.
#![expect(unsafe_code, reason = "reads the thread's clock")]

use std::time::{Duration, Instant};

use super::Round;

/// Nanoseconds this thread has been running, without those for which it waited for a processor.
fn thread_time() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock of this thread is always there, and `now` is a whole timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Runs `body` and returns the thread's nanoseconds for each of `n`.
pub(crate) fn time(n: usize, body: impl FnOnce()) -> f64 {
    let from = thread_time();
    body();
    (thread_time() - from) / n as f64
}

/// [`time`] of something that can fail.
///
/// # Errors
/// The body's.
#[inline(always)]
pub(crate) fn try_time<E>(n: usize, body: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let from = thread_time();
    body()?;
    Ok((thread_time() - from) / n as f64)
}

/// Nanoseconds of the wall clock since `from`, for each of `n`.
pub(crate) fn since(from: Instant, n: usize) -> f64 {
    from.elapsed().as_nanos() as f64 / n as f64
}

/// The phases of a round, timed by the wall clock.
pub(crate) struct Laps {
    objects: usize,
    last: Instant,
    round: Round,
}

impl Laps {
    /// For a round with this many objects. The clock runs.
    pub(crate) fn new(objects: usize) -> Laps {
        Laps {
            objects,
            last: Instant::now(),
            round: Round::new(),
        }
    }

    /// Starts the clock anew: what happened since the last phase is not timed.
    pub(crate) fn begin(&mut self) {
        self.last = Instant::now();
    }

    /// Ends `phase`, and starts the next one.
    pub(crate) fn end(&mut self, phase: &'static str) {
        let figure = since(self.last, self.objects);
        self.round.insert(phase.into(), figure);
        self.last = Instant::now();
    }

    /// Notes a figure that is no time, divided by the number of objects.
    pub(crate) fn note(&mut self, phase: &'static str, figure: f64) {
        let each = figure / self.objects as f64;
        self.round.insert(phase.into(), each);
    }

    /// The round.
    pub(crate) fn finish(self) -> Round {
        self.round
    }
}

/// The nanoseconds below which `parts` of all steps are; `None` without steps. Sorts them.
pub(crate) fn percentiles<const N: usize>(
    steps: &mut [Duration],
    parts: [f64; N],
) -> Option<[f64; N]> {
    steps.sort();
    let last = steps.len().checked_sub(1)?;
    Some(parts.map(|part| {
        let at = ((last as f64 * part) as usize).min(last);
        steps[at].as_nanos() as f64
    }))
}
