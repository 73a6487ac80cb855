//! One batch of records, and the ways to call them all. Room with unsafe code.

use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use fing_stubs::{
    Abi, Arch, CacheOptions, CodePolicy, GBlock, Record, Signature, Stub, StubCache, StubError,
};
use libffi::middle::{Cif, Type};
use libffi::raw::ffi_call;

use crate::callees::{self, Argument, Callee};

/// Records of a batch: what one block of fing's finalizer queue holds, 16 KiB.
pub const RECORDS: usize = 512;

/// How records are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A Rust loop of indirect calls, by hand.
    Loop,
    /// One call of a batch stub for System V callees.
    Stub,
    /// The same stub, entered once for each record.
    OneByOne,
    /// One call of a batch stub for Go callees with this many integer argument registers.
    Go(u8),
    /// fing without generated code.
    Interpreter,
    /// libffi with a prepared call interface.
    Libffi,
}

impl Way {
    /// All, in the order of the tables.
    pub fn all() -> impl Iterator<Item = Way> {
        let go = (0..=9).map(Way::Go);
        [Way::Loop, Way::Stub, Way::OneByOne]
            .into_iter()
            .chain(go)
            .chain([Way::Interpreter, Way::Libffi])
    }

    /// The way of a name that `Display` gave.
    pub fn named(name: &str) -> Option<Way> {
        Way::all().find(|way| way.to_string() == name)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Loop => f.pad("loop"),
            Way::Stub => f.pad("stub"),
            Way::OneByOne => f.pad("stub-one-by-one"),
            Way::Go(n) => f.pad(&format!("stub-go-{n}")),
            Way::Interpreter => f.pad("interpreter"),
            Way::Libffi => f.pad("libffi"),
        }
    }
}

/// A Go closure: its code address, and a word for counting callees.
#[repr(C)]
struct Closure {
    code: usize,
    count: Cell<u64>,
}

/// A callee's batch and one way to call it.
pub struct Calls {
    records: Vec<Record>,
    objects: Box<[Cell<[u64; 2]>]>,
    closure: Box<Closure>,
    progress: AtomicPtr<Record>,
    g: GBlock,
    caller: Caller,
}

enum Caller {
    Loop(Argument),
    Stub(Arc<Stub>),
    OneByOne(Arc<Stub>),
    Libffi(Argument, Cif),
}

impl Calls {
    /// Prepares everything that a runtime would prepare once.
    ///
    /// # Errors
    /// The stub's.
    pub fn new(way: Way, callee: Callee, argument: Argument) -> Result<Calls, StubError> {
        let (code, abi) = match way {
            Way::Go(n) => (
                callees::go(callee, argument, n),
                Abi::go(Arch::Amd64).with_int_arg_regs(n.into())?,
            ),
            _ => (callees::system_v(callee, argument), Abi::system_v()),
        };
        let closure = Box::new(Closure {
            code,
            count: Cell::new(0),
        });
        let objects: Box<[Cell<[u64; 2]>]> = (0..RECORDS).map(|_| Cell::default()).collect();
        let records = objects.iter().map(|object| {
            let object = object.as_ptr().expose_provenance() as u64;
            Record {
                code,
                context: std::ptr::from_ref(&*closure).expose_provenance(),
                words: match argument {
                    Argument::Pointer => [object, 0],
                    Argument::Interface => [code as u64, object],
                },
            }
        });
        Ok(Calls {
            records: records.collect(),
            caller: Caller::new(way, argument, abi)?,
            objects,
            closure,
            progress: AtomicPtr::default(),
            g: GBlock::zeroed(),
        })
    }

    /// Calls all records.
    #[inline(never)]
    pub fn run(&self) {
        let (records, progress) = (self.records.as_slice(), &self.progress);
        // SAFETY: every record was made for a callee of the caller's ABI, its closure and an object; all live in `self`.
        unsafe {
            match &self.caller {
                Caller::Loop(Argument::Pointer) => loop_of_pointers(records, progress),
                Caller::Loop(Argument::Interface) => loop_of_interfaces(records, progress),
                Caller::Stub(stub) => run_stub(stub, records, progress, &self.g),
                Caller::OneByOne(stub) => {
                    for record in records {
                        run_stub(stub, std::slice::from_ref(record), progress, &self.g);
                    }
                }
                Caller::Libffi(argument, cif) => libffi_loop(*argument, cif, records, progress),
            }
        }
    }

    /// Calls that the callees have counted: all calls, if they count.
    pub fn counted(&self) -> u64 {
        debug_assert_eq!(self.closure.code, self.records[0].code);
        self.closure.count.get()
    }

    /// The objects' first words: how often each was touched, if the callee touches.
    pub fn touched(&self) -> impl Iterator<Item = u64> {
        self.objects.iter().map(|object| object.get()[0])
    }

    /// Whether the progress cell says that all records were run.
    pub fn is_finished(&self) -> bool {
        self.progress.load(Ordering::Acquire).cast_const() == self.records.as_ptr_range().end
    }
}

