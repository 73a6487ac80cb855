//! Go's `fmt`.
#![forbid(unsafe_code)]

use super::library::write_out;
use super::object::{bytes, read, small};
use super::text::string_at;
use super::{Ctx, TypeInfo};
use crate::types::{Basic, Kind, Ty};

/// How a value is printed.
#[derive(Clone, Copy, Debug, Default)]
struct Style {
    verb: char,
    plus: bool,
    sharp: bool,
    precision: Option<usize>,
}

const PLAIN: Style = Style {
    verb: 'v',
    plus: false,
    sharp: false,
    precision: None,
};

/// A value: its type, and where it is, which for a pointer-shaped one is the value itself.
#[derive(Clone, Copy)]
struct Item {
    ty: Ty,
    word: u64,
}

/// The items of a `...any`.
fn items(ctx: &mut Ctx, at: u64, length: u64) -> Vec<Option<Item>> {
    ctx.roots.push(at as usize);
    let item = |n: u64| {
        let at = (at + 16 * n) as usize;
        let (info, word) = (read(at), read(at + 8));
        TypeInfo::of(info).map(|info| Item {
            ty: info.ty(),
            word,
        })
    };
    (0..length).map(item).collect()
}

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

fn quote(text: &[u8]) -> String {
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

impl Ctx {
    /// Calls `Error` or `String` of a value, if its type has one.
    fn text_of(&mut self, item: Item) -> Option<Vec<u8>> {
        let vm = self.vm;
        let info = TypeInfo::of(TypeInfo::address(item.ty) as u64)?;
        let method = info.method(vm.error, vm.methods);
        let code = method.or_else(|| info.method(vm.string, vm.methods))?;
        if vm.program.types.pointee(item.ty).is_some() && item.word == 0 {
            return Some(b"<nil>".to_vec());
        }
        self.call_code(code, item.word as usize, 0, 0);
        if self.panicking != 0 {
            return Some(Vec::new());
        }
        Some(bytes(self.results[0], self.results[1]).to_vec())
    }

    fn show(&mut self, out: &mut Vec<u8>, item: Item, style: Style, depth: usize) {
        let types = &self.vm.program.types;
        let Item { ty, word } = item;
        if style.verb == 'T' {
            out.extend(types.show(ty).bytes());
            return;
        }
        if matches!(style.verb, 'v' | 's' | 'q')
            && let Some(text) = self.text_of(item)
        {
            match style.verb {
                'q' => out.extend(quote(&text).bytes()),
                _ => out.extend(text),
            }
            return;
        }
        let at = word as usize;
        let inner = |ty: Ty, at: usize| Item {
            ty,
            word: if types.is_pointer_shaped(ty) {
                read(at)
            } else {
                at as u64
            },
        };
        match types.kind(ty) {
            Kind::Basic(basic) => show_basic(out, *basic, &small_of(types.size(ty), at), at, style),
            Kind::Struct(fields) => {
                out.push(b'{');
                for (index, (field, offset)) in fields.iter().zip(types.offsets(fields)).enumerate()
                {
                    if index > 0 {
                        out.push(b' ');
                    }
                    if style.plus {
                        out.extend(format!("{}:", field.name).bytes());
                    }
                    self.show(out, inner(field.ty, at + offset as usize), style, depth + 1);
                }
                out.push(b'}');
            }
            Kind::Slice(of) if style.verb != 'd' && self.is_bytes(*of) && style.verb != 'v' => {
                let text = string_at(at).to_vec();
                show_text(out, &text, style);
            }
            Kind::Slice(of) => {
                let size = types.size(*of) as usize;
                let (start, length) = (read(at) as usize, read(at + 8) as usize);
                self.list(
                    out,
                    (0..length).map(|n| inner(*of, start + n * size)),
                    style,
                    depth,
                );
            }
            Kind::Array(n, of) => {
                let size = types.size(*of) as usize;
                let all = (0..*n as usize).map(|n| inner(*of, at + n * size));
                self.list(out, all, style, depth);
            }
            Kind::Map(key, value) => {
                let mut entries = super::map::entries(self.vm, ty, at);
                entries.sort_by(|(a, _), (b, _)| order(types, *key, *a, *b));
                out.extend(b"map[");
                for (index, (k, v)) in entries.into_iter().enumerate() {
                    if index > 0 {
                        out.push(b' ');
                    }
                    self.show(out, inner(*key, k), style, depth + 1);
                    out.push(b':');
                    self.show(out, inner(*value, v), style, depth + 1);
                }
                out.push(b']');
            }
            Kind::Interface(_) => match TypeInfo::of(read(at)) {
                None => out.extend(b"<nil>"),
                Some(info) => {
                    let item = Item {
                        ty: info.ty(),
                        word: read(at + 8),
                    };
                    self.show(out, item, style, depth + 1);
                }
            },
            Kind::Pointer(_) if word == 0 => out.extend(b"<nil>"),
            Kind::Pointer(to)
                if depth == 0
                    && style.verb != 'p'
                    && matches!(
                        types.kind(*to),
                        Kind::Struct(_) | Kind::Slice(_) | Kind::Array(..) | Kind::Map(..)
                    ) =>
            {
                out.push(b'&');
                self.show(out, inner(*to, at), style, depth + 1);
            }
            _ if word == 0 => out.extend(b"<nil>"),
            _ => out.extend(format!("{word:#x}").bytes()),
        }
    }

    fn is_bytes(&self, ty: Ty) -> bool {
        self.vm.program.types.basic(ty) == Some(Basic::Uint8)
    }

    fn list(
        &mut self,
        out: &mut Vec<u8>,
        items: impl Iterator<Item = Item>,
        style: Style,
        depth: usize,
    ) {
        out.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            self.show(out, item, style, depth + 1);
        }
        out.push(b']');
    }

    fn show_any(&mut self, out: &mut Vec<u8>, item: Option<Item>, style: Style) {
        match item {
            None if style.verb == 'v' || style.verb == 'T' => out.extend(b"<nil>"),
            None => out.extend(format!("%!{}(<nil>)", style.verb).bytes()),
            Some(item) => self.show(out, item, style, 0),
        }
    }

    /// Spaces between all items, or between those of which none is text.
    fn joined(&mut self, at: u64, length: u64, line: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let items = items(self, at, length);
        let is_text = |ctx: &Ctx, item: &Option<Item>| {
            item.is_some_and(|item| ctx.vm.program.types.is_string(item.ty))
        };
        for (index, item) in items.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| &items[before]);
            let space =
                before.is_some_and(|before| line || !is_text(self, before) && !is_text(self, item));
            if space {
                out.push(b' ');
            }
            self.show_any(&mut out, *item, PLAIN);
        }
        self.roots.pop();
        if line {
            out.push(b'\n');
        }
        out
    }

    fn formatted(&mut self, format: &[u8], at: u64, length: u64) -> Vec<u8> {
        let text = String::from_utf8_lossy(format).into_owned();
        let items = items(self, at, length);
        let mut next = items.iter();
        let mut out = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.extend(c.encode_utf8(&mut [0; 4]).bytes());
                continue;
            }
            let (mut style, mut left, mut zero) = (PLAIN, false, false);
            while let Some(flag) = chars.next_if(|c| "-+#0 ".contains(*c)) {
                match flag {
                    '-' => left = true,
                    '+' => style.plus = true,
                    '#' => style.sharp = true,
                    '0' => zero = true,
                    _ => {}
                }
            }
            let mut number = || {
                let mut value = None;
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    let digit = digit as usize - '0' as usize;
                    value = Some((value.unwrap_or(0) * 10 + digit).min(1 << 16));
                }
                value
            };
            let width = number().unwrap_or(0);
            if chars.next_if_eq(&'.').is_some() {
                let mut value = 0;
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    value = (value * 10 + digit as usize - '0' as usize).min(1 << 10);
                }
                style.precision = Some(value);
            }
            let Some(verb) = chars.next() else {
                out.extend(b"%!(NOVERB)");
                break;
            };
            if verb == '%' {
                out.push(b'%');
                continue;
            }
            style.verb = if verb == 'w' { 'v' } else { verb };
            let Some(item) = next.next() else {
                out.extend(format!("%!{verb}(MISSING)").bytes());
                continue;
            };
            let mut part = Vec::new();
            self.show_any(&mut part, *item, style);
            if style.plus && matches!(verb, 'd' | 'f' | 'g' | 'e') && !part.starts_with(b"-") {
                part.insert(0, b'+');
            }
            let missing = width.saturating_sub(String::from_utf8_lossy(&part).chars().count());
            if left {
                out.extend(part);
                out.extend(std::iter::repeat_n(b' ', missing));
            } else if zero {
                let signed = matches!(part.first(), Some(b'-' | b'+'));
                let digits = part.split_off(usize::from(signed));
                out.extend(part);
                out.extend(std::iter::repeat_n(b'0', missing));
                out.extend(digits);
            } else {
                out.extend(std::iter::repeat_n(b' ', missing));
                out.extend(part);
            }
        }
        let mut extra = Vec::new();
        for item in next {
            if !extra.is_empty() {
                extra.extend(b", ");
            }
            if let Some(item) = item {
                let name = self.vm.program.types.show(item.ty);
                extra.extend(format!("{name}=").bytes());
            }
            self.show_any(&mut extra, *item, PLAIN);
        }
        if !extra.is_empty() {
            out.extend(b"%!(EXTRA ");
            out.extend(extra);
            out.push(b')');
        }
        self.roots.pop();
        out
    }
}

