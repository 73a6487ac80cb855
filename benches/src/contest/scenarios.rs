//! The scenarios in which fing is beside others, as data: a name, what is done, and which of its
//! phases count.
#![forbid(unsafe_code)]

use super::work::{ALL_DEAD, EIGHT_TARGETS, HALF_DEAD, STEP, Work, phase};
use crate::plan::{Bar, Field, Scenario, Source};

type Phases = &'static [&'static str];
type Bars = &'static [(&'static str, Bar)];

const OBJECT: &str = "ns/object";
const STEPS: &str = "ns/100 objects";
const _: () = assert!(STEP == 100, "STEPS says 100");

/// What the scenarios of one kind of work have in common.
struct Kind {
    group: &'static str,
    field: Field,
    work: Work,
    unit: &'static str,
}

const fn kind(group: &'static str, work: Work, unit: &'static str) -> Kind {
    Kind {
        group,
        field: Field::Peers,
        work,
        unit,
    }
}

const ALL: Kind = kind("lives", ALL_DEAD, OBJECT);
const HALF: Kind = kind("lives", HALF_DEAD, OBJECT);
const EIGHT: Kind = kind("lives", EIGHT_TARGETS, OBJECT);
const CANCEL: Kind = kind("lives", Work::Cancel, OBJECT);
const RANDOM: Kind = kind("lives", Work::Random, OBJECT);
const CHURN: Kind = kind("lives", Work::Churn, OBJECT);
const BACKLOG: Kind = kind("lives", Work::Churn, "% of objects");
const CHURN_STEPS: Kind = kind("lives", Work::Churn, STEPS);
const MEMORY: Kind = kind("lives", Work::Memory, "B/object");
const TREE: Kind = kind("lives", Work::Tree, "ns/node");
const TREE_CHURN: Kind = kind("lives", Work::TreeChurn, "ns/node");
const REGISTERS: Kind = Kind {
    field: Field::Registers,
    ..ALL
};
const CLOSURES: Kind = kind("closures", Work::Closures, OBJECT);
const CLOSURES_MEMORY: Kind = kind("closures", Work::Memory, "B/object");
const STEADY_OBJECTS: Kind = kind("steady", Work::Steady, "objects");
const STEADY_MEMORY: Kind = kind("steady", Work::Steady, "MiB");
const STEADY_GROWTH: Kind = kind("steady", Work::Steady, "last / first");
const OWNERS: Kind = kind("steady", Work::Owners, "bytes / reachable bytes");
const OWNERS_COLLECTIONS: Kind = kind("steady", Work::Owners, "collections");

impl Kind {
    const fn sum(self, name: &'static str, about: &'static str, phases: Phases) -> Scenario {
        self.scenario(name, about, phases, false, &[])
    }

    const fn barred(
        self,
        name: &'static str,
        about: &'static str,
        phases: Phases,
        bars: Bars,
    ) -> Scenario {
        self.scenario(name, about, phases, false, bars)
    }

    const fn difference(
        self,
        name: &'static str,
        about: &'static str,
        phases: Phases,
        bars: Bars,
    ) -> Scenario {
        self.scenario(name, about, phases, true, bars)
    }

    const fn scenario(
        self,
        name: &'static str,
        about: &'static str,
        phases: Phases,
        difference: bool,
        bars: Bars,
    ) -> Scenario {
        Scenario {
            name,
            group: self.group,
            about,
            unit: self.unit,
            source: Source::Subjects {
                field: self.field,
                work: self.work,
                phases,
                difference,
                bars,
            },
        }
    }
}

/// A context for each registration costs at most as much again.
const TWICE: Bars = &[("fing.closure", Bar::RatioAtMost(2.0))];
/// A steady state is flat.
const FLAT: Bars = &[("fing.pointer", Bar::AtMost(1.1))];

