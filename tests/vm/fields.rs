//! Fields that are checked once.

use fing::error::{AccessError, AccessErrorKind};
use fing::vm::{Field, FieldValue};
use fing::{HeapOptions, Mutator, Obj, Runtime, TypeId};

fn runtime() -> (Runtime, TypeId) {
    let runtime = Runtime::new().unwrap();
    let ty = "struct { Next *main.T; Data [16]uint8; Other *main.T }";
    let ty = runtime.types().define("main.T", ty).unwrap();
    (runtime, ty)
}

/// Writes and reads a value at each place of two words, and nothing beside it.
fn everywhere<T: FieldValue + PartialEq + std::fmt::Debug>(values: &[T], bytes: &[&[u8]]) {
    let (runtime, ty) = runtime();
    let mutator = runtime.attach().unwrap();
    let object = mutator.alloc(ty).unwrap();
    for at in (0..16).step_by(size_of::<T>()) {
        let field: Field<T> = runtime.field(ty, 8 + at).unwrap();
        for (value, bytes) in values.iter().zip(bytes) {
            mutator.store_bytes(object, 8, &[0xa5; 16]).unwrap();
            mutator.store_field(object, field, *value).unwrap();
            assert_eq!(mutator.load_field(object, field).unwrap(), *value);
            let (mut found, mut wanted) = ([0; 16], [0xa5; 16]);
            mutator.load_bytes(object, 8, &mut found).unwrap();
            wanted[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(found, wanted, "{value:?} at {at}");
        }
    }
    let end = 24 + 1 - size_of::<T>();
    for offset in (end..24).chain([0, 24]) {
        assert!(runtime.field::<T>(ty, offset).is_err(), "offset {offset}");
    }
}

#[test]
fn values_of_each_type_are_where_they_should_be() {
    macro_rules! numbers {
        ($($ty:ty),*) => {$(
            let values = [<$ty>::MIN, <$ty>::MAX, 3 as $ty];
            let bytes = values.map(<$ty>::to_ne_bytes);
            everywhere(&values, &bytes.each_ref().map(|bytes| &bytes[..]));
        )*};
    }
    numbers!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);
    everywhere(&[false, true], &[&[0], &[1]]);
}

#[test]
fn offsets_are_found_by_name() {
    let (runtime, ty) = runtime();
    let desc = runtime.types().desc(ty).unwrap();
    let offsets = ["Next", "Data", "Other", "None"].map(|name| desc.field_offset(name));
    assert_eq!(offsets, [Some(0), Some(8), Some(24), None]);
    let word = runtime.types().id("uint64").unwrap();
    assert_eq!(
        runtime.types().desc(word).unwrap().field_offset("Next"),
        None
    );
}

#[test]
fn references_are_looked_up_unless_trusted() {
    let (runtime, ty) = runtime();
    let mut mutator = runtime.attach().unwrap();
    let next = runtime.ref_field(ty, 0).unwrap();
    // SAFETY: I13: nothing but objects is stored in field `Other` here.
    let other = unsafe { runtime.ref_field(ty, 24).unwrap().trusted() };
    let (a, b) = (mutator.alloc(ty).unwrap(), mutator.alloc(ty).unwrap());
    for field in [next, other] {
        assert_eq!(field.ty(), ty);
        assert_eq!(mutator.load_ref_field(a, field).unwrap(), None);
        mutator.store_ref_field(a, field, Some(b)).unwrap();
        assert_eq!(mutator.load_ref_field(a, field).unwrap(), Some(b));
    }
    mutator.store_addr(a, 0, b.addr() + 8).unwrap();
    let error = mutator.load_ref_field(a, next).unwrap_err();
    assert!(
        matches!(error.kind(), AccessErrorKind::Interior { .. }),
        "{error}"
    );
    mutator.store_ref_field(a, next, None).unwrap();
    let a = mutator.root(a).unwrap();
    assert_eq!(
        mutator.gc().unwrap().live_objects,
        2,
        "as Other refers to it"
    );
    drop(a);
}

/// What each access of an object that is not of the field's type returns.
fn refused(mutator: &Mutator, object: Obj<'_>, runtime: &Runtime, ty: TypeId) -> AccessError {
    let field = runtime.field::<u32>(ty, 8).unwrap();
    let next = runtime.ref_field(ty, 0).unwrap();
    let errors = [
        mutator.load_field(object, field).map(drop).unwrap_err(),
        mutator.store_field(object, field, 1).unwrap_err(),
        mutator.load_ref_field(object, next).map(drop).unwrap_err(),
        mutator.store_ref_field(object, next, None).unwrap_err(),
    ];
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
    errors[0].clone()
}

