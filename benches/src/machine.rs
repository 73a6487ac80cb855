//! What the machine itself can do with as many objects: the denominators of ratios.

use std::hint::black_box;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use fing_stubs::Record;

use crate::figures::{next, time};

/// What the callees count with.
pub static CALLS: AtomicU64 = AtomicU64::new(0);

/// Eight finalizers that differ, so that they are eight addresses.
macro_rules! finalizers {
    ($($name:ident $n:literal)*) => {
        $(/// Counts.
        pub extern "C" fn $name(object: *const u64) {
            CALLS.store(CALLS.load(Relaxed).wrapping_add($n), Relaxed);
            black_box(object);
        })*
        /// All of them.
        pub const FINALIZERS: [extern "C" fn(*const u64); 8] = [$($name),*];
    };
}
finalizers!(f0 1 f1 2 f2 3 f3 4 f4 5 f5 6 f6 7 f7 8);

/// What the machine can do: the denominators.
pub struct Machine {
    /// What is appended, and called.
    pub records: Vec<Record>,
    mixed: Vec<Record>,
    marks: Vec<u64>,
    finalizable: Vec<u64>,
    progress: AtomicPtr<Record>,
}

impl Machine {
    /// For `n` objects.
    pub fn new(n: usize) -> Machine {
        let mut state = 7;
        let record = |code: extern "C" fn(*const u64)| Record {
            code: code as *const () as usize,
            ..Record::default()
        };
        Machine {
            records: vec![record(f0); n],
            mixed: (0..n)
                .map(|_| record(FINALIZERS[(next(&mut state) % 8) as usize]))
                .collect(),
            marks: vec![u64::MAX; n.div_ceil(64)],
            finalizable: vec![u64::MAX; n.div_ceil(64)],
            progress: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Appends a record of 32 bytes to memory that was used before.
    pub fn append(&mut self) -> f64 {
        let n = self.records.len();
        let code = f0 as *const () as usize;
        time(n, || {
            self.records.clear();
            for i in 0..n {
                self.records.push(Record {
                    code,
                    context: 0,
                    words: [i as u64, 0],
                });
            }
            black_box(&mut self.records);
        })
    }

    /// `finalizable & !marks`, all marked.
    pub fn scan(&self) -> f64 {
        time(self.records.len(), || {
            let pairs = self.finalizable.iter().zip(&self.marks);
            black_box(pairs.filter(|(f, m)| *f & !*m != 0).count());
        })
    }

    /// One mark bit after the other.
    pub fn mark_checks(&self) -> f64 {
        let n = self.records.len();
        time(n, || {
            let marks = black_box(&self.marks[..]);
            let mut dead = 0;
            for i in 0..n {
                dead += usize::from(marks[black_box(i) / 64] >> (i % 64) & 1 == 0);
            }
            black_box(dead);
        })
    }

    /// A lock that nobody else wants, taken and given back.
    pub fn locks(&self) -> f64 {
        let lock = Mutex::new(0);
        let n = self.records.len();
        time(n, || {
            for i in 0..n {
                *black_box(&lock)
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) += i;
            }
        })
    }

    fn call_all(&self, records: &[Record]) -> f64 {
        time(records.len(), || {
            for record in records {
                self.progress
                    .store(std::ptr::from_ref(record).cast_mut(), Relaxed);
                // SAFETY: each record names a System V function of one pointer.
                let call =
                    unsafe { std::mem::transmute::<usize, extern "C" fn(*const u64)>(record.code) };
                call(record.words[0] as *const u64);
            }
        })
    }

    /// An indirect call of one target, its record published before.
    pub fn calls(&self) -> f64 {
        self.call_all(&self.records)
    }

    /// The same with eight targets in random order.
    pub fn mixed_calls(&self) -> f64 {
        self.call_all(&self.mixed)
    }
}
