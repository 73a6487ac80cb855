//! Deliberate faults, to test that the conformance suite detects them. Without the feature
//! `conformance` there are none.
#![forbid(unsafe_code)]

/// A way to get the algorithm wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(hidden)]
#[cfg_attr(
    not(feature = "conformance"),
    expect(unreachable_pub, reason = "the kit's own")
)]
pub enum Fault {
    /// A finalizable object does not keep what it refers to.
    NoRetain,
    /// Decisions are made before the references of retained objects are followed.
    NoDrain,
    /// Cleanups are decided before objects with finalizers are revived.
    CleanupsFirst,
    /// The context of a finalizer, the argument of a cleanup, is no root.
    ContextNotTraced,
    /// Queued calls are no roots.
    QueueNotTraced,
    /// Calls that are due and not yet queued are no roots.
    DueNotTraced,
    /// Weak pointers return revived objects.
    WeakLast,
    /// Objects that moved are looked for where they were.
    NoRehash,
    /// No object is ever taken for young.
    NoYoungList,
    /// A reference to itself keeps an object from being finalized.
    SelfCounts,
    /// A revived object is not traced.
    NotRevived,
    /// The call of an object that a finalizer has revived is made nevertheless.
    NotTakenBack,
    /// Calls are taken back whether their objects are reachable or not.
    AllTakenBack,
    /// What is taken back has lost its context.
    TakenBackBare,
    /// What is finalized after a reachable object is not kept by it.
    DeclaredNotFollowed,
    /// Topological order, the wrong way round.
    Reversed,
    /// Cycles run, whatever their policy.
    CyclesRun,
    /// What a left cycle refers to is finalized nevertheless.
    LeftNotKept,
    /// A cycle is not opened at the objects that ask for it.
    NotBroken,
    /// A cycle is reported in every collection.
    ReportedAgain,
    /// An ephemeron keeps its value whatever becomes of its key.
    EphemeronStrong,
    /// An ephemeron does not keep its value, and is cleared with it.
    EphemeronIgnored,
    /// Ephemerons are looked at once in a step, not until nothing changes.
    EphemeronOnce,
    /// A minor collection clears the ephemerons of old keys.
    EphemeronOldCleared,
    /// What an ephemeron refers to is looked for where it was.
    EphemeronNotForwarded,
    /// Ephemerons are cleared after objects have been revived.
    EphemeronsLast,
    /// The ephemerons that a map with a finalizer holds are cleared before it is finalized.
    EphemeronNotRetained,
    /// The plan of topological order knows no ephemerons.
    EphemeronsNotPlanned,
    /// Of the finalizers of an object that topological order plans, one is called.
    OneWatcherHears,
    /// A watcher that was taken back is not found under the name it was given.
    WatcherRenamed,
    /// An object that only has watchers keeps nothing that is declared to be finalized after it.
    WatchedNotRetained,
}

/// The deliberate fault in a table, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    #[cfg(feature = "conformance")]
    pub(crate) only: Option<Fault>,
}

impl Faults {
    #[cfg(feature = "conformance")]
    pub(crate) fn has(self, fault: Fault) -> bool {
        self.only == Some(fault)
    }

    #[cfg(not(feature = "conformance"))]
    pub(crate) fn has(self, _: Fault) -> bool {
        false
    }
}
