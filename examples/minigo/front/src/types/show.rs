//! Types as Go prints them.

use super::{BASICS, Kind, Ty, Types};
use crate::ast::Dir;

impl Types {
    /// The type as Go prints it.
    pub fn show(&self, ty: Ty) -> String {
        match self.own_kind(ty) {
            Kind::Basic(basic) => BASICS[*basic as usize].1.to_owned(),
            Kind::Pointer(to) => format!("*{}", self.show(*to)),
            Kind::Slice(of) => format!("[]{}", self.show(*of)),
            Kind::Array(n, of) => format!("[{n}]{}", self.show(*of)),
            Kind::Map(key, value) => format!("map[{}]{}", self.show(*key), self.show(*value)),
            Kind::Chan(Dir::Both, of) => format!("chan {}", self.show(*of)),
            Kind::Chan(Dir::Send, of) => format!("chan<- {}", self.show(*of)),
            Kind::Chan(Dir::Receive, of) => format!("<-chan {}", self.show(*of)),
            Kind::Func(_) => format!("func{}", self.show_sig(ty)),
            Kind::Struct(fields) => braced("struct", fields, |field| match field.embedded {
                true => self.show(field.ty),
                false => format!("{} {}", field.name, self.show(field.ty)),
            }),
            Kind::Interface(methods) => braced("interface", methods, |method| {
                format!("{}{}", method.name, self.show_sig(method.ty))
            }),
            Kind::Weak(of) => format!("weak.Pointer[{}]", self.show(*of)),
            Kind::Tuple(of) => format!("({})", self.show_all(of)),
            Kind::Named(index) => self.named[*index as usize].name.clone(),
        }
    }

    fn show_all(&self, types: &[Ty]) -> String {
        let types: Vec<String> = types.iter().map(|&ty| self.show(ty)).collect();
        types.join(", ")
    }

    fn show_sig(&self, ty: Ty) -> String {
        let Some(sig) = self.sig(ty) else {
            return String::new();
        };
        let mut params: Vec<String> = sig.params.iter().map(|&ty| self.show(ty)).collect();
        if let Some(last) = params.last_mut().filter(|_| sig.variadic) {
            last.replace_range(0..2, "...");
        }
        let results = match &*sig.results {
            [] => String::new(),
            [one] => format!(" {}", self.show(*one)),
            all => format!(" ({})", self.show_all(all)),
        };
        format!("({}){results}", params.join(", "))
    }
}

/// The parts of a struct or an interface.
fn braced<T>(what: &str, parts: &[T], show: impl Fn(&T) -> String) -> String {
    let parts: Vec<String> = parts.iter().map(show).collect();
    match parts.is_empty() {
        true => format!("{what} {{}}"),
        false => format!("{what} {{ {} }}", parts.join("; ")),
    }
}
