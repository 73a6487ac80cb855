//! Expressions.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I8, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};

use super::body::{Body, Made, Vals};
use super::place::Place;
use crate::ast::*;
use crate::check::entity::{Entity, FuncId, Selection};
use crate::constant::Const;
use crate::types::{Kind, Ty, basic};

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn ty(&self, expr: &Expr) -> Ty {
        self.lo.p.ty_of(expr.id)
    }

    /// The value of an expression; an untyped one gets its default type.
    pub(super) fn value(&mut self, expr: &'p Expr) -> Made<Vals> {
        let ty = self.lo.p.types.default_type(self.ty(expr));
        self.value_of(expr, ty)
    }

    /// The value of an expression as one of a type that it is assignable to.
    pub(super) fn value_as(&mut self, expr: &'p Expr, ty: Ty) -> Made<Vals> {
        let from = self.lo.p.types.default_type(self.ty(expr));
        if from == basic::UNTYPED_NIL {
            return self.zeros(ty);
        }
        if self.lo.p.types.is_interface(ty) && !self.lo.p.types.is_interface(from) {
            let values = self.value_of(expr, from)?;
            return self.interface_of(&values, from);
        }
        self.value_of(expr, ty)
    }

    /// Words as those of a type that theirs is assignable to.
    pub(super) fn assign(&mut self, values: Vals, from: Ty, to: Ty) -> Made<Vals> {
        let from = self.lo.p.types.default_type(from);
        if self.lo.p.types.is_interface(to) && !self.lo.p.types.is_interface(from) {
            return self.interface_of(&values, from);
        }
        Ok(values)
    }

    /// The address of text that is never freed.
    pub(super) fn text(&mut self, bytes: &[u8]) -> Vals {
        let address = self.lo.heap.text_bytes(bytes);
        vec![self.int(address as i64), self.int(bytes.len() as i64)]
    }

    pub(super) fn constant(&mut self, value: &Const, ty: Ty) -> Made<Vals> {
        let word = self.words(ty)?.first().map_or(I64, |word| word.clif);
        Ok(match value {
            Const::Bool(value) => vec![self.b.ins().iconst(I8, i64::from(*value))],
            Const::Str(bytes) => self.text(bytes),
            Const::Int(value) if word == F64 => vec![self.b.ins().f64const(*value as f64)],
            Const::Float(value) if word == F64 => vec![self.b.ins().f64const(*value)],
            Const::Int(value) if word == F32 => vec![self.b.ins().f32const(*value as f32)],
            Const::Float(value) if word == F32 => vec![self.b.ins().f32const(*value as f32)],
            number => {
                let value = number.int().unwrap_or(0);
                // Only the low bits count: the checker has seen that the value fits.
                let bits = word.bits();
                let low = (value as u64) << (64 - bits) >> (64 - bits);
                vec![self.b.ins().iconst(word, low as i64)]
            }
        })
    }

    /// The value of an expression of this type, or of an untyped one that becomes this type.
    fn value_of(&mut self, expr: &'p Expr, ty: Ty) -> Made<Vals> {
        if let Some(value) = self.lo.p.consts.get(&expr.id) {
            return self.constant(value, ty);
        }
        match &expr.kind {
            ExprKind::Paren(inner) => self.value_of(inner, ty),
            ExprKind::Ident(_) => {
                let entity = self.lo.p.uses.get(&expr.id);
                self.entity(entity, ty)
            }
            ExprKind::Func(_) => {
                let func = self.lo.p.literals[&expr.id];
                self.closure_of(func)
            }
            ExprKind::Composite(_, elems) => self.composite(expr, elems),
            ExprKind::Selector(of, _) => self.selector(expr, of, ty),
            ExprKind::Index(of, index) => self.index(expr, of, index),
            ExprKind::Slice(of, bounds) => self.slice(of, bounds),
            ExprKind::Assert(of, _) => self.assertion(expr, of, false).map(|(values, _)| values),
            ExprKind::Call(call) => self.call(expr, call),
            ExprKind::Star(inner) => {
                let at = self.value(inner)?[0];
                self.check_nil(at);
                self.load(self.ty(expr), at, 0)
            }
            ExprKind::Unary(op, inner) => self.unary(op, inner, ty),
            ExprKind::Binary(op, left, right) => self.binary(op, left, right, ty),
            _ => unreachable!("checked to be a value"),
        }
    }

    fn entity(&mut self, entity: Option<&'p Entity>, ty: Ty) -> Made<Vals> {
        match entity {
            Some(Entity::Var(var)) => {
                let place = self.var_place(*var);
                let ty = self.lo.p.vars[var.0 as usize].ty;
                self.read(&place, ty)
            }
            Some(Entity::Func(func)) => self.static_closure(*func),
            Some(Entity::Nil) => self.zeros(ty),
            Some(Entity::Const(value, _)) => self.constant(value, ty),
            _ => unreachable!("checked to be a value"),
        }
    }

    /// The closure of a function that captures nothing: its code's address, outside the heap.
    pub(super) fn static_closure(&mut self, func: FuncId) -> Made<Vals> {
        if self.lo.p.funcs[func.0 as usize].body.block().is_none() {
            return Ok(vec![self.host_closure(func)?]);
        }
        let code = self.code_of(func);
        self.closure_outside(code)
    }

    pub(super) fn closure_outside(&mut self, code: cranelift_module::FuncId) -> Made<Vals> {
        let word = self.lo.heap.closure_word(code);
        let address = self.int(word as i64);
        // Written when it is first used, as no function has an address while it is compiled.
        let callee = self.func_ref(code);
        let entry = self.b.ins().func_addr(I64, callee);
        self.store_int(entry, address, 0);
        Ok(vec![address])
    }

    fn selector(&mut self, expr: &'p Expr, of: &'p Expr, ty: Ty) -> Made<Vals> {
        match self.lo.p.selections.get(&expr.id) {
            Some(Selection::Package(entity)) => self.entity(Some(entity), ty),
            Some(Selection::Field(path)) => {
                let of_ty = self.ty(of);
                let by_value = self.lo.p.types.pointee(of_ty).is_none() && !self.has_place(of);
                if let ([index], true) = (&**path, by_value) {
                    let values = self.value(of)?;
                    return Ok(self.field_values(&values, of_ty, *index));
                }
                let place = self.field_place(of, path)?;
                self.read(&place, self.ty(expr))
            }
            Some(Selection::Method(path, declaring, method)) => {
                let receiver = self.receiver(of, path, *declaring, method)?;
                self.method_value(method.func, &receiver)
            }
            Some(Selection::Abstract(path, interface, method)) => {
                let receiver = self.interface_receiver(of, path, *interface)?;
                self.abstract_value(&receiver, method, *interface)
            }
            Some(Selection::MethodExpr(func)) => self.static_closure(*func),
            _ => unreachable!("checked to be a value"),
        }
    }

    fn index(&mut self, expr: &'p Expr, of: &'p Expr, index: &'p Expr) -> Made<Vals> {
        let ty = self.ty(of);
        if self.lo.p.types.is_string(ty) {
            let text = self.value(of)?;
            let index = self.index_value(index)?;
            self.check_index(index, text[1]);
            let at = self.b.ins().iadd(text[0], index);
            return Ok(vec![self.b.ins().load(I8, MemFlagsData::trusted(), at, 0)]);
        }
        let place = self.place(expr)?;
        self.read(&place, self.ty(expr))
    }

    fn slice(&mut self, of: &'p Expr, bounds: &'p [Option<Box<Expr>>; 3]) -> Made<Vals> {
        let ty = self.ty(of);
        let types = &self.lo.p.types;
        let (at, size, length, cap, text) = match *types.kind(ty) {
            Kind::Slice(elem) => {
                let size = types.size(elem);
                let slice = self.value(of)?;
                (slice[0], size, slice[1], slice[2], false)
            }
            Kind::Array(n, elem) => {
                let size = types.size(elem);
                let at = self.address_of(of)?;
                let n = self.int(n as i64);
                (at, size, n, n, false)
            }
            Kind::Pointer(array) => {
                let Kind::Array(n, elem) = *types.kind(array) else {
                    unreachable!("checked to be an array");
                };
                let size = types.size(elem);
                let at = self.value(of)?[0];
                self.check_nil(at);
                let n = self.int(n as i64);
                (at, size, n, n, false)
            }
            _ => {
                let text = self.value(of)?;
                (text[0], 1, text[1], text[1], true)
            }
        };
        let mut given = Vec::new();
        for bound in bounds {
            given.push(
                bound
                    .as_deref()
                    .map(|bound| self.index_value(bound))
                    .transpose()?,
            );
        }
        let low = given[0].unwrap_or_else(|| self.int(0));
        let high = given[1].unwrap_or(length);
        let max = given[2].unwrap_or(cap);
        let above = |body: &mut Self, a: Value, b: Value, kind: i64| {
            let above = body.b.ins().icmp(IntCC::UnsignedGreaterThan, a, b);
            let kind = body.int(kind);
            body.panic_if(above, "panic_slice", &[a, b, kind]);
        };
        if given[2].is_some() {
            above(self, max, cap, 2);
        }
        if given[1].is_some() || given[2].is_some() {
            above(
                self,
                high,
                max,
                if text {
                    3
                } else {
                    i64::from(given[2].is_some()) * 4
                },
            );
        }
        above(self, low, high, 1);
        let new_length = self.b.ins().isub(high, low);
        let new_cap = self.b.ins().isub(max, low);
        let offset = self.b.ins().imul_imm_s(low, size as i64);
        let moved = self.b.ins().iadd(at, offset);
        // An address behind the last element is in no object, or in another one.
        let left = if text { new_length } else { new_cap };
        let moved = self.b.ins().select(left, moved, at);
        let moved = self.reference(moved);
        Ok(if text {
            vec![moved, new_length]
        } else {
            vec![moved, new_length, new_cap]
        })
    }

    // ------------------------------------------------------------------------------------------
    // maps

    /// The value of a key, zero if there is none, and whether there is one.
    pub(super) fn map_get(&mut self, ty: Ty, map: Value, key: &[Value]) -> Made<(Vals, Value)> {
        let Kind::Map(key_ty, value_ty) = *self.lo.p.types.kind(ty) else {
            unreachable!("checked to be a map");
        };
        self.leave_in_buffer(key_ty, key)?;
        let info = self.int(i64::from(ty.0));
        let at = self.host_checked("map_get", &[info, map]);
        let at = self.reference(at);
        let words = self.words(value_ty)?;
        let (end, values) = self.block_of(&words);
        let (found, missing) = self.branch_if(at);
        self.b.switch_to_block(found);
        let there = self.load(value_ty, at, 0)?;
        self.jump(end, &there);
        self.b.switch_to_block(missing);
        let zeros = self.zeros(value_ty)?;
        self.jump(end, &zeros);
        self.b.switch_to_block(end);
        let ok = self.b.ins().icmp_imm_s(IntCC::NotEqual, at, 0);
        Ok((values, ok))
    }

    /// Where the value of a key is, which is added if need be.
    pub(super) fn map_slot(&mut self, ty: Ty, map: Value, key: &[Value]) -> Made<Value> {
        let Kind::Map(key_ty, _) = *self.lo.p.types.kind(ty) else {
            unreachable!("checked to be a map");
        };
        self.leave_in_buffer(key_ty, key)?;
        let info = self.int(i64::from(ty.0));
        let at = self.host_checked("map_set", &[info, map]);
        Ok(self.reference(at))
    }

    /// Copies a value that may be too large for registers.
    pub(super) fn copy_large(&mut self, to: &Place, from: &'p Expr, ty: Ty) -> Made<()> {
        let from = self.address_of(from)?;
        let Place::Memory(at, offset) = to else {
            return Err("copying such large values is outside minigo's subset".to_owned());
        };
        let to = self.inside(*at, i64::from(*offset));
        let size = self.int(self.lo.p.types.size(ty) as i64);
        self.host("move", &[to, from, size]);
        Ok(())
    }
}
