//! `set_finalizer`: Go's checks, in Go's order.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use fing_stubs::{Kind, Type};

use super::{Registry, SetFinalizerError, Special, prepared_id, shape_of};
use crate::collector::CyclePolicy;
use crate::finalizer::FinalizerFn;
use crate::heap::Location;
use crate::mutator::{Mutator, Obj};
use crate::shapes::{Argument, Manner};
use crate::types::TypeId;

/// A value of any type, as an interface holds it: what `set_finalizer` is given. An [`Obj`] is one, with the type of
/// pointers to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'m>(Held<'m>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held<'m> {
    Nil,
    Object(Obj<'m>),
    Word(TypeId, usize),
}

impl<'m> Value<'m> {
    /// The nil interface: no type, no value.
    pub const NIL: Value<'static> = Value(Held::Nil);

    /// A value of this type whose one word is `word`.
    pub fn new(ty: TypeId, word: usize) -> Value<'m> {
        Value(Held::Word(ty, word))
    }
}

impl<'m> From<Obj<'m>> for Value<'m> {
    fn from(object: Obj<'m>) -> Value<'m> {
        Value(Held::Object(object))
    }
}

/// What a call of `set_finalizer` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalizerState {
    /// The finalizer is set.
    Set,
    /// There is none now; there was one if this is true.
    Cleared(bool),
    /// Nothing, and nothing will run: the object has no size, or is a global, so it never dies.
    Ignored,
}

/// An argument 0 that passed the checks.
struct Target {
    addr: usize,
    /// Where its object begins.
    base: usize,
    /// Its own type, a pointer.
    ty: TypeId,
}

impl Registry {
    pub(crate) fn set_finalizer(
        &self,
        mutator: &Mutator,
        object: Value<'_>,
        finalizer: Option<&FinalizerFn>,
        cycle: CyclePolicy,
    ) -> Result<FinalizerState, SetFinalizerError> {
        let Some(target) = self.target(mutator, object)? else {
            return Ok(FinalizerState::Ignored);
        };
        let Some(function) = finalizer else {
            return Ok(FinalizerState::Cleared(self.clear(mutator, &target)));
        };
        let argument = self.argument(mutator, &target, function)?;
        let manner = Manner::of(function, cycle);
        let shape = self
            .shapes
            .acquire(function, argument, manner, &self.stubs)?;
        let set = if target.addr == target.base {
            mutator
                .space()
                .heap()
                .prepare(target.base, prepared_id(shape))
                .is_ok()
        } else {
            self.set_interior(mutator, &target, shape)
        };
        if set {
            self.finalizers.fetch_add(1, Ordering::Relaxed);
            return Ok(FinalizerState::Set);
        }
        drop(self.shapes.withdraw(shape));
        Err(SetFinalizerError::AlreadySet {
            object: self.print(mutator, &target),
            addr: target.addr,
        })
    }

    /// Checks argument 0. `None`: an object without size, or a global.
    fn target(
        &self,
        mutator: &Mutator,
        object: Value<'_>,
    ) -> Result<Option<Target>, SetFinalizerError> {
        let types = mutator.types();
        let (ty, addr) = match object.0 {
            Held::Nil => return Err(SetFinalizerError::Nil),
            Held::Word(ty, word) => (ty, word),
            Held::Object(object) => {
                let not_here = |_| SetFinalizerError::NotInHeap {
                    object: Type::unsafe_pointer(),
                    addr: object.addr(),
                };
                let desc = mutator.type_of(object).map_err(not_here)?;
                (
                    types
                        .pointer_to(desc.id())
                        .map_err(SetFinalizerError::ObjectType)?,
                    object.addr(),
                )
            }
        };
        let desc = types.desc(ty).map_err(SetFinalizerError::ObjectType)?;
        let Kind::Pointer(element) = desc.kind() else {
            return Err(SetFinalizerError::NotPointer {
                found: desc.ty().clone(),
            });
        };
        let base = match mutator.space().heap().locate(addr) {
            Location::Zero => return Ok(None),
            Location::Object { start, .. } => start,
            Location::NoObject if self.is_global(addr) => return Ok(None),
            Location::Nil | Location::NoObject => {
                return Err(SetFinalizerError::NotInHeap {
                    object: desc.ty().clone(),
                    addr,
                });
            }
        };
        // Small values without pointers may share a block in Go, so a pointer to one need not be a block's start.
        let may_be_inside =
            !element.has_pointers() && element.layout().is_some_and(|layout| layout.size < 16);
        if addr != base && !may_be_inside {
            return Err(SetFinalizerError::Interior {
                object: desc.ty().clone(),
                addr,
                base,
            });
        }
        Ok(Some(Target { addr, base, ty }))
    }

