//! Functions and methods.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{Checker, Node};
use crate::ast::*;
use crate::check::entity::*;
use crate::source::{Checked, fault};
use crate::types::{DeclaredMethod, Kind};

impl Checker {
    pub(super) fn func_decl(
        &mut self,
        decl: &Arc<FuncDecl>,
        receiver: Option<&Param>,
    ) -> Checked<FuncId> {
        let package = self.package();
        if decl.body.is_none() && &*package == "main" {
            return fault(decl.pos, format!("missing function body of {}", decl.name));
        }
        let ty = self.func_type(&decl.ty)?;
        let receiver_ty = receiver.map(|param| self.ty(&param.ty)).transpose()?;
        let id = FuncId(self.out.funcs.len() as u32);
        let named_results = decl.ty.results.iter().any(|result| result.name.is_some());
        self.out.funcs.push(Func {
            name: format!("{package}.{}", decl.name),
            package,
            ty,
            receiver: None,
            receiver_ty,
            params: Vec::new(),
            results: Vec::new(),
            body: Body::Decl(decl.clone()),
            parent: None,
            captures: Vec::new(),
            has_defer: false,
            named_results,
        });
        self.bodies.push(id);
        Ok(id)
    }

    /// A method, or an `init` function.
    pub(super) fn method(&mut self, decl: &Arc<FuncDecl>) -> Checked<()> {
        let func = self.func_decl(decl, decl.receiver.as_ref())?;
        let Some(receiver) = &decl.receiver else {
            if !decl.ty.params.is_empty() || !decl.ty.results.is_empty() {
                return fault(
                    decl.pos,
                    "func init must have no arguments and no return values",
                );
            }
            self.out.inits.push(func);
            return Ok(());
        };
        let receiver_ty = self.ty(&receiver.ty)?;
        let pointee = match *self.out.types.own_kind(receiver_ty) {
            Kind::Pointer(to) => Some(to),
            _ => None,
        };
        let base = pointee.unwrap_or(receiver_ty);
        let name = decl.name.clone();
        let prefix = format!("{}.", self.package());
        let own = self.out.types.named(base).map(|named| named.name.clone());
        let Some(own) = own.filter(|own| own.starts_with(&prefix)) else {
            let ty = self.show(receiver_ty);
            return fault(receiver.pos, format!("invalid receiver type {ty}"));
        };
        if self.out.types.pointee(base).is_some() || self.out.types.is_interface(base) {
            return fault(receiver.pos, format!("invalid receiver type {own}"));
        }
        if let Some(found) = self.out.types.find(base, &name)
            && found.path.len() <= 1
            && !matches!(&found.member, crate::types::Member::Method(ty, _) if *ty != base)
            && (found.path.is_empty()
                || self
                    .out
                    .types
                    .field(base, found.path[0])
                    .is_some_and(|field| field.name == name))
        {
            return fault(
                decl.pos,
                format!("field or method {name} redeclared: {own}"),
            );
        }
        let ty = self.out.funcs[func.0 as usize].ty;
        self.out.funcs[func.0 as usize].name = format!("{own}.{name}");
        let by_pointer = pointee.is_some();
        if let Some(named) = self.types().named_mut(base) {
            named.methods.push(DeclaredMethod {
                name,
                func,
                by_pointer,
                ty,
            });
        }
        Ok(())
    }

    /// Checks the body of a function that was declared at package level.
    pub(super) fn body(&mut self, id: FuncId) -> Checked<()> {
        let func = self.out.funcs[id.0 as usize].clone();
        let Body::Decl(decl) = func.body.clone() else {
            return Ok(());
        };
        let node = Some(Node::Func(id));
        self.at_package(func.package, node, |checker| {
            checker.place.func = Some(id);
            checker.push_scope();
            if let (Some(param), Some(ty)) = (&decl.receiver, func.receiver_ty) {
                let name = param.name.clone().unwrap_or_else(|| "_".into());
                let var = checker.declare_var(&name, ty, param.pos, true)?;
                checker.out.funcs[id.0 as usize].receiver = Some(var);
            }
            checker.func_body(id, &decl.ty, decl.body.as_ref())?;
            checker.pop_scope()
        })
    }

    /// Declares parameters and results, and checks the statements.
    pub(super) fn func_body(
        &mut self,
        id: FuncId,
        ty: &FuncType,
        body: Option<&Block>,
    ) -> Checked<()> {
        let Some(sig) = self
            .out
            .types
            .sig(self.out.funcs[id.0 as usize].ty)
            .cloned()
        else {
            return Ok(());
        };
        let all = ty.params.iter().zip(sig.params).map(|pair| (pair, false));
        let all = all.chain(ty.results.iter().zip(sig.results).map(|pair| (pair, true)));
        for ((param, ty), is_result) in all {
            let name = param.name.clone().unwrap_or_else(|| "_".into());
            let var = self.declare_var(&name, ty, param.pos, true)?;
            let func = &mut self.out.funcs[id.0 as usize];
            match is_result {
                true => func.results.push(var),
                false => func.params.push(var),
            }
        }
        let Some(body) = body else { return Ok(()) };
        // Go has parameters and the outermost declarations in one block.
        self.stmts(&body.stmts)?;
        if !ty.results.is_empty() && !super::flow::ends(&body.stmts) {
            return fault(body.end, "missing return");
        }
        Ok(())
    }
}
