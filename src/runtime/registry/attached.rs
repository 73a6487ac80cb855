//! What is attached to an object: a value that ends with the object, and other objects that it
//! keeps until then.
//!
//! To a collection, what an attachment keeps is what its object refers to, though no field shows
//! it. It is no root: if it leads back to the object, both die together.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Registry, Specials};
use crate::base::events::guarded;
use crate::calls::executor::Closed;
use crate::heap::Location;
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;

/// A value that ends with an object.
pub(crate) trait Attachment: Send + Sync {
    /// Called when the object is found dead, with the world stopped. Runs no user code, and takes
    /// no lock.
    fn die(&self);

    /// Ends it, with no lock held. May run user code. `when` is told to those who ask.
    fn release(&self, when: &'static str);
}

/// Why nothing was attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttachError {
    Closed(Closed),
    /// An object of another runtime: the owner, or one that is to be kept, by its index.
    NotInHeap {
        kept: Option<usize>,
        addr: usize,
    },
    /// The owner shares its block with others, or has no size: it does not die by itself.
    Shared {
        addr: usize,
    },
}

/// All attachments, by the address of their object and their numbers.
#[derive(Default)]
pub(super) struct Attached {
    entries: BTreeMap<(usize, u64), Entry>,
    last: u64,
}

struct Entry {
    keeps: Box<[usize]>,
    value: Arc<dyn Attachment>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached")
            .field("count", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl Attached {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The objects that attachments of this one keep.
    pub(super) fn kept(&self, object: usize) -> impl Iterator<Item = usize> {
        let entries = self.entries.range((object, 0)..=(object, u64::MAX));
        entries.flat_map(|(_, entry)| entry.keeps.iter().copied())
    }

    fn add(&mut self, object: usize, keeps: Box<[usize]>, value: Arc<dyn Attachment>) -> u64 {
        self.last += 1;
        let entry = Entry { keeps, value };
        self.entries.insert((object, self.last), entry);
        self.last
    }

    /// Removes an attachment, unless its object has died since. The caller drops it.
    fn remove(&mut self, object: usize, id: u64) -> Option<Entry> {
        self.entries.remove(&(object, id))
    }

    /// Removes and returns what is attached to objects that are dead.
    pub(super) fn take_dead(
        &mut self,
        is_alive: impl Fn(usize) -> bool,
    ) -> Vec<Arc<dyn Attachment>> {
        let is_dead = |(object, _): &(usize, u64), _: &mut Entry| !is_alive(*object);
        let dead = self.entries.extract_if(.., is_dead);
        let dead: Vec<_> = dead.map(|(_, entry)| entry.value).collect();
        dead.iter().for_each(|value| value.die());
        dead
    }

    fn values(&self) -> Vec<Arc<dyn Attachment>> {
        let entries = self.entries.values();
        entries.map(|entry| entry.value.clone()).collect()
    }
}

/// Ends attachments, which runs user code.
pub(super) fn release(attachments: Vec<Arc<dyn Attachment>>, when: &'static str) {
    for attachment in attachments {
        guarded("the destructor of a callback's closure", || {
            attachment.release(when);
            drop(attachment);
        });
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        release(self.values(), "with its runtime");
    }
}

impl Registry {
    /// Checks that something can be attached to `owner` which keeps these objects.
    pub(crate) fn check_attach(
        &self,
        mutator: &Mutator,
        owner: Obj<'_>,
        keeps: &[Obj<'_>],
    ) -> Result<(), AttachError> {
        Closed::check(&self.gate).map_err(AttachError::Closed)?;
        let heap = mutator.space().heap();
        let addr = owner.addr();
        match heap.locate(addr) {
            Location::Object { desc, .. } if !heap.is_tiny_block(desc) => {}
            Location::Object { .. } | Location::Zero => return Err(AttachError::Shared { addr }),
            Location::Nil | Location::NoObject => {
                return Err(AttachError::NotInHeap { kept: None, addr });
            }
        }
        let mut keeps = keeps.iter().map(|kept| kept.addr()).enumerate();
        match keeps.find(|(_, kept)| !heap.names_object(*kept)) {
            None => Ok(()),
            Some((kept, addr)) => Err(AttachError::NotInHeap {
                kept: Some(kept),
                addr,
            }),
        }
    }

    /// Attaches a value to an object that [`Registry::check_attach`] has passed, with no safepoint
    /// in between; its id. Refused if the end has come since: whoever ends all attachments does so
    /// after the gate was closed.
    pub(crate) fn attach(
        &self,
        mutator: &Mutator,
        owner: Obj<'_>,
        keeps: &[Obj<'_>],
        value: Arc<dyn Attachment>,
    ) -> Result<u64, Closed> {
        let heap = mutator.space().heap();
        let keeps = keeps.iter().map(|kept| kept.addr()).collect();
        let mut specials = self.specials.lock();
        Closed::check(&self.gate)?;
        if let Some(place) = heap.place(owner.addr()) {
            heap.set_special(place);
            heap.watch_specials();
        }
        Ok(specials.attached.add(owner.addr(), keeps, value))
    }

    /// Removes an attachment, which has ended, unless its object died.
    pub(crate) fn detach(&self, owner: usize, id: u64) {
        let removed = self.specials.lock().attached.remove(owner, id);
        drop(removed);
    }

    /// Ends all attachments; they are removed as soon as nobody uses them any more.
    pub(crate) fn release_attachments(&self, when: &'static str) {
        let all = self.specials.lock().attached.values();
        release(all, when);
    }

    /// How many attachments there are.
    pub(crate) fn attachments(&self) -> u64 {
        self.specials.lock().attached.entries.len() as u64
    }
}

impl Specials {
    /// Whether objects refer to others without a field that shows it.
    pub(super) fn has_hidden(&self) -> bool {
        !(self.declared.is_empty() && self.attached.is_empty())
    }

    /// The objects to which this one refers though no field shows it: those that are finalized
    /// after it, and those that are kept by what is attached to it.
    pub(super) fn hidden(&self, object: usize) -> impl Iterator<Item = usize> {
        let after = self.declared.after(object).iter().copied();
        after.chain(self.attached.kept(object))
    }

    /// Forgets the objects that are dead. Returns what was attached to them.
    pub(super) fn forget_dead(
        &mut self,
        is_alive: impl Fn(usize) -> bool,
    ) -> Vec<Arc<dyn Attachment>> {
        self.declared.retain(&is_alive);
        self.attached.take_dead(&is_alive)
    }
}
