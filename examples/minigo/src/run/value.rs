//! Values of any type taken apart, for the package `value` of the prelude.
#![forbid(unsafe_code)]

use minigo_front::types::{Basic, Kind, Ty, Types};

use super::object::{read, small};
use super::{Ctx, TypeInfo};

/// A value that an interface holds.
#[derive(Clone, Copy)]
pub(super) struct Held {
    types: &'static Types,
    pub(super) ty: Ty,
    /// The value itself if it is pointer-shaped, or where it is.
    pub(super) at: usize,
}

impl Held {
    /// None for nil.
    pub(super) fn of(ctx: &Ctx, [info, at]: [u64; 2]) -> Option<Held> {
        Some(Held {
            types: ctx.types(),
            ty: TypeInfo::of(info)?.ty,
            at: at as usize,
        })
    }

    /// What the package says of a value: what its type is made from, as a number; its bytes; the
    /// bits of a truth or a number, made longer with its sign; the address that a pointer-shaped
    /// value is, or the first word of another one; how many elements or fields it has, or pointers
    /// that are not nil.
    pub(super) fn look(self) -> [usize; 5] {
        let size = self.types.size(self.ty);
        let (kind, count) = match self.types.kind(self.ty) {
            Kind::Basic(Basic::Bool) => (1, 0),
            Kind::Basic(Basic::Float32 | Basic::Float64) => (4, 0),
            Kind::Basic(Basic::String) => (5, 0),
            Kind::Basic(_) => match self.types.integer(self.ty) {
                Some((_, true)) => (2, 0),
                Some((_, false)) => (3, 0),
                None => (0, 0),
            },
            Kind::Pointer(_) => (6, usize::from(self.at != 0)),
            Kind::Slice(_) => (7, read(self.at + 8) as usize),
            Kind::Array(count, _) => (8, *count as usize),
            Kind::Map(..) => (9, 0),
            Kind::Struct(fields) => (10, fields.len()),
            _ => (0, 0),
        };
        let (mut bits, word) = match self.types.is_pointer_shaped(self.ty) {
            true => (0, self.at),
            false => (small(self.at, size), small(self.at, 8.min(size)) as usize),
        };
        if let Some((wide, true)) = self.types.integer(self.ty) {
            bits = ((bits as i64) << (64 - wide) >> (64 - wide)) as u64;
        }
        [kind, size as usize, bits as usize, word, count]
    }

    pub(super) fn float(self) -> f64 {
        match self.types.size(self.ty) {
            4 => f32::from_bits(small(self.at, 4) as u32).into(),
            _ => f64::from_bits(read(self.at)),
        }
    }

    /// The type and address of an element, a field, or what a pointer points to.
    pub(super) fn part(self, index: usize) -> Option<(Ty, usize)> {
        let element = |of: Ty, start| Some((of, start + index * self.types.size(of) as usize));
        match self.types.kind(self.ty) {
            Kind::Slice(of) => element(*of, read(self.at) as usize),
            Kind::Array(_, of) => element(*of, self.at),
            Kind::Struct(fields) => {
                let offset = self.types.offsets(fields)[index];
                Some((fields[index].ty, self.at + offset as usize))
            }
            Kind::Pointer(to) => Some((*to, self.at)),
            Kind::Map(key, value) => Some(([*key, *value][index], 0)),
            _ => None,
        }
    }

    pub(super) fn field(self, index: usize) -> &'static str {
        let field = self.types.field(self.ty, index);
        field.map_or("", |field| &field.name)
    }
}

/// Leaves the value at an address in the results, as one of type `any`; none as nil.
pub(super) fn leave(ctx: &mut Ctx, part: Option<(Ty, usize)>) {
    let words = part.map(|(ty, at)| {
        let info = TypeInfo::address(ctx.vm, ty);
        match ctx.types().is_interface(ty) {
            true => [read(at) as usize, read(at + 8) as usize],
            false if ctx.types().is_pointer_shaped(ty) => [info, read(at) as usize],
            false => [info, at],
        }
    });
    ctx.leave(words.unwrap_or([0, 0]));
}
