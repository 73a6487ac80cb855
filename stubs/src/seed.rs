//! The finalizers of Go's own register-ABI test, by hand: `func(*T) (int, float32, [10]byte)` and
//! its interface twin, for every number of argument registers. For demonstrations, tests and
//! benchmarks on Linux, x86-64. Contains unsafe code.
//!
//! A callee looks at the machine itself: it takes its argument from the very register or frame word
//! the ABI names, writes down all registers and the frame's first words as it found them, and then
//! leaves everything that its ABI does not promise changed. It knows where to write by its closure
//! context (RDX): the address of an [`Observation`], laid out like a Go closure, code address
//! first.
//!
//! The object is a word which is the address of an `i64`, the number the finalizer confirms. The
//! callees in System V form have no context: there the object's second word is the address of the
//! [`Observation`].
//!
//! Where the results `(5151, 4.0, [1, 2, .., 10])` go; offsets are from the argument base, which is
//! RSP + 8 at a callee's entry:
//!
//! ```text
//! registers   argument          int     float32  [10]byte  spill    frame
//! pointer
//!   0         [0]               [8]     [16]     [20..30]  -        32
//!   1..=9     RAX               RAX     XMM0     [0..10]   [16]     24
//! interface
//!   0         [0] [8]           [16]    [24]     [28..38]  -        40
//!   1         [0] [8]           RAX     XMM0     [16..26]  -        32
//!   2..=9     RAX RBX           RAX     XMM0     [0..10]   [16] [24] 32
//! ```

use std::arch::naked_asm;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The most argument registers a Go callee on amd64 has; [`pointer()`] and [`interface()`] are
/// there for 0 to this many.
pub const MAX_INT_ARG_REGS: u8 = 9;

/// What a seed callee was told to expect, and what it found. Its address is the callee's closure
/// context.
///
/// All words may be read at any time; what a callee wrote is there once its call has returned.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Observation {
    /// The callee's code address: a Go closure begins with it. The callee compares it with its own
    /// address.
    pub code: AtomicUsize,
    /// The argument words to expect, 0 for any: word 0 of the interface (unused in the pointer
    /// case), the object's address.
    pub expected: [AtomicUsize; 2],
    /// Address of an array of `i64` that receives the confirmed number of each call, in order;
    /// unused if `log_len` is 0.
    pub log: AtomicUsize,
    /// Length of the array at `log`; later calls are counted, not logged.
    pub log_len: AtomicU64,

    /// Calls so far.
    pub calls: AtomicU64,
    /// What was wrong in any call so far: a sum of the [`Fault`] bits.
    pub faults: AtomicU64,
    /// The number behind the last object. Not touched by a call whose argument is not the expected
    /// one.
    pub confirmed: AtomicU64,
    /// The number of argument registers of the callee that ran last.
    pub int_arg_regs: AtomicU64,
    /// RAX RBX RCX RDI RSI R8 R9 R10 R11 as found (but for RAX in the System V callees).
    pub ints: [AtomicU64; 9],
    /// RSP as found: the address of the return address (Go callees).
    pub sp: AtomicU64,
    /// R14 as found: Go's current goroutine.
    pub g: AtomicU64,
    /// XMM15 as found: zero in Go's register ABI.
    pub zero: [AtomicU64; 2],
    /// RFLAGS as found.
    pub flags: AtomicU64,
    /// MXCSR as found, in the low 32 bits.
    pub mxcsr: AtomicU64,
    /// The first words at the argument base as found (Go callees).
    pub frame: [AtomicU64; 5],
}

/// What a seed callee can find wrong; the bits of [`Observation::faults`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
#[non_exhaustive]
pub enum Fault {
    /// The context does not begin with this callee's address.
    Context = 1,
    /// Word 0 of the interface is not the expected one.
    Word0 = 2,
    /// The object's address is not the expected one, or null.
    Object = 4,
    /// R14 does not point at zeroes where Go's stack check looks (register ABI only).
    G = 8,
    /// XMM15 is not zero (register ABI only).
    Zero = 16,
    /// The direction flag is set.
    Direction = 32,
    /// The argument base is not aligned as the ABI says: to 8 bytes for Go, to 16 for System V.
    Stack = 64,
}

impl Observation {
    /// An observation for the callee at `code` ([`pointer()`], [`interface()`], ..) that expects
    /// nothing of its argument.
    pub fn new(code: usize) -> Observation {
        Observation {
            code: AtomicUsize::new(code),
            ..Observation::default()
        }
    }

