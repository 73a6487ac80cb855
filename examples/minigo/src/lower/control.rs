//! Loops, switches, channels.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, InstBuilder, Value};

use super::body::{Body, Made, Storage, Target, Vals};
use super::place::Place;
use crate::ast::*;
use crate::check::entity::VarId;
use crate::types::{Kind, Ty, basic};

impl<'p> Body<'_, '_, 'p> {
    /// Runs `body` with a target of `break` and perhaps `continue`.
    pub(super) fn targeted(
        &mut self,
        end: Block,
        next: Option<Block>,
        body: impl FnOnce(&mut Self) -> Made<()>,
    ) -> Made<()> {
        let label = self.label.take();
        self.targets.push(Target { label, end, next });
        body(self)?;
        self.targets.pop();
        Ok(())
    }

    pub(super) fn for_stmt(&mut self, inner: &'p For) -> Made<()> {
        let label = self.label.take();
        let mut fresh = Vec::new();
        if let Some(init) = &inner.init {
            self.stmt(init)?;
            if let StmtKind::Define(names, _) = &init.kind {
                let names = names.iter().filter_map(|name| self.declared(name));
                fresh = names
                    .filter(|var| self.lo.p.vars[var.0 as usize].boxed)
                    .collect();
            }
        }
        let (head, end, next) = (
            self.b.create_block(),
            self.b.create_block(),
            self.b.create_block(),
        );
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(head);
        self.safepoint();
        if let Some(cond) = &inner.cond {
            let cond = self.value(cond)?[0];
            let body = self.b.create_block();
            self.b.ins().brif(cond, body, &[], end, &[]);
            self.b.switch_to_block(body);
        }
        self.label = label;
        self.targeted(end, Some(next), |this| this.stmts(&inner.body.stmts))?;
        self.b.ins().jump(next, &[]);
        self.b.switch_to_block(next);
        // Each iteration has variables of its own.
        for var in fresh {
            self.renew(var)?;
        }
        if let Some(post) = &inner.post {
            self.stmt(post)?;
        }
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(end);
        Ok(())
    }

    fn renew(&mut self, var: VarId) -> Made<()> {
        let ty = self.lo.p.vars[var.0 as usize].ty;
        let Some(Storage::Object(variable)) = self.vars.get(&var).cloned() else {
            return Ok(());
        };
        let old = self.b.use_var(variable);
        let values = self.load(ty, old, 0)?;
        let object = self.new_object(ty)?;
        self.store(ty, &values, object, 0)?;
        self.b.def_var(variable, object);
        Ok(())
    }

    /// Gives the variable of a range loop its value for an iteration.
    pub(super) fn bind_range(
        &mut self,
        target: Option<&'p Expr>,
        define: bool,
        from: Ty,
        values: Vals,
    ) -> Made<()> {
        let Some(target) = target else {
            return Ok(());
        };
        if define {
            return match self.declared(target) {
                Some(var) => self.make_var(var, Some(&values)),
                None => Ok(()),
            };
        }
        let place = self.place(target)?;
        if matches!(place, Place::Nowhere) {
            return Ok(());
        }
        let ty = self.ty(target);
        let values = self.assign(values, from, ty)?;
        self.write_place(&place, ty, &values)
    }

    pub(super) fn range(&mut self, range: &'p Range) -> Made<()> {
        let label = self.label.take();
        let ty = self.ty(&range.over);
        let types = &self.lo.p.types;
        let array = types
            .pointee(ty)
            .filter(|to| matches!(types.kind(*to), Kind::Array(..)));
        match *types.kind(array.unwrap_or(ty)) {
            Kind::Slice(elem) => {
                let slice = self.value(&range.over)?;
                self.label = label;
                self.range_elements(range, slice[0], slice[1], elem)
            }
            Kind::Array(n, elem) => {
                let at = match array {
                    Some(_) => self.value(&range.over)?[0],
                    None => self.array_copy(range, ty)?,
                };
                if array.is_some() && range.value.is_some() {
                    self.check_nil(at);
                }
                let n = self.int(n as i64);
                self.label = label;
                self.range_elements(range, at, n, elem)
            }
            Kind::Map(key, value) => {
                let map = self.value(&range.over)?[0];
                self.label = label;
                self.range_map(range, ty, map, key, value)
            }
            Kind::Chan(_, elem) => {
                let chan = self.value(&range.over)?[0];
                self.label = label;
                self.range_chan(range, ty, chan, elem)
            }
            _ if self.lo.p.types.is_string(ty) => {
                let text = self.value(&range.over)?;
                self.label = label;
                self.range_text(range, &text)
            }
            _ => {
                let ty = self.lo.p.types.default_type(ty);
                let limit = self.value(&range.over)?[0];
                self.label = label;
                self.range_int(range, ty, limit)
            }
        }
    }

    /// The array that is ranged over: Go copies it, if its elements are looked at.
    fn array_copy(&mut self, range: &'p Range, ty: Ty) -> Made<Value> {
        let at = self.address_of_value(&range.over)?;
        if range.value.is_none() {
            return Ok(at);
        }
        let copy = self.new_object(ty)?;
        let size = self.int(self.lo.p.types.size(ty) as i64);
        self.host("move", &[copy, at, size]);
        Ok(copy)
    }

    fn address_of_value(&mut self, expr: &'p Expr) -> Made<Value> {
        match self.place(expr)? {
            Place::Memory(at, offset) => Ok(self.inside(at, offset.into())),
            _ => Err("ranging over such an array is outside minigo's subset".to_owned()),
        }
    }

