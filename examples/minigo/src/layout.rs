//! As which words generated code holds values.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::Type;
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64};

use minigo_front::types::{Basic, Kind, Ty, Types};

/// One word of a value, in a register or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) clif: Type,
    /// It may be the address of an object, or lead into one.
    pub(crate) reference: bool,
    /// Where it is in memory.
    pub(crate) offset: u32,
}

/// Values of more words are not held in registers.
pub(crate) const MAX_WORDS: usize = 32;

/// The types of the fields of a struct, or of the elements of an array. As large arrays are not
/// held in registers, not more elements are listed than show that one is large.
pub(crate) fn parts(types: &Types, ty: Ty) -> Vec<Ty> {
    match types.kind(ty) {
        Kind::Struct(fields) => fields.iter().map(|field| field.ty).collect(),
        Kind::Array(count, of) => vec![*of; (MAX_WORDS + 1).min(*count as usize)],
        _ => Vec::new(),
    }
}

/// The words of a value: of large arrays, too many, but not all.
pub(crate) fn words(types: &Types, ty: Ty) -> Vec<Word> {
    if types.has_parts(ty) {
        return words_of(types, &parts(types, ty), 0);
    }
    let words = scalars(types, ty).iter().zip(0u32..);
    let word = |(&(clif, reference), index)| Word {
        clif,
        reference,
        offset: 8 * index,
    };
    words.map(word).collect()
}

/// The words of values one behind the other, from an offset on.
pub(crate) fn words_of(types: &Types, values: &[Ty], offset: u64) -> Vec<Word> {
    let places = types.places(offset, values.iter().copied());
    let words = |(ty, place): (&Ty, u64)| {
        let words = words(types, *ty).into_iter();
        words.map(move |word| Word {
            offset: word.offset + place as u32,
            ..word
        })
    };
    values.iter().zip(places).flat_map(words).collect()
}

/// Whether a value is not held in registers.
pub(crate) fn is_large(types: &Types, ty: Ty) -> bool {
    words(types, ty).len() > MAX_WORDS
}

/// The words of a value without parts, and which of them may be references.
fn scalars(types: &Types, ty: Ty) -> &'static [(Type, bool)] {
    use Basic::*;
    match types.kind(ty) {
        Kind::Basic(Void) => &[],
        Kind::Basic(Bool | UntypedBool | Int8 | Uint8) => &[(I8, false)],
        Kind::Basic(Int16 | Uint16) => &[(I16, false)],
        Kind::Basic(Int32 | Uint32 | UntypedRune) => &[(I32, false)],
        Kind::Basic(Float32) => &[(F32, false)],
        Kind::Basic(Float64 | UntypedFloat) => &[(F64, false)],
        Kind::Basic(String | UntypedString) => &[(I64, true), (I64, false)],
        Kind::Basic(UnsafePointer) => &[(I64, true)],
        Kind::Basic(_) => &[(I64, false)],
        Kind::Slice(_) => &[(I64, true), (I64, false), (I64, false)],
        Kind::Interface(_) => &[(I64, false), (I64, true)],
        _ => &[(I64, true)],
    }
}
