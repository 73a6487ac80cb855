//! Loops, `switch`, `select`, and what they do with channels.
#![forbid(unsafe_code)]

use minigo_front::ast::Block as Braces;

use super::*;

/// What a range loop gives its variables, with their types.
type Items = Vec<(Ty, Vals)>;

impl<'p> Body<'_, '_, 'p> {
    /// Writes what `break` leaves for `end`, and `continue` for `next`.
    fn with_jumps(&self, end: Block, next: Option<Block>, write: impl FnOnce()) {
        self.jumps.borrow_mut().push((end, next));
        write();
        self.jumps.borrow_mut().pop();
    }

    /// A loop: `head` begins each iteration, and may go to the block that it gets instead.
    fn looping(&self, head: impl FnOnce(Block), body: &'p Braces, post: impl FnOnce()) {
        let [again, next, end] = self.blocks();
        self.go_to(again);
        self.begin(again);
        self.safepoint();
        head(end);
        self.with_jumps(end, Some(next), || self.stmts(&body.stmts));
        self.go_to(next);
        self.begin(next);
        post();
        self.go_to(again);
        self.begin(end);
    }

    pub(super) fn for_stmt(&self, inner: &'p For) {
        self.stmts(inner.init.as_slice());
        let head = |end| {
            if let Some(condition) = &inner.cond {
                self.go_on_if(self.value(condition)[0], end);
            }
        };
        self.looping(head, &inner.body, || {
            let names = inner.names().iter();
            let vars = names.filter_map(|name| self.p.declared(name));
            vars.for_each(|var| self.renew(var));
            self.stmts(inner.post.as_slice());
        });
    }

    /// Each iteration has variables of its own.
    fn renew(&self, var: VarId) {
        if self.p.var(var).boxed {
            let ty = self.var_ty(var);
            let object = self.object_with(ty, &self.read(&self.var_place(var), ty));
            self.b().def_var(self.vars.borrow()[&var][0], object);
        }
    }

    pub(super) fn range(&self, range: &'p Range) {
        let ty = self.types.default_type(self.ty(&range.over));
        let is_blank = |expr: &Expr| matches!(&expr.kind, ExprKind::Ident(name) if &**name == "_");
        let with_values = range.value.as_ref().is_some_and(|value| !is_blank(value));
        let over = self.ranged_over(range, ty, with_values);
        let index_ty = self.types.integer(ty).map_or(basic::INT, |_| ty);
        let index = self.variables(index_ty, &self.zeros(index_ty))[0];
        let head = |end| {
            let at = self.b().use_var(index);
            let (next, items) = self.step(ty, &over, at, end, with_values);
            self.b().def_var(index, next);
            let left: Vec<&Expr> = range.key.iter().chain(&range.value).collect();
            self.assign_items(&left, items);
        };
        self.looping(head, &range.body, || {});
    }

    /// What a range loop is over, evaluated once: of arrays, the address and length.
    fn ranged_over(&self, range: &'p Range, ty: Ty, with_values: bool) -> Vals {
        let Some((length, _)) = self.types.array(ty) else {
            return self.value(&range.over);
        };
        if !with_values {
            self.place(&range.over);
            return vec![self.int(length as i64); 2];
        }
        let (at, length, ..) = self.elements(&range.over);
        if self.types.pointee(ty).is_some() {
            return vec![at, length];
        }
        let copy = self.new_object(ty);
        self.move_to(copy, at, ty);
        vec![copy, length]
    }

    /// Begins an iteration of a range loop, or leaves it: the index of the next one, and what the
    /// variables get.
    fn step(&self, ty: Ty, over: &[Value], at: Value, end: Block, values: bool) -> (Value, Items) {
        let plus_one = |at| self.ins(|ins| ins.iadd_imm_s(at, 1));
        match *self.types.kind(ty) {
            Kind::Map(key_ty, value_ty) => {
                let next = self.host("map_next", &[self.type_number(ty), over[0], at]);
                self.go_on_if(next, end);
                let found = self.results(&[REFERENCE; 2], &[]);
                let key = self.load(key_ty, found[0], 0);
                let value = self.load(value_ty, found[1], 0);
                (next, vec![(key_ty, key), (value_ty, value)])
            }
            Kind::Chan(_, elem) => {
                let (values, ok) = self.receive_from(ty, over[0]);
                self.go_on_if(ok, end);
                (at, vec![(elem, values)])
            }
            _ if self.types.is_string(ty) => {
                self.go_on_if(self.compared(IntCC::SignedLessThan, at, over[1]), end);
                let found = self.library("runtime.decode", &[over[0], over[1], at]);
                let rune = (basic::INT32, vec![found[0]]);
                (found[1], vec![(basic::INT, vec![at]), rune])
            }
            _ if self.types.integer(ty).is_some() => {
                self.go_on_if(self.compare("<", &[at], over, ty), end);
                (plus_one(at), vec![(ty, vec![at])])
            }
            _ => {
                self.go_on_if(self.compared(IntCC::SignedLessThan, at, over[1]), end);
                let mut items = vec![(basic::INT, vec![at])];
                if values {
                    let elem = self.types.elem(ty);
                    let place = self.element(over[0], elem, at);
                    items.push((elem, self.load(elem, place, 0)));
                }
                (plus_one(at), items)
            }
        }
    }

    // Clauses.

