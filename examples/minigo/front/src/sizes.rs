//! How values lie in memory, which is Go's layout.

use crate::types::{Basic, Field, Kind, Ty, Types};

impl Types {
    /// Bytes, and their alignment.
    pub fn size_align(&self, ty: Ty) -> (u64, u64) {
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
    pub fn offsets(&self, fields: &[Field]) -> Vec<u64> {
        self.places(0, fields.iter().map(|field| field.ty))
    }
}
