//! Reading, writing, adopting: every refusal by name.

use super::*;

#[test]
fn fields_keep_what_is_stored() {
    let space = space(options());
    let m = attach(&space).unwrap();
    let ty = space
        .types()
        .id("struct { P *int; I any; S string; N int; B [5]uint8; C uint8 }")
        .unwrap();
    let int = space.types().id("int").unwrap();
    let (object, value) = (m.alloc(ty).unwrap(), m.alloc(int).unwrap());
    assert_eq!(m.load_ref(object, 0), Ok(None));
    m.store_ref(object, 0, Some(value)).unwrap();
    m.store_word(object, 8, 77).unwrap();
    m.store_ref(object, 16, Some(object)).unwrap();
    m.store_addr(object, 24, 0x1000).unwrap();
    m.store_word(object, 40, u64::MAX).unwrap();
    m.store_bytes(object, 49, &[1, 2, 3]).unwrap();
    assert_eq!(m.load_ref(object, 0), Ok(Some(value)));
    assert_eq!(m.load_ref(object, 16), Ok(Some(object)));
    assert_eq!(m.load_addr(object, 24), Ok(0x1000));
    assert_eq!(m.load_word(object, 0), Ok(value.addr() as u64));
    assert_eq!(
        (m.load_word(object, 8), m.load_word(object, 40)),
        (Ok(77), Ok(u64::MAX))
    );
    let mut bytes = [9; 6];
    m.load_bytes(object, 48, &mut bytes).unwrap();
    assert_eq!(bytes, [0, 1, 2, 3, 0, 0]);
    m.store_ref(object, 0, None).unwrap();
    assert_eq!(m.load_ref(object, 0), Ok(None));
    assert_eq!(m.type_of(object).unwrap().id(), ty);
}

#[test]
fn what_does_not_fit_is_refused() {
    let space = space(options());
    let m = attach(&space).unwrap();
    let ty = space
        .types()
        .define("main.T", "struct { P *int; N int; B [5]uint8 }")
        .unwrap();
    let object = m.alloc(ty).unwrap();
    let said = |result: Result<(), AccessError>| result.unwrap_err().to_string();
    let (mut long, mut none) = ([0; 25], [0; 0]);
    for (found, want) in [
        (
            m.load_ref(object, 8).map(drop),
            "word at offset 8 of main.T is no pointer, wanted a pointer word",
        ),
        (
            m.store_ref(object, 16, None),
            "word at offset 16 of main.T is no pointer, wanted a pointer word",
        ),
        (
            m.store_word(object, 0, 1),
            "word at offset 0 of main.T is a pointer, wanted a word of plain data",
        ),
        (
            m.store_bytes(object, 7, &[1, 2]),
            "word at offset 0 of main.T is a pointer, wanted a word of plain data",
        ),
        (
            m.load_word(object, 4).map(drop),
            "word at offset 4 of main.T, wanted a multiple of 8",
        ),
        (
            m.load_word(object, 24).map(drop),
            "8 bytes at offset 24 of main.T, wanted bytes within its 24",
        ),
        (
            m.store_word(object, usize::MAX - 7, 1),
            "8 bytes at offset 18446744073709551608 of main.T, wanted bytes within its 24",
        ),
        (
            m.load_bytes(object, 0, &mut long),
            "25 bytes at offset 0 of main.T, wanted bytes within its 24",
        ),
        (
            m.load_bytes(object, 25, &mut none),
            "0 bytes at offset 25 of main.T, wanted bytes within its 24",
        ),
    ] {
        assert_eq!(said(found), want);
    }
    m.load_bytes(object, 24, &mut none).unwrap();
    m.store_bytes(object, 3, &[]).unwrap();
}

#[test]
fn adopting_takes_starts_only() {
    let space = space(options());
    let mut m = attach(&space).unwrap();
    let ty = space
        .types()
        .define("main.T", "struct { P *int; N int }")
        .unwrap();
    let addr = m.alloc(ty).unwrap().addr();
    assert_eq!(m.adopt(addr).map(crate::Obj::addr), Ok(addr));
    assert_eq!(m.adopt(0), Err(AccessErrorKind::Nil.into()));
    assert_eq!(
        m.adopt(addr + 8),
        Err(AccessErrorKind::Interior {
            addr: addr + 8,
            base: addr,
            ty: "main.T".into()
        }
        .into())
    );
    let local = 5;
    for foreign in [
        addr - 8,
        addr + 16,
        addr + 32,
        std::ptr::from_ref(&local).addr(),
        1,
        usize::MAX,
    ] {
        assert_eq!(
            m.adopt(foreign),
            Err(AccessErrorKind::NotInHeap { addr: foreign }.into())
        );
    }
    m.gc().unwrap();
    assert_eq!(
        m.adopt(addr),
        Err(AccessErrorKind::NotInHeap { addr }.into())
    );
}

#[test]
fn runtimes_do_not_mix() {
    let (space, other) = (space(options()), space(options()));
    let (m, n) = (attach(&space).unwrap(), attach(&other).unwrap());
    let (ty, theirs) = (
        space.types().id("*int").unwrap(),
        other.types().id("*int").unwrap(),
    );
    assert!(matches!(n.alloc(ty), Err(AllocError::Type(_))));
    let (mine, object) = (m.alloc(ty).unwrap(), n.alloc(theirs).unwrap());
    let handle = n.root(object).unwrap();
    assert_eq!(m.get(&handle), Err(AccessErrorKind::ForeignHandle.into()));
    let foreign = AccessError::from(AccessErrorKind::NotInHeap {
        addr: object.addr(),
    });
    assert_eq!(m.load_ref(object, 0), Err(foreign.clone()));
    assert_eq!(m.store_ref(mine, 0, Some(object)), Err(foreign.clone()));
    assert_eq!(m.store_ref(object, 0, Some(mine)), Err(foreign.clone()));
    assert_eq!(m.type_of(object).map(drop), Err(foreign.clone()));
    // As an address it may be kept; it is followed by nobody.
    m.store_addr(mine, 0, object.addr()).unwrap();
    assert_eq!(m.load_ref(mine, 0), Err(foreign));
    assert_eq!(n.get(&handle), Ok(object));
}
