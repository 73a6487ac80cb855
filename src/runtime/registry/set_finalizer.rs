//! `set_finalizer` and `clear_finalizer`: Go's checks, in Go's order.
#![forbid(unsafe_code)]

use std::sync::Arc;

use fing_stubs::{Kind, Type};

use super::lists::Name;
use super::pointer::{Held, lies_in};
use super::{Pointer, Registry, SetFinalizerError, Special, Specials, is_traced, shape_id};
use crate::calls::function::{ContextKind, Entry, Function};
use crate::calls::options::{FinalizerOptions, Handling, HeldValue};
use crate::calls::queue::{CallId, CallStage};
use crate::calls::shape::Argument;
use crate::heap::{Heap, Location, Place, SetId, TypedId};
use crate::runtime::collect::Space;
use crate::runtime::known::{ContextCheck, Known};
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;
use crate::types::{TypeDesc, TypeId, Types};

/// What [`set_finalizer`](crate::Mutator::set_finalizer) or
/// [`clear_finalizer`](crate::Mutator::clear_finalizer) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinalizerState {
    /// The finalizer is set.
    Set,
    /// The object has no finalizer now, and none is queued. Says how far the finalizer had come:
    /// it was registered; its call was queued, and is cancelled; it was running, or done. If there
    /// was none, that is [`CallStage::Done`].
    Cleared(CallStage),
    /// Nothing was changed, and nothing will run: the object never dies, as it has no size or is a
    /// global.
    Ignored,
}

/// Argument 0, after it has passed the checks.
pub(super) struct Target<'h> {
    pub(super) addr: usize,
    /// Where its object begins.
    pub(super) base: usize,
    /// The pointer's type.
    ty: TypeId,
    /// The object's type.
    object: &'h TypeDesc,
}

/// A registration that has passed the checks.
pub(super) struct Checked<'h> {
    pub(super) target: Target<'h>,
    pub(super) shape: u32,
    context: ContextCheck,
    /// The context, if the registration has one.
    pub(super) word: Option<u64>,
    /// Whether the context is an object.
    pub(super) traced: bool,
}

impl Registry {
    #[inline]
    pub(crate) fn set_finalizer(
        &self,
        mutator: &Mutator,
        pointer: Pointer<'_>,
        function: &Function,
        options: FinalizerOptions<Obj<'_>>,
    ) -> Result<FinalizerState, SetFinalizerError> {
        let heap = mutator.space().heap();
        if let Held::Object(object) = pointer.0
            && options.external_bytes == 0
            && let Some(known) = mutator.known().find(function.identity(), options.handling)
            && let Ok(word) = known.context.word(heap, options.context)
            && self.gate.is_open()
            && self.is_unpressed()
            && heap.set_id(object.addr(), &known.id, word) == SetId::Set
        {
            return Ok(FinalizerState::Set);
        }
        self.check_and_set(mutator, pointer, function, options)
    }

    #[inline(never)]
    fn check_and_set(
        &self,
        mutator: &Mutator,
        pointer: Pointer<'_>,
        function: &Function,
        options: FinalizerOptions<Obj<'_>>,
    ) -> Result<FinalizerState, SetFinalizerError> {
        let Some(checked) = self.checked(mutator, pointer, function, &options)? else {
            return Ok(FinalizerState::Ignored);
        };
        let (space, handling) = (mutator.space(), options.handling);
        let target = &checked.target;
        let id = TypedId::new(target.object, shape_id(checked.shape), checked.traced);
        let set = if target.addr == target.base {
            space.heap().set_id(target.base, &id, checked.word) == SetId::Set
        } else {
            self.set_interior(mutator, &checked)
        };
        if !set {
            return Err(SetFinalizerError::AlreadySet {
                object: print(mutator.types(), target.ty),
                addr: target.addr,
            });
        }
        if let Held::Object(_) = pointer.0 {
            mutator.known().note(Known {
                function: function.identity(),
                handling,
                id,
                context: checked.context,
            });
        }
        if options.external_bytes > 0 {
            self.set_external_bytes(space, target.base, options.external_bytes);
        }
        Ok(FinalizerState::Set)
    }

