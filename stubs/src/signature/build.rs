//! Constructors of types: the only way to make one, so every limit and rule is checked here.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use super::layout::{self, Facts};
use super::{
    CType, ChanDir, Field, FuncType, Kind, MAX_DEPTH, MAX_NAME, MAX_WEIGHT, Method, Named, Node,
    Role, Type, TypeError,
};
use crate::quote::short;

/// Whether it is a word that can't be a name, as in Go.
pub(super) fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "break"
            | "case"
            | "chan"
            | "const"
            | "continue"
            | "default"
            | "defer"
            | "else"
            | "fallthrough"
            | "for"
            | "func"
            | "go"
            | "goto"
            | "if"
            | "import"
            | "interface"
            | "map"
            | "package"
            | "range"
            | "return"
            | "select"
            | "struct"
            | "switch"
            | "type"
            | "var"
    )
}

/// Whether it may name a field or method: a letter or `_`, then letters, digits and `_`, and no
/// keyword.
pub(crate) fn is_identifier(name: &str) -> bool {
    let is_word = name.starts_with(is_name_start) && word_len(name) == name.len();
    is_word && !is_keyword(name)
}

/// Whether it is identifiers joined by dots.
fn is_path(name: &str) -> bool {
    let mut rest = name;
    loop {
        let (word, behind) = rest.split_at(word_len(rest));
        if !word.starts_with(is_name_start) || is_keyword(word) {
            return false;
        }
        match behind.strip_prefix('.') {
            Some(behind) => rest = behind,
            None => return behind.is_empty(),
        }
    }
}

/// [`is_name_part`] of each ASCII character.
static IS_NAME_PART: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        table[byte] = c.is_ascii_alphanumeric() || c == b'_';
        byte += 1;
    }
    table
};

/// How many bytes at the text's start are letters, digits and `_`.
pub(super) fn word_len(text: &str) -> usize {
    let mut bytes = text.bytes();
    let ascii = bytes.position(|byte| !IS_NAME_PART[usize::from(byte)]);
    let ascii = ascii.unwrap_or(text.len());
    match text.as_bytes().get(ascii) {
        Some(byte) if !byte.is_ascii() => {
            let rest = &text[ascii..];
            ascii + rest.find(|c| !is_name_part(c)).unwrap_or(rest.len())
        }
        _ => ascii,
    }
}

pub(super) fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii() && c.is_alphabetic()
}

pub(super) fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() && c.is_alphanumeric()
}

pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), TypeError> {
    if name.len() <= MAX_NAME && is_identifier(name) {
        return Ok(());
    }
    Err(bad_name(
        what,
        name,
        "a letter or _, then letters and digits,",
    ))
}

fn bad_name(what: &'static str, name: &str, wanted: &'static str) -> TypeError {
    TypeError::BadName {
        what,
        found: short(name).to_string(),
        wanted,
    }
}

/// Up to so many fields a struct's names are compared one with another.
const FEW_FIELDS: usize = 16;

fn check_variadic(func: &FuncType) -> Result<(), TypeError> {
    match func.params.last() {
        _ if !func.variadic => Ok(()),
        Some(last) if matches!(last.kind(), Kind::Slice(_)) => Ok(()),
        last => Err(TypeError::Variadic {
            found: last.map_or("missing".into(), |ty| short(ty).to_string()),
        }),
    }
}

