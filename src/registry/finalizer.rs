//! `set_finalizer`: Go's checks, in Go's order.
#![forbid(unsafe_code)]

use fing_stubs::{Family, Kind, Type};

use super::{Registry, SetFinalizerError, Special, prepared_id, shape_of};
use crate::collect::Space;
use crate::collector::CyclePolicy;
use crate::finalizer::{Entry, FinalizerFn};
use crate::heap::{Location, TypedId};
use crate::lent::Known;
use crate::mutator::{Mutator, Obj};
use crate::shapes::{Argument, Manner};
use crate::types::{TypeId, Types};

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
        let again = match finalizer {
            Some(function) => {
                set_again(mutator, object, function, cycle).then_some(FinalizerState::Set)
            }
            None => self.clear_again(mutator, object),
        };
        if let Some(done) = again {
            return Ok(done);
        }
        let Some(target) = self.target(mutator, object)? else {
            return Ok(FinalizerState::Ignored);
        };
        let Some(function) = finalizer else {
            return Ok(FinalizerState::Cleared(self.clear(mutator, &target)));
        };
        let manner = Manner::of(function, cycle);
        let shape = match self.shapes.acquire_again(function, manner, target.ty) {
            Some(shape) => shape,
            None => {
                let argument = self.argument(mutator.space(), target.ty, function)?;
                let shape = self
                    .shapes
                    .acquire(function, argument, manner, &self.stubs)?;
                self.shapes.remember(function, manner, target.ty, shape);
                shape
            }
        };
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
            if let Held::Object(object) = object.0 {
                self.lend(mutator, object, function, cycle, shape);
            }
            return Ok(FinalizerState::Set);
        }
        drop(self.shapes.withdraw(shape));
        Err(SetFinalizerError::AlreadySet {
            object: print(mutator.types(), target.ty),
            addr: target.addr,
        })
    }

    /// Takes the finalizer of an object's start away, where there is one. `None`: find out what is to be done, or what is
    /// wrong.
    #[inline]
    fn clear_again(&self, mutator: &Mutator, object: Value<'_>) -> Option<FinalizerState> {
        let Held::Object(object) = object.0 else {
            return None;
        };
        let shape = shape_of(mutator.space().heap().unprepare(object.addr())?);
        self.forget(mutator, object.addr(), shape);
        Some(FinalizerState::Cleared(true))
    }

    /// Has the next registrations of the kind be shorter, after one that was made.
    fn lend(
        &self,
        mutator: &Mutator,
        object: Obj<'_>,
        function: &FinalizerFn,
        cycle: CyclePolicy,
        shape: u32,
    ) {
        let Ok(desc) = mutator.type_of(object) else {
            return;
        };
        let known = Known {
            function: function.identity(),
            cycle,
            shape,
            id: TypedId::new(desc, prepared_id(shape)),
        };
        let lent = mutator.lent();
        let Some(uses) = lent.next(&known) else {
            return;
        };
        self.shapes.lend(shape, uses);
        if let Some((other, left)) = lent.lend(known, uses) {
            drop(self.shapes.withdraw_all(other, left));
        }
        lent.join(|left| self.lending.lock().join(left));
    }

    /// The finalizer of this shape was taken away from the object at `start`.
    #[inline]
    fn forget(&self, mutator: &Mutator, start: usize, shape: u32) {
        if self.order.is_topological() {
            self.specials.lock().forget_cycle(start);
        }
        if !mutator.lent().give(shape) {
            drop(self.shapes.withdraw(shape));
        }
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
        let Kind::Pointer(_) = desc.kind() else {
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
        if addr != base && !may_be_inside(types, ty) {
            return Err(SetFinalizerError::Interior {
                object: desc.ty().clone(),
                addr,
                base,
            });
        }
        Ok(Some(Target { addr, base, ty }))
    }

    /// Checks argument 1, and works out what its parameter is given for an argument 0 of type `pointer`.
    pub(super) fn argument(
        &self,
        space: &Space,
        pointer: TypeId,
        function: &FinalizerFn,
    ) -> Result<Argument, SetFinalizerError> {
        let types = space.types();
        let signature = function.signature();
        let object = || print(types, pointer);
        if signature.is_variadic() {
            return Err(SetFinalizerError::Variadic {
                object: object(),
                function: signature.clone(),
            });
        }
        if !function.is_context_of(space.roots()) {
            return Err(SetFinalizerError::ForeignContext);
        }
        if function.is_bulk() {
            return bulk_argument(types, pointer, function);
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
        let passing = types
            .intern(parameter)
            .and_then(|parameter| types.assignable(pointer, parameter));
        let passing = passing.map_err(|reason| SetFinalizerError::NotAssignable {
            object: object(),
            function: signature.clone(),
            reason: Box::new(reason),
        })?;
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
            self.clear_interior(mutator, target)
        };
        let Some(shape) = shape else { return false };
        self.forget(mutator, target.base, shape);
        true
    }

    /// False if there is one.
    fn set_interior(&self, mutator: &Mutator, target: &Target, shape: u32) -> bool {
        let (heap, addr) = (mutator.space().heap(), target.addr);
        let Some(object) = heap.place(target.base) else {
            return false;
        };
        let mut specials = self.specials.lock();
        let is_it = |special: &Special| special.is_finalizer_of(addr);
        if specials.lists.of(object).any(is_it) {
            return false;
        }
        let special = Special::Finalizer { addr, shape };
        specials.lists.push(object, special, false);
        specials.interior += 1;
        heap.set_special(object);
        true
    }

    fn clear_interior(&self, mutator: &Mutator, target: &Target) -> Option<u32> {
        let object = mutator.space().heap().place(target.base)?;
        let mut specials = self.specials.lock();
        let mut cleared = None;
        let is_it = |special: &Special| special.is_finalizer_of(target.addr);
        specials.lists.take_if(object, is_it, |special| {
            if let Special::Finalizer { shape, .. } = special {
                cleared = Some(shape);
            }
        });
        specials.interior -= u64::from(cleared.is_some());
        cleared
    }
}

