//! Which bytes of a region are free, and where code goes in it. Nothing is written here.
#![forbid(unsafe_code)]

use std::ops::Range;

use crate::unwind::{CallState, Registration};

/// Code is placed at multiples of this; also what x86-64 and arm64 want of a function.
pub(super) const GRANULE: usize = 16;
/// Code that runs over and over is placed inside one line of the instruction cache where it fits: a loop of a few
/// instructions that crosses a line takes a quarter longer.
const LINE: usize = 64;
/// Bytes of a region: enough for a good two thousand stubs.
pub(super) const REGION: usize = 256 << 10;

const GRANULES: usize = REGION / GRANULE;
const BITS: usize = u64::BITS as usize;

/// A stretch of the arena, for code that unwinders see alike.
#[derive(Debug)]
pub(super) struct Region {
    /// Offset from the arena's start.
    start: usize,
    state: Option<CallState>,
    /// One bit for each granule.
    used: Box<[u64; GRANULES / BITS]>,
    free: usize,
    /// Searches begin at this granule.
    cursor: usize,
    /// So many granules in a row have been looked for in vain since something was freed.
    refused: usize,
    /// Loops are placed by lines, as long as there are places left.
    lines: bool,
    by_line: bool,
    /// Held for its `Drop`.
    registration: Option<Registration>,
}

