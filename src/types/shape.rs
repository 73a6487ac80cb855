//! Walks over the structure of types: what a universe checks and changes before it takes a type in.
#![forbid(unsafe_code)]

use fing_stubs::signature::{Field, FuncType, Kind, Method, Named, Type, TypeError};

/// Calls `visit` with every defined or opaque type that `ty` mentions, itself included. Nesting is bounded by
/// [`fing_stubs::signature::MAX_DEPTH`].
pub(super) fn for_each_name<E>(
    ty: &Type,
    visit: &mut impl FnMut(&Named) -> Result<(), E>,
) -> Result<(), E> {
    let mut all = |func: &FuncType| {
        let mut types = func.params.iter().chain(&func.results);
        types.try_for_each(|ty| for_each_name(ty, visit))
    };
    match ty.kind() {
        Kind::Pointer(of) | Kind::Array(_, of) | Kind::Slice(of) | Kind::Chan(_, of) => {
            for_each_name(of, visit)
        }
        Kind::Map(key, value) => {
            for_each_name(key, visit).and_then(|()| for_each_name(value, visit))
        }
        Kind::Func(func) => all(func),
        Kind::Interface(methods) => methods.iter().try_for_each(|method| all(&method.ty)),
        Kind::Struct(fields) => fields
            .iter()
            .try_for_each(|field| for_each_name(&field.ty, visit)),
        Kind::Named(named) => {
            visit(named)?;
            named
                .underlying()
                .map_or(Ok(()), |under| for_each_name(under, visit))
        }
        _ => Ok(()),
    }
}

/// The same type with every defined type that is not part of its memory (behind a pointer, slice, map, channel,
/// function or interface) made opaque. So a type never contains more than its own memory, however many types refer
/// to one another.
pub(super) fn shallow(ty: &Type) -> Result<Type, TypeError> {
    match ty.kind() {
        Kind::Pointer(of) => Type::pointer_to(behind(of)?),
        Kind::Slice(of) => Type::slice(behind(of)?),
        Kind::Chan(dir, of) => Type::chan(*dir, behind(of)?),
        Kind::Map(key, value) => Type::map(behind(key)?, behind(value)?),
        Kind::Func(func) => {
            let func = signature(func)?;
            Type::func(func.params, func.results, func.variadic)
        }
        Kind::Interface(methods) if !methods.is_empty() => {
            let method = |method: &Method| Ok(Method::new(&method.name, signature(&method.ty)?));
            Type::interface(
                methods
                    .iter()
                    .map(method)
                    .collect::<Result<_, TypeError>>()?,
            )
        }
        Kind::Array(count, of) => Type::array(*count, shallow(of)?),
        Kind::Struct(fields) => {
            let field = |field: &Field| Ok(Field::new(&field.name, shallow(&field.ty)?));
            Type::structure(fields.iter().map(field).collect::<Result<_, TypeError>>()?)
        }
        _ => Ok(ty.clone()),
    }
}

fn signature(func: &FuncType) -> Result<FuncType, TypeError> {
    let all = |types: &[Type]| types.iter().map(behind).collect::<Result<Vec<_>, _>>();
    Ok(FuncType {
        params: all(&func.params)?,
        results: all(&func.results)?,
        variadic: func.variadic,
    })
}

/// The type as it is seen through a pointer: of a defined type its name is enough. Arrays and structs need their parts
/// even there, or they would have no size.
fn behind(ty: &Type) -> Result<Type, TypeError> {
    match ty.kind() {
        Kind::Named(named) if Type::predeclared(named.name()).is_none() => {
            Type::opaque(named.name())
        }
        _ => shallow(ty),
    }
}
