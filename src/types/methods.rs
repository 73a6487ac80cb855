//! Method sets, itabs, and whether an object may be passed as a parameter, by Go's rules.
#![forbid(unsafe_code)]

use super::{TypeDesc, TypeId, Types, TypesError};
use fing_stubs::signature::{FuncType, Kind, Method, Type};
use std::fmt;
use std::sync::Arc;

/// One method of a defined type or of the pointer to it.
#[derive(Clone)]
pub(super) struct Declared {
    /// Name and signature, without receiver.
    pub(super) method: Method,
    /// Declared on the pointer.
    pub(super) on_pointer: bool,
    /// Address of its code, 0 if none was given.
    pub(super) code: usize,
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.on_pointer { "*" } else { "" };
        write!(
            f,
            "({star}) {} {} at {:#x}",
            self.method.name,
            print(&self.method.ty),
            self.code
        )
    }
}

/// An interface table in Go's layout: the first word of an interface value with methods.
///
/// ```text
/// word 0  address of the interface's descriptor
/// word 1  address of the concrete type's descriptor
/// word 2  the concrete type's hash in the first four bytes
/// word 3  code address of each method, in the order of their names
/// ```
#[derive(Debug)]
pub struct Itab {
    words: Box<[usize]>,
}

impl Itab {
    /// The address of its first word. It never changes, and is valid as long as the runtime's
    /// types.
    pub fn address(&self) -> usize {
        self.words.as_ptr().expose_provenance()
    }

    /// Its words, as listed above.
    pub fn words(&self) -> &[usize] {
        &self.words
    }
}

/// How an object is passed as a parameter.
#[derive(Debug, Clone)]
pub enum Passing {
    /// One word, the object's address.
    Pointer,
    /// An empty interface: the address of the pointer type's descriptor, then the object's.
    Empty {
        /// The first word.
        descriptor: usize,
    },
    /// An interface with methods: the itab's address, then the object's.
    Interface(Arc<Itab>),
}

impl Passing {
    /// The word passed in front of the object's address, if there is one.
    pub fn first_word(&self) -> Option<usize> {
        match self {
            Passing::Pointer => None,
            Passing::Empty { descriptor } => Some(*descriptor),
            Passing::Interface(itab) => Some(itab.address()),
        }
    }
}

impl Types {
    /// Declares a method: `add_method("*main.File", "Close", "func() error", code)`.
    ///
    /// The receiver is a defined type, or a pointer to one. `code` is the address of the method as
    /// Go puts it into itabs (for a pointer in the interface's data word); 0 if it is never to be
    /// called. Methods promoted from embedded fields are not derived: declare them, too.
    ///
    /// # Errors
    /// When a text cannot be parsed, Go allows no such method, or its name is taken by a field or a
    /// method.
    pub fn add_method(
        &self,
        receiver: &str,
        name: &str,
        signature: &str,
        code: usize,
    ) -> Result<(), TypesError> {
        let given = self.intern(&self.parse(receiver)?)?;
        let refused = || TypesError::Receiver {
            receiver: receiver.into(),
            method: name.into(),
        };
        let given = self.desc(given)?;
        let (base, on_pointer) = match given.ty().kind() {
            Kind::Pointer(of) => (self.desc(self.intern(of)?)?, true),
            _ => (given, false),
        };
        let base_name = base.ty().name().ok_or_else(refused)?;
        if matches!(base.kind(), Kind::Pointer(_) | Kind::Interface(_)) {
            return Err(refused());
        }
        let ty = self.parse(signature)?;
        let Kind::Func(func) = self.shallow(&ty)?.kind().clone() else {
            let (receiver, method) = (receiver.into(), name.into());
            return Err(TypesError::MethodSignature {
                receiver,
                method,
                found: ty.to_string(),
            });
        };
        let method = Method::new(name, func);
        Type::interface(vec![method.clone()])?;
        let taken = |there| {
            Err(TypesError::NameTaken {
                receiver: base_name.into(),
                method: name.into(),
                there,
            })
        };
        if let Kind::Struct(fields) = base.kind()
            && fields.iter().any(|field| &*field.name == name)
        {
            return taken("field");
        }
        let mut books = self.books.lock();
        let methods = books.methods.entry(base_name.into()).or_default();
        if methods.iter().any(|there| &*there.method.name == name) {
            return taken("method");
        }
        methods.push(Declared {
            method,
            on_pointer,
            code,
        });
        Ok(())
    }

    /// The method set of the type, sorted by name: the methods of `T` for a defined `T`, those of
    /// `T` and `*T` for `*T`, an interface's own. A defined pointer type has none.
    ///
    /// # Errors
    /// When the id is of another runtime.
    pub fn method_set(&self, ty: TypeId) -> Result<Vec<Method>, TypesError> {
        Ok(self
            .methods_of(&*self.desc(ty)?)
            .into_iter()
            .map(|declared| declared.method)
            .collect())
    }

    fn methods_of(&self, desc: &TypeDesc) -> Vec<Declared> {
        if let Kind::Interface(methods) = desc.kind() {
            let own = |method: &Method| Declared {
                method: method.clone(),
                on_pointer: false,
                code: 0,
            };
            return methods.iter().map(own).collect();
        }
        let (name, through_pointer) = match desc.ty().kind() {
            Kind::Pointer(of) => (of.name(), true),
            _ => (desc.ty().name(), false),
        };
        let books = self.books.lock();
        let declared = name.and_then(|name| books.methods.get(name));
        let visible = declared
            .into_iter()
            .flatten()
            .filter(|method| through_pointer || !method.on_pointer);
        let mut methods: Vec<Declared> = visible.cloned().collect();
        methods.sort_by(|a, b| a.method.name.cmp(&b.method.name));
        methods
    }