    /// Runs the first clause that is the right one, or the default one. `test` goes to a clause's
    /// block if it is, `begin` is called before the body.
    fn clauses(&self, cases: &'p [Case], test: impl Fn(usize, Block), begin: impl Fn(usize)) {
        let entries: Vec<Block> = cases.iter().map(|_| self.b().create_block()).collect();
        let [end] = self.blocks();
        (0..cases.len()).for_each(|index| test(index, entries[index]));
        let default = cases.iter().position(Case::is_default);
        self.go_to(default.map_or(end, |index| entries[index]));
        self.with_jumps(end, None, || {
            for (index, Case { body, .. }) in cases.iter().enumerate() {
                self.begin(entries[index]);
                begin(index);
                self.stmts(&body.stmts);
                let last = body.stmts.last().map(|stmt| &stmt.kind);
                let falls = matches!(last, Some(StmtKind::Fallthrough));
                self.go_to(if falls { entries[index + 1] } else { end });
            }
        });
        self.begin(end);
    }

    pub(super) fn switch(&self, switch: &'p Switch) {
        self.stmts(switch.init.as_slice());
        let tag = switch.tag.as_ref();
        if let Some(ExprKind::Assert(over, None)) = tag.map(|tag| &tag.kind) {
            return self.type_switch(&switch.cases, &self.value(over));
        }
        // Without a tag it is as if that were `true`.
        let (tag, from) = match tag {
            Some(tag) => (self.value(tag), self.types.default_type(self.ty(tag))),
            None => (vec![self.ins(|ins| ins.iconst(I8, 1))], basic::BOOL),
        };
        let test = |index: usize, entry| {
            for expr in &switch.cases[index].exprs {
                let ty = self.types.compared_as(from, self.ty(expr));
                let tag = self.as_type(tag.clone(), from, ty);
                self.leave_if(self.compare_with("==", &tag, expr, ty), entry);
            }
        };
        self.clauses(&switch.cases, test, |_| {});
    }

    fn type_switch(&self, cases: &'p [Case], over: &[Value]) {
        let test = |index: usize, entry| {
            for expr in &cases[index].exprs {
                let is = match self.ty(expr) {
                    basic::UNTYPED_NIL => self.compared_int(IntCC::Equal, over[0], 0),
                    ty => self.is_of(over, ty),
                };
                self.leave_if(is, entry);
            }
        };
        self.clauses(cases, test, |index| {
            if let Some(var) = self.p.clause_vars.get(&cases[index].pos) {
                self.make_var(*var, Some(&self.held(over, self.var_ty(*var))));
            }
        });
    }

    pub(super) fn select(&self, cases: &'p [Case]) {
        let comm = |case: &'p Case| case.comm.as_ref();
        let mut selection = self.zeros(basic::UNSAFE_POINTER);
        for comm in cases.iter().filter_map(comm) {
            let (name, words) = match (&comm.kind, comm.channel()) {
                (StmtKind::Send(chan, value), _) => ("channel.sending", self.sent(chan, value)),
                (_, Some((_, chan))) => ("channel.receiving", self.value(chan)),
                (_, None) => unreachable!("parsed as a send or a receive"),
            };
            selection = self.library(name, &[selection, words].concat());
        }
        let waits = !cases.iter().any(Case::is_default);
        let waits = self.ins(|ins| ins.iconst(I8, i64::from(waits)));
        let found = self.library("channel.run", &[selection[0], waits]);
        // The library does not count the default clause.
        let number = |index| cases[..index].iter().filter_map(comm).count() as i64;
        let test = |index: usize, entry| {
            if !cases[index].is_default() {
                let runs = self.compared_int(IntCC::Equal, found[0], number(index));
                self.leave_if(runs, entry);
            }
        };
        let channel = |index: usize| comm(&cases[index])?.channel();
        self.clauses(cases, test, |index| match channel(index) {
            Some((left, chan)) if !left.is_empty() => {
                let elem = self.types.elem(self.ty(chan));
                let values = self.received(&found[1..], elem);
                let items = vec![(elem, values), (basic::BOOL, vec![found[3]])];
                self.assign_items(&left.iter().collect::<Vec<_>>(), items);
            }
            _ => {}
        });
    }

    pub(super) fn receive(&self, chan: &'p Expr) -> (Vals, Value) {
        self.receive_from(self.ty(chan), self.value(chan)[0])
    }

    fn receive_from(&self, ty: Ty, chan: Value) -> (Vals, Value) {
        let found = self.library("channel.receive", &[chan]);
        (self.received(&found, self.types.elem(ty)), found[2])
    }

    /// A channel, and what is sent to it as a value of type `any`.
    pub(super) fn sent(&self, chan: &'p Expr, value: &'p Expr) -> Vals {
        let elem = self.types.elem(self.ty(chan));
        let chan = self.value(chan);
        let value = self.as_type(self.value_as(value, elem), elem, Types::ANY);
        [chan, value].concat()
    }

    /// What a channel has passed on as a value of type `any`; nil is zero.
    fn received(&self, any: &[Value], ty: Ty) -> Vals {
        if self.types.is_interface(ty) || self.types.is_pointer_shaped(ty) {
            return self.held(&any[..2], ty);
        }
        let (held, zeros) = (|| self.held(any, ty), || self.zeros(ty));
        self.choose(&self.words(ty), any[0], held, zeros)
    }
}
