//! An assignment read from the callee's side: where an entry finds the bytes of each argument, and
//! where it leaves those of each result.
//!
//! The same [`Assignment`] says to a call stub where the caller puts a value. Two things differ
//! here. A value that travels by reference is read where the caller's pointer says, not where our
//! own caller would have put the copy; and it is the entry that owes the extension of small
//! results.
#![forbid(unsafe_code)]

use std::fmt;

use crate::abi::Extension;
use crate::block::BlockLayout;
use crate::signature::{Kind, WORD};
use crate::{
    Abi, Assignment, KeyOptions, Piece, Place, RegClass, Signature, StubError, StubKey, Type,
    Value, assign,
};

/// Where a pointer to an argument's bytes is, or the bytes themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Integer argument register by position, from this byte on, counted from the least
    /// significant.
    Int(u8, u8),
    /// Float argument register by position, from this byte on.
    Float(u8, u8),
    /// Bytes from the argument base.
    Stack(u32),
}

/// One move from the caller's side to the block of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ArgumentMove {
    pub(crate) from: Origin,
    /// `from` holds the address of the bytes.
    pub(crate) by_reference: bool,
    /// Bytes: at most 8 from a register.
    pub(crate) size: u32,
    /// First byte in the block of arguments.
    pub(crate) to: u32,
}

/// Where a result's bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Destination {
    /// Integer result register by position, from this byte on.
    Int(u8, u8),
    /// Float result register by position, from this byte on.
    Float(u8, u8),
    /// Bytes from the argument base.
    Stack(u32),
    /// Bytes behind the hidden result pointer.
    Hidden(u32),
}

/// What stands above a result in its integer register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Above {
    /// Other results, or nothing that counts.
    Rest,
    /// Zeroes: the value is alone in its register.
    Zeroes,
    /// Copies of the value's top bit.
    Sign,
}

/// One move from the block of results to the caller's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ResultMove {
    /// First byte in the block of results.
    pub(crate) from: u32,
    pub(crate) size: u32,
    pub(crate) to: Destination,
    pub(crate) above: Above,
}

/// What the code of an entry depends on: the caller's ABI, and where each byte is found and left.
///
/// Equal keys mean interchangeable code. `Display` prints the key of the stub that makes such calls
/// (`StubKey::block`), behind `entry;`: it names the same places, read from the other side.
///
/// ```
/// use fing_stubs::Abi;
/// use fing_stubs::entry::EntryKey;
/// let key = EntryKey::new(&"func(int8, float64) int".parse()?, Abi::system_v(), 1 << 16)?;
/// assert_eq!(key.to_string(), "entry;sysv/amd64;block;s1@0>i0;8@8>f0;i0>8@0");
/// # Ok::<(), fing_stubs::StubError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntryKey {
    call: StubKey,
    pub(crate) arguments: Vec<ArgumentMove>,
    pub(crate) results: Vec<ResultMove>,
    /// Bytes of the two blocks.
    pub(crate) argument_bytes: u32,
    pub(crate) result_bytes: u32,
    /// The hidden result pointer is argument 0 (and comes back as result 0), or is in a register
    /// of its own.
    pub(crate) hidden: Option<HiddenPointer>,
}

/// How the caller passes the address of its result area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HiddenPointer {
    Argument,
    OwnRegister,
}

impl EntryKey {
    /// The key of entries for callers of `signature` under `abi`.
    ///
    /// # Errors
    /// A type that `abi` can't pass; stack arguments and results of more than `frame_limit` bytes;
    /// an ABI without entries: Cranelift's `tail`, whose callee takes its stack arguments off the
    /// stack, and machines without veneers.
    pub fn new(signature: &Signature, abi: Abi, frame_limit: u64) -> Result<EntryKey, StubError> {
        let assignment = assign(signature, abi)?;
        let arguments = BlockLayout::under(abi, signature.arguments());
        let results = BlockLayout::under(abi, signature.results());
        let mut moves = Vec::new();
        for (value, &to) in assignment.args.iter().zip(arguments.offsets()) {
            argument(value, to as u32, &mut moves);
        }
        let key = EntryKey::build(signature, &assignment, moves, frame_limit)?;
        let sizes = arguments.size().saturating_add(results.size());
        if sizes > frame_limit {
            return Err(StubError::FrameTooLarge {
                signature: signature.clone(),
                found: sizes,
                limit: frame_limit,
            });
        }
        Ok(EntryKey {
            argument_bytes: arguments.size() as u32,
            result_bytes: results.size() as u32,
            ..key
        })
    }

