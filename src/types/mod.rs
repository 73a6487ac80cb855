//! The types of one runtime: names, descriptors, method sets, itabs.
//!
//! A universe is the set of all types of one runtime. Descriptors and itabs never move, because
//! their addresses are stored in the headers of objects and in interface values. A type stays for
//! ever unless it is [released](Types::release); then it stays as long as something names it.
//! Allocation and collections find a descriptor without a lock, by its address.
//!
//! A type that refers to itself is written with its own name: `define("main.Node", "struct { Next
//! *main.Node }")`. Types that refer to each other are declared first ([`Types::declare`]).
#![forbid(unsafe_code)]

mod desc;
mod error;
mod methods;
mod names;
mod pointers;
mod release;
mod shape;
mod slots;
#[cfg(test)]
mod tests;

pub(crate) use desc::{Implied, Tail};
pub use desc::{TypeDesc, TypeId};
pub use error::TypesError;
pub use methods::{Itab, Passing};
pub(crate) use release::ReleasedFlag;

use crate::base::identity;
use crate::base::lock::{Lock, Rank};
use fing_stubs::signature::{
    Kind, Named, ParseError, Signature, Type, TypeError, parse_signature_with, parse_type_with,
};
use methods::Declared;
use names::{Name, Names};
use release::{Released, Waiting};
use slots::Slots;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// All types of one runtime.
#[derive(Debug)]
pub struct Types {
    /// Tells the ids of different runtimes apart.
    universe: u64,
    /// Where the descriptors are.
    slots: Slots,
    /// The descriptor of `struct {}`.
    empty: Arc<TypeDesc>,
    released: Released,
    books: Lock<Books>,
}

#[derive(Debug, Default)]
struct Books {
    names: Names,
    /// The descriptors of types without a name, and of Go's own.
    ids: HashMap<Type, u32>,
    rows: Rows,
    /// The scope of names that are new. It changes when names are given back, so that a type with
    /// such a name is told from one that has the name later.
    scope: u64,
    waiting: Waiting,
    /// Declared methods, by the name of the base type.
    methods: HashMap<Arc<str>, Vec<Declared>>,
    /// Itabs, by interface and concrete type.
    itabs: HashMap<(u32, u32), Arc<Itab>>,
}

/// The descriptors by index.
#[derive(Debug, Default)]
struct Rows {
    descs: Vec<Option<Arc<TypeDesc>>>,
    /// Indices of types that were given back.
    free: Vec<u32>,
}

impl Types {
    /// A universe with Go's predeclared types.
    pub fn new() -> Types {
        // If two universes get the same number by chance, an id of the other one names a wrong
        // type, never a wrong address. 0 is the number of types of no universe.
        let universe = identity::random();
        let slots = Slots::default();
        let id = TypeId {
            universe,
            index: 0,
            generation: 0,
        };
        let empty = Type::structure(Vec::new());
        let empty = empty.ok().and_then(|ty| TypeDesc::new(id, ty));
        let Some(empty) = empty.map(Arc::new) else {
            unreachable!("struct {{}} has a layout")
        };
        empty.keep();
        slots.fill(0, &empty);
        let books = Books {
            ids: HashMap::from([(empty.ty().clone(), 0)]),
            rows: Rows {
                descs: vec![Some(empty.clone())],
                free: Vec::new(),
            },
            scope: universe,
            ..Books::default()
        };
        Types {
            universe,
            slots,
            empty,
            released: Released::default(),
            books: Lock::new(Rank::Types, books),
        }
    }

    /// The descriptor of a type. Who holds it names the type: see [`Types::release`].
    ///
    /// # Errors
    /// When the id is of another runtime, or the type was given back.
    pub fn desc(&self, id: TypeId) -> Result<Arc<TypeDesc>, TypesError> {
        self.books.lock().rows.desc(self.own_id(id)?).cloned()
    }

    /// The id, if it is of this universe.
    fn own_id(&self, id: TypeId) -> Result<TypeId, TypesError> {
        match id.universe == self.universe {
            true => Ok(id),
            false => Err(TypesError::Foreign { index: id.index }),
        }
    }

