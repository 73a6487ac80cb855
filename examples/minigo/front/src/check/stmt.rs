//! Statements. Each tells whether it is one of Go's terminating statements, which are never left at
//! their end.

use super::call::count;
use super::*;

/// Whether `break` leaves the statement.
fn is_breakable(stmt: &Stmt) -> bool {
    use StmtKind::*;
    matches!(stmt.kind, For(_) | Range(_) | Switch(_) | Select(_))
}

impl Checker {
    /// Checks statements; returns whether the last one terminates.
    pub(super) fn stmts(&mut self, stmts: &[Stmt]) -> Checked<bool> {
        let mut stmts = stmts.iter();
        stmts.try_fold(false, |_, stmt| self.stmt(stmt, None))
    }

    fn block(&mut self, block: &Block) -> Checked<bool> {
        self.scoped(|this| this.stmts(&block.stmts))
    }

    fn stmt(&mut self, stmt: &Stmt, label: Option<(&Name, Pos)>) -> Checked<bool> {
        if !is_breakable(stmt) {
            return self.any_stmt(stmt);
        }
        self.place.targets.push(Target {
            label: label.map(|(name, _)| name.clone()),
            used: label.is_none(),
            is_loop: matches!(stmt.kind, StmtKind::For(_) | StmtKind::Range(_)),
            broken: false,
        });
        let ends = self.scoped(|this| this.any_stmt(stmt))?;
        let target = self.place.targets.pop();
        if let (Some((name, pos)), Some(Target { used: false, .. })) = (label, &target) {
            return fault(pos, format!("label {name} defined and not used"));
        }
        Ok(ends && target.is_some_and(|target| !target.broken))
    }

    fn any_stmt(&mut self, stmt: &Stmt) -> Checked<bool> {
        let pos = stmt.pos;
        let goes_on = |()| false;
        match &stmt.kind {
            StmtKind::Empty => Ok(false),
            StmtKind::Expr(expr) => self.expr_stmt(expr),
            StmtKind::Send(chan, value) => self.send(chan, value).map(goes_on),
            StmtKind::OpAssign(op, to, value) => self.op_assign(pos, op, to, value).map(goes_on),
            StmtKind::Assign(left, right) => {
                // The left sides first: they may name what the right sides give no type.
                let wanted = self.targets(left)?;
                let values = self.exactly(right, left.len())?;
                self.give(&values, &wanted, "assignment").map(|_| false)
            }
            StmtKind::Define(left, right) => {
                let values = self.exactly(right, left.len())?;
                self.define(pos, left, &values).map(goes_on)
            }
            StmtKind::Decl(decls) => {
                let mut decls = decls.iter();
                let checked = decls.try_for_each(|decl| self.local_decl(decl));
                checked.map(goes_on)
            }
            StmtKind::Go(call) => self.later(call).map(goes_on),
            StmtKind::Defer(call) => {
                let func = self.place.func.map(|func| self.func(func));
                func.into_iter().for_each(|func| func.has_defer = true);
                self.later(call).map(goes_on)
            }
            StmtKind::Return(values) => self.return_stmt(pos, values).map(|()| true),
            StmtKind::Jump(what, to) => self.jump(pos, to.as_ref(), what).map(goes_on),
            StmtKind::Fallthrough => fault(pos, "fallthrough statement out of place"),
            StmtKind::Block(block) => self.block(block),
            StmtKind::If(inner) => self.scoped(|this| {
                this.stmts(inner.init.as_slice())?;
                this.condition(&inner.cond)?;
                let then = this.block(&inner.then)?;
                Ok(this.stmts(inner.otherwise.as_slice())? && then)
            }),
            StmtKind::For(inner) => {
                self.stmts(inner.init.as_slice())?;
                let mut cond = inner.cond.iter();
                cond.try_for_each(|cond| self.condition(cond))?;
                self.between_iterations(inner)?;
                self.block(&inner.body)?;
                Ok(inner.cond.is_none())
            }
            StmtKind::Range(inner) => self.range(pos, inner).map(goes_on),
            StmtKind::Switch(inner) => {
                self.stmts(inner.init.as_slice())?;
                match inner.tag.as_ref().map(|tag| &tag.kind) {
                    Some(ExprKind::Assert(over, None)) => self.type_switch(inner, over),
                    _ => self.switch(inner),
                }
            }
            StmtKind::Select(cases) => {
                let comm =
                    |this: &mut Self, case: &Case| this.stmts(case.comm.as_slice()).map(|_| None);
                // One of the cases always runs, as a select without a default waits.
                self.cases(cases, false, comm).map(|(ends, _)| ends)
            }
            StmtKind::Labeled(name, inner) => {
                let new = self.labels.insert((self.place.func, name.clone()));
                ensure(new, pos, format!("label {name} already defined"))?;
                let message = "labels of other statements are outside minigo's subset";
                ensure(is_breakable(inner), pos, message)?;
                self.stmt(inner, Some((name, pos)))
            }
        }
    }

