//! Composite literals.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::{Checker, Operand};
use crate::ast::*;
use crate::constant::Const;
use crate::source::{Checked, fault};
use crate::types::{Field, Kind, Ty, basic};

type Elems = [(Option<Expr>, Expr)];

impl Checker {
    pub(super) fn composite(
        &mut self,
        expr: &Expr,
        ty: Option<&Expr>,
        elems: &Elems,
    ) -> Checked<Operand> {
        let Some(ty) = ty else {
            return fault(expr.pos, "invalid composite literal type: missing");
        };
        if let ExprKind::ArrayType(None, of) = &ty.kind {
            let of = self.ty(of)?;
            let length = self.listed(elems, of, None)?;
            let array = self.types().intern(Kind::Array(length, of));
            return Ok(Operand::value(array));
        }
        let ty = self.ty(ty)?;
        self.literal_of(expr, ty, elems)?;
        Ok(Operand::value(ty))
    }

    fn literal_of(&mut self, expr: &Expr, ty: Ty, elems: &Elems) -> Checked<()> {
        match self.out.types.kind(ty).clone() {
            Kind::Struct(fields) => self.struct_literal(expr, ty, &fields, elems),
            Kind::Array(n, of) => self.listed(elems, of, Some(n)).map(drop),
            Kind::Slice(of) => self.listed(elems, of, None).map(drop),
            Kind::Map(key, value) => {
                let mut seen = HashSet::new();
                for (k, v) in elems {
                    let Some(k) = k else {
                        return fault(v.pos, "missing key in map literal");
                    };
                    self.element(k, key)?;
                    self.element(v, value)?;
                    let known = self.out.consts.get(&k.id);
                    if let Some(known) = known.filter(|_| !self.out.types.is_interface(key))
                        && !seen.insert(format!("{known:?}"))
                    {
                        return fault(k.pos, "duplicate key in map literal");
                    }
                }
                Ok(())
            }
            _ => {
                let ty = self.show(ty);
                fault(expr.pos, format!("invalid composite literal type {ty}"))
            }
        }
    }

    /// A value inside a literal, whose own type may be left out.
    fn element(&mut self, expr: &Expr, ty: Ty) -> Checked<()> {
        if let ExprKind::Composite(None, elems) = &expr.kind {
            let pointee = match *self.out.types.own_kind(ty) {
                Kind::Pointer(to) => Some(to),
                _ => None,
            };
            self.out.ty[expr.id as usize] = ty;
            return self.literal_of(expr, pointee.unwrap_or(ty), elems);
        }
        let operand = self.expr(expr)?;
        self.assignable(&operand, ty, expr.pos, "literal")
    }

    /// The elements of an array or slice; returns the length.
    fn listed(&mut self, elems: &Elems, of: Ty, limit: Option<u64>) -> Checked<u64> {
        let (mut next, mut length) = (0u64, 0u64);
        let mut seen = HashSet::new();
        for (key, value) in elems {
            if let Some(key) = key {
                self.expr(key)?;
                let index = self.out.consts.get(&key.id).and_then(Const::int);
                let index = index.and_then(|index| u64::try_from(index).ok());
                match index.filter(|index| *index < 1 << 24) {
                    Some(index) => next = index,
                    None => return fault(key.pos, "index must be non-negative integer constant"),
                }
            }
            if limit.is_some_and(|limit| next >= limit) {
                return fault(value.pos, format!("index {next} out of bounds"));
            }
            if !seen.insert(next) {
                return fault(value.pos, format!("duplicate index {next} in literal"));
            }
            self.element(value, of)?;
            next += 1;
            length = length.max(next);
        }
        Ok(limit.unwrap_or(length))
    }

    fn struct_literal(
        &mut self,
        expr: &Expr,
        ty: Ty,
        fields: &[Field],
        elems: &Elems,
    ) -> Checked<()> {
        let keyed = elems.iter().any(|(key, _)| key.is_some());
        if !keyed && !elems.is_empty() && elems.len() != fields.len() {
            let what = if elems.len() < fields.len() {
                "few"
            } else {
                "many"
            };
            return fault(expr.pos, format!("too {what} values in struct literal"));
        }
        let mut seen = HashSet::new();
        for (index, (key, value)) in elems.iter().enumerate() {
            let field = match key.as_ref().map(|key| (&key.kind, key.pos)) {
                None if keyed => {
                    return fault(value.pos, "mixture of field:value and value elements");
                }
                None => &fields[index],
                Some((ExprKind::Ident(name), pos)) => {
                    let found = fields.iter().find(|field| field.name == *name);
                    let Some(field) = found else {
                        let ty = self.show(ty);
                        return fault(
                            pos,
                            format!("unknown field {name} in struct literal of {ty}"),
                        );
                    };
                    if !seen.insert(name.clone()) {
                        return fault(pos, format!("duplicate field name {name} in literal"));
                    }
                    field
                }
                Some((_, pos)) => return fault(pos, "invalid field name in struct literal"),
            };
            let ty = field.ty;
            debug_assert!(ty != basic::VOID);
            self.element(value, ty)?;
        }
        Ok(())
    }
}
