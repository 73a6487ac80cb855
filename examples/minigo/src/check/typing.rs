//! Type expressions.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::{Checker, Mode};
use crate::ast::*;
use crate::check::entity::{Entity, Selection};
use crate::source::{Checked, Pos, fault};
use crate::types::{Field, Kind, Method, Sig, Ty, basic};

impl Checker {
    /// The type that an expression names.
    pub(super) fn ty(&mut self, expr: &Expr) -> Checked<Ty> {
        match self.try_ty(expr)? {
            Some(ty) => {
                self.out.ty[expr.id as usize] = ty;
                Ok(ty)
            }
            None => fault(expr.pos, "expression is not a type"),
        }
    }

    /// The type that an expression names; `None` if it is a value.
    pub(super) fn try_ty(&mut self, expr: &Expr) -> Checked<Option<Ty>> {
        let kind = match &expr.kind {
            ExprKind::Ident(name) => {
                return match self.lookup(name, expr.pos)? {
                    Entity::Type(ty) => Ok(Some(ty)),
                    _ => Ok(None),
                };
            }
            ExprKind::Paren(inner) => return self.try_ty(inner),
            ExprKind::Selector(of, name) => return self.package_type(expr, of, name),
            ExprKind::Index(of, argument) if self.is_weak_pointer(of)? => {
                Kind::Weak(self.ty(argument)?)
            }
            ExprKind::Star(inner) => match self.try_ty(inner)? {
                Some(ty) => Kind::Pointer(ty),
                None => return Ok(None),
            },
            ExprKind::SliceType(of) => Kind::Slice(self.ty(of)?),
            ExprKind::ArrayType(length, of) => {
                let Some(length) = length else {
                    return fault(expr.pos, "invalid use of [...] array");
                };
                let length = self.array_length(length)?;
                Kind::Array(length, self.ty(of)?)
            }
            ExprKind::MapType(key, value) => {
                let (key_ty, value) = (self.ty(key)?, self.ty(value)?);
                self.keys.push((key.pos, key_ty));
                Kind::Map(key_ty, value)
            }
            ExprKind::ChanType(dir, of) => Kind::Chan(*dir, self.ty(of)?),
            ExprKind::FuncType(ty) => return self.func_type(ty).map(Some),
            ExprKind::StructType(fields) => self.struct_type(fields)?,
            ExprKind::InterfaceType(elems) => self.interface_type(expr.pos, elems)?,
            _ => return Ok(None),
        };
        Ok(Some(self.types().intern(kind)))
    }

    pub(super) fn array_length(&mut self, length: &Expr) -> Checked<u64> {
        let operand = self.expr(length)?;
        let value = match &operand.mode {
            Mode::Const(value) => value.int(),
            _ => return fault(length.pos, "array length must be constant"),
        };
        let length_of = value.and_then(|value| u64::try_from(value).ok());
        match length_of.filter(|length| *length <= 1 << 27) {
            Some(length) => Ok(length),
            None => fault(length.pos, "invalid array length, or too large for minigo"),
        }
    }

    fn is_weak_pointer(&mut self, expr: &Expr) -> Checked<bool> {
        let ExprKind::Selector(of, name) = &expr.kind else {
            return Ok(false);
        };
        let ExprKind::Ident(package) = &of.kind else {
            return Ok(false);
        };
        let is_package =
            matches!(self.lookup(package, of.pos)?, Entity::Package(p) if &*p == "weak");
        Ok(is_package && &**name == "Pointer")
    }

    fn package_type(&mut self, expr: &Expr, of: &Expr, name: &Name) -> Checked<Option<Ty>> {
        let ExprKind::Ident(package) = &of.kind else {
            return Ok(None);
        };
        match self.lookup(package, of.pos)? {
            Entity::Package(package) => match self.package_member(&package, name, expr.pos)? {
                Entity::Type(ty) => {
                    let selection = Selection::Package(Entity::Type(ty));
                    self.out.selections.insert(expr.id, selection);
                    Ok(Some(ty))
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    pub(super) fn func_type(&mut self, ty: &FuncType) -> Checked<Ty> {
        let mut params = Vec::new();
        for param in &ty.params {
            params.push(self.ty(&param.ty)?);
        }
        if ty.variadic
            && let Some(last) = params.last_mut()
        {
            *last = self.out.types.intern(Kind::Slice(*last));
        }
        let mut results = Vec::new();
        for result in &ty.results {
            results.push(self.ty(&result.ty)?);
        }
        Ok(self.types().intern(Kind::Func(Sig {
            params,
            variadic: ty.variadic,
            results,
        })))
    }

    fn struct_type(&mut self, decls: &[FieldDecl]) -> Checked<Kind> {
        let mut fields = Vec::new();
        let mut names = HashSet::new();
        for decl in decls {
            if &*decl.name != "_" && !names.insert(decl.name.clone()) {
                return fault(decl.pos, format!("{} redeclared", decl.name));
            }
            let ty = self.ty(&decl.ty)?;
            fields.push(Field {
                name: decl.name.clone(),
                ty,
                embedded: decl.embedded,
            });
        }
        Ok(Kind::Struct(fields))
    }

    fn interface_type(&mut self, pos: Pos, elems: &[InterfaceElem]) -> Checked<Kind> {
        let mut methods: Vec<Method> = Vec::new();
        for elem in elems {
            match elem {
                InterfaceElem::Method(name, ty) => {
                    let ty = self.func_type(ty)?;
                    methods.push(Method {
                        name: name.clone(),
                        ty,
                    });
                }
                InterfaceElem::Embedded(expr) => {
                    let ty = self.ty(expr)?;
                    match self.out.types.kind(ty) {
                        Kind::Interface(inner) => methods.extend(inner.iter().cloned()),
                        _ if self.out.types.underlying(ty) == basic::VOID => {
                            return fault(expr.pos, "invalid recursive type");
                        }
                        _ => return fault(expr.pos, "type sets are outside minigo's subset"),
                    }
                }
            }
        }
        methods.sort_by(|a, b| a.name.cmp(&b.name));
        methods.dedup();
        if methods.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return fault(pos, "duplicate method");
        }
        Ok(Kind::Interface(methods))
    }
}
