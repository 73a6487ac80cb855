//! Veneers that jump: for callbacks whose closures take the caller's arguments where they are.
//!
//! Rust's compiler passes arguments by the platform's C convention as well. So where a typed
//! closure's callers use that, nothing has to be moved: a veneer of its own puts the slot's address
//! and the number of its code into the two integer argument registers behind those in use, and
//! jumps to a Rust function of the closure's parameters and these two. It has no frame, so stack
//! arguments are where they were.
//!
//! It is made for one key and one type of closure, since its function is: the number says that it
//! is still the slot's, as with every code.
//!
//! Calls go through blocks, by the key's veneer and a handler, where that can't be:
//!
//! * callers of another convention, C's variadic ones, and machines but amd64, where none is
//!   written;
//! * fewer than two integer argument registers are left;
//! * types that are not the same for both compilers beyond doubt: scalars of less than 32 bits as
//!   arguments, also as all that a struct has, of which Rust's compiler wants an extension that
//!   x86-64's ABI does not demand of callers; what C has and Go has not; complex numbers.
#![expect(unsafe_code, reason = "functions that generated code jumps to")]

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;

use super::call::Typed;
use super::entries::{Code, Point};
use super::handler::guarded;
use super::slot::Slot;
use super::thread::inside;
use super::typed::Checked;
use crate::function::{Enter, FunctionType};
use crate::inward::veneer;
use crate::signature::{Kind, Type};
use crate::{Abi, Assignment, Place, RegClass, Signature, StubError, assign};

/// Callbacks of one thread.
pub(super) struct OneThread<F>(PhantomData<fn() -> F>);

/// Callbacks of all threads.
pub(super) struct AllThreads<F>(PhantomData<fn() -> F>);

impl<F: 'static, C: 'static> Enter<C> for OneThread<F> {
    #[inline]
    unsafe fn enter<R>(at: *const (), number: u64, call: impl FnOnce(&C) -> R) -> Option<R> {
        // SAFETY: I10: the veneer's promise: the slot whose entry has led to it, which stays.
        let slot = unsafe { &*at.cast::<Slot>() };
        let seen = slot.word();
        // SAFETY: I10: left below.
        let Ok((target, entered)) = (unsafe { slot.enter_alone() }) else {
            slot.refuse(seen, number);
            return None;
        };
        // SAFETY: I10: entered, so the veneer is the callback's, which is of such a closure.
        let result = unsafe {
            guarded(slot, target, |closure: &Checked<F, C>, _: &Typed| {
                call(closure.closure())
            })
        };
        slot.leave_alone(entered);
        result
    }
}

impl<F: 'static, C: 'static> Enter<C> for AllThreads<F> {
    #[inline]
    unsafe fn enter<R>(at: *const (), number: u64, call: impl FnOnce(&C) -> R) -> Option<R> {
        // SAFETY: I10: as above.
        let slot = unsafe { &*at.cast::<Slot>() };
        let seen = slot.word();
        // SAFETY: I10: left below.
        let Ok(target) = (unsafe { slot.enter(seen, number) }) else {
            slot.refuse(seen, number);
            return None;
        };
        let result = inside(slot, || {
            // SAFETY: I10: the number was compared, so the veneer is the callback's.
            unsafe {
                guarded(slot, target, |closure: &Checked<F, C>, _: &Typed| {
                    call(closure.closure())
                })
            }
        });
        slot.leave();
        result
    }
}

/// The code for closures of one type, which is told by `closure`, of callers of `point`: a jump to
/// `function`, or `None` where calls go through blocks.
pub(super) fn code(
    point: &Point,
    closure: TypeId,
    function: *const (),
) -> Result<Option<Arc<Code>>, StubError> {
    let typed = &point.typed;
    match registers(&typed.signature, typed.abi) {
        Some(registers) if !point.entries.is_faulty() => {
            let jump = |number| veneer::jump(typed.abi, registers, number, function.addr() as u64);
            let code = point.entries.jump(&point.key, closure, jump)?;
            Ok(Some(code))
        }
        _ => Ok(None),
    }
}

/// The registers of a slot's address and a number behind the arguments, if a veneer may jump.
fn registers(signature: &Signature, abi: Abi) -> Option<[&'static str; 2]> {
    let is_platforms = Abi::host_native() == Ok(abi) && veneer::has_jumps(abi.arch());
    let is_c_variadic = signature.fixed().is_some();
    let mut results = signature.results().iter();
    if !is_platforms
        || is_c_variadic
        || !signature.arguments().all(|ty| is_same(ty, true))
        || !results.all(|ty| is_same(ty, false))
    {
        return None;
    }
    let more = [Type::unsafe_pointer(), Type::unsafe_pointer()];
    let params = signature.arguments().cloned().chain(more).collect();
    let results = signature.results().to_vec();
    let longer = Signature::new(None, params, results, false).ok()?;
    let Assignment { args, .. } = assign(&longer, abi).ok()?;
    let [.., slot, number] = &*args else {
        return None;
    };
    let register = |place: &Place| match place {
        Place::Regs { pieces, .. } => match &**pieces {
            [piece] if piece.class == RegClass::Int => {
                abi.arg_registers(RegClass::Int).get(piece.index).copied()
            }
            _ => None,
        },
        _ => None,
    };
    Some([register(&slot.place)?, register(&number.place)?])
}

/// Whether both compilers pass values of a type in the same way, and want nothing of each other
/// that the ABI leaves open.
fn is_same(ty: &Type, is_alone: bool) -> bool {
    match ty.underlying() {
        Kind::Struct(fields) => {
            let has_bytes = |ty: &Type| ty.layout().is_none_or(|layout| layout.size > 0);
            let members = fields.iter().filter(|field| has_bytes(&field.ty)).count();
            // To Rust's compiler a struct of one scalar is that scalar, unless it is `repr(C)`.
            let is_alone = is_alone && members == 1;
            fields.iter().all(|field| is_same(&field.ty, is_alone))
        }
        Kind::Array(length, element) => is_same(element, is_alone && *length == 1),
        Kind::Bool | Kind::Int8 | Kind::Int16 | Kind::Uint8 | Kind::Uint16 => !is_alone,
        Kind::Int
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Uintptr
        | Kind::Float32
        | Kind::Float64
        | Kind::Pointer(_)
        | Kind::UnsafePointer => true,
        _ => false,
    }
}

/// What tells types of closures apart, of one thread and of all.
pub(super) fn closure_type<E: Enter<C> + 'static, F: FunctionType, C: 'static>() -> TypeId {
    TypeId::of::<fn(E, F, C)>()
}
