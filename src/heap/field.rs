//! Access to a word of objects of one type, which was checked once.
#![forbid(unsafe_code)]

use super::{AccessError, Heap, Word};
use crate::types::TypeId;

const WORD: usize = 8;

/// Where a value lies in all objects of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    ty: TypeId,
    /// The header of such objects.
    header: u64,
    /// Byte offset of the word that the value is in.
    word: u32,
    /// Bits of that word below the value.
    pub(crate) shift: u8,
}

impl Spot {
    pub(crate) fn ty(&self) -> TypeId {
        self.ty
    }
}

impl Heap {
    /// Checks that objects of the type have a value of so many bytes (1, 2, 4 or 8) at this offset.
    pub(crate) fn spot(
        &self,
        ty: TypeId,
        offset: usize,
        bytes: usize,
        wanted: Word,
    ) -> Result<Spot, AccessError> {
        let desc = self.types.desc(ty)?;
        let name = || desc.ty().to_string();
        if self.is_tiny(desc) {
            return Err(AccessError::SharesBlock { ty: name() });
        }
        if desc
            .size()
            .checked_sub(offset)
            .is_none_or(|left| left < bytes)
        {
            let size = desc.size();
            return Err(AccessError::OutOfBounds {
                ty: name(),
                offset,
                bytes,
                size,
            });
        }
        if !offset.is_multiple_of(bytes) {
            return Err(AccessError::MisalignedField {
                ty: name(),
                offset,
                bytes,
            });
        }
        let ty_name = name();
        match (wanted, desc.pointers().contains(offset / WORD)) {
            (Word::Pointer, false) => {
                return Err(AccessError::NotPointer {
                    ty: ty_name,
                    offset,
                });
            }
            (Word::Data, true) => {
                return Err(AccessError::IsPointer {
                    ty: ty_name,
                    offset,
                });
            }
            _ => {}
        }
        let within = offset % WORD;
        let below = match cfg!(target_endian = "big") {
            true => WORD - bytes - within,
            false => within,
        };
        let word = u32::try_from(offset - within).map_err(|_| AccessError::OutOfBounds {
            ty: name(),
            offset,
            bytes,
            size: u32::MAX as usize,
        })?;
        Ok(Spot {
            ty,
            header: desc.address() as u64,
            word,
            shift: (below * 8) as u8,
        })
    }

    /// The address of the word of an object that an `Obj` names.
    #[inline]
    fn at(&self, start: usize, spot: &Spot) -> Result<usize, AccessError> {
        if self.is_object_of(start, spot.ty, spot.header) {
            return Ok(start + spot.word as usize);
        }
        Err(self.not_of_type(start, spot.ty))
    }

    /// Whether the object that an `Obj` names is one of this heap and of this type.
    #[inline]
    fn is_object_of(&self, start: usize, ty: TypeId, header: u64) -> bool {
        // The address of a descriptor may be that of another one once its runtime is gone.
        self.types.owns(ty)
            && self.contains(start)
            && (!self.is_doubtful() || self.starts_object(start))
            && self.arena.load(start - super::HEADER) == header
    }

    #[cold]
    fn not_of_type(&self, start: usize, ty: TypeId) -> AccessError {
        let wanted = match self.types.desc(ty) {
            Ok(desc) => desc.ty().to_string(),
            Err(error) => return error.into(),
        };
        match self.type_at(start) {
            Ok(found) => AccessError::OtherType {
                found: found.ty().to_string(),
                wanted,
            },
            Err(error) => error,
        }
    }

    #[inline]
    pub(crate) fn load_spot(&self, start: usize, spot: &Spot) -> Result<u64, AccessError> {
        Ok(self.arena.load(self.at(start, spot)?))
    }

    #[inline]
    pub(crate) fn store_spot(
        &self,
        start: usize,
        spot: &Spot,
        value: u64,
    ) -> Result<(), AccessError> {
        self.arena.store(self.at(start, spot)?, value);
        Ok(())
    }

    /// Replaces the bits of `mask` in the word, and no others that other threads write.
    #[inline]
    pub(crate) fn store_part(
        &self,
        start: usize,
        spot: &Spot,
        mask: u64,
        value: u64,
    ) -> Result<(), AccessError> {
        let at = self.at(start, spot)?;
        self.arena.update(at, |word| word & !mask | value);
        Ok(())
    }
}
