//! Random programs as Go source.
//!
//! What is printed does not depend on when collections happen: after each group of operations a
//! program collects until nothing happens any more. So it collects once where the differential
//! suite's program does several times in a row; and what looks at what is dead already, weak
//! pointers that are followed and cleanups that are stopped, comes first in its group.

use fing::stubs::fuzzing::Rng;

use super::program::{Deed, Op, Param, Place, Program, ROOTS, Type};

const LIBRARY: &str = include_str!("library.go");
const TYPE: &str = include_str!("type.go");

/// How operations become Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As code, with types as they are known.
    Code,
    /// As text that a Go function reads.
    Text,
}

/// A Go program that runs all of these cases, which have numbers. As text they are run by an
/// interpreter in Go, which takes less time to compile. So many are run together: what is due of
/// all of them is waited for at once.
pub(crate) fn source(cases: &[(u64, Program)], form: Form, together: usize) -> String {
    let mut text = LIBRARY.to_owned();
    text += &format!("\nconst together = {together}\n");
    for ty in Type::ALL {
        let words = ty.size() / 8 - 2 - ty.fields();
        text += &TYPE
            .replace("TYPE", &format!("{ty:?}"))
            .replace("FIELDS", &ty.fields().to_string())
            .replace("WORDS", &words.max(1).to_string());
    }
    let mut table = String::from("\nvar programs = []Program{\n");
    for (number, program) in cases {
        let groups = groups(program);
        if form == Form::Text {
            let phase = |ops: Vec<Op>| {
                let text: String = ops.iter().map(|op| format!("{op}\n")).collect();
                format!("{{nil, {text:?}}}")
            };
            let phases: Vec<String> = groups.into_iter().map(phase).collect();
            table += &format!("\t{{{number}, []Phase{{{}}}}},\n", phases.join(", "));
            continue;
        }
        let mut case = Case {
            roots: [Known::Nil; ROOTS],
            weak: Vec::new(),
            random: Rng::new(!number),
            text: String::new(),
        };
        let names: Vec<String> = (0..groups.len())
            .map(|n| format!("c{number}p{n}"))
            .collect();
        for (name, ops) in names.iter().zip(groups) {
            case.text += &format!("\nfunc {name}(c *Case) {{\n");
            ops.into_iter().for_each(|op| case.op(op));
            case.text += "}\n";
        }
        text += &case.text;
        let phases = names.iter().map(|name| format!("{{{name}, \"\"}}"));
        let phases: Vec<String> = phases.collect();
        table += &format!("\t{{{number}, []Phase{{{}}}}},\n", phases.join(", "));
    }
    text + &table + "}\n"
}

/// The operations between collections, in an order that does not matter to what is printed.
fn groups(program: &Program) -> Vec<Vec<Op>> {
    let is_collection = |op: &Op| matches!(op, Op::Collect | Op::Twice);
    let groups = program.0.split(is_collection);
    let groups = groups.filter(|group| !group.is_empty());
    let ordered = groups.map(|group| {
        let mut group = group.to_vec();
        group.sort_by_key(|op| !matches!(op, Op::Strong { .. } | Op::Stop { .. }));
        group
    });
    ordered.collect()
}

/// What the renderer knows of a root.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    Nil,
    Object(Type, u32),
    /// Nil, or an object of some type.
    Any,
}

struct Case {
    roots: [Known; ROOTS],
    /// Numbers of weak pointers to whole objects.
    weak: Vec<u32>,
    /// For choices that do not change what is printed.
    random: Rng,
    text: String,
}

fn read(root: usize) -> String {
    match root % 4 {
        0 => format!("c.array[{root}]"),
        1 => format!("c.slice[{root}]"),
        2 => format!("c.named[\"r{root}\"]"),
        _ => format!("c.boxes[{root}].get()"),
    }
}

impl Case {
    fn line(&mut self, line: &str) {
        self.text += &format!("\t{line}\n");
    }

    fn set(&mut self, root: usize, value: &str, known: Known) {
        self.roots[root] = known;
        match (root % 4, value) {
            (3, _) => self.line(&format!("c.boxes[{root}].set({value})")),
            (2, "nil") => self.line(&format!("delete(c.named, \"r{root}\")")),
            _ => self.line(&format!("{} = {value}", read(root))),
        }
    }

    /// The root as a value of its type, where that is known.
    fn typed(&self, root: usize) -> String {
        match self.roots[root] {
            Known::Object(ty, _) => format!("{}.(*{ty:?})", read(root)),
            _ => read(root),
        }
    }

    fn op(&mut self, op: Op) {
        let subject = match op {
            Op::Link { root, .. }
            | Op::Cut { root, .. }
            | Op::Fin { root, .. }
            | Op::Clear { root }
            | Op::Inner { root }
            | Op::ClearInner { root }
            | Op::Cleanup { root, .. }
            | Op::Weak { root, .. }
            | Op::Copy { root, .. }
            | Op::Drop { root } => Some(root),
            _ => None,
        };
        if subject.is_some_and(|root| self.roots[root] == Known::Nil) {
            return;
        }
        match op {
            Op::Alloc { root, number, ty } => self.alloc(root, number, ty),
            Op::Link {
                root,
                field,
                to,
                place,
            } => self.link(root, field, to, place),
            Op::Cut { root, field } => match self.roots[root] {
                Known::Object(ty, _) if field >= ty.fields() => {}
                Known::Object(..) => {
                    let x = self.typed(root);
                    self.line(&format!("{x}.p[{field}], {x}.q[{field}] = nil, nil"));
                }
                _ => self.line(&format!("cut({}, {field})", read(root))),
            },
            Op::Fin { root, deed, param } => self.fin(root, deed, param),
            Op::Clear { root } => self.line(&format!("clearFinalizer({})", read(root))),
            Op::Inner { root } => self.line(&format!("setInner({})", read(root))),
            Op::ClearInner { root } => self.line(&format!("clearInner({})", read(root))),
            Op::Cleanup {
                root,
                number,
                place,
                argument,
            } => self.cleanup(root, number, place, argument),
            Op::Stop { number } => self.line(&format!("c.cleanups[{number}].Stop()")),
            Op::Weak {
                root,
                number,
                place,
            } => self.weak(root, number, place),
            Op::Strong { number, root } => {
                if self.weak.contains(&number) {
                    self.line(&format!("if o := c.strong({number}); o != nil {{"));
                    self.set(root, "o", Known::Any);
                    self.line("}");
                }
            }
            Op::Copy { root, to } => self.set(to, &read(root), self.roots[root]),
            Op::Drop { root } => self.set(root, "nil", Known::Nil),
            Op::DropGlobals => self.line("c.globals = nil"),
            Op::Collect | Op::Twice => unreachable!("groups have no collections"),
        }
    }

