//! Source text to tokens, with Go's rule for semicolons at the ends of lines.

use crate::ast::ExprKind;
use crate::constant::exact;
use crate::source::{Checked, Pos, fault};

#[derive(Clone, Debug)]
pub(crate) enum Tok {
    /// A name or a literal, as the tree has it.
    Operand(ExprKind),
    /// A keyword, an operator, or [`END`].
    Sym(&'static str),
}

/// The last token.
pub(crate) const END: &str = "end of file";

const KEYWORDS: &str = "break case chan const continue default defer else fallthrough for func go \
    goto if import interface map package range return select struct switch type var";

/// Longer ones first.
const OPERATORS: &str = "&^= <<= >>= ... && || <- ++ -- == != <= >= := += -= *= /= %= &= |= ^= << \
    >> &^ + - * / % & | ^ < > = ! ( ) [ ] { } , ; . : ~";

/// Behind these, and operands, the end of a line is a semicolon.
const ENDS: &str = "break continue fallthrough return ++ -- ) ] }";

/// The mark of the order of bytes, which a file may begin with.
const MARK: char = '\u{feff}';

/// Scans a file whose text begins at `start`.
pub(crate) fn scan(text: &str, start: Pos) -> Checked<Vec<(Tok, Pos)>> {
    let mut tokens: Vec<(Tok, Pos)> = Vec::new();
    let mut at = if text.starts_with(MARK) {
        MARK.len_utf8()
    } else {
        0
    };
    if let Some(mark) = text[at..].find(MARK) {
        let pos = Pos(start.0 + (at + mark) as u32);
        return fault(pos, "invalid BOM in the middle of the file");
    }
    loop {
        let rest = &text[at..];
        let pos = Pos(start.0 + at as u32);
        let (tok, length) = token(rest, pos)?;
        let ends_line = rest.is_empty() || tok.is_none() && rest[..length].contains('\n');
        let ends_statement = tokens.last().is_some_and(|(tok, _)| match tok {
            Tok::Sym(symbol) => ENDS.split(' ').any(|end| end == *symbol),
            Tok::Operand(_) => true,
        });
        if ends_line && ends_statement {
            tokens.push((Tok::Sym(";"), pos));
        }
        tokens.extend(tok.map(|tok| (tok, pos)));
        if rest.is_empty() {
            return Ok(tokens);
        }
        at += length;
    }
}

/// The token that is next, none for a blank or a comment, and its length.
fn token(rest: &str, pos: Pos) -> Checked<(Option<Tok>, usize)> {
    let symbol = |symbol: &'static str| Ok((Some(Tok::Sym(symbol)), symbol.len()));
    let first = rest.chars().next().unwrap_or_default();
    let (operand, length) = match first {
        _ if rest.is_empty() => return symbol(END),
        ' ' | '\t' | '\r' | '\n' => return Ok((None, 1)),
        '/' if rest.starts_with("//") => return Ok((None, rest.find('\n').unwrap_or(rest.len()))),
        '/' if rest.starts_with("/*") => match rest[2..].find("*/") {
            Some(length) => return Ok((None, length + 4)),
            None => return fault(pos, "comment not terminated"),
        },
        '0'..='9' => number(rest, pos)?,
        '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest, pos)?,
        '"' | '\'' => quoted(rest, first, pos)?,
        '`' => {
            let Some(length) = rest[1..].find('`') else {
                return fault(pos, "string not terminated");
            };
            let text = rest[1..=length].replace('\r', "");
            (ExprKind::Str(text.into_bytes().into()), length + 2)
        }
        _ if first.is_alphabetic() || first == '_' => {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let word = &rest[..end.unwrap_or(rest.len())];
            match KEYWORDS.split(' ').find(|keyword| *keyword == word) {
                Some(keyword) => return symbol(keyword),
                None => (ExprKind::Ident(word.into()), word.len()),
            }
        }
        _ => match OPERATORS.split(' ').find(|op| rest.starts_with(*op)) {
            Some(operator) => return symbol(operator),
            None => return fault(pos, format!("invalid character {first:?}")),
        },
    };
    Ok((Some(Tok::Operand(operand)), length))
}

fn number(rest: &str, pos: Pos) -> Checked<(ExprKind, usize)> {
    let hex = rest.starts_with("0x") || rest.starts_with("0X");
    let mut last = ' ';
    let end = rest.find(|c: char| {
        let last = std::mem::replace(&mut last, c).to_ascii_lowercase();
        let exponent = last == if hex { 'p' } else { 'e' };
        !(c.is_ascii_alphanumeric() || "._".contains(c) || exponent && "+-".contains(c))
    });
    let length = end.unwrap_or(rest.len());
    let mut parts = rest[..length].split('_').skip(1);
    let separates = parts.all(|part| part.starts_with(|c: char| c.is_ascii_hexdigit()));
    if !separates || rest[..length].contains("._") {
        return fault(pos, "'_' must separate successive digits");
    }
    let text = rest[..length].replace('_', "").to_ascii_lowercase();
    if text.ends_with('i') {
        return fault(pos, "complex numbers are outside minigo's subset");
    }
    let (digits, radix, base, mark) = match hex {
        true => (&text[2..], 16, 2, 'p'),
        false => (&*text, 10, 10, 'e'),
    };
    if digits.contains(['.', mark]) {
        let (digits, exponent) = digits.split_once(mark).unwrap_or((digits, "0"));
        // A point in hexadecimal digits needs an exponent.
        let exponent = exponent
            .parse()
            .ok()
            .filter(|_| !hex || text.contains(mark));
        let Some(exponent) = exponent else {
            return fault(pos, "malformed number");
        };
        return match exact(digits, radix, base, exponent) {
            Some(value) => Ok((ExprKind::Float(value), length)),
            None => fault(pos, "number is malformed, or too large for minigo"),
        };
    }
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x', ..] => (&text[2..], 16),
        [b'0', b'o', ..] => (&text[2..], 8),
        [b'0', b'b', ..] => (&text[2..], 2),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (&*text, 10),
    };
    match i128::from_str_radix(digits, radix) {
        Ok(value) => Ok((ExprKind::Int(value), length)),
        Err(_) => fault(
            pos,
            "integer literal is malformed or has more than 127 bits",
        ),
    }
}

