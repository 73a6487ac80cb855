//! Why an object is alive.
#![forbid(unsafe_code)]

use super::suspects::Registration;
use super::{Registry, suspects};
use crate::calls::queue::Tag;
use crate::heap::{Heap, Marking};
use crate::order::{KeepPath, Keeper, PathLink, Starts, find_path};
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
        let found = find_path(&starts, target, &mut |object, visit| {
            let object = object as usize;
            heap.for_each_child(object, |offset, child| visit(offset, child as u64));
            let hidden = specials.hidden(object);
            hidden.for_each(|child| visit(PathLink::<usize>::HIDDEN, child as u64));
        });
        drop(specials);
        Ok(found.map(|(keeper, path)| of_heap(heap, keeper, &path)))
    }
}

fn of_heap(heap: &Heap, keeper: Keeper<u64>, path: &[(u64, usize)]) -> KeepPath<usize> {
    let links = path.iter().map(|&(object, slot)| PathLink {
        object: object as usize,
        ty: suspects::name(heap, object as usize),
        slot,
    });
    KeepPath {
        keeper: keeper.map(|object| object as usize),
        path: links.collect(),
    }
}
