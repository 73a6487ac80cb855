//! How a value of some type travels under a native convention, as data: the registers that would
//! hold it, part by part, and what happens if they are not free.
//!
//! This looks at one type only. What registers are left, and where on the stack or in which copy
//! the rest ends up, is [`assign`](mod@crate::assign)'s affair.
#![forbid(unsafe_code)]

mod homogeneous;
mod leaves;
mod rules;

pub(crate) use leaves::{Leaf, leaves};

use super::{Aggregates, NativeConvention, RegClass, Results};
use crate::signature::{CLayout, CType, Kind, LongDouble, Type, WORD, round_up};

/// Where in a signature the value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// A parameter of the prototype.
    Fixed,
    /// What is passed in place of `...`.
    Variadic,
    /// The result.
    Result,
}

/// How a value travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// Sets of registers that would hold it. The first whose registers are all free is taken.
    pub(crate) ways: Vec<Way>,
    /// What is done if there is none.
    pub(crate) rest: Rest,
}

/// A set of registers that would hold a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The parts in memory order, each in the next register of its class.
    pub(crate) parts: Vec<Part>,
    /// The first integer register has an even number.
    pub(crate) even: bool,
    /// If there is one integer register left for two parts, the second goes to the stack.
    pub(crate) splits: bool,
    /// The part goes to the integer register of the same number too.
    pub(crate) twice: bool,
}

/// Bytes of a value in one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) class: RegClass,
    pub(crate) off: u64,
    pub(crate) size: u64,
}

/// What is done with a value that is in no registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It has no bytes and takes nothing.
    Nothing,
    /// Argument: on the stack.
    Stack {
        /// Its place is a multiple of this.
        align: u64,
        /// Bytes it takes there.
        room: u64,
        /// It lies at the end of its room where the machine is big-endian.
        low: bool,
        /// Later arguments get no more registers of this class.
        closes: Option<RegClass>,
    },
    /// Argument: the address of a copy is passed. Result: it lies behind the hidden pointer.
    Reference,
}

/// What a convention may have no answer to; see [`NativeConvention::undefined`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// A type that only C has, or a struct, array or complex number as an argument.
    Aggregate,
    /// `_Float16`
    Float16,
    /// `long double`
    LongDouble,
    /// A vector of 8 bytes.
    Vector8,
    /// A vector of 16 bytes.
    Vector16,
    /// A bit-field in a packed union.
    PackedBits,
    /// An array of elements without bytes.
    EmptyElements,
}

/// A type with what its classification depends on.
struct Subject<'a> {
    native: &'a NativeConvention,
    ty: &'a Type,
    layout: CLayout,
    position: Position,
}

/// How a value of `ty` travels; `Err` says why the convention has no answer.
pub(crate) fn classify(
    native: &NativeConvention,
    ty: &Type,
    position: Position,
) -> Result<Class, &'static str> {
    let layout = native.data.layout(ty).ok_or("its size is not known")?;
    for (feature, why) in native.undefined {
        let counts = *feature != Feature::Aggregate || position != Position::Result;
        if counts && feature.is_in(native, ty) {
            return Err(why);
        }
    }
    let is_half = matches!(ty.underlying(), Kind::C(CType::Float16));
    if is_half && position == Position::Variadic {
        return Err("compilers differ on whether _Float16 is promoted in place of ...");
    }
    let subject = Subject {
        native,
        ty,
        layout,
        position,
    };
    let class = match (native.aggregates, position) {
        (Aggregates::AsResults, _) | (_, Position::Result) => match native.results {
            Results::Eightbytes => rules::eightbytes(&subject),
            Results::WordSized => rules::word_sized(&subject),
            Results::HomogeneousFloats => rules::homogeneous(&subject),
            Results::FlattenedFloats => rules::flattened(&subject),
            Results::Scalars => Ok(rules::scalars(&subject)),
            Results::Parts => Ok(rules::parts(&subject)),
        },
        (Aggregates::SingleFloat, _) => Ok(rules::single_float(&subject)),
        (Aggregates::Words, _) => Ok(rules::words(&subject)),
    }?;
    let max = native.stack_align;
    // The registers of results are always free.
    let is_certain = class.ways.is_empty() || position != Position::Result;
    match class.rest {
        Rest::Stack { align, .. } if align > max => Err(OVER_ALIGNED),
        Rest::Reference if layout.align > max && is_certain => Err(OVER_ALIGNED),
        _ => Ok(class),
    }
}

