//! Tags of struct fields: Go's string literals.
#![forbid(unsafe_code)]

use std::str::Chars;

use super::{Parser, Refusal};

impl Parser<'_> {
    /// The tag that stands here; `None` if there is none or it is empty, which is the same.
    pub(super) fn tag(&mut self) -> Result<Option<String>, Refusal> {
        let tag = match self.peek() {
            Some('`') => self.raw_string()?,
            Some('"') => self.string()?,
            _ => return Ok(None),
        };
        Ok((!tag.is_empty()).then_some(tag))
    }

    /// Everything up to the next backquote, without carriage returns.
    fn raw_string(&mut self) -> Result<String, Refusal> {
        let rest = &self.text[self.at + 1..];
        let Some(end) = rest.find('`') else {
            self.at = self.text.len();
            return Err(self.unexpected("\"`\" at the end of the tag"));
        };
        self.step(end);
        self.at += end + 2;
        Ok(rest[..end].replace('\r', ""))
    }

    /// Everything up to the next quotation mark, with escapes replaced.
    fn string(&mut self) -> Result<String, Refusal> {
        let mut chars = self.text[self.at + 1..].chars();
        let mut bytes = Vec::new();
        let mut buffer = [0; 4];
        loop {
            let at = self.text.len() - chars.as_str().len();
            let read = match chars.next() {
                Some('"') => break,
                Some('\\') => escape(&mut chars),
                Some('\n') | None => None,
                Some(c) => Some(Escaped::Char(c)),
            };
            match read {
                Some(Escaped::Char(c)) => bytes.extend(c.encode_utf8(&mut buffer).bytes()),
                Some(Escaped::Byte(byte)) => bytes.push(byte),
                None => {
                    self.at = at;
                    return Err(self.unexpected("a character of a tag, or '\"' at its end"));
                }
            }
        }
        let Ok(tag) = String::from_utf8(bytes) else {
            return Err(self.unexpected("a tag in UTF-8"));
        };
        let end = self.text.len() - chars.as_str().len();
        self.step(end - self.at);
        self.at = end;
        Ok(tag)
    }
}

enum Escaped {
    Char(char),
    Byte(u8),
}

/// What the escape after a backslash means; `None` if it is none of Go's.
fn escape(chars: &mut Chars<'_>) -> Option<Escaped> {
    let (digits, radix, first) = match chars.next()? {
        'a' => return Some(Escaped::Char('\u{7}')),
        'b' => return Some(Escaped::Char('\u{8}')),
        'f' => return Some(Escaped::Char('\u{c}')),
        'n' => return Some(Escaped::Char('\n')),
        'r' => return Some(Escaped::Char('\r')),
        't' => return Some(Escaped::Char('\t')),
        'v' => return Some(Escaped::Char('\u{b}')),
        c @ ('\\' | '"') => return Some(Escaped::Char(c)),
        'x' => (2, 16, 0),
        'u' => (4, 16, 0),
        'U' => (8, 16, 0),
        c => (2, 8, c.to_digit(8)?),
    };
    let mut number: u32 = first;
    for _ in 0..digits {
        let digit = chars.next()?.to_digit(radix)?;
        number = number.checked_mul(radix)?.checked_add(digit)?;
    }
    match digits {
        2 => Some(Escaped::Byte(u8::try_from(number).ok()?)),
        _ => Some(Escaped::Char(char::from_u32(number)?)),
    }
}

/// Writes a tag as a literal that is read as the same tag.
pub(in crate::signature) fn write_tag(f: &mut impl std::fmt::Write, tag: &str) -> std::fmt::Result {
    f.write_char('"')?;
    for c in tag.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            c if c.is_control() && c.is_ascii() => write!(f, "\\x{:02x}", u32::from(c))?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
