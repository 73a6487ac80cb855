//! Marking, with what finalizers keep.

use std::marker::PhantomData;

use fing::foreign::{CollectionError, Finalizers, Scope, Tracer};
use gc_arena::arena::{MarkedArena, Root};
use gc_arena::collect::Trace;
use gc_arena::{Arena, Collect, Finalization, Gc, GcWeak, Rootable};

use crate::{Object, Objects};

/// Marks what is reachable, decides which finalizers are due, and marks what is kept for them.
/// Returns the arena, whose sweep frees the rest, or `None` if it is being swept. The calls that
/// are due are queued by [`Finalizers::finish`], which is to be called afterwards.
///
/// # Safety
/// The arena is the one whose objects are registered with these finalizers, and `O` traces its
/// objects. It never begins to sweep otherwise: `Arena::collect_debt`, `finish_cycle` and
/// `cycle_debt` are called only while it is being swept.
///
/// # Errors
/// A collection of these finalizers was begun elsewhere. The arena is then marked, and must not be
/// swept.
pub unsafe fn finish_marking<'a, R, O>(
    arena: &'a mut Arena<R>,
    finalizers: &Finalizers<Object>,
) -> Result<Option<MarkedArena<'a, R>>, CollectionError>
where
    R: for<'gc> Rootable<'gc>,
    for<'gc> Root<'gc, R>: Collect<'gc>,
    O: Objects,
{
    if arena.finish_marking().is_none() {
        return Ok(None);
    }
    // SAFETY: the caller's promise. Nothing is mutated until the last step.
    let mut collection = unsafe { finalizers.begin(Scope::Full)? };
    while let Some(marked) = arena.finish_marking() {
        let again = marked.finalize(|context, _| {
            let objects = PhantomData::<O>;
            collection.step(&mut Marking { context, objects })
        });
        if !again {
            break;
        }
    }
    Ok(arena.finish_marking())
}

/// What an arena answers that has marked what is reachable so far.
struct Marking<'gc, O> {
    context: &'gc Finalization<'gc>,
    objects: PhantomData<O>,
}

impl<'gc, O: Objects> Marking<'gc, O> {
    fn pointer(&self, object: Object) -> Gc<'gc, ()> {
        // SAFETY: what is registered, and what it leads to, is freed by a sweep only, which comes
        // behind the last step, and is not registered any more then unless it was marked.
        unsafe { object.pointer(self.context) }
    }
}

// SAFETY: the arena's marks say what was reached. Objects do not move, and what is marked is not
// freed by the sweep that follows.
unsafe impl<O: Objects> Tracer for Marking<'_, O> {
    type Ref = Object;

    fn is_reached(&mut self, object: Object) -> bool {
        !Gc::is_dead(self.context, self.pointer(object))
    }

    fn trace(&mut self, object: Object) -> Object {
        Gc::resurrect(self.context, self.pointer(object));
        object
    }

    fn children(&mut self, object: Object, visit: &mut dyn FnMut(&mut Self, Object)) {
        let pointer = self.pointer(object);
        let mut visitor = Visitor {
            tracer: self,
            visit,
        };
        // SAFETY: it is registered, or was visited.
        unsafe { O::trace(pointer, &mut visitor) };
    }

    fn moves(&self) -> bool {
        false
    }
}

/// Passes on the references of one object.
struct Visitor<'t, 'gc, O> {
    tracer: &'t mut Marking<'gc, O>,
    visit: &'t mut dyn FnMut(&mut Marking<'gc, O>, Object),
}

impl<'gc, O> Trace<'gc> for Visitor<'_, 'gc, O> {
    fn trace_gc(&mut self, child: Gc<'gc, ()>) {
        (self.visit)(self.tracer, Object::of(child));
    }

    fn trace_gc_weak(&mut self, _: GcWeak<'gc, ()>) {}
}
