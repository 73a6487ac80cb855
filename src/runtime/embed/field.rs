//! Fields of objects: checked once, then read and written at the cost of a comparison.
#![expect(
    unsafe_code,
    reason = "declares the promise about references in fields; contains no unsafe block"
)]

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::heap::{AccessError, AccessErrorKind, FieldAt, Spot, Word};
use crate::runtime::Runtime;
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;
use crate::types::TypeId;

mod sealed {
    /// A value of 1, 2, 4 or 8 bytes and its bits.
    pub trait Bits: Copy {
        const BYTES: usize;
        fn from_bits(bits: u64) -> Self;
        fn to_bits(self) -> u64;
    }
}

use sealed::Bits;

/// Plain data that a [`Field`] can have: integers, floats and `bool`, where each value but 0 is
/// true.
pub trait FieldValue: Bits {}

macro_rules! numbers {
    ($($number:ty => $bits:ty, $from:expr, $to:expr;)*) => {$(
        impl Bits for $number {
            const BYTES: usize = size_of::<$number>();

            #[inline]
            fn from_bits(bits: u64) -> Self {
                ($from)(bits as $bits)
            }

            #[inline]
            fn to_bits(self) -> u64 {
                u64::from(($to)(self) as $bits)
            }
        }

        impl FieldValue for $number {}
    )*};
}

numbers! {
    u8 => u8, |bits| bits, |value| value;
    u16 => u16, |bits| bits, |value| value;
    u32 => u32, |bits| bits, |value| value;
    u64 => u64, |bits| bits, |value| value;
    i8 => u8, |bits| bits as i8, |value| value;
    i16 => u16, |bits| bits as i16, |value| value;
    i32 => u32, |bits| bits as i32, |value| value;
    i64 => u64, |bits| bits as i64, |value| value;
    f32 => u32, f32::from_bits, f32::to_bits;
    f64 => u64, f64::from_bits, f64::to_bits;
    bool => u8, |bits| bits != 0, |value| value;
}

