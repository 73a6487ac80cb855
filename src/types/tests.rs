//! Names, method sets, itabs, and Go's rule of what a finalizer may take.

use super::pointers::Pointers;
use super::*;
use std::collections::BTreeSet;

fn text(types: &Types, id: TypeId) -> String {
    types.desc(id).unwrap().ty().to_string()
}

#[test]
fn a_type_may_mention_itself() {
    let types = Types::new();
    let node = types
        .define("main.Node", "struct { Next *main.Node; V int }")
        .unwrap();
    let desc = types.desc(node).unwrap();
    assert_eq!(
        (desc.size(), desc.align(), desc.pointers()),
        (16, 8, &Pointers::Mask(1))
    );
    let pointer = types.pointer_to(node).unwrap();
    assert_eq!(text(&types, pointer), "*main.Node");
    assert_eq!(types.element(pointer).unwrap(), Some(node));
    assert_eq!(types.element(node).unwrap(), None);
    assert_eq!(types.id("*main.Node").unwrap(), pointer);
    // The field's type is opaque in the definition, and the same type.
    let Kind::Struct(fields) = desc.kind() else {
        panic!("a struct")
    };
    assert_eq!(types.intern(&fields[0].ty).unwrap(), pointer);
    assert_eq!(
        types.intern(&Type::opaque("main.Node").unwrap()).unwrap(),
        node
    );
    assert!(
        types
            .define("main.Bad", "struct { Self main.Bad }")
            .is_err()
    );
}

#[test]
fn types_may_mention_each_other() {
    let types = Types::new();
    types.declare("main.B").unwrap();
    let a = types
        .define(
            "main.A",
            "struct { B *main.B; F func(main.B) map[string]main.B }",
        )
        .unwrap();
    assert!(matches!(types.id("[2]main.B"), Err(TypesError::Parse(_))));
    assert!(matches!(
        types.id("main.B"),
        Err(TypesError::Undefined { .. })
    ));
    let b = types
        .define("main.B", "struct { A [2]main.A; V int }")
        .unwrap();
    let size = |id| types.desc(id).unwrap().size();
    assert_eq!((size(a), size(b)), (16, 40));
    assert_eq!(size(types.id("[2]main.B").unwrap()), 80);
    assert_eq!(types.id("main.B").unwrap(), b);
}

#[test]
fn a_web_of_types_stays_small() {
    // Written out in full, each of these would be twice as heavy as the one before.
    let types = Types::new();
    types.define("main.T0", "struct { V int }").unwrap();
    for i in 1..500 {
        let fields = format!(
            "struct {{ A, B *main.T{0}; M map[string]main.T{0} }}",
            i - 1
        );
        let fields = fields.replace("A, B", "A *int; B");
        let id = types.define(&format!("main.T{i}"), &fields).unwrap();
        assert!(types.desc(id).unwrap().ty().weight() < 20);
    }
}

