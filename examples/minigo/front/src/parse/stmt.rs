//! Statements.

use super::{Parser, Place};
use crate::ast::*;
use crate::scan::{END, Tok};
use crate::source::{Checked, fault};

impl Parser<'_> {
    pub(super) fn block(&mut self) -> Checked<Block> {
        self.expect("{")?;
        let block = self.stmts()?;
        self.expect("}")?;
        Ok(block)
    }

    /// Statements up to the end of a block or clause.
    fn stmts(&mut self) -> Checked<Block> {
        self.nested(Place::Anywhere, |parser| {
            let mut stmts = Vec::new();
            while !["}", "case", "default", END].contains(&parser.symbol()) {
                if !parser.eat(";") {
                    stmts.push(parser.stmt()?);
                    if !parser.is("}") {
                        parser.expect(";")?;
                    }
                }
            }
            let end = parser.pos();
            Ok(Block { stmts, end })
        })
    }

    fn stmt(&mut self) -> Checked<Stmt> {
        const KEYWORDS: &str = "return break continue fallthrough go defer if for switch select";
        let (pos, symbol) = (self.pos(), self.symbol());
        self.at += usize::from(KEYWORDS.split(' ').any(|keyword| keyword == symbol));
        let kind = match symbol {
            "" if self.is_name() && matches!(self.ahead(1), Tok::Sym(":")) => {
                let name = self.name()?;
                self.expect(":")?;
                StmtKind::Labeled(name, Box::new(self.nested(self.place, Self::stmt)?))
            }
            ";" | "}" => StmtKind::Empty,
            "{" => StmtKind::Block(self.block()?),
            "var" | "const" | "type" => StmtKind::Decl(self.decl()?),
            "return" if self.is(";") || self.is("}") => StmtKind::Return(Vec::new()),
            "return" => StmtKind::Return(self.exprs()?),
            "break" | "continue" => {
                let label = self.is_name().then(|| self.name()).transpose()?;
                StmtKind::Jump(symbol, label)
            }
            "fallthrough" => StmtKind::Fallthrough,
            "goto" => return fault(pos, "goto is outside minigo's subset"),
            "go" => StmtKind::Go(self.later_call(symbol)?),
            "defer" => StmtKind::Defer(self.later_call(symbol)?),
            "if" => self.if_stmt()?,
            "for" => self.for_stmt()?,
            "switch" => self.switch()?,
            "select" => self.select()?,
            _ => return self.simple(false),
        };
        Ok(Stmt { pos, kind })
    }

    fn later_call(&mut self, keyword: &str) -> Checked<Expr> {
        let call = self.expr()?;
        if !matches!(call.kind, ExprKind::Call(_)) {
            let message = format!("expression in {keyword} must be function call");
            return fault(call.pos, message);
        }
        Ok(call)
    }

    /// A statement that may be in the head of another one; with `range`, also a range clause,
    /// which is a loop that has no body yet.
    fn simple(&mut self, range: bool) -> Checked<Stmt> {
        let start = self.pos();
        let mut left = match range && self.is("range") {
            true => Vec::new(),
            false => self.exprs()?,
        };
        let (pos, op) = (self.pos(), self.symbol());
        // What compares belongs to the expressions, so what ends in `=` assigns.
        self.at += usize::from(op.ends_with('=') || ["<-", "++", "--"].contains(&op));
        if range && (left.is_empty() || op == ":=" || op == "=") && self.eat("range") {
            let over = self.expr()?;
            if left.len() > 2 {
                return fault(pos, "range clause permits at most two iteration variables");
            }
            if !self.is("{") {
                return self.unexpected("{");
            }
            let mut left = left.into_iter();
            let kind = StmtKind::Range(Box::new(Range {
                key: left.next(),
                value: left.next(),
                define: op == ":=",
                over,
                body: Block::default(),
            }));
            return Ok(Stmt { pos, kind });
        }
        let kind = match op {
            ":=" => StmtKind::Define(left, self.exprs()?),
            "=" => StmtKind::Assign(left, self.exprs()?),
            _ if left.len() > 1 => return fault(pos, "syntax error: expected one expression"),
            "<-" => StmtKind::Send(left.remove(0), self.expr()?),
            "++" | "--" => {
                let step = self.make(pos, ExprKind::Int(1));
                StmtKind::OpAssign(&op[..1], left.remove(0), step)
            }
            _ => match op.strip_suffix('=') {
                Some(op) => StmtKind::OpAssign(op, left.remove(0), self.expr()?),
                None => StmtKind::Expr(left.remove(0)),
            },
        };
        let pos = if op == ":=" || op == "=" { pos } else { start };
        Ok(Stmt { pos, kind })
    }

    /// What is between a keyword and its block: nothing, `cond`, `init; cond`, and in a loop also
    /// `init; cond; post` or a range clause.
    fn head(&mut self, is_loop: bool) -> Checked<(Option<Stmt>, Option<StmtKind>, Option<Stmt>)> {
        let part = |parser: &mut Self, range| match parser.is(";") || parser.is("{") {
            true => Ok(None),
            false => parser.simple(range).map(Some),
        };
        self.nested(Place::Head, |parser| {
            let (mut init, mut post) = (None, None);
            let mut cond = part(parser, is_loop)?;
            if parser.eat(";") {
                init = cond;
                cond = part(parser, false)?;
                if is_loop {
                    parser.expect(";")?;
                    post = part(parser, false)?;
                    if let Some(Stmt {
                        pos,
                        kind: StmtKind::Define(..),
                    }) = post
                    {
                        let message = "syntax error: cannot declare in post statement of for loop";
                        return fault(pos, message);
                    }
                }
            }
            Ok((init, cond.map(|stmt| stmt.kind), post))
        })
    }

    fn if_stmt(&mut self) -> Checked<StmtKind> {
        let (init, Some(StmtKind::Expr(cond)), _) = self.head(false)? else {
            return self.unexpected("condition");
        };
        let then = self.block()?;
        let otherwise = match self.eat("else") {
            false => None,
            true if self.is("if") || self.is("{") => Some(self.nested(self.place, Self::stmt)?),
            true => return self.unexpected("if or {"),
        };
        Ok(StmtKind::If(Box::new(If {
            init,
            cond,
            then,
            otherwise,
        })))
    }

    fn for_stmt(&mut self) -> Checked<StmtKind> {
        let (init, cond, post) = self.head(true)?;
        let cond = match cond {
            None => None,
            Some(StmtKind::Expr(cond)) => Some(cond),
            Some(StmtKind::Range(mut range)) => {
                range.body = self.block()?;
                return Ok(StmtKind::Range(range));
            }
            Some(_) => return self.unexpected("for loop condition"),
        };
        Ok(StmtKind::For(Box::new(For {
            init,
            cond,
            post,
            body: self.block()?,
        })))
    }

    fn switch(&mut self) -> Checked<StmtKind> {
        let (init, tag, _) = self.head(false)?;
        let mut bind = None;
        let tag = match tag {
            None => None,
            Some(StmtKind::Expr(tag)) => Some(tag),
            Some(StmtKind::Define(ref left, ref right))
                if let ([name], [guard]) = (&left[..], &right[..])
                    && let ExprKind::Ident(text) = &name.kind
                    && let ExprKind::Assert(_, None) = guard.kind =>
            {
                bind = Some((text.clone(), name.pos));
                Some(guard.clone())
            }
            Some(_) => return self.unexpected("value to switch on"),
        };
        let cases = self.clauses(|parser| Ok((parser.exprs()?, None)))?;
        Ok(StmtKind::Switch(Box::new(Switch {
            init,
            tag,
            bind,
            cases,
        })))
    }

    fn select(&mut self) -> Checked<StmtKind> {
        let cases = self.clauses(|parser| Ok((Vec::new(), Some(parser.comm()?))))?;
        Ok(StmtKind::Select(cases))
    }

    /// The clauses of a switch or select; `head` parses what is behind `case`.
    fn clauses(
        &mut self,
        head: impl Fn(&mut Self) -> Checked<(Vec<Expr>, Option<Stmt>)>,
    ) -> Checked<Vec<Case>> {
        self.expect("{")?;
        let mut cases: Vec<Case> = Vec::new();
        while !self.eat("}") {
            let pos = self.pos();
            let mut found = (Vec::new(), None);
            if !self.eat("default") {
                self.expect("case")?;
                found = head(self)?;
            } else if cases.iter().any(Case::is_default) {
                return fault(pos, "multiple defaults");
            }
            self.expect(":")?;
            let ((exprs, comm), body) = (found, self.stmts()?);
            cases.push(Case {
                pos,
                exprs,
                comm,
                body,
            });
        }
        Ok(cases)
    }

    fn comm(&mut self) -> Checked<Stmt> {
        let stmt = self.simple(false)?;
        match stmt.channel() {
            Some(_) => Ok(stmt),
            None => fault(stmt.pos, "select case must be receive, send or assign recv"),
        }
    }
}
