//! The types of one runtime: names, descriptors, method sets, itabs.
//!
//! A universe is the set of all types of one runtime; it only grows. Descriptors and itabs never
//! move, because their addresses are stored in the headers of objects and in interface values.
//! Reading a descriptor takes no lock.
//!
//! A type that refers to itself is written with its own name: `define("main.Node", "struct { Next
//! *main.Node }")`. Types that refer to each other are declared first ([`Types::declare`]).
#![forbid(unsafe_code)]

mod desc;
mod error;
mod methods;
mod pointers;
mod shape;
#[cfg(test)]
mod tests;

pub(crate) use desc::{Implied, Tail};
pub use desc::{TypeDesc, TypeId};
pub use error::TypesError;
pub use methods::{Itab, Passing};

use crate::base::append_table::Table;
use crate::base::identity;
use crate::base::lock::{Lock, Rank};
use fing_stubs::signature::{Kind, Named, Signature, Type, parse_signature_with, parse_type_with};
use methods::Declared;
use std::collections::HashMap;
use std::sync::Arc;

/// All types of one runtime.
#[derive(Debug)]
pub struct Types {
    /// Tells the ids of different runtimes apart.
    universe: u64,
    descs: Table<TypeDesc>,
    books: Lock<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// The type of each name; `None`: declared and not yet defined.
    names: HashMap<Arc<str>, Option<Type>>,
    ids: HashMap<Type, u32>,
    /// Declared methods, by the name of the base type.
    methods: HashMap<Arc<str>, Vec<Declared>>,
    /// Itabs, by interface and concrete type.
    itabs: HashMap<(u32, u32), Arc<Itab>>,
}

impl Types {
    /// A universe with Go's predeclared types.
    pub fn new() -> Types {
        // If two universes get the same number by chance, an id of the other one names a wrong
        // type, never a wrong address. 0 is the number of types of no universe.
        let universe = identity::random();
        let empty = TypeId { universe, index: 0 };
        let types = Types {
            universe,
            descs: Table::new(),
            books: Lock::new(Rank::Types, Books::default()),
        };
        let nothing = Type::structure(Vec::new());
        if let Some(desc) = nothing
            .as_ref()
            .ok()
            .and_then(|ty| TypeDesc::new(empty, ty.clone()))
        {
            types.books.lock().ids.insert(desc.ty().clone(), 0);
            types.descs.put(0, desc);
        }
        types
    }

    /// The descriptor of a type.
    ///
    /// # Errors
    /// When the id is of another runtime.
    #[inline]
    pub fn desc(&self, id: TypeId) -> Result<&TypeDesc, TypesError> {
        let desc = self
            .descs
            .get(id.index)
            .filter(|_| id.universe == self.universe);
        desc.ok_or(TypesError::Foreign { index: id.index })
    }

