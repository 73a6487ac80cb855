//! A record as stubs read it, and its tag: what the queue knows of it besides its words.
#![forbid(unsafe_code)]

// Not the types of `base::sync`, which a model checker replaces: stubs read these words directly.
use std::sync::atomic::{AtomicU64, Ordering};

use fing_stubs::Record;

use super::kinds::CallKind;

/// A record in its place in a block, laid out as a [`Record`]. Stubs read it; a collection may
/// write its references while the thread that runs the block is inside a call.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Slot(pub(super) [AtomicU64; 4]);

const _: () = {
    assert!(size_of::<Slot>() == size_of::<Record>() && align_of::<Slot>() == align_of::<Record>());
    assert!(std::mem::offset_of!(Record, code) == 0);
    assert!(std::mem::offset_of!(Record, context) == 8);
    assert!(std::mem::offset_of!(Record, words) == 16);
};

impl Slot {
    #[inline]
    pub(super) fn new(record: &Record) -> Slot {
        let [first, second] = record.words;
        Slot([record.code as u64, record.context as u64, first, second].map(AtomicU64::new))
    }

    /// The record as it is now.
    #[inline]
    pub(crate) fn record(&self) -> Record {
        let [code, context, first, second] =
            self.0.each_ref().map(|word| word.load(Ordering::Relaxed));
        Record {
            code: code as usize,
            context: context as usize,
            words: [first, second],
        }
    }

    /// Word `n` of its argument.
    #[inline]
    pub(crate) fn word(&self, n: usize) -> u64 {
        let [_, _, words @ ..] = &self.0;
        words[n].load(Ordering::Relaxed)
    }

    /// The context.
    #[inline]
    pub(crate) fn context(&self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }

    /// Sets the context. Only by the thread that runs the block, for a context that is no
    /// reference.
    pub(crate) fn set_context(&self, context: usize) {
        self.0[1].store(context as u64, Ordering::Relaxed);
    }

    /// Sets the address that is called.
    pub(crate) fn set_code(&self, code: usize) {
        self.0[0].store(code as u64, Ordering::Relaxed);
    }
}

/// Identifies a queued call. An object has one queued finalizer of its own at a time: it is a root
/// until the call has returned, so that no collection finds it dead again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallId {
    /// The finalizer that is called with this word.
    Finalizer(u64),
    /// The cleanup with this number, which its registry has given out.
    Cleanup(u64),
    /// The watcher with this number, which its registry has given out.
    Watcher(u64),
}

impl CallId {
    pub(crate) fn kind(self) -> CallKind {
        match self {
            CallId::Finalizer(_) | CallId::Watcher(_) => CallKind::Finalizer,
            CallId::Cleanup(_) => CallKind::Cleanup,
        }
    }
}

/// What the queue keeps of a record that no stub and no tag has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owned {
    /// Identifies the call of a cleanup or a watcher; not looked at for others.
    pub(crate) number: u64,
    /// Bytes outside the heap that the object owns.
    pub(crate) external: u64,
}

/// Which references of records are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum References {
    All,
    /// Contexts, and arguments of cleanups.
    Held,
    /// The objects of finalizers.
    Objects,
}

/// What the collector and the finalizer goroutine know of a record beside its words: its shape,
/// whether it is a cleanup's or a watcher's, and which of its words are references.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tag(u32);

impl Tag {
    /// Word 0 is a reference.
    pub(crate) const WORD_0: u8 = 1;
    /// Word 1 is a reference.
    pub(crate) const WORD_1: u8 = 2;
    /// The context is a reference.
    pub(crate) const CONTEXT: u8 = 4;
    /// The record is a cleanup's.
    pub(crate) const CLEANUP: u8 = 8;
    /// The record is a watcher's.
    pub(crate) const WATCHER: u8 = 16;
    /// The record has a number by which it can be cancelled.
    pub(super) const NUMBERED: u8 = Tag::CLEANUP | Tag::WATCHER;

    const BITS: u32 = 5;
    const MASK: u8 = (1 << Tag::BITS) - 1;

    /// `shape` is an index into the table of shapes, below 2^27; `bits` are those above.
    pub(crate) fn new(shape: u32, bits: u8) -> Tag {
        Tag(shape << Tag::BITS | u32::from(bits & Tag::MASK))
    }

    pub(crate) fn shape(self) -> u32 {
        self.0 >> Tag::BITS
    }

    /// The tag of a watcher's record, where this is that of a finalizer's.
    pub(crate) fn of_watcher(self) -> Tag {
        Tag(self.0 | u32::from(Tag::WATCHER))
    }

    pub(crate) fn kind(self) -> CallKind {
        match self.has(Tag::CLEANUP) {
            true => CallKind::Cleanup,
            false => CallKind::Finalizer,
        }
    }

    /// The same tag for a record of another shape.
    pub(crate) fn with_shape(self, shape: u32) -> Tag {
        Tag::new(shape, self.0 as u8 & Tag::MASK)
    }

    /// Whether it has one of these bits.
    #[inline]
    pub(crate) fn has(self, bits: u8) -> bool {
        self.0 & u32::from(bits) != 0
    }

    /// The index of the word that holds the object's address, which is the one that differs between
    /// the records of a packed block.
    #[inline]
    pub(crate) fn own_word(self) -> usize {
        usize::from(self.0 & 3 == u32::from(Tag::WORD_1))
    }

    /// The word of a finalizer's record that is its object.
    #[inline]
    pub(crate) fn object_of(self, record: &Record) -> u64 {
        record.words[self.own_word()]
    }

    /// By what the call of a record is found to be cancelled: the object of a finalizer, or the
    /// number of a cleanup or a watcher.
    #[inline]
    pub(super) fn call_id(self, own_word: u64, number: u64) -> CallId {
        match (self.kind(), self.has(Tag::WATCHER)) {
            (CallKind::Cleanup, _) => CallId::Cleanup(number),
            (CallKind::Finalizer, true) => CallId::Watcher(number),
            (CallKind::Finalizer, false) => CallId::Finalizer(own_word),
        }
    }

    /// The words of `slot` that are references of these.
    pub(super) fn references(
        self,
        of: References,
        slot: &Slot,
    ) -> impl Iterator<Item = &AtomicU64> {
        let wanted = self.among(of);
        let [_, context, first, second] = &slot.0;
        [
            (Tag::WORD_0, first),
            (Tag::WORD_1, second),
            (Tag::CONTEXT, context),
        ]
        .into_iter()
        .filter(move |(bit, _)| wanted.has(*bit))
        .map(|(_, word)| word)
    }

    /// The tag of a record that has no other references than these.
    pub(super) fn among(self, of: References) -> Tag {
        let own = match self.kind() {
            CallKind::Finalizer => 1 << self.own_word(),
            CallKind::Cleanup => 0,
        };
        Tag(match of {
            References::All => self.0,
            References::Held => self.0 & !own,
            References::Objects => self.0 & (own | !7),
        })
    }
}
