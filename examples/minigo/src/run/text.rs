//! Text.
#![forbid(unsafe_code)]

use super::Ctx;
use super::object::{bytes, copy_bytes};
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

/// The character at the start of the text, and its bytes; U+FFFD for what is none.
fn decode(text: &[u8]) -> (u32, usize) {
    let longest = &text[..text.len().min(4)];
    let valid = longest
        .utf8_chunks()
        .next()
        .map_or("", |chunk| chunk.valid());
    let first = valid.chars().next();
    first.map_or((0xfffd, 1), |c| (c as u32, c.len_utf8()))
}

pub(super) fn next_rune(ctx: &mut Ctx, text: &[u8]) -> usize {
    let (rune, width) = decode(text);
    let high = if cfg!(target_endian = "big") { 32 } else { 0 };
    ctx.leave([(rune as usize) << high]);
    width
}

/// The text of characters; what is none is U+FFFD.
pub(super) fn of_runes(ctx: &mut Ctx, runes: impl Iterator<Item = u32>) {
    let text: String = runes
        .map(|rune| char::from_u32(rune).unwrap_or('\u{fffd}'))
        .collect();
    ctx.leave_text(text.as_bytes());
}

pub(super) fn to_runes(ctx: &mut Ctx, mut text: &[u8]) {
    let mut runes = Vec::new();
    while !text.is_empty() {
        let (rune, width) = decode(text);
        runes.push(rune);
        text = &text[width..];
    }
    let new = ctx.array(basic::INT32, runes.len() as u64);
    copy_bytes(new, runes.as_ptr().expose_provenance(), 4 * runes.len());
    ctx.leave([new, runes.len()]);
}

/// Characters in memory.
pub(super) fn runes<'a>(at: u64, count: u64) -> impl Iterator<Item = u32> + 'a {
    let runes = bytes(at, 4 * count).as_chunks::<4>().0;
    runes.iter().map(|rune| u32::from_ne_bytes(*rune))
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

/// Whether a character has a form of its own; a letter in front of it may have marks.
pub(super) fn is_print(rune: u64) -> bool {
    let c = char::from_u32(rune as u32);
    c.is_some_and(|c| matches!(c, '"' | '\'' | '\\') || format!("a{c}").escape_debug().count() == 2)
}

/// A number in decimal: with so many digits behind the point, and an exponent if that is wanted; or
/// as few digits as identify it, with an exponent.
pub(super) fn of_float(
    value: f64,
    decimals: Option<usize>,
    single: bool,
    exponent: bool,
) -> String {
    match decimals {
        Some(decimals) if exponent => format!("{value:.decimals$e}"),
        Some(decimals) => format!("{value:.decimals$}"),
        None if single => format!("{:e}", value as f32),
        None => format!("{value:e}"),
    }
}
