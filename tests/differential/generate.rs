//! Random programs, the same for the same seed everywhere.

use fing::stubs::fuzzing::Rng;

use super::program::{Deed, Op, Param, Place, Program, ROOTS, Type};

/// Program `case`: a heap is built, taken to pieces, and collected in several rounds.
pub(crate) fn program(case: u64) -> Program {
    let mut random = Rng::new(case);
    let mut ops = Vec::new();
    let roots = 2 + random.below(ROOTS - 1);
    let mut numbers = [1u32; 3];
    let mut number = |kind: usize| {
        numbers[kind] += 1;
        numbers[kind] - 1
    };
    // Small programs have few objects; huge ones are rare, for they take time to clear.
    for round in 0..1 + random.below(4) {
        let objects = if round == 0 {
            1 + random.below(roots)
        } else {
            random.below(4)
        };
        for n in 0..objects {
            let root = if round == 0 { n } else { random.below(roots) };
            let ty = match random.below(40) {
                0 => Type::Huge,
                _ => *random.pick(&Type::ALL[..4]),
            };
            ops.push(Op::Alloc {
                root,
                number: number(0),
                ty,
            });
        }
        for _ in 0..random.below(5 * roots) {
            let root = random.below(roots);
            ops.push(match random.below(20) {
                0..=7 => link(&mut random, root, roots),
                8..=11 => fin(&mut random, root),
                12 => Op::Inner { root },
                13 | 14 => Op::Cleanup {
                    root,
                    number: number(1),
                    place: *random.pick(&Place::ALL),
                    argument: match random.below(3) {
                        0 => Some(random.below(roots)),
                        _ => None,
                    },
                },
                15 | 16 => Op::Weak {
                    root,
                    number: number(2),
                    place: *random.pick(&Place::ALL),
                },
                17 => match random.below(6) {
                    0 => Op::Clear { root },
                    1 => Op::ClearInner { root },
                    2 => Op::Cut {
                        root,
                        field: random.below(3),
                    },
                    3 => Op::Copy {
                        root,
                        to: random.below(roots),
                    },
                    4 => Op::Strong {
                        number: 1 + random.below(8) as u32,
                        root,
                    },
                    _ => Op::Stop {
                        number: 1 + random.below(8) as u32,
                    },
                },
                _ => link(&mut random, root, roots),
            });
        }
        let dropped = random.below(3);
        ops.extend(
            (0..roots).filter_map(|root| (random.below(3) <= dropped).then_some(Op::Drop { root })),
        );
        for _ in 0..1 + random.below(3) {
            ops.push(match random.below(4) {
                0 => Op::Twice,
                _ => Op::Collect,
            });
        }
        if random.below(2) == 0 {
            ops.push(Op::DropGlobals);
        }
    }
    ops.extend((0..roots).map(|root| Op::Drop { root }));
    ops.push(Op::DropGlobals);
    ops.extend([Op::Collect; 4]);
    Program(ops)
}

fn link(random: &mut Rng, root: usize, roots: usize) -> Op {
    let place = match random.below(5) {
        0 => *random.pick(&Place::ALL),
        _ => Place::Start,
    };
    // Mostly to the next root, so that there are chains as well as tangles.
    let to = match random.below(4) {
        0 => random.below(roots),
        1 => root,
        _ => (root + 1) % roots,
    };
    Op::Link {
        root,
        field: random.below(3),
        to,
        place,
    }
}

fn fin(random: &mut Rng, root: usize) -> Op {
    let deed = match random.below(2) {
        0 => Deed::Plain,
        _ => *random.pick(&Deed::ALL),
    };
    Op::Fin {
        root,
        deed,
        param: *random.pick(&Param::ALL),
    }
}
