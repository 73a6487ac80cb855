//! Deliberate faults, to show that the conformance kit sees them. Without the feature there are none.
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
    /// Decisions before what was retained is followed.
    NoDrain,
    /// Cleanups are decided before finalizers have revived anything.
    CleanupsFirst,
    /// The context of a finalizer, the argument of a cleanup, is no root.
    ContextNotTraced,
    /// Queued calls are no roots.
    QueueNotTraced,
    /// Calls that are due and not yet queued are no roots.
    DueNotTraced,
    /// Weak handles see revived objects.
    WeakLast,
    /// Objects that moved are looked for where they were.
    NoRehash,
    /// Nothing is ever young.
    NoYoungList,
    /// A reference to itself keeps an object from being finalized.
    SelfCounts,
    /// A revived object is not traced.
    NotRevived,
    /// Topological order, the wrong way round.
    Reversed,
    /// Cycles run, whatever their policy.
    CyclesRun,
    /// What a left cycle refers to is finalized nevertheless.
    LeftNotKept,
    /// A cycle is not opened at the objects that ask for it.
    NotBroken,
    /// Cycles are reported again and again.
    ReportedAgain,
}

/// The faults a table has.
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
