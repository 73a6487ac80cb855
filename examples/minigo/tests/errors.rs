//! What is no Go, or outside the subset, is a compile error at its place; nothing is a crash.

use minigo::check_program;

/// A program's body with the line, column and a part of the error.
const WRONG: &[(&str, usize, usize, &str)] = &[
    ("func main() {", 1, 14, "unexpected end of file"),
    ("func main() { x := 1 }", 1, 15, "declared and not used: x"),
    ("func main() { y = 1 }", 1, 15, "undefined: y"),
    (
        "func main() { var s string = 1; _ = s }",
        1,
        30,
        "as string value",
    ),
    (
        "func main() { var b byte = 300; _ = b }",
        1,
        28,
        "overflows uint8",
    ),
    (
        "func f() int { for { break } }\nfunc main() { f() }",
        1,
        30,
        "missing return",
    ),
    (
        "func f() int { switch { } }\nfunc main() { f() }",
        1,
        27,
        "missing return",
    ),
    (
        "func f() int { var a any; switch a.(type) { } }\nfunc main() { f() }",
        1,
        47,
        "missing return",
    ),
    ("func main() { return 1 }", 1, 22, "too many return values"),
    ("func main() { break }", 1, 15, "break is not in a loop"),
    (
        "func main() { continue }",
        1,
        15,
        "continue is not in a loop",
    ),
    (
        "func main() { s := 1; var x int8 = 300 << s; _ = x }",
        1,
        36,
        "constant 300 overflows int8",
    ),
    (
        "func main() { s := 1; var x int8 = 1<<s + 300; _ = x }",
        1,
        36,
        "constant 300 overflows int8",
    ),
    (
        "func main() { s := 1; x := int8(300 << s); _ = x }",
        1,
        33,
        "to type int8",
    ),
    (
        "func f(m map[int]int) (int, bool) { return m[1] }\nfunc main() { f(nil) }",
        1,
        44,
        "not enough return values",
    ),
    (
        "func f(c chan int) (int, bool) { return <-c }\nfunc main() { f(nil) }",
        1,
        41,
        "not enough return values",
    ),
    (
        "func main() { a, b := 1; _, _ = a, b }",
        1,
        23,
        "assignment mismatch: 2 variables but 1 value",
    ),
    (
        "func main() { s, a := 70, [5]int{}; _ = a[1<<64<<s] }",
        1,
        43,
        "overflows int",
    ),
    (
        "func main() { s := 70; _ = make([]int, 1<<63<<s) }",
        1,
        40,
        "overflows int",
    ),
    (
        "func main() { println(1 << -1) }",
        1,
        28,
        "negative shift count",
    ),
    (
        "func main() { println(3 >> 1075) }",
        1,
        28,
        "invalid shift count",
    ),
    (
        "func main() { for { continue x } }",
        1,
        21,
        "invalid continue label x",
    ),
    (
        "type T struct { t T }\nfunc main() {}",
        1,
        6,
        "invalid recursive type",
    ),
    (
        "type T [2]T\nfunc main() {}",
        1,
        6,
        "invalid recursive type",
    ),
    ("type T T\nfunc main() {}", 1, 6, "invalid recursive type"),
    (
        "const c = c\nfunc main() {}",
        1,
        11,
        "invalid recursive declaration",
    ),
    (
        "var a = b\nvar b = a\nfunc main() {}",
        2,
        9,
        "invalid recursive declaration",
    ),
    (
        "var a = f()\nfunc f() int { return a }\nfunc main() {}",
        1,
        5,
        "initialization cycle",
    ),
    (
        "func f[T any](t T) {}\nfunc main() {}",
        1,
        7,
        "type parameters are outside",
    ),
    ("func main() { goto x }", 1, 15, "goto is outside"),
    (
        "func main() { _ = 1i }",
        1,
        19,
        "complex numbers are outside",
    ),
    (
        "import \"net\"\nfunc main() {}",
        1,
        8,
        "package net is outside",
    ),
    (
        "import \"internal/value\"\nfunc main() {}",
        1,
        8,
        "use of internal package internal/value not allowed",
    ),
    (
        "import \"fmt\"\nfunc main() {}",
        1,
        8,
        "imported and not used",
    ),
    (
        "import \"fmt\"\nfunc main() { fmt.Scan() }",
        2,
        19,
        "undefined: fmt.Scan",
    ),
    (
        "type I interface{ M() }\ntype T int\nfunc (t *T) M() {}\nvar i I = T(1)\nfunc main() {}",
        4,
        11,
        "method M has pointer receiver",
    ),
    (
        "func main() { var i any; _ = i.(undefined) }",
        1,
        33,
        "undefined: undefined",
    ),
    ("func main() { x := nil; _ = x }", 1, 20, "untyped nil"),
    ("func main() { _ = \"a\" + 1 }", 1, 19, "mismatched types"),
    ("func main() { _ = 1 / 0 }", 1, 23, "division by zero"),
    (
        "func main() { a := [2]int{}; _ = a[2] }",
        1,
        36,
        "out of bounds",
    ),
    (
        "func main() { f := func() {}; _ = f == f }",
        1,
        35,
        "not defined",
    ),
    (
        "func main() { m := map[[]int]int{}; _ = m }",
        1,
        24,
        "invalid map key type",
    ),
    (
        "func main() { switch 1 { case 1: case 1: } }",
        1,
        39,
        "duplicate case",
    ),
    ("func main() { 1 + 2 }", 1, 15, "is not used"),
    ("func main() { _ = 'ab' }", 1, 19, "one character"),
    ("func main() { _ = \"\\q\" }", 1, 20, "unknown escape"),
    ("func main() { /* }", 1, 15, "comment not terminated"),
    ("func main() { # }", 1, 15, "invalid character"),
    (
        "func main() { L: for { break } }",
        1,
        15,
        "label L defined and not used",
    ),
    (
        "func main() { L: for { break L }; L: for { break L } }",
        1,
        35,
        "label L already defined",
    ),
    (
        "type I interface { M(); M() }\nfunc main() {}",
        1,
        25,
        "duplicate method",
    ),
    (
        "func main() { var x any; switch x.(type) { case int: case int: } }",
        1,
        59,
        "duplicate case in type switch",
    ),
    (
        "func main() { var x any; switch x.(type) { case nil: case nil: } }",
        1,
        59,
        "duplicate case in type switch",
    ),
    (
        "func main() { _ = map[any]int{1: 1, 1: 2} }",
        1,
        37,
        "duplicate key",
    ),
    (
        "func main() { _ = map[float64]int{1: 1, 1.0: 2} }",
        1,
        41,
        "duplicate key",
    ),
    (
        "func main() { select { default: default: } }",
        1,
        33,
        "multiple defaults",
    ),
    (
        "func main() { x := [3]int{}; _ = x[:5] }",
        1,
        37,
        "index 5 out of bounds",
    ),
    (
        "func main() { _ = \"abc\"[1:9] }",
        1,
        27,
        "index 9 out of bounds",
    ),
    (
        "func main() { var x float32 = 1e40; _ = x }",
        1,
        31,
        "overflows float32",
    ),
    ("func main() { println(1 << 63) }", 1, 23, "overflows int"),
    (
        "func main() { var a any = 1 << 63; _ = a }",
        1,
        27,
        "overflows int",
    ),
    (
        "func main() { s := uint(1); _ = float64(1<<s) }",
        1,
        41,
        "cannot convert",
    ),
    (
        "func main() { s := uint(1); _ = 1.5 + 1<<s }",
        1,
        39,
        "shifted operand must be integer",
    ),
    (
        "func main() { s := uint(1); _ = 1.0<<s }",
        1,
        33,
        "shifted operand must be integer",
    ),
    ("func main() { _ = 1.0 / 0 }", 1, 25, "division by zero"),
    ("const a = 1, 2\nfunc main() {}", 1, 14, "extra init expr"),
    (
        "const (\n\ta = 1\n\tb, c\n)\nfunc main() {}",
        3,
        5,
        "missing init expr",
    ),
    (
        "func main() int { return 1 }",
        1,
        6,
        "func main must have no arguments",
    ),
    (
        "func main() { x := 1__0; _ = x }",
        1,
        20,
        "'_' must separate",
    ),
    (
        "func main() { s := \"abc\"; s[0] = 1 }",
        1,
        27,
        "cannot assign",
    ),
    (
        "type T struct { _ int }\nfunc main() { _ = T{_: 1} }",
        2,
        21,
        "unknown field _",
    ),
    (
        "func main() { switch x := any(1); x { case []int{}: } }",
        1,
        44,
        "invalid case in switch",
    ),
    (
        "type I interface{ M() }\ntype T struct { *I }\nfunc main() {}",
        2,
        17,
        "embedded field type cannot be a pointer",
    ),
    (
        "func f() int { return 1 }\nfunc main() { _ = &f() }",
        2,
        20,
        "cannot take address",
    ),
    ("func main() { x := 1; <-x }", 1, 25, "cannot receive"),
    ("func main() { defer int(1) }", 1, 21, "not used"),
    ("func main() { go len(\"\") }", 1, 18, "not used"),
    (
        "type T struct{ n int }\nfunc (t *T) M() {}\nfunc main() { _ = T.M }",
        3,
        21,
        "invalid method expression main.T.M (needs pointer receiver)",
    ),
    (
        "type T struct{ n int }\nfunc main() { _ = T.n }",
        2,
        21,
        "main.T.n undefined (type main.T has no method n)",
    ),
    (
        "import other \"fmt\"\nfunc main() {}",
        1,
        8,
        "\"fmt\" imported as other and not used",
    ),
    (
        "import other \"fmt\"\nfunc main() { fmt.Println() }",
        2,
        15,
        "undefined: fmt",
    ),
    (
        "func main() { for ; ; x := 1 { _ = x } }",
        1,
        25,
        "cannot declare in post statement",
    ),
    (
        "func main() { m := map[int][3]int{}; m[0][1] = 6 }",
        1,
        38,
        "cannot assign",
    ),
    (
        "func main() { m := map[int][3]int{}; m[0][1]++ }",
        1,
        38,
        "cannot assign",
    ),
    (
        "func _() { undefined() }\nfunc main() {}",
        1,
        12,
        "undefined: undefined",
    ),
    (
        "type _ Undefined\nfunc main() {}",
        1,
        8,
        "undefined: Undefined",
    ),
    (
        "const _ int = \"a\"\nfunc main() {}",
        1,
        15,
        "cannot use untyped string",
    ),
    (
        "const _ = (*int)(nil)\nfunc main() {}",
        1,
        11,
        "is not constant",
    ),
    (
        "type T struct{ n *T }\nvar t = &T{n: {}}\nfunc main() {}",
        2,
        15,
        "missing",
    ),
    (
        "const u uint = 0\nconst i int = u\nfunc main() {}",
        2,
        15,
        "cannot use value",
    ),
    (
        "var a [float64(3)]int\nfunc main() {}",
        1,
        8,
        "invalid array length",
    ),
    (
        "func main() { _ = []int{5}[float64(0)] }",
        1,
        28,
        "must be integer",
    ),
    (
        "func main() { _ = make([]int, float64(1)) }",
        1,
        31,
        "integer",
    ),
    (
        "func f(a, b ...int) {}\nfunc main() {}",
        1,
        8,
        "final parameter",
    ),
    (
        "type F func(a, a int)\nfunc main() {}",
        1,
        16,
        "a redeclared",
    ),
    (
        "type I interface{ M(a, a int) }\nfunc main() {}",
        1,
        24,
        "a redeclared",
    ),
    (
        "const (\n\tA byte = 1\n\tB byte\n)\nfunc main() {}",
        3,
        2,
        "missing init expr",
    ),
    (
        "var init = 1\nfunc main() {}",
        1,
        5,
        "cannot declare init - must be func",
    ),
    ("type main int", 1, 6, "cannot declare main - must be func"),
    (
        "type S struct{ _ int }\nfunc main() { _ = S{}._ }",
        2,
        23,
        "undefined",
    ),
    (
        "type I interface{ _() }\nfunc main() {}",
        1,
        19,
        "unique non-blank name",
    ),
    (
        "func main() { _ = make(chan [1 << 17]byte) }",
        1,
        24,
        "channel element type too large",
    ),
    (
        "func main() { println(\"a\u{feff}b\") }",
        1,
        25,
        "invalid BOM",
    ),
    (
        "type A B\ntype B A\nfunc main() {}",
        2,
        6,
        "invalid recursive type main.B",
    ),
    (
        "func main() { println([]int{1}) }",
        1,
        23,
        "print of such values",
    ),
    ("const c = 1e20000\nfunc main() {}", 1, 11, "too large"),
    ("var f float64 = 1e1000\nfunc main() {}", 1, 17, "overflows"),
    (
        "const c = 1.5 / 0.0\nfunc main() {}",
        1,
        17,
        "division by zero",
    ),
    (
        "func f() x int { return 1 }\nfunc main() {}",
        1,
        12,
        "syntax error",
    ),
    (
        "type T int\nfunc (t ...T) f() {}\nfunc main() {}",
        2,
        6,
        "invalid use of ...",
    ),
    (
        "func main() { type T T }",
        1,
        20,
        "invalid recursive type T",
    ),
    (
        "func main() { s := uint(1); println(1<<s == 1.0) }",
        1,
        37,
        "must be integer",
    ),
];

