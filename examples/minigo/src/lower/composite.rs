//! Composite literals, and arrays.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::Value;

use super::body::{Body, Made, Vals};
use crate::ast::*;
use crate::types::{Kind, Ty};

impl<'p> Body<'_, '_, 'p> {
    /// A composite literal.
    pub(super) fn composite(
        &mut self,
        expr: &'p Expr,
        elems: &'p [(Option<Expr>, Expr)],
    ) -> Made<Vals> {
        let ty = self.ty(expr);
        if let Kind::Pointer(to) = *self.lo.p.types.own_kind(ty) {
            return Ok(vec![self.composite_object(to, elems)?]);
        }
        match *self.lo.p.types.kind(ty) {
            Kind::Struct(_) if !self.lo.p.types.is_pointer_shaped(ty) => {
                self.struct_values(ty, elems)
            }
            Kind::Array(..) => {
                let at = self.composite_object(ty, elems)?;
                self.load(ty, at, 0)
            }
            Kind::Slice(elem) => {
                let indices = self.indices(elems);
                let length = indices.iter().map(|index| index + 1).max().unwrap_or(0);
                let count = self.int(length as i64);
                let at = self.new_array(elem, count);
                for (index, (_, value)) in indices.iter().zip(elems) {
                    let offset = index * self.lo.p.types.size(elem);
                    self.element_value(at, offset as i32, value, elem)?;
                }
                Ok(vec![at, count, count])
            }
            Kind::Map(key, value) => {
                let info = self.int(i64::from(ty.0));
                let map = self.host("map_new", &[info]);
                let map = self.reference(map);
                for (k, v) in elems {
                    let Some(k) = k else { continue };
                    let key = self.element_of(k, key)?;
                    let values = self.element_of(v, value)?;
                    let at = self.map_slot(ty, map, &key)?;
                    self.store(value, &values, at, 0)?;
                }
                Ok(vec![map])
            }
            _ => unreachable!("checked to be a literal's type"),
        }
    }

    /// A value in a literal, whose type may be left out.
    fn element_of(&mut self, expr: &'p Expr, ty: Ty) -> Made<Vals> {
        match &expr.kind {
            ExprKind::Composite(None, elems) => self.composite(expr, elems),
            _ => self.value_as(expr, ty),
        }
    }

    fn element_value(&mut self, at: Value, offset: i32, expr: &'p Expr, ty: Ty) -> Made<()> {
        if let ExprKind::Composite(None, elems) = &expr.kind
            && matches!(self.lo.p.types.kind(ty), Kind::Struct(_) | Kind::Array(..))
        {
            return self.fill(at, offset, ty, elems);
        }
        let values = self.element_of(expr, ty)?;
        self.store(ty, &values, at, offset)
    }

    /// A new object with what a literal says.
    pub(super) fn composite_object(
        &mut self,
        ty: Ty,
        elems: &'p [(Option<Expr>, Expr)],
    ) -> Made<Value> {
        if matches!(self.lo.p.types.kind(ty), Kind::Struct(_) | Kind::Array(..)) {
            let at = self.new_object(ty)?;
            self.fill(at, 0, ty, elems)?;
            return Ok(at);
        }
        unreachable!("checked to be a struct or array");
    }

    /// Writes what a literal says into an object of zeroes.
    fn fill(
        &mut self,
        at: Value,
        offset: i32,
        ty: Ty,
        elems: &'p [(Option<Expr>, Expr)],
    ) -> Made<()> {
        match self.lo.p.types.kind(ty) {
            Kind::Array(_, elem) => {
                for (index, (_, value)) in self.indices(elems).into_iter().zip(elems) {
                    let inside = index * self.lo.p.types.size(*elem);
                    self.element_value(at, offset + inside as i32, value, *elem)?;
                }
            }
            Kind::Struct(fields) => {
                let offsets = self.lo.p.types.offsets(fields);
                for (index, (key, value)) in elems.iter().enumerate() {
                    let index = field_index(fields, key.as_ref(), index);
                    let inside = offset + offsets[index] as i32;
                    self.element_value(at, inside, value, fields[index].ty)?;
                }
            }
            _ => unreachable!("checked to be a struct or array"),
        }
        Ok(())
    }

    fn struct_values(&mut self, ty: Ty, elems: &'p [(Option<Expr>, Expr)]) -> Made<Vals> {
        let Kind::Struct(fields) = self.lo.p.types.kind(ty) else {
            unreachable!("checked to be a struct");
        };
        let mut given: Vec<Option<Vals>> = vec![None; fields.len()];
        for (index, (key, value)) in elems.iter().enumerate() {
            let index = field_index(fields, key.as_ref(), index);
            given[index] = Some(self.element_of(value, fields[index].ty)?);
        }
        let mut values = Vec::new();
        for (field, given) in fields.iter().zip(given) {
            match given {
                Some(given) => values.extend(given),
                None => values.extend(self.zeros(field.ty)?),
            }
        }
        Ok(values)
    }

    /// Which elements the values of an array's or slice's literal are.
    fn indices(&self, elems: &[(Option<Expr>, Expr)]) -> Vec<u64> {
        let mut next = 0;
        let mut indices = Vec::new();
        for (key, _) in elems {
            let known = key
                .as_ref()
                .and_then(|key| self.lo.p.consts.get(&key.id)?.int());
            next = known.map_or(next, |index| index as u64);
            indices.push(next);
            next += 1;
        }
        indices
    }

    /// `&x`.
    pub(super) fn address(&mut self, inner: &'p Expr) -> Made<Vals> {
        match &inner.kind {
            ExprKind::Paren(inside) => self.address(inside),
            ExprKind::Composite(_, elems) => {
                let ty = self.ty(inner);
                if matches!(self.lo.p.types.kind(ty), Kind::Struct(_) | Kind::Array(..)) {
                    return Ok(vec![self.composite_object(ty, elems)?]);
                }
                let values = self.value(inner)?;
                let object = self.new_object(ty)?;
                self.store(ty, &values, object, 0)?;
                Ok(vec![object])
            }
            _ => Ok(vec![self.address_of(inner)?]),
        }
    }

    pub(super) fn new_array(&mut self, elem: Ty, count: Value) -> Value {
        let elem = self.int(i64::from(elem.0));
        let at = self.host_checked("new_array", &[elem, count]);
        self.reference(at)
    }
}

fn field_index(fields: &[crate::types::Field], key: Option<&Expr>, index: usize) -> usize {
    let name = match key.map(|key| &key.kind) {
        Some(ExprKind::Ident(name)) => name,
        _ => return index,
    };
    let found = fields.iter().position(|field| field.name == *name);
    found.unwrap_or(index)
}
