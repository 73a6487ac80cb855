//! `add_cleanup`: any number of calls when an object is gone, with an argument of their own.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fing_stubs::{Kind, Type};

use super::{AddCleanupError, Registry, Special};
use crate::collector::CyclePolicy;
use crate::finalizer::FinalizerFn;
use crate::heap::Location;
use crate::mutator::{Mutator, Obj};
use crate::shapes::{Argument, Manner};

/// What a cleanup is called with: one word, captured when it is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupArgument<'m> {
    /// A number, or an address outside the heap; for any parameter of one word or less.
    Word(u64),
    /// An object, for a parameter that is a pointer. It is kept alive until the cleanup has run.
    Object(Obj<'m>),
}

impl From<u64> for CleanupArgument<'_> {
    fn from(word: u64) -> Self {
        CleanupArgument::Word(word)
    }
}

impl<'m> From<Obj<'m>> for CleanupArgument<'m> {
    fn from(object: Obj<'m>) -> Self {
        CleanupArgument::Object(object)
    }
}

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
        let (word, reference) = argument_word(function, argument)?;
        let argument = word as usize;
        if reference && argument == pointer {
            return Err(AddCleanupError::ArgumentIsObject { addr: pointer });
        }
        let heap = mutator.space().heap();
        let base = match heap.locate(pointer) {
            Location::Zero => {
                return Ok(Cleanup {
                    registry: self.clone(),
                    object: 0,
                    id: 0,
                });
            }
            Location::Object { start, .. } => start,
            Location::Nil | Location::NoObject => {
                return Err(AddCleanupError::NotInHeap { addr: pointer });
            }
        };
        if reference && heap.find(argument).is_some_and(|(start, _)| start == base) {
            return Err(AddCleanupError::ArgumentWithinObject {
                addr: argument,
                base,
            });
        }
        if function.is_nil() {
            return Err(AddCleanupError::NilFunction {
                function: function.signature().clone(),
            });
        }
        let shape = self.shapes.acquire(
            function,
            Argument::Word { reference },
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
                word,
                reference,
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

/// The argument's word, and whether it is a reference.
fn argument_word(
    function: &FinalizerFn,
    argument: CleanupArgument<'_>,
) -> Result<(u64, bool), AddCleanupError> {
    let signature = function.signature();
    let mut parameters = signature.arguments();
    let (Some(parameter), None, false) = (
        parameters.next(),
        parameters.next(),
        signature.is_variadic(),
    ) else {
        return Err(AddCleanupError::ParameterCount {
            function: signature.clone(),
        });
    };
    let reference = is_reference(parameter);
    let (word, fits, found) = match argument {
        CleanupArgument::Object(object) => (object.addr() as u64, reference, "an object"),
        CleanupArgument::Word(word) => {
            let one_word = parameter
                .layout()
                .is_some_and(|layout| (1..=8).contains(&layout.size));
            (word, one_word, "one word")
        }
    };
    if fits {
        return Ok((word, reference));
    }
    Err(AddCleanupError::NotAssignable {
        found: found.to_owned(),
        wanted: parameter.clone(),
        function: signature.clone(),
    })
}

fn is_reference(ty: &Type) -> bool {
    matches!(
        ty.underlying(),
        Kind::Pointer(_) | Kind::UnsafePointer | Kind::Map(..) | Kind::Chan(..) | Kind::Func(_)
    )
}
