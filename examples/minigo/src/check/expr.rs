//! Expressions.
#![forbid(unsafe_code)]

use super::{Checker, Mode, Operand};
use crate::ast::*;
use crate::check::entity::*;
use crate::constant::Const;
use crate::source::{Checked, fault};
use crate::types::{Kind, Ty, basic};

impl Checker {
    /// Checks an expression that may be anything: a value, a type, a builtin.
    pub(super) fn operand(&mut self, expr: &Expr) -> Checked<Operand> {
        let operand = self.operand_inner(expr)?;
        self.out.ty[expr.id as usize] = operand.ty;
        if let Mode::Const(value) = &operand.mode {
            self.out.consts.insert(expr.id, value.clone());
        }
        Ok(operand)
    }

    /// Checks an expression that must be one value, or nil.
    pub(super) fn expr(&mut self, expr: &Expr) -> Checked<Operand> {
        let operand = self.operand(expr)?;
        match operand.mode {
            Mode::NoValue => fault(expr.pos, "expression is used as value, and has none"),
            Mode::Type => {
                let ty = self.show(operand.ty);
                fault(expr.pos, format!("{ty} (type) is not an expression"))
            }
            Mode::Builtin(_) => fault(expr.pos, "builtin must be called"),
            _ => match self.out.types.own_kind(operand.ty) {
                Kind::Tuple(_) => fault(expr.pos, "multiple-value in single-value context"),
                _ => Ok(operand),
            },
        }
    }

    fn operand_inner(&mut self, expr: &Expr) -> Checked<Operand> {
        let constant = |value, ty| Ok(Operand::new(Mode::Const(value), ty));
        match &expr.kind {
            ExprKind::Ident(name) => self.ident(expr, name),
            ExprKind::Int(value) => constant(Const::Int(*value), basic::UNTYPED_INT),
            ExprKind::Float(value) => constant(Const::Float(*value), basic::UNTYPED_FLOAT),
            ExprKind::Char(value) => constant(Const::Int(*value), basic::UNTYPED_RUNE),
            ExprKind::Str(bytes) => constant(Const::Str(bytes.clone()), basic::UNTYPED_STRING),
            ExprKind::Composite(ty, elems) => self.composite(expr, ty.as_deref(), elems),
            ExprKind::Func(literal) => self.literal(expr, literal),
            ExprKind::Paren(inner) => self.operand(inner),
            ExprKind::Selector(of, name) => self.selector(expr, of, name),
            ExprKind::Index(of, index) => self.index(expr, of, index),
            ExprKind::Slice(of, bounds) => self.slice(expr, of, bounds),
            ExprKind::Assert(of, ty) => {
                let Some(ty) = ty else {
                    return fault(expr.pos, "use of .(type) outside type switch");
                };
                let operand = self.expr(of)?;
                let ty = self.ty(ty)?;
                self.assertable(&operand, ty, of.pos)?;
                Ok(Operand::new(Mode::CommaOk, ty))
            }
            ExprKind::Call(call) => self.call(expr, call),
            ExprKind::Star(inner) => self.star(inner),
            ExprKind::Unary(op, inner) => self.unary(expr, op, inner),
            ExprKind::Binary(op, left, right) => self.binary(expr, op, left, right),
            _ => {
                let ty = self.ty(expr)?;
                Ok(Operand::new(Mode::Type, ty))
            }
        }
    }

    fn ident(&mut self, expr: &Expr, name: &Name) -> Checked<Operand> {
        if &**name == "_" {
            return fault(expr.pos, "cannot use _ as value");
        }
        let entity = self.lookup(name, expr.pos)?;
        self.out.uses.insert(expr.id, entity.clone());
        if let Entity::Package(package) = &entity {
            return fault(
                expr.pos,
                format!("use of package {package} without selector"),
            );
        }
        Ok(self.entity_operand(entity))
    }

    pub(super) fn entity_operand(&mut self, entity: Entity) -> Operand {
        match entity {
            Entity::Var(var) => {
                self.use_var(var);
                Operand::new(Mode::Variable, self.out.vars[var.0 as usize].ty)
            }
            Entity::Func(func) => Operand::value(self.out.funcs[func.0 as usize].ty),
            Entity::Type(ty) => Operand::new(Mode::Type, ty),
            Entity::Const(value, ty) => Operand::new(Mode::Const(value), ty),
            Entity::Nil => Operand::new(Mode::Nil, basic::UNTYPED_NIL),
            Entity::Builtin(builtin) => Operand::new(Mode::Builtin(builtin), basic::VOID),
            Entity::Package(_) => Operand::new(Mode::NoValue, basic::VOID),
        }
    }

