//! The parser of Go's type syntax. One pass, bounded nesting, every refusal with its place.
#![forbid(unsafe_code)]

use std::str::FromStr;
use std::sync::Arc;

use super::build::{is_identifier, is_name_part, is_name_start};
use super::{
    ChanDir, Field, FuncType, MAX_DEPTH, MAX_WEIGHT, Method, ParseError, ParseReason, Signature,
    Type, TypeError,
};

/// Reads a type; names that are none of Go's own go to `resolve`.
///
/// # Errors
/// Where and why the text is no type.
pub fn parse_type_with(
    text: &str,
    resolve: &dyn Fn(&str) -> Option<Type>,
) -> Result<Type, ParseError> {
    Parser::read("type", text, resolve, |parser| parser.ty(1))
}

/// Reads a signature; names that are none of Go's own (`main.Node`) go to `resolve`.
///
/// # Errors
/// Where and why the text is no signature.
///
/// ```
/// use fing_stubs::signature::{Type, parse_signature_with};
/// let node = Type::named("main.Node", "struct { Next *int }".parse()?).unwrap();
/// let sig = parse_signature_with("func(*main.Node)", &|name| (name == "main.Node").then(|| node.clone()))?;
/// assert_eq!(sig.to_string(), "func(*main.Node)");
///
/// let error = parse_signature_with("func(*main.Nod)", &|_| None).unwrap_err();
/// assert_eq!(error.to_string(), "signature: column 7: found \"main.Nod\", wanted a type");
/// # Ok::<(), fing_stubs::signature::ParseError>(())
/// ```
pub fn parse_signature_with(
    text: &str,
    resolve: &dyn Fn(&str) -> Option<Type>,
) -> Result<Signature, ParseError> {
    Parser::read("signature", text, resolve, Parser::signature)
}

impl FromStr for Type {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Type, ParseError> {
        parse_type_with(text, &|_| None)
    }
}

impl FromStr for Signature {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Signature, ParseError> {
        parse_signature_with(text, &|_| None)
    }
}

/// Byte offset and reason; the column is counted once, at the end.
type Refusal = Box<(usize, ParseReason)>;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    types: u64,
    resolve: &'a dyn Fn(&str) -> Option<Type>,
}

type Labels = Vec<Option<Arc<str>>>;

impl<'a> Parser<'a> {
    fn read<T>(
        subject: &'static str,
        text: &'a str,
        resolve: &'a dyn Fn(&str) -> Option<Type>,
        body: impl FnOnce(&mut Parser<'a>) -> Result<T, Refusal>,
    ) -> Result<T, ParseError> {
        let mut parser = Parser {
            text,
            at: 0,
            types: 0,
            resolve,
        };
        let result = body(&mut parser).and_then(|value| match parser.peek() {
            None => Ok(value),
            Some(_) => Err(parser.unexpected("end of text")),
        });
        result.map_err(|refusal| {
            let (offset, reason) = *refusal;
            let column = text[..offset].chars().count() + 1;
            ParseError {
                subject,
                offset,
                column,
                reason,
            }
        })
    }

    /// Next character that is no white space, without taking it.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at = self.text.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, token: &str) -> bool {
        self.peek();
        let found = self.text[self.at..].starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn expect(&mut self, token: &str, wanted: &'static str) -> Result<(), Refusal> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.unexpected(wanted))
        }
    }

