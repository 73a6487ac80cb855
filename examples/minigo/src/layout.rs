//! How values lie in memory, which is Go's layout, and as which words generated code holds them.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::{Type, types};

use crate::types::{Basic, Field, Kind, Ty, Types};

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
    /// Bytes, and their alignment.
    pub(crate) fn size_align(&self, ty: Ty) -> (u64, u64) {
        let whole = |size: u64| (size, size.clamp(1, 8));
        match self.kind(ty) {
            Kind::Basic(basic) => match basic {
                Basic::Void => (0, 1),
                Basic::String | Basic::UntypedString => (16, 8),
                _ => whole(scalar(*basic).bytes().into()),
            },
            Kind::Slice(_) => (24, 8),
            Kind::Interface(_) => (16, 8),
            Kind::Array(n, of) => {
                let (size, align) = self.size_align(*of);
                (size * n, align)
            }
            Kind::Struct(fields) => {
                let align = fields.iter().map(|field| self.size_align(field.ty).1);
                let align = align.max().unwrap_or(1);
                let offsets = self.offsets(fields);
                let mut end = offsets.last().copied().unwrap_or(0);
                if let Some(last) = fields.last() {
                    let size = self.size_align(last.ty).0;
                    // Go keeps the address of a last field without size inside the object.
                    end += if size == 0 && end > 0 { 1 } else { size };
                }
                (end.next_multiple_of(align), align)
            }
            _ => (8, 8),
        }
    }

    pub(crate) fn size(&self, ty: Ty) -> u64 {
        self.size_align(ty).0
    }

    /// Where the fields of a struct begin.
    pub(crate) fn offsets(&self, fields: &[Field]) -> Vec<u64> {
        let mut at = 0u64;
        let place = |field: &Field| {
            let (size, align) = self.size_align(field.ty);
            let offset = at.next_multiple_of(align);
            at = offset + size;
            offset
        };
        fields.iter().map(place).collect()
    }

    /// How many words a value has, without listing them.
    pub(crate) fn word_count(&self, ty: Ty) -> u64 {
        match self.kind(ty) {
            Kind::Basic(Basic::Void) => 0,
            Kind::Basic(Basic::String | Basic::UntypedString) | Kind::Interface(_) => 2,
            Kind::Slice(_) => 3,
            Kind::Array(n, of) => n * self.word_count(*of),
            Kind::Struct(fields) => fields.iter().map(|f| self.word_count(f.ty)).sum(),
            Kind::Tuple(all) => all.iter().map(|ty| self.word_count(*ty)).sum(),
            _ => 1,
        }
    }

    /// The words of a value, of which there are not too many.
    pub(crate) fn words(&self, ty: Ty) -> Vec<Word> {
        let mut words = Vec::new();
        self.add_words(ty, 0, &mut words);
        words
    }

    fn add_words(&self, ty: Ty, offset: u32, words: &mut Vec<Word>) {
        let mut add = |clif, reference, at: u32| {
            words.push(Word {
                clif,
                reference,
                offset: offset + at,
            });
        };
        match self.kind(ty) {
            Kind::Basic(Basic::Void) => {}
            Kind::Basic(Basic::String | Basic::UntypedString) => {
                add(types::I64, true, 0);
                add(types::I64, false, 8);
            }
            Kind::Basic(basic) => add(scalar(*basic), *basic == Basic::UnsafePointer, 0),
            Kind::Slice(_) => {
                add(types::I64, true, 0);
                add(types::I64, false, 8);
                add(types::I64, false, 16);
            }
            Kind::Interface(_) => {
                add(types::I64, false, 0);
                add(types::I64, true, 8);
            }
            Kind::Array(n, of) => {
                let size = self.size(*of) as u32;
                for index in 0..*n as u32 {
                    self.add_words(*of, offset + index * size, words);
                }
            }
            Kind::Struct(fields) => {
                for (field, at) in fields.iter().zip(self.offsets(fields)) {
                    self.add_words(field.ty, offset + at as u32, words);
                }
            }
            Kind::Tuple(all) => all.iter().for_each(|ty| self.add_words(*ty, offset, words)),
            _ => add(types::I64, true, 0),
        }
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

fn scalar(basic: Basic) -> Type {
    match basic {
        Basic::Bool | Basic::UntypedBool | Basic::Int8 | Basic::Uint8 => types::I8,
        Basic::Int16 | Basic::Uint16 => types::I16,
        Basic::Int32 | Basic::Uint32 | Basic::UntypedRune => types::I32,
        Basic::Float32 => types::F32,
        Basic::Float64 | Basic::UntypedFloat => types::F64,
        _ => types::I64,
    }
}
