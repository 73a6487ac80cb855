//! Signature x ABI -> assignment: which bytes of which value travel in which register or at which
//! frame offset.
//!
//! A pure function. For the Go family it is Go's own algorithm for any register counts: a value
//! goes into registers whole or onto the stack whole, and a value that did not fit leaves the
//! registers to later, smaller ones. All offsets count from the *argument base*: the address of the
//! first stack argument, [`Machine::argument_base`] bytes above the stack pointer at the call
//! instruction.
//!
//! ```
//! use fing_stubs::abi::{Abi, Arch};
//! use fing_stubs::assign::{Place, assign};
//!
//! let sig = "func(any) [4]int64".parse()?;
//! let a = assign(&sig, Abi::go(Arch::Amd64))?;
//! let Place::Regs { pieces, spill } = &a.args[0].place else { panic!("not in registers") };
//! assert_eq!((pieces.len(), *spill), (2, Some(32)));
//! assert_eq!(a.results[0].place, Place::Stack { offset: 0 });
//! assert_eq!((a.frame_size, a.spill_size), (48, 16));
//!
//! let abi0 = assign(&sig, Abi::go(Arch::Amd64).with_int_arg_regs(0)?)?;
//! assert_eq!(abi0.args[0].place, Place::Stack { offset: 0 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Machine::argument_base`]: crate::abi::Machine::argument_base
#![forbid(unsafe_code)]

mod go;
mod native;

use crate::abi::{Abi, RegClass};
use crate::quote::short;
use crate::signature::{CLayout, Kind, Need, Role, Signature, Type, WORD};

/// Where everything of one call goes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Assignment {
    /// The convention it was made for.
    pub abi: Abi,
    /// The arguments in order, the receiver of a method first.
    pub args: Vec<Value>,
    /// The results in order.
    pub results: Vec<Value>,
    /// End of the stack arguments, in bytes from the argument base like everything below; not
    /// rounded.
    pub args_end: u64,
    /// Where stack results begin: `args_end` rounded up to a word.
    pub results_off: u64,
    /// End of the stack results, not rounded.
    pub results_end: u64,
    /// Where spill slots begin: `results_end` rounded up to a word. Native: where copies of
    /// arguments passed by reference begin, at a multiple of 16 if there are any.
    pub spill_off: u64,
    /// Bytes of all spill slots, or copies, together, whole words.
    pub spill_size: u64,
    /// Bytes the caller must reserve. Go: `spill_off + spill_size`. Native: rounded up to the stack
    /// alignment.
    pub frame_size: u64,
    /// Integer registers that carry arguments, a hidden result pointer included.
    pub int_in: usize,
    /// Float registers that carry arguments.
    pub float_in: usize,
    /// Integer registers that carry results. A hidden result pointer that comes back is not
    /// counted.
    pub int_out: usize,
    /// Float registers that carry results.
    pub float_out: usize,
    /// Native only: results are written to memory of so many bytes, whose address the caller passes
    /// in integer register 0 or in
    /// [`NativeConvention::hidden`](crate::abi::NativeConvention::hidden).
    pub hidden_result: Option<u64>,
}

/// One argument or result.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Value {
    /// Its type.
    pub ty: Type,
    /// Bytes in memory.
    pub size: u64,
    /// Alignment in memory.
    pub align: u64,
    /// Where it travels.
    pub place: Place,
}

/// Where a value travels: always whole.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Place {
    /// In the frame, at this offset from the argument base, in its ordinary memory layout.
    Stack {
        /// Bytes from the argument base.
        offset: u64,
    },
    /// In registers.
    Regs {
        /// Which bytes are in which register, in order of the bytes.
        pieces: Vec<Piece>,
        /// Go arguments only: where the callee may store the value, in bytes from the argument
        /// base.
        spill: Option<u64>,
    },
    /// Native only: the first word in the last register, the rest on the stack.
    Split {
        /// The first word.
        piece: Piece,
        /// What follows it, in bytes from the argument base.
        offset: u64,
    },
    /// Native only: as the address of a copy that lies in the caller's frame.
    Reference {
        /// Where the address travels: in one register or on the stack.
        pointer: Box<Place>,
        /// The copy, in bytes from the argument base.
        copy: u64,
    },
    /// Native result in the memory behind the hidden pointer.
    Hidden {
        /// Bytes from the hidden pointer.
        offset: u64,
    },
}

/// A part of a value that travels in one register.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Piece {
    /// Kind of register.
    pub class: RegClass,
    /// Place in the convention's sequence of registers of this class, from 0.
    pub index: usize,
    /// First byte of the value that is in it.
    pub off: u64,
    /// How many bytes: 1, 2, 4 or 8; of a struct or union under a native convention any number up
    /// to 8; 16 for a vector or a `long double` in a float register.
    pub size: u64,
    /// First byte of the register that holds it, counted from the least significant. 0 except for
    /// small native results, several of which share a register. Where a lone `float32` sits is the
    /// machine's affair: [`Abi::float32_image`].
    pub reg_off: u64,
    /// Go's type of the part: what a GC map or a debugger would call it. Where a register holds
    /// several scalars, or part of one, an array of bytes.
    pub kind: Type,
}

/// Why a signature can't be called by an ABI.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssignError {
    /// The convention has no place for a value of this type, or more than one.
    #[error("assign: {role} is {}, which {abi} does not pass: {why}", short(.found))]
    NotByValue {
        /// Where in the signature.
        role: Role,
        /// Its type.
        found: Type,
        /// The convention.
        abi: Abi,
        /// The reason.
        why: &'static str,
    },
    /// A call of C's variadic function under Go's ABI.
    #[error("assign: a call with ... of C's, wanted a native convention instead of {abi}")]
    Variadic {
        /// The convention.
        abi: Abi,
    },
}

