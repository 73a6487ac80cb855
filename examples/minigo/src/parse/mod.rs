//! Tokens to a syntax tree: files, declarations and types.
#![forbid(unsafe_code)]

mod expr;
mod stmt;
mod switch;
mod ty;

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
}
