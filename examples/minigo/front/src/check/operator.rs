//! Operators.

use super::*;

/// Go's compiler shifts constants by no more.
const MOST_SHIFTED: i128 = 1023 - 1 + 52;

impl Checker {
    pub(super) fn unary(&mut self, pos: Pos, op: &str, inner: &Expr) -> Checked<Operand> {
        let operand = self.expr(inner)?;
        let (types, ty) = (&self.types, operand.ty);
        let defined = match (op, types.kind(ty)) {
            ("&", _) => {
                let literal = matches!(inner.inside_parens().kind, ExprKind::Composite(..));
                let place = matches!(operand.mode, Mode::Variable(_)) || literal;
                ensure(place, operand.pos, illegal("cannot take address of value"))?;
                self.take_address(&operand.mode);
                return Ok(Operand::value(self.types.pointer(ty)));
            }
            ("<-", Kind::Chan(Dir::Send, _)) => {
                return fault(
                    operand.pos,
                    illegal("cannot receive from send-only channel"),
                );
            }
            ("<-", Kind::Chan(_, elem)) => {
                self.effects += 1;
                return Ok(Operand::new(Mode::CommaOk, *elem));
            }
            ("<-", _) => return self.wrong(operand.pos, &illegal("cannot receive from %T"), &[ty]),
            ("!", _) => types.is_bool(ty),
            ("^", _) => types.is_integer(ty),
            _ => types.is_number(ty),
        };
        self.defined(defined, op, ty, operand.pos)?;
        let Some(value) = operand.constant() else {
            let pending = operand.pending.clone();
            return Ok(Operand {
                pending,
                ..Operand::value(ty)
            });
        };
        let result = match (op, value, types.integer(ty)) {
            ("!", Const::Bool(value), _) => Const::Bool(!value),
            ("-", Const::Int(i128::MIN), _) => {
                return fault(pos, "constant is too large for minigo");
            }
            ("-", Const::Int(value), _) => Const::Int(-value),
            ("-", Const::Float(value), _) => Const::Float(-value),
            ("^", Const::Int(value), Some((bits, false))) => Const::Int(!value & ((1 << bits) - 1)),
            ("^", Const::Int(value), _) => Const::Int(!value),
            _ => value.clone(),
        };
        self.constant_operand(&result, ty, pos)
    }

    fn defined(&self, defined: bool, op: &str, ty: Ty, pos: Pos) -> Checked<()> {
        let message = illegal(&format!("operator {op} not defined on %T"));
        self.require(defined, pos, &message, &[ty])
    }

    /// A constant as a value of a type.
    pub(super) fn represent(&self, value: &Const, ty: Ty, pos: Pos) -> Checked<Const> {
        represent(&self.types, value, ty).or_else(|text| fault(pos, text))
    }

    /// Whether a value among others of a type, or of an interface, is no constant that was seen.
    pub(super) fn is_new(&self, of: &Operand, ty: Ty, seen: &mut HashSet<String>) -> bool {
        let own = self
            .types
            .is_interface(ty)
            .then(|| self.types.default_type(of.ty));
        let ty = own.unwrap_or(ty);
        let value = of.constant().map(|value| represent(&self.types, value, ty));
        value.is_none_or(|value| seen.insert(format!("{ty:?} {value:?}")))
    }

    fn constant_operand(&self, value: &Const, ty: Ty, pos: Pos) -> Checked<Operand> {
        let value = self.represent(value, ty, pos)?;
        Ok(Operand::new(Mode::Const(value), ty))
    }