/// Where a value of plain data lies in all objects of one type. See [`Runtime::field`].
#[derive(Debug)]
pub struct Field<T> {
    at: FieldAt,
    _value: PhantomData<fn() -> T>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Field<T> {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T: FieldValue> Field<T> {
    /// Returns the type whose objects have it.
    pub fn ty(&self) -> TypeId {
        self.at.ty
    }

    /// How many bits of the word are below the value.
    #[inline(always)]
    fn shift(&self) -> u32 {
        if T::BYTES == 8 {
            0
        } else {
            self.at.spot.shift()
        }
    }

    /// The bits of the word that the value has.
    #[inline(always)]
    fn mask(&self) -> u64 {
        (u64::MAX >> (64 - 8 * T::BYTES)) << self.shift()
    }
}

/// Where a reference lies in all objects of one type. See [`Runtime::ref_field`].
#[derive(Clone, Copy, Debug)]
pub struct RefField {
    at: FieldAt,
    /// Whether only objects of the runtime are ever stored there.
    trusted: bool,
}

impl RefField {
    /// Returns the type whose objects have it.
    pub fn ty(&self) -> TypeId {
        self.at.ty
    }

    /// Returns the field as one whose words are not checked when they are read.
    ///
    /// # Safety
    /// In this field of each object of the type only 0 and the addresses at which objects of the
    /// same runtime start are ever stored, by whatever means.
    pub unsafe fn trusted(self) -> RefField {
        RefField {
            trusted: true,
            ..self
        }
    }
}

impl Runtime {
    /// Checks that objects of type `ty` have plain data of type `T` at this byte offset. Offsets of
    /// fields by name are in the [type's descriptor](crate::types::TypeDesc::field_offset).
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// let runtime = fing::Runtime::new()?;
    /// let ty = "struct { Next *main.T; Count uint32; Weight float64 }";
    /// let ty = runtime.types().define("main.T", ty)?;
    /// let desc = runtime.types().desc(ty)?;
    /// let count = runtime.field::<u32>(ty, desc.field_offset("Count").unwrap())?;
    /// let next = runtime.ref_field(ty, desc.field_offset("Next").unwrap())?;
    /// let mutator = runtime.attach()?;
    /// let (first, second) = (mutator.alloc(ty)?, mutator.alloc(ty)?);
    /// mutator.store_field(second, count, 7)?;
    /// mutator.store_ref_field(first, next, Some(second))?;
    /// let found = mutator.load_ref_field(first, next)?.unwrap();
    /// assert_eq!(mutator.load_field(found, count)?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The value is not within the object, or not at a multiple of its size, or a pointer word is
    /// there; values of the type share blocks ([`tiny`](crate::HeapOptions::tiny)); or the type is
    /// of another runtime.
    pub fn field<T: FieldValue>(&self, ty: TypeId, offset: usize) -> Result<Field<T>, AccessError> {
        let heap = self.space().heap();
        Ok(Field {
            at: heap.spot(ty, offset, T::BYTES, Word::Data)?,
            _value: PhantomData,
        })
    }

    /// Checks that objects of type `ty` have a pointer word at this byte offset.
    ///
    /// # Errors
    /// Those of [`field`](Self::field); or the word is no pointer word.
    pub fn ref_field(&self, ty: TypeId, offset: usize) -> Result<RefField, AccessError> {
        let heap = self.space().heap();
        Ok(RefField {
            at: heap.spot(ty, offset, 8, Word::Pointer)?,
            trusted: false,
        })
    }
}

impl Mutator {
    /// Reads a field.
    ///
    /// # Errors
    /// The object is of another type, or of another runtime.
    #[inline(always)]
    pub fn load_field<T: FieldValue>(
        &self,
        object: Obj<'_>,
        field: Field<T>,
    ) -> Result<T, AccessError> {
        let word = self.load_spot(object, field.at.spot)?;
        Ok(T::from_bits(word >> field.shift()))
    }

    /// Writes a field. Values of 8 bytes by one store; of others, the rest of their word stays as
    /// it is, even while other threads write it.
    ///
    /// # Errors
    /// Those of [`load_field`](Self::load_field).
    #[inline(always)]
    pub fn store_field<T: FieldValue>(
        &self,
        object: Obj<'_>,
        field: Field<T>,
        value: T,
    ) -> Result<(), AccessError> {
        let (mask, bits) = (field.mask(), value.to_bits() << field.shift());
        self.store_spot(object, field.at.spot, mask, bits)
    }

    /// Reads a reference, `None` if it is nil. What is read is looked up, unless the field is
    /// [trusted](RefField::trusted).
    ///
    /// # Errors
    /// Those of [`load_field`](Self::load_field); or no object of this heap starts at the address
    /// that the field holds.
    #[inline(always)]
    pub fn load_ref_field(
        &self,
        object: Obj<'_>,
        field: RefField,
    ) -> Result<Option<Obj<'_>>, AccessError> {
        match self.load_spot(object, field.at.spot)? {
            0 => Ok(None),
            addr if field.trusted => Ok(Some(Obj::at(addr as usize))),
            addr => self.adopt(addr as usize).map(Some),
        }
    }

    /// Writes a reference.
    ///
    /// # Errors
    /// Those of [`load_field`](Self::load_field), for each of the objects.
    #[inline]
    pub fn store_ref_field(
        &self,
        object: Obj<'_>,
        field: RefField,
        value: Option<Obj<'_>>,
    ) -> Result<(), AccessError> {
        let addr = value.map_or(0, Obj::addr);
        if addr != 0 && !self.space().heap().names_object(addr) {
            return Err(AccessErrorKind::NotInHeap { addr }.into());
        }
        self.store_spot(object, field.at.spot, u64::MAX, addr as u64)
    }

    // What is looked up is looked up elsewhere, so that what is mostly returned, and a field, are
    // in registers.

    #[inline(always)]
    fn load_spot(&self, object: Obj<'_>, spot: Spot) -> Result<u64, AccessError> {
        // While the heap is trusted no mutator of it was revoked, so this one runs.
        let load = |word: &AtomicU64| word.load(Relaxed);
        match self.reach().access(object.addr(), spot, load) {
            Some(word) => Ok(word),
            None => self.find_and_load(object.addr(), spot),
        }
    }

    #[cold]
    fn find_and_load(&self, object: usize, spot: Spot) -> Result<u64, AccessError> {
        self.space().heap().load_spot(object, spot)
    }

    #[inline(always)]
    fn store_spot(
        &self,
        object: Obj<'_>,
        spot: Spot,
        mask: u64,
        bits: u64,
    ) -> Result<(), AccessError> {
        let store = |word: &AtomicU64| match mask {
            u64::MAX => word.store(bits, Relaxed),
            _ => {
                word.update(Relaxed, Relaxed, |word| word & !mask | bits);
            }
        };
        match self.reach().access(object.addr(), spot, store) {
            Some(()) => Ok(()),
            None => self.find_and_store(object.addr(), spot, mask, bits),
        }
    }

    #[cold]
    fn find_and_store(
        &self,
        object: usize,
        spot: Spot,
        mask: u64,
        bits: u64,
    ) -> Result<(), AccessError> {
        self.space().heap().store_spot(object, spot, mask, bits)
    }
}