#[test]
fn objects_of_other_types_and_runtimes_are_refused() {
    let ((runtime, ty), (other, theirs)) = (runtime(), runtime());
    let (mutator, foreign) = (runtime.attach().unwrap(), other.attach().unwrap());
    let word = runtime.types().id("uint64").unwrap();
    let number = mutator.alloc(word).unwrap();
    let error = refused(&mutator, number, &runtime, ty);
    let text = "field of main.T: the object is a uint64, wanted a main.T";
    assert_eq!(error.to_string(), text);
    let nothing = mutator
        .alloc(runtime.types().id("struct{}").unwrap())
        .unwrap();
    let error = refused(&mutator, nothing, &runtime, ty);
    assert!(
        matches!(error.kind(), AccessErrorKind::OtherType { .. }),
        "{error}"
    );
    // An object of the other runtime, and a field of it.
    let object = foreign.alloc(theirs).unwrap();
    let addr = object.addr();
    let error = refused(&mutator, object, &runtime, ty);
    assert_eq!(*error.kind(), AccessErrorKind::NotInHeap { addr });
    let own = mutator.alloc(ty).unwrap();
    let error = refused(&mutator, own, &other, theirs);
    assert!(matches!(error.kind(), AccessErrorKind::Type(_)), "{error}");
    // One to be stored.
    let next = runtime.ref_field(ty, 0).unwrap();
    let error = mutator
        .store_ref_field(own, next, Some(object))
        .unwrap_err();
    assert_eq!(*error.kind(), AccessErrorKind::NotInHeap { addr });
}

#[test]
fn a_field_of_a_runtime_that_is_gone_is_refused() {
    // Descriptors of the new runtime may have the addresses of the old one's.
    for _ in 0..50 {
        let (runtime, ty) = runtime();
        let field = runtime.field::<u64>(ty, 8).unwrap();
        drop(runtime);
        let runtime = Runtime::new().unwrap();
        let ty = runtime
            .types()
            .define("main.T", "struct { P *uint8 }")
            .unwrap();
        let mutator = runtime.attach().unwrap();
        let object = mutator.alloc(ty).unwrap();
        let error = mutator.store_field(object, field, u64::MAX).unwrap_err();
        assert!(matches!(error.kind(), AccessErrorKind::Type(_)), "{error}");
    }
}

#[test]
fn fields_that_are_not_there_are_refused() {
    let (runtime, ty) = runtime();
    let text = |found: Result<Field<u64>, AccessError>| found.unwrap_err().to_string();
    for (offset, wanted) in [
        (
            0,
            "word at offset 0 of main.T is a pointer, wanted a word of plain data",
        ),
        (
            12,
            "field of 8 bytes at offset 12 of main.T, wanted a multiple of 8",
        ),
        (
            32,
            "8 bytes at offset 32 of main.T, wanted bytes within its 32",
        ),
        (
            usize::MAX,
            "8 bytes at offset 18446744073709551615 of main.T, wanted bytes within its 32",
        ),
    ] {
        assert_eq!(text(runtime.field(ty, offset)), wanted);
    }
    let error = runtime.ref_field(ty, 8).unwrap_err();
    let wanted = "word at offset 8 of main.T is no pointer, wanted a pointer word";
    assert_eq!(error.to_string(), wanted);
    let tiny = Runtime::builder().heap(HeapOptions::default().tiny(true));
    let tiny = tiny.build().unwrap();
    let word = tiny.types().id("uint64").unwrap();
    let error = tiny.field::<u64>(word, 0).unwrap_err();
    assert!(
        matches!(error.kind(), AccessErrorKind::SharesBlock { .. }),
        "{error}"
    );
    // The block's type has none either: its `Obj`s are values at any place in the block.
    let block = tiny.enter(|m| m.type_of(m.alloc(word).unwrap()).unwrap().id());
    for offset in [0, 8] {
        let error = tiny
            .field::<u64>(block.clone().unwrap(), offset)
            .unwrap_err();
        assert!(
            matches!(error.kind(), AccessErrorKind::SharesBlock { .. }),
            "{error}"
        );
    }
    // In such a heap other types have fields as ever.
    let pair = tiny.types().id("[2]uint64").unwrap();
    let field = tiny.field::<u64>(pair, 8).unwrap();
    let mutator = tiny.attach().unwrap();
    let object = mutator.alloc(pair).unwrap();
    mutator.store_field(object, field, 9).unwrap();
    assert_eq!(mutator.load_field(object, field).unwrap(), 9);
    // A tiny value behind a word that happens to be the type's address is none.
    let eight = mutator.alloc(word).unwrap();
    let header = tiny.types().desc(pair).unwrap().address() as u64;
    mutator.store_word(eight, 0, header).unwrap();
    let behind = mutator.alloc(word).unwrap();
    assert_eq!(behind.addr(), eight.addr() + 8);
    let error = mutator.load_field(behind, field).unwrap_err();
    assert!(
        matches!(error.kind(), AccessErrorKind::OtherType { .. }),
        "{error}"
    );
}

#[test]
fn threads_write_neighbours_in_one_word() {
    let (runtime, ty) = &runtime();
    let object = runtime
        .enter(|m| m.root(m.alloc(*ty).unwrap()).unwrap())
        .unwrap();
    std::thread::scope(|scope| {
        for at in 0..4 {
            let object = &object;
            scope.spawn(move || {
                let mutator = runtime.attach().unwrap();
                let field = runtime.field::<u16>(*ty, 8 + 2 * at).unwrap();
                for n in 0..2000 {
                    let object = mutator.get(object).unwrap();
                    mutator.store_field(object, field, n).unwrap();
                    assert_eq!(mutator.load_field(object, field).unwrap(), n);
                }
            });
        }
    });
}
