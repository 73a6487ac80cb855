//! The rules of native conventions.
//!
//! * Arguments are passed in order. Each wants a group of registers ([`homes`]), and gets the next
//!   ones if they are all free. Otherwise it goes to the stack, where it begins at the first
//!   multiple of its alignment, at least a slot; or its address is passed as a pointer would be,
//!   and a copy lies above the stack arguments, at a multiple of 16.
//! * Where registers are positional, argument n takes register n or none.
//! * On arm64 whatever went to the stack leaves no register of its class to those that follow. A
//!   value of 16-byte alignment begins with an even register, but not on Apple's.
//! * On riscv64 two words may be half in the last register. Behind `...` two words of 16-byte
//!   alignment begin with an even register, and after one on the stack all are.
//! * Behind `...` Apple has everything on the stack, and Windows has floats in both registers.
//! * A stack slot is 8 bytes, what has 1, 2, 4 or 8 in the low-order ones; where stack arguments
//!   are packed, scalars and homogeneous aggregates take their own size.
//! * Results together are one C struct, one is itself: in registers as it wishes, numbered from the
//!   first, or behind the hidden pointer.
//! * There are no spill slots. The frame is a multiple of the stack's alignment.
#![forbid(unsafe_code)]

mod homes;
mod results;
mod shape;

use self::homes::{Group, Wish, wish};
use self::shape::{Extent, Shape};
use super::{Rule, Violation, broken, expect, expect_first_aligned};
use crate::abi::{Aggregates, Extension, NativeConvention, Pair, RegClass};
use crate::assign::{Assignment, Piece, Place, Value};
use crate::quote::short;
use crate::signature::{CType, Kind, Signature, Type};

pub(super) fn check(
    sig: &Signature,
    a: &Assignment,
    native: &NativeConvention,
) -> Result<(), Violation> {
    let (ints_out, floats_out) = results::check(a, native)?;
    let judge = arguments(sig, a, native)?;
    let copies = if judge.copies > 0 { 16 } else { 1 };
    let areas = [
        ("start of stack results", a.results_off, a.args_end, 8),
        ("end of stack results", a.results_end, a.results_off, 1),
        ("start of the copies", a.spill_off, a.results_end, copies),
        (
            "size of the frame",
            a.frame_size,
            a.spill_off.saturating_add(a.spill_size),
            native.stack_align,
        ),
    ];
    for (what, found, from, align) in areas {
        expect_first_aligned(Rule::Areas, format_args!("{what}"), found, from, align)?;
    }
    expect(
        Rule::Areas,
        format_args!("size of the copies"),
        a.spill_size,
        judge.copies,
    )?;
    let totals = [
        ("integer registers in", a.int_in, judge.taken[0]),
        ("float registers in", a.float_in, judge.taken[1]),
        ("integer registers out", a.int_out, ints_out),
        ("float registers out", a.float_out, floats_out),
    ];
    totals.into_iter().try_for_each(|(what, found, used)| {
        expect(Rule::Totals, format_args!("{what}"), found, used)
    })
}

/// Size and alignment of every value are C's.
pub(super) fn measures(native: &NativeConvention, ty: &Type) -> (u64, u64) {
    let shape = Shape::of(native, ty);
    (shape.size, shape.align)
}

/// What has been given away so far.
struct Judge<'a> {
    native: &'a NativeConvention,
    big_endian: bool,
    /// Number of the next register, integer and float.
    next: [usize; 2],
    /// Registers that carry something.
    taken: [usize; 2],
    end: u64,
    copies: u64,
}

/// A value that is being judged.
struct Case<'v> {
    what: String,
    ty: &'v Type,
    shape: Shape,
    variadic: bool,
}

