//! Text.
#![forbid(unsafe_code)]

use super::Ctx;
use super::object::copy_bytes;
use crate::types::basic;

pub(super) fn concat(ctx: &mut Ctx, [a, n]: [usize; 2], [b, m]: [usize; 2]) {
    if n == 0 || m == 0 {
        return ctx.leave(if n == 0 { [b, m] } else { [a, n] });
    }
    let at = ctx.array(basic::UINT8, (n + m) as u64);
    copy_bytes(at, a, n);
    copy_bytes(at + n, b, m);
    ctx.leave([at, n + m]);
}

/// Where a part is first found in a text, or -1.
pub(super) fn index(text: &[u8], part: &[u8]) -> i64 {
    let mut places = (0..text.len() + 1).filter(|at| text[*at..].starts_with(part));
    places.next().map_or(-1, |at| at as i64)
}

/// A character in upper or lower case, if that is one character.
pub(super) fn cased(rune: u64, upper: bool) -> u64 {
    let Some(c) = char::from_u32(rune as u32) else {
        return rune;
    };
    let all: Vec<char> = match upper {
        true => c.to_uppercase().collect(),
        false => c.to_lowercase().collect(),
    };
    match *all {
        [one] => one.into(),
        _ => rune,
    }
}

/// A number in decimal: with so many digits behind the point, or as few digits as identify it;
/// with an exponent, or as a whole.
pub(super) fn of_float(
    value: f64,
    decimals: Option<usize>,
    single: bool,
    exponent: bool,
) -> String {
    match (decimals, exponent) {
        (Some(decimals), true) => format!("{value:.decimals$e}"),
        (Some(decimals), false) => format!("{value:.decimals$}"),
        (None, true) if single => format!("{:e}", value as f32),
        (None, true) => format!("{value:e}"),
        (None, false) if single => (value as f32).to_string(),
        (None, false) => value.to_string(),
    }
}
