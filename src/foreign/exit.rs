//! Ending finalization for a foreign collector's objects: what is registered is queued, or listed.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use super::Finalizers;
use super::due;
use super::entries::{Walk, Walked};
use super::entry::Kind;
use super::table::{Due, Table};
use crate::base::deadline::Deadline;
use crate::calls::executor::ExecutorError;
use crate::calls::exit::{ExitOrder, ExitPolicy, ExitReport, NotRun};
use crate::calls::lookup::Lookup;
use crate::calls::queue::{CallKind, CallStage};
use crate::calls::shapes::Shapes;
use crate::order::{Reference, Scope, Tracer, plan};

/// Why [`Finalizers::begin_exit`] ended nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExitError {
    /// A finalizer called it, or the process is a fork.
    #[error("exit: {0}")]
    Executor(#[from] ExecutorError),
    /// There is a [`Collection`](crate::foreign::Collection) that has not made its last step and
    /// was not dropped.
    #[error("exit: a collection of these finalizers is under way, wanted none")]
    UnderWay,
    /// The order of registrations was asked for, and is not known.
    #[error(
        "exit: the order of registrations is not known, wanted Finalizers that were built with \
         number_registrations"
    )]
    NotNumbered,
}

/// The end of finalization, which [`Finalizers::begin_exit`] has begun. If it is dropped, what is
/// queued is dropped too, as [`Finalizers::shutdown`] does.
#[derive(Debug)]
#[must_use = "dropping it runs nothing"]
pub struct Exit<R: Reference> {
    finalizers: Finalizers<R>,
    policy: ExitPolicy,
    /// What the policy leaves.
    left: Vec<NotRun<R>>,
    /// Calls that were made before.
    executed: u64,
}

impl<R: Reference> Exit<R> {
    pub(super) fn begin<T: Tracer<Ref = R>>(
        finalizers: &Finalizers<R>,
        policy: ExitPolicy,
        tracer: &mut T,
    ) -> Result<Exit<R>, ExitError> {
        let calls = &finalizers.shared.calls;
        finalizers.goroutine.may_exit()?;
        let mut table = finalizers.shared.table.lock();
        if table.is_under_way() {
            return Err(ExitError::UnderWay);
        }
        if policy == ExitPolicy::LastRegisteredFirst && !table.numbers_registrations() {
            return Err(ExitError::NotNumbered);
        }
        // All calls of the tracer, which may panic, come before the first change.
        let mut entries = table.all();
        let left = match policy.order() {
            None => std::mem::take(&mut entries),
            Some(order) => {
                table.last_first(&mut entries);
                match order {
                    ExitOrder::LastRegisteredFirst => Vec::new(),
                    ExitOrder::Topological => table.sort(&mut entries, tracer),
                }
            }
        };
        calls.gate.close();
        let executed = calls.queue.counts().executed;
        let left = left.iter().map(|at| table.not_run(*at, &calls.shapes));
        let left = left.collect();
        let mut lookup = Lookup::between_sweeps(&calls.shapes);
        table.end_ephemerons_of(&entries);
        let number = table.next_hand_over();
        calls.queue.fill_in_order(number, |filling| {
            table.take_due(|due| due::queue(&due, &mut lookup, filling));
            for &at in entries.iter().rev() {
                due::queue(&table.take_registered(at), &mut lookup, filling);
            }
        });
        Ok(Exit {
            finalizers: finalizers.clone(),
            policy,
            left,
            executed,
        })
    }

    /// Runs what is queued, unless the policy is [`ExitPolicy::Nothing`], and ends the finalizer
    /// goroutine. Waits at most `timeout`; a call that is running then is not interrupted, and
    /// those behind it are not made. To be called once the world may go on.
    ///
    /// With [`Executor::Inline`](crate::Executor::Inline), on the thread that built the
    /// [`Finalizers`], the calls are made on this thread, which waits for the one that is running.
    ///
    /// Returns what was not run. Its objects are where the last collection has left them.
    pub fn run(mut self, timeout: Duration) -> ExitReport<R> {
        let deadline = Deadline::after(timeout);
        let calls = &self.finalizers.shared.calls;
        let dropped = self
            .finalizers
            .goroutine
            .exit(self.policy != ExitPolicy::Nothing, deadline);
        let mut not_run = std::mem::take(&mut self.left);
        not_run.extend(dropped.into_iter().map(|dropped| {
            let kind = dropped.tag.kind();
            let object = dropped.tag.object_of(&dropped.record);
            NotRun {
                kind,
                stage: dropped.stage,
                object: (kind == CallKind::Finalizer).then(|| R::from_word(object)),
                function: signature(&calls.shapes, dropped.tag.shape()),
            }
        }));
        ExitReport {
            executed: calls.queue.counts().executed - self.executed,
            not_run,
        }
    }
}

