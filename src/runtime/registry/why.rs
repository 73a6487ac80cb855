//! Why an object is alive.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::suspects::Registration;
use super::{Registry, ephemerons, suspects};
use crate::calls::queue::Tag;
use crate::heap::Marking;
use crate::order::{KeepPath, Keeper, PathLink, Starts, WeakEntry, find_path};
use crate::world::threads::WorldError;

/// Why [`Runtime::why_alive`](crate::Runtime::why_alive) failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhyError {
    /// The world could not be stopped.
    #[error("why_alive: {0}")]
    World(#[from] WorldError),
    /// No object of this runtime is there.
    #[error("why_alive: found no object at {address:#x}, wanted the address of one of this heap")]
    NotInHeap {
        /// The address as given.
        address: usize,
    },
}

impl Registry {
    /// Returns what keeps the object at `address`, beside registrations these roots. The world must
    /// be stopped, and nothing marked.
    pub(crate) fn why(
        &self,
        marking: &mut Marking<'_>,
        roots: &[usize],
        address: usize,
    ) -> Result<Option<KeepPath<usize>>, WhyError> {
        let heap = marking.heap();
        let start = |addr: usize| Some(heap.find(addr)?.0 as u64);
        let target = start(address).ok_or(WhyError::NotInHeap { address })?;
        let mut starts = Starts::default();
        let mut keep = |keeper, addr: usize| {
            starts
                .strong
                .extend(start(addr).map(|object| (keeper, object)));
        };
        roots.iter().for_each(|&root| keep(Keeper::Root, root));
        let entries = self.entries(marking);
        for entry in &entries {
            let keeper = Keeper::Registration(entry.object as u64);
            let held = entry.arguments.iter().chain(&entry.context);
            held.for_each(|&addr| keep(keeper, addr));
        }
        self.queue.for_each_record(|record, tag, _| {
            let words = [
                (Tag::WORD_0, record.words[0] as usize),
                (Tag::WORD_1, record.words[1] as usize),
                (Tag::CONTEXT, record.context),
            ];
            for (_, word) in words.into_iter().filter(|(bit, _)| tag.has(*bit)) {
                keep(Keeper::Call, word);
            }
        });
        if !self.order.is_topological() {
            let finalizable =
                |entry: &&suspects::Entry| entry.registration == Registration::Finalizer;
            let finalizable = entries.iter().filter(finalizable);
            starts.finalizable = finalizable.map(|entry| entry.object as u64).collect();
        }
        let specials = self.specials.lock();
        let (mut weak, mut immortal) = (Vec::new(), HashMap::new());
        for (ephemeron, key, value) in specials.weak.entries(heap) {
            match key {
                Some(key) => weak.push(WeakEntry {
                    name: ephemeron as u64,
                    holder: Some(ephemeron as u64),
                    key: key as u64,
                    value: value as u64,
                }),
                // Its key never dies, so it refers to the value as a field would.
                None => _ = immortal.insert(ephemeron as u64, value as u64),
            }
        }
        let found = find_path(&starts, &weak, target, &mut |object, visit| {
            if let Some(value) = immortal.get(&object) {
                visit(ephemerons::VALUE, *value);
            }
            let object = object as usize;
            heap.for_each_child(object, |offset, child| visit(offset, child as u64));
            let hidden = specials.hidden(object);
            hidden.for_each(|child| visit(PathLink::<usize>::HIDDEN, child as u64));
        });
        drop(specials);
        Ok(found.map(|(keeper, path)| KeepPath {
            keeper: keeper.map(|object| object as usize),
            path: path
                .into_iter()
                .map(|step| {
                    let ty = suspects::name(heap, step.object as usize);
                    step.link(|object| object as usize, ty)
                })
                .collect(),
        }))
    }
}
