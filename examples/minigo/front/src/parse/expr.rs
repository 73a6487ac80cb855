//! Expressions and types, which are parsed alike: only the checker tells them apart.

use std::sync::Arc;

use super::{Parser, Place};
use crate::ast::*;
use crate::scan::Tok;
use crate::source::{Checked, fault};

/// How many operators or selectors may follow each other: a chain is as deep as it is long.
const MAX_CHAIN: u32 = 200;

/// Binary operators by how tightly they bind.
const LEVELS: [&str; 5] = ["||", "&&", "== != < <= > >=", "+ - | ^", "* / % << >> & &^"];

/// How tightly a binary operator binds; 0 is none.
fn precedence(operator: &str) -> usize {
    let has = |level: &&str| level.split(' ').any(|found| found == operator);
    LEVELS.iter().position(has).map_or(0, |level| level + 1)
}

/// A type of channels behind `<-`, which belongs to the first `chan`; what stood behind that then
/// belongs to the next one.
fn received(ty: Expr) -> Checked<Expr> {
    let kind = match ty.kind {
        ExprKind::ChanType(Dir::Both, of) => ExprKind::ChanType(Dir::Receive, of),
        ExprKind::ChanType(Dir::Send, of) => {
            ExprKind::ChanType(Dir::Receive, Box::new(received(*of)?))
        }
        _ => return fault(ty.pos, "syntax error: unexpected <-, expected chan"),
    };
    Ok(Expr { kind, ..ty })
}

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Checked<Expr> {
        self.nested(self.place, |parser| parser.binary(0))
    }

    pub(super) fn exprs(&mut self) -> Checked<Vec<Expr>> {
        self.separated(Self::expr)
    }

    /// An expression in brackets, where literals may be.
    fn inner(&mut self) -> Checked<Box<Expr>> {
        let inner = self.nested(Place::Anywhere, |parser| parser.binary(0))?;
        Ok(Box::new(inner))
    }

    /// A type, where no other expression may be.
    pub(super) fn ty(&mut self) -> Checked<Expr> {
        match self.starts_type() {
            true => self.nested(Place::Type, Self::unary),
            false => self.unexpected("type"),
        }
    }

    pub(super) fn optional_ty(&mut self) -> Checked<Option<Expr>> {
        self.starts_type().then(|| self.ty()).transpose()
    }

    fn starts_type(&self) -> bool {
        const STARTS: &str = "* [ ( <- map chan func struct interface";
        self.is_name() || STARTS.split(' ').any(|start| self.is(start))
    }

    /// Operators that bind more tightly than `outer`, with their operands.
    fn binary(&mut self, outer: usize) -> Checked<Expr> {
        let pos = self.pos();
        let mut left = self.unary()?;
        for _ in 0..MAX_CHAIN {
            let op = self.symbol();
            if precedence(op) <= outer {
                return Ok(left);
            }
            self.at += 1;
            let right = self.binary(precedence(op))?;
            left = self.make(pos, ExprKind::Binary(op, Box::new(left), Box::new(right)));
        }
        self.too_deep()
    }

    fn unary(&mut self) -> Checked<Expr> {
        let (pos, op) = (self.pos(), self.symbol());
        if !["+", "-", "!", "^", "&", "<-", "*"].contains(&op) {
            return self.primary();
        }
        self.at += 1;
        let inner = self.nested(self.place, Self::unary)?;
        let kind = match inner.kind {
            ExprKind::ChanType(..) if op == "<-" => received(inner)?.kind,
            _ if op == "*" => ExprKind::Star(Box::new(inner)),
            _ => ExprKind::Unary(op, Box::new(inner)),
        };
        Ok(self.make(pos, kind))
    }

    /// An operand with what follows it: selectors, indices, arguments, the body of a literal.
    fn primary(&mut self) -> Checked<Expr> {
        let start = self.pos();
        let mut expr = self.operand()?;
        for _ in 0..MAX_CHAIN {
            let mut pos = start;
            let in_type = self.place == Place::Type;
            let kind = if self.eat(".") {
                if self.eat("(") {
                    let ty = self.optional_ty()?.map(Box::new);
                    if ty.is_none() {
                        self.expect("type")?;
                    }
                    self.expect(")")?;
                    ExprKind::Assert(Box::new(expr), ty)
                } else {
                    pos = self.pos();
                    ExprKind::Selector(Box::new(expr), self.name()?)
                }
            } else if self.is("[") && (!in_type || matches!(expr.kind, ExprKind::Selector(..))) {
                self.index(expr)?
            } else if self.is("(") && !in_type {
                self.call(expr)?
            } else if self.is("{") && self.may_be_literal(&expr) {
                match expr.kind {
                    ExprKind::FuncType(ty) => {
                        let body = Some(self.block()?);
                        ExprKind::Func(Arc::new(FuncDecl {
                            pos,
                            name: "".into(),
                            receiver: None,
                            ty,
                            body,
                        }))
                    }
                    _ => self.composite(Some(Box::new(expr)))?,
                }
            } else {
                return Ok(expr);
            };
            expr = self.make(pos, kind);
        }
        self.too_deep()
    }

    /// Whether the expression may be the type of a literal whose `{` is next.
    fn may_be_literal(&self, expr: &Expr) -> bool {
        match expr.kind {
            ExprKind::Ident(_) | ExprKind::Selector(..) => self.place == Place::Anywhere,
            // `weak.Pointer[T]`; behind an element of something there is never a `{`.
            ExprKind::Index(..) => self.place == Place::Anywhere,
            ExprKind::ArrayType(..)
            | ExprKind::SliceType(_)
            | ExprKind::MapType(..)
            | ExprKind::StructType(_)
            | ExprKind::FuncType(_) => self.place != Place::Type,
            _ => false,
        }
    }

    fn operand(&mut self) -> Checked<Expr> {
        let pos = self.pos();
        let kind = if let Tok::Operand(kind) = self.ahead(0).clone() {
            self.at += 1;
            kind
        } else if self.eat("(") {
            let inner = self.inner()?;
            self.expect(")")?;
            ExprKind::Paren(inner)
        } else if self.eat("[") {
            let slice = self.is("]");
            let length = match slice || self.eat("...") {
                true => None,
                false => Some(self.inner()?),
            };
            self.expect("]")?;
            let of = Box::new(self.ty()?);
            match slice {
                true => ExprKind::SliceType(of),
                false => ExprKind::ArrayType(length, of),
            }
        } else if self.eat("map") {
            self.expect("[")?;
            let key = self.ty()?;
            self.expect("]")?;
            ExprKind::MapType(Box::new(key), Box::new(self.ty()?))
        } else if self.eat("chan") {
            let dir = if self.eat("<-") { Dir::Send } else { Dir::Both };
            ExprKind::ChanType(dir, Box::new(self.ty()?))
        } else if self.eat("func") {
            ExprKind::FuncType(self.signature()?)
        } else if self.eat("struct") {
            ExprKind::StructType(self.list(["{", ";", "}"], Self::fields)?.concat())
        } else if self.eat("interface") {
            ExprKind::InterfaceType(self.list(["{", ";", "}"], Self::interface_elem)?)
        } else {
            return self.unexpected("expression");
        };
        Ok(self.make(pos, kind))
    }

    /// `{k: v, ...}`, where elements may be literals that leave out their types.
    fn composite(&mut self, ty: Option<Box<Expr>>) -> Checked<ExprKind> {
        let element = |parser: &mut Self| {
            let pos = parser.pos();
            if !parser.is("{") {
                return parser.expr();
            }
            let kind = parser.nested(Place::Anywhere, |parser| parser.composite(None))?;
            Ok(parser.make(pos, kind))
        };
        let elems = self.list(["{", ",", "}"], |parser| {
            let first = element(parser)?;
            Ok(match parser.eat(":") {
                true => (Some(first), element(parser)?),
                false => (None, first),
            })
        })?;
        Ok(ExprKind::Composite(ty, elems))
    }

    /// `x[i]`, `x[i:j:k]`, `weak.Pointer[T]`.
    fn index(&mut self, of: Expr) -> Checked<ExprKind> {
        let pos = self.pos();
        self.expect("[")?;
        let mut bounds = [None, None, None];
        let mut colons = 0;
        while colons == 0 || !self.is("]") {
            if !self.is(":") {
                bounds[colons] = Some(self.inner()?);
            }
            if colons == 2 || !self.eat(":") {
                break;
            }
            colons += 1;
        }
        if self.is(",") {
            return fault(self.pos(), "type arguments are outside minigo's subset");
        }
        self.expect("]")?;
        match (colons, bounds) {
            (0, [Some(index), ..]) => Ok(ExprKind::Index(Box::new(of), index)),
            (2, [_, None, _] | [_, _, None]) => {
                fault(pos, "syntax error: index missing in 3-index slice")
            }
            (_, bounds) => Ok(ExprKind::Slice(Box::new(of), bounds)),
        }
    }

    fn call(&mut self, callee: Expr) -> Checked<ExprKind> {
        let mut spread = false;
        let args = self.list(["(", ",", ")"], |parser| {
            if spread {
                return fault(parser.pos(), "can only use ... with final argument in list");
            }
            let arg = parser.expr()?;
            spread = parser.eat("...");
            Ok(arg)
        })?;
        Ok(ExprKind::Call(Box::new(Call {
            callee,
            args,
            spread,
        })))
    }

    pub(super) fn signature(&mut self) -> Checked<Arc<FuncType>> {
        let (params, variadic) = self.params(false)?;
        let pos = self.pos();
        let (results, spread) = self.params(true)?;
        if spread {
            return fault(pos, "can only use ... with final parameter in list");
        }
        Ok(Arc::new(FuncType {
            params,
            variadic,
            results,
        }))
    }

    /// `(a, b int, c ...T)`, and whether there is `...`; results may also be one type or nothing.
    pub(super) fn params(&mut self, results: bool) -> Checked<(Vec<FieldDecl>, bool)> {
        let (mut variadic, mut named) = (false, false);
        let entry = |parser: &mut Self| {
            let pos = parser.pos();
            if variadic {
                return fault(pos, "can only use ... with final parameter in list");
            }
            let first = (!parser.is("...")).then(|| parser.ty()).transpose()?;
            variadic = parser.eat("...");
            let second = match variadic {
                true => Some(parser.ty()?),
                false => parser.optional_ty()?,
            };
            named |= first.is_some() && second.is_some();
            Ok((pos, first, second))
        };
        let entries = match results && !self.is("(") {
            true if self.starts_type() => vec![(self.pos(), Some(self.ty()?), None)],
            true => Vec::new(),
            false => self.list(["(", ",", ")"], entry)?,
        };
        // Either all have names or none has; a name without a type has that of the next one.
        let mut following: Option<Expr> = None;
        let mut params = Vec::new();
        for (pos, first, second) in entries.into_iter().rev() {
            if variadic && named && second.is_none() && params.len() == 1 {
                return fault(pos, "can only use ... with final parameter in list");
            }
            let (name, ty) = match first.as_ref().map(|first| &first.kind) {
                _ if !named => (None, second.or(first)),
                Some(ExprKind::Ident(name)) => (Some(name.clone()), second.or(following.take())),
                _ => (None, None),
            };
            let Some(ty) = ty else {
                return fault(pos, "syntax error: mixed named and unnamed parameters");
            };
            following = Some(ty.clone());
            params.push(FieldDecl { pos, name, ty });
        }
        params.reverse();
        Ok((params, variadic))
    }

    /// `a, b T`, or an embedded `T`, `*T` or `p.T`.
    fn fields(&mut self) -> Checked<Vec<FieldDecl>> {
        let firsts = self.separated(Self::ty)?;
        let ty = match firsts.len() {
            1 => self.optional_ty()?,
            _ => Some(self.ty()?),
        };
        // A tag, which only reflection sees.
        self.at += usize::from(matches!(self.ahead(0), Tok::Operand(ExprKind::Str(_))));
        let mut fields = Vec::new();
        for first in firsts {
            let pos = first.pos;
            let (name, ty) = match (&ty, &first.kind) {
                (None, _) => (None, first),
                (Some(ty), ExprKind::Ident(name)) => (Some(name.clone()), ty.clone()),
                _ => return fault(pos, "syntax error: expected a field's name"),
            };
            fields.push(FieldDecl { pos, name, ty });
        }
        Ok(fields)
    }

    /// A method, or an embedded interface.
    fn interface_elem(&mut self) -> Checked<FieldDecl> {
        let mut ty = self.ty()?;
        let (pos, mut name) = (ty.pos, None);
        if self.is("|") {
            return fault(pos, "type sets are outside minigo's subset");
        }
        if let (ExprKind::Ident(found), true) = (&ty.kind, self.is("(")) {
            name = Some(found.clone());
            ty.kind = ExprKind::FuncType(self.signature()?);
        }
        Ok(FieldDecl { pos, name, ty })
    }
}