impl<R: Reference> Drop for Exit<R> {
    fn drop(&mut self) {
        self.finalizers.goroutine.stop();
    }
}

fn signature(shapes: &Shapes, shape: u32) -> String {
    shapes.get(shape).function().signature().to_string()
}

impl<R: Reference> Table<R> {
    /// The entries of all registered finalizers and cleanups.
    fn all(&self) -> Vec<u32> {
        let mut all = Vec::new();
        let mut walk = Walk::over(Walked::Scope(Scope::Full));
        while let Some(at) = walk.next(&self.entries) {
            let entry = self.entries.at(at);
            if entry.is_registered() && entry.kind() != Some(Kind::Weak) {
                all.push(at);
            }
        }
        all
    }

    fn is_cleanup(&self, at: u32) -> bool {
        self.entries.at(at).kind() == Some(Kind::Cleanup)
    }

    /// Sorts so that those registered last come first; cleanups come after the finalizers, as those
    /// of an object always do.
    fn last_first(&self, entries: &mut [u32]) {
        entries.sort_by_key(|at| (self.is_cleanup(*at), Reverse(self.number_of(*at))));
    }

    /// Sorts finalizers by the topological order of their objects. Takes those out, and returns
    /// them, that are on a cycle that is left, or reachable from one.
    fn sort<T: Tracer<Ref = R>>(&self, entries: &mut Vec<u32>, tracer: &mut T) -> Vec<u32> {
        let all = std::mem::take(entries);
        let (cleanups, finalizers): (Vec<u32>, Vec<u32>) =
            all.into_iter().partition(|at| self.is_cleanup(*at));
        let (of, mut candidates) = self.candidates_of(finalizers.iter().copied());
        candidates.iter_mut().for_each(|of| of.reported = true);
        let ephemerons = self.all_weak_edges();
        let children = |object: R, visit: &mut dyn FnMut(R)| {
            tracer.children(object, &mut |_, child| visit(child));
            let after = self.declared.after(object.to_word()).iter();
            after.for_each(|word| visit(R::from_word(*word)));
        };
        let plan = plan(&candidates, children, ephemerons, self.faults);
        entries.extend(plan.due.iter().flat_map(|n| of.entries(*n)));
        entries.extend(cleanups);
        let sorted: HashSet<u32> = entries.iter().copied().collect();
        let is_left = |at: &u32| !sorted.contains(at);
        finalizers.into_iter().filter(is_left).collect()
    }

    fn not_run(&self, at: u32, shapes: &Shapes) -> NotRun<R> {
        let entry = self.entries.at(at);
        NotRun {
            kind: match self.is_cleanup(at) {
                true => CallKind::Cleanup,
                false => CallKind::Finalizer,
            },
            stage: CallStage::Registered,
            object: Some(R::from_word(entry.object)),
            function: signature(shapes, entry.shape),
        }
    }

    /// Ends the ephemerons whose keys are the objects of these finalizers.
    fn end_ephemerons_of(&mut self, entries: &[u32]) {
        let finalizers = entries.iter().filter(|at| !self.is_cleanup(**at));
        let keys: HashSet<u64> = finalizers.map(|at| self.entries.at(*at).object).collect();
        self.ephemerons
            .retain(|ephemeron| !keys.contains(&ephemeron.key));
    }

    /// Removes a registration, whose call is to be queued. The weak handle of a finalizer's object
    /// ends.
    fn take_registered(&mut self, at: u32) -> Due {
        let entry = *self.entries.at(at);
        let due = self.due_of(at);
        self.remove(at);
        let finalized = entry.kind() == Some(Kind::Finalizer);
        let weak = finalized.then(|| self.find(Kind::Weak, R::from_word(entry.object)));
        if let Some(weak) = weak.flatten() {
            self.remove(weak);
        }
        due
    }
}
