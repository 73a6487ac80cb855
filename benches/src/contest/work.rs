//! The kinds of work that subjects do, and the phases that they measure.
#![forbid(unsafe_code)]

/// What is done in one round, with a given number of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Make and register all, collect while all are reachable, drop some, collect, run what is due,
    /// collect again.
    Cycle {
        /// How many are dropped, in percent.
        dead: u8,
        /// Different functions, in an order that cannot be predicted.
        targets: u8,
    },
    /// Make and register all, and take every registration back.
    Cancel,
    /// Make all; register them in a random order, and take the registrations back in another.
    Random,
    /// Make, register and drop one after the other, a tenth of all being reachable at a time. The
    /// runtime decides when it collects.
    Churn,
    /// Make and register all, drop all, collect. How much memory the process has is read in
    /// between. Each round is a new process: one that had the memory before does not grow.
    Memory,
    /// Make a binary tree of as many nodes, collect while it is reachable, drop it, collect.
    /// Nothing is registered.
    Tree,
    /// Make trees of [`SMALL_TREE`] nodes, [`CHURNED`] times as many nodes as there are objects,
    /// and drop each when it is made, while a tree of all objects stays. The runtime decides when
    /// it collects. Nothing is registered.
    TreeChurn,
    /// Make and register all, each with a context of its own, take every registration back,
    /// register again, drop all, collect, run what is due.
    Closures,
    /// As many objects stay reachable, each with a finalizer: replace the oldest by a new one,
    /// again and again, over [`WARM_UP`] collections and the [`MEASURED`] after them. Each round is
    /// a new process.
    Steady,
    /// Make as many objects that own [`OWNED`] bytes outside the heap each, a tenth being reachable
    /// at a time. The runtime decides when it collects.
    Owners,
}

/// Nodes of a tree that does not live long.
pub(crate) const SMALL_TREE: usize = 127;
/// How many nodes [`Work::TreeChurn`] makes for each object that stays.
pub(crate) const CHURNED: usize = 4;
/// Objects of a step of [`Work::Churn`]; its percentiles are of these.
pub(crate) const STEP: usize = 100;
/// Collections of [`Work::Steady`] that are not measured.
pub(crate) const WARM_UP: usize = 5;
/// Collections of [`Work::Steady`] after the warm-up.
pub(crate) const MEASURED: usize = 20;
/// Collections at either end of those, of which the mean is shown.
pub(crate) const WINDOW: usize = 5;
/// Bytes that an object of [`Work::Owners`] owns.
pub(crate) const OWNED: u64 = 1 << 20;

/// Everything dies, and there is one function.
pub(crate) const ALL_DEAD: Work = Work::Cycle {
    dead: 100,
    targets: 1,
};
/// Half of the objects die.
pub(crate) const HALF_DEAD: Work = Work::Cycle {
    dead: 50,
    targets: 1,
};
/// Everything dies, and there are several functions.
pub(crate) const EIGHT_TARGETS: Work = Work::Cycle {
    dead: 100,
    targets: crate::callees::TARGETS as u8,
};

impl Work {
    /// As a peer program is told: name, percent, number of targets.
    pub(crate) fn arguments(self) -> [String; 3] {
        let (dead, targets) = match self {
            Work::Cycle { dead, targets } => (dead, targets),
            _ => (100, 1),
        };
        [
            self.name().to_owned(),
            dead.to_string(),
            targets.to_string(),
        ]
    }

