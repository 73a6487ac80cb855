//! What is wrong with a type, a signature or the text of one.
#![forbid(unsafe_code)]

use std::fmt;

use super::{MAX_ALIGN, MAX_DEPTH, MAX_NAME, MAX_SIZE, MAX_WEIGHT};

/// Why a type or signature can't be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypeError {
    /// Nested too deep.
    #[error("nested {found} deep, wanted at most {MAX_DEPTH}")]
    TooDeep {
        /// The depth it would have.
        found: u32,
    },
    /// Too many types when written out.
    #[error("more than {MAX_WEIGHT} types when written out, wanted at most that many")]
    TooHeavy,
    /// Too many bytes.
    #[error("{what} is too large, wanted at most {MAX_SIZE} bytes")]
    TooLarge {
        /// The type that is too large.
        what: String,
    },
    /// An array longer than an `int` counts.
    #[error("array length {found}, wanted at most {}", i64::MAX)]
    ArrayLength {
        /// The length given.
        found: u64,
    },
    /// A type of unknown size used by value.
    #[error(
        "{role} is {name}, which is opaque; wanted a type of known size, or {name} behind a pointer"
    )]
    Opaque {
        /// Where it is used.
        role: Role,
        /// Name of the opaque type, shortened.
        name: String,
    },
    /// Two fields of one name.
    #[error("struct has two fields {name}, wanted distinct names (or _)")]
    DuplicateField {
        /// The name.
        name: String,
    },
    /// Two methods of one name.
    #[error("interface has two methods {name}, wanted distinct names")]
    DuplicateMethod {
        /// The name.
        name: String,
    },
    /// Not a name.
    #[error("{what} name {found:?}, wanted {wanted} of at most {MAX_NAME} bytes")]
    BadName {
        /// What would carry the name.
        what: &'static str,
        /// The name given, shortened.
        found: String,
        /// What names look like.
        wanted: &'static str,
    },
    /// A map key without `==`.
    #[error("map key {found}, wanted a comparable type")]
    MapKey {
        /// The key type given, shortened.
        found: String,
    },
    /// A field without a name needs a type that has one.
    #[error(
        "embedded field {found}, wanted a type's name, or * and the name of a type that is \
         neither pointer nor interface"
    )]
    Embedded {
        /// The field's type, shortened.
        found: String,
    },
    /// An alignment that can't be asked for.
    #[error("{what} {found}, wanted a power of two of at most {MAX_ALIGN}")]
    Alignment {
        /// `pack` or `align`.
        what: &'static str,
        /// The alignment given.
        found: u64,
    },
    /// Not a bit-field.
    #[error("bit-field {name} is {found}, wanted {wanted}")]
    BitField {
        /// Its name.
        name: String,
        /// Its bits and declared type.
        found: String,
        /// What would do.
        wanted: String,
    },
    /// Not a vector that ABIs agree on.
    #[error("vector of {found}, wanted 2 or more integers or floats, 8 or 16 bytes in all")]
    Vector {
        /// Number and type of its elements.
        found: String,
    },
    /// C promotes what is passed in place of `...`.
    #[error("{role} is {found}, wanted {wanted}: C promotes what is passed in place of ...")]
    NotPromoted {
        /// Which parameter.
        role: Role,
        /// Its type, shortened.
        found: String,
        /// What it is promoted to.
        wanted: &'static str,
    },
    /// More parameters in front of `...` than there are.
    #[error("{found} parameters in front of ..., wanted at most {}", *.params)]
    Fixed {
        /// How many were asked for.
        found: usize,
        /// How many there are.
        params: usize,
    },
    /// Values in place of `...`, of a function that has none.
    #[error("{found} types in place of ..., wanted none: the function is not variadic")]
    NotVariadic {
        /// How many were given.
        found: usize,
    },
    /// A variadic function needs a slice at the end.
    #[error("last parameter of a variadic function is {found}, wanted a slice")]
    Variadic {
        /// The last parameter, shortened, or "missing".
        found: String,
    },
}

/// Where a type of unknown size was used by value.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Role {
    /// Element of an array.
    Element,
    /// Field of a struct, by name.
    Field(String),
    /// Receiver of a method.
    Receiver,
    /// Parameter, from 0.
    Parameter(usize),
    /// Result, from 0.
    Result(usize),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Element => write!(f, "array element"),
            Role::Field(name) => write!(f, "field {name}"),
            Role::Receiver => write!(f, "receiver"),
            Role::Parameter(i) => write!(f, "parameter {i}"),
            Role::Result(i) => write!(f, "result {i}"),
        }
    }
}

/// Why a text is no type or signature, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{subject}: column {column}: {reason}")]
#[non_exhaustive]
pub struct ParseError {
    /// What was to be read: "signature" or "type".
    pub subject: &'static str,
    /// Byte offset in the text, from 0.
    pub offset: usize,
    /// Place in the text in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: ParseReason,
}

/// What is wrong at the place a [`ParseError`] names.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseReason {
    /// Not the syntax.
    #[error("found {found}, wanted {wanted}")]
    Syntax {
        /// The word or character found, in quotes, or "end of text".
        found: String,
        /// What would have been right.
        wanted: &'static str,
    },
    /// A name that is none of Go's own types and was not resolved.
    #[error(
        "found {found:?}, wanted a type: Go's own, or a name defined here{}",
        hint(*.behind_pointer)
    )]
    UnknownType {
        /// The name, shortened.
        found: String,
        /// It stands behind a `*`.
        behind_pointer: bool,
    },
    /// The syntax is right, the type can't be.
    #[error(transparent)]
    Type(#[from] TypeError),
}

fn hint(behind_pointer: bool) -> &'static str {
    if behind_pointer {
        " (all pointers are passed alike: *struct{} will do for one to a type that has no \
         definition)"
    } else {
        ""
    }
}
