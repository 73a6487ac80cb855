//! `range`, `switch` and `select`.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::{Checker, Mode, Operand};
use crate::ast::*;
use crate::source::{Checked, fault};
use crate::types::{Kind, basic};

impl Checker {
    pub(super) fn range(&mut self, range: &Range) -> Checked<()> {
        self.push_scope();
        let over = self.expr(&range.over)?;
        let pointee = self.out.types.pointee(over.ty);
        let array = pointee.filter(|to| matches!(self.out.types.kind(*to), Kind::Array(..)));
        let (key, value) = match *self.out.types.kind(array.unwrap_or(over.ty)) {
            Kind::Slice(elem) | Kind::Array(_, elem) => (basic::INT, Some(elem)),
            Kind::Map(key, value) => (key, Some(value)),
            Kind::Chan(Dir::Send, _) => {
                return fault(range.over.pos, "cannot range over send-only channel");
            }
            Kind::Chan(_, elem) => (elem, None),
            Kind::Basic(_) if self.out.types.is_string(over.ty) => (basic::INT, Some(basic::INT32)),
            Kind::Basic(_) if self.out.types.integer(over.ty).is_some() => {
                (self.out.types.default_type(over.ty), None)
            }
            Kind::Func(_) => {
                let text = "range over functions is outside minigo's subset";
                return fault(range.over.pos, text);
            }
            _ => {
                let ty = self.show(over.ty);
                return fault(
                    range.over.pos,
                    format!("cannot range over value of type {ty}"),
                );
            }
        };
        if let Some(second) = &range.value
            && value.is_none()
        {
            return fault(second.pos, "range permits only one iteration variable");
        }
        let targets = [(&range.key, Some(key)), (&range.value, value)];
        for (target, ty) in targets {
            let (Some(target), Some(ty)) = (target, ty) else {
                continue;
            };
            if !range.define {
                if let Some(wanted) = self.target(target)? {
                    let found = Operand::value(ty);
                    self.assignable(&found, wanted, target.pos, "range clause")?;
                }
                continue;
            }
            let ExprKind::Ident(name) = &target.kind else {
                return fault(target.pos, "non-name on left side of :=");
            };
            self.declare_name(target, name, ty)?;
        }
        self.block(&range.body)?;
        self.pop_scope()
    }

    /// The statements of a clause; the last one may fall through.
    fn case_body(&mut self, case: &Case, last: bool) -> Checked<()> {
        let mut stmts = &*case.body.stmts;
        if let [rest @ .., stmt] = stmts
            && matches!(stmt.kind, StmtKind::Fallthrough)
        {
            if last {
                return fault(stmt.pos, "cannot fallthrough final case in switch");
            }
            stmts = rest;
        }
        self.scoped(|checker| checker.stmts(stmts))
    }

    fn one_default(cases: &[Case]) -> Checked<()> {
        match cases.iter().filter(|case| case.default).nth(1) {
            Some(case) => fault(case.pos, "multiple defaults in switch"),
            None => Ok(()),
        }
    }

    pub(super) fn switch(&mut self, switch: &Switch) -> Checked<()> {
        self.optional(switch.init.as_ref())?;
        Self::one_default(&switch.cases)?;
        let tag = match &switch.tag {
            None => None,
            Some(expr) => {
                let operand = self.expr(expr)?;
                let ty = self.variable_type(&operand, expr.pos)?;
                if !self.out.types.is_comparable(ty) {
                    return fault(expr.pos, "cannot switch on a value that can't be compared");
                }
                Some(Operand::value(ty))
            }
        };
        let mut seen = HashSet::new();
        for (index, case) in switch.cases.iter().enumerate() {
            for expr in &case.exprs {
                let operand = self.expr(expr)?;
                match &tag {
                    None if !self.out.types.is_bool(operand.ty) => {
                        return fault(expr.pos, "invalid case in switch (mismatched types)");
                    }
                    None => {}
                    Some(tag) => {
                        let backwards = self.assign_fault(tag, operand.ty).is_some();
                        if self.assign_fault(&operand, tag.ty).is_some() && backwards {
                            let text = "invalid case in switch (mismatched types)";
                            return fault(expr.pos, text);
                        }
                        if let Mode::Const(value) = &operand.mode
                            && !self.out.types.is_interface(tag.ty)
                            && !seen.insert(format!("{value:?}"))
                        {
                            return fault(expr.pos, "duplicate case in expression switch");
                        }
                    }
                }
            }
            self.case_body(case, index + 1 == switch.cases.len())?;
        }
        Ok(())
    }

    pub(super) fn type_switch(&mut self, switch: &TypeSwitch) -> Checked<()> {
        self.optional(switch.init.as_ref())?;
        Self::one_default(&switch.cases)?;
        let over = self.expr(&switch.over)?;
        if !self.out.types.is_interface(over.ty) {
            return fault(
                switch.over.pos,
                "type switch on a value that is not an interface",
            );
        }
        let mut used = switch.bind.is_none();
        for case in &switch.cases {
            let mut ty = over.ty;
            for expr in &case.exprs {
                let nil = matches!(&expr.kind, ExprKind::Ident(name) if &**name == "nil");
                if !nil {
                    let found = self.ty(expr)?;
                    self.assertable(&over, found, expr.pos)?;
                    if case.exprs.len() == 1 {
                        ty = found;
                    }
                }
            }
            self.push_scope();
            if let Some((name, pos)) = &switch.bind {
                let var = self.declare_var(name, ty, *pos, false)?;
                self.out.clause_vars.insert(case.id, var);
                self.case_body(case, true)?;
                let var = &mut self.out.vars[var.0 as usize];
                used |= std::mem::replace(&mut var.used, true);
            } else {
                self.case_body(case, true)?;
            }
            self.pop_scope()?;
        }
        match &switch.bind {
            Some((name, pos)) if !used => fault(*pos, format!("declared and not used: {name}")),
            _ => Ok(()),
        }
    }

    pub(super) fn clause(&mut self, clause: &CommClause) -> Checked<()> {
        self.push_scope();
        match &clause.comm {
            Comm::Default => {}
            Comm::Send(chan, value) => self.send(chan, value)?,
            Comm::Receive(left, define, chan) => {
                let channel = self.expr(chan)?;
                let elem = match *self.out.types.kind(channel.ty) {
                    Kind::Chan(Dir::Both | Dir::Receive, elem) => elem,
                    _ => return fault(chan.pos, "invalid operation: cannot receive from this"),
                };
                if left.len() > 2 {
                    return fault(clause.pos, "assignment mismatch: at most 2 variables");
                }
                let values = [elem, basic::UNTYPED_BOOL].map(Operand::value);
                let values = values.into_iter().zip([chan.pos; 2]).take(left.len());
                if *define {
                    self.bind(clause.pos, left, values.collect())?;
                } else {
                    for (target, (operand, pos)) in left.iter().zip(values) {
                        if let Some(ty) = self.target(target)? {
                            self.assignable(&operand, ty, pos, "assignment")?;
                        }
                    }
                }
            }
        }
        self.stmts(&clause.body.stmts)?;
        self.pop_scope()
    }
}
