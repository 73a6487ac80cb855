//! The parser of C's declarations. One pass, one token ahead, bounded nesting, every refusal with
//! its place.
#![forbid(unsafe_code)]

use super::lex::{Lexer, OpenComment, Token};
use super::specifiers::{Specifiers, is_reserved};
use super::{Declarations, Prototype};
use crate::quote::short;
use crate::signature::{Kind, MAX_DEPTH, MAX_WEIGHT, ParseError, ParseReason, Type, TypeError};

/// Byte offset and reason.
pub(super) type Refusal = Box<(usize, ParseReason)>;

/// What a declaration declares, or a part of it on the way there.
#[derive(Clone, Debug)]
pub(super) enum Declared {
    Void,
    /// A type with values.
    Object(Type),
    /// A struct or union that is not defined yet, by its tag.
    Incomplete(String),
    /// `T[]`
    Unsized(Type),
    Function(Box<Prototype>),
}

/// What a declarator makes of its type.
enum Derivation {
    Pointer,
    Array(Option<u64>),
    Function {
        params: Vec<Type>,
        is_variadic: bool,
    },
}

/// A declarator that has been read.
#[derive(Default)]
pub(super) struct Declarator<'a> {
    /// The name that is declared, with its place.
    pub(super) name: Option<(usize, &'a str)>,
    /// From the name outwards, each with its place.
    derivations: Vec<(usize, Derivation)>,
}

pub(super) struct Parser<'a, 's> {
    pub(super) lexer: Lexer<'a>,
    token: Token<'a>,
    at: usize,
    types: u64,
    /// `#pragma pack`, the innermost last.
    pub(super) pack: Vec<Option<u64>>,
    pub(super) scope: &'s mut Declarations,
}

impl<'a, 's> Parser<'a, 's> {
    /// Reads all of a text.
    pub(super) fn read<T>(
        subject: &'static str,
        text: &'a str,
        scope: &'s mut Declarations,
        body: impl FnOnce(&mut Parser<'a, 's>) -> Result<T, Refusal>,
    ) -> Result<T, ParseError> {
        let mut parser = Parser {
            lexer: Lexer::new(text),
            token: Token::End,
            at: 0,
            types: 0,
            pack: vec![None],
            scope,
        };
        let result = parser.next().and_then(|()| {
            let value = body(&mut parser)?;
            match parser.token {
                Token::End => Ok(value),
                _ => Err(parser.unexpected("end of text")),
            }
        });
        result.map_err(|refusal| {
            let (offset, reason) = *refusal;
            ParseError {
                subject,
                offset,
                column: text[..offset].chars().count() + 1,
                reason,
            }
        })
    }

