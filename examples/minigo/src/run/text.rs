//! Text.
#![forbid(unsafe_code)]

use super::Ctx;
use super::object::{bytes, copy_bytes, read};
use crate::types::basic;

pub(super) extern "C" fn concat(ctx: &mut Ctx, a: u64, n: u64, b: u64, m: u64) -> u64 {
    let text = match (n, m) {
        (0, _) => (b, m),
        (_, 0) => (a, n),
        _ => {
            let at = ctx.array(basic::UINT8, n + m);
            copy_bytes(at, a as usize, n as usize);
            copy_bytes(at + n as usize, b as usize, m as usize);
            (at as u64, n + m)
        }
    };
    (ctx.results[0], ctx.results[1]) = text;
    0
}

pub(super) extern "C" fn compare(_: &mut Ctx, a: u64, n: u64, b: u64, m: u64) -> u64 {
    bytes(a, n).cmp(bytes(b, m)) as i64 as u64
}

/// The character at the start of the text, and its bytes; U+FFFD for what is none.
fn decode(text: &[u8]) -> (u32, usize) {
    let longest = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(longest) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&longest[..error.valid_up_to()]).unwrap_or(""),
    };
    valid
        .chars()
        .next()
        .map_or((0xfffd, 1), |c| (c as u32, c.len_utf8()))
}

pub(super) extern "C" fn next_rune(ctx: &mut Ctx, at: u64, length: u64, index: u64) -> u64 {
    let (rune, width) = decode(&bytes(at, length)[index as usize..]);
    ctx.results[0] = if cfg!(target_endian = "big") {
        u64::from(rune) << 32
    } else {
        rune.into()
    };
    width as u64
}

pub(super) extern "C" fn of_bytes(ctx: &mut Ctx, at: u64, length: u64) -> u64 {
    let text = bytes(at, length).to_vec();
    ctx.set_text(&text);
    0
}

fn push_rune(text: &mut Vec<u8>, rune: u32) {
    let c = char::from_u32(rune).unwrap_or('\u{fffd}');
    text.extend(c.encode_utf8(&mut [0; 4]).bytes());
}

pub(super) extern "C" fn of_runes(ctx: &mut Ctx, at: u64, length: u64) -> u64 {
    let mut text = Vec::new();
    for rune in bytes(at, 4 * length).chunks_exact(4) {
        push_rune(
            &mut text,
            u32::from_ne_bytes([rune[0], rune[1], rune[2], rune[3]]),
        );
    }
    ctx.set_text(&text);
    0
}

pub(super) extern "C" fn of_rune(ctx: &mut Ctx, rune: u64) -> u64 {
    let mut text = Vec::new();
    push_rune(&mut text, u32::try_from(rune).unwrap_or(u32::MAX));
    ctx.set_text(&text);
    0
}

pub(super) extern "C" fn to_bytes(ctx: &mut Ctx, at: u64, length: u64) -> u64 {
    of_bytes(ctx, at, length)
}

pub(super) extern "C" fn to_runes(ctx: &mut Ctx, at: u64, length: u64) -> u64 {
    let (mut text, mut runes) = (bytes(at, length), Vec::new());
    while !text.is_empty() {
        let (rune, width) = decode(text);
        runes.extend(rune.to_ne_bytes());
        text = &text[width..];
    }
    let count = runes.len() as u64 / 4;
    let new = ctx.array(basic::INT32, count);
    copy_bytes(new, runes.as_ptr().expose_provenance(), runes.len());
    (ctx.results[0], ctx.results[1]) = (new as u64, count);
    0
}

/// Where a part is first found in a text, or -1.
pub(super) extern "C" fn index(_: &mut Ctx, at: u64, length: u64, part: u64, n: u64) -> u64 {
    let (text, part) = (bytes(at, length), bytes(part, n));
    let found = match part.is_empty() {
        true => Some(0),
        false => text.windows(part.len()).position(|window| window == part),
    };
    found.map_or(u64::MAX, |at| at as u64)
}

pub(super) extern "C" fn itoa(ctx: &mut Ctx, value: u64) -> u64 {
    ctx.set_text((value as i64).to_string().as_bytes());
    0
}

/// A string in memory.
pub(super) fn string_at<'a>(at: usize) -> &'a [u8] {
    bytes(read(at), read(at + 8))
}
