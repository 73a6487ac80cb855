//! Ending the finalization of a runtime, before the process ends.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use crate::base::deadline::Deadline;
use crate::calls::executor::ExecutorError;
use crate::calls::exit::{ExitPolicy, ExitReport};
use crate::runtime::Runtime;
use crate::world::threads::WorldError;

/// Why [`Runtime::exit`] ended nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExitError {
    /// A finalizer called it, the thread runs with a mutator, or the process is a fork.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The world could not be stopped.
    #[error("exit: {0}")]
    World(#[from] WorldError),
    /// The order of registrations was asked for, and is not known.
    #[error(
        "exit: the order of registrations is not known, wanted a runtime that was built with \
         number_registrations"
    )]
    NotNumbered,
}

impl Runtime {
    /// Ends finalization, as [`shutdown`](Self::shutdown) does, after running what the policy says:
    /// for a program that is about to end. Nothing can be registered from its begin on. Waits at
    /// most `timeout` for the mutators to stop, if something has to be looked up in the heap, and
    /// for the calls; a call that is running then is not interrupted, and those behind it are not
    /// made.
    ///
    /// With [`Executor::Inline`](crate::Executor::Inline), on the thread that built the runtime,
    /// the calls are made on this thread, which waits for the one that is running.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use fing::{Runtime, ends::ExitPolicy};
    ///
    /// let runtime = Runtime::builder().number_registrations(true).build()?;
    /// // ... the program ...
    /// let report = runtime.exit(ExitPolicy::LastRegisteredFirst, Duration::from_secs(5))?;
    /// for left in &report.not_run {
    ///     eprintln!("not finalized: {left:?}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A finalizer calls this; the thread runs with a mutator; the mutators don't stop in time; the
    /// order of registrations is asked for and not known; or this process is a fork. Nothing is
    /// ended then, unless the mutators don't stop: then nothing can be registered any more.
    pub fn exit(&self, policy: ExitPolicy, timeout: Duration) -> Result<ExitReport, ExitError> {
        let deadline = Deadline::after(timeout);
        let (space, registry) = (&self.shared.space, &self.shared.registry);
        let order = policy.order();
        if policy == ExitPolicy::LastRegisteredFirst && !space.heap().numbers_ids() {
            return Err(ExitError::NotNumbered);
        }
        self.goroutine.may_exit()?;
        // In this order: a collection that finds the gate closed is to know why.
        registry.exit_begun.store(true, Release);
        self.shared.calls.gate.close();
        let before = self.shared.calls.queue.counts().executed;
        let mut not_run = space.inspect_before(deadline, |marking| {
            registry.exit_begun.store(false, Release);
            registry.exit(marking, order)
        })?;
        let left = self.goroutine.exit(policy != ExitPolicy::Nothing, deadline);
        not_run.extend(left.into_iter().map(|left| registry.not_run(&left)));
        self.end_callbacks();
        Ok(ExitReport {
            executed: self.shared.calls.queue.counts().executed - before,
            not_run,
        })
    }
}
