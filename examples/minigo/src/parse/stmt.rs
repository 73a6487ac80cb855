//! Statements.
#![forbid(unsafe_code)]

use super::Parser;
use crate::ast::*;
use crate::scan::Tok;
use crate::source::{Checked, fault};

const ASSIGNMENTS: &[(&str, &str)] = &[
    ("+=", "+"),
    ("-=", "-"),
    ("*=", "*"),
    ("/=", "/"),
    ("%=", "%"),
    ("&=", "&"),
    ("|=", "|"),
    ("^=", "^"),
    ("<<=", "<<"),
    (">>=", ">>"),
    ("&^=", "&^"),
];

/// A simple statement, or the head of a range loop.
enum Simple {
    Stmt(Stmt),
    Range(Option<Expr>, Option<Expr>, bool, Expr),
}

impl Parser<'_> {
    pub(super) fn block(&mut self) -> Checked<Block> {
        self.expect("{")?;
        let stmts = self.stmts()?;
        let end = self.expect("}")?;
        Ok(Block { stmts, end })
    }

    /// Statements up to `}`, `case` or `default`.
    pub(super) fn stmts(&mut self) -> Checked<Vec<Stmt>> {
        let mut stmts = Vec::new();
        while !self.is("}") && !self.is("case") && !self.is("default") {
            if matches!(self.tok(), Tok::End) {
                return self.unexpected("}");
            }
            let stmt = self.nested(Self::stmt)?;
            if !matches!(stmt.kind, StmtKind::Empty) {
                stmts.push(stmt);
            }
            if !self.is("case") && !self.is("default") {
                self.end_statement()?;
            }
        }
        Ok(stmts)
    }

    fn stmt(&mut self) -> Checked<Stmt> {
        let pos = self.pos();
        let label = |parser: &mut Self| match parser.tok() {
            Tok::Ident(_) => parser.name().map(Some),
            _ => Ok(None),
        };
        let Tok::Sym(symbol) = *self.tok() else {
            if matches!(self.tok(), Tok::Ident(_))
                && matches!(self.tokens[self.at + 1].tok, Tok::Sym(":"))
            {
                let name = self.name()?;
                self.expect(":")?;
                let inner = match self.is("}") {
                    true => Stmt {
                        pos,
                        kind: StmtKind::Empty,
                    },
                    false => self.nested(Self::stmt)?,
                };
                let kind = StmtKind::Labeled(name, Box::new(inner));
                return Ok(Stmt { pos, kind });
            }
            return self.simple();
        };
        let kind = match symbol {
            ";" => StmtKind::Empty,
            "{" => StmtKind::Block(self.block()?),
            "var" | "const" | "type" => StmtKind::Decl(self.decl()?),
            "return" => {
                self.advance();
                let none = self.is(";") || self.is("}");
                StmtKind::Return(if none { Vec::new() } else { self.expr_list()? })
            }
            "break" => {
                self.advance();
                StmtKind::Break(label(self)?)
            }
            "continue" => {
                self.advance();
                StmtKind::Continue(label(self)?)
            }
            "fallthrough" => {
                self.advance();
                StmtKind::Fallthrough
            }
            "goto" => return fault(pos, "goto is outside minigo's subset"),
            "go" | "defer" => {
                self.advance();
                let at = self.pos();
                let call = self.expr()?;
                if !matches!(call.kind, ExprKind::Call(_)) {
                    let text = format!("expression in {symbol} must be function call");
                    return fault(at, text);
                }
                match symbol {
                    "go" => StmtKind::Go(call),
                    _ => StmtKind::Defer(call),
                }
            }
            "if" => return self.if_stmt(),
            "for" => self.for_stmt()?,
            "switch" => self.switch()?,
            "select" => self.select()?,
            _ => return self.simple(),
        };
        Ok(Stmt { pos, kind })
    }

    pub(super) fn simple(&mut self) -> Checked<Stmt> {
        let pos = self.pos();
        match self.simple_or_range()? {
            Simple::Stmt(stmt) => Ok(stmt),
            Simple::Range(..) => fault(pos, "syntax error: unexpected range"),
        }
    }

    fn simple_or_range(&mut self) -> Checked<Simple> {
        let pos = self.pos();
        if self.eat("range") {
            return Ok(Simple::Range(None, None, false, self.expr()?));
        }
        let mut left = self.expr_list()?;
        let at = self.pos();
        let Tok::Sym(op) = *self.tok() else {
            return self.unexpected("operator or newline");
        };
        let one = |left: &mut Vec<Expr>| match left.pop() {
            Some(expr) if left.is_empty() => Ok(expr),
            _ => fault(at, "syntax error: expected one expression"),
        };
        let kind = match op {
            ":=" | "=" => {
                self.advance();
                if self.eat("range") {
                    let over = self.expr()?;
                    if left.len() > 2 {
                        return fault(pos, "range clause permits at most two iteration variables");
                    }
                    let mut names = left.into_iter();
                    let (key, value) = (names.next(), names.next());
                    return Ok(Simple::Range(key, value, op == ":=", over));
                }
                let right = self.expr_list()?;
                match op {
                    ":=" => StmtKind::Define(left, right),
                    _ => StmtKind::Assign(left, right),
                }
            }
            "++" | "--" => {
                self.advance();
                let target = one(&mut left)?;
                let step = self.expr_of(at, ExprKind::Int(1));
                StmtKind::OpAssign(if op == "++" { "+" } else { "-" }, target, step)
            }
            "<-" => {
                self.advance();
                let chan = one(&mut left)?;
                StmtKind::Send(chan, self.expr()?)
            }
            _ => match ASSIGNMENTS.iter().find(|(assignment, _)| *assignment == op) {
                Some((_, operator)) => {
                    self.advance();
                    let target = one(&mut left)?;
                    StmtKind::OpAssign(operator, target, self.expr()?)
                }
                None => StmtKind::Expr(one(&mut left)?),
            },
        };
        let pos = if matches!(kind, StmtKind::Define(..) | StmtKind::Assign(..)) {
            at
        } else {
            pos
        };
        Ok(Simple::Stmt(Stmt { pos, kind }))
    }

    /// Runs `body` where `{` begins a block.
    fn head<T>(&mut self, body: impl FnOnce(&mut Self) -> Checked<T>) -> Checked<T> {
        let level = std::mem::replace(&mut self.literal_level, -1);
        let result = body(self);
        self.literal_level = level;
        result
    }

    fn if_stmt(&mut self) -> Checked<Stmt> {
        let pos = self.expect("if")?;
        let (init, cond) = self.head(|parser| {
            let first = match parser.is(";") {
                true => None,
                false => Some(parser.simple()?),
            };
            if parser.eat(";") {
                return Ok((first, parser.expr()?));
            }
            match first.map(|stmt| stmt.kind) {
                Some(StmtKind::Expr(cond)) => Ok((None, cond)),
                _ => fault(parser.pos(), "syntax error: cannot use statement as value"),
            }
        })?;
        let then = self.block()?;
        let mut otherwise = None;
        if self.eat("else") {
            otherwise = Some(if self.is("if") {
                self.nested(Self::if_stmt)?
            } else {
                let pos = self.pos();
                let kind = StmtKind::Block(self.block()?);
                Stmt { pos, kind }
            });
        }
        let kind = StmtKind::If(Box::new(If {
            init,
            cond,
            then,
            otherwise,
        }));
        Ok(Stmt { pos, kind })
    }

    fn for_stmt(&mut self) -> Checked<StmtKind> {
        self.expect("for")?;
        let (mut init, mut cond, mut post) = (None, None, None);
        let level = std::mem::replace(&mut self.literal_level, -1);
        if !self.is("{") {
            if !self.is(";") {
                match self.simple_or_range()? {
                    Simple::Range(key, value, define, over) => {
                        self.literal_level = level;
                        let body = self.block()?;
                        return Ok(StmtKind::Range(Box::new(Range {
                            key,
                            value,
                            define,
                            over,
                            body,
                        })));
                    }
                    Simple::Stmt(stmt) => init = Some(stmt),
                }
            }
            if self.eat(";") {
                if !self.is(";") {
                    cond = Some(self.expr()?);
                }
                self.expect(";")?;
                if !self.is("{") {
                    post = Some(self.simple()?);
                }
            } else {
                match init.take().map(|stmt| stmt.kind) {
                    Some(StmtKind::Expr(found)) => cond = Some(found),
                    _ => return self.unexpected("for loop condition"),
                }
            }
        }
        self.literal_level = level;
        let body = self.block()?;
        Ok(StmtKind::For(Box::new(For {
            init,
            cond,
            post,
            body,
        })))
    }
}
