//! What names stand for, and what the checker knows of each expression.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::{Block, Call, ExprId, FuncDecl, FuncLit, Name, ValueSpec};
use crate::constant::Const;
use crate::source::Pos;
use crate::types::{DeclaredMethod, Method, Ty, Types};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct VarId(pub(crate) u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FuncId(pub(crate) u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    Append,
    Cap,
    Clear,
    Close,
    Copy,
    Delete,
    Len,
    Make,
    Max,
    Min,
    New,
    Panic,
    Print,
    Println,
    Recover,
    /// `runtime.AddCleanup`.
    AddCleanup,
    /// `weak.Make`.
    WeakMake,
}

/// Names of the builtin functions of no package.
pub(crate) const BUILTINS: &[(&str, Builtin)] = &[
    ("append", Builtin::Append),
    ("cap", Builtin::Cap),
    ("clear", Builtin::Clear),
    ("close", Builtin::Close),
    ("copy", Builtin::Copy),
    ("delete", Builtin::Delete),
    ("len", Builtin::Len),
    ("make", Builtin::Make),
    ("max", Builtin::Max),
    ("min", Builtin::Min),
    ("new", Builtin::New),
    ("panic", Builtin::Panic),
    ("print", Builtin::Print),
    ("println", Builtin::Println),
    ("recover", Builtin::Recover),
];

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
    /// Lives in an object of its own: it is captured, its address is taken, or it has an array.
    pub(crate) boxed: bool,
    pub(crate) used: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Decl(Arc<FuncDecl>),
    Literal(Arc<FuncLit>),
}

impl Body {
    pub(crate) fn block(&self) -> Option<&Block> {
        match self {
            Body::Decl(decl) => decl.body.as_ref(),
            Body::Literal(literal) => Some(&literal.body),
        }
    }
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
    pub(crate) body: Body,
    /// The function that a literal is in.
    pub(crate) parent: Option<FuncId>,
    pub(crate) captures: Vec<VarId>,
    pub(crate) has_defer: bool,
    pub(crate) named_results: bool,
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
    pub(crate) vars: Vec<VarId>,
    pub(crate) package: Name,
}

/// A checked program.
#[derive(Debug)]
pub(crate) struct Program {
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
    /// The variables that clauses of type switches bind.
    pub(crate) clause_vars: HashMap<ExprId, VarId>,
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
