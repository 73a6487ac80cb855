//! C's spelling: what is read as what, what is refused and where, and that gcc reads it alike.

use std::fmt::Write;

use fing_oracles::c::{CALLEES, toolchain};
use fing_oracles::emulator::Isa;
use fing_stubs::c::{Declarations, spell, spell_function};
use fing_stubs::fuzzing::{Rng, c_signature, c_type};
use fing_stubs::{Abi, Convention, Type};

const CONVENTIONS: [Convention; 6] = [
    Convention::SystemV,
    Convention::Fastcall,
    Convention::Aapcs64,
    Convention::AppleArm64,
    Convention::Lp64d,
    Convention::ElfS390x,
];

fn declarations(convention: Convention) -> Declarations {
    Declarations::new(convention.table().data)
}

/// Text of C, and the type that it is under System V.
const TYPES: &[(&str, &str)] = &[
    ("int", "int32"),
    ("signed", "int32"),
    ("signed int", "int32"),
    ("unsigned", "uint32"),
    ("int unsigned", "uint32"),
    ("char", "int8"),
    ("signed char", "int8"),
    ("unsigned char", "uint8"),
    ("short int", "int16"),
    ("unsigned short", "uint16"),
    ("long", "int64"),
    ("long signed int", "int64"),
    ("unsigned long int", "uint64"),
    ("long int long unsigned", "uint64"),
    ("float", "float32"),
    ("double", "float64"),
    ("long double", "C.longdouble"),
    ("_Bool", "bool"),
    ("bool", "bool"),
    ("float _Complex", "complex64"),
    ("_Complex double", "complex128"),
    ("long double _Complex", "C.complexlongdouble"),
    ("double __complex__ long", "C.complexlongdouble"),
    ("__int128", "C.int128"),
    ("unsigned __int128", "C.uint128"),
    ("__uint128_t", "C.uint128"),
    ("_Float16", "C.float16"),
    ("size_t", "uint64"),
    ("ssize_t", "int64"),
    ("ptrdiff_t", "int64"),
    ("uintptr_t", "uintptr"),
    ("uint8_t", "uint8"),
    ("wchar_t", "int32"),
    ("char32_t", "uint32"),
    ("const volatile int", "int32"),
    ("int const", "int32"),
    ("/* the\n sign */ int // of it", "int32"),
    ("char *", "*int8"),
    ("const char *const *", "**int8"),
    ("void *restrict", "unsafe.Pointer"),
    ("void **", "*unsafe.Pointer"),
    ("struct file *", "unsafe.Pointer"),
    ("struct { int a; } *", "unsafe.Pointer"),
    ("int (*)(const char *, ...)", "unsafe.Pointer"),
    ("void (*(*)(int, void (*)(int)))(int)", "unsafe.Pointer"),
    ("int (*)[3]", "unsafe.Pointer"),
    ("int[3]", "[3]int32"),
    ("int *[2]", "[2]*int32"),
    ("float[2][3]", "[2][3]float32"),
    ("int[2 * (1 << 2) + 0x10 - 010 / 3 % 2 | 0b1]", "[25]int32"),
    ("int[0xffffffff + 2]", "[1]int32"),
    ("int[4294967295 + 2 >> 32]", "[1]int32"),
    ("int[~0u >> 28]", "[15]int32"),
    ("int[(-1 ^ 0ul) % 16]", "[15]int32"),
    ("int[0xffffffffffffffff * 0xffffffffffffffff]", "[1]int32"),
    ("enum { A0 = 1u << 31, A1 = ~0u }", "uint32"),
    ("enum { A2 = 1 << 31, A3 }", "int32"),
    ("enum { A4 = 0xffffffff, A5 = A4 + 1, A6 = -1 }", "int64"),
    ("enum { A, B = 7, C }", "uint32"),
    ("enum { A = -1, B, }", "int32"),
    ("enum { A = 1ull << 40 }", "uint64"),
    ("enum { A = -5, B = 1ull << 40 }", "int64"),
    (
        "struct { int quot; int rem; }",
        "struct { quot int32; rem int32 }",
    ),
    (
        "struct { int a, *b, c[2]; }",
        "struct { a int32; b *int32; c [2]int32 }",
    ),
    ("struct {}", "struct {}"),
    ("union {}", "C.union {}"),
    (
        "struct { int type, range; }",
        "struct { _type int32; _range int32 }",
    ),
    (
        "struct { int kind; union { int i; double d; }; }",
        "struct { kind int32; _ C.union { i int32; d float64 } }",
    ),
    (
        "struct node { struct node *next; void (*run)(struct node *); }",
        "struct { next unsafe.Pointer; run unsafe.Pointer }",
    ),
    (
        "union { long double a; char b[10]; }",
        "C.union { a C.longdouble; b [10]int8 }",
    ),
    (
        "struct { unsigned a : 3, b : 5; int c : 4 + 3; }",
        "C.struct { a uint32 : 3; b uint32 : 5; c int32 : 7 }",
    ),
    (
        "struct __attribute__((packed)) { char a; int b; }",
        "C.struct pack 1 { a int8; b int32 }",
    ),
    (
        "struct { char a; int b; } __attribute__((packed, aligned(16)))",
        "C.struct pack 1 align 16 { a int8; b int32 }",
    ),
    (
        "struct { char a; int b __attribute__((__aligned__(8))), c; }",
        "C.struct { a int8; b int32 align 8; c int32 }",
    ),
    (
        "struct { _Alignas(16) int a; int b __attribute__((aligned)); }",
        "C.struct { a int32 align 16; b int32 align 16 }",
    ),
    (
        "struct { struct { float x, y; } a; struct { float x, y; } b[2]; }",
        "struct { a struct { x float32; y float32 }; b [2]struct { x float32; y float32 } }",
    ),
    (
        "#pragma pack(push, 2)\nstruct { char a; double b; }\n#pragma pack(pop)\n",
        "C.struct pack 2 { a int8; b float64 }",
    ),
    (
        "#pragma pack(1)\nstruct { char a; double b; }",
        "C.struct pack 1 { a int8; b float64 }",
    ),
    (
        "#pragma pack(push)\n#pragma pack(4)\n#pragma pack(pop)\nstruct { char a; double b; }",
        "struct { a int8; b float64 }",
    ),
    (
        "#pragma pack(1)\nstruct { char a; double b __attribute__((aligned(4))); }",
        "C.struct pack 1 { a int8; b float64 }",
    ),
    (
        "#pragma pack(16)\nstruct { char a; double b; }",
        "struct { a int8; b float64 }",
    ),
    (
        "#pragma pack(16)\nstruct { char a; struct { int a; } __attribute__((aligned(32))) b; }",
        "C.struct pack 16 { a int8; b C.struct align 32 { a int32 } }",
    ),
    ("# 1 \"header.h\"\nint", "int32"),
    (
        "float __attribute__((vector_size(16)))",
        "C.vector[4]float32",
    ),
    ("__attribute__((vector_size(8))) short", "C.vector[4]int16"),
];