    pub(super) fn binary(&mut self, pos: Pos, op: &str, a: &Expr, b: &Expr) -> Checked<Operand> {
        let (a, b) = (self.expr(a)?, self.expr(b)?);
        if op == "<<" || op == ">>" {
            return self.shift(pos, op, a, b);
        }
        let ty = self.common_type(&a, &b, pos)?;
        let types = &self.types;
        let nil = a.mode == Mode::Nil || b.mode == Mode::Nil;
        let comparable = |ty: &Ty| types.is_comparable(*ty);
        let ordered = types.is_number(ty) || types.is_string(ty);
        let (defined, compares) = match op {
            "==" | "!=" if nil => (types.has_nil(ty), true),
            "==" | "!=" => ([ty, a.ty, b.ty].iter().all(comparable), true),
            "<" | "<=" | ">" | ">=" => (ordered, true),
            "+" => (ordered, false),
            "&&" | "||" => (types.is_bool(ty), false),
            "-" | "*" | "/" => (types.is_number(ty), false),
            _ => (types.is_integer(ty), false),
        };
        self.defined(defined, op, ty, pos)?;
        let result = if compares { basic::UNTYPED_BOOL } else { ty };
        let constant = a.constant().is_some() && b.constant().is_some();
        // What is shifted by a variable is an integer.
        let shifted = ty != basic::UNTYPED_FLOAT || constant;
        let at = if a.constant().is_none() { a.pos } else { b.pos };
        ensure(shifted, at, illegal("shifted operand must be integer"))?;
        let zero = b.constant().and_then(Const::int) == Some(0);
        let by_zero = matches!(op, "/" | "%") && zero && (constant || types.is_integer(ty));
        ensure(!by_zero, b.pos, illegal("division by zero"))?;
        let (Some(a), Some(b)) = (a.constant(), b.constant()) else {
            return Ok(match types.is_untyped(result) && !compares {
                true => Operand::made_of(result, [&a, &b]),
                false => Operand::value(result),
            });
        };
        let (a, b) = (self.represent(a, ty, pos)?, self.represent(b, ty, pos)?);
        match constant::binary(op, &a, &b) {
            Some(value) => self.constant_operand(&value, result, pos),
            None => fault(pos, "constant is too large for minigo, or not defined"),
        }
    }

    /// The type of both operands, one of which may be untyped.
    fn common_type(&self, a: &Operand, b: &Operand, pos: Pos) -> Checked<Ty> {
        let types = &self.types;
        let numbers = types.is_number(a.ty) && types.is_number(b.ty);
        match (types.is_untyped(a.ty), types.is_untyped(b.ty)) {
            (true, true) if numbers => Ok(a.ty.max(b.ty)),
            (true, false) => self.assignable(a, b.ty, "operation").map(|()| b.ty),
            (false, true) => self.assignable(b, a.ty, "operation").map(|()| a.ty),
            _ if a.ty == b.ty || types.is_interface(a.ty) && self.fits(b, a.ty) => Ok(a.ty),
            _ if types.is_interface(b.ty) && self.fits(a, b.ty) => Ok(b.ty),
            // Values that differ by a name of their type, or a direction, can only be compared.
            _ if !types.is_interface(a.ty) && self.fits(b, a.ty) => Ok(a.ty),
            _ if !types.is_interface(b.ty) && self.fits(a, b.ty) => Ok(b.ty),
            _ => self.wrong(pos, &illegal("mismatched types %T and %T"), &[a.ty, b.ty]),
        }
    }

    fn shift(&self, pos: Pos, op: &str, a: Operand, b: Operand) -> Checked<Operand> {
        let negative = b
            .constant()
            .and_then(Const::int)
            .is_some_and(|count| count < 0);
        ensure(!negative, b.pos, illegal("negative shift count"))?;
        let counts = ["invalid shift count", "shift count must be integer"];
        let count = self.int(&b, 0, counts.map(illegal))?;
        let shifted = ["shifted operand must be integer"; 2];
        let value = self.int(&a, i128::MIN, shifted.map(illegal))?;
        let (Some(value), Some(count)) = (value, count) else {
            let integer = self.types.is_integer(a.ty);
            ensure(integer, a.pos, illegal("shifted operand must be integer"))?;
            return Ok(match self.types.is_untyped(a.ty) {
                true => Operand::made_of(a.ty, [&a, &Operand::nothing()]),
                false => Operand::value(a.ty),
            });
        };
        ensure(count <= MOST_SHIFTED, b.pos, illegal("invalid shift count"))?;
        let float = a.ty == basic::UNTYPED_FLOAT;
        let ty = if float { basic::UNTYPED_INT } else { a.ty };
        match constant::binary(op, &Const::Int(value), &Const::Int(count)) {
            Some(value) => self.constant_operand(&value, ty, pos),
            None => fault(pos, "constant is too large for minigo"),
        }
    }

    /// The value of an integer if it is constant, which is then not less than `least`. The messages
    /// are for other constants and for other values.
    pub(super) fn int(
        &self,
        of: &Operand,
        least: i128,
        texts: [String; 2],
    ) -> Checked<Option<i128>> {
        let [of_constant, of_other] = texts;
        let Some(value) = of.constant() else {
            return ensure(self.types.is_integer(of.ty), of.pos, of_other).map(|()| None);
        };
        let number = self.types.is_integer(of.ty) || self.types.is_untyped(of.ty);
        let int = value.int().filter(|int| number && *int >= least);
        ensure(int.is_some(), of.pos, of_constant).map(|()| int)
    }
}
