//! How values lie in memory, which is Go's layout, and by which parts they are compared.

use crate::types::{Basic, Field, Kind, Ty, Types};

/// What a value is compared by; structs and arrays are lists of such parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// So many bytes, which are equal.
    Bytes(u64),
    /// A floating-point number of so many bytes.
    Float(u64),
    /// Text.
    Text,
    /// What an interface holds.
    Interface,
}

impl Types {
    /// What values of the type are compared by, and where it is.
    pub fn compared(&self, ty: Ty) -> Vec<(u64, Compared)> {
        let mut parts = Vec::new();
        self.add_compared(ty, 0, &mut parts);
        parts
    }

    fn add_compared(&self, ty: Ty, at: u64, parts: &mut Vec<(u64, Compared)>) {
        let size = self.size(ty);
        let part = match self.kind(ty) {
            Kind::Struct(fields) => {
                for (field, offset) in fields.iter().zip(self.offsets(fields)) {
                    self.add_compared(field.ty, at + offset, parts);
                }
                return;
            }
            Kind::Array(count, of) => {
                let size = self.size(*of);
                (0..*count).for_each(|index| self.add_compared(*of, at + index * size, parts));
                return;
            }
            Kind::Interface(_) => Compared::Interface,
            _ if self.is_string(ty) => Compared::Text,
            _ if self.is_float(ty) => Compared::Float(size),
            _ => Compared::Bytes(size),
        };
        match (parts.last_mut(), part) {
            (Some((start, Compared::Bytes(count))), Compared::Bytes(more))
                if *start + *count == at =>
            {
                *count += more;
            }
            _ => parts.push((at, part)),
        }
    }

    /// Bytes, and their alignment.
    pub(crate) fn size_align(&self, ty: Ty) -> (u64, u64) {
        use Basic::*;
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
            Kind::Slice(_) => (24, 8),
            Kind::Interface(_) | Kind::Basic(String | UntypedString) => (16, 8),
            Kind::Basic(Void) => (0, 1),
            Kind::Basic(Bool | UntypedBool) => (1, 1),
            Kind::Basic(Float32) => (4, 4),
            _ => {
                let size = self.integer(ty).map_or(8, |(bits, _)| u64::from(bits / 8));
                (size, size)
            }
        }
    }

    /// A field of a struct, or an element of an array or of what a slice has: its type, and where
    /// it is.
    pub fn part(&self, ty: Ty, index: usize) -> (Ty, u64) {
        match self.kind(ty) {
            Kind::Array(_, of) | Kind::Slice(of) => (*of, index as u64 * self.size(*of)),
            Kind::Struct(fields) => (fields[index].ty, self.offsets(fields)[index]),
            _ => unreachable!("checked to have parts"),
        }
    }

    /// Bytes of a value.
    pub fn size(&self, ty: Ty) -> u64 {
        self.size_align(ty).0
    }

    /// Where values begin that lie one behind the other, from an offset on.
    pub fn places(&self, mut at: u64, types: impl IntoIterator<Item = Ty>) -> Vec<u64> {
        let place = |ty| {
            let (size, align) = self.size_align(ty);
            let offset = at.next_multiple_of(align);
            at = offset + size;
            offset
        };
        types.into_iter().map(place).collect()
    }

    /// Where the fields of a struct begin.
    pub(crate) fn offsets(&self, fields: &[Field]) -> Vec<u64> {
        self.places(0, fields.iter().map(|field| field.ty))
    }
}
