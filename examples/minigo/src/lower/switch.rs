//! `switch` and `select`.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I8;
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData, Value};

use super::body::{Body, Made, Vals};
use crate::ast::*;
use crate::run::ctx;
use crate::types::{Ty, basic};

impl<'p> Body<'_, '_, 'p> {
    /// The bodies of a switch's cases, to which `entries` jump.
    fn cases(
        &mut self,
        cases: &'p [Case],
        entries: &[Block],
        end: Block,
        bind: impl Fn(&mut Self, &'p Case) -> Made<()>,
    ) -> Made<()> {
        self.targeted(end, None, |this| {
            for (index, case) in cases.iter().enumerate() {
                this.b.switch_to_block(entries[index]);
                bind(this, case)?;
                this.stmts(&case.body.stmts)?;
                let last = case.body.stmts.last().map(|stmt| &stmt.kind);
                let falls = matches!(last, Some(StmtKind::Fallthrough));
                this.b
                    .ins()
                    .jump(if falls { entries[index + 1] } else { end }, &[]);
            }
            Ok(())
        })?;
        self.b.switch_to_block(end);
        Ok(())
    }

    fn default_of(cases: &[Case], entries: &[Block], end: Block) -> Block {
        let default = cases.iter().position(|case| case.default);
        default.map_or(end, |index| entries[index])
    }

    pub(super) fn switch(&mut self, switch: &'p Switch) -> Made<()> {
        let label = self.label.take();
        if let Some(init) = &switch.init {
            self.stmt(init)?;
        }
        let tag = match &switch.tag {
            Some(tag) => {
                let ty = self.lo.p.types.default_type(self.ty(tag));
                Some((self.value(tag)?, ty))
            }
            None => None,
        };
        let entries: Vec<Block> = switch.cases.iter().map(|_| self.b.create_block()).collect();
        let end = self.b.create_block();
        for (case, entry) in switch.cases.iter().zip(&entries) {
            for expr in &case.exprs {
                let is = match &tag {
                    None => self.value(expr)?[0],
                    Some((tag, ty)) => self.case_matches(tag, *ty, expr)?,
                };
                let go_on = self.b.create_block();
                self.b.ins().brif(is, *entry, &[], go_on, &[]);
                self.b.switch_to_block(go_on);
            }
        }
        let default = Self::default_of(&switch.cases, &entries, end);
        self.b.ins().jump(default, &[]);
        self.label = label;
        self.cases(&switch.cases, &entries, end, |_, _| Ok(()))
    }

    fn case_matches(&mut self, tag: &[Value], ty: Ty, expr: &'p Expr) -> Made<Value> {
        let case_ty = self.ty(expr);
        let types = &self.lo.p.types;
        if case_ty != basic::UNTYPED_NIL && types.is_interface(case_ty) && !types.is_interface(ty) {
            let tag = self.interface_of(tag, ty)?;
            let value = self.value(expr)?;
            return self.equal(&tag, &value, case_ty);
        }
        let value = self.value_as(expr, ty)?;
        self.equal(tag, &value, ty)
    }

    pub(super) fn type_switch(&mut self, switch: &'p TypeSwitch) -> Made<()> {
        let label = self.label.take();
        if let Some(init) = &switch.init {
            self.stmt(init)?;
        }
        let over_ty = self.ty(&switch.over);
        let over = self.value(&switch.over)?;
        let entries: Vec<Block> = switch.cases.iter().map(|_| self.b.create_block()).collect();
        let end = self.b.create_block();
        let nil = |expr: &Expr| matches!(&expr.kind, ExprKind::Ident(name) if &**name == "nil");
        for (case, entry) in switch.cases.iter().zip(&entries) {
            for expr in &case.exprs {
                let is = match nil(expr) {
                    true => self.b.ins().icmp_imm_s(IntCC::Equal, over[0], 0),
                    false => self.is_of(&over, self.ty(expr)),
                };
                let go_on = self.b.create_block();
                self.b.ins().brif(is, *entry, &[], go_on, &[]);
                self.b.switch_to_block(go_on);
            }
        }
        let default = Self::default_of(&switch.cases, &entries, end);
        self.b.ins().jump(default, &[]);
        self.label = label;
        self.cases(&switch.cases, &entries, end, |this, case| {
            let Some(var) = this.lo.p.clause_vars.get(&case.id) else {
                return Ok(());
            };
            let ty = this.lo.p.vars[var.0 as usize].ty;
            let values = match ty == over_ty {
                true => over.clone(),
                false => this.asserted(&over, ty)?,
            };
            this.make_var(*var, Some(&values))
        })
    }

    pub(super) fn receive(&mut self, chan: &'p Expr) -> Made<(Vals, Value)> {
        let ty = self.ty(chan);
        let chan = self.value(chan)?[0];
        self.receive_from(ty, chan)
    }

    pub(super) fn receive_from(&mut self, ty: Ty, chan: Value) -> Made<(Vals, Value)> {
        let elem = self.elem(ty);
        let info = self.int(i64::from(ty.0));
        let ok = self.host_checked("chan_receive", &[info, chan]);
        let values = self.load(elem, self.ctx, ctx::BUFFER)?;
        Ok((values, self.bool_word(ok)))
    }

    pub(super) fn select(&mut self, clauses: &'p [CommClause]) -> Made<()> {
        let label = self.label.take();
        self.host("select_begin", &[]);
        let mut prepared = Vec::new();
        for clause in clauses {
            match &clause.comm {
                Comm::Default => {}
                Comm::Send(chan, value) => {
                    let ty = self.ty(chan);
                    let chan = self.value(chan)?[0];
                    let value = self.value_as(value, self.elem(ty))?;
                    prepared.push((ty, chan, Some(value)));
                }
                Comm::Receive(_, _, chan) => {
                    let ty = self.ty(chan);
                    prepared.push((ty, self.value(chan)?[0], None));
                }
            }
        }
        for (ty, chan, value) in &prepared {
            let info = self.int(i64::from(ty.0));
            match value {
                Some(value) => {
                    self.leave_in_buffer(self.elem(*ty), value)?;
                    self.host("select_send", &[info, *chan]);
                }
                None => {
                    self.host("select_receive", &[info, *chan]);
                }
            }
        }
        let default = clauses
            .iter()
            .any(|clause| matches!(clause.comm, Comm::Default));
        let default_word = self.int(i64::from(default));
        let chosen = self.host_checked("select_run", &[default_word]);
        let end = self.b.create_block();
        self.label = label;
        self.targeted(end, None, |this| {
            let mut number = 0;
            for clause in clauses {
                let wanted = match clause.comm {
                    Comm::Default => -1,
                    _ => {
                        number += 1;
                        number - 1
                    }
                };
                let is = this.b.ins().icmp_imm_s(IntCC::Equal, chosen, wanted);
                let (yes, no) = this.branch_if(is);
                this.b.switch_to_block(yes);
                this.clause(clause)?;
                this.b.ins().jump(end, &[]);
                this.b.switch_to_block(no);
            }
            this.b.ins().jump(end, &[]);
            Ok(())
        })?;
        self.b.switch_to_block(end);
        Ok(())
    }

    fn clause(&mut self, clause: &'p CommClause) -> Made<()> {
        if let Comm::Receive(left, define, chan) = &clause.comm
            && !left.is_empty()
        {
            let elem = self.elem(self.ty(chan));
            let values = self.load(elem, self.ctx, ctx::BUFFER)?;
            let flags = MemFlagsData::trusted();
            let ok = self.b.ins().load(I8, flags, self.ctx, ctx::RESULTS);
            for (target, (ty, values)) in left.iter().zip([(elem, values), (basic::BOOL, vec![ok])])
            {
                let new = self
                    .declared(target)
                    .is_some_and(|var| self.lo.p.vars[var.0 as usize].pos == target.pos);
                self.bind_range(Some(target), *define && new, ty, values)?;
            }
        }
        self.stmts(&clause.body.stmts)
    }
}
