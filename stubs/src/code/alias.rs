//! When the writable alias of code memory is there.
#![forbid(unsafe_code)]

use std::sync::Mutex;

use crate::StubError;
use crate::host::Mapping;
use crate::lock::lock;

/// When code memory can be written, at its writable alias. Whoever can write there makes the
/// process run what they like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteAccess {
    /// Until the cache is [sealed](crate::StubCache::seal).
    #[default]
    Always,
    /// While a stub is published or its memory is freed, for all threads of the process. Two system
    /// calls each time.
    WhilePublishing,
}

#[derive(Debug)]
pub(super) struct Alias {
    access: WriteAccess,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Threads that are writing.
    writers: usize,
    is_open: bool,
    is_sealed: bool,
    is_gone: bool,
}

impl Alias {
    /// The alias of a mapping that was just made.
    pub(super) fn new(access: WriteAccess, mapping: &Mapping) -> Result<Alias, StubError> {
        let is_open = access == WriteAccess::Always;
        if !is_open {
            mapping.set_writable(false)?;
        }
        let state = State {
            writers: 0,
            is_open,
            is_sealed: false,
            is_gone: false,
        };
        Ok(Alias {
            access,
            state: Mutex::new(state),
        })
    }

    /// Has the alias writable until the result is dropped.
    pub(super) fn open<'a>(&'a self, mapping: &'a Mapping) -> Result<Writing<'a>, StubError> {
        let mut state = lock(&self.state);
        if state.is_sealed {
            return Err(StubError::Sealed);
        }
        if !state.is_open {
            mapping.set_writable(true)?;
            state.is_open = true;
        }
        state.writers += 1;
        Ok(Writing {
            alias: self,
            mapping,
        })
    }

    fn close(&self, mapping: &Mapping) -> Result<(), StubError> {
        let mut state = lock(&self.state);
        state.writers -= 1;
        if state.writers > 0 {
            return Ok(());
        }
        if state.is_sealed {
            return state.give_up(mapping);
        }
        if self.access == WriteAccess::WhilePublishing {
            mapping.set_writable(false)?;
            state.is_open = false;
        }
        Ok(())
    }

    /// Refuses all writers from now on. The alias goes, with the last writer if there are any.
    /// Returns whether it is gone.
    pub(super) fn seal(&self, mapping: &Mapping) -> Result<bool, StubError> {
        let mut state = lock(&self.state);
        state.is_sealed = true;
        if state.writers == 0 {
            state.give_up(mapping)?;
        }
        Ok(state.is_gone)
    }
}

impl State {
    fn give_up(&mut self, mapping: &Mapping) -> Result<(), StubError> {
        if !self.is_gone {
            mapping.give_up_writing()?;
            self.is_gone = true;
        }
        Ok(())
    }
}

/// The alias is writable as long as this value lives.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    alias: &'a Alias,
    mapping: &'a Mapping,
}

impl Writing<'_> {
    /// Ends writing.
    ///
    /// # Errors
    /// The alias could not be taken away; the next writer tries again.
    pub(crate) fn finish(self) -> Result<(), StubError> {
        let (alias, mapping) = (self.alias, self.mapping);
        std::mem::forget(self);
        alias.close(mapping)
    }
}

impl Drop for Writing<'_> {
    /// For errors that are on their way already, and for memory that is freed: if the alias can't
    /// be taken away, the next writer tries again.
    fn drop(&mut self) {
        let _ = self.alias.close(self.mapping);
    }
}
