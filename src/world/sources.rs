//! Root sources: closures of the embedder's that say what is alive beside handles. The collecting
//! thread asks them with the world stopped.
#![forbid(unsafe_code)]

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar};

use crate::base::events::guarded;
use crate::base::lock::{Lock, Rank};
use crate::world::safepoint::Stopped;
use crate::world::threads::{self, WorldError};
use crate::world::waiting::ThreadKey;

/// Calls its argument with each address that is alive; or returns why it can't.
type Ask = dyn Fn(&mut dyn FnMut(usize)) -> Result<(), String> + Send + Sync;

#[derive(Default)]
struct State {
    /// By their numbers, which ascend.
    all: BTreeMap<u64, Arc<Ask>>,
    last: u64,
    /// The thread that asks them now.
    asking: Option<ThreadKey>,
}

/// The root sources of one runtime.
pub(crate) struct Sources {
    state: Lock<State>,
    asked: Condvar,
    /// The process that made it.
    owner: u32,
}

impl Sources {
    pub(crate) fn new() -> Arc<Sources> {
        Arc::new(Sources {
            state: Lock::new(Rank::Roots, State::default()),
            asked: Condvar::new(),
            owner: std::process::id(),
        })
    }

    /// Has collections ask `ask` from now on, until the result is dropped.
    pub(crate) fn add(
        self: &Arc<Sources>,
        ask: impl Fn(&mut dyn FnMut(usize)) -> Result<(), String> + Send + Sync + 'static,
    ) -> RootSource {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        state.all.insert(number, Arc::new(ask));
        RootSource {
            sources: self.clone(),
            number,
        }
    }

    /// Asks all sources, on the thread that has stopped the world.
    ///
    /// # Errors
    /// One of them panicked, or returned an error: not all that is alive is known.
    pub(crate) fn for_each(
        &self,
        _proof: &Stopped<'_>,
        visit: &mut dyn FnMut(usize),
    ) -> Result<(), WorldError> {
        let all: Vec<Arc<Ask>> = {
            let mut state = self.state.lock();
            if state.all.is_empty() {
                return Ok(());
            }
            state.asking = Some(threads::key());
            state.all.values().cloned().collect()
        };
        let asked = all.iter().try_for_each(|ask| {
            let asked = catch_unwind(AssertUnwindSafe(|| ask(visit)));
            asked.unwrap_or_else(|payload| Err(text(payload)))
        });
        // Whoever has removed one drops it itself, unless that was a source.
        all.into_iter().for_each(drop_source);
        self.state.lock().asking = None;
        self.asked.notify_all();
        asked.map_err(|found| WorldError::Roots { found })
    }

    /// Removes a source. When this returns it is not called any more, unless a source calls this.
    fn remove(&self, number: u64) -> Option<Arc<Ask>> {
        let mut state = self.state.lock();
        let removed = state.all.remove(&number);
        // In a forked child, the thread that asks may not be there.
        while state.asking.is_some_and(|asking| asking != threads::key())
            && std::process::id() == self.owner
        {
            state = state.wait(&self.asked);
        }
        removed
    }
}

/// Drops a source's closure, whose destructor is the user's.
fn drop_source(ask: Arc<Ask>) {
    guarded("the destructor of a source of roots", || drop(ask));
}

/// What a panic says.
fn text(payload: Box<dyn Any + Send>) -> String {
    let text = match payload.downcast_ref::<&str>() {
        Some(text) => Some((*text).to_owned()),
        None => payload.downcast_ref::<String>().cloned(),
    };
    // Its destructor may be the user's, and panic.
    std::mem::forget(payload);
    format!("a panic: {}", text.as_deref().unwrap_or("of no text"))
}

/// A source of roots that collections ask; see [`Runtime::add_roots`](crate::Runtime::add_roots).
///
/// Dropping it removes the source, and waits for a collection that is asking the sources just then:
/// afterwards the closure is not called any more, and is dropped. So whoever drops it must hold no
/// lock that a source takes. A source may drop itself or another one; the closure that runs, and
/// those that the collection has still to ask, are called once more then.
#[must_use = "dropping it removes the source"]
pub struct RootSource {
    sources: Arc<Sources>,
    number: u64,
}

impl Drop for RootSource {
    fn drop(&mut self) {
        if let Some(ask) = self.sources.remove(self.number) {
            drop_source(ask);
        }
    }
}

impl fmt::Debug for RootSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootSource({})", self.number)
    }
}
