//! Memory for the values of one call.
#![forbid(unsafe_code)]

use std::mem::MaybeUninit;

use crate::BlockLayout;

/// Aligned as nearly all blocks want to be.
type Unit = MaybeUninit<u128>;

/// Units in the frame of the caller. Larger blocks are allocated.
const UNITS: usize = 16;

/// Room in the frame of the caller.
pub(super) type Own = [Unit; UNITS];

/// Memory for a block. Its bytes are not initialized: a stub reads the values of a block and
/// nothing between them.
pub(super) fn own() -> Own {
    [const { MaybeUninit::uninit() }; UNITS]
}

/// Whether a block of this layout is too large for [`Own`], or wants another alignment.
pub(super) fn is_large(layout: &BlockLayout) -> bool {
    layout.size() > size_of::<Own>() as u64 || layout.align() > align_of::<Own>() as u64
}

/// Memory for a block of this layout, and the block's place in it.
#[cold]
pub(super) fn large(layout: &BlockLayout) -> (Vec<Unit>, *mut u8) {
    let bytes = (layout.size() + layout.align()) as usize;
    let units = bytes.div_ceil(size_of::<Unit>());
    let mut memory = vec![Unit::uninit(); units];
    let start: *mut u8 = memory.as_mut_ptr().cast();
    let up = start.addr().next_multiple_of(layout.align() as usize) - start.addr();
    (memory, start.wrapping_add(up))
}
