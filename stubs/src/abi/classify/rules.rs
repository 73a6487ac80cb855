//! The rules of each convention, from its text.
#![forbid(unsafe_code)]

use super::homogeneous::homogeneous as homogeneous_members;
use super::leaves::{Leaf, Scalar, leaves};
use super::{Class, Part, Position, Rest, Subject, Way};
use crate::abi::{NativeConvention, Pair, RegClass};
use crate::signature::{CType, DataModel, Kind, Type, WORD, round_up};

/// Most bytes of a value in two registers.
const TWO_WORDS: u64 = 2 * WORD;

const ST0: &str = "it comes back in the x87 register st0, which generated code can't read";

const ALL_CLASSES: &str =
    "the order of the union's members, a long double, a float and an integer, decides its class";

const EMPTY_ARRAY: &str =
    "compilers differ on whether an array of length 0 behind floats makes them an integer";

const MISPLACED: &str = "compilers differ on a member of a packed struct that lies at no multiple \
                         of its alignment while all scalars in it do";

/// System V: each eightbyte in a register of its class, all or none.
pub(super) fn eightbytes(subject: &Subject<'_>) -> Result<Class, &'static str> {
    let (layout, native) = (subject.layout, subject.native);
    if layout.size == 0 {
        return Ok(Class::none(Rest::Nothing));
    }
    let memory = if subject.is_result() {
        Rest::Reference
    } else {
        subject.slot(layout.align)
    };
    // What is larger is in memory, but for two numbers of the x87 unit as a result.
    let most = if layout.size <= TWO_WORDS {
        usize::MAX
    } else {
        3
    };
    let leaves = leaves(&native.data, subject.ty, most);
    let is_complex = matches!(subject.ty.underlying(), Kind::C(CType::ComplexLongDouble));
    let is_x87 = leaves.iter().any(|leaf| leaf.scalar == Scalar::X87);
    if subject.is_result() && is_x87 && (is_complex || is_in_st0(&leaves, layout.size)) {
        return Err(ST0);
    }
    let holds = |is: fn(&Leaf) -> bool| leaves.iter().any(is);
    if layout.size <= TWO_WORDS && is_x87 && holds(Leaf::is_float) && holds(is_integer) {
        return Err(ALL_CLASSES);
    }
    let is_memory = layout.size > TWO_WORDS
        || leaves.iter().any(|leaf| !leaf.aligned)
        || is_x87 && !are_integers(&leaves);
    if is_memory {
        return Ok(Class::none(memory));
    }
    if let Some(why) = disputed(&native.data, subject.ty, 0, &leaves) {
        return Err(why);
    }
    if is_one_vector(&leaves) {
        return Ok(Class::one(subject.whole(RegClass::Float), memory));
    }
    Ok(Class::one(eightbyte_parts(&leaves, layout.size), memory))
}

/// Why compilers differ on the classes of a part of a value, if they do. They have two words, and
/// each scalar lies at a multiple of its alignment.
///
/// gcc looks for scalars that lie elsewhere, where clang looks for members; and gcc merges the
/// class of an array's elements into an eightbyte that it begins in, however many they are.
fn disputed(model: &DataModel, ty: &Type, at: u64, all: &[Leaf]) -> Option<&'static str> {
    match ty.underlying() {
        Kind::Array(0, elem) => {
            let word = at / WORD * WORD..(at / WORD + 1) * WORD;
            let is_there = |leaf: &Leaf| leaf.off < word.end && leaf.off + leaf.size > word.start;
            let prevails = all.iter().any(|leaf| is_there(leaf) && !leaf.is_float());
            let mut elements = leaves(model, elem, usize::MAX).into_iter();
            let matters = at != word.start && !prevails && elements.any(|leaf| !leaf.is_float());
            matters.then_some(EMPTY_ARRAY)
        }
        Kind::Array(length, elem) => {
            let size = model.layout(elem)?.size;
            // Elements without bytes are all at one place.
            let different = if size == 0 { 1 } else { *length };
            (0..different).find_map(|n| disputed(model, elem, at + n * size, all))
        }
        Kind::Struct(_) | Kind::C(CType::Record(_)) => {
            let members = model.members(ty).into_iter();
            let mut whole = members.filter(|member| member.bits.is_none());
            whole.find_map(|member| {
                let at = at + member.offset;
                let has_parts = matches!(
                    member.ty.underlying(),
                    Kind::Array(..) | Kind::Struct(_) | Kind::C(CType::Record(_))
                );
                let align = model.layout(member.ty)?.align;
                if has_parts && !at.is_multiple_of(align) {
                    return Some(MISPLACED);
                }
                disputed(model, member.ty, at, all)
            })
        }
        _ => None,
    }
}

/// Nothing but a `long double`, in structs and unions or not.
fn is_in_st0(leaves: &[Leaf], size: u64) -> bool {
    size == TWO_WORDS && leaves.iter().all(|leaf| leaf.scalar == Scalar::X87)
}

fn is_integer(leaf: &Leaf) -> bool {
    matches!(leaf.scalar, Scalar::Integer | Scalar::Pointer)
}