    fn name(self) -> &'static str {
        match self {
            Work::Cycle { .. } => "cycle",
            Work::Cancel => "cancel",
            Work::Random => "random",
            Work::Churn => "churn",
            Work::Memory => "memory",
            Work::Tree => "tree",
            Work::TreeChurn => "tree-churn",
            Work::Closures => "closures",
            Work::Steady => "steady",
            Work::Owners => "owners",
        }
    }

    /// The kinds of work whose rounds are new processes, by the name that such a process is started
    /// with.
    pub(crate) fn alone(name: &str) -> Option<Work> {
        let mut all = [Work::Memory, Work::Steady].into_iter();
        all.find(|work| work.name() == name)
    }

    /// Whether each round is a new process.
    pub(crate) fn is_alone(self) -> bool {
        Work::alone(self.name()).is_some()
    }

    /// Numbers of objects, if none are chosen.
    pub(crate) fn sizes(self) -> &'static [usize] {
        match self {
            Work::Steady => &[100_000],
            Work::Owners => &[10_000],
            _ => &[10_000, 100_000, 1_000_000, 10_000_000],
        }
    }
}

/// The phases of a round, by the names that peer programs use. Figures are nanoseconds for each
/// object, if nothing else is said.
pub(crate) mod phase {
    /// Making the objects.
    pub(crate) const ALLOC: &str = "alloc";
    /// Setting a finalizer on each.
    pub(crate) const REGISTER: &str = "register";
    /// A collection with all reachable, which have survived one before.
    pub(crate) const LIVE: &str = "live";
    /// The collection that finds the dropped ones, up to their being queued.
    pub(crate) const DISCOVER: &str = "discover";
    /// Running what is queued.
    pub(crate) const DRAIN: &str = "drain";
    /// The collection after that.
    pub(crate) const FREE: &str = "free";
    /// Taking registrations back.
    pub(crate) const CANCEL: &str = "cancel";
    /// All of `Work::Churn`, up to the last object; of `Work::TreeChurn`, for each node that was
    /// dropped.
    pub(crate) const CHURN: &str = "churn";
    /// Of all objects, those that were dropped and not finalized by then, in percent.
    pub(crate) const BACKLOG: &str = "backlog";
    /// Time for 100 objects that half of all steps stay below. In nanoseconds.
    pub(crate) const P50: &str = "p50";
    /// The same for 99 of 100 steps.
    pub(crate) const P99: &str = "p99";
    /// The same for 999 of 1000 steps.
    pub(crate) const P999: &str = "p999";
    /// The slowest step.
    pub(crate) const MAX: &str = "max";
    /// By how many bytes for each object the process has grown when all are registered.
    pub(crate) const MEMORY: &str = "memory";
    /// The same, when all are queued.
    pub(crate) const QUEUED: &str = "queued";
    /// Objects made between two collections of `Work::Steady`: the mean of the first after the
    /// warm-up.
    pub(crate) const FIRST_OBJECTS: &str = "first-objects";
    /// The mean of the last.
    pub(crate) const LAST_OBJECTS: &str = "last-objects";
    /// The one in the other: last / first.
    pub(crate) const OBJECTS_GROWTH: &str = "objects-growth";
    /// Mebibytes of the process in memory after these collections: the mean of the first.
    pub(crate) const FIRST_MEMORY: &str = "first-memory";
    /// The mean of the last.
    pub(crate) const LAST_MEMORY: &str = "last-memory";
    /// The one in the other: last / first.
    pub(crate) const MEMORY_GROWTH: &str = "memory-growth";
    /// The most bytes that objects of `Work::Owners` owned at a time, in those that reachable ones
    /// own.
    pub(crate) const OWNED: &str = "owned";
    /// Collections meanwhile.
    pub(crate) const COLLECTIONS: &str = "collections";

    /// All.
    pub(crate) const ALL: &[&str] = &[
        ALLOC,
        REGISTER,
        LIVE,
        DISCOVER,
        DRAIN,
        FREE,
        CANCEL,
        CHURN,
        BACKLOG,
        P50,
        P99,
        P999,
        MAX,
        MEMORY,
        QUEUED,
        FIRST_OBJECTS,
        LAST_OBJECTS,
        OBJECTS_GROWTH,
        FIRST_MEMORY,
        LAST_MEMORY,
        MEMORY_GROWTH,
        OWNED,
        COLLECTIONS,
    ];
}
