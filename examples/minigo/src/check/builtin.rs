//! Calls of builtin functions.
#![forbid(unsafe_code)]

use super::{Checker, Mode, Operand};
use crate::ast::*;
use crate::check::entity::{Builtin, Entity};
use crate::constant::Const;
use crate::source::{Checked, fault};
use crate::types::{Kind, Ty, basic};

impl Checker {
    pub(super) fn builtin(
        &mut self,
        expr: &Expr,
        builtin: Builtin,
        call: &Call,
    ) -> Checked<Operand> {
        use Builtin::*;
        let (least, most) = match builtin {
            Append | Min | Max => (1, usize::MAX),
            Make => (1, 3),
            Print | Println => (0, usize::MAX),
            Copy | Delete => (2, 2),
            AddCleanup => (3, 3),
            Recover => (0, 0),
            _ => (1, 1),
        };
        if call.args.len() < least || call.args.len() > most {
            let what = if call.args.len() < least {
                "not enough"
            } else {
                "too many"
            };
            return fault(expr.pos, format!("{what} arguments in call"));
        }
        if call.spread && builtin != Append {
            return fault(expr.pos, "invalid operation: invalid use of ... in call");
        }
        let nothing = Operand::new(Mode::NoValue, basic::VOID);
        match builtin {
            Make => return self.make(expr, call),
            New => {
                let ty = self.ty(&call.args[0])?;
                let pointer = self.types().pointer(ty);
                return Ok(Operand::value(pointer));
            }
            Recover => return Ok(Operand::value(self.out.types.any())),
            Print | Println => {
                for argument in &call.args {
                    let operand = self.expr(argument)?;
                    let ty = self.out.types.default_type(operand.ty);
                    if !matches!(self.out.types.kind(ty), Kind::Basic(_)) {
                        let text = "print of such values is outside minigo's subset";
                        return fault(argument.pos, text);
                    }
                }
                return Ok(nothing);
            }
            _ => {}
        }
        let first = self.expr(&call.args[0])?;
        let at = call.args[0].pos;
        let ty = first.ty;
        let invalid = |checker: &Checker, name: &str| {
            let ty = checker.show(ty);
            fault(
                at,
                format!("invalid argument for built-in {name}: value of type {ty}"),
            )
        };
        match builtin {
            Len | Cap => self.len(&call.args[0], first, builtin == Cap),
            Append => self.append(call, first),
            Copy => {
                let second = self.expr(&call.args[1])?;
                let elem = match *self.out.types.kind(ty) {
                    Kind::Slice(elem) => elem,
                    _ => return invalid(self, "copy"),
                };
                let fits = match *self.out.types.kind(second.ty) {
                    Kind::Slice(from) => from == elem,
                    _ => self.out.types.is_string(second.ty) && elem == basic::UINT8,
                };
                match fits {
                    true => Ok(Operand::value(basic::INT)),
                    false => fault(call.args[1].pos, "invalid argument for built-in copy"),
                }
            }
            Delete => {
                let Kind::Map(key, _) = *self.out.types.kind(ty) else {
                    return invalid(self, "delete");
                };
                let operand = self.expr(&call.args[1])?;
                self.assignable(&operand, key, call.args[1].pos, "argument to delete")?;
                Ok(nothing)
            }
            Clear => match self.out.types.kind(ty) {
                Kind::Map(..) => Ok(nothing),
                Kind::Slice(_) => fault(at, "clear of slices is outside minigo's subset"),
                _ => invalid(self, "clear"),
            },
            Close => match self.out.types.kind(ty) {
                Kind::Chan(Dir::Receive, _) => fault(at, "cannot close receive-only channel"),
                Kind::Chan(..) => Ok(nothing),
                _ => invalid(self, "close"),
            },
            Panic => {
                let any = self.out.types.any();
                self.assignable(&first, any, at, "argument to panic")?;
                Ok(nothing)
            }
            Min | Max => self.min_max(expr, call, builtin == Min),
            AddCleanup => self.add_cleanup(call, first),
            WeakMake => {
                let Some(to) = self.out.types.pointee(ty) else {
                    return fault(at, "weak.Make: argument is not a pointer");
                };
                let ty = self.types().intern(Kind::Weak(to));
                Ok(Operand::value(ty))
            }
            Make | New | Recover | Print | Println => Ok(nothing),
        }
    }

    fn integer_argument(&mut self, expr: &Expr) -> Checked<()> {
        let operand = self.expr(expr)?;
        if let Mode::Const(value) = &operand.mode {
            return match value.int().filter(|value| *value >= 0) {
                Some(_) => self.assignable(&operand, basic::INT, expr.pos, "argument"),
                None => fault(
                    expr.pos,
                    "invalid argument: size must be a non-negative integer",
                ),
            };
        }
        match self.out.types.integer(operand.ty) {
            Some(_) => Ok(()),
            None => fault(expr.pos, "invalid argument: size must be an integer"),
        }
    }

    fn make(&mut self, expr: &Expr, call: &Call) -> Checked<Operand> {
        let ty = self.ty(&call.args[0])?;
        let sizes = &call.args[1..];
        for size in sizes {
            self.integer_argument(size)?;
        }
        match self.out.types.kind(ty) {
            Kind::Slice(_) if sizes.is_empty() => {
                fault(expr.pos, "invalid operation: make expects 2 or 3 arguments")
            }
            Kind::Slice(_) => {
                let known = |index: usize| {
                    let size = sizes.get(index)?;
                    self.out.consts.get(&size.id).and_then(Const::int)
                };
                if known(0).zip(known(1)).is_some_and(|(len, cap)| len > cap) {
                    return fault(
                        sizes[0].pos,
                        "invalid argument: length and capacity swapped",
                    );
                }
                Ok(Operand::value(ty))
            }
            Kind::Map(..) | Kind::Chan(..) if sizes.len() < 2 => Ok(Operand::value(ty)),
            _ => {
                let ty = self.show(ty);
                fault(
                    call.args[0].pos,
                    format!("invalid argument: cannot make {ty}"),
                )
            }
        }
    }