    /// The address of a type's descriptor. It is valid as long as the type is not given back, which
    /// happens with the world stopped only.
    #[inline]
    pub(crate) fn address(&self, id: TypeId) -> Result<usize, TypesError> {
        self.slots
            .address(self.own_id(id)?)
            .ok_or(TypesError::GivenBack { index: id.index })
    }

    /// As [`Types::address`], by the index of a type that stays for good.
    pub(crate) fn address_at(&self, index: u32) -> Option<usize> {
        self.slots.address_at(index)
    }

    /// How many types there are, Go's predeclared ones included as far as they were used.
    pub fn count(&self) -> usize {
        let rows = &self.books.lock().rows;
        rows.descs.len() - rows.free.len()
    }

    /// The addresses of all descriptors.
    pub(crate) fn addresses(&self) -> Vec<usize> {
        let books = self.books.lock();
        let descs = books.rows.descs.iter().flatten();
        descs.map(|desc| desc.address()).collect()
    }

    /// Declares a name that will be defined later. Until then it may be used only behind pointers,
    /// slices, maps, channels and functions. Declaring a known name has no effect.
    ///
    /// # Errors
    /// When `name` is not a type name.
    pub fn declare(&self, name: &str) -> Result<(), TypesError> {
        not_reserved(name)?;
        let mut books = self.books.lock();
        let own = books.names.own(name, || books.opaque(name))?;
        books.names.entry(own).or_insert(None);
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
        not_reserved(name)?;
        let mut books = self.books.lock();
        let displayed = books.opaque(name)?.displayed_as(display)?;
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
        books.names.own(name, || books.opaque(name))
    }

    /// Defines a type: `define("main.Node", "struct { Next *main.Node; V int }")`. The same
    /// definition again returns the same id.
    ///
    /// # Errors
    /// When the text is no type or uses unknown names, or the name has another definition already,
    /// or is one of the runtime's own: `runtime.weakObject` or `runtime.argument`.
    pub fn define(&self, name: &str, underlying: &str) -> Result<TypeId, TypesError> {
        not_reserved(name)?;
        self.define_own(name, underlying)
    }

    /// Defines a type of the runtime's own; see [`RESERVED`].
    pub(crate) fn define_own(&self, name: &str, underlying: &str) -> Result<TypeId, TypesError> {
        self.define_value(name, |own| Ok(self.parse_in(own, underlying)?), None)
    }

    /// Defines a type from a [`Type`], which refers to itself by an opaque type of that name.
    ///
    /// # Errors
    /// As [`Types::define`].
    pub fn define_as(&self, name: &str, underlying: &Type) -> Result<TypeId, TypesError> {
        not_reserved(name)?;
        self.define_value(name, |_| Ok(underlying.clone()), None)
    }

    /// Parses the definition of `own`, which may mention that.
    fn parse_in(&self, own: &Type, text: &str) -> Result<Type, ParseError> {
        parse_type_with(text, &|name| match own.name() == Some(name) {
            true => Some(own.clone()),
            false => self.named(name),
        })
    }

    /// Defines a name as what `underlying` makes of the name's opaque type.
    fn define_value(
        &self,
        name: &str,
        underlying: impl Fn(&Type) -> Result<Type, TypesError>,
        element: Option<&TypeDesc>,
    ) -> Result<TypeId, TypesError> {
        let (own, ty, mut books) = loop {
            let own = self.own(name)?;
            let underlying = underlying(&own.opaque)?;
            self.check(&underlying, own.opaque.name())?;
            check_go(&underlying)?;
            let underlying = self.shallow(&self.complete(&underlying)?)?;
            let ty = own.opaque.defined_as(underlying)?;
            let books = self.books.lock();
            // Else the name was given back meanwhile, and what was made of it means the old type.
            if books.is_current(&own.opaque) {
                break (own, ty, books);
            }
        };
        let Books { names, rows, .. } = &mut *books;
        match names.entry(own) {
            Entry::Occupied(entry) if let Some(index) = *entry.get() => {
                let there = rows.known(index);
                let id = same_definition(there, &ty)?;
                if let Some(element) = element {
                    rows.same_elements(there, element)?;
                }
                self.retain(&mut books, index);
                Ok(id)
            }
            entry => {
                let id = rows.add(self, ty, element)?;
                *entry.or_insert(None) = Some(id.index);
                Ok(id)
            }
        }
    }

