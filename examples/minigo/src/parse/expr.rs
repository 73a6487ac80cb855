//! Expressions.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::Parser;
use crate::ast::*;
use crate::scan::Tok;
use crate::source::{Checked, fault};

/// Binary operators by how tightly they bind.
const LEVELS: &[&[&str]] = &[
    &["||"],
    &["&&"],
    &["==", "!=", "<", "<=", ">", ">="],
    &["+", "-", "|", "^"],
    &["*", "/", "%", "<<", ">>", "&", "&^"],
];

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Checked<Expr> {
        self.nested(|parser| parser.binary(0))
    }

    pub(super) fn expr_list(&mut self) -> Checked<Vec<Expr>> {
        let mut list = vec![self.expr()?];
        while self.eat(",") {
            list.push(self.expr()?);
        }
        Ok(list)
    }

    fn binary(&mut self, level: usize) -> Checked<Expr> {
        if level == LEVELS.len() {
            return self.unary();
        }
        let mut left = self.binary(level + 1)?;
        let mut length = 0;
        while let Tok::Sym(op) = *self.tok()
            && LEVELS[level].contains(&op)
        {
            // A chain of operators is as deep as it is long.
            length += 1;
            if length > 500 {
                return fault(self.pos(), "nested too deeply for minigo");
            }
            let pos = self.advance().pos;
            let right = self.binary(level + 1)?;
            let kind = ExprKind::Binary(op, Box::new(left), Box::new(right));
            left = self.expr_of(pos, kind);
        }
        Ok(left)
    }

    fn unary(&mut self) -> Checked<Expr> {
        let pos = self.pos();
        let Tok::Sym(op) = *self.tok() else {
            return self.primary();
        };
        if op == "*" {
            self.advance();
            let inner = self.nested(Self::unary)?;
            return Ok(self.expr_of(pos, ExprKind::Star(Box::new(inner))));
        }
        if op == "<-" && matches!(self.tokens[self.at + 1].tok, Tok::Sym("chan")) {
            return self.primary();
        }
        if !["+", "-", "!", "^", "&", "<-"].contains(&op) {
            return self.primary();
        }
        self.advance();
        let inner = self.nested(Self::unary)?;
        Ok(self.expr_of(pos, ExprKind::Unary(op, Box::new(inner))))
    }

    fn operand(&mut self) -> Checked<Expr> {
        let pos = self.pos();
        let kind = match self.tok().clone() {
            Tok::Ident(name) => ExprKind::Ident(name),
            Tok::Int(value) => ExprKind::Int(value),
            Tok::Float(value) => ExprKind::Float(value),
            Tok::Char(value) => ExprKind::Char(value),
            Tok::Str(bytes) => ExprKind::Str(bytes),
            Tok::Sym("(") => {
                self.advance();
                let level = std::mem::replace(&mut self.literal_level, 1);
                let inner = if self.is("*") && self.is_type_behind_star() {
                    self.ty()?
                } else {
                    self.expr()?
                };
                self.literal_level = level;
                self.expect(")")?;
                return Ok(self.expr_of(pos, ExprKind::Paren(Box::new(inner))));
            }
            Tok::Sym("func") => {
                self.advance();
                let ty = self.signature()?;
                if !self.is("{") {
                    return Ok(self.expr_of(pos, ExprKind::FuncType(ty)));
                }
                let level = std::mem::replace(&mut self.literal_level, 0);
                let body = self.block()?;
                self.literal_level = level;
                let literal = Arc::new(FuncLit { ty, body });
                return Ok(self.expr_of(pos, ExprKind::Func(literal)));
            }
            Tok::Sym("[" | "map" | "chan" | "struct" | "interface" | "<-") => return self.ty(),
            _ => return self.unexpected("expression"),
        };
        self.advance();
        Ok(self.expr_of(pos, kind))
    }

    /// `(*[]T)(x)`: a type that no expression looks like.
    fn is_type_behind_star(&self) -> bool {
        let next = self.tokens.get(self.at + 1).map(|token| &token.tok);
        matches!(
            next,
            Some(Tok::Sym("[" | "map" | "chan" | "struct" | "interface"))
        )
    }

    fn primary(&mut self) -> Checked<Expr> {
        let mut expr = self.operand()?;
        let mut length = 0;
        loop {
            length += 1;
            if length > 200 {
                return fault(self.pos(), "nested too deeply for minigo");
            }
            let pos = self.pos();
            if self.eat(".") {
                expr = if self.eat("(") {
                    let ty = match self.eat("type") {
                        true => None,
                        false => Some(Box::new(self.ty()?)),
                    };
                    self.expect(")")?;
                    self.expr_of(pos, ExprKind::Assert(Box::new(expr), ty))
                } else {
                    let at = self.pos();
                    let name = self.name()?;
                    self.expr_of(at, ExprKind::Selector(Box::new(expr), name))
                };
            } else if self.is("[") {
                expr = self.index(expr)?;
            } else if self.is("(") {
                expr = self.call(expr)?;
            } else if self.is("{") && self.may_be_literal(&expr) {
                let at = expr.pos;
                let elems = self.elements()?;
                expr = self.expr_of(at, ExprKind::Composite(Some(Box::new(expr)), elems));
            } else {
                return Ok(expr);
            }
        }
    }

    fn may_be_literal(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Ident(_) => self.literal_level >= 0,
            ExprKind::Selector(of, _) => {
                self.literal_level >= 0 && matches!(of.kind, ExprKind::Ident(_))
            }
            ExprKind::ArrayType(..)
            | ExprKind::SliceType(_)
            | ExprKind::MapType(..)
            | ExprKind::StructType(_) => true,
            _ => false,
        }
    }

    /// `{k: v, ...}`.
    fn elements(&mut self) -> Checked<Vec<(Option<Expr>, Expr)>> {
        self.expect("{")?;
        let level = std::mem::replace(&mut self.literal_level, 1);
        let mut elems = Vec::new();
        while !self.is("}") {
            let first = self.element()?;
            elems.push(match self.eat(":") {
                true => (Some(first), self.element()?),
                false => (None, first),
            });
            if !self.eat(",") {
                break;
            }
        }
        self.literal_level = level;
        if !self.is("}") {
            return self.unexpected("comma or }");
        }
        self.advance();
        Ok(elems)
    }

    fn element(&mut self) -> Checked<Expr> {
        if !self.is("{") {
            return self.expr();
        }
        let pos = self.pos();
        let elems = self.nested(Self::elements)?;
        Ok(self.expr_of(pos, ExprKind::Composite(None, elems)))
    }

    /// `x[i]`, `x[i:j:k]`, `weak.Pointer[T]`.
    fn index(&mut self, expr: Expr) -> Checked<Expr> {
        let pos = self.expect("[")?;
        let level = std::mem::replace(&mut self.literal_level, 1);
        let mut bounds = [None, None, None];
        let mut colons = 0;
        loop {
            if !self.is(":") && !self.is("]") {
                let index = match self.is("*") && self.is_type_behind_star() {
                    true => self.ty()?,
                    false => self.expr()?,
                };
                bounds[colons] = Some(Box::new(index));
            }
            if colons == 2 || !self.eat(":") {
                break;
            }
            colons += 1;
        }
        self.literal_level = level;
        if self.is(",") {
            return fault(self.pos(), "type arguments are outside minigo's subset");
        }
        self.expect("]")?;
        if colons > 0 {
            if colons == 2 && (bounds[1].is_none() || bounds[2].is_none()) {
                return fault(pos, "syntax error: index missing in 3-index slice");
            }
            return Ok(self.expr_of(pos, ExprKind::Slice(Box::new(expr), bounds)));
        }
        let [Some(index), ..] = bounds else {
            return fault(pos, "syntax error: expected operand");
        };
        Ok(self.expr_of(pos, ExprKind::Index(Box::new(expr), index)))
    }

    fn call(&mut self, callee: Expr) -> Checked<Expr> {
        let pos = self.expect("(")?;
        let level = std::mem::replace(&mut self.literal_level, 1);
        let (mut args, mut spread) = (Vec::new(), false);
        while !self.is(")") {
            if spread {
                return fault(self.pos(), "can only use ... with final argument in list");
            }
            let star = self.is("*") && self.is_type_behind_star();
            args.push(if star { self.ty()? } else { self.expr()? });
            spread = self.eat("...");
            if !self.eat(",") {
                break;
            }
        }
        self.literal_level = level;
        if !self.is(")") {
            return self.unexpected("comma or )");
        }
        self.advance();
        let call = Call {
            callee,
            args,
            spread,
        };
        Ok(self.expr_of(pos, ExprKind::Call(Box::new(call))))
    }
}
