//! Statements.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::{Checker, Mode, Operand};
use crate::ast::*;
use crate::check::entity::*;
use crate::source::{Checked, Pos, fault};
use crate::types::{Kind, Ty};

impl Checker {
    pub(super) fn stmts(&mut self, stmts: &[Stmt]) -> Checked<()> {
        for stmt in stmts {
            self.stmt(stmt, None)?;
        }
        Ok(())
    }

    pub(super) fn block(&mut self, block: &Block) -> Checked<()> {
        self.scoped(|checker| checker.stmts(&block.stmts))
    }

    fn stmt(&mut self, stmt: &Stmt, label: Option<&Name>) -> Checked<()> {
        match &stmt.kind {
            StmtKind::Empty => Ok(()),
            StmtKind::Expr(expr) => self.expr_stmt(expr),
            StmtKind::Send(chan, value) => self.send(chan, value),
            StmtKind::OpAssign(op, target, value) => self.op_assign(stmt, op, target, value),
            StmtKind::Assign(left, right) => {
                // The left sides first: they may name what the right sides give no type.
                let mut wanted = Vec::new();
                for target in left {
                    wanted.push(self.target(target)?);
                }
                let values = self.values(right, left.len(), stmt.pos)?;
                for ((operand, pos), ty) in values.iter().zip(wanted) {
                    match ty {
                        Some(ty) => self.assignable(operand, ty, *pos, "assignment")?,
                        None => self.variable_type(operand, *pos).map(drop)?,
                    }
                }
                Ok(())
            }
            StmtKind::Define(left, right) => self.define(stmt.pos, left, right),
            StmtKind::Decl(decls) => self.local_decls(decls),
            StmtKind::Go(call) => self.call_stmt(call),
            StmtKind::Defer(call) => {
                if let Some(func) = self.place.func {
                    self.out.funcs[func.0 as usize].has_defer = true;
                }
                self.call_stmt(call)
            }
            StmtKind::Return(values) => self.return_stmt(stmt.pos, values),
            StmtKind::Break(to) => self.jump(stmt.pos, to.as_ref(), "break"),
            StmtKind::Continue(to) => self.jump(stmt.pos, to.as_ref(), "continue"),
            StmtKind::Fallthrough => fault(stmt.pos, "fallthrough statement out of place"),
            StmtKind::Block(block) => self.block(block),
            StmtKind::If(inner) => self.scoped(|checker| {
                checker.optional(inner.init.as_ref())?;
                checker.condition(&inner.cond)?;
                checker.block(&inner.then)?;
                checker.optional(inner.otherwise.as_ref())
            }),
            StmtKind::For(inner) => self.labeled(label, true, |checker| {
                checker.scoped(|checker| {
                    checker.optional(inner.init.as_ref())?;
                    if let Some(cond) = &inner.cond {
                        checker.condition(cond)?;
                    }
                    checker.optional(inner.post.as_ref())?;
                    checker.block(&inner.body)
                })
            }),
            StmtKind::Range(inner) => self.labeled(label, true, |checker| checker.range(inner)),
            StmtKind::Switch(inner) => self.labeled(label, false, |checker| {
                checker.scoped(|checker| checker.switch(inner))
            }),
            StmtKind::TypeSwitch(inner) => self.labeled(label, false, |checker| {
                checker.scoped(|checker| checker.type_switch(inner))
            }),
            StmtKind::Select(clauses) => self.labeled(label, false, |checker| {
                clauses.iter().try_for_each(|clause| checker.clause(clause))
            }),
            StmtKind::Labeled(name, inner) => {
                let known = self.place.labels.iter().any(|(label, _)| label == name);
                if known {
                    return fault(stmt.pos, format!("label {name} already defined"));
                }
                if !matches!(
                    inner.kind,
                    StmtKind::For(_)
                        | StmtKind::Range(_)
                        | StmtKind::Switch(_)
                        | StmtKind::TypeSwitch(_)
                        | StmtKind::Select(_)
                ) {
                    let text = "labels of other statements are outside minigo's subset";
                    return fault(stmt.pos, text);
                }
                self.stmt(inner, Some(name))
            }
        }
    }

    pub(super) fn optional(&mut self, stmt: Option<&Stmt>) -> Checked<()> {
        stmt.map_or(Ok(()), |stmt| self.stmt(stmt, None))
    }