/// Small values without pointers may share a block in Go, so a pointer to one need not be a block's start.
fn may_be_inside(types: &Types, pointer: TypeId) -> bool {
    // Not as the pointer's type has it, where a defined type is but a name.
    let element = types.element(pointer).ok().flatten();
    let element = element.and_then(|element| types.desc(element).ok());
    element.is_some_and(|desc| !desc.has_pointers() && desc.size() < 16)
}

/// Sets the same finalizer as before for another object, where that needs no look-up and no lock. `false`: find out what
/// is to be done, or what is wrong.
#[inline(always)]
pub(crate) fn set_again(
    mutator: &Mutator,
    object: Value<'_>,
    function: &FinalizerFn,
    cycle: CyclePolicy,
) -> bool {
    let Held::Object(object) = object.0 else {
        return false;
    };
    let (heap, lent) = (mutator.space().heap(), mutator.lent());
    let Some(known) = lent.find(function.identity(), cycle) else {
        return false;
    };
    let set = heap.attach_exactly_at_once(object.addr(), &known.id);
    if set {
        lent.take(&known);
    }
    set
}

/// As [`Registry::argument`], for a function that takes many objects at once.
fn bulk_argument(
    types: &Types,
    pointer: TypeId,
    function: &FinalizerFn,
) -> Result<Argument, SetFinalizerError> {
    let wanted = || SetFinalizerError::NotBulk {
        object: print(types, pointer),
        function: function.signature().clone(),
    };
    let mut parameters = function.signature().arguments();
    let (Some(array), Some(count), None) =
        (parameters.next(), parameters.next(), parameters.next())
    else {
        return Err(wanted());
    };
    let Kind::Pointer(element) = array.underlying() else {
        return Err(wanted());
    };
    let counts = matches!(
        count.underlying(),
        Kind::Int | Kind::Uint | Kind::Int64 | Kind::Uint64 | Kind::Uintptr
    );
    let takes = types
        .intern(element)
        .and_then(|element| types.assignable(pointer, element))
        .is_ok_and(|passing| passing.first_word().is_none());
    let passes = match function.entry() {
        Entry::Fixed { abi, .. } => abi.family() != Family::Go || abi.int_regs() != 1,
        Entry::Following { .. } => false,
    };
    if function.is_nil() {
        return Err(SetFinalizerError::NilFunction {
            function: function.signature().clone(),
        });
    }
    if counts && takes && passes {
        Ok(Argument::Bulk)
    } else {
        Err(wanted())
    }
}

fn print(types: &Types, ty: TypeId) -> Type {
    let desc = types.desc(ty);
    desc.map_or_else(|_| Type::unsafe_pointer(), |desc| desc.ty().clone())
}

impl Special {
    pub(super) fn is_finalizer(&self) -> bool {
        matches!(self, Special::Finalizer { .. })
    }

    fn is_finalizer_of(&self, pointer: usize) -> bool {
        matches!(self, Special::Finalizer { addr, .. } if *addr == pointer)
    }
}