    /// A loop with an index in a variable, from 0 while it is below a limit.
    fn counted(
        &mut self,
        limit: Value,
        signed: bool,
        body: impl FnOnce(&mut Self, Value) -> Made<()>,
    ) -> Made<()> {
        let clif = self.b.func.dfg.value_type(limit);
        let index = self.b.declare_var(clif);
        let zero = self.b.ins().iconst(clif, 0);
        self.b.def_var(index, zero);
        let (head, inside) = (self.b.create_block(), self.b.create_block());
        let (next, end) = (self.b.create_block(), self.b.create_block());
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(head);
        self.safepoint();
        let at = self.b.use_var(index);
        let condition = if signed {
            IntCC::SignedLessThan
        } else {
            IntCC::UnsignedLessThan
        };
        let more = self.b.ins().icmp(condition, at, limit);
        self.b.ins().brif(more, inside, &[], end, &[]);
        self.b.switch_to_block(inside);
        self.targeted(end, Some(next), |this| body(this, at))?;
        self.b.ins().jump(next, &[]);
        self.b.switch_to_block(next);
        let at = self.b.use_var(index);
        let after = self.b.ins().iadd_imm_s(at, 1);
        self.b.def_var(index, after);
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(end);
        Ok(())
    }

    fn range_int(&mut self, range: &'p Range, ty: Ty, limit: Value) -> Made<()> {
        let signed = self.lo.p.types.integer(ty).is_none_or(|(_, signed)| signed);
        self.counted(limit, signed, |this, index| {
            this.bind_range(range.key.as_ref(), range.define, ty, vec![index])?;
            this.stmts(&range.body.stmts)
        })
    }

    fn range_elements(&mut self, range: &'p Range, at: Value, n: Value, elem: Ty) -> Made<()> {
        let size = self.lo.p.types.size(elem) as i64;
        self.counted(n, true, |this, index| {
            let wants = range
                .value
                .as_ref()
                .filter(|value| !matches!(&value.kind, ExprKind::Ident(name) if &**name == "_"));
            if wants.is_some() {
                let offset = this.b.ins().imul_imm_s(index, size);
                let place = this.b.ins().iadd(at, offset);
                let values = this.load(elem, place, 0)?;
                this.bind_range(range.value.as_ref(), range.define, elem, values)?;
            }
            this.bind_range(range.key.as_ref(), range.define, basic::INT, vec![index])?;
            this.stmts(&range.body.stmts)
        })
    }

    /// A loop that ends in its own way: `head` jumps to `end` or goes on to the body.
    fn stepped(
        &mut self,
        head: impl FnOnce(&mut Self, Block) -> Made<()>,
        range: &'p Range,
    ) -> Made<()> {
        let (again, end) = (self.b.create_block(), self.b.create_block());
        self.b.ins().jump(again, &[]);
        self.b.switch_to_block(again);
        self.safepoint();
        head(self, end)?;
        self.targeted(end, Some(again), |this| this.stmts(&range.body.stmts))?;
        self.b.ins().jump(again, &[]);
        self.b.switch_to_block(end);
        Ok(())
    }

    /// Goes on if the value is not 0, else to `end`.
    fn go_on_if(&mut self, value: Value, end: Block) {
        let go_on = self.b.create_block();
        self.b.ins().brif(value, go_on, &[], end, &[]);
        self.b.switch_to_block(go_on);
    }

    fn range_map(&mut self, range: &'p Range, ty: Ty, map: Value, key: Ty, value: Ty) -> Made<()> {
        let index = self.b.declare_var(I64);
        let zero = self.int(0);
        self.b.def_var(index, zero);
        let head = |this: &mut Self, end| {
            let at = this.b.use_var(index);
            let info = this.int(i64::from(ty.0));
            let next = this.host("map_next", &[info, map, at]);
            this.go_on_if(next, end);
            this.b.def_var(index, next);
            let key_at = this.result(0, I64, true);
            let value_at = this.result(1, I64, true);
            let key_values = this.load(key, key_at, 0)?;
            let values = this.load(value, value_at, 0)?;
            this.bind_range(range.key.as_ref(), range.define, key, key_values)?;
            this.bind_range(range.value.as_ref(), range.define, value, values)
        };
        self.stepped(head, range)
    }

    fn range_chan(&mut self, range: &'p Range, ty: Ty, chan: Value, elem: Ty) -> Made<()> {
        let head = |this: &mut Self, end| {
            let (values, ok) = this.receive_from(ty, chan)?;
            this.go_on_if(ok, end);
            this.bind_range(range.key.as_ref(), range.define, elem, values)
        };
        self.stepped(head, range)
    }

    fn range_text(&mut self, range: &'p Range, text: &[Value]) -> Made<()> {
        let index = self.b.declare_var(I64);
        let zero = self.int(0);
        self.b.def_var(index, zero);
        let text = text.to_vec();
        let head = |this: &mut Self, end| {
            let at = this.b.use_var(index);
            let more = this.b.ins().icmp(IntCC::SignedLessThan, at, text[1]);
            this.go_on_if(more, end);
            let width = this.host("next_rune", &[text[0], text[1], at]);
            let rune = this.result(0, I32, false);
            let after = this.b.ins().iadd(at, width);
            this.b.def_var(index, after);
            this.bind_range(range.key.as_ref(), range.define, basic::INT, vec![at])?;
            this.bind_range(range.value.as_ref(), range.define, basic::INT32, vec![rune])
        };
        self.stepped(head, range)
    }
}
