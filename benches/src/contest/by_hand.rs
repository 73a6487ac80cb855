//! Records in a vector and a loop over them as a subject, in this process.
#![forbid(unsafe_code)]

use super::work::{Work, phase};
use crate::by_hand::{Ffi, Records};
use crate::callees::{self, Kind};
use crate::measure::clock::Laps;
use crate::measure::memory::resident;
use crate::measure::random::below;
use crate::measure::{Fault, Round, Subject, expect};

/// Calls of one kind, by a function pointer or by libffi.
pub(crate) struct ByHand {
    kind: Kind,
    ffi: Option<Ffi>,
    objects: usize,
    targets: u8,
    /// Whether memory is measured, not time.
    grows: bool,
    records: Records,
}

impl ByHand {
    /// `None`: the work takes a collector, so there is no such work by hand.
    pub(crate) fn new(kind: Kind, libffi: bool, work: Work, objects: usize) -> Option<ByHand> {
        let targets = match work {
            Work::Cycle { dead: 100, targets } => targets,
            Work::Memory => 1,
            _ => return None,
        };
        Some(ByHand {
            kind,
            ffi: libffi.then(|| Ffi::new(kind)),
            objects,
            targets,
            grows: work == Work::Memory,
            records: Records::new(kind),
        })
    }
}

impl Subject for ByHand {
    fn round(&mut self) -> Result<Round, Fault> {
        let before = callees::calls();
        let mut laps = Laps::new(self.objects);
        self.records = Records::new(self.kind);
        let small = if self.grows { resident()? } else { 0.0 };
        laps.begin();
        if self.targets == 1 {
            for n in 0..self.objects {
                self.records.push(0, std::hint::black_box(n as u64));
            }
        } else {
            for (n, target) in (0..self.objects).zip(below(self.targets)) {
                self.records.push(target, std::hint::black_box(n as u64));
            }
        }
        if self.grows {
            laps.note(phase::MEMORY, resident()? - small);
        } else if self.ffi.is_none() {
            laps.end(phase::REGISTER);
        }
        laps.begin();
        match &self.ffi {
            Some(ffi) => self.records.run_by_libffi(ffi),
            None => self.records.run(),
        }
        laps.end(phase::DRAIN);
        expect("by hand: calls", callees::calls() - before, self.objects)?;
        Ok(laps.finish())
    }
}
