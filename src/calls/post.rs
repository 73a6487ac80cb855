//! Lanes that threads of the embedder drain: which thread drains one now, whose it is, and how that
//! thread is told that calls are due.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use crate::base::lock::{Lock, Rank};
use crate::calls::queue::{LaneId, Queue};
use crate::calls::signal::{DueHook, Signal};

/// A lane that threads of the embedder drain, one at a time.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) lane: LaneId,
    pub(crate) signal: Signal,
    threads: Lock<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    /// The one that drains now.
    draining: Option<ThreadId>,
    /// The one that has drained last.
    owner: Option<ThreadId>,
}

/// Why a thread may not drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It does already.
    Here,
    /// Another one does.
    Elsewhere,
}

/// The calling thread drains. Ends when this is dropped, also when a bug of this crate panics.
pub(crate) struct Draining<'p>(&'p Post);

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.0.threads.lock().draining = None;
    }
}

impl Post {
    fn new(lane: LaneId, hook: Option<Box<DueHook>>) -> Post {
        Post {
            lane,
            signal: Signal::new(hook),
            threads: Lock::new(Rank::Posts, Threads::default()),
        }
    }

    /// Has the calling thread drain, unless one does already.
    pub(crate) fn begin(&self) -> Result<Draining<'_>, Taken> {
        let this = thread::current().id();
        let mut threads = self.threads.lock();
        match threads.draining {
            None => {
                threads.draining = Some(this);
                threads.owner = Some(this);
                Ok(Draining(self))
            }
            Some(thread) if thread == this => Err(Taken::Here),
            Some(_) => Err(Taken::Elsewhere),
        }
    }

    /// Whether the calling thread drains it now.
    pub(crate) fn is_drained_here(&self) -> bool {
        self.threads.lock().draining == Some(thread::current().id())
    }

    /// Whether the calling thread has drained it last.
    fn is_owned_here(&self) -> bool {
        self.threads.lock().owner == Some(thread::current().id())
    }
}

/// The lanes of one runtime that threads of the embedder may drain.
#[derive(Debug)]
pub(crate) struct Posts {
    pub(crate) executor: Post,
    mailboxes: Lock<BTreeMap<LaneId, Arc<Post>>>,
}

impl Posts {
    pub(crate) fn new(on_due: Option<Box<DueHook>>) -> Posts {
        Posts {
            executor: Post::new(LaneId::EXECUTOR, on_due),
            mailboxes: Lock::new(Rank::Posts, BTreeMap::new()),
        }
    }

    /// Adds that of a mailbox.
    pub(crate) fn add(&self, lane: LaneId, on_due: Option<Box<DueHook>>) -> Arc<Post> {
        let post = Arc::new(Post::new(lane, on_due));
        self.mailboxes.lock().insert(lane, post.clone());
        post
    }

    /// Removes that of a mailbox. Its hook is dropped with the result.
    pub(crate) fn remove(&self, lane: LaneId) -> Option<Arc<Post>> {
        self.mailboxes.lock().remove(&lane)
    }

    fn all(&self) -> Vec<Arc<Post>> {
        self.mailboxes.lock().values().cloned().collect()
    }

    /// Whether the calling thread drains one of them now.
    pub(crate) fn is_drained_here(&self) -> bool {
        self.executor.is_drained_here() || self.all().iter().any(|post| post.is_drained_here())
    }

    /// The mailboxes that the calling thread has drained last.
    pub(crate) fn owned_here(&self) -> Vec<Arc<Post>> {
        let mut posts = self.all();
        posts.retain(|post| post.is_owned_here());
        posts
    }

    /// Wakes the threads that run calls, and tells those who drain that calls are due. Runs hooks,
    /// so no lock may be held.
    pub(crate) fn wake(&self, queue: &Queue) {
        if queue.wake() {
            self.executor.signal.raise();
        }
        for lane in queue.due_mailboxes() {
            let post = self.mailboxes.lock().get(&lane).cloned();
            if let Some(post) = post {
                post.signal.raise();
            }
        }
    }
}