    fn jump(&mut self, pos: Pos, label: Option<&Name>, what: &str) -> Checked<()> {
        let breaks = what == "break";
        let mut targets = self.place.targets.iter_mut().enumerate().rev();
        let found = targets.find(|(_, target)| match label {
            Some(_) => target.label.as_ref() == label,
            None => breaks || target.is_loop,
        });
        match (found, label) {
            (Some((depth, target)), _) if breaks || target.is_loop => {
                self.out.jumps.insert(pos, depth);
                target.broken |= breaks;
                target.used |= label.is_some();
                Ok(())
            }
            (_, Some(label)) => fault(pos, format!("invalid {what} label {label}")),
            (_, None) if !breaks => fault(pos, format!("{what} is not in a loop")),
            (_, None) => fault(pos, format!("{what} is not in a loop, switch, or select")),
        }
    }

    fn condition(&mut self, cond: &Expr) -> Checked<()> {
        let operand = self.expr(cond)?;
        let is_bool = self.types.is_bool(operand.ty);
        ensure(is_bool, cond.pos, "non-boolean condition")
    }

    /// A call or a receive.
    fn expr_stmt(&mut self, expr: &Expr) -> Checked<bool> {
        use Builtin::*;
        let operand = self.operand(expr)?;
        let inner = expr.inside_parens();
        let call = self.out.calls.get(&inner.id);
        let effect = match (&inner.kind, call) {
            (ExprKind::Unary("<-", _), _) => true,
            (ExprKind::Call(_), Some(CallKind::Convert(_))) => false,
            (
                ExprKind::Call(_),
                Some(CallKind::Builtin(Copy | Recover | AddCleanup | WeakMake)),
            ) => true,
            (ExprKind::Call(_), Some(_)) => operand.mode == Mode::NoValue,
            (ExprKind::Call(_), None) => true,
            _ => false,
        };
        ensure(effect, expr.pos, "expression is not used")?;
        Ok(call == Some(&CallKind::Builtin(Panic)))
    }

    /// A call that `go` or `defer` makes. That of a builtin function is made by a function around
    /// it.
    fn later(&mut self, expr: &Expr) -> Checked<()> {
        use Builtin::*;
        self.expr_stmt(expr)?;
        let inner = expr.inside_parens();
        let ExprKind::Call(call) = &inner.kind else {
            return Ok(());
        };
        let Some(CallKind::Builtin(builtin)) = self.out.calls.get(&inner.id).copied() else {
            return Ok(());
        };
        if self.out.literals.contains_key(&inner.id) {
            return Ok(());
        }
        let types = call.args.iter().map(|arg| self.out.ty[arg.id as usize]);
        let mut params: Vec<Ty> = types.map(|ty| self.types.default_type(ty)).collect();
        match (builtin, &*params) {
            (Delete, [map, _]) => {
                if let Kind::Map(key, _) = *self.types.kind(*map) {
                    params[1] = key;
                }
            }
            (AddCleanup, [_, function, _]) => {
                let param = self.types.sig(*function).map(|sig| sig.params[0]);
                params[2] = param.unwrap_or(params[2]);
            }
            (Copy | Clear | Recover, _) => {}
            _ => return Ok(()),
        }
        let sig = Sig {
            params,
            variadic: false,
            results: Vec::new(),
        };
        if builtin != Recover {
            return self.around(inner, sig, &call.callee);
        }
        // No deferred function calls it, so nothing is recovered.
        let func = self.made_func(inner.pos, sig, |_, _| StmtKind::Empty)?;
        self.out.literals.insert(inner.id, func);
        Ok(())
    }

