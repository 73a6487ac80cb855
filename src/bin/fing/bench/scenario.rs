//! The scenarios, as data: a name, what is done, and which of its phases count.
#![forbid(unsafe_code)]

use super::subject::{ALL_DEAD, Phase, STEP, Work};
use Phase::{
    Alloc, Backlog, Cancel, Churn, Discover, Drain, Free, Live, Max, Memory, P50, P99, P999,
    Queued, Register,
};

/// Which subjects a scenario is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    /// fing beside all others.
    Peers,
    /// fing beside itself, for each number of integer argument registers.
    Registers,
}

/// One row of a report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// As on the command line and in the report.
    pub(crate) name: &'static str,
    /// What is timed.
    pub(crate) about: &'static str,
    pub(crate) field: Field,
    pub(crate) work: Work,
    /// Their figures are added. A subject must have the first and the last; where it has none of those between, they are part
    /// of another (a class that is registered when its objects are made, say).
    pub(crate) phases: &'static [Phase],
    /// Whether the same of the subject's neighbour without finalizers is taken away, round by round.
    pub(crate) difference: bool,
    /// Of the figures.
    pub(crate) unit: &'static str,
}

pub(crate) const HALF_DEAD: Work = Work::Cycle {
    dead: 50,
    targets: 1,
};
pub(crate) const EIGHT_TARGETS: Work = Work::Cycle {
    dead: 100,
    targets: crate::callees::TARGETS as u8,
};
/// What most kinds of fing's and of its peers do: what is registered can be taken back.
pub(crate) const USUAL: &[Work] = &[ALL_DEAD, HALF_DEAD, Work::Cancel, Work::Churn];
/// What those do that are measured most closely: different functions, random order, and by how much the process grows.
pub(crate) const ALL_TARGETS: &[Work] = &[
    ALL_DEAD,
    HALF_DEAD,
    EIGHT_TARGETS,
    Work::Cancel,
    Work::Random,
    Work::Churn,
    Work::Memory,
];

const OBJECT: &str = "ns/object";
const STEPS: &str = "ns/100 objects";
const _: () = assert!(STEP == 100, "STEPS says 100");

const fn scenario(
    name: &'static str,
    about: &'static str,
    work: Work,
    phases: &'static [Phase],
) -> Scenario {
    Scenario {
        name,
        about,
        field: Field::Peers,
        work,
        phases,
        difference: false,
        unit: OBJECT,
    }
}

const fn percentile(name: &'static str, about: &'static str, phase: &'static [Phase]) -> Scenario {
    Scenario {
        unit: STEPS,
        ..scenario(name, about, Work::Churn, phase)
    }
}

const fn memory(name: &'static str, about: &'static str, phase: &'static [Phase]) -> Scenario {
    Scenario {
        unit: "B/object",
        ..scenario(name, about, Work::Memory, phase)
    }
}

const fn tree(
    name: &'static str,
    about: &'static str,
    work: Work,
    phase: &'static [Phase],
) -> Scenario {
    Scenario {
        unit: "ns/node",
        ..scenario(name, about, work, phase)
    }
}

const fn registers(name: &'static str, about: &'static str, phases: &'static [Phase]) -> Scenario {
    Scenario {
        field: Field::Registers,
        ..scenario(name, about, ALL_DEAD, phases)
    }
}

/// All scenarios, in the order of reports.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("register", "setting one finalizer", ALL_DEAD, &[Register]),
    scenario(
        "register-random",
        "setting one finalizer, the objects in random order",
        Work::Random,
        &[Register],
    ),
    scenario("cancel", "taking one back", Work::Cancel, &[Cancel]),
    scenario(
        "cancel-random",
        "taking one back, the objects in random order",
        Work::Random,
        &[Cancel],
    ),
    scenario(
        "discover-0",
        "a collection with every object reachable",
        ALL_DEAD,
        &[Live],
    ),
    Scenario {
        difference: true,
        ..scenario(
            "live-cost",
            "what one reachable object's finalizer costs a collection: discover-0, less the same without finalizers",
            ALL_DEAD,
            &[Live],
        )
    },
    scenario(
        "discover-50",
        "a collection that finds half of the objects dead, and queues them",
        HALF_DEAD,
        &[Discover],
    ),
    scenario(
        "discover-100",
        "a collection that finds every object dead, and queues them",
        ALL_DEAD,
        &[Discover],
    ),
    scenario("drain", "running one finalizer", ALL_DEAD, &[Drain]),
    scenario(
        "drain-8",
        "running one of eight different finalizers, in an unpredictable order",
        EIGHT_TARGETS,
        &[Drain],
    ),
    scenario("free", "the collection after that", ALL_DEAD, &[Free]),
    scenario(
        "lifecycle",
        "registration, discovery, the call and the collection that frees, without allocation",
        ALL_DEAD,
        &[Register, Discover, Drain, Free],
    ),
    scenario(
        "end-to-end",
        "allocation, registration, discovery, the call and the collection that frees",
        ALL_DEAD,
        &[Alloc, Register, Discover, Drain, Free],
    ),
    scenario(
        "churn",
        "steady state: objects made, registered and dropped, collected when the runtime sees fit",
        Work::Churn,
        &[Churn],
    ),
    Scenario {
        unit: "% of objects",
        ..scenario(
            "churn-backlog",
            "of all objects, those dropped and not finalized when the last was made",
            Work::Churn,
            &[Backlog],
        )
    },
    percentile("churn-p50", "half of the steps of that took less", &[P50]),
    percentile("churn-p99", "99 of 100 steps took less", &[P99]),
    percentile("churn-p999", "999 of 1000 steps took less", &[P999]),
    percentile("churn-max", "the slowest step", &[Max]),
    memory(
        "memory",
        "by how much the process grows for one finalizer that is set",
        &[Memory],
    ),
    memory(
        "memory-queued",
        "by how much it has grown for one that is queued, with what the collection took",
        &[Queued],
    ),
    tree(
        "tree-make",
        "making a binary tree, without finalizers",
        Work::Tree,
        &[Alloc],
    ),
    tree(
        "tree-live",
        "a collection with the whole tree reachable",
        Work::Tree,
        &[Live],
    ),
    tree(
        "tree-free",
        "a collection that frees the whole tree",
        Work::Tree,
        &[Free],
    ),
    tree(
        "tree-churn",
        "making and dropping small trees beside one that stays, collected when the runtime sees fit",
        Work::TreeChurn,
        &[Churn],
    ),
    registers(
        "int-arg-regs-drain",
        "running one Go finalizer, by number of integer argument registers",
        &[Drain],
    ),
    registers(
        "int-arg-regs-register",
        "setting one Go finalizer, by number of integer argument registers",
        &[Register],
    ),
];
