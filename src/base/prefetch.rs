//! Asks the processor to load memory that will be needed soon.
#![expect(unsafe_code, reason = "the instruction is an intrinsic")]

/// Asks the processor to load the cache line of an address. Does nothing on targets other than
/// x86-64. Any address is allowed: the program sees no effect, and no address faults.
#[inline(always)]
pub(crate) fn prefetch(addr: usize) {
    let at = std::ptr::without_provenance::<i8>(addr);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: I17: a hint; no address faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
