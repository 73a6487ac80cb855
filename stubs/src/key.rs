//! A stub's key: everything its code depends on, and nothing else.
//!
//! All pointers are one word and all interfaces two, so signatures collapse to a handful of keys. Equal keys mean
//! interchangeable stubs. The text form is the key in logs, goldens and `fing explain`, and it parses back.
#![forbid(unsafe_code)]

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use crate::check::check;
use crate::record::RECORD_ARGUMENT;
use crate::{Abi, Assignment, Family, Kind, Place, RegClass, Signature, StubError, Value, assign};

/// Largest frame a stub may have unless the cache is told otherwise, in bytes.
pub const DEFAULT_FRAME_LIMIT: u64 = 128 << 10;

/// Where a move ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// Integer argument register, by position in the ABI's sequence.
    Int(u8),
    /// Float argument register, by position in the ABI's sequence.
    Float(u8),
    /// Byte offset from the argument base.
    Frame(u32),
}

/// One move: bytes of the argument's memory image to a register or to the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// First byte in the argument, 0..16.
    pub from: u8,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// The value is a signed integer and this ABI's caller extends it.
    pub signed: bool,
    /// Where it goes.
    pub to: Target,
}

/// What a call stub's code depends on. ABIs that differ only in their number of registers share stubs wherever the
/// words go to the same places.
///
/// ```
/// use fing_stubs::{Abi, Arch, StubKey};
/// let signature = "func(interface{}) (int, float32, [10]uint8)".parse()?;
/// let key = StubKey::new(&signature, Abi::go(Arch::Amd64), Default::default())?;
/// assert_eq!(key.to_string(), "go/amd64;8@0>i0;8@8>i1;frame=32");
/// assert_eq!(key.to_string().parse::<StubKey>()?, key);
/// # Ok::<(), fing_stubs::StubError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubKey {
    /// Of all other fields: keys are made once and looked up often.
    hash: u64,
    abi: Abi,
    moves: Arc<[Move]>,
    /// Bytes of frame above the argument base, rounded up to a class.
    frame: u32,
    /// Bytes of the hidden result area (native), rounded up to a class; its address takes integer register 0.
    hidden: u32,
    /// Native only: the integer register that carries the context as an extra argument.
    context: Option<u8>,
}

/// How a stub is wanted, beside signature and ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOptions {
    /// Native ABIs: pass the record's context as one more pointer argument after the parameter, the order of
    /// Boehm's finalization procedures. Under the Go ABIs the context always goes to the closure context register.
    pub context_argument: bool,
    /// Largest frame in bytes.
    pub frame_limit: u64,
}

impl Default for KeyOptions {
    fn default() -> Self {
        KeyOptions {
            context_argument: false,
            frame_limit: DEFAULT_FRAME_LIMIT,
        }
    }
}

impl StubKey {
    /// The key of the stub that calls functions of `signature` under `abi`.
    ///
    /// # Errors
    /// Not exactly one parameter, a parameter over 16 bytes, a frame past the limit, a type that `abi` can't pass.
    pub fn new(signature: &Signature, abi: Abi, options: KeyOptions) -> Result<StubKey, StubError> {
        let assignment = assign(signature, abi)?;
        if cfg!(debug_assertions)
            && let Err(violation) = check(signature, &assignment)
        {
            return Err(StubError::Internal {
                key: format!("{signature} under {abi}"),
                step: "checking the assignment",
                detail: violation.to_string(),
            });
        }
        StubKey::of(signature, &assignment, options)
    }

    /// The key for an assignment that is already made.
    ///
    /// # Errors
    /// As [`StubKey::new`].
    pub fn of(
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
        let hidden = assignment.hidden_result.unwrap_or(0);
        let found = assignment.frame_size.saturating_add(hidden);
        if found > options.frame_limit {
            return Err(StubError::FrameTooLarge {
                signature: signature.clone(),
                found,
                limit: options.frame_limit,
            });
        }
        let native = assignment.abi.family() != Family::Go;
        let context = (native && options.context_argument).then_some(assignment.int_in as u8);
        Ok(StubKey {
            hash: 0,
            abi: erase(assignment.abi),
            moves: moves(argument, native).into(),
            frame: frame_class(assignment.frame_size),
            hidden: frame_class(hidden),
            context,
        }
        .hashed())
    }

    /// The last step of making a key.
    fn hashed(mut self) -> StubKey {
        let mut hasher = DefaultHasher::new();
        (self.abi, &self.moves, self.frame, self.hidden, self.context).hash(&mut hasher);
        self.hash = hasher.finish();
        self
    }

    /// The ABI.
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// The moves, in the order of the argument's bytes.
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// Bytes of frame from the argument base up: stack arguments, stack results, spill slots; a multiple of 16.
    pub fn frame(&self) -> u32 {
        self.frame
    }

    /// Bytes of the hidden result area, 0 for none; a multiple of 16.
    pub fn hidden(&self) -> u32 {
        self.hidden
    }

    /// Native ABIs: position of the integer register that carries the context as an extra argument.
    pub fn context_argument(&self) -> Option<u8> {
        self.context
    }

    /// What `Hash` says of this key.
    pub(crate) fn hash_code(&self) -> u64 {
        self.hash
    }

    /// The integer and float register moves as (position, move), in order of position.
    pub(crate) fn register_moves(&self) -> (Vec<Move>, Vec<Move>) {
        let pick = |class: fn(&Target) -> bool| {
            let mut picked: Vec<Move> = self
                .moves
                .iter()
                .copied()
                .filter(|m| class(&m.to))
                .collect();
            picked.sort_by_key(|m| m.to);
            picked
        };
        (
            pick(|t| matches!(t, Target::Int(_))),
            pick(|t| matches!(t, Target::Float(_))),
        )
    }
}

