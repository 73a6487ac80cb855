//! Expressions.

use super::*;

/// Where an expression begins; the place of a selector is that of the name.
fn start(expr: &Expr) -> Pos {
    match &expr.kind {
        ExprKind::Selector(of, _) => start(of),
        _ => expr.pos,
    }
}

impl Checker {
    /// Checks an expression that may be anything: a value, a type, a builtin.
    pub(super) fn operand(&mut self, expr: &Expr) -> Checked<Operand> {
        let operand = self.any_operand(expr)?;
        self.out.ty[expr.id as usize] = operand.ty;
        let value = operand.constant().cloned();
        self.out.consts.extend(value.map(|value| (expr.id, value)));
        Ok(operand.at(start(expr)))
    }

    /// Checks an expression that must be one value, or nil.
    pub(super) fn expr(&mut self, expr: &Expr) -> Checked<Operand> {
        let operand = self.operand(expr)?;
        self.single(operand)
    }

    pub(super) fn single(&self, operand: Operand) -> Checked<Operand> {
        let (pos, ty) = (operand.pos, operand.ty);
        match (&operand.mode, self.types.own_kind(ty)) {
            (Mode::NoValue, _) => fault(pos, "expression is used as value, and has none"),
            (Mode::Type, _) => self.wrong(pos, "%T (type) is not an expression", &[ty]),
            (Mode::Builtin(_), _) => fault(pos, "builtin must be called"),
            (_, Kind::Tuple(_)) => fault(pos, "multiple-value in single-value context"),
            _ => Ok(operand),
        }
    }

    fn any_operand(&mut self, expr: &Expr) -> Checked<Operand> {
        let constant = |value, ty| Ok(Operand::new(Mode::Const(value), ty));
        match &expr.kind {
            ExprKind::Ident(name) => self.ident(expr, name),
            ExprKind::Int(value) => constant(Const::Int(*value), basic::UNTYPED_INT),
            ExprKind::Float(value) => constant(Const::Float(value.clone()), basic::UNTYPED_FLOAT),
            ExprKind::Char(value) => constant(Const::Int(*value), basic::UNTYPED_RUNE),
            ExprKind::Str(bytes) => constant(Const::Str(bytes.clone()), basic::UNTYPED_STRING),
            ExprKind::Composite(ty, elems) => self.compose(expr.pos, ty.as_deref(), elems),
            ExprKind::Func(literal) => self.literal(expr, literal),
            ExprKind::Paren(inner) => self.operand(inner),
            ExprKind::Selector(of, name) => self.selector(expr, of, name),
            ExprKind::Index(of, index) => self.index(expr, of, index),
            ExprKind::Slice(of, bounds) => self.slice(expr, of, bounds),
            ExprKind::Assert(_, None) => fault(expr.pos, "use of .(type) outside type switch"),
            ExprKind::Assert(of, Some(ty)) => {
                let operand = self.expr(of)?;
                let ty = self.ty(ty)?;
                self.assertable(operand.ty, ty, of.pos)?;
                Ok(Operand::new(Mode::CommaOk, ty))
            }
            ExprKind::Call(call) => self.call(expr, call),
            ExprKind::Star(inner) => self.star(inner),
            ExprKind::Unary(op, inner) => self.unary(expr.pos, op, inner),
            ExprKind::Binary(op, left, right) => self.binary(expr.pos, op, left, right),
            _ => Ok(Operand::new(Mode::Type, self.type_literal(expr)?)),
        }
    }

    fn ident(&mut self, expr: &Expr, name: &Name) -> Checked<Operand> {
        ensure(!is_blank(expr), expr.pos, "cannot use _ as value")?;
        let entity = self.lookup(name, expr.pos)?;
        self.out.uses.insert(expr.id, entity.clone());
        let import = matches!(entity, Entity::Package(_));
        let message = format!("use of package {name} without selector");
        ensure(!import, expr.pos, message)?;
        Ok(self.entity_operand(entity))
    }

    pub(super) fn entity_operand(&mut self, entity: Entity) -> Operand {
        match entity {
            Entity::Var(var) => {
                self.use_var(var);
                Operand::new(Mode::Variable(Some(var)), self.var(var).ty)
            }
            Entity::Func(func) => Operand::value(self.func(func).ty),
            Entity::Type(ty) => Operand::new(Mode::Type, ty),
            Entity::Const(value, ty) => Operand::new(Mode::Const(value), ty),
            Entity::Nil => Operand::new(Mode::Nil, basic::UNTYPED_NIL),
            Entity::Builtin(builtin) => Operand::new(Mode::Builtin(builtin), basic::VOID),
            Entity::Package(_) => Operand::nothing(),
        }
    }

    fn literal(&mut self, expr: &Expr, literal: &Arc<FuncDecl>) -> Checked<Operand> {
        let outer = match self.place.func {
            Some(func) => self.func(func).name.clone(),
            None => self.place.package.to_string(),
        };
        let name = format!("{outer}.func{}", self.out.funcs.len());
        let func = self.new_func(name, literal)?;
        self.out.literals.insert(expr.id, func);
        self.body(func)?;
        Ok(Operand::value(self.func(func).ty))
    }