fn arguments<'a>(
    sig: &Signature,
    a: &Assignment,
    native: &'a NativeConvention,
) -> Result<Judge<'a>, Violation> {
    let hidden = usize::from(a.hidden_result.is_some() && native.hidden.is_none());
    let mut judge = Judge {
        native,
        big_endian: a.abi.machine().big_endian,
        next: [hidden, if native.positional { hidden } else { 0 }],
        taken: [hidden, 0],
        end: 0,
        copies: 0,
    };
    let receiver = usize::from(sig.receiver().is_some());
    let fixed = sig.fixed().map_or(usize::MAX, |fixed| fixed + receiver);
    for (i, value) in a.args.iter().enumerate() {
        let case = Case {
            what: format!("argument {i}"),
            ty: &value.ty,
            shape: Shape::of(native, &value.ty),
            variadic: i >= fixed,
        };
        let is_array = matches!(value.ty.underlying(), Kind::Array(..));
        let needs_words = native.aggregates == Aggregates::Words;
        let kind = value.ty.underlying();
        let is_word = case.shape.extents.len() == 1 || matches!(kind, Kind::Interface(_));
        if is_array || needs_words && !is_word {
            let found = short(&value.ty);
            return broken(
                Rule::Whole,
                format!(
                    "{} is {found}, wanted a type that is passed by value",
                    case.what
                ),
            );
        }
        judge.value(&case, value, a.spill_off)?;
    }
    expect(
        Rule::Areas,
        format_args!("end of stack arguments"),
        a.args_end,
        judge.end,
    )?;
    Ok(judge)
}

fn number(class: RegClass) -> usize {
    usize::from(class == RegClass::Float)
}

