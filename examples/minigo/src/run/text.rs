//! Text.
#![forbid(unsafe_code)]

use minigo_front::types::basic;

use super::Ctx;
use super::object::copy_bytes;

pub(super) fn concat(ctx: &mut Ctx, [a, n]: [usize; 2], [b, m]: [usize; 2]) {
    if n == 0 || m == 0 {
        return ctx.leave(if n == 0 { [b, m] } else { [a, n] });
    }
    let at = ctx.array(basic::UINT8, (n + m) as u64);
    copy_bytes(at, a, n);
    copy_bytes(at + n, b, m);
    ctx.leave([at, n + m]);
}

/// A character in upper or lower case, if that is one character.
pub(super) fn cased(rune: u64, upper: bool) -> u64 {
    let Some(c) = char::from_u32(rune as u32) else {
        return rune;
    };
    let (mut up, mut down) = (c.to_uppercase(), c.to_lowercase());
    let one = match upper {
        true if up.len() == 1 => up.next(),
        false if down.len() == 1 => down.next(),
        _ => None,
    };
    one.map_or(rune, u64::from)
}

/// Whether a character has a form of its own; a letter in front of it may have marks.
pub(super) fn is_print(rune: u64) -> bool {
    let c = char::from_u32(rune as u32);
    c.is_some_and(|c| matches!(c, '"' | '\'' | '\\') || format!("a{c}").escape_debug().count() == 2)
}

/// A number in decimal: with so many digits behind the point, and an exponent if that is wanted; or
/// as few digits as identify it, with an exponent.
pub(super) fn float(value: f64, decimals: Option<usize>, single: bool, exponent: bool) -> String {
    match decimals {
        Some(decimals) if exponent => format!("{value:.decimals$e}"),
        Some(decimals) => format!("{value:.decimals$}"),
        None if single => format!("{:e}", value as f32),
        None => format!("{value:e}"),
    }
}
