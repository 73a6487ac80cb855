//! The parser: what it takes, what it says to what it doesn't, and that no text harms it.

use std::thread;

use fing_stubs::abi::{Abi, Arch};
use fing_stubs::assign::assign;
use fing_stubs::check::check;
use fing_stubs::fuzzing::{self, Rng};
use fing_stubs::signature::{
    Field, Kind, Signature, Type, TypeError, parse_signature_with, parse_type_with,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

#[test]
fn takes_what_go_takes() {
    let table = [
        ("func()", "func()"),
        (" func ( ) ", "func()"),
        ("func(byte, rune, any)", "func(uint8, int32, interface{})"),
        (
            "func(interface {}, struct {})",
            "func(interface{}, struct{})",
        ),
        ("func() int", "func() (int)"),
        ("func() (int,error)", "func() (int, error)"),
        ("func(int, ...string)", "func(int, ...string)"),
        ("recv(*int)func(int)(int)", "recv(*int) func(int) (int)"),
        ("func(func(...int) func())", "func(func(...int) func())"),
        (
            "func(struct{A int;B [ 2 ] int;})",
            "func(struct { A int; B [2]int })",
        ),
        (
            "func(interface{Read(p []byte)(n int,err error)})",
            "func(interface{ Read(p []uint8) (n int, err error) })",
        ),
        (
            "func(chan<- int, <-chan int)",
            "func(chan<- int, <-chan int)",
        ),
        ("func(chan <-chan int)", "func(chan<- chan int)"),
        ("func(chan (<-chan int))", "func(chan (<-chan int))"),
        ("func((*((int))))", "func(*int)"),
        (
            "func(map[string]\n\tmap[int]bool)",
            "func(map[string]map[int]bool)",
        ),
        (
            "func(struct { é int; _ int; _ int })",
            "func(struct { é int; _ int; _ int })",
        ),
        ("func(int,)", "func(int)"),
        ("func(int int)", "func(int)"),
        (
            "func(a, b *int, _ string) (n int, err error)",
            "func(*int, *int, string) (int, error)",
        ),
        ("func(a, b int, c ...int,)", "func(int, int, ...int)"),
        // Go reads the first int as a name.
        ("func(int, x string)", "func(string, string)"),
        ("func(int, error, any)", "func(int, error, interface{})"),
        (
            "func(f func(a, b int8) (c bool))",
            "func(func(int8, int8) bool)",
        ),
        (
            "func(interface{ M(a, b int) (c, d error) })",
            "func(interface{ M(a int, b int) (c error, d error) })",
        ),
        (
            "func(struct { a, b *int })",
            "func(struct { a *int; b *int })",
        ),
        (
            "func(struct { A, _, _ int; B, C struct{ D, E bool } })",
            "func(struct { A int; _ int; _ int; B struct { D bool; E bool }; \
             C struct { D bool; E bool } })",
        ),
        (
            "func(struct { error; int; *string; byte; any })",
            "func(struct { error; int; *string; byte; any })",
        ),
        (
            "func(struct { A, B int `json:\"a\"`; *int \"x\\ty\"; C int `` })",
            "func(struct { A int \"json:\\\"a\\\"\"; B int \"json:\\\"a\\\"\"; \
             *int \"x\\ty\"; C int })",
        ),
        (
            "func(struct { A int \"\\x41\\101\\u00e9\\U0001F600\\a\" })",
            "func(struct { A int \"AAé😀\\x07\" })",
        ),
        (
            "func(interface { error; M(); Error() string })",
            "func(interface{ Error() string; M() })",
        ),
        ("func(interface { any })", "func(interface{})"),
    ];
    for (text, wanted) in table {
        let sig: Signature = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(sig.to_string(), wanted);
        assert_eq!(wanted.parse::<Signature>().as_ref(), Ok(&sig), "{wanted}");
    }
}

#[test]
fn names_embedding_and_tags_make_types_of_their_own() {
    let ty = |text: &str| text.parse::<Type>().unwrap();
    let types = [
        "struct { int }",
        "struct { int int }",
        "struct { *int }",
        "struct { int `a` }",
        "struct { int `b` }",
        "struct { int int `a` }",
    ]
    .map(ty);
    for (i, a) in types.iter().enumerate() {
        for (j, b) in types.iter().enumerate() {
            assert_eq!(a == b, i == j, "{a}, {b}");
        }
    }
    assert_eq!(ty("struct { A int `` }"), ty("struct { A int }"));
    let node = Type::opaque("main.Node").unwrap();
    let read = |text| parse_type_with(text, &|name| (name == "main.Node").then(|| node.clone()));
    let list = read("struct { *main.Node `next`; Length int }").unwrap();
    assert_eq!(
        list.to_string(),
        "struct { *main.Node \"next\"; Length int }"
    );
    let Kind::Struct(fields) = list.kind() else {
        panic!("{list}")
    };
    assert_eq!(&*fields[0].name, "Node");
    let text = list.to_string();
    assert_eq!(read(&text).unwrap(), list);
    assert_eq!(
        read("struct { main.Node }").unwrap_err().to_string(),
        "type: column 1: field Node is main.Node, which is opaque; \
         wanted a type of known size, or main.Node behind a pointer"
    );
}

#[test]
fn says_where_and_why() {
    let table = [
        (
            "",
            "column 1: found end of text, wanted \"func\" or \"recv\"",
        ),
        (
            "int",
            "column 1: found \"int\", wanted \"func\" or \"recv\"",
        ),
        (
            "function()",
            "column 1: found \"function\", wanted \"func\" or \"recv\"",
        ),
        ("func", "column 5: found end of text, wanted \"(\""),
        ("func(", "column 6: found end of text, wanted a type"),
        (
            "func(strin)",
            "column 6: found \"strin\", wanted a type: Go's own, or a name defined here",
        ),
        (
            "func(main.Node)",
            "column 6: found \"main.Node\", wanted a type: Go's own, or a name defined here",
        ),
        (
            "func(int",
            "column 9: found end of text, wanted \",\" or \")\"",
        ),
        (
            "func(int int int)",
            "column 14: found \"int\", wanted \",\" or \")\"",
        ),
        ("func(int,,)", "column 10: found \",\", wanted a type"),
        (
            "func(*T)",
            "column 7: found \"T\", wanted a type: Go's own, or a name defined here \
             (all pointers are passed alike: *struct{} will do for one to a type that has no \
             definition)",
        ),
        (
            "func(a, b T)",
            "column 11: found \"T\", wanted a type: Go's own, or a name defined here",
        ),
        (
            "func(a int, b)",
            "column 14: found \")\", wanted a type after the name, as before",
        ),
        (
            "func(a int, *int)",
            "column 13: found \"*\", wanted a name and its type, as before",
        ),
        (
            "func(*int, a int)",
            "column 12: found \"a\", wanted a type without a name, as before",
        ),
        ("func(a, b ...int)", "column 11: found \".\", wanted a type"),
        ("func(,int)", "column 6: found \",\", wanted a type"),
        (
            "func() int int",
            "column 12: found \"int\", wanted end of text",
        ),
        (
            "func() (int) x",
            "column 14: found \"x\", wanted end of text",
        ),
        (
            "func(...int, int)",
            "column 12: found \",\", wanted \")\" after the variadic parameter",
        ),
        ("func() (...int)", "column 9: found \".\", wanted a type"),
        ("func() ...int", "column 8: found \".\", wanted end of text"),
        ("recv(int)", "column 10: found end of text, wanted \"func\""),
        (
            "recv(int, int) func()",
            "column 9: found \",\", wanted \")\"",
        ),
        ("recv() func()", "column 6: found \")\", wanted a type"),
        (
            "recv(int) recv(int) func()",
            "column 11: found \"recv\", wanted \"func\"",
        ),
        (
            "func([)",
            "column 7: found \")\", wanted an array length or \"]\"",
        ),
        (
            "func([-1]int)",
            "column 7: found \"-\", wanted an array length or \"]\"",
        ),
        ("func([1)", "column 8: found \")\", wanted \"]\""),
        ("func([1e3]int)", "column 8: found \"e3\", wanted \"]\""),
        ("func([0x10]int)", "column 8: found \"x10\", wanted \"]\""),
        ("func([]", "column 8: found end of text, wanted a type"),
        ("func(map[int)", "column 13: found \")\", wanted \"]\""),
        ("func(map int)", "column 10: found \"int\", wanted \"[\""),
        ("func(chan)", "column 10: found \")\", wanted a type"),
        ("func(<-int)", "column 8: found \"int\", wanted \"chan\""),
        ("func(struct int)", "column 13: found \"int\", wanted \"{\""),
        (
            "func(struct{ *[]int })",
            "column 15: found \"[\", wanted a type's name",
        ),
        (
            "func(struct{ unsafe.Pointer })",
            "column 6: embedded field unsafe.Pointer, wanted a type's name, \
             or * and the name of a type that is neither pointer nor interface",
        ),
        (
            "func(struct{ *error })",
            "column 6: embedded field *error, wanted a type's name, \
             or * and the name of a type that is neither pointer nor interface",
        ),
        (
            "func(struct{ int, })",
            "column 19: found \"}\", wanted a field name",
        ),
        (
            "func(struct{ A int `x })",
            "column 25: found end of text, wanted \"`\" at the end of the tag",
        ),
        (
            "func(struct{ A int \"\\q\" })",
            "column 21: found \"\\\\\", wanted a character of a tag, or '\"' at its end",
        ),
        (
            "func(struct{ A int B int })",
            "column 20: found \"B\", wanted \";\" or \"}\"",
        ),
        (
            "func(struct{ A, B })",
            "column 19: found \"}\", wanted a type",
        ),
        (
            "func(struct{ func int })",
            "column 14: found \"func\", wanted a field name or \"}\"",
        ),
        (
            "func(struct{ 1 int })",
            "column 14: found \"1\", wanted a field name or \"}\"",
        ),
        (
            "func(struct{ A int",
            "column 19: found end of text, wanted \";\" or \"}\"",
        ),
        (
            "func(interface{ M })",
            "column 17: found \"M\", wanted a method with its parameters, or an interface's name",
        ),
        (
            "func(interface{ error; Error() })",
            "column 6: interface has two methods Error, wanted distinct names",
        ),
        (
            "func(interface{ int | string })",
            "column 17: found \"int\", wanted a method with its parameters, or an interface's name",
        ),
        ("func(*)", "column 7: found \")\", wanted a type"),
        (
            "func(é\u{301}x)",
            "column 7: found \"\\u{301}\", wanted a type",
        ),
        (
            "fünc()",
            "column 1: found \"fünc\", wanted \"func\" or \"recv\"",
        ),
        (
            "func(struct{ é int; è in })",
            "column 23: found \"in\", wanted a type: Go's own, or a name defined here",
        ),
        ("func(\u{0})", "column 6: found \"\\0\", wanted a type"),
        (
            "func(\u{a0}int)",
            "column 6: found \"\\u{a0}\", wanted a type",
        ),
        (
            "func(unsafe.Pointr)",
            "column 6: found \"unsafe.Pointr\", wanted a type: Go's own, or a name defined here",
        ),
        (
            "func(unsafe .Pointer)",
            "column 6: found \"unsafe\", wanted a type: Go's own, or a name defined here",
        ),
        (
            "func(struct{ A int; A bool })",
            "column 6: struct has two fields A, wanted distinct names (or _)",
        ),
        (
            "func(interface{ M(); M() })",
            "column 6: interface has two methods M, wanted distinct names",
        ),
        (
            "func(interface{ _() })",
            "column 6: method name \"_\", wanted a name other than _ of at most 255 bytes",
        ),
        (
            "func(map[[]int]int)",
            "column 6: map key []int, wanted a comparable type",
        ),
        (
            "func([9223372036854775808]int8)",
            "column 7: array length 9223372036854775808, wanted at most 9223372036854775807",
        ),
        (
            "func([99999999999999999999]int8)",
            "column 7: array length 18446744073709551615, wanted at most 9223372036854775807",
        ),
        (
            "func(int8, [17592186044417]int)",
            "column 12: array of 17592186044417 x 8 bytes is too large, wanted at most \
             140737488355328 bytes",
        ),
        (
            "func([17592186044416]int, int)",
            "column 1: signature up to parameter 1 is too large, wanted at most 140737488355328 \
             bytes",
        ),
        (
            "func(struct{ A [17592186044416]int; B struct{} })",
            "column 6: struct of 2 fields is too large, wanted at most 140737488355328 bytes",
        ),
    ];
    for (text, wanted) in table {
        let error = text.parse::<Signature>().expect_err(text);
        assert_eq!(error.to_string(), format!("signature: {wanted}"), "{text}");
        assert_eq!(
            text[..error.offset].chars().count() + 1,
            error.column,
            "{text}"
        );
    }
    assert_eq!(
        "func() ()".parse::<Signature>().unwrap(),
        Signature::default()
    );
    assert_eq!(
        "[]strin".parse::<Type>().unwrap_err().to_string(),
        "type: column 3: found \"strin\", wanted a type: Go's own, or a name defined here"
    );
    let long = format!("func({})", "x".repeat(1000))
        .parse::<Signature>()
        .unwrap_err()
        .to_string();
    assert_eq!(
        long,
        format!(
            "signature: column 6: found \"{}...\", wanted a type: Go's own, or a name defined here",
            "x".repeat(80)
        )
    );
}

#[test]
fn resolver_gets_the_names_go_does_not_know() {
    let node = Type::opaque("main.Node").unwrap();
    let list = Type::named("List", Type::int()).unwrap();
    let resolve = |name: &str| match name {
        "main.Node" => Some(node.clone()),
        "List" => Some(list.clone()),
        "int" => panic!("int is Go's own"),
        _ => None,
    };
    let sig = parse_signature_with("func(*main.Node, List, int) error", &resolve).unwrap();
    assert_eq!(sig.to_string(), "func(*main.Node, List, int) (error)");
    assert_eq!(
        parse_signature_with(&sig.to_string(), &resolve).unwrap(),
        sig
    );
    let error = parse_signature_with("func(int, main.Node)", &resolve).unwrap_err();
    assert_eq!(
        error.to_string(),
        "signature: column 1: parameter 1 is main.Node, which is opaque; wanted a type of known \
         size, or main.Node behind a pointer"
    );
    assert!(parse_type_with("main.Nod", &resolve).is_err());
}

/// Runs `body` in a thread with a stack of 2 MiB, the smallest a thread of the standard library
/// usually has.
fn with_small_stack(body: impl FnOnce() + Send + 'static) {
    thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(body)
        .unwrap()
        .join()
        .unwrap();
}

/// Openings and closings of everything that nests, with the depth of types each level adds.
const NESTS: &[(&str, &str, u32)] = &[
    ("*", "", 1),
    ("[]", "", 1),
    ("[1]", "", 1),
    ("map[int]", "", 1),
    ("map[", "]int", 1),
    ("chan ", "", 1),
    ("<-chan ", "", 1),
    ("func(", ")", 1),
    ("func() ", "", 1),
    ("func() (", ")", 1),
    ("func(...", ")", 2),
    ("struct { A ", " }", 1),
    ("interface { M(p ", ") }", 1),
    ("interface { M() ", " }", 1),
    ("(", ")", 1),
];

#[test]
fn nesting_without_end_is_refused() {
    with_small_stack(|| {
        for (open, close, _) in NESTS {
            for depth in [201, 1000, 1_000_000] {
                let text = format!("func({}int{})", open.repeat(depth), close.repeat(depth));
                let error = text.parse::<Signature>().expect_err(open);
                assert!(
                    error
                        .to_string()
                        .contains("nested 201 deep, wanted at most 200"),
                    "{open}: {error}"
                );
                let unclosed = format!("func({}", open.repeat(depth));
                unclosed.parse::<Signature>().expect_err(open);
            }
        }
    });
}

#[test]
fn the_deepest_types_go_all_the_way_through() {
    with_small_stack(|| {
        for (open, close, adds) in NESTS
            .iter()
            .filter(|(open, ..)| *open != "map[" && *open != "(")
        {
            let levels = (200 - 1) / *adds as usize;
            let text = format!("{}int{}", open.repeat(levels), close.repeat(levels));
            let ty: Type = text
                .parse()
                .unwrap_or_else(|error| panic!("{open}: {error}"));
            let again: Type = ty
                .to_string()
                .parse()
                .unwrap_or_else(|error| panic!("{open}: {error}"));
            assert_eq!(ty, again, "{open}");
            ty.for_each_pointer_word(&mut |_| {});
            let sig =
                Signature::new(Some(ty.clone()), vec![ty.clone()], vec![again], false).unwrap();
            for abi in [
                Abi::go(Arch::Arm64),
                Abi::go(Arch::Amd64).with_int_arg_regs(1).unwrap(),
            ] {
                let a = assign(&sig, abi).unwrap();
                check(&sig, &a).unwrap();
                assert!(!a.frame_picture().is_empty() && a.to_json("deep", &sig).is_object());
            }
        }
    });
}

/// Each level doubles the types that are written out, and only once is one of them kept.
#[test]
fn names_of_one_type_do_not_multiply_the_work() {
    for (open, close) in [
        ("struct { A, B ", " }"),
        ("func(a, b ", ")"),
        ("interface { M(a, b ", ") }"),
    ] {
        let text = |levels| format!("{}int{}", open.repeat(levels), close.repeat(levels));
        let ty: Type = text(15).parse().unwrap();
        assert!(ty.weight() >= 1 << 15, "{open}: {}", ty.weight());
        let error = text(150).parse::<Type>().unwrap_err();
        assert!(
            error.to_string().contains("more than 1048576 types"),
            "{open}: {error}"
        );
    }
}

#[test]
fn endless_texts_are_refused_or_read() {
    with_small_stack(|| {
        let many = 1_100_000;
        let too_many = [
            format!("func({}int)", "int, ".repeat(many)),
            format!("func() ({}int)", "int, ".repeat(many)),
            format!("func(struct {{ {} }})", "_ int; ".repeat(many)),
            format!("func(interface {{ {} }})", "M(); ".repeat(many)),
            format!("func(func({}int))", "int, ".repeat(many)),
        ];
        for text in too_many {
            let error = text.parse::<Signature>().unwrap_err();
            assert!(
                error.to_string().contains("more than 1048576 types"),
                "{error}"
            );
        }
        let refused = [
            format!("func({})", "x".repeat(4_000_000)),
            format!("func({}x)", "x.".repeat(2_000_000)),
            format!("func([{}]int)", "9".repeat(4_000_000)),
            format!("func(struct {{ {} int }})", "x".repeat(4_000_000)),
            format!("func() {}", ")".repeat(4_000_000)),
            "é".repeat(2_000_000),
        ];
        for text in refused {
            assert!(text.parse::<Signature>().unwrap_err().to_string().len() < 600);
        }
        let spaces = " ".repeat(4_000_000);
        assert_eq!(
            format!("func({spaces})").parse::<Signature>().unwrap(),
            Signature::default()
        );
        let zeroes = format!("func([{}1]int)", "0".repeat(1_000_000));
        assert_eq!(
            zeroes.parse::<Signature>().unwrap().to_string(),
            "func([1]int)"
        );
        let wide = format!("func({}int)", "int, ".repeat(100_000))
            .parse::<Signature>()
            .unwrap();
        let a = assign(&wide, Abi::go(Arch::Amd64)).unwrap();
        check(&wide, &a).unwrap();
        assert_eq!(a.args_end, (100_001 - 9) * 8);
    });
}

/// A type graph small in memory and huge when written out: each level holds the one below twice.
fn doubled(mut ty: Type, levels: u32) -> Type {
    for _ in 0..levels {
        ty = Type::structure(vec![Field::new("A", ty.clone()), Field::new("B", ty)]).unwrap();
    }
    ty
}

#[test]
fn shared_graphs_cost_what_they_hold() {
    let nothing = doubled(Type::structure(Vec::new()).unwrap(), 18);
    assert_eq!(nothing.weight(), (1 << 19) - 1);
    let ty = Type::structure(vec![
        Field::new("A", nothing.clone()),
        Field::new("B", Type::int8()),
    ])
    .unwrap();
    let sig = Signature::new(None, vec![ty.clone()], vec![], false).unwrap();
    for _ in 0..20_000 {
        assert_eq!(assign(&sig, Abi::go(Arch::Amd64)).unwrap().frame_size, 8);
    }
    check(&sig, &assign(&sig, Abi::go(Arch::Amd64)).unwrap()).unwrap();
    assert_eq!(
        Signature::new(None, vec![ty.clone(), ty], vec![], false).unwrap_err(),
        TypeError::TooHeavy
    );

    // 2^18 integers are never in registers, and nothing walks them to find that out.
    let many = doubled(Type::int(), 18);
    let sig = Signature::new(None, vec![many], vec![], false).unwrap();
    for _ in 0..20_000 {
        assert_eq!(
            assign(&sig, Abi::go(Arch::Arm64)).unwrap().frame_size,
            8 << 18
        );
    }
    check(&sig, &assign(&sig, Abi::go(Arch::Arm64)).unwrap()).unwrap();
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    }
}

