//! Whether a value of one type may be passed as one of another: the same parts at the same places,
//! whatever they are called.
#![forbid(unsafe_code)]

use crate::signature::{CType, Kind, Type};

/// Whether a value of type `value` is one of type `wanted` as well. All pointers are alike, and a
/// `uintptr` is one.
pub(super) fn fits(value: &Type, wanted: &Type) -> bool {
    if value == wanted {
        return true;
    }
    match (value.underlying(), wanted.underlying()) {
        (Kind::Array(a, own), Kind::Array(b, other)) => a == b && fits(own, other),
        (Kind::Struct(own), Kind::Struct(other)) => {
            let own = own.iter().map(|field| &field.ty);
            all_fit(own, other.iter().map(|field| &field.ty))
        }
        (Kind::C(own), Kind::C(other)) => c_fits(own, other),
        (own, other) => scalar_fits(own, other),
    }
}

fn all_fit<'a>(
    own: impl ExactSizeIterator<Item = &'a Type>,
    other: impl ExactSizeIterator<Item = &'a Type>,
) -> bool {
    own.len() == other.len() && own.zip(other).all(|(own, other)| fits(own, other))
}

fn c_fits(own: &CType, other: &CType) -> bool {
    match (own, other) {
        (CType::Vector(a, own), CType::Vector(b, other)) => a == b && fits(own, other),
        (CType::Record(own), CType::Record(other)) => {
            let shape =
                |record: &crate::signature::Record| (record.is_union, record.pack, record.align);
            let places = own.members.iter().zip(&other.members);
            let mut places = places.map(|(a, b)| (a.bits, a.align) == (b.bits, b.align));
            let types = |record| {
                let record: &crate::signature::Record = record;
                record.members.iter().map(|member| &member.ty)
            };
            shape(own) == shape(other)
                && all_fit(types(own), types(other))
                && places.all(|same| same)
        }
        _ => own == other,
    }
}

fn scalar_fits(own: &Kind, other: &Kind) -> bool {
    let is_address = |kind: &Kind| is_pointer(kind) || *kind == Kind::Uintptr;
    if is_pointer(own) || is_pointer(other) {
        return is_address(own) && is_address(other);
    }
    match (own.integer_bytes(), other.integer_bytes()) {
        (Some(a), Some(b)) => a == b && is_signed(own) == is_signed(other),
        (None, None) => {
            std::mem::discriminant(own) == std::mem::discriminant(other)
                && own.basic_name().is_some()
        }
        _ => false,
    }
}

fn is_signed(kind: &Kind) -> bool {
    use Kind::{Int, Int8, Int16, Int32, Int64};
    matches!(kind, Int | Int8 | Int16 | Int32 | Int64)
}

fn is_pointer(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Pointer(_) | Kind::UnsafePointer | Kind::Map(..) | Kind::Chan(..) | Kind::Func(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits() {
        for (value, wanted, right) in [
            ("int32", "int32", true),
            ("int", "int64", true),
            ("int64", "uint64", false),
            ("int32", "int64", false),
            ("uintptr", "uint64", true),
            ("uintptr", "*int8", true),
            ("uint64", "*int8", false),
            ("unsafe.Pointer", "map[int]int", true),
            ("bool", "uint8", false),
            ("float32", "float64", false),
            ("float64", "int64", false),
            ("complex64", "complex64", true),
            ("complex64", "[2]float32", false),
            ("string", "string", true),
            (
                "struct { A int32; B *int }",
                "struct { X int32; Y unsafe.Pointer }",
                true,
            ),
            ("struct { A int32 }", "struct { A int32; B int32 }", false),
            ("struct { A int32 }", "int32", false),
            ("struct { A int32 }", "C.struct pack 1 { A int32 }", false),
            ("C.struct { A int32 : 3 }", "C.struct { B int32 : 3 }", true),
            (
                "C.struct { A int32 : 3 }",
                "C.struct { B int32 : 4 }",
                false,
            ),
            (
                "C.struct align 8 { A int }",
                "C.struct align 16 { A int }",
                false,
            ),
            ("C.union { A int }", "C.struct align 8 { A int }", false),
            ("C.union { A int; B float64 }", "C.union { A int }", false),
            ("C.vector[4]int32", "C.vector[4]float32", false),
            ("C.vector[4]int32", "C.vector[4]int32", true),
            ("C.int128", "C.uint128", false),
            ("[2]int", "[2]int64", true),
            ("[2]int", "[3]int", false),
        ] {
            let [own, other] = [value, wanted].map(|text| text.parse::<Type>().unwrap());
            assert_eq!(fits(&own, &other), right, "{value} as {wanted}");
        }
    }
}