    /// The token that is next.
    pub(super) fn peek(&self) -> Token<'a> {
        self.token
    }

    /// Its first byte.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Takes the token, and directives behind it.
    pub(super) fn next(&mut self) -> Result<(), Refusal> {
        self.step()?;
        while self.token == Token::Sign("#") {
            self.directive()?;
        }
        Ok(())
    }

    pub(super) fn step(&mut self) -> Result<(), Refusal> {
        let next = self.lexer.token().map_err(|OpenComment(at)| {
            self.refusal(at, "a comment without end".to_owned(), "\"*/\"")
        })?;
        (self.at, self.token) = next;
        Ok(())
    }

    pub(super) fn take(&mut self, sign: &str) -> Result<bool, Refusal> {
        let found = self.token == Token::Sign(sign);
        if found {
            self.next()?;
        }
        Ok(found)
    }

    pub(super) fn expect(&mut self, sign: &str, wanted: &'static str) -> Result<(), Refusal> {
        match self.take(sign)? {
            true => Ok(()),
            false => Err(self.unexpected(wanted)),
        }
    }

    pub(super) fn refusal(&self, at: usize, found: String, wanted: &'static str) -> Refusal {
        Box::new((at, ParseReason::Syntax { found, wanted }))
    }

    pub(super) fn unexpected(&self, wanted: &'static str) -> Refusal {
        let found = match self.token {
            Token::End => "end of text".to_owned(),
            Token::Word(text) | Token::Number(text) | Token::Sign(text) => {
                format!("{:?}", short(text).to_string())
            }
        };
        self.refusal(self.at, found, wanted)
    }

    /// Adds the place where a type begins to its constructor's error.
    pub(super) fn built<T>(at: usize, result: Result<T, TypeError>) -> Result<T, Refusal> {
        result.map_err(|error| Box::new((at, ParseReason::Type(error))))
    }

    /// Refuses to nest too deep.
    pub(super) fn nested(&self, level: u32) -> Result<(), Refusal> {
        if level > MAX_DEPTH {
            return Parser::built(self.at, Err(TypeError::TooDeep { found: level }));
        }
        Ok(())
    }

    /// Counts types, so that a long text is refused before all of it is kept, or compared.
    pub(super) fn counted(&mut self, types: u64) -> Result<(), Refusal> {
        self.types = self.types.saturating_add(types);
        if self.types > MAX_WEIGHT {
            return Parser::built(self.at, Err(TypeError::TooHeavy));
        }
        Ok(())
    }

    /// A declarator, with or without a name.
    pub(super) fn declarator(
        &mut self,
        specifiers: &mut Specifiers,
        level: u32,
    ) -> Result<Declarator<'a>, Refusal> {
        let mut declarator = Declarator::default();
        self.derive(&mut declarator, specifiers, level)?;
        self.attributes(specifiers)?;
        Ok(declarator)
    }

    fn derive(
        &mut self,
        declarator: &mut Declarator<'a>,
        specifiers: &mut Specifiers,
        level: u32,
    ) -> Result<(), Refusal> {
        self.nested(level)?;
        let (start, mut pointers) = (self.at, 0);
        while self.take("*")? {
            self.counted(1)?;
            pointers += 1;
            self.qualifiers()?;
        }
        self.attributes(specifiers)?;
        match self.token {
            // Behind a whole type even the name of a type is a name.
            Token::Word(word) if !is_reserved(word) => {
                declarator.name = Some((self.at, word));
                self.next()?;
            }
            Token::Sign("(") => {
                let open = self.at;
                self.next()?;
                // Behind it are parameters, if no declarator can be.
                match self.token {
                    Token::Sign("*" | "(" | "[") => self.inner(declarator, specifiers, level)?,
                    Token::Word(word) if !self.begins_type(word) => {
                        self.inner(declarator, specifiers, level)?;
                    }
                    _ => self.parameters(declarator, open, level)?,
                }
            }
            _ => {}
        }
        loop {
            let at = self.at;
            if self.take("(")? {
                self.parameters(declarator, at, level)?;
            } else if self.take("[")? {
                let length = self.length(level)?;
                declarator.derivations.push((at, Derivation::Array(length)));
            } else {
                break;
            }
        }
        let pointers = (0..pointers).map(|_| (start, Derivation::Pointer));
        declarator.derivations.extend(pointers);
        Ok(())
    }

    fn inner(
        &mut self,
        declarator: &mut Declarator<'a>,
        specifiers: &mut Specifiers,
        level: u32,
    ) -> Result<(), Refusal> {
        self.derive(declarator, specifiers, level + 1)?;
        self.expect(")", "\")\"")
    }

    fn length(&mut self, level: u32) -> Result<Option<u64>, Refusal> {
        self.counted(1)?;
        self.qualifiers()?;
        if self.take("]")? {
            return Ok(None);
        }
        let at = self.at;
        let length = self.count(level + 1, "an array length that is not negative")?;
        if length > i64::MAX as u64 {
            return Parser::built(at, Err(TypeError::ArrayLength { found: length }));
        }
        self.expect("]", "\"]\"")?;
        Ok(Some(length))
    }

    /// Parameters, behind their parenthesis.
    fn parameters(
        &mut self,
        declarator: &mut Declarator<'a>,
        open: usize,
        level: u32,
    ) -> Result<(), Refusal> {
        self.nested(level + 1)?;
        let (mut params, mut is_variadic) = (Vec::new(), false);
        if !self.take(")")? {
            loop {
                let at = self.at;
                if self.take("...")? {
                    is_variadic = true;
                    self.expect(")", "\")\"")?;
                    break;
                }
                let mut specifiers = self.specifiers(level + 1)?;
                let parameter = self.declarator(&mut specifiers, level + 1)?;
                let is_plain = parameter.name.is_none() && params.is_empty();
                let declared = self.declared(&specifiers, parameter)?;
                match declared {
                    Declared::Void if is_plain && self.token == Token::Sign(")") => {
                        self.next()?;
                        break;
                    }
                    declared => params.push(self.parameter(at, declared)?),
                }
                if self.take(")")? {
                    break;
                }
                self.expect(",", "\",\" or \")\"")?;
            }
        }
        let function = Derivation::Function {
            params,
            is_variadic,
        };
        declarator.derivations.push((open, function));
        Ok(())
    }

    /// What a parameter that is declared so has as its type.
    fn parameter(&self, at: usize, declared: Declared) -> Result<Type, Refusal> {
        match declared {
            Declared::Object(ty) => match ty.kind() {
                Kind::Array(_, elem) => Parser::built(at, pointer_to(Some(elem.clone()))),
                _ => Ok(ty),
            },
            Declared::Unsized(elem) => Parser::built(at, pointer_to(Some(elem))),
            Declared::Function(_) => Ok(Type::unsafe_pointer()),
            Declared::Void => Err(self.refusal(at, "void".to_owned(), "a parameter with a value")),
            Declared::Incomplete(tag) => Err(self.incomplete(at, &tag)),
        }
    }

    pub(super) fn incomplete(&self, at: usize, tag: &str) -> Refusal {
        let found = format!("{}, which is not defined", short(tag));
        self.refusal(at, found, "a defined type, or a pointer to it")
    }

    /// What specifiers and a declarator declare together.
    pub(super) fn declared(
        &mut self,
        specifiers: &Specifiers,
        declarator: Declarator<'a>,
    ) -> Result<Declared, Refusal> {
        let mut declared = self.base(specifiers)?;
        for (at, derivation) in declarator.derivations.into_iter().rev() {
            declared = self.derived(at, declared, derivation)?;
        }
        Ok(declared)
    }

    fn derived(
        &self,
        at: usize,
        from: Declared,
        derivation: Derivation,
    ) -> Result<Declared, Refusal> {
        match derivation {
            Derivation::Pointer => {
                let pointee = match from {
                    Declared::Object(ty) => Some(ty),
                    _ => None,
                };
                Ok(Declared::Object(Parser::built(at, pointer_to(pointee))?))
            }
            Derivation::Array(length) => match (from, length) {
                (Declared::Object(elem), None) => Ok(Declared::Unsized(elem)),
                (Declared::Object(elem), Some(length)) => Ok(Declared::Object(Parser::built(
                    at,
                    Type::array(length, elem),
                )?)),
                (Declared::Incomplete(tag), _) => Err(self.incomplete(at, &tag)),
                _ => {
                    let found = "an array of void, functions or arrays without length";
                    Err(self.refusal(at, found.to_owned(), "elements with a size"))
                }
            },
            Derivation::Function {
                params,
                is_variadic,
            } => {
                let result = match from {
                    Declared::Void => None,
                    Declared::Object(ty) if !matches!(ty.kind(), Kind::Array(..)) => Some(ty),
                    Declared::Incomplete(tag) => return Err(self.incomplete(at, &tag)),
                    _ => {
                        let found = "a function that returns an array or a function".to_owned();
                        return Err(self.refusal(at, found, "a result with a value, or void"));
                    }
                };
                let prototype = Prototype {
                    name: None,
                    params,
                    result,
                    is_variadic,
                };
                Ok(Declared::Function(Box::new(prototype)))
            }
        }
    }
}

/// A pointer: to a scalar, or to a pointer to one, by its type, since callers may want to know; to
/// anything else as `unsafe.Pointer`. All travel alike.
pub(super) fn pointer_to(pointee: Option<Type>) -> Result<Type, TypeError> {
    match pointee {
        Some(ty) if is_pointee(&ty) => Type::pointer_to(ty),
        _ => Ok(Type::unsafe_pointer()),
    }
}

/// Whether a pointer to it keeps its type.
pub(super) fn is_pointee(ty: &Type) -> bool {
    match ty.kind() {
        Kind::Pointer(to) => is_pointee(to),
        Kind::UnsafePointer => true,
        Kind::Array(..) | Kind::Struct(_) | Kind::C(_) => false,
        kind => kind.basic_name().is_some() && *kind != Kind::String,
    }
}
