//! A collection of a foreign collector, from its beginning to the step that decides.
#![forbid(unsafe_code)]

use super::part::Part;
use super::table::{Split, Table};
use super::{CollectionError, Finalizers, Finished};
use crate::calls::goroutine::Calls;
use crate::calls::queue::References;
use crate::order::{Reference, Tracer};

/// A collection under way, which [`Finalizers::begin`] has begun. The collector keeps it from step
/// to step; it may be sent to another thread.
///
/// If it is dropped before a [`step`](Self::step) has returned false, or the tracer panics, the
/// collection is given up: calls that were found due already are made, everything else is
/// registered as before, and the next collection can begin.
#[derive(Debug)]
#[must_use = "dropping it gives the collection up"]
pub struct Collection<R: Reference> {
    finalizers: Finalizers<R>,
    /// Whether it was decided or given up.
    ended: bool,
}

/// Gives the collection up when dropped, unless `done`: work on it has panicked then.
struct Attempt<'t, R: Reference> {
    table: &'t mut Table<R>,
    done: bool,
}

impl<R: Reference> Drop for Attempt<'_, R> {
    fn drop(&mut self) {
        if !self.done {
            self.table.abandon();
        }
    }
}

impl<R: Reference> Collection<R> {
    pub(super) fn new(finalizers: Finalizers<R>) -> Collection<R> {
        Collection {
            finalizers,
            ended: false,
        }
    }

    /// Does `work` with the table locked. If that panics, the collection is given up.
    fn attempt<W>(&mut self, work: impl FnOnce(&mut Table<R>, &Calls) -> W) -> W {
        let shared = &self.finalizers.shared;
        let mut table = shared.table.lock();
        self.ended = true;
        let mut attempt = Attempt {
            table: &mut table,
            done: false,
        };
        let worked = work(attempt.table, &shared.calls);
        attempt.done = true;
        self.ended = false;
        worked
    }

    /// Traces now what the first step would trace. Optional, for collectors that mark while
    /// mutators run: as in Go, little is then left for the last pause. It visits the contents of
    /// *every* finalizable object. In [`Order::Topological`](crate::Order::Topological) only
    /// contexts and arguments are roots.
    ///
    /// # Errors
    /// [`CollectionError::Stepped`] if the collection has made a step or has ended. Nothing was
    /// traced then.
    pub fn early_roots<T: Tracer<Ref = R>>(
        &mut self,
        tracer: &mut T,
    ) -> Result<(), CollectionError> {
        if self.ended {
            return Err(CollectionError::Stepped);
        }
        self.attempt(|table, calls| {
            let scope = table.at_start().ok_or(CollectionError::Stepped)?;
            table.trace_queue(calls, tracer, true);
            table.early_roots(scope, tracer);
            Ok(())
        })
    }

    /// Makes one step. To be called with the world stopped, when everything reachable so far has
    /// been followed. If it returns true, follow what was traced and call it again. If it returns
    /// false, all is decided: follow what was traced (for a collector that does not move objects,
    /// that leads to nothing new).
    ///
    /// Two steps in Go's order, four in topological order, and up to as many more if there are
    /// [declarations](Finalizers::finalize_after) or [ephemerons](Finalizers::ephemeron). When the
    /// collection has ended there is nothing left to do, and this returns false at once.
    pub fn step<T: Tracer<Ref = R>>(&mut self, tracer: &mut T) -> bool {
        self.advance(tracer, None)
    }

    /// As [`step`](Self::step), but the work that grows with the number of registrations is split
    /// into at most `parts` parts of at least 256 entries. `run` is called with them, perhaps more
    /// than once, and has to [run](Part::run) each, on any thread; the rest is done with `tracer`.
    /// Minor collections are not split. A part asks `children` of an object after `is_reached` has
    /// said no, so a collector that moves objects on several threads must allow for another thread
    /// moving the object in between.
    ///
    /// # Panics
    /// If a part was not run to its end. The collection is given up then.
    pub fn step_in_parts<T: Tracer<Ref = R>>(
        &mut self,
        tracer: &mut T,
        parts: usize,
        mut run: impl FnMut(Vec<Part<'_, R>>),
    ) -> bool {
        self.advance(tracer, Some((parts, &mut run)))
    }

    fn advance<T: Tracer<Ref = R>>(&mut self, tracer: &mut T, split: Option<Split<'_, R>>) -> bool {
        if self.ended {
            return false;
        }
        let again = self.attempt(|table, calls| {
            if table.follow_hidden(tracer) {
                return true;
            }
            table.trace_queue(calls, tracer, false);
            table.step(tracer, split)
        });
        self.ended = !again;
        again
    }

    /// Replaces every reference by what `new` returns for it: for collectors that move objects
    /// after marking (mark and compact). To be called after the last step and before the world goes
    /// on. `new` must not use the `Finalizers`.
    pub fn forward(&mut self, mut new: impl FnMut(R) -> R) {
        let shared = &self.finalizers.shared;
        let mut table = shared.table.lock();
        // If `new` panics, what was replaced until then is found where it is.
        let mut attempt = Attempt {
            table: &mut table,
            done: false,
        };
        shared.calls.queue.trace(References::All, &mut |word| {
            new(R::from_word(word)).to_word()
        });
        attempt.table.forward(new);
        attempt.done = true;
    }

    /// Hands over what is due, as [`Finalizers::finish`] does. To be called once the world may go
    /// on.
    pub fn finish(self) -> Finished<R> {
        self.finalizers.finish()
    }
}

impl<R: Reference> Drop for Collection<R> {
    fn drop(&mut self) {
        if !self.ended {
            self.finalizers.shared.table.lock().abandon();
        }
    }
}
