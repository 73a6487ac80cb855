//! The rules of native conventions, for scalars and interfaces in and anything out.
//!
//! * Arguments are passed in order. A scalar takes the next register of its class, or, where the
//!   ABI says so, a float without float registers the next integer register, or else the next stack
//!   slot. Where registers are positional, argument n takes register n or none.
//! * An interface is the C struct of two pointers: two registers or the stack (and then, where the
//!   ABI says so, no later argument gets an integer register), or one of each, or a copy whose
//!   address is passed as a pointer would be.
//! * A stack slot is 8 bytes, its value in the low-order ones; where stack arguments are packed, it
//!   is the value's own size.
//! * Results together are one C struct; a single scalar is in the first register of its class;
//!   [`results`] has the rest.
//! * There are no spill slots; copies lie above the stack arguments. The frame is a multiple of the
//!   stack's alignment.
#![forbid(unsafe_code)]

mod results;

use super::{Part, Rule, Violation, broken, expect, expect_first_aligned, parts_in_registers};
use crate::abi::{NativeConvention, Pair, RegClass};
use crate::assign::{Assignment, Piece, Place, Value};
use crate::quote::short;
use crate::signature::{Kind, WORD};

pub(super) fn check(a: &Assignment, native: &NativeConvention) -> Result<(), Violation> {
    let (ints_out, floats_out) = results::check(a, native)?;
    let judge = arguments(a, native)?;
    let areas = [
        ("start of stack results", a.results_off, a.args_end, WORD),
        ("end of stack results", a.results_end, a.results_off, 1),
        (
            "start of the copies",
            a.spill_off,
            a.results_end,
            if judge.copies > 0 { 16 } else { 1 },
        ),
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
        ("integer registers in", a.int_in, judge.taken(RegClass::Int)),
        (
            "float registers in",
            a.float_in,
            judge.taken(RegClass::Float),
        ),
        ("integer registers out", a.int_out, ints_out),
        ("float registers out", a.float_out, floats_out),
    ];
    totals.into_iter().try_for_each(|(what, found, used)| {
        expect(Rule::Totals, format_args!("{what}"), found, used)
    })
}

/// What has been given away so far.
struct Judge<'a> {
    native: &'a NativeConvention,
    big_endian: bool,
    /// Registers in use, by class and number.
    used: Vec<(RegClass, usize)>,
    /// No more integer registers.
    closed: bool,
    end: u64,
    copies: u64,
}

fn arguments<'a>(a: &Assignment, native: &'a NativeConvention) -> Result<Judge<'a>, Violation> {
    let mut judge = Judge {
        native,
        big_endian: a.abi.machine().big_endian,
        used: Vec::new(),
        closed: false,
        end: 0,
        copies: 0,
    };
    if a.hidden_result.is_some() && native.hidden.is_none() {
        judge.used.push((RegClass::Int, 0));
    }
    for (i, value) in a.args.iter().enumerate() {
        let what = format!("argument {i}");
        let composite = matches!(
            value.ty.underlying(),
            Kind::Struct(_)
                | Kind::Array(..)
                | Kind::String
                | Kind::Slice(_)
                | Kind::Complex64
                | Kind::Complex128
        );
        let Some(parts) = parts_in_registers(&value.ty).filter(|_| !composite) else {
            return broken(
                Rule::Whole,
                format!(
                    "{what} is {}, wanted a scalar or an interface",
                    short(&value.ty)
                ),
            );
        };
        match &parts[..] {
            [part] => judge.scalar(&what, &value.place, part)?,
            parts => judge.pair(&what, value, parts, a.spill_off)?,
        }
    }
    expect(
        Rule::Areas,
        format_args!("end of stack arguments"),
        a.args_end,
        judge.end,
    )?;
    Ok(judge)
}

