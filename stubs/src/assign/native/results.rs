//! Where native results travel: in registers, classified by the convention's rule, or behind the
//! hidden pointer.
#![forbid(unsafe_code)]

use crate::abi::{NativeConvention, RegClass, Results as Rule};
use crate::assign::{Piece, Place, Value, for_each_part};
use crate::signature::{Kind, Layout, Signature, Type, WORD, round_up};

/// No rule looks into a struct of more bytes than this: eight registers of each class.
const MOST: u64 = 16 * WORD;

#[derive(Default)]
pub(super) struct Results {
    pub(super) values: Vec<Value>,
    pub(super) hidden: Option<u64>,
    pub(super) ints: usize,
    pub(super) floats: usize,
}

/// A basic part of the struct of all results.
struct Leaf {
    result: usize,
    /// First byte in its result.
    off: u64,
    /// First byte in the struct.
    at: u64,
    size: u64,
    float: bool,
    kind: Type,
}

/// Register and first byte in it, for each leaf.
type Places = Vec<(RegClass, usize, u64)>;

/// Places the results as one C struct. `Err` is the index of a result that has no bytes.
pub(super) fn place(sig: &Signature, native: &NativeConvention) -> Result<Results, usize> {
    let (mut end, mut align) = (0, 1);
    let mut fields = Vec::new();
    for (i, ty) in sig.results().iter().enumerate() {
        let layout = ty.layout().filter(|layout| layout.size > 0).ok_or(i)?;
        let offset = round_up(end, layout.align);
        end = offset + layout.size;
        align = align.max(layout.align);
        fields.push((ty, layout, offset));
    }
    if fields.is_empty() {
        return Ok(Results::default());
    }
    let size = round_up(end, align);
    let leaves = if size <= MOST {
        leaves(&fields)
    } else {
        Vec::new()
    };
    let places = if is_scalar(&fields) {
        Some(vec![(class_of(&leaves[0]), 0, 0)])
    } else {
        in_registers(native, &leaves, size)
    };
    let Some(places) = places else {
        let values = fields
            .into_iter()
            .map(|(ty, layout, offset)| Value::new(ty, layout, Place::Hidden { offset }));
        return Ok(Results {
            values: values.collect(),
            hidden: Some(size),
            ..Results::default()
        });
    };

    // Registers are used from 0 on, so the highest tells how many; an eightbyte of padding takes
    // none.
    let count = |wanted| {
        let indices = places.iter().filter(|place| place.0 == wanted);
        indices.map(|place| place.1 + 1).max().unwrap_or(0)
    };
    let (ints, floats) = (count(RegClass::Int), count(RegClass::Float));
    let mut pieces: Vec<Vec<Piece>> = vec![Vec::new(); fields.len()];
    for (leaf, (class, index, reg_off)) in leaves.into_iter().zip(places) {
        pieces[leaf.result].push(Piece {
            class,
            index,
            off: leaf.off,
            size: leaf.size,
            reg_off,
            kind: leaf.kind,
        });
    }
    let values = fields.into_iter().zip(pieces);
    let values = values.map(|((ty, layout, _), pieces)| {
        let spill = None;
        Value::new(ty, layout, Place::Regs { pieces, spill })
    });
    Ok(Results {
        values: values.collect(),
        hidden: None,
        ints,
        floats,
    })
}

/// One result that is neither a struct nor an array nor made of several words.
fn is_scalar(fields: &[(&Type, Layout, u64)]) -> bool {
    let [(ty, ..)] = fields else { return false };
    let mut parts = 0;
    match ty.underlying() {
        Kind::Struct(_) | Kind::Array(..) => false,
        _ => {
            for_each_part(ty, &mut |_, _| parts += 1);
            parts == 1
        }
    }
}

/// The registers of a struct of these leaves, `None` if it goes to memory.
fn in_registers(native: &NativeConvention, leaves: &[Leaf], size: u64) -> Option<Places> {
    // The struct's memory image, word by word, in integer registers.
    let words = || {
        let word = |leaf: &Leaf| (RegClass::Int, (leaf.at / WORD) as usize, leaf.at % WORD);
        (size <= 2 * WORD).then(|| leaves.iter().map(word).collect())
    };
    match native.results {
        Rule::Eightbytes if size <= 2 * WORD => Some(eightbytes(leaves)),
        Rule::WordSized if matches!(size, 1 | 2 | 4 | 8) => words(),
        Rule::HomogeneousFloats => homogeneous(leaves, size).or_else(words),
        Rule::FlattenedFloats => flattened(leaves).or_else(words),
        Rule::Parts => one_each(native, leaves, size),
        Rule::Eightbytes | Rule::WordSized | Rule::Scalars => None,
    }
}

