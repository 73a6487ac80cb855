//! The order of finalization. Go's needs no plan: what a finalizable object refers to is kept, and
//! so is finalized in a later collection. This module computes the other one.
//!
//! *Topological*: all dead finalizable objects are finalized in the collection that finds them
//! dead, referrers first. What is dead and reachable from one of them is condensed into strongly
//! connected components (Tarjan's algorithm, without recursion), in time and memory linear in that
//! part of the heap.
//!
//! An ephemeron keeps its value while both its holder and its key are kept. For the order it counts
//! as a reference from each of them to the value, unless that would close a cycle: if it is the
//! key that is finalized, the ephemeron is cleared before, and keeps nothing.
#![forbid(unsafe_code)]

use super::graph::{Children, Graph, WeakEdges};
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

impl CyclePolicy {
    /// Returns the more cautious of two policies, for an object with several finalizers.
    pub(crate) fn more_cautious(self, other: CyclePolicy) -> CyclePolicy {
        use CyclePolicy::{Break, Leave, Report, Unordered};
        [Leave, Report, Break, Unordered]
            .into_iter()
            .find(|policy| [self, other].contains(policy))
            .unwrap_or_default()
    }
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

/// Decides about all dead finalizable objects of a collection, or about all there are. `children`
/// visits the dead objects that an object refers to, by references or declarations.
pub(crate) fn plan<R: Reference>(
    candidates: &[Candidate<R>],
    children: impl Children<R>,
    ephemerons: WeakEdges<R>,
    faults: Faults,
) -> Plan<R> {
    let graph = Graph::build(candidates, children, ephemerons);
    let edges = &graph.edges;
    let whole = edges.components(|_, _| true);
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
    let opens = any_break && !faults.has(Fault::NotBroken);
    let opened = if opens {
        edges.components(|from, to| !breaks(from, to))
    } else {
        edges.components(|_, _| true)
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
                let path = edges.cycle(node, &whole, &mut before);
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
        for &to in members.iter().flat_map(|&node| edges.of(node)) {
            kept[whole.of[to as usize] as usize] |= spread;
        }
    }
    let mut kept: Vec<bool> = whole.of.iter().map(|of| kept[*of as usize]).collect();
    let mut ordered = opened;
    if !graph.weak.is_empty() && !faults.has(Fault::EphemeronsNotPlanned) {
        graph.keep(&mut kept);
        ordered = graph.ordered(|from, to| !(opens && breaks(from, to)));
    }
    for component in (0..ordered.count()).rev() {
        let first = plan.due.len();
        let runs = |node: &&u32| policy(**node).is_some() && !kept[**node as usize];
        plan.due
            .extend(ordered.members(component).iter().filter(runs));
        plan.due[first..].sort_unstable();
    }
    if faults.has(Fault::Reversed) {
        plan.due.reverse();
    }
    plan
}
