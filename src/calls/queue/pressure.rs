//! Bounds of what is queued, and what is asked of threads when one is exceeded.
//!
//! The bounds are compared with the queue whenever it has changed, with its lock held. The result
//! is a few bits in one word, which threads that register or allocate read without the lock: as
//! long as it is 0 they have nothing to do. A thread that sees a bit takes the lock and looks
//! again, so a bit that is out of date costs time and decides nothing.
//!
//! Age grows by itself. While calls are queued that can pass a bound of age, the bits of that bound
//! are set, and those who see them look at the clock.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use super::Queue;
use super::inner::Inner;
use super::lane::Lane;
use crate::base::deadline::Deadline;
use crate::base::sync::Ordering;

/// How often a thread that waits for the backlog to shrink looks at it while no block ends.
const LOOK: Duration = Duration::from_millis(1);

/// A measure of the backlog, and a bound of it: see
/// [`Builder::bound_backlog`](crate::RuntimeBuilder::bound_backlog).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BacklogBound {
    /// Calls that are queued and have not begun. A bound is exceeded by one more.
    Calls(u64),
    /// Bytes outside the heap that the objects of queued and running calls own. A bound is exceeded
    /// by one more.
    ExternalBytes(usize),
    /// The time since the first of the queued and running calls was queued. A bound is exceeded
    /// when this time has passed. One that no clock reaches, such as [`Duration::MAX`], never is.
    Age(Duration),
}

impl fmt::Display for BacklogBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BacklogBound::Calls(calls) => write!(f, "{calls} calls"),
            BacklogBound::ExternalBytes(bytes) => write!(f, "{bytes} external bytes"),
            BacklogBound::Age(age) => write!(f, "an age of {age:?}"),
        }
    }
}

/// What is asked of threads, as bits.
pub(crate) mod demand {
    /// To register nothing.
    pub(crate) const REFUSE: u32 = 1;
    /// To make calls before they allocate.
    pub(crate) const ASSIST: u32 = 2;
    /// To tell that a bound was passed.
    pub(crate) const TELL: u32 = 4;
}

/// A bound and what is asked when it is exceeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) bound: BacklogBound,
    /// Bits of [`demand`].
    pub(crate) demand: u32,
}

/// A bound was passed, or is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crossing {
    /// Number of the limit.
    pub(crate) limit: usize,
    /// What the backlog was.
    pub(crate) found: BacklogBound,
}

/// The bounds of a queue, with which of them are exceeded.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    limits: Vec<(Limit, bool)>,
    /// Bounds that were passed, and not told.
    untold: Vec<Crossing>,
}

/// Returns the backlog in the bound's unit, if it exceeds the bound.
fn excess(inner: &Inner, bound: BacklogBound, since: Option<Instant>) -> Option<BacklogBound> {
    match bound {
        BacklogBound::Calls(most) => {
            let calls = inner.not_begun();
            (calls > most).then_some(BacklogBound::Calls(calls))
        }
        BacklogBound::ExternalBytes(most) => {
            let bytes = usize::try_from(inner.external()).unwrap_or(usize::MAX);
            (bytes > most).then_some(BacklogBound::ExternalBytes(bytes))
        }
        BacklogBound::Age(most) => {
            let age = since?.elapsed();
            (age >= most).then_some(BacklogBound::Age(age))
        }
    }
}

impl Queue {
    /// Sets the bounds. Before the first record.
    pub(crate) fn set_limits(&self, limits: impl IntoIterator<Item = Limit>) {
        let limits = limits.into_iter().map(|limit| (limit, false));
        self.inner.lock().gauge.limits = limits.collect();
    }

    /// What is asked of threads: bits of [`demand`]. May be out of date.
    #[inline]
    pub(crate) fn demands(&self) -> u32 {
        self.demands.load(Ordering::Relaxed)
    }

    /// Compares the queue with its bounds. To be called after each change of it, with the same
    /// lock held.
    #[inline]
    pub(super) fn gauge(&self, inner: &mut Inner) {
        if !inner.gauge.limits.is_empty() {
            self.compare(inner);
        }
    }

    fn compare(&self, inner: &mut Inner) {
        let since = inner.since();
        let mut gauge = std::mem::take(&mut inner.gauge);
        let mut demands = 0;
        for (number, (limit, exceeded)) in gauge.limits.iter_mut().enumerate() {
            let found = excess(inner, limit.bound, since);
            let before = std::mem::replace(exceeded, found.is_some());
            if let (Some(found), false) = (found, before) {
                gauge.untold.push(Crossing {
                    limit: number,
                    found,
                });
            }
            let ages = match limit.bound {
                BacklogBound::Age(most) => {
                    since.is_some_and(|since| since.checked_add(most).is_some())
                }
                BacklogBound::Calls(_) | BacklogBound::ExternalBytes(_) => false,
            };
            if *exceeded || ages {
                demands |= limit.demand;
            }
        }
        if !gauge.untold.is_empty() {
            demands |= demand::TELL;
        }
        inner.gauge = gauge;
        self.demands.store(demands, Ordering::Relaxed);
    }

    /// Compares the queue with its bounds now, and returns the first one that is exceeded and asks
    /// for this.
    pub(crate) fn exceeded(&self, demand: u32) -> Option<Crossing> {
        let mut inner = self.inner.lock();
        self.exceeded_in(&mut inner, demand)
    }

    fn exceeded_in(&self, inner: &mut Inner, demand: u32) -> Option<Crossing> {
        self.gauge(inner);
        let since = inner.since();
        let limits = inner.gauge.limits.iter().enumerate();
        let mut exceeded =
            limits.filter(|(_, (limit, exceeded))| *exceeded && limit.demand & demand != 0);
        exceeded.find_map(|(number, (limit, _))| {
            let found = excess(inner, limit.bound, since)?;
            Some(Crossing {
                limit: number,
                found,
            })
        })
    }

    /// Compares the queue with its bounds now, and takes the bounds that were passed since this was
    /// called last. Each is returned once, and again only after it was kept meanwhile.
    pub(crate) fn take_crossings(&self) -> Vec<Crossing> {
        let mut inner = self.inner.lock();
        self.gauge(&mut inner);
        let untold = std::mem::take(&mut inner.gauge.untold);
        if !untold.is_empty() {
            self.demands.fetch_and(!demand::TELL, Ordering::Relaxed);
        }
        untold
    }

    /// Waits while a bound that asks for assistance is exceeded and the executor's thread or the
    /// pool's have calls, until the deadline, and until so many more calls have begun or been
    /// dropped. Returns how many did. Does not wait for mailboxes, which nobody may be emptying.
    pub(crate) fn wait_for_relief(&self, deadline: Deadline, calls: u64) -> u64 {
        let gone = |inner: &Inner| inner.counts.queued - inner.not_begun();
        let mut inner = self.inner.lock();
        let from = gone(&inner);
        loop {
            let since = gone(&inner) - from;
            let left = deadline.left();
            if since >= calls
                || left.is_zero()
                || inner.stop
                || inner.lanes[..2].iter().all(Lane::is_empty)
                || self.exceeded_in(&mut inner, demand::ASSIST).is_none()
            {
                return since;
            }
            // The thread that makes the calls notifies at the end of each block only.
            inner = inner.wait_timeout(&self.settled, left.min(LOOK));
        }
    }
}
