//! Veneers of entries: the few encoded instructions around an entry's body.
//!
//! A foreign caller's registers are out of Cranelift's reach: Go's are none of C's, and which slot
//! was called has to come in some register too. So the code of an entry has three parts.
//!
//! 1. One *entry* for each slot, at the address that the foreign caller has: it loads the slot's
//!    address, which lies behind it, and jumps to the veneer that the slot names. It is written
//!    once and never changed.
//! 2. The *veneer*, one for each key: it makes a frame, stores the argument registers to the
//!    *image* there, calls the body, and loads the result registers from the image.
//! 3. The *body*, one for each key, made by Cranelift: see [`lower`](super::lower). Where it would
//!    move nothing, the veneer for amd64 calls the handler itself.
//!
//! Typed closures can have a veneer of their own, which [jumps](crate::entry) to them.
//!
//! An entry of a module of the embedder's is a veneer alone, which the body
//! [follows](Way::Following): it belongs to one handler, and there is no slot.
//!
//! | the veneer puts | into |
//! |---|---|
//! | the address of the image | integer argument 0 of the C convention |
//! | the address of the slot | integer argument 1 |
//! | the slot's state, read there | integer argument 2 |
//! | the caller's argument base | integer argument 3 |
//!
//! Entry, veneer and body begin with the machine's landing pad (`endbr64`, `bti c`), since all
//! three are reached by an indirect branch; a body that follows its veneer is not. Every veneer of
//! a machine has its frame pointer at the same place, so unwinders see them alike.
#![forbid(unsafe_code)]

mod aarch64;
mod riscv64;
mod s390x;
mod x86_64;

use super::moves::{EntryKey, HiddenPointer};
use crate::unwind::CallState;
use crate::veneer::Encoded;
use crate::{Abi, Arch, Convention, Family, RegClass};

/// Offset in a slot of the veneer's address.
pub(crate) const VENEER_OFFSET: i32 = 0;
/// Offset in a slot of its state.
pub(crate) const STATE_OFFSET: i32 = 8;
/// Offset in a slot of the handler's address.
pub(crate) const HANDLER_OFFSET: i32 = 16;

/// What a veneer has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) abi: Abi,
    /// Positions of the argument and result registers in use.
    int_arguments: Vec<u8>,
    float_arguments: Vec<u8>,
    int_results: Vec<u8>,
    float_results: Vec<u8>,
    has_hidden: bool,
    pub(crate) way: Way,
}

/// What a veneer calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The body, whose address follows the veneer.
    Body,
    /// The handler: the blocks are in the image.
    Handler(Direct),
    /// The body, which itself follows the veneer, at the next multiple of [`BODY_ALIGNMENT`]. There
    /// is no slot: integer arguments 1 and 2 are anything.
    Following,
}

/// Where a body that [follows](Way::Following) its veneer begins.
pub(crate) const BODY_ALIGNMENT: usize = 16;

/// A call of the handler without a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direct {
    /// Offsets of the blocks in the image.
    pub(crate) arguments: i32,
    pub(crate) results: i32,
    /// Words of results.
    pub(crate) words: u32,
    /// Number of the code.
    pub(crate) code: u64,
}