#[test]
fn errors_have_their_places() {
    for (body, line, column, part) in WRONG {
        let text = format!("package main; {body}");
        let shift = if *line == 1 {
            "package main; ".len()
        } else {
            0
        };
        let error = check_program("wrong.go", &text).expect_err(body);
        assert!(error.message.contains(part), "{body}: {error}");
        assert_eq!(
            (error.line, error.column),
            (*line, column + shift),
            "{body}: {error}"
        );
        assert_eq!(error.file, "wrong.go");
    }
}

/// What is outside the subset only when code is made for it.
#[test]
fn refusals_have_their_places() {
    for (body, place, part) in [
        (
            "var a [40]int\n\nfunc main() { _ = a }\n",
            "3:17",
            "over 32 words",
        ),
        (
            "func f(a [40]int) {}\n\nfunc main() {}\n",
            "1:20",
            "over 32 words",
        ),
    ] {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused.go");
        std::fs::write(&path, format!("package main; {body}")).expect("written");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_minigo"));
        let output = command.arg(&path).output().expect("minigo runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let begin = format!("{}:{place}: ", path.display());
        assert!(error.starts_with(&begin) && error.contains(part), "{error}");
        assert_eq!(output.status.code(), Some(1), "{error}");
    }
}

#[test]
fn deep_nesting_is_an_error() {
    for (open, close) in [
        ("(", ")"),
        ("[]", ""),
        ("-", ""),
        ("{", "}"),
        ("*", ""),
        ("&", ""),
    ] {
        let text = format!(
            "package main\nfunc main() {{ _ = {}1{} }}",
            open.repeat(100_000),
            close.repeat(100_000)
        );
        check_program("deep.go", &text).expect_err(open);
    }
    let long = format!(
        "package main\nvar x = 1{}\nfunc main() {{}}",
        " + 1".repeat(100_000)
    );
    check_program("long.go", &long).expect_err("long");
}

/// A generator with a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }
}

