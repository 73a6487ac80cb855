//! What the parser makes. Types are expressions, as names alone do not tell them apart.

use std::sync::Arc;

use num_rational::BigRational;

use crate::source::Pos;

/// Numbers the expressions of all files: the checker's tables are indexed by it.
pub type ExprId = u32;
/// A name of the program's.
pub type Name = Arc<str>;

/// An expression, or a type.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What the tables of the checked program know it by.
    pub id: ExprId,
    /// Where it begins; of a selector, where the name is.
    pub pos: Pos,
    /// What it is.
    pub kind: ExprKind,
}

impl Expr {
    /// What is in the parentheses, if there are any.
    pub fn inside_parens(&self) -> &Expr {
        match &self.kind {
            ExprKind::Paren(inside) => inside.inside_parens(),
            _ => self,
        }
    }
}

/// What an expression is.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// `x`.
    Ident(Name),
    /// `1`.
    Int(i128),
    /// `1.5`.
    Float(BigRational),
    /// `'c'`.
    Char(i128),
    /// `"text"`.
    Str(Arc<[u8]>),
    /// `T{k: v, ...}`; the type may be left out inside another one.
    Composite(Option<Box<Expr>>, Vec<(Option<Expr>, Expr)>),
    /// `func() { ... }`.
    Func(Arc<FuncDecl>),
    /// `(x)`.
    Paren(Box<Expr>),
    /// `x.name`.
    Selector(Box<Expr>, Name),
    /// `x[i]`, `weak.Pointer[T]`.
    Index(Box<Expr>, Box<Expr>),
    /// `x[i:j:k]`.
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    /// `x.(T)`; `x.(type)` has no type.
    Assert(Box<Expr>, Option<Box<Expr>>),
    /// `f(x)`, `T(x)`.
    Call(Box<Call>),
    /// `*x`, `*T`.
    Star(Box<Expr>),
    /// `-x`.
    Unary(&'static str, Box<Expr>),
    /// `x + y`.
    Binary(&'static str, Box<Expr>, Box<Expr>),
    /// `[n]T`; `[...]T` has no length.
    ArrayType(Option<Box<Expr>>, Box<Expr>),
    /// `[]T`.
    SliceType(Box<Expr>),
    /// `map[K]V`.
    MapType(Box<Expr>, Box<Expr>),
    /// `chan T`.
    ChanType(Dir, Box<Expr>),
    /// `func(T) U`.
    FuncType(Arc<FuncType>),
    /// `struct { a T }`.
    StructType(Vec<FieldDecl>),
    /// `interface { m() }`.
    InterfaceType(Vec<FieldDecl>),
}

/// What a channel can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dir {
    /// `chan T`.
    Both,
    /// `chan<- T`.
    Send,
    /// `<-chan T`.
    Receive,
}

/// A call, or a conversion.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function, or the type.
    pub callee: Expr,
    /// The arguments.
    pub args: Vec<Expr>,
    /// `f(x...)`.
    pub spread: bool,
}

/// A field, a method of an interface, a parameter or a result; embedded ones have no name.
#[derive(Clone, Debug)]
pub struct FieldDecl {
    pub(crate) pos: Pos,
    pub(crate) name: Option<Name>,
    pub(crate) ty: Expr,
}

/// The type of a function.
#[derive(Clone, Debug)]
pub struct FuncType {
    pub(crate) params: Vec<FieldDecl>,
    /// Whether the last one has `...`.
    pub(crate) variadic: bool,
    pub(crate) results: Vec<FieldDecl>,
}

/// Statements in braces, or of a clause.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The statements.
    pub stmts: Vec<Stmt>,
    /// The closing brace.
    pub(crate) end: Pos,
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// Where it begins; of an assignment, where its operator is.
    pub pos: Pos,
    /// What it is.
    pub kind: StmtKind,
}

