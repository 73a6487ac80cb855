//! What one would write without fing: records in a vector, and a loop that calls them, for one signature by a function
//! pointer and for any by libffi. Room with unsafe code: calls addresses.
#![expect(unsafe_code, reason = "calls functions by their addresses")]

use std::ffi::c_void;
use std::mem::transmute;

use libffi::middle::{Cif, Type};
use libffi::raw::ffi_call;

use crate::bench::subject::{Fault, Laps, Phase, Round, Subject, Work, resident, shuffled};
use crate::callees::{self, Kind, OfInterface, OfPointer, Results, WithResults};

/// One call, as large as a record of fing's queue.
#[derive(Clone, Copy)]
struct Entry {
    code: usize,
    _context: usize,
    words: [u64; 2],
}

/// Records in a vector.
pub(crate) struct ByHand {
    kind: Kind,
    /// By libffi, through its description of the function.
    cif: Option<Cif>,
    objects: usize,
    targets: u8,
    /// Whether memory is measured, not time.
    grows: bool,
    entries: Vec<Entry>,
}

impl ByHand {
    /// `None`: there is no such work by hand, for it takes a collector.
    pub(crate) fn new(kind: Kind, libffi: bool, work: Work, objects: usize) -> Option<ByHand> {
        let targets = match work {
            Work::Cycle { dead: 100, targets } => targets,
            Work::Memory => 1,
            _ => return None,
        };
        Some(ByHand {
            kind,
            cif: libffi.then(|| description(kind)),
            objects,
            targets,
            grows: work == Work::Memory,
            entries: Vec::new(),
        })
    }

    fn run(&self) {
        // SAFETY: I8: every address is one of the kind's functions, which look at no object; the description is the kind's.
        unsafe {
            match (&self.cif, self.kind) {
                (Some(cif), kind) => by_libffi(&self.entries, cif, kind),
                (None, Kind::Pointer) => each(&self.entries, |entry| {
                    transmute::<usize, OfPointer>(entry.code)(entry.words[0]);
                }),
                (None, Kind::Interface) => each(&self.entries, |entry| {
                    let [itab, object] = entry.words;
                    transmute::<usize, OfInterface>(entry.code)(itab, object);
                }),
                (None, Kind::Results) => each(&self.entries, |entry| {
                    transmute::<usize, WithResults>(entry.code)(entry.words[0]);
                }),
            }
        }
    }
}

fn description(kind: Kind) -> Cif {
    match kind {
        Kind::Pointer => Cif::new([Type::pointer()], Type::void()),
        Kind::Interface => Cif::new([Type::pointer(), Type::pointer()], Type::void()),
        Kind::Results => {
            let bytes = Type::structure(std::iter::repeat_n(Type::u8(), 10));
            let results = Type::structure([Type::i64(), Type::f32(), bytes]);
            Cif::new([Type::pointer()], results)
        }
    }
}

#[inline(always)]
fn each(entries: &[Entry], call: impl Fn(&Entry)) {
    for entry in entries {
        call(entry);
    }
}

/// # Safety
/// Every address is a function that `cif` describes, of at most two words, whose result is of the kind.
#[inline(never)]
unsafe fn by_libffi(entries: &[Entry], cif: &Cif, kind: Kind) {
    let mut results = std::mem::MaybeUninit::<Results>::uninit();
    let into: *mut c_void = match kind {
        Kind::Results => results.as_mut_ptr().cast(),
        Kind::Pointer | Kind::Interface => std::ptr::null_mut(),
    };
    for entry in entries {
        let mut words = entry
            .words
            .each_ref()
            .map(|word| std::ptr::from_ref(word).cast_mut().cast::<c_void>());
        // SAFETY: I5: the caller's promise; libffi reads as many words as it was told of.
        unsafe {
            let function = transmute::<usize, unsafe extern "C" fn()>(entry.code);
            ffi_call(cif.as_raw_ptr(), Some(function), into, words.as_mut_ptr());
        }
    }
}

impl Subject for ByHand {
    fn round(&mut self) -> Result<Round, Fault> {
        let functions = self.kind.system_v();
        let before = callees::calls();
        let mut laps = Laps::new(self.objects);
        self.entries.clear();
        self.entries.shrink_to_fit();
        let small = if self.grows { resident()? } else { 0.0 };
        laps.begin();
        let entry = |(n, target): (usize, usize)| Entry {
            code: functions[target],
            _context: 0,
            words: [n as u64; 2],
        };
        if self.targets == 1 {
            for n in 0..self.objects {
                self.entries.push(std::hint::black_box(entry((n, 0))));
            }
        } else {
            for at in (0..self.objects).zip(shuffled(self.targets)) {
                self.entries.push(std::hint::black_box(entry(at)));
            }
        }
        if self.grows {
            laps.note(Phase::Memory, resident()? - small);
        } else if self.cif.is_none() {
            laps.end(Phase::Register);
        }
        laps.begin();
        self.run();
        laps.end(Phase::Drain);
        let found = callees::calls() - before;
        if found == self.objects as u64 {
            Ok(laps.finish())
        } else {
            Err(format!("by hand: {found} calls, wanted {}", self.objects).into())
        }
    }
}