#[test]
fn names_mean_one_thing() {
    let (types, other) = (Types::new(), Types::new());
    let id = types.define("main.T", "struct { A int }").unwrap();
    assert_eq!(types.define("main.T", "struct { A int }").unwrap(), id);
    let error = types.define("main.T", "struct { A string }").unwrap_err();
    assert_eq!(
        error.to_string(),
        "define main.T: defined as struct { A string }, wanted struct { A int } as before"
    );
    // The same name does not slip in from outside: with another meaning, undefined, or with a
    // definition that is spelled alike, which may mention names with another meaning.
    other.declare("main.T").unwrap();
    let declared = other.parse("*main.T").unwrap();
    other.define("main.T", "[100]int").unwrap();
    let defined = other.parse("[2]main.T").unwrap();
    let alike = Types::new();
    alike.define("main.T", "struct { A int }").unwrap();
    let alike = alike.parse("main.T").unwrap();
    for alien in [declared, defined, alike] {
        let error = types.intern(&alien).unwrap_err();
        assert!(
            matches!(&error, TypesError::OtherRuntime { name, .. } if name == "main.T"),
            "{error}"
        );
        assert!(types.check_own(&alien).is_err());
    }
    // A type that was built by hand may be defined, and interned where it means the same; a
    // function's signature must be of the runtime's own types.
    let built = Type::named("main.T", types.parse("[100]int").unwrap()).unwrap();
    let error = types.intern(&built).unwrap_err();
    assert!(matches!(error, TypesError::Mismatch { .. }), "{error}");
    let built = Type::named("main.T", types.parse("struct { A int }").unwrap()).unwrap();
    assert_eq!(types.intern(&built), Ok(id));
    assert!(types.check_own(&built).is_err());
    assert!(types.check_own(&types.parse("*main.T").unwrap()).is_ok());
    assert!(
        types
            .check_own(&types.parse("func(error) *int").unwrap())
            .is_ok()
    );
    let unknown = Type::pointer_to(Type::opaque("main.U").unwrap()).unwrap();
    assert!(matches!(
        types.intern(&unknown),
        Err(TypesError::Undefined { .. })
    ));
    let parse = types.parse("*main.Nope").unwrap_err().to_string();
    assert!(parse.starts_with("type: column 2: found \"main.Nope\", wanted a type"));
    assert!(types.define("int", "string").is_err());
    assert!(types.define("not a name", "string").is_err());
    assert_eq!(
        text(&types, types.define("main.S", "main.T").unwrap()),
        "main.S"
    );
}

#[test]
fn ids_belong_to_their_runtime() {
    let (types, other) = (Types::new(), Types::new());
    let mine = types.id("int").unwrap();
    let foreign = Err(TypesError::Foreign { index: mine.index });
    assert_eq!(other.desc(mine).map(|_| ()), foreign);
    assert_eq!(other.pointer_to(mine).map(|_| ()), foreign);
    assert_eq!(other.assignable(mine, mine).map(|_| ()), foreign);
    assert_eq!(other.method_set(mine).map(|_| ()), foreign);
}

#[test]
fn descriptors_stay_where_they_are() {
    let types = Types::new();
    let first = types.id("*int").unwrap();
    let address = types.desc(first).unwrap().address();
    for i in 0..2000 {
        types.id(&format!("[{i}]*int")).unwrap();
    }
    assert_eq!(types.desc(first).unwrap().address(), address);
    assert_eq!(types.id("*int").unwrap(), first);
    assert_eq!(types.empty().size(), 0);
}

#[test]
fn pointer_maps_agree_with_the_types() {
    let types = Types::new();
    types
        .define("main.Pair", "struct { S string; N [3]int; P *int }")
        .unwrap();
    for text in [
        "int",
        "*int",
        "string",
        "[]int",
        "interface { M() }",
        "[64]*int",
        "[65]*int",
        "[1000]int",
        "[100]main.Pair",
        "[0]*int",
        "[100][0]*int",
        "struct { A [70]int; B *int; C [80]main.Pair; D int8; E any; F [9][9]string }",
        "struct { A [64]struct{ X any; Y [2]int }; B struct {} }",
    ] {
        let desc = types.desc(types.id(text).unwrap()).unwrap();
        let mut want = BTreeSet::new();
        desc.ty().for_each_pointer_word(&mut |offset| {
            want.insert(offset as usize);
        });
        let mut found = Vec::new();
        desc.pointers()
            .for_each(0, &mut |offset| found.push(offset));
        assert_eq!(found, want.iter().copied().collect::<Vec<_>>(), "{text}");
        for word in 0..desc.size() / 8 + 70 {
            assert_eq!(
                desc.pointers().contains(word),
                want.contains(&(word * 8)),
                "{text} word {word}"
            );
        }
        assert_eq!(desc.has_pointers(), !want.is_empty(), "{text}");
    }
    // Astronomic arrays cost nothing until somebody walks them.
    let vast = types
        .desc(types.id("[1099511627776]main.Pair").unwrap())
        .unwrap();
    assert!(vast.pointers().contains(6 << 30 | 5) || vast.has_pointers());
}