impl Judge<'_> {
    fn has(&self, class: RegClass) -> usize {
        match class {
            RegClass::Int => self.native.int_args.len(),
            RegClass::Float => self.native.float_args.len(),
        }
    }

    fn is_arm(&self) -> bool {
        self.native.pair == Pair::TogetherOrLast
    }

    /// Apple's, where stack arguments are packed.
    fn is_packed(&self) -> bool {
        self.native.stack_slot == 1
    }

    fn is_riscv(&self) -> bool {
        self.native.extension == Extension::CallerFromBit31
    }

    fn value(&mut self, case: &Case<'_>, value: &Value, copies: u64) -> Result<(), Violation> {
        let packs = self.is_packed();
        let wish = wish(self.native, case.ty, &case.shape, case.variadic, false);
        let groups = match wish {
            Wish::Nothing => return self.pieces(case, &value.place, &[]),
            Wish::Address => return self.copy(case, value, copies),
            Wish::Memory => return self.stack(case, &value.place),
            // Everything behind `...` is on the stack.
            Wish::Registers(_) if packs && case.variadic => return self.stack(case, &value.place),
            Wish::Registers(groups) => groups,
            Wish::Either(own, words) => {
                if self.are_free(&own) {
                    return self.pieces(case, &value.place, &own);
                }
                if words.is_empty() {
                    return self.copy(case, value, copies);
                }
                words
            }
        };
        let skipped = self.pair_begins_even(case, &groups);
        let before = self.next;
        self.next[0] += skipped;
        let ints = groups
            .iter()
            .filter(|group| group.0 == RegClass::Int)
            .count();
        let left = self.has(RegClass::Int).saturating_sub(self.next[0]);
        let splits = self.native.pair == Pair::Words && ints == 2 && groups.len() == 2;
        if splits && left == 1 && skipped == 0 && !(case.variadic && self.is_wide(case)) {
            return self.half(case, &value.place, groups[0]);
        }
        if self.are_free(&groups) {
            return self.pieces(case, &value.place, &groups);
        }
        self.next = before;
        let closes = self.is_arm() || self.is_riscv() && case.variadic;
        if closes && let Some(&(class, ..)) = groups.first() {
            self.next[number(class)] = self.has(class);
        }
        if let (Place::Regs { .. }, true) = (&value.place, closes) {
            return misplaced(&case.what, &value.place);
        }
        self.stack(case, &value.place)
    }

    /// Two words of 16-byte alignment.
    fn is_wide(&self, case: &Case<'_>) -> bool {
        let align = if self.is_arm() {
            case.shape.inner_align
        } else {
            case.shape.align
        };
        case.shape.size == 16 && align >= 16
    }

    /// How many integer registers are left out so that the pair begins with an even one.
    fn pair_begins_even(&self, case: &Case<'_>, groups: &[Group]) -> usize {
        let is_arm = self.is_arm() && !self.is_packed();
        let rule = is_arm || self.is_riscv() && case.variadic;
        let is_pair = groups.len() == 2 && groups.iter().all(|group| group.0 == RegClass::Int);
        if rule && is_pair && self.is_wide(case) {
            self.next[0] % 2
        } else {
            0
        }
    }

    fn are_free(&self, groups: &[Group]) -> bool {
        [RegClass::Int, RegClass::Float].into_iter().all(|class| {
            let wanted = groups.iter().filter(|group| group.0 == class).count();
            wanted == 0 || self.next[number(class)] + wanted <= self.has(class)
        })
    }

    /// The value's pieces are these groups, in the next registers of their classes.
    fn pieces(
        &mut self,
        case: &Case<'_>,
        place: &Place,
        groups: &[Group],
    ) -> Result<(), Violation> {
        let what = &case.what;
        let Place::Regs { pieces, spill } = place else {
            return broken(
                if matches!(place, Place::Stack { .. }) {
                    Rule::Fit
                } else {
                    Rule::Whole
                },
                format!("{what} is {}, wanted it in the registers left", name(place)),
            );
        };
        no_spill(what, *spill)?;
        let twice = self.native.positional && case.variadic && groups[0].0 == RegClass::Float;
        let count = groups.len() + usize::from(twice);
        expect(
            Rule::Whole,
            format_args!("number of pieces of {what}"),
            pieces.len(),
            count,
        )?;
        for (piece, &group) in pieces.iter().zip(groups) {
            self.piece(case, piece, group)?;
        }
        if twice {
            let again = (RegClass::Int, pieces[0].index);
            expect(
                Rule::Pieces,
                format_args!("integer register that has {what} too"),
                format!("{} {}", pieces[1].class, pieces[1].index),
                format!("{} {}", again.0, again.1),
            )?;
            let both = (pieces[1].off, pieces[1].size, pieces[1].reg_off);
            if both != (pieces[0].off, pieces[0].size, pieces[0].reg_off) {
                return broken(Rule::Whole, format!("{what} differs in its two registers"));
            }
            self.taken[0] += 1;
        }
        Ok(())
    }

    fn piece(&mut self, case: &Case<'_>, piece: &Piece, group: Group) -> Result<(), Violation> {
        let (class, what) = (group.0, &case.what);
        piece_is(what, piece, group, case)?;
        expect(
            Rule::Pieces,
            format_args!("{what}: class of the register"),
            piece.class,
            class,
        )?;
        expect(
            Rule::Pieces,
            format_args!("{what}: first byte in the register"),
            piece.reg_off,
            0,
        )?;
        let next = self.next[number(class)];
        expect(
            Rule::Sequence,
            format_args!("{what}: number of the {class} register"),
            piece.index,
            next,
        )?;
        self.next[number(class)] += 1;
        self.taken[number(class)] += 1;
        if self.native.positional {
            self.next = [next + 1; 2];
        }
        Ok(())
    }

    /// The first word in the last register, the rest in the next slot.
    fn half(&mut self, case: &Case<'_>, place: &Place, group: Group) -> Result<(), Violation> {
        let Place::Split { piece, offset } = place else {
            return misplaced(&case.what, place);
        };
        self.piece(case, piece, group)?;
        let name = format_args!("offset of {}", case.what);
        expect_first_aligned(Rule::Stack, name, *offset, self.end, 8)?;
        self.end = offset + 8;
        Ok(())
    }

    /// A copy and its address, which is passed as a pointer is.
    fn copy(&mut self, case: &Case<'_>, value: &Value, copies: u64) -> Result<(), Violation> {
        let Place::Reference { pointer, copy } = &value.place else {
            return misplaced(&case.what, &value.place);
        };
        let wanted = copies.saturating_add(self.copies.next_multiple_of(16));
        expect(
            Rule::Stack,
            format_args!("offset of the copy of {}", case.what),
            *copy,
            wanted,
        )?;
        let end = self.copies.next_multiple_of(16) + case.shape.size.max(1);
        self.copies = end.next_multiple_of(8);
        let ty = Type::unsafe_pointer();
        let address = Case {
            what: format!("address of {}", case.what),
            shape: Shape::of(self.native, &ty),
            ty: &ty,
            variadic: case.variadic,
        };
        let own = Value {
            ty: ty.clone(),
            size: 8,
            align: 8,
            place: (**pointer).clone(),
        };
        self.value(&address, &own, copies)
    }

    /// In its slots, at their start or in the low-order bytes, or packed.
    fn stack(&mut self, case: &Case<'_>, place: &Place) -> Result<(), Violation> {
        let what = &case.what;
        let Place::Stack { offset } = place else {
            return misplaced(what, place);
        };
        let (size, native) = (case.shape.size, self.native);
        let wish = wish(native, case.ty, &case.shape, false, false);
        let is_float = |group: &Group| group.0 == RegClass::Float;
        let uniform = matches!(&wish, Wish::Registers(all) if all.iter().all(is_float));
        let is_scalar = case.shape.extents.len() == 1 && !is_struct(case.ty);
        let own = self.is_packed() && !case.variadic && (uniform || is_scalar);
        let (align, room) = if own {
            let scalar = case.shape.extents.first().map_or(1, Extent::len);
            (scalar, size)
        } else {
            let align = match () {
                _ if self.is_packed() => case.shape.align.min(16),
                _ if self.is_arm() => case.shape.inner_align.min(16),
                _ if self.is_riscv() => case.shape.align.min(16),
                _ if native.aggregates == Aggregates::SingleFloat || native.positional => 8,
                _ => case.shape.align,
            };
            (align.max(8), size.next_multiple_of(8))
        };
        let is_single = matches!(case.ty.underlying(), Kind::Float32 | Kind::Float64);
        let at_start = is_single && native.float32_at_slot_start;
        let low = if self.big_endian && matches!(size, 1 | 2 | 4 | 8) && !at_start {
            room - size
        } else {
            0
        };
        let Some(start) = offset.checked_sub(low) else {
            return broken(Rule::Stack, format!("offset of {what} is {offset}"));
        };
        let name = format_args!("start of the slot of {what}");
        expect_first_aligned(Rule::Stack, name, start, self.end, align)?;
        self.end = start + room;
        Ok(())
    }
}

