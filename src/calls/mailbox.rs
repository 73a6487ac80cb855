//! Mailboxes: calls that a thread of the embedder makes, apart from those of the executor.
#![forbid(unsafe_code)]

use std::sync::{Arc, Weak};

use crate::base::events::drop_guarded;
use crate::calls::budget::{Budget, Drained};
use crate::calls::executor::{ExecutorError, Goroutine};
use crate::calls::lane::{Lane, MailboxId};
use crate::calls::post::Post;
use crate::calls::signal::DueHook;

/// Options of a [`Mailbox`].
#[derive(Default)]
#[must_use = "options do nothing by themselves"]
pub struct MailboxOptions {
    pub(super) on_due: Option<Box<DueHook>>,
}

impl MailboxOptions {
    /// Returns the defaults: no hook.
    pub fn new() -> MailboxOptions {
        MailboxOptions::default()
    }

    /// Sets a hook that is called after a collection, while calls wait in the mailbox, with no lock
    /// held: to wake the thread that empties it. See
    /// [`RuntimeBuilder::on_due`](crate::RuntimeBuilder::on_due).
    pub fn on_due(self, hook: impl Fn() + Send + Sync + 'static) -> MailboxOptions {
        MailboxOptions {
            on_due: Some(Box::new(hook)),
        }
    }
}

impl std::fmt::Debug for MailboxOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailboxOptions")
            .field("on_due", &self.on_due.is_some())
            .finish()
    }
}

/// Calls that a thread of the embedder makes when it [drains](Self::drain) the mailbox: one after
/// another, whatever the runtime's executor does meanwhile. [`Runtime::mailbox`] makes one.
///
/// The thread that has drained the mailbox last is its owner. When the owner waits for calls (by a
/// ticket, [`block_until_finalizer_queue_empty`], `shutdown` or `exit`), it drains the mailbox
/// first.
///
/// When a mailbox is dropped, what waits in it is not run: it counts as *discarded*, is kept alive
/// no longer, and tickets of its collections say so. So it is with what becomes due for it later.
/// A mailbox does not keep its runtime alive.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// use fing::executor::{Budget, MailboxOptions};
/// use fing::{FinalizerFn, FinalizerOptions, Runtime};
///
/// let runtime = Runtime::new()?;
/// let window_thread = std::thread::current().id();
/// let mailbox = runtime.mailbox(MailboxOptions::new())?;
/// let window = runtime.types().define("main.Window", "struct { Handle uint64 }")?;
/// let signature = runtime.types().parse_signature("func(*main.Window)")?;
/// let destroy = FinalizerFn::from_rust(signature, move |_, _| {
///     assert_eq!(std::thread::current().id(), window_thread);
/// });
/// runtime.enter(|mutator| {
///     let options = FinalizerOptions::new().lane(mailbox.lane());
///     mutator.set_finalizer_with(mutator.alloc(window)?, &destroy, options)?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// runtime.gc()?;
/// assert_eq!(mailbox.drain(Budget::unlimited())?.calls, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Runtime::mailbox`]: crate::Runtime::mailbox
/// [`block_until_finalizer_queue_empty`]: crate::Runtime::block_until_finalizer_queue_empty
pub struct Mailbox {
    id: MailboxId,
    post: Arc<Post>,
    goroutine: Weak<Goroutine>,
}

impl Mailbox {
    pub(super) fn new(id: MailboxId, post: Arc<Post>, goroutine: &Arc<Goroutine>) -> Mailbox {
        Mailbox {
            id,
            post,
            goroutine: Arc::downgrade(goroutine),
        }
    }

    /// Identifies this mailbox, for functions that are made for it
    /// ([`FunctionBuilder::mailbox`](crate::function::FunctionBuilder::mailbox)).
    pub fn id(&self) -> MailboxId {
        self.id
    }

    /// This mailbox as the lane of a registration's calls.
    pub fn lane(&self) -> Lane {
        Lane::Mailbox(self.id)
    }

    /// Makes the calls that are queued here on this thread, until there are none or the budget is
    /// used up; see [`Runtime::drain`](crate::Runtime::drain). Any thread may do it, one at a time.
    /// After a shutdown there are none.
    ///
    /// # Errors
    /// Another thread drains this mailbox; a call of this mailbox does this; the thread runs with a
    /// mutator, or is ending; the runtime was dropped; or this process is a fork.
    pub fn drain(&self, budget: Budget) -> Result<Drained, ExecutorError> {
        let goroutine = self.goroutine.upgrade().ok_or(ExecutorError::Gone)?;
        goroutine.drain_post(&self.post, budget)
    }

    /// Calls that wait here or are being made. 0 if the runtime was dropped, or this process is a
    /// fork.
    pub fn due(&self) -> u64 {
        let goroutine = self.goroutine.upgrade();
        goroutine.map_or(0, |goroutine| goroutine.due_in(self.post.lane))
    }

    /// Returns a descriptor that is readable while calls are queued here that no drain has begun
    /// with, or that one has left; see
    /// [`Runtime::due_descriptor`](crate::Runtime::due_descriptor).
    ///
    /// # Errors
    /// The system's, if the descriptor can't be made.
    #[cfg(unix)]
    pub fn due_descriptor(&self) -> std::io::Result<std::os::fd::BorrowedFd<'_>> {
        self.post.signal.descriptor(|| self.due() > 0)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if let Some(goroutine) = self.goroutine.upgrade()
            && let Some(post) = goroutine.close_post(self.post.lane)
        {
            drop_guarded("the hook of a mailbox", post);
        }
    }
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox")
            .field("id", &self.id)
            .field("due", &self.due())
            .finish_non_exhaustive()
    }
}
