//! A stub's key: everything its code depends on, and nothing else.
//!
//! All pointers are one word and all interfaces two, so signatures collapse to a handful of keys.
//! Equal keys mean interchangeable stubs. The text form is the key in logs, goldens and `fing
//! explain`, and it parses back.
#![forbid(unsafe_code)]

#[cfg(feature = "faults")]
mod areas;
mod moves;
mod packed;
#[cfg(feature = "faults")]
mod spoilt;
mod text;
mod valid;

use std::fmt;

use packed::{Item, Packed, Parts};

use crate::block::BlockLayout;
use crate::check::check;
#[cfg(feature = "faults")]
use crate::planted::{HostFault, is_planted};
use crate::quote::short;
use crate::record::RECORD_ARGUMENT;
use crate::signature::WORD;
use crate::{Abi, Assignment, Family, Kind, RegClass, Signature, StubError, Type, assign};

/// Largest frame a stub may have unless the cache is told otherwise, in bytes.
pub const DEFAULT_FRAME_LIMIT: u64 = 128 << 10;

/// Most bytes of frame and hidden result area together, rounded to frame classes. Cranelift makes
/// functions of up to 1 GiB of stack; the other half is more than enough for whatever else a stub
/// keeps there.
const MAX_FRAME: u64 = 512 << 20;

/// What a move reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// Bytes of the argument, or of the block of arguments.
    Bytes {
        /// The first byte.
        from: u32,
        /// How many: 1, 2, 4 or 8; any number up to 8, or 16 in a float register, of C's structs;
        /// any number on the way to [`Target::Frame`].
        size: u32,
        /// Whether they are sign-extended in a register or a whole word; otherwise they are
        /// zero-extended.
        signed: bool,
    },
    /// The record's context.
    Context,
    /// The address of the byte at this offset of the frame.
    FrameAddress(u32),
}

/// Where a move ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Target {
    /// Integer argument register, by position in the ABI's sequence.
    Int(u8),
    /// Float argument register, by position in the ABI's sequence.
    Float(u8),
    /// Byte offset from the argument base; takes exactly the bytes that are read.
    Frame(u32),
    /// Byte offset from the argument base of a whole word, which takes the value extended as in a
    /// register.
    Word(u32),
}

/// One move on the way in: to a register or to the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// What is read.
    pub source: Source,
    /// Where it goes.
    pub to: Target,
}

/// Where a result is found after the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResultSource {
    /// Integer result register, from this byte on, counted from the least significant.
    Int(u8, u8),
    /// Float result register, from this byte on; a lone `float32` is at 0 however the machine keeps
    /// it.
    Float(u8, u8),
    /// Byte offset from the argument base.
    Frame(u32),
    /// Byte offset in the hidden result area.
    Hidden(u32),
}

/// One move on the way back: to the block of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResultMove {
    /// Where it is found.
    pub from: ResultSource,
    /// Bytes: up to 8 from a register, or 16 from a float register; any number from memory.
    pub size: u32,
    /// First byte in the block.
    pub to: u32,
}

/// What a call stub's code depends on. ABIs that differ only in their number of registers share
/// stubs wherever the words go to the same places.
///
/// ```
/// use fing_stubs::{Abi, Arch, StubKey};
/// let signature = "func(interface{}) (int, float32, [10]uint8)".parse()?;
/// let key = StubKey::new(&signature, Abi::go(Arch::Amd64), Default::default())?;
/// assert_eq!(key.to_string(), "go/amd64;8@0>i0;8@8>i1;frame=32");
/// assert_eq!(key.to_string().parse::<StubKey>()?, key);
///
/// let key = StubKey::block(&signature, Abi::go(Arch::Amd64), Default::default())?;
/// assert_eq!(
///     key.to_string(),
///     "go/amd64;block;8@0>i0;8@8>i1;i0>8@0;f0>4@8;m0>10@12;frame=32"
/// );
/// # Ok::<(), fing_stubs::StubError>(())
/// ```
///
/// A key is 16 bytes, and cheap to clone, hash and compare.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StubKey {
    packed: Packed,
}

/// What a stub depends on beside signature and ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyOptions {
    /// Native ABIs: pass the record's context as one more pointer argument after the parameters,
    /// the order of Boehm's finalization procedures. Under the Go ABIs the context always goes to
    /// the closure context register.
    pub context_argument: bool,
    /// Largest frame in bytes, a hidden result area included. No stub has more than 512 MiB.
    pub frame_limit: u64,
}

