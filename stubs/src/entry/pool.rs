//! Pools of slots, which grow by pages and are used again; and what is told of each slot's
//! callback. One lock for both: a callback is made under one, and freed under one.
#![expect(unsafe_code, reason = "knows how long the memory of slots stays")]

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::Thread;

use super::call::Typed;
use super::entries::EntryPoint;
use super::options::CallbackOptions;
use super::report::{Described, Freed, Observer, OnFailure};
use super::slot::{Slot, SlotRef};
use crate::code::CodeSlice;
use crate::lock::{Guard, lock};

/// Slots of callers of one family.
pub(super) struct Pool {
    pub(super) observer: Option<Observer>,
    slots: Mutex<Slots>,
}

#[derive(Default)]
pub(super) struct Slots {
    /// In the order in which they were freed, but those that were never used are first.
    free: VecDeque<SlotRef>,
    /// How many were taken and are not given back.
    alive: usize,
    pages: Vec<Page>,
    /// Of each slot, by its number.
    infos: Vec<Info>,
}

/// Some slots and the code of their entries.
pub(super) struct Page {
    /// The entries have their addresses.
    pub(super) slots: Arc<[Slot]>,
    pub(super) code: CodeSlice,
}

/// What is told of a slot's callback, also after it.
#[derive(Default)]
pub(super) struct Info {
    generation: u32,
    callback: Option<Known>,
    /// It was freed, and what it owned is dropped.
    is_free: bool,
    ending: Option<Box<Closing>>,
}

/// A callback, for reports.
struct Known {
    typed: Arc<Typed>,
    owner: Option<Arc<str>>,
    created: &'static Location<'static>,
    freed: Option<Freed>,
    on_late: OnFailure,
}

/// A callback that was closed with calls under way.
#[derive(Default)]
struct Closing {
    waiters: Vec<Thread>,
    /// What the calls run in, and what they know the signature from.
    keep: Option<EntryPoint>,
}

/// Figures of a pool.
#[derive(Default)]
pub(super) struct PoolStats {
    pub(super) free: usize,
    pub(super) alive: usize,
    pub(super) slots: usize,
    pub(super) code_bytes: usize,
}

impl Info {
    /// Of a callback that takes the slot. Mostly the last one was of the same signature.
    fn open(
        &mut self,
        generation: u32,
        typed: &Arc<Typed>,
        options: &CallbackOptions,
        created: &'static Location<'static>,
    ) {
        self.generation = generation;
        self.is_free = false;
        let before = self.callback.take().map(|known| known.typed);
        let same = before.filter(|before| Arc::ptr_eq(before, typed));
        self.callback = Some(Known {
            typed: same.unwrap_or_else(|| typed.clone()),
            owner: options.owner.clone(),
            created,
            freed: None,
            on_late: options.on_late,
        });
    }

    /// New calls are late from now on.
    pub(super) fn close(&mut self, freed: Freed) {
        if let Some(known) = &mut self.callback {
            known.freed = Some(freed);
        }
    }

    /// The last call under way, which frees the callback, needs this.
    pub(super) fn keep(&mut self, point: &EntryPoint) {
        self.ending.get_or_insert_default().keep = Some(point.clone());
    }

    /// What [`keep`](Info::keep) has put there.
    pub(super) fn kept(&mut self) -> Option<EntryPoint> {
        self.ending.as_mut().and_then(|ending| ending.keep.take())
    }

    /// Has a thread be unparked when a generation is gone, unless it is.
    pub(super) fn wait(&mut self, of: u32, waiter: Option<Thread>) {
        if !self.is_gone(of) {
            let ending = self.ending.get_or_insert_default();
            ending.waiters.extend(waiter);
        }
    }

    /// Whether a generation that was closed is freed, and what it owned is dropped.
    pub(super) fn is_gone(&self, of: u32) -> bool {
        self.generation != of || self.is_free
    }

    /// Whether the last callback of the slot is of this generation.
    pub(super) fn is_of(&self, generation: u32) -> bool {
        self.generation == generation
    }

    pub(super) fn described(&self) -> Option<Described> {
        self.callback.as_ref().map(|known| Described {
            signature: known.typed.signature.clone(),
            abi: known.typed.abi,
            owner: known.owner.clone(),
            created: known.created,
            freed: known.freed,
        })
    }

    /// What happens after the report of a call that is late or refused.
    pub(super) fn on_late(&self) -> OnFailure {
        let known = self.callback.as_ref();
        known.map_or(OnFailure::Abort, |known| known.on_late)
    }
}

impl Slots {
    pub(super) fn info(&mut self, slot: &Slot) -> &mut Info {
        &mut self.infos[slot.number()]
    }

    /// Takes a slot back whose callback is freed; who waited for that. One that has no generation
    /// left is never used again.
    pub(super) fn give_back(&mut self, slot: &Slot) -> Vec<Thread> {
        self.alive -= 1;
        if !slot.is_used_up() {
            // SAFETY: I10: a slot of this pool, which has its page.
            self.free.push_back(unsafe { SlotRef::new(slot) });
        }
        let info = self.info(slot);
        info.is_free = true;
        info.ending
            .take()
            .map_or(Vec::new(), |ending| ending.waiters)
    }
}

impl Pool {
    pub(super) fn new(observer: Option<Observer>) -> Arc<Pool> {
        Arc::new(Pool {
            observer,
            slots: Mutex::default(),
        })
    }

    pub(super) fn slots(&self) -> Guard<MutexGuard<'_, Slots>> {
        lock(&self.slots)
    }

    /// A slot for a callback that is made: one that was never used, or one that was freed before
    /// `quarantine` others.
    pub(super) fn take(
        &self,
        quarantine: usize,
        typed: &Arc<Typed>,
        options: &CallbackOptions,
        created: &'static Location<'static>,
    ) -> Option<SlotRef> {
        let mut slots = self.slots();
        let enough = slots.free.len() > quarantine;
        let first = slots
            .free
            .pop_front_if(|slot| enough || slot.generation() == 0);
        let slot = first?;
        slots.alive += 1;
        let next = slot.generation() + 1;
        slots.info(&slot).open(next, typed, options, created);
        Some(slot)
    }

    /// Adds a page of slots, which are the first to be taken.
    pub(super) fn add(&self, page: Page) {
        let mut slots = self.slots();
        let first = slots.infos.len();
        let count = first + page.slots.len();
        slots.infos.resize_with(count, Info::default);
        for (slot, number) in page.slots.iter().zip(first..count).rev() {
            slot.set_number(number);
            // SAFETY: I10: the page stays as long as the pool has it, which is as long as anything
            // can reach a slot: a point keeps the `Entries` of its pool.
            slots.free.push_front(unsafe { SlotRef::new(slot) });
        }
        slots.pages.push(page);
    }

    pub(super) fn stats(&self) -> PoolStats {
        let slots = self.slots();
        PoolStats {
            free: slots.free.len(),
            alive: slots.alive,
            slots: slots.infos.len(),
            code_bytes: slots.pages.iter().map(|page| page.code.bytes()).sum(),
        }
    }

    /// Gives the memory of slots and entries back, which have the pool in turn. Without it the
    /// memory stays for the life of the process.
    ///
    /// Only when nothing has a [`SlotRef`] of the pool any more, and no entry is called.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.slots());
        // The slots have the pool, so this may be its last owner but the caller.
        drop(all);
    }
}
