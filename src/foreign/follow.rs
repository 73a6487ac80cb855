//! References that only the table knows: declared orders, and the values of ephemerons. The tracer
//! follows them between the steps of a collection.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::table::Table;
use crate::order::{Fault, Reference, Tracer};

impl<R: Reference> Table<R> {
    /// Traces what is kept by reached objects through declarations and ephemerons, and has not been
    /// reached. To be called when everything reachable so far has been followed. Returns true if it
    /// has traced any: then these have to be followed.
    ///
    /// Those that following these will lead to are found at once, by asking for the contents of
    /// unreached objects: so this is done in time linear in the number of ephemerons and
    /// declarations and in what it keeps, however they and references follow on each other.
    pub(super) fn follow_hidden<T: Tracer<Ref = R>>(&mut self, tracer: &mut T) -> bool {
        let Some(scope) = self.scope() else {
            return false;
        };
        let mut kept = self.after_reached(tracer);
        let mut waiters = self.waiters(scope, tracer, &mut kept);
        let mut seen = HashSet::new();
        kept.retain(|object| seen.insert(object.to_word()));
        if kept.is_empty() {
            return false;
        }
        let once = self.faults.has(Fault::EphemeronOnce);
        let (mut open, mut hidden) = (kept.clone(), Vec::new());
        while let Some(object) = open.pop().filter(|_| !once) {
            tracer.children(object, &mut |tracer, child| {
                if !seen.contains(&child.to_word()) && !tracer.is_reached(child) {
                    seen.insert(child.to_word());
                    open.push(child);
                }
            });
            let declared = self.declared.after(object.to_word()).iter().copied();
            for word in declared.chain(waiters.keep(object.to_word())) {
                let after = R::from_word(word);
                if !tracer.is_reached(after) {
                    hidden.push(after);
                    if seen.insert(word) {
                        open.push(after);
                    }
                }
            }
        }
        for object in kept.iter().chain(&hidden) {
            tracer.trace(*object);
        }
        !once
    }
}
