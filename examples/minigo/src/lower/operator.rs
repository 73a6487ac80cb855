//! Operators, comparisons and conversions.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{Opcode, Type};

use super::*;

/// Comparisons: of integers and results of the host, and of floats.
const COMPARISONS: [(&str, IntCC, FloatCC); 6] = [
    ("==", IntCC::Equal, FloatCC::Equal),
    ("!=", IntCC::NotEqual, FloatCC::NotEqual),
    ("<", IntCC::SignedLessThan, FloatCC::LessThan),
    ("<=", IntCC::SignedLessThanOrEqual, FloatCC::LessThanOrEqual),
    (">", IntCC::SignedGreaterThan, FloatCC::GreaterThan),
    (
        ">=",
        IntCC::SignedGreaterThanOrEqual,
        FloatCC::GreaterThanOrEqual,
    ),
];

/// Operators on two numbers: on signed integers, on unsigned ones, on floats.
const OPERATORS: [(&str, Opcode, Opcode, Opcode); 8] = [
    ("+", Opcode::Iadd, Opcode::Iadd, Opcode::Fadd),
    ("-", Opcode::Isub, Opcode::Isub, Opcode::Fsub),
    ("*", Opcode::Imul, Opcode::Imul, Opcode::Fmul),
    ("/", Opcode::Sdiv, Opcode::Udiv, Opcode::Fdiv),
    ("%", Opcode::Srem, Opcode::Urem, Opcode::Nop),
    ("&", Opcode::Band, Opcode::Band, Opcode::Nop),
    ("|", Opcode::Bor, Opcode::Bor, Opcode::Nop),
    ("^", Opcode::Bxor, Opcode::Bxor, Opcode::Nop),
];

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn unary(&self, op: &str, inner: &'p Expr, ty: Ty) -> Vals {
        let value = self.value_as(inner, ty)[0];
        vec![match op {
            "-" if self.types.is_float(ty) => self.ins(|ins| ins.fneg(value)),
            "-" => self.ins(|ins| ins.ineg(value)),
            "^" => self.ins(|ins| ins.bnot(value)),
            "!" => self.ins(|ins| ins.bxor_imm_s(value, 1)),
            _ => value,
        }]
    }

    pub(super) fn binary(&self, op: &str, left: &'p Expr, right: &'p Expr, ty: Ty) -> Vals {
        if matches!(op, "&&" | "||") {
            let first = self.value(left);
            let (more, stop) = (|| self.value(right), || first.clone());
            let words = self.words(basic::BOOL);
            return match op {
                "&&" => self.choose(&words, first[0], more, stop),
                _ => self.choose(&words, first[0], stop, more),
            };
        }
        if COMPARISONS.iter().any(|(known, ..)| *known == op) {
            let ty = self.types.compared_as(self.ty(left), self.ty(right));
            if layout::is_large(self.types, ty) {
                // As interfaces do, which hold the addresses of such values.
                let info = self.lo().hold(ty);
                let held = |expr| vec![self.int(info), self.address(&self.place(expr), ty)];
                return vec![self.compare(op, &held(left), &held(right), Types::ANY)];
            }
            return vec![self.compare_with(op, &self.value_as(left, ty), right, ty)];
        }
        let value = self.value_as(left, ty);
        self.operate(op, &value, ty, &self.operand(op, right, ty))
    }

    /// The right side of an operator, and its type.
    pub(super) fn operand(&self, op: &str, right: &'p Expr, ty: Ty) -> (Vals, Ty) {
        match op {
            "<<" | ">>" => {
                // A count that is constant is not negative, and may be any unsigned number.
                let ty = match self.ty(right) {
                    ty if self.types.is_untyped(ty) => basic::UINT,
                    ty => ty,
                };
                (self.value_as(right, ty), ty)
            }
            _ => (self.value_as(right, ty), ty),
        }
    }

    pub(super) fn operate(&self, op: &str, left: &[Value], ty: Ty, right: &(Vals, Ty)) -> Vals {
        let (right, right_ty) = right;
        if self.types.is_string(ty) {
            self.host_checked("concat", &[left, right].concat());
            return self.left(basic::STRING);
        }
        vec![match op {
            "<<" | ">>" => self.shift(op, left[0], ty, right[0], *right_ty),
            _ => self.arithmetic(op, left[0], right[0], ty),
        }]
    }

    fn arithmetic(&self, op: &str, a: Value, b: Value, ty: Ty) -> Value {
        let found = OPERATORS.iter().find(|(known, ..)| *known == op);
        let Some((_, signed, unsigned, float)) = found else {
            return self.ins(|ins| ins.band_not(a, b));
        };
        let opcode = match ty {
            _ if self.types.is_float(ty) => *float,
            _ if self.types.is_signed(ty) => *signed,
            _ => *unsigned,
        };
        let clif = self.type_of(a);
        match opcode {
            Opcode::Udiv | Opcode::Urem => self.panic_unless(b, "runtime.panicDivide"),
            Opcode::Sdiv | Opcode::Srem => {
                self.panic_unless(b, "runtime.panicDivide");
                // The least number divided by -1 is itself in Go, and a trap in hardware.
                let minus_one = self.compared_int(IntCC::Equal, b, -1);
                let one = self.ins(|ins| ins.iconst(clif, 1));
                let divisor = self.ins(|ins| ins.select(minus_one, one, b));
                let result = self.op(opcode, clif, &[a, divisor]);
                if opcode == Opcode::Srem {
                    return result;
                }
                let negated = self.ins(|ins| ins.ineg(a));
                return self.ins(|ins| ins.select(minus_one, negated, result));
            }
            _ => {}
        }
        self.op(opcode, clif, &[a, b])
    }

    fn shift(&self, op: &str, a: Value, ty: Ty, count: Value, by: Ty) -> Value {
        let count = self.number(count, by, basic::INT);
        if self.types.is_signed(by) {
            let valid = self.compared_int(IntCC::SignedGreaterThanOrEqual, count, 0);
            self.panic_unless(valid, "runtime.panicShift");
        }
        let clif = self.type_of(a);
        let bits = i64::from(clif.bits());
        if op == ">>" && self.types.is_signed(ty) {
            let most = self.int(bits - 1);
            let count = self.ins(|ins| ins.umin(count, most));
            return self.ins(|ins| ins.sshr(a, count));
        }
        let shifted = match op {
            "<<" => self.ins(|ins| ins.ishl(a, count)),
            _ => self.ins(|ins| ins.ushr(a, count)),
        };
        let large = self.compared_int(IntCC::UnsignedGreaterThanOrEqual, count, bits);
        let zero = self.ins(|ins| ins.iconst(clif, 0));
        self.ins(|ins| ins.select(large, zero, shifted))
    }

    // Comparisons.

    /// Compares a value of this type with that of an expression.
    pub(super) fn compare_with(&self, op: &str, a: &[Value], right: &'p Expr, ty: Ty) -> Value {
        let b = self.value_as(right, ty);
        let nil = self.ty(right) == basic::UNTYPED_NIL;
        self.compare(op, a, &b, if nil { basic::UINTPTR } else { ty })
    }

    /// 1 if a comparison holds.
    pub(super) fn compare(&self, op: &str, a: &[Value], b: &[Value], ty: Ty) -> Value {
        let found = COMPARISONS.iter().find(|(known, ..)| *known == op);
        let (_, condition, float) = *found.expect("an operator that compares");
        let equal = match self.types.kind(ty) {
            _ if self.types.is_string(ty) => {
                let order = self.host("compare", &[a, b].concat());
                return self.compared_int(condition, order, 0);
            }
            _ if self.types.is_float(ty) => return self.ins(|ins| ins.fcmp(float, a[0], b[0])),
            Kind::Interface(_) => {
                self.recast(self.host_checked("interfaces_equal", &[a, b].concat()), I8)
            }
            Kind::Struct(_) | Kind::Array(..) => {
                let types = layout::parts(self.types, ty);
                let (a, b) = (self.split(a, &types), self.split(b, &types));
                let all = self.ins(|ins| ins.iconst(I8, 1));
                let equal = |all, (ty, (a, b)): (&Ty, (&Vals, &Vals))| {
                    let equal = || vec![self.compare("==", a, b, *ty)];
                    self.choose(&self.words(basic::BOOL), all, equal, || vec![all])[0]
                };
                types.iter().zip(a.iter().zip(&b)).fold(all, equal)
            }
            _ if self.types.is_signed(ty) => return self.compared(condition, a[0], b[0]),
            _ => return self.compared(condition.unsigned(), a[0], b[0]),
        };
        match op {
            "!=" => self.ins(|ins| ins.bxor_imm_s(equal, 1)),
            _ => equal,
        }
    }

    // Conversions.

    /// `T(x)`.
    pub(super) fn conversion(&self, expr: &'p Expr, to: Ty) -> Vals {
        let types = self.types;
        let from = types.default_type(self.ty(expr));
        if types.is_number(from) && types.is_number(to) {
            let untyped = types.is_untyped(self.ty(expr)) && types.integer(to).is_some();
            let from = if untyped { to } else { from };
            let value = self.value_as(expr, from)[0];
            return vec![self.number(value, from, to)];
        }
        if types.is_string(to) && types.integer(from).is_some() {
            let rune = self.number(self.value(expr)[0], from, basic::INT);
            return self.library("runtime.textOfRune", &[rune]);
        }
        self.value_as(expr, to)
    }

    /// A number as one of another type.
    pub(super) fn number(&self, value: Value, from: Ty, to: Ty) -> Value {
        let clif = self.words(to)[0].clif;
        let sizes = clif.bits().cmp(&self.type_of(value).bits());
        let (from_float, to_float) = (self.types.is_float(from), self.types.is_float(to));
        let signed = self.types.is_signed(if from_float { to } else { from });
        let opcode = match (from_float, to_float, sizes) {
            (true, false, _) => {
                let opcode = match signed {
                    true => Opcode::FcvtToSintSat,
                    false => Opcode::FcvtToUintSat,
                };
                return self.number(self.op(opcode, I64, &[value]), basic::INT, to);
            }
            (false, true, _) if signed => Opcode::FcvtFromSint,
            (false, true, _) => Opcode::FcvtFromUint,
            (_, _, Ordering::Equal) => return value,
            (true, _, Ordering::Less) => Opcode::Fdemote,
            (true, _, Ordering::Greater) => Opcode::Fpromote,
            (false, _, Ordering::Less) => Opcode::Ireduce,
            (false, _, Ordering::Greater) if signed => Opcode::Sextend,
            (false, _, Ordering::Greater) => Opcode::Uextend,
        };
        self.op(opcode, clif, &[value])
    }

    /// An instruction of one or two arguments, whose result has this type.
    fn op(&self, opcode: Opcode, ty: Type, args: &[Value]) -> Value {
        self.ins(|ins| {
            let (inst, dfg) = match *args {
                [a] => ins.Unary(opcode, ty, a),
                [a, b] => ins.Binary(opcode, ty, a, b),
                _ => unreachable!("one or two arguments"),
            };
            dfg.first_result(inst)
        })
    }
}
