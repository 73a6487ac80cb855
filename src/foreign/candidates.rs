//! The dead objects with finalizers that a plan of topological order is about: each is one
//! candidate, with the entries of its finalizer and its watchers.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};

use super::entry::Flag;
use super::table::Table;
use crate::order::{Candidate, CyclePolicy, Fault, Reference};

/// The entries of each candidate.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// One of them.
    first: Vec<u32>,
    /// Those beside it, where there are more.
    beside: HashMap<u32, Vec<u32>>,
}

impl Candidates {
    /// The entries of candidate `n`.
    pub(super) fn entries(&self, n: u32) -> impl Iterator<Item = u32> {
        let beside = self.beside.get(&n).into_iter().flatten();
        std::iter::once(self.first[n as usize]).chain(beside.copied())
    }
}

impl<R: Reference> Table<R> {
    /// The candidates that these entries of finalizers are of.
    pub(super) fn candidates_of(
        &self,
        entries: impl Iterator<Item = u32>,
    ) -> (Candidates, Vec<Candidate<R>>) {
        let (mut found, mut candidates) = (Candidates::default(), Vec::<Candidate<R>>::new());
        // Without watchers every entry is another object's.
        let mut numbers = self.watchers.any().then(HashMap::new);
        for at in entries {
            let entry = self.entries.at(at);
            let policy = entry.policy();
            let reported = policy == CyclePolicy::Report && entry.has(Flag::Reported);
            let n = candidates.len() as u32;
            match numbers.as_mut().map(|numbers| numbers.entry(entry.object)) {
                Some(Occupied(first)) => {
                    let n: u32 = *first.get();
                    if !self.faults.has(Fault::OneWatcherHears) {
                        found.beside.entry(n).or_default().push(at);
                    }
                    let candidate = &mut candidates[n as usize];
                    candidate.policy = candidate.policy.more_cautious(policy);
                    candidate.reported |= reported;
                    continue;
                }
                Some(Vacant(vacant)) => _ = vacant.insert(n),
                None => {}
            }
            found.first.push(at);
            candidates.push(Candidate {
                object: R::from_word(entry.object),
                policy,
                reported,
            });
        }
        (found, candidates)
    }
}
