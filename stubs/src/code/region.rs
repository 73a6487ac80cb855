//! Which bytes of a region are free, and where code goes in it. Nothing is written here.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;

use crate::unwind::{CallState, Registration};

/// Code is placed at multiples of this; also what x86-64 and arm64 want of a function.
pub(super) const GRANULE: usize = 16;
/// Code that runs over and over is placed inside one line of the instruction cache where it fits: a loop of a few
/// instructions that crosses a line takes a quarter longer.
const LINE: usize = 64;
/// Bytes of a region: enough for well over a thousand stubs.
pub(super) const REGION: usize = 256 << 10;

/// A stretch of the arena, for code that unwinders see alike.
#[derive(Debug)]
pub(super) struct Region {
    state: Option<CallState>,
    /// Free ranges, by offset from the arena's start; neighbours are merged.
    free: BTreeMap<usize, usize>,
    /// Held for its `Drop`.
    registration: Option<Registration>,
}

impl Region {
    /// All free, from `start` on.
    pub(super) fn new(
        start: usize,
        state: Option<&CallState>,
        registration: Option<Registration>,
    ) -> Region {
        Region {
            state: state.cloned(),
            free: BTreeMap::from([(start, REGION)]),
            registration,
        }
    }

    /// Whether its code is seen as `state`.
    pub(super) fn is_for(&self, state: Option<&CallState>) -> bool {
        self.state.as_ref() == state
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    pub(super) fn free_bytes(&self) -> usize {
        self.free.values().sum()
    }

    /// Room for `bytes`, of which those at `hot` run over and over: the first that fits.
    pub(super) fn take(&mut self, bytes: usize, hot: &Range<usize>) -> Option<usize> {
        let (start, room, offset) = self
            .free
            .iter()
            .map(|(&start, &room)| (start, room, place(start, hot)))
            .find(|&(start, room, offset)| offset + bytes <= start + room)?;
        self.take_at(start, room, offset, bytes);
        Some(offset)
    }

    /// Takes `bytes` at `offset` out of the free range of `room` bytes at `start`.
    fn take_at(&mut self, start: usize, room: usize, offset: usize, bytes: usize) {
        self.free.remove(&start);
        if offset > start {
            self.free.insert(start, offset - start);
        }
        let (end, taken) = (start + room, offset + bytes);
        if end > taken {
            self.free.insert(taken, end - taken);
        }
    }

    /// Frees what was taken.
    pub(super) fn give_back(&mut self, mut offset: usize, mut bytes: usize) {
        if let Some((&before, &room)) = self.free.range(..offset).next_back()
            && before + room == offset
        {
            self.free.remove(&before);
            (offset, bytes) = (before, bytes + room);
        }
        if let Some(room) = self.free.remove(&(offset + bytes)) {
            bytes += room;
        }
        self.free.insert(offset, bytes);
    }
}

/// The first place from `start` on where `hot` lies inside a line; `start` if it fits into none.
fn place(start: usize, hot: &Range<usize>) -> usize {
    (start..start + LINE)
        .step_by(GRANULE)
        .find(|offset| (offset + hot.start) % LINE + hot.len() <= LINE)
        .unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_lie_inside_a_line() {
        let mut region = Region::new(REGION, None, None);
        for (bytes, hot) in [(96, 0x1f..0x41), (160, 0x36..0x76), (32, 0..0), (96, 8..40)] {
            let offset = region.take(bytes, &hot).unwrap();
            assert_eq!(offset % GRANULE, 0);
            let (first, last) = (offset + hot.start, offset + hot.end.max(1) - 1);
            assert!(hot.len() > LINE - GRANULE || first / LINE == last / LINE);
        }
    }

    #[test]
    fn too_long_a_loop_goes_anywhere() {
        assert_eq!(place(16, &(0..65)), 16);
    }

    #[test]
    fn all_comes_back() {
        let mut region = Region::new(0, None, None);
        let mut taken = Vec::new();
        while let Some(offset) = region.take(96, &(0x1f..0x41)) {
            taken.push(offset);
        }
        assert!(taken.len() > REGION / 128 - 2);
        assert!(region.free_bytes() < REGION / 3);
        for (n, offset) in taken.iter().enumerate() {
            assert!(taken[..n].iter().all(|other| offset.abs_diff(*other) >= 96));
        }
        taken.sort_by_key(|offset| offset.wrapping_mul(0x9e37_79b9) % 251);
        for offset in taken {
            region.give_back(offset, 96);
        }
        assert_eq!(region.free, BTreeMap::from([(0, REGION)]));
    }
}