/// Programs with pieces left out, doubled or exchanged, and random tokens: checked, never a panic.
#[test]
fn garbage_is_an_error() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let mut sources: Vec<String> = std::fs::read_dir(folder)
        .expect("programs")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "go"))
        .map(|path| std::fs::read_to_string(path).expect("a program"))
        .collect();
    sources.sort();
    let rounds = fing_oracles::cases(400) as usize;
    let mut random = Random(1);
    let mut refused = 0;
    for _ in 0..rounds {
        let source = &sources[random.next(sources.len())];
        let mut words: Vec<&str> = source
            .split_inclusive(|c: char| !c.is_alphanumeric())
            .collect();
        for _ in 0..1 + random.next(3) {
            let at = random.next(words.len());
            match random.next(4) {
                0 => drop(words.remove(at)),
                1 => words.insert(at, words[at]),
                2 => {
                    let other = random.next(words.len());
                    words.swap(at, other);
                }
                _ => {
                    const PIECES: &[&str] = &[
                        "(", ")", "[", "]", "{", "}", "func ", "chan ", "...", "*", ":=", "<-",
                    ];
                    words.insert(at, PIECES[random.next(PIECES.len())]);
                }
            }
        }
        refused += usize::from(check_program("garbage.go", &words.concat()).is_err());
    }
    assert!(refused > rounds / 2, "{refused} of {rounds} refused");
}
