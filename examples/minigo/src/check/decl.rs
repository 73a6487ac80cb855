//! Declarations: what is known of package-level names is found when they are first used.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{Checker, Mode, Node, Operand, PendingVar, Slot};
use crate::ast::*;
use crate::check::entity::*;
use crate::constant::represent;
use crate::source::{Checked, Pos, fault};
use crate::types::{Kind, Ty, basic};

impl Checker {
    /// Enters the names of a file's declarations.
    pub(super) fn collect(&mut self, file: &File) -> Checked<()> {
        let package = file.package.clone();
        let imports = file.imports.iter();
        let imports = imports
            .map(|(pos, path)| (*pos, Name::from(&**path), false))
            .collect();
        self.imports.insert(package.clone(), imports);
        for decl in &file.decls {
            match decl {
                Decl::Const(spec, iota) => {
                    let spec = Arc::new(spec.clone());
                    for (index, name) in spec.names.iter().enumerate() {
                        self.enter(&package, name, Slot::Const(spec.clone(), index, *iota))?;
                    }
                }
                Decl::Var(spec) => {
                    let index = self.pending_vars.len();
                    let global = Global {
                        spec: Arc::new(spec.clone()),
                        vars: Vec::new(),
                        package: package.clone(),
                    };
                    let done = false;
                    self.pending_vars.push(PendingVar { global, done });
                    for name in &spec.names {
                        self.enter(&package, name, Slot::Var(index))?;
                    }
                }
                Decl::Type(spec) => {
                    self.enter_name(&package, &spec.name, spec.pos, Slot::Type(spec.clone()))?;
                }
                Decl::Func(decl) if decl.receiver.is_none() && !is_init(&package, decl) => {
                    self.enter_name(&package, &decl.name, decl.pos, Slot::Func(decl.clone()))?;
                }
                Decl::Func(_) => {}
            }
        }
        Ok(())
    }

    fn enter(&mut self, package: &Name, name: &Expr, slot: Slot) -> Checked<()> {
        let ExprKind::Ident(text) = &name.kind else {
            return fault(name.pos, "expected name");
        };
        self.enter_name(package, text, name.pos, slot)
    }

    fn enter_name(&mut self, package: &Name, name: &Name, pos: Pos, slot: Slot) -> Checked<()> {
        if &**name == "_" {
            return Ok(());
        }
        let scope = self.packages.entry(package.clone()).or_default();
        match scope.insert(name.clone(), slot) {
            Some(_) => fault(pos, format!("{name} redeclared in this block")),
            None => Ok(()),
        }
    }

    /// Looks at all declarations of a file, methods first, as types are known by them.
    pub(super) fn declare_all(&mut self, file: &File) -> Checked<()> {
        let package = file.package.clone();
        let names = file.decls.iter().filter_map(|decl| match decl {
            Decl::Type(spec) => Some((spec.name.clone(), spec.pos)),
            _ => None,
        });
        for (name, pos) in names {
            self.member(&package, &name, pos)?;
        }
        for decl in &file.decls {
            if let Decl::Type(spec) = decl {
                self.check_finite(&package, spec)?;
            }
        }
        for decl in &file.decls {
            if let Decl::Func(decl) = decl
                && (decl.receiver.is_some() || is_init(&package, decl))
            {
                self.at_package(package.clone(), None, |checker| checker.method(decl))?;
            }
        }
        for decl in &file.decls {
            match decl {
                Decl::Const(spec, _) => self.members(&package, &spec.names)?,
                Decl::Func(decl) if decl.receiver.is_none() && &*decl.name != "_" => {
                    self.member(&package, &decl.name, decl.pos)?;
                }
                _ => {}
            }
        }
        for index in 0..self.pending_vars.len() {
            if self.pending_vars[index].global.package == package {
                self.global(index)?;
            }
        }
        Ok(())
    }

    fn members(&mut self, package: &Name, names: &[Expr]) -> Checked<()> {
        for name in names {
            if let ExprKind::Ident(text) = &name.kind {
                self.member(package, text, name.pos)?;
            }
        }
        Ok(())
    }

