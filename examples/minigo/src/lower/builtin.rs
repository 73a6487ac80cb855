//! Builtin functions.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I64};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::Extra;
use super::body::{Body, Made, Vals};
use crate::ast::*;
use crate::check::entity::Builtin;
use crate::types::{Basic, Kind, Ty, basic};

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn builtin(
        &mut self,
        expr: &'p Expr,
        builtin: Builtin,
        call: &'p Call,
    ) -> Made<Vals> {
        let ty = self.ty(expr);
        match builtin {
            Builtin::Append => self.append(ty, call),
            Builtin::Make => self.make(ty, call),
            Builtin::Len | Builtin::Cap => self.len(&call.args[0], builtin == Builtin::Cap),
            Builtin::New => {
                let Some(to) = self.lo.p.types.pointee(ty) else {
                    unreachable!("new returns a pointer");
                };
                Ok(vec![self.new_object(to)?])
            }
            Builtin::Clear => {
                let map = self.value(&call.args[0])?[0];
                self.host("map_clear", &[map]);
                Ok(Vec::new())
            }
            Builtin::Close => {
                let chan = self.value(&call.args[0])?[0];
                self.host_checked("chan_close", &[chan]);
                Ok(Vec::new())
            }
            Builtin::Copy => self.copy(call),
            Builtin::Delete => {
                let map_ty = self.ty(&call.args[0]);
                let Kind::Map(key, _) = *self.lo.p.types.kind(map_ty) else {
                    unreachable!("checked to be a map");
                };
                let map = self.value(&call.args[0])?[0];
                let key_values = self.value_as(&call.args[1], key)?;
                self.leave_in_buffer(key, &key_values)?;
                let info = self.int(i64::from(map_ty.0));
                self.host_checked("map_delete", &[info, map]);
                Ok(Vec::new())
            }
            Builtin::Min | Builtin::Max => {
                let op = if builtin == Builtin::Min { "<" } else { ">" };
                let mut best = self.value_as(&call.args[0], ty)?;
                for arg in &call.args[1..] {
                    let other = self.value_as(arg, ty)?;
                    let better = self.order(op, &other, &best, ty);
                    best = vec![self.b.ins().select(better, other[0], best[0])];
                }
                Ok(best)
            }
            Builtin::Panic => {
                let any = self.lo.heap.any();
                let value = self.value_as(&call.args[0], any)?;
                self.host("panic_value", &value);
                self.b.ins().jump(self.unwind, &[]);
                self.unreachable();
                Ok(Vec::new())
            }
            Builtin::Print | Builtin::Println => self.print(call, builtin == Builtin::Println),
            Builtin::Recover => Ok(self.recover()),
            Builtin::AddCleanup => self.add_cleanup(call),
            Builtin::WeakMake => {
                let pointer = self.value(&call.args[0])?[0];
                let cell = self.host_checked("weak_make", &[pointer]);
                Ok(vec![self.reference(cell)])
            }
        }
    }

    fn len(&mut self, arg: &'p Expr, cap: bool) -> Made<Vals> {
        let ty = self.ty(arg);
        let types = &self.lo.p.types;
        match types.kind(ty) {
            Kind::Slice(_) => Ok(vec![self.value(arg)?[if cap { 2 } else { 1 }]]),
            Kind::Map(..) => {
                let map = self.value(arg)?[0];
                Ok(vec![self.host("map_len", &[map])])
            }
            Kind::Chan(..) => {
                let chan = self.value(arg)?[0];
                let name = if cap { "chan_cap" } else { "chan_len" };
                Ok(vec![self.host(name, &[chan])])
            }
            Kind::Array(n, _) => {
                let n = *n;
                self.place(arg)?;
                Ok(vec![self.int(n as i64)])
            }
            Kind::Pointer(to) => {
                let Kind::Array(n, _) = *types.kind(*to) else {
                    unreachable!("checked to be an array");
                };
                self.value(arg)?;
                Ok(vec![self.int(n as i64)])
            }
            _ => Ok(vec![self.value(arg)?[1]]),
        }
    }

    /// An integer as a size.
    fn size_value(&mut self, arg: &'p Expr) -> Made<Value> {
        self.index_value(arg)
    }

    fn make(&mut self, ty: Ty, call: &'p Call) -> Made<Vals> {
        let info = self.int(i64::from(ty.0));
        let mut sizes = Vec::new();
        for arg in &call.args[1..] {
            sizes.push(self.size_value(arg)?);
        }
        match *self.lo.p.types.kind(ty) {
            Kind::Slice(elem) => {
                let length = sizes[0];
                let cap = sizes.get(1).copied().unwrap_or(length);
                let above = self.b.ins().icmp(IntCC::UnsignedGreaterThan, length, cap);
                self.panic_if(above, "panic_make", &[]);
                let at = self.new_array(elem, cap);
                Ok(vec![at, length, cap])
            }
            Kind::Map(..) => {
                let map = self.host("map_new", &[info]);
                Ok(vec![self.reference(map)])
            }
            _ => {
                let size = sizes.first().copied().unwrap_or_else(|| self.int(0));
                let chan = self.host_checked("chan_new", &[info, size]);
                Ok(vec![self.reference(chan)])
            }
        }
    }

    fn append(&mut self, ty: Ty, call: &'p Call) -> Made<Vals> {
        let Kind::Slice(elem) = *self.lo.p.types.kind(ty) else {
            unreachable!("checked to be a slice");
        };
        let slice = self.value_as(&call.args[0], ty)?;
        let size = self.lo.p.types.size(elem);
        if call.spread {
            let more = self.value_as(&call.args[1], ty)?;
            let length = self.b.ins().iadd(slice[1], more[1]);
            let grown = self.grow(elem, &slice, length);
            let offset = self.b.ins().imul_imm_s(slice[1], size as i64);
            let to = self.b.ins().iadd(grown[0], offset);
            let bytes = self.b.ins().imul_imm_s(more[1], size as i64);
            self.host("move", &[to, more[0], bytes]);
            return Ok(vec![grown[0], length, grown[1]]);
        }
        let mut values = Vec::new();
        for arg in &call.args[1..] {
            values.push(self.value_as(arg, elem)?);
        }
        let length = self.b.ins().iadd_imm_s(slice[1], values.len() as i64);
        let grown = self.grow(elem, &slice, length);
        let offset = self.b.ins().imul_imm_s(slice[1], size as i64);
        let to = self.b.ins().iadd(grown[0], offset);
        for (index, value) in values.iter().enumerate() {
            self.store(elem, value, to, (index as u64 * size) as i32)?;
        }
        Ok(vec![grown[0], length, grown[1]])
    }

    /// The array and capacity of a slice with room for `length` elements.
    fn grow(&mut self, elem: Ty, slice: &[Value], length: Value) -> Vals {
        let (end, grow) = (self.b.create_block(), self.b.create_block());
        let at = self.b.append_block_param(end, I64);
        self.reference(at);
        let cap = self.b.append_block_param(end, I64);
        let above = self
            .b
            .ins()
            .icmp(IntCC::UnsignedGreaterThan, length, slice[2]);
        let args = [slice[0].into(), slice[2].into()];
        self.b.ins().brif(above, grow, &[], end, &args);
        self.b.switch_to_block(grow);
        let info = self.int(i64::from(elem.0));
        let new = self.host_checked("grow", &[info, slice[0], slice[1], slice[2], length]);
        let new_cap = self.result(0, I64, false);
        self.jump(end, &[new, new_cap]);
        self.b.switch_to_block(end);
        vec![at, cap]
    }

    fn copy(&mut self, call: &'p Call) -> Made<Vals> {
        let ty = self.ty(&call.args[0]);
        let Kind::Slice(elem) = *self.lo.p.types.kind(ty) else {
            unreachable!("checked to be a slice");
        };
        let to = self.value(&call.args[0])?;
        let from = self.value(&call.args[1])?;
        let less = self.b.ins().icmp(IntCC::SignedLessThan, to[1], from[1]);
        let count = self.b.ins().select(less, to[1], from[1]);
        let bytes = self
            .b
            .ins()
            .imul_imm_s(count, self.lo.p.types.size(elem) as i64);
        self.host("move", &[to[0], from[0], bytes]);
        Ok(vec![count])
    }

    fn print(&mut self, call: &'p Call, line: bool) -> Made<Vals> {
        for (index, arg) in call.args.iter().enumerate() {
            if index > 0 && line {
                let space = self.text(b" ");
                self.host("print_text", &space);
            }
            let ty = self.lo.p.types.default_type(self.ty(arg));
            let value = self.value(arg)?;
            match self.lo.p.types.basic(ty) {
                Some(Basic::String) => {
                    self.host("print_text", &value);
                }
                Some(Basic::Bool) => {
                    let value = self.host_word(value[0]);
                    self.host("print_bool", &[value]);
                }
                _ if self.lo.p.types.is_float(ty) => {
                    let double = match self.b.func.dfg.value_type(value[0]) {
                        cranelift_codegen::ir::types::F32 => {
                            let f64 = cranelift_codegen::ir::types::F64;
                            self.b.ins().fpromote(f64, value[0])
                        }
                        _ => value[0],
                    };
                    let bits = self.host_word(double);
                    self.host("print_float", &[bits]);
                }
                _ => {
                    let signed = self.lo.p.types.integer(ty).is_none_or(|(_, signed)| signed);
                    let value = self.widen(value[0], ty);
                    let name = if signed { "print_int" } else { "print_uint" };
                    self.host(name, &[value]);
                }
            }
        }
        if line {
            let end = self.text(b"\n");
            self.host("print_text", &end);
        }
        Ok(Vec::new())
    }

    fn add_cleanup(&mut self, call: &'p Call) -> Made<Vals> {
        let pointer = self.value(&call.args[0])?[0];
        let function = self.value(&call.args[1])?[0];
        let ty = self.ty(&call.args[1]);
        let param = self.lo.sig(ty).params[0];
        let arg = self.value_as(&call.args[2], param)?;
        let word = match self.lo.p.types.pointee(param) {
            Some(_) => arg[0],
            None => self.int(0),
        };
        let closure = self.bind(function, ty, &arg)?;
        Ok(vec![
            self.host_checked("add_cleanup", &[pointer, closure, word]),
        ])
    }

    // ------------------------------------------------------------------------------------------
    // calls that are made later

    /// A closure of no parameters that makes a call, whose parts are evaluated now.
    pub(super) fn later(&mut self, expr: &'p Expr) -> Made<Value> {
        let mut expr = expr;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        let ExprKind::Call(call) = &expr.kind else {
            return Err("go and defer of conversions are outside minigo's subset".to_owned());
        };
        use crate::check::entity::CallKind;
        match self.lo.p.call_kind(expr.id) {
            CallKind::Function => {}
            CallKind::Builtin(builtin) => return self.builtin_later(builtin, call),
            CallKind::Convert(_) => {
                return Err("go and defer of conversions are outside minigo's subset".to_owned());
            }
        }
        let callee = self.callee(&call.callee)?;
        let ty = self.ty(&call.callee);
        let function = self.callee_closure(callee)?;
        let args = self.arguments(call, ty)?;
        self.check_nil(function);
        self.bind(function, ty, &args)
    }

    fn callee_closure(&mut self, callee: super::call::Callee) -> Made<Value> {
        use super::call::Callee;
        Ok(match callee {
            Callee::Closure(closure, _) => closure,
            Callee::Function(func, receiver) if receiver.is_empty() => {
                self.static_closure(func)?[0]
            }
            Callee::Function(func, receiver) => self.method_value(func, &receiver)?[0],
            Callee::Abstract(number, ty, receiver) => {
                self.check_nil(receiver[0]);
                let any = self.lo.heap.any();
                let extra = Extra::AbstractValue(number, ty, any);
                self.bound_closure(extra, &[any], &receiver)?[0]
            }
        })
    }

    /// A function of the prelude that is written in Rust, as a closure.
    pub(super) fn host_closure(&mut self, func: crate::check::entity::FuncId) -> Made<Value> {
        let code = self.lo.extra(Extra::Host(func))?;
        Ok(self.closure_outside(code)?[0])
    }

    fn builtin_later(&mut self, builtin: Builtin, call: &'p Call) -> Made<Value> {
        match builtin {
            Builtin::Close => {
                let chan = self.value(&call.args[0])?;
                let code = Extra::Close;
                Ok(self.bound_closure(code, &[basic::UNSAFE_POINTER], &chan)?[0])
            }
            Builtin::Panic => {
                let any = self.lo.heap.any();
                let value = self.value_as(&call.args[0], any)?;
                Ok(self.bound_closure(Extra::Panic(any), &[any], &value)?[0])
            }
            _ => Err("go and defer of this builtin are outside minigo's subset".to_owned()),
        }
    }

    pub(super) fn bool_word(&mut self, value: Value) -> Value {
        self.b.ins().ireduce(I8, value)
    }
}
