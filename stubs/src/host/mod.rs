//! What differs between hosts: one file for each instruction set, one for each operating system.
//!
//! | operation | where | who uses it |
//! |---|---|---|
//! | registers of an image, and the call with that image | instruction set | the interpreter |
//! | making written instructions visible to instruction fetches | instruction set | code memory |
//! | mapping the same pages writable and executable | operating system | code memory |
//! | registering code with the unwinder | operating system and C library | unwinding |
//!
//! Every file of an instruction set has the same list of operations: `INTS`, `FLOATS`,
//! `FLOAT_WORDS`, the function `fing_stubs_call_image` in assembly, `write_unwritten`, and
//! `make_visible`. `x86_64.rs` explains them.
#![expect(unsafe_code, reason = "assembly")]

use std::mem::MaybeUninit;

use crate::abi::Machine;
use crate::{Arch, GBlock};

// The table of hosts: the only place that asks for which one this crate is compiled.
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "s390x", path = "s390x.rs")]
#[cfg_attr(
    not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "s390x"
    )),
    path = "unsupported_isa.rs"
)]
mod isa;
#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "unsupported_os.rs")]
mod os;

/// Whether the unwinder takes a whole `.eh_frame` section at once, as libgcc does. LLVM's
/// libunwind, on musl and on Apple's systems, takes one frame description entry.
pub(crate) const UNWINDER_TAKES_SECTIONS: bool =
    !cfg!(any(target_env = "musl", target_vendor = "apple"));

/// Whether words are stored most significant byte first.
pub(crate) const IS_BIG_ENDIAN: bool = cfg!(target_endian = "big");

pub(crate) use isa::make_visible;
pub(crate) use os::{Mapping, deregister_frame, register_frame};

/// What this host lacks to run stubs, if anything.
pub(crate) fn missing() -> Option<&'static str> {
    isa::MISSING.or(os::MISSING)
}

/// Whether assignments can be interpreted on this host.
pub(crate) const HAS_INTERPRETER: bool = isa::MISSING.is_none();

/// Whether an image has float registers of 16 bytes.
pub(crate) const HAS_VECTORS: bool = isa::FLOAT_WORDS == 2;

/// Room for bytes that are read as generated code reads them: those between the members of a struct
/// may be ones that nobody has written, and have some value all the same.
pub(crate) struct Read([MaybeUninit<u8>; Read::MOST]);

impl Read {
    /// The most bytes at once: those of the largest register.
    pub(crate) const MOST: usize = 16;

    pub(crate) fn new() -> Read {
        Read([MaybeUninit::uninit(); Read::MOST])
    }

    /// Reads so many bytes.
    ///
    /// # Panics
    /// More than [`Read::MOST`].
    ///
    /// # Safety
    /// There are so many readable bytes.
    pub(crate) unsafe fn bytes(&mut self, from: *const u8, count: usize) -> &[u8] {
        let room = &mut self.0[..count];
        // SAFETY: I5: the caller's promise, and as much room.
        unsafe { std::ptr::copy_nonoverlapping(from, room.as_mut_ptr().cast(), count) };
        isa::write_unwritten(room);
        // SAFETY: I5: all of it was written just now.
        unsafe { room.assume_init_ref() }
    }
}

/// The register file and the frame of one call, before it and, afterwards, after it.
///
/// The assembly takes the offsets of all fields from here.
#[repr(C)]
#[derive(Clone, Debug)]
pub(crate) struct CallImage {
    code: usize,
    frame: *mut u8,
    frame_words: usize,
    /// 1 if the callee is a Go function, which keeps no register but the stack pointer.
    is_go: usize,
    ints: [u64; isa::INTS.len()],
    floats: [[u64; isa::FLOAT_WORDS]; isa::FLOATS.len()],
}

/// Index of a register in an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u8);

impl Place {
    /// Of the integer register of this name, if an image has it.
    pub(crate) fn of_int(name: &str) -> Option<Place> {
        Place::in_list(&isa::INTS, name)
    }

    /// Of the float register of this name, if an image has it.
    pub(crate) fn of_float(name: &str) -> Option<Place> {
        Place::in_list(&isa::FLOATS, name)
    }

    fn in_list(list: &[&str], name: &str) -> Option<Place> {
        let index = list.iter().position(|own| *own == name)?;
        Some(Place(index as u8))
    }
}

impl CallImage {
    /// An image of zeroes.
    pub(crate) fn new() -> CallImage {
        CallImage {
            code: 0,
            frame: std::ptr::null_mut(),
            frame_words: 0,
            is_go: 0,
            ints: [0; isa::INTS.len()],
            floats: [[0; isa::FLOAT_WORDS]; isa::FLOATS.len()],
        }
    }

    /// Sets an integer register.
    #[inline]
    pub(crate) fn set_int(&mut self, Place(n): Place, value: u64) {
        self.ints[usize::from(n)] = value;
    }

    /// Sets the 64 bits of a float register, of a vector register the half that scalars use.
    #[inline]
    pub(crate) fn set_float(&mut self, Place(n): Place, value: u64) {
        self.floats[usize::from(n)][0] = value;
    }

    /// Sets a vector register, if [`HAS_VECTORS`]; the first word is the half that scalars use.
    #[inline]
    pub(crate) fn set_vector(&mut self, Place(n): Place, words: [u64; 2]) {
        for (own, word) in self.floats[usize::from(n)].iter_mut().zip(words) {
            *own = word;
        }
    }

    /// An integer register.
    #[inline]
    pub(crate) fn int(&self, Place(n): Place) -> u64 {
        self.ints[usize::from(n)]
    }

    /// The 64 bits of a float register.
    #[inline]
    pub(crate) fn float(&self, Place(n): Place) -> u64 {
        self.floats[usize::from(n)][0]
    }

    /// The words of a vector register, of a float register the only one.
    #[inline]
    pub(crate) fn vector(&self, Place(n): Place) -> &[u64] {
        &self.floats[usize::from(n)]
    }

    /// Says that the callee is a Go function, with this current goroutine.
    pub(crate) fn set_go(&mut self, g: &GBlock) {
        self.is_go = 1;
        let machine = Arch::host().map(Machine::of);
        if let Some(place) = machine.and_then(|machine| Place::of_int(machine.g)) {
            self.set_int(place, std::ptr::from_ref(g).addr() as u64);
        }
    }

    /// Calls `code` with this register file and a copy of `frame`, whose length must be a multiple
    /// of two words; registers and frame are stored back.
    ///
    /// # Safety
    /// A function of an ABI for which the image was made is at `code`. It keeps the frame pointer
    /// as that ABI says and returns to its caller.
    pub(crate) unsafe fn call(&mut self, code: usize, frame: &mut [u64]) {
        debug_assert!(frame.len().is_multiple_of(2));
        self.code = code;
        self.frame = frame.as_mut_ptr().cast();
        self.frame_words = frame.len();
        // SAFETY: I5: the caller's promise; the assembly reads and writes the image and the frame,
        // both borrowed here.
        unsafe { isa::call_image(self) };
    }
}
