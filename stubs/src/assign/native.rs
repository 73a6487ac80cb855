//! C's algorithm, for what a finalizer or callback passes: scalars and interfaces in, anything out.
//!
//! An interface is the C struct of its two words. Several results are the C struct of them all; it is cut into eightbytes,
//! each of which goes to a float register if all it holds is floating point, else to an integer register.
#![forbid(unsafe_code)]

use super::{AssignError, Assignment, Piece, Place, Value, for_each_part, pieces};
use crate::abi::{Abi, NativeConvention, RegClass};
use crate::signature::{Kind, Layout, Role, Signature, Type, WORD, round_up};

const ARGUMENTS: &str = "a boolean, integer, float, pointer, map, channel, function or interface";
const RESULTS: &str = "a type of at least one byte";

pub(super) fn assign(
    sig: &Signature,
    abi: Abi,
    native: &NativeConvention,
) -> Result<Assignment, AssignError> {
    let refuse = |role, ty: &Type, wanted| AssignError::NotByValue {
        role,
        found: ty.clone(),
        wanted,
        abi,
    };

    let results = place_results(sig, native)
        .map_err(|i| refuse(Role::Result(i), &sig.results()[i], RESULTS))?;
    let mut next = Next {
        ints: usize::from(results.hidden.is_some()),
        floats: 0,
        stack: 0,
    };
    let mut args = Vec::new();
    for (i, ty) in sig.arguments().enumerate() {
        let role = || match (sig.receiver(), i) {
            (Some(_), 0) => Role::Receiver,
            (Some(_), i) => Role::Parameter(i - 1),
            (None, i) => Role::Parameter(i),
        };
        let layout = scalar_layout(ty).ok_or_else(|| refuse(role(), ty, ARGUMENTS))?;
        args.push(Value::new(ty, layout, next.place(ty, native)));
    }
    let end = round_up(next.stack, WORD);
    Ok(Assignment {
        abi,
        args,
        results: results.values,
        args_end: next.stack,
        results_off: end,
        results_end: end,
        spill_off: end,
        spill_size: 0,
        frame_size: round_up(end, native.stack_align),
        int_in: next.ints,
        float_in: next.floats,
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
    ints: usize,
    floats: usize,
    stack: u64,
}

impl Next {
    fn place(&mut self, ty: &Type, native: &NativeConvention) -> Place {
        let mut pieces = pieces(ty);
        let floats = pieces
            .iter()
            .filter(|piece| piece.class == RegClass::Float)
            .count();
        let ints = pieces.len() - floats;
        if self.ints + ints > native.int_args.len()
            || self.floats + floats > native.float_args.len()
        {
            let offset = self.stack;
            self.stack += native.stack_slot * pieces.len() as u64;
            return Place::Stack { offset };
        }
        for piece in &mut pieces {
            piece.index += match piece.class {
                RegClass::Int => self.ints,
                RegClass::Float => self.floats,
            };
        }
        self.ints += ints;
        self.floats += floats;
        Place::Regs {
            pieces,
            spill: None,
        }
    }
}

#[derive(Default)]
struct Results {
    values: Vec<Value>,
    hidden: Option<u64>,
    ints: usize,
    floats: usize,
}

/// The results as one C struct. `Err` is the index of a result that has no bytes.
fn place_results(sig: &Signature, native: &NativeConvention) -> Result<Results, usize> {
    let (mut end, mut align) = (0, 1);
    let mut fields = Vec::new();
    for (i, ty) in sig.results().iter().enumerate() {
        let layout = ty.layout().filter(|layout| layout.size > 0).ok_or(i)?;
        let offset = round_up(end, layout.align);
        end = offset + layout.size;
        align = align.max(layout.align);
        fields.push((ty, layout, offset));
    }
    let size = round_up(end, align);
    if size > native.max_register_result {
        let values = fields
            .into_iter()
            .map(|(ty, layout, offset)| Value::new(ty, layout, Place::Hidden { offset }));
        return Ok(Results {
            values: values.collect(),
            hidden: Some(size),
            ..Results::default()
        });
    }

    // At most 16 bytes from here on, so arrays are short and can be walked.
    let mut leaves: Vec<Vec<(u64, Type)>> = Vec::new();
    let (mut is_int, mut is_used) = ([false; 2], [false; 2]);
    for (ty, _, offset) in &fields {
        let mut parts = Vec::new();
        walk(ty, 0, &mut parts);
        for (at, part) in &parts {
            is_int[eightbyte(offset + at)] |= !is_float(part);
            is_used[eightbyte(offset + at)] = true;
        }
        leaves.push(parts);
    }
    let class = is_int.map(|int| if int { RegClass::Int } else { RegClass::Float });
    let index = [0, usize::from(class[0] == class[1])];
    let values = fields
        .into_iter()
        .zip(leaves)
        .map(|((ty, layout, offset), parts)| {
            let pieces = parts.into_iter().map(|(off, kind)| {
                let word = eightbyte(offset + off);
                let size = kind.layout().map_or(WORD, |layout| layout.size);
                Piece {
                    class: class[word],
                    index: index[word],
                    off,
                    size,
                    reg_off: (offset + off) % WORD,
                    kind,
                }
            });
            Value::new(
                ty,
                layout,
                Place::Regs {
                    pieces: pieces.collect(),
                    spill: None,
                },
            )
        });
    // An eightbyte that is nothing but padding takes no register.
    let count = |wanted| {
        (0..2)
            .filter(|&word| is_used[word] && class[word] == wanted)
            .count()
    };
    Ok(Results {
        values: values.collect(),
        hidden: None,
        ints: count(RegClass::Int),
        floats: count(RegClass::Float),
    })
}

fn eightbyte(offset: u64) -> usize {
    usize::from(offset >= WORD)
}

fn is_float(ty: &Type) -> bool {
    matches!(ty.underlying(), Kind::Float32 | Kind::Float64)
}

fn walk(ty: &Type, at: u64, parts: &mut Vec<(u64, Type)>) {
    let Some(layout) = ty.layout().filter(|layout| layout.size > 0) else {
        return;
    };
    match ty.underlying() {
        Kind::Array(len, elem) => {
            (0..*len).for_each(|i| walk(elem, at + i * (layout.size / len), parts))
        }
        Kind::Struct(fields) => fields
            .iter()
            .for_each(|field| walk(&field.ty, at + field.offset, parts)),
        _ => for_each_part(ty, &mut |off, part| parts.push((at + off, part))),
    }
}
