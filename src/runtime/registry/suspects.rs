//! Finding registrations that will never be due because they keep their own object alive. For
//! debugging: what each of them reaches is searched separately.
#![forbid(unsafe_code)]

use std::collections::hash_map::Entry::Vacant;
use std::collections::{HashMap, VecDeque};
use std::fmt;

use super::argument::referred;
use super::{Registry, Special, is_traced, shape_of};
use crate::heap::{Bit, Heap, Marking};

/// How many suspects one check reports at most.
const LIMIT: usize = 50;

/// Whether it is a finalizer or a cleanup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// A finalizer.
    Finalizer,
    /// A cleanup.
    Cleanup,
}

/// What keeps the object of a registration alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// What the object itself refers to, which a finalizer keeps.
    Contents,
    /// The function's context.
    Context,
    /// The cleanup's argument.
    Argument,
    /// The object shares its block with others, and lives as long as any of them.
    TinyBlock,
}

/// A pointer on the way from a registration back to its object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// The address of the object that holds the pointer.
    pub object: usize,
    /// Its type.
    pub ty: String,
    /// The pointer's offset in that object, in bytes.
    pub offset: usize,
}

/// A registration that will not be due unless references change, as it keeps its own object alive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suspect {
    /// Whether it is a finalizer or a cleanup.
    pub registration: Registration,
    /// The signature of its function.
    pub function: String,
    /// The address of its object.
    pub object: usize,
    /// The object's type.
    pub ty: String,
    /// What keeps the object alive.
    pub reason: Reason,
    /// The way from the registration to the object: each link points into the object of the next
    /// one, the last one into the registration's object. Empty if the object is referred to
    /// directly.
    pub path: Vec<Link>,
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.registration {
            Registration::Finalizer => "finalizer",
            Registration::Cleanup => "cleanup",
        };
        let reason = match self.reason {
            Reason::Contents => "what the object refers to leads back to it",
            Reason::Context => "its context leads to the object",
            Reason::Argument => "its argument leads to the object",
            Reason::TinyBlock => "the object shares a block with others",
        };
        let (function, ty, object) = (&self.function, &self.ty, self.object);
        write!(
            f,
            "{what} {function} of {ty} {object:#x} may never run: {reason}"
        )?;
        for (n, link) in self.path.iter().enumerate() {
            let sign = if n == 0 { ": " } else { " -> " };
            write!(f, "{sign}{} {:#x}+{}", link.ty, link.object, link.offset)?;
        }
        Ok(())
    }
}

/// One registration, copied from heap or lists.
pub(super) struct Entry {
    pub(super) registration: Registration,
    pub(super) shape: u32,
    pub(super) object: usize,
    pub(super) arguments: Vec<usize>,
    /// Its context, if that is an object.
    pub(super) context: Option<usize>,
}

impl Registry {
    /// Returns the suspects among all registrations. The world must be stopped, and nothing marked.
    pub(crate) fn check(&self, marking: &mut Marking<'_>) -> Vec<Suspect> {
        let heap = marking.heap();
        let entries = self.entries(marking);
        let suspects = entries.iter().filter_map(|entry| self.suspect(heap, entry));
        suspects.take(LIMIT).collect()
    }

    pub(super) fn entries(&self, marking: &mut Marking<'_>) -> Vec<Entry> {
        let finalizer = |object, shape, context| Entry {
            registration: Registration::Finalizer,
            shape,
            object,
            arguments: Vec::new(),
            context,
        };
        let cleanup = |object, shape, arguments, context| Entry {
            registration: Registration::Cleanup,
            shape,
            object,
            arguments,
            context,
        };
        // A context that is not traced keeps nothing alive.
        let traced = |shape: u32, context: u64| {
            let shape = self.shapes.get(shape);
            is_traced(shape.function()).then_some(context as usize)
        };
        let mut entries = Vec::new();
        marking.for_each_with_id(|_, start, id, context| {
            let shape = shape_of(id);
            entries.push(finalizer(start, shape, traced(shape, context)));
        });
        let specials = self.specials.lock();
        marking.for_each_unmarked(Bit::Special, |marking, object| {
            let of = marking.heap().place(object);
            let of = of.into_iter().flat_map(|place| specials.lists.of(place));
            entries.extend(of.filter_map(|special| match special {
                Special::Finalizer { shape, context, .. } => {
                    Some(finalizer(object, *shape, traced(*shape, *context)))
                }
                Special::Cleanup {
                    shape,
                    references,
                    words,
                } => {
                    let arguments = referred(*words, *references).collect();
                    Some(cleanup(object, *shape, arguments, None))
                }
                Special::Closure(closure) => {
                    let arguments = referred(closure.words, closure.references).collect();
                    let context = traced(closure.shape, closure.context);
                    Some(cleanup(object, closure.shape, arguments, context))
                }
                Special::Weak(_) | Special::External(_) => None,
            }));
        });
        drop(specials);
        entries.sort_by_key(|entry| entry.object);
        entries
    }

