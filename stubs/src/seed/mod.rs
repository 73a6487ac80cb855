//! The finalizers of Go's own register-ABI test, by hand: `func(*T) (int, float32, [10]byte)` and
//! its interface twin, for every number of argument registers. For demonstrations, tests and
//! benchmarks. Contains unsafe code.
//!
//! A callee looks at the machine itself: it takes its argument from the very register or frame word
//! the ABI names, writes down all argument registers and the frame's first words as it found them,
//! and then leaves everything that its ABI does not promise changed. It knows where to write by its
//! closure context: the address of an [`Observation`], laid out like a Go closure, code address
//! first.
//!
//! The object is a word which is the address of an `i64`, the number the finalizer confirms. The
//! callees of the machine's C convention have no context: there the object's second word is the
//! address of the [`Observation`].
//!
//! Where the results `(5151, 4.0, [1, 2, .., 10])` go; offsets are from the argument base, `I0` and
//! `I1` are the first two integer registers, `F0` is the first float register:
//!
//! ```text
//! registers   argument          int     float32  [10]byte  spill    frame
//! pointer
//!   0         [0]               [8]     [16]     [20..30]  -        32
//!   1..       I0                I0      F0       [0..10]   [16]     24
//! interface
//!   0         [0] [8]           [16]    [24]     [28..38]  -        40
//!   1         [0] [8]           I0      F0       [16..26]  -        32
//!   2..       I0 I1             I0      F0       [0..10]   [16] [24] 32
//! ```
//!
//! The assembly is one file for each machine: x86-64, arm64, riscv64, s390x. On any other machine
//! there are no callees, and every function here returns `None`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A callee's code, which is no Rust function: it is called through its address only.
type Entry = unsafe extern "C" fn();

/// The entries of one case, for each number of argument registers.
macro_rules! each_count {
    ($entry:ident: $($count:literal)*) => { [$($entry::<$count> as Entry),*] };
}

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
mod machine;

/// The most argument registers that a Go callee on this machine has; [`pointer()`] and
/// [`interface()`] are there for 0 to this many.
pub const MAX_INT_ARG_REGS: u8 = machine::INT_ARG_REGS as u8;

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
    /// The integer argument registers as found, in the order in which Go's ABI uses them (Go
    /// callees).
    pub ints: [AtomicU64; machine::INT_ARG_REGS],
    /// The stack pointer as found (Go callees). On x86-64 it is the address of the return address.
    pub sp: AtomicU64,
    /// The register of Go's current goroutine as found.
    pub g: AtomicU64,
    /// The register that Go's register ABI holds at zero, as found: both halves of XMM15 on x86-64,
    /// r0 in the first word on s390x. Other machines have none, and write nothing here.
    pub zero: [AtomicU64; 2],
    /// The flags as found: RFLAGS on x86-64, NZCV on arm64, the condition code (bits 28 and 29) on
    /// s390x. riscv64 has none.
    pub flags: AtomicU64,
    /// The control register of floating point as found: MXCSR, FPCR, fcsr or FPC.
    pub float_control: AtomicU64,
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
    /// The goroutine's register does not point at zeroes where Go's stack check looks (register ABI
    /// only).
    G = 8,
    /// The register that is held at zero is not zero (register ABI only; x86-64 and s390x).
    Zero = 16,
    /// The direction flag is set (x86-64).
    Direction = 32,
    /// The stack pointer is not aligned as the ABI says. For Go: to 16 bytes on arm64, to 8
    /// elsewhere. For C: to 8 bytes on s390x, to 16 elsewhere.
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
    address(machine::POINTER.get(usize::from(int_arg_regs)))
}

/// Code address of the interface-case callee for `int_arg_regs` argument registers: `func(I) (int,
/// float32, [10]byte)`, where `I` is any interface; its second word is the object's address.
/// Otherwise as [`pointer()`].
pub fn interface(int_arg_regs: u8) -> Option<usize> {
    address(machine::INTERFACE.get(usize::from(int_arg_regs)))
}

/// Code address of a C callee `func(*T)`: a C function of the object's address. The object is two
/// words, see the module's head.
pub fn native_pointer() -> Option<usize> {
    native(0)
}

/// Code address of a C callee `func(I)`: a C function of a struct of two pointers.
pub fn native_interface() -> Option<usize> {
    native(1)
}

/// Code address of a C callee `func(*T) (int, float32, [10]byte)`, whose result is the 24 bytes of
/// a `struct { int64_t; float; uint8_t[10]; }`: every C convention here has the caller pass the
/// address where they go.
pub fn native_pointer_results() -> Option<usize> {
    native(2)
}

/// Code address of a C callee `func(I) (int, float32, [10]byte)`: the argument as in
/// [`native_interface`], the result as in [`native_pointer_results`].
pub fn native_interface_results() -> Option<usize> {
    native(3)
}

/// Code address of a Go callee `func(*T) [7680]uint64` for all registers: it writes all 60 KiB of
/// its result, which are the frame from the argument base up, then the spill slot behind them;
/// counts the call in [`Observation::calls`]; and leaves junk in the registers that a C function
/// would keep.
pub fn sixty_kilobytes() -> Option<usize> {
    address(machine::SIXTY_KILOBYTES.first())
}

/// The C callee at this place of the machine's list.
fn native(place: usize) -> Option<usize> {
    address(machine::NATIVE.get(place))
}

fn address(entry: Option<&Entry>) -> Option<usize> {
    entry.map(|entry| *entry as usize)
}

#[cfg(test)]
mod tests;
