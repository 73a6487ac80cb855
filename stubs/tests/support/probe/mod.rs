//! Callees for any signature: they write down every register and the frame, and leave results
//! behind that they were given beforehand. One at a time, for they find their probe in a static.
//! One file for each machine.

use std::sync::atomic::AtomicUsize;

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "s390x", path = "s390x.rs")]
mod machine;

/// Calls `called`, a stub's code or the entrance that calls it, with `first, end, progress, g,
/// stub` by the C convention and something known in every register that the convention keeps;
/// returns 1 if all of it is still there. The stack pointer and the control of floating point are
/// looked at too, and on x86-64 the direction flag.
pub(crate) use machine::keeps_registers;
pub(crate) use machine::{FLOATS, INTS, PUSHED, callee};

/// What a callee found, and what it shall leave behind.
#[repr(C)]
pub(crate) struct Probe {
    pub(crate) calls: u64,
    /// Registers as found, by [`INTS`].
    pub(crate) ints: [u64; INTS.len()],
    /// By [`FLOATS`].
    pub(crate) floats: [u64; FLOATS.len()],
    /// Words from Go's argument base up, for native callees from the stack pointer at the call up:
    /// how many, where to write them down, what to leave there.
    pub(crate) frame_words: u64,
    pub(crate) frame: *mut u64,
    pub(crate) frame_fill: *const u64,
    /// Bytes to leave behind the hidden pointer, which is in register `hidden_register` of `ints`.
    pub(crate) hidden_bytes: u64,
    pub(crate) hidden_register: u64,
    pub(crate) hidden_fill: *const u8,
    /// What registers are left with: the results, and as many others as the callee may change.
    pub(crate) ints_out: [u64; INTS.len()],
    pub(crate) floats_out: [u64; FLOATS.len()],
}

/// Address of the probe of the call under way.
pub(crate) static PROBE: AtomicUsize = AtomicUsize::new(0);

impl Probe {
    /// What the callee found in the register of this name.
    pub(crate) fn found(&self, name: &str) -> u64 {
        register(&self.ints, &self.floats, name)
    }

    /// What it left there.
    pub(crate) fn left(&self, name: &str) -> u64 {
        register(&self.ints_out, &self.floats_out, name)
    }
}

/// The place of an integer register in a probe.
pub(crate) fn int(name: &str) -> Option<usize> {
    INTS.iter().position(|&own| own == name)
}

fn register(ints: &[u64], floats: &[u64], name: &str) -> u64 {
    match int(name) {
        Some(n) => ints[n],
        None => floats[FLOATS.iter().position(|&own| own == name).unwrap()],
    }
}
