//! Access to a word of objects of one type, which was checked once.

use super::access::sealed;
use super::{AccessError, AccessErrorKind, Heap, Word};
use crate::base::trust::Trust;
use crate::types::{TypeDesc, TypeId, TypesError};
use std::ptr::with_exposed_provenance_mut;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const WORD: usize = 8;

/// Where a value lies in all objects of a type: what an access has to know, in two words, so that
/// it is in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The header of such objects, mixed with the number of their universe: the address of a
    /// descriptor may be that of another one once its runtime is gone.
    key: u64,
    /// The type's number in the upper half. In the lower one the offset of the word that the value
    /// is in, a multiple of 8, plus the number of bytes of that word below the value.
    place: u64,
}

/// [`Spot::key`].
fn key(desc: &TypeDesc) -> u64 {
    desc.address() as u64 ^ desc.id().universe()
}

impl Spot {
    fn new(desc: &TypeDesc, word: u32, below: u32) -> Spot {
        let index = u64::from(desc.id().index());
        Spot {
            key: key(desc),
            place: index << 32 | u64::from(word + below),
        }
    }

    /// Byte offset of the word that the value is in.
    #[inline(always)]
    fn word(self) -> usize {
        (self.place as u32 & !7) as usize
    }

    /// Bits of that word below the value.
    #[inline(always)]
    pub(crate) fn shift(self) -> u32 {
        8 * (self.place as u32 & 7)
    }
}

/// [`Spot`], with the type that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldAt {
    pub(crate) ty: TypeId,
    pub(crate) spot: Spot,
}

/// What an access has to know of the heap, in one place: each atomic load makes the compiler load
/// everything else anew. A mutator keeps it beside its heap.
#[derive(Debug)]
pub(crate) struct Reach {
    start: usize,
    universe: u64,
    trust: Trust,
}

impl Reach {
    /// Does something with the word of an object that an `Obj` names. `None`, and nothing was done:
    /// it is of another type or heap, or has to be looked up.
    #[inline(always)]
    pub(crate) fn access<R>(
        &self,
        object: usize,
        spot: Spot,
        access: impl FnOnce(&AtomicU64) -> R,
    ) -> Option<R> {
        if !Trust::is_everywhere() && object.wrapping_sub(self.start) >= self.trust.bytes() {
            return None;
        }
        // SAFETY: I12, I13: the address is in the range of this heap, or I29 of another one, which
        // a mutator keeps mapped; so an object starts there, behind its header. I15: accesses are
        // atomic.
        let header = unsafe { AtomicU64::from_ptr(with_exposed_provenance_mut(object - 8)) };
        if header.load(Relaxed) ^ self.universe != spot.key {
            return None;
        }
        let at = with_exposed_provenance_mut(object + spot.word());
        // SAFETY: I12, I13, I28: objects of the type have an aligned word at that offset, and this
        // is one, of this heap.
        Some(access(unsafe { AtomicU64::from_ptr(at) }))
    }
}

impl Heap {
    /// What accesses to its objects have to know.
    pub(crate) fn reach(&self) -> Reach {
        Reach {
            start: self.arena.start(),
            universe: self.types.empty().id().universe(),
            trust: self.trust.clone(),
        }
    }

    /// Checks that objects of the type have a value of so many bytes (1, 2, 4 or 8) at this offset.
    /// The type stays for good from then on, as a spot does not hold it.
    pub(crate) fn spot(
        &self,
        ty: TypeId,
        offset: usize,
        bytes: usize,
        wanted: Word,
    ) -> Result<FieldAt, AccessError> {
        let desc = self.types.desc(ty)?;
        let name = || desc.ty().to_string();
        if desc.is_sealed() {
            return Err(sealed(&desc));
        }
        // The block's own type as well: an object of it may be a value behind its start.
        if self.is_tiny(&desc) || self.is_tiny_block(&desc) {
            return Err(AccessErrorKind::SharesBlock { ty: name() }.into());
        }
        if desc
            .size()
            .checked_sub(offset)
            .is_none_or(|left| left < bytes)
        {
            let size = desc.size();
            return Err(AccessErrorKind::OutOfBounds {
                ty: name(),
                offset,
                bytes,
                size,
            }
            .into());
        }
        if !offset.is_multiple_of(bytes) {
            return Err(AccessErrorKind::MisalignedField {
                ty: name(),
                offset,
                bytes,
            }
            .into());
        }
        let ty_name = name();
        match (wanted, desc.pointers().contains(offset / WORD)) {
            (Word::Pointer, false) => {
                return Err(AccessErrorKind::NotPointer {
                    ty: ty_name,
                    offset,
                }
                .into());
            }
            (Word::Data, true) => {
                return Err(AccessErrorKind::IsPointer {
                    ty: ty_name,
                    offset,
                }
                .into());
            }
            _ => {}
        }
        let within = offset % WORD;
        let below = match cfg!(target_endian = "big") {
            true => WORD - bytes - within,
            false => within,
        };
        let word = u32::try_from(offset - within).map_err(|_| AccessErrorKind::OutOfBounds {
            ty: name(),
            offset,
            bytes,
            size: u32::MAX as usize,
        })?;
        desc.keep();
        Ok(FieldAt {
            ty,
            spot: Spot::new(&desc, word, below as u32),
        })
    }

    /// The address of the word of an object that an `Obj` names: as [`Reach::access`], for objects
    /// that have to be looked up, and with an error.
    #[cold]
    fn at(&self, start: usize, spot: Spot) -> Result<usize, AccessError> {
        let index = (spot.place >> 32) as u32;
        // The type of a field stays for good.
        let wanted = self.types.address_at(index);
        let wanted = wanted
            .map(|address| self.desc(address as u64))
            .filter(|desc| key(desc) == spot.key)
            .ok_or(TypesError::Foreign { index })?;
        let found = self.type_at(start)?;
        if !std::ptr::eq(found, wanted) {
            return Err(AccessErrorKind::OtherType {
                found: found.ty().to_string(),
                wanted: wanted.ty().to_string(),
            }
            .into());
        }
        Ok(start + spot.word())
    }

    #[cold]
    pub(crate) fn load_spot(&self, start: usize, spot: Spot) -> Result<u64, AccessError> {
        Ok(self.arena.load(self.at(start, spot)?))
    }

    /// Replaces the bits of `mask` in the word, and no others that other threads write.
    #[cold]
    pub(crate) fn store_spot(
        &self,
        start: usize,
        spot: Spot,
        mask: u64,
        value: u64,
    ) -> Result<(), AccessError> {
        let at = self.at(start, spot)?;
        self.arena.update(at, |word| word & !mask | value);
        Ok(())
    }
}
