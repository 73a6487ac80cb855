//! Variables, and other things that are assigned to.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::Variable;

use super::body::{Body, Made, Storage, Vals};
use crate::ast::*;
use crate::check::entity::{Entity, Selection, VarId};
use crate::constant::Const;
use crate::types::{Kind, Ty, basic};

/// What is assigned to.
pub(super) enum Place {
    /// `_`.
    Nowhere,
    /// Words of a variable that is in no object.
    Words(Vec<Variable>),
    /// In memory, so many bytes behind an address.
    Memory(Value, i32),
    /// A map's element: the map's type, the map, the key.
    Element(Ty, Value, Vals),
}

impl<'p> Body<'_, '_, 'p> {
    /// Makes a variable, with a value or zero.
    pub(super) fn make_var(&mut self, id: VarId, value: Option<&[Value]>) -> Made<()> {
        let var = &self.lo.p.vars[id.0 as usize];
        let (ty, boxed) = (var.ty, var.boxed);
        if boxed {
            let object = self.new_object(ty)?;
            if let Some(value) = value {
                self.store(ty, value, object, 0)?;
            }
            let variable = self.reference_variable();
            self.b.def_var(variable, object);
            self.vars.insert(id, Storage::Object(variable));
            return Ok(());
        }
        let variables = self.variables(ty)?;
        let zeros;
        let value = match value {
            Some(value) => value,
            None => {
                zeros = self.zeros(ty)?;
                &zeros
            }
        };
        self.set(&variables, value);
        self.vars.insert(id, Storage::Words(variables));
        Ok(())
    }

    pub(super) fn var_place(&mut self, id: VarId) -> Place {
        let global = self
            .lo
            .globals
            .get(&id)
            .map(|address| Storage::Global(*address));
        match global.or_else(|| self.vars.get(&id).cloned()) {
            Some(Storage::Words(variables)) => Place::Words(variables),
            Some(Storage::Object(variable)) => Place::Memory(self.b.use_var(variable), 0),
            Some(Storage::Global(address)) => Place::Memory(self.int(address as i64), 0),
            None => unreachable!("variable {} has no storage", id.0),
        }
    }

    pub(super) fn read(&mut self, place: &Place, ty: Ty) -> Made<Vals> {
        match place {
            Place::Nowhere => self.zeros(ty),
            Place::Words(variables) => Ok(self.get(variables)),
            Place::Memory(at, offset) => self.load(ty, *at, *offset),
            Place::Element(map_ty, map, key) => {
                let (map_ty, map, key) = (*map_ty, *map, key.clone());
                self.map_get(map_ty, map, &key).map(|(value, _)| value)
            }
        }
    }

    pub(super) fn write_place(&mut self, place: &Place, ty: Ty, values: &[Value]) -> Made<()> {
        match place {
            Place::Nowhere => Ok(()),
            Place::Words(variables) => {
                self.set(variables, values);
                Ok(())
            }
            Place::Memory(at, offset) => self.store(ty, values, *at, *offset),
            Place::Element(map_ty, map, key) => {
                let (map_ty, map, key) = (*map_ty, *map, key.clone());
                let at = self.map_slot(map_ty, map, &key)?;
                self.store(ty, values, at, 0)
            }
        }
    }

    /// The address of what an expression denotes.
    pub(super) fn address_of(&mut self, expr: &'p Expr) -> Made<Value> {
        match self.place(expr)? {
            Place::Memory(at, offset) => Ok(self.inside(at, offset.into())),
            _ => unreachable!("checked to be addressable"),
        }
    }

