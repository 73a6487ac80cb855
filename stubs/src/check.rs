//! An independent checker of assignments, written from the text of the ABIs.
//!
//! It shares no code with [`assign`](mod@crate::assign): it never looks for a place, it looks at
//! the place given and asks whether the ABI's sentences hold of it. It decides for itself which
//! registers a type needs, by walking the type.
//!
//! ## Definition
//!
//! At the entry of a Go function, with the argument base *A*:
//!
//! * every value is wholly in registers or wholly in memory, and one without bytes is in no
//!   register;
//! * the pieces of a value in registers are its basic parts in memory order, floats in float
//!   registers;
//! * in each class the registers used by the arguments in order are 0, 1, 2, ... without a gap,
//!   likewise by the results;
//! * a value is on the stack only if it is never in registers or needs more of a class than its
//!   predecessors left;
//! * a stack value is at the first aligned offset behind its predecessor; results begin at the
//!   first word behind the arguments;
//! * each argument in registers, and nothing else, has a spill slot, at the first aligned offset
//!   behind its predecessor's, in an area that begins at the first word behind the results and ends
//!   with the frame.
//!
//! Together these leave one assignment for each signature and ABI, so the check accepts that one
//! and no other.
//!
//! ```
//! use fing_stubs::{abi::{Abi, Arch}, assign::assign, check::{Rule, check}};
//!
//! let sig = "func(any, int) bool".parse()?;
//! let mut a = assign(&sig, Abi::go(Arch::Amd64))?;
//! check(&sig, &a)?;
//! a.frame_size -= 8;
//! let violation = check(&sig, &a).unwrap_err();
//! assert_eq!(violation.rule, Rule::Frame);
//! assert_eq!(
//!     violation.to_string(),
//!     "check: spill slot of argument 1 ends at 24, wanted at most 16 \
//!      (rule: everything lies in the frame, nothing overlaps)",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod go;
mod native;

use std::fmt;

use crate::abi::RegClass;
use crate::assign::{Assignment, Piece, Place, Value};
use crate::quote::short;
use crate::signature::{Kind, Signature, Type};

/// The sentence of the ABI that an assignment breaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Rule {
    /// One value per argument and result.
    Values,
    /// Memory of one thing only, inside the frame.
    Frame,
    /// All of a value in registers or all of it in memory.
    Whole,
    /// Class, bytes and position of a piece in its register.
    Pieces,
    /// No gap in the register sequence.
    Sequence,
    /// Stack only for what doesn't fit.
    Fit,
    /// Offsets of stack values.
    Stack,
    /// Spill slots.
    Spill,
    /// Where areas begin and end.
    Areas,
    /// Counts of registers.
    Totals,
    /// Results in memory the caller names.
    Hidden,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Rule::Values => {
                "one value for each argument and result, of its type, size and \
                alignment"
            }
            Rule::Frame => "everything lies in the frame, nothing overlaps",
            Rule::Whole => "a value is wholly in registers or wholly in memory",
            Rule::Pieces => {
                "a piece is one basic part, in a register of its class, at its place \
                in it"
            }
            Rule::Sequence => "registers are taken in order, none twice, none skipped",
            Rule::Fit => "a value is on the stack only if the registers left don't hold it",
            Rule::Stack => "a stack value is at the first aligned offset behind its predecessor",
            Rule::Spill => {
                "each Go argument in registers, and nothing else, has a spill slot, \
                behind its predecessor's"
            }
            Rule::Areas => {
                "results begin at the first word behind the arguments, spill slots \
                behind the results, the frame ends behind them"
            }
            Rule::Totals => "register counts are those the values use",
            Rule::Hidden => {
                "results too large for registers, and no others, are behind the \
                hidden pointer"
            }
        })
    }
}

/// A rule that an assignment breaks, and where. Always a bug in the code that made the assignment.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("check: {detail} (rule: {rule})")]
#[non_exhaustive]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// What breaks it: what was found, what was wanted.
    pub detail: String,
}

/// Whether `a` is what its ABI says about `sig`.
///
/// # Errors
/// The first rule found broken.
pub fn check(sig: &Signature, a: &Assignment) -> Result<(), Violation> {
    values_match(a, "argument", sig.arguments(), &a.args)?;
    values_match(a, "result", sig.results().iter(), &a.results)?;
    memory_is_disjoint(a)?;
    match a.abi.native_table() {
        None => go::check(a),
        Some(convention) => native::check(sig, a, convention),
    }
}

