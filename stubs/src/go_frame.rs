//! How large a frame Go's finalizer code gives a finalizer, as plain arithmetic.
//!
//! Go does not run its ABI algorithm for a finalizer. It reserves two words for the argument (the
//! most an interface takes) plus all results as if none came back in registers, and its call copies
//! the next power of two. Go's first version with register arguments left the two words out, so
//! spill slots could land in the caller's frame (golang/go#51457).
//!
//! ```
//! use fing_stubs::go_frame::{class, frame, results_size, seed_frame_with_registers};
//! use fing_stubs::signature::Signature;
//!
//! let sig: Signature = "func(any) [4]int64".parse().unwrap();
//! let nret = results_size(sig.results());
//! assert_eq!((nret, frame(nret), class(frame(nret))), (32, 48, Some(64)));
//! // The callee may touch 48 bytes.
//! assert_eq!(class(seed_frame_with_registers(nret)), Some(32));
//! ```
#![forbid(unsafe_code)]

use crate::signature::{Type, WORD, round_up};

/// Smallest frame class in bytes.
pub const MIN_CLASS: u64 = 16;
/// Largest frame class in bytes; beyond it Go panics.
pub const MAX_CLASS: u64 = 1 << 30;

/// Go's `nret`: bytes of all results laid out on the stack, in whole words. An opaque type counts
/// nothing.
pub fn results_size(results: &[Type]) -> u64 {
    let end = results
        .iter()
        .filter_map(Type::layout)
        .fold(0, |end: u64, layout| {
            round_up(end, layout.align).saturating_add(layout.size)
        });
    round_up(end, WORD)
}

/// Bytes Go allocates for a finalizer's frame today, with and without register arguments.
pub const fn frame(nret: u64) -> u64 {
    nret.saturating_add(2 * WORD)
}

/// Bytes Go's first version allocated when arguments went in registers: no room for spill slots.
pub const fn seed_frame_with_registers(nret: u64) -> u64 {
    nret
}

/// Bytes Go's first version allocated when arguments went on the stack.
pub const fn seed_frame_abi0(nret: u64) -> u64 {
    frame(nret)
}

/// The frame a reflective call really makes: the smallest power of two, at least [`MIN_CLASS`],
/// that holds `frame` bytes. `None` beyond [`MAX_CLASS`].
pub const fn class(frame: u64) -> Option<u64> {
    if frame > MAX_CLASS {
        return None;
    }
    let class = frame.next_power_of_two();
    Some(if class < MIN_CLASS { MIN_CLASS } else { class })
}

/// Whether the first version's frame for a call with register arguments was smaller than what the
/// callee may touch (`needed`: the assignment's `frame_size`).
pub const fn seed_would_overflow(nret: u64, needed: u64) -> bool {
    match class(seed_frame_with_registers(nret)) {
        Some(class) => class < needed,
        None => false,
    }
}