/// A register, by the machine's name, and its word in the image.
type Word = (&'static str, i32);

impl Plan {
    pub(crate) fn of(key: &EntryKey) -> Plan {
        Plan {
            abi: key.abi(),
            int_arguments: key.arguments_in(RegClass::Int),
            float_arguments: key.arguments_in(RegClass::Float),
            int_results: key.results_in(RegClass::Int),
            float_results: key.results_in(RegClass::Float),
            has_hidden: key.hidden == Some(HiddenPointer::OwnRegister),
            way: Way::Body,
        }
    }

    /// Whether the call is of a slot, whose address comes in a register.
    fn has_slot(&self) -> bool {
        self.way != Way::Following
    }

    /// The word of an argument register.
    pub(crate) fn int(&self, position: u8) -> i32 {
        8 * place(&self.int_arguments, position)
    }

    /// The 16 bytes of a float argument register, which hold it as memory would; where a float
    /// register has 8, the first 8.
    pub(crate) fn float(&self, position: u8) -> i32 {
        let ints = words(&self.int_arguments);
        ints + 16 * place(&self.float_arguments, position)
    }

    /// The word of a hidden result pointer with a register of its own.
    pub(crate) fn hidden(&self) -> i32 {
        words(&self.int_arguments) + 16 * self.float_arguments.len() as i32
    }

    fn results(&self) -> i32 {
        self.hidden() + 16 * i32::from(self.has_hidden)
    }

    /// The word of a result register.
    pub(crate) fn int_result(&self, position: u8) -> i32 {
        self.results() + 8 * place(&self.int_results, position)
    }

    /// The 16 bytes of a float result register.
    pub(crate) fn float_result(&self, position: u8) -> i32 {
        self.results() + words(&self.int_results) + 16 * place(&self.float_results, position)
    }

    /// Bytes of the image, a multiple of 16.
    fn bytes(&self) -> i32 {
        self.results() + words(&self.int_results) + 16 * self.float_results.len() as i32
    }

    /// First of `size` bytes in the word of an integer register, from byte `byte` on, counted from
    /// the least significant.
    pub(crate) fn byte_of_int(&self, byte: u8, size: u32) -> i32 {
        if self.abi.machine().big_endian {
            8 - i32::from(byte) - size as i32
        } else {
            i32::from(byte)
        }
    }

    /// Bytes from the stack pointer at the call instruction up to the argument base.
    fn argument_base(&self) -> i32 {
        match self.abi.native_table() {
            Some(table) => table.argument_base as i32,
            None => self.abi.machine().argument_base as i32,
        }
    }

    fn is_go(&self) -> bool {
        self.abi.family() == Family::Go
    }

    fn is_fastcall(&self) -> bool {
        self.abi.convention() == Some(Convention::Fastcall)
    }

    /// The integer registers to store.
    fn stores(&self) -> Vec<Word> {
        let mut words = self.words(&self.int_arguments, RegClass::Int, Plan::int, true);
        let hidden = self.abi.native_table().and_then(|table| table.hidden);
        words.extend(
            hidden
                .filter(|_| self.has_hidden)
                .map(|name| (name, self.hidden())),
        );
        words
    }

    /// The float registers to store.
    fn float_stores(&self) -> Vec<Word> {
        self.words(&self.float_arguments, RegClass::Float, Plan::float, true)
    }

    /// The integer registers to load.
    fn loads(&self) -> Vec<Word> {
        self.words(&self.int_results, RegClass::Int, Plan::int_result, false)
    }

    /// The float registers to load.
    fn float_loads(&self) -> Vec<Word> {
        self.words(
            &self.float_results,
            RegClass::Float,
            Plan::float_result,
            false,
        )
    }

    fn words(
        &self,
        positions: &[u8],
        class: RegClass,
        word: fn(&Plan, u8) -> i32,
        arguments: bool,
    ) -> Vec<Word> {
        let names = if arguments {
            self.abi.arg_registers(class)
        } else {
            self.abi.result_registers(class)
        };
        let one = |&n: &u8| Some((*names.get(usize::from(n))?, word(self, n)));
        positions.iter().filter_map(one).collect()
    }
}

/// Bytes of so many words, a multiple of 16.
fn words(positions: &[u8]) -> i32 {
    8 * positions.len().next_multiple_of(2) as i32
}

fn place(positions: &[u8], position: u8) -> i32 {
    positions.partition_point(|&n| n < position) as i32
}

/// The number of a register that its machine calls by a letter and a number.
fn number(name: &str) -> Result<u32, String> {
    let number = name.get(1..).and_then(|digits| digits.parse().ok());
    number
        .filter(|&n: &u32| n < 32)
        .ok_or_else(|| format!("register {name:?}, wanted a letter and a number below 32"))
}

/// Encodes a [veneer that jumps](crate::entry) for callers of the native convention: the registers
/// of the slot's address and of the number, and the number. The function's address follows at the
/// next multiple of 8.
type Jump = fn([&str; 2], u64) -> Result<Encoded, String>;

/// The machine-dependent part.
struct Machine {
    landing_pad: &'static [u8],
    /// An entry for callers of a family, up to the slot's address, which follows at the next
    /// multiple of 8.
    entry: fn(Family) -> Vec<u8>,
    /// A veneer up to the body's address, which follows at the next multiple of 8 also where
    /// there is no body; or up to a [body that follows](Way::Following).
    veneer: fn(&Plan) -> Result<Encoded, String>,
    /// Whether the veneer can call the handler itself.
    is_direct: bool,
    jump: Option<Jump>,
    /// DWARF numbers: of the frame pointer and of the return address; and where the caller's
    /// registers are from the canonical frame address, which lies so many bytes above the frame
    /// pointer.
    frame_pointer: u16,
    return_address: u16,
    cfa: i64,
    saved: &'static [(u16, i64)],
}

fn machine(arch: Arch) -> Option<&'static Machine> {
    match arch {
        Arch::Amd64 => Some(&x86_64::MACHINE),
        Arch::Arm64 => Some(&aarch64::MACHINE),
        Arch::Riscv64 => Some(&riscv64::MACHINE),
        Arch::S390x => Some(&s390x::MACHINE),
        _ => None,
    }
}

