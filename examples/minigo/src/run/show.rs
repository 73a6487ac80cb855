//! Values of basic types as `fmt` shows them.
#![forbid(unsafe_code)]

use super::format::Style;
use super::object::{read, small};
use super::text::string_at;
use crate::types::{Basic, Ty};

/// A number as C's `%e` prints it.
pub(super) fn exponent(value: f64, precision: usize, digits: usize) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, number) = match exponent.strip_prefix('-') {
        Some(number) => ('-', number),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{number:0>digits$}")
}

fn special(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value > 0.0 => "+Inf".to_owned(),
        _ => "-Inf".to_owned(),
    }
}

/// A number with as few digits as identify it.
fn shortest(value: f64, single: bool) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let text = match single {
        true => format!("{:e}", value as f32),
        false => format!("{value:e}"),
    };
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    if (-4..6).contains(&power) {
        return match single {
            true => (value as f32).to_string(),
            false => value.to_string(),
        };
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", power.abs())
}

pub(super) fn quote(text: &[u8]) -> String {
    let mut out = String::from('"');
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if (c as u32) < 32 || c as u32 == 127 => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// A number's bits, or nothing for what is longer.
pub(super) fn small_of(size: u64, at: usize) -> u64 {
    if size <= 8 { small(at, size) } else { 0 }
}

pub(super) fn show_text(out: &mut Vec<u8>, text: &[u8], style: Style) {
    match style.verb {
        'q' => out.extend(quote(text).bytes()),
        'x' => text
            .iter()
            .for_each(|byte| out.extend(format!("{byte:02x}").bytes())),
        _ => {
            let cut = style.precision.map_or(text.len(), |n| n.min(text.len()));
            out.extend(&text[..cut]);
        }
    }
}

pub(super) fn show_basic(out: &mut Vec<u8>, basic: Basic, bits: &u64, at: usize, style: Style) {
    use Basic::*;
    let bits = *bits;
    let verb = style.verb;
    let (signed, value) = match basic {
        Bool => {
            let text = if bits == 0 { "false" } else { "true" };
            return match verb {
                'v' | 't' => out.extend(text.bytes()),
                _ => out.extend(format!("%!{verb}(bool={text})").bytes()),
            };
        }
        String => {
            return match verb {
                'v' | 's' | 'q' | 'x' => {
                    let sharp = style.sharp && verb == 'v';
                    let style = Style {
                        verb: if sharp { 'q' } else { verb },
                        ..style
                    };
                    show_text(out, string_at(at), style);
                }
                _ => {
                    let text = std::string::String::from_utf8_lossy(string_at(at)).into_owned();
                    out.extend(format!("%!{verb}(string={text})").bytes());
                }
            };
        }
        Float32 | Float64 => {
            let single = basic == Float32;
            let value = match single {
                true => f32::from_bits(bits as u32).into(),
                false => f64::from_bits(bits),
            };
            let text = match (verb, style.precision) {
                ('f' | 'F', precision) if value.is_finite() => {
                    format!("{value:.*}", precision.unwrap_or(6))
                }
                ('e', precision) => exponent(value, precision.unwrap_or(6), 2),
                ('v' | 'g' | 'f' | 'F', _) => shortest(value, single),
                _ => format!("%!{verb}(float64={})", shortest(value, single)),
            };
            return out.extend(text.bytes());
        }
        UnsafePointer => return out.extend(format!("{bits:#x}").bytes()),
        Int8 => (true, bits as i8 as i64),
        Int16 => (true, bits as i16 as i64),
        Int32 => (true, bits as i32 as i64),
        Int | Int64 => (true, bits as i64),
        _ => (false, bits as i64),
    };
    let negative = signed && value < 0;
    let size = if negative {
        value.unsigned_abs()
    } else {
        value as u64
    };
    let sign = if negative { "-" } else { "" };
    let text = match verb {
        'v' | 'd' => format!("{sign}{size}"),
        'x' => format!("{sign}{}{size:x}", if style.sharp { "0x" } else { "" }),
        'X' => format!("{sign}{size:X}"),
        'o' => format!("{sign}{size:o}"),
        'b' => format!("{sign}{size:b}"),
        'c' => char::from_u32(size as u32)
            .unwrap_or('\u{fffd}')
            .to_string(),
        'q' => format!("{:?}", char::from_u32(size as u32).unwrap_or('\u{fffd}')),
        'U' => format!("U+{size:04X}"),
        _ => format!(
            "%!{verb}({}={sign}{size})",
            format!("{basic:?}").to_lowercase()
        ),
    };
    out.extend(text.bytes());
}

/// The order in which `fmt` prints a map's keys.
pub(super) fn order(
    types: &crate::types::Types,
    key: Ty,
    a: usize,
    b: usize,
) -> std::cmp::Ordering {
    if types.is_string(key) {
        return string_at(a).cmp(string_at(b));
    }
    if types.is_float(key) {
        let value = |at| f64::from_bits(read(at));
        return value(a).total_cmp(&value(b));
    }
    let size = types.size(key).min(8);
    let (a, b) = (small(a, size), small(b, size));
    match types.integer(key) {
        Some((bits, true)) => {
            let value = |word: u64| (word as i64) << (64 - bits) >> (64 - bits);
            value(a).cmp(&value(b))
        }
        _ => a.cmp(&b),
    }
}
