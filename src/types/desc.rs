//! The descriptor of one type: what the heap and interface values need, computed once.
#![forbid(unsafe_code)]

use super::pointers::Pointers;
use fing_stubs::signature::{Kind, Type};
use std::fmt::{self, Write};
use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Identifies a type of one runtime. Using it with another runtime is refused with
/// [`TypesError::Foreign`](super::TypesError::Foreign), and after the type was given back with
/// [`TypesError::GivenBack`](super::TypesError::GivenBack).
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct TypeId {
    pub(super) universe: u64,
    pub(super) index: u32,
    /// How many types with this index were given back before.
    pub(super) generation: u32,
}

impl TypeId {
    /// The universe that it is of.
    #[inline]
    pub(crate) fn universe(self) -> u64 {
        self.universe
    }

    /// Its number in that.
    #[inline]
    pub(crate) fn index(self) -> u32 {
        self.index
    }

    /// The type's slot in a direct-mapped cache of `of` slots (a power of two).
    #[inline]
    pub(crate) fn slot(self, of: usize) -> usize {
        self.index as usize & (of - 1)
    }
}

impl fmt::Debug for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypeId({})", self.index)
    }
}

/// The descriptor of a type. It never moves and lives as long as its type, which is as long as the
/// runtime unless it is [released](super::Types::release): its address is in the header of every
/// object of the type, and in interface values.
#[derive(Debug)]
pub struct TypeDesc {
    id: TypeId,
    ty: Type,
    size: usize,
    align: usize,
    pointers: Pointers,
    /// Elements behind the value, in objects of the type.
    tail: Option<Tail>,
    /// What all its objects have from the beginning; fixed when the first is made at the latest.
    implied: OnceLock<Option<Implied>>,
    /// The type of pointers to it, once that was asked for.
    pub(super) pointer: PointerId,
    /// Whether the type stays for good, even if it is released.
    kept: AtomicBool,
    /// Whether only the runtime may touch its objects.
    sealed: bool,
}

/// The id of a type's pointer type, 0 while it is not known: the index plus one, the generation.
#[derive(Debug)]
pub(super) struct PointerId {
    universe: u64,
    bits: AtomicU64,
}

impl PointerId {
    pub(super) fn get(&self) -> Option<TypeId> {
        let bits = self.bits.load(Relaxed);
        Some(TypeId {
            universe: self.universe,
            index: (bits as u32).checked_sub(1)?,
            generation: (bits >> 32) as u32,
        })
    }

    pub(super) fn set(&self, id: TypeId) {
        // The last index has none to stand for it, and is looked up each time.
        let index = id.index.wrapping_add(1);
        let bits = u64::from(id.generation) << 32 | u64::from(index);
        self.bits.store(bits, Relaxed);
    }
}

/// What all objects of a type have from the beginning.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Implied {
    /// The id of each.
    pub(crate) id: NonZeroU32,
    /// The heap's pool for their blocks.
    pub(crate) pool: usize,
}

/// Elements behind a value of the type, as many as its object has room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) element: TypeId,
    /// Where the first one starts, in bytes from the object's start.
    pub(crate) first: usize,
    /// Bytes from one to the next.
    pub(crate) stride: usize,
    /// Which words of each the collector follows.
    pub(crate) pointers: Pointers,
}

impl Tail {
    /// How many elements an object of so many bytes has.
    #[inline]
    pub(crate) fn capacity(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.first) / self.stride
    }

    /// Bytes of an object of so many elements; `None`: more than an address space has.
    pub(crate) fn bytes(&self, elements: usize) -> Option<usize> {
        elements.checked_mul(self.stride)?.checked_add(self.first)
    }
}

impl TypeDesc {
    /// `None`: the type is opaque, or too large for the address space.
    pub(super) fn new(id: TypeId, ty: Type) -> Option<TypeDesc> {
        let layout = ty.layout()?;
        let (size, align) = (
            usize::try_from(layout.size).ok()?,
            usize::try_from(layout.align).ok()?,
        );
        Some(TypeDesc {
            id,
            size,
            align,
            pointers: Pointers::of(&ty),
            tail: None,
            implied: OnceLock::new(),
            pointer: PointerId {
                universe: id.universe,
                bits: AtomicU64::new(0),
            },
            kept: AtomicBool::new(false),
            sealed: match ty.kind() {
                Kind::Struct(fields) => {
                    let first = fields.first().and_then(|field| field.ty.name());
                    first == Some(super::ARGUMENT)
                }
                _ => false,
            },
            ty,
        })
    }

