//! Types as Go's errors show them.
#![forbid(unsafe_code)]

use super::{BASICS, Dir, Field, Kind, Method, Sig, Ty, Types};

impl Types {
    /// The type as Go prints it.
    pub(crate) fn show(&self, ty: Ty) -> String {
        match self.own_kind(ty) {
            Kind::Basic(_) => BASICS[ty.0 as usize].1.to_owned(),
            Kind::Pointer(to) => format!("*{}", self.show(*to)),
            Kind::Slice(of) => format!("[]{}", self.show(*of)),
            Kind::Array(n, of) => format!("[{n}]{}", self.show(*of)),
            Kind::Map(key, value) => format!("map[{}]{}", self.show(*key), self.show(*value)),
            Kind::Chan(Dir::Both, of) => format!("chan {}", self.show(*of)),
            Kind::Chan(Dir::Send, of) => format!("chan<- {}", self.show(*of)),
            Kind::Chan(Dir::Receive, of) => format!("<-chan {}", self.show(*of)),
            Kind::Func(sig) => format!("func{}", self.show_sig(sig)),
            Kind::Struct(fields) => {
                let field = |field: &Field| match field.embedded {
                    true => self.show(field.ty),
                    false => format!("{} {}", field.name, self.show(field.ty)),
                };
                let fields: Vec<String> = fields.iter().map(field).collect();
                match fields.is_empty() {
                    true => "struct {}".to_owned(),
                    false => format!("struct {{ {} }}", fields.join("; ")),
                }
            }
            Kind::Interface(methods) if methods.is_empty() => "interface {}".to_owned(),
            Kind::Interface(methods) => {
                let show = |method: &Method| {
                    let sig = self.sig(method.ty).map(|sig| self.show_sig(sig));
                    format!("{}{}", method.name, sig.unwrap_or_default())
                };
                let methods: Vec<String> = methods.iter().map(show).collect();
                format!("interface {{ {} }}", methods.join("; "))
            }
            Kind::Weak(of) => format!("weak.Pointer[{}]", self.show(*of)),
            Kind::Tuple(of) => format!("({})", self.show_all(of)),
            Kind::Named(index) => self.named[*index as usize].name.clone(),
        }
    }

    fn show_all(&self, types: &[Ty]) -> String {
        let types: Vec<String> = types.iter().map(|&ty| self.show(ty)).collect();
        types.join(", ")
    }

    fn show_sig(&self, sig: &Sig) -> String {
        let mut params: Vec<String> = sig.params.iter().map(|&ty| self.show(ty)).collect();
        if sig.variadic
            && let Some(last) = params.last_mut()
        {
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
