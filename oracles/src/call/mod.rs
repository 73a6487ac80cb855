//! A call with every argument register and frame word given by hand, in the manner of Go's
//! `reflectcall`. Contains unsafe code.
//!
//! It is deliberately not built from anything of fing: what fing's stubs do is compared with what
//! this does.

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "s390x", path = "s390x.rs")]
mod machine;

/// How many integer and float argument registers there are, and how many words of
/// [`Registers::zero`].
pub use machine::{FLOATS, INTS, ZERO_WORDS};

/// Words beyond the caller's frame that must come back unchanged.
const GUARD: usize = 16;
const GUARD_WORD: u64 = 0x6775_6172_6420_6775;

/// Register images of one call, in the order in which Go uses them: given before the call, as found
/// after it. A float register is the 64 bits that hold a `float64`.
#[repr(C)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registers {
    /// The integer argument registers.
    pub ints: [u64; INTS],
    /// The float argument registers.
    pub floats: [u64; FLOATS],
    /// The closure context: RDX, x26, x26, r12.
    pub context: u64,
    /// Go's current goroutine: R14, x28, x27, r13.
    pub g: u64,
    /// What Go keeps zero: XMM15 on x86-64, r0 (the first word) on s390x. Other machines have none,
    /// and leave these words alone.
    pub zero: [u64; 2],
    /// The flags as found after the call, not loaded before it: RFLAGS, NZCV, nothing on riscv64,
    /// the condition code in bits 28 and 29 on s390x.
    pub flags: u64,
}

/// A goroutine descriptor of zeroes: every stack check of Go code passes.
static G: [u64; 64] = [0; 64];

impl Registers {
    /// Different junk in each argument register; context 0; the goroutine a block of zeroes; zero
    /// in what Go keeps zero.
    pub fn junk() -> Registers {
        Registers {
            ints: std::array::from_fn(|i| 0x1111_0000_dead_0000 + i as u64),
            floats: std::array::from_fn(|i| 0x2222_0000_dead_0000 + i as u64),
            context: 0,
            g: G.as_ptr() as u64,
            zero: [0; 2],
            flags: 0,
        }
    }
}

/// Calls `code` with `registers` loaded and `frame` at Go's argument base, then stores both back as
/// the callee left them.
///
/// # Panics
///
/// If the callee wrote behind `frame`, within 16 words.
///
/// # Safety
///
/// `code` must be a function which, for these registers and this frame, does nothing but what Rust
/// allows foreign code to do. It may leave every register changed except the stack pointer and, on
/// x86-64, RBP; it must return, without unwinding.
pub unsafe fn call(code: usize, registers: &mut Registers, frame: &mut [u64]) {
    let mut guarded = frame.to_vec();
    guarded.resize(frame.len() + GUARD, GUARD_WORD);
    // SAFETY: `enter` reads and writes these two areas only, besides its own stack frame; the rest
    // is the caller's promise.
    unsafe { machine::enter(code, registers, guarded.as_mut_ptr(), guarded.len()) };
    for (i, word) in guarded[frame.len()..].iter().enumerate() {
        assert_eq!(
            *word,
            GUARD_WORD,
            "callee wrote {} bytes behind its frame of {}",
            8 * i,
            8 * frame.len()
        );
    }
    frame.copy_from_slice(&guarded[..frame.len()]);
}
