//! What one would write without fing: records in a vector and a loop that calls them, for one
//! signature by a function pointer and for any by libffi. As a stub does, the loop publishes each
//! record's address before its call. Has unsafe code: calls functions by their addresses.
#![expect(unsafe_code, reason = "calls functions by their addresses")]

use std::ffi::c_void;
use std::mem::{MaybeUninit, transmute};
use std::ptr::{from_ref, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering::Release};

use fing_stubs::Record;
use libffi::middle::{Cif, Type};
use libffi::raw::ffi_call;

use crate::callees::{Kind, OfInterface, OfPointer, Results, TARGETS, WithResults};

/// Calls of functions of one kind.
pub(crate) struct Records {
    kind: Kind,
    counting: [usize; TARGETS],
    list: Vec<Record>,
    progress: AtomicPtr<Record>,
}

impl Records {
    /// None yet.
    pub(crate) fn new(kind: Kind) -> Records {
        Records {
            kind,
            counting: kind.system_v(),
            list: Vec::new(),
            progress: AtomicPtr::default(),
        }
    }

    /// Calls that were prepared elsewhere.
    ///
    /// # Safety
    /// Each record's code is a System V function of `kind`, and may be called with the record's
    /// words.
    pub(crate) unsafe fn of(kind: Kind, list: Vec<Record>) -> Records {
        Records {
            list,
            ..Records::new(kind)
        }
    }

    /// Appends a call of a counting function, which does not look at its object.
    #[inline]
    pub(crate) fn push(&mut self, target: usize, object: u64) {
        self.list.push(Record {
            code: self.counting[target],
            context: 0,
            words: [object; 2],
        });
    }

    /// Number of calls.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Removes all calls, and keeps their memory.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// Calls all by function pointers: a loop for each kind, which stands in a function of its own.
    pub(crate) fn run(&self) {
        match self.kind {
            Kind::Pointer => self.run_pointers(),
            Kind::Interface => self.run_interfaces(),
            Kind::Results => self.run_with_results(),
        }
    }

    #[inline(never)]
    fn run_pointers(&self) {
        self.each(|record| {
            // SAFETY: the kind is `Pointer`, and the record may be called with its words.
            unsafe { transmute::<usize, OfPointer>(record.code)(record.words[0]) };
        });
    }

    #[inline(never)]
    fn run_interfaces(&self) {
        self.each(|record| {
            let [itab, object] = record.words;
            // SAFETY: the kind is `Interface`, and the record may be called with its words.
            unsafe { transmute::<usize, OfInterface>(record.code)(itab, object) };
        });
    }

    #[inline(never)]
    fn run_with_results(&self) {
        self.each(|record| {
            // SAFETY: the kind is `Results`, and the record may be called with its words.
            unsafe { transmute::<usize, WithResults>(record.code)(record.words[0]) };
        });
    }

    /// Calls all by libffi, with the description of the kind.
    #[inline(never)]
    pub(crate) fn run_by_libffi(&self, ffi: &Ffi) {
        assert_eq!(ffi.kind, self.kind, "a description of another kind");
        let mut results = MaybeUninit::<Results>::uninit();
        let into: *mut c_void = match self.kind {
            Kind::Results => results.as_mut_ptr().cast(),
            Kind::Pointer | Kind::Interface => null_mut(),
        };
        self.each(|record| {
            let word = |word: &u64| from_ref(word).cast_mut().cast::<c_void>();
            let mut words = record.words.each_ref().map(word);
            // SAFETY: the record's code is a function of the kind, which the description describes,
            // and may be called with its words; libffi reads as many of these as it was told of,
            // and writes what the kind returns.
            unsafe {
                let function = transmute::<usize, unsafe extern "C" fn()>(record.code);
                ffi_call(
                    ffi.cif.as_raw_ptr(),
                    Some(function),
                    into,
                    words.as_mut_ptr(),
                );
            }
        });
    }

    #[inline(always)]
    fn each(&self, mut call: impl FnMut(&Record)) {
        for record in &self.list {
            self.progress.store(from_ref(record).cast_mut(), Release);
            call(record);
        }
        let end = self.list.as_ptr_range().end;
        self.progress.store(end.cast_mut(), Release);
    }
}

/// libffi's description of the functions of a kind.
pub(crate) struct Ffi {
    kind: Kind,
    cif: Cif,
}

impl Ffi {
    /// Prepares it.
    pub(crate) fn new(kind: Kind) -> Ffi {
        let cif = match kind {
            Kind::Pointer => Cif::new([Type::pointer()], Type::void()),
            Kind::Interface => Cif::new([Type::pointer(), Type::pointer()], Type::void()),
            Kind::Results => {
                let bytes = Type::structure(std::iter::repeat_n(Type::u8(), 10));
                let results = Type::structure([Type::i64(), Type::f32(), bytes]);
                Cif::new([Type::pointer()], results)
            }
        };
        Ffi { kind, cif }
    }
}