#[test]
fn types_are_read() {
    for (text, wanted) in TYPES.iter().filter(|(_, wanted)| !wanted.is_empty()) {
        let found = declarations(Convention::SystemV).ty(text);
        let found = found.unwrap_or_else(|e| panic!("{text}: {e}"));
        let wanted: Type = wanted.parse().unwrap_or_else(|e| panic!("{wanted}: {e}"));
        assert_eq!(found, wanted, "{text}");
    }
}

/// Each with what is found, at which byte, and what is wanted.
const REFUSED: &[(&str, usize, &str)] = &[
    (
        "",
        0,
        "found end of text, wanted a type (C's own, or one that is declared here)",
    ),
    (
        "integer",
        0,
        "found \"integer\", wanted a type (C's own, or one that is declared here)",
    ),
    ("int x", 4, "found \"x\", wanted end of text"),
    (
        "int int",
        4,
        "found \"int\", wanted a type's keyword no more often than C has it",
    ),
    (
        "long long long",
        10,
        "found \"long\", wanted a type's keyword no more often than C has it",
    ),
    (
        "short char",
        0,
        "found \"char short\", wanted keywords that make a type of C's together",
    ),
    (
        "signed unsigned",
        0,
        "found \"signed unsigned\", wanted keywords that make a type of C's \
      together",
    ),
    (
        "signed double",
        0,
        "found \"double signed\", wanted keywords that make a type of C's \
      together",
    ),
    (
        "int double long",
        0,
        "found \"double int long\", wanted keywords that make a type of C's \
      together",
    ),
    (
        "_Complex",
        0,
        "found \"_Complex\", wanted keywords that make a type of C's together",
    ),
    (
        "void",
        0,
        "found void, a function, or an array without length, wanted a type with values",
    ),
    (
        "int(void)",
        0,
        "found void, a function, or an array without length, wanted a type with \
      values",
    ),
    (
        "int[]",
        0,
        "found void, a function, or an array without length, wanted a type with values",
    ),
    (
        "void[3]",
        4,
        "found an array of void, functions or arrays without length, wanted elements \
      with a size",
    ),
    (
        "int[-1]",
        4,
        "found -1, wanted an array length that is not negative",
    ),
    (
        "int[n]",
        4,
        "found \"n\", wanted an integer constant or an enumerator's name",
    ),
    (
        "int[1 << 64]",
        6,
        "found 1 << 64, wanted a constant that its type in C has",
    ),
    (
        "int[3 / 0]",
        6,
        "found 3 / 0, wanted a constant that its type in C has",
    ),
    (
        "int[0x7fffffff + 1]",
        15,
        "found 2147483647 + 1, wanted a constant that its type in C has",
    ),
    (
        "int[-(1 << 31)]",
        4,
        "found - -2147483648, wanted a constant that its type in C has",
    ),
    ("int[9u8]", 4, "found \"9u8\", wanted an integer of 64 bits"),
    ("int[3", 5, "found end of text, wanted \"]\""),
    (
        "int[9223372036854775808]",
        4,
        "array length 9223372036854775808, wanted at most \
      9223372036854775807",
    ),
    (
        "int[9223372036854775807]",
        3,
        "array of 9223372036854775807 x 4 bytes is too large, wanted at most \
      140737488355328 bytes",
    ),
    (
        "struct point",
        0,
        "found struct point, which is not defined, wanted a defined type, or a \
      pointer to it",
    ),
    (
        "enum color",
        0,
        "found enum color, which is not defined, wanted a defined type, or a \
      pointer to it",
    ),
    (
        "struct { struct point p; }",
        22,
        "found struct point, which is not defined, wanted a \
      defined type, or a pointer to it",
    ),
    (
        "struct s { struct s next; }",
        20,
        "found struct s, which is not defined, wanted a defined \
      type, or a pointer to it",
    ),
    (
        "struct { int a; int a; }",
        0,
        "struct has two fields a, wanted distinct names (or _)",
    ),
    (
        "struct { int; }",
        12,
        "found \";\", wanted a member's name, or a struct or union without tag",
    ),
    (
        "struct { int a; struct inner { int b; }; }",
        39,
        "found \";\", wanted a member's name, or a struct or union without tag",
    ),
    (
        "struct { int a;\n#pragma pack(1)\ndouble b; }",
        42,
        "found another #pragma pack than at its beginning, wanted one for the whole struct or \
      union",
    ),
    (
        "\n#pragma pack(16)\nstruct { int a : 23; char b : 5; }",
        18,
        "bit-field a is 23 bits of int32, wanted no alignment of its own, and no pack but 1",
    ),
    (
        "\n#pragma pack(4)\nstruct { int a : 3; } __attribute__((packed))",
        17,
        "bit-field a is 3 bits of int32, wanted no alignment of its own, and no pack but 1",
    ),
    (
        "\n#pragma pack(16)\nstruct { long a __attribute__((aligned(32))); }",
        18,
        "align, beside a pack of more than 1, 32, wanted a power of two of at most 4096",
    ),
    ("struct { int a }", 15, "found \"}\", wanted \",\" or \";\""),
    (
        "struct { int a[]; }",
        13,
        "found an array without length, wanted a member with a size",
    ),
    (
        "struct { void a; }",
        14,
        "found void, wanted a member with a size",
    ),
    (
        "struct { int f(void); }",
        13,
        "found a function, wanted a member with a size",
    ),
    (
        "struct { int a : 33; }",
        0,
        "bit-field a is 33 bits of int32, wanted 1 to 32 bits",
    ),
    (
        "struct { int a : 3; int : 0; }",
        0,
        "bit-field _ is 0 bits of int32, wanted 1 to 32 bits",
    ),
    (
        "struct { float a : 3; }",
        0,
        "bit-field a is 3 bits of float32, wanted an integer or bool \
      of at most 8 bytes",
    ),
    (
        "struct { int a __attribute__((packed)); }",
        13,
        "found a packed member, wanted packed for \
      the whole struct",
    ),
    (
        "struct { int a; } __attribute__((aligned(3)))",
        0,
        "align 3, wanted a power of two of at \
      most 4096",
    ),
    (
        "struct { int a; } __attribute__((ms_struct))",
        33,
        "found \"ms_struct\", wanted an \
      attribute that is known (packed, aligned, vector_size, or one without meaning for calls)",
    ),
    (
        "int __attribute__((aligned(16)))",
        0,
        "found packed or aligned, wanted it on a struct, a \
      union or a member",
    ),
    (
        "int __attribute__((vector_size(6)))",
        0,
        "found a vector of 6 bytes of int32, wanted a \
      number of bytes that holds whole elements",
    ),
    (
        "int __attribute__((vector_size(32)))",
        0,
        "vector of 8 of int32, wanted 2 or more integers \
      or floats, 8 or 16 bytes in all",
    ),
    (
        "enum { A, A }",
        10,
        "found a second enumerator A, wanted one",
    ),
    (
        "enum { A = 18446744073709551615, B = -1 }",
        0,
        "an enumerator is too large, wanted at most \
      140737488355328 bytes",
    ),
    (
        "_Atomic int",
        0,
        "found \"_Atomic\", wanted a type (C's own, or one that is declared here)",
    ),
    (
        "int /* and",
        4,
        "found a comment without end, wanted \"*/\"",
    ),
    (
        "#define X 1\nint",
        1,
        "found \"define\", wanted \"pragma pack\" (the text is to be \
      preprocessed)",
    ),
    (
        "#pragma pack(3)\nint",
        13,
        "found \"3\", wanted 1, 2, 4, 8 or 16",
    ),
    (
        "#pragma pack(pop)\nint",
        12,
        "found \"pop\", wanted a push before it",
    ),
    ("int é", 4, "found \"é\", wanted end of text"),
];

