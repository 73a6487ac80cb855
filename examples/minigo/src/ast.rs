//! What the parser makes. Types are expressions, as names alone do not tell them apart.
#![forbid(unsafe_code)]

use std::sync::Arc;

use num_rational::BigRational;

use crate::source::Pos;

/// Numbers the expressions of all files: the checker's tables are indexed by it.
pub(crate) type ExprId = u32;
pub(crate) type Name = Arc<str>;

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) id: ExprId,
    pub(crate) pos: Pos,
    pub(crate) kind: ExprKind,
}

impl Expr {
    /// What is in the parentheses, if there are any.
    pub(crate) fn inside_parens(&self) -> &Expr {
        match &self.kind {
            ExprKind::Paren(inside) => inside.inside_parens(),
            _ => self,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    Ident(Name),
    Int(i128),
    Float(BigRational),
    Char(i128),
    Str(Arc<[u8]>),
    /// `T{k: v, ...}`; the type may be left out inside another one.
    Composite(Option<Box<Expr>>, Vec<(Option<Expr>, Expr)>),
    Func(Arc<FuncDecl>),
    Paren(Box<Expr>),
    Selector(Box<Expr>, Name),
    Index(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    /// `x.(T)`; `x.(type)` has no type.
    Assert(Box<Expr>, Option<Box<Expr>>),
    Call(Box<Call>),
    Star(Box<Expr>),
    Unary(&'static str, Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    /// `[n]T`; `[...]T` has no length.
    ArrayType(Option<Box<Expr>>, Box<Expr>),
    SliceType(Box<Expr>),
    MapType(Box<Expr>, Box<Expr>),
    ChanType(Dir, Box<Expr>),
    FuncType(Arc<FuncType>),
    StructType(Vec<FieldDecl>),
    InterfaceType(Vec<FieldDecl>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dir {
    Both,
    Send,
    Receive,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) callee: Expr,
    pub(crate) args: Vec<Expr>,
    /// `f(x...)`.
    pub(crate) spread: bool,
}

/// A field, a method of an interface, a parameter or a result; embedded ones have no name.
#[derive(Clone, Debug)]
pub(crate) struct FieldDecl {
    pub(crate) pos: Pos,
    pub(crate) name: Option<Name>,
    pub(crate) ty: Expr,
}

#[derive(Clone, Debug)]
pub(crate) struct FuncType {
    pub(crate) params: Vec<FieldDecl>,
    pub(crate) variadic: bool,
    pub(crate) results: Vec<FieldDecl>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    pub(crate) stmts: Vec<Stmt>,
    /// The closing brace.
    pub(crate) end: Pos,
}

#[derive(Clone, Debug)]
pub(crate) struct Stmt {
    pub(crate) pos: Pos,
    pub(crate) kind: StmtKind,
}

impl Stmt {
    /// The channel that a statement sends to or receives from, and what gets the values.
    pub(crate) fn channel(&self) -> Option<(&[Expr], &Expr)> {
        let (left, right) = match &self.kind {
            StmtKind::Send(chan, _) => return Some((&[], chan)),
            StmtKind::Expr(expr) => (&[][..], std::slice::from_ref(expr)),
            StmtKind::Define(left, right) | StmtKind::Assign(left, right) => (&**left, &**right),
            _ => return None,
        };
        match right {
            [right] => match &right.inside_parens().kind {
                ExprKind::Unary("<-", chan) => Some((left, chan)),
                _ => None,
            },
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum StmtKind {
    Empty,
    Expr(Expr),
    Send(Expr, Expr),
    /// `x op= y`, also `x++`.
    OpAssign(&'static str, Expr, Expr),
    Assign(Vec<Expr>, Vec<Expr>),
    Define(Vec<Expr>, Vec<Expr>),
    Decl(Vec<Decl>),
    Go(Expr),
    Defer(Expr),
    Return(Vec<Expr>),
    /// `break` or `continue`.
    Jump(&'static str, Option<Name>),
    Fallthrough,
    Block(Block),
    If(Box<If>),
    For(Box<For>),
    Range(Box<Range>),
    Switch(Box<Switch>),
    Select(Vec<Case>),
    Labeled(Name, Box<Stmt>),
}

#[derive(Clone, Debug)]
pub(crate) struct If {
    pub(crate) init: Option<Stmt>,
    pub(crate) cond: Expr,
    pub(crate) then: Block,
    pub(crate) otherwise: Option<Stmt>,
}

#[derive(Clone, Debug)]
pub(crate) struct For {
    pub(crate) init: Option<Stmt>,
    pub(crate) cond: Option<Expr>,
    pub(crate) post: Option<Stmt>,
    pub(crate) body: Block,
}

#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) key: Option<Expr>,
    pub(crate) value: Option<Expr>,
    pub(crate) define: bool,
    pub(crate) over: Expr,
    pub(crate) body: Block,
}

#[derive(Clone, Debug)]
pub(crate) struct Switch {
    pub(crate) init: Option<Stmt>,
    /// Of a type switch, `x.(type)`.
    pub(crate) tag: Option<Expr>,
    /// What a type switch calls the value.
    pub(crate) bind: Option<(Name, Pos)>,
    pub(crate) cases: Vec<Case>,
}

/// A clause of a switch, which has expressions, or of a select, which has a send or a receive; the
/// default one has neither.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) pos: Pos,
    pub(crate) exprs: Vec<Expr>,
    pub(crate) comm: Option<Stmt>,
    pub(crate) body: Block,
}

impl Case {
    pub(crate) fn is_default(&self) -> bool {
        self.exprs.is_empty() && self.comm.is_none()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Decl {
    Var(ValueSpec),
    Const(ValueSpec, i128),
    Type(Arc<TypeSpec>),
    Func(Arc<FuncDecl>),
}

#[derive(Clone, Debug)]
pub(crate) struct ValueSpec {
    pub(crate) pos: Pos,
    pub(crate) names: Vec<Expr>,
    pub(crate) ty: Option<Expr>,
    pub(crate) values: Vec<Expr>,
}

#[derive(Debug)]
pub(crate) struct TypeSpec {
    pub(crate) pos: Pos,
    pub(crate) name: Name,
    pub(crate) alias: bool,
    pub(crate) ty: Expr,
}

/// A function or method, or a literal, which has no name.
#[derive(Debug)]
pub(crate) struct FuncDecl {
    pub(crate) pos: Pos,
    pub(crate) name: Name,
    pub(crate) receiver: Option<FieldDecl>,
    pub(crate) ty: Arc<FuncType>,
    /// None: written in Rust, which only the prelude may say.
    pub(crate) body: Option<Block>,
}

#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) pos: Pos,
    /// What the file calls the package, if not by the last part of the path.
    pub(crate) name: Option<Name>,
    pub(crate) path: String,
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) package: Name,
    pub(crate) imports: Vec<Import>,
    pub(crate) decls: Vec<Decl>,
}