    /// Makes all checks of a registration. Returns `None` for what never dies.
    pub(super) fn checked<'m>(
        &self,
        mutator: &'m Mutator,
        pointer: Pointer<'_>,
        function: &Function,
        options: &FinalizerOptions<Obj<'_>>,
    ) -> Result<Option<Checked<'m>>, SetFinalizerError> {
        mutator.start_goroutine()?;
        self.admit(mutator)?;
        let Some(target) = self.target(mutator, pointer)? else {
            return Ok(None);
        };
        let space = mutator.space();
        let handling = Handling {
            inside: target.addr != target.base,
            ..options.handling
        };
        let shape = self.shape_for(space, target.ty, function, handling)?;
        let (context, _) = self.context_check(space, function)?;
        let word = self.check_context(space, function, context, options.context)?;
        Ok(Some(Checked {
            target,
            shape,
            context,
            word,
            traced: is_traced(function),
        }))
    }

    #[inline]
    pub(crate) fn clear_finalizer(
        &self,
        mutator: &Mutator,
        pointer: Pointer<'_>,
    ) -> Result<FinalizerState, SetFinalizerError> {
        if let Held::Object(object) = pointer.0
            && mutator.space().heap().take_id(object.addr()).is_some()
        {
            self.forget_cycle(object.addr());
            return Ok(FinalizerState::Cleared(CallStage::Registered));
        }
        let Some(target) = self.target(mutator, pointer)? else {
            return Ok(FinalizerState::Ignored);
        };
        let cleared = if target.addr == target.base {
            mutator.space().heap().take_id(target.base).is_some()
        } else {
            self.clear_interior(mutator, &target)
        };
        if cleared {
            self.forget_cycle(target.base);
            return Ok(FinalizerState::Cleared(CallStage::Registered));
        }
        Ok(FinalizerState::Cleared(
            self.cancel_finalizer(target.addr, |_| true),
        ))
    }

    /// Cancels the call of the finalizer of a pointer, which is not registered.
    pub(super) fn cancel_finalizer(&self, addr: usize, allowed: impl Fn(u32) -> bool) -> CallStage {
        self.queue.cancel(CallId::Finalizer(addr as u64), allowed)
    }

    /// Called when the object's finalizer was cleared: a cycle that the object is on may be
    /// reported again for its next finalizer.
    pub(super) fn forget_cycle(&self, start: usize) {
        if self.order.is_topological() {
            self.specials.lock().forget_cycle(start);
        }
    }

    /// Returns the shape of a function for pointers of this type, after checking that the function
    /// takes them.
    pub(super) fn shape_for(
        &self,
        space: &Space,
        pointer: TypeId,
        function: &Function,
        handling: Handling,
    ) -> Result<u32, SetFinalizerError> {
        if let Some(shape) = self.shapes.noted(function, handling, pointer) {
            return Ok(shape);
        }
        let argument = argument(space.types(), pointer, function)?;
        let shape = self
            .shapes
            .index_of(function, argument, handling, &self.stubs)?;
        self.shapes.note(function, handling, pointer, shape);
        Ok(shape)
    }

    /// Returns what the contexts of the function's registrations must be.
    pub(super) fn context_check(
        &self,
        space: &Space,
        function: &Function,
    ) -> Result<(ContextCheck, Option<Arc<TypeDesc>>), SetFinalizerError> {
        let ContextKind::Object(pointer) = function.context() else {
            let check = match function.context() {
                ContextKind::Word => ContextCheck::Word,
                _ => ContextCheck::None,
            };
            return Ok((check, None));
        };
        let types = space.types();
        let wrong = |reason| SetFinalizerError::ContextType {
            function: function.signature().clone(),
            found: pointer.clone(),
            reason,
        };
        types
            .check_own(pointer)
            .map_err(|error| wrong(Some(Box::new(error))))?;
        match pointer.underlying() {
            Kind::UnsafePointer => Ok((ContextCheck::Object, None)),
            Kind::Pointer(of) => {
                let desc = types.intern(of).and_then(|of| types.desc(of));
                let desc = desc.map_err(|error| wrong(Some(Box::new(error))))?;
                let check = ContextCheck::ObjectOf(desc.address() as u64);
                Ok((check, Some(desc)))
            }
            _ => Err(wrong(None)),
        }
    }

    /// Checks the context of a registration, and returns its word.
    pub(super) fn check_context(
        &self,
        space: &Space,
        function: &Function,
        wanted: ContextCheck,
        found: Option<HeldValue<Obj<'_>>>,
    ) -> Result<Option<u64>, SetFinalizerError> {
        let checked = wanted.word(space.heap(), found);
        checked.map_err(|()| {
            let Some(found) = found else {
                return SetFinalizerError::no_context(function);
            };
            let found = match found {
                HeldValue::Word(word) => format!("the word {word:#x}"),
                HeldValue::Object(object) => match space.heap().type_at(object.addr()) {
                    Ok(desc) => format!("a {} at {:#x}", desc.ty(), object.addr()),
                    Err(_) => format!("an object of another runtime, at {:#x}", object.addr()),
                },
            };
            SetFinalizerError::Context {
                function: function.signature().clone(),
                found: found.into(),
                wanted: wanted_context(function).into(),
            }
        })
    }

    /// Checks argument 0. Returns `None` for an object without size or a global, which never die.
    fn target<'m>(
        &self,
        mutator: &'m Mutator,
        pointer: Pointer<'_>,
    ) -> Result<Option<Target<'m>>, SetFinalizerError> {
        let (types, heap) = (mutator.types(), mutator.space().heap());
        let (ty, addr) = match pointer.0 {
            Held::Nil => return Err(SetFinalizerError::Nil),
            Held::Word(ty, word) => (ty, word),
            Held::Object(object) => {
                let not_here = |_| SetFinalizerError::NotInHeap {
                    object: Type::unsafe_pointer(),
                    addr: object.addr(),
                };
                let desc = heap.type_at(object.addr()).map_err(not_here)?;
                let pointer = types.pointer_to(desc.id());
                let pointer = pointer.map_err(SetFinalizerError::ObjectType)?;
                (pointer, object.addr())
            }
        };
        let desc = types.desc(ty).map_err(SetFinalizerError::ObjectType)?;
        let Kind::Pointer(element) = desc.kind() else {
            return Err(SetFinalizerError::NotPointer {
                found: desc.ty().clone(),
            });
        };
        let (base, object, size) = match heap.locate(addr) {
            Location::Zero => return Ok(None),
            Location::Object { start, desc, size } if !desc.is_sealed() => (start, desc, size),
            Location::NoObject if self.is_global(addr) => return Ok(None),
            Location::Nil | Location::NoObject | Location::Object { .. } => {
                return Err(SetFinalizerError::NotInHeap {
                    object: desc.ty().clone(),
                    addr,
                });
            }
        };
        let element = types.intern(element).and_then(|id| types.desc(id));
        let element = element.map_err(SetFinalizerError::ObjectType)?;
        if addr != base && !may_be_inside(&element) {
            return Err(SetFinalizerError::Interior {
                object: desc.ty().clone(),
                addr,
                base,
            });
        }
        if !lies_in((heap, types), (object, size), addr - base, &element) {
            return Err(SetFinalizerError::Mismatch {
                object: desc.ty().clone(),
                addr,
                base,
                found: object.ty().clone(),
            });
        }
        Ok(Some(Target {
            addr,
            base,
            ty,
            object,
        }))
    }

    /// False if there is one.
    fn set_interior(&self, mutator: &Mutator, checked: &Checked<'_>) -> bool {
        let heap = mutator.space().heap();
        let Some(object) = heap.place(checked.target.base) else {
            return false;
        };
        let mut specials = self.specials.lock();
        let is_it = |special: &Special| special.is_finalizer_of(checked.target.addr);
        if specials.lists.of(object).any(is_it) {
            return false;
        }
        let special = checked.special(false);
        specials.add_finalizer(heap, object, special, checked.traced);
        true
    }

    fn clear_interior(&self, mutator: &Mutator, target: &Target<'_>) -> bool {
        let Some(object) = mutator.space().heap().place(target.base) else {
            return false;
        };
        let mut specials = self.specials.lock();
        let mut cleared = false;
        let is_it = |special: &Special| special.is_finalizer_of(target.addr);
        specials.lists.take_if(object, is_it, |_, _| cleared = true);
        specials.listed -= u64::from(cleared);
        cleared
    }
}

