//! Which bytes of a region are free, and where code goes in it. Nothing is written here.
#![forbid(unsafe_code)]

use std::ops::Range;

use crate::unwind::{CallState, Registration};

/// Code takes whole granules.
pub(super) const GRANULE: usize = 8;
/// Code that runs over and over is placed inside one line of the instruction cache where it fits: a
/// loop of a few instructions that crosses a line takes a quarter longer.
const LINE: usize = 64;
/// Bytes at the beginning of a region where loops are placed by lines; the stubs of most programs
/// fit there.
const BY_LINE: usize = 32 << 10;
/// Bytes of a region: enough for a good two thousand stubs.
pub(super) const REGION: usize = 256 << 10;

const GRANULES: usize = REGION / GRANULE;
const BITS: usize = u64::BITS as usize;

/// A stretch of the arena, for code that unwinders see alike.
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

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region")
            .field("start", &self.start)
            .field("state", &self.state)
            .field("free_bytes", &self.free_bytes())
            .finish_non_exhaustive()
    }
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

    /// Room for `bytes`, of which those at `hot` run over and over: where these lie inside a line,
    /// and when there is no such place left, anywhere. The offset is a multiple of `align`, at most
    /// a line.
    pub(super) fn take(&mut self, bytes: usize, align: usize, hot: &Range<usize>) -> Option<usize> {
        let wanted = bytes.div_ceil(GRANULE);
        if wanted >= self.refused {
            return None;
        }
        let mut found = None;
        if self.lines && !hot.is_empty() {
            let end = BY_LINE / GRANULE;
            found = self.find(end, wanted, |granule, room| {
                let pad = pad(granule * GRANULE, align, hot);
                (pad < GRANULE && pad + bytes <= room * GRANULE).then_some(pad)
            });
            self.lines = found.is_some();
        }
        let anywhere = |granule: usize, _| (granule * GRANULE).is_multiple_of(align).then_some(0);
        let Some((granule, pad)) = found.or_else(|| self.find(GRANULES, wanted, anywhere)) else {
            if align <= GRANULE {
                self.refused = wanted;
            }
            return None;
        };
        let count = (pad + bytes).div_ceil(GRANULE);
        self.cursor = granule + count;
        self.mark(granule, count, true);
        Some(self.start + granule * GRANULE + pad)
    }

    /// The first granule with so many free ones in a row that `suits`, from the cursor on or else
    /// from the start, before `end`; it is told the granule and how many are free from there, a few
    /// beyond `wanted` at most.
    fn find(
        &self,
        end: usize,
        wanted: usize,
        suits: impl Fn(usize, usize) -> Option<usize>,
    ) -> Option<(usize, usize)> {
        let from = |start| self.find_from(start, end, wanted, &suits);
        from(self.cursor).or_else(|| from(0))
    }

    fn find_from(
        &self,
        mut granule: usize,
        end: usize,
        wanted: usize,
        suits: &impl Fn(usize, usize) -> Option<usize>,
    ) -> Option<(usize, usize)> {
        while granule + wanted <= end {
            let rest = self.used[granule / BITS] >> (granule % BITS);
            if rest & 1 == 1 {
                granule += rest.trailing_ones() as usize;
                continue;
            }
            // A line is a few granules: if none of the first places in a row suits, none does.
            let room = self.room(granule, wanted + 2 * LINE / GRANULE);
            let row = granule + room;
            let places = granule..(row + 1).saturating_sub(wanted).min(end);
            let found = places
                .into_iter()
                .find_map(|place| Some((place, suits(place, row - place)?)));
            if found.is_some() {
                return found;
            }
            granule = row;
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
        self.mark(granule, span(offset, bytes) / GRANULE, false);
        self.cursor = self.cursor.min(granule);
        self.refused = GRANULES + 1;
        self.lines = self.by_line;
    }
}

