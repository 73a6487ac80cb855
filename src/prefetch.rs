//! Asks the processor to fetch what will be needed soon.
#![expect(unsafe_code, reason = "the instruction is an intrinsic")]

/// Has the processor fetch the line an address is in, if it knows how. Any address will do: nothing is read, nothing
/// changes, and no address makes a fault.
#[inline(always)]
pub(crate) fn prefetch(addr: usize) {
    let at = std::ptr::without_provenance::<i8>(addr);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: I17: a hint, which no address makes a fault.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