fn broken<T>(rule: Rule, detail: String) -> Result<T, Violation> {
    Err(Violation { rule, detail })
}

/// `found == wanted`, or the rule is broken.
fn expect<T: PartialEq + fmt::Display>(
    rule: Rule,
    what: fmt::Arguments<'_>,
    found: T,
    wanted: T,
) -> Result<(), Violation> {
    if found == wanted {
        Ok(())
    } else {
        broken(rule, format!("{what} is {found}, wanted {wanted}"))
    }
}

/// `offset` is the first multiple of `align` that is not before `end`.
fn expect_first_aligned(
    rule: Rule,
    what: fmt::Arguments<'_>,
    offset: u64,
    end: u64,
    align: u64,
) -> Result<(), Violation> {
    if offset >= end && offset - end < align && offset.is_multiple_of(align) {
        return Ok(());
    }
    broken(
        rule,
        format!("{what} is {offset}, wanted the first multiple of {align} from {end} on"),
    )
}

fn values_match<'a>(
    a: &Assignment,
    side: &str,
    types: impl Iterator<Item = &'a Type>,
    values: &[Value],
) -> Result<(), Violation> {
    let mut count = 0;
    for (i, ty) in types.enumerate() {
        count = i + 1;
        let Some(value) = values.get(i) else { continue };
        let measures = match a.abi.native_table() {
            Some(native) => Some(native::measures(native, ty)),
            None => ty.layout().map(|layout| (layout.size, layout.align)),
        };
        let same = value.ty == *ty && measures == Some((value.size, value.align));
        if !same {
            let Value {
                ty: found,
                size,
                align,
                ..
            } = value;
            return broken(
                Rule::Values,
                format!(
                    "{side} {i} is {found}, {size} bytes aligned to {align}, wanted {}",
                    short(ty)
                ),
            );
        }
    }
    expect(
        Rule::Values,
        format_args!("number of {side}s"),
        values.len(),
        count,
    )
}

/// No byte of the frame means two things, and none lies outside. Says nothing on where things
/// should be.
fn memory_is_disjoint(a: &Assignment) -> Result<(), Violation> {
    let mut regions = Vec::new();
    let sides = a
        .args
        .iter()
        .enumerate()
        .map(|(i, value)| ("argument", i, value));
    let sides = sides.chain(
        a.results
            .iter()
            .enumerate()
            .map(|(i, value)| ("result", i, value)),
    );
    for (side, i, value) in sides {
        let (start, what) = match &value.place {
            Place::Stack { offset } => (*offset, ""),
            Place::Regs {
                spill: Some(spill), ..
            } => (*spill, "spill slot of "),
            Place::Reference { copy, .. } => (*copy, "copy of "),
            Place::Split { offset, .. } => (*offset, "rest of "),
            _ => continue,
        };
        let bytes = if matches!(value.place, Place::Split { .. }) {
            value.size.saturating_sub(8)
        } else {
            value.size
        };
        let end = u128::from(start) + u128::from(bytes);
        if end > u128::from(a.frame_size) {
            return broken(
                Rule::Frame,
                format!(
                    "{what}{side} {i} ends at {end}, wanted at most {}",
                    a.frame_size
                ),
            );
        }
        if value.size > 0 {
            regions.push((start, end, what, side, i));
        }
    }
    regions.sort_unstable();
    for pair in regions.windows(2) {
        let (&(_, end, what, side, i), &(start, _, what2, side2, i2)) = (&pair[0], &pair[1]);
        if end > u128::from(start) {
            let detail = format!(
                "{what2}{side2} {i2} begins at {start}, wanted it behind {what}{side} {i}, which \
                 ends at {end}"
            );
            return broken(Rule::Frame, detail);
        }
    }
    Ok(())
}

/// A basic part of a value: what one register carries.
struct Part {
    off: u64,
    size: u64,
    class: RegClass,
    kind: Type,
}

/// The registers a type needs, by the text: one for each basic part in memory order, blank fields
/// included, none for padding. `None` if it is never in registers: an array of two or more
/// anywhere, or more than 255 parts of a class.
fn parts_in_registers(ty: &Type) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    walk(ty, 0, &mut parts)?;
    let floats = parts
        .iter()
        .filter(|part| part.class == RegClass::Float)
        .count();
    (floats <= 255 && parts.len() - floats <= 255).then_some(parts)
}