    fn check_finite(&mut self, package: &Name, spec: &TypeSpec) -> Checked<()> {
        match self.member(package, &spec.name, spec.pos)? {
            Some(Entity::Type(ty)) => self.check_size(ty, spec.pos),
            _ => Ok(()),
        }
    }

    /// Refuses a type that contains itself, or is too large.
    fn check_size(&self, ty: Ty, pos: Pos) -> Checked<()> {
        /// Words of a value, at least 1 for each part; `None`: contains itself, or too large.
        fn weigh(checker: &Checker, ty: Ty, open: &mut Vec<Ty>) -> Option<u64> {
            if open.contains(&ty) || open.len() > 64 {
                return None;
            }
            open.push(ty);
            let weight = match checker.out.types.kind(ty) {
                Kind::Array(n, of) => weigh(checker, *of, open)?.checked_mul((*n).max(1)),
                Kind::Struct(fields) => {
                    let mut sum = 1u64;
                    for field in fields {
                        sum = sum.checked_add(weigh(checker, field.ty, open)?)?;
                    }
                    Some(sum)
                }
                _ => Some(1),
            };
            open.pop();
            weight.filter(|weight| *weight <= 1 << 27)
        }
        match weigh(self, ty, &mut Vec::new()) {
            Some(_) => Ok(()),
            None => {
                let text = format!("invalid recursive type {}, or too large", self.show(ty));
                fault(pos, text)
            }
        }
    }

    /// What a name of a package stands for.
    pub(super) fn member(
        &mut self,
        package: &Name,
        name: &Name,
        pos: Pos,
    ) -> Checked<Option<Entity>> {
        let Some(slot) = self.packages.get(package).and_then(|scope| scope.get(name)) else {
            return Ok(None);
        };
        let slot = slot.clone();
        let entity = match slot {
            Slot::Known(entity) => entity,
            Slot::Busy => return fault(pos, format!("invalid recursive declaration: {name}")),
            Slot::Var(index) => {
                self.global(index)?;
                match self.packages.get(package).and_then(|scope| scope.get(name)) {
                    Some(Slot::Known(entity)) => entity.clone(),
                    _ => return fault(pos, format!("initialization cycle: {name}")),
                }
            }
            Slot::Const(spec, index, iota) => {
                self.set(package, name, Slot::Busy);
                self.at_package(package.clone(), None, |checker| {
                    checker.constant(&spec, index, iota)
                })?
            }
            Slot::Type(spec) => self.at_package(package.clone(), None, |checker| {
                checker.type_decl(&spec, true)
            })?,
            Slot::Func(decl) => {
                let func = self.at_package(package.clone(), None, |checker| {
                    checker.func_decl(&decl, None)
                })?;
                Entity::Func(func)
            }
        };
        self.set(package, name, Slot::Known(entity.clone()));
        match entity {
            Entity::Var(var) => {
                let owner = self.pending_vars.iter();
                let owner = owner.map(|pending| &pending.global.vars);
                if let Some(index) = owner.into_iter().position(|vars| vars.contains(&var)) {
                    self.refer(Node::Global(index));
                }
            }
            Entity::Func(func) => self.refer(Node::Func(func)),
            _ => {}
        }
        Ok(Some(entity))
    }

    fn set(&mut self, package: &Name, name: &Name, slot: Slot) {
        let scope = self.packages.entry(package.clone()).or_default();
        scope.insert(name.clone(), slot);
    }

