//! Executable memory: one arena, mapped twice, never writable and executable at the same address.
//!
//! The same pages of an anonymous file appear at a writable alias and at an executable one, a
//! constant distance apart. Two mappings serve any number of stubs, and a stub's bytes can be freed
//! and used again one by one.
//!
//! The arena is divided into regions of code that unwinders see alike ([`CallState`]); each region
//! in use has one entry in the unwinder's registry. A forked child can't change it: the
//! writable alias is left out of a fork, and allocating from an arena in a process that did not
//! make it is an error. The executable alias is inherited, so that nothing else gets its addresses,
//! but a child runs nothing there: the parent may change it at any moment.
#![expect(unsafe_code, reason = "maps memory and writes code into it")]

mod alias;
mod region;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use alias::{Alias, Writing};
use region::{REGION, Region, span};

pub use self::alias::WriteAccess;
use crate::host::{Mapping, make_visible, missing};
use crate::lock::{Guard, lock};
#[cfg(feature = "faults")]
use crate::planted::{HostFault, is_planted};
use crate::tools::Tools;
use crate::unwind::{CallState, Registration};
use crate::{Gate, StubError};

/// What unused code memory holds: on x86-64 breakpoints, on others no valid instructions.
const FILLER: u8 = 0xcc;

/// Capacity of a cache's arena unless told otherwise. Address space, not memory: pages come as
/// stubs do.
pub const DEFAULT_ARENA_CAPACITY: usize = 64 << 20;

/// A dual-mapped stretch of code memory.
#[derive(Debug)]
pub(crate) struct Arena {
    // Fields are dropped in order: the registrations in `regions` describe code in `mapping`.
    regions: Mutex<Vec<Region>>,
    mapping: Mapping,
    alias: Alias,
    gate: Arc<Gate>,
    pub(crate) tools: Tools,
}

/// Bytes of the granules that code at `entry` takes, of so many bytes.
pub(crate) fn granules(entry: usize, bytes: usize) -> usize {
    span(entry, bytes)
}

/// Some bytes of an arena; given back when dropped.
#[derive(Debug)]
pub(crate) struct CodeSlice {
    arena: Arc<Arena>,
    offset: usize,
    /// 0 after `keep`: the caller releases them.
    bytes: usize,
}

impl Arena {
    /// Reserves an arena of `capacity` bytes, for the process of the gate, whose code `tools` are
    /// told of.
    pub(crate) fn new(
        capacity: usize,
        access: WriteAccess,
        gate: Arc<Gate>,
        tools: Tools,
    ) -> Result<Arc<Arena>, StubError> {
        if let Some(missing) = missing() {
            return Err(StubError::UnsupportedHost {
                host: target_lexicon::Triple::host().to_string(),
                missing,
            });
        }
        let capacity = capacity
            .max(1)
            .checked_next_multiple_of(REGION)
            .unwrap_or(usize::MAX / REGION * REGION);
        let mapping = Mapping::new(capacity, gate.clone())?;
        Ok(Arc::new(Arena {
            regions: Mutex::default(),
            alias: Alias::new(access, &mapping)?,
            mapping,
            gate,
            tools,
        }))
    }