impl KeyOptions {
    /// The options with the record's context as the last argument, or without.
    #[must_use]
    pub fn context_argument(self, context_argument: bool) -> KeyOptions {
        KeyOptions {
            context_argument,
            ..self
        }
    }

    /// The options with another limit on the frame, in bytes.
    #[must_use]
    pub fn frame_limit(self, frame_limit: u64) -> KeyOptions {
        KeyOptions {
            frame_limit,
            ..self
        }
    }
}

impl Default for KeyOptions {
    fn default() -> Self {
        KeyOptions {
            context_argument: false,
            frame_limit: DEFAULT_FRAME_LIMIT,
        }
    }
}

/// Where a stub finds the arguments of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arguments {
    /// In the record, as memory holds them.
    Record,
    /// In the words of the record, as numbers.
    Words,
    /// In a block of memory.
    Block,
}

impl Arguments {
    /// The first byte of each argument, in the record or the block.
    fn offsets(self, signature: &Signature, abi: Abi) -> Vec<u64> {
        if self != Arguments::Words {
            return BlockLayout::under(abi, signature.arguments())
                .offsets()
                .to_vec();
        }
        let sizes = signature.arguments().filter_map(|ty| abi.layout_of(ty));
        #[cfg(feature = "faults")]
        if is_planted(HostFault::ByteOrder) {
            return vec![0, WORD];
        }
        let low = |size| {
            if abi.machine().big_endian {
                WORD - size
            } else {
                0
            }
        };
        let words = (0..).step_by(WORD as usize).zip(sizes);
        words
            .map(|(word, layout)| word + low(layout.size))
            .collect()
    }
}

/// Whether values of the type are numbers or addresses.
fn is_number(ty: &Type) -> bool {
    use Kind::*;
    matches!(
        ty.underlying(),
        Int | Int8
            | Int16
            | Int32
            | Int64
            | Uint
            | Uint8
            | Uint16
            | Uint32
            | Uint64
            | Uintptr
            | Bool
            | Pointer(_)
            | UnsafePointer
            | Map(..)
            | Chan(..)
            | Func(_)
    )
}

impl StubKey {
    /// The key of the stub that calls functions of `signature` under `abi` with the argument in the
    /// record.
    ///
    /// # Errors
    /// Not exactly one parameter, a parameter over 16 bytes, a frame past the limit, a type that
    /// `abi` can't pass.
    pub fn new(signature: &Signature, abi: Abi, options: KeyOptions) -> Result<StubKey, StubError> {
        StubKey::in_record(signature, &checked(signature, abi)?, options)
    }

    /// [`StubKey::new`] from the assignment that [`assign()`](crate::assign()) made of `signature`.
    ///
    /// # Errors
    /// As [`StubKey::new`]; also any other assignment than that.
    pub fn of(
        signature: &Signature,
        assignment: &Assignment,
        options: KeyOptions,
    ) -> Result<StubKey, StubError> {
        if checked(signature, assignment.abi)? != *assignment {
            return Err(StubError::OtherAssignment {
                signature: signature.clone(),
                abi: assignment.abi,
            });
        }
        StubKey::in_record(signature, assignment, options)
    }

    fn in_record(
        signature: &Signature,
        assignment: &Assignment,
        options: KeyOptions,
    ) -> Result<StubKey, StubError> {
        let [argument] = assignment.args.as_slice() else {
            return Err(StubError::NotOneParameter {
                signature: signature.clone(),
                found: assignment.args.len(),
            });
        };
        if argument.size > RECORD_ARGUMENT {
            return Err(StubError::ArgumentTooLarge {
                signature: signature.clone(),
                ty: argument.ty.clone(),
                found: argument.size,
                limit: RECORD_ARGUMENT,
            });
        }
        StubKey::build(signature, assignment, options, Arguments::Record)
    }

    /// The key of the stub that calls functions of `signature` under `abi` with one or two
    /// arguments, each an integer or a pointer: argument n is the number in word n of the record,
    /// of which a small integer is the low bytes. [`StubKey::new`] takes a small integer from where
    /// memory holds it, which on a big-endian machine are the word's first bytes.
    ///
    /// # Errors
    /// Other than one or two parameters, or one that is no integer or pointer; a frame past the
    /// limit, a type that `abi` can't pass.
    pub fn words(
        signature: &Signature,
        abi: Abi,
        options: KeyOptions,
    ) -> Result<StubKey, StubError> {
        let count = signature.arguments().count();
        if !(1..=2).contains(&count) || !signature.arguments().all(is_number) {
            return Err(StubError::NotWords {
                signature: signature.clone(),
            });
        }
        #[cfg(feature = "faults")]
        if count == 2 && is_planted(HostFault::WordsAsInterface) {
            let interface = Signature::new(None, vec![Type::empty_interface()], Vec::new(), false)?;
            return StubKey::new(&interface, abi, options);
        }
        let assignment = checked(signature, abi)?;
        StubKey::build(signature, &assignment, options, Arguments::Words)
    }