#[test]
fn what_is_wrong_is_refused_where_it_stands() {
    let mut faults = Vec::new();
    for (text, offset, wanted) in REFUSED {
        let error = declarations(Convention::SystemV).ty(text);
        let error = error.map_or_else(|e| e, |ty| panic!("{text}: read as {ty}"));
        if (error.offset, &*error.reason.to_string()) != (*offset, wanted) {
            faults.push(format!("{text}: byte {}: {}", error.offset, error.reason));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn prototypes_are_read() {
    for (text, wanted) in [
        ("int abs(int)", "func(int32) int32"),
        ("void abort(void);", "func()"),
        ("extern _Noreturn void abort()", "func()"),
        (
            "char *strchr(const char *s, int c)",
            "func(*int8, int32) *int8",
        ),
        (
            "void (*signal(int number, void (*handler)(int)))(int)",
            "func(int32, unsafe.Pointer) \
          unsafe.Pointer",
        ),
        (
            "int f(int a[3], int b[], char *const c[], int d(void))",
            "func(*int32, *int32, **int8, \
          unsafe.Pointer) int32",
        ),
        (
            "double atof(const char *) __attribute__((pure)) __attribute__((__nonnull__(1)))",
            "func(*int8) float64",
        ),
        (
            "struct { int quot, rem; } div(int, int)",
            "func(int32, int32) struct { quot int32; rem \
          int32 }",
        ),
        ("int (f)(int (x))", "func(int32) int32"),
        ("int (*)(int)", ""),
        ("int printf(const char *, ...)", "func(*int8, ...) int32"),
    ] {
        let found = declarations(Convention::SystemV).prototype(text);
        let found = match found {
            Ok(prototype) => {
                let signature = prototype.signature().unwrap().to_string();
                assert_eq!(prototype.is_variadic(), wanted.contains("..."), "{text}");
                signature
            }
            Err(error) => {
                assert!(wanted.is_empty(), "{text}: {error}");
                continue;
            }
        };
        let wanted = match wanted.strip_suffix(", ...) int32") {
            Some(_) => "func(*int8, ...) (int32)".to_owned(),
            None => {
                let wanted: fing_stubs::Signature = wanted.parse().unwrap();
                wanted.to_string()
            }
        };
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn declarations_build_on_each_other() {
    let mut c = declarations(Convention::SystemV);
    c.declare(
        "# 1 \"shapes.h\"
         typedef struct shape shape_t; /* before its definition */
         typedef shape_t *shape_ptr;
         enum kind { CIRCLE, SQUARE = 4, LAST = SQUARE + 2 };
         #pragma pack(push, 1)
         struct shape { enum kind kind; double sizes[LAST]; };
         #pragma pack(pop)
         typedef int (*compare_t)(const void *, const void *);
         shape_t largest(const shape_t *all, size_t count, compare_t), *first(shape_ptr);
         int log_all(const char *, ...);;",
    )
    .unwrap();
    let signature = |c: &Declarations, name: &str| {
        let prototype = c.function(name).unwrap();
        prototype.signature().unwrap().to_string()
    };
    assert_eq!(
        signature(&c, "largest"),
        "func(unsafe.Pointer, uint64, unsafe.Pointer) (C.struct pack 1 { kind uint32; sizes \
         [6]float64 })"
    );
    assert_eq!(
        signature(&c, "first"),
        "func(unsafe.Pointer) (unsafe.Pointer)"
    );
    assert_eq!(c.functions().count(), 3);
    let int = c.ty("int").unwrap();
    let log = c.function("log_all").unwrap();
    let call = log.signature_with(&[int.clone(), Type::float64()]).unwrap();
    assert_eq!(call.to_string(), "func(*int8, ..., int32, float64) (int32)");
    let refused = [
        log.signature_with(&[Type::float32()]).unwrap_err(),
        c.function("first")
            .unwrap()
            .signature_with(&[int])
            .unwrap_err(),
    ];
    assert_eq!(
        refused.map(|e| e.to_string()),
        [
            "parameter 1 is float32, wanted float64: C promotes what is passed in place of ...",
            "1 types in place of ..., wanted none: the function is not variadic",
        ]
    );
    for (text, wanted) in [
        (
            "struct shape { int a; };",
            "found a second definition of struct shape, wanted one",
        ),
        (
            "typedef int shape_t;",
            "found a second definition of another type, wanted the same one",
        ),
        (
            "int first(int);",
            "found another prototype of the same function, wanted the same one",
        ),
        (
            "int x;",
            "found a variable, wanted a function, a typedef or a struct",
        ),
        (
            "typedef int int;",
            "found \"int\", wanted a type's keyword no more often than C has it",
        ),
        (
            "int f(int) { return 1; }",
            "found \"{\", wanted \",\" or \";\"",
        ),
        ("int (void);", "found \";\", wanted a name to declare"),
    ] {
        let error = c.declare(text).unwrap_err();
        assert_eq!(error.reason.to_string(), wanted, "{text}");
    }
    // What C allows to be repeated.
    c.declare("typedef struct shape shape_t; int log_all(const char *, ...);")
        .unwrap();
}

/// What has another size or sign under another data model.
#[test]
fn data_models_differ() {
    let wanted = [
        (Convention::SystemV, ["int8", "int64", "uint64", "int32"]),
        (Convention::Fastcall, ["int8", "int32", "uint32", "uint16"]),
        (Convention::Aapcs64, ["uint8", "int64", "uint64", "uint32"]),
        (Convention::AppleArm64, ["int8", "int64", "uint64", "int32"]),
        (Convention::Lp64d, ["uint8", "int64", "uint64", "int32"]),
        (Convention::ElfS390x, ["uint8", "int64", "uint64", "int32"]),
    ];
    for (convention, wanted) in wanted {
        let mut c = declarations(convention);
        let found = ["char", "long", "unsigned long", "wchar_t"].map(|text| c.ty(text).unwrap());
        assert_eq!(found.map(|ty| ty.to_string()), wanted, "{convention}");
    }
}

/// Microsoft's compiler has an `int` for every enumeration, gcc for Windows another type of 32
/// bits, or of 64, which is refused.
#[test]
fn enumerations_of_windows() {
    let mut c = declarations(Convention::Fastcall);
    for text in [
        "enum { A, B = 7, C }",
        "enum { A = -1, B }",
        "enum { A = 0xffffffff }",
        "enum { A = -2147483647 - 1, B = 2147483647 }",
    ] {
        let found = Declarations::new(*c.model()).ty(text).unwrap();
        assert_eq!(found.to_string(), "int32", "{text}");
    }
    for text in [
        "enum e { A = 1ull << 32 }",
        "enum e { A = -1, B = 0x80000000 }",
        "enum e { A = -1 - 2147483648 }",
    ] {
        let error = Declarations::new(*c.model()).ty(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "C type: column 1: found enumerators of more than 32 bits, wanted at most 32, as \
             Microsoft's compiler has an int and gcc has 64 bits",
            "{text}"
        );
    }
    c.declare("enum kind { A, B }; struct s { enum kind kind : 2; };")
        .unwrap();
    assert_eq!(
        c.ty("struct s").unwrap().to_string(),
        "C.struct { kind int32 : 2 }"
    );
}

/// What is spelled is read as a type of the same layout, and that one as itself; so are
/// signatures. `FING_CASES` says how many.
#[test]
fn spelled_and_read_again() {
    let cases = fing_oracles::cases(300);
    for convention in CONVENTIONS {
        let (mut rng, abi) = (Rng::new(5), Abi::native(convention));
        let model = convention.table().data;
        for n in 0..cases {
            let ty = c_type(&mut rng, 3);
            let text = spell(&ty, &model).unwrap_or_else(|e| panic!("{ty}: {e}"));
            let read = |text: &str| {
                let read = Declarations::new(model).ty(text);
                read.unwrap_or_else(|e| panic!("{n}: {ty}: {text}: {e}"))
            };
            let once = read(&text);
            assert_eq!(
                abi.layout_of(&once),
                abi.layout_of(&ty),
                "{convention}, {n}: {text}"
            );
            assert_eq!(
                read(&spell(&once, &model).unwrap()),
                once,
                "{convention}, {n}: {text}"
            );

            let signature = c_signature(&mut rng, abi);
            let text = spell_function("f", &signature, &model).unwrap();
            let prototype = Declarations::new(model).prototype(&text);
            let prototype = prototype.unwrap_or_else(|e| panic!("{n}: {text}: {e}"));
            assert_eq!(prototype.name(), Some("f"));
            assert_eq!(prototype.is_variadic(), signature.fixed().is_some());
            let fixed = signature.fixed().unwrap_or(signature.params().len());
            let places = |ty: &Type| abi.layout_of(ty);
            assert!(
                prototype
                    .params()
                    .iter()
                    .map(places)
                    .eq(signature.params()[..fixed].iter().map(places)),
                "{n}: {text}"
            );
        }
    }
}

/// Names that C can't have, or that would be there twice, are replaced by others.
#[test]
fn names_of_members_are_c_s() {
    let model = Convention::SystemV.table().data;
    for (text, wanted) in [
        (
            "struct { _1 int8; _9 int8 }",
            "struct { int8_t _1; int8_t _9; }",
        ),
        ("struct { _func int8 }", "struct { int8_t func; }"),
        (
            "struct { _1 int8; _ int8; _ int8 }",
            "struct { int8_t _1; int8_t _1_; int8_t _2; }",
        ),
        (
            "struct { m2 int8; m1_ int8; int int8; é int8 }",
            "struct { int8_t m2; int8_t m1_; int8_t m2_; int8_t m3; }",
        ),
    ] {
        let ty: Type = text.parse().unwrap();
        let spelled = spell(&ty, &model).unwrap();
        assert_eq!(spelled, wanted, "{text}");
        assert!(Declarations::new(model).ty(&spelled).is_ok(), "{spelled}");
    }
    let many = format!("struct {{ {} }}", "_ int8; ".repeat(30_000));
    let spelled = spell(&many.parse().unwrap(), &model).unwrap();
    assert!(Declarations::new(model).ty(&spelled).is_ok());
}

#[test]
fn what_c_has_not_is_not_spelled() {
    let model = Convention::SystemV.table().data;
    let ty: Type = "struct { A int32; B [2]string }".parse().unwrap();
    assert_eq!(
        spell(&ty, &model).unwrap_err().to_string(),
        "C spelling of struct { A int32; B [2]string }: found string, wanted a type that C has"
    );
    for text in [
        "func() (int32, int32)",
        "func([2]int32)",
        "func() [2]int32",
        "func(any)",
    ] {
        assert!(
            spell_function("f", &text.parse().unwrap(), &model).is_err(),
            "{text}"
        );
    }
}

/// Long and deep texts end in an error, or in time.
#[test]
fn hostile_texts() {
    let mut c = declarations(Convention::SystemV);
    let deep = 100_000;
    for text in [
        "(".repeat(deep),
        format!("int {}", "(".repeat(deep)),
        format!("int {}x", "(*".repeat(deep)),
        format!("int {}", "*".repeat(deep)),
        format!("int{}", "[1]".repeat(deep)),
        format!("int[{}1", "(".repeat(deep)),
        format!("int[{}1]", "-".repeat(deep)),
        format!("int[{}]", "1|".repeat(deep)),
        "struct {".repeat(deep),
        format!("int{}", "(int".repeat(deep)),
        format!("int {}", "__attribute__((format(".repeat(deep)),
        format!("struct {{ {} }}", "int;".repeat(deep)),
        "typedef ".repeat(deep),
        format!("/{}", "*/".repeat(deep)),
    ] {
        let shown = text[..text.len().min(20)].to_owned();
        let error = c
            .ty(&text)
            .map_or_else(|e| e, |ty| panic!("{shown}: {ty:?}"));
        assert!(error.to_string().len() < 400, "{shown}: {error}");
    }
    // Each type holds the one before it twice.
    let mut text = "typedef struct { int a, b; } t0;".to_owned();
    for n in 1..64 {
        let _ = write!(text, "typedef struct {{ t{} a, b; }} t{n};", n - 1);
    }
    let error = c.declare(&text).unwrap_err();
    let too_many = "more than 1048576 types";
    assert!(error.to_string().contains(too_many), "{error}");
    // What is defined again is compared, and that counts.
    for again in ["typedef a16 X; typedef b16 X;", "void f(a16); void f(b16);"] {
        let mut text = String::new();
        for name in ["a", "b"] {
            let _ = write!(text, "typedef struct {{ int a, b; }} {name}0;");
            for n in 1..17 {
                let _ = write!(
                    text,
                    "typedef struct {{ {name}{} a, b; }} {name}{n};",
                    n - 1
                );
            }
        }
        let mut c = declarations(Convention::SystemV);
        c.declare(&format!("{text}{again}{again}")).unwrap();
        let error = c.declare(&again.repeat(20_000)).unwrap_err();
        assert!(error.to_string().contains(too_many), "{error}");
        // A copy of the same type is not looked at.
        c.declare(&"typedef a16 Y;".repeat(20_000)).unwrap();
    }
}

/// gcc reads each text of the table, with the size and alignment that fing gives the type.
#[test]
fn gcc_reads_the_same() {
    let machines = [
        (Isa::Amd64, Convention::SystemV),
        (Isa::Arm64, Convention::Aapcs64),
        (Isa::Riscv64, Convention::Lp64d),
        (Isa::S390x, Convention::ElfS390x),
    ];
    for (isa, convention) in machines {
        let Some(toolchain) = toolchain(isa) else {
            continue;
        };
        let abi = Abi::native(convention);
        let (mut source, mut count) = ("#include <stddef.h>\n#include <stdint.h>\n".to_owned(), 0);
        source.push_str("#include <stdbool.h>\n#include <uchar.h>\n#include <sys/types.h>\n");
        let mut add = |text: &str, ty: &Type| {
            let layout = abi.layout_of(ty).unwrap();
            // An array's or function's declarator goes around a name, so gcc gets the type by name.
            let (size, align) = (layout.size, layout.align);
            let _ = writeln!(
                source,
                "_Static_assert(sizeof(__typeof__({text})) == {size}, \"size {count}\");\n\
                 _Static_assert(_Alignof(__typeof__({text})) == {align}, \"align {count}\");"
            );
            count += 1;
        };
        for (text, wanted) in TYPES.iter().filter(|(_, wanted)| !wanted.is_empty()) {
            // Directives and comments to the line's end, one name for two types, and types that gcc
            // has not on all machines.
            let is_plain = !["#", "//", "A", "_Float16", "vector"]
                .iter()
                .any(|w| text.contains(w));
            if is_plain && !text.contains("struct node") && !wanted.is_empty() {
                let ty = declarations(convention).ty(text).unwrap();
                add(text, &ty);
            }
        }
        let (mut rng, model) = (Rng::new(3), convention.table().data);
        for _ in 0..200 {
            let ty = c_type(&mut rng, 3);
            let text = spell(&ty, &model).unwrap();
            if !["_Float16", "vector_size"].iter().any(|w| text.contains(w)) {
                add(&text, &ty);
            }
        }
        assert!(count > 200, "{count} types");
        source.push_str("int main(void) { return 0; }\n");
        let ran = toolchain.run(convention.table().name, &[(CALLEES, &source)]);
        assert_eq!(ran, Ok(String::new()), "{convention}");
    }
}
