//! What the machine itself can do with as many objects: the denominators of ratios.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use super::clock::time;
use super::random::below;
use crate::by_hand::Records;
use crate::callees::{Kind, TARGETS};

/// What is read, written and called to measure the floor.
pub(crate) struct Floor {
    records: Records,
    mixed: Records,
    marks: Vec<u64>,
    finalizable: Vec<u64>,
}

impl Floor {
    /// For `n` objects.
    pub(crate) fn new(n: usize) -> Floor {
        let [mut records, mut mixed] = [(); 2].map(|()| Records::new(Kind::Pointer));
        for target in below(TARGETS as u8).take(n) {
            records.push(0, 0);
            mixed.push(target, 0);
        }
        Floor {
            records,
            mixed,
            marks: vec![u64::MAX; n.div_ceil(64)],
            finalizable: vec![u64::MAX; n.div_ceil(64)],
        }
    }

    /// Appends a record of 32 bytes to memory that was used before.
    pub(crate) fn append(&mut self) -> f64 {
        let n = self.records.len();
        time(n, || {
            self.records.clear();
            for i in 0..n {
                self.records.push(0, i as u64);
            }
            black_box(&mut self.records);
        })
    }

    /// Computes `finalizable & !marks`, 64 objects at a time; all are marked.
    pub(crate) fn scan(&self) -> f64 {
        time(self.records.len(), || {
            let pairs = self.finalizable.iter().zip(&self.marks);
            black_box(pairs.filter(|(f, m)| *f & !*m != 0).count());
        })
    }

    /// Looks at one mark bit after the other.
    pub(crate) fn mark_checks(&self) -> f64 {
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

    /// Takes and gives back a lock that no other thread wants.
    pub(crate) fn locks(&self) -> f64 {
        let lock = Mutex::new(0);
        let n = self.records.len();
        time(n, || {
            for i in 0..n {
                let mut lock = black_box(&lock)
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *lock += i;
            }
        })
    }

    /// Publishes a record and calls its function indirectly.
    pub(crate) fn calls(&self) -> f64 {
        time(self.records.len(), || self.records.run())
    }

    /// The same with eight functions in random order.
    pub(crate) fn mixed_calls(&self) -> f64 {
        time(self.mixed.len(), || self.mixed.run())
    }
}
