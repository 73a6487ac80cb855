//! Calls that an embedder makes itself: each is taken out of the queue by itself, and stays with
//! whoever has it until that one is done with it.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use fing_stubs::Signature;

use crate::calls::executor::{ExecutorError, Goroutine, Owner};
use crate::calls::failure::Cause;
use crate::calls::goroutine::Calls;
use crate::calls::queue::{Block, ByKind, CallKind, Fates, HandedOut, LaneId, Taken};
use crate::calls::shape::{Callee, Shape};

/// A call that is due, of a finalizer or a cleanup: [`Runtime::next_due`] takes it out of the
/// queue.
///
/// For a VM that makes such calls itself: on a goroutine of its own, say, which it can leave in the
/// middle of one while others go on. It looks at what the call takes, makes it, and drops this; or
/// it has the call [made](Self::call) as the executor would.
///
/// Until this is dropped the call counts as running: its object and what else it takes are roots,
/// `clear_finalizer` says that it is too late, and a [`Ticket`](crate::ends::Ticket) waits for it.
/// Any number of them may be outstanding, on whatever threads. Leaking one keeps its object alive.
///
/// [`Runtime::next_due`]: crate::Runtime::next_due
pub struct Due {
    owner: Arc<dyn Owner>,
    /// Absent when the call has ended.
    call: Option<HandedOut>,
    int_arg_regs: u8,
    shape: Arc<Shape>,
}

impl Due {
    fn with_call<R>(&self, look: impl FnOnce(&Block, usize) -> R) -> R {
        match &self.call {
            Some(call) => look(&call.block, call.at),
            None => unreachable!("only its end takes the call"),
        }
    }

    /// Whether a finalizer or a cleanup is called.
    pub fn kind(&self) -> CallKind {
        self.shape.kind()
    }

    /// The function's signature.
    pub fn signature(&self) -> &Signature {
        self.shape.function().signature()
    }

    /// The function's address; of one that follows the runtime's register count, the address for
    /// the [count](Self::int_arg_regs) of this call. `None` for a Rust closure, which only
    /// [`call`](Self::call) can call.
    pub fn code(&self) -> Option<usize> {
        match self.shape.callee(self.int_arg_regs) {
            Callee::Stub(_) => Some(self.with_call(|block, at| block.slots()[at].record().code)),
            Callee::Rust(_) => None,
        }
    }

    /// Integer argument registers by which the function is called, if it follows the runtime's
    /// count.
    pub fn int_arg_regs(&self) -> usize {
        self.int_arg_regs.into()
    }

    /// The context that was registered: a word, or an object's address; 0 if the function has none.
    pub fn context(&self) -> usize {
        self.with_call(|block, at| block.slots()[at].record().context)
    }

    /// The argument's words as they are now: of a finalizer the object's address, behind an
    /// interface's first word if it takes one. An argument of one word is the first, and the
    /// second is 0. Of one of more than two words the first is the address where it is until this
    /// is dropped, and the second is 0.
    pub fn words(&self) -> [u64; 2] {
        let words = self.with_call(|block, at| block.slots()[at].record().words);
        if self.shape.is_in_memory() {
            [words[0], 0]
        } else {
            words
        }
    }

    /// Whether the function takes the runtime's mutator in place of a context.
    pub fn takes_mutator(&self) -> bool {
        self.shape.takes_mutator()
    }

    /// Makes the call on this thread, as a drain would: a panic is caught and reported, a status is
    /// looked at, a mutator is lent. A bulk finalizer is given an array of this object.
    ///
    /// # Errors
    /// The thread runs with a mutator, is in the middle of a collection or is ending, or this
    /// process is a fork; or the function takes the mutator, and the runtime's last handle was
    /// dropped. The call is returned beside the error.
    pub fn call(mut self) -> Result<(), (Due, ExecutorError)> {
        let calls = self.owner.calls();
        let has_mutator = !self.takes_mutator() || self.owner.has_mutators();
        let refused = match Goroutine::may_call(&*self.owner) {
            Ok(()) if !has_mutator => Some(ExecutorError::Gone),
            checked => checked.err(),
        };
        match (refused, self.call.take()) {
            (None, Some(call)) => {
                calls.call_handed_out(&call, self.int_arg_regs, &*self.owner);
                Ok(())
            }
            (refused, call) => {
                self.call = call;
                Err((self, refused.unwrap_or(ExecutorError::Reentered)))
            }
        }
    }

    /// States that the call was made and has failed: it is reported, and the runtime's policy, or
    /// that of the registration, says what becomes of it.
    pub fn fail(mut self, message: impl Into<String>) {
        self.end(Some(Cause::Told(message.into())), |fates| {
            &mut fates.executed
        });
    }

    fn end(&mut self, cause: Option<Cause>, fate: fn(&mut Fates) -> &mut ByKind) {
        let Some(HandedOut { turn, block, at }) = self.call.take() else {
            return;
        };
        let calls = self.owner.calls();
        // A forked child may not take the locks.
        if calls.gate.is_forked() {
            return;
        }
        if let Some(cause) = cause {
            calls.fail(&self.shape, &block, at..at + 1, cause);
        }
        calls.queue.retire_as(&turn, Some(block), fate);
        calls.pressure.tell(&calls.queue);
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        self.end(None, |fates| &mut fates.executed);
    }
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Due")
            .field("kind", &self.kind())
            .field("signature", &self.signature().to_string())
            .finish_non_exhaustive()
    }
}

impl Calls {
    /// Takes the next call of a lane that no thread drains now.
    fn hand_out(&self, lane: LaneId) -> Option<(HandedOut, u8)> {
        let turn = self.queue.turns_of(lane).pop()?;
        while let Taken::Drain { int_arg_regs } = self.queue.take(&turn, false) {
            let choose = |block: &Block| self.shapes.choose_codes(block, int_arg_regs);
            if let Some(call) = self.queue.hand_out(&turn, choose) {
                self.queue.rest(&turn);
                return Some((call, int_arg_regs));
            }
        }
        None
    }
}

impl Goroutine {
    /// Takes the next call that is due, for the caller to make. Those of functions in quarantine
    /// are reported and passed over.
    pub(crate) fn next_due(&self) -> Result<Option<Due>, ExecutorError> {
        self.check_executor("next_due")?;
        let calls = self.calls();
        let post = &calls.posts.executor;
        let _draining = Goroutine::begin(post)?;
        post.signal.begin();
        let mut found = None;
        while let Some((call, int_arg_regs)) = calls.hand_out(post.lane) {
            let shape = calls.shapes.get(call.block.tags()[call.at].shape());
            let mut due = Due {
                owner: self.owner().clone(),
                call: Some(call),
                int_arg_regs,
                shape,
            };
            if !calls.failures.are_refused(&due.shape) {
                found = Some(due);
                break;
            }
            due.end(Some(Cause::Quarantined), |fates| &mut fates.quarantined);
        }
        post.signal.end(calls.queue.left_in(post.lane));
        Ok(found)
    }
}
