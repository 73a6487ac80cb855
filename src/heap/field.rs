//! Access to a word of objects of one type, which was checked once.

use super::{AccessError, Heap, Word};
use crate::types::TypeId;
use std::ptr::with_exposed_provenance_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

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

/// What an access has to know of the heap, in one place: each atomic load makes the compiler load
/// everything else anew. A mutator keeps it beside its heap.
#[derive(Debug)]
pub(crate) struct Reach {
    start: usize,
    bytes: usize,
    universe: u64,
    doubtful: Arc<AtomicBool>,
}

impl Reach {
    /// The word of an object that an `Obj` names. `None`: it is of another type or heap, or has to
    /// be looked up.
    #[inline(always)]
    pub(crate) fn word(&self, object: usize, spot: &Spot) -> Option<&AtomicU64> {
        // The address of a descriptor may be that of another one once its runtime is gone.
        let same = spot.ty.universe() == self.universe;
        if !same || object.wrapping_sub(self.start) >= self.bytes || self.doubtful.load(Relaxed) {
            return None;
        }
        // SAFETY: I12, I13: the address is in the heap's range, which the mutator keeps mapped; so
        // an object of this heap starts there, behind its header. I15: accesses are atomic.
        let header = unsafe { AtomicU64::from_ptr(with_exposed_provenance_mut(object - 8)) };
        let at = object + spot.word as usize;
        // SAFETY: I12, I13: objects of the type have an aligned word at that offset.
        (header.load(Relaxed) == spot.header)
            .then(|| unsafe { AtomicU64::from_ptr(with_exposed_provenance_mut(at)) })
    }
}

impl Heap {
    /// What accesses to its objects have to know.
    pub(crate) fn reach(&self) -> Reach {
        Reach {
            start: self.arena.start(),
            bytes: self.table.len() * super::BLOCK,
            universe: self.types.empty().id().universe(),
            doubtful: self.doubtful.clone(),
        }
    }

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

    /// The address of the word of an object that an `Obj` names: as [`Reach::word`], for objects
    /// that have to be looked up, and with an error.
    #[cold]
    fn at(&self, start: usize, spot: &Spot) -> Result<usize, AccessError> {
        let wanted = self.types.desc(spot.ty)?;
        let found = self.type_at(start)?;
        if !std::ptr::eq(found, wanted) {
            return Err(AccessError::OtherType {
                found: found.ty().to_string(),
                wanted: wanted.ty().to_string(),
            });
        }
        Ok(start + spot.word as usize)
    }

    #[cold]
    pub(crate) fn load_spot(&self, start: usize, spot: &Spot) -> Result<u64, AccessError> {
        Ok(self.arena.load(self.at(start, spot)?))
    }

    /// Replaces the bits of `mask` in the word, and no others that other threads write.
    #[cold]
    pub(crate) fn store_spot(
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