    fn literal(&mut self, expr: &Expr, literal: &std::sync::Arc<FuncLit>) -> Checked<Operand> {
        let ty = self.func_type(&literal.ty)?;
        let id = FuncId(self.out.funcs.len() as u32);
        let package = self.package();
        let parent = self.place.func;
        let outer = parent.map(|func| self.out.funcs[func.0 as usize].name.clone());
        self.out.funcs.push(Func {
            name: format!("{}.func{}", outer.as_deref().unwrap_or(&package), id.0),
            package,
            ty,
            receiver: None,
            receiver_ty: None,
            params: Vec::new(),
            results: Vec::new(),
            body: Body::Literal(literal.clone()),
            parent,
            captures: Vec::new(),
            has_defer: false,
            named_results: literal
                .ty
                .results
                .iter()
                .any(|result| result.name.is_some()),
        });
        self.out.literals.insert(expr.id, id);
        let labels = std::mem::take(&mut self.place.labels);
        let loops = std::mem::take(&mut self.place.loops);
        let breakable = std::mem::take(&mut self.place.breakable);
        self.place.func = Some(id);
        let result = self.scoped(|checker| checker.func_body(id, &literal.ty, Some(&literal.body)));
        self.place.func = parent;
        self.place.labels = labels;
        self.place.loops = loops;
        self.place.breakable = breakable;
        result?;
        Ok(Operand::value(ty))
    }

    fn star(&mut self, inner: &Expr) -> Checked<Operand> {
        let operand = self.operand(inner)?;
        if operand.mode == Mode::Type {
            let ty = self.types().pointer(operand.ty);
            return Ok(Operand::new(Mode::Type, ty));
        }
        match self.out.types.pointee(operand.ty) {
            Some(to) => Ok(Operand::new(Mode::Variable, to)),
            None if operand.mode == Mode::Nil => {
                fault(inner.pos, "invalid operation: cannot indirect nil")
            }
            None => {
                let ty = self.show(operand.ty);
                fault(
                    inner.pos,
                    format!("invalid operation: cannot indirect value of type {ty}"),
                )
            }
        }
    }

    /// An index: an integer, not negative if constant, below the limit if that is known.
    fn index_value(&mut self, index: &Expr, limit: Option<u64>) -> Checked<()> {
        let operand = self.expr(index)?;
        if let Mode::Const(value) = &operand.mode {
            let Some(value) = value.int() else {
                return fault(index.pos, "invalid argument: index must be integer");
            };
            let inside = u64::try_from(value).is_ok_and(|value| limit.is_none_or(|n| value < n));
            if !inside {
                return fault(
                    index.pos,
                    format!("invalid argument: index {value} out of bounds"),
                );
            }
            return self.assignable(&operand, basic::INT, index.pos, "index");
        }
        match self.out.types.integer(operand.ty) {
            Some(_) => Ok(()),
            None => fault(index.pos, "invalid argument: index must be integer"),
        }
    }

    fn index(&mut self, expr: &Expr, of: &Expr, index: &Expr) -> Checked<Operand> {
        if let Some(ty) = self.weak_type(expr)? {
            return Ok(Operand::new(Mode::Type, ty));
        }
        let operand = self.expr(of)?;
        let pointee = self.out.types.pointee(operand.ty);
        let array = pointee.filter(|to| matches!(self.out.types.kind(*to), Kind::Array(..)));
        let (mode, elem, limit) = match self.out.types.kind(array.unwrap_or(operand.ty)).clone() {
            Kind::Map(key, value) => {
                let found = self.expr(index)?;
                self.assignable(&found, key, index.pos, "map index")?;
                return Ok(Operand::new(Mode::MapElem, value));
            }
            Kind::Slice(elem) => (Mode::Variable, elem, None),
            Kind::Array(n, elem) if array.is_some() => (Mode::Variable, elem, Some(n)),
            Kind::Array(n, elem) => (operand.mode.clone(), elem, Some(n)),
            Kind::Basic(_) if self.out.types.is_string(operand.ty) => {
                let limit = match &operand.mode {
                    Mode::Const(Const::Str(bytes)) => Some(bytes.len() as u64),
                    _ => None,
                };
                (Mode::Value, basic::UINT8, limit)
            }
            _ => {
                let ty = self.show(operand.ty);
                let text = format!("invalid operation: cannot index value of type {ty}");
                return fault(expr.pos, text);
            }
        };
        self.index_value(index, limit)?;
        Ok(Operand::new(mode, elem))
    }

