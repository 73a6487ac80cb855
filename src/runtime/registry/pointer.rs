//! The pointers that safe code passes to registrations, and checks of what is where they point.
#![forbid(unsafe_code)]

use fing_stubs::signature::{Kind, Type};

use crate::calls::options::FinalizerOptions;
use crate::heap::Heap;
use crate::runtime::object::Obj;
use crate::types::{TypeDesc, TypeId, Types};

/// A value and its type, as in an interface of Go: what
/// [`set_finalizer`](crate::Mutator::set_finalizer) takes as the object. An [`Obj`] converts to a
/// pointer to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer<'m>(pub(super) Held<'m>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held<'m> {
    Nil,
    Object(Obj<'m>),
    Word(TypeId, usize),
}

impl<'m> Pointer<'m> {
    /// The nil interface: no type, no value.
    pub const NIL: Pointer<'static> = Pointer(Held::Nil);

    /// A value of type `ty` whose one word is `word`: for pointers that are not the address of a
    /// whole object. When it is registered, it is checked that a value of the type that `ty` points
    /// to is at `word`.
    pub fn typed(ty: TypeId, word: usize) -> Pointer<'m> {
        Pointer(Held::Word(ty, word))
    }
}

impl<'m> From<Obj<'m>> for Pointer<'m> {
    fn from(object: Obj<'m>) -> Pointer<'m> {
        Pointer(Held::Object(object))
    }
}

impl FinalizerOptions<Obj<'_>> {
    /// Sets how many bytes outside the heap the object owns; see
    /// [`set_external_bytes`](crate::Mutator::set_external_bytes).
    pub fn external_bytes(mut self, bytes: usize) -> Self {
        self.external_bytes = bytes;
        self
    }
}

/// Whether a value of type `wanted` is `offset` bytes behind the start of an object of type `of`
/// that has `size` bytes.
pub(super) fn lies_in(
    (heap, types): (&Heap, &Types),
    (of, size): (&TypeDesc, usize),
    offset: usize,
    wanted: &TypeDesc,
) -> bool {
    if heap.is_tiny_block(of) {
        return lies_in_tiny(of, offset, wanted);
    }
    match of.tail() {
        Some(tail) if offset >= tail.first => {
            let (element, inside) = (types.desc(tail.element), offset - tail.first);
            let is_there = inside / tail.stride < tail.capacity(size);
            let at = (inside % tail.stride) as u64;
            is_there && element.is_ok_and(|element| lies_at(types, element.ty(), at, wanted))
        }
        _ => lies_at(types, of.ty(), offset as u64, wanted),
    }
}

/// Whether a value of type `wanted` can be `offset` bytes behind the start of an object that is a
/// block of tiny values: their types are not remembered, and none of them has pointers.
fn lies_in_tiny(block: &TypeDesc, offset: usize, wanted: &TypeDesc) -> bool {
    let fits = wanted.size() <= block.size() - offset;
    // Blocks are aligned as all types are.
    !wanted.has_pointers() && fits && offset.is_multiple_of(wanted.align())
}

/// Whether a value of type `wanted` is `offset` bytes behind the start of a value of type
/// `container`.
fn lies_at(types: &Types, container: &Type, offset: u64, wanted: &TypeDesc) -> bool {
    if offset == 0 && types.intern(container).is_ok_and(|id| id == wanted.id()) {
        return true;
    }
    let size = |ty: &Type| ty.layout().map_or(0, |layout| layout.size);
    match container.underlying() {
        Kind::Struct(fields) => fields.iter().any(|field| {
            let inside = offset.checked_sub(field.offset);
            inside
                .filter(|&inside| inside < size(&field.ty))
                .is_some_and(|inside| lies_at(types, &field.ty, inside, wanted))
        }),
        Kind::Array(count, of) => match size(of) {
            0 => false,
            each if offset / each >= *count => false,
            each => lies_at(types, of, offset % each, wanted),
        },
        _ => false,
    }
}
