//! The algorithms of native conventions, driven by their tables, for what a finalizer or callback
//! passes: scalars and interfaces in, anything out.
//!
//! An interface is the C struct of its two words. Several results are the C struct of them all.
#![forbid(unsafe_code)]

mod results;

use super::{AssignError, Assignment, Piece, Place, Value, pieces};
use crate::abi::{Abi, NativeConvention, Pair, RegClass};
use crate::signature::{Kind, Layout, Role, Signature, Type, WORD, round_up};

const ARGUMENTS: &str = "a boolean, integer, float, pointer, map, channel, function or interface";
const RESULTS: &str = "a type of at least one byte";

/// Copies of arguments lie at multiples of this.
const COPY_ALIGN: u64 = 16;

pub(super) fn assign(
    sig: &Signature,
    abi: Abi,
    native: &'static NativeConvention,
) -> Result<Assignment, AssignError> {
    let refuse = |role, ty: &Type, wanted| AssignError::NotByValue {
        role,
        found: ty.clone(),
        wanted,
        abi,
    };

    let results = results::place(sig, native)
        .map_err(|i| refuse(Role::Result(i), &sig.results()[i], RESULTS))?;
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
    let mut args = Vec::new();
    for (i, ty) in sig.arguments().enumerate() {
        let role = || match (sig.receiver(), i) {
            (Some(_), 0) => Role::Receiver,
            (Some(_), i) => Role::Parameter(i - 1),
            (None, i) => Role::Parameter(i),
        };
        let layout = scalar_layout(ty).ok_or_else(|| refuse(role(), ty, ARGUMENTS))?;
        args.push(Value::new(ty, layout, next.place(ty)));
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

/// Layout of a type that may be an argument.
fn scalar_layout(ty: &Type) -> Option<Layout> {
    let refused = matches!(
        ty.underlying(),
        Kind::String
            | Kind::Complex64
            | Kind::Complex128
            | Kind::Slice(_)
            | Kind::Array(..)
            | Kind::Struct(_)
    );
    if refused { None } else { ty.layout() }
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
    fn place(&mut self, ty: &Type) -> Place {
        let mut pieces = pieces(ty);
        if pieces.len() == 1
            && let Some(piece) = pieces.pop()
        {
            return self.scalar(piece);
        }
        let left = self.native.int_args.len().saturating_sub(self.ints);
        match self.native.pair {
            Pair::Reference => {
                let copy = self.copies;
                self.copies += pieces.len() as u64 * WORD;
                let pointer = Box::new(self.scalar(Piece {
                    class: RegClass::Int,
                    index: 0,
                    off: 0,
                    size: WORD,
                    reg_off: 0,
                    kind: Type::unsafe_pointer(),
                }));
                Place::Reference { pointer, copy }
            }
            Pair::Words if left == 1 => {
                let mut piece = pieces.swap_remove(0);
                piece.index = self.take(RegClass::Int).unwrap_or_default();
                let offset = self.slot(WORD, false);
                Place::Split { piece, offset }
            }
            _ if left >= pieces.len() => {
                for piece in &mut pieces {
                    piece.index = self.take(RegClass::Int).unwrap_or_default();
                }
                Place::Regs {
                    pieces,
                    spill: None,
                }
            }
            pair => {
                if pair == Pair::TogetherOrLast {
                    self.ints = self.native.int_args.len();
                }
                let offset = self.slot(WORD, false);
                for _ in 1..pieces.len() {
                    self.slot(WORD, false);
                }
                Place::Stack { offset }
            }
        }
    }

    /// One register, or else a place on the stack.
    fn scalar(&mut self, mut piece: Piece) -> Place {
        let own = self.take(piece.class).map(|index| (piece.class, index));
        let found = own.or_else(|| {
            let other = piece.class == RegClass::Float && self.native.floats_in_ints;
            let index = other.then(|| self.take(RegClass::Int)).flatten()?;
            Some((RegClass::Int, index))
        });
        let Some((class, index)) = found else {
            return Place::Stack {
                offset: self.slot(piece.size, piece.class == RegClass::Float),
            };
        };
        (piece.class, piece.index) = (class, index);
        Place::Regs {
            pieces: vec![piece],
            spill: None,
        }
    }

    fn take(&mut self, class: RegClass) -> Option<usize> {
        let (next, count, used) = match class {
            RegClass::Int => (&mut self.ints, self.native.int_args.len(), 0),
            RegClass::Float => (&mut self.floats, self.native.float_args.len(), 1),
        };
        let index = *next;
        if index >= count {
            return None;
        }
        *next += 1;
        self.used[used] += 1;
        if self.native.positional {
            (self.ints, self.floats) = (index + 1, index + 1);
        }
        Some(index)
    }

    /// The stack place of a scalar: in a slot, or packed.
    fn slot(&mut self, size: u64, float: bool) -> u64 {
        let slot = self.native.stack_slot;
        let start = round_up(self.stack, slot.max(size));
        self.stack = start + round_up(size, slot);
        if self.big_endian && !(float && self.native.float32_at_slot_start) {
            self.stack - size
        } else {
            start
        }
    }
}