impl Caller {
    fn new(way: Way, argument: Argument, abi: Abi) -> Result<Caller, StubError> {
        let stub = |policy| {
            let signature: Signature = match argument {
                Argument::Pointer => "func(*int)".parse()?,
                Argument::Interface => "func(any)".parse()?,
            };
            let options = CacheOptions {
                policy,
                ..Default::default()
            };
            StubCache::new(options)?.for_signature(&signature, abi)
        };
        Ok(match way {
            Way::Loop => Caller::Loop(argument),
            Way::Stub | Way::Go(_) => Caller::Stub(stub(CodePolicy::Generate)?),
            Way::OneByOne => Caller::OneByOne(stub(CodePolicy::Generate)?),
            Way::Interpreter => Caller::Stub(stub(CodePolicy::Interpret)?),
            Way::Libffi => {
                let words = match argument {
                    Argument::Pointer => 1,
                    Argument::Interface => 2,
                };
                Caller::Libffi(
                    argument,
                    Cif::new((0..words).map(|_| Type::pointer()), Type::void()),
                )
            }
        })
    }
}

/// # Safety
/// As [`Stub::run`].
#[inline]
unsafe fn run_stub(stub: &Stub, records: &[Record], progress: &AtomicPtr<Record>, g: &GBlock) {
    let range = records.as_ptr_range();
    // SAFETY: handed on.
    unsafe { stub.run(range.start, range.end, progress, g) }
}

/// The limit: what one would write by hand for one signature.
///
/// # Safety
/// Each code address is a System V function of one pointer.
#[inline(never)]
unsafe fn loop_of_pointers(records: &[Record], progress: &AtomicPtr<Record>) {
    for record in records {
        progress.store(std::ptr::from_ref(record).cast_mut(), Ordering::Release);
        // SAFETY: the caller's promise.
        let callee = unsafe { std::mem::transmute::<usize, extern "C" fn(u64)>(record.code) };
        callee(record.words[0]);
    }
    progress.store(records.as_ptr_range().end.cast_mut(), Ordering::Release);
}

/// # Safety
/// Each code address is a System V function of two words.
#[inline(never)]
unsafe fn loop_of_interfaces(records: &[Record], progress: &AtomicPtr<Record>) {
    for record in records {
        progress.store(std::ptr::from_ref(record).cast_mut(), Ordering::Release);
        // SAFETY: the caller's promise.
        let callee = unsafe { std::mem::transmute::<usize, extern "C" fn(u64, u64)>(record.code) };
        callee(record.words[0], record.words[1]);
    }
    progress.store(records.as_ptr_range().end.cast_mut(), Ordering::Release);
}

/// # Safety
/// Each code address is a System V function of `cif`'s signature, which has as many words as `argument`.
#[inline(never)]
unsafe fn libffi_loop(
    argument: Argument,
    cif: &Cif,
    records: &[Record],
    progress: &AtomicPtr<Record>,
) {
    for record in records {
        progress.store(std::ptr::from_ref(record).cast_mut(), Ordering::Release);
        let word = |n: usize| {
            std::ptr::from_ref(&record.words[n])
                .cast_mut()
                .cast::<c_void>()
        };
        // SAFETY: the caller's promise; a pointer to each word, as many as the interface has; no result.
        unsafe {
            let callee = std::mem::transmute::<usize, unsafe extern "C" fn()>(record.code);
            let mut words = match argument {
                Argument::Pointer => [word(0), std::ptr::null_mut()],
                Argument::Interface => [word(0), word(1)],
            };
            ffi_call(
                cif.as_raw_ptr(),
                Some(callee),
                std::ptr::null_mut(),
                words.as_mut_ptr(),
            );
        }
    }
    progress.store(records.as_ptr_range().end.cast_mut(), Ordering::Release);
}

/// Nanoseconds a call takes in a batch of calls of a Go function that returns at once, with room on its frame for so
/// many bytes of results.
///
/// # Errors
/// No stub for that.
pub fn with_frame(cache: &StubCache, bytes: u64) -> Result<f64, StubError> {
    let signature: Signature = format!("func(*int) [{bytes}]uint8").parse()?;
    let stub = cache.for_signature(&signature, Abi::go(Arch::Amd64))?;
    let record = Record {
        code: callees::go(Callee::Empty, Argument::Pointer, 9),
        ..Record::default()
    };
    let records = [record; RECORDS];
    let begun = std::time::Instant::now();
    // SAFETY: the callee touches neither its argument nor its frame.
    unsafe { stub.run_all(&records, &GBlock::zeroed()) };
    Ok(begun.elapsed().as_nanos() as f64 / records.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_calls_every_record_once() {
        for way in Way::all() {
            for argument in Argument::ALL {
                let touching = Calls::new(way, Callee::Touching, argument).unwrap();
                touching.run();
                assert!(touching.touched().all(|n| n == 1), "{way} {argument:?}");
                let counting = Calls::new(way, Callee::Counting, argument).unwrap();
                counting.run();
                if matches!(way, Way::Go(_)) {
                    assert_eq!(counting.counted(), RECORDS as u64, "{way} {argument:?}");
                }
                let empty = Calls::new(way, Callee::Empty, argument).unwrap();
                empty.run();
                assert!(empty.is_finished() && empty.touched().all(|n| n == 0));
            }
        }
        assert_eq!(
            callees::COUNTER.load(Ordering::Relaxed) as usize,
            2 * RECORDS * 5
        );
    }
}
