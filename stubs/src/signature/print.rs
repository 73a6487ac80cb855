//! Types and signatures as Go text.
//!
//! The plain form is compact (`interface{}`, results of a signature always in parentheses) and
//! parses back to the same type. The alternate form (`{:#}`) is letter for letter what Go's runtime
//! prints.
#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use super::parse::write_tag;
use super::{ChanDir, Field, FuncType, Kind, Method, Signature, Type};

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let space = if f.alternate() { " " } else { "" };
        match self.kind() {
            Kind::Pointer(elem) => write_prefixed(f, "*", elem),
            Kind::Slice(elem) => write_prefixed(f, "[]", elem),
            Kind::Array(len, elem) => {
                write!(f, "[{len}]")?;
                elem.fmt(f)
            }
            Kind::Map(key, value) => {
                write_prefixed(f, "map[", key)?;
                write_prefixed(f, "]", value)
            }
            // `chan <-chan T` would be read as `chan<- (chan T)`.
            Kind::Chan(ChanDir::Both, elem)
                if matches!(elem.kind(), Kind::Chan(ChanDir::Receive, _)) =>
            {
                write_prefixed(f, "chan (", elem)?;
                f.write_str(")")
            }
            Kind::Chan(dir, elem) => write_prefixed(f, dir.prefix(), elem),
            Kind::Func(func) => {
                f.write_str("func")?;
                write_func(f, func, &[])
            }
            Kind::Struct(fields) if fields.is_empty() => write!(f, "struct{space}{{}}"),
            Kind::Struct(fields) => write_braced(f, "struct ", fields, write_field),
            Kind::Interface(methods) if methods.is_empty() => write!(f, "interface{space}{{}}"),
            Kind::Interface(methods) if f.alternate() => {
                write_braced(f, "interface ", methods, write_method)
            }
            Kind::Interface(methods) => write_braced(f, "interface", methods, write_method),
            Kind::Named(named) if f.alternate() => f.write_str(named.display()),
            Kind::Named(named) => f.write_str(named.name()),
            Kind::C(ty) => ty.fmt(f),
            basic => f.write_str(basic.basic_name().unwrap_or_default()),
        }
    }
}

fn write_prefixed(f: &mut Formatter<'_>, prefix: &str, ty: &Type) -> fmt::Result {
    f.write_str(prefix)?;
    ty.fmt(f)
}

fn write_braced<T>(
    f: &mut Formatter<'_>,
    prefix: &str,
    items: &[T],
    write_item: fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    write!(f, "{prefix}{{ ")?;
    for (i, item) in items.iter().enumerate() {
        f.write_str(if i > 0 { "; " } else { "" })?;
        write_item(f, item)?;
    }
    f.write_str(" }")
}

fn write_field(f: &mut Formatter<'_>, field: &Field) -> fmt::Result {
    match field.ty.kind() {
        _ if !field.is_embedded => {
            write!(f, "{} ", field.name)?;
            field.ty.fmt(f)?;
        }
        Kind::Pointer(elem) => {
            f.write_str("*")?;
            write_embedded(f, field, elem)?;
        }
        _ => write_embedded(f, field, &field.ty)?,
    }
    match &field.tag {
        Some(tag) => {
            f.write_str(" ")?;
            write_tag(f, tag)
        }
        None => Ok(()),
    }
}

/// The name of an embedded type; of Go's own the one it has in the text, which may be `byte` or
/// `any`.
fn write_embedded(f: &mut Formatter<'_>, field: &Field, ty: &Type) -> fmt::Result {
    match ty.kind() {
        Kind::Named(_) => ty.fmt(f),
        _ => f.write_str(&field.name),
    }
}

fn write_method(f: &mut Formatter<'_>, method: &Method) -> fmt::Result {
    f.write_str(&method.name)?;
    let labels = if f.alternate() {
        &[]
    } else {
        &method.labels[..]
    };
    write_func(f, &method.ty, labels)
}

type Labels<'a> = &'a [Option<std::sync::Arc<str>>];

/// `(int, ...string) (bool, error)`. `labels` name the parameters, then the results; it may be
/// shorter than both.
fn write_func(f: &mut Formatter<'_>, func: &FuncType, labels: Labels<'_>) -> fmt::Result {
    let (param_labels, result_labels) = labels.split_at(labels.len().min(func.params.len()));
    write_list(
        f,
        &func.params,
        func.variadic.then_some(Ellipsis::Slice),
        param_labels,
    )?;
    match func.results.as_slice() {
        [] => Ok(()),
        [only] if result_labels.iter().all(Option::is_none) => write_prefixed(f, " ", only),
        many => {
            f.write_str(" ")?;
            write_list(f, many, None, result_labels)
        }
    }
}

/// What `...` means in a list of parameters.
#[derive(Clone, Copy)]
enum Ellipsis {
    /// Go's: the last one is a slice of what is passed.
    Slice,
    /// C's: those behind this many are passed where the function's prototype has `...`.
    Behind(usize),
}

fn write_list(
    f: &mut Formatter<'_>,
    types: &[Type],
    ellipsis: Option<Ellipsis>,
    labels: Labels<'_>,
) -> fmt::Result {
    f.write_str("(")?;
    for (i, ty) in types.iter().enumerate() {
        f.write_str(if i > 0 { ", " } else { "" })?;
        if matches!(ellipsis, Some(Ellipsis::Behind(fixed)) if fixed == i) {
            f.write_str("..., ")?;
        }
        if let Some(Some(label)) = labels.get(i) {
            write!(f, "{label} ")?;
        }
        match (ty.kind(), ellipsis) {
            (Kind::Slice(elem), Some(Ellipsis::Slice)) if i + 1 == types.len() => {
                write_prefixed(f, "...", elem)?
            }
            _ => ty.fmt(f)?,
        }
    }
    if matches!(ellipsis, Some(Ellipsis::Behind(fixed)) if fixed == types.len()) {
        f.write_str(if types.is_empty() { "..." } else { ", ..." })?;
    }
    f.write_str(")")
}

impl Display for Signature {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(receiver) = self.receiver() {
            write_prefixed(f, "recv(", receiver)?;
            f.write_str(") ")?;
        }
        f.write_str("func")?;
        let slice = self.is_variadic().then_some(Ellipsis::Slice);
        let ellipsis = slice.or(self.fixed().map(Ellipsis::Behind));
        write_list(f, self.params(), ellipsis, &[])?;
        match self.results() {
            [] => Ok(()),
            [only] if f.alternate() => write_prefixed(f, " ", only),
            results => {
                f.write_str(" ")?;
                write_list(f, results, None, &[])
            }
        }
    }
}
