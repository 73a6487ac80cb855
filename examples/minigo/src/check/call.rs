//! Calls of functions and conversions.
#![forbid(unsafe_code)]

use super::{Checker, Mode, Operand};
use crate::ast::*;
use crate::check::entity::CallKind;
use crate::source::{Checked, Pos, fault};
use crate::types::{Kind, Sig, Ty, basic};

impl Checker {
    pub(super) fn call(&mut self, expr: &Expr, call: &Call) -> Checked<Operand> {
        let callee = self.operand(&call.callee)?;
        match callee.mode {
            Mode::Type => {
                let [argument] = &*call.args else {
                    return fault(expr.pos, "conversion needs one argument");
                };
                self.out.calls.insert(expr.id, CallKind::Convert(callee.ty));
                let operand = self.expr(argument)?;
                self.conversion(operand, callee.ty, argument.pos)
            }
            Mode::Builtin(builtin) => {
                self.out.calls.insert(expr.id, CallKind::Builtin(builtin));
                self.builtin(expr, builtin, call)
            }
            Mode::NoValue | Mode::Nil => fault(call.callee.pos, "cannot call this"),
            _ => {
                let Some(sig) = self.out.types.sig(callee.ty).cloned() else {
                    let ty = self.show(callee.ty);
                    let text = format!("invalid operation: cannot call value of type {ty}");
                    return fault(call.callee.pos, text);
                };
                self.arguments(call, &sig, expr.pos)?;
                Ok(self.results(&sig.results))
            }
        }
    }

    fn results(&mut self, results: &[Ty]) -> Operand {
        match results {
            [] => Operand::new(Mode::NoValue, basic::VOID),
            [one] => Operand::value(*one),
            all => {
                let ty = self.types().intern(Kind::Tuple(all.to_vec()));
                Operand::value(ty)
            }
        }
    }

    /// Checks the arguments of a function; several may come from one call.
    fn arguments(&mut self, call: &Call, sig: &Sig, pos: Pos) -> Checked<()> {
        let mut found = Vec::new();
        if let [one] = &*call.args {
            let operand = self.operand(one)?;
            match self.out.types.own_kind(operand.ty).clone() {
                Kind::Tuple(types) => {
                    found.extend(types.iter().map(|ty| (Operand::value(*ty), one.pos)));
                }
                _ => found.push((self.expr(one)?, one.pos)),
            }
        } else {
            for argument in &call.args {
                found.push((self.expr(argument)?, argument.pos));
            }
        }
        if call.spread && !sig.variadic {
            return fault(pos, "have (...) but function is not variadic");
        }
        let packs = sig.variadic && !call.spread;
        let fixed = sig.params.len() - usize::from(packs);
        let enough = if packs {
            found.len() >= fixed
        } else {
            found.len() == fixed
        };
        if !enough {
            let what = if found.len() < fixed {
                "not enough"
            } else {
                "too many"
            };
            return fault(pos, format!("{what} arguments in call"));
        }
        let elem = match sig.params.last().map(|ty| self.out.types.kind(*ty)) {
            Some(Kind::Slice(elem)) => *elem,
            _ => basic::VOID,
        };
        for (index, (operand, pos)) in found.iter().enumerate() {
            let ty = if packs && index >= fixed {
                elem
            } else {
                sig.params[index]
            };
            self.assignable(operand, ty, *pos, "argument")?;
        }
        Ok(())
    }
}
