//! The order of finalization. Go's needs no plan: what a finalizable object refers to is kept, and
//! so is finalized in a later collection. This module computes the other one.
//!
//! *Topological*: all dead finalizable objects are finalized in the collection that finds them
//! dead, referrers first. What is dead and reachable from one of them is condensed into strongly
//! connected components (Tarjan's algorithm, without recursion), in time and memory linear in that
//! part of the heap.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ops::Range;

use super::{Fault, Faults, Reference};

/// Which of the dead finalizable objects are finalized, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As in Go: each collection finalizes those that are not reachable from another one. A chain
    /// of n takes n collections. A finalizable object on a cycle with another object is never
    /// finalized, nor is what is reachable from it.
    #[default]
    Go,
    /// All of them in one collection, referrers first. What happens to a cycle is up to its
    /// objects' [`CyclePolicy`].
    Topological,
}

/// What happens to a dead cycle of objects, at least one of them finalizable, in [topological
/// order](Order::Topological). A cycle is a strongly connected component of at least two objects; a
/// reference of an object to itself makes none.
///
/// A cycle is finalized only if all its finalizable objects allow it: without the references to
/// those with [`Break`](Self::Break), all that are still on a cycle must be
/// [`Unordered`](Self::Unordered).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CyclePolicy {
    /// It is kept for ever, with all it refers to, as Go does.
    #[default]
    Leave,
    /// It is finalized; the order of its objects does not matter.
    Unordered,
    /// References to this object, from its cycle, do not count: it is finalized before what it
    /// refers to, and does not wait for what refers to it.
    Break,
    /// It is kept, and reported once, with a path from this object back to it.
    Report,
}

/// A dead finalizable object: the input of [`plan`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<R> {
    pub(crate) object: R,
    pub(crate) policy: CyclePolicy,
    /// Whether its cycle was reported before.
    pub(crate) reported: bool,
}

/// The decision about the candidates, which are named by their indices.
#[derive(Debug)]
pub(crate) struct Plan<R> {
    /// To be finalized, in this order.
    pub(crate) due: Vec<u32>,
    /// To be kept without being finalized. Candidates in neither list are reachable from these.
    pub(crate) left: Vec<u32>,
    /// Cycles to be reported: each object refers to the next one, and the last to the first.
    pub(crate) reports: Vec<Vec<R>>,
    /// The candidates whose policy asked for these reports.
    pub(crate) reported: Vec<u32>,
}

impl<R> Default for Plan<R> {
    fn default() -> Plan<R> {
        Plan {
            due: Vec::new(),
            left: Vec::new(),
            reports: Vec::new(),
            reported: Vec::new(),
        }
    }
}

/// Calls its second argument with what an object refers to.
pub(crate) trait Children<R>: FnMut(R, &mut dyn FnMut(R)) {}

impl<R, F: FnMut(R, &mut dyn FnMut(R))> Children<R> for F {}

/// Objects by number, with their references to each other. References to themselves are left out.
struct Graph<R> {
    objects: Vec<R>,
    /// Where the references of each object end in `edges`.
    ends: Vec<usize>,
    edges: Vec<u32>,
}

impl<R: Reference> Graph<R> {
    /// Builds the graph of all dead objects that are reachable from the candidates, which come
    /// first. No two candidates may be the same object.
    fn build(candidates: &[Candidate<R>], mut children: impl Children<R>) -> Graph<R> {
        let mut objects: Vec<R> = candidates
            .iter()
            .map(|candidate| candidate.object)
            .collect();
        let mut numbers: HashMap<u64, u32> = objects
            .iter()
            .map(|object| object.to_word())
            .zip(0..)
            .collect();
        let (mut ends, mut edges) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < objects.len() {
            let from = objects[at];
            children(from, &mut |to| {
                if to != from {
                    let number = numbers.entry(to.to_word()).or_insert_with(|| {
                        objects.push(to);
                        objects.len() as u32 - 1
                    });
                    edges.push(*number);
                }
            });
            ends.push(edges.len());
            at += 1;
        }
        Graph {
            objects,
            ends,
            edges,
        }
    }
}

impl<R> Graph<R> {
    fn len(&self) -> usize {
        self.objects.len()
    }

    fn edges(&self, node: u32) -> Range<usize> {
        let node = node as usize;
        node.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[node]
    }

    fn targets(&self, node: u32) -> &[u32] {
        &self.edges[self.edges(node)]
    }

    /// The strongly connected components of the graph, with only the edges for which `counts`
    /// returns true.
    fn components(&self, counts: impl Fn(u32, u32) -> bool) -> Components {
        const NEW: u32 = u32::MAX;
        let mut found = Components {
            of: vec![NEW; self.len()],
            ends: Vec::new(),
            nodes: Vec::with_capacity(self.len()),
        };
        let (mut numbers, mut low) = (vec![NEW; self.len()], vec![0; self.len()]);
        let (mut open, mut path) = (Vec::new(), Vec::<(u32, usize)>::new());
        let mut next = 0;
        for start in 0..self.len() as u32 {
            if numbers[start as usize] != NEW {
                continue;
            }
            let mut enter = Some(start);
            loop {
                if let Some(node) = enter.take() {
                    (numbers[node as usize], low[node as usize]) = (next, next);
                    next += 1;
                    open.push(node);
                    path.push((node, self.edges(node).start));
                }
                let Some((node, edge)) = path.last_mut() else {
                    break;
                };
                let (node, end) = (*node, self.edges(*node).end);
                if *edge < end {
                    let to = self.edges[*edge];
                    *edge += 1;
                    if !counts(node, to) {
                        continue;
                    }
                    if numbers[to as usize] == NEW {
                        enter = Some(to);
                    } else if found.of[to as usize] == NEW {
                        low[node as usize] = low[node as usize].min(numbers[to as usize]);
                    }
                    continue;
                }
                path.pop();
                if let Some((above, _)) = path.last() {
                    low[*above as usize] = low[*above as usize].min(low[node as usize]);
                }
                if low[node as usize] == numbers[node as usize] {
                    let component = found.ends.len() as u32;
                    while let Some(member) = open.pop() {
                        found.of[member as usize] = component;
                        found.nodes.push(member);
                        if member == node {
                            break;
                        }
                    }
                    found.ends.push(found.nodes.len());
                }
            }
        }
        found
    }

