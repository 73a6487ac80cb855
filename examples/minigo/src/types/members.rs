//! Fields, methods, and method sets.
#![forbid(unsafe_code)]

use super::{DeclaredMethod, Field, Found, Kind, Member, Ty, Types};

impl Types {
    /// Finds a field or method by name, at the least depth of embedding.
    pub(crate) fn find(&self, ty: Ty, name: &str) -> Option<Found> {
        let start = match self.own_kind(ty) {
            Kind::Pointer(to) => *to,
            _ => ty,
        };
        let mut level = vec![(start, Vec::new())];
        for _depth in 0..8 {
            let mut next = Vec::new();
            let mut found = Vec::new();
            for (ty, path) in &level {
                if let Some(member) = self.declared(*ty, name, path) {
                    found.push(member);
                }
                if let Kind::Struct(fields) = self.kind(*ty) {
                    for (index, field) in fields.iter().enumerate().filter(|(_, f)| f.embedded) {
                        let mut path: Vec<usize> = path.clone();
                        path.push(index);
                        next.push((self.pointee(field.ty).unwrap_or(field.ty), path));
                    }
                }
            }
            match found.len() {
                0 => level = next,
                1 => return found.pop(),
                _ => return None,
            }
        }
        None
    }

    /// A member that the type itself declares.
    fn declared(&self, ty: Ty, name: &str, path: &[usize]) -> Option<Found> {
        let path = path.to_vec();
        if let Some(named) = self.named(ty)
            && let Some(method) = named.methods.iter().find(|method| &*method.name == name)
        {
            let member = Member::Method(ty, method.clone());
            return Some(Found { path, member });
        }
        match self.kind(ty) {
            Kind::Struct(fields) => {
                let index = fields.iter().position(|field| &*field.name == name)?;
                let member = Member::Field(fields[index].ty);
                let path = path.into_iter().chain([index]).collect();
                Some(Found { path, member })
            }
            Kind::Interface(methods) => {
                let method = methods.iter().find(|method| &*method.name == name)?;
                let member = Member::Abstract(ty, method.clone());
                Some(Found { path, member })
            }
            _ => None,
        }
    }

    /// The fields that a path leads through.
    pub(crate) fn field(&self, ty: Ty, index: usize) -> Option<&Field> {
        match self.kind(self.pointee(ty).unwrap_or(ty)) {
            Kind::Struct(fields) => fields.get(index),
            _ => None,
        }
    }

    /// Whether a method that was found is in the method set of the type, not only of pointers to
    /// variables of it.
    pub(crate) fn in_method_set(&self, ty: Ty, found: &Found, method: &DeclaredMethod) -> bool {
        let mut by_pointer = self.pointee(ty).is_some();
        let mut at = ty;
        for &index in &found.path {
            let Some(field) = self.field(at, index) else {
                return false;
            };
            at = field.ty;
            by_pointer |= self.pointee(at).is_some();
        }
        !method.by_pointer || by_pointer
    }

    /// Returns why the type does not implement the interface; `None` if it does.
    pub(crate) fn missing_method(&self, ty: Ty, interface: Ty) -> Option<String> {
        let Kind::Interface(wanted) = self.kind(interface) else {
            return Some(format!("{} is no interface", self.show(interface)));
        };
        for method in wanted {
            let missing = || Some(format!("missing method {}", method.name));
            let Some(found) = self.find(ty, &method.name) else {
                return missing();
            };
            let pointer_to_interface =
                self.pointee(ty).is_some_and(|to| self.is_interface(to)) && found.path.is_empty();
            if pointer_to_interface {
                return missing();
            }
            match &found.member {
                Member::Field(_) => return missing(),
                Member::Abstract(_, there) if there.ty == method.ty => {}
                Member::Method(_, there) if there.ty == method.ty => {
                    if !self.in_method_set(ty, &found, there) {
                        let name = &method.name;
                        return Some(format!("method {name} has pointer receiver"));
                    }
                }
                _ => return Some(format!("wrong type for method {}", method.name)),
            }
        }
        None
    }
}
