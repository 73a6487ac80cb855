//! Random programs. Each operation makes sense in any state, so any part of a program is a program.
#![forbid(unsafe_code)]

use crate::order::{CyclePolicy, Scope};

/// Roots of a program.
pub(super) const ROOTS: usize = 7;

/// One operation. Roots and fields are taken modulo their number; operations that can't be done are
/// skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Alloc {
        root: usize,
        fields: usize,
        keep: bool,
    },
    Copy {
        to: usize,
        from: usize,
    },
    Clear {
        root: usize,
    },
    Load {
        to: usize,
        from: usize,
        field: usize,
    },
    Store {
        object: usize,
        field: usize,
        value: Option<usize>,
    },
    SetFinalizer {
        object: usize,
        context: Option<usize>,
        cycle: CyclePolicy,
    },
    ClearFinalizer {
        object: usize,
    },
    AddCleanup {
        object: usize,
        argument: Option<usize>,
    },
    StopCleanup {
        nth: usize,
    },
    AddWatcher {
        object: usize,
        cycle: CyclePolicy,
    },
    StopWatcher {
        nth: usize,
    },
    FinalizeAfter {
        object: usize,
        parent: usize,
    },
    MakeWeak {
        object: usize,
    },
    AddEphemeron {
        map: usize,
        key: usize,
        value: usize,
    },
    SetEphemeronValue {
        nth: usize,
        value: usize,
    },
    RemoveEphemeron {
        nth: usize,
    },
    Collect {
        minor: bool,
        early: bool,
    },
    Run {
        revive: Option<usize>,
        collect: Option<Scope>,
    },
}

/// A small generator of random numbers (xorshift, multiplied).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn root(&mut self) -> usize {
        self.below(ROOTS)
    }

    fn maybe_root(&mut self, percent: usize) -> Option<usize> {
        let root = self.root();
        self.chance(percent).then_some(root)
    }
}

/// How often policies other than the default are asked for, and which.
fn cycle(random: &mut Random, style: usize) -> CyclePolicy {
    use CyclePolicy::{Break, Leave, Report, Unordered};
    const STYLES: [[CyclePolicy; 4]; 4] = [
        [Leave, Unordered, Break, Report],
        [Unordered, Unordered, Unordered, Break],
        [Unordered, Report, Report, Break],
        [Unordered, Unordered, Break, Leave],
    ];
    STYLES[style][random.below(4)]
}

/// The policy of a watcher, which asks for no report: which of an object's registrations was
/// reported last is not told apart.
fn watcher_cycle(random: &mut Random, style: usize) -> CyclePolicy {
    match cycle(random, style) {
        CyclePolicy::Report => CyclePolicy::Unordered,
        other => other,
    }
}

/// Returns the program of a seed.
pub(super) fn generate(seed: u64) -> Vec<Op> {
    let mut random = Random::new(seed);
    let mut ops = Vec::new();
    let style = random.below(4);
    let torture = random.chance(6);
    for _ in 0..1 + random.below(3) {
        for _ in 0..random.below(40) {
            ops.push(any(&mut random, style));
        }
        if random.chance(70) {
            graph(&mut random, style, &mut ops);
        }
    }
    if torture {
        ops.truncate(50);
        let minor = random.chance(50);
        let each = |op| {
            [
                op,
                Op::Collect {
                    minor,
                    early: false,
                },
            ]
        };
        ops = ops.into_iter().flat_map(each).collect();
    }
    ops
}

/// A dense graph of which most objects have finalizers, dropped at once.
fn graph(random: &mut Random, style: usize, ops: &mut Vec<Op>) {
    let size = 2 + random.below(ROOTS - 1);
    for root in 0..size {
        let fields = 1 + random.below(3);
        ops.push(Op::Alloc {
            root,
            fields,
            keep: false,
        });
    }
    for _ in 0..random.below(2 * size) + 1 {
        ops.push(Op::Store {
            object: random.below(size),
            field: random.below(3),
            value: Some(random.below(size)),
        });
    }
    for object in 0..size {
        if random.chance(75) {
            let context = random.maybe_root(12);
            let cycle = cycle(random, style);
            ops.push(Op::SetFinalizer {
                object,
                context,
                cycle,
            });
        }
        if random.chance(15) {
            ops.push(Op::MakeWeak { object });
        }
        if random.chance(20) {
            let cycle = watcher_cycle(random, style);
            ops.push(Op::AddWatcher { object, cycle });
        }
        if random.chance(10) {
            let argument = random.maybe_root(30);
            ops.push(Op::AddCleanup { object, argument });
        }
    }
    if random.chance(35) {
        for _ in 0..1 + random.below(size) {
            ops.push(Op::FinalizeAfter {
                object: random.below(size),
                parent: random.below(size),
            });
        }
    }
    if random.chance(50) {
        for _ in 0..1 + random.below(2 * size) {
            ops.push(Op::AddEphemeron {
                map: random.below(size),
                key: random.below(size),
                value: random.below(size),
            });
        }
    }
    for root in 0..size {
        if random.chance(85) {
            ops.push(Op::Clear { root });
        }
    }
    let (minor, early) = (random.chance(40), random.chance(30));
    ops.push(Op::Collect { minor, early });
    // What a finalizer revives leads to others, whose turn has not come.
    if random.chance(40) {
        ops.push(Op::Run {
            revive: Some(random.root()),
            collect: Some(Scope::Full),
        });
    }
}

fn any(random: &mut Random, style: usize) -> Op {
    match random.below(118) {
        0..22 => Op::Alloc {
            root: random.root(),
            fields: random.below(4),
            keep: random.chance(60),
        },
        22..26 => Op::Copy {
            to: random.root(),
            from: random.root(),
        },
        26..36 => Op::Clear {
            root: random.root(),
        },
        36..44 => Op::Load {
            to: random.root(),
            from: random.root(),
            field: random.below(4),
        },
        44..60 => Op::Store {
            object: random.root(),
            field: random.below(4),
            value: random.maybe_root(80),
        },
        60..72 => Op::SetFinalizer {
            object: random.root(),
            context: random.maybe_root(25),
            cycle: cycle(random, style),
        },
        72..74 => Op::ClearFinalizer {
            object: random.root(),
        },
        74..79 => Op::AddCleanup {
            object: random.root(),
            argument: random.maybe_root(40),
        },
        79..81 => Op::StopCleanup {
            nth: random.below(64),
        },
        81..84 => Op::FinalizeAfter {
            object: random.root(),
            parent: random.root(),
        },
        84..86 => Op::MakeWeak {
            object: random.root(),
        },
        86..91 => Op::Run {
            revive: random.maybe_root(30),
            collect: match random.below(10) {
                0 | 1 => Some(Scope::Full),
                2 => Some(Scope::Minor),
                _ => None,
            },
        },
        91..100 => Op::AddEphemeron {
            map: random.root(),
            key: random.root(),
            value: random.root(),
        },
        100..102 => Op::SetEphemeronValue {
            nth: random.below(64),
            value: random.root(),
        },
        102 => Op::RemoveEphemeron {
            nth: random.below(64),
        },
        103..107 => Op::AddWatcher {
            object: random.root(),
            cycle: watcher_cycle(random, style),
        },
        107..109 => Op::StopWatcher {
            nth: random.below(64),
        },
        _ => Op::Collect {
            minor: random.chance(60),
            early: random.chance(30),
        },
    }
}