    fn star(&mut self, inner: &Expr) -> Checked<Operand> {
        let Operand { mode, ty, pos, .. } = self.operand(inner)?;
        match (mode, self.types.pointee(ty)) {
            (Mode::Type, _) => Ok(Operand::new(Mode::Type, self.types.pointer(ty))),
            (_, Some(to)) => Ok(Operand::new(Mode::Variable(None), to)),
            (Mode::Nil, None) => fault(pos, illegal("cannot indirect nil")),
            _ => self.wrong(pos, &illegal("cannot indirect value of type %T"), &[ty]),
        }
    }

    /// An index, which if constant is not negative, and below the limit if that is known.
    fn index_value(&mut self, index: &Expr, limit: Option<u64>) -> Checked<Option<i128>> {
        let operand = self.expr(index)?;
        let message = "invalid argument: index must be integer";
        let messages = [message; 2].map(String::from);
        let Some(value) = self.int(&operand, i128::MIN, messages)? else {
            if self.types.is_untyped(operand.ty) {
                self.assignable(&operand, basic::INT, "index")?;
            }
            return Ok(None);
        };
        let inside = value >= 0 && limit.is_none_or(|limit| value < limit.into());
        let message = format!("invalid argument: index {value} out of bounds");
        ensure(inside, index.pos, message)?;
        self.represent(&Const::Int(value), basic::INT, index.pos)?;
        Ok(Some(value))
    }

    fn index(&mut self, expr: &Expr, of: &Expr, index: &Expr) -> Checked<Operand> {
        if let ExprKind::Selector(package, name) = &of.kind
            && let ExprKind::Ident(package) = &package.kind
            && let (Entity::Package(package), "Pointer") = (self.lookup(package, of.pos)?, &**name)
            && &*package == "weak"
        {
            let to = self.ty(index)?;
            return Ok(Operand::new(Mode::Type, self.types.intern(Kind::Weak(to))));
        }
        let Operand { mode, ty, .. } = self.expr(of)?;
        let indexed = self.types.indexed(ty);
        let (mode, elem, limit) = match (self.kind(indexed), mode) {
            (Kind::Map(key, value), _) => {
                self.value_for(index, key, "map index")?;
                return Ok(Operand::new(Mode::MapElem, value));
            }
            (Kind::Slice(elem), _) => (Mode::Variable(None), elem, None),
            (Kind::Array(n, elem), _) if indexed != ty => (Mode::Variable(None), elem, Some(n)),
            (Kind::Array(n, elem), Mode::Variable(var)) => (Mode::Variable(var), elem, Some(n)),
            (Kind::Array(n, elem), _) => (Mode::Value, elem, Some(n)),
            (_, Mode::Const(Const::Str(bytes))) => {
                (Mode::Value, basic::UINT8, Some(bytes.len() as u64))
            }
            _ if self.types.is_string(ty) => (Mode::Value, basic::UINT8, None),
            _ => return self.wrong(expr.pos, &illegal("cannot index value of type %T"), &[ty]),
        };
        self.index_value(index, limit)?;
        Ok(Operand::new(mode, elem))
    }

    fn slice(&mut self, expr: &Expr, of: &Expr, bounds: &[Option<Box<Expr>>]) -> Checked<Operand> {
        let (pos, operand) = (expr.pos, self.expr(of)?);
        let ty = operand.ty;
        let indexed = self.types.indexed(ty);
        let limit = match (self.types.kind(indexed), operand.constant()) {
            (Kind::Array(n, _), _) => Some(n + 1),
            (_, Some(Const::Str(bytes))) => Some(bytes.len() as u64 + 1),
            _ => None,
        };
        let mut indices = Vec::new();
        for bound in bounds.iter().flatten() {
            indices.extend(self.index_value(bound, limit)?);
        }
        ensure(indices.is_sorted(), pos, "invalid slice indices")?;
        let result = match self.kind(indexed) {
            Kind::Slice(_) => ty,
            Kind::Array(_, elem) => {
                if indexed == ty {
                    let place = matches!(operand.mode, Mode::Variable(_));
                    ensure(place, pos, illegal("slice of unaddressable value"))?;
                    self.take_address(&operand.mode);
                }
                self.types.intern(Kind::Slice(elem))
            }
            _ if self.types.is_string(ty) => {
                let two = bounds[2].is_none();
                ensure(two, pos, illegal("3-index slice of string"))?;
                self.types.default_type(ty)
            }
            _ => return self.wrong(pos, "cannot slice value of type %T", &[ty]),
        };
        Ok(Operand::value(result))
    }

    /// A variable whose address is taken lives in an object of its own.
    pub(super) fn take_address(&mut self, mode: &Mode) {
        if let Mode::Variable(Some(var)) = *mode {
            let var = self.var(var);
            var.boxed |= var.func.is_some();
        }
    }

    /// Whether `x.(T)` may hold.
    pub(super) fn assertable(&self, from: Ty, ty: Ty, pos: Pos) -> Checked<()> {
        let (interface, concrete) = (self.types.is_interface(from), !self.types.is_interface(ty));
        self.require(interface, pos, &illegal("%T is not an interface"), &[from])?;
        let message = "impossible type assertion: %T does not implement %T";
        let missing = concrete.then(|| self.types.missing_method(ty, from));
        match missing.flatten() {
            Some((_, reason)) => self.wrong(pos, &format!("{message} ({reason})"), &[ty, from]),
            None => Ok(()),
        }
    }
}