    /// The type as it is kept: see [`shape::shallow`].
    fn shallow(&self, ty: &Type) -> Result<Type, TypeError> {
        shape::shallow(ty, &|named| self.scope_of(named.name()))
    }

    /// The scope of a name, or the one that it would get.
    fn scope_of(&self, name: &str) -> u64 {
        if !self.released.were_given_back() {
            return self.universe;
        }
        self.books.lock().scope_of(name)
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
        not_reserved(name)?;
        let element = self.desc(element)?;
        if element.size() == 0 {
            let ty = element.ty().to_string();
            return Err(TypesError::NoElement { ty });
        }
        let parse = |own: &Type| Ok(self.parse_in(own, underlying)?);
        self.define_value(name, parse, Some(&element))
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
        let (ty, mut books) = loop {
            self.check(ty, None)?;
            check_go(ty)?;
            let ty = self.shallow(&self.complete(ty)?)?;
            let books = self.books.lock();
            // Else a name was given back meanwhile, which the next check says.
            if !self.released.were_given_back() || books.has_names_of(&ty) {
                break (ty, books);
            }
        };
        let named = ty.name().and_then(|name| books.names.get(name)?.1);
        if let Some(index) = named.or_else(|| books.ids.get(&ty).copied()) {
            return Ok(books.rows.known(index).id());
        }
        let id = books.rows.add(self, ty.clone(), None)?;
        books.ids.insert(ty, id.index);
        Ok(id)
    }

    /// The type of pointers to a type.
    ///
    /// # Errors
    /// When the id is of another runtime.
    pub fn pointer_to(&self, ty: TypeId) -> Result<TypeId, TypesError> {
        let desc = self.desc(ty)?;
        if let Some(pointer) = desc.pointer.get()
            && self.slots.address(pointer).is_some()
        {
            return Ok(pointer);
        }
        let pointer = self.intern(&Type::pointer_to(desc.ty().clone())?)?;
        desc.pointer.set(pointer);
        Ok(pointer)
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
        &self.empty
    }

