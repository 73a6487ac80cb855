//! Tokens to a syntax tree: what all of the parser uses, files and declarations.

mod expr;
mod stmt;

use std::sync::Arc;

use crate::ast::*;
use crate::scan::{END, Tok, scan};
use crate::source::{Checked, Pos, fault};

/// How deep expressions, types and statements may nest, so that no program overflows the stack of
/// the compiler.
const MAX_DEPTH: u32 = 100;

/// Where the parser is, which says what may follow an operand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    /// In the head of a statement, where `{` begins its block.
    Head,
    /// In a type, behind which something else may begin with a bracket.
    Type,
}

struct Parser<'a> {
    tokens: Vec<(Tok, Pos)>,
    at: usize,
    /// The next expression's number, of all files.
    next_id: &'a mut ExprId,
    depth: u32,
    place: Place,
}

/// Parses one file whose text begins at `start`.
pub(crate) fn parse(text: &str, start: Pos, next_id: &mut ExprId) -> Checked<File> {
    let mut parser = Parser {
        tokens: scan(text, start)?,
        at: 0,
        next_id,
        depth: 0,
        place: Place::Anywhere,
    };
    parser.expect("package")?;
    let mut file = File {
        package: parser.name()?,
        imports: Vec::new(),
        decls: Vec::new(),
    };
    parser.expect(";")?;
    while !parser.is(END) {
        if parser.is("import") && !file.decls.is_empty() {
            let message = "syntax error: imports must appear before others";
            return fault(parser.pos(), message);
        }
        if parser.eat("import") {
            file.imports.extend(parser.group(Parser::import)?);
        } else if parser.eat("func") {
            file.decls.push(parser.func_decl()?);
        } else {
            file.decls.extend(parser.decl()?);
        }
        parser.expect(";")?;
    }
    Ok(file)
}

