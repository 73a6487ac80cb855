//! C's spelling of types and prototypes.
//!
//! ```
//! use fing_stubs::c::Declarations;
//!
//! let mut c = Declarations::host()?;
//! c.declare(
//!     "struct point { double x, y; };
//!      typedef struct point point;
//!      point middle(point a, point b);
//!      int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));",
//! )?;
//! let middle = c.function("middle").unwrap().signature()?;
//! assert_eq!(
//!     middle.to_string(),
//!     "func(struct { x float64; y float64 }, struct { x float64; y float64 }) \
//!      (struct { x float64; y float64 })",
//! );
//! // A call of a variadic function, with the types of what is passed in place of `...`.
//! let others = [c.ty("int")?, c.ty("double")?];
//! let printf = c.function("printf").unwrap().signature_with(&others)?;
//! assert_eq!(printf.fixed(), Some(1));
//!
//! let error = c.ty("struct { int x; flaot y; }").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "C type: column 17: found \"flaot\", wanted a type (C's own, or one that is declared here)",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is read
//!
//! Preprocessed declarations as compilers of C11 with GNU's extensions read them: structs, unions
//! (nested, without a name, with bit-fields, `packed` and `aligned`, under `#pragma pack`),
//! enumerations, `typedef`, arrays, pointers, prototypes, `vector_size`, `__int128`, `_Complex`,
//! `_Float16`, `long double`, and the names of `stdint.h` and `stddef.h`. What `char`, `long` and
//! `wchar_t` are is a [`DataModel`]'s to say.
//!
//! * A pointer keeps the type that it points to if that is a scalar or such a pointer; to anything
//!   else it is `unsafe.Pointer`. All pointers travel alike.
//! * A parameter that is an array or a function is a pointer, as in C.
//! * An enumeration is `unsigned int`, `int` if it has negative enumerators, or 64 bits wide; for
//!   programs of Windows an `int`, and refused where that has not the bits.
//! * A member whose name is one of Go's keywords gets a `_` before it, as cgo has it.
//! * Constants have C's types: `~0u` is 4294967295, and `0xffffffff + 1` is 0.
//! * A struct inside another, without a member's name, gives that its members if it has no tag.
//!   With a tag it declares no member in C, and is refused.
//! * Where `#pragma pack` and `packed` differ, which is for bit-fields and members that are
//!   `aligned`, only `#pragma pack(1)` is read; neither is one that changes inside a struct.
//! * Attributes that don't change how a value travels are read and forgotten; others are refused.
//! * Variables, bodies, `_Atomic`, `va_list`, `_Alignas` of a type and functions without a
//!   prototype's types are refused.
//!
//! Time and memory are linear in the text. Nesting is bounded by
//! [`MAX_DEPTH`](crate::signature::MAX_DEPTH), types by
//! [`MAX_WEIGHT`](crate::signature::MAX_WEIGHT).
//!
//! [`spell`] is the other direction: text that is read as the same type.
#![forbid(unsafe_code)]

mod attributes;
mod directive;
mod expr;
mod lex;
mod parse;
mod record;
mod specifiers;
mod spell;

use std::collections::{BTreeMap, HashMap};

use self::lex::Token;
use self::parse::{Declared, Parser, Refusal};
use crate::signature::{DataModel, ParseError, Signature, Type, TypeError};
use crate::{Abi, AbiError};

pub use spell::{SpellError, spell, spell_function};

/// A function as C declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prototype {
    name: Option<String>,
    params: Vec<Type>,
    result: Option<Type>,
    is_variadic: bool,
}

impl Prototype {
    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn types(&self) -> impl Iterator<Item = &Type> {
        self.params.iter().chain(&self.result)
    }

    /// Its parameters, those before `...`.
    pub fn params(&self) -> &[Type] {
        &self.params
    }

    /// Its result; `None` for `void`.
    pub fn result(&self) -> Option<&Type> {
        self.result.as_ref()
    }

    /// Whether `...` ends the parameters.
    pub fn is_variadic(&self) -> bool {
        self.is_variadic
    }

    /// The signature of a call, of a variadic function with nothing in place of `...`.
    ///
    /// # Errors
    /// Too many or too large types.
    pub fn signature(&self) -> Result<Signature, TypeError> {
        self.signature_with(&[])
    }