    /// A shortest path from a node back to itself inside its component; the node comes first, and
    /// only once. `before` is scratch memory, to be shared by calls for different components.
    fn cycle(&self, node: u32, components: &Components, before: &mut Vec<u32>) -> Vec<u32> {
        const NEW: u32 = u32::MAX;
        before.resize(self.len(), NEW);
        let inside = components.of[node as usize];
        let mut line = vec![node];
        let mut at = 0;
        while at < line.len() {
            let from = line[at];
            at += 1;
            for &to in self.targets(from) {
                if to == node {
                    let mut path = vec![from];
                    while path.last() != Some(&node) {
                        path.extend(path.last().map(|&last| before[last as usize]));
                    }
                    path.reverse();
                    return path;
                }
                if components.of[to as usize] == inside && before[to as usize] == NEW {
                    before[to as usize] = from;
                    line.push(to);
                }
            }
        }
        line
    }
}

/// Components in an order in which each comes after all that it refers to.
struct Components {
    /// The component of each node.
    of: Vec<u32>,
    /// Where each component ends in `nodes`.
    ends: Vec<usize>,
    nodes: Vec<u32>,
}

impl Components {
    fn members(&self, component: usize) -> &[u32] {
        let start = component
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        &self.nodes[start..self.ends[component]]
    }

    fn count(&self) -> usize {
        self.ends.len()
    }
}

/// Decides about all dead finalizable objects of a collection, or about all there are. `children`
/// visits the dead objects that an object refers to, by references or declarations.
pub(crate) fn plan<R: Reference>(
    candidates: &[Candidate<R>],
    children: impl Children<R>,
    faults: Faults,
) -> Plan<R> {
    let graph = Graph::build(candidates, children);
    let whole = graph.components(|_, _| true);
    let policy = |node: u32| {
        candidates
            .get(node as usize)
            .map(|candidate| candidate.policy)
    };
    let breaks = |from: u32, to: u32| {
        policy(to) == Some(CyclePolicy::Break) && whole.of[from as usize] == whole.of[to as usize]
    };
    let any_break = candidates
        .iter()
        .any(|candidate| candidate.policy == CyclePolicy::Break);
    let opened = if any_break && !faults.has(Fault::NotBroken) {
        graph.components(|from, to| !breaks(from, to))
    } else {
        graph.components(|_, _| true)
    };
    // Components that still have a cycle when opened, one that must not be finalized.
    let mut held = vec![false; whole.count()];
    for component in (0..opened.count()).filter(|_| !faults.has(Fault::CyclesRun)) {
        let members = opened.members(component);
        let unwilling =
            |node: &&u32| policy(**node).is_some_and(|policy| policy != CyclePolicy::Unordered);
        if let (2.., Some(&node)) = (members.len(), members.iter().find(unwilling)) {
            held[whole.of[node as usize] as usize] = true;
        }
    }
    let mut plan = Plan::default();
    let mut kept = vec![false; whole.count()];
    let mut before = Vec::new();
    for component in (0..whole.count()).rev() {
        let members = whole.members(component);
        if kept[component] {
            // Reachable from a cycle that is kept.
        } else if held[component] {
            plan.left
                .extend(members.iter().filter(|node| policy(**node).is_some()));
            let asks = |node: &&u32| {
                let asking = candidates.get(**node as usize);
                asking.is_some_and(|candidate| {
                    candidate.policy == CyclePolicy::Report && !candidate.reported
                })
            };
            if let Some(&node) = members.iter().filter(asks).min() {
                plan.reported.extend(members.iter().filter(asks));
                let path = graph.cycle(node, &whole, &mut before);
                plan.reports.push(
                    path.iter()
                        .map(|&node| graph.objects[node as usize])
                        .collect(),
                );
            }
        } else {
            continue;
        }
        let spread = !faults.has(Fault::LeftNotKept);
        kept[component] = true;
        for &to in members.iter().flat_map(|&node| graph.targets(node)) {
            kept[whole.of[to as usize] as usize] |= spread;
        }
    }
    for component in (0..opened.count()).rev() {
        let first = plan.due.len();
        let runs =
            |node: &&u32| policy(**node).is_some() && !kept[whole.of[**node as usize] as usize];
        plan.due
            .extend(opened.members(component).iter().filter(runs));
        plan.due[first..].sort_unstable();
    }
    if faults.has(Fault::Reversed) {
        plan.due.reverse();
    }
    plan
}
