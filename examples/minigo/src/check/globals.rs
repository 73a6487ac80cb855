//! The order in which package-level variables are initialized: by what they refer to, directly or
//! through functions.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::{Checker, Node};
use crate::source::{Checked, fault};

impl Checker {
    /// All globals that a node refers to, itself included only if it leads back to itself.
    fn reachable(&self, from: Node) -> HashSet<usize> {
        let mut seen = HashSet::new();
        let mut open = vec![from];
        let mut globals = HashSet::new();
        while let Some(node) = open.pop() {
            for &to in self.refs.get(&node).into_iter().flatten() {
                if let Node::Global(global) = to {
                    globals.insert(global);
                }
                if seen.insert(to) {
                    open.push(to);
                }
            }
        }
        globals
    }

    pub(super) fn order_globals(&mut self) -> Checked<()> {
        let needs: Vec<HashSet<usize>> = (0..self.pending_vars.len())
            .map(|index| self.reachable(Node::Global(index)))
            .collect();
        let mut done = vec![false; needs.len()];
        for _ in 0..needs.len() {
            let ready = |index: &usize| !done[*index] && needs[*index].iter().all(|to| done[*to]);
            let Some(next) = (0..needs.len()).find(ready) else {
                let left = done.iter().position(|done| !done).unwrap_or(0);
                let pos = self.pending_vars[left].global.spec.pos;
                return fault(pos, "initialization cycle");
            };
            done[next] = true;
            self.out
                .globals
                .push(self.pending_vars[next].global.clone());
        }
        Ok(())
    }
}