    /// Checks argument 1, and works out what its parameter is given.
    fn argument(
        &self,
        mutator: &Mutator,
        target: &Target,
        function: &FinalizerFn,
    ) -> Result<Argument, SetFinalizerError> {
        let signature = function.signature();
        let object = || self.print(mutator, target);
        if signature.is_variadic() {
            return Err(SetFinalizerError::Variadic {
                object: object(),
                function: signature.clone(),
            });
        }
        let mut parameters = signature.arguments();
        let (Some(parameter), None) = (parameters.next(), parameters.next()) else {
            let found = signature.arguments().count();
            return Err(SetFinalizerError::ParameterCount {
                object: object(),
                function: signature.clone(),
                found,
            });
        };
        let types = mutator.types();
        let passing = types
            .intern(parameter)
            .and_then(|parameter| types.assignable(target.ty, parameter));
        let passing = passing.map_err(|reason| SetFinalizerError::NotAssignable {
            object: object(),
            function: signature.clone(),
            reason: Box::new(reason),
        })?;
        if !function.is_context_of(mutator.space().roots()) {
            return Err(SetFinalizerError::ForeignContext);
        }
        if function.is_nil() {
            return Err(SetFinalizerError::NilFunction {
                function: signature.clone(),
            });
        }
        Ok(match passing.first_word() {
            None => Argument::Pointer,
            Some(own) => Argument::Interface(function.interface_word().unwrap_or(own)),
        })
    }

    fn clear(&self, mutator: &Mutator, target: &Target) -> bool {
        let shape = if target.addr == target.base {
            mutator.space().heap().unprepare(target.base).map(shape_of)
        } else {
            self.clear_interior(target)
        };
        let Some(shape) = shape else { return false };
        if self.order.is_topological() {
            self.specials.lock().forget_cycle(target.base);
        }
        self.finalizers.fetch_sub(1, Ordering::Relaxed);
        drop(self.shapes.withdraw(shape));
        true
    }

    /// False if there is one.
    fn set_interior(&self, mutator: &Mutator, target: &Target, shape: u32) -> bool {
        let mut specials = self.specials.lock();
        let of = specials.objects.entry(target.base).or_default();
        if of
            .iter()
            .any(|special| special.is_finalizer_of(target.addr))
        {
            return false;
        }
        of.push(Special::Finalizer {
            addr: target.addr,
            shape,
        });
        mutator.space().heap().set_special(target.base, true)
    }

    fn clear_interior(&self, target: &Target) -> Option<u32> {
        let mut specials = self.specials.lock();
        let of = specials.objects.get_mut(&target.base)?;
        let at = of
            .iter()
            .position(|special| special.is_finalizer_of(target.addr))?;
        match of.remove(at) {
            Special::Finalizer { shape, .. } => Some(shape),
            Special::Cleanup { .. } | Special::Weak(_) => None,
        }
    }

    fn print(&self, mutator: &Mutator, target: &Target) -> Type {
        mutator
            .types()
            .desc(target.ty)
            .map_or_else(|_| Type::unsafe_pointer(), |desc| desc.ty().clone())
    }
}

impl Special {
    fn is_finalizer_of(&self, pointer: usize) -> bool {
        matches!(self, Special::Finalizer { addr, .. } if *addr == pointer)
    }
}
