//! What is registered and what is queued, as data.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;

use super::suspects::{Entry, Registration};
use super::{Registry, shape_of};
use crate::calls::queue::CallKind;
use crate::calls::sites::Registered;
use crate::heap::{Heap, Marking};

/// How far a registration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// Its object has not been found unreachable.
    Registered,
    /// Its call is queued.
    Queued,
    /// Its call is under way, or the next to be made. Of a bulk finalizer's objects only the first.
    Running,
}

/// A registration, or a call that came of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Whether it is a finalizer or a cleanup.
    pub registration: Registration,
    /// How far it has come.
    pub state: State,
    /// The signature of its function.
    pub function: Arc<str>,
    /// The address of its object; 0 for the call of a cleanup, whose object is gone.
    pub object: usize,
    /// The object's type; empty if there is no object.
    pub ty: Arc<str>,
    /// Bytes of the object, as its type says.
    pub bytes: usize,
}

/// Texts that many entries share.
#[derive(Default)]
struct Texts {
    functions: HashMap<u32, Arc<str>>,
    types: HashMap<usize, Arc<str>>,
}

impl Registry {
    /// Returns all registrations and all calls that have not ended. The world must be stopped, and
    /// nothing marked.
    pub(crate) fn list(&self, marking: &mut Marking<'_>) -> Vec<Listed> {
        let heap = marking.heap();
        let mut texts = Texts::default();
        let mut all = Vec::new();
        for entry in self.entries(marking) {
            all.push(self.listed(heap, &mut texts, &entry, State::Registered));
        }
        let mut queued = Vec::new();
        self.queue.for_each_record(|record, tag, is_first| {
            let registration = match tag.kind() {
                CallKind::Finalizer => Registration::Finalizer,
                CallKind::Cleanup => Registration::Cleanup,
            };
            let object = match tag.kind() {
                CallKind::Finalizer => record.words[tag.own_word()] as usize,
                CallKind::Cleanup => 0,
            };
            let state = match is_first {
                true => State::Running,
                false => State::Queued,
            };
            queued.push((
                Entry {
                    registration,
                    shape: tag.shape(),
                    object,
                    arguments: Vec::new(),
                    context: None,
                },
                state,
            ));
        });
        // The queue's lock is released: shapes are looked up now.
        for (entry, state) in queued {
            all.push(self.listed(heap, &mut texts, &entry, state));
        }
        all
    }

    /// How many registrations each shape has. The world must be stopped, and nothing marked.
    pub(crate) fn registered_by_shape(&self, marking: &mut Marking<'_>) -> Registered {
        let mut registered = Registered::default();
        marking.for_each_with_id(|_, _, id, _| registered.add(shape_of(id)));
        let specials = self.specials.lock();
        specials
            .lists
            .for_each(|special| special.shape().into_iter().for_each(|s| registered.add(s)));
        registered
    }

    fn listed(&self, heap: &Heap, texts: &mut Texts, entry: &Entry, state: State) -> Listed {
        let function = texts.functions.entry(entry.shape).or_insert_with(|| {
            let shape = self.shapes.get(entry.shape);
            shape.function().signature().to_string().into()
        });
        let function = function.clone();
        let found = heap.find(entry.object);
        let (ty, bytes) = found.map_or_else(Default::default, |(start, desc)| {
            let ty = texts.types.entry(std::ptr::from_ref(desc).addr());
            let ty = ty.or_insert_with(|| desc.ty().to_string().into());
            (ty.clone(), heap.size_at(start))
        });
        Listed {
            registration: entry.registration,
            state,
            function,
            object: entry.object,
            ty,
            bytes,
        }
    }
}
