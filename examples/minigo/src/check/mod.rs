//! The checker: finds what each name stands for and what type each expression has, and refuses
//! what is no Go or outside the subset.
#![forbid(unsafe_code)]

mod assign;
mod builtin;
mod call;
mod composite;
mod control;
mod decl;
pub(crate) mod entity;
mod expr;
mod flow;
mod func;
mod globals;
mod operator;
mod select;
mod stmt;
mod typing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ast::*;
use crate::constant::Const;
use crate::source::{Checked, Pos, fault};
use crate::types::{Ty, Types, basic};
use entity::*;

/// What a package-level name stands for, before it is looked at.
#[derive(Clone, Debug)]
enum Slot {
    Known(Entity),
    Const(Arc<ValueSpec>, usize, i128),
    /// The position in `Checker::pending_vars`.
    Var(usize),
    Type(Arc<TypeSpec>),
    Func(Arc<FuncDecl>),
    /// Being looked at.
    Busy,
}

/// What an expression is besides its type.
#[derive(Clone, Debug, PartialEq)]
enum Mode {
    /// A statement's call, or a package.
    NoValue,
    Value,
    /// Has an address.
    Variable,
    /// Can be assigned to, but has no address.
    MapElem,
    /// May give a second value that says whether there was a first.
    CommaOk,
    Const(Const),
    Type,
    Builtin(Builtin),
    Nil,
}

#[derive(Clone, Debug)]
struct Operand {
    mode: Mode,
    ty: Ty,
}

impl Operand {
    fn new(mode: Mode, ty: Ty) -> Operand {
        Operand { mode, ty }
    }

    fn value(ty: Ty) -> Operand {
        Operand::new(Mode::Value, ty)
    }
}

/// A package-level variable declaration that is still to be checked.
#[derive(Clone, Debug)]
struct PendingVar {
    global: Global,
    done: bool,
}

/// Who refers to globals, for the order of initialization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    Global(usize),
    Func(FuncId),
}

/// Where the checker is.
#[derive(Debug, Default)]
struct Place {
    package: Option<Name>,
    func: Option<FuncId>,
    scopes: Vec<HashMap<Name, Entity>>,
    iota: Option<i128>,
    node: Option<Node>,
    /// Labels, and whether they name a loop.
    labels: Vec<(Name, bool)>,
    loops: u32,
    /// Loops, switches and selects.
    breakable: u32,
}

pub(crate) struct Checker {
    out: Program,
    packages: HashMap<Name, HashMap<Name, Slot>>,
    /// Of each file's package: what it imports.
    imports: HashMap<Name, Vec<(Pos, Name, bool)>>,
    pending_vars: Vec<PendingVar>,
    place: Place,
    refs: HashMap<Node, HashSet<Node>>,
    bodies: Vec<FuncId>,
    /// Types whose keys must be comparable.
    keys: Vec<(Pos, Ty)>,
}

/// Checks the files of a program, `main`'s last.
pub(crate) fn check(files: Vec<File>, expressions: ExprId) -> Checked<Program> {
    let mut checker = Checker {
        out: Program {
            types: Types::new(),
            vars: Vec::new(),
            funcs: Vec::new(),
            ty: vec![basic::VOID; expressions as usize],
            consts: HashMap::new(),
            uses: HashMap::new(),
            selections: HashMap::new(),
            calls: HashMap::new(),
            literals: HashMap::new(),
            clause_vars: HashMap::new(),
            globals: Vec::new(),
            main: FuncId(0),
            inits: Vec::new(),
        },
        packages: HashMap::new(),
        imports: HashMap::new(),
        pending_vars: Vec::new(),
        place: Place::default(),
        refs: HashMap::new(),
        bodies: Vec::new(),
        keys: Vec::new(),
    };
    for file in &files {
        checker.collect(file)?;
    }
    for file in &files {
        checker.declare_all(file)?;
    }
    checker.check_bodies()?;
    checker.finish()
}

impl Checker {
    fn types(&mut self) -> &mut Types {
        &mut self.out.types
    }

    fn show(&self, ty: Ty) -> String {
        self.out.types.show(ty)
    }

