//! Go's `fmt`.
#![forbid(unsafe_code)]

use super::library::write_out;
use super::object::{bytes, read};
use super::show::{order, quote, show_basic, show_text, small_of};
use super::text::string_at;
use super::{Ctx, TypeInfo};
use crate::types::{Basic, Kind, Ty};

/// How a value is printed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    pub(super) verb: char,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) precision: Option<usize>,
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