impl Region {
    /// All free, from `start` on; for loops placed by lines, or else densely.
    pub(super) fn new(
        start: usize,
        state: Option<&CallState>,
        by_line: bool,
        registration: Option<Registration>,
    ) -> Region {
        Region {
            start,
            state: state.cloned(),
            used: Box::new([0; GRANULES / BITS]),
            free: GRANULES,
            cursor: 0,
            refused: GRANULES + 1,
            lines: by_line,
            by_line,
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
        self.free * GRANULE
    }

    /// Room for `bytes`, of which those at `hot` run over and over: where these lie inside a line, and when there is no
    /// such place left, anywhere.
    pub(super) fn take(&mut self, bytes: usize, hot: &Range<usize>) -> Option<usize> {
        let wanted = bytes.div_ceil(GRANULE);
        if wanted >= self.refused {
            return None;
        }
        let by_line = |granule: usize| fits_line(granule * GRANULE, hot);
        let mut found = None;
        if self.lines && !hot.is_empty() {
            found = self.find(wanted, by_line);
            self.lines = found.is_some();
        }
        let Some(granule) = found.or_else(|| self.find(wanted, |_| true)) else {
            self.refused = wanted;
            return None;
        };
        self.mark(granule, wanted, true);
        Some(self.start + granule * GRANULE)
    }

    /// The first free granules in a row, from the cursor on or else from the start, whose first `suits`.
    fn find(&mut self, wanted: usize, suits: impl Fn(usize) -> bool) -> Option<usize> {
        let cursor = self.cursor;
        let found = self
            .find_from(cursor, wanted, &suits)
            .or_else(|| self.find_from(0, wanted, &suits))?;
        self.cursor = found + wanted;
        Some(found)
    }

    fn find_from(
        &self,
        mut granule: usize,
        wanted: usize,
        suits: &impl Fn(usize) -> bool,
    ) -> Option<usize> {
        while granule + wanted <= GRANULES {
            let rest = self.used[granule / BITS] >> (granule % BITS);
            if rest & 1 == 1 {
                granule += rest.trailing_ones() as usize;
                continue;
            }
            // A line is a few granules; of more places in one row none suits if the first of them do not.
            let room = self.room(granule, wanted + LINE / GRANULE);
            let places = granule..(granule + room + 1).saturating_sub(wanted);
            if let Some(place) = places.into_iter().find(|&place| suits(place)) {
                return Some(place);
            }
            granule += room.max(1);
        }
        None
    }

    /// Free granules in a row from this one on, up to `most`.
    fn room(&self, granule: usize, most: usize) -> usize {
        let end = (granule + most).min(GRANULES);
        let mut at = granule;
        while at < end {
            let rest = self.used[at / BITS] >> (at % BITS);
            let free = (rest.trailing_zeros() as usize).min(BITS - at % BITS);
            at += free;
            if free < BITS - (at - free) % BITS {
                break;
            }
        }
        at.min(end) - granule
    }

    fn mark(&mut self, first: usize, count: usize, taken: bool) {
        for granule in first..first + count {
            let bit = 1 << (granule % BITS);
            if taken {
                self.used[granule / BITS] |= bit;
            } else {
                self.used[granule / BITS] &= !bit;
            }
        }
        self.free = if taken {
            self.free - count
        } else {
            self.free + count
        };
    }

    /// Frees what was taken.
    pub(super) fn give_back(&mut self, offset: usize, bytes: usize) {
        let granule = (offset - self.start) / GRANULE;
        self.mark(granule, bytes.div_ceil(GRANULE), false);
        self.cursor = self.cursor.min(granule);
        self.refused = GRANULES + 1;
        self.lines = self.by_line;
    }
}

/// Whether `hot` lies inside a line if the code is at `offset`; true if it fits into none.
fn fits_line(offset: usize, hot: &Range<usize>) -> bool {
    let in_line = |offset: usize| (offset + hot.start) % LINE + hot.len() <= LINE;
    in_line(offset) || !(0..LINE).step_by(GRANULE).any(in_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_lie_inside_a_line() {
        let mut region = Region::new(REGION, None, true, None);
        for (bytes, hot) in [(96, 0x1f..0x41), (160, 0x36..0x76), (32, 0..0), (96, 8..40)] {
            let offset = region.take(bytes, &hot).unwrap();
            assert_eq!(offset % GRANULE, 0);
            let (first, last) = (offset + hot.start, offset + hot.end.max(1) - 1);
            assert!(hot.len() > LINE - GRANULE || first / LINE == last / LINE);
        }
    }

    #[test]
    fn too_long_a_loop_goes_anywhere() {
        assert!(fits_line(16, &(0..65)));
        assert!(!fits_line(16, &(0..64)));
    }

    #[test]
    fn all_comes_back() {
        let mut region = Region::new(0, None, true, None);
        let mut taken = Vec::new();
        while let Some(offset) = region.take(96, &(0x1f..0x41)) {
            taken.push(offset);
        }
        // First by lines, one in 128 bytes; nothing fits between them.
        assert!(taken.len() > REGION / 128 - 2);
        assert!(region.free_bytes() < REGION / 3);
        for (n, offset) in taken.iter().enumerate() {
            assert!(taken[..n].iter().all(|other| offset.abs_diff(*other) >= 96));
        }
        while region.take(16, &(0..0)).is_some() {}
        assert_eq!(region.free_bytes(), 0);
        let mut region = Region::new(0, None, true, None);
        taken
            .iter()
            .for_each(|&offset| assert_eq!(region.take(96, &(0x1f..0x41)), Some(offset)));
        taken.sort_by_key(|offset| offset.wrapping_mul(0x9e37_79b9) % 251);
        for offset in taken {
            region.give_back(offset, 96);
        }
        assert_eq!(region.free_bytes(), REGION);
        assert_eq!(region.take(REGION, &(0..0)), Some(0));
        assert_eq!(region.take(1, &(0..0)), None);
    }

    #[test]
    fn what_is_freed_is_taken_again() {
        let mut region = Region::new(REGION, None, true, None);
        let wanted = [112, 16, 240, 48, 4000, 112, 96];
        let taken: Vec<usize> = wanted
            .iter()
            .map(|&bytes| region.take(bytes, &(0..0)).unwrap())
            .collect();
        for (&offset, &bytes) in taken.iter().zip(&wanted) {
            region.give_back(offset, bytes);
            assert_eq!(region.take(bytes, &(0..0)), Some(offset));
        }
    }

    /// Against a search granule by granule.
    #[test]
    fn rows_are_found_as_by_looking_at_each_granule() {
        let mut region = Region::new(0, None, true, None);
        let mut held: Vec<(usize, usize)> = Vec::new();
        let mut state = 1_u64;
        for round in 0..4000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (bytes, pick) = (16 + (state >> 40) as usize % 3000, (state >> 20) as usize);
            if round % 3 == 2 && !held.is_empty() {
                let (offset, bytes) = held.swap_remove(pick % held.len());
                region.give_back(offset, bytes);
                continue;
            }
            let wanted = bytes.div_ceil(GRANULE);
            let free = |granule: usize| region.used[granule / BITS] >> (granule % BITS) & 1 == 0;
            let mut row = 0;
            let possible = (0..GRANULES).any(|granule| {
                row = if free(granule) { row + 1 } else { 0 };
                row >= wanted
            });
            let found = region.take(bytes, &(0..0));
            assert_eq!(found.is_some(), possible, "round {round}: {bytes} bytes");
            if let Some(offset) = found {
                let new = offset..offset + wanted * GRANULE;
                for &(other, bytes) in &held {
                    let end = other + bytes.next_multiple_of(GRANULE);
                    assert!(end <= new.start || new.end <= other);
                }
                held.push((offset, bytes));
            }
        }
    }
}
