//! Layout, pointer words and identity of types.
use fing_stubs::signature::{Field, Kind, Need, Type, TypeError, parse_type_with};
use std::collections::HashSet;

fn layout(text: &str) -> (u64, u64, Option<(u8, u8)>) {
    let layout = text.parse::<Type>().unwrap().layout().unwrap();
    (
        layout.size,
        layout.align,
        layout.need.map(|Need { ints, floats }| (ints, floats)),
    )
}

fn pointer_words(text: &str) -> Vec<u64> {
    let mut words = Vec::new();
    text.parse::<Type>()
        .unwrap()
        .for_each_pointer_word(&mut |at| words.push(at));
    words
}

#[test]
fn layouts_follow_go() {
    assert_eq!(layout("struct{}"), (0, 1, Some((0, 0))));
    assert_eq!(layout("[0]int64"), (0, 8, Some((0, 0))));
    assert_eq!(layout("[2]struct{}"), (0, 1, None));
    assert_eq!(
        layout("struct { A int8; B struct{} }"),
        (2, 1, Some((1, 0)))
    );
    assert_eq!(
        layout("struct { A struct{}; B int8 }"),
        (1, 1, Some((1, 0)))
    );
    assert_eq!(
        layout("struct { A [0]int32; B struct{} }"),
        (0, 4, Some((0, 0)))
    );
    assert_eq!(
        layout("struct { A int64; B struct{} }"),
        (16, 8, Some((1, 0)))
    );
    assert_eq!(
        layout("struct { A complex64; _ int8 }"),
        (12, 4, Some((1, 2)))
    );
    assert_eq!(layout("struct { A int; B [2]struct{} }"), (16, 8, None));
    assert_eq!(layout("[1][1]string"), (16, 8, Some((2, 0))));
    assert_eq!(layout("error"), (16, 8, Some((2, 0))));
}

#[test]
fn pointer_words_follow_the_collector() {
    assert_eq!(
        pointer_words("struct { A int; B string; C interface{}; D []int; E uintptr }"),
        [8, 32, 40]
    );
    assert_eq!(pointer_words("[3]struct { A int; B *int }"), [8, 24, 40]);
    assert_eq!(
        pointer_words("[140737488355328]struct{ A [0]*int }"),
        [0u64; 0]
    );
    assert_eq!(pointer_words("[0]*int"), [0u64; 0]);
    assert_eq!(
        pointer_words("struct { A map[int]int; B chan int; C func(); D unsafe.Pointer; E error }"),
        [0, 8, 16, 24, 40]
    );
}

#[test]
fn names_decide_identity_of_defined_types() {
    let inner = Type::opaque("main.Node").unwrap();
    assert_eq!(inner.layout(), None);
    let next = Field::new("Next", Type::pointer_to(inner.clone()).unwrap());
    let node = Type::named("main.Node", Type::structure(vec![next]).unwrap()).unwrap();
    assert_eq!(node, inner);
    assert_eq!(node.layout().unwrap().size, 8);
    assert_ne!(node, Type::named("main.Other", node.clone()).unwrap());
    let by_value = parse_type_with("[1]main.Node", &|_| Some(inner.clone())).unwrap_err();
    assert_eq!(
        by_value.to_string(),
        "type: column 1: array element is main.Node, which is opaque; wanted a type of known \
         size, or main.Node behind a pointer"
    );
}

#[test]
fn methods_are_a_set_and_their_parameter_names_are_decoration() {
    let a: Type = "interface{ N() int; M(p []byte) (n int, err error) }"
        .parse()
        .unwrap();
    let b: Type = "interface { M([]uint8) (int, error); N() (int) }"
        .parse()
        .unwrap();
    assert_eq!(a, b);
    assert_eq!(
        a.to_string(),
        "interface{ M(p []uint8) (n int, err error); N() int }"
    );
    assert_eq!(
        format!("{a:#}"),
        "interface { M([]uint8) (int, error); N() int }"
    );
}

#[test]
fn constructors_have_the_limits_of_the_parser() {
    let mut deep = Type::int();
    let error = loop {
        match Type::pointer_to(deep.clone()) {
            Ok(ty) => deep = ty,
            Err(error) => break error,
        }
    };
    assert_eq!(
        (deep.depth(), error),
        (200, TypeError::TooDeep { found: 201 })
    );

    // A graph that doubles with each level is refused before anything walks it.
    let mut heavy = Type::string();
    let error = loop {
        match Type::structure(vec![
            Field::new("A", heavy.clone()),
            Field::new("B", heavy.clone()),
        ]) {
            Ok(ty) => heavy = ty,
            Err(error) => break error,
        }
    };
    assert_eq!(error, TypeError::TooHeavy);
    assert_eq!(heavy.layout().unwrap().need, None);

    let large = |len| Type::array(len, Type::int()).map(|ty| ty.layout().unwrap().size);
    assert_eq!(large(1 << 44), Ok(1 << 47));
    assert!(matches!(
        large((1 << 44) + 1),
        Err(TypeError::TooLarge { .. })
    ));
    assert!(matches!(
        large(u64::MAX),
        Err(TypeError::ArrayLength { found: u64::MAX })
    ));
    assert!(matches!(
        Type::map(Type::slice(Type::int()).unwrap(), Type::int()),
        Err(TypeError::MapKey { .. })
    ));
    for bad in [
        "",
        "_",
        "int",
        "a b",
        "main.",
        ".Node",
        "func",
        "main.func",
        "9a",
        &"x".repeat(256),
    ] {
        assert!(
            matches!(Type::opaque(bad), Err(TypeError::BadName { .. })),
            "{bad}"
        );
    }
}

