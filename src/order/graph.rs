//! The dead objects of a collection as a graph: references, ephemerons, strongly connected
//! components.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::plan::Candidate;
use super::{Reference, Waiting};

/// Calls its second argument with what an object refers to.
pub(crate) trait Children<R>: FnMut(R, &mut dyn FnMut(R)) {}

impl<R, F: FnMut(R, &mut dyn FnMut(R))> Children<R> for F {}

/// The ephemerons that may keep a dead value.
#[derive(Debug)]
pub(crate) struct WeakEdges<R> {
    waiting: Waiting,
    ephemerons: Vec<Ephemeron<R>>,
}

#[derive(Clone, Copy, Debug)]
struct Ephemeron<R> {
    /// Its holder and its key, those that are dead.
    from: [Option<R>; 2],
    value: R,
}

impl<R> Default for WeakEdges<R> {
    fn default() -> WeakEdges<R> {
        WeakEdges {
            waiting: Waiting::default(),
            ephemerons: Vec::new(),
        }
    }
}

impl<R: Reference> WeakEdges<R> {
    /// Adds an ephemeron of a dead value. `None` is a holder or a key that is alive; one of them is
    /// not.
    pub(crate) fn add(&mut self, holder: Option<R>, key: Option<R>, value: R) {
        let from = [holder, key];
        self.waiting.add(from.map(|of| of.map(R::to_word)));
        self.ephemerons.push(Ephemeron { from, value });
    }

    /// Adds an ephemeron of which it is not known whether its holder and its key are alive: each of
    /// them alone counts as referring to the value.
    pub(crate) fn add_each(&mut self, holder: R, key: R, value: R) {
        self.add(Some(holder), None, value);
        self.add(None, Some(key), value);
    }
}

/// Objects by number, with their references to each other. References to themselves are left out.
pub(super) struct Graph<R> {
    pub(super) objects: Vec<R>,
    pub(super) edges: Edges,
    pub(super) weak: Vec<WeakEdge>,
}

/// An ephemeron of the graph.
#[derive(Clone, Copy)]
pub(super) struct WeakEdge {
    /// Both are the same if only one of them is dead.
    from: [u32; 2],
    value: u32,
}

/// References between objects.
#[derive(Default)]
pub(super) struct Edges {
    /// Where the references of each object end in `targets`.
    ends: Vec<usize>,
    targets: Vec<u32>,
}

impl<R: Reference> Graph<R> {
    /// Builds the graph of all dead objects that are reachable from the candidates, which come
    /// first. No two candidates may be the same object.
    pub(super) fn build(
        candidates: &[Candidate<R>],
        mut children: impl Children<R>,
        mut ephemerons: WeakEdges<R>,
    ) -> Graph<R> {
        let mut objects: Vec<R> = candidates
            .iter()
            .map(|candidate| candidate.object)
            .collect();
        let mut numbers: HashMap<u64, u32> = objects
            .iter()
            .map(|object| object.to_word())
            .zip(0..)
            .collect();
        let (mut edges, mut weak) = (Edges::default(), Vec::new());
        let mut at = 0;
        while at < objects.len() {
            let from = objects[at];
            let mut number = |to: R| {
                *numbers.entry(to.to_word()).or_insert_with(|| {
                    objects.push(to);
                    objects.len() as u32 - 1
                })
            };
            children(from, &mut |to| {
                if to != from {
                    edges.targets.push(number(to));
                }
            });
            for kept in ephemerons.waiting.keep(from.to_word()) {
                let Ephemeron { from, value } = ephemerons.ephemerons[kept as usize];
                let [holder, key] = from.map(|of| of.map(&mut number));
                if let Some(either) = holder.or(key) {
                    weak.push(WeakEdge {
                        from: [holder.unwrap_or(either), key.unwrap_or(either)],
                        value: number(value),
                    });
                }
            }
            edges.ends.push(edges.targets.len());
            at += 1;
        }
        Graph {
            objects,
            edges,
            weak,
        }
    }
}

impl<R> Graph<R> {
    /// Extends a set of objects that are kept by what these keep.
    pub(super) fn keep(&self, kept: &mut [bool]) {
        let mut waiting = Waiting::default();
        for weak in &self.weak {
            waiting.add(weak.from.map(|from| Some(from.into())));
        }
        let is_kept = |node: &u32| kept[*node as usize];
        let mut open: Vec<u32> = (0..kept.len() as u32).filter(is_kept).collect();
        while let Some(node) = open.pop() {
            let values = waiting.keep(node.into()).into_iter();
            let values = values.map(|number| self.weak[number as usize].value);
            for to in values.chain(self.edges.of(node).iter().copied()) {
                if !std::mem::replace(&mut kept[to as usize], true) {
                    open.push(to);
                }
            }
        }
    }

    /// The components in which objects are finalized: those of the references that count, and of
    /// the ephemerons that close no cycle.
    pub(super) fn ordered(&self, counts: impl Fn(u32, u32) -> bool) -> Components {
        let mut weak: Vec<Vec<u32>> = vec![Vec::new(); self.edges.len()];
        for edge in &self.weak {
            for from in edge.from {
                weak[from as usize].push(edge.value);
            }
        }
        let (mut all, mut only_weak) = (Edges::default(), HashSet::new());
        for (node, weak) in (0..).zip(&mut weak) {
            all.targets.extend(self.edges.of(node));
            let references: HashSet<u32> = match weak.is_empty() {
                true => HashSet::new(),
                false => self.edges.of(node).iter().copied().collect(),
            };
            weak.retain(|to| *to != node && !references.contains(to));
            only_weak.extend(weak.iter().map(|to| (node, *to)));
            all.targets.append(weak);
            all.ends.push(all.targets.len());
        }
        let joined = all.components(|_, _| true);
        all.components(|from, to| {
            let closes = || joined.of[from as usize] == joined.of[to as usize];
            match only_weak.contains(&(from, to)) {
                true => !closes(),
                false => counts(from, to),
            }
        })
    }
}

impl Edges {
    /// Number of objects.
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn range(&self, node: u32) -> Range<usize> {
        let node = node as usize;
        node.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[node]
    }

    /// What an object refers to.
    pub(super) fn of(&self, node: u32) -> &[u32] {
        &self.targets[self.range(node)]
    }

    /// The strongly connected components of the graph, with only the edges for which `counts`
    /// returns true.
    pub(super) fn components(&self, counts: impl Fn(u32, u32) -> bool) -> Components {
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
                    path.push((node, self.range(node).start));
                }
                let Some((node, edge)) = path.last_mut() else {
                    break;
                };
                let (node, end) = (*node, self.range(*node).end);
                if *edge < end {
                    let to = self.targets[*edge];
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
    pub(super) fn cycle(
        &self,
        node: u32,
        components: &Components,
        before: &mut Vec<u32>,
    ) -> Vec<u32> {
        const NEW: u32 = u32::MAX;
        before.resize(self.len(), NEW);
        let inside = components.of[node as usize];
        let mut line = vec![node];
        let mut at = 0;
        while at < line.len() {
            let from = line[at];
            at += 1;
            for &to in self.of(from) {
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
pub(super) struct Components {
    /// The component of each node.
    pub(super) of: Vec<u32>,
    /// Where each component ends in `nodes`.
    ends: Vec<usize>,
    nodes: Vec<u32>,
}

impl Components {
    pub(super) fn members(&self, component: usize) -> &[u32] {
        let start = component
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        &self.nodes[start..self.ends[component]]
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }
}