/// Both eightbytes hold an integer, which in a union prevails over an x87 number.
fn are_integers(leaves: &[Leaf]) -> bool {
    let mut integers = leaves.iter().filter(|leaf| is_integer(leaf));
    integers.clone().any(|leaf| leaf.off < WORD) && integers.any(|leaf| leaf.off + leaf.size > WORD)
}

/// Vectors of 16 bytes, and nothing in their first eightbyte but what goes to a float register too.
fn is_one_vector(leaves: &[Leaf]) -> bool {
    let is_vector = |leaf: &Leaf| leaf.scalar == Scalar::Vector && leaf.size == TWO_WORDS;
    let is_in_first = |leaf: &Leaf| leaf.is_float() && leaf.off + leaf.size <= WORD;
    leaves.iter().any(is_vector)
        && leaves
            .iter()
            .all(|leaf| is_vector(leaf) || is_in_first(leaf))
}

/// One part for each eightbyte in which there is a scalar.
fn eightbyte_parts(leaves: &[Leaf], size: u64) -> Vec<Part> {
    let class = |word: u64| {
        let bytes = word * WORD..(word + 1) * WORD;
        let inside = |leaf: &&Leaf| leaf.off < bytes.end && leaf.off + leaf.size > bytes.start;
        let mut inside = leaves.iter().filter(inside).peekable();
        inside.peek()?;
        Some(if inside.all(Leaf::is_float) {
            RegClass::Float
        } else {
            RegClass::Int
        })
    };
    let part = |word: u64| {
        Some(Part {
            class: class(word)?,
            off: word * WORD,
            size: (size - word * WORD).min(WORD),
        })
    };
    (0..size.div_ceil(WORD)).filter_map(part).collect()
}

