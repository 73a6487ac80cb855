//! The one piece of host assembly: load a register file and a frame, call, store both back.
//!
//! The interpreter of assignments must work where no memory is executable but the program's own, so
//! it can't have its instructions made for it.
#![expect(unsafe_code, reason = "assembly")]

use crate::GBlock;

/// Whether this host has the shim.
pub(crate) const HAS_SHIM: bool = cfg!(all(target_arch = "x86_64", unix));

/// The register file and the frame of one call, before it and, afterwards, after it.
///
/// Fields up to and including `floats` are known to the assembly, which takes their offsets from
/// here.
#[repr(C)]
#[derive(Clone, Debug)]
pub(crate) struct CallImage {
    code: usize,
    frame: *mut u8,
    frame_words: usize,
    ints: [u64; 16],
    floats: [u64; 16],
}

/// Names of `ints` by position; `rsp` and `rbp` are the shim's own and never loaded.
const INT_NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// Index of a register in an image, below 16.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u8);

impl Place {
    /// Of the integer register of this name, if an image has it.
    pub(crate) fn of_int(name: &str) -> Option<Place> {
        let names = (0..).zip(INT_NAMES);
        let found = names.filter(|(_, own)| *own != "rsp" && *own != "rbp");
        Some(Place(found.into_iter().find(|(_, own)| *own == name)?.0))
    }

    /// Of the vector register of this name, if an image has it.
    pub(crate) fn of_float(name: &str) -> Option<Place> {
        let number = name.strip_prefix("xmm")?.parse().ok();
        number.filter(|&n| n < 16).map(Place)
    }
}

impl CallImage {
    /// An image of zeroes.
    pub(crate) fn new() -> CallImage {
        CallImage {
            code: 0,
            frame: std::ptr::null_mut(),
            frame_words: 0,
            ints: [0; 16],
            floats: [0; 16],
        }
    }

    /// Sets an integer register.
    #[inline]
    pub(crate) fn set_int(&mut self, Place(n): Place, value: u64) {
        self.ints[usize::from(n)] = value;
    }

    /// Sets the low half of a vector register.
    #[inline]
    pub(crate) fn set_float(&mut self, Place(n): Place, value: u64) {
        self.floats[usize::from(n)] = value;
    }

    /// An integer register.
    #[inline]
    pub(crate) fn int(&self, Place(n): Place) -> u64 {
        self.ints[usize::from(n)]
    }

    /// The low half of a vector register.
    #[inline]
    pub(crate) fn float(&self, Place(n): Place) -> u64 {
        self.floats[usize::from(n)]
    }

    /// Go's current goroutine, in R14.
    pub(crate) fn set_g(&mut self, g: &GBlock) {
        self.ints[14] = std::ptr::from_ref(g).addr() as u64;
    }

    /// Calls `code` with this register file and a copy of `frame`, whose length must be a multiple
    /// of two words; registers and frame are stored back.
    ///
    /// # Safety
    /// A function of an ABI for which the image was made is at `code`; it keeps `rbp` and returns
    /// to its caller.
    pub(crate) unsafe fn call(&mut self, code: usize, frame: &mut [u64]) {
        debug_assert!(frame.len().is_multiple_of(2));
        self.code = code;
        self.frame = frame.as_mut_ptr().cast();
        self.frame_words = frame.len();
        // SAFETY: I5: the caller's promise; the shim reads the image and the frame, both borrowed
        // here.
        unsafe { shim::call(self) };
    }
}

#[cfg(all(target_arch = "x86_64", unix))]
mod shim {
    use super::CallImage;
    use std::mem::offset_of;

    unsafe extern "C-unwind" {
        #[link_name = "fing_stubs_call_image"]
        fn call_image(image: *mut CallImage);
    }

    pub(super) unsafe fn call(image: &mut CallImage) {
        // SAFETY: I5: handed on from `CallImage::call`.
        unsafe { call_image(image) };
    }

