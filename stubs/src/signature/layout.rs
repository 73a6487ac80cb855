//! Go's rules of size, alignment and register need on 64-bit machines, and what a type's
//! construction settles for good.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use super::{CType, ChanDir, DataModel, Field, FuncType, Kind, MAX_SIZE, Role, Type, TypeError};
use crate::quote::short;

/// Bytes in a machine word.
pub const WORD: u64 = 8;

/// Size, alignment and register need of a type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    /// Bytes a value takes.
    pub size: u64,
    /// Its address is a multiple of this many bytes: 1, 2, 4 or 8 for Go's types.
    pub align: u64,
    /// Registers a value takes when passed in registers; `None` when it never is.
    pub need: Option<Need>,
}

/// How many registers of each class a value takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Need {
    /// Integer registers.
    pub ints: u8,
    /// Floating-point registers.
    pub floats: u8,
}

impl Need {
    const NONE: Need = Need { ints: 0, floats: 0 };

    /// Both together; `None` when a count passes 255, which Go takes for "never in registers".
    fn plus(self, other: Need) -> Option<Need> {
        Some(Need {
            ints: self.ints.checked_add(other.ints)?,
            floats: self.floats.checked_add(other.floats)?,
        })
    }

    /// No register at all, as of `struct{}`.
    pub fn is_zero(self) -> bool {
        self == Need::NONE
    }
}

/// What is settled when a type is built.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    pub(super) layout: Option<Layout>,
    pub(super) depth: u32,
    pub(super) weight: u64,
    pub(super) hash: u64,
    pub(super) pointers: bool,
    pub(super) comparable: bool,
    pub(super) is_go: bool,
}

/// `n` rounded up to a multiple of `align` (a power of two). Saturates instead of wrapping.
pub fn round_up(n: u64, align: u64) -> u64 {
    n.saturating_add(align - 1) & !(align - 1)
}

fn registers(size: u64, align: u64, ints: u8, floats: u8) -> Option<Layout> {
    Some(Layout {
        size,
        align,
        need: Some(Need { ints, floats }),
    })
}

/// Layout of a type of this kind; `Ok(None)` for an opaque one.
pub(super) fn layout_of(kind: &Kind) -> Result<Option<Layout>, TypeError> {
    Ok(match kind {
        Kind::Bool | Kind::Int8 | Kind::Uint8 => registers(1, 1, 1, 0),
        Kind::Int16 | Kind::Uint16 => registers(2, 2, 1, 0),
        Kind::Int32 | Kind::Uint32 => registers(4, 4, 1, 0),
        Kind::Int | Kind::Int64 | Kind::Uint | Kind::Uint64 | Kind::Uintptr => {
            registers(8, 8, 1, 0)
        }
        Kind::UnsafePointer | Kind::Pointer(_) | Kind::Map(..) | Kind::Chan(..) | Kind::Func(_) => {
            registers(8, 8, 1, 0)
        }
        Kind::Float32 => registers(4, 4, 0, 1),
        Kind::Float64 => registers(8, 8, 0, 1),
        Kind::Complex64 => registers(8, 4, 0, 2),
        Kind::Complex128 => registers(16, 8, 0, 2),
        Kind::String | Kind::Interface(_) => registers(16, 8, 2, 0),
        Kind::Slice(_) => registers(24, 8, 3, 0),
        Kind::Array(len, elem) => Some(array(*len, by_value(elem, || Role::Element)?)?),
        Kind::Struct(fields) => Some(structure(fields)?),
        Kind::Named(named) => named.underlying.as_ref().and_then(Type::layout),
        Kind::C(ty) => Some(c_type(kind, ty)?),
    })
}

/// The layout of a type that is used by value, or why it can't be.
pub(super) fn by_value(ty: &Type, role: impl FnOnce() -> Role) -> Result<Layout, TypeError> {
    ty.layout().ok_or_else(|| TypeError::Opaque {
        role: role(),
        name: short(ty).to_string(),
    })
}

fn array(len: u64, elem: Layout) -> Result<Layout, TypeError> {
    if len > i64::MAX as u64 {
        return Err(TypeError::ArrayLength { found: len });
    }
    let size = len.checked_mul(elem.size).filter(|&size| size <= MAX_SIZE);
    let size = size.ok_or_else(|| TypeError::TooLarge {
        what: format!("array of {len} x {} bytes", elem.size),
    })?;
    let need = match len {
        0 => Some(Need::NONE),
        1 => elem.need,
        _ => None,
    };
    Ok(Layout {
        size,
        align: elem.align,
        need,
    })
}

fn structure(fields: &[Field]) -> Result<Layout, TypeError> {
    let mut whole = Layout {
        size: 0,
        align: 1,
        need: Some(Need::NONE),
    };
    let mut last_size = 1;
    for field in fields {
        let layout = by_value(&field.ty, || Role::Field(field.name.to_string()))?;
        whole.size = round_up(whole.size, layout.align) + layout.size;
        if whole.size > MAX_SIZE {
            return Err(TypeError::TooLarge {
                what: format!("struct up to field {}", field.name),
            });
        }
        whole.align = whole.align.max(layout.align);
        whole.need = whole.need.zip(layout.need).and_then(|(a, b)| a.plus(b));
        last_size = layout.size;
    }
    // A pointer to an empty last field must not point behind the struct.
    if whole.size > 0 && last_size == 0 {
        whole.size += 1;
    }
    whole.size = round_up(whole.size, whole.align);
    if whole.size > MAX_SIZE {
        return Err(TypeError::TooLarge {
            what: format!("struct of {} fields", fields.len()),
        });
    }
    Ok(whole)
}