/// Whether callers of this ABI can be served.
pub(crate) fn has_entries(abi: Abi) -> bool {
    let is_tail = abi.convention().is_some_and(Convention::is_tail);
    machine(abi.arch()).is_some() && !is_tail
}

/// Whether veneers of this machine do without a body where it would move nothing.
pub(crate) fn is_direct(arch: Arch) -> bool {
    machine(arch).is_some_and(|machine| machine.is_direct)
}

/// Instructions where an indirect branch may land.
pub(crate) fn landing_pad(arch: Arch) -> &'static [u8] {
    machine(arch).map_or(&[], |machine| machine.landing_pad)
}

/// Bytes of an entry: instructions, and the slot's address in its last 8.
pub(crate) fn entry_bytes(abi: Abi) -> usize {
    machine(abi.arch()).map_or(0, |machine| {
        (machine.entry)(abi.family()).len().next_multiple_of(8) + 8
    })
}

/// The entry of the slot at `slot`, for callers of the family of `abi`.
pub(crate) fn entry(abi: Abi, slot: u64) -> Vec<u8> {
    let Some(machine) = machine(abi.arch()) else {
        return Vec::new();
    };
    with_word((machine.entry)(abi.family()), abi.arch(), slot)
}

/// The veneer's instructions; its last 8 bytes are for [the body's address](aim), unless the body
/// [follows](Way::Following).
pub(crate) fn encode(plan: &Plan) -> Result<Encoded, String> {
    let arch = plan.abi.arch();
    let machine = machine(arch).ok_or_else(|| format!("no veneer for {arch}"))?;
    let mut code = (machine.veneer)(plan)?;
    if plan.way != Way::Following {
        code.bytes = with_word(code.bytes, arch, 0);
    }
    Ok(code)
}

/// Whether typed closures can do without a veneer.
pub(crate) fn has_jumps(arch: Arch) -> bool {
    machine(arch).is_some_and(|machine| machine.jump.is_some())
}

/// A veneer that jumps to `function`.
pub(crate) fn jump(
    abi: Abi,
    registers: [&str; 2],
    number: u64,
    function: u64,
) -> Result<Encoded, String> {
    let arch = abi.arch();
    let jump = machine(arch).and_then(|machine| machine.jump);
    let mut code =
        jump.ok_or_else(|| format!("no veneer that jumps for {arch}"))?(registers, number)?;
    code.bytes = with_word(code.bytes, arch, function);
    Ok(code)
}

/// Writes the body's address into a veneer.
pub(crate) fn aim(veneer: &mut [u8], arch: Arch, body: u64) {
    let at = veneer.len().saturating_sub(8);
    veneer[at..].copy_from_slice(&word(arch, body));
}

fn with_word(mut code: Vec<u8>, arch: Arch, value: u64) -> Vec<u8> {
    code.resize(code.len().next_multiple_of(8), 0);
    code.extend(word(arch, value));
    code
}

fn word(arch: Arch, value: u64) -> [u8; 8] {
    if Abi::go(arch).machine().big_endian {
        value.to_be_bytes()
    } else {
        value.to_le_bytes()
    }
}

/// How unwinders see a veneer's call, in the terms of the body's.
pub(crate) fn call_state(arch: Arch, body: &CallState) -> CallState {
    machine(arch).map_or_else(
        || body.clone(),
        |machine| {
            let cfa = (machine.frame_pointer, machine.cfa);
            body.with_frame(machine.return_address, cfa, machine.saved)
        },
    )
}
