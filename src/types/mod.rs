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
mod names;
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
use fing_stubs::signature::{
    Kind, Named, ParseError, Signature, Type, TypeError, parse_signature_with, parse_type_with,
};
use methods::Declared;
use names::{Name, Names};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
    names: Names,
    /// The descriptors of types without a name, and of Go's own.
    ids: HashMap<Type, u32>,
    /// How many descriptors there are.
    count: u32,
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
            let mut books = types.books.lock();
            books.ids.insert(desc.ty().clone(), 0);
            books.count = 1;
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

    /// The descriptor of the type of this number, if there are so many.
    pub(crate) fn at(&self, index: u32) -> Option<&TypeDesc> {
        self.descs.get(index)
    }

    /// All descriptors, in the order of their ids.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &TypeDesc> {
        (0..).map_while(|index| self.at(index))
    }

    /// Declares a name that will be defined later. Until then it may be used only behind pointers,
    /// slices, maps, channels and functions. Declaring a known name has no effect.
    ///
    /// # Errors
    /// When `name` is not a type name.
    pub fn declare(&self, name: &str) -> Result<(), TypesError> {
        let own = self.own(name)?;
        self.books.lock().names.entry(own).or_insert(None);
        Ok(())
    }

    /// Declares a name, as [`Types::declare`], whose type is shown to people as `display`: in
    /// messages that have Go's text, and in the alternate form (`{:#}`) of types. It may be any
    /// text, also one that other types are shown as: for types of one name in different functions,
    /// and instances of generic types. A declaration with the same display has no effect again.
    ///
    /// ```
    /// let types = fing::Types::new();
    /// types.declare_local("main.T_2", "main.T")?;
    /// let ty = types.define("main.T_2", "struct { Next *main.T_2 }")?;
    /// let pointer = types.desc(types.pointer_to(ty)?)?;
    /// assert_eq!(format!("{} {:#}", pointer.ty(), pointer.ty()), "*main.T_2 *main.T");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When `name` is not a type name, `display` is empty or longer than
    /// [`MAX_NAME`](fing_stubs::signature::MAX_NAME), or the name was declared or defined with
    /// another display, or with none.
    pub fn declare_local(&self, name: &str, display: &str) -> Result<(), TypesError> {
        let displayed = self.opaque(name)?.displayed_as(display)?;
        let mut books = self.books.lock();
        let own = books.names.own(name, || Ok(displayed))?;
        let there = own.opaque.clone();
        books.names.entry(own).or_insert(None);
        match there.kind() {
            Kind::Named(there) if there.display() != display => Err(TypesError::Display {
                name: name.into(),
                found: display.into(),
                there: there.display().into(),
            }),
            _ => Ok(()),
        }
    }

    /// The name, as it was declared if it was.
    fn own(&self, name: &str) -> Result<Name, TypeError> {
        let books = self.books.lock();
        books.names.own(name, || self.opaque(name))
    }

    /// Defines a type: `define("main.Node", "struct { Next *main.Node; V int }")`. The same
    /// definition again returns the same id.
    ///
    /// # Errors
    /// When the text is no type or uses unknown names, or the name has another definition already.
    pub fn define(&self, name: &str, underlying: &str) -> Result<TypeId, TypesError> {
        let own = self.own(name)?;
        let underlying = self.parse_in(&own.opaque, underlying)?;
        self.define_value(own, &underlying, None)
    }

    /// Defines a type from a [`Type`], which refers to itself by an opaque type of that name.
    ///
    /// # Errors
    /// As [`Types::define`].
    pub fn define_as(&self, name: &str, underlying: &Type) -> Result<TypeId, TypesError> {
        self.define_value(self.own(name)?, underlying, None)
    }

    /// The opaque type of a name in this universe.
    fn opaque(&self, name: &str) -> Result<Type, TypeError> {
        Type::opaque_in(name, self.universe)
    }

    /// Parses the definition of `own`, which may mention that.
    fn parse_in(&self, own: &Type, text: &str) -> Result<Type, ParseError> {
        parse_type_with(text, &|name| match own.name() == Some(name) {
            true => Some(own.clone()),
            false => self.named(name),
        })
    }

    fn define_value(
        &self,
        own: Name,
        underlying: &Type,
        element: Option<&TypeDesc>,
    ) -> Result<TypeId, TypesError> {
        self.check(underlying, own.opaque.name())?;
        check_go(underlying)?;
        let underlying = shape::shallow(&self.complete(underlying)?, self.universe)?;
        let ty = own.opaque.defined_as(underlying)?;
        let mut books = self.books.lock();
        let Books { names, count, .. } = &mut *books;
        match names.entry(own) {
            Entry::Occupied(entry) if let Some(index) = *entry.get() => {
                drop(books);
                self.same_definition(index, &ty)
            }
            Entry::Occupied(mut entry) => {
                let id = self.add(count, ty, element)?;
                entry.insert(Some(id.index));
                Ok(id)
            }
            Entry::Vacant(entry) => {
                let id = self.add(count, ty, element)?;
                entry.insert(Some(id.index));
                Ok(id)
            }
        }
    }

    /// The id of a type that is defined already, if `ty` defines it as it is.
    fn same_definition(&self, index: u32, ty: &Type) -> Result<TypeId, TypesError> {
        let id = self.id_of(index);
        let there = self.desc(id)?.ty();
        if definition(there) == definition(ty) {
            return Ok(id);
        }
        let text = |ty| definition(ty).map_or_else(String::new, Type::to_string);
        Err(TypesError::Redefined {
            name: ty.name().unwrap_or_default().into(),
            found: text(ty),
            there: text(there),
        })
    }

    fn id_of(&self, index: u32) -> TypeId {
        TypeId {
            universe: self.universe,
            index,
        }
    }

    /// Adds a type that is not there yet. The caller holds the lock of `count`, the number of
    /// descriptors.
    fn add(
        &self,
        count: &mut u32,
        ty: Type,
        element: Option<&TypeDesc>,
    ) -> Result<TypeId, TypesError> {
        let id = self.id_of(*count);
        let mut desc = TypeDesc::new(id, ty.clone()).ok_or_else(|| TypesError::Undefined {
            ty: ty.to_string(),
            name: ty.name().unwrap_or_default().into(),
        })?;
        if let Some(element) = element {
            desc = desc.with_tail(element);
        }
        let full = || TypesError::Full { ty: ty.to_string() };
        let next = count.checked_add(1).ok_or_else(full)?;
        self.descs.put(*count, desc).ok_or_else(full)?;
        *count = next;
        Ok(id)
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
        let own = self.own(name)?;
        let underlying = self.parse_in(&own.opaque, underlying)?;
        let id = self.define_value(own, &underlying, Some(element))?;
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
        self.check(ty, None)?;
        check_go(ty)?;
        let ty = shape::shallow(&self.complete(ty)?, self.universe)?;
        let mut books = self.books.lock();
        let Books {
            names, ids, count, ..
        } = &mut *books;
        if let Some((_, Some(index))) = ty.name().and_then(|name| names.get(name)) {
            return Ok(self.id_of(index));
        }
        match ids.entry(ty) {
            Entry::Occupied(entry) => Ok(self.id_of(*entry.get())),
            Entry::Vacant(entry) => {
                let id = self.add(count, entry.key().clone(), None)?;
                entry.insert(id.index);
                Ok(id)
            }
        }
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
        let books = self.books.lock();
        match books.names.get(name)? {
            (_, Some(index)) => Some(self.descs.get(index)?.ty().clone()),
            (opaque, None) => Some(opaque.clone()),
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
            let is_own = Some(name) == own && named.underlying().is_none();
            if is_own || Type::predeclared(name).is_some() {
                return Ok(());
            }
            if named.scope() != 0 && named.scope() != self.universe {
                return Err(TypesError::OtherRuntime {
                    ty: ty.to_string(),
                    name: name.into(),
                });
            }
            let undefined = || TypesError::Undefined {
                ty: ty.to_string(),
                name: name.into(),
            };
            let index = self.books.lock().names.get(name).map(|(_, index)| index);
            let index = index.ok_or_else(undefined)?;
            // A name without its definition may stand behind a pointer. Where its size is needed,
            // the constructors of types have refused it.
            let Some(found) = named.underlying() else {
                return Ok(());
            };
            let there = self.desc(self.id_of(index.ok_or_else(undefined)?))?;
            match definition(there.ty()) {
                Some(there) if there != found => {
                    let (found, there) = (found.to_string(), there.to_string());
                    Err(TypesError::Mismatch {
                        ty: ty.to_string(),
                        name: name.into(),
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

/// What a defined type is defined as.
fn definition(ty: &Type) -> Option<&Type> {
    match ty.kind() {
        Kind::Named(named) => named.underlying(),
        _ => None,
    }
}
