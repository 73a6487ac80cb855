//! Types and prototypes as text of C.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fmt::Write;

use super::parse::is_pointee;
use super::record::own_name;
use super::specifiers::is_reserved;
use crate::quote::short;
use crate::signature::{CType, DataModel, Kind, Record, Signature, Type};

/// A type that C has not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("C spelling of {}: found {}, wanted a type that C has", short(.of), short(.part))]
#[non_exhaustive]
pub struct SpellError {
    /// The type, or the signature.
    pub of: String,
    /// The part of it that C has not.
    pub part: Type,
}

/// The name of a type in C, which is read as a type that lies and travels alike: the same one, if
/// it was read from C; otherwise perhaps with other names, and members aligned one by one in place
/// of a pack of more than 1.
///
/// Integers have names that mean the same under every data model.
///
/// ```
/// use fing_stubs::{c, signature::DataModel};
/// let ty = "struct { Quot int32; Rest [3]C.union { A float32; B *int8 } }".parse()?;
/// assert_eq!(
///     c::spell(&ty, &DataModel::SYSTEM_V)?,
///     "struct { int Quot; union { float A; int8_t *B; } Rest[3]; }",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A part of it is Go's alone: a string, slice or interface; or is opaque.
pub fn spell(ty: &Type, model: &DataModel) -> Result<String, SpellError> {
    let mut text = String::new();
    let written = Writer {
        model,
        text: &mut text,
    }
    .declaration(ty, "");
    match written {
        Ok(()) => Ok(text),
        Err(part) => Err(SpellError {
            of: ty.to_string(),
            part,
        }),
    }
}

/// A prototype of a function in C. Of a call of a variadic function, what was passed in place of
/// `...` is not in it.
///
/// ```
/// use fing_stubs::{c, signature::DataModel};
/// let signature = "func(*int8, ..., float64) int32".parse()?;
/// let text = c::spell_function("printf", &signature, &DataModel::SYSTEM_V)?;
/// assert_eq!(text, "int printf(int8_t *, ...)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`spell`], and more than one result, or an array as a parameter or result.
pub fn spell_function(
    name: &str,
    signature: &Signature,
    model: &DataModel,
) -> Result<String, SpellError> {
    let refuse = |part: &Type| SpellError {
        of: signature.to_string(),
        part: part.clone(),
    };
    let mut params = Vec::new();
    let fixed = signature.fixed().unwrap_or(usize::MAX);
    for ty in signature.arguments().take(fixed) {
        if matches!(ty.underlying(), Kind::Array(..)) {
            return Err(refuse(ty));
        }
        params.push(spell(ty, model)?);
    }
    match signature.fixed() {
        Some(_) => params.push("...".to_owned()),
        None if params.is_empty() => params.push("void".to_owned()),
        None => {}
    }
    let own = format!("{name}({})", params.join(", "));
    let mut text = String::new();
    match signature.results() {
        [] => text = format!("void {own}"),
        [one] if !matches!(one.underlying(), Kind::Array(..)) => {
            let mut writer = Writer {
                model,
                text: &mut text,
            };
            writer
                .declaration(one, &own)
                .map_err(|part| refuse(&part))?;
        }
        [.., last] => return Err(refuse(last)),
    }
    Ok(text)
}

/// The names of a struct's members.
struct Names<'a> {
    all: HashSet<&'a str>,
    /// How many are `_`.
    blanks: usize,
}

impl<'a> Names<'a> {
    fn of(names: impl Iterator<Item = &'a str> + Clone) -> Names<'a> {
        Names {
            blanks: names.clone().filter(|name| *name == "_").count(),
            all: names.collect(),
        }
    }

    /// A name of member `n` that no other one has.
    fn other(&self, prefix: &str, n: usize) -> String {
        let mut name = format!("{prefix}{n}");
        while self.all.contains(&*name) {
            name.push('_');
        }
        name
    }
}

struct Writer<'a> {
    model: &'a DataModel,
    text: &'a mut String,
}

