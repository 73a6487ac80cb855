//! Source text to tokens, with Go's rule for semicolons at the ends of lines.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::source::{Checked, Pos, fault};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tok {
    Ident(Arc<str>),
    Int(i128),
    Float(f64),
    Char(i128),
    Str(Arc<[u8]>),
    /// A keyword or an operator.
    Sym(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) pos: Pos,
}

const KEYWORDS: &[&str] = &[
    "break",
    "case",
    "chan",
    "const",
    "continue",
    "default",
    "defer",
    "else",
    "fallthrough",
    "for",
    "func",
    "go",
    "goto",
    "if",
    "import",
    "interface",
    "map",
    "package",
    "range",
    "return",
    "select",
    "struct",
    "switch",
    "type",
    "var",
];

/// Longer ones first.
const OPERATORS: &[&str] = &[
    "&^=", "<<=", ">>=", "...", "&&", "||", "<-", "++", "--", "==", "!=", "<=", ">=", ":=", "+=",
    "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<", ">>", "&^", "+", "-", "*", "/", "%", "&", "|",
    "^", "<", ">", "=", "!", "(", ")", "[", "]", "{", "}", ",", ";", ".", ":", "~",
];

/// Tokens after which the end of a line is a semicolon, besides names and literals.
const ENDS: &[&str] = &[
    "break",
    "continue",
    "fallthrough",
    "return",
    "++",
    "--",
    ")",
    "]",
    "}",
];

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    start: Pos,
    out: Vec<Token>,
}

/// Scans a file whose text begins at `start`.
pub(crate) fn scan(text: &str, start: Pos) -> Checked<Vec<Token>> {
    let mut scanner = Scanner {
        text,
        at: 0,
        start,
        out: Vec::new(),
    };
    while scanner.token()? {}
    Ok(scanner.out)
}

impl<'a> Scanner<'a> {
    fn pos(&self, at: usize) -> Pos {
        Pos(self.start.0 + at as u32)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push(&mut self, tok: Tok, at: usize) {
        let pos = self.pos(at);
        self.out.push(Token { tok, pos });
    }

    fn end_line(&mut self) {
        let ends = match self.out.last().map(|token| &token.tok) {
            Some(Tok::Sym(symbol)) => ENDS.contains(symbol),
            Some(_) => true,
            None => false,
        };
        if ends {
            self.push(Tok::Sym(";"), self.at);
        }
    }

    /// Scans one token; returns false at the end.
    fn token(&mut self) -> Checked<bool> {
        let Some(c) = self.rest().chars().next() else {
            self.end_line();
            self.push(Tok::End, self.at);
            return Ok(false);
        };
        let from = self.at;
        if c == '\n' {
            self.end_line();
            self.at += 1;
        } else if matches!(c, ' ' | '\t' | '\r') {
            self.at += 1;
        } else if self.rest().starts_with("//") {
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        } else if self.rest().starts_with("/*") {
            let Some(length) = self.rest().find("*/") else {
                return fault(self.pos(from), "comment not terminated");
            };
            if self.rest()[..length].contains('\n') {
                self.end_line();
            }
            self.at += length + 2;
        } else if c.is_alphabetic() || c == '_' {
            let rest = self.rest();
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let word = &rest[..length.unwrap_or(rest.len())];
            let keyword = KEYWORDS.iter().find(|keyword| **keyword == word);
            let tok = keyword.map_or_else(|| Tok::Ident(word.into()), |word| Tok::Sym(word));
            self.at += word.len();
            self.push(tok, from);
        } else if c.is_ascii_digit() || c == '.' && self.digit_follows() {
            let tok = self.number()?;
            self.push(tok, from);
        } else if c == '"' || c == '\'' {
            self.quoted(c)?;
        } else if c == '`' {
            let Some(length) = self.rest()[1..].find('`') else {
                return fault(self.pos(from), "string not terminated");
            };
            let bytes = self.rest()[1..=length].bytes().filter(|&b| b != b'\r');
            let bytes: Vec<u8> = bytes.collect();
            self.at += length + 2;
            self.push(Tok::Str(bytes.into()), from);
        } else {
            let operator = OPERATORS.iter().find(|op| self.rest().starts_with(**op));
            let Some(operator) = operator else {
                return fault(self.pos(from), format!("invalid character {c:?}"));
            };
            self.at += operator.len();
            self.push(Tok::Sym(operator), from);
        }
        Ok(true)
    }

    fn digit_follows(&self) -> bool {
        let next = self.rest().as_bytes().get(1);
        next.is_some_and(u8::is_ascii_digit)
    }

    fn number(&mut self) -> Checked<Tok> {
        let pos = self.pos(self.at);
        let rest = self.rest();
        let lower = rest.as_bytes().get(1).map(u8::to_ascii_lowercase);
        let radix = match (rest.as_bytes()[0], lower) {
            (b'0', Some(b'x')) => Some(16),
            (b'0', Some(b'o')) => Some(8),
            (b'0', Some(b'b')) => Some(2),
            _ => None,
        };
        if let Some(radix) = radix {
            let digits = &rest[2..];
            let end = digits.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let text = &digits[..end.unwrap_or(digits.len())];
            let value = i128::from_str_radix(&text.replace('_', ""), radix);
            self.at += 2 + text.len();
            return match value {
                Ok(value) => Ok(Tok::Int(value)),
                Err(_) => fault(
                    pos,
                    "integer literal is malformed or has more than 127 bits",
                ),
            };
        }
        let bytes = rest.as_bytes();
        let mut end = 0;
        while let Some(&b) = bytes.get(end) {
            let sign = matches!(b, b'+' | b'-') && matches!(bytes[end - 1], b'e' | b'E');
            if !(b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'e' | b'E') || end > 0 && sign) {
                break;
            }
            end += 1;
        }
        let text = rest[..end].replace('_', "");
        self.at += end;
        if bytes.get(end) == Some(&b'i') {
            return fault(pos, "complex numbers are outside minigo's subset");
        }
        if text.contains(['.', 'e', 'E']) {
            return match text.parse() {
                Ok(value) => Ok(Tok::Float(value)),
                Err(_) => fault(pos, "malformed number"),
            };
        }
        let octal = text.len() > 1 && text.starts_with('0');
        match i128::from_str_radix(&text, if octal { 8 } else { 10 }) {
            Ok(value) => Ok(Tok::Int(value)),
            Err(_) => fault(
                pos,
                "integer literal is malformed or has more than 127 bits",
            ),
        }
    }

