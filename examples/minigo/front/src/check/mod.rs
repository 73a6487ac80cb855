//! The checker: finds what each name stands for and what type each expression has, and refuses
//! what is no Go or outside the subset.

mod assign;
mod call;
mod composite;
mod decl;
mod expr;
mod operator;
mod select;
mod stmt;
mod typing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ast::*;
use crate::constant::{self, Const, represent};
use crate::program::*;
use crate::source::{Checked, Pos, fault};
use crate::types::{Basic, Field, Found, Kind, Member, Method, Sig, Ty, Types, basic};

/// What a package-level name stands for.
#[derive(Clone, Debug)]
enum Slot {
    Known(Entity),
    /// A declaration that is to be looked at, and which of its names this is, or which global.
    Open(Decl, usize),
    /// Being looked at.
    Busy,
}

/// What an expression is besides its type.
#[derive(Clone, Debug, PartialEq)]
enum Mode {
    /// A statement's call, or a package.
    NoValue,
    Value,
    /// Has an address: in a variable, or behind a pointer.
    Variable(Option<VarId>),
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
    pos: Pos,
    /// Of a value that is untyped and no constant, as a variable shifts a constant in it: its
    /// constants, which get the type that it gets.
    pending: Vec<Const>,
}

impl Operand {
    fn new(mode: Mode, ty: Ty) -> Operand {
        let (pos, pending) = (Pos::default(), Vec::new());
        Operand {
            mode,
            ty,
            pos,
            pending,
        }
    }

    /// A value that is made of these, of which not all are constant.
    fn made_of(ty: Ty, operands: [&Operand; 2]) -> Operand {
        let constants = |of: &Operand| {
            [
                of.constant().cloned().into_iter().collect(),
                of.pending.clone(),
            ]
            .concat()
        };
        let pending: Vec<Const> = operands.into_iter().flat_map(constants).collect();
        Operand {
            pending,
            ..Operand::value(ty)
        }
    }

    fn value(ty: Ty) -> Operand {
        Operand::new(Mode::Value, ty)
    }

    fn nothing() -> Operand {
        Operand::new(Mode::NoValue, basic::VOID)
    }

    fn at(self, pos: Pos) -> Operand {
        Operand { pos, ..self }
    }

    fn constant(&self) -> Option<&Const> {
        match &self.mode {
            Mode::Const(value) => Some(value),
            _ => None,
        }
    }
}

/// Who refers to globals, for the order of initialization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    Global(usize),
    Func(FuncId),
}

/// A statement that `break` leaves.
#[derive(Debug)]
struct Target {
    label: Option<Name>,
    is_loop: bool,
    broken: bool,
    /// It has no label, or one that a statement names.
    used: bool,
}

/// Where the checker is.
#[derive(Debug, Default)]
struct Place {
    package: Name,
    func: Option<FuncId>,
    scopes: Vec<HashMap<Name, Entity>>,
    iota: Option<i128>,
    node: Option<Node>,
    targets: Vec<Target>,
}

/// The package of predeclared names.
const UNIVERSE: &str = "";

#[derive(Default)]
struct Checker {
    types: Types,
    out: Program,
    /// The names of all packages.
    names: HashMap<(Name, Name), Slot>,
    /// The packages that names of the program stand for.
    imported: HashSet<Name>,
    place: Place,
    refs: HashMap<Node, HashSet<Node>>,
    bodies: Vec<FuncId>,
    labels: HashSet<(Option<FuncId>, Name)>,
    /// Calls and receives so far.
    effects: usize,
    /// Types of keys, which must be comparable.
    keys: Vec<(Pos, Ty)>,
    /// Types that are the same as others which are not known yet.
    waiting: Vec<(Ty, Ty, Pos)>,
}

