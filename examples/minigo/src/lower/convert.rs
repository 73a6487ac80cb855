//! Conversions, interfaces, type assertions.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I8, I64};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::body::{Body, Made, Vals};
use crate::ast::*;
use crate::types::{Basic, Kind, Ty};

impl<'p> Body<'_, '_, 'p> {
    /// A value as one of an interface type.
    pub(super) fn interface_of(&mut self, values: &[Value], ty: Ty) -> Made<Vals> {
        self.lo.hold(ty);
        let info = self.lo.info(ty);
        let info = self.int(info as i64);
        if self.lo.p.types.is_pointer_shaped(ty) {
            return Ok(vec![info, values[0]]);
        }
        let object = self.new_object(ty)?;
        self.store(ty, values, object, 0)?;
        Ok(vec![info, object])
    }

    /// The value that an interface of this type word holds.
    fn held_value(&mut self, interface: &[Value], ty: Ty) -> Made<Vals> {
        if self.lo.p.types.is_pointer_shaped(ty) {
            return Ok(vec![interface[1]]);
        }
        self.load(ty, interface[1], 0)
    }

    /// Whether an interface value is of a type: 0 or 1.
    pub(super) fn is_of(&mut self, interface: &[Value], ty: Ty) -> Value {
        if self.lo.p.types.is_interface(ty) {
            if let Kind::Interface(methods) = self.lo.p.types.kind(ty) {
                for method in methods.clone() {
                    self.lo.method_number(&method.name, method.ty);
                }
            }
            let wanted = self.int(i64::from(ty.0));
            let is = self.host("implements", &[interface[0], wanted]);
            return self.b.ins().ireduce(I8, is);
        }
        self.lo.hold(ty);
        let info = self.lo.info(ty);
        self.b
            .ins()
            .icmp_imm_s(IntCC::Equal, interface[0], info as i64)
    }

    /// The value of an assertion that holds.
    pub(super) fn asserted(&mut self, interface: &[Value], ty: Ty) -> Made<Vals> {
        match self.lo.p.types.is_interface(ty) {
            true => Ok(interface.to_vec()),
            false => self.held_value(interface, ty),
        }
    }

    /// `x.(T)`: panics if it does not hold, unless both results are wanted.
    pub(super) fn assertion(
        &mut self,
        expr: &'p Expr,
        of: &'p Expr,
        comma_ok: bool,
    ) -> Made<(Vals, Value)> {
        let (from, ty) = (self.ty(of), self.ty(expr));
        let interface = self.value(of)?;
        let is = self.is_of(&interface, ty);
        if !comma_ok {
            let not = self.b.ins().bxor_imm_s(is, 1);
            let (wanted, from) = (self.int(i64::from(ty.0)), self.int(i64::from(from.0)));
            self.panic_if(not, "panic_assertion", &[interface[0], wanted, from]);
            return Ok((self.asserted(&interface, ty)?, is));
        }
        let words = self.words(ty)?;
        let (end, values) = self.block_of(&words);
        let (yes, no) = self.branch_if(is);
        self.b.switch_to_block(yes);
        let there = self.asserted(&interface, ty)?;
        self.jump(end, &there);
        self.b.switch_to_block(no);
        let zeros = self.zeros(ty)?;
        self.jump(end, &zeros);
        self.b.switch_to_block(end);
        Ok((values, is))
    }

    /// `T(x)`.
    pub(super) fn conversion(&mut self, expr: &'p Expr, to: Ty) -> Made<Vals> {
        let types = &self.lo.p.types;
        let from = types.default_type(self.ty(expr));
        if types.is_number(from) && types.is_number(to) {
            let untyped = types.is_untyped(self.ty(expr)) && types.integer(to).is_some();
            let from = if untyped { to } else { from };
            let value = self.value_as(expr, from)?[0];
            return Ok(vec![self.number(value, from, to)?]);
        }
        let text = |ty: Ty| match types.kind(ty) {
            Kind::Slice(of) => types.basic(*of),
            _ => None,
        };
        let host = match (types.is_string(from), types.is_string(to)) {
            (true, true) | (false, false) => None,
            (false, true) => match text(from) {
                Some(Basic::Uint8) => Some("text_of_bytes"),
                Some(Basic::Int32) => Some("text_of_runes"),
                _ => Some("text_of_rune"),
            },
            (true, false) => match text(to) {
                Some(Basic::Uint8) => Some("bytes_of_text"),
                Some(Basic::Int32) => Some("runes_of_text"),
                _ => None,
            },
        };
        let Some(host) = host else {
            return self.value_as(expr, to);
        };
        let values = self.value(expr)?;
        if host == "text_of_rune" {
            let rune = self.widen(values[0], from);
            self.host_checked(host, &[rune]);
            return Ok(self.text_result());
        }
        self.host_checked(host, &values[..2]);
        let mut result = self.text_result();
        if self.is_slice(to) {
            result.push(result[1]);
        }
        Ok(result)
    }

    /// A number as one of another type.
    fn number(&mut self, value: Value, from: Ty, to: Ty) -> Made<Value> {
        let types = &self.lo.p.types;
        let clif = self.words(to)?[0].clif;
        let signed = |ty| types.integer(ty).is_none_or(|(_, signed)| signed);
        Ok(match (types.is_float(from), types.is_float(to)) {
            (true, true) => match (self.b.func.dfg.value_type(value), clif) {
                (F32, F64) => self.b.ins().fpromote(F64, value),
                (F64, F32) => self.b.ins().fdemote(F32, value),
                _ => value,
            },
            (false, true) if signed(from) => self.b.ins().fcvt_from_sint(clif, value),
            (false, true) => self.b.ins().fcvt_from_uint(clif, value),
            (true, false) => {
                let wide = match signed(to) {
                    true => self.b.ins().fcvt_to_sint_sat(I64, value),
                    false => self.b.ins().fcvt_to_uint_sat(I64, value),
                };
                if clif == I64 {
                    wide
                } else {
                    self.b.ins().ireduce(clif, wide)
                }
            }
            (false, false) => {
                let bits = self.b.func.dfg.value_type(value).bits();
                match clif.bits().cmp(&bits) {
                    std::cmp::Ordering::Less => self.b.ins().ireduce(clif, value),
                    std::cmp::Ordering::Equal => value,
                    _ if signed(from) => self.b.ins().sextend(clif, value),
                    _ => self.b.ins().uextend(clif, value),
                }
            }
        })
    }
}