    fn labeled(
        &mut self,
        label: Option<&Name>,
        is_loop: bool,
        body: impl FnOnce(&mut Self) -> Checked<()>,
    ) -> Checked<()> {
        self.place
            .labels
            .extend(label.map(|label| (label.clone(), is_loop)));
        self.place.loops += u32::from(is_loop);
        self.place.breakable += 1;
        body(self)?;
        self.place.breakable -= 1;
        self.place.loops -= u32::from(is_loop);
        if label.is_some() {
            self.place.labels.pop();
        }
        Ok(())
    }

    fn jump(&mut self, pos: Pos, label: Option<&Name>, what: &str) -> Checked<()> {
        let inside = match (label, what) {
            (Some(name), _) => {
                let found = self
                    .place
                    .labels
                    .iter()
                    .rev()
                    .find(|(label, _)| label == name);
                found.is_some_and(|(_, is_loop)| what == "break" || *is_loop)
            }
            (None, "break") => self.place.breakable > 0,
            (None, _) => self.place.loops > 0,
        };
        match (inside, label) {
            (true, _) => Ok(()),
            (false, Some(label)) => fault(pos, format!("invalid {what} label {label}")),
            (false, None) => fault(pos, format!("{what} is not in a loop, switch, or select")),
        }
    }

    fn condition(&mut self, cond: &Expr) -> Checked<()> {
        let operand = self.expr(cond)?;
        match self.out.types.is_bool(operand.ty) {
            true => Ok(()),
            false => fault(cond.pos, "non-boolean condition"),
        }
    }

    fn expr_stmt(&mut self, expr: &Expr) -> Checked<()> {
        let operand = self.operand(expr)?;
        let mut inner = expr;
        while let ExprKind::Paren(inside) = &inner.kind {
            inner = inside;
        }
        let effect = match &inner.kind {
            ExprKind::Unary("<-", _) => true,
            ExprKind::Call(_) => match self.out.calls.get(&inner.id) {
                Some(CallKind::Convert(_)) => false,
                Some(CallKind::Builtin(builtin)) => {
                    use Builtin::*;
                    operand.mode == Mode::NoValue || matches!(builtin, Copy | Recover | AddCleanup)
                }
                _ => true,
            },
            _ => false,
        };
        match effect {
            true => Ok(()),
            false => fault(expr.pos, "expression is not used"),
        }
    }

    /// The call of `go` or `defer`.
    fn call_stmt(&mut self, call: &Expr) -> Checked<()> {
        self.expr_stmt(call)
    }

    pub(super) fn send(&mut self, chan: &Expr, value: &Expr) -> Checked<()> {
        let channel = self.expr(chan)?;
        let operand = self.expr(value)?;
        match *self.out.types.kind(channel.ty) {
            Kind::Chan(Dir::Receive, _) => fault(
                chan.pos,
                "invalid operation: cannot send to receive-only channel",
            ),
            Kind::Chan(_, elem) => self.assignable(&operand, elem, value.pos, "send"),
            _ => fault(chan.pos, "invalid operation: cannot send to non-channel"),
        }
    }

    /// The type that an assignment's left side wants; `None` for `_`.
    pub(super) fn target(&mut self, expr: &Expr) -> Checked<Option<Ty>> {
        if let ExprKind::Ident(name) = &expr.kind {
            if &**name == "_" {
                return Ok(None);
            }
            // An assignment is no use.
            if let Entity::Var(var) = self.lookup(name, expr.pos)? {
                let used = self.out.vars[var.0 as usize].used;
                let operand = self.expr(expr)?;
                self.out.vars[var.0 as usize].used = used;
                return Ok(Some(operand.ty));
            }
        }
        let operand = self.expr(expr)?;
        match operand.mode {
            Mode::Variable | Mode::MapElem => Ok(Some(operand.ty)),
            _ => fault(
                expr.pos,
                "cannot assign to expression (neither addressable nor a map index)",
            ),
        }
    }

    fn op_assign(&mut self, stmt: &Stmt, op: &'static str, to: &Expr, value: &Expr) -> Checked<()> {
        let Some(ty) = self.target(to)? else {
            return fault(to.pos, "cannot use _ as value");
        };
        let position = if matches!(value.kind, ExprKind::Int(1)) {
            stmt.pos
        } else {
            value.pos
        };
        let result = self.binary(to, op, to, value)?;
        self.out.ty[to.id as usize] = ty;
        self.out.consts.remove(&to.id);
        self.assignable(&Operand::value(result.ty), ty, position, "assignment")
    }

