//! Random graphs against a model that knows sets only: what is reachable stays intact, the rest
//! goes, finalizable objects die in Go's order.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Mutex;

/// What stands in a pointer word.
#[derive(Copy, Clone, PartialEq, Debug)]
enum Edge {
    Nil,
    To(usize),
    /// A pointer into the object, at this offset.
    Into(usize, usize),
    Foreign(usize),
}

struct Node {
    addr: usize,
    edges: Vec<Edge>,
    finalizer: Option<u32>,
    special: bool,
}

/// Go's order, in the fewest words.
#[derive(Default)]
struct GoOrder {
    /// Queued and not yet run: object and id.
    queue: Mutex<Vec<(usize, u32)>>,
    /// Special objects that died.
    died: Mutex<BTreeSet<usize>>,
}

impl Weakness for GoOrder {
    fn roots(&self, marking: &mut Marking<'_>) {
        self.queue
            .lock()
            .unwrap()
            .iter()
            .for_each(|(addr, _)| marking.mark(*addr));
    }

    fn retain(&self, marking: &mut Marking<'_>) {
        marking.for_each_with_id(|marking, addr, _, _| marking.mark_children(addr));
    }

    fn decide(&self, marking: &mut Marking<'_>) {
        let mut queue = self.queue.lock().unwrap();
        marking.for_each_with_id(|marking, addr, id, _| {
            assert_eq!(marking.take_id(addr), Some(id));
            marking.mark(addr);
            queue.push((addr, id.get()));
        });
        let mut died = self.died.lock().unwrap();
        let mut places = Vec::new();
        marking.for_each_unmarked(Bit::Special, |marking, addr| {
            died.insert(addr);
            places.extend(marking.heap().place(addr));
        });
        marking.for_each_dead(Bit::Special, |place| {
            assert_eq!(place, places.remove(0));
        });
        assert_eq!(places, []);
    }
}

#[derive(Default)]
struct Model {
    nodes: BTreeMap<usize, Node>,
    /// Their addresses.
    starts: BTreeMap<usize, usize>,
    roots: BTreeMap<usize, Vec<crate::Handle>>,
    queue: BTreeSet<usize>,
}

impl Model {
    fn targets(&self, id: usize) -> impl Iterator<Item = usize> {
        self.nodes[&id].edges.iter().filter_map(|edge| match edge {
            Edge::Nil => None,
            Edge::To(to) | Edge::Into(to, _) => Some(*to),
            Edge::Foreign(addr) => self.holder(*addr),
        })
    }

    /// The object an address is in: a foreign address may become one when free memory gets a new
    /// object.
    fn holder(&self, addr: usize) -> Option<usize> {
        let (start, id) = self.starts.range(..=addr).next_back()?;
        let size = 8 + 8 * self.nodes.get(id)?.edges.len();
        (addr < start + size).then_some(*id)
    }

    fn closure(&self, from: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut grey: Vec<usize> = from.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = grey.pop() {
            if seen.insert(id) {
                grey.extend(self.targets(id));
            }
        }
        seen
    }

    /// Go's rule, literally. Answers what was queued and which special objects died.
    fn collect(&mut self) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let finalizable = |nodes: &BTreeMap<usize, Node>| -> Vec<usize> {
            nodes
                .iter()
                .filter(|(_, node)| node.finalizer.is_some())
                .map(|(id, _)| *id)
                .collect()
        };
        let registered = finalizable(&self.nodes);
        let contents = registered
            .iter()
            .flat_map(|&o| self.targets(o).filter(move |&to| to != o));
        let start = self
            .roots
            .keys()
            .chain(&self.queue)
            .copied()
            .chain(contents);
        let mut marked = self.closure(start);
        let queued: BTreeSet<usize> = registered
            .into_iter()
            .filter(|id| !marked.contains(id))
            .collect();
        marked.extend(&queued);
        self.queue.extend(&queued);
        queued
            .iter()
            .for_each(|id| self.nodes.get_mut(id).unwrap().finalizer = None);
        let dead = self.nodes.iter().filter(|(id, _)| !marked.contains(id));
        let died = dead
            .filter(|(_, node)| node.special)
            .map(|(_, node)| node.addr)
            .collect();
        self.nodes.retain(|id, _| marked.contains(id));
        self.starts.retain(|_, id| marked.contains(id));
        (queued, died)
    }
}

const SHAPES: [usize; 9] = [0, 1, 2, 3, 5, 9, 70, 1100, 9000];

#[test]
fn random_graphs_equal_the_model() {
    let seeds = if cfg!(miri) {
        1
    } else {
        fing_oracles::cases(40)
    };
    for seed in 0..seeds {
        run(seed);
    }
}

fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let weak = Arc::new(GoOrder::default());
    let space = Space::new(Arc::new(Types::new()), options(), weak.clone()).unwrap();
    let mut m = attach(&space).unwrap();
    let mut model = Model::default();
    let mut next = 0;
    let local = 7usize;
    for _ in 0..8 {
        let reachable: Vec<usize> = model
            .closure(model.roots.keys().copied())
            .into_iter()
            .collect();
        let mut pool = reachable;
        for _ in 0..rng.below(120) {
            let kinds = if rng.chance(90) { 6 } else { SHAPES.len() };
            let pointers = SHAPES[rng.below(kinds)];
            let object = m.alloc(shape(&space, pointers)).unwrap();
            m.store_word(object, 0, next as u64).unwrap();
            if rng.chance(30) {
                model
                    .roots
                    .entry(next)
                    .or_default()
                    .push(m.root(object).unwrap());
            }
            let (edges, addr) = (vec![Edge::Nil; pointers], object.addr());
            model.nodes.insert(
                next,
                Node {
                    addr,
                    edges,
                    finalizer: None,
                    special: false,
                },
            );
            model.starts.insert(addr, next);
            pool.push(next);
            next += 1;
        }
        for _ in 0..pool.len() * 3 {
            let (from, to) = (pool[rng.below(pool.len())], pool[rng.below(pool.len())]);
            let target = (model.nodes[&to].addr, 8 + 8 * model.nodes[&to].edges.len());
            let node = model.nodes.get_mut(&from).unwrap();
            if node.edges.is_empty() {
                continue;
            }
            let index = rng.below(node.edges.len());
            let edge = match rng.below(20) {
                0..4 => Edge::Nil,
                4..6 => Edge::Into(to, 1 + rng.below(target.1 - 1)),
                6 => Edge::Foreign(
                    [
                        std::ptr::from_ref(&local).addr(),
                        1,
                        usize::MAX,
                        space.heap().zero(),
                    ][rng.below(4)],
                ),
                // A header; one past the end, which may be padding of the same cell.
                7 => Edge::Foreign(if rng.chance(50) {
                    target.0 - 8
                } else {
                    target.0 + target.1
                }),
                _ => Edge::To(to),
            };
            node.edges[index] = edge;
            let object = m.adopt(node.addr).unwrap();
            m.store_addr(object, slot(index), word(edge, |_| target.0))
                .unwrap();
        }
        for &id in &pool {
            let node = model.nodes.get_mut(&id).unwrap();
            if rng.chance(15) {
                let new = NonZeroU32::new(id as u32 + 1).unwrap();
                let wanted = match node.finalizer {
                    None => SetId::Set,
                    Some(_) => SetId::HasOne,
                };
                assert_eq!(set_id(&space, node.addr, new), wanted);
                node.finalizer = node.finalizer.or(Some(id as u32 + 1));
            }
            if rng.chance(5) {
                assert_eq!(
                    space.heap().take_id(node.addr).map(NonZeroU32::get),
                    node.finalizer.take()
                );
            }
            if rng.chance(10) {
                node.special = true;
                let place = space.heap().place(node.addr).unwrap();
                space.heap().set_special(place);
            }
        }
        model.roots.retain(|_, _| rng.chance(70));
        // Finalizers that have run.
        let mut queue = weak.queue.lock().unwrap();
        queue.retain(|(_, id)| !model.queue.contains(&(*id as usize - 1)) || rng.chance(40));
        model.queue = queue.iter().map(|(_, id)| *id as usize - 1).collect();
        let before = queue.len();
        drop(queue);

        let objects = model.nodes.len();
        let (queued, died) = model.collect();
        let done = if rng.chance(50) {
            *m.gc().unwrap()
        } else {
            m.native(|| space.collect()).unwrap()
        };
        assert_eq!(
            (done.live_objects, done.freed_objects),
            (model.nodes.len(), objects - model.nodes.len())
        );
        assert_eq!(std::mem::take(&mut *weak.died.lock().unwrap()), died);
        let queue = weak.queue.lock().unwrap();
        let found: BTreeSet<usize> = queue[before..]
            .iter()
            .map(|(_, id)| *id as usize - 1)
            .collect();
        assert_eq!(
            (found.len(), &found),
            (queue.len() - before, &queued),
            "seed {seed}"
        );
        drop(queue);
        intact(&space, &m, &model);
    }
}

fn word(edge: Edge, addr: impl Fn(usize) -> usize) -> usize {
    match edge {
        Edge::Nil => 0,
        Edge::To(to) => addr(to),
        Edge::Into(to, offset) => addr(to) + offset,
        Edge::Foreign(addr) => addr,
    }
}

/// Every object that should live is where it was, with what was in it.
fn intact(space: &Space, m: &crate::Mutator, model: &Model) {
    assert_eq!(space.heap().stats().objects, model.nodes.len());
    for (id, node) in &model.nodes {
        let object = m.adopt(node.addr).unwrap();
        assert_eq!(
            m.type_of(object).unwrap().id(),
            shape(space, node.edges.len())
        );
        assert_eq!(m.load_word(object, 0), Ok(*id as u64));
        for (index, edge) in node.edges.iter().enumerate() {
            // A foreign word may be in a cell that is free by now; it is kept as it is.
            let want = word(*edge, |to| model.nodes[&to].addr);
            assert_eq!(m.load_addr(object, slot(index)), Ok(want));
        }
        let prepared = id_of(space, node.addr).map(NonZeroU32::get);
        assert_eq!(prepared, node.finalizer);
    }
}