    /// The signature of one call of a variadic function, which passes values of these types in
    /// place of `...`.
    ///
    /// # Errors
    /// The function is not variadic; a type that C promotes; too many or too large types.
    pub fn signature_with(&self, others: &[Type]) -> Result<Signature, TypeError> {
        if !self.is_variadic && !others.is_empty() {
            return Err(TypeError::NotVariadic {
                found: others.len(),
            });
        }
        let params = self.params.iter().chain(others).cloned().collect();
        let results = self.result.iter().cloned().collect();
        let signature = Signature::new(None, params, results, false)?;
        match self.is_variadic {
            true => signature.c_variadic(self.params.len()),
            false => Ok(signature),
        }
    }
}

/// Types and functions that have been declared, under one data model.
#[derive(Clone, Debug)]
pub struct Declarations {
    model: DataModel,
    /// `struct point`, `enum color`
    tags: HashMap<String, Type>,
    types: HashMap<String, Declared>,
    /// Enumerators.
    constants: HashMap<String, i128>,
    functions: BTreeMap<String, Prototype>,
}

impl Declarations {
    /// None yet, for programs of this data model: `Convention::table().data`.
    ///
    /// ```
    /// use fing_stubs::{Convention, c::Declarations};
    /// let mut windows = Declarations::new(Convention::Fastcall.table().data);
    /// assert_eq!(windows.ty("unsigned long")?.to_string(), "uint32");
    /// # Ok::<(), fing_stubs::ParseError>(())
    /// ```
    pub fn new(model: DataModel) -> Declarations {
        Declarations {
            model,
            tags: HashMap::new(),
            types: HashMap::new(),
            constants: HashMap::new(),
            functions: BTreeMap::new(),
        }
    }

    /// None yet, for programs of this machine.
    ///
    /// # Errors
    /// No native convention is known for it.
    pub fn host() -> Result<Declarations, AbiError> {
        let abi = Abi::host_native()?;
        let table = abi.native_table().ok_or(AbiError::NoHostConvention {
            machine: std::env::consts::ARCH,
        })?;
        Ok(Declarations::new(table.data))
    }

    /// The data model.
    pub fn model(&self) -> &DataModel {
        &self.model
    }

    /// Reads declarations: structs, unions and enumerations, `typedef`s, prototypes.
    ///
    /// # Errors
    /// Where and why the text is none. What stands before that place has been declared.
    pub fn declare(&mut self, text: &str) -> Result<(), ParseError> {
        Parser::read("C declaration", text, self, |parser| {
            while parser.peek() != Token::End {
                if !parser.take(";")? {
                    parser.declaration()?;
                }
            }
            Ok(())
        })
    }

    /// Reads the name of a type: `const char *`, `struct { int quot; int rem; }`, `int[3]`.
    /// Structs with a tag that it defines stay defined.
    ///
    /// # Errors
    /// Where and why the text is none, or is one without values: `void`, a function.
    pub fn ty(&mut self, text: &str) -> Result<Type, ParseError> {
        Parser::read("C type", text, self, |parser| {
            let at = parser.place();
            let mut specifiers = parser.specifiers(1)?;
            let declarator = parser.declarator(&mut specifiers, 1)?;
            if let Some((at, name)) = declarator.name {
                return Err(parser.refusal(at, format!("{name:?}"), "end of text"));
            }
            parser.no_attributes(&specifiers)?;
            match parser.declared(&specifiers, declarator)? {
                Declared::Object(ty) => Ok(ty),
                Declared::Incomplete(tag) => Err(parser.incomplete(at, &tag)),
                _ => {
                    let found = "void, a function, or an array without length".to_owned();
                    Err(parser.refusal(at, found, "a type with values"))
                }
            }
        })
    }

    /// Reads a prototype, with or without a name and a semicolon: `int printf(const char *, ...)`.
    /// It is not declared by that.
    ///
    /// # Errors
    /// Where and why the text is none.
    pub fn prototype(&mut self, text: &str) -> Result<Prototype, ParseError> {
        Parser::read("C prototype", text, self, |parser| {
            let at = parser.place();
            let mut specifiers = parser.specifiers(1)?;
            let declarator = parser.declarator(&mut specifiers, 1)?;
            parser.no_attributes(&specifiers)?;
            let name = declarator.name.map(|(_, name)| name.to_owned());
            let declared = parser.declared(&specifiers, declarator)?;
            parser.take(";")?;
            match declared {
                Declared::Function(prototype) if !specifiers.is_typedef => {
                    Ok(Prototype { name, ..*prototype })
                }
                _ => {
                    let found = "something else".to_owned();
                    Err(parser.refusal(at, found, "a function's prototype"))
                }
            }
        })
    }

