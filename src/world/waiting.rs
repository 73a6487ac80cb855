//! Which thread waits for which others, across runtimes: finds deadlocks before they happen.
//!
//! Within one runtime a thread never waits for itself; the world sees to that. But a thread that
//! runs with a mutator of A and waits for B's world may wait for a thread that does the reverse.
//! Neither runtime sees more than its half. So each thread that is about to wait in some world
//! states for which threads, in one table of the process; the one that would close a circle is
//! refused. A thread that does not have to wait never comes here.
#![forbid(unsafe_code)]

use std::sync::LazyLock;

use crate::base::lock::{Lock, Rank};

/// Identifies a thread as long as it lives.
pub(crate) type ThreadKey = usize;

/// Threads that wait. The only state that runtimes share.
static TABLE: LazyLock<Lock<Vec<Entry>>> = LazyLock::new(|| Lock::new(Rank::Waiting, Vec::new()));

#[derive(Debug)]
struct Entry {
    thread: ThreadKey,
    world: usize,
    on: Vec<ThreadKey>,
    /// Whether the thread can be told that it must not wait.
    can_give_up: bool,
    /// It was chosen to give up.
    given_up: bool,
}

/// A thread waits, until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    world: usize,
    thread: ThreadKey,
}

/// Looks for a way from one of the threads `from` to `thread`, by what each waits for.
fn way(table: &[Entry], thread: ThreadKey, from: &[ThreadKey]) -> Way {
    // Each with the entry of a thread in front of it that can give up.
    let mut open: Vec<(ThreadKey, Option<usize>)> = from.iter().map(|on| (*on, None)).collect();
    let mut seen = Vec::new();
    while let Some((next, victim)) = open.pop() {
        if next == thread {
            return Way::Circle { victim };
        }
        if seen.contains(&next) {
            continue;
        }
        seen.push(next);
        for (at, entry) in table.iter().enumerate().filter(|(_, of)| of.thread == next) {
            let victim = victim.or(entry.can_give_up.then_some(at));
            open.extend(entry.on.iter().map(|on| (*on, victim)));
        }
    }
    Way::None
}

/// Whether a thread would wait for itself.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    None,
    /// The entry of another thread in the circle that can give up.
    Circle {
        victim: Option<usize>,
    },
}

impl Waiting {
    /// The thread begins to wait in this world.
    pub(super) fn begin(world: usize, thread: ThreadKey, can_give_up: bool) -> Waiting {
        TABLE.lock().push(Entry {
            thread,
            world,
            on: Vec::new(),
            can_give_up,
            given_up: false,
        });
        Waiting { world, thread }
    }

    /// States for which threads it waits now. Returns false if it must give up, as one of them
    /// waits for it. If it can't, another thread in the circle has to, which always can: in each
    /// circle some thread waits to stop a world.
    pub(super) fn wait_for(&self, on: Vec<ThreadKey>) -> bool {
        let mut table = TABLE.lock();
        let Some(own) = table.iter().rposition(|entry| self.is_of(entry)) else {
            return true;
        };
        if table[own].given_up {
            return false;
        }
        if let Way::Circle { victim } = way(&table, self.thread, &on) {
            if table[own].can_give_up {
                return false;
            }
            if let Some(victim) = victim {
                table[victim].given_up = true;
            }
        }
        table[own].on = on;
        true
    }

    fn is_of(&self, entry: &Entry) -> bool {
        entry.thread == self.thread && entry.world == self.world
    }

    /// Those who wait in this world don't wait for this thread any more, though they may not have
    /// been woken yet.
    pub(super) fn resolve(world: usize, thread: ThreadKey) {
        let mut table = TABLE.lock();
        for entry in table.iter_mut().filter(|entry| entry.world == world) {
            entry.on.retain(|on| *on != thread);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut table = TABLE.lock();
        if let Some(at) = table.iter().rposition(|entry| self.is_of(entry)) {
            table.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_however_long_it_is() {
        let threads: [ThreadKey; 6] = [10, 11, 12, 13, 14, 15];
        let entry = |from: usize, on: &[usize], can_give_up| Entry {
            thread: threads[from],
            world: from,
            on: on.iter().map(|n| threads[*n]).collect(),
            can_give_up,
            given_up: false,
        };
        let table = [
            entry(1, &[2, 3], false),
            entry(2, &[3], true),
            entry(3, &[2, 4], true),
        ];
        assert_eq!(way(&table, threads[0], &[threads[1]]), Way::None);
        let found = way(&table, threads[4], &[threads[1]]);
        assert!(
            matches!(
                found,
                Way::Circle {
                    victim: Some(1 | 2)
                }
            ),
            "{found:?}"
        );
        let own = way(&table, threads[5], &[threads[0], threads[5]]);
        assert_eq!(own, Way::Circle { victim: None });
        let closed = [entry(1, &[2], false), entry(2, &[3, 0], true)];
        let found = way(&closed, threads[0], &[threads[1]]);
        assert_eq!(found, Way::Circle { victim: Some(1) });
    }
}