    fn alloc(&mut self, root: usize, number: u32, ty: Type) {
        let known = Known::Object(ty, number);
        match self.random.below(3) {
            0 => self.set(root, &format!("new{ty:?}(c, {number})"), known),
            1 => {
                let check = number * 31 + 7;
                let base = format!("Base{{number: {number}, check: {check}, of: c}}");
                self.set(root, &format!("&{ty:?}{{Base: {base}}}"), known);
            }
            _ => {
                self.line("{");
                self.line(&format!("x := new({ty:?})"));
                self.line(&format!("x.Base = newBase(c, {number})"));
                self.set(root, "x", known);
                self.line("}");
            }
        }
    }

    fn link(&mut self, root: usize, field: usize, to: usize, place: Place) {
        let (target, known) = (self.typed(to), self.roots[root]);
        if self.roots[to] == Known::Nil {
            return;
        }
        match (known, self.roots[to], place) {
            (Known::Object(ty, _), ..) if field >= ty.fields() => {}
            (Known::Object(..), Known::Object(..), place) if self.random.below(4) != 0 => {
                let x = self.typed(root);
                let (p, q) = match place {
                    Place::Start => (target, "nil".to_owned()),
                    Place::Second => ("nil".to_owned(), format!("&{target}.state")),
                    Place::Last => ("nil".to_owned(), format!("{target}.last()")),
                };
                self.line(&format!("{x}.p[{field}], {x}.q[{field}] = {p}, {q}"));
            }
            _ => {
                let (from, to) = (read(root), read(to));
                self.line(&format!("link({from}, {field}, {to}, {})", place as usize));
            }
        }
    }

    fn fin(&mut self, root: usize, deed: Deed, param: Param) {
        let (deed, choice) = (deed as usize, self.random.below(3));
        let Known::Object(ty, number) = self.roots[root] else {
            let line = format!("setFinalizer({}, {deed}, {})", read(root), param as usize);
            return self.line(&line);
        };
        let function = match (param, choice) {
            (_, 0) => {
                let line = format!("setFinalizer({}, {deed}, {})", read(root), param as usize);
                return self.line(&line);
            }
            (Param::Pointer, 1) => format!("(*{ty:?}).finalize"),
            (Param::Pointer, _) => format!(
                "func(x *{ty:?}) {{ if x.number != number {{ panic(x.number) }}; finalize(x) }}"
            ),
            (Param::Any, 1) => "c.finalizeAny".to_owned(),
            (Param::Any, _) => format!("func(v any) {{ finalize(v.(*{ty:?})) }}"),
            (Param::Interface, 1) => "finalize".to_owned(),
            (Param::Interface, _) => "func(o Object) { finalize(o) }".to_owned(),
        };
        let x = self.typed(root);
        self.line(&format!(
            "if x, number := {x}, {number}; !x.armed && number > 0 {{"
        ));
        self.line(&format!(
            "x.deed, x.param, x.more, x.armed = {deed}, {}, 2, true",
            param as usize
        ));
        self.line(&format!("runtime.SetFinalizer(x, {function})"));
        self.line("}");
    }

    fn cleanup(&mut self, root: usize, number: u32, place: Place, argument: Option<usize>) {
        let held = argument.map_or("nil".to_owned(), read);
        if let (Known::Object(..), Place::Start) = (self.roots[root], place) {
            let x = self.typed(root);
            let line = match (argument, self.random.below(2)) {
                (None, 0) => {
                    format!("func(n int) {{ cleanUp(Argument{{of: c, number: n}}) }}, {number}")
                }
                _ => format!("cleanUp, Argument{{c, {number}, {held}}}"),
            };
            return self.line(&format!(
                "c.cleanups[{number}] = runtime.AddCleanup({x}, {line})"
            ));
        }
        let (o, at) = (read(root), place as usize);
        self.line(&format!("c.addCleanup({o}, {at}, {number}, {held})"));
    }

    fn weak(&mut self, root: usize, number: u32, place: Place) {
        let (Known::Object(_, target), Place::Start) = (self.roots[root], place) else {
            let (o, at) = (read(root), place as usize);
            return self.line(&format!("c.addWeak({o}, {at}, {number})"));
        };
        self.weak.push(number);
        let x = self.typed(root);
        for line in [
            "{".to_owned(),
            format!("w := weak.Make({x})"),
            "object := func() Object {".to_owned(),
            "if x := w.Value(); x != nil { return x }".to_owned(),
            "return nil".to_owned(),
            "}".to_owned(),
            "isNil := func() bool { return w.Value() == nil }".to_owned(),
            format!("c.weaks = append(c.weaks, Handle{{{number}, {target}, object, isNil}})"),
            "}".to_owned(),
        ] {
            self.line(&line);
        }
    }
}
