//! The parser of Go's type syntax. One pass, bounded nesting, every refusal with its place.
#![forbid(unsafe_code)]

mod c;
mod list;
mod members;
mod tag;
#[cfg(test)]
mod tests;

pub(super) use tag::write_tag;

use std::str::FromStr;

use super::build::{is_identifier, is_keyword, is_name_start, word_len};
use super::{ChanDir, MAX_DEPTH, MAX_WEIGHT, ParseError, ParseReason, Signature, Type, TypeError};
use crate::quote::short;

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
/// Parameters and results may have names, as in Go; the signature does not keep them.
///
/// # Errors
/// Where and why the text is no signature.
///
/// ```
/// use fing_stubs::signature::{Type, parse_signature_with};
/// let node = Type::named("main.Node", "struct { Next *int }".parse()?).unwrap();
/// let resolve = |name: &str| (name == "main.Node").then(|| node.clone());
/// let sig = parse_signature_with("func(n *main.Node)", &resolve)?;
/// assert_eq!(sig.to_string(), "func(*main.Node)");
///
/// let error = parse_signature_with("func(main.Nod)", &resolve).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "signature: column 6: found \"main.Nod\", wanted a type: Go's own, or a name defined here",
/// );
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
    #[cfg(test)]
    steps: std::cell::Cell<usize>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, resolve: &'a dyn Fn(&str) -> Option<Type>) -> Parser<'a> {
        Parser {
            text,
            at: 0,
            types: 0,
            resolve,
            #[cfg(test)]
            steps: Default::default(),
        }
    }

    fn read<T>(
        subject: &'static str,
        text: &'a str,
        resolve: &'a dyn Fn(&str) -> Option<Type>,
        body: impl FnOnce(&mut Parser<'a>) -> Result<T, Refusal>,
    ) -> Result<T, ParseError> {
        let mut parser = Parser::new(text, resolve);
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

    /// Counts characters that are looked at, for a test that they are not looked at over and over.
    fn step(&self, _characters: usize) {
        #[cfg(test)]
        self.steps.set(self.steps.get() + _characters);
    }

    /// Next character that is no white space, without taking it.
    fn peek(&mut self) -> Option<char> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = bytes.get(self.at) {
            self.at += 1;
        }
        self.step(self.at - start + 1);
        match *bytes.get(self.at)? {
            ascii if ascii.is_ascii() => Some(char::from(ascii)),
            _ => self.text[self.at..].chars().next(),
        }
    }

    #[inline]
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
        let end = word_len(rest);
        self.step(end);
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
        self.path_of(word)
    }

    /// The path that begins with the word that starts here.
    fn path_of(&self, word: &str) -> &'a str {
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
                path => format!("{:?}", short(path).to_string()),
            },
        };
        Box::new((self.at, ParseReason::Syntax { found, wanted }))
    }

    /// Adds the place where a type begins to its constructor's error.
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
        let (func, fixed) = self.signature_func()?;
        let signature = Signature::new(receiver, func.params, func.results, func.variadic);
        Parser::built(
            start,
            signature.and_then(|signature| match fixed {
                Some(fixed) => signature.c_variadic(fixed),
                None => Ok(signature),
            }),
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
                let (func, _) = self.func(level + 1)?;
                Type::func(func.params, func.results, func.variadic)
            }
            "struct" => return self.structure(start, level),
            "interface" => return self.interface(start, level),
            word => match self.path_of(word) {
                "C.struct" => return self.record(start, level, false),
                "C.union" => return self.record(start, level, true),
                "C.vector" => return self.vector(start, level),
                path => return self.by_name(path),
            },
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

    /// The type of this name, if it is Go's own or defined here.
    fn known(&self, path: &str) -> Option<Type> {
        Type::predeclared(path).or_else(|| (self.resolve)(path))
    }

    fn by_name(&mut self, path: &str) -> Result<Type, Refusal> {
        let Some(ty) = self.known(path) else {
            self.step(path.len());
            if !path.split('.').all(is_identifier) {
                return Err(self.unexpected("a type"));
            }
            let before = self.text[..self.at].trim_end();
            self.step(self.at - before.len());
            let found = short(path).to_string();
            let reason = ParseReason::UnknownType {
                found,
                behind_pointer: before.ends_with('*'),
            };
            return Err(Box::new((self.at, reason)));
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
        let digits = self.digits();
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

    /// The digits that stand here, without taking them.
    fn digits(&self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit());
        let digits = &rest[..end.unwrap_or(rest.len())];
        self.step(digits.len());
        digits
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

    fn name(&mut self, wanted: &'static str) -> Result<&'a str, Refusal> {
        let word = self.peek_word();
        self.step(word.len());
        if word.is_empty() || is_keyword(word) {
            return Err(self.unexpected(wanted));
        }
        self.at += word.len();
        Ok(word)
    }
}