    /// The type that a name stands for in this universe: opaque while it is only declared.
    fn named(&self, name: &str) -> Option<Type> {
        let books = self.books.lock();
        match books.names.get(name)? {
            (_, Some(index)) => Some(books.rows.at(index)?.ty().clone()),
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
            let own = named.scope() == self.scope_of(named.name());
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
            if named.scope() != 0 && named.scope() != self.scope_of(name) {
                return Err(TypesError::OtherRuntime {
                    ty: ty.to_string(),
                    name: name.into(),
                });
            }
            let undefined = || TypesError::Undefined {
                ty: ty.to_string(),
                name: name.into(),
            };
            let books = self.books.lock();
            let (_, index) = books.names.get(name).ok_or_else(undefined)?;
            // A name without its definition may stand behind a pointer. Where its size is needed,
            // the constructors of types have refused it.
            let Some(found) = named.underlying() else {
                return Ok(());
            };
            let there = index.and_then(|index| books.rows.at(index));
            match definition(there.ok_or_else(undefined)?.ty()) {
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

/// What weak cells and ephemerons are.
pub(crate) const WEAK_OBJECT: &str = "runtime.weakObject";
/// The type, without size, of the first field of objects that keep a cleanup's argument. It makes
/// their types different from all that a program has.
pub(crate) const ARGUMENT: &str = "runtime.argument";
/// Names of types of the runtime's own.
const RESERVED: [&str; 2] = [WEAK_OBJECT, ARGUMENT];

fn not_reserved(name: &str) -> Result<(), TypesError> {
    match RESERVED.contains(&name) {
        false => Ok(()),
        true => Err(TypesError::Reserved { name: name.into() }),
    }
}

impl Rows {
    /// The descriptor of the type of an id of this universe.
    fn desc(&self, id: TypeId) -> Result<&Arc<TypeDesc>, TypesError> {
        let (there, index) = (self.at(id.index), id.index);
        there
            .filter(|there| there.id() == id)
            .ok_or(TypesError::GivenBack { index })
    }

    /// The descriptor with this index, which is one that a name or a type has.
    fn known(&self, index: u32) -> &TypeDesc {
        match self.at(index) {
            Some(desc) => desc,
            None => unreachable!("names and types have indices of descriptors"),
        }
    }

    /// The descriptor with this index.
    fn at(&self, index: u32) -> Option<&Arc<TypeDesc>> {
        self.descs.get(index as usize)?.as_ref()
    }

    /// Checks that a type that is defined already has these elements behind its value.
    fn same_elements(&self, there: &TypeDesc, element: &TypeDesc) -> Result<(), TypesError> {
        if there.tail() == Some(&element.as_tail(there.size())) {
            return Ok(());
        }
        Err(TypesError::Redefined {
            name: there.ty().name().unwrap_or_default().into(),
            found: format!("elements of {}", element.ty()),
            there: match there.element() {
                Some(element) => format!("elements of {}", self.desc(element)?.ty()),
                None => "no elements".to_owned(),
            },
        })
    }

    /// Adds a type that is not there yet.
    fn add(
        &mut self,
        types: &Types,
        ty: Type,
        element: Option<&TypeDesc>,
    ) -> Result<TypeId, TypesError> {
        let full = || TypesError::Full { ty: ty.to_string() };
        let reused = self.free.last().copied();
        let next = u32::try_from(self.descs.len()).ok();
        let index = reused.or(next).ok_or_else(full)?;
        let id = TypeId {
            universe: types.universe,
            index,
            generation: types.slots.generation(index),
        };
        let mut desc = TypeDesc::new(id, ty.clone()).ok_or_else(|| TypesError::Undefined {
            ty: ty.to_string(),
            name: ty.name().unwrap_or_default().into(),
        })?;
        if let Some(element) = element {
            desc = desc.with_tail(element);
        }
        let desc = Arc::new(desc);
        types.slots.fill(index, &desc).ok_or_else(full)?;
        match self.free.pop() {
            Some(index) => self.descs[index as usize] = Some(desc),
            None => self.descs.push(Some(desc)),
        }
        Ok(id)
    }
}

impl Books {
    /// The opaque type of a name that is not known.
    fn opaque(&self, name: &str) -> Result<Type, TypeError> {
        Type::opaque_in(name, self.scope)
    }

    /// Whether all names in a type are there, and mean what they mean in the type.
    fn has_names_of(&self, ty: &Type) -> bool {
        let named = shape::for_each_name(ty, &mut |named| {
            let known = self.names.get(named.name()).is_some();
            let current = known && named.scope() == self.scope_of(named.name());
            let has = current || Type::predeclared(named.name()).is_some();
            if has { Ok(()) } else { Err(()) }
        });
        named.is_ok()
    }

    /// Whether a name's opaque type has the scope that the name has, or would get.
    fn is_current(&self, opaque: &Type) -> bool {
        match opaque.kind() {
            Kind::Named(own) => own.scope() == self.scope_of(own.name()),
            _ => true,
        }
    }

    /// The scope of a name, or the one that it would get.
    fn scope_of(&self, name: &str) -> u64 {
        match self.names.get(name).map(|(opaque, _)| opaque.kind()) {
            Some(Kind::Named(known)) => known.scope(),
            _ => self.scope,
        }
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

/// The id of a type that is defined already, if `ty` defines it as it is.
fn same_definition(there: &TypeDesc, ty: &Type) -> Result<TypeId, TypesError> {
    if definition(there.ty()) == definition(ty) {
        return Ok(there.id());
    }
    let text = |ty| definition(ty).map_or_else(String::new, Type::to_string);
    Err(TypesError::Redefined {
        name: ty.name().unwrap_or_default().into(),
        found: text(ty),
        there: text(there.ty()),
    })
}

/// What a defined type is defined as.
fn definition(ty: &Type) -> Option<&Type> {
    match ty.kind() {
        Kind::Named(named) => named.underlying(),
        _ => None,
    }
}