    /// The key of the stub that calls functions of `signature` under `abi` with any number of
    /// arguments, which lie in a [block](BlockLayout) at the address in word 0 of the record, and
    /// copies the results to a block at the address in word 1.
    ///
    /// # Errors
    /// A frame past the limit, a type that `abi` can't pass.
    pub fn block(
        signature: &Signature,
        abi: Abi,
        options: KeyOptions,
    ) -> Result<StubKey, StubError> {
        StubKey::build(
            signature,
            &checked(signature, abi)?,
            options,
            Arguments::Block,
        )
    }

    /// [`StubKey::block`] of an assignment that need not be right.
    #[cfg(feature = "faults")]
    pub(crate) fn block_of(
        signature: &Signature,
        assignment: &Assignment,
        options: KeyOptions,
    ) -> Result<StubKey, StubError> {
        StubKey::build(signature, assignment, options, Arguments::Block)
    }

    fn build(
        signature: &Signature,
        assignment: &Assignment,
        options: KeyOptions,
        arguments: Arguments,
    ) -> Result<StubKey, StubError> {
        let abi = assignment.abi;
        let with_context;
        let (assignment, context) = if abi.family() != Family::Go && options.context_argument {
            with_context = checked(&and_a_pointer(signature)?, abi)?;
            (&with_context, true)
        } else {
            (assignment, false)
        };
        let hidden = assignment.hidden_result.unwrap_or(0);
        let found = assignment.frame_size.saturating_add(hidden);
        let too_large = |found, limit| StubError::FrameTooLarge {
            signature: signature.clone(),
            found,
            limit,
        };
        let limit = options.frame_limit.min(MAX_FRAME);
        if found > limit {
            return Err(too_large(found, limit));
        }
        let (frame, hidden) = (frame_class(assignment.frame_size), frame_class(hidden));
        let reserved = u64::from(frame) + u64::from(hidden);
        if reserved > MAX_FRAME {
            return Err(too_large(reserved, MAX_FRAME));
        }
        let offsets = arguments.offsets(signature, abi);
        let mut moves = moves::into_call(assignment, &offsets, context);
        let mut results = Vec::new();
        let block = arguments == Arguments::Block;
        if block {
            moves = moves::joined(moves);
            results = moves::out_of_call(assignment, &BlockLayout::under(abi, signature.results()));
        }
        let counts_vectors = signature.fixed().is_some() && abi == Abi::system_v();
        let parts = Parts {
            abi: erase(abi),
            vectors: counts_vectors.then_some(assignment.float_in as u8),
            block,
            moves,
            results,
            frame,
            hidden,
        };
        if cfg!(debug_assertions)
            && let Err((found, wanted)) = parts.validate()
        {
            return Err(StubError::Internal {
                key: StubKey::from_parts(&parts).to_string(),
                step: "checking the key",
                detail: format!("found {found:?}, wanted {wanted}"),
            });
        }
        Ok(StubKey::from_parts(&parts))
    }

    fn from_parts(parts: &Parts) -> StubKey {
        StubKey {
            packed: parts.pack(),
        }
    }

    /// The hash that `Hash` writes for this key.
    pub(crate) fn hash_code(&self) -> u64 {
        self.packed.hash_code()
    }

    /// The ABI.
    pub fn abi(&self) -> Abi {
        self.packed.abi()
    }

    /// Whether records hold the addresses of an argument block and a result block instead of the
    /// argument.
    pub fn is_block(&self) -> bool {
        self.packed.is_block()
    }

    /// Of a call of a variadic function under System V: how many float registers carry arguments,
    /// which the function finds in `al`.
    pub fn vectors(&self) -> Option<u8> {
        self.packed.items().0.find_map(|item| match item {
            Item::Vectors(count) => Some(count),
            Item::Move(_) | Item::Result(_) => None,
        })
    }