/// A number's bits, or nothing for what is longer.
fn small_of(size: u64, at: usize) -> u64 {
    if size <= 8 { small(at, size) } else { 0 }
}

fn show_text(out: &mut Vec<u8>, text: &[u8], style: Style) {
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

fn show_basic(out: &mut Vec<u8>, basic: Basic, bits: &u64, at: usize, style: Style) {
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
fn order(types: &crate::types::Types, key: Ty, a: usize, b: usize) -> std::cmp::Ordering {
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

/// What `panic` prints of its value.
pub(super) fn panic_text(ctx: &mut Ctx, info: u64, word: u64) -> Vec<u8> {
    let Some(info) = TypeInfo::of(info) else {
        return b"nil".to_vec();
    };
    let item = Item {
        ty: info.ty(),
        word,
    };
    let types = &ctx.vm.program.types;
    let mut out = Vec::new();
    if info.method(ctx.vm.error, ctx.vm.methods).is_some() {
        ctx.show(&mut out, item, PLAIN, 0);
        return out;
    }
    let named = types.named(item.ty).map(|named| named.name.clone());
    let text = types.is_string(item.ty);
    match types.kind(item.ty) {
        Kind::Basic(_) => {
            ctx.show(&mut out, item, PLAIN, 0);
            let shown = String::from_utf8_lossy(&out).into_owned();
            let name = named.unwrap_or_else(|| types.show(item.ty));
            match (text, ctx.vm.program.types.named(item.ty).is_some()) {
                (true, false) => out,
                (true, true) => format!("{name}({})", quote(&out)).into_bytes(),
                _ => format!("{name}({shown})").into_bytes(),
            }
        }
        _ => format!("({}) {word:#x}", types.show(item.ty)).into_bytes(),
    }
}

pub(super) extern "C" fn println(ctx: &mut Ctx, at: u64, length: u64, _cap: u64) -> u64 {
    let text = ctx.joined(at, length, true);
    write_out(&text);
    0
}

pub(super) extern "C" fn print(ctx: &mut Ctx, at: u64, length: u64, _cap: u64) -> u64 {
    let text = ctx.joined(at, length, false);
    write_out(&text);
    0
}

pub(super) extern "C" fn sprint(ctx: &mut Ctx, at: u64, length: u64, _cap: u64) -> u64 {
    let text = ctx.joined(at, length, false);
    ctx.set_text(&text);
    0
}

pub(super) extern "C" fn sprintln(ctx: &mut Ctx, at: u64, length: u64, _cap: u64) -> u64 {
    let text = ctx.joined(at, length, true);
    ctx.set_text(&text);
    0
}

pub(super) extern "C" fn printf(
    ctx: &mut Ctx,
    format: u64,
    format_length: u64,
    at: u64,
    length: u64,
    _cap: u64,
) -> u64 {
    let text = ctx.formatted(bytes(format, format_length), at, length);
    write_out(&text);
    0
}

pub(super) extern "C" fn sprintf(
    ctx: &mut Ctx,
    format: u64,
    format_length: u64,
    at: u64,
    length: u64,
    _cap: u64,
) -> u64 {
    let text = ctx.formatted(bytes(format, format_length), at, length);
    ctx.set_text(&text);
    0
}