    /// The closure context to register the callee with: this observation's address. It must stay in
    /// place while calls can come.
    pub fn context(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The number behind the last object.
    pub fn confirmed(&self) -> i64 {
        self.confirmed.load(Ordering::Relaxed) as i64
    }

    /// What was wrong in any call so far; empty if all was well.
    pub fn faults(&self) -> Vec<Fault> {
        use Fault::{Context, Direction, G, Object, Stack, Word0, Zero};
        let found = self.faults.load(Ordering::Relaxed);
        [Context, Word0, Object, G, Zero, Direction, Stack]
            .into_iter()
            .filter(|fault| found & *fault as u64 != 0)
            .collect()
    }
}

/// Code address of the pointer-case callee for `int_arg_regs` argument registers: `func(*T) (int,
/// float32, [10]byte)`.
///
/// `None` above [`MAX_INT_ARG_REGS`]. The address is a Go function under that ABI, whose closure
/// context must be the address of an [`Observation`] and whose argument must be null or the address
/// of a word holding the address of an `i64`.
pub fn pointer(int_arg_regs: u8) -> Option<usize> {
    const ENTRIES: [unsafe extern "C" fn(); 10] = [
        pointer_entry::<0>,
        pointer_entry::<1>,
        pointer_entry::<2>,
        pointer_entry::<3>,
        pointer_entry::<4>,
        pointer_entry::<5>,
        pointer_entry::<6>,
        pointer_entry::<7>,
        pointer_entry::<8>,
        pointer_entry::<9>,
    ];
    ENTRIES
        .get(usize::from(int_arg_regs))
        .map(|entry| *entry as usize)
}

/// Code address of the interface-case callee for `int_arg_regs` argument registers: `func(I) (int,
/// float32, [10]byte)`, where `I` is any interface; its second word is the object's address.
/// Otherwise as [`pointer()`].
pub fn interface(int_arg_regs: u8) -> Option<usize> {
    const ENTRIES: [unsafe extern "C" fn(); 10] = [
        interface_entry::<0>,
        interface_entry::<1>,
        interface_entry::<2>,
        interface_entry::<3>,
        interface_entry::<4>,
        interface_entry::<5>,
        interface_entry::<6>,
        interface_entry::<7>,
        interface_entry::<8>,
        interface_entry::<9>,
    ];
    ENTRIES
        .get(usize::from(int_arg_regs))
        .map(|entry| *entry as usize)
}

/// Code address of a System V callee `func(*T)`: the object's address in RDI. The object is two
/// words, see the module's head.
pub fn sysv_pointer() -> usize {
    sysv_pointer_entry as *const () as usize
}

/// Code address of a System V callee `func(I)`: the interface's words in RDI and RSI.
pub fn sysv_interface() -> usize {
    sysv_interface_entry as *const () as usize
}

/// Code address of a System V callee `func(*T) (int, float32, [10]byte)`: RDI is the address for
/// the 24 bytes of results (which comes back in RAX), the object's address is in RSI.
pub fn sysv_pointer_results() -> usize {
    sysv_pointer_results_entry as *const () as usize
}

/// Code address of a System V callee `func(I) (int, float32, [10]byte)`: RDI as in
/// [`sysv_pointer_results`], the words in RSI and RDX.
pub fn sysv_interface_results() -> usize {
    sysv_interface_results_entry as *const () as usize
}

/// Each number of registers has an entry of its own, so that each has its own address and the
/// observation tells which one ran. At the jump: R12 = the number, R13 = the entry's address (both
/// are scratch at a Go call); all other registers as found.
macro_rules! entries {
    ($($entry:ident => [$zero:ident, $one:ident, $more:ident]);* $(;)?) => {$(
        #[unsafe(naked)]
        unsafe extern "C" fn $entry<const N: usize>() {
            naked_asm!(
                "lea r13, [rip + {me}]",
                "mov r12d, {n}",
                ".if {n} == 0", "jmp {zero}", ".endif",
                ".if {n} == 1", "jmp {one}", ".endif",
                "jmp {more}",
                me = sym $entry::<N>, n = const N,
                zero = sym $zero, one = sym $one, more = sym $more,
            )
        }
    )*};
}

entries! {
    pointer_entry => [pointer_0, pointer_1, pointer_1];
    interface_entry => [interface_0, interface_1, interface_2];
}

/// A callee's body. At its start: RDX = observation, RSP = address of the return address, and as
/// [`entries`] leaves them R12 and R13.
///
/// The parts a case supplies run with RDX and RSP as at the start and all else saved: `word0`,
/// `object`: where the argument words are, as operands; `abi`: what this ABI promises besides;
/// `frame`: stores of results, and of junk over arguments and spill slots, which are the callee's;
/// `registers`: result registers, over the junk.
macro_rules! callee {
    ($name:ident, abi: [$($abi:literal),*], registers: [$($registers:literal),*],
     word0: $word0:literal, object: $object:literal, frame: [$($results:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                // Everything as found.
                "mov [rdx+{ints}], rax", "mov [rdx+{ints}+8], rbx", "mov [rdx+{ints}+16], rcx",
                "mov [rdx+{ints}+24], rdi", "mov [rdx+{ints}+32], rsi", "mov [rdx+{ints}+40], r8",
                "mov [rdx+{ints}+48], r9", "mov [rdx+{ints}+56], r10", "mov [rdx+{ints}+64], r11",
                "mov [rdx+{sp}], rsp", "mov [rdx+{g}], r14", "movups [rdx+{zero}], xmm15",
                "mov [rdx+{int_arg_regs}], r12", "stmxcsr [rdx+{mxcsr}]",
                "pushfq", "pop rax", "mov [rdx+{flags}], rax",
                "mov rax, [rsp+8]", "mov [rdx+{frame}], rax", "mov rax, [rsp+16]",
                "mov [rdx+{frame}+8], rax",
                "mov rax, [rsp+24]", "mov [rdx+{frame}+16], rax", "mov rax, [rsp+32]",
                "mov [rdx+{frame}+24], rax",
                "mov rax, [rsp+40]", "mov [rdx+{frame}+32], rax",
                // Faults collect in RCX. RAX and RBX are scratch; the argument words are RSI and
                // RDI from here on.
                concat!("mov rsi, ", $word0), concat!("mov rdi, ", $object), "xor ecx, ecx",
                "cmp [rdx], r13", "je 20f", "or ecx, 1", "20:",
                "mov rax, [rdx+{expected}]", "test rax, rax", "jz 21f", "cmp rax, rsi", "je 21f",
                "or ecx, 2", "21:",
                "bt qword ptr [rdx+{flags}], 10", "jnc 22f", "or ecx, 32", "cld", "22:",
                "test spl, 7", "jz 25f", "or ecx, 64", "25:",
                $($abi,)*
                // The object: confirm its number unless it is not the right one.
                "mov rax, [rdx+{expected}+8]", "test rax, rax", "cmovz rax, rdi",
                "test rdi, rdi", "jz 23f", "cmp rax, rdi", "jne 23f",
                "mov rax, [rdi]", "mov rax, [rax]", "mov [rdx+{confirmed}], rax",
                "mov rbx, [rdx+{calls}]", "cmp rbx, [rdx+{log_len}]", "jae 24f",
                "mov rsi, [rdx+{log}]", "mov [rsi+8*rbx], rax", "jmp 24f",
                "23:", "or ecx, 4", "24:",
                "or [rdx+{faults}], rcx", "inc qword ptr [rdx+{calls}]",
                // Results and junk in the frame: RBX = bytes 1..8, RCX = bytes 9 and 10, RSI =
                // junk, EDI = 4.0.
                "movabs rbx, 0x0807060504030201", "mov ecx, 0x0a09",
                "movabs rsi, 0x6a756e6b6a756e6b", "mov edi, 0x40800000",
                $($results,)*
                // Junk in every register but RSP and RBP, which alone survive a Go call.
                "mov rax, rsi", "mov rbx, rsi", "mov rcx, rsi", "mov rdx, rsi", "mov rdi, rsi",
                "mov r8, rsi", "mov r9, rsi",
                "mov r10, rsi", "mov r11, rsi", "mov r12, rsi", "mov r13, rsi", "mov r14, rsi",
                "mov r15, rsi",
                "pcmpeqd xmm0, xmm0", "pcmpeqd xmm1, xmm1", "pcmpeqd xmm2, xmm2",
                "pcmpeqd xmm3, xmm3",
                "pcmpeqd xmm4, xmm4", "pcmpeqd xmm5, xmm5", "pcmpeqd xmm6, xmm6",
                "pcmpeqd xmm7, xmm7",
                "pcmpeqd xmm8, xmm8", "pcmpeqd xmm9, xmm9", "pcmpeqd xmm10, xmm10",
                "pcmpeqd xmm11, xmm11",
                "pcmpeqd xmm12, xmm12", "pcmpeqd xmm13, xmm13", "pcmpeqd xmm14, xmm14",
                "pcmpeqd xmm15, xmm15",
                $($registers,)*
                "ret",
                expected = const offset_of!(Observation, expected),
                log = const offset_of!(Observation, log),
                log_len = const offset_of!(Observation, log_len),
                calls = const offset_of!(Observation, calls),
                faults = const offset_of!(Observation, faults),
                confirmed = const offset_of!(Observation, confirmed),
                int_arg_regs = const offset_of!(Observation, int_arg_regs),
                ints = const offset_of!(Observation, ints),
                sp = const offset_of!(Observation, sp),
                g = const offset_of!(Observation, g),
                zero = const offset_of!(Observation, zero),
                flags = const offset_of!(Observation, flags),
                mxcsr = const offset_of!(Observation, mxcsr),
                frame = const offset_of!(Observation, frame),
            )
        }
    };
}

/// What only the register ABI promises: R14 points at Go's goroutine, of which the stack check
/// reads word 2, and XMM15 is zero. And its result registers: RAX, and XMM0, whose upper bits are
/// anyone's.
macro_rules! register_callee {
    ($name:ident, $($rest:tt)*) => {
        callee! {
            $name,
            abi: ["cmp qword ptr [r14+16], 0", "je 26f", "or ecx, 8", "26:",
                  "mov rax, [rdx+{zero}]", "or rax, [rdx+{zero}+8]", "jz 27f", "or ecx, 16", "27:"],
            registers: ["mov eax, 5151", "movabs rdi, 0x6a756e6b40800000", "movq xmm0, rdi",
                "mov rdi, rsi"],
            $($rest)*
        }
    };
}

callee! {
    pointer_0, abi: [], registers: [], word0: "0", object: "[rsp+8]",
    frame: ["mov [rsp+8], rsi", "mov qword ptr [rsp+16], 5151", "mov [rsp+24], edi",
        "mov [rsp+28], rbx", "mov [rsp+36], cx"]
}
callee! {
    interface_0, abi: [], registers: [], word0: "[rsp+8]", object: "[rsp+16]",
    frame: ["mov [rsp+8], rsi", "mov [rsp+16], rsi", "mov qword ptr [rsp+24], 5151",
        "mov [rsp+32], edi", "mov [rsp+36], rbx",
            "mov [rsp+44], cx"]
}
register_callee! {
    pointer_1, word0: "0", object: "[rdx+{ints}]",
    frame: ["mov [rsp+8], rbx", "mov [rsp+16], cx", "mov [rsp+24], rsi"]
}
register_callee! {
    interface_1, word0: "[rsp+8]", object: "[rsp+16]",
    frame: ["mov [rsp+8], rsi", "mov [rsp+16], rsi", "mov [rsp+24], rbx", "mov [rsp+32], cx"]
}
register_callee! {
    interface_2, word0: "[rdx+{ints}]", object: "[rdx+{ints}+8]",
    frame: ["mov [rsp+8], rbx", "mov [rsp+16], cx", "mov [rsp+24], rsi", "mov [rsp+32], rsi"]
}

/// The System V callees run the body of the ABI0 interface case on a frame of their own, then give
/// back C's callee-saved registers.
///
/// ```text
/// RSP+48..+88   R15 R14 R13 R12 RBX     saved
/// RSP+40        RDI as found             the address for the results, where there are any
/// RSP+0..+40    ABI0 frame               words at 0 and 8; results at 16, 24 and 28
/// ```
macro_rules! sysv_callee {
    (
        $name:ident,
        word0: $word0:literal,
        object: $object:literal,
        results: [$($results:literal),*]
    ) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "push rbx", "push r12", "push r13", "push r14", "push r15", "push rdi",
                "sub rsp, 40",
                concat!("mov rax, ", $word0), "mov [rsp], rax",
                concat!("mov rax, ", $object), "mov [rsp+8], rax",
                "mov rdx, [rax+8]",
                // 88 bytes and the return address lie between here and the argument base, which is
                // 16-aligned.
                "test spl, 15", "jz 30f", "or qword ptr [rdx+{faults}], 64", "30:",
                "lea r13, [rip+{me}]", "xor r12d, r12d",
                "call {body}",
                $($results,)*
                "add rsp, 48",
                "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx",
                "ret",
                faults = const offset_of!(Observation, faults),
                me = sym $name, body = sym interface_0,
            )
        }
    };
    // The struct { int64_t; float; uint8_t[10]; } behind the hidden pointer: the ABI0 results have
    // its very layout.
    ($name:ident, word0: $word0:literal, object: $object:literal) => {
        sysv_callee! {
            $name, word0: $word0, object: $object,
            results: ["mov rax, [rsp+40]", "mov rcx, [rsp+16]", "mov [rax], rcx",
                "mov rcx, [rsp+24]", "mov [rax+8], rcx",
                      "mov ecx, [rsp+32]", "mov [rax+16], ecx", "mov cx, [rsp+36]",
                      "mov [rax+20], cx"]
        }
    };
}

sysv_callee! { sysv_pointer_entry, word0: "0", object: "rdi", results: [] }
sysv_callee! { sysv_interface_entry, word0: "rdi", object: "rsi", results: [] }
sysv_callee! { sysv_pointer_results_entry, word0: "0", object: "rsi" }
sysv_callee! { sysv_interface_results_entry, word0: "rsi", object: "rdx" }

#[cfg(test)]
mod tests;