    /// Whether Go's descriptor of the type has an "uncommon" part: it has a name (Go's basic types
    /// have one), or methods.
    ///
    /// # Errors
    /// When the id is of another runtime.
    pub fn has_uncommon(&self, ty: TypeId) -> Result<bool, TypesError> {
        let desc = self.desc(ty)?;
        let named = desc.ty().name().is_some() || desc.ty().kind().basic_name().is_some();
        let unnamed_interface = matches!(desc.ty().kind(), Kind::Interface(_));
        Ok(named || !unnamed_interface && !self.methods_of(&desc).is_empty())
    }

    /// Whether the type has all methods of the interface, with the same signatures.
    ///
    /// # Errors
    /// [`TypesError::MethodMissing`] or [`TypesError::MethodDiffers`] for the first such method, by
    /// name; [`TypesError::NotInterface`]; [`TypesError::Foreign`] when an id is of another
    /// runtime.
    pub fn implements(&self, ty: TypeId, interface: TypeId) -> Result<(), TypesError> {
        self.matching(&*self.desc(ty)?, &*self.desc(interface)?)
            .map(drop)
    }

    /// The code addresses of the type for the interface's methods, in the order of the interface.
    fn matching(&self, desc: &TypeDesc, interface: &TypeDesc) -> Result<Vec<usize>, TypesError> {
        let Kind::Interface(wanted) = interface.kind() else {
            return Err(TypesError::NotInterface {
                found: interface.ty().to_string(),
            });
        };
        let have = self.methods_of(desc);
        let code = |wanted: &Method| {
            let at = have.binary_search_by(|there| there.method.name.cmp(&wanted.name));
            let there = at.ok().map(|at| &have[at]);
            if let Some(there) = there.filter(|there| there.method.ty == wanted.ty) {
                return Ok(there.code);
            }
            let (ty, interface) = (desc.ty().to_string(), interface.ty().to_string());
            let method = wanted.name.to_string();
            Err(match there {
                None => TypesError::MethodMissing {
                    ty,
                    interface,
                    method,
                },
                Some(there) => TypesError::MethodDiffers {
                    ty,
                    interface,
                    method,
                    found: print(&there.method.ty),
                    wanted: print(&wanted.ty),
                },
            })
        };
        wanted.iter().map(code).collect()
    }

    /// The itab of a type as an interface, made on first use and kept: the same pair always has the
    /// same address.
    ///
    /// # Errors
    /// When the type does not implement the interface, that has no methods, or an id is of another
    /// runtime.
    pub fn itab(&self, interface: TypeId, ty: TypeId) -> Result<Arc<Itab>, TypesError> {
        let (face, desc) = (self.desc(interface)?, self.desc(ty)?);
        let key = (interface.index, ty.index);
        if let Some(itab) = self.books.lock().itabs.get(&key) {
            return Ok(itab.clone());
        }
        let code = self.matching(&desc, &face)?;
        if code.is_empty() {
            return Err(TypesError::NotInterface {
                found: face.ty().to_string(),
            });
        }
        let mut hash = [0; 8];
        hash[..4].copy_from_slice(&desc.hash().to_ne_bytes());
        let head = [face.address(), desc.address(), usize::from_ne_bytes(hash)];
        let itab = Itab {
            words: head.into_iter().chain(code).collect(),
        };
        Ok(self
            .books
            .lock()
            .itabs
            .entry(key)
            .or_insert_with(|| Arc::new(itab))
            .clone())
    }

    /// How an object whose pointer has type `object` is passed as a parameter of type `param`, by
    /// the rule of Go's `SetFinalizer`. It is stricter than Go's assignability: of two different
    /// pointer types to the same element, one must be without name and methods.
    ///
    /// # Errors
    /// [`TypesError::NotAssignable`] when it cannot be passed, with a reason for people to read;
    /// [`TypesError::Foreign`] when an id is of another runtime.
    pub fn assignable(&self, object: TypeId, param: TypeId) -> Result<Passing, TypesError> {
        let (from, to) = (self.desc(object)?, self.desc(param)?);
        let refuse = |reason: String| {
            let (ty, param) = (from.ty().to_string(), to.ty().to_string());
            Err(TypesError::NotAssignable { ty, param, reason })
        };
        let Kind::Pointer(from_element) = from.kind() else {
            return refuse("the object's type is no pointer".into());
        };
        match to.kind() {
            _ if object == param => Ok(Passing::Pointer),
            Kind::Pointer(element) if element != from_element => {
                refuse("the pointers have different elements".into())
            }
            Kind::Pointer(_) if self.has_uncommon(object)? && self.has_uncommon(param)? => {
                refuse("both pointer types have a name or methods".into())
            }
            Kind::Pointer(_) => Ok(Passing::Pointer),
            Kind::Interface(methods) if methods.is_empty() => Ok(Passing::Empty {
                descriptor: from.address(),
            }),
            Kind::Interface(_) => match self.itab(param, object) {
                Ok(itab) => Ok(Passing::Interface(itab)),
                Err(why) => refuse(why.to_string()),
            },
            _ => refuse("the parameter is neither a pointer nor an interface".into()),
        }
    }
}

fn print(func: &FuncType) -> String {
    Type::func(func.params.clone(), func.results.clone(), func.variadic)
        .map_or_else(|e| e.to_string(), |ty| ty.to_string())
}
