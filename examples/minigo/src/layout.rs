//! How values lie in memory, which is Go's layout, and as which words generated code holds them.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::Type;
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64};

use crate::types::{Basic, Field, Kind, Sig, Ty, Types};

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

impl Types {
    /// The words of a value without parts, and which of them may be references.
    fn scalars(&self, ty: Ty) -> &'static [(Type, bool)] {
        use Basic::*;
        match self.kind(ty) {
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

    /// Bytes, and their alignment.
    pub(crate) fn size_align(&self, ty: Ty) -> (u64, u64) {
        match self.kind(ty) {
            Kind::Array(n, of) => {
                let (size, align) = self.size_align(*of);
                (size * n, align)
            }
            Kind::Struct(fields) => {
                let align = fields.iter().map(|field| self.size_align(field.ty).1).max();
                let end = match (fields.last(), self.offsets(fields).last()) {
                    (Some(last), Some(offset)) => match self.size(last.ty) {
                        // Go keeps the address of a last field without size inside the object.
                        0 if *offset > 0 => offset + 1,
                        size => offset + size,
                    },
                    _ => 0,
                };
                let align = align.unwrap_or(1);
                (end.next_multiple_of(align), align)
            }
            _ => {
                let words = self.scalars(ty);
                let align = words.first().map_or(1, |(clif, _)| clif.bytes().into());
                (align * words.len() as u64, align)
            }
        }
    }

    pub(crate) fn size(&self, ty: Ty) -> u64 {
        self.size_align(ty).0
    }

    /// Where values begin that lie one behind the other, from an offset on.
    pub(crate) fn places(&self, mut at: u64, types: impl Iterator<Item = Ty>) -> Vec<u64> {
        let place = |ty| {
            let (size, align) = self.size_align(ty);
            let offset = at.next_multiple_of(align);
            at = offset + size;
            offset
        };
        types.map(place).collect()
    }

    /// Where the fields of a struct begin.
    pub(crate) fn offsets(&self, fields: &[Field]) -> Vec<u64> {
        self.places(0, fields.iter().map(|field| field.ty))
    }

    /// The fields of a struct and where they begin, or the elements of an array. As large arrays
    /// are not held in registers, not more elements are listed than show that one is large.
    pub(crate) fn parts(&self, ty: Ty) -> Vec<(Ty, u64)> {
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

    /// The words of a value: of large arrays, too many, but not all.
    pub(crate) fn words(&self, ty: Ty) -> Vec<Word> {
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
        let words = self.scalars(ty).iter().zip(0u32..);
        let word = |(&(clif, reference), index)| Word {
            clif,
            reference,
            offset: 8 * index,
        };
        words.map(word).collect()
    }

    /// The words of values one behind the other.
    pub(crate) fn words_of<'t>(&self, types: impl IntoIterator<Item = &'t Ty>) -> Vec<Word> {
        types.into_iter().flat_map(|ty| self.words(*ty)).collect()
    }

    /// What a function takes and returns.
    pub(crate) fn func(&self, ty: Ty) -> &Sig {
        match self.sig(ty) {
            Some(sig) => sig,
            None => unreachable!("checked to be a function"),
        }
    }

    /// The types of several results.
    pub(crate) fn tuple(&self, ty: Ty) -> Option<&[Ty]> {
        match self.own_kind(ty) {
            Kind::Tuple(types) => Some(types),
            _ => None,
        }
    }

    /// Whether a value is not held in registers.
    pub(crate) fn is_large(&self, ty: Ty) -> bool {
        self.words(ty).len() > MAX_WORDS
    }

    pub(crate) fn has_parts(&self, ty: Ty) -> bool {
        matches!(self.kind(ty), Kind::Struct(_) | Kind::Array(..))
    }

    /// Whether an interface holds the value itself, not the address of a copy.
    pub(crate) fn is_pointer_shaped(&self, ty: Ty) -> bool {
        matches!(
            self.kind(ty),
            Kind::Pointer(_)
                | Kind::Map(..)
                | Kind::Chan(..)
                | Kind::Func(_)
                | Kind::Basic(Basic::UnsafePointer)
        )
    }
}
