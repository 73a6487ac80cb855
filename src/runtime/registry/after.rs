//! `finalize_after`: an order of finalization that no reference shows.
//!
//! A declaration is a hidden reference from the object that is finalized first to the one that is
//! finalized after it: whatever a reference does for the order, it does. Declarations are kept
//! here, by the address of the object, and not in the objects; a collection follows them when it
//! marks ([`Registry::follow`]), and the plan of the topological order counts them as references.
//!
//! The objects are kept in an order in which each declaration leads forward, so that one which
//! would close a cycle is found when it is made (Pearce and Kelly's algorithm): an object that is
//! new to it is put in front of all others or behind them, which costs nothing; only a declaration
//! between two old objects that leads backward searches the objects between them.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::{Registry, Specials};
use crate::calls::executor::Closed;
use crate::heap::{Location, Marking};
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;

/// Why [`finalize_after`](crate::Mutator::finalize_after) declared nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AfterError {
    /// Nothing is finalized any more.
    #[error("finalize_after: {0}")]
    Closed(Closed),
    /// One of the objects is of another runtime.
    #[error("finalize_after: argument {argument} is {addr:#x}, which is in no object of this heap")]
    NotInHeap {
        /// 0: the object that is finalized after the other; 1: the other.
        argument: usize,
        /// Where it points.
        addr: usize,
    },
    /// One of the objects shares its block with others, or has no size: it does not die by itself.
    #[error(
        "finalize_after: argument {argument} at {addr:#x} has no block of its own, wanted an \
         object that dies by itself"
    )]
    Shared {
        /// As above.
        argument: usize,
        /// Where it is.
        addr: usize,
    },
    /// The declarations would go round in a circle.
    #[error("finalize_after: found a cycle of declared orders: {}", print(.path, .types))]
    Cycle {
        /// The addresses of the objects: each is finalized after the one before it, and the first
        /// after the last.
        path: Vec<usize>,
        /// Their types.
        types: Vec<String>,
    },
}

fn print(path: &[usize], types: &[String]) -> String {
    let of = |(addr, ty): (&usize, &String)| format!("{ty} {addr:#x}");
    let mut all: Vec<String> = path.iter().zip(types).map(of).collect();
    all.extend(all.first().cloned());
    all.join(" before ")
}

/// All declarations.
#[derive(Debug, Default)]
pub(super) struct Declared {
    nodes: HashMap<usize, Node>,
    /// The least and the greatest place in the order that is taken.
    least: i64,
    greatest: i64,
}

/// An object that is named in a declaration.
#[derive(Debug, Default)]
struct Node {
    /// Its place in the order: below those of all that are finalized after it.
    place: i64,
    /// The objects that are finalized after it, and before it. Some may be named several times.
    after: Vec<usize>,
    before: Vec<usize>,
}

impl Declared {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The objects that are finalized after this one.
    pub(super) fn after(&self, object: usize) -> &[usize] {
        self.nodes.get(&object).map_or(&[], |node| &node.after)
    }

    fn place(&self, object: usize) -> i64 {
        self.nodes.get(&object).map_or(0, |node| node.place)
    }

    /// Declares that `object` is finalized after `parent`. The error is a cycle that this would
    /// close, beginning with `object`; then nothing is changed.
    fn declare(&mut self, object: usize, parent: usize) -> Result<(), Vec<usize>> {
        if object == parent {
            return Err(vec![object]);
        }
        let known = |of: usize| self.nodes.contains_key(&of);
        if known(object) && known(parent) && self.place(parent) > self.place(object) {
            self.reorder(parent, object)?;
        }
        if !self.nodes.contains_key(&parent) {
            self.least -= 1;
            self.nodes.entry(parent).or_default().place = self.least;
        }
        if !self.nodes.contains_key(&object) {
            self.greatest += 1;
            self.nodes.entry(object).or_default().place = self.greatest;
        }
        self.nodes.entry(parent).or_default().after.push(object);
        self.nodes.entry(object).or_default().before.push(parent);
        Ok(())
    }

    /// Gives the objects between two of which the first is to be in front new places, so that it
    /// is. The error is the way from the second to the first.
    fn reorder(&mut self, first: usize, second: usize) -> Result<(), Vec<usize>> {
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
        let sorted = |of: &HashMap<usize, usize>| {
            let mut all: Vec<usize> = of.keys().copied().collect();
            all.sort_unstable_by_key(|object| self.place(*object));
            all
        };
        let order: Vec<usize> = [sorted(&in_front), sorted(&behind)].concat();
        let mut places: Vec<i64> = order.iter().map(|object| self.place(*object)).collect();
        places.sort_unstable();
        for (object, place) in order.into_iter().zip(places) {
            self.nodes.entry(object).or_default().place = place;
        }
        Ok(())
    }

    /// The objects that `next` leads to from `start`, at places that `within` takes; each with the
    /// one from which it was reached.
    fn reachable(
        &self,
        start: usize,
        next: impl Fn(&Node) -> &Vec<usize>,
        within: impl Fn(i64) -> bool,
    ) -> HashMap<usize, usize> {
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
    pub(super) fn retain(&mut self, is_alive: impl Fn(usize) -> bool) {
        let dead: HashSet<usize> = self
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
}

impl Registry {
    pub(crate) fn finalize_after(
        &self,
        mutator: &Mutator,
        object: Obj<'_>,
        parent: Obj<'_>,
    ) -> Result<(), AfterError> {
        Closed::check(&self.gate).map_err(AfterError::Closed)?;
        let heap = mutator.space().heap();
        for (argument, addr) in [object.addr(), parent.addr()].into_iter().enumerate() {
            match heap.locate(addr) {
                Location::Object { desc, .. } if !heap.is_tiny_block(desc) => {}
                Location::Object { .. } | Location::Zero => {
                    return Err(AfterError::Shared { argument, addr });
                }
                Location::Nil | Location::NoObject => {
                    return Err(AfterError::NotInHeap { argument, addr });
                }
            }
        }
        let (object, parent) = (object.addr(), parent.addr());
        let Some(place) = heap.place(parent) else {
            return Err(AfterError::NotInHeap {
                argument: 1,
                addr: parent,
            });
        };
        let mut specials = self.specials.lock();
        let declared = specials.declared.declare(object, parent);
        if declared.is_ok() {
            heap.set_special(place);
            heap.watch_specials();
        }
        drop(specials);
        declared.map_err(|path| {
            let name = |addr: &usize| {
                let desc = heap.type_at(*addr);
                desc.map_or_else(|_| String::new(), |desc| desc.ty().to_string())
            };
            let types = path.iter().map(name).collect();
            AfterError::Cycle { path, types }
        })
    }

    /// Marks everything that is reachable from marked objects, declarations and ephemerons
    /// included.
    pub(super) fn follow(&self, specials: &Specials, marking: &mut Marking<'_>) {
        marking.drain();
        while let Some(object) = marking.next_special() {
            for &after in specials.declared.after(object) {
                marking.mark(after);
            }
            specials.weak.follow(object, marking);
            marking.drain();
        }
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
            let mut declared = Declared::default();
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
