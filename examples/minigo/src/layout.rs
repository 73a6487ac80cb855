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

/// What the types say of words.
pub(crate) trait Words {
    /// The fields of a struct and where they begin, or the elements of an array. As large arrays
    /// are not held in registers, not more elements are listed than show that one is large.
    fn parts(&self, ty: Ty) -> Vec<(Ty, u64)>;

    /// The words of a value: of large arrays, too many, but not all.
    fn words(&self, ty: Ty) -> Vec<Word>;

    /// The words of values one behind the other.
    fn words_of<'t>(&self, types: impl IntoIterator<Item = &'t Ty>) -> Vec<Word> {
        types.into_iter().flat_map(|ty| self.words(*ty)).collect()
    }

    /// Whether a value is not held in registers.
    fn is_large(&self, ty: Ty) -> bool {
        self.words(ty).len() > MAX_WORDS
    }
}

impl Words for Types {
    fn parts(&self, ty: Ty) -> Vec<(Ty, u64)> {
        match self.kind(ty) {
            Kind::Struct(fields) => {
                let types = fields.iter().map(|field| field.ty);
                types.zip(self.offsets(fields)).collect()
            }
            Kind::Array(n, of) => {
                let listed = 0..(*n).min(MAX_WORDS as u64 + 1);
                listed.map(|index| (*of, index * self.size(*of))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn words(&self, ty: Ty) -> Vec<Word> {
        if self.has_parts(ty) {
            let of_part = |(part, before): (Ty, u64)| {
                let words = self.words(part).into_iter();
                words.map(move |word| Word {
                    offset: word.offset + before as u32,
                    ..word
                })
            };
            return self.parts(ty).into_iter().flat_map(of_part).collect();
        }
        let words = scalars(self, ty).iter().zip(0u32..);
        let word = |(&(clif, reference), index)| Word {
            clif,
            reference,
            offset: 8 * index,
        };
        words.map(word).collect()
    }
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
