//! Watching the finalizer goroutine: what it does, told as it happens. Without an observer nothing is told, and nothing is
//! paid.
#![forbid(unsafe_code)]

/// Why the finalizer goroutine is parked. `Display` is Go's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParkReason {
    /// Nothing is due.
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
    /// The argument's words. What they refer to is kept until the call has returned.
    pub words: [u64; 2],
}

/// Is told what the finalizer goroutine does, on its thread, while no lock is held and the thread is outside the heap. It
/// may do what a finalizer may. Panics are caught and logged.
///
/// With an observer every call is made by itself, so that its beginning and end are known. Without one, neighbours of one
/// stub are called in one loop of generated code.
pub trait Observer: Send + Sync {
    /// The goroutine is about to park.
    fn parked(&self, reason: ParkReason) {
        let _ = reason;
    }

    /// It was woken.
    fn woken(&self) {}

    /// It has taken the queue, and calls functions that follow the register count with this many registers.
    fn drain_began(&self, int_arg_regs: usize) {
        let _ = int_arg_regs;
    }

    /// All it took is done, by this many calls.
    fn drain_ended(&self, calls: u64) {
        let _ = calls;
    }

    /// A call begins.
    fn call_began(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// The call is over; it returned or panicked.
    fn call_ended(&self, call: &Call<'_>, panicked: bool) {
        let _ = (call, panicked);
    }
}
