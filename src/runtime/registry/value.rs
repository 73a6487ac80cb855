//! Checks whether bytes are a value of a type that a function can be called with: every pointer
//! must be nil or lead to a value of the type that it points to.
#![forbid(unsafe_code)]

use fing_stubs::signature::{Kind, Type};

use super::pointer::lies_in;
use crate::heap::Location;
use crate::runtime::mutator::Mutator;

/// Checks the bytes of a value, as many as its type's size. The error says what is wrong, and
/// where.
pub(super) fn check(mutator: &Mutator, ty: &Type, bytes: &[u8]) -> Result<(), String> {
    Check { mutator, bytes }.value(ty, 0)
}

/// Whether the type is a number, so that any bytes are a value of it.
pub(super) fn is_number(ty: &Type) -> bool {
    matches!(
        ty.underlying(),
        Kind::Int
            | Kind::Int8
            | Kind::Int16
            | Kind::Int32
            | Kind::Int64
            | Kind::Uint
            | Kind::Uint8
            | Kind::Uint16
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Uintptr
            | Kind::Float32
            | Kind::Float64
    )
}

struct Check<'a> {
    mutator: &'a Mutator,
    bytes: &'a [u8],
}

impl Check<'_> {
    fn value(&self, ty: &Type, at: usize) -> Result<(), String> {
        match ty.underlying() {
            _ if is_number(ty) => Ok(()),
            Kind::Complex64 | Kind::Complex128 | Kind::UnsafePointer => Ok(()),
            Kind::Bool => match self.bytes.get(at) {
                Some(0 | 1) => Ok(()),
                other => Err(format!("byte {at} is {other:?}, wanted a bool, 0 or 1")),
            },
            Kind::Pointer(of) => match self.word(at) {
                0 => Ok(()),
                addr => self.points_to(of, addr, at),
            },
            Kind::String => {
                let (addr, len) = (self.word(at), self.word(at + 8));
                self.elements(&Type::uint8(), addr, len, at)
            }
            Kind::Slice(of) => {
                let [addr, len, cap] = [0, 8, 16].map(|offset| self.word(at + offset));
                if len > cap || cap > isize::MAX as usize {
                    return Err(format!(
                        "the slice at byte {at} has {len} elements and room for {cap}"
                    ));
                }
                self.elements(of, addr, cap, at)
            }
            // Any number of elements without size takes no bytes.
            Kind::Array(_, of) if of.layout().is_some_and(|layout| layout.size == 0) => Ok(()),
            Kind::Array(count, of) => {
                let size = of.layout().map_or(0, |layout| layout.size) as usize;
                (0..*count as usize).try_for_each(|n| self.value(of, at + n * size))
            }
            Kind::Struct(fields) => fields
                .iter()
                .try_for_each(|field| self.value(&field.ty, at + field.offset as usize)),
            Kind::Interface(_) => self.nil(ty, at, 2),
            _ => self.nil(ty, at, 1),
        }
    }

    fn word(&self, at: usize) -> usize {
        let bytes = self
            .bytes
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, usize::from_ne_bytes)
    }

    /// Checks that a value is nil, for types whose other values can't be checked.
    fn nil(&self, ty: &Type, at: usize, words: usize) -> Result<(), String> {
        match (0..words).all(|n| self.word(at + 8 * n) == 0) {
            true => Ok(()),
            false => Err(format!(
                "the {ty} at byte {at} is not nil, and can't be checked \
                 (CleanupArgument::Unchecked takes it)"
            )),
        }
    }

    /// Checks that a value of this type is at the address `addr`, to which the pointer at byte `at`
    /// leads.
    fn points_to(&self, ty: &Type, addr: usize, at: usize) -> Result<(), String> {
        let (types, heap) = (self.mutator.types(), self.mutator.space().heap());
        let wanted = types.intern(ty).and_then(|id| types.desc(id));
        let wanted = wanted.map_err(|error| error.to_string())?;
        let found = match heap.locate(addr) {
            Location::Zero if wanted.size() == 0 => return Ok(()),
            Location::Object { start, desc, size } if !desc.is_sealed() => {
                let offset = addr - start;
                if lies_in((heap, types), (desc, size), offset, &wanted) {
                    return Ok(());
                }
                format!("{offset} bytes into a {}", desc.ty())
            }
            _ => "to no object of this heap".to_owned(),
        };
        Err(format!(
            "the pointer at byte {at} leads {found}, wanted nil or a {ty}"
        ))
    }

    /// Checks that `count` values of this type are at the address `addr`, to which the pointer at
    /// byte `at` leads.
    fn elements(&self, ty: &Type, addr: usize, count: usize, at: usize) -> Result<(), String> {
        let size = ty.layout().map_or(0, |layout| layout.size) as usize;
        let heap = self.mutator.space().heap();
        if count == 0 || size == 0 {
            return Ok(());
        }
        let align = ty.layout().map_or(1, |layout| layout.align) as usize;
        let room = match heap.locate(addr) {
            Location::Object { start, size, desc } if !desc.is_sealed() => size - (addr - start),
            _ => 0,
        };
        if count.checked_mul(size).is_none_or(|bytes| bytes > room) || !addr.is_multiple_of(align) {
            return Err(format!(
                "the {count} elements of {ty} that byte {at} leads to are not in one object of \
                 this heap"
            ));
        }
        if is_number(ty) {
            return Ok(());
        }
        (0..count).try_for_each(|n| self.points_to(ty, addr + n * size, at))
    }
}