impl Judge<'_> {
    fn taken(&self, class: RegClass) -> usize {
        self.used.iter().filter(|used| used.0 == class).count()
    }

    /// The register of this class that is next, if one is left.
    fn next(&self, class: RegClass) -> Option<usize> {
        let count = match class {
            RegClass::Int if self.closed => 0,
            RegClass::Int => self.native.int_args.len(),
            RegClass::Float => self.native.float_args.len(),
        };
        let before = if self.native.positional {
            self.used.len()
        } else {
            self.taken(class)
        };
        (before < count).then_some(before)
    }

    /// The register a scalar part must take; `None`: the stack.
    fn register(&self, class: RegClass) -> Option<(RegClass, usize)> {
        let own = self.next(class).map(|n| (class, n));
        let may_move = class == RegClass::Float && self.native.floats_in_ints;
        let other = || Some((RegClass::Int, self.next(RegClass::Int)?));
        own.or_else(|| if may_move { other() } else { None })
    }

    fn scalar(&mut self, what: &str, place: &Place, part: &Part) -> Result<(), Violation> {
        match (place, self.register(part.class)) {
            (Place::Regs { pieces, spill }, Some(register)) => {
                no_spill(what, *spill)?;
                expect(
                    Rule::Whole,
                    format_args!("number of pieces of {what}"),
                    pieces.len(),
                    1,
                )?;
                self.piece(what, &pieces[0], part, register)
            }
            (Place::Stack { offset }, None) => self.slot(what, *offset, part),
            (Place::Stack { .. }, Some(_)) => broken(
                Rule::Fit,
                format!("{what} is on the stack, wanted it in the registers left"),
            ),
            (place, _) => misplaced(what, place),
        }
    }

    fn pair(
        &mut self,
        what: &str,
        value: &Value,
        parts: &[Part],
        copies: u64,
    ) -> Result<(), Violation> {
        let left = (0..)
            .take_while(|k| {
                self.next(RegClass::Int)
                    .is_some_and(|next| next + k < self.native.int_args.len())
            })
            .count();
        match (&value.place, self.native.pair) {
            (Place::Reference { pointer, copy }, Pair::Reference) => {
                let name = format!("copy of {what}");
                expect(
                    Rule::Stack,
                    format_args!("offset of {name}"),
                    *copy,
                    copies.saturating_add(self.copies),
                )?;
                self.copies += value.size;
                let address = Part {
                    off: 0,
                    size: WORD,
                    class: RegClass::Int,
                    kind: crate::Type::unsafe_pointer(),
                };
                self.scalar(&format!("address of {what}"), pointer, &address)
            }
            (place, Pair::Reference) => misplaced(what, place),
            (Place::Split { piece, offset }, Pair::Words) if left == 1 => {
                let next = self.next(RegClass::Int).unwrap_or_default();
                self.piece(what, piece, &parts[0], (RegClass::Int, next))?;
                self.slot(what, *offset, &parts[1])
            }
            (Place::Regs { pieces, spill }, _) if left >= 2 => {
                no_spill(what, *spill)?;
                expect(
                    Rule::Whole,
                    format_args!("number of pieces of {what}"),
                    pieces.len(),
                    parts.len(),
                )?;
                for (piece, part) in pieces.iter().zip(parts) {
                    let next = self.next(RegClass::Int).unwrap_or_default();
                    self.piece(what, piece, part, (RegClass::Int, next))?;
                }
                Ok(())
            }
            (Place::Stack { .. }, _) if left >= 2 => broken(
                Rule::Fit,
                format!("{what} is on the stack, wanted it in the registers left"),
            ),
            (Place::Stack { offset }, pair) if left == 0 || pair != Pair::Words => {
                self.closed |= pair == Pair::TogetherOrLast;
                self.slot(what, *offset, &parts[0])?;
                self.slot(what, offset + WORD, &parts[1])
            }
            (place, _) => misplaced(what, place),
        }
    }

    /// A piece is this part, from the register's lowest byte on.
    fn piece(
        &mut self,
        what: &str,
        piece: &Piece,
        part: &Part,
        register: (RegClass, usize),
    ) -> Result<(), Violation> {
        super::pieces_are(
            format_args!("{what}"),
            std::slice::from_ref(piece),
            std::slice::from_ref(part),
        )?;
        expect(
            Rule::Pieces,
            format_args!("{what}: class of the register"),
            piece.class,
            register.0,
        )?;
        expect(
            Rule::Pieces,
            format_args!("{what}: first byte in the register"),
            piece.reg_off,
            0,
        )?;
        expect(
            Rule::Sequence,
            format_args!("{what}: number of the {} register", register.0),
            piece.index,
            register.1,
        )?;
        self.used.push(register);
        Ok(())
    }

    /// A stack value: in its slot's low-order bytes, or packed.
    fn slot(&mut self, what: &str, offset: u64, part: &Part) -> Result<(), Violation> {
        let slot = self.native.stack_slot;
        let start = if slot == WORD {
            offset / WORD * WORD
        } else {
            offset
        };
        let align = slot.max(part.size);
        let name = format_args!("offset of {what}");
        expect_first_aligned(Rule::Stack, name, start, self.end, align)?;
        let float = part.class == RegClass::Float && self.native.float32_at_slot_start;
        let low = if self.big_endian && slot == WORD && !float {
            WORD - part.size
        } else {
            0
        };
        expect(
            Rule::Stack,
            format_args!("first byte of {what} in its slot"),
            offset - start,
            low,
        )?;
        self.end = start + part.size.next_multiple_of(slot);
        Ok(())
    }
}

fn no_spill(what: &str, spill: Option<u64>) -> Result<(), Violation> {
    match spill {
        None => Ok(()),
        Some(_) => broken(Rule::Spill, format!("{what} has a spill slot, wanted none")),
    }
}

fn misplaced(what: &str, place: &Place) -> Result<(), Violation> {
    let (rule, found) = match place {
        Place::Hidden { .. } => (Rule::Hidden, "behind the hidden pointer"),
        Place::Regs { .. } => (Rule::Sequence, "in registers that are not left"),
        Place::Stack { .. } => (Rule::Fit, "on the stack"),
        Place::Split { .. } => (Rule::Whole, "split"),
        Place::Reference { .. } => (Rule::Whole, "a reference"),
    };
    broken(rule, format!("{what} is {found}, wanted it elsewhere"))
}
