//! Where the pointers of a value are: a map of its words that stays small however long its arrays
//! are.
#![forbid(unsafe_code)]

use fing_stubs::signature::{Field, Kind, Type};

const WORD: usize = 8;

/// The pointer words of a value, as offsets in words from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pointers {
    /// No pointers.
    None,
    /// Bit `i`: word `i` is a pointer. For values of up to 64 words.
    Mask(u64),
    /// This many words, each a pointer.
    All(usize),
    /// `count` elements of `stride` words each.
    Repeat {
        count: usize,
        stride: usize,
        element: Box<Pointers>,
    },
    /// Parts with pointers, in ascending order of their first word.
    Parts(Box<[(usize, Pointers)]>),
}

impl Pointers {
    /// The map of a type; [`Pointers::None`] for an opaque one.
    pub(crate) fn of(ty: &Type) -> Pointers {
        if !ty.has_pointers() {
            return Pointers::None;
        }
        let words = ty.layout().map_or(0, |layout| layout.size as usize / WORD);
        if words <= 64 {
            let mut mask = 0;
            ty.for_each_pointer_word(&mut |offset| mask |= 1u64 << (offset as usize / WORD));
            return Pointers::Mask(mask);
        }
        match ty.underlying() {
            Kind::Array(count, element) => {
                let (count, of) = (*count as usize, Pointers::of(element));
                let size = element.layout().map_or(0, |layout| layout.size as usize);
                if size == WORD && of == Pointers::Mask(1) {
                    return Pointers::All(count);
                }
                Pointers::Repeat {
                    count,
                    stride: size / WORD,
                    element: Box::new(of),
                }
            }
            Kind::Struct(fields) => {
                let traced = fields.iter().filter(|field| field.ty.has_pointers());
                let part = |field: &Field| (field.offset as usize / WORD, Pointers::of(&field.ty));
                Pointers::Parts(traced.map(part).collect())
            }
            // Every other kind has at most three words.
            _ => Pointers::None,
        }
    }

    /// No pointers.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Pointers::None)
    }

    /// Calls `visit` with the address of every pointer word of the value at `base`, ascending.
    #[inline]
    pub(crate) fn for_each(&self, base: usize, visit: &mut impl FnMut(usize)) {
        match self {
            Pointers::None => {}
            Pointers::Mask(mask) => {
                let mut rest = *mask;
                while rest != 0 {
                    visit(base + rest.trailing_zeros() as usize * WORD);
                    rest &= rest - 1;
                }
            }
            Pointers::All(words) => {
                for word in 0..*words {
                    visit(base + word * WORD);
                }
            }
            _ => self.for_each_part(base, visit),
        }
    }

    /// [`Pointers::for_each`] for the rare variants, apart from the fast path of the common ones.
    fn for_each_part(&self, base: usize, visit: &mut impl FnMut(usize)) {
        match self {
            Pointers::None | Pointers::Mask(_) | Pointers::All(_) => {}
            Pointers::Repeat {
                count,
                stride,
                element,
            } => {
                for index in 0..*count {
                    element.for_each(base + index * stride * WORD, visit);
                }
            }
            Pointers::Parts(parts) => {
                for (first, part) in parts {
                    part.for_each(base + first * WORD, visit);
                }
            }
        }
    }

    /// Whether word `index` is a pointer.
    #[inline]
    pub(crate) fn contains(&self, index: usize) -> bool {
        match self {
            Pointers::None => false,
            Pointers::Mask(mask) => index < 64 && mask >> index & 1 != 0,
            Pointers::All(words) => index < *words,
            _ => self.is_in_part(index),
        }
    }

    fn is_in_part(&self, index: usize) -> bool {
        match self {
            Pointers::None | Pointers::Mask(_) | Pointers::All(_) => false,
            Pointers::Repeat {
                count,
                stride,
                element,
            } => index / stride < *count && element.contains(index % stride),
            Pointers::Parts(parts) => {
                let after = parts.partition_point(|(first, _)| *first <= index);
                after > 0 && parts[after - 1].1.contains(index - parts[after - 1].0)
            }
        }
    }
}