    fn define(&mut self, pos: Pos, left: &[Expr], right: &[Expr]) -> Checked<()> {
        let values = self.values(right, left.len(), pos)?;
        self.bind(pos, left, values)
    }

    /// Declares or assigns the names of `:=`.
    pub(super) fn bind(
        &mut self,
        pos: Pos,
        left: &[Expr],
        values: Vec<(Operand, Pos)>,
    ) -> Checked<()> {
        let mut any_new = false;
        let mut seen = HashSet::new();
        let mut new = Vec::new();
        for (name, (operand, at)) in left.iter().zip(values) {
            let ExprKind::Ident(text) = &name.kind else {
                return fault(name.pos, "non-name on left side of :=");
            };
            if &**text != "_" && !seen.insert(text.clone()) {
                return fault(name.pos, format!("{text} repeated on left side of :="));
            }
            let here = self
                .place
                .scopes
                .last()
                .and_then(|scope| scope.get(text))
                .cloned();
            if let Some(Entity::Var(var)) = here {
                let ty = self.out.vars[var.0 as usize].ty;
                self.assignable(&operand, ty, at, "assignment")?;
                self.out.uses.insert(name.id, Entity::Var(var));
                self.out.ty[name.id as usize] = ty;
                continue;
            }
            let ty = self.variable_type(&operand, at)?;
            any_new |= &**text != "_";
            new.push((name, text, ty));
        }
        if !any_new {
            return fault(pos, "no new variables on left side of :=");
        }
        for (name, text, ty) in new {
            self.declare_name(name, text, ty)?;
        }
        Ok(())
    }

    pub(super) fn declare_name(&mut self, name: &Expr, text: &Name, ty: Ty) -> Checked<()> {
        self.out.ty[name.id as usize] = ty;
        if &**text != "_" {
            let var = self.declare_var(text, ty, name.pos, false)?;
            self.out.uses.insert(name.id, Entity::Var(var));
        }
        Ok(())
    }

    fn local_decls(&mut self, decls: &[Decl]) -> Checked<()> {
        for decl in decls {
            match decl {
                Decl::Var(spec) => {
                    let types = self.var_types(spec)?;
                    for (name, ty) in spec.names.iter().zip(types) {
                        if let ExprKind::Ident(text) = &name.kind {
                            self.declare_name(name, text, ty)?;
                        }
                    }
                }
                Decl::Const(spec, iota) => {
                    for (index, name) in spec.names.iter().enumerate() {
                        let entity = self.constant(spec, index, *iota)?;
                        if let ExprKind::Ident(text) = &name.kind
                            && &**text != "_"
                        {
                            self.declare(text, entity, name.pos)?;
                        }
                    }
                }
                Decl::Type(spec) => {
                    let entity = self.type_decl(spec, false)?;
                    if spec.alias {
                        self.declare(&spec.name, entity, spec.pos)?;
                    }
                }
                Decl::Func(decl) => return fault(decl.pos, "function declared inside a function"),
            }
        }
        Ok(())
    }

    fn return_stmt(&mut self, pos: Pos, values: &[Expr]) -> Checked<()> {
        let Some(func) = self.place.func.map(|func| &self.out.funcs[func.0 as usize]) else {
            return fault(pos, "return outside a function");
        };
        let named = func.named_results;
        let results = self.out.types.sig(func.ty).map(|sig| sig.results.clone());
        let results = results.unwrap_or_default();
        if values.is_empty() && (results.is_empty() || named) {
            return Ok(());
        }
        if values.is_empty() || results.is_empty() {
            let what = if values.is_empty() {
                "not enough"
            } else {
                "too many"
            };
            return fault(pos, format!("{what} return values"));
        }
        let found = match self.values(values, results.len(), pos) {
            Err(mut error) if error.message.starts_with("assignment mismatch") => {
                let few = values.len() < results.len();
                let what = if few { "not enough" } else { "too many" };
                error.message = format!("{what} return values");
                return Err(error);
            }
            other => other?,
        };
        for ((operand, at), ty) in found.iter().zip(results) {
            self.assignable(operand, ty, *at, "return statement")?;
        }
        Ok(())
    }
}
