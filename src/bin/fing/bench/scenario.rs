//! The scenarios, as data: a name, what is done, and which of its phases count.
#![forbid(unsafe_code)]

use super::subject::{Phase, STEP, Work};
use Phase::{
    Alloc, Backlog, Cancel, Churn, Discover, Drain, Free, Live, Max, P50, P99, P999, Register,
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
    /// Their times are added.
    pub(crate) phases: &'static [Phase],
    /// Of the figures.
    pub(crate) unit: &'static str,
}

/// The work that all subjects do, with any number of objects.
pub(crate) const ALL_DEAD: Work = Work::Cycle {
    dead: 100,
    targets: 1,
};
const HALF_DEAD: Work = Work::Cycle {
    dead: 50,
    targets: 1,
};
const EIGHT_TARGETS: Work = Work::Cycle {
    dead: 100,
    targets: crate::callees::TARGETS as u8,
};

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
        unit: OBJECT,
    }
}

const fn percentile(name: &'static str, about: &'static str, phase: &'static [Phase]) -> Scenario {
    Scenario {
        unit: STEPS,
        ..scenario(name, about, Work::Churn, phase)
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
    scenario("cancel", "taking one back", Work::Cancel, &[Cancel]),
    scenario(
        "discover-0",
        "a collection with every object reachable",
        ALL_DEAD,
        &[Live],
    ),
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
