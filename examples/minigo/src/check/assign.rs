//! Which values may be used where a type is wanted, and conversions.
#![forbid(unsafe_code)]

use super::{Checker, Mode, Operand};
use crate::ast::*;
use crate::constant::{Const, represent};
use crate::source::{Checked, Pos, fault};
use crate::types::{Basic, Kind, Ty, basic};

impl Checker {
    /// Why a value can't be assigned to a type; `None` if it can.
    pub(super) fn assign_fault(&self, operand: &Operand, ty: Ty) -> Option<String> {
        let types = &self.out.types;
        let from = operand.ty;
        let cannot = || {
            let (from, to) = (types.show(from), types.show(ty));
            Some(format!("cannot use value of type {from} as {to} value"))
        };
        if let Mode::Const(value) = &operand.mode
            && types.is_untyped(from)
            && !types.is_interface(ty)
        {
            return represent(types, value, ty).err();
        }
        if operand.mode == Mode::Nil {
            return match types.has_nil(ty) {
                true => None,
                false => Some(format!("cannot use nil as {} value", types.show(ty))),
            };
        }
        if from == ty {
            return None;
        }
        if types.is_interface(ty) {
            if from == basic::VOID {
                return cannot();
            }
            return types
                .missing_method(types.default_type(from), ty)
                .map(|reason| {
                    let (from, to) = (types.show(from), types.show(ty));
                    format!(
                        "cannot use value of type {from} as {to} value: {from} does not implement \
                     {to} ({reason})"
                    )
                });
        }
        let fits = match from {
            basic::UNTYPED_BOOL => types.is_bool(ty),
            basic::UNTYPED_INT | basic::UNTYPED_RUNE => types.integer(ty).is_some(),
            basic::UNTYPED_FLOAT => types.is_float(ty),
            _ => {
                let unnamed = types.named(from).is_none() || types.named(ty).is_none();
                let structural =
                    types.kind(from) == types.kind(ty) && !matches!(types.kind(ty), Kind::Basic(_));
                let chan = match (types.kind(from), types.kind(ty)) {
                    (Kind::Chan(Dir::Both, a), Kind::Chan(_, b)) => a == b,
                    _ => false,
                };
                unnamed && (structural || chan)
            }
        };
        if fits { None } else { cannot() }
    }

    pub(super) fn assignable(
        &self,
        operand: &Operand,
        ty: Ty,
        pos: Pos,
        context: &str,
    ) -> Checked<()> {
        match self.assign_fault(operand, ty) {
            None => Ok(()),
            Some(text) => fault(pos, format!("{text} in {context}")),
        }
    }

    /// Checks the right side of `n` assignments; returns each value with its place.
    pub(super) fn values(
        &mut self,
        exprs: &[Expr],
        n: usize,
        pos: Pos,
    ) -> Checked<Vec<(Operand, Pos)>> {
        let mismatch = |found: usize| {
            fault(
                pos,
                format!("assignment mismatch: {n} variables but {found} values"),
            )
        };
        if let [one] = exprs
            && n > 1
        {
            let operand = self.operand(one)?;
            if n == 2 && matches!(operand.mode, Mode::CommaOk | Mode::MapElem) {
                let ok = Operand::value(basic::UNTYPED_BOOL);
                let first = Operand::value(operand.ty);
                return Ok(vec![(first, one.pos), (ok, one.pos)]);
            }
            return match self.out.types.own_kind(operand.ty) {
                Kind::Tuple(types) if types.len() == n => {
                    let values = types.iter().map(|ty| (Operand::value(*ty), one.pos));
                    Ok(values.collect())
                }
                Kind::Tuple(types) => mismatch(types.len()),
                _ => mismatch(1),
            };
        }
        if exprs.len() != n {
            return mismatch(exprs.len());
        }
        let mut values = Vec::new();
        for expr in exprs {
            values.push((self.expr(expr)?, expr.pos));
        }
        Ok(values)
    }

    /// `T(x)`.
    pub(super) fn conversion(&mut self, operand: Operand, ty: Ty, pos: Pos) -> Checked<Operand> {
        let types = &self.out.types;
        if let Mode::Const(value) = &operand.mode
            && let Kind::Basic(_) = types.kind(ty)
        {
            if types.is_string(ty) && types.integer(operand.ty).is_some() {
                let c = value.int().and_then(|value| u32::try_from(value).ok());
                let c = c.and_then(char::from_u32).unwrap_or('\u{fffd}');
                let bytes = c.to_string().into_bytes();
                return Ok(Operand::new(Mode::Const(Const::Str(bytes.into())), ty));
            }
            let typed = !types.is_untyped(operand.ty);
            let truncated = match value {
                Const::Float(float) if typed && types.integer(ty).is_some() => {
                    Some(Const::Int(float.trunc() as i128))
                }
                _ => None,
            };
            let exact = truncated.is_none() || value.int().is_some();
            return match represent(types, &truncated.unwrap_or_else(|| value.clone()), ty) {
                Ok(value) if exact => Ok(Operand::new(Mode::Const(value), ty)),
                Ok(_) => fault(pos, "cannot convert constant (truncated)"),
                Err(text) => {
                    let text = text.replace("cannot use", "cannot convert");
                    fault(pos, text.replace(" as ", " to type ").replace(" value", ""))
                }
            };
        }
        if self.assign_fault(&operand, ty).is_none() || self.converts(operand.ty, ty) {
            return Ok(Operand::value(ty));
        }
        let (from, to) = (self.show(operand.ty), self.show(ty));
        fault(
            pos,
            format!("cannot convert value of type {from} to type {to}"),
        )
    }

    fn converts(&self, from: Ty, to: Ty) -> bool {
        let types = &self.out.types;
        if types.is_number(from) && types.is_number(to) {
            return true;
        }
        if types.is_string(to) {
            return types.is_string(from) || types.integer(from).is_some() || self.is_text(from);
        }
        if types.is_string(from) && self.is_text(to) {
            return true;
        }
        let same = |a: Ty, b: Ty| types.underlying(a) == types.underlying(b);
        let both = |a: Ty, b: Ty| types.pointee(a).zip(types.pointee(b));
        let pointer_word = |ty: Ty| types.basic(ty) == Some(Basic::UnsafePointer);
        same(from, to)
            || both(from, to).is_some_and(|(a, b)| same(a, b))
            || pointer_word(to) && types.pointee(from).is_some()
            || types.basic(to) == Some(Basic::Uintptr) && pointer_word(from)
    }

    /// `[]byte` or `[]rune`.
    fn is_text(&self, ty: Ty) -> bool {
        let types = &self.out.types;
        match types.kind(ty) {
            Kind::Slice(of) => matches!(types.basic(*of), Some(Basic::Uint8 | Basic::Int32)),
            _ => false,
        }
    }
}
