//! How much a drain on a thread of the embedder may do.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::calls::queue::BLOCK_RECORDS;

/// How much [`Runtime::drain`](crate::Runtime::drain) may do before it returns. Both bounds are
/// looked at between calls: a call that has begun is never cut short.
///
/// ```
/// use std::time::Duration;
/// use fing::executor::Budget;
/// let budget = Budget::unlimited().calls(1000).time(Duration::from_millis(2));
/// # let _ = budget;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a budget does nothing by itself"]
pub struct Budget {
    calls: u64,
    time: Duration,
}

impl Budget {
    /// Everything that is queued.
    pub const fn unlimited() -> Budget {
        Budget {
            calls: u64::MAX,
            time: Duration::MAX,
        }
    }

    /// Makes at most so many calls. A bulk finalizer's call counts once for each of its objects.
    pub const fn calls(self, calls: u64) -> Budget {
        Budget { calls, ..self }
    }

    /// Begins no call when so much time has passed, except the first one: each drain gets on, if
    /// there is anything to run and at least one call is allowed.
    pub const fn time(self, time: Duration) -> Budget {
        Budget { time, ..self }
    }

    /// The bounds of calls and time.
    pub(super) fn bounds(self) -> (u64, Duration) {
        (self.calls, self.time)
    }
}

/// What a drain has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Calls that were made.
    pub calls: u64,
    /// Calls that are queued now.
    pub left: u64,
}

/// A budget that is being used.
#[derive(Debug)]
pub(super) struct Limit {
    calls: u64,
    /// `None` if time does not matter.
    deadline: Option<Instant>,
    /// Calls to be made before the clock is looked at again.
    step: u64,
    looked: Instant,
}

impl Limit {
    pub(super) fn new(budget: Budget) -> Limit {
        let now = Instant::now();
        Limit {
            calls: budget.calls,
            deadline: now.checked_add(budget.time),
            step: 1,
            looked: now,
        }
    }

    /// How many calls may be made now. 0 if the budget is used up.
    pub(super) fn next(&mut self, made: u64) -> usize {
        self.calls = self.calls.saturating_sub(made);
        let most = self.calls.min(BLOCK_RECORDS as u64);
        let Some(deadline) = self.deadline else {
            return most as usize;
        };
        let now = Instant::now();
        if made > 0 {
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return 0;
            }
            // Grows as long as a step takes a small part of the time that is left.
            let small = now - self.looked < left / 32;
            self.step = if small { self.step * 2 } else { 1 };
            self.step = self.step.min(BLOCK_RECORDS as u64);
        }
        self.looked = now;
        most.min(self.step) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let mut all = Limit::new(Budget::unlimited());
        assert_eq!([all.next(0), all.next(512)], [512, 512]);
        let mut some = Limit::new(Budget::unlimited().calls(600));
        assert_eq!([some.next(0), some.next(512), some.next(88)], [512, 88, 0]);
        assert_eq!(Limit::new(Budget::unlimited().calls(0)).next(0), 0);
        let mut none = Limit::new(Budget::unlimited().time(Duration::ZERO));
        assert_eq!([none.next(0), none.next(1)], [1, 0]);
        let mut long = Limit::new(Budget::unlimited().time(Duration::from_secs(1 << 30)));
        let steps: Vec<usize> = [0, 1, 2, 4]
            .into_iter()
            .map(|made| long.next(made))
            .collect();
        assert_eq!(steps, [1, 2, 4, 8]);
        let mut both = Limit::new(
            Budget::unlimited()
                .calls(1)
                .time(Duration::from_secs(1 << 30)),
        );
        assert_eq!([both.next(0), both.next(1)], [1, 0]);
    }
}
