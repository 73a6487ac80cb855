//! Operators.
#![forbid(unsafe_code)]

use super::{Checker, Mode, Operand};
use crate::ast::*;
use crate::constant::{self, Const, represent};
use crate::source::{Checked, Pos, fault};
use crate::types::{Kind, Ty, basic};

const COMPARISONS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];

impl Checker {
    pub(super) fn unary(&mut self, expr: &Expr, op: &str, inner: &Expr) -> Checked<Operand> {
        if op == "&" {
            return self.address(expr, inner);
        }
        let operand = self.expr(inner)?;
        if op == "<-" {
            return match *self.out.types.kind(operand.ty) {
                Kind::Chan(Dir::Send, _) => fault(
                    expr.pos,
                    "invalid operation: cannot receive from send-only channel",
                ),
                Kind::Chan(_, elem) => Ok(Operand::new(Mode::CommaOk, elem)),
                _ => {
                    let ty = self.show(operand.ty);
                    fault(
                        expr.pos,
                        format!("invalid operation: cannot receive from {ty}"),
                    )
                }
            };
        }
        let defined = match op {
            "!" => self.out.types.is_bool(operand.ty),
            "^" => self.out.types.integer(operand.ty).is_some(),
            _ => self.out.types.is_number(operand.ty),
        };
        if !defined {
            let ty = self.show(operand.ty);
            let text = format!("invalid operation: operator {op} not defined on {ty}");
            return fault(expr.pos, text);
        }
        let Mode::Const(value) = &operand.mode else {
            return Ok(Operand::value(operand.ty));
        };
        let unsigned = self
            .out
            .types
            .integer(operand.ty)
            .filter(|(_, signed)| !signed);
        let result = match (op, value) {
            ("!", Const::Bool(value)) => Const::Bool(!value),
            ("-", Const::Int(value)) => Const::Int(-value),
            ("-", Const::Float(value)) => Const::Float(-value),
            ("^", Const::Int(value)) => match unsigned {
                Some((bits, _)) => Const::Int(!value & ((1 << bits) - 1)),
                None => Const::Int(!value),
            },
            _ => value.clone(),
        };
        self.constant_operand(result, operand.ty, expr.pos)
    }

    fn constant_operand(&self, value: Const, ty: Ty, pos: Pos) -> Checked<Operand> {
        match represent(&self.out.types, &value, ty) {
            Ok(value) => Ok(Operand::new(Mode::Const(value), ty)),
            Err(text) => fault(pos, text),
        }
    }

    fn address(&mut self, expr: &Expr, inner: &Expr) -> Checked<Operand> {
        let mut target = inner;
        while let ExprKind::Paren(inside) = &target.kind {
            target = inside;
        }
        let operand = self.expr(inner)?;
        let literal = matches!(target.kind, ExprKind::Composite(..));
        if operand.mode != Mode::Variable && !literal {
            return fault(expr.pos, "invalid operation: cannot take address of value");
        }
        self.take_address(target);
        let ty = self.types().pointer(operand.ty);
        Ok(Operand::value(ty))
    }

    pub(super) fn binary(
        &mut self,
        expr: &Expr,
        op: &str,
        left: &Expr,
        right: &Expr,
    ) -> Checked<Operand> {
        let (a, b) = (self.expr(left)?, self.expr(right)?);
        if op == "<<" || op == ">>" {
            return self.shift(expr, op, a, b, right.pos);
        }
        let ty = self.common_type(&a, &b, expr.pos)?;
        if COMPARISONS.contains(&op) {
            self.comparable(op, &a, &b, ty, expr.pos)?;
            if let (Mode::Const(a), Mode::Const(b)) = (&a.mode, &b.mode) {
                let result = constant::binary(op, a, b, true).unwrap_or(Const::Bool(false));
                return Ok(Operand::new(Mode::Const(result), basic::UNTYPED_BOOL));
            }
            return Ok(Operand::value(basic::UNTYPED_BOOL));
        }
        let types = &self.out.types;
        let defined = match op {
            "&&" | "||" => types.is_bool(ty),
            "+" => types.is_number(ty) || types.is_string(ty),
            "-" | "*" | "/" => types.is_number(ty),
            _ => types.integer(ty).is_some(),
        };
        if !defined {
            let ty = self.show(ty);
            let text = format!("invalid operation: operator {op} not defined on {ty}");
            return fault(expr.pos, text);
        }
        let integers = types.integer(ty).is_some();
        if let Mode::Const(b) = &b.mode
            && integers
            && matches!(op, "/" | "%")
            && b.int() == Some(0)
        {
            return fault(right.pos, "invalid operation: division by zero");
        }
        if let (Mode::Const(a), Mode::Const(b)) = (&a.mode, &b.mode) {
            return match constant::binary(op, a, b, integers) {
                Some(value) => self.constant_operand(value, ty, expr.pos),
                None => fault(expr.pos, "constant is too large for minigo, or not defined"),
            };
        }
        Ok(Operand::value(ty))
    }