    /// A function that was declared.
    pub fn function(&self, name: &str) -> Option<&Prototype> {
        self.functions.get(name)
    }

    /// All functions that were declared, by name.
    pub fn functions(&self) -> impl Iterator<Item = &Prototype> {
        self.functions.values()
    }

    /// The definition of what was declared before it was defined.
    fn completed(&self, declared: Declared) -> Declared {
        match &declared {
            Declared::Incomplete(tag) => match self.tags.get(tag) {
                Some(ty) => Declared::Object(ty.clone()),
                None => declared,
            },
            _ => declared,
        }
    }
}

impl Parser<'_, '_> {
    fn declaration(&mut self) -> Result<(), Refusal> {
        let mut specifiers = self.specifiers(1)?;
        if self.take(";")? {
            return Ok(());
        }
        let shared = specifiers.attributes;
        loop {
            let at = self.place();
            specifiers.attributes = shared;
            let declarator = self.declarator(&mut specifiers, 1)?;
            self.no_attributes(&specifiers)?;
            let Some((name_at, name)) = declarator.name else {
                return Err(self.unexpected("a name to declare"));
            };
            self.check_new_name(name_at, name)?;
            let declared = self.declared(&specifiers, declarator)?;
            match declared {
                declared if specifiers.is_typedef => self.define_type(name_at, name, declared)?,
                Declared::Function(prototype) => {
                    let own = Prototype {
                        name: Some(name.to_owned()),
                        ..*prototype
                    };
                    self.declare_function(name_at, own)?;
                }
                _ => {
                    let found = "a variable".to_owned();
                    return Err(self.refusal(at, found, "a function, a typedef or a struct"));
                }
            }
            if self.take(";")? {
                return Ok(());
            }
            self.expect(",", "\",\" or \";\"")?;
        }
    }

    /// Attributes that only structs, unions and their members have.
    fn no_attributes(&self, specifiers: &specifiers::Specifiers) -> Result<(), Refusal> {
        let attributes = specifiers.attributes;
        if attributes.is_packed || attributes.aligned.is_some() {
            let found = "packed or aligned".to_owned();
            let wanted = "it on a struct, a union or a member";
            return Err(self.refusal(specifiers.at, found, wanted));
        }
        Ok(())
    }

    /// Repeating the same definition is allowed, as in C.
    fn define_type(&mut self, at: usize, name: &str, new: Declared) -> Result<(), Refusal> {
        let known = self.scope.types.get(name).cloned();
        let is_same = match (&known, &new) {
            (None, _) => true,
            (Some(Declared::Object(known)), Declared::Object(new)) => {
                self.looked_at(known, new)?;
                known == new
            }
            (Some(Declared::Incomplete(known)), Declared::Incomplete(new)) => known == new,
            (Some(Declared::Incomplete(tag)), Declared::Object(new)) => {
                self.scope.tags.get(tag) == Some(new)
            }
            _ => false,
        };
        if !is_same {
            let found = "a second definition of another type".to_owned();
            return Err(self.refusal(at, found, "the same one"));
        }
        self.scope.types.insert(name.to_owned(), new);
        Ok(())
    }

    fn declare_function(&mut self, at: usize, new: Prototype) -> Result<(), Refusal> {
        let name = new.name.clone().unwrap_or_default();
        if let Some(known) = self.scope.functions.get(&name).cloned() {
            for (known, new) in known.types().zip(new.types()) {
                self.looked_at(known, new)?;
            }
            if known != new {
                let found = "another prototype of the same function".to_owned();
                return Err(self.refusal(at, found, "the same one"));
            }
        }
        self.scope.functions.insert(name, new);
        Ok(())
    }

    /// Counts what is looked at to compare two types: all parts of both, unless they are one type.
    fn looked_at(&mut self, known: &Type, new: &Type) -> Result<(), Refusal> {
        match known.is_shared_with(new) {
            true => Ok(()),
            false => self.counted(new.weight()),
        }
    }
}