fn walk(ty: &Type, at: u64, parts: &mut Vec<Part>) -> Option<()> {
    match ty.underlying() {
        Kind::Struct(fields) => fields
            .iter()
            .try_for_each(|field| walk(&field.ty, at + field.offset, parts))?,
        Kind::Array(0, _) => {}
        Kind::Array(1, elem) => walk(elem, at, parts)?,
        Kind::Array(..) => return None,
        _ => parts.extend(basic_parts(ty, at)),
    }
    // No register file is larger; a type may be.
    (parts.len() <= 510).then_some(())
}

/// The parts of a type that is neither struct nor array and begins at `at`.
fn basic_parts(ty: &Type, at: u64) -> Vec<Part> {
    let byte_pointer =
        || Type::pointer_to(Type::uint8()).unwrap_or_else(|_| Type::unsafe_pointer());
    let kinds = match ty.underlying() {
        Kind::String => vec![byte_pointer(), Type::int()],
        Kind::Slice(_) => vec![byte_pointer(), Type::int(), Type::int()],
        Kind::Interface(_) => vec![Type::unsafe_pointer(); 2],
        Kind::Complex64 => vec![Type::float32(); 2],
        Kind::Complex128 => vec![Type::float64(); 2],
        _ => vec![ty.clone()],
    };
    let mut off = at;
    let part = |kind: Type| {
        let size = kind.layout().map_or(0, |layout| layout.size);
        let float = matches!(kind.underlying(), Kind::Float32 | Kind::Float64);
        let class = if float {
            RegClass::Float
        } else {
            RegClass::Int
        };
        let part = Part {
            off,
            size,
            class,
            kind,
        };
        off += size;
        part
    };
    kinds.into_iter().map(part).collect()
}

/// The pieces carry the parts' bytes, one each, in order.
fn pieces_are(what: fmt::Arguments<'_>, pieces: &[Piece], parts: &[Part]) -> Result<(), Violation> {
    expect(
        Rule::Whole,
        format_args!("number of pieces of {what}"),
        pieces.len(),
        parts.len(),
    )?;
    for (k, (piece, part)) in pieces.iter().zip(parts).enumerate() {
        let Piece {
            off, size, kind, ..
        } = piece;
        if (*off, *size) != (part.off, part.size) {
            let (from, to) = (part.off, part.off + part.size);
            let found = format!("{what} piece {k} is {size} bytes at {off}");
            return broken(Rule::Whole, format!("{found}, wanted bytes {from}..{to}"));
        }
        if *kind != part.kind {
            return broken(
                Rule::Pieces,
                format!(
                    "{what} piece {k} is of type {}, wanted {}",
                    short(kind),
                    short(&part.kind)
                ),
            );
        }
    }
    Ok(())
}

/// Registers of both classes taken so far, and how many there are.
struct Registers {
    ints: usize,
    floats: usize,
    max_ints: usize,
    max_floats: usize,
}

impl Registers {
    /// Whether the registers left hold these parts.
    fn hold(&self, parts: &[Part]) -> bool {
        let floats = parts
            .iter()
            .filter(|part| part.class == RegClass::Float)
            .count();
        self.ints + parts.len() - floats <= self.max_ints && self.floats + floats <= self.max_floats
    }

    /// The pieces take the next register of their part's class each, from its lowest byte on.
    fn take(
        &mut self,
        what: fmt::Arguments<'_>,
        pieces: &[Piece],
        parts: &[Part],
    ) -> Result<(), Violation> {
        for (k, (piece, part)) in pieces.iter().zip(parts).enumerate() {
            let class = part.class;
            expect(
                Rule::Pieces,
                format_args!("{what} piece {k}: class of the register"),
                piece.class,
                class,
            )?;
            expect(
                Rule::Pieces,
                format_args!("{what} piece {k}: first byte in the register"),
                piece.reg_off,
                0,
            )?;
            let (next, max) = match class {
                RegClass::Int => (&mut self.ints, self.max_ints),
                RegClass::Float => (&mut self.floats, self.max_floats),
            };
            expect(
                Rule::Sequence,
                format_args!("{what} piece {k}: number of the {class} register"),
                piece.index,
                *next,
            )?;
            if *next >= max {
                let detail = format!(
                    "{what} piece {k} is in {class} register {next}, wanted one below {max}"
                );
                return broken(Rule::Sequence, detail);
            }
            *next += 1;
        }
        Ok(())
    }
}
