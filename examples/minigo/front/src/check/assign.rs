//! Which values may be used where a type is wanted, lists of values, and conversions.

use super::*;

impl Checker {
    /// Why a value can't be assigned to a type; `None` if it can.
    fn assign_fault(&self, operand: &Operand, ty: Ty) -> Option<String> {
        let types = &self.types;
        let from = operand.ty;
        let to_interface = types.is_interface(ty);
        match &operand.mode {
            Mode::Const(value) if types.is_untyped(from) => {
                let own = types.default_type(from);
                let wrong = represent(types, value, if to_interface { own } else { ty }).err();
                if !to_interface || wrong.is_some() {
                    return wrong;
                }
            }
            Mode::Nil if types.has_nil(ty) => return None,
            Mode::Nil => return Some(self.text("cannot use nil as %T value", &[ty])),
            _ => {}
        }
        let own = if to_interface {
            types.default_type(from)
        } else {
            ty
        };
        let wrong = |value: &Const| represent(types, value, own).err();
        if let Some(wrong) = operand.pending.iter().find_map(wrong) {
            return Some(wrong);
        }
        let cannot = self.text("cannot use value of type %T as %T value", &[from, ty]);
        if to_interface && from != ty && from != basic::VOID {
            let (_, reason) = types.missing_method(types.default_type(from), ty)?;
            let lacks = self.text("%T does not implement %T", &[from, ty]);
            return Some(format!("{cannot}: {lacks} ({reason})"));
        }
        let fits = match from {
            _ if from == ty => true,
            basic::UNTYPED_BOOL => types.is_bool(ty),
            basic::UNTYPED_INT | basic::UNTYPED_RUNE => types.is_integer(ty),
            basic::UNTYPED_FLOAT => types.is_float(ty),
            _ if types.named(from).is_some() && types.named(ty).is_some() => false,
            _ => match (types.kind(from), types.kind(ty)) {
                (Kind::Basic(_), _) => false,
                (Kind::Chan(Dir::Both, a), Kind::Chan(_, b)) => a == b,
                (a, b) => a == b,
            },
        };
        (!fits).then_some(cannot)
    }

    pub(super) fn fits(&self, operand: &Operand, ty: Ty) -> bool {
        self.assign_fault(operand, ty).is_none()
    }

    /// Checks that a value can be assigned to a type; the context says for what.
    pub(super) fn assignable(&self, value: &Operand, ty: Ty, context: &str) -> Checked<()> {
        match self.assign_fault(value, ty) {
            None => Ok(()),
            Some(text) => fault(value.pos, format!("{text} in {context}")),
        }
    }

    /// Checks an expression that is to be a value of a type.
    pub(super) fn value_for(&mut self, expr: &Expr, ty: Ty, context: &str) -> Checked<()> {
        let operand = self.expr(expr)?;
        self.assignable(&operand, ty, context)
    }

    /// Gives values to what wants these types, and returns the types. What wants none gets the type
    /// of a variable that the value declares.
    pub(super) fn give(&self, from: &[Operand], to: &[Option<Ty>], what: &str) -> Checked<Vec<Ty>> {
        let types = from.iter().zip(to).map(|(value, wanted)| {
            let nil = wanted.is_none() && value.mode == Mode::Nil;
            let message = "use of untyped nil in variable declaration";
            ensure(!nil, value.pos, message)?;
            let ty = wanted.unwrap_or(self.types.default_type(value.ty));
            let what = wanted.map_or("variable declaration", |_| what);
            self.assignable(value, ty, what).map(|()| ty)
        });
        types.collect()
    }

    /// The values of a list, of which `n` are wanted unless that is 0. One expression gives several
    /// if it is a call, or a value with whether there was one.
    pub(super) fn values(&mut self, exprs: &[Expr], n: usize) -> Checked<Vec<Operand>> {
        let [one] = exprs else {
            return exprs.iter().map(|expr| self.expr(expr)).collect();
        };
        let operand = self.operand(one)?;
        let comma_ok = n == 2 && matches!(operand.mode, Mode::CommaOk | Mode::MapElem);
        let types = match self.types.own_kind(operand.ty) {
            Kind::Tuple(types) if n != 1 => types.clone(),
            _ if comma_ok => vec![operand.ty, basic::UNTYPED_BOOL],
            _ if n > 1 => vec![operand.ty],
            _ => return Ok(vec![self.single(operand)?]),
        };
        let value = |ty| Operand::value(ty).at(one.pos);
        Ok(types.into_iter().map(value).collect())
    }

    /// The right side of `n` assignments.
    pub(super) fn exactly(&mut self, exprs: &[Expr], n: usize) -> Checked<Vec<Operand>> {
        let values = self.values(exprs, n)?;
        let found = values.len();
        let counted = |n: usize, what| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (left, right) = (counted(n, "variable"), counted(found, "value"));
        let message = format!("assignment mismatch: {left} but {right}");
        ensure(found == n, exprs[0].pos, message)?;
        Ok(values)
    }

    /// `T(x)`.
    pub(super) fn conversion(&self, operand: Operand, ty: Ty) -> Checked<Operand> {
        let (types, from, pos) = (&self.types, operand.ty, operand.pos);
        let Some(value) = operand.constant().filter(|_| types.basic(ty).is_some()) else {
            let is_settled = operand.pending.is_empty();
            let converts = self.fits(&operand, ty) || is_settled && self.converts(from, ty);
            let message = "cannot convert value of type %T to type %T";
            self.require(converts, pos, message, &[from, ty])?;
            return Ok(Operand::value(ty));
        };
        let value = match value {
            _ if types.is_string(ty) && types.is_integer(from) => {
                let c = value.int().and_then(|value| u32::try_from(value).ok());
                let c = c.and_then(char::from_u32).unwrap_or('\u{fffd}');
                Const::Str(c.to_string().into_bytes().into())
            }
            // A typed one is converted as a variable is.
            Const::Float(_) if !types.is_untyped(from) && types.is_integer(ty) => {
                let Some(whole) = value.int() else {
                    return fault(pos, "cannot convert constant (truncated)");
                };
                Const::Int(whole)
            }
            _ => value.clone(),
        };
        match represent(types, &value, ty) {
            Ok(value) => Ok(Operand::new(Mode::Const(value), ty)),
            Err(text) => {
                let text = text.replace("cannot use", "cannot convert");
                fault(pos, text.replace(" as ", " to type ").replace(" value", ""))
            }
        }
    }

    fn converts(&self, from: Ty, to: Ty) -> bool {
        let types = &self.types;
        // `[]byte` or `[]rune`.
        let is_text = |ty: Ty| match types.kind(ty) {
            Kind::Slice(of) => matches!(types.basic(*of), Some(Basic::Uint8 | Basic::Int32)),
            _ => false,
        };
        let same = |a: Ty, b: Ty| types.underlying(a) == types.underlying(b);
        let pointees = types.pointee(from).zip(types.pointee(to));
        let pointer = |ty: Ty| types.basic(ty) == Some(Basic::UnsafePointer);
        match (types.is_string(from), types.is_string(to)) {
            (true, true) => true,
            (false, true) => types.is_integer(from) || is_text(from),
            (true, false) if is_text(to) => true,
            _ if types.is_number(from) && types.is_number(to) => {
                !types.is_untyped(from) || types.is_integer(to)
            }
            _ if pointees.is_some_and(|(a, b)| same(a, b)) => true,
            _ if pointer(to) => pointer(from) || types.pointee(from).is_some(),
            _ if pointer(from) && types.basic(to) == Some(Basic::Uintptr) => true,
            _ => same(from, to),
        }
    }
}