    // Frame of the shim, from rbp down: rbp+8  return address     rbp-8 .. rbp-40  rbx r12 r13 r14
    // r15 rbp    caller's rbp       rbp-48  code     rbp-56  image     rbp-64  (alignment) below
    // the callee's frame, its lowest word at rsp: the argument base At the call: every register but
    // rsp and rbp as the image says, direction flag clear. Pages of a large frame are touched one
    // by one on the way down, so that a guard page is hit and not jumped over. After the call only
    // rsp and rbp are trusted.
    std::arch::global_asm!(
        ".globl fing_stubs_call_image",
        ".p2align 4",
        "fing_stubs_call_image:",
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        ".cfi_offset rbx, -24",
        ".cfi_offset r12, -32",
        ".cfi_offset r13, -40",
        ".cfi_offset r14, -48",
        ".cfi_offset r15, -56",
        "push qword ptr [rdi + {code}]",
        "push rdi",
        "push rdi",
        "mov r15, rdi",
        "mov rcx, [r15 + {frame_words}]",
        "lea rax, [rcx * 8]",
        "2: cmp rax, 4096",
        "jb 3f",
        "sub rsp, 4096",
        "test qword ptr [rsp], rsp",
        "sub rax, 4096",
        "jmp 2b",
        "3: sub rsp, rax",
        "mov rsi, [r15 + {frame}]",
        "mov rdi, rsp",
        "rep movsq",
        "movsd xmm0, [r15 + {floats} + 0]",
        "movsd xmm1, [r15 + {floats} + 8]",
        "movsd xmm2, [r15 + {floats} + 16]",
        "movsd xmm3, [r15 + {floats} + 24]",
        "movsd xmm4, [r15 + {floats} + 32]",
        "movsd xmm5, [r15 + {floats} + 40]",
        "movsd xmm6, [r15 + {floats} + 48]",
        "movsd xmm7, [r15 + {floats} + 56]",
        "movsd xmm8, [r15 + {floats} + 64]",
        "movsd xmm9, [r15 + {floats} + 72]",
        "movsd xmm10, [r15 + {floats} + 80]",
        "movsd xmm11, [r15 + {floats} + 88]",
        "movsd xmm12, [r15 + {floats} + 96]",
        "movsd xmm13, [r15 + {floats} + 104]",
        "movsd xmm14, [r15 + {floats} + 112]",
        "movsd xmm15, [r15 + {floats} + 120]",
        "mov rax, [r15 + {ints} + 0]",
        "mov rcx, [r15 + {ints} + 8]",
        "mov rdx, [r15 + {ints} + 16]",
        "mov rbx, [r15 + {ints} + 24]",
        "mov rsi, [r15 + {ints} + 48]",
        "mov rdi, [r15 + {ints} + 56]",
        "mov r8, [r15 + {ints} + 64]",
        "mov r9, [r15 + {ints} + 72]",
        "mov r10, [r15 + {ints} + 80]",
        "mov r11, [r15 + {ints} + 88]",
        "mov r12, [r15 + {ints} + 96]",
        "mov r13, [r15 + {ints} + 104]",
        "mov r14, [r15 + {ints} + 112]",
        "mov r15, [r15 + {ints} + 120]",
        "cld",
        "call [rbp - 48]",
        "xchg r15, [rbp - 56]",
        "mov [r15 + {ints} + 0], rax",
        "mov [r15 + {ints} + 8], rcx",
        "mov [r15 + {ints} + 16], rdx",
        "mov [r15 + {ints} + 24], rbx",
        "mov [r15 + {ints} + 48], rsi",
        "mov [r15 + {ints} + 56], rdi",
        "mov [r15 + {ints} + 64], r8",
        "mov [r15 + {ints} + 72], r9",
        "mov [r15 + {ints} + 80], r10",
        "mov [r15 + {ints} + 88], r11",
        "mov [r15 + {ints} + 96], r12",
        "mov [r15 + {ints} + 104], r13",
        "mov [r15 + {ints} + 112], r14",
        "mov rax, [rbp - 56]",
        "mov [r15 + {ints} + 120], rax",
        "movsd [r15 + {floats} + 0], xmm0",
        "movsd [r15 + {floats} + 8], xmm1",
        "movsd [r15 + {floats} + 16], xmm2",
        "movsd [r15 + {floats} + 24], xmm3",
        "movsd [r15 + {floats} + 32], xmm4",
        "movsd [r15 + {floats} + 40], xmm5",
        "movsd [r15 + {floats} + 48], xmm6",
        "movsd [r15 + {floats} + 56], xmm7",
        "movsd [r15 + {floats} + 64], xmm8",
        "movsd [r15 + {floats} + 72], xmm9",
        "movsd [r15 + {floats} + 80], xmm10",
        "movsd [r15 + {floats} + 88], xmm11",
        "movsd [r15 + {floats} + 96], xmm12",
        "movsd [r15 + {floats} + 104], xmm13",
        "movsd [r15 + {floats} + 112], xmm14",
        "movsd [r15 + {floats} + 120], xmm15",
        "mov rcx, [r15 + {frame_words}]",
        "mov rdi, [r15 + {frame}]",
        "mov rsi, rsp",
        "cld",
        "rep movsq",
        "lea rsp, [rbp - 40]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        code = const offset_of!(CallImage, code),
        frame = const offset_of!(CallImage, frame),
        frame_words = const offset_of!(CallImage, frame_words),
        ints = const offset_of!(CallImage, ints),
        floats = const offset_of!(CallImage, floats),
    );
}

#[cfg(not(all(target_arch = "x86_64", unix)))]
mod shim {
    use super::CallImage;

    pub(super) unsafe fn call(_image: &mut CallImage) {
        unreachable!("no interpreter is made where HAS_SHIM is false")
    }
}