    fn check_bodies(&mut self) -> Checked<()> {
        while let Some(func) = self.bodies.pop() {
            self.body(func)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Checked<Program> {
        for (pos, ty) in std::mem::take(&mut self.keys) {
            if !self.out.types.is_comparable(ty) {
                return fault(pos, format!("invalid map key type {}", self.show(ty)));
            }
        }
        let imports = self.imports.get("main").into_iter().flatten();
        for (pos, name, used) in imports {
            if !used {
                return fault(*pos, format!("{name:?} imported and not used"));
            }
        }
        let main = self
            .packages
            .get("main")
            .and_then(|scope| scope.get("main"));
        let Some(Slot::Known(Entity::Func(main))) = main else {
            return fault(Pos(0), "function main is undeclared in the main package");
        };
        self.out.main = *main;
        self.order_globals()?;
        Ok(self.out)
    }

    /// Runs `body` at package level, as seen from another place.
    fn at_package<T>(
        &mut self,
        package: Name,
        node: Option<Node>,
        body: impl FnOnce(&mut Self) -> Checked<T>,
    ) -> Checked<T> {
        let inside = Place {
            package: Some(package),
            node,
            ..Place::default()
        };
        let outside = std::mem::replace(&mut self.place, inside);
        let result = body(self);
        self.place = outside;
        result
    }

    fn package(&self) -> Name {
        self.place.package.clone().unwrap_or_else(|| "main".into())
    }

    fn push_scope(&mut self) {
        self.place.scopes.push(HashMap::new());
    }

    /// Leaves a scope, whose variables must have been used.
    fn pop_scope(&mut self) -> Checked<()> {
        let scope = self.place.scopes.pop().unwrap_or_default();
        let unused = scope.into_values().filter_map(|entity| match entity {
            Entity::Var(var) => Some(&self.out.vars[var.0 as usize]),
            _ => None,
        });
        let first = unused.filter(|var| !var.used).min_by_key(|var| var.pos);
        match first {
            Some(var) => fault(var.pos, format!("declared and not used: {}", var.name)),
            None => Ok(()),
        }
    }

    fn scoped<T>(&mut self, body: impl FnOnce(&mut Self) -> Checked<T>) -> Checked<T> {
        self.push_scope();
        let result = body(self)?;
        self.pop_scope()?;
        Ok(result)
    }

    fn new_var(&mut self, name: &Name, ty: Ty, pos: Pos, used: bool) -> VarId {
        let var = VarId(self.out.vars.len() as u32);
        let boxed = self.place.func.is_some() && self.has_array(ty);
        self.out.vars.push(Var {
            name: name.clone(),
            ty,
            pos,
            func: self.place.func,
            boxed,
            used,
        });
        var
    }

    /// Declares a local variable; `_` is declared nowhere.
    fn declare_var(&mut self, name: &Name, ty: Ty, pos: Pos, used: bool) -> Checked<VarId> {
        let var = self.new_var(name, ty, pos, used);
        if &**name != "_" {
            self.declare(name, Entity::Var(var), pos)?;
        }
        Ok(var)
    }

    fn declare(&mut self, name: &Name, entity: Entity, pos: Pos) -> Checked<()> {
        let Some(scope) = self.place.scopes.last_mut() else {
            return fault(pos, "declaration outside a function");
        };
        match scope.insert(name.clone(), entity) {
            Some(_) => fault(pos, format!("{name} redeclared in this block")),
            None => Ok(()),
        }
    }

    /// Values with arrays live in memory, as arrays are indexed by what is known at run time only.
    fn has_array(&self, ty: Ty) -> bool {
        use crate::types::Kind;
        match self.out.types.kind(ty) {
            Kind::Array(..) => true,
            Kind::Struct(fields) => fields.iter().any(|field| self.has_array(field.ty)),
            _ => false,
        }
    }

    /// Finds what a name stands for.
    fn lookup(&mut self, name: &Name, pos: Pos) -> Checked<Entity> {
        for scope in self.place.scopes.iter().rev() {
            if let Some(entity) = scope.get(name) {
                return Ok(entity.clone());
            }
        }
        let package = self.package();
        if let Some(entity) = self.member(&package, name, pos)? {
            return Ok(entity);
        }
        let imports = self.imports.get_mut(&package).into_iter().flatten();
        for (_, import, used) in imports {
            if import.rsplit('/').next() == Some(name) {
                *used = true;
                return Ok(Entity::Package(import.clone()));
            }
        }
        match self.predeclared(name) {
            Some(entity) => Ok(entity),
            None => fault(pos, format!("undefined: {name}")),
        }
    }

    fn predeclared(&mut self, name: &str) -> Option<Entity> {
        if let Some((_, builtin)) = BUILTINS.iter().find(|(known, _)| *known == name) {
            return Some(Entity::Builtin(*builtin));
        }
        let ty = match name {
            "byte" => basic::UINT8,
            "rune" => basic::INT32,
            "any" => self.types().any(),
            "error" => self.error_type(),
            "nil" => return Some(Entity::Nil),
            "true" | "false" => {
                let value = Const::Bool(name == "true");
                return Some(Entity::Const(value, basic::UNTYPED_BOOL));
            }
            "iota" => {
                let iota = self.place.iota?;
                return Some(Entity::Const(Const::Int(iota), basic::UNTYPED_INT));
            }
            _ => {
                let first = basic::BOOL.0..=basic::STRING.0;
                first.map(Ty).find(|ty| self.out.types.show(*ty) == name)?
            }
        };
        Some(Entity::Type(ty))
    }

    /// The interface with `Error() string`, which is a type of this name.
    fn error_type(&mut self) -> Ty {
        use crate::types::{Kind, Method, Sig};
        let known = self.out.types.all();
        let mut named = known.filter(|ty| {
            let named = self.out.types.named(*ty);
            named.is_some_and(|named| named.name == "error")
        });
        if let Some(ty) = named.next() {
            return ty;
        }
        let sig = Sig {
            params: Vec::new(),
            variadic: false,
            results: vec![basic::STRING],
        };
        let ty = self.types().intern(Kind::Func(sig));
        let name = "Error".into();
        let underlying = Kind::Interface(vec![Method { name, ty }]);
        let underlying = self.types().intern(underlying);
        let error = self.types().new_named("error".to_owned());
        if let Some(named) = self.types().named_mut(error) {
            named.underlying = underlying;
        }
        error
    }

    /// A variable is used: inside a literal that does not declare it, it is captured.
    fn use_var(&mut self, var: VarId) {
        let owner = self.out.vars[var.0 as usize].func;
        self.out.vars[var.0 as usize].used = true;
        if owner.is_none() {
            return;
        }
        let mut at = self.place.func;
        while let Some(func) = at.filter(|_| at != owner) {
            self.out.vars[var.0 as usize].boxed = true;
            let func = &mut self.out.funcs[func.0 as usize];
            if !func.captures.contains(&var) {
                func.captures.push(var);
            }
            at = func.parent;
        }
    }

    fn refer(&mut self, to: Node) {
        if let Some(from) = self.place.node {
            self.refs.entry(from).or_default().insert(to);
        }
    }
}