    /// Finds the types of a package-level declaration's variables.
    fn global(&mut self, index: usize) -> Checked<()> {
        let PendingVar { global, done } = self.pending_vars[index].clone();
        if done {
            return Ok(());
        }
        let (package, spec) = (global.package, global.spec);
        for name in &spec.names {
            if let ExprKind::Ident(text) = &name.kind {
                self.set(&package, text, Slot::Busy);
            }
        }
        let node = Some(Node::Global(index));
        let types = self.at_package(package.clone(), node, |checker| checker.var_types(&spec))?;
        self.pending_vars[index].done = true;
        for (name, ty) in spec.names.iter().zip(types) {
            let ExprKind::Ident(text) = &name.kind else {
                continue;
            };
            let var = self.at_package(package.clone(), node, |checker| {
                Ok(checker.new_var(text, ty, name.pos, true))
            })?;
            self.out.uses.insert(name.id, Entity::Var(var));
            self.out.ty[name.id as usize] = ty;
            self.pending_vars[index].global.vars.push(var);
            if &**text != "_" {
                self.set(&package, text, Slot::Known(Entity::Var(var)));
            }
        }
        Ok(())
    }

    /// The types of the variables of a declaration, whose values are checked.
    pub(super) fn var_types(&mut self, spec: &ValueSpec) -> Checked<Vec<Ty>> {
        let declared = spec.ty.as_ref().map(|ty| self.ty(ty)).transpose()?;
        if spec.values.is_empty() {
            let Some(ty) = declared else {
                return fault(spec.pos, "missing type or init expr");
            };
            return Ok(vec![ty; spec.names.len()]);
        }
        let found = self.values(&spec.values, spec.names.len(), spec.pos)?;
        let mut types = Vec::new();
        for (operand, pos) in found {
            types.push(match declared {
                Some(ty) => {
                    self.assignable(&operand, ty, pos, "variable declaration")?;
                    ty
                }
                None => self.variable_type(&operand, pos)?,
            });
        }
        Ok(types)
    }

    /// The type of a variable that is declared by a value.
    pub(super) fn variable_type(&mut self, operand: &Operand, pos: Pos) -> Checked<Ty> {
        if operand.mode == Mode::Nil {
            return fault(pos, "use of untyped nil in variable declaration");
        }
        let ty = self.out.types.default_type(operand.ty);
        self.assignable(operand, ty, pos, "variable declaration")?;
        Ok(ty)
    }

    pub(super) fn constant(
        &mut self,
        spec: &ValueSpec,
        index: usize,
        iota: i128,
    ) -> Checked<Entity> {
        let Some(value) = spec.values.get(index) else {
            return fault(spec.pos, "missing init expr for const declaration");
        };
        let outer = self.place.iota.replace(iota);
        let operand = self.expr(value);
        self.place.iota = outer;
        let operand = operand?;
        let Mode::Const(mut found) = operand.mode else {
            return fault(value.pos, "value is not constant");
        };
        let mut ty = operand.ty;
        if let Some(wanted) = &spec.ty {
            ty = self.ty(wanted)?;
            found = match represent(&self.out.types, &found, ty) {
                Ok(found) => found,
                Err(text) => return fault(value.pos, text),
            };
        }
        Ok(Entity::Const(found, ty))
    }

    /// Declares a type; at package level its name is entered before it is known.
    pub(super) fn type_decl(&mut self, spec: &TypeSpec, global: bool) -> Checked<Entity> {
        if spec.alias {
            let ty = self.ty(&spec.ty)?;
            return Ok(Entity::Type(ty));
        }
        let package = self.package();
        let name = format!("{package}.{}", spec.name);
        let ty = self.types().new_named(name);
        if global {
            self.set(&package, &spec.name, Slot::Known(Entity::Type(ty)));
        } else {
            self.declare(&spec.name, Entity::Type(ty), spec.pos)?;
        }
        let inner = self.ty(&spec.ty)?;
        let underlying = self.out.types.underlying(inner);
        if underlying == basic::VOID {
            return fault(spec.pos, format!("invalid recursive type {}", spec.name));
        }
        if let Some(named) = self.types().named_mut(ty) {
            named.underlying = underlying;
        }
        if !global {
            self.check_size(ty, spec.pos)?;
        }
        Ok(Entity::Type(ty))
    }
}

fn is_init(package: &str, decl: &FuncDecl) -> bool {
    package == "main" && &*decl.name == "init" && decl.receiver.is_none()
}
