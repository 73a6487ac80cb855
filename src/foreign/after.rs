//! `finalize_after` for a foreign collector's objects: declarations are references that only the
//! table knows ([`Table::follow_hidden`]).
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::error::RegisterError;
use super::table::Table;
use crate::order::{Fault, Reference, Tracer};

impl<R: Reference> Table<R> {
    /// Declares that an object is finalized after another one.
    pub(super) fn declare(&mut self, object: R, parent: R) -> Result<(), RegisterError> {
        let declared = self.declared.declare(object.to_word(), parent.to_word());
        declared.map_err(|path| RegisterError::DeclaredCycle { path })
    }

    /// The objects that are finalized after reached ones, and have not been reached.
    pub(super) fn after_reached<T: Tracer<Ref = R>>(&self, tracer: &mut T) -> Vec<R> {
        let mut kept = Vec::new();
        if self.faults.has(Fault::DeclaredNotFollowed) {
            return kept;
        }
        for (parent, after) in self.declared.parents() {
            if tracer.is_reached(R::from_word(parent)) {
                kept.extend(after.iter().map(|word| R::from_word(*word)));
            }
        }
        kept.retain(|object| !tracer.is_reached(*object));
        kept
    }

    /// Keeps what is finalized after an object that has not been reached and will be finalized.
    pub(super) fn keep_after<T: Tracer<Ref = R>>(&self, object: R, tracer: &mut T) {
        for &after in self.declared.after(object.to_word()) {
            tracer.trace(R::from_word(after));
        }
    }

    /// In Go's order: does so for all that have a finalizer.
    pub(super) fn keep_after_finalizable<T: Tracer<Ref = R>>(&self, tracer: &mut T) {
        if self.declared.is_empty() {
            return;
        }
        let watched = self.watched();
        for (parent, after) in self.declared.parents() {
            let parent = R::from_word(parent);
            if !tracer.is_reached(parent) && self.is_finalizable(parent, &watched) {
                for &object in after {
                    tracer.trace(R::from_word(object));
                }
            }
        }
    }

    /// The objects named in declarations that this collection has kept, each with where it is now.
    pub(super) fn named_after<T: Tracer<Ref = R>>(&self, tracer: &mut T) -> HashMap<u64, u64> {
        let named = self.declared.objects().map(R::from_word);
        let mut alive = HashMap::new();
        for object in named {
            if tracer.is_reached(object) {
                alive.insert(object.to_word(), tracer.trace(object).to_word());
            }
        }
        alive
    }

    /// Forgets the declarations of other objects than these, and notes where these are.
    pub(super) fn rename_declared(&mut self, now: HashMap<u64, u64>) {
        self.declared.retain(|object| now.contains_key(&object));
        if now.iter().any(|(before, now)| before != now) {
            self.declared.rename(|object| now[&object]);
        }
    }
}
