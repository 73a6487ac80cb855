//! Operators.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{I8, I64};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::body::{Body, Made, Vals};
use crate::ast::*;
use crate::types::{Kind, Ty, basic};

impl<'p> Body<'_, '_, 'p> {
    /// An integer as a word of 64 bits.
    pub(super) fn widen(&mut self, value: Value, ty: Ty) -> Value {
        match self.lo.p.types.integer(ty) {
            Some((64, _)) | None => value,
            Some((_, true)) => self.b.ins().sextend(I64, value),
            Some((_, false)) => self.b.ins().uextend(I64, value),
        }
    }

    pub(super) fn unary(&mut self, op: &str, inner: &'p Expr, ty: Ty) -> Made<Vals> {
        match op {
            "&" => return self.address(inner),
            "<-" => return self.receive(inner).map(|(values, _)| values),
            _ => {}
        }
        let value = self.value_as(inner, ty)?[0];
        let float = self.lo.p.types.is_float(ty);
        Ok(vec![match op {
            "-" if float => self.b.ins().fneg(value),
            "-" => self.b.ins().ineg(value),
            "^" => self.b.ins().bnot(value),
            "!" => self.b.ins().bxor_imm_s(value, 1),
            _ => value,
        }])
    }

    pub(super) fn binary(
        &mut self,
        op: &'static str,
        left: &'p Expr,
        right: &'p Expr,
        ty: Ty,
    ) -> Made<Vals> {
        match op {
            "&&" | "||" => self.short_circuit(op, left, right),
            "==" | "!=" | "<" | "<=" | ">" | ">=" => self.comparison(op, left, right),
            "<<" | ">>" => {
                let value = self.value_as(left, ty)?[0];
                let count_ty = self.lo.p.types.default_type(self.ty(right));
                let count = self.value(right)?[0];
                Ok(vec![self.shift(op, value, ty, count, count_ty)])
            }
            _ => {
                let a = self.value_as(left, ty)?;
                let b = self.value_as(right, ty)?;
                self.arithmetic(op, &a, &b, ty)
            }
        }
    }

    pub(super) fn arithmetic(&mut self, op: &str, a: &[Value], b: &[Value], ty: Ty) -> Made<Vals> {
        if self.lo.p.types.is_string(ty) {
            return Ok(self.concat(a, b));
        }
        let (a, b) = (a[0], b[0]);
        if self.lo.p.types.is_float(ty) {
            return Ok(vec![match op {
                "+" => self.b.ins().fadd(a, b),
                "-" => self.b.ins().fsub(a, b),
                "*" => self.b.ins().fmul(a, b),
                _ => self.b.ins().fdiv(a, b),
            }]);
        }
        Ok(vec![match op {
            "+" => self.b.ins().iadd(a, b),
            "-" => self.b.ins().isub(a, b),
            "*" => self.b.ins().imul(a, b),
            "&" => self.b.ins().band(a, b),
            "|" => self.b.ins().bor(a, b),
            "^" => self.b.ins().bxor(a, b),
            "&^" => self.b.ins().band_not(a, b),
            _ => self.divide(op, a, b, ty),
        }])
    }

    fn divide(&mut self, op: &str, a: Value, b: Value, ty: Ty) -> Value {
        let zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        self.panic_if(zero, "panic_divide", &[]);
        let quotient = op == "/";
        if self
            .lo
            .p
            .types
            .integer(ty)
            .is_some_and(|(_, signed)| !signed)
        {
            return match quotient {
                true => self.b.ins().udiv(a, b),
                false => self.b.ins().urem(a, b),
            };
        }
        // The least number divided by -1 is itself in Go, and a trap in hardware.
        let minus_one = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
        let clif = self.b.func.dfg.value_type(b);
        let one = self.b.ins().iconst(clif, 1);
        let divisor = self.b.ins().select(minus_one, one, b);
        if quotient {
            let negated = self.b.ins().ineg(a);
            let divided = self.b.ins().sdiv(a, divisor);
            return self.b.ins().select(minus_one, negated, divided);
        }
        self.b.ins().srem(a, divisor)
    }