    fn send(&mut self, chan: &Expr, value: &Expr) -> Checked<()> {
        let channel = self.expr(chan)?;
        let message = match *self.types.kind(channel.ty) {
            Kind::Chan(Dir::Receive, _) => "cannot send to receive-only channel",
            Kind::Chan(_, elem) => return self.value_for(value, elem, "send"),
            _ => "cannot send to non-channel",
        };
        fault(chan.pos, illegal(message))
    }

    /// The types that the left sides of an assignment want; `None` for `_`.
    fn targets(&mut self, left: &[Expr]) -> Checked<Vec<Option<Ty>>> {
        left.iter().map(|target| self.target(target)).collect()
    }

    fn target(&mut self, expr: &Expr) -> Checked<Option<Ty>> {
        if is_blank(expr) {
            return Ok(None);
        }
        // An assignment is no use.
        if let ExprKind::Ident(name) = &expr.kind
            && let Entity::Var(var) = self.lookup(name, expr.pos)?
        {
            let used = self.var(var).used;
            let ty = self.expr(expr)?.ty;
            let var = self.var(var);
            (var.used, var.assigned) = (used, true);
            return Ok(Some(ty));
        }
        let operand = self.expr(expr)?;
        let assignable = matches!(operand.mode, Mode::Variable(_) | Mode::MapElem);
        let message = "cannot assign to expression (neither addressable nor a map index)";
        ensure(assignable, expr.pos, message)?;
        if let Mode::Variable(Some(var)) = operand.mode {
            self.var(var).assigned = true;
        }
        Ok(Some(operand.ty))
    }

    /// The statement behind the body assigns to variables of the next iteration. Those of this one
    /// stay as they are, unless something else changes them.
    fn between_iterations(&mut self, of: &For) -> Checked<()> {
        let declared = |name: &Expr| match self.out.uses.get(&name.id) {
            Some(Entity::Var(var)) if !self.out.vars[var.0 as usize].assigned => Some(*var),
            _ => None,
        };
        let stay: Vec<VarId> = of.names().iter().filter_map(declared).collect();
        self.stmts(of.post.as_slice())?;
        for id in stay {
            let var = self.var(id);
            // A literal in the statement may see the variable before it is assigned to.
            var.assigned &= var.captured;
        }
        Ok(())
    }

    fn op_assign(&mut self, pos: Pos, op: &str, to: &Expr, value: &Expr) -> Checked<()> {
        let Some(ty) = self.target(to)? else {
            return fault(to.pos, "cannot use _ as value");
        };
        let step = matches!(value.kind, ExprKind::Int(1));
        let result = self.binary(to.pos, op, to, value)?;
        self.out.ty[to.id as usize] = ty;
        self.out.consts.remove(&to.id);
        let result = Operand::value(result.ty).at(if step { pos } else { value.pos });
        self.assignable(&result, ty, "assignment")
    }

    /// Gives values to the names of `:=`, of which one at least is new.
    fn define(&mut self, pos: Pos, left: &[Expr], values: &[Operand]) -> Checked<()> {
        let mut wanted = Vec::new();
        let mut seen = HashSet::new();
        for name in left {
            let text = name_of(name)?;
            let first = is_blank(name) || seen.insert(text);
            let message = format!("{text} repeated on left side of :=");
            ensure(first, name.pos, message)?;
            let here = self.place.scopes.last().and_then(|scope| scope.get(text));
            let known = matches!(here, Some(Entity::Var(_)));
            wanted.push(if known { self.target(name)? } else { None });
        }
        let types = self.give(values, &wanted, "assignment")?;
        let mut any_new = false;
        for ((name, ty), known) in left.iter().zip(types).zip(wanted) {
            if known.is_none() {
                any_new |= !is_blank(name);
                self.declare_name(name, ty)?;
            }
        }
        ensure(any_new, pos, "no new variables on left side of :=")
    }

