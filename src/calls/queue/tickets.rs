//! Which calls of a collection are still to come.
//!
//! Calls are counted by the collection that queued them, not marked: a block knows of how many of
//! its records, in a row, each collection made, and the queue how many calls of each are left.
#![forbid(unsafe_code)]

use std::ops::Range;

/// Of the calls that one collection queued, those that are not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outstanding {
    /// Calls that have not begun.
    pub queued: u64,
    /// Calls that are running: at most one for each thread that makes calls, or those of a bulk
    /// finalizer.
    pub running: u64,
    /// Calls that were dropped, at a shutdown or with their mailbox, and will never be made.
    pub discarded: u64,
}

impl Outstanding {
    /// Whether nothing is left, and nothing was dropped: each call is done, or was cancelled.
    pub fn is_nothing(self) -> bool {
        self == Outstanding::default()
    }

    /// Whether nothing is left to wait for.
    pub(super) fn is_over(self) -> bool {
        self.queued + self.running == 0
    }
}

/// The records of a block, by the collections that queued them.
#[derive(Debug, Default)]
pub(super) struct Parts(Vec<Part>);

/// Some records of a collection, in a row.
#[derive(Debug)]
struct Part {
    collection: u64,
    records: usize,
}

impl Parts {
    /// Adds records in front of all others.
    pub(super) fn add(&mut self, collection: u64, records: usize) {
        match self.0.last_mut() {
            Some(last) if last.collection == collection => last.records += records,
            _ if records > 0 => self.0.push(Part {
                collection,
                records,
            }),
            _ => {}
        }
    }

    /// Whether several collections have queued them.
    pub(super) fn are_mixed(&self) -> bool {
        self.0.len() > 1
    }

    /// Takes out the records that run first, at most `count`.
    pub(super) fn take_first(&mut self, count: usize) -> Parts {
        let (mut left, mut first) = (count, Vec::new());
        while left > 0
            && let Some(part) = self.0.last_mut()
        {
            let records = part.records.min(left);
            first.push(Part {
                collection: part.collection,
                records,
            });
            left -= records;
            part.records -= records;
            if part.records == 0 {
                self.0.pop();
            }
        }
        first.reverse();
        Parts(first)
    }

    /// The collections, each with the numbers of its records in the order of running.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Range<usize>)> {
        let mut from = 0;
        self.0.iter().rev().map(move |part| {
            let first = from;
            from += part.records;
            (part.collection, first..from)
        })
    }

    /// The collection that queued record `n`.
    pub(super) fn of(&self, n: usize) -> Option<u64> {
        let found = self.iter().find(|(_, records)| records.contains(&n));
        found.map(|(collection, _)| collection)
    }

    /// Takes these records out, whose numbers ascend.
    pub(super) fn remove(&mut self, records: impl Iterator<Item = usize>) {
        // The end of the part at hand, in numbers from before the removal.
        let (mut at, mut end) = (self.0.len(), 0);
        for n in records {
            while n >= end {
                at -= 1;
                end += self.0[at].records;
            }
            self.0[at].records -= 1;
        }
    }
}

/// How many calls of each collection are left, for those with any.
#[derive(Debug, Default)]
pub(super) struct Tickets(Vec<Ticket>);

#[derive(Debug)]
struct Ticket {
    collection: u64,
    left: u64,
    discarded: u64,
}

impl Tickets {
    pub(super) fn add(&mut self, collection: u64, calls: u64) {
        match self.0.last_mut() {
            Some(last) if last.collection == collection => last.left += calls,
            _ if calls > 0 => self.0.push(Ticket {
                collection,
                left: calls,
                discarded: 0,
            }),
            _ => {}
        }
    }

    fn position(&self, collection: u64) -> Option<usize> {
        let found = |ticket: &Ticket| ticket.collection;
        self.0.binary_search_by_key(&collection, found).ok()
    }

    /// Some of its calls are done or cancelled.
    pub(super) fn done(&mut self, collection: u64, calls: u64) {
        if let Some(at) = self.position(collection) {
            let ticket = &mut self.0[at];
            ticket.left -= calls;
            if ticket.left == 0 && ticket.discarded == 0 {
                self.0.remove(at);
            }
        }
    }

    /// Some of its calls are dropped.
    pub(super) fn discard(&mut self, collection: u64, calls: u64) {
        if let Some(at) = self.position(collection) {
            let ticket = &mut self.0[at];
            ticket.left -= calls;
            ticket.discarded += calls;
        }
    }

    /// Those of its calls that are left, all of them as queued.
    pub(super) fn of(&self, collection: u64) -> Outstanding {
        let found = self.position(collection).map(|at| &self.0[at]);
        found.map_or_else(Outstanding::default, |ticket| Outstanding {
            queued: ticket.left,
            running: 0,
            discarded: ticket.discarded,
        })
    }
}
