//! Functions and statements.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::{InstBuilder, Value};

use super::body::{Body, Made, Vals};
use super::place::Place;
use crate::ast::*;
use crate::check::entity::{Entity, VarId};
use crate::types::{Kind, Ty, basic};

/// The heap's type of what a function that defers has a list of.
const DEFERRED: &str = "struct { next, closure unsafe.Pointer }";

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn stmts(&mut self, stmts: &'p [Stmt]) -> Made<()> {
        stmts.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    pub(super) fn stmt(&mut self, stmt: &'p Stmt) -> Made<()> {
        match &stmt.kind {
            StmtKind::Empty | StmtKind::Fallthrough => Ok(()),
            StmtKind::Expr(expr) => self.value(expr).map(drop),
            StmtKind::Send(chan, value) => {
                let ty = self.ty(chan);
                let chan = self.value(chan)?[0];
                let elem = self.elem(ty);
                let value = self.value_as(value, elem)?;
                self.leave_in_buffer(elem, &value)?;
                let info = self.int(i64::from(ty.0));
                self.host_checked("chan_send", &[info, chan]);
                Ok(())
            }
            StmtKind::OpAssign(op, target, value) => self.op_assign(op, target, value),
            StmtKind::Assign(left, right) | StmtKind::Define(left, right) => {
                self.assign_all(left, right)
            }
            StmtKind::Decl(decls) => {
                for decl in decls {
                    let Decl::Var(spec) = decl else { continue };
                    if spec.values.is_empty() {
                        for name in &spec.names {
                            if let Some(var) = self.declared(name) {
                                self.make_var(var, None)?;
                            }
                        }
                    } else {
                        self.assign_all(&spec.names, &spec.values)?;
                    }
                }
                Ok(())
            }
            StmtKind::Go(call) => {
                let closure = self.later(call)?;
                self.host("go", &[closure]);
                Ok(())
            }
            StmtKind::Defer(call) => {
                let closure = self.later(call)?;
                let record = self.new_of(DEFERRED)?;
                let Some(deferred) = self.deferred else {
                    unreachable!("the function is known to defer");
                };
                let next = self.b.use_var(deferred);
                self.store_int(next, record, 0);
                self.store_int(closure, record, 8);
                self.b.def_var(deferred, record);
                Ok(())
            }
            StmtKind::Return(values) => self.return_stmt(values),
            StmtKind::Break(label) => {
                let end = self.target(label.as_ref(), false).end;
                self.b.ins().jump(end, &[]);
                self.unreachable();
                Ok(())
            }
            StmtKind::Continue(label) => {
                let target = self.target(label.as_ref(), true);
                if let Some(next) = target.next {
                    self.b.ins().jump(next, &[]);
                }
                self.unreachable();
                Ok(())
            }
            StmtKind::Block(block) => self.stmts(&block.stmts),
            StmtKind::If(inner) => self.if_stmt(inner),
            StmtKind::For(inner) => self.for_stmt(inner),
            StmtKind::Range(inner) => self.range(inner),
            StmtKind::Switch(inner) => self.switch(inner),
            StmtKind::TypeSwitch(inner) => self.type_switch(inner),
            StmtKind::Select(clauses) => self.select(clauses),
            StmtKind::Labeled(name, inner) => {
                self.label = Some(name.clone());
                self.stmt(inner)
            }
        }
    }

    fn target(&self, label: Option<&Name>, of_loop: bool) -> super::body::Target {
        let found = self.targets.iter().rev().find(|target| match label {
            Some(_) => target.label.as_ref() == label,
            None => !of_loop || target.next.is_some(),
        });
        match found {
            Some(target) => target.clone(),
            None => unreachable!("checked to be inside"),
        }
    }

    pub(super) fn elem(&self, ty: Ty) -> Ty {
        match *self.lo.p.types.kind(ty) {
            Kind::Chan(_, elem) | Kind::Slice(elem) | Kind::Array(_, elem) => elem,
            _ => basic::VOID,
        }
    }

    /// The local variable that a name declares, if it is not `_`.
    pub(super) fn declared(&self, name: &Expr) -> Option<VarId> {
        match self.lo.p.uses.get(&name.id) {
            Some(Entity::Var(var)) => Some(*var),
            _ => None,
        }
    }

    fn is_new(&self, name: &Expr) -> Option<VarId> {
        let var = self.declared(name)?;
        let declares = self.lo.p.vars[var.0 as usize].pos == name.pos;
        (declares && !self.lo.globals.contains_key(&var)).then_some(var)
    }

    /// Assigns values to places, or declares variables with them.
    pub(super) fn assign_all(&mut self, left: &'p [Expr], right: &'p [Expr]) -> Made<()> {
        if let ([to], [from]) = (left, right) {
            let ty = self.ty(to);
            if self.lo.p.types.word_count(ty) > crate::layout::MAX_WORDS as u64 {
                if let Some(var) = self.is_new(to) {
                    self.make_var(var, None)?;
                }
                let place = self.place(to)?;
                return self.copy_large(&place, from, ty);
            }
        }
        let mut places = Vec::new();
        for target in left {
            places.push(match self.is_new(target) {
                Some(var) => Err(var),
                None => Ok(self.place(target)?),
            });
        }
        let wanted: Vec<Option<Ty>> = left.iter().map(|to| self.wanted(to)).collect();
        let values = self.values_for(right, &wanted)?;
        for ((place, values), to) in places.into_iter().zip(values).zip(left) {
            match place {
                Err(var) => self.make_var(var, Some(&values))?,
                Ok(Place::Nowhere) => {}
                Ok(place) => self.write_place(&place, self.ty(to), &values)?,
            }
        }
        Ok(())
    }

    /// The type that an assignment's left side wants; `_` wants none.
    fn wanted(&self, to: &Expr) -> Option<Ty> {
        match &to.kind {
            ExprKind::Ident(name) if &**name == "_" => None,
            _ => Some(self.ty(to)),
        }
    }

    /// The values of the right side of assignments to these types.
    pub(super) fn values_for(
        &mut self,
        right: &'p [Expr],
        wanted: &[Option<Ty>],
    ) -> Made<Vec<Vals>> {
        if let ([one], true) = (right, wanted.len() > 1) {
            return self.several(one, wanted);
        }
        let mut all = Vec::new();
        for (expr, ty) in right.iter().zip(wanted) {
            all.push(match ty {
                Some(ty) => self.value_as(expr, *ty)?,
                None => self.value(expr)?,
            });
        }
        Ok(all)
    }

    /// The values of one expression that gives several.
    fn several(&mut self, expr: &'p Expr, wanted: &[Option<Ty>]) -> Made<Vec<Vals>> {
        let ty = self.ty(expr);
        if let Kind::Tuple(types) = self.lo.p.types.own_kind(ty) {
            let mut values = self.value(expr)?.into_iter();
            let mut all = Vec::new();
            for (ty, wanted) in types.iter().zip(wanted) {
                let count = self.lo.p.types.word_count(*ty) as usize;
                let part: Vals = values.by_ref().take(count).collect();
                all.push(match wanted {
                    Some(wanted) => self.assign(part, *ty, *wanted)?,
                    None => part,
                });
            }
            return Ok(all);
        }
        let (values, ok) = self.comma_ok(expr)?;
        let first = match wanted[0] {
            Some(wanted) => self.assign(values, ty, wanted)?,
            None => values,
        };
        let second = match wanted[1] {
            Some(wanted) => self.assign(vec![ok], basic::BOOL, wanted)?,
            None => vec![ok],
        };
        Ok(vec![first, second])
    }

    /// The value of an expression, and whether there was one.
    fn comma_ok(&mut self, expr: &'p Expr) -> Made<(Vals, Value)> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.comma_ok(inner),
            ExprKind::Unary(_, inner) => self.receive(inner),
            ExprKind::Assert(of, _) => self.assertion(expr, of, true),
            ExprKind::Index(of, index) => {
                let ty = self.ty(of);
                let Kind::Map(key, _) = *self.lo.p.types.kind(ty) else {
                    unreachable!("checked to be a map");
                };
                let map = self.value(of)?[0];
                let key = self.value_as(index, key)?;
                self.map_get(ty, map, &key)
            }
            _ => unreachable!("checked to give two values"),
        }
    }

    fn op_assign(&mut self, op: &'static str, target: &'p Expr, value: &'p Expr) -> Made<()> {
        let ty = self.ty(target);
        let place = self.place(target)?;
        if op == "<<" || op == ">>" {
            let by = self.lo.p.types.default_type(self.ty(value));
            let count = self.value(value)?[0];
            let old = self.read(&place, ty)?[0];
            let new = self.shift(op, old, ty, count, by);
            return self.write_place(&place, ty, &[new]);
        }
        let operand = self.value_as(value, ty)?;
        let old = self.read(&place, ty)?;
        let new = self.arithmetic(op, &old, &operand, ty)?;
        self.write_place(&place, ty, &new)
    }

    fn return_stmt(&mut self, values: &'p [Expr]) -> Made<()> {
        let Some(func) = self.func else {
            unreachable!("checked to be in a function");
        };
        if !values.is_empty() {
            let types = &self.lo.sig(func.ty).results;
            let wanted: Vec<Option<Ty>> = types.iter().copied().map(Some).collect();
            let all = self.values_for(values, &wanted)?;
            if self.deferred.is_none() {
                let all: Vals = all.into_iter().flatten().collect();
                self.return_values(&all);
                self.unreachable();
                return Ok(());
            }
            for (var, values) in func.results.iter().zip(all) {
                let place = self.var_place(*var);
                let ty = self.lo.p.vars[var.0 as usize].ty;
                self.write_place(&place, ty, &values)?;
            }
        }
        self.return_results(func)?;
        self.unreachable();
        Ok(())
    }

    fn if_stmt(&mut self, inner: &'p If) -> Made<()> {
        if let Some(init) = &inner.init {
            self.stmt(init)?;
        }
        let cond = self.value(&inner.cond)?[0];
        let (then, otherwise) = self.branch_if(cond);
        let end = self.b.create_block();
        self.b.switch_to_block(then);
        self.stmts(&inner.then.stmts)?;
        self.b.ins().jump(end, &[]);
        self.b.switch_to_block(otherwise);
        if let Some(stmt) = &inner.otherwise {
            self.stmt(stmt)?;
        }
        self.b.ins().jump(end, &[]);
        self.b.switch_to_block(end);
        Ok(())
    }
}
