//! Traversals of types, by which a universe checks and normalizes a type before adding it.
#![forbid(unsafe_code)]

use fing_stubs::signature::{Field, FuncType, Kind, Method, Named, Type, TypeError};

/// The scope of a name in a universe.
pub(super) type Scope<'s> = &'s dyn Fn(&Named) -> u64;

/// Calls `visit` with every defined or opaque type in `ty`, including itself. Nesting is bounded by
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

/// The same type, in which every defined type that is not part of its memory (behind a pointer,
/// slice, map, channel, function or interface) is opaque, and every name is of its scope. So a type
/// never contains more than its own memory, however many types refer to one another.
pub(super) fn shallow(ty: &Type, scope: Scope<'_>) -> Result<Type, TypeError> {
    // Most types are: a type from a text that mentions itself, basic types and types it contains.
    match is_shallow(ty, scope, false) {
        true => Ok(ty.clone()),
        false => reduce(ty, scope),
    }
}

/// Whether [`shallow`] returns the type as it is. `behind` a pointer a name has no definition.
pub(super) fn is_shallow(ty: &Type, scope: Scope<'_>, behind: bool) -> bool {
    let all = |func: &FuncType| {
        let mut types = func.params.iter().chain(&func.results);
        types.all(|ty| is_shallow(ty, scope, true))
    };
    match ty.kind() {
        Kind::Pointer(of) | Kind::Slice(of) | Kind::Chan(_, of) => is_shallow(of, scope, true),
        Kind::Map(key, value) => is_shallow(key, scope, true) && is_shallow(value, scope, true),
        Kind::Func(func) => all(func),
        // Its methods lose the names of their parameters.
        Kind::Interface(methods) => methods.is_empty(),
        Kind::Array(_, of) => is_shallow(of, scope, false),
        Kind::Struct(fields) => {
            let mut types = fields.iter().map(|field| &field.ty);
            types.all(|ty| is_shallow(ty, scope, false))
        }
        Kind::Named(named) if named.scope() == scope(named) => {
            !behind || named.underlying().is_none()
        }
        Kind::Named(named) => Type::predeclared(named.name()).is_some(),
        _ => true,
    }
}

pub(super) fn reduce(ty: &Type, scope: Scope<'_>) -> Result<Type, TypeError> {
    match ty.kind() {
        Kind::Pointer(of) => Type::pointer_to(behind(of, scope)?),
        Kind::Slice(of) => Type::slice(behind(of, scope)?),
        Kind::Chan(dir, of) => Type::chan(*dir, behind(of, scope)?),
        Kind::Map(key, value) => Type::map(behind(key, scope)?, behind(value, scope)?),
        Kind::Func(func) => {
            let func = signature(func, scope)?;
            Type::func(func.params, func.results, func.variadic)
        }
        Kind::Interface(methods) if !methods.is_empty() => {
            let method =
                |method: &Method| Ok(Method::new(&method.name, signature(&method.ty, scope)?));
            Type::interface(
                methods
                    .iter()
                    .map(method)
                    .collect::<Result<_, TypeError>>()?,
            )
        }
        Kind::Array(count, of) => Type::array(*count, reduce(of, scope)?),
        Kind::Struct(fields) => {
            let field = |field: &Field| {
                let mut field = field.clone();
                field.ty = reduce(&field.ty, scope)?;
                Ok(field)
            };
            Type::structure(fields.iter().map(field).collect::<Result<_, TypeError>>()?)
        }
        Kind::Named(named) if Type::predeclared(named.name()).is_none() => {
            ty.in_scope(scope(named))
        }
        _ => Ok(ty.clone()),
    }
}

fn signature(func: &FuncType, scope: Scope<'_>) -> Result<FuncType, TypeError> {
    let all = |types: &[Type]| {
        types
            .iter()
            .map(|ty| behind(ty, scope))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(FuncType {
        params: all(&func.params)?,
        results: all(&func.results)?,
        variadic: func.variadic,
    })
}

/// The type as it is written behind a pointer: a defined type is reduced to its name. Arrays and
/// structs keep their parts even there, or they would have no size.
fn behind(ty: &Type, scope: Scope<'_>) -> Result<Type, TypeError> {
    match ty.kind() {
        Kind::Named(named) if Type::predeclared(named.name()).is_none() => {
            ty.without_definition().in_scope(scope(named))
        }
        _ => reduce(ty, scope),
    }
}
