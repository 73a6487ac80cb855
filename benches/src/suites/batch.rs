//! One batch of records, and the ways to call them all. Has unsafe code: enters stubs.
#![expect(unsafe_code, reason = "enters stubs")]

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicPtr;

use fing_stubs::{
    Abi, Arch, CacheOptions, CodePolicy, GBlock, Record, Signature, Stub, StubCache, StubError,
};

use crate::by_hand::{Ffi, Records};
use crate::callees::{self, Callee, Kind};

/// Records of a batch: those of one block of fing's finalizer queue, 16 KiB.
pub(crate) const RECORDS: usize = 512;

/// How records are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A Rust loop of indirect calls, by hand.
    Loop,
    /// One call of a batch stub for System V callees.
    Stub,
    /// The same stub, entered once for each record.
    OneByOne,
    /// One call of a batch stub for Go callees with this many integer argument registers.
    Go(usize),
    /// fing without generated code.
    Interpreter,
    /// libffi with a prepared call interface.
    Libffi,
}

impl Way {
    /// All, in the order of the tables.
    pub(crate) fn all() -> impl Iterator<Item = Way> {
        let go = (0..=9).map(Way::Go);
        [Way::Loop, Way::Stub, Way::OneByOne]
            .into_iter()
            .chain(go)
            .chain([Way::Interpreter, Way::Libffi])
    }

    /// The figure for calls of this kind.
    pub(crate) fn figure(self, kind: Kind) -> String {
        let kind = kind.name();
        match self {
            Way::Loop | Way::Libffi => format!("{self}.{kind}"),
            _ => format!("fing.{self}-{kind}"),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Loop => f.write_str("loop"),
            Way::Stub => f.write_str("stub"),
            Way::OneByOne => f.write_str("stub-one-by-one"),
            Way::Go(n) => write!(f, "stub-go-{n}"),
            Way::Interpreter => f.write_str("interpreter"),
            Way::Libffi => f.write_str("libffi"),
        }
    }
}

/// A callee's batch and one way to call it.
pub(crate) struct Calls {
    objects: Box<[Cell<[u64; 2]>]>,
    caller: Caller,
}

enum Caller {
    Loop(Records),
    Libffi(Records, Ffi),
    Stub(Batch),
    OneByOne(Batch),
}

/// Records and the stub that calls them.
struct Batch {
    stub: Arc<Stub>,
    records: Vec<Record>,
    progress: AtomicPtr<Record>,
    g: GBlock,
}

impl Calls {
    /// Prepares everything that a runtime would prepare once. `kind` returns nothing.
    ///
    /// # Errors
    /// The stub's.
    pub(crate) fn new(way: Way, callee: Callee, kind: Kind) -> Result<Calls, StubError> {
        let (code, abi) = match way {
            Way::Go(n) => (
                callees::go(callee, kind, n),
                Abi::go(Arch::Amd64).with_int_arg_regs(n)?,
            ),
            _ => (callees::system_v(callee, kind), Abi::system_v()),
        };
        let objects: Box<[Cell<[u64; 2]>]> = (0..RECORDS).map(|_| Cell::default()).collect();
        let record = |object: &Cell<[u64; 2]>| {
            let object = object.as_ptr().expose_provenance() as u64;
            let words = match kind {
                Kind::Interface => [code as u64, object],
                Kind::Pointer | Kind::Results => [object, 0],
            };
            Record {
                code,
                context: 0,
                words,
            }
        };
        let records: Vec<Record> = objects.iter().map(record).collect();
        // SAFETY: the records are of a System V callee of the kind if the way is by hand, and of
        // objects that live as long as they do.
        let by_hand = |records| unsafe { Records::of(kind, records) };
        let caller = match way {
            Way::Loop => Caller::Loop(by_hand(records)),
            Way::Libffi => Caller::Libffi(by_hand(records), Ffi::new(kind)),
            Way::OneByOne => {
                Caller::OneByOne(Batch::new(records, kind, abi, CodePolicy::Generate)?)
            }
            Way::Stub | Way::Go(_) => {
                Caller::Stub(Batch::new(records, kind, abi, CodePolicy::Generate)?)
            }
            Way::Interpreter => {
                Caller::Stub(Batch::new(records, kind, abi, CodePolicy::Interpret)?)
            }
        };
        Ok(Calls { objects, caller })
    }

    /// Calls all records.
    #[inline(never)]
    pub(crate) fn run(&self) {
        match &self.caller {
            Caller::Loop(records) => records.run(),
            Caller::Libffi(records, ffi) => records.run_by_libffi(ffi),
            Caller::Stub(batch) => batch.run(&batch.records),
            Caller::OneByOne(batch) => {
                for record in &batch.records {
                    batch.run(std::slice::from_ref(record));
                }
            }
        }
    }

    /// The objects' first words: how often each was touched, if the callee touches.
    pub(crate) fn touched(&self) -> impl Iterator<Item = u64> {
        self.objects.iter().map(|object| object.get()[0])
    }
}

impl Batch {
    fn new(
        records: Vec<Record>,
        kind: Kind,
        abi: Abi,
        policy: CodePolicy,
    ) -> Result<Batch, StubError> {
        let signature: Signature = match kind {
            Kind::Interface => "func(any)".parse()?,
            Kind::Pointer | Kind::Results => "func(*int)".parse()?,
        };
        let options = CacheOptions::default().policy(policy);
        Ok(Batch {
            stub: StubCache::new(options)?.for_signature(&signature, abi)?,
            records,
            progress: AtomicPtr::default(),
            g: GBlock::zeroed(),
        })
    }

    #[inline]
    fn run(&self, records: &[Record]) {
        let range = records.as_ptr_range();
        let end = AtomicPtr::new(range.end.cast_mut());
        // SAFETY: every record was made for a callee of the stub's ABI and an object that lives as
        // long.
        unsafe { self.stub.run(range.start, &end, &self.progress, &self.g) }
    }
}

/// Nanoseconds that a call takes in a batch of calls of a Go function that returns at once, with
/// room on its frame for so many bytes of results.
///
/// # Errors
/// No stub for that.
pub(crate) fn with_frame(cache: &StubCache, bytes: u64) -> Result<f64, StubError> {
    let signature: Signature = format!("func(*int) [{bytes}]uint8").parse()?;
    let stub = cache.for_signature(&signature, Abi::go(Arch::Amd64))?;
    let record = Record {
        code: callees::go(Callee::Empty, Kind::Pointer, 9),
        ..Record::default()
    };
    let records = [record; RECORDS];
    let begun = std::time::Instant::now();
    // SAFETY: the callee touches neither its argument nor its frame.
    unsafe { stub.run_all(&records, &GBlock::zeroed()) };
    Ok(crate::measure::clock::since(begun, records.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_calls_every_record_once() {
        for way in Way::all() {
            for kind in Kind::PLAIN {
                let touching = Calls::new(way, Callee::Touching, kind).unwrap();
                touching.run();
                assert!(touching.touched().all(|n| n == 1), "{way} {kind:?}");
                let before = callees::calls();
                Calls::new(way, Callee::Counting, kind).unwrap().run();
                assert_eq!(callees::calls() - before, RECORDS as u64, "{way} {kind:?}");
                let empty = Calls::new(way, Callee::Empty, kind).unwrap();
                empty.run();
                assert!(empty.touched().all(|n| n == 0));
            }
        }
    }
}
