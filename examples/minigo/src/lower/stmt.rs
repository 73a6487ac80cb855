//! Statements.
#![forbid(unsafe_code)]

use super::*;

/// The heap's type of what a function that defers has a list of.
const DEFERRED: &str = "struct { next, closure unsafe.Pointer }";

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn stmts(&self, stmts: &'p [Stmt]) {
        for stmt in stmts {
            self.stmt(stmt);
        }
    }

    pub(super) fn stmt(&self, stmt: &'p Stmt) {
        self.lo().at = stmt.pos;
        match &stmt.kind {
            StmtKind::Empty | StmtKind::Fallthrough => {}
            StmtKind::Expr(expr) => drop(self.value(expr)),
            StmtKind::Send(chan, value) => {
                self.library("channel.send", &self.sent(chan, value));
            }
            StmtKind::OpAssign(op, target, value) => {
                let ty = self.ty(target);
                let place = self.place(target);
                let operand = self.operand(op, value, ty);
                let place = self.tested(&place);
                let new = self.operate(op, &self.read(&place, ty), ty, &operand);
                self.assign(&place, ty, &new);
            }
            StmtKind::Assign(left, right) | StmtKind::Define(left, right) => {
                self.assign_all(left, right);
            }
            StmtKind::Decl(decls) => decls.iter().for_each(|decl| {
                if let Decl::Var(spec) = decl {
                    self.assign_all(&spec.names, &spec.values);
                }
            }),
            StmtKind::Go(call) => {
                let closure = self.later(call);
                self.host("go", &[closure]);
            }
            StmtKind::Defer(call) => {
                let closure = self.later(call);
                let record = self.new_of(DEFERRED);
                let list = self.deferred.get();
                let list = list.expect("the function is known to defer");
                let next = self.b().use_var(list);
                self.store_int(next, record, 0);
                self.store_int(closure, record, 8);
                self.b().def_var(list, record);
            }
            StmtKind::Return(values) => self.return_stmt(values),
            StmtKind::Jump(what, _) => {
                let (end, next) = self.jumps.borrow()[self.p.jumps[&stmt.pos]];
                self.go_to(next.filter(|_| *what == "continue").unwrap_or(end));
                self.unreachable();
            }
            StmtKind::Block(block) => self.stmts(&block.stmts),
            StmtKind::If(inner) => {
                self.stmts(inner.init.as_slice());
                let run = |stmts| {
                    self.stmts(stmts);
                    Vals::new()
                };
                let (then, otherwise) = (&inner.then.stmts, inner.otherwise.as_slice());
                let condition = self.value(&inner.cond)[0];
                self.choose(&[], condition, || run(then), || run(otherwise));
            }
            StmtKind::For(inner) => self.for_stmt(inner),
            StmtKind::Range(inner) => self.range(inner),
            StmtKind::Switch(inner) => self.switch(inner),
            StmtKind::Select(clauses) => self.select(clauses),
            StmtKind::Labeled(_, inner) => self.stmt(inner),
        }
    }

    /// What is assigned to: a variable that is declared here, or a place.
    fn target(&self, expr: &'p Expr) -> Place {
        let new = self.p.declared(expr);
        new.map_or_else(|| self.place(expr), Place::New)
    }

    /// Assigns values, whose types come with them.
    pub(super) fn assign_items(&self, left: &[&'p Expr], items: Vec<(Ty, Vals)>) {
        let places: Vec<Place> = left.iter().map(|to| self.target(to)).collect();
        for ((to, place), (from, values)) in left.iter().zip(places).zip(items) {
            let ty = self.ty(to);
            self.assign(&place, ty, &self.as_type(values, from, ty));
        }
    }

    /// Assigns expressions; without any, the variables that are declared are zero.
    pub(super) fn assign_all(&self, left: &'p [Expr], right: &'p [Expr]) {
        if right.is_empty() {
            let vars = left.iter().filter_map(|name| self.p.declared(name));
            return vars.for_each(|var| self.make_var(var, None));
        }
        if let ([to], [from]) = (left, right)
            && layout::is_large(self.types, self.ty(to))
        {
            return self.copy_large(to, from);
        }
        let places: Vec<Place> = left.iter().map(|to| self.target(to)).collect();
        let types: Vec<Ty> = left.iter().map(|to| self.ty(to)).collect();
        let values = self.values_for(right, &types);
        for ((place, values), ty) in places.iter().zip(values).zip(types) {
            self.assign(place, ty, &values);
        }
    }

    /// Copies a value that is too large for registers.
    fn copy_large(&self, to: &'p Expr, from: &'p Expr) {
        let mut place = self.target(to);
        if let Place::New(var) = place {
            self.make_var(var, None);
            place = self.var_place(var);
        }
        let from = self.address_of(from);
        match self.tested(&place) {
            Place::Memory(at, offset) => {
                self.move_to(self.inside(at, offset), from, self.ty(to));
            }
            _ => {
                let message = "copying such large values is outside minigo's subset";
                self.lo().refuse(message.to_owned());
            }
        }
    }

    pub(super) fn move_to(&self, to: Value, from: Value, ty: Ty) {
        let size = self.int(self.types.size(ty) as i64);
        self.host("move", &[to, from, size]);
    }

    /// The values of the right side of assignments to these types; `_` has none.
    pub(super) fn values_for(&self, right: &'p [Expr], wanted: &[Ty]) -> Vec<Vals> {
        let (one, ty) = match right {
            [one] if wanted.len() > 1 => (one, self.ty(one)),
            _ => {
                let value = |(expr, ty): (&'p Expr, &Ty)| self.value_as(expr, *ty);
                return right.iter().zip(wanted).map(value).collect();
            }
        };
        let (values, types) = match self.types.tuple(ty) {
            Some(types) => (self.split(&self.value(one), types), types.to_vec()),
            None => {
                let (values, ok) = self.comma_ok(one);
                (vec![values, vec![ok]], vec![ty, basic::BOOL])
            }
        };
        let given = values.into_iter().zip(types).zip(wanted);
        let convert = |((values, from), to): ((Vals, Ty), &Ty)| self.as_type(values, from, *to);
        given.map(convert).collect()
    }

    /// The value of an expression, and whether there was one.
    fn comma_ok(&self, expr: &'p Expr) -> (Vals, Value) {
        match &expr.inside_parens().kind {
            ExprKind::Unary(_, inner) => self.receive(inner),
            ExprKind::Assert(of, _) => self.assertion(expr, of, true),
            _ => match self.place(expr) {
                Place::Element(ty, map, key) => self.map_get(ty, map, &key),
                _ => unreachable!("checked to give two values"),
            },
        }
    }

    fn return_stmt(&self, values: &'p [Expr]) {
        let func = self.func.expect("checked to be in a function");
        let all = self.values_for(values, &self.types.func(func.ty).results);
        if values.is_empty() || self.deferred.get().is_some() {
            for (var, values) in func.results.iter().zip(all) {
                self.assign(&self.var_place(*var), self.var_ty(*var), &values);
            }
            self.return_results(func);
        } else {
            self.return_words(&all.concat());
        }
        self.unreachable();
    }
}
