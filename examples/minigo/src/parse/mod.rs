//! Tokens to a syntax tree: files, declarations and types.
#![forbid(unsafe_code)]

mod expr;
mod stmt;

use std::sync::Arc;

use crate::ast::*;
use crate::scan::{Tok, Token, scan};
use crate::source::{Checked, Pos, fault};

/// How deep expressions, types and statements may nest, so that no program overflows the stack of
/// the compiler.
const MAX_DEPTH: u32 = 100;

pub(crate) struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    /// The next expression's number, of all files.
    next_id: &'a mut ExprId,
    depth: u32,
    /// Below 0: in the head of a statement, where `{` begins its block.
    literal_level: i32,
}

/// Parses one file whose text begins at `start`.
pub(crate) fn parse(text: &str, start: Pos, next_id: &mut ExprId) -> Checked<File> {
    let mut parser = Parser {
        tokens: scan(text, start)?,
        at: 0,
        next_id,
        depth: 0,
        literal_level: 0,
    };
    parser.file()
}

impl Parser<'_> {
    fn tok(&self) -> &Tok {
        &self.tokens[self.at].tok
    }

    fn pos(&self) -> Pos {
        self.tokens[self.at].pos
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.tok(), Tok::Sym(found) if *found == symbol)
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        // The last token is the end, which stays.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn unexpected<T>(&self, wanted: &str) -> Checked<T> {
        let found = match self.tok() {
            Tok::Ident(name) => format!("name {name}"),
            Tok::Sym(";") => "newline or semicolon".to_owned(),
            Tok::Sym(symbol) => (*symbol).to_owned(),
            Tok::End => "end of file".to_owned(),
            _ => "literal".to_owned(),
        };
        fault(
            self.pos(),
            format!("syntax error: unexpected {found}, expected {wanted}"),
        )
    }

    fn expect(&mut self, symbol: &str) -> Checked<Pos> {
        let pos = self.pos();
        if self.eat(symbol) {
            return Ok(pos);
        }
        self.unexpected(symbol)
    }

    fn name(&mut self) -> Checked<Name> {
        match self.tok().clone() {
            Tok::Ident(name) => {
                self.advance();
                Ok(name)
            }
            _ => self.unexpected("name"),
        }
    }

    fn id(&mut self) -> ExprId {
        let id = *self.next_id;
        *self.next_id += 1;
        id
    }

    fn expr_of(&mut self, pos: Pos, kind: ExprKind) -> Expr {
        let id = self.id();
        Expr { id, pos, kind }
    }

    fn ident(&mut self) -> Checked<Expr> {
        let pos = self.pos();
        let name = self.name()?;
        Ok(self.expr_of(pos, ExprKind::Ident(name)))
    }

    /// Runs `body` one level deeper.
    fn nested<T>(&mut self, body: impl FnOnce(&mut Self) -> Checked<T>) -> Checked<T> {
        if self.depth == MAX_DEPTH {
            return fault(self.pos(), "nested too deeply for minigo");
        }
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        result
    }

    /// Ends a statement or declaration: a semicolon, which may be left out before `)` or `}`.
    fn end_statement(&mut self) -> Checked<()> {
        if self.is(")") || self.is("}") || matches!(self.tok(), Tok::End) || self.eat(";") {
            return Ok(());
        }
        self.unexpected("newline or semicolon")
    }

    fn file(&mut self) -> Checked<File> {
        self.expect("package")?;
        let package = self.name()?;
        self.end_statement()?;
        let mut imports = Vec::new();
        while self.eat("import") {
            if self.eat("(") {
                while !self.eat(")") {
                    imports.push(self.import()?);
                    self.end_statement()?;
                }
            } else {
                imports.push(self.import()?);
            }
            self.end_statement()?;
        }
        let mut decls = Vec::new();
        while !matches!(self.tok(), Tok::End) {
            if self.is("func") {
                decls.push(self.func_decl()?);
            } else if self.is("var") || self.is("const") || self.is("type") {
                decls.extend(self.decl()?);
            } else if self.is("import") {
                return fault(
                    self.pos(),
                    "syntax error: imports must appear before others",
                );
            } else {
                return self.unexpected("declaration");
            }
            self.end_statement()?;
        }
        Ok(File {
            package,
            imports,
            decls,
        })
    }

    fn import(&mut self) -> Checked<(Pos, String)> {
        let pos = self.pos();
        match self.tok().clone() {
            Tok::Str(path) => {
                self.advance();
                Ok((pos, String::from_utf8_lossy(&path).into_owned()))
            }
            Tok::Ident(_) | Tok::Sym(".") => {
                fault(pos, "renamed imports are outside minigo's subset")
            }
            _ => self.unexpected("import path"),
        }
    }

    /// `var`, `const` or `type`, one or a group.
    fn decl(&mut self) -> Checked<Vec<Decl>> {
        let keyword = self.advance().tok;
        let mut decls = Vec::new();
        let mut last = None;
        if !self.eat("(") {
            decls.push(self.spec(&keyword, &mut last, 0)?);
            return Ok(decls);
        }
        let mut iota = 0;
        while !self.eat(")") {
            decls.push(self.spec(&keyword, &mut last, iota)?);
            iota += 1;
            self.end_statement()?;
        }
        Ok(decls)
    }

    /// One declaration; `last` is the constant declaration that is repeated if there are no values.
    fn spec(&mut self, keyword: &Tok, last: &mut Option<ValueSpec>, iota: i128) -> Checked<Decl> {
        let pos = self.pos();
        if *keyword == Tok::Sym("type") {
            let name = self.name()?;
            if self.is("[") && matches!(self.tokens[self.at + 1].tok, Tok::Ident(_)) {
                let after = self.tokens.get(self.at + 2).map(|token| &token.tok);
                if !matches!(after, Some(Tok::Sym("]"))) {
                    return fault(self.pos(), "type parameters are outside minigo's subset");
                }
            }
            let alias = self.eat("=");
            let ty = self.ty()?;
            return Ok(Decl::Type(Arc::new(TypeSpec {
                pos,
                name,
                alias,
                ty,
            })));
        }
        let mut names = vec![self.ident()?];
        while self.eat(",") {
            names.push(self.ident()?);
        }
        let constant = *keyword == Tok::Sym("const");
        let mut ty = None;
        if !self.is("=") && !self.is(";") && !self.is(")") {
            ty = Some(self.ty()?);
        }
        let mut values = Vec::new();
        if self.eat("=") {
            values = self.expr_list()?;
        }
        let mut spec = ValueSpec {
            pos,
            names,
            ty,
            values,
        };
        if !constant {
            return Ok(Decl::Var(spec));
        }
        if spec.values.is_empty()
            && let Some(last) = &*last
        {
            spec.ty = last.ty.clone();
            spec.values = last.values.clone();
        }
        *last = Some(spec.clone());
        Ok(Decl::Const(spec, iota))
    }

    fn func_decl(&mut self) -> Checked<Decl> {
        self.expect("func")?;
        let mut receiver = None;
        if self.is("(") {
            let pos = self.pos();
            let (mut params, _) = self.params()?;
            if params.len() != 1 {
                return fault(pos, "method has not exactly one receiver");
            }
            receiver = params.pop();
        }
        let pos = self.pos();
        let name = self.name()?;
        if self.is("[") {
            return fault(self.pos(), "type parameters are outside minigo's subset");
        }
        let ty = self.signature()?;
        let mut body = None;
        if self.is("{") {
            self.literal_level = 0;
            body = Some(self.block()?);
        }
        Ok(Decl::Func(Arc::new(FuncDecl {
            pos,
            name,
            receiver,
            ty,
            body,
        })))
    }

    /// Parameters and results.
    fn signature(&mut self) -> Checked<Arc<FuncType>> {
        let (params, variadic) = self.params()?;
        let mut results = Vec::new();
        if self.is("(") {
            let pos = self.pos();
            let (found, variadic) = self.params()?;
            if variadic {
                return fault(pos, "can only use ... with final parameter in list");
            }
            results = found;
        } else if self.starts_type() {
            let pos = self.pos();
            let ty = self.ty()?;
            results.push(Param {
                pos,
                name: None,
                ty,
            });
        }
        Ok(Arc::new(FuncType {
            params,
            variadic,
            results,
        }))
    }

    /// `(a, b int, c ...T)` or `(int, T)`.
    fn params(&mut self) -> Checked<(Vec<Param>, bool)> {
        self.expect("(")?;
        let mut entries: Vec<(Pos, Option<Expr>, Option<Expr>)> = Vec::new();
        let mut variadic = false;
        while !self.is(")") {
            let pos = self.pos();
            if variadic {
                return fault(pos, "can only use ... with final parameter in list");
            }
            let mut first = None;
            let mut second = None;
            if self.eat("...") {
                variadic = true;
                first = Some(self.ty()?);
            } else {
                let ty = self.ty()?;
                if self.eat("...") {
                    variadic = true;
                    second = Some(self.ty()?);
                } else if self.starts_type() {
                    second = Some(self.ty()?);
                }
                first = first.or(Some(ty));
            }
            entries.push((pos, first, second));
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        let named = entries.iter().any(|(_, _, second)| second.is_some());
        let mut params = Vec::new();
        let mut following: Option<Expr> = None;
        for (pos, first, second) in entries.into_iter().rev() {
            let Some(first) = first else { continue };
            if !named {
                params.push(Param {
                    pos,
                    name: None,
                    ty: first,
                });
                continue;
            }
            let ExprKind::Ident(name) = first.kind else {
                return fault(pos, "syntax error: mixed named and unnamed parameters");
            };
            let Some(ty) = second.or_else(|| following.clone()) else {
                return fault(pos, "syntax error: mixed named and unnamed parameters");
            };
            following = Some(ty.clone());
            params.push(Param {
                pos,
                name: Some(name),
                ty,
            });
        }
        params.reverse();
        Ok((params, variadic))
    }

    fn starts_type(&self) -> bool {
        const STARTS: &[&str] = &[
            "*",
            "[",
            "map",
            "chan",
            "func",
            "struct",
            "interface",
            "<-",
            "(",
        ];
        match self.tok() {
            Tok::Ident(_) => true,
            Tok::Sym(symbol) => STARTS.contains(symbol),
            _ => false,
        }
    }

    pub(super) fn ty(&mut self) -> Checked<Expr> {
        self.nested(Self::ty_inner)
    }

    fn ty_inner(&mut self) -> Checked<Expr> {
        let pos = self.pos();
        let kind = match self.tok().clone() {
            Tok::Ident(_) => return self.type_name(),
            Tok::Sym("*") => {
                self.advance();
                ExprKind::Star(Box::new(self.ty()?))
            }
            Tok::Sym("(") => {
                self.advance();
                let inner = self.ty()?;
                self.expect(")")?;
                ExprKind::Paren(Box::new(inner))
            }
            Tok::Sym("[") => {
                self.advance();
                self.array_type()?
            }
            Tok::Sym("map") => {
                self.advance();
                self.expect("[")?;
                let key = self.ty()?;
                self.expect("]")?;
                ExprKind::MapType(Box::new(key), Box::new(self.ty()?))
            }
            Tok::Sym("chan") => {
                self.advance();
                let dir = if self.eat("<-") { Dir::Send } else { Dir::Both };
                ExprKind::ChanType(dir, Box::new(self.ty()?))
            }
            Tok::Sym("<-") => {
                self.advance();
                self.expect("chan")?;
                ExprKind::ChanType(Dir::Receive, Box::new(self.ty()?))
            }
            Tok::Sym("func") => {
                self.advance();
                ExprKind::FuncType(self.signature()?)
            }
            Tok::Sym("struct") => self.struct_type()?,
            Tok::Sym("interface") => self.interface_type()?,
            _ => return self.unexpected("type"),
        };
        Ok(self.expr_of(pos, kind))
    }

    /// Behind `[`.
    fn array_type(&mut self) -> Checked<ExprKind> {
        if self.eat("]") {
            return Ok(ExprKind::SliceType(Box::new(self.ty()?)));
        }
        let mut length = None;
        if !self.eat("...") {
            let level = std::mem::replace(&mut self.literal_level, 1);
            length = Some(Box::new(self.expr()?));
            self.literal_level = level;
        }
        self.expect("]")?;
        Ok(ExprKind::ArrayType(length, Box::new(self.ty()?)))
    }

    /// `T`, `p.T` or `weak.Pointer[T]`.
    fn type_name(&mut self) -> Checked<Expr> {
        let pos = self.pos();
        let mut name = self.ident()?;
        if self.eat(".") {
            let member = self.name()?;
            name = self.expr_of(pos, ExprKind::Selector(Box::new(name), member));
            if self.eat("[") {
                let argument = self.ty()?;
                self.expect("]")?;
                let kind = ExprKind::Index(Box::new(name), Box::new(argument));
                name = self.expr_of(pos, kind);
            }
        }
        Ok(name)
    }

    fn struct_type(&mut self) -> Checked<ExprKind> {
        self.expect("struct")?;
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.eat("}") {
            let pos = self.pos();
            let next = self.tokens.get(self.at + 1).map(|token| &token.tok);
            let ends = matches!(next, Some(Tok::Sym(";" | "}" | ".")) | Some(Tok::Str(_)));
            if self.is("*") || matches!(self.tok(), Tok::Ident(_)) && ends {
                let ty = self.ty()?;
                let named = match &ty.kind {
                    ExprKind::Star(inner) => &inner.kind,
                    other => other,
                };
                let (ExprKind::Ident(name) | ExprKind::Selector(_, name)) = named else {
                    return fault(pos, "syntax error: embedded field must be a type name");
                };
                fields.push(FieldDecl {
                    pos,
                    name: name.clone(),
                    ty,
                    embedded: true,
                });
            } else {
                let mut names = vec![(self.pos(), self.name()?)];
                while self.eat(",") {
                    names.push((self.pos(), self.name()?));
                }
                let ty = self.ty()?;
                fields.extend(names.into_iter().map(|(pos, name)| FieldDecl {
                    pos,
                    name,
                    ty: ty.clone(),
                    embedded: false,
                }));
            }
            if matches!(self.tok(), Tok::Str(_)) {
                return fault(self.pos(), "struct tags are outside minigo's subset");
            }
            self.end_statement()?;
        }
        Ok(ExprKind::StructType(fields))
    }

    fn interface_type(&mut self) -> Checked<ExprKind> {
        self.expect("interface")?;
        self.expect("{")?;
        let mut elems = Vec::new();
        while !self.eat("}") {
            let pos = self.pos();
            let next = self.tokens.get(self.at + 1).map(|token| &token.tok);
            if matches!(self.tok(), Tok::Ident(_)) && matches!(next, Some(Tok::Sym("("))) {
                let name = self.name()?;
                elems.push(InterfaceElem::Method(name, self.signature()?));
            } else {
                elems.push(InterfaceElem::Embedded(self.type_name()?));
            }
            if self.is("|") || self.is("~") {
                return fault(pos, "type sets are outside minigo's subset");
            }
            self.end_statement()?;
        }
        Ok(ExprKind::InterfaceType(elems))
    }
}