    /// As [`EntryKey::new`] for a caller that passes every argument of `signature` as one word
    /// whatever its type, as Go's Windows callbacks want it, with blocks by Go's layout: `words` is
    /// the signature of the caller, with an unsigned word for each argument that has bytes.
    pub(crate) fn of_words(
        signature: &Signature,
        words: &Signature,
        abi: Abi,
        frame_limit: u64,
    ) -> Result<EntryKey, StubError> {
        let assignment = assign(words, abi)?;
        let block = BlockLayout::of(signature.arguments());
        let results = BlockLayout::of(signature.results());
        let mut moves = Vec::new();
        let mut word = assignment.args.iter();
        for (ty, &to) in signature.arguments().zip(block.offsets()) {
            let size = ty.layout().map_or(0, |layout| layout.size as u32);
            if size == 0 {
                continue;
            }
            let Some(value) = word.next() else { break };
            let first = moves.len();
            argument(value, to as u32, &mut moves);
            let big_endian = abi.machine().big_endian;
            for m in &mut moves[first..] {
                if let Origin::Stack(at) = &mut m.from
                    && big_endian
                {
                    *at += WORD as u32 - size;
                }
                m.size = size;
            }
        }
        let key = EntryKey::build(words, &assignment, moves, frame_limit)?;
        Ok(EntryKey {
            argument_bytes: block.size() as u32,
            result_bytes: results.size() as u32,
            ..key
        })
    }

    fn build(
        signature: &Signature,
        assignment: &Assignment,
        arguments: Vec<ArgumentMove>,
        frame_limit: u64,
    ) -> Result<EntryKey, StubError> {
        let abi = assignment.abi;
        let call = StubKey::block(
            signature,
            abi,
            KeyOptions::default().frame_limit(frame_limit),
        )?;
        let native = abi.native_table();
        if !super::veneer::has_entries(abi) {
            return Err(StubError::NoGenerator {
                key: format!("entry;{call}"),
                abi,
                reason:
                    "it has no entries: they are for Go's ABIs and the C conventions of amd64, \
                         arm64, riscv64 and s390x"
                        .to_owned(),
            });
        }
        let block = BlockLayout::under(abi, signature.results());
        let mut results = Vec::new();
        for (value, &from) in assignment.results.iter().zip(block.offsets()) {
            result(value, from as u32, abi, &mut results);
        }
        let hidden =
            assignment
                .hidden_result
                .map(|_| match native.and_then(|native| native.hidden) {
                    Some(_) => HiddenPointer::OwnRegister,
                    None => HiddenPointer::Argument,
                });
        Ok(EntryKey {
            call,
            arguments,
            results,
            argument_bytes: 0,
            result_bytes: 0,
            hidden,
        })
    }

    /// The caller's ABI. Those of the Go family have every register: the moves say which are used.
    pub fn abi(&self) -> Abi {
        self.call.abi()
    }

    /// The key of the stub that makes the calls which these entries take.
    pub fn call(&self) -> &StubKey {
        &self.call
    }

    /// Positions of the argument registers of a class that are read, ascending, each once. A hidden
    /// result pointer in an argument register is among them.
    pub(crate) fn arguments_in(&self, class: RegClass) -> Vec<u8> {
        let position = |m: &ArgumentMove| match (class, m.from) {
            (RegClass::Int, Origin::Int(n, _)) | (RegClass::Float, Origin::Float(n, _)) => Some(n),
            _ => None,
        };
        let hidden = self.hidden == Some(HiddenPointer::Argument) && class == RegClass::Int;
        let mut all: Vec<u8> = self.arguments.iter().filter_map(position).collect();
        all.extend(hidden.then_some(0));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Positions of the result registers of a class that are set, ascending, each once.
    pub(crate) fn results_in(&self, class: RegClass) -> Vec<u8> {
        let position = |m: &ResultMove| match (class, m.to) {
            (RegClass::Int, Destination::Int(n, _))
            | (RegClass::Float, Destination::Float(n, _)) => Some(n),
            _ => None,
        };
        // The pointer goes back in the register of the first integer result.
        let hidden = self.hidden == Some(HiddenPointer::Argument) && class == RegClass::Int;
        let mut all: Vec<u8> = self.results.iter().filter_map(position).collect();
        all.extend(hidden.then_some(0));
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry;{}", self.call)
    }
}

impl fmt::Debug for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryKey({self})")
    }
}

