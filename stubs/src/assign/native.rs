//! The algorithm of native conventions: one walk over the arguments, each classified by the
//! convention's table, with roll-back.
//!
//! A value takes a set of registers whole or not at all; where the convention says so, half in the
//! last register and half on the stack. An interface is the C struct of its two words. Several
//! results are the C struct of them all.
#![forbid(unsafe_code)]

mod pieces;
mod results;

use super::{AssignError, Assignment, Piece, Place, Value};
use crate::abi::classify::{Class, Position, Rest, Way, classify};
use crate::abi::{Abi, NativeConvention, RegClass};
use crate::signature::{Kind, Role, Signature, Type, WORD, round_up};

/// Copies of arguments lie at multiples of this.
const COPY_ALIGN: u64 = 16;

const ARRAY: &str = "C has no arrays as parameters";
const NO_BYTES: &str = "C has no result without bytes";
const NOT_VARIADIC: &str = "it has no variadic functions";

pub(super) fn assign(
    sig: &Signature,
    abi: Abi,
    native: &'static NativeConvention,
) -> Result<Assignment, AssignError> {
    let refuse = |role: Role, ty: &Type, why| AssignError::NotByValue {
        role,
        found: ty.clone(),
        abi,
        why,
    };
    let results = results::place(sig, native)
        .map_err(|(i, why)| refuse(Role::Result(i), &sig.results()[i], why))?;
    let takes_argument = usize::from(results.hidden.is_some() && native.hidden.is_none());
    let mut next = Next {
        native,
        big_endian: abi.machine().big_endian,
        ints: takes_argument,
        floats: if native.positional { takes_argument } else { 0 },
        used: [takes_argument, 0],
        stack: 0,
        copies: 0,
    };
    let fixed = sig.fixed().unwrap_or(usize::MAX);
    let mut args = Vec::new();
    for (i, ty) in sig.arguments().enumerate() {
        let role = match (sig.receiver(), i) {
            (Some(_), 0) => Role::Receiver,
            (Some(_), i) => Role::Parameter(i - 1),
            (None, i) => Role::Parameter(i),
        };
        let position = match role {
            Role::Parameter(i) if i >= fixed => Position::Variadic,
            _ => Position::Fixed,
        };
        let class = match ty.underlying() {
            Kind::Array(..) => Err(ARRAY),
            _ if position == Position::Variadic && native.callee_pops => Err(NOT_VARIADIC),
            _ => classify(native, ty, position),
        };
        let class = class.map_err(|why| refuse(role, ty, why))?;
        let place = next.place(ty, &class, position);
        args.extend(Value::under(abi, ty, place));
    }
    let end = round_up(next.stack, WORD);
    let copies = if next.copies > 0 {
        round_up(end, COPY_ALIGN)
    } else {
        end
    };
    for arg in &mut args {
        if let Place::Reference { copy, .. } = &mut arg.place {
            *copy += copies;
        }
    }
    Ok(Assignment {
        abi,
        args,
        results: results.values,
        args_end: next.stack,
        results_off: end,
        results_end: end,
        spill_off: copies,
        spill_size: next.copies,
        frame_size: round_up(copies + next.copies, native.stack_align),
        int_in: next.used[0],
        float_in: next.used[1],
        int_out: results.ints,
        float_out: results.floats,
        hidden_result: results.hidden,
    })
}

/// Argument registers and stack taken so far.
struct Next {
    native: &'static NativeConvention,
    big_endian: bool,
    /// Next register of each class; the two go together where registers are positional.
    ints: usize,
    floats: usize,
    /// Registers of each class that carry something.
    used: [usize; 2],
    stack: u64,
    /// Bytes of copies, counted from the first.
    copies: u64,
}

impl Next {
    fn place(&mut self, ty: &Type, class: &Class, position: Position) -> Place {
        if let Some(place) = class.ways.iter().find_map(|way| self.registers(ty, way)) {
            return place;
        }
        match class.rest {
            Rest::Nothing => Place::Regs {
                pieces: Vec::new(),
                spill: None,
            },
            Rest::Stack {
                align,
                room,
                low,
                closes,
            } => {
                match closes {
                    Some(RegClass::Int) => self.ints = self.native.int_args.len(),
                    Some(RegClass::Float) => self.floats = self.native.float_args.len(),
                    None => {}
                }
                let size = self.native.data.layout(ty).map_or(0, |layout| layout.size);
                let start = round_up(self.stack, align);
                self.stack = start + room;
                let is_float = matches!(ty.underlying(), Kind::Float32 | Kind::Float64);
                let at_start = is_float && self.native.float32_at_slot_start;
                let offset = if self.big_endian && low && !at_start {
                    self.stack - size
                } else {
                    start
                };
                Place::Stack { offset }
            }
            Rest::Reference => {
                let size = self.native.data.layout(ty).map_or(0, |layout| layout.size);
                let copy = round_up(self.copies, COPY_ALIGN);
                // The copy of an empty struct has an address of its own too.
                self.copies = round_up(copy + size.max(1), WORD);
                let address = Type::unsafe_pointer();
                // A pointer is passed everywhere.
                let class = classify(self.native, &address, position).unwrap_or(Class {
                    ways: Vec::new(),
                    rest: Rest::Nothing,
                });
                let pointer = Box::new(self.place(&address, &class, position));
                Place::Reference { pointer, copy }
            }
        }
    }

    /// The registers of this set, if they are free; else nothing is taken.
    fn registers(&mut self, ty: &Type, way: &Way) -> Option<Place> {
        let (ints, floats) = (self.native.int_args.len(), self.native.float_args.len());
        let first = if way.even {
            self.ints.next_multiple_of(2)
        } else {
            self.ints
        };
        let count = |class| way.parts.iter().filter(|part| part.class == class).count();
        let (wanted_ints, wanted_floats) = (count(RegClass::Int), count(RegClass::Float));
        let has_floats = wanted_floats == 0 || self.floats + wanted_floats <= floats;
        if has_floats && way.splits && wanted_ints == 2 && first + 1 == ints {
            let mut pieces = pieces::of(self.native, ty, &way.parts);
            pieces.truncate(1);
            let mut piece = pieces.pop()?;
            piece.index = self.take(RegClass::Int);
            let offset = round_up(self.stack, WORD);
            self.stack = offset + WORD;
            return Some(Place::Split { piece, offset });
        }
        if !has_floats || wanted_ints > 0 && first + wanted_ints > ints {
            return None;
        }
        if wanted_ints > 0 {
            self.ints = first;
        }
        let mut pieces = pieces::of(self.native, ty, &way.parts);
        for piece in &mut pieces {
            piece.index = self.take(piece.class);
        }
        if way.twice
            && let [piece] = &mut pieces[..]
        {
            let again = Piece {
                class: RegClass::Int,
                ..piece.clone()
            };
            self.used[0] += 1;
            pieces.push(again);
        }
        Some(Place::Regs {
            pieces,
            spill: None,
        })
    }

    /// The next register of this class.
    fn take(&mut self, class: RegClass) -> usize {
        let (next, used) = match class {
            RegClass::Int => (&mut self.ints, 0),
            RegClass::Float => (&mut self.floats, 1),
        };
        let index = *next;
        *next += 1;
        self.used[used] += 1;
        if self.native.positional {
            (self.ints, self.floats) = (index + 1, index + 1);
        }
        index
    }
}