/// Each eightbyte goes to a float register if all it holds is floating point, else to an integer
/// register.
fn eightbytes(leaves: &[Leaf]) -> Places {
    let word = |leaf: &Leaf| usize::from(leaf.at >= WORD);
    let mut class = [RegClass::Float; 2];
    for leaf in leaves.iter().filter(|leaf| !leaf.float) {
        class[word(leaf)] = RegClass::Int;
    }
    let index = [0, usize::from(class[0] == class[1])];
    let place = |leaf| (class[word(leaf)], index[word(leaf)], leaf.at % WORD);
    leaves.iter().map(place).collect()
}

/// One to four floats of one size without padding.
fn homogeneous(leaves: &[Leaf], size: u64) -> Option<Places> {
    let first = leaves.first()?.size;
    let alike = leaves.iter().all(|leaf| leaf.float && leaf.size == first);
    let count = leaves.len() as u64;
    let fits = alike && count <= 4 && size == count * first;
    fits.then(|| (0..leaves.len()).map(|i| (RegClass::Float, i, 0)).collect())
}

/// One float, two floats, or one float and one integer, which a pointer is not: so gcc and clang
/// read the ABI.
fn flattened(leaves: &[Leaf]) -> Option<Places> {
    let places = match leaves {
        [one] if one.float => vec![(RegClass::Float, 0, 0)],
        [one, two] if one.float && two.float => {
            vec![(RegClass::Float, 0, 0), (RegClass::Float, 1, 0)]
        }
        [one, two] if one.float && is_integer(&two.kind) || two.float && is_integer(&one.kind) => {
            vec![(class_of(one), 0, 0), (class_of(two), 0, 0)]
        }
        _ => return None,
    };
    Some(places)
}

/// The next register of its class for each leaf.
fn one_each(native: &NativeConvention, leaves: &[Leaf], size: u64) -> Option<Places> {
    let (mut ints, mut floats) = (0..native.int_results.len(), 0..native.float_results.len());
    let place = |leaf: &Leaf| {
        let class = class_of(leaf);
        let index = match class {
            RegClass::Int => ints.next(),
            RegClass::Float => floats.next(),
        };
        Some((class, index?, 0))
    };
    (size <= MOST).then(|| leaves.iter().map(place).collect())?
}

/// Whether C calls it an integer.
fn is_integer(kind: &Type) -> bool {
    !matches!(
        kind.underlying(),
        Kind::Float32
            | Kind::Float64
            | Kind::Pointer(_)
            | Kind::UnsafePointer
            | Kind::Map(..)
            | Kind::Chan(..)
            | Kind::Func(_)
    )
}

fn class_of(leaf: &Leaf) -> RegClass {
    if leaf.float {
        RegClass::Float
    } else {
        RegClass::Int
    }
}

fn leaves(fields: &[(&Type, Layout, u64)]) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for (result, (ty, _, offset)) in fields.iter().enumerate() {
        walk(ty, 0, &mut |off, kind| {
            leaves.push(Leaf {
                result,
                off,
                at: offset + off,
                size: kind.layout().map_or(WORD, |layout| layout.size),
                float: matches!(kind.underlying(), Kind::Float32 | Kind::Float64),
                kind,
            });
        });
    }
    leaves
}

/// The basic parts of a type of at most [`MOST`] bytes, so its arrays are short unless they have no
/// bytes.
fn walk(ty: &Type, at: u64, part: &mut dyn FnMut(u64, Type)) {
    let Some(layout) = ty.layout().filter(|layout| layout.size > 0) else {
        return;
    };
    match ty.underlying() {
        Kind::Array(len, elem) => {
            (0..*len).for_each(|i| walk(elem, at + i * (layout.size / len), part));
        }
        Kind::Struct(fields) => fields
            .iter()
            .for_each(|field| walk(&field.ty, at + field.offset, part)),
        _ => for_each_part(ty, &mut |off, kind| part(at + off, kind)),
    }
}
