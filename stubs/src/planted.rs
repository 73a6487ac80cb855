//! Mistakes of a host's port, planted in the whole process. Feature `faults`, for tests only.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU8, Ordering};

/// A mistake that one could make in bringing this crate to another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum HostFault {
    /// Code that was written is not made visible to instruction fetches.
    NoCacheMaintenance = 1,
    /// A small integer is read from the first bytes of its word, as on little-endian machines.
    ByteOrder = 2,
    /// A bulk finalizer's two words are passed as an interface is, which is another way where a
    /// value of 16 bytes travels by reference.
    WordsAsInterface = 3,
}

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Plants a mistake in this process, for stubs made from now on.
pub fn plant(fault: HostFault) {
    PLANTED.store(fault as u8, Ordering::Relaxed);
}

pub(crate) fn is_planted(fault: HostFault) -> bool {
    PLANTED.load(Ordering::Relaxed) == fault as u8
}