fn argument(value: &Value, to: u32, moves: &mut Vec<ArgumentMove>) {
    let mut push = |from, by_reference, size: u64, off: u64| {
        if size > 0 {
            moves.push(ArgumentMove {
                from,
                by_reference,
                size: size as u32,
                to: to + off as u32,
            });
        }
    };
    match &value.place {
        Place::Regs { pieces, .. } => {
            for piece in pieces {
                push(register(piece), false, piece.size, piece.off);
            }
        }
        Place::Stack { offset } => push(Origin::Stack(*offset as u32), false, value.size, 0),
        Place::Split { piece, offset } => {
            push(register(piece), false, piece.size, piece.off);
            let rest = value.size - piece.size;
            push(Origin::Stack(*offset as u32), false, rest, piece.size);
        }
        Place::Reference { pointer, .. } => {
            let from = match &**pointer {
                Place::Stack { offset } => Some(Origin::Stack(*offset as u32)),
                place => place.pieces().first().map(register),
            };
            if let Some(from) = from {
                push(from, true, value.size, 0);
            }
        }
        // Only results are behind the hidden pointer.
        Place::Hidden { .. } => {}
    }
}

fn register(piece: &Piece) -> Origin {
    let (index, byte) = (piece.index as u8, piece.reg_off as u8);
    match piece.class {
        RegClass::Int => Origin::Int(index, byte),
        RegClass::Float => Origin::Float(index, byte),
    }
}

fn result(value: &Value, from: u32, abi: Abi, moves: &mut Vec<ResultMove>) {
    let mut push = |to, size: u64, off: u64, above| {
        if size > 0 {
            moves.push(ResultMove {
                from: from + off as u32,
                size: size as u32,
                to,
                above,
            });
        }
    };
    match &value.place {
        Place::Stack { offset } => {
            push(
                Destination::Stack(*offset as u32),
                value.size,
                0,
                Above::Rest,
            );
        }
        Place::Hidden { offset } => {
            push(
                Destination::Hidden(*offset as u32),
                value.size,
                0,
                Above::Rest,
            );
        }
        place => {
            let pieces = place.pieces();
            let is_scalar = pieces.len() == 1 && is_integer(&value.ty);
            for piece in pieces {
                let (index, byte) = (piece.index as u8, piece.reg_off as u8);
                let (to, above) = match piece.class {
                    RegClass::Int if is_scalar && byte == 0 => {
                        (Destination::Int(index, byte), extension(&piece.kind, abi))
                    }
                    RegClass::Int => (Destination::Int(index, byte), Above::Rest),
                    RegClass::Float => (Destination::Float(index, byte), Above::Rest),
                };
                push(to, piece.size, piece.off, above);
            }
        }
    }
}

/// A number or pointer of one word or less, above which the convention may want something.
fn is_integer(ty: &Type) -> bool {
    let is_made_of_others = matches!(
        ty.underlying(),
        Kind::Struct(_) | Kind::Array(..) | Kind::Interface(_) | Kind::C(_)
    );
    !is_made_of_others
        && ty
            .layout()
            .is_some_and(|layout| matches!(layout.size, 1 | 2 | 4 | 8))
}

/// What the callee owes above a scalar. Where the ABI asks nothing, zeroes.
fn extension(ty: &Type, abi: Abi) -> Above {
    let signed = matches!(
        ty.underlying(),
        Kind::Int | Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64
    );
    let by_bit_31 = matches!(ty.underlying(), Kind::Uint32);
    match abi.native_table().map(|native| native.extension) {
        Some(Extension::Caller) if signed => Above::Sign,
        Some(Extension::CallerFromBit31) if signed || by_bit_31 => Above::Sign,
        _ => Above::Zeroes,
    }
}

/// The signature of a caller that passes a word for each argument of `signature` that has bytes.
pub(crate) fn words_of(signature: &Signature) -> Result<Signature, StubError> {
    let has_bytes = |ty: &&Type| ty.layout().is_some_and(|layout| layout.size > 0);
    let params = signature.arguments().filter(has_bytes);
    let params = params.map(|_| Type::uintptr()).collect();
    Ok(Signature::new(
        None,
        params,
        signature.results().to_vec(),
        false,
    )?)
}