/// A type that only C has: by System V's rules, and never in Go's registers.
fn c_type(kind: &Kind, ty: &CType) -> Result<Layout, TypeError> {
    if let CType::Record(record) = ty {
        for member in &record.members {
            by_value(&member.ty, || Role::Field(member.name.to_string()))?;
        }
    }
    let layout = DataModel::SYSTEM_V.composite(kind);
    let layout = layout.filter(|layout| layout.size <= MAX_SIZE);
    let layout = layout.ok_or_else(|| TypeError::TooLarge {
        what: "struct or union of C".into(),
    })?;
    Ok(Layout {
        size: layout.size,
        align: layout.align,
        need: None,
    })
}

/// Gives each field its offset.
pub(super) fn place_fields(fields: &mut [Field]) {
    let mut at = 0;
    for field in fields {
        if let Some(layout) = field.ty.layout() {
            field.offset = round_up(at, layout.align);
            at = field.offset.saturating_add(layout.size);
        }
    }
}

pub(super) fn has_pointers(kind: &Kind) -> bool {
    match kind {
        Kind::String | Kind::UnsafePointer | Kind::Pointer(_) | Kind::Slice(_) => true,
        Kind::Map(..) | Kind::Chan(..) | Kind::Func(_) | Kind::Interface(_) => true,
        Kind::Array(len, elem) => *len > 0 && elem.has_pointers(),
        Kind::Struct(fields) => fields.iter().any(|field| field.ty.has_pointers()),
        Kind::Named(named) => named.underlying.as_ref().is_some_and(Type::has_pointers),
        Kind::C(ty) => {
            let mut found = false;
            ty.for_each_child(&mut |child| found |= child.has_pointers());
            found
        }
        _ => false,
    }
}

pub(super) fn is_go(kind: &Kind) -> bool {
    match kind {
        Kind::C(_) => false,
        Kind::Array(_, elem) => elem.is_go(),
        Kind::Struct(fields) => fields.iter().all(|field| field.ty.is_go()),
        Kind::Named(named) => named.underlying.as_ref().is_none_or(Type::is_go),
        _ => true,
    }
}

pub(super) fn is_comparable(kind: &Kind) -> bool {
    match kind {
        Kind::Slice(_) | Kind::Map(..) | Kind::Func(_) => false,
        Kind::Array(_, elem) => elem.is_comparable(),
        Kind::Struct(fields) => fields.iter().all(|field| field.ty.is_comparable()),
        Kind::Named(named) => named.underlying.as_ref().is_none_or(Type::is_comparable),
        Kind::C(ty) => !matches!(ty, CType::Record(_)),
        _ => true,
    }
}

/// Calls `f` with each type directly inside.
pub(super) fn for_each_child(kind: &Kind, f: &mut dyn FnMut(&Type)) {
    let func = |func: &FuncType, f: &mut dyn FnMut(&Type)| {
        func.params.iter().chain(&func.results).for_each(f)
    };
    match kind {
        Kind::Pointer(ty) | Kind::Array(_, ty) | Kind::Slice(ty) | Kind::Chan(_, ty) => f(ty),
        Kind::Map(key, value) => {
            f(key);
            f(value);
        }
        Kind::Func(ty) => func(ty, f),
        Kind::Struct(fields) => fields.iter().for_each(|field| f(&field.ty)),
        Kind::Interface(methods) => methods.iter().for_each(|method| func(&method.ty, f)),
        Kind::Named(named) => named.underlying.iter().for_each(f),
        Kind::C(ty) => ty.for_each_child(f),
        _ => {}
    }
}

/// By a key of this process, so that no text can be written whose types all have the same hash.
pub(super) fn hash_of(kind: &Kind) -> u64 {
    static KEY: LazyLock<(u64, u64)> = LazyLock::new(|| {
        let key = RandomState::new();
        (key.hash_one(0), key.hash_one(1) | 1)
    });
    let (state, factor) = *KEY;
    let mut mixed = Mixed { state, factor };
    kind.hash(&mut mixed);
    mixed.finish()
}

/// A hash by one wide multiplication for each word.
struct Mixed {
    state: u64,
    factor: u64,
}

impl Mixed {
    fn mix(&mut self, word: u64) {
        let wide = u128::from(self.state ^ word) * u128::from(self.factor);
        self.state = (wide as u64) ^ (wide >> 64) as u64;
    }
}

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

impl Type {
    /// Calls `f` with the byte offset of each word that holds a pointer into the heap, in ascending
    /// order.
    ///
    /// Of an interface only the data word counts: types and itabs are not heap objects. Time and
    /// number of calls grow with the number of such words, so a huge array of pointers takes long.
    pub fn for_each_pointer_word(&self, f: &mut dyn FnMut(u64)) {
        self.pointer_words(0, f);
    }

    fn pointer_words(&self, at: u64, f: &mut dyn FnMut(u64)) {
        if !self.has_pointers() {
            return;
        }
        match self.underlying() {
            Kind::Interface(_) => f(at + WORD),
            Kind::Array(len, elem) => {
                let size = elem.layout().map_or(0, |layout| layout.size);
                (0..*len).for_each(|i| elem.pointer_words(at + i * size, f));
            }
            Kind::Struct(fields) => fields
                .iter()
                .for_each(|field| field.ty.pointer_words(at + field.offset, f)),
            Kind::C(_) => {
                // A union's members may name a word twice.
                let mut words = Vec::new();
                for member in DataModel::SYSTEM_V.members(self) {
                    member
                        .ty
                        .pointer_words(at + member.offset, &mut |word| words.push(word));
                }
                words.sort_unstable();
                words.dedup();
                words.into_iter().for_each(f);
            }
            _ => f(at),
        }
    }
}

impl ChanDir {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            ChanDir::Both => "chan ",
            ChanDir::Receive => "<-chan ",
            ChanDir::Send => "chan<- ",
        }
    }
}