const KEYWORDS: &str = "break case chan const continue default defer else fallthrough for func go \
    goto if import interface map package range return select struct switch type var";

#[test]
fn a_name_is_letters_and_digits_and_no_keyword() {
    let field = |name: &str| Type::structure(vec![Field::new(name, Type::int())]);
    for good in [
        "x", "_x", "été", "aé1", "é_9", "breaks", "Break", "世界", "x9z",
    ] {
        assert!(field(good).is_ok(), "{good}");
        let text = format!("struct {{ {good} int }}");
        assert_eq!(text.parse::<Type>().unwrap().to_string(), text);
        assert!(Type::opaque(&format!("{good}.{good}")).is_ok(), "{good}");
    }
    let words = KEYWORDS.split_whitespace();
    for bad in words.chain(["", "9", "9a", "é·", "a b", "a\u{301}", "a-", "١a", "a.b"]) {
        assert!(
            matches!(field(bad), Err(TypeError::BadName { .. })),
            "{bad}"
        );
        // `struct { int }` has an embedded field.
        let text = format!("struct {{ {bad} int }}");
        assert!(bad.is_empty() || text.parse::<Type>().is_err(), "{bad}");
        if bad != "a.b" {
            assert!(Type::opaque(&format!("main.{bad}")).is_err(), "{bad}");
            assert!(Type::opaque(&format!("{bad}.main")).is_err(), "{bad}");
        }
    }
}

/// Names of a struct of any number of fields: each pair of equal ones is seen, but for `_`.
#[test]
fn two_fields_of_one_name_are_seen() {
    for count in [2, 15, 16, 17, 18, 40] {
        let name = |at: usize| format!("F{at}");
        let names: Vec<String> = (0..count).map(name).collect();
        let structure = |names: &[String]| {
            Type::structure(names.iter().map(|n| Field::new(n, Type::int())).collect())
        };
        assert!(structure(&names).is_ok(), "{count}");
        for (first, second) in (0..count).flat_map(|to| (0..to).map(move |from| (from, to))) {
            let mut names = names.clone();
            names[second] = name(first);
            let error = structure(&names).unwrap_err();
            let wanted = TypeError::DuplicateField { name: name(first) };
            assert_eq!(error, wanted, "{count} {first} {second}");
            names[first] = "_".into();
            names[second] = "_".into();
            assert!(structure(&names).is_ok());
        }
    }
}

#[test]
fn a_name_is_checked_once_for_many_types() {
    let opaque = Type::opaque_in("main.T", 7).unwrap();
    let defined = opaque.defined_as(Type::int()).unwrap();
    assert_eq!(defined.layout(), Type::int().layout());
    for ty in [&opaque, &defined, &defined.without_definition()] {
        let Kind::Named(named) = ty.kind() else {
            panic!("{ty} has a name");
        };
        assert_eq!((named.name(), named.scope()), ("main.T", 7));
    }
    assert!(defined.without_definition().layout().is_none());
    assert_eq!(Type::int().without_definition(), Type::int());
    let elsewhere = defined.in_scope(8).unwrap();
    let Kind::Named(named) = elsewhere.kind() else {
        panic!("{elsewhere} has a name");
    };
    assert_eq!((named.scope(), elsewhere.layout()), (8, defined.layout()));
    let refused = opaque.defined_as(Type::opaque("main.U").unwrap());
    assert!(matches!(refused, Err(TypeError::Opaque { .. })));
    let refused = Type::int().defined_as(Type::int()).unwrap_err();
    assert!(matches!(refused, TypeError::BadName { .. }), "{refused}");
}

/// Whatever counts for equality is told apart, whatever does not count is not hashed.
#[test]
fn equal_types_have_one_hash() {
    let texts = [
        "struct { A int }",
        "struct { A int \"tag\" }",
        "struct { A int \"gat\" }",
        "struct { B int }",
        "struct { A, B int }",
        "struct { int }",
        "struct { error }",
        "struct { Error error }",
        "struct { int int }",
        "[2]int",
        "[3]int",
        "*int",
        "[]int",
        "chan int",
        "<-chan int",
        "func(int)",
        "func() int",
        "func(...int)",
        "func([]int)",
        "interface{ A() }",
        "interface{ B() }",
    ];
    let parse = |text: &str| text.parse::<Type>().unwrap();
    let all: HashSet<Type> = texts.into_iter().map(parse).collect();
    assert_eq!(all.len(), texts.len());
    assert!(texts.iter().all(|text| all.contains(&parse(text))));
    assert!(all.contains(&parse("interface { A() }")));
    let labels = ["interface{ M(a int) }", "interface{ M(b int) }"].map(parse);
    assert_eq!(HashSet::from(labels).len(), 1);
    let names = [
        Type::opaque("main.T").unwrap(),
        Type::opaque_in("main.T", 7).unwrap(),
        Type::named("main.T", Type::int()).unwrap(),
    ];
    assert_eq!(HashSet::from(names).len(), 1);
}
