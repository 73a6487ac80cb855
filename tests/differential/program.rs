//! Programs as data: what a test does with objects, one operation after the other.
//!
//! The text form is what the Go side reads. Every operation is total: on a root that is nil, a
//! field that is not there or a number nobody has, it does nothing, so any subset of a program's
//! operations is a program.

use std::fmt;

/// How many roots a program has.
pub(crate) const ROOTS: usize = 16;

/// Types of objects. All begin with two words, number and state; pointers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// No pointers, 40 bytes.
    Leaf,
    /// One pointer.
    One,
    /// Three pointers.
    Three,
    /// Two pointers, 632 bytes: in Go, an object with a header.
    Big,
    /// Two pointers, 40 KB: in Go, an object with a span of its own.
    Huge,
}

impl Type {
    pub(crate) const ALL: [Type; 5] = [Type::Leaf, Type::One, Type::Three, Type::Big, Type::Huge];

    pub(crate) fn fields(self) -> usize {
        [0, 1, 3, 2, 2][self as usize]
    }

    /// Bytes.
    pub(crate) fn size(self) -> usize {
        16 + 8 * self.fields() + 8 * [3, 0, 0, 75, 5000][self as usize]
    }

    pub(crate) fn name(self) -> &'static str {
        ["leaf", "one", "three", "big", "huge"][self as usize]
    }
}

/// Where in an object a pointer points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Start,
    /// The second word.
    Second,
    /// The last word.
    Last,
}

impl Place {
    pub(crate) const ALL: [Place; 3] = [Place::Start, Place::Second, Place::Last];

    pub(crate) fn offset(self, ty: Type) -> usize {
        match self {
            Place::Start => 0,
            Place::Second => 8,
            Place::Last => ty.size() - 8,
        }
    }
}

/// What a finalizer does, beside telling that it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Plain,
    /// Puts its object into a global.
    Keep,
    /// Registers itself again, twice.
    Again,
    /// Puts what the first field points to into a global.
    Save,
    /// Clears its first field.
    Cut,
    /// Sets a plain finalizer on what the first field points to, unless that has one.
    Child,
}

impl Deed {
    pub(crate) const ALL: [Deed; 6] = [
        Deed::Plain,
        Deed::Keep,
        Deed::Again,
        Deed::Save,
        Deed::Cut,
        Deed::Child,
    ];
}

/// What a finalizer's parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    Pointer,
    Any,
    Interface,
}

impl Param {
    pub(crate) const ALL: [Param; 3] = [Param::Pointer, Param::Any, Param::Interface];
}

/// One operation. `root`, `to`, `argument` are numbers of roots; `number`s are an object's, a
/// cleanup's, a weak handle's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Alloc {
        root: usize,
        number: u32,
        ty: Type,
    },
    Link {
        root: usize,
        field: usize,
        to: usize,
        place: Place,
    },
    Cut {
        root: usize,
        field: usize,
    },
    Fin {
        root: usize,
        deed: Deed,
        param: Param,
    },
    Clear {
        root: usize,
    },
    /// A finalizer of the second word.
    Inner {
        root: usize,
    },
    ClearInner {
        root: usize,
    },
    Cleanup {
        root: usize,
        number: u32,
        place: Place,
        argument: Option<usize>,
    },
    Stop {
        number: u32,
    },
    Weak {
        root: usize,
        number: u32,
        place: Place,
    },
    /// Makes a weak handle's object a root again.
    Strong {
        number: u32,
        root: usize,
    },
    Copy {
        root: usize,
        to: usize,
    },
    Drop {
        root: usize,
    },
    DropGlobals,
    Collect,
    /// Two collections, and no finalizer or cleanup ends before the second is over.
    Twice,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let low = |value: &dyn fmt::Debug| format!("{value:?}").to_lowercase();
        match self {
            Op::Alloc { root, number, ty } => write!(f, "alloc {root} {number} {}", ty.name()),
            Op::Link {
                root,
                field,
                to,
                place,
            } => {
                write!(f, "link {root} {field} {to} {}", low(place))
            }
            Op::Cut { root, field } => write!(f, "cut {root} {field}"),
            Op::Fin { root, deed, param } => write!(f, "fin {root} {} {}", low(deed), low(param)),
            Op::Clear { root } => write!(f, "clear {root}"),
            Op::Inner { root } => write!(f, "inner {root}"),
            Op::ClearInner { root } => write!(f, "clearinner {root}"),
            Op::Cleanup {
                root,
                number,
                place,
                argument,
            } => {
                let argument = argument.map_or("-".to_owned(), |root| root.to_string());
                write!(f, "cleanup {root} {number} {} {argument}", low(place))
            }
            Op::Stop { number } => write!(f, "stop {number}"),
            Op::Weak {
                root,
                number,
                place,
            } => write!(f, "weak {root} {number} {}", low(place)),
            Op::Strong { number, root } => write!(f, "strong {number} {root}"),
            Op::Copy { root, to } => write!(f, "copy {root} {to}"),
            Op::Drop { root } => write!(f, "drop {root}"),
            Op::DropGlobals => f.write_str("dropglobals"),
            Op::Collect => f.write_str("collect"),
            Op::Twice => f.write_str("twice"),
        }
    }
}

/// A whole program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program(pub(crate) Vec<Op>);

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program")?;
        self.0.iter().try_for_each(|op| writeln!(f, "{op}"))?;
        writeln!(f, "end")
    }
}

/// What a program did: one line for each collection.
pub(crate) type Story = Vec<String>;