/// Checks the files of a program, `main`'s last.
pub(crate) fn check(files: Vec<File>, expressions: ExprId) -> Checked<Program> {
    let mut checker = Checker::default();
    checker.universe();
    checker.out.ty = vec![basic::VOID; expressions as usize];
    for file in &files {
        checker.collect(file)?;
    }
    for file in &files {
        checker.declare_all(file)?;
    }
    checker.none_waits()?;
    for index in 0..checker.out.globals.len() {
        checker.global(index)?;
    }
    while let Some(func) = checker.bodies.pop() {
        let package = checker.func(func).package.clone();
        checker.at_package(&package, Some(Node::Func(func)), |this| this.body(func))?;
    }
    checker.none_waits()?;
    for (pos, ty) in &checker.keys {
        let comparable = checker.types.is_comparable(*ty);
        checker.require(comparable, *pos, "invalid map key type %T", &[*ty])?;
    }
    for import in files.last().into_iter().flat_map(|main| &main.imports) {
        let (path, name) = (&import.path, called(import));
        let used = name == "_" || checker.imported.contains(name);
        let other = if name == short(path) {
            String::new()
        } else {
            format!(" as {name}")
        };
        ensure(
            used,
            import.pos,
            format!("{path:?} imported{other} and not used"),
        )?;
    }
    let Some(Slot::Known(Entity::Func(main))) = checker.slot("main", "main") else {
        return fault(Pos(0), "function main is undeclared in the main package");
    };
    checker.out.main = main;
    checker.order_globals()?;
    for var in &mut checker.out.vars {
        // As in Go: what is small and stays as it is, is copied into closures.
        let stays = !var.assigned && checker.types.size(var.ty) <= 128;
        var.boxed |= var.captured && !stays;
    }
    checker.out.types = checker.types;
    Ok(checker.out)
}

/// The name of a package that is imported by this path.
fn short(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What a file calls a package that it imports.
fn called(import: &Import) -> &str {
    import.name.as_deref().unwrap_or(short(&import.path))
}

fn is_exported(name: &str) -> bool {
    name.starts_with(char::is_uppercase)
}

/// The name that an expression must be.
fn name_of(expr: &Expr) -> Checked<&Name> {
    match &expr.kind {
        ExprKind::Ident(name) => Ok(name),
        _ => fault(expr.pos, "non-name on left side of :="),
    }
}

fn is_blank(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Ident(name) if &**name == "_")
}

/// Goes on if the condition holds.
fn ensure(holds: bool, pos: Pos, message: impl Into<String>) -> Checked<()> {
    match holds {
        true => Ok(()),
        false => fault(pos, message),
    }
}

/// The message of an operation that its operands do not have.
fn illegal(message: &str) -> String {
    format!("invalid operation: {message}")
}

impl Checker {
    /// Goes on if the condition holds; `%T` stands for the types in the message.
    fn require(&self, holds: bool, pos: Pos, message: &str, types: &[Ty]) -> Checked<()> {
        ensure(holds, pos, self.text(message, types))
    }

    fn wrong<T>(&self, pos: Pos, message: &str, types: &[Ty]) -> Checked<T> {
        fault(pos, self.text(message, types))
    }

    fn text(&self, message: &str, types: &[Ty]) -> String {
        let types = types.iter().map(|ty| self.types.show(*ty));
        types.fold(message.to_owned(), |text, ty| text.replacen("%T", &ty, 1))
    }

    /// What still waits for another type to be known is declared as itself.
    fn none_waits(&self) -> Checked<()> {
        match self.waiting.first() {
            Some((ty, _, pos)) => self.wrong(*pos, "invalid recursive type %T", &[*ty]),
            None => Ok(()),
        }
    }

    fn kind(&self, ty: Ty) -> Kind {
        self.types.kind(ty).clone()
    }

    fn var(&mut self, id: VarId) -> &mut Var {
        &mut self.out.vars[id.0 as usize]
    }

    fn func(&mut self, id: FuncId) -> &mut Func {
        &mut self.out.funcs[id.0 as usize]
    }

    fn slot(&self, package: &str, name: &str) -> Option<Slot> {
        self.names.get(&(package.into(), name.into())).cloned()
    }

    fn set(&mut self, package: &str, name: &str, slot: Slot) -> Option<Slot> {
        self.names.insert((package.into(), name.into()), slot)
    }

    fn known(&mut self, package: &str, name: &str, entity: Entity) {
        self.set(package, name, Slot::Known(entity));
    }

    /// Makes the basic types, and declares the predeclared names.
    fn universe(&mut self) {
        self.types = Types::new();
        let ty = self.types.func_type(Vec::new(), false, vec![basic::STRING]);
        let name = "Error".into();
        let error = Kind::Interface(vec![Method { name, ty }]);
        let error = self.types.intern(error);
        let error = self.types.new_named("error".to_owned(), error);
        self.known(UNIVERSE, "error", Entity::Type(error));
        self.known(UNIVERSE, "any", Entity::Type(Types::ANY));
        self.known(UNIVERSE, "byte", Entity::Type(basic::UINT8));
        self.known(UNIVERSE, "rune", Entity::Type(basic::INT32));
        for ty in (basic::BOOL.0..=basic::STRING.0).map(Ty) {
            self.known(UNIVERSE, &self.types.show(ty), Entity::Type(ty));
        }
        self.known(UNIVERSE, "nil", Entity::Nil);
        let truth = |value| Entity::Const(Const::Bool(value), basic::UNTYPED_BOOL);
        self.known(UNIVERSE, "true", truth(true));
        self.known(UNIVERSE, "false", truth(false));
        for (builtin, package, name, ..) in BUILTINS {
            self.known(package, name, Entity::Builtin(*builtin));
        }
    }

