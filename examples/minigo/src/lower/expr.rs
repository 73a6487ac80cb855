//! Expressions.
#![forbid(unsafe_code)]

use minigo_front::Const;

use super::*;

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn ty(&self, expr: &Expr) -> Ty {
        self.p.ty_of(expr.id)
    }

    /// The value of an expression; an untyped one gets its default type.
    pub(super) fn value(&self, expr: &'p Expr) -> Vals {
        let ty = self.types.default_type(self.ty(expr));
        self.value_of(expr, ty)
    }

    /// The value of an expression as one of a type that it is assignable to; `_` has none.
    pub(super) fn value_as(&self, expr: &'p Expr, ty: Ty) -> Vals {
        let from = self.types.default_type(self.ty(expr));
        if from == basic::UNTYPED_NIL {
            return self.zeros(ty);
        }
        let own = ty == basic::VOID || self.types.is_interface(ty);
        let values = self.value_of(expr, if own { from } else { ty });
        self.as_type(values, from, ty)
    }

    /// A value as one of a type that its own is assignable to.
    pub(super) fn as_type(&self, values: Vals, from: Ty, to: Ty) -> Vals {
        let from = self.types.default_type(from);
        if !self.types.is_interface(to) || self.types.is_interface(from) {
            return values;
        }
        let info = self.lo().hold(from);
        let word = match self.types.is_pointer_shaped(from) {
            true => values[0],
            false => self.object_with(from, &values),
        };
        vec![self.int(info), word]
    }

    /// The address of text that is never freed, and its length.
    pub(super) fn text(&self, bytes: &[u8]) -> Vals {
        let address = self.lo().heap.text_bytes(bytes);
        vec![self.int(address as i64), self.int(bytes.len() as i64)]
    }

    fn constant(&self, value: &Const, ty: Ty) -> Vals {
        if let Const::Str(bytes) = value {
            return self.text(bytes);
        }
        let bits = value.bits(self.types, ty);
        vec![match self.words(ty).first().map_or(I64, |word| word.clif) {
            F64 => self.ins(|ins| ins.f64const(f64::from_bits(bits))),
            F32 => self.ins(|ins| ins.f32const(f32::from_bits(bits as u32))),
            word => self.ins(|ins| ins.iconst(word, bits as i64)),
        }]
    }

    /// The value of an expression of this type, or of an untyped one that becomes this type.
    fn value_of(&self, expr: &'p Expr, ty: Ty) -> Vals {
        if let Some(value) = self.p.consts.get(&expr.id) {
            return self.constant(value, ty);
        }
        match &expr.kind {
            ExprKind::Paren(inner) => self.value_of(inner, ty),
            ExprKind::Func(_) => vec![self.literal(self.p.literals[&expr.id])],
            ExprKind::Composite(_, elems) => self.composite(expr, elems),
            ExprKind::Slice(of, bounds) => self.slice(of, bounds),
            ExprKind::Assert(of, _) => self.assertion(expr, of, false).0,
            ExprKind::Call(call) => self.call(expr, call),
            ExprKind::Unary("&", inner) => vec![self.address_of(inner)],
            ExprKind::Unary("<-", inner) => self.receive(inner).0,
            ExprKind::Unary(op, inner) => self.unary(op, inner, ty),
            ExprKind::Binary(op, left, right) => self.binary(op, left, right, ty),
            _ => match (self.function(expr), self.p.entity(expr)) {
                (Some((target, first)), _) => vec![self.bound(&target, &first, false)],
                (None, Some(Entity::Nil)) => self.zeros(ty),
                _ => self.read(&self.place(expr), self.ty(expr)),
            },
        }
    }

    fn slice(&self, of: &'p Expr, bounds: &'p [Option<Box<Expr>>; 3]) -> Vals {
        let (at, length, cap, elem) = self.elements(of);
        let text = self.types.is_string(self.ty(of));
        let sized = i64::from(text || self.types.array(self.ty(of)).is_some());
        let value = |bound: &'p Option<Box<Expr>>| Some(self.index_value(bound.as_deref()?));
        let found = bounds.each_ref().map(value);
        let low = found[0].unwrap_or_else(|| self.int(0));
        let high = found[1].unwrap_or(length);
        let max = found[2].unwrap_or(cap);
        let above = |index: usize, found, limit, kind| {
            let above = self.compared(IntCC::UnsignedGreaterThan, found, limit);
            let bound = bounds[index].as_ref();
            let ty = bound.map_or(basic::INT, |bound| self.ty(bound));
            self.panic_bounds(above, [found, limit], kind, ty);
        };
        match found {
            [_, _, Some(_)] => {
                above(2, max, cap, 3 + sized);
                above(1, high, max, 5);
                above(0, low, high, 6);
            }
            [_, Some(_), _] => above(1, high, max, sized),
            _ => {}
        }
        above(0, low, high, 2);
        let new_length = self.ins(|ins| ins.isub(high, low));
        let new_cap = self.ins(|ins| ins.isub(max, low));
        let moved = self.element(at, elem, low);
        // An address behind the last element is in no object, or in another one.
        let left = if text { new_length } else { new_cap };
        let moved = self.ins(|ins| ins.select(left, moved, at));
        let moved = self.reference(moved);
        match text {
            true => vec![moved, new_length],
            false => vec![moved, new_length, new_cap],
        }
    }

    // Literals.

    fn composite(&self, expr: &'p Expr, elems: &'p [(Option<Expr>, Expr)]) -> Vals {
        let ty = self.ty(expr);
        // Inside another literal, `&T` may be left out.
        match self.types.pointee(ty) {
            Some(to) if self.types.has_parts(to) => vec![self.literal_object(to, elems)],
            Some(to) => vec![self.object_with(to, &self.literal_of(to, elems))],
            None => self.literal_of(ty, elems),
        }
    }

    fn literal_of(&self, ty: Ty, elems: &'p [(Option<Expr>, Expr)]) -> Vals {
        match *self.types.kind(ty) {
            Kind::Slice(elem) => {
                let ends = elems.iter().map(|(_, value)| self.p.parts[&value.id] + 1);
                let count = self.int(ends.max().unwrap_or(0) as i64);
                let at = self.new_array(elem, count);
                self.fill_parts(&Place::Memory(at, 0), ty, elems);
                vec![at, count, count]
            }
            Kind::Map(key_ty, value_ty) => {
                let map = self.new_of(MAP);
                for (key, value) in elems {
                    let key = key.as_ref().map(|key| self.value_as(key, key_ty));
                    let place = Place::Element(ty, map, key.unwrap_or_default());
                    self.assign(&place, value_ty, &self.value_as(value, value_ty));
                }
                vec![map]
            }
            _ => {
                let place = Place::Words(self.variables(ty, &self.zeros(ty)));
                self.fill_parts(&place, ty, elems);
                self.read(&place, ty)
            }
        }
    }

    /// A new object with what the literal of a struct or array says.
    pub(super) fn literal_object(&self, ty: Ty, elems: &'p [(Option<Expr>, Expr)]) -> Value {
        let at = self.new_object(ty);
        self.fill_parts(&Place::Memory(at, 0), ty, elems);
        at
    }

    /// Writes what a literal says to a place of zeros.
    fn fill_parts(&self, place: &Place, ty: Ty, elems: &'p [(Option<Expr>, Expr)]) {
        for (_, value) in elems {
            let index = self.p.parts[&value.id];
            let (part, part_ty) = self.part(place, ty, index);
            let field = self.types.field(ty, index);
            let kept = field.is_none_or(|field| &*field.name != "_");
            self.fill(if kept { &part } else { &Place::Nowhere }, part_ty, value);
        }
    }

    fn fill(&self, place: &Place, ty: Ty, value: &'p Expr) {
        match &value.kind {
            ExprKind::Composite(_, elems) if self.ty(value) == ty && self.types.has_parts(ty) => {
                self.fill_parts(place, ty, elems);
            }
            _ => self.assign(place, ty, &self.value_as(value, ty)),
        }
    }

    // Interfaces.

    /// Whether an interface value is of a type: 0 or 1.
    pub(super) fn is_of(&self, interface: &[Value], ty: Ty) -> Value {
        if let Kind::Interface(methods) = self.types.kind(ty) {
            for method in methods {
                self.lo().method_number(method);
            }
            let args = [interface[0], self.type_number(ty)];
            return self.recast(self.host("implements", &args), I8);
        }
        let info = self.lo().hold(ty);
        self.compared_int(IntCC::Equal, interface[0], info)
    }

    /// An interface's value as one of a type that it has.
    pub(super) fn held(&self, interface: &[Value], ty: Ty) -> Vals {
        match ty {
            _ if self.types.is_interface(ty) => interface.to_vec(),
            _ if self.types.is_pointer_shaped(ty) => vec![interface[1]],
            _ => self.load(ty, interface[1], 0),
        }
    }

    /// `x.(T)`: panics if it does not hold, unless both results are wanted.
    pub(super) fn assertion(&self, expr: &'p Expr, of: &'p Expr, ok: bool) -> (Vals, Value) {
        let (from, ty) = (self.ty(of), self.ty(expr));
        let interface = self.value(of);
        let is = self.is_of(&interface, ty);
        if !ok {
            let not = self.ins(|ins| ins.bxor_imm_s(is, 1));
            let types = [self.type_number(ty), self.type_number(from)];
            let args = [&*interface, &types].concat();
            self.panic_if(not, "runtime.panicAssertion", &args);
            return (self.held(&interface, ty), is);
        }
        let (held, zeros) = (|| self.held(&interface, ty), || self.zeros(ty));
        (self.choose(&self.words(ty), is, held, zeros), is)
    }
}
