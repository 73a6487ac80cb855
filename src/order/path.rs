//! The shortest path of references from what is kept to one object.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;
use std::fmt;

use super::waiting::Waiting;

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
    /// If the next object is the value of an entry of a weak map, and `object` is its key: which
    /// entry. The [ephemeron](crate::Mutator::ephemeron), or for a foreign collector's object the
    /// weak map that the entry was [added](crate::foreign::Finalizers::ephemeron) to. The value is
    /// kept as long as this is alive too, for which there is a path of its own.
    pub entry: Option<O>,
}

impl<O> PathLink<O> {
    /// The [`slot`](Self::slot) of a reference that no field shows: the object's callback has
    /// captured the next one ([`Mutator::callback`](crate::Mutator::callback)), or that is
    /// finalized after it ([`Mutator::finalize_after`](crate::Mutator::finalize_after)), or the
    /// object is the key of an [`entry`](Self::entry).
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
            match (&link.entry, link.slot) {
                (Some(entry), _) => write!(f, "[key of the entry in {entry:#x}]")?,
                (None, PathLink::<O>::HIDDEN) => f.write_str("[hidden]")?,
                (None, slot) => write!(f, "[{slot}]")?,
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

/// An entry of a weak map, which keeps its value while its key and its holder are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeakEntry {
    /// What it is named by.
    pub(crate) name: u64,
    /// `None` if it is kept for sure.
    pub(crate) holder: Option<u64>,
    pub(crate) key: u64,
    pub(crate) value: u64,
}

/// A reference that a search has followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) object: u64,
    pub(crate) slot: usize,
    /// The name of the entry whose value the next object is, and the object its key.
    pub(crate) entry: Option<u64>,
}

impl Step {
    fn reference(object: u64, slot: usize) -> Step {
        Step {
            object,
            slot,
            entry: None,
        }
    }

    /// The step as a link, with other names for objects.
    pub(crate) fn link<O>(self, name: impl Fn(u64) -> O, ty: String) -> PathLink<O> {
        PathLink {
            object: name(self.object),
            ty,
            slot: self.slot,
            entry: self.entry.map(name),
        }
    }
}

/// A keeper, and the references from there.
pub(crate) type Found = (Keeper<u64>, Vec<Step>);

/// A shortest path to `target` from what is kept for sure, or else from the contents of objects
/// with finalizers. An entry of a weak map leads from its key to its value, once it is known that
/// its holder is kept too.
pub(crate) fn find_path(
    starts: &Starts,
    entries: &[WeakEntry],
    target: u64,
    children: &mut Children<'_>,
) -> Option<Found> {
    let mut search = Search::new(entries);
    for &(keeper, object) in &starts.strong {
        search.start(keeper, None, object);
    }
    search.run(target, children);
    if !search.seen.contains_key(&target) {
        for &object in &starts.finalizable {
            children(object, &mut |slot, child| {
                // What it refers to by itself does not keep it: it is then finalized.
                if child != object {
                    let first = Some(Step::reference(object, slot));
                    search.start(Keeper::Finalizable(object), first, child);
                }
            });
        }
        search.run(target, children);
    }
    search.path(target)
}

/// How an object was reached first.
#[derive(Clone, Copy)]
enum From {
    /// What keeps it, and the reference to it, if there is one.
    Start(Keeper<u64>, Option<Step>),
    Step(Step),
}

/// A search in breadth.
struct Search<'e> {
    seen: HashMap<u64, From>,
    reached: Vec<u64>,
    /// How many of these have been followed.
    followed: usize,
    entries: &'e [WeakEntry],
    waiting: Waiting,
}

impl<'e> Search<'e> {
    fn new(entries: &'e [WeakEntry]) -> Search<'e> {
        let mut waiting = Waiting::default();
        for entry in entries {
            waiting.add([entry.holder, Some(entry.key)]);
        }
        Search {
            seen: HashMap::new(),
            reached: Vec::new(),
            followed: 0,
            entries,
            waiting,
        }
    }

    fn start(&mut self, keeper: Keeper<u64>, first: Option<Step>, object: u64) {
        self.reach(object, From::Start(keeper, first));
    }

    fn reach(&mut self, object: u64, from: From) {
        if let Vacant(place) = self.seen.entry(object) {
            place.insert(from);
            self.reached.push(object);
        }
    }

    /// Follows references until the target is reached, or everything is.
    fn run(&mut self, target: u64, children: &mut Children<'_>) {
        while !self.seen.contains_key(&target)
            && let Some(&object) = self.reached.get(self.followed)
        {
            self.followed += 1;
            children(object, &mut |slot, child| {
                self.reach(child, From::Step(Step::reference(object, slot)));
            });
            for number in self.waiting.keep(object) {
                let entry = self.entries[number as usize];
                let step = Step {
                    object: entry.key,
                    slot: PathLink::<u64>::HIDDEN,
                    entry: Some(entry.name),
                };
                self.reach(entry.value, From::Step(step));
            }
        }
    }

    /// How an object was reached, if it was.
    fn path(&self, target: u64) -> Option<Found> {
        let mut path = Vec::new();
        let mut from = self.seen.get(&target)?;
        loop {
            match *from {
                From::Step(step) => {
                    path.push(step);
                    from = &self.seen[&step.object];
                }
                From::Start(keeper, first) => {
                    path.extend(first);
                    path.reverse();
                    return Some((keeper, path));
                }
            }
        }
    }
}
