//! Rounds and the figures that they measure.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;

/// What one round measured: figures by name.
pub(crate) type Round = BTreeMap<Cow<'static, str>, f64>;

/// What went wrong, for the reader of the report.
pub(crate) type Fault = Box<dyn Error>;

/// Something that is measured round by round.
pub(crate) trait Subject {
    /// Does its work once, and returns the figures.
    ///
    /// # Errors
    /// What went wrong. The subject is not asked again then.
    fn round(&mut self) -> Result<Round, Fault>;
}

/// A subject that is a function.
pub(crate) struct Rounds<F>(pub(crate) F);

impl<F: FnMut() -> Result<Round, Fault>> Subject for Rounds<F> {
    fn round(&mut self) -> Result<Round, Fault> {
        (self.0)()
    }
}

/// A boxed [`Rounds`].
pub(crate) fn rounds<F>(round: F) -> Box<dyn Subject>
where
    F: FnMut() -> Result<Round, Fault> + 'static,
{
    Box::new(Rounds(round))
}

/// Compares a count with what it must be.
///
/// # Errors
/// They differ.
pub(crate) fn expect(what: &str, found: u64, wanted: usize) -> Result<(), Fault> {
    if found == wanted as u64 {
        return Ok(());
    }
    Err(format!("{what}: found {found}, wanted {wanted}").into())
}
