//! Asks the processor to load memory that will be needed soon: the only place of this crate that
//! depends on the instruction set.
// Not `expect`: on some machines there is no such instruction.
#![allow(unsafe_code, reason = "the instruction is an intrinsic or assembly")]

/// Asks the processor to load the cache line of an address. Does nothing on instruction sets
/// without a line below. Any address is allowed: the program sees no effect, and no address faults.
#[inline(always)]
pub(crate) fn prefetch(addr: usize) {
    let at = std::ptr::without_provenance::<i8>(addr);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: I17: a hint; no address faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: I17: a hint; no address faults.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{}]",
            in(reg) at,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(target_arch = "s390x")]
    // SAFETY: I17: a hint; no address faults.
    unsafe {
        std::arch::asm!(
            "pfd 1, 0({})",
            in(reg_addr) at,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "s390x")))]
    let _ = at;
}