    fn local_decl(&mut self, decl: &Decl) -> Checked<()> {
        match decl {
            Decl::Var(spec) => self.var_decl(spec).map(drop),
            Decl::Const(spec, iota) => {
                let mut names = spec.names.iter().enumerate();
                names.try_for_each(|(index, name)| {
                    let entity = self.constant(spec, index, *iota)?;
                    self.declare(name_of(name)?, entity, name.pos)
                })
            }
            Decl::Type(spec) => self.type_decl(spec).map(drop),
            Decl::Func(decl) => fault(decl.pos, "function declared inside a function"),
        }
    }

    fn return_stmt(&mut self, pos: Pos, exprs: &[Expr]) -> Checked<()> {
        let Some(func) = self.place.func.map(|func| self.func(func).clone()) else {
            return fault(pos, "return outside a function");
        };
        let mut named = func.decl.ty.results.iter();
        if exprs.is_empty() && named.any(|result| result.name.is_some()) {
            return Ok(());
        }
        let wanted = func.results.iter().map(|var| Some(self.var(*var).ty));
        let wanted: Vec<Option<Ty>> = wanted.collect();
        let n = wanted.len();
        let pos = exprs.get(n).or(exprs.last()).map_or(pos, |expr| expr.pos);
        if exprs.len() != 1 || n == 0 {
            count(exprs.len(), (n, n), pos, "return values")?;
        }
        let values = self.values(exprs, 0)?;
        count(values.len(), (n, n), pos, "return values")?;
        self.give(&values, &wanted, "return statement").map(drop)
    }

    fn range(&mut self, pos: Pos, range: &Range) -> Checked<()> {
        let over = self.expr(&range.over)?;
        let (mut ty, at) = (over.ty, over.pos);
        let left: Vec<Expr> = range.key.iter().chain(&range.value).cloned().collect();
        let wanted = match range.define {
            true => Vec::new(),
            false => self.targets(&left)?,
        };
        if let ([Some(to)], true) = (&*wanted, self.types.is_untyped(ty))
            && over.constant().is_some()
        {
            self.assignable(&over, *to, "range clause")?;
            ty = *to;
            self.out.ty[range.over.id as usize] = ty;
        }
        let (key, value) = match *self.types.kind(self.types.indexed(ty)) {
            Kind::Slice(elem) | Kind::Array(_, elem) => (basic::INT, Some(elem)),
            Kind::Map(key, value) => (key, Some(value)),
            Kind::Chan(Dir::Send, _) => return fault(at, "cannot range over send-only channel"),
            Kind::Chan(_, elem) => (elem, None),
            _ if self.types.is_string(ty) => (basic::INT, Some(basic::INT32)),
            _ if self.types.is_integer(ty) => (self.types.default_type(ty), None),
            Kind::Func(_) => return fault(at, "range over functions is outside minigo's subset"),
            _ => return self.wrong(at, "cannot range over value of type %T", &[ty]),
        };
        let single = value.is_some() || range.value.is_none();
        let second = range.value.as_ref().map_or(pos, |second| second.pos);
        ensure(single, second, "range permits only one iteration variable")?;
        let types = [Some(key), value].into_iter().flatten().zip(&left);
        let values = types.map(|(ty, target)| Operand::value(ty).at(target.pos));
        let values: Vec<Operand> = values.collect();
        match range.define {
            true => self.define(pos, &left, &values)?,
            false => drop(self.give(&values, &wanted, "range clause")?),
        }
        self.block(&range.body).map(drop)
    }

