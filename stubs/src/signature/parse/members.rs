//! Fields of structs and methods of interfaces.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;

use super::{Parser, Refusal};
use crate::signature::{Field, FuncType, Kind, Method, Type};

impl<'a> Parser<'a> {
    pub(super) fn structure(&mut self, start: usize, level: u32) -> Result<Type, Refusal> {
        self.at += "struct".len();
        self.expect("{", "\"{\"")?;
        let mut fields = Vec::new();
        while !self.take("}") {
            let first = fields.len();
            self.field(level, &mut fields)?;
            if let Some(tag) = self.tag()? {
                let tag: Arc<str> = tag.into();
                let fields = fields[first..].iter_mut();
                fields.for_each(|field| field.tag = Some(tag.clone()));
            }
            self.separator()?;
        }
        Parser::built(start, Type::structure(fields))
    }

    /// `A T`, `A, B T`, or an embedded `T` or `*T`.
    fn field(&mut self, level: u32, fields: &mut Vec<Field>) -> Result<(), Refusal> {
        if self.peek() == Some('*') {
            return self.embedded(level, fields);
        }
        let first = self.name("a field name or \"}\"")?;
        let start = self.at - first.len();
        if matches!(self.peek(), Some('.' | ';' | '}' | '"' | '`')) {
            self.at = start;
            return self.embedded(level, fields);
        }
        let mut others = Vec::new();
        while self.take(",") {
            let name = self.name("a field name")?;
            others.push((self.at - name.len(), name));
        }
        let ty = self.ty(level + 1)?;
        fields.push(Field::new(first, ty.clone()));
        for (at, name) in others {
            self.count(at)?;
            fields.push(Field::new(name, ty.clone()));
        }
        Ok(())
    }

    /// A field whose name is its type's: `T` or `*T`.
    fn embedded(&mut self, level: u32, fields: &mut Vec<Field>) -> Result<(), Refusal> {
        let start = self.at;
        let is_pointer = self.take("*");
        let path = self.peek_path();
        self.at = start;
        let ty = self.ty(level + 1)?;
        let name = path.rsplit('.').next().unwrap_or_default();
        if is_pointer && path.is_empty() {
            self.at = start + 1;
            return Err(self.unexpected("a type's name"));
        }
        fields.push(Field {
            is_embedded: true,
            ..Field::new(name, ty)
        });
        Ok(())
    }

    pub(super) fn interface(&mut self, start: usize, level: u32) -> Result<Type, Refusal> {
        self.at += "interface".len();
        self.expect("{", "\"{\"")?;
        let (mut methods, mut embedded) = (Vec::new(), Vec::new());
        while !self.take("}") {
            let name = self.name("a method name or \"}\"")?;
            let at = self.at - name.len();
            if matches!(self.peek(), Some('(') | None) {
                let (ty, labels) = self.func(level + 1)?;
                self.count(start)?;
                methods.push(Method {
                    labels,
                    ..Method::new(name, ty)
                });
            } else {
                self.at = at;
                self.embedded_interface(start, &mut embedded)?;
            }
            self.separator()?;
        }
        add_embedded(&mut methods, embedded);
        Parser::built(start, Type::interface(methods))
    }

    /// The methods of the interface that is named here.
    fn embedded_interface(
        &mut self,
        start: usize,
        methods: &mut Vec<Method>,
    ) -> Result<(), Refusal> {
        let path = self.peek_path();
        let ty = self.known(path);
        let Some(Kind::Interface(own)) = ty.as_ref().map(Type::underlying) else {
            return Err(self.unexpected("a method with its parameters, or an interface's name"));
        };
        self.at += path.len();
        for method in own {
            self.count(start)?;
            methods.push(method.clone());
        }
        Ok(())
    }

    /// `;` between members; the last one may go without.
    pub(super) fn separator(&mut self) -> Result<(), Refusal> {
        if self.take(";") || self.peek() == Some('}') {
            Ok(())
        } else {
            Err(self.unexpected("\";\" or \"}\""))
        }
    }
}

/// Adds the methods of embedded interfaces, each once: they may repeat a method, though not under
/// another type.
fn add_embedded(methods: &mut Vec<Method>, embedded: Vec<Method>) {
    if embedded.is_empty() {
        return;
    }
    let mut known: HashMap<Arc<str>, FuncType> = methods
        .iter()
        .map(|method| (method.name.clone(), method.ty.clone()))
        .collect();
    for method in embedded {
        if known.get(&method.name) != Some(&method.ty) {
            known.insert(method.name.clone(), method.ty.clone());
            methods.push(method);
        }
    }
}
