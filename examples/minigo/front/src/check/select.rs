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
        let behind = self.types.pointee(ty).unwrap_or(ty);
        if let (&Kind::Weak(to), "Value", false) = (self.types.own_kind(behind), &**name, is_type) {
            let to = self.types.pointer(to);
            let value = Operand::value(self.types.func_type(Vec::new(), false, vec![to]));
            return Ok((value, Selection::WeakValue));
        }
        let hidden = &**name == "_" || !is_exported(name) && self.is_foreign(ty);
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
        if is_type {
            return self.method_expr(pos, ty, name, &found);
        }
        let path = found.path;
        match found.member {
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

    /// `T.Method`: a function whose first parameter is the receiver.
    fn method_expr(
        &mut self,
        pos: Pos,
        ty: Ty,
        name: &Name,
        found: &Found,
    ) -> Checked<(Operand, Selection)> {
        let (method, own) = match &found.member {
            Member::Field(_) => {
                let message = format!("%T.{name} undefined (type %T has no method {name})");
                return self.wrong(pos, &message, &[ty; 2]);
            }
            Member::Abstract(_, method) => (method.ty, None),
            Member::Method(_, method) => {
                let message =
                    format!("invalid method expression %T.{name} (needs pointer receiver)");
                let has = self.types.in_method_set(ty, found, method);
                self.require(has, pos, &message, &[ty])?;
                let same = self.types.pointee(ty).is_some() == method.by_pointer;
                let own = (same && found.path.is_empty()).then_some(method.func);
                (method.ty, own)
            }
        };
        let Kind::Func(mut sig) = self.kind(method) else {
            unreachable!("methods have function types");
        };
        sig.params.insert(0, ty);
        let value = Operand::value(self.types.intern(Kind::Func(sig.clone())));
        let func = match own {
            Some(func) => func,
            None => self.made_func(pos, sig.clone(), |this, mut args| {
                let receiver = Box::new(args.remove(0));
                let callee = this.new_expr(pos, ExprKind::Selector(receiver, name.clone()));
                let call = Call {
                    callee,
                    args,
                    spread: sig.variadic,
                };
                this.call_stmt(pos, call, !sig.results.is_empty())
            })?,
        };
        self.refer(Node::Func(func));
        Ok((value, Selection::MethodExpr(func)))
    }

    /// Whether the type is one of another package, whose own names are hidden.
    fn is_foreign(&self, ty: Ty) -> bool {
        let own = format!("{}.", self.place.package);
        let named = self.types.named(self.types.pointee(ty).unwrap_or(ty));
        named.is_some_and(|named| named.name.contains('.') && !named.name.starts_with(&own))
    }
}
