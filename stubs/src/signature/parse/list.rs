//! Parameters and results: types, or names with types, as in `(a, b int, rest ...string)`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{Parser, Refusal};
use crate::signature::build::{is_identifier, is_name_start};
use crate::signature::{FuncType, Type};

/// Names of parameters, then of results, where they are written.
pub(super) type Labels = Vec<Option<Arc<str>>>;

/// A list that is being read.
#[derive(Default)]
struct List<'a> {
    types: Vec<Type>,
    labels: Labels,
    variadic: bool,
    /// Identifiers alone between commas, with their places: types, or names whose type is written
    /// after the last of them. What follows decides.
    alone: Vec<(usize, &'a str)>,
}

impl List<'_> {
    fn has_names(&self) -> bool {
        self.labels.last().is_some_and(Option::is_some)
    }
}

impl<'a> Parser<'a> {
    /// What follows `func` or a method's name, with its names. The types in it are `level` deep.
    pub(super) fn func(&mut self, level: u32) -> Result<(FuncType, Labels), Refusal> {
        self.expect("(", "\"(\"")?;
        let params = self.list(level, true)?;
        let mut labels = params.labels;
        let results = if self.take("(") {
            let results = self.list(level, false)?;
            labels.extend(results.labels);
            results.types
        } else if self.starts_type() {
            vec![self.ty(level)?]
        } else {
            Vec::new()
        };
        if labels.iter().all(Option::is_none) {
            labels.clear();
        }
        let func = FuncType {
            params: params.types,
            results,
            variadic: params.variadic,
        };
        Ok((func, labels))
    }

    fn starts_type(&mut self) -> bool {
        match self.peek() {
            Some('*' | '[') => true,
            Some('<') => self.text[self.at..].starts_with("<-"),
            Some(c) => is_name_start(c),
            None => false,
        }
    }

    /// The rest of a list after its `(`. The last entry may be followed by a comma.
    fn list(&mut self, level: u32, variadic_allowed: bool) -> Result<List<'a>, Refusal> {
        let mut list = List::default();
        while !self.take(")") {
            self.entry(level, variadic_allowed, &mut list)?;
            if self.peek() == Some(')') {
                continue;
            }
            let end = self.at;
            self.expect(",", "\",\" or \")\"")?;
            if list.variadic && self.peek() != Some(')') {
                self.at = end;
                return Err(self.unexpected("\")\" after the variadic parameter"));
            }
        }
        self.take_alone_as_types(level, &mut list)?;
        Ok(list)
    }

    /// `T`, `name T`, either with `...` before the type, or an identifier that may turn out to be
    /// one or the other.
    fn entry(
        &mut self,
        level: u32,
        variadic_allowed: bool,
        list: &mut List<'a>,
    ) -> Result<(), Refusal> {
        let word = self.peek_word();
        let start = self.at;
        let mut name = None;
        self.step(word.len());
        if is_identifier(word) {
            self.at += word.len();
            match self.peek() {
                Some(',' | ')') => {
                    list.alone.push((start, word));
                    return Ok(());
                }
                Some('.') if !self.text[self.at..].starts_with("...") => self.at = start,
                None => self.at = start,
                Some(_) => name = Some(word),
            }
        }
        let Some(name) = name else {
            self.take_alone_as_types(level, list)?;
            if list.has_names() {
                return Err(self.unexpected("a name and its type, as before"));
            }
            return self.typed(level, variadic_allowed, list, None);
        };
        if !list.types.is_empty() && !list.has_names() {
            self.at = start;
            return Err(self.unexpected("a type without a name, as before"));
        }
        let names = std::mem::take(&mut list.alone);
        self.typed(
            level,
            variadic_allowed && names.is_empty(),
            list,
            Some(name),
        )?;
        // The names before it are of the same type, and stand before it.
        if let Some(ty) = list.types.pop() {
            let label = list.labels.pop();
            for (at, name) in names {
                self.count(at)?;
                list.types.push(ty.clone());
                list.labels.push(Some(name.into()));
            }
            list.types.push(ty);
            list.labels.extend(label);
        }
        Ok(())
    }

    /// A type, which may be variadic, and its name.
    fn typed(
        &mut self,
        level: u32,
        variadic_allowed: bool,
        list: &mut List<'a>,
        name: Option<&str>,
    ) -> Result<(), Refusal> {
        let ty = if variadic_allowed && self.take("...") {
            list.variadic = true;
            let start = self.at;
            let elem = self.ty(level + 1)?;
            Parser::built(start, Type::slice(elem))?
        } else {
            self.ty(level)?
        };
        list.types.push(ty);
        list.labels.push(name.map(Into::into));
        Ok(())
    }

    /// No type follows the identifiers alone: they are types themselves.
    fn take_alone_as_types(&mut self, level: u32, list: &mut List<'a>) -> Result<(), Refusal> {
        let alone = std::mem::take(&mut list.alone);
        if let (Some(&(at, name)), true) = (alone.first(), list.has_names()) {
            self.at = at + name.len();
            return Err(self.unexpected("a type after the name, as before"));
        }
        let end = self.at;
        for (at, _) in &alone {
            self.at = *at;
            self.typed(level, false, list, None)?;
        }
        self.at = end;
        Ok(())
    }
}