/// All scenarios, in the order of reports.
pub(crate) const SCENARIOS: &[Scenario] = &[
    ALL.sum("register", "setting one finalizer", &[phase::REGISTER]),
    RANDOM.sum(
        "register-random",
        "setting one finalizer, the objects in random order",
        &[phase::REGISTER],
    ),
    CANCEL.sum("cancel", "taking one back", &[phase::CANCEL]),
    RANDOM.sum(
        "cancel-random",
        "taking one back, the objects in random order",
        &[phase::CANCEL],
    ),
    ALL.sum(
        "discover-0",
        "a collection with every object reachable",
        &[phase::LIVE],
    ),
    ALL.difference(
        "live-cost",
        "what one reachable object's finalizer costs a collection: discover-0, less the same \
         without finalizers",
        &[phase::LIVE],
        &[],
    ),
    HALF.sum(
        "discover-50",
        "a collection that finds half of the objects dead, and queues them",
        &[phase::DISCOVER],
    ),
    ALL.sum(
        "discover-100",
        "a collection that finds every object dead, and queues them",
        &[phase::DISCOVER],
    ),
    ALL.sum("drain", "running one finalizer", &[phase::DRAIN]),
    EIGHT.sum(
        "drain-8",
        "running one of eight different finalizers, in an unpredictable order",
        &[phase::DRAIN],
    ),
    ALL.sum("free", "the collection after that", &[phase::FREE]),
    ALL.sum(
        "lifecycle",
        "registration, discovery, the call and the collection that frees, without allocation",
        &[phase::REGISTER, phase::DISCOVER, phase::DRAIN, phase::FREE],
    ),
    ALL.sum(
        "end-to-end",
        "allocation, registration, discovery, the call and the collection that frees",
        &[
            phase::ALLOC,
            phase::REGISTER,
            phase::DISCOVER,
            phase::DRAIN,
            phase::FREE,
        ],
    ),
    CHURN.sum(
        "churn",
        "objects made, registered and dropped, collected when the runtime decides to",
        &[phase::CHURN],
    ),
    BACKLOG.sum(
        "churn-backlog",
        "of all objects, those dropped and not finalized when the last was made",
        &[phase::BACKLOG],
    ),
    CHURN_STEPS.sum(
        "churn-p50",
        "half of the steps of that took less",
        &[phase::P50],
    ),
    CHURN_STEPS.sum("churn-p99", "99 of 100 steps took less", &[phase::P99]),
    CHURN_STEPS.sum("churn-p999", "999 of 1000 steps took less", &[phase::P999]),
    CHURN_STEPS.sum("churn-max", "the slowest step", &[phase::MAX]),
    MEMORY.sum(
        "memory",
        "by how much the process grows for one finalizer that is set",
        &[phase::MEMORY],
    ),
    MEMORY.sum(
        "memory-queued",
        "by how much it has grown for one that is queued, with what the collection took",
        &[phase::QUEUED],
    ),
    TREE.sum(
        "tree-make",
        "making a binary tree, without finalizers",
        &[phase::ALLOC],
    ),
    TREE.sum(
        "tree-live",
        "a collection with the whole tree reachable",
        &[phase::LIVE],
    ),
    TREE.sum(
        "tree-free",
        "a collection that frees the whole tree",
        &[phase::FREE],
    ),
    TREE_CHURN.sum(
        "tree-churn",
        "making and dropping small trees beside one that stays, collected when the runtime \
         decides to",
        &[phase::CHURN],
    ),
    REGISTERS.sum(
        "int-arg-regs-drain",
        "running one Go finalizer, by number of integer argument registers",
        &[phase::DRAIN],
    ),
    REGISTERS.sum(
        "int-arg-regs-register",
        "setting one Go finalizer, by number of integer argument registers",
        &[phase::REGISTER],
    ),
    CLOSURES.barred(
        "closures-set",
        "setting one finalizer with a context of its own, beside one without a context",
        &[phase::REGISTER],
        TWICE,
    ),
    CLOSURES.barred(
        "closures-collect",
        "a collection that finds every object dead, and queues them",
        &[phase::DISCOVER],
        TWICE,
    ),
    CLOSURES.barred("closures-run", "running one", &[phase::DRAIN], TWICE),
    CLOSURES.barred("closures-clear", "taking one back", &[phase::CANCEL], TWICE),
    CLOSURES_MEMORY.difference(
        "closures-memory",
        "by how much more the process grows for one that is set than for one without a context",
        &[phase::MEMORY],
        &[("fing.closure", Bar::AtMost(16.0))],
    ),
    STEADY_OBJECTS.sum(
        "steady-first",
        "objects made between two collections, the first five after five more",
        &[phase::FIRST_OBJECTS],
    ),
    STEADY_OBJECTS.sum(
        "steady-last",
        "objects made between two collections, the last five of twenty",
        &[phase::LAST_OBJECTS],
    ),
    STEADY_GROWTH.barred(
        "steady-growth",
        "objects made between two collections, the last five in the first five",
        &[phase::OBJECTS_GROWTH],
        FLAT,
    ),
    STEADY_MEMORY.sum(
        "steady-memory-first",
        "memory of the process after a collection, the first five after five more",
        &[phase::FIRST_MEMORY],
    ),
    STEADY_MEMORY.sum(
        "steady-memory-last",
        "memory of the process after a collection, the last five of twenty",
        &[phase::LAST_MEMORY],
    ),
    STEADY_GROWTH.barred(
        "steady-memory-growth",
        "memory of the process after a collection, the last five in the first five",
        &[phase::MEMORY_GROWTH],
        FLAT,
    ),
    OWNERS.barred(
        "steady-owned",
        "objects that own 1 MiB each, a tenth reachable: the most bytes owned at a time",
        &[phase::OWNED],
        &[("fing.owner", Bar::AtMost(3.0))],
    ),
    OWNERS_COLLECTIONS.sum(
        "steady-owned-collections",
        "collections while these objects are made",
        &[phase::COLLECTIONS],
    ),
];
