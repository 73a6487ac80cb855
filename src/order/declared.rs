//! Declarations that an object is finalized after another one, though no reference shows it.
//!
//! A declaration counts as a reference from the object that is finalized first to the one that is
//! finalized after it; whoever keeps declarations follows them in collections.
//!
//! The objects are kept in an order in which each declaration leads forward, so that one which
//! would close a cycle is found when it is made (Pearce and Kelly's algorithm): an object that is
//! new to it is put in front of all others or behind them, which costs nothing; only a declaration
//! between two old objects that leads backward searches the objects between them.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// All declarations.
#[derive(Debug)]
pub(crate) struct Declared<O> {
    nodes: HashMap<O, Node<O>>,
    /// The least and the greatest place in the order that is taken.
    least: i64,
    greatest: i64,
}

/// An object that is named in a declaration.
#[derive(Debug)]
struct Node<O> {
    /// Its place in the order: below those of all that are finalized after it.
    place: i64,
    /// The objects that are finalized after it, and before it. Some may be named several times.
    after: Vec<O>,
    before: Vec<O>,
}

impl<O> Default for Declared<O> {
    fn default() -> Declared<O> {
        Declared {
            nodes: HashMap::new(),
            least: 0,
            greatest: 0,
        }
    }
}

impl<O> Node<O> {
    fn at(place: i64) -> Node<O> {
        Node {
            place,
            after: Vec::new(),
            before: Vec::new(),
        }
    }
}

impl<O: Copy + Eq + Hash> Declared<O> {
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The objects that are finalized after this one.
    pub(crate) fn after(&self, object: O) -> &[O] {
        self.nodes.get(&object).map_or(&[], |node| &node.after)
    }

    fn place(&self, object: O) -> i64 {
        self.nodes.get(&object).map_or(0, |node| node.place)
    }

    /// Declares that `object` is finalized after `parent`. The error is a cycle that this would
    /// close, beginning with `object`; then nothing is changed.
    pub(crate) fn declare(&mut self, object: O, parent: O) -> Result<(), Vec<O>> {
        if object == parent {
            return Err(vec![object]);
        }
        let known = |of: O| self.nodes.contains_key(&of);
        if known(object) && known(parent) && self.place(parent) > self.place(object) {
            self.reorder(parent, object)?;
        }
        let Declared {
            nodes,
            least,
            greatest,
        } = self;
        let node = nodes.entry(parent).or_insert_with(|| {
            *least -= 1;
            Node::at(*least)
        });
        node.after.push(object);
        let node = nodes.entry(object).or_insert_with(|| {
            *greatest += 1;
            Node::at(*greatest)
        });
        node.before.push(parent);
        Ok(())
    }

    /// Gives the objects between two of which the first is to be in front new places, so that it
    /// is. The error is the way from the second to the first.
    fn reorder(&mut self, first: O, second: O) -> Result<(), Vec<O>> {
        let (from, to) = (self.place(second), self.place(first));
        let behind = self.reachable(second, |node| &node.after, |place| place <= to);
        if behind.contains_key(&first) {
            let mut path = vec![first];
            while path.last() != Some(&second) {
                path.extend(path.last().map(|last| behind[last]));
            }
            path.reverse();
            return Err(path);
        }
        let in_front = self.reachable(first, |node| &node.before, |place| place >= from);
        let sorted = |of: &HashMap<O, O>| {
            let mut all: Vec<O> = of.keys().copied().collect();
            all.sort_unstable_by_key(|object| self.place(*object));
            all
        };
        let order: Vec<O> = [sorted(&in_front), sorted(&behind)].concat();
        let mut places: Vec<i64> = order.iter().map(|object| self.place(*object)).collect();
        places.sort_unstable();
        for (object, place) in order.into_iter().zip(places) {
            self.nodes
                .entry(object)
                .and_modify(|node| node.place = place);
        }
        Ok(())
    }

    /// The objects that `next` leads to from `start`, at places that `within` takes; each with the
    /// one from which it was reached.
    fn reachable(
        &self,
        start: O,
        next: impl Fn(&Node<O>) -> &Vec<O>,
        within: impl Fn(i64) -> bool,
    ) -> HashMap<O, O> {
        let mut found = HashMap::from([(start, start)]);
        let mut open = vec![start];
        while let Some(object) = open.pop() {
            for &to in self.nodes.get(&object).into_iter().flat_map(&next) {
                if within(self.place(to)) && !found.contains_key(&to) {
                    found.insert(to, object);
                    open.push(to);
                }
            }
        }
        found
    }

    /// Forgets the objects that are dead.
    pub(crate) fn retain(&mut self, is_alive: impl Fn(O) -> bool) {
        let dead: HashSet<O> = self
            .nodes
            .keys()
            .copied()
            .filter(|object| !is_alive(*object))
            .collect();
        if dead.is_empty() {
            return;
        }
        self.nodes.retain(|object, node| {
            node.after.retain(|of| !dead.contains(of));
            node.before.retain(|of| !dead.contains(of));
            // One that is alone is as if it had never been named.
            let alone = node.after.is_empty() && node.before.is_empty();
            !(alone || dead.contains(object))
        });
    }

    /// The objects that others are finalized after, each with those.
    pub(crate) fn parents(&self) -> impl Iterator<Item = (O, &[O])> {
        let all = self
            .nodes
            .iter()
            .map(|(object, node)| (*object, &*node.after));
        all.filter(|(_, after)| !after.is_empty())
    }

    /// All objects that are named.
    pub(crate) fn objects(&self) -> impl Iterator<Item = O> {
        self.nodes.keys().copied()
    }

    /// Replaces each object by another, different ones by different ones.
    pub(crate) fn rename(&mut self, new: impl Fn(O) -> O) {
        let nodes = std::mem::take(&mut self.nodes).into_iter();
        let renamed = nodes.map(|(object, mut node)| {
            for of in node.after.iter_mut().chain(&mut node.before) {
                *of = new(*of);
            }
            (new(object), node)
        });
        self.nodes = renamed.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Rng;

    /// Against a search of the whole graph for each declaration.
    #[test]
    fn cycles_are_found_when_they_are_closed() {
        for seed in 0..40 {
            let mut rng = Rng::new(seed);
            let mut declared = Declared::<usize>::default();
            let mut edges: Vec<(usize, usize)> = Vec::new();
            let objects = 3 + rng.below(40);
            for _ in 0..200 {
                let (parent, object) = (rng.below(objects), rng.below(objects));
                let reaches = |from: usize, to: usize| {
                    let (mut open, mut seen) = (vec![from], vec![from]);
                    while let Some(at) = open.pop() {
                        for (_, next) in edges.iter().filter(|(of, _)| *of == at) {
                            if !seen.contains(next) {
                                seen.push(*next);
                                open.push(*next);
                            }
                        }
                    }
                    seen.contains(&to)
                };
                let closes = reaches(object, parent);
                match declared.declare(object, parent) {
                    Ok(()) => {
                        assert!(!closes);
                        edges.push((parent, object));
                    }
                    Err(path) => {
                        assert!(closes);
                        assert_eq!((path.first(), path.last()), (Some(&object), Some(&parent)));
                        for pair in path.windows(2) {
                            assert!(edges.contains(&(pair[0], pair[1])), "{path:?}");
                        }
                    }
                }
                for (parent, object) in &edges {
                    assert!(declared.place(*parent) < declared.place(*object));
                }
                if rng.below(50) == 0 {
                    let gone = rng.below(objects);
                    declared.retain(|object| object != gone);
                    edges.retain(|(parent, object)| *parent != gone && *object != gone);
                }
            }
        }
    }
}
