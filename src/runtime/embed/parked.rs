//! Mutators that are parked as values: for a thread that switches between stacks.
#![forbid(unsafe_code)]

use crate::runtime::Runtime;
use crate::runtime::mutator::Mutator;
use crate::world::threads::{Join, WorldError};

/// A mutator that is parked: collections do not wait for it, and it touches no object, until it is
/// [resumed](Self::resume). What [`Mutator::native`] does for the length of a closure, as a value:
/// for a VM whose goroutines are stacks that one thread switches between.
///
/// Meanwhile the thread may run with another mutator. Like a mutator it stays on its thread.
/// Dropping it drops the mutator, and waits for no collection.
#[derive(Debug)]
pub struct Parked(Option<Box<Mutator>>);

impl Parked {
    /// Has the mutator run again, after any collection that is under way. References that were not
    /// roots may be gone.
    ///
    /// # Errors
    /// The thread runs with another mutator of the runtime: that has to be parked or dropped first.
    /// The parked mutator is returned beside the error.
    ///
    /// # Panics
    /// In a forked child, if another thread was collecting.
    pub fn resume(mut self) -> Result<Mutator, (Parked, WorldError)> {
        let Some(mut mutator) = self.0.take() else {
            unreachable!("only its end takes a parked mutator");
        };
        if mutator.runtime().space().world().is_running_here() {
            return Err((Parked(Some(mutator)), WorldError::Running));
        }
        mutator.run_again();
        Ok(*mutator)
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        // It does not wait for a collection, which may wait for another mutator of this thread.
        if let Some(mutator) = &self.0 {
            mutator.run_to_end();
        }
    }
}

impl Mutator {
    /// Parks the mutator, and returns it as a value.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// let runtime = fing::Runtime::new()?;
    /// let word = runtime.types().id("uint64")?;
    /// let first = runtime.attach()?;
    /// let kept = first.root(first.alloc(word)?)?;
    /// // Another stack of this thread runs, and collects.
    /// let first = first.park();
    /// let mut second = runtime.attach_beside()?;
    /// assert_eq!(second.gc()?.live_objects, 1);
    /// let (first, refusal) = first.resume().unwrap_err();
    /// assert_eq!(refusal, fing::error::WorldError::Running);
    /// // And the first one goes on.
    /// let second = second.park();
    /// let first = first.resume().map_err(|(_, refusal)| refusal)?;
    /// first.load_word(first.get(&kept)?, 0)?;
    /// # drop((first, second));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn park(self) -> Parked {
        self.stop_running();
        Parked(Some(Box::new(self)))
    }
}

impl Runtime {
    /// As [`attach`](Self::attach), for a thread whose other mutators of this runtime are
    /// [parked](Mutator::park).
    ///
    /// # Errors
    /// The thread runs with a mutator of this runtime.
    pub fn attach_beside(&self) -> Result<Mutator, WorldError> {
        Mutator::nested(self, Join::Enter)
    }
}