/// A string or a character in quotes.
fn quoted(rest: &str, quote: char, pos: Pos) -> Checked<(ExprKind, usize)> {
    let (mut bytes, mut values, mut length) = (Vec::new(), Vec::new(), 1);
    loop {
        let (value, width) = match rest[length..].chars().next() {
            None | Some('\n') => return fault(pos, "literal not terminated"),
            Some(c) if c == quote => break,
            Some('\\') => {
                let pos = Pos(pos.0 + length as u32);
                escape(&rest[length..], quote, pos, &mut bytes)?
            }
            Some(c) => {
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                (c.into(), c.len_utf8())
            }
        };
        values.push(value);
        length += width;
    }
    match values[..] {
        _ if quote == '"' => Ok((ExprKind::Str(bytes.into()), length + 1)),
        [value] => Ok((ExprKind::Char(value.into()), length + 1)),
        _ => fault(pos, "character literal must have one character"),
    }
}

/// A backslash and what belongs to it: adds its bytes, returns its value and its length.
fn escape(rest: &str, quote: char, pos: Pos, bytes: &mut Vec<u8>) -> Checked<(u32, usize)> {
    const SIMPLE: &[u8] = b"\x07\x08\x0c\n\r\t\x0b\\";
    let first = rest[1..].chars().next().unwrap_or_default();
    let simple = "abfnrtv\\".find(first).map(|index| SIMPLE[index]);
    if let Some(byte) = simple.or((first == quote).then_some(quote as u8)) {
        bytes.push(byte);
        return Ok((byte.into(), 2));
    }
    let (skipped, digits, radix) = match first {
        'x' => (2, 2, 16),
        'u' => (2, 4, 16),
        'U' => (2, 8, 16),
        '0'..='7' => (1, 3, 8),
        _ => return fault(pos, "unknown escape"),
    };
    let length = skipped + digits;
    let Ok(value) = u32::from_str_radix(rest.get(skipped..length).unwrap_or(""), radix) else {
        return fault(pos, "malformed escape");
    };
    match (first, char::from_u32(value), u8::try_from(value)) {
        ('u' | 'U', Some(c), _) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        ('u' | 'U', None, _) => return fault(pos, "escape is not a Unicode character"),
        (_, _, Ok(byte)) => bytes.push(byte),
        _ => return fault(pos, "escape is not a byte"),
    }
    Ok((value, length))
}