macro_rules! basic_types {
    ($($variant:ident $function:ident $name:literal),* $(,)?) => {
        impl Type {
            $(
                #[doc = concat!("Go's `", $name, "`.")]
                pub fn $function() -> Type {
                    static TYPE: LazyLock<Type> = LazyLock::new(|| Type::leaf(Kind::$variant));
                    TYPE.clone()
                }
            )*

            fn basic(name: &str) -> Option<Type> {
                match name {
                    $($name => Some(Type::$function()),)*
                    _ => None,
                }
            }
        }

        impl Kind {
            /// Go's name of a basic type; `None` for a composite or defined one.
            pub fn basic_name(&self) -> Option<&'static str> {
                match self {
                    $(Kind::$variant => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

basic_types! {
    Bool bool "bool", Int int "int", Int8 int8 "int8", Int16 int16 "int16", Int32 int32 "int32",
    Int64 int64 "int64", Uint uint "uint", Uint8 uint8 "uint8", Uint16 uint16 "uint16",
    Uint32 uint32 "uint32", Uint64 uint64 "uint64",
    Uintptr uintptr "uintptr", Float32 float32 "float32", Float64 float64 "float64",
    Complex64 complex64 "complex64", Complex128 complex128 "complex128", String string "string",
    UnsafePointer unsafe_pointer "unsafe.Pointer",
}

/// `error`, the one defined type every program has.
static ERROR: LazyLock<Type> = LazyLock::new(|| {
    let method = Method::new(
        "Error",
        FuncType {
            params: vec![],
            results: vec![Type::string()],
            variadic: false,
        },
    );
    let interface = Type::leaf(Kind::Interface(vec![method]));
    Type::leaf(Kind::Named(Named {
        scope: 0,
        display: None,
        name: "error".into(),
        underlying: Some(interface),
    }))
});

impl Type {
    /// A type no rule can refuse.
    pub(crate) fn leaf(kind: Kind) -> Type {
        let layout = layout::layout_of(&kind).unwrap_or_default();
        Type::with_layout(kind, layout, 1, 1)
    }

    fn with_layout(kind: Kind, layout: Option<layout::Layout>, depth: u32, weight: u64) -> Type {
        let facts = Facts {
            layout,
            depth,
            weight,
            hash: layout::hash_of(&kind),
            pointers: layout::has_pointers(&kind),
            comparable: layout::is_comparable(&kind),
            is_go: layout::is_go(&kind),
        };
        Type(Arc::new(Node { kind, facts }))
    }

    pub(super) fn make(kind: Kind) -> Result<Type, TypeError> {
        let (mut depth, mut weight) = (1, 1u64);
        if let Kind::Interface(methods) = &kind {
            weight += methods.len() as u64;
        }
        layout::for_each_child(&kind, &mut |child| {
            depth = depth.max(child.depth() + 1);
            weight = weight.saturating_add(child.weight());
        });
        if depth > MAX_DEPTH {
            return Err(TypeError::TooDeep { found: depth });
        }
        if weight > MAX_WEIGHT {
            return Err(TypeError::TooHeavy);
        }
        let layout = layout::layout_of(&kind)?;
        Ok(Type::with_layout(kind, layout, depth, weight))
    }

    /// The basic type Go calls `name` (`int`, `unsafe.Pointer`, also `byte`, `rune`, `any` and
    /// `error`), or one of C's that are a name only (`C.int128`).
    pub fn predeclared(name: &str) -> Option<Type> {
        match name {
            "byte" => Some(Type::uint8()),
            "rune" => Some(Type::int32()),
            "any" => Some(Type::empty_interface()),
            "error" => Some(Type::error()),
            _ => Type::basic(name).or_else(|| Some(Type::leaf(Kind::C(CType::of_name(name)?)))),
        }
    }

    /// The struct of the results of a signature, which has checked them: it may nest deeper than
    /// the types one can make.
    pub(crate) fn struct_of(types: &[Type]) -> Type {
        let field = |(n, ty): (usize, &Type)| Field::new(&format!("R{n}"), ty.clone());
        let mut fields: Vec<Field> = types.iter().enumerate().map(field).collect();
        layout::place_fields(&mut fields);
        Type::leaf(Kind::Struct(fields))
    }

    /// `error`.
    pub fn error() -> Type {
        ERROR.clone()
    }

    /// `interface{}`.
    pub fn empty_interface() -> Type {
        static EMPTY: LazyLock<Type> = LazyLock::new(|| Type::leaf(Kind::Interface(Vec::new())));
        EMPTY.clone()
    }

    /// `*elem`. `elem` may be opaque.
    pub fn pointer_to(elem: Type) -> Result<Type, TypeError> {
        Type::make(Kind::Pointer(elem))
    }

    /// `[len]elem`.
    pub fn array(len: u64, elem: Type) -> Result<Type, TypeError> {
        Type::make(Kind::Array(len, elem))
    }

    /// `[]elem`. `elem` may be opaque.
    pub fn slice(elem: Type) -> Result<Type, TypeError> {
        Type::make(Kind::Slice(elem))
    }

    /// `map[key]value`. Both may be opaque; a key known to lack `==` is refused.
    pub fn map(key: Type, value: Type) -> Result<Type, TypeError> {
        if !key.is_comparable() {
            return Err(TypeError::MapKey {
                found: short(&key).to_string(),
            });
        }
        Type::make(Kind::Map(key, value))
    }

    /// `chan elem`, `<-chan elem` or `chan<- elem`. `elem` may be opaque.
    pub fn chan(dir: ChanDir, elem: Type) -> Result<Type, TypeError> {
        Type::make(Kind::Chan(dir, elem))
    }

    /// `func(params) results`. With `variadic` the last parameter must be a slice. Any of them may
    /// be opaque.
    pub fn func(params: Vec<Type>, results: Vec<Type>, variadic: bool) -> Result<Type, TypeError> {
        let func = FuncType {
            params,
            results,
            variadic,
        };
        check_variadic(&func)?;
        Type::make(Kind::Func(func))
    }

    /// `struct { fields }`. The offsets in `fields` are overwritten.
    ///
    /// ```
    /// use fing_stubs::signature::{Field, Type};
    /// let fields = vec![Field::new("A", Type::int8()), Field::new("B", Type::float64())];
    /// let pair = Type::structure(fields)?;
    /// assert_eq!(pair.to_string(), "struct { A int8; B float64 }");
    /// assert_eq!(pair.layout().unwrap().size, 16);
    /// # Ok::<(), fing_stubs::signature::TypeError>(())
    /// ```
    pub fn structure(mut fields: Vec<Field>) -> Result<Type, TypeError> {
        let mut seen = HashSet::new();
        for (at, field) in fields.iter().enumerate() {
            check_name("field", &field.name)?;
            if field.is_embedded && !embeds(field) {
                return Err(TypeError::Embedded {
                    found: short(&field.ty).to_string(),
                });
            }
            let is_taken = match at {
                _ if &*field.name == "_" => false,
                // As fast as hashing, and without memory for the set.
                ..FEW_FIELDS => fields[..at].iter().any(|other| other.name == field.name),
                FEW_FIELDS => {
                    seen.extend(fields[..at].iter().map(|field| &*field.name));
                    !seen.insert(&*field.name)
                }
                _ => !seen.insert(&*field.name),
            };
            if is_taken {
                return Err(TypeError::DuplicateField {
                    name: field.name.to_string(),
                });
            }
        }
        layout::place_fields(&mut fields);
        Type::make(Kind::Struct(fields))
    }

    /// `interface{ methods }`, sorted by name as Go keeps them.
    pub fn interface(mut methods: Vec<Method>) -> Result<Type, TypeError> {
        for method in &methods {
            check_name("method", &method.name)?;
            if &*method.name == "_" {
                return Err(bad_name("method", "_", "a name other than _"));
            }
            check_variadic(&method.ty)?;
        }
        methods.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(twice) = methods.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(TypeError::DuplicateMethod {
                name: twice[0].name.to_string(),
            });
        }
        Type::make(Kind::Interface(methods))
    }

    /// The defined type `name` over `underlying` (over what *that* is defined as, if it has a name
    /// itself).
    pub fn named(name: &str, underlying: Type) -> Result<Type, TypeError> {
        Type::opaque(name)?.defined_as(underlying)
    }

    /// The defined type of this one's name and scope over `underlying`, as [`Type::named`] makes
    /// it. The name is checked and stored once, however many types are made of it.
    ///
    /// ```
    /// use fing_stubs::signature::{Kind, Type};
    ///
    /// let celsius = Type::opaque("main.Celsius")?.defined_as(Type::float64())?;
    /// assert_eq!(celsius.to_string(), "main.Celsius");
    /// assert_eq!(celsius.underlying(), &Kind::Float64);
    /// # Ok::<(), fing_stubs::signature::TypeError>(())
    /// ```
    ///
    /// # Errors
    /// When this type has no name, `underlying` is opaque, or the type would nest too deeply or be
    /// too heavy.
    pub fn defined_as(&self, underlying: Type) -> Result<Type, TypeError> {
        let Kind::Named(named) = self.kind() else {
            let found = short(self).to_string();
            return Err(bad_name("type", &found, "a defined or opaque type"));
        };
        let underlying = match underlying.kind() {
            Kind::Named(Named {
                underlying: Some(ty),
                ..
            }) => ty.clone(),
            Kind::Named(opaque) => {
                return Err(TypeError::Opaque {
                    role: Role::Element,
                    name: opaque.name.to_string(),
                });
            }
            _ => underlying,
        };
        Type::make(Kind::Named(Named {
            underlying: Some(underlying),
            ..named.clone()
        }))
    }

    /// The opaque type of this one's name and scope. Other types stay as they are.
    pub fn without_definition(&self) -> Type {
        match self.kind() {
            Kind::Named(named) if named.underlying.is_some() => Type::leaf(Kind::Named(Named {
                underlying: None,
                ..named.clone()
            })),
            _ => self.clone(),
        }
    }

    /// The same defined type as one of a scope: a number, not 0, by which those who define names
    /// tell apart what they have defined. Other types stay as they are.
    pub fn in_scope(&self, scope: u64) -> Result<Type, TypeError> {
        match self.kind() {
            Kind::Named(named) if named.scope != scope => {
                let named = Named {
                    scope,
                    ..named.clone()
                };
                Ok(self.marked(named))
            }
            _ => Ok(self.clone()),
        }
    }

    /// The same defined type, whose name `{:#}` prints as `display`: types of one name in different
    /// functions, instances of generic types (`main.Pair[int]`). Other types stay as they are.
    ///
    /// ```
    /// use fing_stubs::signature::Type;
    ///
    /// let pair = Type::opaque("main.Pair_1")?.displayed_as("main.Pair[int]")?;
    /// let pointer = Type::pointer_to(pair)?;
    /// assert_eq!(format!("{pointer} {pointer:#}"), "*main.Pair_1 *main.Pair[int]");
    /// # Ok::<(), fing_stubs::signature::TypeError>(())
    /// ```
    ///
    /// # Errors
    /// When `display` is empty or longer than [`MAX_NAME`].
    pub fn displayed_as(&self, display: &str) -> Result<Type, TypeError> {
        if display.is_empty() || display.len() > MAX_NAME {
            let wanted = "a text of 1 to 255 bytes";
            return Err(bad_name("displayed type", display, wanted));
        }
        Ok(match self.kind() {
            Kind::Named(named) => self.marked(Named {
                display: Some(display.into()),
                ..named.clone()
            }),
            _ => self.clone(),
        })
    }

    /// The same type with another scope or display, of which nothing else depends.
    fn marked(&self, named: Named) -> Type {
        let (kind, facts) = (Kind::Named(named), self.0.facts);
        Type(Arc::new(Node { kind, facts }))
    }

    /// The defined type `name`, of which nothing else is known. It may only stand behind a pointer,
    /// slice, map, channel or function.
    pub fn opaque(name: &str) -> Result<Type, TypeError> {
        Type::opaque_in(name, 0)
    }

    /// The same as one of a scope, as [`Type::in_scope`] makes it.
    pub fn opaque_in(name: &str, scope: u64) -> Result<Type, TypeError> {
        check_type_name(name)?;
        Ok(Type::leaf(Kind::Named(Named {
            name: name.into(),
            underlying: None,
            scope,
            display: None,
        })))
    }
}

/// Whether the field's type may be embedded under the field's name: a type's name, or `*` and the
/// name of a type that is neither an interface nor a pointer.
fn embeds(field: &Field) -> bool {
    let (base, is_behind_pointer) = match field.ty.kind() {
        Kind::Pointer(elem) => (elem, true),
        _ => (&field.ty, false),
    };
    let has_name = match base.kind() {
        Kind::Named(named) => named.name.rsplit('.').next() == Some(&field.name),
        _ => Type::predeclared(&field.name).as_ref() == Some(base),
    };
    has_name
        && match base.underlying() {
            Kind::Pointer(_) | Kind::UnsafePointer => false,
            Kind::Interface(_) => !is_behind_pointer,
            _ => true,
        }
}

/// `main.Node`: identifiers joined by dots, and none of Go's own types.
fn check_type_name(name: &str) -> Result<(), TypeError> {
    let well_formed = name.len() <= MAX_NAME && is_path(name) && name != "_";
    if well_formed && Type::predeclared(name).is_none() {
        return Ok(());
    }
    Err(bad_name(
        "type",
        name,
        "a name such as main.Node that is none of Go's own types,",
    ))
}