/// Assigns every value of `sig` its place.
///
/// # Errors
/// For the Go family, a type that only C has, or C's `...`. A native convention takes no array as
/// an argument and no result without bytes; what else it refuses is in its table
/// ([`NativeConvention::undefined`](crate::NativeConvention::undefined)), and what would lie in
/// memory aligned to more bytes than its stack.
pub fn assign(sig: &Signature, abi: Abi) -> Result<Assignment, AssignError> {
    match abi.native_table() {
        None => go::assign(sig, abi),
        Some(convention) => native::assign(sig, abi, convention),
    }
}

/// Go's assignment with a mistake: a value that does not fit into the registers left keeps those
/// that its first parts had taken.
#[cfg(feature = "faults")]
pub(crate) fn assign_without_roll_back(
    sig: &Signature,
    abi: Abi,
) -> Result<Assignment, AssignError> {
    go::assign_with(sig, abi, false)
}

impl Assignment {
    /// Name of the register with this place in the sequence of argument registers; empty if there
    /// is none.
    pub fn arg_register(&self, class: RegClass, index: usize) -> &'static str {
        self.abi
            .arg_registers(class)
            .get(index)
            .copied()
            .unwrap_or_default()
    }

    /// Name of the register with this place in the sequence of result registers; empty if there is
    /// none.
    pub fn result_register(&self, class: RegClass, index: usize) -> &'static str {
        self.abi
            .result_registers(class)
            .get(index)
            .copied()
            .unwrap_or_default()
    }
}

impl Value {
    fn new(ty: &Type, layout: CLayout, place: Place) -> Value {
        Value {
            ty: ty.clone(),
            size: layout.size,
            align: layout.align,
            place,
        }
    }

    /// `None` only for an opaque type, which no signature holds.
    fn under(abi: Abi, ty: &Type, place: Place) -> Option<Value> {
        Some(Value::new(ty, abi.layout_of(ty)?, place))
    }

    /// The pieces, if it travels in registers.
    pub fn pieces(&self) -> &[Piece] {
        self.place.pieces()
    }
}

impl Place {
    /// The pieces in registers; of something passed by reference none, for its address is no piece
    /// of it.
    pub fn pieces(&self) -> &[Piece] {
        match self {
            Place::Regs { pieces, .. } => pieces,
            Place::Split { piece, .. } => std::slice::from_ref(piece),
            Place::Stack { .. } | Place::Reference { .. } | Place::Hidden { .. } => &[],
        }
    }
}

/// The parts a value falls into when it travels in registers, one register each, numbered from 0 in
/// each class.
///
/// Empty for a type that never does, that takes none, or that is opaque. Parts of a shared type
/// graph that need no register are not entered, so this takes no longer than writing the type out
/// once.
///
/// ```
/// use fing_stubs::assign::pieces;
/// let ty = "struct { A int8; B string }".parse().unwrap();
/// let ranges: Vec<_> = pieces(&ty).iter().map(|piece| (piece.off, piece.size)).collect();
/// assert_eq!(ranges, [(0, 1), (8, 8), (16, 8)]);
/// ```
pub fn pieces(ty: &Type) -> Vec<Piece> {
    let mut walk = Walk {
        pieces: Vec::new(),
        next: Need::default(),
    };
    if ty.layout().is_some_and(|layout| layout.need.is_some()) {
        walk.ty(ty, 0);
    }
    walk.pieces
}

struct Walk {
    pieces: Vec<Piece>,
    next: Need,
}

impl Walk {
    fn ty(&mut self, ty: &Type, at: u64) {
        if ty
            .layout()
            .and_then(|layout| layout.need)
            .is_none_or(Need::is_zero)
        {
            return;
        }
        match ty.underlying() {
            Kind::Array(_, elem) => self.ty(elem, at),
            Kind::Struct(fields) => fields
                .iter()
                .for_each(|field| self.ty(&field.ty, at + field.offset)),
            _ => for_each_part(ty, &mut |off, part| self.piece(at + off, part)),
        }
    }

    fn piece(&mut self, off: u64, kind: Type) {
        let floats = matches!(kind.underlying(), Kind::Float32 | Kind::Float64);
        let (class, next) = if floats {
            (RegClass::Float, &mut self.next.floats)
        } else {
            (RegClass::Int, &mut self.next.ints)
        };
        let index = usize::from(*next);
        *next = next.saturating_add(1);
        let size = kind.layout().map_or(WORD, |layout| layout.size);
        self.pieces.push(Piece {
            class,
            index,
            off,
            size,
            reg_off: 0,
            kind,
        });
    }
}

/// The one or more register-sized parts of a type that is neither array nor struct.
fn for_each_part(ty: &Type, f: &mut dyn FnMut(u64, Type)) {
    // Go keeps the data word of strings and slices as a *uint8 whatever it points to.
    let byte_pointer =
        || Type::pointer_to(Type::uint8()).unwrap_or_else(|_| Type::unsafe_pointer());
    match ty.underlying() {
        Kind::String => {
            f(0, byte_pointer());
            f(8, Type::int());
        }
        Kind::Slice(_) => {
            f(0, byte_pointer());
            f(8, Type::int());
            f(16, Type::int());
        }
        Kind::Interface(_) => {
            f(0, Type::unsafe_pointer());
            f(8, Type::unsafe_pointer());
        }
        Kind::Complex64 => {
            f(0, Type::float32());
            f(4, Type::float32());
        }
        Kind::Complex128 => {
            f(0, Type::float64());
            f(8, Type::float64());
        }
        _ => f(0, ty.clone()),
    }
}