/// Windows: 1, 2, 4 or 8 bytes in the integer register, whatever they are; the rest by reference.
pub(super) fn word_sized(subject: &Subject<'_>) -> Result<Class, &'static str> {
    let size = subject.layout.size;
    let class = match subject.scalar() {
        Some(leaf) if leaf.scalar == Scalar::Float && size <= WORD => RegClass::Float,
        // A vector or an integer of 16 bytes comes back in xmm0.
        Some(_) if subject.is_result() && size == TWO_WORDS => RegClass::Float,
        _ if matches!(size, 1 | 2 | 4 | 8) => RegClass::Int,
        _ => return Ok(Class::none(Rest::Reference)),
    };
    let mut way = Way::of(subject.whole(class));
    way.twice = class == RegClass::Float && subject.position == Position::Variadic;
    Ok(Class {
        ways: vec![way],
        rest: subject.slot(WORD),
    })
}

/// AAPCS64 and Apple's variant.
pub(super) fn homogeneous(subject: &Subject<'_>) -> Result<Class, &'static str> {
    let (layout, native) = (subject.layout, subject.native);
    if layout.size == 0 {
        return Ok(Class::none(Rest::Nothing));
    }
    let is_packed = native.stack_slot < WORD;
    let members = homogeneous_members(&native.data, subject.ty, is_packed);
    let is_scalar = subject.scalar().is_some();
    // What was asked for the whole type counts on Apple's alone. Alignments above 16 count as 16.
    let align = if is_packed {
        layout.align.min(TWO_WORDS)
    } else {
        layout.natural_align.min(TWO_WORDS)
    };
    let way = match members {
        Some((size, count)) => Way::of(
            (0..count)
                .map(|n| Part {
                    class: RegClass::Float,
                    off: n * size,
                    size,
                })
                .collect(),
        ),
        None if layout.size > TWO_WORDS => return Ok(Class::none(Rest::Reference)),
        None => Way {
            even: align == TWO_WORDS && !is_packed && !subject.is_result(),
            ..Way::of(subject.words())
        },
    };
    if subject.is_result() {
        return Ok(Class {
            ways: vec![way],
            rest: Rest::Reference,
        });
    }
    let is_variadic = subject.position == Position::Variadic;
    let by_itself = is_packed && !is_variadic && (is_scalar || members.is_some());
    let (align, room) = if by_itself {
        (members.map_or(align, |(size, _)| size), layout.size)
    } else {
        (align.max(WORD), round_up(layout.size, WORD))
    };
    let stack = Rest::Stack {
        align,
        room,
        low: false,
        closes: None,
    };
    Ok(if is_packed && is_variadic {
        Class::none(stack)
    } else {
        let class = way.parts.first().map_or(RegClass::Int, |part| part.class);
        Class {
            ways: vec![way],
            rest: stack.closing(class),
        }
    })
}

/// RISC-V: one or two floats, or a float and an integer, in registers of their own; else words.
pub(super) fn flattened(subject: &Subject<'_>) -> Result<Class, &'static str> {
    let (layout, native) = (subject.layout, subject.native);
    if layout.size == 0 {
        return Ok(Class::none(Rest::Nothing));
    }
    let is_variadic = subject.position == Position::Variadic;
    let mut ways = Vec::new();
    if !is_variadic && !holds_union(subject.ty) {
        ways.extend(flattened_parts(&leaves(&native.data, subject.ty, 3)).map(Way::of));
    }
    if layout.size > TWO_WORDS {
        return Ok(Class {
            ways,
            rest: Rest::Reference,
        });
    }
    let is_wide = layout.align >= TWO_WORDS;
    ways.push(Way {
        even: is_variadic && is_wide,
        splits: layout.size > WORD && !(is_variadic && is_wide),
        ..Way::of(subject.words())
    });
    let stack = Rest::Stack {
        align: layout.align.clamp(WORD, TWO_WORDS),
        room: round_up(layout.size, WORD),
        low: false,
        closes: None,
    };
    let rest = if subject.is_result() {
        Rest::Reference
    } else {
        stack
    };
    let rest = if is_variadic {
        rest.closing(RegClass::Int)
    } else {
        rest
    };
    Ok(Class { ways, rest })
}

fn flattened_parts(leaves: &[Leaf]) -> Option<Vec<Part>> {
    let is_float = |leaf: &Leaf| leaf.scalar == Scalar::Float && leaf.size <= WORD;
    let is_integer = |leaf: &Leaf| leaf.scalar == Scalar::Integer && leaf.size <= WORD;
    let fits = match leaves {
        [one] => is_float(one),
        [a, b] => {
            let kinds = |a, b| is_float(a) && (is_float(b) || is_integer(b));
            kinds(a, b) || kinds(b, a)
        }
        _ => false,
    };
    let part = |leaf: &Leaf| Part {
        class: if is_float(leaf) {
            RegClass::Float
        } else {
            RegClass::Int
        },
        off: leaf.off,
        size: leaf.size,
    };
    fits.then(|| leaves.iter().map(part).collect())
}

/// Whether there is a union in the type.
fn holds_union(ty: &Type) -> bool {
    match ty.underlying() {
        Kind::Array(_, elem) => holds_union(elem),
        Kind::Struct(fields) => fields.iter().any(|field| holds_union(&field.ty)),
        Kind::C(CType::Record(record)) => {
            record.is_union || record.members.iter().any(|member| holds_union(&member.ty))
        }
        _ => false,
    }
}

/// s390x, arguments: a float that may be the only member of structs; 1, 2, 4 or 8 bytes in an
/// integer register; the rest by reference.
pub(super) fn single_float(subject: &Subject<'_>) -> Class {
    let size = subject.layout.size;
    let complex = matches!(subject.ty.underlying(), Kind::Complex64 | Kind::Complex128);
    let class = match only_member(subject.native, subject.ty).underlying() {
        // With the padding behind it, if there is any.
        Kind::Float32 | Kind::Float64 if size <= WORD => RegClass::Float,
        _ if !complex && matches!(size, 1 | 2 | 4 | 8) => RegClass::Int,
        _ => return Class::none(Rest::Reference),
    };
    Class::one(subject.whole(class), subject.slot(WORD))
}

/// The type behind structs of one member.
fn only_member<'a>(native: &NativeConvention, ty: &'a Type) -> &'a Type {
    let is_union = matches!(ty.underlying(), Kind::C(CType::Record(record)) if record.is_union);
    match &native.data.members(ty)[..] {
        [one] if !is_union && one.bits.is_none() => only_member(native, one.ty),
        _ => ty,
    }
}

/// Arguments where there are no structs but an interface's two words.
pub(super) fn words(subject: &Subject<'_>) -> Class {
    let stack = subject.slot(subject.layout.size.min(WORD));
    match subject.scalar() {
        Some(leaf) if leaf.is_float() => Class::one(subject.whole(RegClass::Float), stack),
        _ => Class {
            ways: vec![Way {
                splits: subject.native.pair == Pair::Words,
                ..Way::of(subject.words())
            }],
            rest: stack,
        },
    }
}

/// Results: nothing but a scalar.
pub(super) fn scalars(subject: &Subject<'_>) -> Class {
    match subject.scalar() {
        Some(leaf) if leaf.size <= WORD => {
            let float = leaf.is_float();
            let class = if float {
                RegClass::Float
            } else {
                RegClass::Int
            };
            Class::one(subject.whole(class), Rest::Reference)
        }
        _ => Class::none(Rest::Reference),
    }
}

/// Results: every scalar in the next register of its class.
pub(super) fn parts(subject: &Subject<'_>) -> Class {
    let native = subject.native;
    let most = native.int_results.len() + native.float_results.len();
    let leaves = leaves(&native.data, subject.ty, most + 1);
    let part = |leaf: &Leaf| Part {
        class: if leaf.is_float() {
            RegClass::Float
        } else {
            RegClass::Int
        },
        off: leaf.off,
        size: leaf.size,
    };
    let is_long = subject.layout.size > 16 * WORD;
    if is_long || leaves.iter().any(|leaf| leaf.size > WORD) {
        return Class::none(Rest::Reference);
    }
    Class::one(leaves.iter().map(part).collect(), Rest::Reference)
}
