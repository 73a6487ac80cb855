//! Errors of the heap.
#![forbid(unsafe_code)]

use crate::types::TypesError;
use std::fmt;

/// The heap could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeapError {
    /// The limit is above [`HeapOptions::MAX_LIMIT`](crate::HeapOptions::MAX_LIMIT).
    #[error("heap: limit {limit} bytes, wanted at most {max}")]
    Limit {
        /// Bytes asked for.
        limit: usize,
        /// The largest limit, in bytes.
        max: usize,
    },
    /// The operating system did not reserve the address range.
    #[error("heap: reserving {bytes} bytes of addresses: {source}")]
    Reserve {
        /// Bytes asked for.
        bytes: usize,
        /// The system's error.
        source: std::io::Error,
    },
    /// The type of tiny blocks could not be defined.
    #[error("heap: blocks of tiny values: {0}")]
    Tiny(#[from] TypesError),
}

/// An object could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocError {
    /// The heap's limit leaves no room for the object, or no contiguous room for a large one.
    #[error("alloc {ty}: {requested} bytes requested, {in_use} in use, limit {limit}")]
    HeapLimit {
        /// The type of the object.
        ty: String,
        /// Bytes of the object.
        requested: usize,
        /// Bytes of the blocks in use.
        in_use: usize,
        /// The heap's limit in bytes.
        limit: usize,
    },
    /// Objects of the type have no elements.
    #[error("alloc array of {ty}: it has no elements, wanted a type of Types::define_array")]
    NoArray {
        /// The type.
        ty: String,
    },
    /// No address space has room for so many elements.
    #[error(
        "alloc array of {ty}: found {elements} elements, wanted what an address space can hold"
    )]
    TooLong {
        /// The type.
        ty: String,
        /// The number given.
        elements: usize,
    },
    /// Objects of the type can't be made in advance.
    #[error("window for {ty}: {reason}, wanted objects of 16 bytes to 8 KiB in cells of their own")]
    NoWindow {
        /// The type.
        ty: String,
        /// Why not.
        reason: &'static str,
    },
    /// The mutator that made the window is gone.
    #[error("alloc in a window for {ty}: its mutator is gone, wanted one that exists")]
    ClosedWindow {
        /// The type.
        ty: String,
    },
    /// The window belongs to another runtime.
    #[error("alloc in a window: it belongs to another runtime, wanted one of this runtime")]
    ForeignWindow,
    /// The type is not one of this runtime.
    #[error(transparent)]
    Type(#[from] TypesError),
}

/// An object or one of its words could not be accessed.
///
/// One word: what an access returns is in registers, whether it has read something or failed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct AccessError(Box<AccessErrorKind>);

impl AccessError {
    /// Returns what was wrong.
    pub fn kind(&self) -> &AccessErrorKind {
        &self.0
    }
}

impl fmt::Debug for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.kind(), f)
    }
}

impl From<AccessErrorKind> for AccessError {
    #[cold]
    fn from(kind: AccessErrorKind) -> AccessError {
        AccessError(Box::new(kind))
    }
}

impl From<TypesError> for AccessError {
    #[cold]
    fn from(error: TypesError) -> AccessError {
        AccessErrorKind::Type(error).into()
    }
}

/// What was wrong with an access.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessErrorKind {
    /// The address is 0.
    #[error("address is nil, wanted an object")]
    Nil,
    /// The address is inside an object.
    #[error("address {addr:#x} is inside a {ty} at {base:#x}, wanted an object's start")]
    Interior {
        /// The address given.
        addr: usize,
        /// Start of the object.
        base: usize,
        /// The object's type.
        ty: String,
    },
    /// No object of this heap is there.
    #[error("address {addr:#x} is in no object of this heap")]
    NotInHeap {
        /// The address given.
        addr: usize,
    },
    /// The handle belongs to another runtime.
    #[error("handle belongs to another runtime, wanted one of this runtime")]
    ForeignHandle,
    /// The bytes are not all inside the object.
    #[error("{bytes} bytes at offset {offset} of {ty}, wanted bytes within its {size}")]
    OutOfBounds {
        /// The object's type.
        ty: String,
        /// Byte offset given.
        offset: usize,
        /// Bytes to be read or written.
        bytes: usize,
        /// Bytes of the object.
        size: usize,
    },
    /// The word does not start at a multiple of 8.
    #[error("word at offset {offset} of {ty}, wanted a multiple of 8")]
    Misaligned {
        /// The object's type.
        ty: String,
        /// Byte offset given.
        offset: usize,
    },
    /// The object is of another type than the field.
    #[error("field of {wanted}: the object is a {found}, wanted a {wanted}")]
    OtherType {
        /// The object's type.
        found: String,
        /// The field's type.
        wanted: String,
    },
    /// The object holds the argument of a cleanup, which was checked when it was added.
    #[error(
        "access to a {ty}: it holds the argument of a cleanup, wanted an object of the program's"
    )]
    Sealed {
        /// The type.
        ty: String,
    },
    /// Values of the type share blocks and have no type of their own.
    #[error("field of {ty}: such small values share blocks in this heap, wanted another type")]
    SharesBlock {
        /// The type.
        ty: String,
    },
    /// The field's bytes are not at a multiple of their number.
    #[error("field of {bytes} bytes at offset {offset} of {ty}, wanted a multiple of {bytes}")]
    MisalignedField {
        /// The type.
        ty: String,
        /// Byte offset given.
        offset: usize,
        /// Bytes of the field.
        bytes: usize,
    },
    /// The type is not one of this runtime.
    #[error(transparent)]
    Type(#[from] TypesError),
    /// The word is no pointer word, so the collector would not see a reference stored in it.
    #[error("word at offset {offset} of {ty} is no pointer, wanted a pointer word")]
    NotPointer {
        /// The object's type.
        ty: String,
        /// Byte offset given.
        offset: usize,
    },
    /// The word is a pointer word, which may be written only by methods that write pointers.
    #[error("word at offset {offset} of {ty} is a pointer, wanted a word of plain data")]
    IsPointer {
        /// The object's type.
        ty: String,
        /// Byte offset given.
        offset: usize,
    },
}
