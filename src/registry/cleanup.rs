//! `add_cleanup`: any number of calls when an object is gone, with an argument of their own.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::argument::capture;
use super::{AddCleanupError, CleanupArgument, Registry, Special};
use crate::collector::CyclePolicy;
use crate::finalizer::FinalizerFn;
use crate::heap::Location;
use crate::mutator::Mutator;
use crate::shapes::Manner;

/// A cleanup that was added.
#[derive(Clone, Debug)]
pub struct Cleanup {
    registry: Arc<Registry>,
    object: usize,
    /// 0: of an object that never dies.
    id: u64,
}

impl Cleanup {
    /// Takes the cleanup back. False if it was queued or stopped before, or could never have run.
    pub fn stop(&self) -> bool {
        self.registry.stop_cleanup(self.object, self.id)
    }
}

impl Registry {
    pub(crate) fn add_cleanup(
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
                return Ok(Cleanup {
                    registry: self.clone(),
                    object: 0,
                    id: 0,
                });
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
        let shape = self.shapes.acquire(
            function,
            argument.argument,
            Manner::of(function, CyclePolicy::default()),
            &self.stubs,
        )?;
        let mut specials = self.specials.lock();
        specials.last_cleanup += 1;
        let id = specials.last_cleanup;
        specials
            .objects
            .entry(base)
            .or_default()
            .push(Special::Cleanup {
                id,
                shape,
                argument,
            });
        heap.set_special(base, true);
        self.cleanups.fetch_add(1, Ordering::Relaxed);
        Ok(Cleanup {
            registry: self.clone(),
            object: base,
            id,
        })
    }

    fn stop_cleanup(&self, object: usize, id: u64) -> bool {
        let mut specials = self.specials.lock();
        let Some(of) = specials.objects.get_mut(&object) else {
            return false;
        };
        let at = of.iter().position(
            |special| matches!(special, Special::Cleanup { id: found, .. } if *found == id),
        );
        let Some(at) = at else { return false };
        let stopped = of.remove(at);
        drop(specials);
        if let Special::Cleanup { shape, .. } = stopped {
            self.cleanups.fetch_sub(1, Ordering::Relaxed);
            drop(self.shapes.withdraw(shape));
        }
        true
    }
}
