//! Reading and writing the words of objects, each checked against the object's type.
#![forbid(unsafe_code)]

use super::find::Cell;
use super::{AccessError, AccessErrorKind, Heap};
use crate::types::TypeDesc;

/// Which words an access may touch.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    /// A word the collector follows.
    Pointer,
    /// A word it does not look at.
    Data,
    /// Either.
    Any,
}

const WORD: usize = 8;

/// The error of an access to an object that only the runtime may touch.
pub(super) fn sealed(desc: &TypeDesc) -> AccessError {
    let ty = desc.ty().to_string();
    AccessErrorKind::Sealed { ty }.into()
}

impl Heap {
    /// The object that starts there, or the tiny block that contains the address.
    fn object(&self, start: usize) -> Result<Cell<'_>, AccessError> {
        self.cell_at(start)
            .filter(|cell| cell.offset == 0 || self.is_tiny_block(cell.desc))
            .ok_or_else(|| AccessErrorKind::NotInHeap { addr: start }.into())
    }

    /// The type of the object at `start`.
    pub(crate) fn type_at(&self, start: usize) -> Result<&TypeDesc, AccessError> {
        if start == self.zero() {
            Ok(self.types.empty())
        } else {
            Ok(self.object(start)?.desc)
        }
    }

    /// Checks that a range of bytes is in the object, and returns the object's type.
    fn range(&self, start: usize, offset: usize, bytes: usize) -> Result<&TypeDesc, AccessError> {
        let (desc, size) = if start == self.zero() {
            (self.types.empty(), 0)
        } else {
            let object = self.object(start)?;
            (object.desc, object.size() - object.offset)
        };
        if desc.is_sealed() {
            return Err(sealed(desc));
        }
        if offset > size || bytes > size - offset {
            return Err(AccessErrorKind::OutOfBounds {
                ty: desc.ty().to_string(),
                offset,
                bytes,
                size,
            }
            .into());
        }
        Ok(desc)
    }

    /// Checks offset and kind of a word of the object at `start`, which an `Obj` names, and returns
    /// the word's address.
    #[inline]
    fn checked(&self, start: usize, offset: usize, wanted: Word) -> Result<usize, AccessError> {
        if let Some(desc) = self.desc_at(start)
            && offset.is_multiple_of(WORD)
            && !desc.is_sealed()
            && desc
                .size()
                .checked_sub(offset)
                .is_some_and(|left| left >= WORD)
            && (wanted == Word::Any
                || (wanted == Word::Pointer) == desc.pointers().contains(offset / WORD))
        {
            return Ok(start + offset);
        }
        self.checked_slowly(start, offset, wanted)
    }

    /// [`Heap::checked`] for tiny values, and for what it refuses: returns the error.
    #[cold]
    fn checked_slowly(
        &self,
        start: usize,
        offset: usize,
        wanted: Word,
    ) -> Result<usize, AccessError> {
        let desc = self.range(start, offset, WORD)?;
        let ty = || desc.ty().to_string();
        // A tiny value's own address need not be aligned, so the sum is checked.
        if !(start + offset).is_multiple_of(WORD) {
            return Err(AccessErrorKind::Misaligned { ty: ty(), offset }.into());
        }
        match (
            wanted,
            wanted != Word::Any && desc.is_pointer_word(offset / WORD),
        ) {
            (Word::Pointer, false) => Err(AccessErrorKind::NotPointer { ty: ty(), offset }.into()),
            (Word::Data, true) => Err(AccessErrorKind::IsPointer { ty: ty(), offset }.into()),
            _ => Ok(start + offset),
        }
    }

    /// Reads a word of the object at `start`.
    #[inline]
    pub(crate) fn load(
        &self,
        start: usize,
        offset: usize,
        wanted: Word,
    ) -> Result<u64, AccessError> {
        Ok(self.arena.load(self.checked(start, offset, wanted)?))
    }

    /// Writes a word of the object at `start`.
    #[inline]
    pub(crate) fn store(
        &self,
        start: usize,
        offset: usize,
        wanted: Word,
        value: u64,
    ) -> Result<(), AccessError> {
        self.arena
            .store(self.checked(start, offset, wanted)?, value);
        Ok(())
    }

    /// Reads bytes, of pointer words too.
    pub(crate) fn load_bytes(
        &self,
        start: usize,
        offset: usize,
        to: &mut [u8],
    ) -> Result<(), AccessError> {
        self.range(start, offset, to.len())?;
        self.arena.load_bytes(start + offset, to);
        Ok(())
    }

    /// Writes bytes, of pointer words too, to a new object that has room for them.
    pub(crate) fn initialize(&self, start: usize, bytes: &[u8]) {
        self.arena.store_bytes(start, bytes);
    }

    /// Writes bytes that belong to no pointer word.
    pub(crate) fn store_bytes(
        &self,
        start: usize,
        offset: usize,
        from: &[u8],
    ) -> Result<(), AccessError> {
        let desc = self.range(start, offset, from.len())?;
        let words = offset / WORD..(offset + from.len()).div_ceil(WORD);
        let pointer = if !desc.has_pointers() || from.is_empty() {
            None
        } else {
            words.into_iter().find(|&word| desc.is_pointer_word(word))
        };
        if let Some(word) = pointer {
            return Err(AccessErrorKind::IsPointer {
                ty: desc.ty().to_string(),
                offset: word * WORD,
            }
            .into());
        }
        self.arena.store_bytes(start + offset, from);
        Ok(())
    }
}
