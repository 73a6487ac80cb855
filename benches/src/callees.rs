//! Callees that do next to nothing, under each ABI: what is left of a call's time is the caller's. Room with unsafe code.
//!
//! | callee | System V | Go |
//! |---|---|---|
//! | empty | returns | returns |
//! | counting | increments [`COUNTER`] | increments the second word of its closure, by RDX |
//! | touching | increments the object's first word | the same; the object's address is where the ABI puts it |

use std::arch::naked_asm;
use std::sync::atomic::AtomicU64;

/// What the counting callees in System V form count with.
pub static COUNTER: AtomicU64 = AtomicU64::new(0);

/// What a callee does with its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// Nothing.
    Empty,
    /// Counts its calls, without looking at its argument.
    Counting,
    /// Increments the first word of its object.
    Touching,
}

impl Callee {
    /// All, in the order of the tables.
    pub const ALL: [Callee; 3] = [Callee::Empty, Callee::Counting, Callee::Touching];

    /// One word for tables.
    pub fn name(self) -> &'static str {
        match self {
            Callee::Empty => "empty",
            Callee::Counting => "counting",
            Callee::Touching => "touching",
        }
    }
}

/// What a callee takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// One word: the object's address.
    Pointer,
    /// Two words: an itab, which no callee here looks at, and the object's address.
    Interface,
}

impl Argument {
    /// Both.
    pub const ALL: [Argument; 2] = [Argument::Pointer, Argument::Interface];

    /// One word for tables.
    pub fn name(self) -> &'static str {
        match self {
            Argument::Pointer => "pointer",
            Argument::Interface => "interface",
        }
    }
}

/// Code address of the callee under System V.
pub fn system_v(callee: Callee, argument: Argument) -> usize {
    let entry: unsafe extern "C" fn() = match (callee, argument) {
        (Callee::Empty, _) => empty,
        (Callee::Counting, _) => count_calls,
        (Callee::Touching, Argument::Pointer) => touch_rdi,
        (Callee::Touching, Argument::Interface) => touch_rsi,
    };
    entry as usize
}

/// Code address of the callee under Go's ABI with this many integer argument registers, 0 to 9.
pub fn go(callee: Callee, argument: Argument, int_arg_regs: u8) -> usize {
    let entry: unsafe extern "C" fn() = match (callee, argument, int_arg_regs) {
        (Callee::Empty, ..) => empty,
        (Callee::Counting, ..) => count_by_context,
        (Callee::Touching, Argument::Pointer, 0) => touch_frame_word_0,
        (Callee::Touching, Argument::Pointer, _) => touch_rax,
        (Callee::Touching, Argument::Interface, 0 | 1) => touch_frame_word_1,
        (Callee::Touching, Argument::Interface, _) => touch_rbx,
    };
    entry as usize
}

macro_rules! callees {
    ($($name:ident: [$($line:literal),*] $($sym:ident = $path:path)?;)*) => {$(
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!($($line,)* "ret", $($sym = sym $path,)?)
        }
    )*};
}

callees! {
    empty: [];
    count_calls: ["inc qword ptr [rip + {counter}]"] counter = COUNTER;
    touch_rdi: ["inc qword ptr [rdi]"];
    touch_rsi: ["inc qword ptr [rsi]"];
    count_by_context: ["inc qword ptr [rdx + 8]"];
    touch_rax: ["inc qword ptr [rax]"];
    touch_rbx: ["inc qword ptr [rbx]"];
    touch_frame_word_0: ["mov rax, [rsp + 8]", "inc qword ptr [rax]"];
    touch_frame_word_1: ["mov rax, [rsp + 16]", "inc qword ptr [rax]"];
}
