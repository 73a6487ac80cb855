//! Variables and their parts, and other things that are read and assigned to.
#![forbid(unsafe_code)]

use cranelift_frontend::Variable;
use minigo_front::Const;

use super::*;

/// Where a value is. What is tested for its use is tested then, behind all operands.
#[derive(Clone)]
pub(super) enum Place {
    /// `_`.
    Nowhere,
    /// A variable that is declared when it is assigned to.
    New(VarId),
    /// In variables of Cranelift's: a local variable that is in no object, or a value in between.
    Words(Vec<Variable>),
    /// In memory, so many bytes behind an address.
    Memory(Value, i32),
    /// The same behind a pointer, which may be nil.
    Pointed(Value, i32),
    /// In an element: of what has this address and length, at an index of this type.
    Indexed([Value; 3], Ty, Ty, i32),
    /// A map's element: the map's type, the map, the key.
    Element(Ty, Value, Vals),
}

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn var_ty(&self, var: VarId) -> Ty {
        self.p.var(var).ty
    }

    /// Makes a variable, with a value or zero.
    pub(super) fn make_var(&self, id: VarId, value: Option<&[Value]>) {
        let ty = self.var_ty(id);
        let (ty, value) = match (self.p.var(id).boxed, value) {
            (true, Some(value)) => (basic::UNSAFE_POINTER, vec![self.object_with(ty, value)]),
            (true, None) => (basic::UNSAFE_POINTER, vec![self.new_object(ty)]),
            (false, Some(value)) => (ty, value.to_vec()),
            (false, None) => (ty, self.zeros(ty)),
        };
        let variables = self.variables(ty, &value);
        self.vars.borrow_mut().insert(id, variables);
    }

    pub(super) fn var_place(&self, id: VarId) -> Place {
        if let Some(global) = self.lo().globals.get(&id) {
            return Place::Memory(self.int(global.start as i64), 0);
        }
        let variables = &self.vars.borrow()[&id];
        match self.p.var(id).boxed {
            true => Place::Memory(self.b().use_var(variables[0]), 0),
            false => Place::Words(variables.clone()),
        }
    }

    pub(super) fn read(&self, place: &Place, ty: Ty) -> Vals {
        match place {
            Place::Nowhere | Place::New(_) => self.zeros(ty),
            Place::Words(variables) => {
                let word = |variable: &Variable| self.b().use_var(*variable);
                variables.iter().map(word).collect()
            }
            Place::Memory(at, offset) => self.load(ty, *at, *offset),
            Place::Element(of, map, key) => self.map_get(*of, *map, key).0,
            Place::Pointed(..) | Place::Indexed(..) => self.read(&self.tested(place), ty),
        }
    }

    /// The place, now that it is used.
    pub(super) fn tested(&self, place: &Place) -> Place {
        match *place {
            Place::Pointed(at, offset) => {
                self.check_nil(at);
                Place::Memory(at, offset)
            }
            Place::Indexed([at, length, index], elem, by, offset) => {
                let outside = self.compared(IntCC::UnsignedGreaterThanOrEqual, index, length);
                self.panic_bounds(outside, [index, length], 7, by);
                Place::Memory(self.reference(self.element(at, elem, index)), offset)
            }
            _ => place.clone(),
        }
    }

    pub(super) fn assign(&self, place: &Place, ty: Ty, values: &[Value]) {
        match place {
            Place::Nowhere => {}
            Place::New(var) => self.make_var(*var, Some(values)),
            Place::Words(variables) => self.set(variables, values),
            Place::Memory(at, offset) => self.store(ty, values, *at, *offset),
            Place::Element(of, map, key) => {
                self.leave_in_buffer(self.types.entry(*of).0, key);
                let at = self.host_of("map_set", *of, &[*map]);
                self.store(ty, values, self.reference(at), 0);
            }
            _ => self.assign(&self.tested(place), ty, values),
        }
    }

    /// The address of a place; a value that is not in memory is put in an object of its own.
    pub(super) fn address(&self, place: &Place, ty: Ty) -> Value {
        match self.tested(place) {
            Place::Memory(at, offset) => self.inside(at, offset),
            _ => self.object_with(ty, &self.read(place, ty)),
        }
    }

    /// A field of a struct, or an element of an array.
    pub(super) fn part(&self, place: &Place, ty: Ty, index: usize) -> (Place, Ty) {
        let (part, offset) = self.types.part(ty, index);
        let place = match place {
            Place::Memory(at, before) => Place::Memory(*at, before + offset as i32),
            Place::Pointed(at, before) => Place::Pointed(*at, before + offset as i32),
            Place::Indexed(of, elem, by, before) => {
                Place::Indexed(*of, *elem, *by, before + offset as i32)
            }
            Place::Words(variables) => {
                let words = layout::words(self.types, ty).into_iter().zip(variables);
                let inside = words.skip_while(|(word, _)| u64::from(word.offset) < offset);
                let inside = inside.take(layout::words(self.types, part).len());
                Place::Words(inside.map(|(_, variable)| *variable).collect())
            }
            _ => {
                let whole = self.variables(ty, &self.read(place, ty));
                return self.part(&Place::Words(whole), ty, index);
            }
        };
        (place, part)
    }

    /// Follows fields, embedded ones and pointers.
    pub(super) fn walk(&self, mut place: Place, mut ty: Ty, path: &[usize]) -> (Place, Ty) {
        for &index in path {
            if let Some(to) = self.types.pointee(ty) {
                place = Place::Pointed(self.read(&place, ty)[0], 0);
                ty = to;
            }
            (place, ty) = self.part(&place, ty, index);
        }
        (place, ty)
    }

    /// The place of an expression, which may be one of its own.
    pub(super) fn place(&self, expr: &'p Expr) -> Place {
        if let Some(var) = self.p.named_var(expr) {
            return self.var_place(var);
        }
        match (&expr.kind, self.p.selections.get(&expr.id)) {
            (ExprKind::Paren(inner), _) => self.place(inner),
            (ExprKind::Ident(name), _) if &**name == "_" => Place::Nowhere,
            (ExprKind::Star(inner), _) => Place::Pointed(self.value(inner)[0], 0),
            (ExprKind::Selector(of, _), Some(Selection::Field(path))) => {
                self.walk(self.place(of), self.ty(of), path).0
            }
            (ExprKind::Index(of, index), _) => self.index_place(of, index),
            (ExprKind::Composite(..), _) if layout::is_large(self.types, self.ty(expr)) => {
                Place::Memory(self.address_of(expr), 0)
            }
            _ => Place::Words(self.variables(self.ty(expr), &self.value(expr))),
        }
    }

    /// The address of what an expression denotes, or of a new object with its value.
    pub(super) fn address_of(&self, expr: &'p Expr) -> Value {
        let ty = self.ty(expr);
        match &expr.kind {
            ExprKind::Paren(inner) => self.address_of(inner),
            ExprKind::Composite(_, elems) if self.types.has_parts(ty) => {
                self.literal_object(ty, elems)
            }
            _ => self.address(&self.place(expr), ty),
        }
    }

    fn index_place(&self, of: &'p Expr, index: &'p Expr) -> Place {
        let ty = self.ty(of);
        if let Kind::Map(key, _) = *self.types.kind(ty) {
            return Place::Element(ty, self.value(of)[0], self.value_as(index, key));
        }
        // A constant index of an array was checked with the program.
        if let Some((_, elem)) = self.types.array(ty)
            && let Some(number) = self.p.consts.get(&index.id).and_then(Const::int)
            && let Ok(offset) = i32::try_from(number as u64 * self.types.size(elem))
        {
            return match self.types.pointee(ty) {
                Some(_) => Place::Pointed(self.value(of)[0], offset),
                None => Place::Memory(self.address_of(of), offset),
            };
        }
        let (at, length, _, elem) = self.elements(of);
        let of = [at, length, self.index_value(index)];
        Place::Indexed(of, elem, self.ty(index), 0)
    }

    /// The elements of a slice, an array or a text: their address, length, capacity, and type.
    pub(super) fn elements(&self, of: &'p Expr) -> (Value, Value, Value, Ty) {
        let ty = self.ty(of);
        if let Some((length, elem)) = self.types.array(ty) {
            let at = match self.types.pointee(ty) {
                Some(_) => self.address(&Place::Pointed(self.value(of)[0], 0), elem),
                None => self.address_of(of),
            };
            let length = self.int(length as i64);
            return (at, length, length, elem);
        }
        let values = self.value(of);
        match *self.types.kind(ty) {
            Kind::Slice(elem) => (values[0], values[1], values[2], elem),
            _ => (values[0], values[1], values[1], basic::UINT8),
        }
    }

    /// An index as a word, negative ones as very large ones.
    pub(super) fn index_value(&self, index: &'p Expr) -> Value {
        let ty = self.types.default_type(self.ty(index));
        let ty = self.types.integer(ty).map_or(basic::INT, |_| ty);
        self.number(self.value_as(index, ty)[0], ty, basic::INT)
    }

    /// Panics if a bound of this type is out of range; the kind says which one.
    pub(super) fn panic_bounds(&self, is: Value, [found, limit]: [Value; 2], kind: i64, ty: Ty) {
        let kind = self.int(kind + if self.types.is_signed(ty) { 0 } else { 8 });
        self.panic_if(is, "runtime.panicBounds", &[found, limit, kind]);
    }

    /// The value of a key, zero if there is none, and whether there is one.
    pub(super) fn map_get(&self, ty: Ty, map: Value, key: &[Value]) -> (Vals, Value) {
        let (key_ty, value_ty) = self.types.entry(ty);
        self.leave_in_buffer(key_ty, key);
        let at = self.reference(self.host_of("map_get", ty, &[map]));
        let (found, missing) = (|| self.load(value_ty, at, 0), || self.zeros(value_ty));
        let values = self.choose(&self.words(value_ty), at, found, missing);
        (values, self.compared_int(IntCC::NotEqual, at, 0))
    }
}