    /// Runs `body` at package level, as seen from another place.
    fn at_package<T>(
        &mut self,
        package: &Name,
        node: Option<Node>,
        body: impl FnOnce(&mut Self) -> Checked<T>,
    ) -> Checked<T> {
        let outside = std::mem::take(&mut self.place);
        self.place.package = package.clone();
        self.place.node = node;
        let result = body(self)?;
        self.place = outside;
        Ok(result)
    }

    /// Runs `body` in a scope, whose variables must then have been used.
    fn scoped<T>(&mut self, body: impl FnOnce(&mut Self) -> Checked<T>) -> Checked<T> {
        self.place.scopes.push(HashMap::new());
        let result = body(self)?;
        let scope = self.place.scopes.pop().unwrap_or_default();
        let vars = scope.into_values().filter_map(|entity| match entity {
            Entity::Var(var) => Some(&self.out.vars[var.0 as usize]),
            _ => None,
        });
        match vars.filter(|var| !var.used).min_by_key(|var| var.pos) {
            Some(var) => fault(var.pos, format!("declared and not used: {}", var.name)),
            None => Ok(result),
        }
    }

    /// Declares a variable.
    fn declare_var(&mut self, name: &Name, ty: Ty, pos: Pos, used: bool) -> Checked<VarId> {
        let id = VarId(self.out.vars.len() as u32);
        let func = self.place.func;
        self.out.vars.push(Var {
            name: name.clone(),
            ty,
            pos,
            func,
            boxed: func.is_some() && self.has_array(ty),
            captured: false,
            assigned: false,
            used,
        });
        self.declare(name, Entity::Var(id), pos)?;
        Ok(id)
    }

    /// Declares a name in the innermost scope, or in the package; `_` is declared nowhere.
    fn declare(&mut self, name: &Name, entity: Entity, pos: Pos) -> Checked<()> {
        let package = self.place.package.clone();
        let known = match self.place.scopes.last_mut() {
            _ if &**name == "_" => false,
            Some(scope) => scope.insert(name.clone(), entity).is_some(),
            // It was entered before.
            None => self.set(&package, name, Slot::Known(entity)).is_none(),
        };
        ensure(!known, pos, format!("{name} redeclared in this block"))
    }

    /// Values with arrays live in memory, as arrays are indexed by what is known at run time only.
    fn has_array(&self, ty: Ty) -> bool {
        match self.types.kind(ty) {
            Kind::Array(..) => true,
            Kind::Struct(fields) => fields.iter().any(|field| self.has_array(field.ty)),
            _ => false,
        }
    }

    /// Finds what a name stands for.
    fn lookup(&mut self, name: &Name, pos: Pos) -> Checked<Entity> {
        let mut scopes = self.place.scopes.iter().rev();
        if let Some(entity) = scopes.find_map(|scope| scope.get(name)) {
            return Ok(entity.clone());
        }
        if let Some(entity) = self.member(&self.place.package.clone(), name, pos)? {
            return Ok(entity);
        }
        match (self.place.iota, self.slot(UNIVERSE, name)) {
            (Some(iota), None) if &**name == "iota" => {
                Ok(Entity::Const(Const::Int(iota), basic::UNTYPED_INT))
            }
            (_, Some(Slot::Known(entity))) => Ok(entity),
            _ => fault(pos, format!("undefined: {name}")),
        }
    }

    /// A variable is used: inside a literal that does not declare it, it is captured.
    fn use_var(&mut self, id: VarId) {
        let mut at = self.place.func;
        let var = &mut self.out.vars[id.0 as usize];
        var.used = true;
        while let Some(func) = at.filter(|_| var.func.is_some() && at != var.func) {
            var.captured = true;
            let func = &mut self.out.funcs[func.0 as usize];
            if !func.captures.contains(&id) {
                func.captures.push(id);
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
