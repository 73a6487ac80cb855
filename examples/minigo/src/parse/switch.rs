//! `switch` and `select`.
#![forbid(unsafe_code)]

use super::Parser;
use crate::ast::*;
use crate::scan::Tok;
use crate::source::{Checked, Pos, fault};

impl Parser<'_> {
    pub(super) fn switch(&mut self) -> Checked<StmtKind> {
        self.expect("switch")?;
        let level = std::mem::replace(&mut self.literal_level, -1);
        let (mut init, mut tag) = (None, None);
        if !self.is("{") {
            if !self.is(";") {
                tag = Some(self.simple()?);
            }
            if self.eat(";") {
                init = tag.take();
                if !self.is("{") {
                    tag = Some(self.simple()?);
                }
            }
        }
        self.literal_level = level;
        let mut bind = None;
        let mut over = None;
        match tag.map(|stmt| (stmt.pos, stmt.kind)) {
            None => {}
            Some((_, StmtKind::Expr(expr))) => over = Some(expr),
            Some((pos, StmtKind::Define(mut left, mut right))) => {
                match (left.pop().map(|e| (e.kind, e.pos)), right.pop()) {
                    (Some((ExprKind::Ident(name), at)), Some(expr))
                        if left.is_empty() && matches!(expr.kind, ExprKind::Assert(_, None)) =>
                    {
                        bind = Some((name, at));
                        over = Some(expr);
                    }
                    _ => return fault(pos, "syntax error: switch expression must be a value"),
                }
            }
            Some((pos, _)) => return fault(pos, "syntax error: switch expression must be a value"),
        }
        self.expect("{")?;
        let mut cases = Vec::new();
        while !self.is("}") {
            cases.push(self.case()?);
        }
        self.expect("}")?;
        match over {
            Some(Expr {
                kind: ExprKind::Assert(over, None),
                ..
            }) => Ok(StmtKind::TypeSwitch(Box::new(TypeSwitch {
                init,
                bind,
                over: *over,
                cases,
            }))),
            tag => Ok(StmtKind::Switch(Box::new(Switch { init, tag, cases }))),
        }
    }

    fn case(&mut self) -> Checked<Case> {
        let pos = self.pos();
        let default = self.eat("default");
        let mut exprs = Vec::new();
        if !default {
            self.expect("case")?;
            loop {
                let star = self.is("*");
                exprs.push(if star {
                    self.ty_or_expr()?
                } else {
                    self.expr()?
                });
                if !self.eat(",") {
                    break;
                }
            }
        }
        self.expect(":")?;
        let stmts = self.stmts()?;
        let end: Pos = self.pos();
        let id = self.id();
        Ok(Case {
            pos,
            exprs,
            default,
            body: Block { stmts, end },
            id,
        })
    }

    /// `*T`, which may be a type or an expression, and looks the same as far as minigo goes.
    fn ty_or_expr(&mut self) -> Checked<Expr> {
        let next = self.tokens.get(self.at + 1).map(|token| &token.tok);
        match next {
            Some(Tok::Sym("[" | "map" | "chan" | "struct" | "interface" | "*")) => self.ty(),
            _ => self.expr(),
        }
    }

    pub(super) fn select(&mut self) -> Checked<StmtKind> {
        self.expect("select")?;
        self.expect("{")?;
        let mut clauses = Vec::new();
        while !self.is("}") {
            let pos = self.pos();
            let comm = if self.eat("default") {
                Comm::Default
            } else {
                self.expect("case")?;
                self.comm()?
            };
            self.expect(":")?;
            let stmts = self.stmts()?;
            let end = self.pos();
            let body = Block { stmts, end };
            clauses.push(CommClause { pos, comm, body });
        }
        self.expect("}")?;
        Ok(StmtKind::Select(clauses))
    }

    fn comm(&mut self) -> Checked<Comm> {
        let stmt = self.simple()?;
        let received = |mut exprs: Vec<Expr>| match exprs.pop().map(|expr| expr.kind) {
            Some(ExprKind::Unary("<-", chan)) if exprs.is_empty() => Some(*chan),
            _ => None,
        };
        let found = match stmt.kind {
            StmtKind::Send(chan, value) => Some(Comm::Send(chan, value)),
            StmtKind::Expr(expr) => {
                received(vec![expr]).map(|chan| Comm::Receive(Vec::new(), false, chan))
            }
            StmtKind::Define(left, right) => {
                received(right).map(|chan| Comm::Receive(left, true, chan))
            }
            StmtKind::Assign(left, right) => {
                received(right).map(|chan| Comm::Receive(left, false, chan))
            }
            _ => None,
        };
        match found {
            Some(comm) => Ok(comm),
            None => fault(stmt.pos, "select case must be receive, send or assign recv"),
        }
    }
}