    fn suspect(&self, heap: &Heap, entry: &Entry) -> Option<Suspect> {
        let shape = self.shapes.get(entry.shape);
        let tiny = heap
            .find(entry.object)
            .is_some_and(|(_, desc)| heap.is_tiny_block(desc));
        let (reason, path) = match reach(heap, entry, entry.context) {
            None if tiny => (Reason::TinyBlock, Vec::new()),
            found => found?,
        };
        let path = path.into_iter().map(|(object, offset)| Link {
            object,
            ty: name(heap, object),
            offset,
        });
        Some(Suspect {
            registration: entry.registration,
            function: shape.function().signature().to_string(),
            object: entry.object,
            ty: name(heap, entry.object),
            reason,
            path: path.collect(),
        })
    }
}

pub(super) fn name(heap: &Heap, object: usize) -> String {
    let found = heap.find(object);
    found.map_or_else(String::new, |(_, desc)| desc.ty().to_string())
}

/// The shortest way from what the registration keeps alive to its object, as objects and offsets of
/// their pointers.
fn reach(
    heap: &Heap,
    entry: &Entry,
    context: Option<usize>,
) -> Option<(Reason, Vec<(usize, usize)>)> {
    let start = |addr: usize| heap.find(addr).map(|(start, _)| start);
    // Where each object was first seen: in an object at an offset, or as a root, for a reason.
    let mut seen: HashMap<usize, Result<(usize, usize), Reason>> = HashMap::new();
    let mut next = VecDeque::new();
    let arguments = entry
        .arguments
        .iter()
        .copied()
        .map(|addr| (Reason::Argument, addr));
    let roots = arguments.chain(context.map(|context| (Reason::Context, context)));
    for (reason, root) in roots.filter_map(|(reason, addr)| Some((reason, start(addr)?))) {
        if root == entry.object {
            return Some((reason, Vec::new()));
        }
        if seen.insert(root, Err(reason)).is_none() {
            next.push_back(root);
        }
    }
    if entry.registration == Registration::Finalizer {
        heap.for_each_child(entry.object, |offset, child| {
            if let Vacant(slot) = seen.entry(child)
                && child != entry.object
            {
                slot.insert(Ok((entry.object, offset)));
                next.push_back(child);
            }
        });
    }
    while let Some(object) = next.pop_front() {
        let mut found = None;
        heap.for_each_child(object, |offset, child| {
            if child == entry.object {
                found = found.or(Some(offset));
            } else if let Vacant(slot) = seen.entry(child) {
                slot.insert(Ok((object, offset)));
                next.push_back(child);
            }
        });
        if let Some(offset) = found {
            return Some(way_back(&seen, entry.object, (object, offset)));
        }
    }
    None
}

fn way_back(
    seen: &HashMap<usize, Result<(usize, usize), Reason>>,
    target: usize,
    last: (usize, usize),
) -> (Reason, Vec<(usize, usize)>) {
    let mut path = vec![last];
    let reason = loop {
        let at = path[path.len() - 1].0;
        if at == target {
            break Reason::Contents;
        }
        match seen[&at] {
            Ok(before) => path.push(before),
            Err(reason) => break reason,
        }
    };
    path.reverse();
    (reason, path)
}