const OVER_ALIGNED: &str = "it goes to memory that is aligned to more bytes than the stack is";

impl Feature {
    fn is_in(self, native: &NativeConvention, ty: &Type) -> bool {
        let inside = |ty: &Type| self.is_in(native, ty);
        match (self, ty.underlying()) {
            (Feature::Aggregate, Kind::Array(..) | Kind::Struct(_) | Kind::C(_)) => true,
            (Feature::Aggregate, kind) => matches!(
                kind,
                Kind::String | Kind::Slice(_) | Kind::Complex64 | Kind::Complex128
            ),
            (Feature::EmptyElements, Kind::Array(1.., elem)) => {
                let layout = native.data.layout(elem);
                layout.is_some_and(|layout| layout.size == 0) || inside(elem)
            }
            (_, Kind::Array(_, elem)) => inside(elem),
            (_, Kind::Struct(fields)) => fields.iter().any(|field| inside(&field.ty)),
            (_, Kind::C(CType::Record(record))) => {
                let bits = record.members.iter().any(|member| member.bits.is_some());
                let packed = record.is_union && record.pack.is_some();
                self == Feature::PackedBits && bits && packed
                    || record.members.iter().any(|member| inside(&member.ty))
            }
            (Feature::Float16, Kind::C(CType::Float16)) => true,
            (Feature::LongDouble, Kind::C(CType::LongDouble | CType::ComplexLongDouble)) => {
                native.data.long_double != LongDouble::Double
            }
            (Feature::Vector8 | Feature::Vector16, Kind::C(CType::Vector(..))) => {
                let wanted = if self == Feature::Vector8 { 8 } else { 16 };
                native
                    .data
                    .layout(ty)
                    .is_some_and(|layout| layout.size == wanted)
            }
            _ => false,
        }
    }
}

impl Subject<'_> {
    /// The scalar that the type is, if it is one: no struct, union, array or complex number.
    fn scalar(&self) -> Option<Leaf> {
        match self.ty.underlying() {
            Kind::Array(..) | Kind::Struct(_) | Kind::C(CType::Record(_)) => None,
            _ => match &mut leaves(&self.native.data, self.ty, 2)[..] {
                [one] => Some(one.clone()),
                _ => None,
            },
        }
    }

    fn is_result(&self) -> bool {
        self.position == Position::Result
    }

    /// The whole value as one part.
    fn whole(&self, class: RegClass) -> Vec<Part> {
        let size = self.layout.size;
        vec![Part {
            class,
            off: 0,
            size,
        }]
    }

    /// The value's memory image, word by word, in integer registers.
    fn words(&self) -> Vec<Part> {
        let size = self.layout.size;
        let word = |n: u64| Part {
            class: RegClass::Int,
            off: n * WORD,
            size: (size - n * WORD).min(WORD),
        };
        (0..size.div_ceil(WORD)).map(word).collect()
    }

    /// The stack place of a value in whole slots, or packed by its own size and alignment.
    fn slot(&self, align: u64) -> Rest {
        let (size, slot) = (self.layout.size, self.native.stack_slot);
        Rest::Stack {
            align: align.max(slot),
            room: round_up(size, slot),
            low: matches!(size, 1 | 2 | 4 | 8),
            closes: None,
        }
    }
}

impl Class {
    /// In these registers, or else as `rest` says.
    fn one(parts: Vec<Part>, rest: Rest) -> Class {
        Class {
            ways: vec![Way::of(parts)],
            rest,
        }
    }

    /// Never in registers.
    fn none(rest: Rest) -> Class {
        Class {
            ways: Vec::new(),
            rest,
        }
    }
}

impl Way {
    fn of(parts: Vec<Part>) -> Way {
        Way {
            parts,
            even: false,
            splits: false,
            twice: false,
        }
    }
}

impl Rest {
    /// The same, and later arguments get no more registers of `class`.
    fn closing(self, class: RegClass) -> Rest {
        match self {
            Rest::Stack {
                align, room, low, ..
            } => Rest::Stack {
                align,
                room,
                low,
                closes: Some(class),
            },
            other => other,
        }
    }
}