    /// A string or character in quotes.
    fn quoted(&mut self, quote: char) -> Checked<()> {
        let from = self.at;
        let mut bytes = Vec::new();
        let (mut values, mut value) = (0, 0);
        self.at += 1;
        loop {
            let Some(c) = self.rest().chars().next().filter(|&c| c != '\n') else {
                return fault(self.pos(from), "literal not terminated");
            };
            self.at += c.len_utf8();
            if c == quote {
                break;
            }
            values += 1;
            if c != '\\' {
                value = c as i128;
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                continue;
            }
            value = self.escape(quote, &mut bytes)?;
        }
        if quote == '"' {
            self.push(Tok::Str(bytes.into()), from);
            return Ok(());
        }
        if values != 1 {
            return fault(self.pos(from), "character literal must have one character");
        }
        self.push(Tok::Char(value), from);
        Ok(())
    }

    /// What follows a backslash: adds its bytes, returns its value.
    fn escape(&mut self, quote: char, bytes: &mut Vec<u8>) -> Checked<i128> {
        let at = self.at - 1;
        let Some(c) = self.rest().chars().next() else {
            return fault(self.pos(at), "literal not terminated");
        };
        self.at += c.len_utf8();
        let simple = match c {
            'n' => Some(b'\n'),
            't' => Some(b'\t'),
            'r' => Some(b'\r'),
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'v' => Some(11),
            '\\' => Some(b'\\'),
            _ if c == quote => Some(c as u8),
            _ => None,
        };
        if let Some(byte) = simple {
            bytes.push(byte);
            return Ok(byte.into());
        }
        let (digits, radix, skipped) = match c {
            'x' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            '0'..='7' => (3, 8, 1),
            _ => return fault(self.pos(at), "unknown escape"),
        };
        let begin = self.at - skipped;
        let text = self.text.get(begin..begin + digits).unwrap_or("");
        let Ok(value) = u32::from_str_radix(text, radix) else {
            return fault(self.pos(at), "malformed escape");
        };
        self.at = begin + digits;
        if matches!(c, 'u' | 'U') {
            let Some(c) = char::from_u32(value) else {
                return fault(self.pos(at), "escape is not a Unicode character");
            };
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
        } else if let Ok(byte) = u8::try_from(value) {
            bytes.push(byte);
        } else {
            return fault(self.pos(at), "escape is not a byte");
        }
        Ok(value.into())
    }
}