    /// The identifier that starts here, without taking it.
    fn word_at(&self, at: usize) -> &'a str {
        let rest = &self.text[at..];
        if !rest.starts_with(is_name_start) {
            return "";
        }
        let end = rest.find(|c| !is_name_part(c)).unwrap_or(rest.len());
        &rest[..end]
    }

    fn peek_word(&mut self) -> &'a str {
        self.peek();
        self.word_at(self.at)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek_word() == word;
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// `main.Node` without taking it: identifiers joined by dots, no space between.
    fn peek_path(&mut self) -> &'a str {
        let word = self.peek_word();
        let start = self.at;
        let mut end = start + word.len();
        while self.text[end..].starts_with('.') {
            let part = self.word_at(end + 1);
            if part.is_empty() {
                break;
            }
            end += 1 + part.len();
        }
        &self.text[start..end]
    }

    fn unexpected(&mut self, wanted: &'static str) -> Refusal {
        let found = match self.peek() {
            None => "end of text".to_string(),
            Some(c) => match self.peek_path() {
                "" => format!("{:?}", c.to_string()),
                path if path.chars().count() > 40 => {
                    format!("{:?}...", path.chars().take(40).collect::<String>())
                }
                path => format!("{path:?}"),
            },
        };
        Box::new((self.at, ParseReason::Syntax { found, wanted }))
    }

    /// Puts the place where a type begins to what its constructor says.
    fn built<T>(at: usize, result: Result<T, TypeError>) -> Result<T, Refusal> {
        result.map_err(|error| Box::new((at, ParseReason::Type(error))))
    }

    fn signature(&mut self) -> Result<Signature, Refusal> {
        self.peek();
        let start = self.at;
        let mut receiver = None;
        if self.take_word("recv") {
            self.expect("(", "\"(\"")?;
            receiver = Some(self.ty(1)?);
            self.expect(")", "\")\"")?;
        }
        if !self.take_word("func") {
            return Err(self.unexpected(if receiver.is_some() {
                "\"func\""
            } else {
                "\"func\" or \"recv\""
            }));
        }
        let (func, _) = self.func(1, false)?;
        Parser::built(
            start,
            Signature::new(receiver, func.params, func.results, func.variadic),
        )
    }

    /// A type `level` deep.
    fn ty(&mut self, level: u32) -> Result<Type, Refusal> {
        self.peek();
        let start = self.at;
        if level > MAX_DEPTH {
            return Parser::built(start, Err(TypeError::TooDeep { found: level }));
        }
        self.count(start)?;
        let made = match self.peek_word() {
            "" => return self.symbolic(start, level),
            "map" => return self.map(start, level),
            "chan" => return self.chan(start, level),
            "func" => {
                self.at += "func".len();
                let (func, _) = self.func(level + 1, false)?;
                Type::func(func.params, func.results, func.variadic)
            }
            "struct" => return self.structure(start, level),
            "interface" => return self.interface(start, level),
            _ => return self.by_name(),
        };
        Parser::built(start, made)
    }

    /// Counts a type or method, so that a long text is refused before all of it is kept.
    fn count(&mut self, start: usize) -> Result<(), Refusal> {
        self.types += 1;
        if self.types > MAX_WEIGHT {
            return Parser::built(start, Err(TypeError::TooHeavy));
        }
        Ok(())
    }

    fn by_name(&mut self) -> Result<Type, Refusal> {
        let path = self.peek_path();
        let Some(ty) = Type::predeclared(path).or_else(|| (self.resolve)(path)) else {
            return Err(self.unexpected("a type"));
        };
        self.at += path.len();
        Ok(ty)
    }

    /// A type that starts with a sign: `*T`, `[]T`, `[N]T`, `<-chan T`, `(T)`.
    fn symbolic(&mut self, start: usize, level: u32) -> Result<Type, Refusal> {
        let made = if self.take("*") {
            Type::pointer_to(self.ty(level + 1)?)
        } else if self.take("[") {
            if self.take("]") {
                Type::slice(self.ty(level + 1)?)
            } else {
                let len = self.length()?;
                self.expect("]", "\"]\"")?;
                Type::array(len, self.ty(level + 1)?)
            }
        } else if self.take("<-") {
            if !self.take_word("chan") {
                return Err(self.unexpected("\"chan\""));
            }
            Type::chan(ChanDir::Receive, self.ty(level + 1)?)
        } else if self.take("(") {
            let inner = self.ty(level + 1)?;
            self.expect(")", "\")\"")?;
            Ok(inner)
        } else {
            return Err(self.unexpected("a type"));
        };
        Parser::built(start, made)
    }

    fn length(&mut self) -> Result<u64, Refusal> {
        self.peek();
        let rest = &self.text[self.at..];
        let digits = &rest[..rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len())];
        if digits.is_empty() {
            return Err(self.unexpected("an array length or \"]\""));
        }
        // More digits than a u64 holds are as wrong as the largest u64.
        let len = digits.parse().unwrap_or(u64::MAX);
        if len > i64::MAX as u64 {
            return Parser::built(self.at, Err(TypeError::ArrayLength { found: len }));
        }
        self.at += digits.len();
        Ok(len)
    }

    fn map(&mut self, start: usize, level: u32) -> Result<Type, Refusal> {
        self.at += "map".len();
        self.expect("[", "\"[\"")?;
        let key = self.ty(level + 1)?;
        self.expect("]", "\"]\"")?;
        let value = self.ty(level + 1)?;
        Parser::built(start, Type::map(key, value))
    }

    fn chan(&mut self, start: usize, level: u32) -> Result<Type, Refusal> {
        self.at += "chan".len();
        let dir = if self.take("<-") {
            ChanDir::Send
        } else {
            ChanDir::Both
        };
        let elem = self.ty(level + 1)?;
        Parser::built(start, Type::chan(dir, elem))
    }

    fn structure(&mut self, start: usize, level: u32) -> Result<Type, Refusal> {
        self.at += "struct".len();
        self.expect("{", "\"{\"")?;
        let mut fields = Vec::new();
        while !self.take("}") {
            let name = self.name("a field name or \"}\"")?;
            fields.push(Field::new(name, self.ty(level + 1)?));
            self.separator()?;
        }
        Parser::built(start, Type::structure(fields))
    }

    fn interface(&mut self, start: usize, level: u32) -> Result<Type, Refusal> {
        self.at += "interface".len();
        self.expect("{", "\"{\"")?;
        let mut methods = Vec::new();
        while !self.take("}") {
            let name = self.name("a method name or \"}\"")?;
            let (ty, labels) = self.func(level + 1, true)?;
            methods.push(Method {
                labels,
                ..Method::new(name, ty)
            });
            self.count(start)?;
            self.separator()?;
        }
        Parser::built(start, Type::interface(methods))
    }

    /// `;` between members; the last one may go without.
    fn separator(&mut self) -> Result<(), Refusal> {
        if self.take(";") || self.peek() == Some('}') {
            Ok(())
        } else {
            Err(self.unexpected("\";\" or \"}\""))
        }
    }

    fn name(&mut self, wanted: &'static str) -> Result<&'a str, Refusal> {
        let word = self.peek_word();
        if !is_identifier(word) {
            return Err(self.unexpected(wanted));
        }
        self.at += word.len();
        Ok(word)
    }

    /// What follows `func` or a method's name. The types in it are `level` deep.
    fn func(&mut self, level: u32, labelled: bool) -> Result<(FuncType, Labels), Refusal> {
        self.expect("(", "\"(\"")?;
        let mut labels = Vec::new();
        let (params, variadic) = self.list(level, labelled.then_some(&mut labels), true)?;
        let results = if self.take("(") {
            self.list(level, labelled.then_some(&mut labels), false)?.0
        } else if self.starts_type() {
            vec![self.ty(level)?]
        } else {
            Vec::new()
        };
        if labels.iter().all(Option::is_none) {
            labels.clear();
        }
        Ok((
            FuncType {
                params,
                results,
                variadic,
            },
            labels,
        ))
    }

    fn starts_type(&mut self) -> bool {
        match self.peek() {
            Some('*' | '[') => true,
            Some('<') => self.text[self.at..].starts_with("<-"),
            Some(c) => is_name_start(c),
            None => false,
        }
    }

    /// The rest of a list after its `(`.
    fn list(
        &mut self,
        level: u32,
        mut labels: Option<&mut Labels>,
        variadic_allowed: bool,
    ) -> Result<(Vec<Type>, bool), Refusal> {
        let mut types = Vec::new();
        let mut variadic = false;
        if self.take(")") {
            return Ok((types, variadic));
        }
        loop {
            if let Some(labels) = labels.as_deref_mut() {
                labels.push(self.label());
            }
            if variadic_allowed && self.take("...") {
                variadic = true;
                let start = self.at;
                let elem = self.ty(level + 1)?;
                types.push(Parser::built(start, Type::slice(elem))?);
            } else {
                types.push(self.ty(level)?);
            }
            if self.take(")") {
                return Ok((types, variadic));
            }
            if variadic {
                return Err(self.unexpected("\")\" after the variadic parameter"));
            }
            self.expect(",", "\",\" or \")\"")?;
        }
    }

    /// The name before a type in a method's parameters: an identifier that something other than `,`, `)` or `.` follows.
    fn label(&mut self) -> Option<Arc<str>> {
        let word = self.peek_word();
        let start = self.at;
        if !is_identifier(word) {
            return None;
        }
        self.at += word.len();
        let next = self.peek();
        let dots = self.text[self.at..].starts_with("...");
        if (matches!(next, Some(',' | ')' | '.')) && !dots) || next.is_none() {
            self.at = start;
            return None;
        }
        Some(word.into())
    }
}
