//! Types that are given back: which of the released ones nothing names any more.
//!
//! Types name one another, in circles too, so they are not counted but traced, as objects are. A
//! type is named by objects, by whoever holds its descriptor, by types that are not released, and
//! by named types that mention it.
#![forbid(unsafe_code)]

use super::{Books, TypeDesc, TypeId, Types, TypesError, shape};
use crate::base::identity;
use fing_stubs::signature::Type;
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::*};

/// Collections that do not look for types to give back, while no new ones are released.
const PATIENCE: u32 = 7;

/// So many released types make a collection due by themselves: they are as large as the least that
/// is worth a collection for objects.
const MIN_DUE: usize = 4096;

/// The bit of a word that is set while released types make a collection due.
#[derive(Debug)]
pub(crate) struct ReleasedFlag {
    pub(crate) word: Arc<AtomicU32>,
    pub(crate) bit: u32,
}

impl ReleasedFlag {
    fn set(&self, is_due: bool) {
        match is_due {
            true => self.word.fetch_or(self.bit, AcqRel),
            false => self.word.fetch_and(!self.bit, AcqRel),
        };
    }
}

/// What is known of released types without a lock.
#[derive(Debug, Default)]
pub(super) struct Released {
    count: AtomicUsize,
    names_given_back: AtomicBool,
}

impl Released {
    /// Whether a type with a name was ever given back.
    #[inline]
    pub(super) fn were_given_back(&self) -> bool {
        self.names_given_back.load(Acquire)
    }
}

/// The types that are released and still there.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    indices: HashSet<u32>,
    /// How many the last look has left.
    left: usize,
    /// Collections since then.
    skipped: u32,
    flag: Option<ReleasedFlag>,
}

impl Waiting {
    /// Whether this collection is to look for types to give back. A look takes time for each object
    /// and type, so it waits until there are twice as many released types as the last one has left,
    /// or a while.
    fn is_look_due(&mut self) -> bool {
        let due = self.indices.len() >= 2 * self.left || self.skipped >= PATIENCE;
        self.skipped = if due { 0 } else { self.skipped + 1 };
        due
    }

    /// Says by the flag whether a collection is due: a look of it would be, and is worth it.
    fn tell(&self) {
        let due = self.indices.len() >= MIN_DUE.max(2 * self.left);
        if let Some(flag) = &self.flag {
            flag.set(due);
        }
    }
}

impl Types {
    /// Releases a type: from now on it stays only as long as something names it. For types that are
    /// made while the program runs, such as the shapes of objects of a dynamic language, so that
    /// their number does not grow for ever.
    ///
    /// What names a type:
    ///
    /// * an object of it, or of a type that mentions it (all objects, not only reachable ones,
    ///   between collections);
    /// * an `Arc` of its descriptor, such as the returned one, or of a type that mentions it; a
    ///   [`Window`](crate::vm::Window) and a [`PreparedFinalizer`](crate::PreparedFinalizer);
    /// * a type with a name that is not released, or is named itself, and mentions it, in its
    ///   definition, as an array's element, or in a method; a type whose
    ///   [itab](Self::itab) for it was made;
    /// * for good: a [`Field`](crate::vm::Field) or [`RefField`](crate::vm::RefField) of it, which
    ///   are copied freely, and a finalizer that is
    ///   [set for all](crate::PreparedFinalizer::set_for_all) of its objects.
    ///
    /// A [`TypeId`] does not, nor do a [`Type`] and a [`Signature`](fing_stubs::Signature), the
    /// first word of an interface that holds no object, values that
    /// [share blocks](crate::HeapOptions::tiny) and values without size.
    ///
    /// Collections of the runtime give such types back: always, when there are twice as many
    /// released types as were left the last time, otherwise every eighth collection; 4,096 of them,
    /// and twice as many as were left, make a collection due by themselves. Types without
    /// a name that mention a given back one, as pointers to it, go with it. Their ids are refused
    /// with [`TypesError::GivenBack`] from then on, the name is free for another type, and what was
    /// made with the old one, such as a function's signature, is refused for the new one with
    /// [`TypesError::OtherRuntime`].
    ///
    /// Defining the type again, in the same way, takes the release back.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// let runtime = fing::Runtime::new()?;
    /// let types = runtime.types();
    /// let ty = types.define("main.Shape7", "struct { X, Y float64 }")?;
    /// let held = types.release(ty)?;
    /// runtime.gc()?;
    /// assert_eq!(types.id("main.Shape7")?, ty);
    /// drop(held);
    /// for _ in 0..8 {
    ///     runtime.gc()?;
    /// }
    /// assert!(types.desc(ty).is_err());
    /// types.define("main.Shape7", "struct { Name string }")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The id is of another runtime, or the type was given back already.
    pub fn release(&self, ty: TypeId) -> Result<Arc<TypeDesc>, TypesError> {
        let id = self.own_id(ty)?;
        let mut books = self.books.lock();
        let desc = books.rows.desc(id)?.clone();
        books.waiting.indices.insert(id.index);
        self.count_released(&books);
        Ok(desc)
    }

    /// Takes the release of a type back.
    pub(super) fn retain(&self, books: &mut Books, index: u32) {
        books.waiting.indices.remove(&index);
        self.count_released(books);
    }

    fn count_released(&self, books: &Books) {
        let count = books.waiting.indices.len();
        self.released.count.store(count, Relaxed);
        books.waiting.tell();
    }

