//! How [`Finalizers`] are built.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::table::Table;
use super::{Finalizers, Shared};
use crate::base::identity;
use crate::base::lock::{Lock, Rank};
use crate::calls::builder::{Buildable, Builder, CallsError};
use crate::calls::executor::Goroutine;
use crate::order::{Faults, Reference};

/// Options of [`Finalizers`], which [`build`](Builder::build) makes.
pub type FinalizersBuilder<R> = Builder<Finalizers<R>>;

/// The options that [`Builder`] does not have.
#[derive(Debug, Default)]
pub struct Options {
    faults: Faults,
}

impl<R: Reference> Buildable for Finalizers<R> {
    type Options = Options;
}

impl<R: Reference> Builder<Finalizers<R>> {
    /// Plants a fault in the algorithm, which the conformance suite must find.
    #[cfg(feature = "conformance")]
    #[doc(hidden)]
    pub fn fault(mut self, fault: Option<crate::order::Fault>) -> Self {
        self.own.faults.only = fault;
        self
    }

    /// Makes the [`Finalizers`].
    ///
    /// # Errors
    /// [`CallsError`] if there is no executable memory, or if a limit is out of range.
    pub fn build(self) -> Result<Finalizers<R>, CallsError> {
        let calls = self.calls.build(self.executor, self.order)?;
        let mut table = Table::new(self.order);
        table.faults = self.own.faults;
        if self.number_registrations {
            table.number_registrations();
        }
        let shared = Arc::new(Shared {
            table: Lock::new(Rank::Registry, table),
            calls,
            identity: identity::random(),
        });
        let goroutine = Arc::new(Goroutine::new(shared.clone(), self.executor, self.thread));
        Ok(Finalizers { shared, goroutine })
    }
}