    /// All descriptors, in the order of their ids.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &TypeDesc> {
        (0..).map_while(|index| self.descs.get(index))
    }

    /// Declares a name that will be defined later. Until then it may be used only behind pointers,
    /// slices, maps, channels and functions. Declaring a known name has no effect.
    ///
    /// # Errors
    /// When `name` is not a type name.
    pub fn declare(&self, name: &str) -> Result<(), TypesError> {
        Type::opaque(name)?;
        self.books.lock().names.entry(name.into()).or_insert(None);
        Ok(())
    }

    /// Defines a type: `define("main.Node", "struct { Next *main.Node; V int }")`. The same
    /// definition again returns the same id.
    ///
    /// # Errors
    /// When the text is no type or uses unknown names, or the name has another definition already.
    pub fn define(&self, name: &str, underlying: &str) -> Result<TypeId, TypesError> {
        let own = Type::opaque(name)?.in_scope(self.universe)?;
        let resolve = |other: &str| {
            if other == name {
                Some(own.clone())
            } else {
                self.named(other)
            }
        };
        self.define_as(name, &parse_type_with(underlying, &resolve)?)
    }

    /// Defines a type from a [`Type`], which refers to itself by an opaque type of that name.
    ///
    /// # Errors
    /// As [`Types::define`].
    pub fn define_as(&self, name: &str, underlying: &Type) -> Result<TypeId, TypesError> {
        self.define_value(name, underlying, None)
    }

    fn define_value(
        &self,
        name: &str,
        underlying: &Type,
        element: Option<&TypeDesc>,
    ) -> Result<TypeId, TypesError> {
        Type::opaque(name)?;
        self.check(underlying, Some(name))?;
        check_go(underlying)?;
        let underlying = shape::shallow(&self.complete(underlying)?, self.universe)?;
        let ty = Type::named(name, underlying)?.in_scope(self.universe)?;
        let definition = |ty: &Type| match ty.kind() {
            Kind::Named(named) => named.underlying().map_or_else(String::new, Type::to_string),
            _ => String::new(),
        };
        let mut books = self.books.lock();
        match books.names.get(name) {
            Some(Some(there)) if !same_definition(there, &ty) => {
                let (found, there) = (definition(&ty), definition(there));
                return Err(TypesError::Redefined {
                    name: name.into(),
                    found,
                    there,
                });
            }
            Some(Some(_)) => {}
            _ => {
                books.names.insert(name.into(), Some(ty.clone()));
            }
        }
        drop(books);
        self.intern_with(&ty, element)
    }

    /// Defines an array type: objects of it are a value of the underlying type and, behind that,
    /// any number of elements, which is chosen when one is
    /// [allocated](crate::Mutator::alloc_array). For arrays, strings, buffers, closures with their
    /// variables. What the collector has to follow is known from the size of the object's cell, so
    /// that the elements need not be counted; a VM that wants their number stores it in the value.
    ///
    /// ```
    /// let types = fing::Types::new();
    /// let byte = types.id("uint8")?;
    /// let string = types.define_array("main.String", "struct { Length int }", byte)?;
    /// assert_eq!(types.desc(string)?.elements_at(), Some((8, 1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Elsewhere, in a struct or an array, a value of the type has no elements.
    ///
    /// # Errors
    /// As [`Types::define`]; the name is defined without these elements already; or elements of the
    /// type have no size.
    pub fn define_array(
        &self,
        name: &str,
        underlying: &str,
        element: TypeId,
    ) -> Result<TypeId, TypesError> {
        let element = self.desc(element)?;
        if element.size() == 0 {
            let ty = element.ty().to_string();
            return Err(TypesError::NoElement { ty });
        }
        let own = Type::opaque(name)?.in_scope(self.universe)?;
        let resolve = |other: &str| match other == name {
            true => Some(own.clone()),
            false => self.named(other),
        };
        let underlying = parse_type_with(underlying, &resolve)?;
        let id = self.define_value(name, &underlying, Some(element))?;
        let desc = self.desc(id)?;
        if desc.tail() == Some(&element.as_tail(desc.size())) {
            return Ok(id);
        }
        let there = match desc.element() {
            Some(element) => format!("elements of {}", self.desc(element)?.ty()),
            None => "no elements".to_owned(),
        };
        Err(TypesError::Redefined {
            name: name.into(),
            found: format!("elements of {}", element.ty()),
            there,
        })
    }

    /// Parses a type; names are looked up in this universe.
    ///
    /// # Errors
    /// When the text is no type, or uses unknown names.
    pub fn parse(&self, text: &str) -> Result<Type, TypesError> {
        Ok(parse_type_with(text, &|name| self.named(name))?)
    }

    /// Parses a signature; names are looked up in this universe.
    ///
    /// # Errors
    /// When the text is no signature, or uses unknown names.
    pub fn parse_signature(&self, text: &str) -> Result<Signature, TypesError> {
        Ok(parse_signature_with(text, &|name| self.named(name))?)
    }

    /// The id of the type that a text describes: `id("*main.Node")`.
    ///
    /// # Errors
    /// As [`Types::parse`] and [`Types::intern`].
    pub fn id(&self, text: &str) -> Result<TypeId, TypesError> {
        self.intern(&self.parse(text)?)
    }

    /// The id of a type, which is added to this universe if it is new.
    ///
    /// # Errors
    /// When it uses names that are not defined here, or have another definition here, or it is a
    /// type that only C has, or the universe is full.
    pub fn intern(&self, ty: &Type) -> Result<TypeId, TypesError> {
        self.intern_with(ty, None)
    }

    /// As [`Types::intern`]; a new type has elements behind its value.
    fn intern_with(&self, ty: &Type, element: Option<&TypeDesc>) -> Result<TypeId, TypesError> {
        self.check(ty, None)?;
        check_go(ty)?;
        let ty = shape::shallow(&self.complete(ty)?, self.universe)?;
        let mut books = self.books.lock();
        if let Some(&index) = books.ids.get(&ty) {
            return Ok(TypeId {
                universe: self.universe,
                index,
            });
        }
        let full = || TypesError::Full { ty: ty.to_string() };
        let index = u32::try_from(books.ids.len()).map_err(|_| full())?;
        let id = TypeId {
            universe: self.universe,
            index,
        };
        let undefined = || TypesError::Undefined {
            ty: ty.to_string(),
            name: ty.name().unwrap_or_default().into(),
        };
        let mut desc = TypeDesc::new(id, ty.clone()).ok_or_else(undefined)?;
        if let Some(element) = element {
            desc = desc.with_tail(element);
        }
        self.descs.put(index, desc).ok_or_else(full)?;
        books.ids.insert(ty, index);
        Ok(id)
    }

    /// The type of pointers to a type.
    ///
    /// # Errors
    /// When the id is of another runtime.
    pub fn pointer_to(&self, ty: TypeId) -> Result<TypeId, TypesError> {
        let desc = self.desc(ty)?;
        if let Some(pointer) = desc.pointer.get() {
            return Ok(*pointer);
        }
        let pointer = self.intern(&Type::pointer_to(desc.ty().clone())?)?;
        Ok(*desc.pointer.get_or_init(|| pointer))
    }

    /// What a pointer type points to; `None` for other types.
    ///
    /// # Errors
    /// When the id is of another runtime, or the element is not defined.
    pub fn element(&self, ty: TypeId) -> Result<Option<TypeId>, TypesError> {
        match self.desc(ty)?.kind() {
            Kind::Pointer(of) => self.intern(of).map(Some),
            _ => Ok(None),
        }
    }

    /// The descriptor of `struct {}`.
    pub(crate) fn empty(&self) -> &TypeDesc {
        match self.descs.get(0) {
            Some(desc) => desc,
            None => unreachable!("every universe starts with struct {{}}"),
        }
    }

    /// The type that a name stands for in this universe: opaque while it is only declared.
    fn named(&self, name: &str) -> Option<Type> {
        match self.books.lock().names.get(name)? {
            Some(ty) => Some(ty.clone()),
            None => Type::opaque(name)
                .and_then(|ty| ty.in_scope(self.universe))
                .ok(),
        }
    }

    /// Replaces a type that is only a name by its definition; returns other types unchanged.
    fn complete(&self, ty: &Type) -> Result<Type, TypesError> {
        let opaque = |named: &Named| named.underlying().is_none();
        match ty.kind() {
            Kind::Named(named) if opaque(named) => {
                let undefined = || TypesError::Undefined {
                    ty: ty.to_string(),
                    name: named.name().into(),
                };
                self.named(named.name()).ok_or_else(undefined)
            }
            _ => Ok(ty.clone()),
        }
    }

    /// Checks that every name in the type was resolved by this universe, by one of its methods. The
    /// meaning of a name from elsewhere is not known, even if it is spelled alike.
    pub(crate) fn check_own(&self, ty: &Type) -> Result<(), TypesError> {
        shape::for_each_name(ty, &mut |named| {
            let own = named.scope() == self.universe;
            if own || Type::predeclared(named.name()).is_some() {
                return Ok(());
            }
            Err(TypesError::OtherRuntime {
                ty: ty.to_string(),
                name: named.name().into(),
            })
        })
    }

    /// Checks that every name in the type is one of this universe, with the same definition, or is
    /// `own`, which is being defined.
    fn check(&self, ty: &Type, own: Option<&str>) -> Result<(), TypesError> {
        shape::for_each_name(ty, &mut |named| {
            let name = named.name();
            if Type::predeclared(name).is_some()
                || Some(name) == own && named.underlying().is_none()
            {
                return Ok(());
            }
            if named.scope() != 0 && named.scope() != self.universe {
                return Err(TypesError::OtherRuntime {
                    ty: ty.to_string(),
                    name: name.into(),
                });
            }
            let (text, name) = (|| ty.to_string(), || name.to_string());
            let books = self.books.lock();
            let there = books
                .names
                .get(named.name())
                .ok_or_else(|| TypesError::Undefined {
                    ty: text(),
                    name: name(),
                })?;
            let (Some(found), Some(Kind::Named(there))) =
                (named.underlying(), there.as_ref().map(Type::kind))
            else {
                return Ok(());
            };
            match there.underlying() {
                Some(there) if there != found => {
                    let (found, there) = (found.to_string(), there.to_string());
                    Err(TypesError::Mismatch {
                        ty: text(),
                        name: name(),
                        found,
                        there,
                    })
                }
                _ => Ok(()),
            }
        })
    }
}

impl Default for Types {
    fn default() -> Types {
        Types::new()
    }
}

/// Refuses what has values that Go has not.
fn check_go(ty: &Type) -> Result<(), TypesError> {
    if ty.is_go() {
        return Ok(());
    }
    Err(TypesError::OnlyC { ty: ty.to_string() })
}

/// Compares the definitions of two types that are equal because their names are.
fn same_definition(a: &Type, b: &Type) -> bool {
    match (a.kind(), b.kind()) {
        (Kind::Named(a), Kind::Named(b)) => a.underlying() == b.underlying(),
        _ => false,
    }
}
