//! The state of a slot: which callback it has (its generation), whether that is closed, and how
//! many calls of it are under way. One word, so that each step is one atomic operation.
//!
//! ```text
//!   63            32 31     30                0
//!   | generation    |closed| calls            |
//! ```
//! A slot begins closed with generation 0. [`State::open`] gives it the next generation; then calls
//! [enter](State::enter) and [leave](State::leave). [`State::close`] ends the generation: no call
//! enters any more, and whoever sees the last of the calls gone frees what the callback owns,
//! exactly one of the closer and the calls. Only after that may the slot be opened again.
//!
//! A call brings the state that it saw when it began, and is refused unless the generation is still
//! that: what was freed since, and even what took its place, is not entered.
#![forbid(unsafe_code)]

use super::sync::{AtomicU64, Ordering};

const CLOSED: u64 = 1 << 31;
const CALLS: u64 = CLOSED - 1;
const GENERATION: u32 = 32;

/// Generation of a word.
pub(crate) fn generation(word: u64) -> u32 {
    (word >> GENERATION) as u32
}

/// A slot's state.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct State(AtomicU64);

/// A call was not entered: the callback is closed, or is another one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late;

/// A call that was entered by [`State::enter_alone`]: the state before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entered(u64);

/// What whoever ends something has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing: calls are under way, so many, or this is not the end.
    Busy(u32),
    /// The caller frees what the callback owns; nobody else does.
    Free,
    /// It was closed before.
    Closed,
}

impl State {
    /// Closed, of generation 0.
    pub(crate) fn new() -> State {
        State(AtomicU64::new(CLOSED))
    }

    /// Closed, of a generation.
    #[cfg(test)]
    pub(crate) fn closed(generation: u32) -> State {
        State(AtomicU64::new(u64::from(generation) << GENERATION | CLOSED))
    }

    /// The word as it is.
    #[inline]
    pub(crate) fn word(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Opens the slot for its next generation, which it returns; `None` once they are used up. Only
    /// by the thread that has the free slot to itself.
    pub(crate) fn open(&self) -> Option<u32> {
        let next = generation(self.0.load(Ordering::Relaxed)).checked_add(1)?;
        // Release: what was put into the slot before is there for those that enter.
        self.0
            .store(u64::from(next) << GENERATION, Ordering::Release);
        Some(next)
    }

    /// Enters a call that saw `seen` when it began.
    #[inline]
    pub(crate) fn enter(&self, seen: u64) -> Result<(), Late> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 || generation(word) != generation(seen) {
                return Err(Late);
            }
            let more =
                self.0
                    .compare_exchange_weak(word, word + 1, Ordering::Acquire, Ordering::Relaxed);
            match more {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Enters a call if the generation that is open now is one that only this thread ever enters,
    /// leaves and closes; `is_own` says that of the one that was opened last.
    ///
    /// Returns what [leaving](State::leave_alone) needs.
    #[inline]
    pub(crate) fn enter_alone(&self, is_own: impl FnOnce() -> bool) -> Result<Entered, Late> {
        // Acquire: `is_own` looks at what was put into the slot before it was opened.
        let word = self.0.load(Ordering::Acquire);
        if word & CLOSED != 0 || !is_own() {
            return Err(Late);
        }
        // Release: a late call by another thread that reads this word compares what was put into
        // the slot before it was opened.
        self.0.store(word + 1, Ordering::Release);
        Ok(Entered(word))
    }

    /// Leaves a call that was entered.
    #[inline]
    pub(crate) fn leave(&self) -> Ending {
        let word = self.0.fetch_sub(1, Ordering::AcqRel) - 1;
        State::ending(word)
    }

    /// As [`State::leave`], for [`State::enter_alone`].
    #[inline]
    pub(crate) fn leave_alone(&self, entered: Entered) -> Ending {
        let Entered(before) = entered;
        let word = self.0.load(Ordering::Relaxed) - 1;
        if word == before {
            // Not `word`: so the next call does not wait for this load.
            self.0.store(before, Ordering::Release);
            return Ending::Busy((before & CALLS) as u32);
        }
        self.0.store(word, Ordering::Release);
        State::ending(word)
    }

    #[inline]
    fn ending(word: u64) -> Ending {
        if word & (CLOSED | CALLS) == CLOSED {
            Ending::Free
        } else {
            Ending::Busy((word & CALLS) as u32)
        }
    }

    /// Closes a generation.
    pub(crate) fn close(&self, of: u32) -> Ending {
        self.close_if(of, |_| true)
    }

    /// As [`State::close`], unless calls are under way: then nothing happens.
    pub(crate) fn close_idle(&self, of: u32) -> Ending {
        self.close_if(of, |calls| calls == 0)
    }

    /// As [`State::close`] or [`State::close_idle`], for [`State::enter_alone`]: if the generation
    /// is still there, by its thread.
    pub(crate) fn close_alone(&self, of: u32, idle: bool) -> Ending {
        let word = self.0.load(Ordering::Relaxed);
        if generation(word) != of || word & CLOSED != 0 {
            return Ending::Closed;
        }
        let calls = (word & CALLS) as u32;
        if calls == 0 || !idle {
            self.0.store(word | CLOSED, Ordering::Release);
        }
        match calls {
            0 => Ending::Free,
            calls => Ending::Busy(calls),
        }
    }

    fn close_if(&self, of: u32, may: impl Fn(u32) -> bool) -> Ending {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if generation(word) != of || word & CLOSED != 0 {
                return Ending::Closed;
            }
            let calls = (word & CALLS) as u32;
            if !may(calls) {
                return Ending::Busy(calls);
            }
            let closed = word | CLOSED;
            let now =
                self.0
                    .compare_exchange_weak(word, closed, Ordering::AcqRel, Ordering::Relaxed);
            match now {
                Ok(_) if calls == 0 => return Ending::Free,
                Ok(_) => return Ending::Busy(calls),
                Err(now) => word = now,
            }
        }
    }

    /// Calls of this generation that are under way.
    pub(crate) fn calls(&self, of: u32) -> u32 {
        let word = self.word();
        if generation(word) == of {
            (word & CALLS) as u32
        } else {
            0
        }
    }
}
