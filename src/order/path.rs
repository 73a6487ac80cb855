//! The shortest path of references from what is kept to one object.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;
use std::fmt;

/// Where a path of references begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keeper<O> {
    /// A root: a [`Handle`](crate::Handle), or one of a foreign collector's.
    Root,
    /// The context, or an argument, of a registration of this object.
    Registration(O),
    /// A call that is queued or running.
    Call,
    /// The contents of this object, which has a finalizer and is itself not kept: in Go's order it
    /// is finalized before what it refers to is freed.
    Finalizable(O),
}

impl<O> Keeper<O> {
    /// The same with another name for the object.
    pub(crate) fn map<P>(self, name: impl FnOnce(O) -> P) -> Keeper<P> {
        match self {
            Keeper::Root => Keeper::Root,
            Keeper::Registration(object) => Keeper::Registration(name(object)),
            Keeper::Call => Keeper::Call,
            Keeper::Finalizable(object) => Keeper::Finalizable(name(object)),
        }
    }
}

/// A reference on the path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathLink<O> {
    /// The object that holds the reference.
    pub object: O,
    /// The object's type in Go's syntax; empty for a foreign collector's object.
    pub ty: String,
    /// Where the reference is: its offset in the object, in bytes. For a foreign collector's object
    /// its position among those that [`Tracer::children`](crate::foreign::Tracer::children) visits.
    /// [`PathLink::HIDDEN`] if no field shows it.
    pub slot: usize,
}

impl<O> PathLink<O> {
    /// The [`slot`](Self::slot) of a reference that no field shows: the object's callback has
    /// captured the next one ([`Mutator::callback`](crate::Mutator::callback)), or that is
    /// finalized after it ([`Mutator::finalize_after`](crate::Mutator::finalize_after)).
    pub const HIDDEN: usize = usize::MAX;
}

/// Why an object is alive: what keeps it, and the shortest path of references from there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepPath<O> {
    /// Where the path begins.
    pub keeper: Keeper<O>,
    /// Each link refers to the object of the next one, the last one to the object in question.
    /// Empty if the keeper refers to it directly.
    pub path: Vec<PathLink<O>>,
}

impl<O: fmt::LowerHex> fmt::Display for KeepPath<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.keeper {
            Keeper::Root => f.write_str("kept by a root")?,
            Keeper::Registration(object) => write!(f, "kept by a registration of {object:#x}")?,
            Keeper::Call => f.write_str("kept by a queued call")?,
            Keeper::Finalizable(object) => {
                write!(f, "kept for the finalizer of {object:#x}")?;
            }
        }
        for (n, link) in self.path.iter().enumerate() {
            let sign = if n == 0 { ": " } else { " -> " };
            let space = if link.ty.is_empty() { "" } else { " " };
            write!(f, "{sign}{}{space}{:#x}", link.ty, link.object)?;
            match link.slot {
                PathLink::<O>::HIDDEN => f.write_str("[hidden]")?,
                slot => write!(f, "[{slot}]")?,
            }
        }
        Ok(())
    }
}

/// Calls its second argument with the place and the target of each reference in an object.
pub(crate) type Children<'a> = dyn FnMut(u64, &mut dyn FnMut(usize, u64)) + 'a;

/// Where a search may begin.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    /// What is kept for sure.
    pub(crate) strong: Vec<(Keeper<u64>, u64)>,
    /// Objects with a finalizer whose contents are kept, if nothing else keeps them.
    pub(crate) finalizable: Vec<u64>,
}

/// A keeper, and objects with the places of their references.
pub(crate) type Found = (Keeper<u64>, Vec<(u64, usize)>);

/// The shortest path to `target` from what is kept for sure, or else from the contents of objects
/// with finalizers.
pub(crate) fn find_path(
    starts: &Starts,
    target: u64,
    children: &mut Children<'_>,
) -> Option<Found> {
    let strong = starts.strong.iter();
    let first = strong.map(|&(keeper, object)| (keeper, None, object));
    if let Some(found) = search(first.collect(), target, children) {
        return Some(found);
    }
    let mut second = Vec::new();
    for &object in &starts.finalizable {
        children(object, &mut |slot, child| {
            // What it refers to by itself does not keep it: it is then finalized.
            if child != object {
                second.push((Keeper::Finalizable(object), Some((object, slot)), child));
            }
        });
    }
    search(second, target, children)
}

/// How an object was reached first.
#[derive(Clone, Copy)]
enum From {
    /// The number of the start.
    Start(usize),
    /// A reference in another object.
    Object(u64, usize),
}

/// Where a search begins: what keeps an object, the reference to it if there is one, the object.
type Start = (Keeper<u64>, Option<(u64, usize)>, u64);

fn search(starts: Vec<Start>, target: u64, children: &mut Children<'_>) -> Option<Found> {
    let mut seen: HashMap<u64, From> = HashMap::new();
    let mut reached = Vec::new();
    for (n, &(_, _, object)) in starts.iter().enumerate() {
        if let Vacant(slot) = seen.entry(object) {
            slot.insert(From::Start(n));
            reached.push(object);
        }
    }
    let mut next = 0;
    while !seen.contains_key(&target) {
        let object = *reached.get(next)?;
        next += 1;
        children(object, &mut |slot, child| {
            if let Vacant(place) = seen.entry(child) {
                place.insert(From::Object(object, slot));
                reached.push(child);
            }
        });
    }
    let (mut path, mut at) = (Vec::new(), target);
    loop {
        match seen[&at] {
            From::Object(object, slot) => {
                path.push((object, slot));
                at = object;
            }
            From::Start(n) => {
                let (keeper, first, _) = starts[n];
                path.extend(first);
                path.reverse();
                return Some((keeper, path));
            }
        }
    }
}
