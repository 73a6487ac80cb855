//! What names stand for, and what the checker knows of each expression.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::{Call, ExprId, FuncDecl, Name, ValueSpec};
use crate::constant::Const;
use crate::source::{Pos, Sources};
use crate::types::{DeclaredMethod, Method, Ty, Types};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct VarId(pub(crate) u32);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FuncId(pub(crate) u32);

/// Makes of a table of the builtin functions the enum, and what is known of each.
macro_rules! builtins {
    ($($builtin:ident $package:literal $name:literal $least:literal $most:expr;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Builtin { $($builtin,)* }
        pub(crate) const BUILTINS: &[(Builtin, &str, &str, usize, usize)] =
            &[$((Builtin::$builtin, $package, $name, $least, $most),)*];
    };
}

// Package, unless it is predeclared, name, the least and the most arguments.
builtins! {
    Append "" "append" 1 usize::MAX;
    Cap "" "cap" 1 1;
    Clear "" "clear" 1 1;
    Close "" "close" 1 1;
    Copy "" "copy" 2 2;
    Delete "" "delete" 2 2;
    Len "" "len" 1 1;
    Make "" "make" 1 3;
    Max "" "max" 1 usize::MAX;
    Min "" "min" 1 usize::MAX;
    New "" "new" 1 1;
    Panic "" "panic" 1 1;
    Print "" "print" 0 usize::MAX;
    Println "" "println" 0 usize::MAX;
    Recover "" "recover" 0 0;
    AddCleanup "runtime" "AddCleanup" 3 3;
    WeakMake "weak" "Make" 1 1;
}

#[derive(Clone, Debug)]
pub(crate) enum Entity {
    Var(VarId),
    Func(FuncId),
    Type(Ty),
    Const(Const, Ty),
    Nil,
    Builtin(Builtin),
    /// An import: the package.
    Package(Name),
}

#[derive(Clone, Debug)]
pub(crate) struct Var {
    pub(crate) name: Name,
    pub(crate) ty: Ty,
    pub(crate) pos: Pos,
    /// The function that declares it; none: a global.
    pub(crate) func: Option<FuncId>,
    /// Lives in an object of its own: its address is taken, it has an array, or a literal captures
    /// it that does not just copy it.
    pub(crate) boxed: bool,
    pub(crate) captured: bool,
    /// It is assigned to after its declaration.
    pub(crate) assigned: bool,
    pub(crate) used: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Func {
    /// With its package, as `main.f`.
    pub(crate) name: String,
    pub(crate) package: Name,
    /// Its type, without the receiver.
    pub(crate) ty: Ty,
    pub(crate) receiver: Option<VarId>,
    pub(crate) receiver_ty: Option<Ty>,
    pub(crate) params: Vec<VarId>,
    pub(crate) results: Vec<VarId>,
    pub(crate) decl: Arc<FuncDecl>,
    /// The function that a literal is in.
    pub(crate) parent: Option<FuncId>,
    pub(crate) captures: Vec<VarId>,
    pub(crate) has_defer: bool,
    /// It is no function of the program's, but passes a call on to one.
    pub(crate) made: bool,
}

/// What a selector selects.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    /// A member of a package.
    Package(Entity),
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
pub(crate) enum CallKind {
    Function,
    Convert(Ty),
    Builtin(Builtin),
}

/// A package-level variable declaration, with its package.
#[derive(Clone, Debug)]
pub(crate) struct Global {
    pub(crate) spec: Arc<ValueSpec>,
    /// None while the declaration is not checked.
    pub(crate) vars: Vec<VarId>,
    pub(crate) package: Name,
}

/// A checked program.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) sources: Sources,
    pub(crate) types: Types,
    pub(crate) vars: Vec<Var>,
    pub(crate) funcs: Vec<Func>,
    /// By expression.
    pub(crate) ty: Vec<Ty>,
    pub(crate) consts: HashMap<ExprId, Const>,
    pub(crate) uses: HashMap<ExprId, Entity>,
    pub(crate) selections: HashMap<ExprId, Selection>,
    pub(crate) calls: HashMap<ExprId, CallKind>,
    pub(crate) literals: HashMap<ExprId, FuncId>,
    /// Which fields or elements the values of literals are.
    pub(crate) parts: HashMap<ExprId, usize>,
    /// The variables that clauses of type switches bind, by the clause.
    pub(crate) clause_vars: HashMap<Pos, VarId>,
    /// In the order in which they are initialized.
    pub(crate) globals: Vec<Global>,
    pub(crate) main: FuncId,
    /// `init` functions, in order.
    pub(crate) inits: Vec<FuncId>,
}

impl Program {
    pub(crate) fn ty_of(&self, id: ExprId) -> Ty {
        self.ty[id as usize]
    }

    pub(crate) fn call_kind(&self, id: ExprId) -> CallKind {
        self.calls.get(&id).copied().unwrap_or(CallKind::Function)
    }

    /// Whether the call's last arguments are packed into a slice.
    pub(crate) fn packs(&self, call: &Call, variadic: bool) -> bool {
        variadic && !call.spread
    }
}
