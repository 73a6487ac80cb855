//! Homogeneous aggregates of AAPCS64: one to four floats or vectors of one type, and nothing else.
#![forbid(unsafe_code)]

use super::leaves::{Scalar, leaves};
use crate::signature::{CType, DataModel, Kind, Type};

/// Most members.
const MOST: u64 = 4;

/// What all members are: floats or vectors of so many bytes.
type Base = (Scalar, u64);

/// What there is not: an integer, a second base type, too many members, padding.
struct No;

/// Bytes and number of the members, if the type is a homogeneous aggregate. An array without
/// elements rules it out where `strict`, elsewhere if its elements would.
pub(super) fn homogeneous(model: &DataModel, ty: &Type, strict: bool) -> Option<(u64, u64)> {
    match count(model, ty, strict) {
        Ok((Some((_, size)), number @ 1..)) => Some((size, number)),
        _ => None,
    }
}

/// The base type and how many of it, with all of the type's bytes.
fn count(model: &DataModel, ty: &Type, strict: bool) -> Result<(Option<Base>, u64), No> {
    let (base, number) = match ty.underlying() {
        Kind::Array(0, _) if strict => return Err(No),
        Kind::Array(len, elem) => {
            let (base, each) = count(model, elem, strict)?;
            let number = each.checked_mul(*len).ok_or(No)?;
            (base, number)
        }
        Kind::Struct(_) | Kind::C(CType::Record(_)) => {
            let is_union = matches!(
                ty.underlying(),
                Kind::C(CType::Record(record)) if record.is_union
            );
            let (mut base, mut number) = (None, 0);
            for member in model.members(ty) {
                if member.bits.is_some() {
                    return Err(No);
                }
                let (own, each) = count(model, member.ty, strict)?;
                base = match (base, own) {
                    (Some(a), Some(b)) if a != b => return Err(No),
                    (a, b) => a.or(b),
                };
                number = if is_union {
                    each.max(number)
                } else {
                    number + each
                };
                if number > MOST {
                    return Err(No);
                }
            }
            (base, number)
        }
        _ => {
            let parts = leaves(model, ty, 3);
            let floats = parts.iter().all(|part| part.is_float());
            match parts.first() {
                Some(first) if floats => (Some((first.scalar, first.size)), parts.len() as u64),
                _ => return Err(No),
            }
        }
    };
    let size = model.layout(ty).map_or(0, |layout| layout.size);
    let bytes = base.map_or(0, |(_, size)| size * number);
    if number > MOST || bytes != size {
        return Err(No);
    }
    Ok((base, number))
}
