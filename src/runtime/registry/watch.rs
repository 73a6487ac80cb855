//! Watchers: finalizers that an object has beside its own, any number of them.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::lists::Name;
use super::{AddWatcherError, Pointer, Registry, SetFinalizerError, Special, Specials};
use crate::calls::function::Function;
use crate::calls::options::FinalizerOptions;
use crate::calls::queue::{CallId, CallStage};
use crate::heap::{Heap, Place};
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;

/// A watcher of an object, which [`Mutator::add_watcher`](crate::Mutator::add_watcher) has added.
/// Dropping this does not stop it.
#[derive(Clone, Debug)]
pub struct Watcher {
    registry: Arc<Registry>,
    object: Place,
    /// [`Name::NOTHING`] if the object never dies.
    name: Name,
}

impl Watcher {
    /// Removes the watcher, or cancels its call if that is queued and has not begun, so that it
    /// will not run. The object's finalizer and its other watchers stay. Returns how far it had
    /// come; [`CallStage::Done`] also if it was stopped before, or could never have run as its
    /// object never dies. Needs no mutator.
    pub fn stop(&self) -> CallStage {
        self.registry.stop_watcher(self.object, self.name)
    }
}

impl Registry {
    pub(crate) fn add_watcher(
        self: &Arc<Self>,
        mutator: &Mutator,
        pointer: Pointer<'_>,
        function: &Function,
        options: FinalizerOptions<Obj<'_>>,
    ) -> Result<Watcher, AddWatcherError> {
        let watcher = |object, name| Watcher {
            registry: self.clone(),
            object,
            name,
        };
        let checked = self.checked(mutator, pointer, function, &options);
        let Some(checked) = checked.map_err(AddWatcherError::new)? else {
            return Ok(watcher(Place::default(), Name::NOTHING));
        };
        let (space, base) = (mutator.space(), checked.target.base);
        let object = space.heap().place(base).ok_or_else(|| {
            AddWatcherError::new(SetFinalizerError::NotInHeap {
                object: fing_stubs::Type::unsafe_pointer(),
                addr: base,
            })
        })?;
        let name = self.specials.lock().add_finalizer(
            space.heap(),
            object,
            checked.special(true),
            checked.traced,
        );
        if options.external_bytes > 0 {
            self.set_external_bytes(space, base, options.external_bytes);
        }
        Ok(watcher(object, name))
    }

    fn stop_watcher(&self, object: Place, name: Name) -> CallStage {
        let Some(number) = name.id() else {
            return CallStage::Done;
        };
        let mut specials = self.specials.lock();
        let mut removed = specials.lists.remove(object, name);
        if removed.is_none() && self.order.is_topological() {
            // It may have been taken back, to another place in the list.
            removed = specials.lists.remove_id(object, number);
        }
        if removed.is_some() {
            specials.listed -= 1;
            return CallStage::Registered;
        }
        // With the list locked: a collection may take the call back, and list it again.
        self.queue.cancel(CallId::Watcher(number), |_| true)
    }
}

impl Specials {
    /// Adds a watcher again whose call was taken back.
    pub(super) fn put_back_watcher(
        &mut self,
        heap: &Heap,
        object: Place,
        special: Special,
        number: u64,
        traced: bool,
    ) {
        self.lists.put_back(object, number, special, traced);
        self.listed += 1;
        heap.set_special(object);
    }
}

impl Special {
    pub(super) fn watches(&self) -> bool {
        matches!(self, Special::Finalizer { watches: true, .. })
    }
}
