//! Why an object of a foreign collector is alive.
#![forbid(unsafe_code)]

use super::entries::{Walk, Walked};
use super::entry::{Flag, Kind};
use super::table::Table;
use crate::order::{KeepPath, Keeper, Order, Reference, Scope, Starts, Tracer, find_path};

impl<R: Reference> Table<R> {
    /// Returns what keeps `object`: these roots, what is queued (`calls`), or registrations.
    pub(super) fn why<T: Tracer<Ref = R>>(
        &self,
        tracer: &mut T,
        roots: impl Iterator<Item = R>,
        calls: Vec<u64>,
        object: R,
    ) -> Option<KeepPath<R>> {
        let roots = roots.map(|root| (Keeper::Root, root.to_word()));
        let calls = calls.into_iter().map(|word| (Keeper::Call, word));
        let mut starts = Starts {
            strong: roots.chain(calls).collect(),
            finalizable: Vec::new(),
        };
        let mut walk = Walk::over(Walked::Scope(Scope::Full));
        while let Some(at) = walk.next(&self.entries) {
            let entry = self.entries.at(at);
            let is_finalizer = entry.kind() == Some(Kind::Finalizer);
            let keeper = match entry.is_registered() {
                true => Keeper::Registration(entry.object),
                false => Keeper::Call,
            };
            if entry.has(Flag::Reference) {
                starts.strong.push((keeper, self.entries.word(at)));
            }
            match (is_finalizer, entry.is_registered()) {
                (true, false) => starts.strong.push((keeper, entry.object)),
                (true, true) if self.order == Order::Go => starts.finalizable.push(entry.object),
                _ => {}
            }
        }
        let entries = self.weak_entries();
        let (keeper, path) =
            find_path(&starts, &entries, object.to_word(), &mut |object, visit| {
                let mut slot = 0;
                tracer.children(R::from_word(object), &mut |_, child| {
                    visit(slot, child.to_word());
                    slot += 1;
                });
            })?;
        let links = path.into_iter();
        let links = links.map(|step| step.link(R::from_word, String::new()));
        Some(KeepPath {
            keeper: keeper.map(R::from_word),
            path: links.collect(),
        })
    }
}
