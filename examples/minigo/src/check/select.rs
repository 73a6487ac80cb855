//! Selectors: members of packages, fields, methods.
#![forbid(unsafe_code)]

use super::{Checker, Mode, Operand};
use crate::ast::*;
use crate::check::entity::*;
use crate::source::{Checked, Pos, fault};
use crate::types::{Kind, Member, Sig};

impl Checker {
    /// Whether the expression is a name of a package, which is then used.
    pub(super) fn is_package(&mut self, expr: &Expr) -> Checked<bool> {
        let ExprKind::Ident(name) = &expr.kind else {
            return Ok(false);
        };
        Ok(matches!(self.lookup(name, expr.pos)?, Entity::Package(_)))
    }

    pub(super) fn package_member(
        &mut self,
        package: &Name,
        name: &Name,
        pos: Pos,
    ) -> Checked<Entity> {
        let short: Name = package.rsplit('/').next().unwrap_or(package).into();
        let exported = name.chars().next().is_some_and(char::is_uppercase);
        match (&*short, &**name) {
            ("runtime", "AddCleanup") => return Ok(Entity::Builtin(Builtin::AddCleanup)),
            ("weak", "Make") => return Ok(Entity::Builtin(Builtin::WeakMake)),
            _ => {}
        }
        let found = match exported {
            true => self.member(&short, name, pos)?,
            false => None,
        };
        match found {
            Some(entity) => Ok(entity),
            None => {
                let text = format!("undefined: {short}.{name} (or outside minigo's subset)");
                fault(pos, text)
            }
        }
    }

    pub(super) fn selector(&mut self, expr: &Expr, of: &Expr, name: &Name) -> Checked<Operand> {
        if let ExprKind::Ident(package) = &of.kind
            && let Entity::Package(package) = self.lookup(package, of.pos)?
        {
            let entity = self.package_member(&package, name, expr.pos)?;
            let selection = Selection::Package(entity.clone());
            self.out.selections.insert(expr.id, selection);
            return Ok(self.entity_operand(entity));
        }
        let operand = self.operand(of)?;
        if matches!(operand.mode, Mode::NoValue | Mode::Builtin(_) | Mode::Nil) {
            return fault(of.pos, "expression has no fields or methods");
        }
        let missing = |checker: &Checker| {
            let ty = checker.show(operand.ty);
            fault(
                expr.pos,
                format!("{ty} undefined (type {ty} has no field or method {name})"),
            )
        };
        if let Kind::Weak(to) = *self.out.types.own_kind(operand.ty)
            && &**name == "Value"
            && operand.mode != Mode::Type
        {
            self.out.selections.insert(expr.id, Selection::WeakValue);
            let pointer = self.types().pointer(to);
            let ty = self.types().intern(Kind::Func(Sig {
                params: Vec::new(),
                variadic: false,
                results: vec![pointer],
            }));
            return Ok(Operand::value(ty));
        }
        let Some(found) = self.out.types.find(operand.ty, name) else {
            return missing(self);
        };
        let exported = name.chars().next().is_some_and(char::is_uppercase);
        if !exported && self.is_foreign(&operand) {
            return missing(self);
        }
        if operand.mode == Mode::Type {
            return self.method_expr(expr, &operand, found);
        }
        let mut addressable = operand.mode == Mode::Variable;
        let mut at = operand.ty;
        for &index in &found.path {
            addressable |= self.out.types.pointee(at).is_some();
            at = match self.out.types.field(at, index) {
                Some(field) => field.ty,
                None => return missing(self),
            };
        }
        match found.member {
            Member::Field(ty) => {
                self.out
                    .selections
                    .insert(expr.id, Selection::Field(found.path));
                let mode = if addressable {
                    Mode::Variable
                } else {
                    Mode::Value
                };
                Ok(Operand::new(mode, ty))
            }
            Member::Abstract(interface, method) => {
                if self.out.types.pointee(at).is_some() {
                    return missing(self);
                }
                let ty = method.ty;
                let selection = Selection::Abstract(found.path, interface, method);
                self.out.selections.insert(expr.id, selection);
                Ok(Operand::value(ty))
            }
            Member::Method(declaring, method) => {
                let pointer = self.out.types.pointee(at).is_some();
                if method.by_pointer && !pointer {
                    if !addressable {
                        let text = format!("cannot call pointer method {name} on value");
                        return fault(expr.pos, text);
                    }
                    let through = operand.ty;
                    if self.out.types.pointee(through).is_none() {
                        self.take_address(of);
                    }
                }
                let ty = method.ty;
                self.refer(super::Node::Func(method.func));
                let selection = Selection::Method(found.path, declaring, method);
                self.out.selections.insert(expr.id, selection);
                Ok(Operand::value(ty))
            }
        }
    }

    /// Whether the type is one of another package, whose own names are hidden.
    fn is_foreign(&self, operand: &Operand) -> bool {
        let types = &self.out.types;
        let ty = types.pointee(operand.ty).unwrap_or(operand.ty);
        let package = self.place.package.as_deref().unwrap_or("main");
        let package = format!("{package}.");
        types
            .named(ty)
            .is_some_and(|named| named.name.contains('.') && !named.name.starts_with(&package))
    }

    /// `T.Method`.
    fn method_expr(
        &mut self,
        expr: &Expr,
        operand: &Operand,
        found: crate::types::Found,
    ) -> Checked<Operand> {
        let outside = "this method expression is outside minigo's subset";
        let Member::Method(_, method) = found.member else {
            return fault(expr.pos, outside);
        };
        let pointer = self.out.types.pointee(operand.ty).is_some();
        if method.by_pointer && !pointer {
            return fault(
                expr.pos,
                "invalid method expression (needs pointer receiver)",
            );
        }
        if !found.path.is_empty() || method.by_pointer != pointer {
            return fault(expr.pos, outside);
        }
        let Some(sig) = self.out.types.sig(method.ty).cloned() else {
            return fault(expr.pos, outside);
        };
        let params = [operand.ty].into_iter().chain(sig.params).collect();
        let ty = self.types().intern(Kind::Func(Sig { params, ..sig }));
        self.refer(super::Node::Func(method.func));
        self.out
            .selections
            .insert(expr.id, Selection::MethodExpr(method.func));
        Ok(Operand::value(ty))
    }
}
