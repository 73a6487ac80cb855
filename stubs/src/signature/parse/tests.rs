//! The work of a parse is proportional to the text: a count of steps, not of time.

use super::*;

type Shape = fn(usize) -> String;

/// Texts of about `n` types each.
const SHAPES: &[(&str, Shape)] = &[
    ("parameters", |n| format!("func({}int)", "int, ".repeat(n))),
    ("results", |n| format!("func() ({}int)", "int, ".repeat(n))),
    ("names", |n| format!("func({}a int)", "a, ".repeat(n))),
    ("fields", |n| {
        format!("func(*struct {{ {}A int }})", numbered(n, " int; "))
    }),
    ("field names", |n| {
        format!("func(*struct {{ {}A int }})", numbered(n, ", "))
    }),
    ("methods", |n| {
        format!("func(interface {{ {}M() }})", numbered(n, "(); "))
    }),
    ("structs", |n| {
        format!("func({}int)", "struct { A, B int }, ".repeat(n / 3))
    }),
    ("pointers", |n| {
        format!("func({}int)", "***int, ".repeat(n / 4))
    }),
    ("maps", |n| {
        format!("func({}int)", "map[string]int, ".repeat(n / 3))
    }),
    ("defined", |n| {
        format!("func({}int)", "*main.Node, ".repeat(n / 2))
    }),
    ("one path", |n| format!("func(*{}a)", "a.".repeat(4 * n))),
    ("one name", |n| format!("func(*{})", "a".repeat(8 * n))),
    ("one length", |n| {
        format!("func(*[{}1]int)", "0".repeat(8 * n))
    }),
    ("one tag", |n| {
        format!("func(*struct {{ A int \"{}\" }})", "\\n".repeat(4 * n))
    }),
    ("spaces", |n| format!("func({}int)", " ".repeat(8 * n))),
];

fn numbered(n: usize, end: &str) -> String {
    (0..n).map(|i| format!("F{i}{end}")).collect()
}

/// Characters that the parser looks at for a text, some more than once.
fn steps(text: &str) -> usize {
    let node = Type::opaque("main.Node").unwrap();
    let resolve = |name: &str| (name == "main.Node").then(|| node.clone());
    let mut parser = Parser::new(text, &resolve);
    let _ = parser.signature();
    parser.steps.get()
}

#[test]
fn a_character_is_looked_at_a_bounded_number_of_times() {
    for (name, text) in SHAPES {
        for n in [1000, 16_000] {
            let text = text(n);
            let steps = steps(&text);
            assert!(steps >= text.len() / 2, "{name}: {steps} steps are not all");
            assert!(
                steps < 20 * text.len(),
                "{name}: {steps} for {}",
                text.len()
            );
        }
    }
}

/// Identifiers may turn out to be names or types: that is settled once for each.
#[test]
fn nesting_adds_no_steps() {
    for (open, close) in [
        ("func(a, b, c, ", ")"),
        ("func(a, b, c ", ")"),
        ("interface { M(a, b ", ") }"),
        ("struct { A, B ", " }"),
        ("map[", "]int"),
        ("***(", ")"),
    ] {
        for levels in [10, 40, 90] {
            let nested = format!("{}int{}", open.repeat(levels), close.repeat(levels));
            let text = format!("func({nested})");
            let steps = steps(&text);
            assert!(
                steps < 20 * text.len(),
                "{open}: {steps} for {}",
                text.len()
            );
        }
    }
}