    /// The same type with elements behind its value.
    pub(super) fn with_tail(self, element: &TypeDesc) -> TypeDesc {
        let tail = Some(element.as_tail(self.size));
        TypeDesc { tail, ..self }
    }

    /// Elements of this type behind a value of so many bytes.
    pub(super) fn as_tail(&self, bytes: usize) -> Tail {
        Tail {
            element: self.id,
            first: bytes.next_multiple_of(self.align),
            stride: self.size,
            pointers: self.pointers.clone(),
        }
    }

    /// Elements behind the value, in objects of the type.
    #[inline]
    pub(crate) fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// The type of the elements of an [array type](super::Types::define_array).
    pub fn element(&self) -> Option<TypeId> {
        Some(self.tail.as_ref()?.element)
    }

    /// The byte offset of the first element in objects of an
    /// [array type](super::Types::define_array), and the bytes from one element to the next.
    pub fn elements_at(&self) -> Option<(usize, usize)> {
        self.tail.as_ref().map(|tail| (tail.first, tail.stride))
    }

    /// Whether word `index` of an object of the type is a pointer, elements included.
    #[inline]
    pub(crate) fn is_pointer_word(&self, index: usize) -> bool {
        match &self.tail {
            Some(tail) if index * 8 >= tail.first => {
                // Elements with pointers are aligned to words.
                let words = tail.stride / 8;
                words > 0 && tail.pointers.contains((index - tail.first / 8) % words)
            }
            _ => self.pointers.contains(index),
        }
    }

    /// The type's id in its universe.
    pub fn id(&self) -> TypeId {
        self.id
    }

    /// The type itself. Its `Display` is the name in Go's syntax.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// The underlying type: what the type is made of, whatever its name.
    pub fn kind(&self) -> &Kind {
        self.ty.underlying()
    }

    /// The byte offset of a field, if the type is a struct that has one of this name. For the
    /// promise that generated code may rely on see `docs/embedding.md`.
    pub fn field_offset(&self, name: &str) -> Option<usize> {
        let Kind::Struct(fields) = self.kind() else {
            return None;
        };
        let field = fields.iter().find(|field| &*field.name == name)?;
        usize::try_from(field.offset).ok()
    }

    /// Size of a value, in bytes; for an [array type](super::Types::define_array) without the
    /// elements behind it.
    #[inline]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Alignment of a value, in bytes: 1, 2, 4 or 8.
    pub fn align(&self) -> usize {
        self.align
    }

    /// The type hash in the third word of an itab: computed from the printed type, so it is the
    /// same in every run.
    pub fn hash(&self) -> u32 {
        hash(&self.ty)
    }

    /// Whether a value holds anything the collector follows, or an object of the type does.
    pub fn has_pointers(&self) -> bool {
        let tail = || {
            self.tail
                .as_ref()
                .is_some_and(|tail| !tail.pointers.is_empty())
        };
        !self.pointers.is_empty() || tail()
    }

    /// From now on the type stays for good: something that is not counted names it.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Relaxed);
    }

    /// Whether the type stays for good.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Relaxed)
    }

    /// Fixes what all objects of the type have from the beginning. Only the first call has an
    /// effect; every call returns what was fixed.
    pub(crate) fn imply(&self, implied: Option<Implied>) -> Option<Implied> {
        *self.implied.get_or_init(|| implied)
    }

    /// Whether its objects have something from the beginning, as far as that is fixed.
    pub(crate) fn implies(&self) -> bool {
        self.implied.get().is_some_and(Option::is_some)
    }

    /// Whether only the runtime may touch its objects: what they hold was checked once.
    #[inline]
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Which words the collector follows.
    #[inline]
    pub(crate) fn pointers(&self) -> &Pointers {
        &self.pointers
    }

    /// The descriptor's address: first word of an empty interface that holds such a value. It is
    /// valid until the type is given back: an interface that holds no object names no type.
    pub fn address(&self) -> usize {
        std::ptr::from_ref(self).expose_provenance()
    }
}

/// FNV-1a, 32 bits, of what is written.
struct Fnv(u32);

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        self.0 = text.bytes().fold(self.0, step);
        Ok(())
    }
}

/// The hash of the printed type, of which no copy is made.
fn hash(ty: &Type) -> u32 {
    let mut hash = Fnv(0x811c_9dc5);
    match write!(hash, "{ty}") {
        Ok(()) => hash.0,
        Err(_) => unreachable!("neither a type nor the hash returns an error"),
    }
}