#[test]
fn method_sets_follow_receivers() {
    let types = Types::new();
    types.define("main.T", "struct { Field int }").unwrap();
    types.define("main.NP", "*main.T").unwrap();
    types
        .define(
            "main.Face",
            "interface { Read([]byte) (int, error); Close() error }",
        )
        .unwrap();
    types
        .add_method("*main.T", "Close", "func() error", 0x10)
        .unwrap();
    types
        .add_method("main.T", "Read", "func([]byte) (int, error)", 0x20)
        .unwrap();
    let names = |text: &str| {
        let set = types.method_set(types.id(text).unwrap()).unwrap();
        set.iter()
            .map(|method| method.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("main.T"), ["Read"]);
    assert_eq!(names("*main.T"), ["Close", "Read"]);
    assert_eq!(names("**main.T"), [""; 0]);
    assert_eq!(names("main.NP"), [""; 0]);
    assert_eq!(names("*main.NP"), [""; 0]);
    assert_eq!(names("main.Face"), ["Close", "Read"]);
    assert_eq!(names("*main.Face"), [""; 0]);

    let implements =
        |ty: &str, face: &str| types.implements(types.id(ty).unwrap(), types.id(face).unwrap());
    assert_eq!(implements("*main.T", "main.Face"), Ok(()));
    assert_eq!(
        implements("main.T", "interface { Read([]byte) (int, error) }"),
        Ok(())
    );
    assert_eq!(
        implements("main.Face", "interface { Close() error }"),
        Ok(())
    );
    assert_eq!(implements("int", "any"), Ok(()));
    let message = |ty, face| implements(ty, face).unwrap_err().to_string();
    assert_eq!(
        message("main.T", "main.Face"),
        "main.T does not implement main.Face: method Close is missing"
    );
    assert_eq!(
        message("*main.T", "interface { Close() }"),
        "*main.T does not implement interface{ Close() }: method Close is func() error, wanted \
         func()"
    );
    assert_eq!(
        message("*main.T", "int"),
        "itab of int, wanted an interface with methods"
    );

    let add =
        |receiver, name, signature| types.add_method(receiver, name, signature, 0).unwrap_err();
    assert!(matches!(
        add("main.NP", "M", "func()"),
        TypesError::Receiver { .. }
    ));
    assert!(matches!(
        add("*main.NP", "M", "func()"),
        TypesError::Receiver { .. }
    ));
    assert!(matches!(
        add("main.Face", "M", "func()"),
        TypesError::Receiver { .. }
    ));
    assert!(matches!(
        add("int", "M", "func()"),
        TypesError::Receiver { .. }
    ));
    assert!(matches!(
        add("*struct { A int }", "M", "func()"),
        TypesError::Receiver { .. }
    ));
    assert!(matches!(
        add("main.T", "M", "int"),
        TypesError::MethodSignature { .. }
    ));
    assert!(matches!(
        add("main.T", "Close", "func()"),
        TypesError::NameTaken {
            there: "method",
            ..
        }
    ));
    assert!(matches!(
        add("*main.T", "Field", "func()"),
        TypesError::NameTaken { there: "field", .. }
    ));
    assert!(matches!(
        add("main.T", "no name", "func()"),
        TypesError::Build(_)
    ));
    assert!(matches!(
        add("main.None", "M", "func()"),
        TypesError::Parse(_)
    ));
}

#[test]
fn an_itab_has_gos_words() {
    let types = Types::new();
    types.define("main.T", "struct { V int }").unwrap();
    let face = types
        .define("main.Face", "interface { B() int; A(); C(*main.T) }")
        .unwrap();
    types
        .add_method("*main.T", "C", "func(*main.T)", 0xc0)
        .unwrap();
    types.add_method("main.T", "A", "func()", 0xa0).unwrap();
    types.add_method("*main.T", "X", "func()", 0xff).unwrap();
    let pointer = types.id("*main.T").unwrap();
    assert!(types.itab(face, pointer).is_err());
    types
        .add_method("*main.T", "B", "func() int", 0xb0)
        .unwrap();
    let itab = types.itab(face, pointer).unwrap();
    let (face_desc, desc) = (types.desc(face).unwrap(), types.desc(pointer).unwrap());
    let words = itab.words();
    assert_eq!(words[..2], [face_desc.address(), desc.address()]);
    assert_eq!(words[2].to_ne_bytes()[..4], desc.hash().to_ne_bytes());
    assert_eq!(words[3..], [0xa0, 0xb0, 0xc0]);
    assert_eq!(itab.address(), words.as_ptr().addr());
    assert_eq!(types.itab(face, pointer).unwrap().address(), itab.address());
    let any = types.id("any").unwrap();
    assert!(matches!(
        types.itab(any, pointer),
        Err(TypesError::NotInterface { .. })
    ));
    // The hash is of the text: the same in every universe.
    let other = Types::new();
    other.define("main.T", "[7]int").unwrap();
    assert_eq!(
        other.desc(other.id("*main.T").unwrap()).unwrap().hash(),
        desc.hash()
    );
}

#[test]
fn uncommon_is_a_name_or_methods() {
    let types = Types::new();
    types.define("main.Plain", "struct { A int }").unwrap();
    types.define("main.ByValue", "struct { A int }").unwrap();
    types.define("main.ByPointer", "struct { A int }").unwrap();
    types.define("main.NP", "*main.Plain").unwrap();
    types.add_method("main.ByValue", "M", "func()", 0).unwrap();
    types
        .add_method("*main.ByPointer", "M", "func()", 0)
        .unwrap();
    for (text, want) in [
        ("int", true),
        ("unsafe.Pointer", true),
        ("error", true),
        ("main.Plain", true),
        ("main.NP", true),
        ("*int", false),
        ("*main.Plain", false),
        ("*main.NP", false),
        ("*main.ByValue", true),
        ("*main.ByPointer", true),
        ("**main.ByPointer", false),
        ("[]int", false),
        ("struct { A int }", false),
        ("interface { M() }", false),
    ] {
        assert_eq!(
            types.has_uncommon(types.id(text).unwrap()),
            Ok(want),
            "{text}"
        );
    }
}

/// What Go 1.27 answers to `SetFinalizer(object, func(param) {})`.
#[test]
fn what_may_be_passed() {
    let types = Types::new();
    types.define("main.T", "struct { A *int }").unwrap();
    types.define("main.M", "struct { A *int }").unwrap();
    types.define("main.V", "struct { A *int }").unwrap();
    for (name, of) in [
        ("main.PT", "*main.T"),
        ("main.PT2", "*main.T"),
        ("main.PM", "*main.M"),
        ("main.PV", "*main.V"),
    ] {
        types.define(name, of).unwrap();
    }
    types.define("main.PInt", "*int").unwrap();
    types.define("main.Tinter", "interface { m() }").unwrap();
    types.define("main.Any", "interface {}").unwrap();
    types.add_method("*main.M", "m", "func()", 0x77).unwrap();
    types.add_method("main.V", "m", "func()", 0x78).unwrap();

    #[derive(PartialEq, Debug)]
    enum Want {
        Pointer,
        Empty,
        Interface,
        No,
    }
    use Want::*;
    for (object, param, want) in [
        // The same type.
        ("*main.T", "*main.T", Pointer),
        ("main.PT", "main.PT", Pointer),
        ("*main.M", "*main.M", Pointer),
        ("main.PM", "main.PM", Pointer),
        ("*int", "*int", Pointer),
        // One side without name and methods.
        ("main.PInt", "*int", Pointer),
        ("*int", "main.PInt", Pointer),
        ("main.PT", "*main.T", Pointer),
        ("*main.T", "main.PT", Pointer),
        // Both with.
        ("main.PT", "main.PT2", No),
        ("main.PM", "*main.M", No),
        ("*main.M", "main.PM", No),
        ("main.PV", "*main.V", No),
        ("*main.V", "main.PV", No),
        // Another element, however alike.
        ("*main.T", "*main.M", No),
        ("*main.T", "*struct { A *int }", No),
        ("*int", "*uint", No),
        ("*main.T", "**main.T", No),
        // Interfaces.
        ("*main.T", "interface {}", Empty),
        ("main.PT", "any", Empty),
        ("*main.M", "main.Any", Empty),
        ("*main.M", "main.Tinter", Interface),
        ("*main.V", "main.Tinter", Interface),
        ("*main.M", "interface { m() }", Interface),
        ("*main.T", "main.Tinter", No),
        ("main.PM", "main.Tinter", No),
        ("*main.M", "interface { m() int }", No),
        ("*main.M", "error", No),
        // Nothing else.
        ("*main.T", "unsafe.Pointer", No),
        ("*main.T", "uintptr", No),
        ("*main.T", "main.T", No),
        ("*main.T", "func(*main.T)", No),
        ("main.T", "main.T", No),
        ("unsafe.Pointer", "unsafe.Pointer", No),
    ] {
        let (from, to) = (types.id(object).unwrap(), types.id(param).unwrap());
        let found = match types.assignable(from, to) {
            Ok(Passing::Pointer) => Pointer,
            Ok(passing @ Passing::Empty { .. }) => {
                assert_eq!(
                    passing.first_word(),
                    Some(types.desc(from).unwrap().address())
                );
                Empty
            }
            Ok(Passing::Interface(itab)) => {
                assert_eq!(
                    itab.words()[..2],
                    [to, from].map(|id| types.desc(id).unwrap().address())
                );
                Interface
            }
            Err(TypesError::NotAssignable { .. }) => No,
            Err(other) => panic!("{object} as {param}: {other}"),
        };
        assert_eq!(found, want, "{object} as {param}");
    }
    let message = |a, b| {
        types
            .assignable(types.id(a).unwrap(), types.id(b).unwrap())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message("main.PM", "*main.M"),
        "cannot pass main.PM as *main.M: both pointer types have a name or methods"
    );
    assert_eq!(
        message("*main.T", "main.Tinter"),
        "cannot pass *main.T as main.Tinter: *main.T does not implement main.Tinter: method m is \
         missing"
    );
}

#[test]
fn types_that_only_c_has_are_refused() {
    let types = Types::new();
    for text in [
        "C.int128",
        "[2]C.longdouble",
        "struct { A C.union { B, C *int } }",
    ] {
        let text = text.replace("B, C *int", "B *int; C uint");
        for outcome in [types.id(&text), types.define("main.T", &text)] {
            let error = outcome.unwrap_err();
            assert!(matches!(error, TypesError::OnlyC { .. }), "{text}: {error}");
        }
    }
    // Behind a pointer it is no value of the heap.
    types.id("*C.int128").unwrap();
}

#[test]
fn a_declared_name_is_not_defined_by_an_interned_type() {
    let types = Types::new();
    types.declare("main.T").unwrap();
    let by_hand = Type::named("main.T", Type::int()).unwrap();
    let array = Type::array(2, by_hand.clone()).unwrap();
    for ty in [&by_hand, &array] {
        let error = types.intern(ty).unwrap_err();
        assert!(
            matches!(&error, TypesError::Undefined { name, .. } if name == "main.T"),
            "{error}"
        );
    }
    let id = types.define("main.T", "struct { A, B int }").unwrap();
    assert_eq!(types.desc(id).unwrap().size(), 16);
    let error = types.intern(&by_hand).unwrap_err();
    assert!(matches!(error, TypesError::Mismatch { .. }), "{error}");
}

#[test]
fn a_refused_definition_leaves_the_name_free() {
    let types = Types::new();
    for refused in [
        "struct { T main.T }",
        "struct { A, A int }",
        "C.int128",
        "[",
    ] {
        assert!(types.define("main.T", refused).is_err(), "{refused}");
        assert!(types.parse("*main.T").is_err(), "{refused}");
    }
    types.define("main.T", "struct { T *main.T }").unwrap();
}

/// Types by text, by constructors, and with parts that were defined before, are defined alike.
#[test]
fn a_definition_is_one_however_it_is_given() {
    let types = Types::new();
    types
        .define("main.Part", "struct { Next *main.Part }")
        .unwrap();
    types.declare("main.Later").unwrap();
    let texts = [
        "struct { Self *main.T; Value int }",
        "struct { P main.Part; Q *main.Part; R [2]*main.Part; L *main.Later }",
        "struct { S []main.T; M map[string]main.T; C chan main.Part; F func(main.T) main.Part }",
        "struct { I interface{ Get(at int) main.Part }; E error; A *any }",
        "*struct { P main.Part; S [3]struct { P *main.Part } }",
        "[]int",
    ];
    for (at, text) in texts.iter().enumerate() {
        let name = format!("main.T{at}");
        let text = text.replace("main.T", &name);
        let id = types.define(&name, &text).unwrap();
        assert_eq!(types.define(&name, &text), Ok(id));
        let parsed = types.parse(&text).unwrap();
        assert_eq!(types.define_as(&name, &parsed), Ok(id));
        // Names of no scope, as constructors make them.
        let opaque = |name: &str| Type::opaque(name).ok();
        if let Ok(built) = parse_type_with(&text, &opaque) {
            assert_eq!(types.define_as(&name, &built), Ok(id));
        }
        // Behind a pointer, names have no definition; all are of this universe.
        let desc = types.desc(id).unwrap();
        let again = definition(desc.ty()).unwrap();
        assert_eq!(
            again.to_string(),
            shape::reduce(again, &|_| types.universe)
                .unwrap()
                .to_string()
        );
        assert!(desc.ty().weight() <= parsed.weight() + 1);
        types.check_own(desc.ty()).unwrap();
        let quick = shape::is_shallow(again, &|_| types.universe, false);
        assert_eq!(quick, !text.contains("Get("), "{text}");
    }
    let part = types.parse("struct { P *main.Part }").unwrap();
    assert!(!shape::is_shallow(&part, &|_| types.universe, false));
    assert!(!shape::is_shallow(&part, &|_| types.universe + 1, false));
}

#[test]
fn local_types_have_one_display_and_names_of_their_own() {
    let types = Types::new();
    for (name, display) in [("main.T_1", "main.T"), ("main.T_2", "main.T")] {
        types.declare_local(name, display).unwrap();
        types.declare_local(name, display).unwrap();
        types.declare(name).unwrap();
    }
    // Mentioned before it is defined, by itself, as a part, and embedded.
    let mentions = "struct { P *main.T_1; F func(main.T_2) }";
    let before = types.define("main.U", mentions).unwrap();
    let first = types
        .define("main.T_1", "struct { Next *main.T_1 }")
        .unwrap();
    let second = types
        .define("main.T_2", "struct { Next *main.T_2; V int }")
        .unwrap();
    let parts = types.id("struct { A [2]main.T_1; main.T_2 }").unwrap();
    assert_ne!(first, second);
    let show = |id| {
        let desc = types.desc(id).unwrap();
        let ty = desc.ty();
        let under = definition(ty).unwrap_or(ty);
        format!("{ty} {ty:#} {under:#}")
    };
    assert_eq!(
        show(before),
        "main.U main.U struct { P *main.T; F func(main.T) }"
    );
    assert_eq!(show(first), "main.T_1 main.T struct { Next *main.T }");
    assert_eq!(
        show(second),
        "main.T_2 main.T struct { Next *main.T; V int }"
    );
    let text = "struct { A [2]main.T_1; main.T_2 }";
    let shown = "struct { A [2]main.T; main.T }";
    assert_eq!(show(parts), format!("{text} {shown} {shown}"));
    // The plain form is still a text that is parsed to the same type.
    assert_eq!(types.id(text), Ok(parts));
    let [first, second] = [first, second].map(|id| types.pointer_to(id).unwrap());
    assert!(types.assignable(first, first).is_ok());
    assert!(types.assignable(first, second).is_err());
    // A display is one for all.
    for (name, display) in [("main.T_1", "main.V"), ("main.U", "main.V")] {
        let error = types.declare_local(name, display).unwrap_err();
        let TypesError::Display { found, there, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(
            (&**found, there == name || there == "main.T"),
            ("main.V", true)
        );
    }
    for bad in ["", &"x".repeat(256)] {
        assert!(types.declare_local("main.W", bad).is_err());
        assert!(types.parse("*main.W").is_err());
    }
}
