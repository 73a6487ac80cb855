//! Deadlines: a moment until which something waits, or never.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// When a wait gives up. A timeout too long for the clock, such as [`Duration::MAX`], never ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// The deadline after `timeout` from now on.
    pub(crate) fn after(timeout: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(timeout))
    }

    /// Returns how long there is left to wait, at most; zero once the deadline has passed.
    pub(crate) fn left(self) -> Duration {
        let left = |end: Instant| end.saturating_duration_since(Instant::now());
        self.0.map_or(Duration::MAX, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeout_is_too_long() {
        for timeout in [
            Duration::MAX,
            Duration::MAX / 2,
            Duration::from_secs(u64::MAX),
        ] {
            assert!(Deadline::after(timeout).left() > Duration::from_secs(1 << 30));
        }
        assert!(Deadline::after(Duration::ZERO).left().is_zero());
        let hour = Duration::from_secs(3600);
        assert!(!Deadline::after(hour).left().is_zero() && Deadline::after(hour).left() <= hour);
    }
}
