//! Parts of a value as pieces: with the type of what is in each.
#![forbid(unsafe_code)]

use crate::abi::NativeConvention;
use crate::abi::classify::{Leaf, Part, leaves};
use crate::assign::Piece;
use crate::signature::Type;

/// No value in registers has more scalars than this, but for bit-fields and unions.
const MOST: usize = 64;

/// The parts as pieces in registers still to be numbered.
pub(super) fn of(native: &NativeConvention, ty: &Type, parts: &[Part]) -> Vec<Piece> {
    let leaves = leaves(&native.data, ty, MOST);
    let is_all =
        |leaf: &Leaf, part: &Part| (leaf.off, leaf.size) == (part.off, part.size) && !leaf.is_bits;
    let piece = |part: &Part| {
        let end = part.off + part.size;
        let mut inside = leaves
            .iter()
            .filter(|leaf| leaf.off < end && leaf.off + leaf.size > part.off);
        let kind = match (inside.next(), inside.next()) {
            (Some(leaf), None) if is_all(leaf, part) => leaf.ty.clone(),
            _ => bytes(part.size),
        };
        Piece {
            class: part.class,
            index: 0,
            off: part.off,
            size: part.size,
            reg_off: 0,
            kind,
        }
    };
    parts.iter().map(piece).collect()
}

/// What a piece is called that is not one scalar.
fn bytes(size: u64) -> Type {
    Type::array(size, Type::uint8()).unwrap_or_else(|_| Type::uint8())
}
