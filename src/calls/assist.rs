//! How a thread that allocates makes calls, or waits for those that are made elsewhere, when the
//! backlog exceeds a bound.
#![forbid(unsafe_code)]

use crate::base::deadline::Deadline;
use crate::calls::executor::{Executor, Goroutine};
use crate::world::threads;

impl Goroutine {
    /// If a bound of the backlog is exceeded that asks for it, makes calls on this thread, or waits
    /// for the threads that make them. Returns how many were made meanwhile. Does nothing on a
    /// thread that makes calls or runs with a mutator: others may wait for it.
    ///
    /// Runs user code, so no lock may be held.
    pub(crate) fn assist(&self) -> u64 {
        let calls = self.calls();
        // A forked child may not take the queue's lock.
        if !calls.gate.is_open() || threads::is_needed() {
            return 0;
        }
        calls.pressure.look(&calls.queue);
        let Some(budget) = calls.pressure.assistance(&calls.queue) else {
            return 0;
        };
        let made = match self.executor() {
            Executor::Thread => {
                let (most, time) = budget.bounds();
                calls.queue.wait_for_relief(Deadline::after(time), most)
            }
            // Refused where this thread may not make calls, or another one is making them.
            Executor::Inline | Executor::Manual => {
                self.drain(budget).map_or(0, |drained| drained.calls)
            }
        };
        calls.pressure.note_assisted(made);
        made
    }
}
