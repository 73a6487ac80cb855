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
    /// How many entries stand before the `...` of a prototype of C's, if there is one.
    fixed: Option<usize>,
    /// Identifiers alone between commas, with their places: types, or names whose type is written
    /// after the last of them. What follows decides.
    alone: Vec<(usize, &'a str)>,
}

/// Which `...` may stand in a list.
#[derive(Clone, Copy, PartialEq)]
enum Ellipsis {
    None,
    /// Before the type of the last entry.
    Go,
    /// That, or as an entry of its own.
    GoOrC,
}

impl List<'_> {
    fn has_names(&self) -> bool {
        self.labels.last().is_some_and(Option::is_some)
    }
}

impl<'a> Parser<'a> {
    /// What follows `func` or a method's name, with its names. The types in it are `level` deep.
    pub(super) fn func(&mut self, level: u32) -> Result<(FuncType, Labels), Refusal> {
        let (func, labels, _) = self.lists(level, Ellipsis::Go)?;
        Ok((func, labels))
    }

    /// What follows `func` in a signature; the number counts the parameters before the `...` of a
    /// prototype of C's.
    pub(super) fn signature_func(&mut self) -> Result<(FuncType, Option<usize>), Refusal> {
        let (func, _, fixed) = self.lists(1, Ellipsis::GoOrC)?;
        Ok((func, fixed))
    }

    fn lists(
        &mut self,
        level: u32,
        ellipsis: Ellipsis,
    ) -> Result<(FuncType, Labels, Option<usize>), Refusal> {
        self.expect("(", "\"(\"")?;
        let params = self.list(level, ellipsis)?;
        let mut labels = params.labels;
        let results = if self.take("(") {
            let results = self.list(level, Ellipsis::None)?;
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
        Ok((func, labels, params.fixed))
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
    fn list(&mut self, level: u32, ellipsis: Ellipsis) -> Result<List<'a>, Refusal> {
        let mut list = List::default();
        while !self.take(")") {
            if ellipsis == Ellipsis::GoOrC && list.fixed.is_none() && self.is_lone_ellipsis() {
                self.take("...");
                list.fixed = Some(list.types.len() + list.alone.len());
            } else {
                self.entry(level, ellipsis != Ellipsis::None, &mut list)?;
            }
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

    /// Whether `...` stands here without a type behind it.
    fn is_lone_ellipsis(&mut self) -> bool {
        self.peek();
        let rest = self.text[self.at..].strip_prefix("...");
        rest.is_some_and(|rest| rest.trim_start().starts_with([',', ')']))
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
