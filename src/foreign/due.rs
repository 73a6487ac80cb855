//! Turns calls that are due in the table into records of the queue.
#![forbid(unsafe_code)]

use super::table::Due;
use crate::calls::lookup::Lookup;
use crate::calls::queue::{Filling, Owned};

/// Queues a call.
pub(super) fn queue(due: &Due, lookup: &mut Lookup<'_>, queue: &mut Filling<'_>) {
    let template = &lookup.get(due.shape).template;
    let record = match due.is_finalizer {
        true => template.finalizer(due.object, due.word),
        false => template.cleanup([due.word, 0]),
    };
    let owned = Owned {
        number: due.number,
        external: due.external,
    };
    let route = match due.is_watcher {
        true => template.route().of_watcher(),
        false => template.route(),
    };
    queue.push(&record, route, owned);
}
