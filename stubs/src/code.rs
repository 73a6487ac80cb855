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

mod region;

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use region::{REGION, Region, span};

use crate::lock::{Guard, lock};
use crate::unwind::{CallState, Registration};
use crate::{Gate, StubError};

/// What unused code memory holds: on x86-64 a breakpoint, on others an invalid instruction.
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
    gate: Arc<Gate>,
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
    /// Reserves an arena of `capacity` bytes, for the process of the gate.
    pub(crate) fn new(capacity: usize, gate: Arc<Gate>) -> Result<Arc<Arena>, StubError> {
        let capacity = capacity
            .max(1)
            .checked_next_multiple_of(REGION)
            .unwrap_or(usize::MAX / REGION * REGION);
        let mapping = Mapping::new(capacity, gate.clone())?;
        Ok(Arc::new(Arena {
            regions: Mutex::default(),
            mapping,
            gate,
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
            capacity: self.mapping.bytes,
        };
        let start = regions.len() * REGION;
        if start + REGION > self.mapping.bytes {
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
        let offset = entry - self.mapping.executable(0);
        let at = self.mapping.writable(offset);
        // SAFETY: I4: these bytes of the arena are the caller's until they are given back below.
        unsafe { at.write_bytes(FILLER, bytes) };
        if let Some(region) = self.regions().get_mut(offset / REGION) {
            region.give_back(offset, bytes);
        }
    }

    /// Whether this process is a fork of the one that made the arena.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.gate.is_forked()
    }

    /// Makes code written so far visible to every thread that will run it.
    pub(crate) fn publish(&self) {
        self.mapping.synchronize();
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

/// The two mappings of one anonymous file: `[start, start + bytes)` writable, the next `bytes`
/// executable.
#[derive(Debug)]
struct Mapping {
    start: usize,
    bytes: usize,
    /// The kernel serializes running threads on request.
    barrier: bool,
    gate: Arc<Gate>,
}

impl Mapping {
    fn writable(&self, offset: usize) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.start + offset)
    }

    fn executable(&self, offset: usize) -> usize {
        self.start + self.bytes + offset
    }
}

#[cfg(target_os = "linux")]
mod os {
    use super::{Arc, Gate, Mapping, StubError, io};

    const MEMBARRIER_PRIVATE_EXPEDITED_SYNC_CORE: libc::c_int = 1 << 5;
    const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: libc::c_int = 1 << 6;

    fn failed(operation: &'static str) -> StubError {
        StubError::ExecutableMemory {
            operation,
            source: io::Error::last_os_error(),
        }
    }

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: I4: the call takes two integers and no pointer.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0) == 0 }
    }

    /// An anonymous file, executable where the kernel wants to be asked.
    fn anonymous_file() -> Result<libc::c_int, StubError> {
        let name = c"fing-stubs";
        // SAFETY: I4: the name is a C string; the kernel copies it.
        let mut fd =
            unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_EXEC) };
        if fd < 0 {
            // Kernels before 6.3 don't know the flag, and don't need it.
            // SAFETY: I4: as above.
            fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
        }
        if fd < 0 {
            Err(failed("memfd_create"))
        } else {
            Ok(fd)
        }
    }

    impl Mapping {
        pub(super) fn new(bytes: usize, gate: Arc<Gate>) -> Result<Mapping, StubError> {
            let double = bytes
                .checked_mul(2)
                .ok_or_else(|| StubError::ExecutableMemory {
                    operation: "reserving address space",
                    source: io::Error::from_raw_os_error(libc::ENOMEM),
                })?;
            let fd = anonymous_file()?;
            // SAFETY: I4: the descriptor was made above.
            let sized = unsafe { libc::ftruncate(fd, bytes as libc::off_t) };
            let mapping = if sized == 0 {
                map(fd, bytes, double, gate)
            } else {
                Err(failed("ftruncate"))
            };
            // SAFETY: I4: the descriptor was made above, and the mappings don't need it any more.
            unsafe { libc::close(fd) };
            mapping
        }

        /// Ends every thread's speculation about code that was just written.
        pub(super) fn synchronize(&self) {
            if self.barrier {
                membarrier(MEMBARRIER_PRIVATE_EXPEDITED_SYNC_CORE);
            }
        }
    }

    fn map(
        fd: libc::c_int,
        bytes: usize,
        double: usize,
        gate: Arc<Gate>,
    ) -> Result<Mapping, StubError> {
        let reserve = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: I4: a fresh reservation at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                double,
                libc::PROT_NONE,
                reserve,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(failed("mmap (reserving address space)"));
        }
        let mapping = Mapping {
            start: start.expose_provenance(),
            bytes,
            barrier: membarrier(MEMBARRIER_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE),
            gate,
        };
        let aliases = [
            (
                0,
                libc::PROT_READ | libc::PROT_WRITE,
                "mmap (writable alias)",
            ),
            (
                bytes,
                libc::PROT_READ | libc::PROT_EXEC,
                "mmap (executable alias)",
            ),
        ];
        for (offset, protection, operation) in aliases {
            // SAFETY: I4: inside the reservation, which nothing else uses yet.
            let alias = unsafe {
                libc::mmap(
                    start.byte_add(offset),
                    bytes,
                    protection,
                    libc::MAP_SHARED | libc::MAP_FIXED,
                    fd,
                    0,
                )
            };
            if alias == libc::MAP_FAILED {
                return Err(failed(operation));
            }
            // The mapping is shared: a child that changed code would change the parent's. The other
            // alias is inherited, or the child's next mapping might get its addresses.
            // SAFETY: I4: the mapping just made.
            if offset == 0 && unsafe { libc::madvise(alias, bytes, libc::MADV_DONTFORK) } != 0 {
                return Err(failed("madvise (leaving the arena out of forks)"));
            }
        }
        Ok(mapping)
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // A forked child has inherited the executable alias only: the other one's addresses may
            // have been given to another mapping.
            let inherited = if self.gate.is_forked() { self.bytes } else { 0 };
            let start = std::ptr::with_exposed_provenance_mut(self.start + inherited);
            // SAFETY: I4: the aliases are ours; slices hold the arena, so none of its code can be
            // in use any more.
            unsafe { libc::munmap(start, 2 * self.bytes - inherited) };
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Mapping {
    fn new(_bytes: usize, _gate: Arc<Gate>) -> Result<Mapping, StubError> {
        Err(StubError::ExecutableMemory {
            operation: "mapping code twice",
            source: io::Error::new(io::ErrorKind::Unsupported, "only Linux is supported so far"),
        })
    }

    fn synchronize(&self) {
        let _ = self.barrier;
    }
}