    /// Whether a float register carries 16 bytes.
    pub(crate) fn has_vectors(&self) -> bool {
        let is_wide = |m: &Move| {
            matches!(m.source, Source::Bytes { size: 16, .. }) && matches!(m.to, Target::Float(_))
        };
        let is_wide_result =
            |m: &ResultMove| m.size == 16 && matches!(m.from, ResultSource::Float(..));
        self.moves().iter().any(is_wide) || self.results().iter().any(is_wide_result)
    }

    /// Positions at which an argument is in the float and the integer register: those of variadic
    /// calls under Windows.
    pub(crate) fn doubled(&self) -> Vec<u8> {
        let moves = self.moves();
        let is_int = |n| moves.iter().any(|m| m.to == Target::Int(n));
        let doubled = moves.iter().filter_map(|m| match m.to {
            Target::Float(n) if is_int(n) => Some(n),
            _ => None,
        });
        match self.abi().native_table() {
            Some(table) if table.positional => doubled.collect(),
            _ => Vec::new(),
        }
    }

    /// The moves into the call, in the order of the arguments' bytes.
    pub fn moves(&self) -> Vec<Move> {
        let one = |item| match item {
            Item::Move(m) => Some(m),
            Item::Result(_) | Item::Vectors(_) => None,
        };
        self.packed.items().0.filter_map(one).collect()
    }

    /// The moves of results; none unless [`StubKey::is_block`].
    pub fn results(&self) -> Vec<ResultMove> {
        let one = |item| match item {
            Item::Move(_) | Item::Vectors(_) => None,
            Item::Result(m) => Some(m),
        };
        self.packed.items().0.filter_map(one).collect()
    }

    /// Bytes of the callee's frame from the argument base up, a multiple of 16: stack arguments,
    /// stack results, spill slots or copies of arguments.
    pub fn frame(&self) -> u32 {
        self.packed.areas().0
    }

    /// Bytes of the hidden result area, 0 for none; a multiple of 16.
    pub fn hidden(&self) -> u32 {
        self.packed.areas().1
    }

    /// Whether the call has stack arguments, stack results, spill slots or copies.
    pub(crate) fn needs_frame(&self) -> bool {
        self.frame() > 0
    }

    /// The moves to registers of a class, in order of position.
    pub(crate) fn register_moves(&self, class: RegClass) -> Vec<Move> {
        let mut picked: Vec<Move> = self
            .moves()
            .into_iter()
            .filter(|m| match class {
                RegClass::Int => matches!(m.to, Target::Int(_)),
                RegClass::Float => matches!(m.to, Target::Float(_)),
            })
            .collect();
        picked.sort_by_key(|m| m.to);
        picked
    }

    /// Registers of a class that carry results which are moved.
    pub(crate) fn result_registers(&self, class: RegClass) -> u8 {
        let index = |m: &ResultMove| match (class, m.from) {
            (RegClass::Int, ResultSource::Int(n, _))
            | (RegClass::Float, ResultSource::Float(n, _)) => Some(n + 1),
            _ => None,
        };
        self.results().iter().filter_map(index).max().unwrap_or(0)
    }
}

impl fmt::Debug for StubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StubKey({self})")
    }
}

/// The assignment; debug builds check it.
fn checked(signature: &Signature, abi: Abi) -> Result<Assignment, StubError> {
    let assignment = assign(signature, abi)?;
    if cfg!(debug_assertions)
        && let Err(violation) = check(signature, &assignment)
    {
        return Err(StubError::Internal {
            key: format!("{} under {abi}", short(signature)),
            step: "checking the assignment",
            detail: violation.to_string(),
        });
    }
    Ok(assignment)
}

/// The signature with one more parameter, an `unsafe.Pointer`.
fn and_a_pointer(signature: &Signature) -> Result<Signature, StubError> {
    let mut params = signature.params().to_vec();
    params.push(Type::unsafe_pointer());
    let receiver = signature.receiver().cloned();
    let with = Signature::new(receiver, params, signature.results().to_vec(), false)?;
    Ok(match signature.fixed() {
        Some(fixed) => with.c_variadic(fixed)?,
        None => with,
    })
}

/// The ABI without register counts. They only decide where words go, which the moves say.
fn erase(abi: Abi) -> Abi {
    match abi.family() {
        Family::Go => Abi::go(abi.arch()),
        Family::Native(_) => abi,
    }
}

/// Frames are rounded up so that signatures share stubs: to 16 up to 128 bytes, then to a quarter
/// of the power of two below.
pub(crate) fn frame_class(bytes: u64) -> u32 {
    let step = if bytes <= 128 {
        16
    } else {
        (bytes.next_power_of_two() / 8).max(16)
    };
    bytes.next_multiple_of(step) as u32
}