fn is_struct(ty: &Type) -> bool {
    matches!(ty.underlying(), Kind::Struct(_) | Kind::C(CType::Record(_)))
}

/// The piece carries these bytes, and says what they are.
fn piece_is(
    what: &str,
    piece: &Piece,
    (_, from, to): Group,
    case: &Case<'_>,
) -> Result<(), Violation> {
    if (piece.off, piece.size) != (from, to - from) {
        let found = format!("{what}: piece of {} bytes at {}", piece.size, piece.off);
        return broken(Rule::Whole, format!("{found}, wanted bytes {from}..{to}"));
    }
    kind_is(what, piece, &case.shape, (from, to))
}

/// The piece's type is the scalar's if the bytes are just one, else that of so many bytes.
fn kind_is(
    what: &str,
    piece: &Piece,
    shape: &Shape,
    (from, to): (u64, u64),
) -> Result<(), Violation> {
    let mut inside = shape
        .extents
        .iter()
        .filter(|one| one.from < to && one.to > from);
    let scalar = match (inside.next(), inside.next()) {
        (Some(one), None) if (one.from, one.to) == (from, to) && !one.bits => Some(&one.ty),
        _ => None,
    };
    let (same, wanted) = match (scalar, piece.kind.kind()) {
        (Some(ty), _) => (piece.kind == *ty, short(ty).to_string()),
        (None, Kind::Array(len, elem)) => (
            *len == to - from && *elem == Type::uint8(),
            "an array of its bytes".to_owned(),
        ),
        (None, _) => (false, "an array of its bytes".to_owned()),
    };
    if same {
        return Ok(());
    }
    let found = short(&piece.kind);
    broken(
        Rule::Pieces,
        format!("{what}: piece of type {found}, wanted {wanted}"),
    )
}

fn no_spill(what: &str, spill: Option<u64>) -> Result<(), Violation> {
    match spill {
        None => Ok(()),
        Some(_) => broken(Rule::Spill, format!("{what} has a spill slot, wanted none")),
    }
}

fn name(place: &Place) -> &'static str {
    match place {
        Place::Hidden { .. } => "behind the hidden pointer",
        Place::Regs { .. } => "in registers that are not left",
        Place::Stack { .. } => "on the stack",
        Place::Split { .. } => "split",
        Place::Reference { .. } => "a reference",
    }
}

fn misplaced(what: &str, place: &Place) -> Result<(), Violation> {
    let rule = match place {
        Place::Hidden { .. } => Rule::Hidden,
        Place::Regs { .. } => Rule::Sequence,
        Place::Stack { .. } => Rule::Fit,
        Place::Split { .. } | Place::Reference { .. } => Rule::Whole,
    };
    broken(
        rule,
        format!("{what} is {}, wanted it elsewhere", name(place)),
    )
}