impl Parser<'_> {
    /// The token `n` behind the next one; nothing is behind the last one, [`END`].
    fn ahead(&self, n: usize) -> &Tok {
        &self.tokens[self.at + n].0
    }

    fn pos(&self) -> Pos {
        self.tokens[self.at].1
    }

    /// The keyword or operator that is next, else nothing.
    fn symbol(&self) -> &'static str {
        match self.ahead(0) {
            Tok::Sym(symbol) => symbol,
            Tok::Operand(_) => "",
        }
    }

    fn is(&self, symbol: &str) -> bool {
        self.symbol() == symbol
    }

    fn is_name(&self) -> bool {
        matches!(self.ahead(0), Tok::Operand(ExprKind::Ident(_)))
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Checked<()> {
        match self.eat(symbol) {
            true => Ok(()),
            false => self.unexpected(symbol),
        }
    }

    fn unexpected<T>(&self, wanted: &str) -> Checked<T> {
        let found = match self.ahead(0) {
            Tok::Operand(ExprKind::Ident(name)) => &format!("name {name}"),
            Tok::Operand(_) => "literal",
            Tok::Sym(symbol) => symbol,
        };
        let show = |symbol| match symbol {
            ";" => "newline or semicolon",
            "," => "comma",
            symbol => symbol,
        };
        let (found, wanted) = (show(found), show(wanted));
        let message = format!("syntax error: unexpected {found}, expected {wanted}");
        fault(self.pos(), message)
    }

    fn name(&mut self) -> Checked<Name> {
        let Tok::Operand(ExprKind::Ident(name)) = self.ahead(0).clone() else {
            return self.unexpected("name");
        };
        self.at += 1;
        Ok(name)
    }

    fn ident(&mut self) -> Checked<Expr> {
        let pos = self.pos();
        let name = self.name()?;
        Ok(self.make(pos, ExprKind::Ident(name)))
    }

    fn make(&mut self, pos: Pos, kind: ExprKind) -> Expr {
        let id = *self.next_id;
        *self.next_id += 1;
        Expr { id, pos, kind }
    }

    /// Runs a part of the parser at a place, one level deeper.
    fn nested<T>(&mut self, place: Place, run: impl FnOnce(&mut Self) -> Checked<T>) -> Checked<T> {
        if self.depth == MAX_DEPTH {
            return self.too_deep();
        }
        let outer = std::mem::replace(&mut self.place, place);
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        self.place = outer;
        result
    }

    fn too_deep<T>(&self) -> Checked<T> {
        fault(self.pos(), "nested too deeply for minigo")
    }

    /// One item or more, with commas between.
    fn separated<T>(&mut self, item: impl Fn(&mut Self) -> Checked<T>) -> Checked<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Items in brackets, with separators between and perhaps behind the last one.
    fn list<T>(
        &mut self,
        [open, separator, close]: [&str; 3],
        mut item: impl FnMut(&mut Self) -> Checked<T>,
    ) -> Checked<Vec<T>> {
        self.expect(open)?;
        let outer = std::mem::replace(&mut self.place, Place::Anywhere);
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(item(self)?);
            if !self.is(close) {
                self.expect(separator)?;
            }
        }
        self.place = outer;
        Ok(items)
    }

    /// One item, or a group of them in brackets.
    fn group<T>(&mut self, mut item: impl FnMut(&mut Self) -> Checked<T>) -> Checked<Vec<T>> {
        match self.is("(") {
            true => self.list(["(", ";", ")"], item),
            false => Ok(vec![item(self)?]),
        }
    }

    fn import(&mut self) -> Checked<Import> {
        let pos = self.pos();
        if self.is(".") {
            return fault(pos, "imports without a name are outside minigo's subset");
        }
        let name = self.is_name().then(|| self.name()).transpose()?;
        let Tok::Operand(ExprKind::Str(path)) = self.ahead(0).clone() else {
            return self.unexpected("import path");
        };
        self.at += 1;
        let path = String::from_utf8_lossy(&path).into_owned();
        Ok(Import { pos, name, path })
    }

    /// `var`, `const` or `type`, one or a group.
    fn decl(&mut self) -> Checked<Vec<Decl>> {
        if self.eat("type") {
            return self.group(Self::type_spec);
        }
        if self.eat("var") {
            return self.group(|parser| parser.value_spec().map(Decl::Var));
        }
        if !self.eat("const") {
            return self.unexpected("declaration");
        }
        let mut iota = -1;
        let mut last: Option<ValueSpec> = None;
        self.group(|parser| {
            let mut spec = parser.value_spec()?;
            // Without values, those of the constants before are repeated.
            let repeats = spec.values.is_empty() && spec.ty.is_none();
            if let Some(last) = last.take_if(|_| repeats) {
                (spec.ty, spec.values) = (last.ty, last.values);
            }
            last = Some(spec.clone());
            iota += 1;
            Ok(Decl::Const(spec, iota))
        })
    }

    /// The name that a type or a function is declared with.
    fn declared_name(&mut self) -> Checked<Name> {
        let name = self.name()?;
        if self.is("[")
            && let Tok::Operand(ExprKind::Ident(_)) = self.ahead(1)
            && let Tok::Operand(ExprKind::Ident(_)) | Tok::Sym("," | "interface") = self.ahead(2)
        {
            return fault(self.pos(), "type parameters are outside minigo's subset");
        }
        Ok(name)
    }

    fn type_spec(&mut self) -> Checked<Decl> {
        Ok(Decl::Type(Arc::new(TypeSpec {
            pos: self.pos(),
            name: self.declared_name()?,
            alias: self.eat("="),
            ty: self.ty()?,
        })))
    }

    /// Names with a type, values or both.
    fn value_spec(&mut self) -> Checked<ValueSpec> {
        Ok(ValueSpec {
            pos: self.pos(),
            names: self.separated(Self::ident)?,
            ty: self.optional_ty()?,
            values: match self.eat("=") {
                true => self.exprs()?,
                false => Vec::new(),
            },
        })
    }

    fn func_decl(&mut self) -> Checked<Decl> {
        let mut receiver = None;
        if self.is("(") {
            let pos = self.pos();
            let (mut params, variadic) = self.params(false)?;
            if variadic {
                return fault(pos, "invalid use of ... in a receiver");
            }
            receiver = params.pop();
            if receiver.is_none() || !params.is_empty() {
                return fault(pos, "method has not exactly one receiver");
            }
        }
        Ok(Decl::Func(Arc::new(FuncDecl {
            pos: self.pos(),
            name: self.declared_name()?,
            receiver,
            ty: self.signature()?,
            body: self.is("{").then(|| self.block()).transpose()?,
        })))
    }
}