    /// `weak.Pointer[T]`, if the expression is that.
    fn weak_type(&mut self, expr: &Expr) -> Checked<Option<Ty>> {
        match &expr.kind {
            ExprKind::Index(of, _) if matches!(of.kind, ExprKind::Selector(..)) => {
                let ExprKind::Selector(package, name) = &of.kind else {
                    return Ok(None);
                };
                let is_pointer = &**name == "Pointer"
                    && matches!(&package.kind, ExprKind::Ident(_))
                    && self.is_package(package)?;
                if is_pointer {
                    self.try_ty(expr)
                } else {
                    Ok(None)
                }
            }
            _ => Ok(None),
        }
    }

    fn slice(&mut self, expr: &Expr, of: &Expr, bounds: &[Option<Box<Expr>>]) -> Checked<Operand> {
        let operand = self.expr(of)?;
        let mut indices = Vec::new();
        for bound in bounds.iter().flatten() {
            self.index_value(bound, None)?;
            indices.extend(self.out.consts.get(&bound.id).and_then(Const::int));
        }
        if indices.windows(2).any(|pair| pair[0] > pair[1]) {
            return fault(expr.pos, "invalid slice indices");
        }
        let pointee = self.out.types.pointee(operand.ty);
        let array = match pointee.map(|to| self.out.types.kind(to)) {
            Some(Kind::Array(_, elem)) => Some(*elem),
            _ => None,
        };
        let ty = match self.out.types.kind(operand.ty).clone() {
            Kind::Slice(_) => operand.ty,
            Kind::Array(_, elem) => {
                if operand.mode != Mode::Variable {
                    let text = "invalid operation: slice of unaddressable value";
                    return fault(expr.pos, text);
                }
                self.take_address(of);
                self.types().intern(Kind::Slice(elem))
            }
            Kind::Basic(_) if self.out.types.is_string(operand.ty) => {
                if bounds[2].is_some() {
                    return fault(expr.pos, "invalid operation: 3-index slice of string");
                }
                self.out.types.default_type(operand.ty)
            }
            _ => match array {
                Some(elem) => self.types().intern(Kind::Slice(elem)),
                None => {
                    let ty = self.show(operand.ty);
                    return fault(expr.pos, format!("cannot slice value of type {ty}"));
                }
            },
        };
        Ok(Operand::value(ty))
    }

    /// The variable that an address leads into lives in an object of its own.
    pub(super) fn take_address(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Ident(_) => {
                if let Some(Entity::Var(var)) = self.out.uses.get(&expr.id) {
                    let var = &mut self.out.vars[var.0 as usize];
                    var.boxed |= var.func.is_some();
                }
            }
            ExprKind::Paren(inner) => self.take_address(inner),
            ExprKind::Selector(of, _) if !self.goes_through_pointer(of) => self.take_address(of),
            ExprKind::Index(of, _) if !self.goes_through_pointer(of) => self.take_address(of),
            _ => {}
        }
    }

    fn goes_through_pointer(&self, expr: &Expr) -> bool {
        let ty = self.out.ty[expr.id as usize];
        self.out.types.pointee(ty).is_some() || matches!(self.out.types.kind(ty), Kind::Slice(_))
    }

    /// Whether `x.(T)` may hold.
    pub(super) fn assertable(
        &mut self,
        operand: &Operand,
        ty: Ty,
        pos: crate::source::Pos,
    ) -> Checked<()> {
        if !self.out.types.is_interface(operand.ty) {
            let found = self.show(operand.ty);
            return fault(
                pos,
                format!("invalid operation: {found} is not an interface"),
            );
        }
        if self.out.types.is_interface(ty) {
            return Ok(());
        }
        match self.out.types.missing_method(ty, operand.ty) {
            Some(reason) => {
                let (ty, interface) = (self.show(ty), self.show(operand.ty));
                let text = format!(
                    "impossible type assertion: {ty} does not implement {interface} ({reason})"
                );
                fault(pos, text)
            }
            None => Ok(()),
        }
    }
}