/// Register counts decide where words go, and the moves say where; nothing else in a stub depends on the counts.
fn erase(abi: Abi) -> Abi {
    if abi.family() == Family::Go {
        Abi::go(abi.arch())
    } else {
        abi
    }
}

/// The argument's bytes, to the places its assignment names.
fn moves(argument: &Value, native: bool) -> Vec<Move> {
    match &argument.place {
        Place::Regs { pieces, .. } => pieces
            .iter()
            .map(|piece| Move {
                from: piece.off as u8,
                size: piece.size as u8,
                signed: native && is_signed(&piece.kind),
                to: match piece.class {
                    RegClass::Int => Target::Int(piece.index as u8),
                    RegClass::Float => Target::Float(piece.index as u8),
                },
            })
            .collect(),
        Place::Stack { offset } => {
            let mut out = Vec::new();
            let mut at = 0;
            while at < argument.size {
                let size = [8, 4, 2, 1]
                    .into_iter()
                    .find(|&n| n <= argument.size - at && at % n == 0)
                    .unwrap_or(1);
                out.push(Move {
                    from: at as u8,
                    size: size as u8,
                    signed: false,
                    to: Target::Frame((offset + at) as u32),
                });
                at += size;
            }
            out
        }
        Place::Hidden { .. } => Vec::new(),
    }
}

fn is_signed(ty: &crate::Type) -> bool {
    matches!(
        ty.underlying(),
        Kind::Int | Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64
    )
}

/// Frames are rounded up so that signatures share stubs: to 16 up to 128 bytes, then to a quarter of the power of two below.
pub(crate) fn frame_class(bytes: u64) -> u32 {
    let step = if bytes <= 128 {
        16
    } else {
        (bytes.next_power_of_two() / 8).max(16)
    };
    bytes.next_multiple_of(step) as u32
}

impl Hash for StubKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Display for StubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.abi.family() {
            Family::Go => write!(f, "go/{}", self.abi.arch())?,
            _ => write!(f, "{}", self.abi)?,
        }
        for m in &*self.moves {
            write!(
                f,
                ";{}{}@{}>",
                if m.signed { "s" } else { "" },
                m.size,
                m.from
            )?;
            match m.to {
                Target::Int(n) => write!(f, "i{n}")?,
                Target::Float(n) => write!(f, "f{n}")?,
                Target::Frame(offset) => write!(f, "m{offset}")?,
            }
        }
        if self.frame > 0 {
            write!(f, ";frame={}", self.frame)?;
        }
        if self.hidden > 0 {
            write!(f, ";hidden={}", self.hidden)?;
        }
        if let Some(register) = self.context {
            write!(f, ";ctx=i{register}")?;
        }
        Ok(())
    }
}

impl FromStr for StubKey {
    type Err = StubError;

    fn from_str(text: &str) -> Result<StubKey, StubError> {
        let bad = |found: &str, wanted| StubError::Key {
            text: text.to_owned(),
            found: found.to_owned(),
            wanted,
        };
        let mut parts = text.split(';');
        let abi_text = parts.next().unwrap_or_default();
        let abi: Abi = erase(
            abi_text
                .parse()
                .map_err(|_| bad(abi_text, "an ABI such as go/amd64 or sysv/amd64"))?,
        );
        let mut key = StubKey {
            hash: 0,
            abi,
            moves: Arc::default(),
            frame: 0,
            hidden: 0,
            context: None,
        };
        let mut moves = Vec::new();
        for part in parts {
            let class = |value: &str| {
                let bytes = value
                    .parse::<u32>()
                    .ok()
                    .filter(|&n| n > 0 && frame_class(n.into()) == n);
                bytes.ok_or_else(|| bad(part, "a frame class in bytes"))
            };
            if let Some(value) = part.strip_prefix("frame=") {
                key.frame = class(value)?;
            } else if let Some(value) = part.strip_prefix("hidden=") {
                key.hidden = class(value)?;
            } else if let Some(value) = part.strip_prefix("ctx=i") {
                let register = value
                    .parse()
                    .ok()
                    .filter(|&n: &u8| usize::from(n) < abi.int_regs());
                key.context =
                    Some(register.ok_or_else(|| bad(part, "an integer register of the ABI"))?);
            } else {
                moves.push(parse_move(part, abi).ok_or_else(|| {
                    bad(part, "a move such as 8@0>i0, or frame=, hidden=, ctx=i")
                })?);
            }
        }
        key.moves = moves.into();
        Ok(key.hashed())
    }
}

fn parse_move(part: &str, abi: Abi) -> Option<Move> {
    let (signed, rest) = match part.strip_prefix('s') {
        Some(rest) => (true, rest),
        None => (false, part),
    };
    let (size, rest) = rest.split_once('@')?;
    let (from, to) = rest.split_once('>')?;
    let (size, from): (u8, u8) = (size.parse().ok()?, from.parse().ok()?);
    if !matches!(size, 1 | 2 | 4 | 8) || u64::from(from) + u64::from(size) > RECORD_ARGUMENT {
        return None;
    }
    let to = match to.split_at_checked(1)? {
        ("i", n) => Target::Int(
            n.parse()
                .ok()
                .filter(|&n: &u8| usize::from(n) < abi.int_regs())?,
        ),
        ("f", n) => Target::Float(
            n.parse()
                .ok()
                .filter(|&n: &u8| usize::from(n) < abi.float_regs())?,
        ),
        ("m", n) => Target::Frame(n.parse().ok()?),
        _ => return None,
    };
    Some(Move {
        from,
        size,
        signed,
        to,
    })
}