    pub(super) fn shift(&mut self, op: &str, a: Value, ty: Ty, count: Value, by: Ty) -> Value {
        let signed = |body: &Self, ty| body.lo.p.types.integer(ty).is_none_or(|(_, s)| s);
        let count_signed = signed(self, by);
        let count = self.widen(count, by);
        if count_signed {
            let negative = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, count, 0);
            self.panic_if(negative, "panic_shift", &[]);
        }
        let clif = self.b.func.dfg.value_type(a);
        let bits = i64::from(clif.bits());
        let large = self
            .b
            .ins()
            .icmp_imm_s(IntCC::UnsignedGreaterThanOrEqual, count, bits);
        if op == ">>" && signed(self, ty) {
            let most = self.int(bits - 1);
            let count = self.b.ins().select(large, most, count);
            return self.b.ins().sshr(a, count);
        }
        let shifted = match op {
            "<<" => self.b.ins().ishl(a, count),
            _ => self.b.ins().ushr(a, count),
        };
        let zero = self.b.ins().iconst(clif, 0);
        self.b.ins().select(large, zero, shifted)
    }

    pub(super) fn concat(&mut self, a: &[Value], b: &[Value]) -> Vals {
        self.host_checked("concat", &[a[0], a[1], b[0], b[1]]);
        self.text_result()
    }

    /// The text that the host has left as its results.
    pub(super) fn text_result(&mut self) -> Vals {
        vec![self.result(0, I64, true), self.result(1, I64, false)]
    }

    fn short_circuit(&mut self, op: &str, left: &'p Expr, right: &'p Expr) -> Made<Vals> {
        let first = self.value(left)?[0];
        let end = self.b.create_block();
        let result = self.b.append_block_param(end, I8);
        let more = self.b.create_block();
        let stop = self.b.create_block();
        match op {
            "&&" => self.b.ins().brif(first, more, &[], stop, &[]),
            _ => self.b.ins().brif(first, stop, &[], more, &[]),
        };
        self.b.switch_to_block(stop);
        self.jump(end, &[first]);
        self.b.switch_to_block(more);
        let second = self.value(right)?[0];
        self.jump(end, &[second]);
        self.b.switch_to_block(end);
        Ok(vec![result])
    }

    fn comparison(&mut self, op: &str, left: &'p Expr, right: &'p Expr) -> Made<Vals> {
        let types = &self.lo.p.types;
        let (a_ty, b_ty) = (self.ty(left), self.ty(right));
        // The type that both have: that of the interface, of the typed one, of the wider constant.
        let ty = if a_ty == basic::UNTYPED_NIL {
            b_ty
        } else if b_ty == basic::UNTYPED_NIL {
            a_ty
        } else if types.is_untyped(a_ty) && types.is_untyped(b_ty) {
            types.default_type(a_ty.max(b_ty))
        } else if types.is_untyped(a_ty) || types.is_interface(b_ty) && !types.is_interface(a_ty) {
            b_ty
        } else {
            a_ty
        };
        let nil = a_ty == basic::UNTYPED_NIL || b_ty == basic::UNTYPED_NIL;
        let a = self.value_as(left, ty)?;
        let b = self.value_as(right, ty)?;
        let equal = if nil {
            self.b.ins().icmp(IntCC::Equal, a[0], b[0])
        } else if matches!(op, "==" | "!=") {
            self.equal(&a, &b, ty)?
        } else {
            return Ok(vec![self.order(op, &a, &b, ty)]);
        };
        Ok(vec![if op == "!=" {
            self.b.ins().bxor_imm_s(equal, 1)
        } else {
            equal
        }])
    }

    /// `<`, `<=`, `>` or `>=`.
    pub(super) fn order(&mut self, op: &str, a: &[Value], b: &[Value], ty: Ty) -> Value {
        let types = &self.lo.p.types;
        if types.is_float(ty) {
            let condition = match op {
                "<" => FloatCC::LessThan,
                "<=" => FloatCC::LessThanOrEqual,
                ">" => FloatCC::GreaterThan,
                _ => FloatCC::GreaterThanOrEqual,
            };
            return self.b.ins().fcmp(condition, a[0], b[0]);
        }
        let signed = types.integer(ty).is_none_or(|(_, signed)| signed);
        let condition = match (op, signed) {
            ("<", true) => IntCC::SignedLessThan,
            ("<=", true) => IntCC::SignedLessThanOrEqual,
            (">", true) => IntCC::SignedGreaterThan,
            (_, true) => IntCC::SignedGreaterThanOrEqual,
            ("<", false) => IntCC::UnsignedLessThan,
            ("<=", false) => IntCC::UnsignedLessThanOrEqual,
            (">", false) => IntCC::UnsignedGreaterThan,
            (_, false) => IntCC::UnsignedGreaterThanOrEqual,
        };
        if types.is_string(ty) {
            let order = self.host("compare", &[a[0], a[1], b[0], b[1]]);
            return self.b.ins().icmp_imm_s(condition, order, 0);
        }
        self.b.ins().icmp(condition, a[0], b[0])
    }

    pub(super) fn is_slice(&self, ty: Ty) -> bool {
        matches!(self.lo.p.types.kind(ty), Kind::Slice(_))
    }
}