/// Characters that are put into texts.
const SPOILERS: [char; 12] = ['(', ')', '[', ']', '*', ' ', ',', ';', '.', '9', 'x', 'é'];

/// Words of the language, in any order.
const TOKENS: &[&str] = &[
    "func",
    "recv",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "*",
    "...",
    ",",
    ";",
    "<-",
    "chan",
    "map",
    "struct",
    "interface",
    "int",
    "error",
    "unsafe.Pointer",
    "A",
    "_",
    "M",
    "0",
    "1",
    "2",
    " ",
    ".",
    "é",
    "99999999999999999999",
];

fn read(text: &str) -> Result<Signature, TestCaseError> {
    let read = text.parse::<Signature>();
    read.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))
}

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn printing_then_parsing_is_identity(seed in any::<u64>()) {
        let sig = fuzzing::random_signature(&mut Rng::new(seed));
        let text = sig.to_string();
        let again = read(&text)?;
        prop_assert_eq!(&again, &sig);
        prop_assert_eq!(again.to_string(), text);
        let go = read(&format!("{sig:#}"))?;
        prop_assert_eq!(go, sig);
    }

    #[test]
    fn a_spoilt_text_is_read_or_refused(seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        let text = fuzzing::random_signature(&mut rng).to_string();
        let mut chars: Vec<char> = text.chars().collect();
        for _ in 0..=rng.below(4) {
            let at = rng.below(chars.len());
            match rng.below(3) {
                0 if !chars.is_empty() => drop(chars.remove(at)),
                1 => chars.insert(at, *rng.pick(&SPOILERS)),
                _ => chars.truncate(chars.len().max(1) - 1),
            }
        }
        let text: String = chars.into_iter().collect();
        match text.parse::<Signature>() {
            Ok(sig) => prop_assert_eq!(sig.to_string().parse::<Signature>().unwrap(), sig),
            Err(error) => prop_assert!(text.is_char_boundary(error.offset)),
        }
    }

    #[test]
    fn any_sequence_of_words_is_read_or_refused(words in vec(select(TOKENS), 0..40)) {
        let text = format!("func({}", words.concat());
        if let Ok(sig) = text.parse::<Signature>() {
            prop_assert_eq!(sig.to_string().parse::<Signature>().unwrap(), sig);
        }
    }
}
