//! Objects of another runtime are refused, in a process in which every heap is trusted and in one
//! in which none is: what is checked differs, the results do not.

use fing::error::AccessErrorKind;
use fing::types::TypesError;
use fing::{HeapOptions, Runtime};

/// A runtime, and the name of a type of its own.
fn runtime(tiny: bool) -> Runtime {
    let heap = HeapOptions::default().tiny(tiny);
    let runtime = Runtime::builder().heap(heap).build().unwrap();
    let text = "struct { P *main.T; N uint64 }";
    runtime.types().define("main.T", text).unwrap();
    runtime
}

/// Reads and writes fields of objects of the runtime, of another one, and without size.
fn objects_are_told_apart(runtime: &Runtime, other: &Runtime) {
    let [own, theirs] = [runtime, other].map(|of| of.types().id("main.T").unwrap());
    let (number, pointer) = (
        runtime.field::<u64>(own, 8).unwrap(),
        runtime.ref_field(own, 0).unwrap(),
    );
    let their_number = other.field::<u64>(theirs, 8).unwrap();
    let byte = runtime.field::<u8>(own, 9).unwrap();
    let empty = runtime.types().id("struct {}").unwrap();
    let (m, n) = (runtime.attach().unwrap(), other.attach().unwrap());
    let (mine, foreign) = (m.alloc(own).unwrap(), n.alloc(theirs).unwrap());
    let nothing = m.alloc(empty).unwrap();
    m.store_field(mine, number, 0x1234).unwrap();
    n.store_field(foreign, their_number, 7).unwrap();
    assert_eq!(m.load_field(mine, number), Ok(0x1234));
    let of_byte = if cfg!(target_endian = "big") { 0 } else { 0x12 };
    assert_eq!(m.load_field(mine, byte), Ok(of_byte));
    let not_here = AccessErrorKind::NotInHeap {
        addr: foreign.addr(),
    };
    for error in [
        m.load_field(foreign, number).unwrap_err(),
        m.store_field(foreign, number, 1).unwrap_err(),
        m.load_ref_field(foreign, pointer).unwrap_err(),
        m.store_ref_field(mine, pointer, Some(foreign)).unwrap_err(),
    ] {
        assert_eq!(*error.kind(), not_here);
    }
    // A field of the other runtime's.
    for object in [mine, foreign] {
        let error = m.load_field(object, their_number).unwrap_err();
        let foreign = AccessErrorKind::Type(TypesError::Foreign {
            index: theirs_index(&error),
        });
        assert_eq!(*error.kind(), foreign);
    }
    let error = m.load_field(nothing, number).unwrap_err();
    assert!(
        matches!(error.kind(), AccessErrorKind::OtherType { .. }),
        "{error}"
    );
    assert_eq!(n.load_field(foreign, their_number), Ok(7));
    assert_eq!(m.load_ref_field(mine, pointer).unwrap(), None);
}

/// The number of the type in an error.
fn theirs_index(error: &fing::error::AccessError) -> u32 {
    match error.kind() {
        AccessErrorKind::Type(TypesError::Foreign { index }) => *index,
        other => panic!("{other:?}"),
    }
}

#[test]
fn trusted_or_not_the_results_are_the_same() {
    let (first, second) = (runtime(false), runtime(false));
    objects_are_told_apart(&first, &second);
    // From here on no address is believed for being that of an object.
    let third = runtime(true);
    objects_are_told_apart(&first, &second);
    objects_are_told_apart(&first, &third);
    objects_are_told_apart(&third, &first);
}
