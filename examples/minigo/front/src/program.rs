//! What names stand for, and what is known of each expression of a program.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::{Expr, ExprId, FuncDecl, Name, ValueSpec};
use crate::constant::Const;
use crate::source::{CompileError, Fault, Pos, Sources};
use crate::types::{DeclaredMethod, Method, Ty, Types};

/// The number of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarId(pub(crate) u32);

/// The number of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FuncId(pub u32);

/// Makes of a table of the builtin functions the enum, and what is known of each.
macro_rules! builtins {
    ($($builtin:ident $package:literal $name:literal $least:literal $most:expr, $made:expr;)*) => {
        /// A builtin function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Builtin { $(#[doc = $name] $builtin,)* }
        pub(crate) const BUILTINS: &[(Builtin, &str, &str, usize, usize, Option<InLibrary>)] =
            &[$((Builtin::$builtin, $package, $name, $least, $most, $made),)*];
    };
}

/// A function of the library that a call is made of: its package and its name.
pub(crate) type InLibrary = (&'static str, &'static str);

// Package, unless it is predeclared, name, the least and the most arguments, and what a call is one
// of for all arguments.
builtins! {
    Append "" "append" 1 usize::MAX, None;
    Cap "" "cap" 1 1, None;
    Clear "" "clear" 1 1, None;
    Close "" "close" 1 1, Some(("channel", "closing"));
    Copy "" "copy" 2 2, None;
    Delete "" "delete" 2 2, None;
    Len "" "len" 1 1, None;
    Make "" "make" 1 3, None;
    Max "" "max" 1 usize::MAX, None;
    Min "" "min" 1 usize::MAX, None;
    New "" "new" 1 1, None;
    Panic "" "panic" 1 1, Some(("runtime", "panicValue"));
    Print "" "print" 0 usize::MAX, Some(("runtime", "print"));
    Println "" "println" 0 usize::MAX, Some(("runtime", "line"));
    Recover "" "recover" 0 0, None;
    AddCleanup "runtime" "AddCleanup" 3 3, None;
    WeakMake "weak" "Make" 1 1, Some(("runtime", "weakMake"));
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Entity {
    /// A variable.
    Var(VarId),
    /// A function.
    Func(FuncId),
    /// A type.
    Type(Ty),
    /// A constant.
    Const(Const, Ty),
    /// `nil`.
    Nil,
    /// A builtin function.
    Builtin(Builtin),
    /// An import: the package.
    Package(Name),
}

/// A variable, a parameter or a result.
#[derive(Clone, Debug)]
pub struct Var {
    pub(crate) name: Name,
    /// Its type.
    pub ty: Ty,
    pub(crate) pos: Pos,
    /// The function that declares it; none: a global.
    pub(crate) func: Option<FuncId>,
    /// Lives in an object of its own: its address is taken, it has an array, or a literal captures
    /// it that does not just copy it.
    pub boxed: bool,
    pub(crate) captured: bool,
    /// It is assigned to after its declaration, and not only between iterations of its loop, which
    /// is when the next iteration's variable gets its value.
    pub(crate) assigned: bool,
    pub(crate) used: bool,
}

/// A function, a method or a literal.
#[derive(Clone, Debug)]
pub struct Func {
    /// With its package, as `main.f`.
    pub name: String,
    /// Its package.
    pub package: Name,
    /// Its type, without the receiver.
    pub ty: Ty,
    /// The receiver of a method.
    pub receiver: Option<VarId>,
    /// The receiver's type.
    pub receiver_ty: Option<Ty>,
    /// The parameters.
    pub params: Vec<VarId>,
    /// The results.
    pub results: Vec<VarId>,
    /// Its declaration.
    pub decl: Arc<FuncDecl>,
    /// The function that a literal is in.
    pub(crate) parent: Option<FuncId>,
    /// The variables of other functions that a literal refers to.
    pub captures: Vec<VarId>,
    /// Whether it has a statement `defer`.
    pub has_defer: bool,
    /// It is no function of the program's, but passes a call on to one.
    pub made: bool,
}

/// What a selector selects.
#[derive(Clone, Debug)]
pub enum Selection {
    /// A member of a package.
    Package(Entity),
    /// A field, and the embedded ones that lead to it.
    Field(Vec<usize>),
    /// The fields that lead to the receiver, the receiver's named type, the method.
    Method(Vec<usize>, Ty, DeclaredMethod),
    /// The same for a method of an interface.
    Abstract(Vec<usize>, Ty, Method),
    /// `T.Method`: a function whose first parameter is the receiver.
    MethodExpr(FuncId),
    /// `p.Value` of a weak pointer.
    WeakValue,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// Calls a function.
    Function,
    /// Converts a value to a type.
    Convert(Ty),
    /// Calls a builtin function.
    Builtin(Builtin),
}

/// A package-level variable declaration, with its package.
#[derive(Clone, Debug)]
pub struct Global {
    /// The declaration.
    pub spec: Arc<ValueSpec>,
    /// Its variables: none while the declaration is not checked.
    pub vars: Vec<VarId>,
    pub(crate) package: Name,
}

/// A checked program.
#[derive(Debug, Default)]
pub struct Program {
    pub(crate) sources: Sources,
    /// All types.
    pub types: Types,
    pub(crate) vars: Vec<Var>,
    pub(crate) funcs: Vec<Func>,
    /// By expression.
    pub(crate) ty: Vec<Ty>,
    /// The values of expressions that are constant.
    pub consts: HashMap<ExprId, Const>,
    /// What names stand for.
    pub uses: HashMap<ExprId, Entity>,
    /// What selectors select.
    pub selections: HashMap<ExprId, Selection>,
    pub(crate) calls: HashMap<ExprId, CallKind>,
    /// The functions of literals, and those that calls are calls of which do not name a function:
    /// of the library, or made by the checker.
    pub literals: HashMap<ExprId, FuncId>,
    /// Which fields or elements the values of literals are.
    pub parts: HashMap<ExprId, usize>,
    /// The variables that clauses of type switches bind, by the clause.
    pub clause_vars: HashMap<Pos, VarId>,
    /// How many statements that can be left are around those that `break` and `continue` leave, by
    /// the jump.
    pub jumps: HashMap<Pos, usize>,
    /// In the order in which they are initialized.
    pub globals: Vec<Global>,
    /// The function `main`.
    pub main: FuncId,
    /// `init` functions, in order.
    pub inits: Vec<FuncId>,
}

impl Program {
    /// A variable.
    pub fn var(&self, id: VarId) -> &Var {
        &self.vars[id.0 as usize]
    }

    /// A function.
    pub fn func(&self, id: FuncId) -> &Func {
        &self.funcs[id.0 as usize]
    }

    /// All functions.
    pub fn funcs(&self) -> impl Iterator<Item = (FuncId, &Func)> {
        (0..).map(FuncId).zip(&self.funcs)
    }

    /// What an expression names, by itself or as a member of a package.
    pub fn entity(&self, expr: &Expr) -> Option<&Entity> {
        match self.selections.get(&expr.id) {
            Some(Selection::Package(entity)) => Some(entity),
            _ => self.uses.get(&expr.id),
        }
    }

    /// The variable that an expression names.
    pub fn named_var(&self, expr: &Expr) -> Option<VarId> {
        match self.entity(expr) {
            Some(Entity::Var(var)) => Some(*var),
            _ => None,
        }
    }

    /// The local variable that a name on the left side of an assignment declares.
    pub fn declared(&self, name: &Expr) -> Option<VarId> {
        let declares = |var: &Var| var.pos == name.pos && var.func.is_some();
        self.named_var(name).filter(|id| declares(self.var(*id)))
    }

    /// The type of an expression.
    pub fn ty_of(&self, id: ExprId) -> Ty {
        self.ty[id as usize]
    }

    /// What a call does.
    pub fn call_kind(&self, id: ExprId) -> CallKind {
        self.calls.get(&id).copied().unwrap_or(CallKind::Function)
    }

    /// What is wrong at a place, as an error.
    pub fn error(&self, pos: Pos, message: String) -> CompileError {
        self.sources.error(&Fault { pos, message })
    }
}
