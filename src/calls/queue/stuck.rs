//! Calls whose threads were relieved, and those that were handed out: in the order in which they
//! came, and found by their turns. There may be as many as a VM has goroutines.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};

use super::relief::{Stuck, Turn};

#[derive(Debug, Default)]
pub(super) struct StuckCalls {
    all: BTreeMap<u64, Stuck>,
    /// Their numbers, by the addresses of their turns, which they hold.
    numbers: HashMap<usize, u64>,
    last: u64,
}

fn key(turn: &Turn) -> usize {
    std::ptr::from_ref(turn).addr()
}

impl StuckCalls {
    /// Adds those of a turn, which has none yet.
    pub(super) fn push(&mut self, stuck: Stuck) {
        self.last += 1;
        self.numbers.insert(key(stuck.turn()), self.last);
        self.all.insert(self.last, stuck);
    }

    pub(super) fn of(&self, turn: &Turn) -> Option<&Stuck> {
        self.all.get(self.numbers.get(&key(turn))?)
    }

    pub(super) fn of_mut(&mut self, turn: &Turn) -> Option<&mut Stuck> {
        self.all.get_mut(self.numbers.get(&key(turn))?)
    }

    pub(super) fn take(&mut self, turn: &Turn) -> Option<Stuck> {
        self.all.remove(&self.numbers.remove(&key(turn))?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stuck> {
        self.all.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