    /// The type of both operands, one of which may be untyped.
    fn common_type(&mut self, a: &Operand, b: &Operand, pos: Pos) -> Checked<Ty> {
        let types = &self.out.types;
        let (untyped_a, untyped_b) = (types.is_untyped(a.ty), types.is_untyped(b.ty));
        if untyped_a && untyped_b {
            let numbers = types.is_number(a.ty) && types.is_number(b.ty);
            if numbers {
                return Ok(a.ty.max(b.ty));
            }
            if a.ty == b.ty {
                return Ok(a.ty);
            }
        } else if untyped_a || untyped_b {
            let (from, to) = if untyped_a { (a, b.ty) } else { (b, a.ty) };
            self.assignable(from, to, pos, "operation")?;
            // A value that is compared with an interface keeps its type.
            return Ok(to);
        } else if self.assign_fault(b, a.ty).is_none() && (a.ty == b.ty || types.is_interface(a.ty))
        {
            return Ok(a.ty);
        } else if types.is_interface(b.ty) && self.assign_fault(a, b.ty).is_none() {
            return Ok(b.ty);
        }
        let (a, b) = (self.show(a.ty), self.show(b.ty));
        fault(
            pos,
            format!("invalid operation: mismatched types {a} and {b}"),
        )
    }

    fn comparable(&mut self, op: &str, a: &Operand, b: &Operand, ty: Ty, pos: Pos) -> Checked<()> {
        let types = &self.out.types;
        let nil = a.mode == Mode::Nil || b.mode == Mode::Nil;
        let defined = match op {
            "==" | "!=" if nil => types.has_nil(ty) && ty != basic::UNTYPED_NIL,
            "==" | "!=" => {
                types.is_comparable(ty) && types.is_comparable(a.ty) && types.is_comparable(b.ty)
            }
            _ => types.is_number(ty) || types.is_string(ty),
        };
        if defined {
            return Ok(());
        }
        let ty = self.show(ty);
        fault(
            pos,
            format!("invalid operation: operator {op} not defined on {ty}"),
        )
    }

    fn shift(
        &mut self,
        expr: &Expr,
        op: &str,
        a: Operand,
        b: Operand,
        count_pos: Pos,
    ) -> Checked<Operand> {
        let count = match &b.mode {
            Mode::Const(value) => {
                let count = value.int().filter(|count| *count >= 0);
                match count {
                    None => return fault(count_pos, "invalid operation: invalid shift count"),
                    found => found,
                }
            }
            _ if self.out.types.integer(b.ty).is_none() => {
                return fault(count_pos, "invalid operation: shift count must be integer");
            }
            _ => None,
        };
        let Mode::Const(value) = &a.mode else {
            return match self.out.types.integer(a.ty) {
                Some(_) => Ok(Operand::value(a.ty)),
                None => fault(
                    expr.pos,
                    "invalid operation: shifted operand must be integer",
                ),
            };
        };
        let Some(value) = value.int() else {
            return fault(
                expr.pos,
                "invalid operation: shifted operand must be integer",
            );
        };
        let untyped = self.out.types.is_untyped(a.ty);
        let ty = if untyped { basic::UNTYPED_INT } else { a.ty };
        let Some(count) = count else {
            return Ok(Operand::value(ty));
        };
        let shifted = constant::binary(op, &Const::Int(value), &Const::Int(count), true);
        match shifted {
            Some(value) => self.constant_operand(value, ty, expr.pos),
            None => fault(expr.pos, "constant is too large for minigo"),
        }
    }
}
