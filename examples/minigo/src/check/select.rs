//! Selectors: members of packages, fields, methods.

use super::*;

impl Checker {
    pub(super) fn selector(&mut self, expr: &Expr, of: &Expr, name: &Name) -> Checked<Operand> {
        let (operand, selection) = self.select(expr.pos, of, name)?;
        self.out.selections.insert(expr.id, selection);
        Ok(operand)
    }

    fn select(&mut self, pos: Pos, of: &Expr, name: &Name) -> Checked<(Operand, Selection)> {
        if let ExprKind::Ident(package) = &of.kind
            && let Entity::Package(package) = self.lookup(package, of.pos)?
        {
            let member = self.member(&package, name, pos)?;
            let Some(entity) = member.filter(|_| is_exported(name)) else {
                let message = format!("undefined: {package}.{name} (or outside minigo's subset)");
                return fault(pos, message);
            };
            let operand = self.entity_operand(entity.clone());
            return Ok((operand, Selection::Package(entity)));
        }
        let Operand { mode, ty, .. } = self.operand(of)?;
        if matches!(mode, Mode::NoValue | Mode::Builtin(_) | Mode::Nil) {
            return fault(of.pos, "expression has no fields or methods");
        }
        let is_type = mode == Mode::Type;
        if let (&Kind::Weak(to), "Value", false) = (self.types.own_kind(ty), &**name, is_type) {
            let to = self.types.pointer(to);
            let value = Operand::value(self.types.func_type(Vec::new(), false, vec![to]));
            return Ok((value, Selection::WeakValue));
        }
        let hidden = !is_exported(name) && self.is_foreign(ty);
        let found = self.types.find(ty, name).filter(|_| !hidden);
        let Some(found) = found else {
            let message = format!("%T undefined (type %T has no field or method {name})");
            return self.wrong(pos, &message, &[ty; 2]);
        };
        let through_pointer = self.types.pointee(ty).is_some() || found.by_pointer;
        let mode = match mode {
            _ if through_pointer => Mode::Variable(None),
            Mode::Variable(_) => mode,
            _ => Mode::Value,
        };
        let path = found.path;
        let outside = "this method expression is outside minigo's subset";
        match found.member {
            Member::Method(_, method) if is_type && path.is_empty() => {
                // A function whose first parameter is the receiver.
                let pointer = self.types.pointee(ty).is_some();
                let has = pointer || !method.by_pointer;
                let message = "invalid method expression (needs pointer receiver)";
                ensure(has, pos, message)?;
                ensure(method.by_pointer == pointer, pos, outside)?;
                let Kind::Func(mut sig) = self.kind(method.ty) else {
                    unreachable!("methods have function types");
                };
                sig.params.insert(0, ty);
                self.refer(Node::Func(method.func));
                let value = Operand::value(self.types.intern(Kind::Func(sig)));
                Ok((value, Selection::MethodExpr(method.func)))
            }
            _ if is_type => fault(pos, outside),
            Member::Field(ty) => Ok((Operand::new(mode, ty), Selection::Field(path))),
            Member::Abstract(interface, method) => {
                let value = Operand::value(method.ty);
                Ok((value, Selection::Abstract(path, interface, method)))
            }
            Member::Method(declaring, method) => {
                if method.by_pointer {
                    let message = format!("cannot call pointer method {name} on value");
                    ensure(mode != Mode::Value, pos, message)?;
                    self.take_address(&mode);
                }
                let value = Operand::value(method.ty);
                self.refer(Node::Func(method.func));
                Ok((value, Selection::Method(path, declaring, method)))
            }
        }
    }

    /// Whether the type is one of another package, whose own names are hidden.
    fn is_foreign(&self, ty: Ty) -> bool {
        let own = format!("{}.", self.place.package);
        let named = self.types.named(self.types.pointee(ty).unwrap_or(ty));
        named.is_some_and(|named| named.name.contains('.') && !named.name.starts_with(&own))
    }
}
