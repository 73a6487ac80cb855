//! Random types and signatures of C.
#![forbid(unsafe_code)]

use super::Rng;
use crate::signature::{CType, Kind, Member, Record, Signature, Type, TypeError};
use crate::{Abi, assign};

const INTEGERS: [fn() -> Type; 9] = [
    Type::int8,
    Type::uint8,
    Type::int16,
    Type::uint16,
    Type::int32,
    Type::uint32,
    Type::int64,
    Type::uint64,
    Type::bool,
];

/// A type of C's, at most about `depth` deep.
pub fn c_type(rng: &mut Rng, depth: u32) -> Type {
    // The generator keeps to the rules; the fallback keeps it total.
    try_c_type(rng, depth).unwrap_or_else(|_| Type::int32())
}

fn scalar(rng: &mut Rng) -> Result<Type, TypeError> {
    Ok(match rng.below(20) {
        0..6 => rng.pick(&INTEGERS)(),
        6..9 => Type::float32(),
        9..12 => Type::float64(),
        12 => Type::unsafe_pointer(),
        13 => Type::complex64(),
        14 => Type::complex128(),
        15 => Type::c(rng.pick(&[CType::Int128, CType::Uint128]).clone())?,
        16 => Type::c(
            rng.pick(&[CType::LongDouble, CType::ComplexLongDouble])
                .clone(),
        )?,
        17 => Type::c(CType::Float16)?,
        18 => vector(rng)?,
        _ => Type::int32(),
    })
}

fn vector(rng: &mut Rng) -> Result<Type, TypeError> {
    let elements = [
        (Type::float32 as fn() -> Type, 4),
        (Type::float64, 8),
        (Type::int8, 1),
        (Type::uint16, 2),
        (Type::int32, 4),
        (Type::int64, 8),
    ];
    let (elem, size) = *rng.pick(&elements);
    let bytes = if size == 8 { 16 } else { *rng.pick(&[8, 16]) };
    Type::c(CType::Vector(bytes / size, elem()))
}

fn try_c_type(rng: &mut Rng, depth: u32) -> Result<Type, TypeError> {
    if depth <= 1 || rng.one_in(3) {
        return scalar(rng);
    }
    // Members of one type make homogeneous aggregates.
    let alike = rng.one_in(3);
    let inner = |rng: &mut Rng| match rng.below(6) {
        0 => c_type(rng, depth - 1),
        _ => scalar(rng).unwrap_or_else(|_| Type::int32()),
    };
    let first = match alike {
        true if rng.one_in(2) => rng.pick(&[Type::float32, Type::float64])(),
        _ => inner(rng),
    };
    let count = *rng.pick(&[0, 1, 1, 2, 2, 2, 3, 3, 4, 5]);
    let mut members = Vec::new();
    for n in 0..count {
        let mut ty = if alike { first.clone() } else { inner(rng) };
        if rng.one_in(8) {
            ty = Type::array(*rng.pick(&[1, 1, 2, 2, 3, 4, 7]), ty)?;
        }
        members.push(Member::new(&format!("m{n}"), ty));
    }
    if rng.one_in(2) {
        let field = |member: Member| crate::signature::Field::new(&member.name, member.ty);
        return Type::structure(members.into_iter().map(field).collect());
    }
    if members.is_empty() {
        members.push(Member::new("m0", Type::int32()));
    }
    let mut record = match rng.below(5) {
        0 | 1 => Record::union(members),
        _ => Record::structure(members),
    };
    match rng.below(8) {
        0 => record = record.pack(1),
        1 => record = record.pack(*rng.pick(&[2, 4, 8])),
        2 => record = record.align(*rng.pick(&[2, 8, 16, 32])),
        3 => {
            let at = rng.below(record.members.len());
            let align = *rng.pick(&[2, 4, 8, 16]);
            record.members[at] = record.members[at].clone().align(align);
        }
        4..7 => add_bit_fields(rng, &mut record),
        _ => {}
    }
    Type::c(CType::Record(record))
}

/// Makes bit-fields of some members.
fn add_bit_fields(rng: &mut Rng, record: &mut Record) {
    for member in &mut record.members {
        if rng.one_in(2) {
            let ty = rng.pick(&INTEGERS)();
            let most = match ty.underlying() {
                Kind::Bool => 1,
                kind => 8 * kind.integer_bytes().unwrap_or(1),
            };
            let bits = 1 + rng.below(most as usize) as u32;
            *member = Member::new(&member.name, ty).bits(bits);
        }
    }
    if rng.one_in(4) {
        record.pack = Some(1);
    }
}

/// A type that `abi` passes at this place of a signature; `make` puts it there.
fn passed(rng: &mut Rng, abi: Abi, make: &dyn Fn(Type) -> Option<Signature>) -> Type {
    for _ in 0..50 {
        let depth = *rng.pick(&[1, 2, 2, 2, 3]);
        let ty = c_type(rng, depth);
        let signature = make(ty.clone());
        if signature.is_some_and(|signature| assign(&signature, abi).is_ok()) {
            return ty;
        }
    }
    Type::int32()
}

/// A signature of C's that `abi` passes: up to 10 parameters of all classes, perhaps one result,
/// now and then variadic.
pub fn c_signature(rng: &mut Rng, abi: Abi) -> Signature {
    let variadic = rng.one_in(3);
    let count = *rng.pick(&[1, 2, 3, 5, 8, 10]);
    let fixed = if variadic {
        1 + rng.below(count)
    } else {
        count
    };
    let mut params = Vec::new();
    for n in 0..count {
        let make = |ty: Type| {
            let signature = Signature::new(None, vec![ty], vec![], false).ok()?;
            if n < fixed {
                Some(signature)
            } else {
                signature.c_variadic(0).ok()
            }
        };
        params.push(passed(rng, abi, &make));
    }
    let make = |ty: Type| Signature::new(None, vec![], vec![ty], false).ok();
    let result = (!rng.one_in(5)).then(|| passed(rng, abi, &make));
    let signature = Signature::new(None, params, result.into_iter().collect(), false);
    let signature = signature.unwrap_or_default();
    if variadic {
        signature.c_variadic(fixed).unwrap_or_default()
    } else {
        signature
    }
}
