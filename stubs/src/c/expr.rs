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

/// A value of one of C's integer types.
#[derive(Clone, Copy)]
struct Number {
    value: i128,
    /// 32 or 64.
    bits: u32,
    is_unsigned: bool,
}

impl Number {
    /// The value as its type has it: what is above its bits is gone.
    fn wrapped(self) -> Number {
        let all = 1i128 << self.bits;
        let value = self.value.rem_euclid(all);
        let is_negative = !self.is_unsigned && value >= all / 2;
        Number {
            value: if is_negative { value - all } else { value },
            ..self
        }
    }

    /// `None`: a signed type that has not this value.
    fn checked(self) -> Option<Number> {
        let wrapped = self.wrapped();
        (self.is_unsigned || wrapped.value == self.value).then_some(wrapped)
    }

    /// Of an enumerator, which has no more bits than it needs.
    fn of_enumerator(value: i128) -> Number {
        let least = [(32, false), (32, true), (64, false)];
        let types = least.map(|(bits, is_unsigned)| Number {
            value,
            bits,
            is_unsigned,
        });
        let found = types.iter().find(|ty| ty.wrapped().value == value);
        found.copied().unwrap_or(Number {
            value,
            bits: 64,
            is_unsigned: true,
        })
    }
}

/// `None`: no such value.
fn apply(operator: &str, a: Number, b: Number) -> Option<Number> {
    if operator == "<<" || operator == ">>" {
        let count = u32::try_from(b.value)
            .ok()
            .filter(|count| *count < a.bits)?;
        let value = match operator {
            "<<" => a.value << count,
            _ => a.value >> count,
        };
        // gcc shifts into the sign.
        return Some(Number { value, ..a }.wrapped());
    }
    let bits = a.bits.max(b.bits);
    let is_unsigned = [a, b].iter().any(|n| n.is_unsigned && n.bits == bits);
    let of = |value| Number {
        value,
        bits,
        is_unsigned,
    };
    let [a, b] = [a, b].map(|n| of(n.value).wrapped().value);
    let value = match operator {
        "|" => a | b,
        "^" => a ^ b,
        "&" => a & b,
        "+" => a.checked_add(b)?,
        "-" => a.checked_sub(b)?,
        // Of two numbers of 64 bits without a sign it can have more than 127.
        "*" if is_unsigned => (a as u128).wrapping_mul(b as u128) as i128,
        "*" => a.checked_mul(b)?,
        "/" => a.checked_div(b)?,
        _ => a.checked_rem(b)?,
    };
    of(value).checked()
}

/// The value of a literal: decimal, hexadecimal, octal or binary, perhaps with `u` and `l` behind.
/// A `long` has `long` bits.
fn literal(text: &str, long: u32) -> Option<Number> {
    let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
    let suffix = &text[digits.len()..];
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    let value = u64::from_str_radix(digits, radix).ok()?.into();
    let says_unsigned = suffix.contains(['u', 'U']);
    let least = match suffix.matches(['l', 'L']).count() {
        0 => 32,
        1 => long,
        _ => 64,
    };
    let types = [(32, false), (32, true), (64, false), (64, true)];
    let types = types.map(|(bits, is_unsigned)| Number {
        value,
        bits,
        is_unsigned,
    });
    let found = types.iter().find(|ty| {
        // A decimal one without `u` has a sign if there is such a type.
        let may_be_unsigned = says_unsigned || radix != 10 || ty.bits == 64;
        let may_be = ty.bits >= least
            && match ty.is_unsigned {
                true => may_be_unsigned,
                false => !says_unsigned,
            };
        may_be && ty.wrapped().value == value
    });
    found.copied()
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
        Ok(self.operators(level, 1)?.value)
    }

    /// Operators that bind at least so tightly.
    fn operators(&mut self, level: u32, least: u8) -> Result<Number, Refusal> {
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
                let found = format!("{} {sign} {}", value.value, other.value);
                self.refusal(start, found, "a constant that its type in C has")
            })?;
        }
    }

    fn operand(&mut self, level: u32) -> Result<Number, Refusal> {
        self.nested(level)?;
        let start = self.place();
        match self.peek() {
            Token::Sign("(") => {
                self.next()?;
                let value = self.operators(level + 1, 1)?;
                self.expect(")", "\")\"")?;
                Ok(value)
            }
            Token::Sign(sign @ ("-" | "+" | "~")) => {
                self.next()?;
                let value = self.operand(level + 1)?;
                let made = Number {
                    value: match sign {
                        "-" => -value.value,
                        "~" => !value.value,
                        _ => value.value,
                    },
                    ..value
                };
                made.checked().ok_or_else(|| {
                    let found = format!("{sign} {}", value.value);
                    self.refusal(start, found, "a constant that its type in C has")
                })
            }
            Token::Number(text) => {
                let value = literal(text, 8 * self.scope.model.long as u32);
                let value = value.ok_or_else(|| self.unexpected("an integer of 64 bits"))?;
                self.next()?;
                Ok(value)
            }
            Token::Word(name) if self.scope.constants.contains_key(name) => {
                self.next()?;
                Ok(Number::of_enumerator(self.scope.constants[name]))
            }
            _ => Err(self.unexpected("an integer constant or an enumerator's name")),
        }
    }
}
