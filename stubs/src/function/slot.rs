//! The values of a signature: where each lies in its block, and which Rust types it may have.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::arg::Source;
use super::fits::fits;
use crate::{Abi, BlockLayout, Type};

/// Rust types of a value that are told by their address.
const KNOWN: usize = 4;

/// A value in a block.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) ty: Type,
    pub(super) at: usize,
    pub(super) size: usize,
    /// Addresses of the first sources that were found to fit, from the first on; 0 is none.
    known: [AtomicUsize; KNOWN],
}

impl Slot {
    /// The values of a block.
    pub(super) fn all<'a>(
        abi: Abi,
        layout: &BlockLayout,
        types: impl Iterator<Item = &'a Type>,
    ) -> Box<[Slot]> {
        let slots = types.zip(layout.offsets()).map(|(ty, &at)| Slot {
            ty: ty.clone(),
            at: at as usize,
            size: abi.layout_of(ty).map_or(0, |layout| layout.size) as usize,
            known: Default::default(),
        });
        slots.collect()
    }

    /// Whether a value of this type, or so many bytes, may be given or taken here.
    #[inline(always)]
    pub(super) fn takes(&self, typed: Option<&'static Source>, size: usize) -> bool {
        match typed {
            Some(source) => self.is_known(source) || self.takes_other(source),
            None => size == self.size,
        }
    }

    /// Whether it is the first source that was found to fit. What a source says never changes, so
    /// its address is all that threads have to agree about.
    #[inline(always)]
    fn is_known(&self, source: &'static Source) -> bool {
        self.known[0].load(Relaxed) == address(source)
    }

    #[cold]
    fn takes_other(&self, source: &'static Source) -> bool {
        let address = address(source);
        if self
            .known
            .iter()
            .any(|known| known.load(Relaxed) == address)
        {
            return true;
        }
        let takes = source.size == self.size && fits(&(source.ty)(), &self.ty);
        if takes {
            let free = |known: &&AtomicUsize| {
                let taken = known.compare_exchange(0, address, Relaxed, Relaxed);
                taken.is_ok()
            };
            self.known.iter().find(free);
        }
        takes
    }
}

#[inline(always)]
fn address(source: &'static Source) -> usize {
    std::ptr::from_ref(source).addr()
}
