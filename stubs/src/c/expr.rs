//! Constants: lengths of arrays, bits of bit-fields, values of enumerators, alignments.
#![forbid(unsafe_code)]

use super::lex::Token;
use super::parse::{Parser, Refusal};

/// Two-sided operators, and how tightly they bind.
const BINARY: [(&str, u8); 10] = [
    ("|", 1),
    ("^", 2),
    ("&", 3),
    ("<<", 4),
    (">>", 4),
    ("+", 5),
    ("-", 5),
    ("*", 6),
    ("/", 6),
    ("%", 6),
];

/// `None`: no such value.
fn apply(operator: &str, a: i128, b: i128) -> Option<i128> {
    let bits = || u32::try_from(b).ok().filter(|bits| *bits < 64);
    match operator {
        "|" => Some(a | b),
        "^" => Some(a ^ b),
        "&" => Some(a & b),
        "<<" => a.checked_mul(1 << bits()?),
        ">>" => Some(a >> bits()?),
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" => a.checked_div(b),
        _ => a.checked_rem(b),
    }
}

/// The value of a literal: decimal, hexadecimal, octal or binary, perhaps with `u` and `l` behind.
fn literal(text: &str) -> Option<i128> {
    let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    let value = u64::from_str_radix(digits, radix).ok()?;
    Some(value.into())
}

impl Parser<'_, '_> {
    /// A constant that is not negative.
    pub(super) fn count(&mut self, level: u32, wanted: &'static str) -> Result<u64, Refusal> {
        let start = self.place();
        let value = self.constant(level)?;
        u64::try_from(value).map_err(|_| self.refusal(start, value.to_string(), wanted))
    }

    /// A constant, of the integers that C has.
    pub(super) fn constant(&mut self, level: u32) -> Result<i128, Refusal> {
        let start = self.place();
        let value = self.operators(level, 1)?;
        if value < i64::MIN.into() || value > u64::MAX.into() {
            return Err(self.refusal(start, value.to_string(), "a constant of 64 bits"));
        }
        Ok(value)
    }

    /// Operators that bind at least so tightly.
    fn operators(&mut self, level: u32, least: u8) -> Result<i128, Refusal> {
        self.nested(level)?;
        let mut value = self.operand(level)?;
        loop {
            let (start, token) = (self.place(), self.peek());
            let found = BINARY
                .iter()
                .find(|(sign, binds)| token == Token::Sign(sign) && *binds >= least);
            let Some((sign, binds)) = found else {
                return Ok(value);
            };
            self.next()?;
            let other = self.operators(level + 1, binds + 1)?;
            let made = apply(sign, value, other);
            value = made.ok_or_else(|| {
                self.refusal(
                    start,
                    format!("{value} {sign} {other}"),
                    "a constant of 64 bits",
                )
            })?;
        }
    }

    fn operand(&mut self, level: u32) -> Result<i128, Refusal> {
        self.nested(level)?;
        match self.peek() {
            Token::Sign("(") => {
                self.next()?;
                let value = self.constant(level + 1)?;
                self.expect(")", "\")\"")?;
                Ok(value)
            }
            Token::Sign(sign @ ("-" | "+" | "~")) => {
                self.next()?;
                let value = self.operand(level + 1)?;
                Ok(match sign {
                    "-" => value.checked_neg().unwrap_or(i128::MAX),
                    "~" => !value,
                    _ => value,
                })
            }
            Token::Number(text) => {
                let value = literal(text);
                let value = value.ok_or_else(|| self.unexpected("an integer of 64 bits"))?;
                self.next()?;
                Ok(value)
            }
            Token::Word(name) if self.scope.constants.contains_key(name) => {
                self.next()?;
                Ok(self.scope.constants[name])
            }
            _ => Err(self.unexpected("an integer constant or an enumerator's name")),
        }
    }
}