    fn regions(&self) -> Guard<MutexGuard<'_, Vec<Region>>> {
        lock(&self.regions)
    }

    /// Bytes of code in use, granules included.
    pub(crate) fn used(&self) -> usize {
        self.regions()
            .iter()
            .map(|region| REGION - region.free_bytes())
            .sum()
    }

    /// Entries in the unwinder's registry.
    pub(crate) fn unwind_entries(&self) -> usize {
        self.regions()
            .iter()
            .filter(|region| region.is_registered())
            .count()
    }

    /// Allocates `bytes` of code that unwinders see as `state`, at a multiple of `align`, which is
    /// at most 64. The bytes at `hot` are the loop.
    ///
    /// The loops of the first stubs of each state are placed inside cache lines; later stubs are
    /// packed.
    pub(crate) fn allocate(
        self: &Arc<Arena>,
        bytes: usize,
        align: usize,
        state: Option<&CallState>,
        hot: &Range<usize>,
    ) -> Result<CodeSlice, StubError> {
        StubError::check_fork(&self.gate)?;
        let (bytes, align) = (bytes.max(1), align.max(1));
        let mut regions = self.regions();
        let slice = |offset| CodeSlice {
            arena: self.clone(),
            offset,
            bytes,
        };
        let mut fitting = regions.iter_mut().filter(|region| region.is_for(state));
        if let Some(offset) = fitting.find_map(|region| region.take(bytes, align, hot)) {
            return Ok(slice(offset));
        }
        let full = |regions: &[Region]| StubError::ArenaFull {
            wanted: bytes,
            free: regions
                .iter()
                .filter(|region| region.is_for(state))
                .map(Region::free_bytes)
                .sum(),
            capacity: self.mapping.bytes(),
        };
        let start = regions.len() * REGION;
        if start + REGION > self.mapping.bytes() {
            return Err(full(&regions));
        }
        let registration = state
            .map(|state| Registration::new(state, self.mapping.executable(start), REGION))
            .transpose()
            .map_err(|detail| StubError::Internal {
                key: format!("{state:?}"),
                step: "registering a region for unwinding",
                detail,
            })?;
        let by_line = !regions.iter().any(|region| region.is_for(state));
        let mut region = Region::new(start, state, by_line, registration);
        let Some(offset) = region.take(bytes, align, hot) else {
            return Err(full(&regions));
        };
        regions.push(region);
        Ok(slice(offset))
    }

    /// Takes back `bytes` of code at `entry`, an executable address, for other code.
    ///
    /// # Safety
    /// They were allocated here and [kept](CodeSlice::keep), this happens once, and no call of them
    /// is in flight or to come.
    pub(crate) unsafe fn release(&self, entry: usize, bytes: usize) {
        // In a forked child the writable alias is not there, and the bytes are the parent's.
        if self.is_forked() {
            return;
        }
        self.tools.forget(entry);
        let offset = entry - self.mapping.executable(0);
        // Without writing, the old code stays, and its place is not given to other code.
        let Ok(_writing) = self.begin_writing() else {
            return;
        };
        let at = self.mapping.writable(offset);
        // SAFETY: I4: these bytes of the arena are the caller's until they are given back below.
        unsafe { at.write_bytes(FILLER, bytes) };
        if let Some(region) = self.regions().get_mut(offset / REGION) {
            region.give_back(offset, bytes);
        }
    }

    /// Has code memory writable, at the writable alias, until the result is dropped.
    ///
    /// # Errors
    /// The arena is sealed, or the system refuses.
    pub(crate) fn begin_writing(&self) -> Result<Writing<'_>, StubError> {
        StubError::check_fork(&self.gate)?;
        self.alias.open(&self.mapping)
    }

    /// Ends writing for good. Returns whether the writable alias is gone; if not, it goes with the
    /// last thread that is writing.
    pub(crate) fn seal(&self) -> Result<bool, StubError> {
        StubError::check_fork(&self.gate)?;
        self.alias.seal(&self.mapping)
    }

    /// Whether an address may be one of code here.
    pub(crate) fn contains(&self, address: usize) -> bool {
        let start = self.mapping.executable(0);
        (start..start + self.mapping.bytes()).contains(&address)
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Whether a look at a word shows that this is the process that made the arena.
    #[inline]
    pub(crate) fn is_surely_own(&self) -> bool {
        self.gate.is_surely_own()
    }

    /// Whether this process is a fork of the one that made the arena.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.gate.is_forked()
    }

    /// Makes code that was written to `slice` visible to every thread that will run it.
    pub(crate) fn publish(&self, slice: &CodeSlice) {
        #[cfg(feature = "faults")]
        if is_planted(HostFault::NoCacheMaintenance) {
            return;
        }
        make_visible(slice.writable(), slice.executable(), slice.bytes);
        self.mapping.synchronize(slice.offset, slice.bytes);
    }
}

impl CodeSlice {
    /// Address to write the code at.
    pub(crate) fn writable(&self) -> *mut u8 {
        self.arena.mapping.writable(self.offset)
    }

    /// Address to run the code at.
    pub(crate) fn executable(&self) -> usize {
        self.arena.mapping.executable(self.offset)
    }

    /// Whether the code here is at this address.
    pub(crate) fn contains(&self, address: usize) -> bool {
        let start = self.executable();
        (start..start + self.bytes).contains(&address)
    }

    /// Bytes of the granules held.
    pub(crate) fn bytes(&self) -> usize {
        span(self.offset, self.bytes)
    }

    /// Gives up ownership: the caller must [release](Arena::release) the bytes, of which address
    /// and number are returned.
    pub(crate) fn keep(mut self) -> (usize, usize) {
        (self.executable(), std::mem::take(&mut self.bytes))
    }
}

impl Drop for CodeSlice {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: I4: the slice's own bytes, and no call is in flight: stubs hold the slices
            // they call, and a running stub is borrowed.
            unsafe { self.arena.release(self.executable(), self.bytes) };
        }
    }
}