    fn len(&mut self, expr: &Expr, operand: Operand, cap: bool) -> Checked<Operand> {
        if let Mode::Const(Const::Str(bytes)) = &operand.mode
            && !cap
        {
            let length = Const::Int(bytes.len() as i128);
            return Ok(Operand::new(Mode::Const(length), basic::INT));
        }
        let types = &self.out.types;
        let pointee = types.pointee(operand.ty);
        let array = pointee.filter(|to| matches!(types.kind(*to), Kind::Array(..)));
        match types.kind(array.unwrap_or(operand.ty)) {
            Kind::Array(n, _) if !has_effect(expr) => {
                let length = Const::Int((*n).into());
                Ok(Operand::new(Mode::Const(length), basic::INT))
            }
            Kind::Slice(_) | Kind::Chan(..) => Ok(Operand::value(basic::INT)),
            Kind::Map(..) if !cap => Ok(Operand::value(basic::INT)),
            Kind::Basic(_) if !cap && types.is_string(operand.ty) => Ok(Operand::value(basic::INT)),
            _ => {
                let (ty, name) = (self.show(operand.ty), if cap { "cap" } else { "len" });
                let text = format!("invalid argument for built-in {name}: value of type {ty}");
                fault(expr.pos, text)
            }
        }
    }

    fn append(&mut self, call: &Call, first: Operand) -> Checked<Operand> {
        let Kind::Slice(elem) = *self.out.types.kind(first.ty) else {
            let text = "invalid argument for built-in append: not a slice";
            return fault(call.args[0].pos, text);
        };
        if call.spread {
            let [_, second] = &*call.args else {
                return fault(call.args[0].pos, "can only use ... with one argument");
            };
            let operand = self.expr(second)?;
            let text = self.out.types.is_string(operand.ty) && elem == basic::UINT8;
            if !text && operand.mode != Mode::Nil {
                let slice = self.types().intern(Kind::Slice(elem));
                let underlying = self.out.types.underlying(operand.ty);
                self.assignable(&Operand::value(underlying), slice, second.pos, "argument")?;
            }
            return Ok(Operand::value(first.ty));
        }
        for argument in &call.args[1..] {
            let operand = self.expr(argument)?;
            self.assignable(&operand, elem, argument.pos, "argument to append")?;
        }
        Ok(Operand::value(first.ty))
    }

    fn min_max(&mut self, expr: &Expr, call: &Call, min: bool) -> Checked<Operand> {
        let mut operands = Vec::new();
        for argument in &call.args {
            operands.push(self.expr(argument)?);
        }
        let typed = operands.iter().map(|operand| operand.ty);
        let ty = typed.clone().find(|ty| !self.out.types.is_untyped(*ty));
        let ty: Ty = ty.or_else(|| typed.max()).unwrap_or(basic::INT);
        if !self.out.types.is_number(ty) {
            return fault(
                expr.pos,
                "min and max of such values are outside minigo's subset",
            );
        }
        for (operand, argument) in operands.iter().zip(&call.args) {
            self.assignable(operand, ty, argument.pos, "argument")?;
        }
        let constants = operands.iter().map(|operand| match &operand.mode {
            Mode::Const(value) => Some(value.clone()),
            _ => None,
        });
        let all: Option<Vec<Const>> = constants.collect();
        let Some(all) = all else {
            return Ok(Operand::value(ty));
        };
        let op = if min { "<" } else { ">" };
        let better = |a: Const, b: Const| match crate::constant::binary(op, &b, &a, true) {
            Some(Const::Bool(true)) => b,
            _ => a,
        };
        let best = all.into_iter().reduce(better).unwrap_or(Const::Int(0));
        Ok(Operand::new(Mode::Const(best), ty))
    }

    fn add_cleanup(&mut self, call: &Call, first: Operand) -> Checked<Operand> {
        if self.out.types.pointee(first.ty).is_none() {
            return fault(
                call.args[0].pos,
                "runtime.AddCleanup: argument 1 is not a pointer",
            );
        }
        let cleanup = self.expr(&call.args[1])?;
        let argument = self.expr(&call.args[2])?;
        let sig = self.out.types.sig(cleanup.ty).cloned();
        let Some(sig) = sig.filter(|sig| sig.params.len() == 1 && !sig.variadic) else {
            return fault(
                call.args[1].pos,
                "runtime.AddCleanup: argument 2 is no func(S)",
            );
        };
        if !sig.results.is_empty() {
            return fault(
                call.args[1].pos,
                "runtime.AddCleanup: argument 2 is no func(S)",
            );
        }
        self.assignable(&argument, sig.params[0], call.args[2].pos, "argument")?;
        let name: Name = "Cleanup".into();
        match self.member(&"runtime".into(), &name, call.args[0].pos)? {
            Some(Entity::Type(ty)) => Ok(Operand::value(ty)),
            _ => fault(call.args[0].pos, "undefined: runtime.Cleanup"),
        }
    }
}

/// Whether the expression calls or receives, so that the length of its array is no constant.
fn has_effect(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Call(_) | ExprKind::Unary("<-", _) => true,
        ExprKind::Paren(inner) | ExprKind::Star(inner) | ExprKind::Selector(inner, _) => {
            has_effect(inner)
        }
        ExprKind::Index(of, index) => has_effect(of) || has_effect(index),
        _ => false,
    }
}
