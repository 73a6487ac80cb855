//! `add_cleanup`: any number of calls when an object is gone, with an argument of their own.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::argument::{Captured, capture, number};
use super::calls::Calls;
use super::functions::Known;
use super::lists::Name;
use super::{AddCleanupError, CleanupArgument, Registry, Special, Specials};
use crate::collector::CyclePolicy;
use crate::finalizer::FinalizerFn;
use crate::heap::{Bit, Cycle, Heap, Location, Place};
use crate::mutator::Mutator;
use crate::queue::Filling;
use crate::shapes::{Argument, Manner};

/// A cleanup that was added.
#[derive(Clone, Debug)]
pub struct Cleanup {
    registry: Arc<Registry>,
    object: Place,
    /// Of nothing: the object never dies.
    name: Name,
}

impl Cleanup {
    /// Takes the cleanup back. False if it was queued or stopped before, or could never have run.
    pub fn stop(&self) -> bool {
        self.registry.stop_cleanup(self.object, self.name)
    }
}

impl Registry {
    #[inline]
    pub(crate) fn add_cleanup(
        self: &Arc<Self>,
        mutator: &Mutator,
        pointer: usize,
        function: &FinalizerFn,
        argument: CleanupArgument<'_>,
    ) -> Result<Cleanup, AddCleanupError> {
        let heap = mutator.space().heap();
        // Most are of a function that was there before and takes a number: then nothing is left to check but the pointer.
        if let CleanupArgument::Word(word) = argument
            && let Some(object) = heap.place(pointer)
            && !function.context().is_some_and(|addr| heap.contains(addr))
        {
            let mut specials = self.specials.lock();
            if let Some(known) = specials.functions.find(function.identity())
                && let Some(size) = known.number
            {
                specials.functions.add(known.shape);
                let special = Special::Cleanup {
                    shape: known.shape,
                    references: 0,
                    words: number(word, size),
                };
                let name = specials.add(heap, object, special, false);
                drop(specials);
                return Ok(self.cleanup(object, name));
            }
        }
        self.check_and_add(mutator, pointer, function, argument)
    }

    fn cleanup(self: &Arc<Self>, object: Place, name: Name) -> Cleanup {
        Cleanup {
            registry: self.clone(),
            object,
            name,
        }
    }

    #[inline(never)]
    fn check_and_add(
        self: &Arc<Self>,
        mutator: &Mutator,
        pointer: usize,
        function: &FinalizerFn,
        argument: CleanupArgument<'_>,
    ) -> Result<Cleanup, AddCleanupError> {
        if pointer == 0 {
            return Err(AddCleanupError::Nil);
        }
        let argument = capture(mutator, function, argument)?;
        if argument.pointer() == Some(pointer) {
            return Err(AddCleanupError::ArgumentIsObject { addr: pointer });
        }
        let heap = mutator.space().heap();
        let (base, tiny) = match heap.locate(pointer) {
            Location::Object { start, desc } => (start, heap.is_tiny_block(desc)),
            Location::Nil => return Err(AddCleanupError::Nil),
            Location::NoObject if !self.is_global(pointer) => {
                return Err(AddCleanupError::NotInHeap { addr: pointer });
            }
            Location::NoObject | Location::Zero => {
                return Ok(self.cleanup(Place::default(), Name::NOTHING));
            }
        };
        let within = |addr: usize| heap.find(addr).is_some_and(|(start, _)| start == base);
        // Two values of one tiny block are two objects to whoever made them.
        if let Some(addr) = argument.pointer().filter(|&addr| !tiny && within(addr)) {
            return Err(AddCleanupError::ArgumentWithinObject { addr, base });
        }
        if let Some(context) = function.context().and_then(|context| heap.find(context)) {
            let mut closes_over = context.0 == base;
            heap.for_each_child(context.0, |_, child| closes_over |= child == base);
            if closes_over {
                return Err(AddCleanupError::ClosesOver {
                    context: context.0,
                    base,
                });
            }
        }
        if !function.is_context_of(mutator.space().roots()) {
            return Err(AddCleanupError::ForeignContext);
        }
        if function.is_nil() {
            return Err(AddCleanupError::NilFunction {
                function: function.signature().clone(),
            });
        }
        let object = heap.place(pointer);
        let object = object.ok_or(AddCleanupError::NotInHeap { addr: pointer })?;
        let name = self.add(heap, object, function, argument)?;
        Ok(self.cleanup(object, name))
    }

    /// Adds a cleanup that passed every check.
    fn add(
        &self,
        heap: &Heap,
        object: Place,
        function: &FinalizerFn,
        argument: Captured,
    ) -> Result<Name, AddCleanupError> {
        let references = argument.references();
        let special = |shape| Special::Cleanup {
            shape,
            references,
            words: argument.words,
        };
        let refers = references != 0;
        let identity = function.identity();
        let mut specials = self.specials.lock();
        if let Some(shape) = specials.functions.shape(identity, argument.argument) {
            specials.functions.add(shape);
            return Ok(specials.add(heap, object, special(shape), refers));
        }
        drop(specials);
        let manner = Manner::of(function, CyclePolicy::default());
        let shapes = &self.shapes;
        let shape = shapes.acquire(function, argument.argument, manner, &self.stubs)?;
        let mut specials = self.specials.lock();
        let first = specials.functions.add(shape);
        specials.functions.remember(Known {
            function: identity,
            argument: argument.argument,
            shape,
            number: number_size(argument),
        });
        let name = specials.add(heap, object, special(shape), refers);
        drop(specials);
        if !first {
            // All cleanups of a shape have one use of it in common.
            drop(shapes.withdraw(shape));
        }
        Ok(name)
    }

    #[inline]
    fn stop_cleanup(&self, object: Place, name: Name) -> bool {
        let mut specials = self.specials.lock();
        let Some(Special::Cleanup { shape, .. }) = specials.lists.remove(object, name) else {
            return false;
        };
        specials.cleanups -= 1;
        let last = specials.functions.remove(shape, 1);
        drop(specials);
        if last {
            drop(self.shapes.withdraw(shape));
        }
        true
    }

    /// Queues the cleanups of objects that are not marked; weak pointers to them are nil.
    pub(super) fn bury(&self, specials: &mut Specials, cycle: &Cycle<'_>, due: &mut Filling<'_>) {
        let mut calls = Calls::new(&self.shapes);
        cycle.for_each_dead(Bit::Special, |object| {
            specials.lists.take_all(object, |special| match special {
                Special::Cleanup { shape, words, .. } => {
                    let (record, tag) = calls.cleanup(shape, words);
                    due.push(&record, tag);
                }
                Special::Weak(cell) => cell.clear(),
                // An object with one is marked by now.
                Special::Finalizer { .. } => {}
            });
        });
        self.shapes.queue_all(calls.counts().map(|(shape, count)| {
            specials.cleanups -= count;
            (shape, count, specials.functions.remove(shape, count))
        }));
    }
}

impl Specials {
    #[inline]
    fn add(&mut self, heap: &Heap, object: Place, special: Special, refers: bool) -> Name {
        let name = self.lists.push(object, special, refers);
        heap.set_special(object);
        self.cleanups += 1;
        name
    }
}

/// Bytes of the function's parameter, if that is a number.
fn number_size(argument: Captured) -> Option<u8> {
    let is_number = argument.argument == Argument::Image { references: 0 };
    let size = u8::try_from(argument.size).ok();
    size.filter(|size| (1..=8).contains(size) && is_number)
}
