//! One registration: 16 bytes, of which 8 are the object.
#![forbid(unsafe_code)]

use crate::order::CyclePolicy;

/// The kind of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Weak = 1,
    Finalizer = 2,
    Cleanup = 3,
}

/// Sets of kinds.
pub(super) const WEAK: u8 = 1 << Kind::Weak as u8;
pub(super) const FINALIZERS: u8 = 1 << Kind::Finalizer as u8;
pub(super) const CLEANUPS: u8 = 1 << Kind::Cleanup as u8;

/// Bits of an entry's `meta`. Bits 0 and 1 are the kind (0: free), 2 and 3 the policy.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Flag {
    /// The entry's word is a reference, and traced.
    Reference = 1 << 4,
    /// Its roots were traced at the start of this collection.
    Early = 1 << 5,
    /// The call is due: it waits to be queued, and is a root.
    Due = 1 << 6,
    /// Its cycle was reported.
    Reported = 1 << 7,
    /// The finalizer is a watcher.
    Watcher = 1 << 8,
}

/// Where the stamp begins, which changes whenever an entry gets reused, so that old ids are
/// recognized. Finalizers that are no watchers have no ids, and leave the stamp as it is.
const STAMP: u32 = 9;
const LAST_STAMP: u32 = u32::MAX >> STAMP;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) object: u64,
    pub(super) shape: u32,
    meta: u32,
}

const _: () = assert!(size_of::<Entry>() == 16);

impl Entry {
    /// Makes this a registration, with these flags.
    #[inline]
    pub(super) fn fill(
        &mut self,
        kind: Kind,
        object: u64,
        shape: u32,
        policy: CyclePolicy,
        flags: u32,
    ) {
        let policy = match policy {
            CyclePolicy::Leave => 0,
            CyclePolicy::Unordered => 1,
            CyclePolicy::Break => 2,
            CyclePolicy::Report => 3,
        };
        *self = Entry {
            object,
            shape,
            meta: self.meta & LAST_STAMP << STAMP | flags | policy << 2 | kind as u32,
        };
    }

    /// Frees the entry. Returns false if it has no more stamps and must not be used again.
    #[inline]
    pub(super) fn empty(&mut self) -> bool {
        let named = self.is_watcher() || !matches!(self.kind(), Some(Kind::Finalizer) | None);
        let stamp = self.stamp();
        let again = !named || stamp < LAST_STAMP;
        *self = Entry {
            meta: (stamp + u32::from(named && again)) << STAMP,
            ..Entry::default()
        };
        again
    }

    #[inline]
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.meta & 3 {
            1 => Some(Kind::Weak),
            2 => Some(Kind::Finalizer),
            3 => Some(Kind::Cleanup),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn is_watcher(&self) -> bool {
        self.has(Flag::Watcher)
    }

    pub(super) fn policy(&self) -> CyclePolicy {
        match self.meta >> 2 & 3 {
            0 => CyclePolicy::Leave,
            1 => CyclePolicy::Unordered,
            2 => CyclePolicy::Break,
            _ => CyclePolicy::Report,
        }
    }

    #[inline]
    pub(super) fn has(&self, flag: Flag) -> bool {
        self.meta & flag as u32 != 0
    }

    /// Whether it has one of these flags.
    #[inline]
    pub(super) fn has_any(&self, flags: u32) -> bool {
        self.meta & flags != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flag: Flag, on: bool) {
        self.meta = self.meta & !(flag as u32) | if on { flag as u32 } else { 0 };
    }

    pub(super) fn stamp(&self) -> u32 {
        self.meta >> STAMP
    }

    /// Whether it is neither free nor due.
    #[inline]
    pub(super) fn is_registered(&self) -> bool {
        self.kind().is_some() && !self.has(Flag::Due)
    }

    /// Whether its kind is in a set of kinds.
    #[inline]
    pub(super) fn is_one_of(&self, kinds: u8) -> bool {
        kinds >> (self.meta & 3) & 1 != 0
    }

    /// Its key, if it belongs in the index.
    #[inline]
    pub(super) fn key(&self) -> Option<(Kind, u64)> {
        let kind = self.kind().filter(|kind| *kind != Kind::Cleanup)?;
        (self.is_registered() && !self.is_watcher()).then_some((kind, self.object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_are_known_until_the_numbers_are_used_up() {
        let mut entry = Entry::default();
        let fill = |entry: &mut Entry, kind| {
            entry.fill(kind, 7, 3, CyclePolicy::Report, Flag::Reference as u32);
        };
        fill(&mut entry, Kind::Weak);
        assert_eq!((entry.key(), entry.stamp()), (Some((Kind::Weak, 7)), 0));
        assert_eq!(entry.policy(), CyclePolicy::Report);
        assert!(entry.empty() && entry.kind().is_none());
        fill(&mut entry, Kind::Finalizer);
        assert!(entry.has(Flag::Reference) && entry.stamp() == 1);
        entry.set(Flag::Due, true);
        assert!(entry.key().is_none() && !entry.is_registered());
        assert!(entry.empty());
        let watcher = Flag::Watcher as u32;
        entry.fill(Kind::Finalizer, 7, 3, CyclePolicy::Leave, watcher);
        assert!(entry.is_watcher() && entry.key().is_none() && entry.stamp() == 1);
        assert!(entry.empty() && !entry.is_watcher());
        for stamp in 2..=LAST_STAMP {
            assert_eq!(entry.stamp(), stamp);
            fill(&mut entry, Kind::Cleanup);
            assert!(entry.key().is_none() && entry.is_registered());
            assert_eq!(entry.empty(), stamp < LAST_STAMP);
        }
        assert_eq!((entry.stamp(), entry.kind()), (LAST_STAMP, None));
    }
}
