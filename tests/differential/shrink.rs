//! Makes a program that fails smaller, as long as it fails.

use super::program::{Op, Program};

/// The smallest program found. `failing` answers, for a batch of programs, which of them fail.
pub(crate) fn shrink(mut program: Program, failing: impl Fn(&[Program]) -> Vec<bool>) -> Program {
    loop {
        let candidates = candidates(&program);
        let fails = failing(&candidates);
        // Candidates come shortest first, so the first is the largest step.
        let smaller = candidates.into_iter().zip(fails).find(|(_, fails)| *fails);
        match smaller {
            Some((smaller, _)) => program = smaller,
            None => return program,
        }
    }
}

/// Programs without a stretch of operations, and without all that concerns one root.
fn candidates(program: &Program) -> Vec<Program> {
    let ops = &program.0;
    let mut all = Vec::new();
    let mut length = ops.len() / 2;
    while length > 0 {
        for from in (0..ops.len()).step_by(length) {
            let to = (from + length).min(ops.len());
            all.push(Program([&ops[..from], &ops[to..]].concat()));
        }
        length /= 2;
    }
    for root in 0..super::program::ROOTS {
        let without: Vec<Op> = ops
            .iter()
            .copied()
            .filter(|op| !concerns(op, root))
            .collect();
        if without.len() < ops.len() {
            all.push(Program(without));
        }
    }
    all.sort_by_key(|program| program.0.len());
    all
}

fn concerns(op: &Op, number: usize) -> bool {
    match *op {
        Op::Alloc { root, .. }
        | Op::Cut { root, .. }
        | Op::Fin { root, .. }
        | Op::Clear { root }
        | Op::Inner { root }
        | Op::ClearInner { root }
        | Op::Weak { root, .. }
        | Op::Strong { root, .. }
        | Op::Drop { root } => root == number,
        Op::Link { root, to, .. } | Op::Copy { root, to } => root == number || to == number,
        Op::Cleanup { root, argument, .. } => root == number || argument == Some(number),
        Op::Stop { .. } | Op::DropGlobals | Op::Collect | Op::Twice => false,
    }
}

#[test]
fn shrinking_finds_the_two_operations_that_matter() {
    let fails = |program: &Program| {
        let at = |wanted: &Op| program.0.iter().position(|op| op == wanted);
        matches!((at(&Op::DropGlobals), at(&Op::Inner { root: 3 })), (Some(a), Some(b)) if a < b)
    };
    let mut ops = vec![Op::Collect; 40];
    ops[7] = Op::DropGlobals;
    ops[31] = Op::Inner { root: 3 };
    let small = shrink(Program(ops), |programs| {
        programs.iter().map(fails).collect()
    });
    assert_eq!(small.0, [Op::DropGlobals, Op::Inner { root: 3 }]);
}