    /// The place of an expression; a value that has none is put in an object of its own.
    pub(super) fn place(&mut self, expr: &'p Expr) -> Made<Place> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.place(inner),
            ExprKind::Ident(name) if &**name == "_" => Ok(Place::Nowhere),
            ExprKind::Ident(_) => match self.lo.p.uses.get(&expr.id) {
                Some(Entity::Var(var)) => Ok(self.var_place(*var)),
                _ => self.place_of_value(expr),
            },
            ExprKind::Star(inner) => {
                let at = self.value(inner)?[0];
                self.check_nil(at);
                Ok(Place::Memory(at, 0))
            }
            ExprKind::Selector(of, _) => match self.lo.p.selections.get(&expr.id) {
                Some(Selection::Package(Entity::Var(var))) => Ok(self.var_place(*var)),
                Some(Selection::Field(path)) => self.field_place(of, path),
                _ => self.place_of_value(expr),
            },
            ExprKind::Index(of, index) => self.index_place(expr, of, index),
            _ => self.place_of_value(expr),
        }
    }

    fn place_of_value(&mut self, expr: &'p Expr) -> Made<Place> {
        let ty = self.ty(expr);
        let values = self.value(expr)?;
        let object = self.new_object(ty)?;
        self.store(ty, &values, object, 0)?;
        Ok(Place::Memory(object, 0))
    }

    /// The place of a field, through embedded ones and pointers.
    pub(super) fn field_place(&mut self, of: &'p Expr, path: &[usize]) -> Made<Place> {
        let ty = self.ty(of);
        let place = match self.lo.p.types.pointee(ty) {
            Some(_) => None,
            None if self.has_place(of) => Some(self.place(of)?),
            None => Some(self.place_of_value(of)?),
        };
        let place = match place {
            Some(place) => place,
            None => {
                let at = self.value(of)?[0];
                self.check_nil(at);
                Place::Memory(at, 0)
            }
        };
        let start = self.lo.p.types.pointee(ty).unwrap_or(ty);
        self.walk(place, start, path)
    }

    /// Whether an expression denotes a variable or a part of one.
    pub(super) fn has_place(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Paren(inner) => self.has_place(inner),
            ExprKind::Ident(_) => matches!(self.lo.p.uses.get(&expr.id), Some(Entity::Var(_))),
            ExprKind::Star(_) => true,
            ExprKind::Selector(of, _) => match self.lo.p.selections.get(&expr.id) {
                Some(Selection::Package(Entity::Var(_))) => true,
                Some(Selection::Field(_)) => {
                    self.lo.p.types.pointee(self.ty(of)).is_some() || self.has_place(of)
                }
                _ => false,
            },
            ExprKind::Index(of, _) => match self.lo.p.types.kind(self.ty(of)) {
                Kind::Slice(_) | Kind::Pointer(_) => true,
                Kind::Array(..) => self.has_place(of),
                _ => false,
            },
            _ => false,
        }
    }

    /// Follows fields from a struct of this type.
    pub(super) fn walk(&mut self, mut place: Place, ty: Ty, path: &[usize]) -> Made<Place> {
        let mut at_ty = ty;
        for &index in path {
            if let Some(to) = self.lo.p.types.pointee(at_ty) {
                let at = self.read(&place, at_ty)?[0];
                self.check_nil(at);
                place = Place::Memory(at, 0);
                at_ty = to;
            }
            let Kind::Struct(fields) = self.lo.p.types.kind(at_ty) else {
                unreachable!("checked to be a struct");
            };
            let field = fields[index].ty;
            place = match place {
                Place::Words(variables) => {
                    let before = fields[..index].iter();
                    let skip: u64 = before.map(|f| self.lo.p.types.word_count(f.ty)).sum();
                    let count = self.lo.p.types.word_count(field);
                    let range = skip as usize..(skip + count) as usize;
                    Place::Words(variables[range].to_vec())
                }
                Place::Memory(at, offset) => {
                    let field_offset = self.lo.p.types.offsets(fields)[index];
                    Place::Memory(at, offset + field_offset as i32)
                }
                Place::Element(..) | Place::Nowhere => {
                    unreachable!("checked to be addressable")
                }
            };
            at_ty = field;
        }
        Ok(place)
    }

    /// Words of a value's field.
    pub(super) fn field_values(&self, values: &[Value], ty: Ty, index: usize) -> Vals {
        let Kind::Struct(fields) = self.lo.p.types.kind(ty) else {
            unreachable!("checked to be a struct");
        };
        let skip: u64 = fields[..index]
            .iter()
            .map(|f| self.lo.p.types.word_count(f.ty))
            .sum();
        let count = self.lo.p.types.word_count(fields[index].ty);
        values[skip as usize..(skip + count) as usize].to_vec()
    }

    fn index_place(&mut self, expr: &'p Expr, of: &'p Expr, index: &'p Expr) -> Made<Place> {
        let ty = self.ty(of);
        match *self.lo.p.types.kind(ty) {
            Kind::Map(key, _) => {
                let map = self.value(of)?[0];
                let key = self.value_as(index, key)?;
                Ok(Place::Element(ty, map, key))
            }
            Kind::Slice(elem) => {
                let slice = self.value(of)?;
                let index = self.index_value(index)?;
                self.check_index(index, slice[1]);
                Ok(self.element(slice[0], elem, index))
            }
            Kind::Pointer(array) => {
                let at = self.value(of)?[0];
                self.check_nil(at);
                self.array_element(at, array, index)
            }
            Kind::Array(..) => match self.place(of)? {
                Place::Memory(at, offset) => {
                    let at = self.inside(at, offset.into());
                    self.array_element(at, ty, index)
                }
                _ => {
                    let values = self.value(of)?;
                    let at = self.new_object(ty)?;
                    self.store(ty, &values, at, 0)?;
                    self.array_element(at, ty, index)
                }
            },
            _ => self.place_of_value(expr),
        }
    }

    fn array_element(&mut self, at: Value, array: Ty, index: &'p Expr) -> Made<Place> {
        let Kind::Array(length, elem) = *self.lo.p.types.kind(array) else {
            unreachable!("checked to be an array");
        };
        // A constant index was checked with the program.
        let constant = match self.lo.p.consts.get(&index.id) {
            Some(Const::Int(n)) => u64::try_from(*n).ok().filter(|n| *n < length),
            _ => None,
        };
        let offset = constant.map(|n| i32::try_from(n * self.lo.p.types.size(elem)));
        if let Some(Ok(offset)) = offset {
            return Ok(Place::Memory(at, offset));
        }
        let index = self.index_value(index)?;
        let length = self.int(length as i64);
        self.check_index(index, length);
        Ok(self.element(at, elem, index))
    }

    fn element(&mut self, at: Value, elem: Ty, index: Value) -> Place {
        let size = self.lo.p.types.size(elem);
        let offset = self.b.ins().imul_imm_s(index, size as i64);
        let at = self.b.ins().iadd(at, offset);
        Place::Memory(self.reference(at), 0)
    }

    /// An index as a word, negative ones as very large ones.
    pub(super) fn index_value(&mut self, index: &'p Expr) -> Made<Value> {
        let ty = self.lo.p.types.default_type(self.ty(index));
        let ty = if self.lo.p.types.integer(ty).is_some() {
            ty
        } else {
            basic::INT
        };
        let value = self.value_as(index, ty)?[0];
        Ok(self.widen(value, ty))
    }
}