impl Stmt {
    /// The channel that a statement sends to or receives from, and what gets the values.
    pub fn channel(&self) -> Option<(&[Expr], &Expr)> {
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

/// What a statement is.
#[derive(Clone, Debug)]
pub enum StmtKind {
    /// Nothing.
    Empty,
    /// A call or a receive.
    Expr(Expr),
    /// `c <- x`.
    Send(Expr, Expr),
    /// `x op= y`, also `x++`.
    OpAssign(&'static str, Expr, Expr),
    /// `x = y`.
    Assign(Vec<Expr>, Vec<Expr>),
    /// `x := y`.
    Define(Vec<Expr>, Vec<Expr>),
    /// `var`, `const`, `type`.
    Decl(Vec<Decl>),
    /// `go f()`.
    Go(Expr),
    /// `defer f()`.
    Defer(Expr),
    /// `return x`.
    Return(Vec<Expr>),
    /// `break` or `continue`.
    Jump(&'static str, Option<Name>),
    /// `fallthrough`.
    Fallthrough,
    /// `{ ... }`.
    Block(Block),
    /// `if`.
    If(Box<If>),
    /// `for` without `range`.
    For(Box<For>),
    /// `for` with `range`.
    Range(Box<Range>),
    /// `switch`, also of types.
    Switch(Box<Switch>),
    /// `select`.
    Select(Vec<Case>),
    /// `name: ...`.
    Labeled(Name, Box<Stmt>),
}

/// `if`.
#[derive(Clone, Debug)]
pub struct If {
    /// What runs before.
    pub init: Option<Stmt>,
    /// The condition.
    pub cond: Expr,
    /// What runs if it holds.
    pub then: Block,
    /// What stands behind `else`.
    pub otherwise: Option<Stmt>,
}

/// `for` without `range`.
#[derive(Clone, Debug)]
pub struct For {
    /// What runs before.
    pub init: Option<Stmt>,
    /// The condition.
    pub cond: Option<Expr>,
    /// What runs behind each iteration.
    pub post: Option<Stmt>,
    /// The body.
    pub body: Block,
}

impl For {
    /// The names of the variables that the loop declares, of which each iteration has its own.
    pub fn names(&self) -> &[Expr] {
        match self.init.as_ref().map(|init| &init.kind) {
            Some(StmtKind::Define(names, _)) => names,
            _ => &[],
        }
    }
}

/// `for` with `range`.
#[derive(Clone, Debug)]
pub struct Range {
    /// What gets the index, the key, or the only value.
    pub key: Option<Expr>,
    /// What gets the element.
    pub value: Option<Expr>,
    /// Whether they are declared.
    pub(crate) define: bool,
    /// What the loop is over.
    pub over: Expr,
    /// The body.
    pub body: Block,
}

/// `switch`.
#[derive(Clone, Debug)]
pub struct Switch {
    /// What runs before.
    pub init: Option<Stmt>,
    /// What is compared; of a type switch, `x.(type)`.
    pub tag: Option<Expr>,
    /// What a type switch calls the value.
    pub(crate) bind: Option<(Name, Pos)>,
    /// The clauses.
    pub cases: Vec<Case>,
}

/// A clause of a switch, which has expressions, or of a select, which has a send or a receive; the
/// default one has neither.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where it begins.
    pub pos: Pos,
    /// The expressions, or types.
    pub exprs: Vec<Expr>,
    /// The send or receive.
    pub comm: Option<Stmt>,
    /// The statements.
    pub body: Block,
}

impl Case {
    /// Whether it is the default clause.
    pub fn is_default(&self) -> bool {
        self.exprs.is_empty() && self.comm.is_none()
    }
}

/// A declaration.
#[derive(Clone, Debug)]
pub enum Decl {
    /// `var`.
    Var(ValueSpec),
    /// `const`, and its `iota`.
    Const(ValueSpec, i128),
    /// `type`.
    Type(Arc<TypeSpec>),
    /// `func`.
    Func(Arc<FuncDecl>),
}

/// Variables or constants that are declared together.
#[derive(Clone, Debug)]
pub struct ValueSpec {
    pub(crate) pos: Pos,
    /// Their names.
    pub names: Vec<Expr>,
    /// The type of all, if it has one.
    pub(crate) ty: Option<Expr>,
    /// Their values: one for each, or a call that gives all.
    pub values: Vec<Expr>,
}

/// The declaration of a type.
#[derive(Debug)]
pub struct TypeSpec {
    pub(crate) pos: Pos,
    pub(crate) name: Name,
    /// It is `type T = U`.
    pub(crate) alias: bool,
    /// What it is declared as.
    pub(crate) ty: Expr,
}

/// A function or method, or a literal, which has no name.
#[derive(Debug)]
pub struct FuncDecl {
    /// Where it is.
    pub pos: Pos,
    pub(crate) name: Name,
    /// The receiver of a method.
    pub(crate) receiver: Option<FieldDecl>,
    /// Parameters and results.
    pub(crate) ty: Arc<FuncType>,
    /// None: a function of the host, which only the library may have.
    pub body: Option<Block>,
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
