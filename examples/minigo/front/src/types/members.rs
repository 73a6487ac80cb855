//! Fields and methods of types, and which interfaces they implement.

use super::{DeclaredMethod, Kind, Method, Ty, Types};
use crate::ast::Name;

/// A field or method that a selector found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Fields that lead to it, the last one being the field itself unless it is a method.
    pub path: Vec<usize>,
    /// Whether an embedded pointer leads to it.
    pub(crate) by_pointer: bool,
    /// What it is.
    pub member: Member,
}

/// A field or a method.
#[derive(Clone, Debug)]
pub enum Member {
    /// A field of this type.
    Field(Ty),
    /// A method, and the type that declares it.
    Method(Ty, DeclaredMethod),
    /// Of an interface; its function type.
    Abstract(Ty, Method),
}

impl Types {
    /// Finds a field or method by name, at the least depth of embedding. Pointers to interfaces
    /// have none, and pointers with names have fields only.
    pub fn find(&self, ty: Ty, name: &str) -> Option<Found> {
        let behind = |ty: Ty| self.pointee(ty).filter(|to| !self.is_interface(*to));
        let only_fields = self.named(ty).is_some() && behind(ty).is_some();
        let mut level = vec![(behind(ty).unwrap_or(ty), Vec::new(), false)];
        for _depth in 0..8 {
            let mut found = Vec::new();
            let mut next = Vec::new();
            for (ty, path, by_pointer) in level {
                let inside = |index: usize| path.iter().copied().chain([index]).collect();
                found.extend(self.declared(ty, name).map(|(field, member)| Found {
                    path: field.map_or_else(|| path.clone(), inside),
                    by_pointer,
                    member,
                }));
                for (index, field) in self.fields(ty).iter().enumerate() {
                    let to = behind(field.ty);
                    let by_pointer = by_pointer || to.is_some();
                    if field.embedded {
                        next.push((to.unwrap_or(field.ty), inside(index), by_pointer));
                    }
                }
            }
            if !found.is_empty() {
                let one = found.pop().filter(|_| found.is_empty());
                let allowed = |found: &Found| matches!(found.member, Member::Field(_));
                return one.filter(|one| !only_fields || allowed(one));
            }
            level = next;
        }
        None
    }

    /// A member that the type itself declares; of a field, its position too.
    pub(crate) fn declared(&self, ty: Ty, name: &str) -> Option<(Option<usize>, Member)> {
        let mut methods = self.named(ty).into_iter().flat_map(|named| &named.methods);
        if let Some(method) = methods.find(|method| &*method.name == name) {
            return Some((None, Member::Method(ty, method.clone())));
        }
        if let Kind::Interface(methods) = self.kind(ty) {
            let method = methods.iter().find(|method| &*method.name == name)?;
            return Some((None, Member::Abstract(ty, method.clone())));
        }
        let mut fields = self.fields(ty).iter();
        let index = fields.position(|field| &*field.name == name)?;
        Some((Some(index), Member::Field(self.fields(ty)[index].ty)))
    }

    /// The method of the type that implements one of an interface, if it has one.
    pub fn implementation(&self, ty: Ty, wanted: &Method) -> Option<Found> {
        let found = self.find(ty, &wanted.name)?;
        let has = match &found.member {
            Member::Method(_, method) => {
                method.ty == wanted.ty && self.in_method_set(ty, &found, method)
            }
            Member::Abstract(_, method) => method.ty == wanted.ty,
            Member::Field(_) => false,
        };
        has.then_some(found)
    }

    /// The parameter of a function that is to be the finalizer of what a pointer of a type points
    /// to; or why it can't be, in words of Go's runtime.
    pub fn finalizer_param(&self, pointer: Ty, function: Ty) -> Result<Ty, String> {
        let shown = self.show(function);
        let Some(sig) = self.sig(function) else {
            return Err(format!("second argument is {shown}, not a function"));
        };
        let cannot = format!("cannot pass {} to finalizer {shown}", self.show(pointer));
        if sig.variadic {
            return Err(format!("{cannot} because dotdotdot"));
        }
        let [param] = *sig.params else {
            return Err(cannot);
        };
        let unnamed = [param, pointer].iter().any(|ty| self.named(*ty).is_none());
        let fits = match self.kind(param) {
            Kind::Interface(_) => self.missing_method(pointer, param).is_none(),
            Kind::Pointer(to) => param == pointer || unnamed && Some(*to) == self.pointee(pointer),
            _ => false,
        };
        if fits { Ok(param) } else { Err(cannot) }
    }

    /// Whether a method that was found is in the method set of the type, not only of pointers to
    /// variables of it.
    pub(crate) fn in_method_set(&self, ty: Ty, found: &Found, method: &DeclaredMethod) -> bool {
        !method.by_pointer || found.by_pointer || self.pointee(ty).is_some()
    }

    /// The method that the type lacks to implement an interface, and why it does; `None` if it
    /// implements it.
    pub fn missing_method(&self, ty: Ty, interface: Ty) -> Option<(&Name, String)> {
        let Kind::Interface(wanted) = self.kind(interface) else {
            unreachable!("checked to be an interface");
        };
        let lacks = |method: &&Method| self.implementation(ty, method).is_none();
        let Method { name, ty: wanted } = wanted.iter().find(lacks)?;
        let why = match self.find(ty, name).map(|found| found.member) {
            None | Some(Member::Field(_)) => format!("missing method {name}"),
            Some(Member::Method(_, there)) if there.ty == *wanted => {
                format!("method {name} has pointer receiver")
            }
            _ => format!("wrong type for method {name}"),
        };
        Some((name, why))
    }
}