/// What a function takes as the context of a registration, in words.
fn wanted_context(function: &Function) -> String {
    match function.context() {
        ContextKind::None => "none".to_owned(),
        ContextKind::Fixed(_) => "none, as all registrations have one in common".to_owned(),
        ContextKind::Mutator => "none, as it takes the mutator".to_owned(),
        ContextKind::Word => "a word".to_owned(),
        ContextKind::Object(pointer) => format!("an object that a {pointer} points to"),
    }
}

impl SetFinalizerError {
    /// The error for a function that takes a context per registration and was given none.
    pub(super) fn no_context(function: &Function) -> SetFinalizerError {
        SetFinalizerError::Context {
            function: function.signature().clone(),
            found: "none".into(),
            wanted: wanted_context(function).into(),
        }
    }
}

/// Checks argument 1, and returns how it is passed an argument 0 of type `pointer`.
pub(super) fn argument(
    types: &Types,
    pointer: TypeId,
    function: &Function,
) -> Result<Argument, SetFinalizerError> {
    let signature = function.signature();
    let object = || print(types, pointer);
    if !function.has_readable_status() {
        return Err(SetFinalizerError::Status {
            object: object(),
            function: signature.clone(),
        });
    }
    if signature.is_variadic() {
        return Err(SetFinalizerError::Variadic {
            object: object(),
            function: signature.clone(),
        });
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
    if function.takes_any() {
        return match function.is_nil() {
            false => Ok(Argument::Pointer),
            true => Err(SetFinalizerError::NilFunction {
                function: signature.clone(),
            }),
        };
    }
    let passing = types
        .check_own(parameter)
        .and_then(|()| types.intern(parameter))
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

/// Small values without pointers may share a block in Go, so a pointer to one need not be a block's
/// start.
fn may_be_inside(element: &TypeDesc) -> bool {
    !element.has_pointers() && element.size() < 16
}

/// As [`argument`], for a function that takes many objects at once.
fn bulk_argument(
    types: &Types,
    pointer: TypeId,
    function: &Function,
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
        .check_own(element)
        .and_then(|()| types.intern(element))
        .and_then(|element| types.assignable(pointer, element))
        .is_ok_and(|passing| passing.first_word().is_none());
    let is_fixed = matches!(function.entry(), Entry::Fixed { .. });
    if function.is_nil() {
        return Err(SetFinalizerError::NilFunction {
            function: function.signature().clone(),
        });
    }
    if counts && takes && is_fixed && !function.context().is_per_registration() {
        Ok(Argument::Bulk)
    } else {
        Err(wanted())
    }
}

fn print(types: &Types, ty: TypeId) -> Type {
    let desc = types.desc(ty);
    desc.map_or_else(|_| Type::unsafe_pointer(), |desc| desc.ty().clone())
}

impl Checked<'_> {
    /// The registration as one that is kept in the object's list.
    pub(super) fn special(&self, watches: bool) -> Special {
        Special::Finalizer {
            addr: self.target.addr,
            shape: self.shape,
            context: self.word.unwrap_or_default(),
            watches,
        }
    }
}

impl Specials {
    /// Adds a finalizer to the list of its object. `traced`: whether its context is an object.
    pub(super) fn add_finalizer(
        &mut self,
        heap: &Heap,
        object: Place,
        special: Special,
        traced: bool,
    ) -> Name {
        self.number(heap);
        let name = self.lists.push(object, special, traced);
        self.listed += 1;
        heap.set_special(object);
        name
    }
}

impl Special {
    pub(super) fn is_finalizer(&self) -> bool {
        matches!(self, Special::Finalizer { .. })
    }

    /// Whether it is the finalizer of this pointer, and no watcher.
    pub(super) fn is_finalizer_of(&self, pointer: usize) -> bool {
        match self {
            Special::Finalizer { addr, watches, .. } => *addr == pointer && !watches,
            _ => false,
        }
    }
}
