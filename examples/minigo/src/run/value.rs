//! Values of any type taken apart, for the package `value` of the prelude.
#![forbid(unsafe_code)]

use minigo_front::types::{Basic, Kind, Ty, Types};

use super::Ctx;
use super::object::{read, small};

/// What the package says of a value that an interface holds: what its type is made from, as a
/// number; its bytes; the bits of a truth or a number, made longer with its sign; the address that
/// a pointer-shaped value is, or the first word of another one; how many elements or fields it has,
/// or pointers that are not nil. `at` is the value itself if it is pointer-shaped, or where it is.
pub(super) fn look(types: &Types, ty: Ty, at: usize) -> [usize; 5] {
    let size = types.size(ty);
    let (kind, count) = match types.kind(ty) {
        Kind::Basic(Basic::Bool) => (1, 0),
        Kind::Basic(_) if types.is_float(ty) => (4, 0),
        Kind::Basic(Basic::String) => (5, 0),
        Kind::Basic(_) => match types.integer(ty) {
            Some((_, true)) => (2, 0),
            Some((_, false)) => (3, 0),
            None => (0, 0),
        },
        Kind::Pointer(_) => (6, usize::from(at != 0)),
        Kind::Slice(_) => (7, read(at + 8) as usize),
        Kind::Array(count, _) => (8, *count as usize),
        Kind::Map(..) => (9, 0),
        Kind::Struct(fields) => (10, fields.len()),
        _ => (0, 0),
    };
    let (mut bits, word) = match types.is_pointer_shaped(ty) {
        true => (0, at),
        false => (small(at, size), small(at, 8.min(size)) as usize),
    };
    if let Some((wide, true)) = types.integer(ty) {
        bits = ((bits as i64) << (64 - wide) >> (64 - wide)) as u64;
    }
    [kind, size as usize, bits as usize, word, count]
}

/// The type and address of an element, a field, or what a pointer points to.
pub(super) fn part(types: &Types, ty: Ty, at: usize, index: usize) -> Option<(Ty, usize)> {
    match *types.kind(ty) {
        Kind::Slice(_) | Kind::Array(..) | Kind::Struct(_) => {
            let (part, offset) = types.part(ty, index);
            let is_slice = matches!(types.kind(ty), Kind::Slice(_));
            let start = if is_slice { read(at) as usize } else { at };
            Some((part, start + offset as usize))
        }
        Kind::Pointer(to) => Some((to, at)),
        Kind::Map(key, value) => Some(([key, value][index], 0)),
        _ => None,
    }
}

/// Leaves the value at an address in the results, as one of type `any`; none as nil.
pub(super) fn leave(ctx: &mut Ctx, part: Option<(Ty, usize)>) {
    let words = part.map(|(ty, at)| {
        let info = ctx.vm.infos[ty.0 as usize].address();
        match ctx.types().is_interface(ty) {
            true => [read(at) as usize, read(at + 8) as usize],
            false if ctx.types().is_pointer_shaped(ty) => [info, read(at) as usize],
            false => [info, at],
        }
    });
    ctx.leave(words.unwrap_or([0, 0]));
}