    /// The cases of a switch or select; `before` checks what is left of the colon, and may declare
    /// a variable. Returns whether all cases terminate, and whether such a variable is used.
    fn cases(
        &mut self,
        cases: &[Case],
        may_fall: bool,
        mut before: impl FnMut(&mut Self, &Case) -> Checked<Option<VarId>>,
    ) -> Checked<(bool, bool)> {
        let (mut ends, mut used) = (true, false);
        for (index, case) in cases.iter().enumerate() {
            ends &= self.scoped(|this| {
                let var = before(this, case)?;
                let ends = match &*case.body.stmts {
                    [rest @ .., last] if matches!(last.kind, StmtKind::Fallthrough) => {
                        let falls = may_fall && index + 1 < cases.len();
                        let message = "cannot fallthrough final case in switch";
                        ensure(falls, last.pos, message)?;
                        this.stmts(rest).map(|_| true)?
                    }
                    stmts => this.stmts(stmts)?,
                };
                if let Some(var) = var {
                    used |= std::mem::replace(&mut this.var(var).used, true);
                }
                Ok(ends)
            })?;
        }
        Ok((ends, used))
    }

    fn switch(&mut self, switch: &Switch) -> Checked<bool> {
        let mut tag = None;
        if let Some(expr) = &switch.tag {
            let operand = self.expr(expr)?;
            let ty = self.give(&[operand], &[None], "switch")?[0];
            let compared = self.types.is_comparable(ty) || self.types.has_nil(ty);
            let message = "cannot switch on a value that can't be compared";
            ensure(compared, expr.pos, message)?;
            tag = Some(ty);
        }
        let mut seen = HashSet::new();
        let (all_end, _) = self.cases(&switch.cases, true, |this, case| {
            for expr in &case.exprs {
                let operand = this.expr(expr)?;
                let comparable = |ty| this.types.is_comparable(ty);
                let truth = this.fits(&Operand::value(basic::BOOL), operand.ty);
                let fits = tag.map_or(truth || this.types.is_bool(operand.ty), |tag| {
                    let equal = comparable(tag) && comparable(operand.ty);
                    let backwards = this.fits(&Operand::value(tag), operand.ty);
                    (equal || operand.mode == Mode::Nil) && (this.fits(&operand, tag) || backwards)
                });
                let message = "invalid case in switch (mismatched types)";
                ensure(fits, expr.pos, message)?;
                let ty = tag.filter(|tag| !this.types.is_bool(*tag));
                let new = ty.is_none_or(|ty| this.is_new(&operand, ty, &mut seen));
                ensure(new, expr.pos, "duplicate case in expression switch")?;
            }
            Ok(None)
        })?;
        Ok(all_end && switch.cases.iter().any(Case::is_default))
    }

    fn type_switch(&mut self, switch: &Switch, over: &Expr) -> Checked<bool> {
        let Operand { ty: over, pos, .. } = self.expr(over)?;
        let message = "type switch on a value that is not an interface";
        ensure(self.types.is_interface(over), pos, message)?;
        let mut seen = HashSet::new();
        let (all_end, used) = self.cases(&switch.cases, false, |this, case| {
            let mut ty = over;
            for expr in &case.exprs {
                let operand = this.operand(expr)?;
                let new = seen.insert(operand.ty);
                ensure(new, expr.pos, "duplicate case in type switch")?;
                if operand.mode != Mode::Nil {
                    ty = this.ty(expr)?;
                    this.assertable(over, ty, expr.pos)?;
                }
                ty = if case.exprs.len() == 1 { ty } else { over };
            }
            let Some((name, pos)) = &switch.bind else {
                return Ok(None);
            };
            let var = this.declare_var(name, ty, *pos, false)?;
            this.out.clause_vars.insert(case.pos, var);
            Ok(Some(var))
        })?;
        match &switch.bind {
            Some((name, pos)) if !used => fault(*pos, format!("declared and not used: {name}")),
            _ => Ok(all_end && switch.cases.iter().any(Case::is_default)),
        }
    }
}