    /// From now on the flag says whether released types make a collection due.
    pub(crate) fn tell_released(&self, flag: Option<ReleasedFlag>) {
        let waiting = &mut self.books.lock().waiting;
        if let Some(before) = std::mem::replace(&mut waiting.flag, flag) {
            before.set(false);
        }
        waiting.tell();
    }

    /// Gives back the types that nothing names, if it is time to look for them. `for_each_used`
    /// passes the types of all objects, and others that are in use, to its argument. Only with the
    /// world stopped, since nothing else keeps the descriptors that mutators use.
    pub(crate) fn give_back(
        &self,
        for_each_used: impl FnOnce(&mut dyn FnMut(&TypeDesc)),
    ) -> Vec<Arc<TypeDesc>> {
        if self.released.count.load(Relaxed) == 0 || !self.books.lock().waiting.is_look_due() {
            return Vec::new();
        }
        // Without the lock, as the heap has locks of lower ranks.
        let mut used = HashSet::new();
        let mut last = None;
        for_each_used(&mut |desc| {
            let index = desc.id().index;
            if last.replace(index) != Some(index) {
                used.insert(index);
            }
        });
        let mut books = self.books.lock();
        let named = books.trace(&used);
        let descs = books.rows.descs.iter().flatten();
        let gone = descs.filter(|desc| books.is_gone(desc, &named));
        let gone: Vec<u32> = gone.map(|desc| desc.id().index).collect();
        let gone: Vec<Arc<TypeDesc>> = gone
            .into_iter()
            .filter_map(|index| self.remove(&mut books, index))
            .collect();
        let Books { itabs, rows, .. } = &mut *books;
        itabs.retain(|(_, ty), _| rows.descs[*ty as usize].is_some());
        books.waiting.left = books.waiting.indices.len();
        self.count_released(&books);
        if gone.iter().any(|desc| own_name(desc.ty()).is_some()) {
            books.scope = identity::random();
            self.released.names_given_back.store(true, Release);
        }
        gone
    }

    /// Removes a type from the books, except for the itabs.
    fn remove(&self, books: &mut Books, index: u32) -> Option<Arc<TypeDesc>> {
        let desc = books.rows.descs.get_mut(index as usize)?.take()?;
        if self.slots.clear(index) {
            books.rows.free.push(index);
        }
        books.waiting.indices.remove(&index);
        match own_name(desc.ty()) {
            Some(name) => {
                books.names.remove(name);
                books.methods.remove(name);
            }
            None => drop(books.ids.remove(desc.ty())),
        }
        Some(desc)
    }
}

/// The name that the type was defined with; `None` for others and for Go's own.
fn own_name(ty: &Type) -> Option<&str> {
    ty.name().filter(|name| Type::predeclared(name).is_none())
}

impl Books {
    /// Which types are named, by index.
    fn trace(&mut self, used: &HashSet<u32>) -> Vec<bool> {
        let mut trace = Trace {
            named: vec![false; self.rows.descs.len()],
            open: Vec::new(),
        };
        for (index, desc) in (0..).zip(&mut self.rows.descs) {
            let Some(desc) = desc else { continue };
            let is_held = Arc::get_mut(desc).is_none();
            let stays = own_name(desc.ty()).is_some() && !self.waiting.indices.contains(&index);
            if used.contains(&index) || is_held || stays || desc.is_kept() {
                trace.name(index);
            }
        }
        loop {
            self.follow(&mut trace);
            // An interface is named by the types that have an itab for it, most often pointers,
            // which stay if what they point to is named.
            for (interface, ty) in self.itabs.keys() {
                let there = self.rows.at(*ty);
                if there.is_some_and(|desc| !self.is_gone(desc, &trace.named)) {
                    trace.name(*interface);
                }
            }
            if trace.open.is_empty() {
                return trace.named;
            }
        }
    }

    /// Names what is mentioned by types that are named.
    fn follow(&self, trace: &mut Trace) {
        while let Some(index) = trace.open.pop() {
            let Some(desc) = self.rows.at(index) else {
                continue;
            };
            self.mentioned(desc.ty(), &mut |index| trace.name(index));
            desc.element()
                .into_iter()
                .for_each(|id| trace.name(id.index));
            let methods = own_name(desc.ty()).and_then(|name| self.methods.get(name));
            for declared in methods.into_iter().flatten() {
                let func = &declared.method.ty;
                let types = func.params.iter().chain(&func.results);
                types.for_each(|ty| self.mentioned(ty, &mut |index| trace.name(index)));
            }
        }
    }

    /// Calls `visit` with the index of each defined type that is mentioned in `ty`.
    fn mentioned(&self, ty: &Type, visit: &mut dyn FnMut(u32)) {
        let visited: Result<(), Infallible> = shape::for_each_name(ty, &mut |named| {
            if let Some((_, Some(index))) = self.names.get(named.name()) {
                visit(index);
            }
            Ok(())
        });
        match visited {
            Ok(()) => {}
        }
    }

    /// Whether nothing names the type: it is released, or mentions one that nothing names.
    fn is_gone(&self, desc: &TypeDesc, named: &[bool]) -> bool {
        if named[desc.id().index as usize] {
            return false;
        }
        let mut gone = self.waiting.indices.contains(&desc.id().index);
        self.mentioned(desc.ty(), &mut |index| gone |= !named[index as usize]);
        gone
    }
}

/// A walk over the types that are named.
struct Trace {
    named: Vec<bool>,
    open: Vec<u32>,
}

impl Trace {
    fn name(&mut self, index: u32) {
        if !std::mem::replace(&mut self.named[index as usize], true) {
            self.open.push(index);
        }
    }
}
