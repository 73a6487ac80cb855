//! Composite literals.

use super::*;

type Elems = [(Option<Expr>, Expr)];

impl Checker {
    pub(super) fn compose(&mut self, pos: Pos, ty: Option<&Expr>, of: &Elems) -> Checked<Operand> {
        let Some(ty) = ty else {
            return fault(pos, "invalid composite literal type: missing");
        };
        if let ExprKind::ArrayType(None, elem) = &ty.kind {
            let elem = self.ty(elem)?;
            let slice = self.types.intern(Kind::Slice(elem));
            let length = self.literal_of(pos, slice, of)?;
            return Ok(Operand::value(self.types.intern(Kind::Array(length, elem))));
        }
        let ty = self.ty(ty)?;
        self.literal_of(pos, ty, of).map(|_| Operand::value(ty))
    }

    /// A value inside a literal, whose own type may be left out.
    fn element(&mut self, expr: &Expr, ty: Ty) -> Checked<()> {
        let ExprKind::Composite(None, elems) = &expr.kind else {
            return self.value_for(expr, ty, "literal");
        };
        self.out.ty[expr.id as usize] = ty;
        let literal = self.types.pointee(ty).unwrap_or(ty);
        self.literal_of(expr.pos, literal, elems).map(drop)
    }

    /// Checks the elements of a literal of a type; returns how many places of a list they need.
    fn literal_of(&mut self, pos: Pos, ty: Ty, elems: &Elems) -> Checked<u64> {
        let kind = self.kind(ty);
        let keyed = elems.iter().any(|(key, _)| key.is_some());
        match &kind {
            Kind::Struct(fields) if !keyed && !elems.is_empty() => {
                let few = elems.len() < fields.len();
                let what = if few { "few" } else { "many" };
                let message = format!("too {what} values in struct literal");
                ensure(elems.len() == fields.len(), pos, message)?;
            }
            Kind::Struct(_) | Kind::Array(..) | Kind::Slice(_) | Kind::Map(..) => {}
            Kind::Weak(_) if elems.is_empty() => {}
            _ => return self.wrong(pos, "invalid composite literal type %T", &[ty]),
        }
        let (mut next, mut length) = (0, 0);
        let mut seen = HashSet::new();
        let mut parts = HashSet::new();
        for (index, (key, value)) in elems.iter().enumerate() {
            let at = key.as_ref().unwrap_or(value).pos;
            let (part, of) = match (&kind, key) {
                (Kind::Struct(_), None) if keyed => {
                    return fault(value.pos, "mixture of field:value and value elements");
                }
                (Kind::Struct(fields), None) => (index, fields[index].ty),
                (Kind::Struct(fields), Some(key)) => {
                    let ExprKind::Ident(name) = &key.kind else {
                        return fault(key.pos, "invalid field name in struct literal");
                    };
                    let named = |field: &Field| field.name == *name && &**name != "_";
                    let Some(part) = fields.iter().position(named) else {
                        let message = format!("unknown field {name} in struct literal of %T");
                        return self.wrong(key.pos, &message, &[ty]);
                    };
                    (part, fields[part].ty)
                }
                (Kind::Map(..), None) => return fault(value.pos, "missing key in map literal"),
                (Kind::Map(key_ty, of), Some(key)) => {
                    self.element(key, *key_ty)?;
                    let own = self.out.ty[key.id as usize];
                    let constant = self.out.consts.get(&key.id).cloned().map(Mode::Const);
                    let constant = constant.map(|mode| Operand::new(mode, own));
                    let new = constant.is_none_or(|of| self.is_new(&of, *key_ty, &mut seen));
                    ensure(new, key.pos, "duplicate key in map literal")?;
                    (index, *of)
                }
                (Kind::Array(_, of) | Kind::Slice(of), key) => {
                    if let Some(key) = key {
                        let index = self.expr(key)?.constant().and_then(Const::int);
                        next = index
                            .filter(|index| (0..1 << 24).contains(index))
                            .unwrap_or(-1);
                        let message = "index must be non-negative integer constant";
                        ensure(next >= 0, key.pos, message)?;
                    }
                    let inside = !matches!(kind, Kind::Array(n, _) if next >= n.into());
                    ensure(inside, at, format!("index {next} out of bounds"))?;
                    next += 1;
                    length = length.max(next);
                    (next as usize - 1, *of)
                }
                _ => unreachable!("other kinds have no literals"),
            };
            ensure(
                parts.insert(part),
                at,
                "duplicate field name or index in literal",
            )?;
            self.out.parts.insert(value.id, part);
            match kind {
                Kind::Struct(_) => self.value_for(value, of, "struct literal")?,
                _ => self.element(value, of)?,
            }
        }
        Ok(length as u64)
    }
}