/// C's keywords of a type that has them under every data model.
fn scalar(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Bool => "_Bool",
        Kind::Int8 => "int8_t",
        Kind::Uint8 => "uint8_t",
        Kind::Int16 => "short",
        Kind::Uint16 => "unsigned short",
        Kind::Int32 => "int",
        Kind::Uint32 => "unsigned int",
        Kind::Int64 | Kind::Int => "long long",
        Kind::Uint64 | Kind::Uint => "unsigned long long",
        Kind::Uintptr => "uintptr_t",
        Kind::Float32 => "float",
        Kind::Float64 => "double",
        Kind::Complex64 => "float _Complex",
        Kind::Complex128 => "double _Complex",
        Kind::C(CType::Int128) => "__int128",
        Kind::C(CType::Uint128) => "unsigned __int128",
        Kind::C(CType::LongDouble) => "long double",
        Kind::C(CType::ComplexLongDouble) => "long double _Complex",
        Kind::C(CType::Float16) => "_Float16",
        _ => return None,
    })
}

/// The error is the part that C has not.
type Written = Result<(), Type>;

impl Writer<'_> {
    /// A type, then the rest of its declarator: a name, or nothing.
    fn declaration(&mut self, ty: &Type, name: &str) -> Written {
        let (mut base, mut lengths) = (ty, String::new());
        while let Kind::Array(length, elem) = base.underlying() {
            // Writing to a String never fails; the same below.
            let _ = write!(lengths, "[{length}]");
            base = elem;
        }
        let mut stars = String::new();
        while let Kind::Pointer(to) = base.underlying()
            && is_pointee(to)
        {
            stars.push('*');
            base = to;
        }
        self.base(base, &mut stars)?;
        if !(stars.is_empty() && name.is_empty() && lengths.is_empty()) {
            let _ = write!(self.text, " {stars}{name}{lengths}");
        }
        Ok(())
    }

    /// What a declarator stands behind; adds a star to it for a pointer to anything.
    fn base(&mut self, ty: &Type, stars: &mut String) -> Written {
        let kind = ty.underlying();
        if let Some(name) = scalar(kind) {
            self.text.push_str(name);
            return Ok(());
        }
        match kind {
            Kind::Pointer(_)
            | Kind::UnsafePointer
            | Kind::Map(..)
            | Kind::Chan(..)
            | Kind::Func(_) => {
                self.text.push_str("void");
                stars.push('*');
            }
            Kind::C(CType::Vector(length, elem)) => {
                let mut none = String::new();
                self.base(elem, &mut none)?;
                let bytes = self.model.layout(elem).map_or(0, |layout| layout.size);
                let bytes = length.saturating_mul(bytes);
                let _ = write!(self.text, " __attribute__((vector_size({bytes})))");
            }
            Kind::Struct(fields) => {
                self.text.push_str("struct {");
                let names = Names::of(fields.iter().map(|field| &*field.name));
                for (n, field) in fields.iter().enumerate() {
                    self.member(&field.ty, &names, &field.name, n)?;
                    self.text.push(';');
                }
                self.text.push_str(" }");
            }
            Kind::C(CType::Record(record)) => self.record(record)?,
            _ => return Err(ty.clone()),
        }
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Written {
        self.text.push_str(if record.is_union {
            "union {"
        } else {
            "struct {"
        });
        let names = Names::of(record.members.iter().map(|member| &*member.name));
        for (n, member) in record.members.iter().enumerate() {
            self.member(&member.ty, &names, &member.name, n)?;
            if let Some(bits) = member.bits {
                let _ = write!(self.text, " : {bits}");
            }
            let align = match record.pack {
                // C has no attribute for such a pack; a packed struct's members can be aligned.
                Some(pack @ 2..) => self.model.layout(&member.ty).map(|own| own.align.min(pack)),
                _ => member.align,
            };
            if let Some(align) = align {
                let _ = write!(self.text, " __attribute__((aligned({align})))");
            }
            self.text.push(';');
        }
        self.text.push_str(" }");
        if record.pack.is_some() {
            self.text.push_str(" __attribute__((packed))");
        }
        if let Some(align) = record.align {
            let _ = write!(self.text, " __attribute__((aligned({align})))");
        }
        Ok(())
    }

    /// Member `n`, with its name if C can have it.
    fn member(&mut self, ty: &Type, names: &Names<'_>, name: &str, n: usize) -> Written {
        let is_record = matches!(ty.underlying(), Kind::Struct(_) | Kind::C(CType::Record(_)));
        let name = match own_name(name) {
            "_" if is_record => String::new(),
            "_" if names.blanks > 1 => names.other("_", n),
            name if is_reserved(name) || !name.is_ascii() => names.other("m", n),
            name => name.to_owned(),
        };
        self.text.push(' ');
        self.declaration(ty, &name)
    }
}
