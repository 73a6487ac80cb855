//! Types.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::Parser;
use crate::ast::*;
use crate::scan::Tok;
use crate::source::{Checked, Pos, fault};

impl Parser<'_> {
    /// Parameters and results.
    pub(super) fn signature(&mut self) -> Checked<Arc<FuncType>> {
        let (params, variadic) = self.params()?;
        let mut results = Vec::new();
        if self.is("(") {
            let pos = self.pos();
            let (found, variadic) = self.params()?;
            if variadic {
                return fault(pos, "can only use ... with final parameter in list");
            }
            results = found;
        } else if self.starts_type() {
            let pos = self.pos();
            let ty = self.ty()?;
            results.push(Param {
                pos,
                name: None,
                ty,
            });
        }
        Ok(Arc::new(FuncType {
            params,
            variadic,
            results,
        }))
    }

    /// `(a, b int, c ...T)` or `(int, T)`.
    pub(super) fn params(&mut self) -> Checked<(Vec<Param>, bool)> {
        self.expect("(")?;
        let mut entries: Vec<(Pos, Option<Expr>, Option<Expr>)> = Vec::new();
        let mut variadic = false;
        while !self.is(")") {
            let pos = self.pos();
            if variadic {
                return fault(pos, "can only use ... with final parameter in list");
            }
            let mut first = None;
            let mut second = None;
            if self.eat("...") {
                variadic = true;
                first = Some(self.ty()?);
            } else {
                let ty = self.ty()?;
                if self.eat("...") {
                    variadic = true;
                    second = Some(self.ty()?);
                } else if self.starts_type() {
                    second = Some(self.ty()?);
                }
                first = first.or(Some(ty));
            }
            entries.push((pos, first, second));
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        let named = entries.iter().any(|(_, _, second)| second.is_some());
        let mut params = Vec::new();
        let mut following: Option<Expr> = None;
        for (pos, first, second) in entries.into_iter().rev() {
            let Some(first) = first else { continue };
            if !named {
                params.push(Param {
                    pos,
                    name: None,
                    ty: first,
                });
                continue;
            }
            let ExprKind::Ident(name) = first.kind else {
                return fault(pos, "syntax error: mixed named and unnamed parameters");
            };
            let Some(ty) = second.or_else(|| following.clone()) else {
                return fault(pos, "syntax error: mixed named and unnamed parameters");
            };
            following = Some(ty.clone());
            params.push(Param {
                pos,
                name: Some(name),
                ty,
            });
        }
        params.reverse();
        Ok((params, variadic))
    }

    fn starts_type(&self) -> bool {
        const STARTS: &[&str] = &[
            "*",
            "[",
            "map",
            "chan",
            "func",
            "struct",
            "interface",
            "<-",
            "(",
        ];
        match self.tok() {
            Tok::Ident(_) => true,
            Tok::Sym(symbol) => STARTS.contains(symbol),
            _ => false,
        }
    }

    pub(super) fn ty(&mut self) -> Checked<Expr> {
        self.nested(Self::ty_inner)
    }

    fn ty_inner(&mut self) -> Checked<Expr> {
        let pos = self.pos();
        let kind = match self.tok().clone() {
            Tok::Ident(_) => return self.type_name(),
            Tok::Sym("*") => {
                self.advance();
                ExprKind::Star(Box::new(self.ty()?))
            }
            Tok::Sym("(") => {
                self.advance();
                let inner = self.ty()?;
                self.expect(")")?;
                ExprKind::Paren(Box::new(inner))
            }
            Tok::Sym("[") => {
                self.advance();
                self.array_type()?
            }
            Tok::Sym("map") => {
                self.advance();
                self.expect("[")?;
                let key = self.ty()?;
                self.expect("]")?;
                ExprKind::MapType(Box::new(key), Box::new(self.ty()?))
            }
            Tok::Sym("chan") => {
                self.advance();
                let dir = if self.eat("<-") { Dir::Send } else { Dir::Both };
                ExprKind::ChanType(dir, Box::new(self.ty()?))
            }
            Tok::Sym("<-") => {
                self.advance();
                self.expect("chan")?;
                ExprKind::ChanType(Dir::Receive, Box::new(self.ty()?))
            }
            Tok::Sym("func") => {
                self.advance();
                ExprKind::FuncType(self.signature()?)
            }
            Tok::Sym("struct") => self.struct_type()?,
            Tok::Sym("interface") => self.interface_type()?,
            _ => return self.unexpected("type"),
        };
        Ok(self.expr_of(pos, kind))
    }

    /// Behind `[`.
    fn array_type(&mut self) -> Checked<ExprKind> {
        if self.eat("]") {
            return Ok(ExprKind::SliceType(Box::new(self.ty()?)));
        }
        let mut length = None;
        if !self.eat("...") {
            let level = std::mem::replace(&mut self.literal_level, 1);
            length = Some(Box::new(self.expr()?));
            self.literal_level = level;
        }
        self.expect("]")?;
        Ok(ExprKind::ArrayType(length, Box::new(self.ty()?)))
    }

    /// `T`, `p.T` or `weak.Pointer[T]`.
    fn type_name(&mut self) -> Checked<Expr> {
        let pos = self.pos();
        let mut name = self.ident()?;
        if self.eat(".") {
            let member = self.name()?;
            name = self.expr_of(pos, ExprKind::Selector(Box::new(name), member));
            if self.eat("[") {
                let argument = self.ty()?;
                self.expect("]")?;
                let kind = ExprKind::Index(Box::new(name), Box::new(argument));
                name = self.expr_of(pos, kind);
            }
        }
        Ok(name)
    }

    fn struct_type(&mut self) -> Checked<ExprKind> {
        self.expect("struct")?;
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.eat("}") {
            let pos = self.pos();
            let next = self.tokens.get(self.at + 1).map(|token| &token.tok);
            let ends = matches!(next, Some(Tok::Sym(";" | "}" | ".")) | Some(Tok::Str(_)));
            if self.is("*") || matches!(self.tok(), Tok::Ident(_)) && ends {
                let ty = self.ty()?;
                let named = match &ty.kind {
                    ExprKind::Star(inner) => &inner.kind,
                    other => other,
                };
                let (ExprKind::Ident(name) | ExprKind::Selector(_, name)) = named else {
                    return fault(pos, "syntax error: embedded field must be a type name");
                };
                fields.push(FieldDecl {
                    pos,
                    name: name.clone(),
                    ty,
                    embedded: true,
                });
            } else {
                let mut names = vec![(self.pos(), self.name()?)];
                while self.eat(",") {
                    names.push((self.pos(), self.name()?));
                }
                let ty = self.ty()?;
                fields.extend(names.into_iter().map(|(pos, name)| FieldDecl {
                    pos,
                    name,
                    ty: ty.clone(),
                    embedded: false,
                }));
            }
            if matches!(self.tok(), Tok::Str(_)) {
                return fault(self.pos(), "struct tags are outside minigo's subset");
            }
            self.end_statement()?;
        }
        Ok(ExprKind::StructType(fields))
    }

    fn interface_type(&mut self) -> Checked<ExprKind> {
        self.expect("interface")?;
        self.expect("{")?;
        let mut elems = Vec::new();
        while !self.eat("}") {
            let pos = self.pos();
            let next = self.tokens.get(self.at + 1).map(|token| &token.tok);
            if matches!(self.tok(), Tok::Ident(_)) && matches!(next, Some(Tok::Sym("("))) {
                let name = self.name()?;
                elems.push(InterfaceElem::Method(name, self.signature()?));
            } else {
                elems.push(InterfaceElem::Embedded(self.type_name()?));
            }
            if self.is("|") || self.is("~") {
                return fault(pos, "type sets are outside minigo's subset");
            }
            self.end_statement()?;
        }
        Ok(ExprKind::InterfaceType(elems))
    }
}
