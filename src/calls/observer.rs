//! Observing the finalizer goroutine. Without an observer this costs nothing.
#![forbid(unsafe_code)]

/// Why the finalizer goroutine is parked. `Display` prints Go's wait reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParkReason {
    /// The queue is empty.
    FinalizerWait,
}

impl std::fmt::Display for ParkReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ParkReason::FinalizerWait => f.write_str("finalizer wait"),
        }
    }
}

/// One call of a finalizer or cleanup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call<'a> {
    /// Address of the function.
    pub code: usize,
    /// Its signature.
    pub signature: &'a fing_stubs::Signature,
    /// The argument's words. Objects they refer to are kept alive until the call has returned.
    pub words: [u64; 2],
}

/// Callbacks that tell what the finalizer goroutine does. They are called on its thread, with no
/// lock held and outside the heap, and may do whatever a finalizer may. Panics are caught and
/// reported as `tracing` events.
///
/// With an observer each call is made separately, so that its beginning and end are known; a bulk
/// finalizer still takes many objects in one call. Without an observer, consecutive calls with the
/// same stub run in one loop of generated code.
pub trait Observer: Send + Sync {
    /// Called before the goroutine parks.
    fn parked(&self, reason: ParkReason) {
        let _ = reason;
    }

    /// Called after the goroutine was woken.
    fn woken(&self) {}

    /// Called when the goroutine has taken the queue. `int_arg_regs` is the register count by which
    /// it calls functions that follow the count.
    fn drain_began(&self, int_arg_regs: usize) {
        let _ = int_arg_regs;
    }

    /// Called when everything the goroutine took has run. `calls` is the number of queued calls; a
    /// call of a bulk finalizer counts once for each object.
    fn drain_ended(&self, calls: u64) {
        let _ = calls;
    }

    /// Called before a call; for a bulk finalizer `call` has the first object.
    fn call_began(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// Called after a call. `failed` says whether it panicked, or returned a status that says so.
    fn call_ended(&self, call: &Call<'_>, failed: bool) {
        let _ = (call, failed);
    }
}