/// Bytes of the granules that code takes.
pub(super) fn span(offset: usize, bytes: usize) -> usize {
    (offset % GRANULE + bytes).next_multiple_of(GRANULE)
}

/// Bytes to leave free at `offset` for a multiple of `align` from where `hot` lies inside a line;
/// if it fits into none, for the multiple alone.
fn pad(offset: usize, align: usize, hot: &Range<usize>) -> usize {
    let first = offset.next_multiple_of(align) - offset;
    (first..first + LINE)
        .step_by(align)
        .find(|pad| (offset + pad + hot.start) % LINE + hot.len() <= LINE)
        .unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_lie_inside_a_line() {
        for align in [1, 2, 4, 16] {
            let mut region = Region::new(REGION, None, true, None);
            let mut held: Vec<Range<usize>> = Vec::new();
            for (bytes, hot) in [
                (96, 0x1f..0x41),
                (160, 0x36..0x76),
                (32, 0..0),
                (107, 26..90),
            ] {
                let offset = region.take(bytes, align, &hot).unwrap();
                assert_eq!(offset % align, 0);
                let (first, last) = (offset + hot.start, offset + hot.end.max(1) - 1);
                let fits = (0..LINE)
                    .step_by(align)
                    .any(|at| (at + hot.start) % LINE + hot.len() <= LINE);
                assert!(!fits || hot.is_empty() || first / LINE == last / LINE);
                let code = offset..offset + bytes;
                assert!(
                    held.iter()
                        .all(|other| other.end <= code.start || code.end <= other.start)
                );
                held.push(code);
            }
        }
    }

    #[test]
    fn too_long_a_loop_goes_anywhere() {
        assert_eq!(pad(16, 1, &(0..65)), 0);
        assert_eq!(pad(16, 1, &(0..64)), 48);
        assert_eq!(pad(32, 1, &(26..90)), 6);
        assert_eq!(pad(32, 4, &(26..90)), 0);
        assert_eq!(pad(32, 4, &(26..88)), 8);
        assert_eq!(pad(40, 16, &(0..65)), 8);
    }

    /// Loops are placed by lines first, and then everything is filled.
    #[test]
    fn all_comes_back() {
        let mut region = Region::new(0, None, true, None);
        let mut taken = Vec::new();
        while let Some(offset) = region.take(90, 1, &(0x1f..0x5f)) {
            taken.push(offset);
        }
        let by_line = taken.iter().filter(|offset| (*offset + 0x1f) % LINE == 0);
        assert!((BY_LINE / 128 - 1..BY_LINE / 64).contains(&by_line.count()));
        for (n, offset) in taken.iter().enumerate() {
            assert!(taken[..n].iter().all(|other| offset.abs_diff(*other) >= 90));
        }
        assert!(region.free_bytes() < REGION / 20);
        let small = std::iter::from_fn(|| region.take(16, 16, &(0..0))).collect::<Vec<_>>();
        assert_eq!(region.free_bytes(), 0);
        for offset in small {
            region.give_back(offset, 16);
        }
        taken.sort_by_key(|offset| offset.wrapping_mul(0x9e37_79b9) % 251);
        for offset in taken {
            region.give_back(offset, 90);
        }
        assert_eq!(region.free_bytes(), REGION);
        assert_eq!(region.take(REGION, 16, &(0..0)), Some(0));
        assert_eq!(region.take(1, 16, &(0..0)), None);
    }

    #[test]
    fn what_is_freed_is_taken_again() {
        let mut region = Region::new(REGION, None, true, None);
        let wanted = [112, 16, 240, 48, 4000, 112, 96];
        let taken: Vec<usize> = wanted
            .iter()
            .map(|&bytes| region.take(bytes, 16, &(0..0)).unwrap())
            .collect();
        for (&offset, &bytes) in taken.iter().zip(&wanted) {
            region.give_back(offset, bytes);
            assert_eq!(region.take(bytes, 16, &(0..0)), Some(offset));
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
            let found = region.take(bytes, 1, &(0..0));
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
