//! Panics, `recover`, and errors that end the program.
#![forbid(unsafe_code)]

use super::{Ctx, TypeInfo, Vm, format};
use crate::types::Ty;

/// A panic whose deferred calls run.
#[derive(Debug)]
pub(crate) struct Panic {
    pub(super) value: [usize; 2],
    /// The frame of the function whose deferred calls run.
    frame: usize,
    recovered: bool,
}

/// Ends the program as Go's runtime does.
pub(super) fn fatal(vm: &Vm, text: &str) -> ! {
    eprintln!("{text}");
    vm.exit(2)
}

/// Begins a panic of the runtime's.
pub(super) fn panic(ctx: &mut Ctx, text: &str) -> u64 {
    let text = format!("runtime error: {text}");
    begin(ctx, text.as_bytes())
}

/// Begins a panic whose value is an error with this text.
pub(super) fn begin(ctx: &mut Ctx, text: &[u8]) -> u64 {
    let at = ctx.new_bytes(text);
    let value = ctx.object_of("string");
    super::object::write(value, at as u64);
    super::object::write(value + 8, text.len() as u64);
    let info = TypeInfo::address(ctx.vm.fault);
    raise(ctx, [info, value])
}

fn raise(ctx: &mut Ctx, value: [usize; 2]) -> u64 {
    ctx.pending = value;
    ctx.panicking = 1;
    0
}

pub(super) extern "C" fn value(ctx: &mut Ctx, info: u64, word: u64) -> u64 {
    if info == 0 {
        return begin(
            ctx,
            b"panic called with nil argument (use GODEBUG=panicnil=1 to disable)",
        );
    }
    raise(ctx, [info as usize, word as usize])
}

pub(super) extern "C" fn nil(ctx: &mut Ctx) -> u64 {
    panic(ctx, "invalid memory address or nil pointer dereference")
}

pub(super) extern "C" fn index(ctx: &mut Ctx, index: u64, length: u64) -> u64 {
    let index = index as i64;
    if index < 0 {
        return panic(ctx, &format!("index out of range [{index}]"));
    }
    panic(
        ctx,
        &format!("index out of range [{index}] with length {length}"),
    )
}

/// `kind`: which bound is out of range.
pub(super) extern "C" fn slice(ctx: &mut Ctx, found: u64, limit: u64, kind: u64) -> u64 {
    let (found, limit) = (found as i64, limit as i64);
    let negative = found < 0;
    let text = match kind {
        1 if negative => format!("slice bounds out of range [{found}:]"),
        1 => format!("slice bounds out of range [{found}:{limit}]"),
        2 if negative => format!("slice bounds out of range [::{found}]"),
        2 => format!("slice bounds out of range [::{found}] with capacity {limit}"),
        _ if negative => format!("slice bounds out of range [:{found}]"),
        3 => format!("slice bounds out of range [:{found}] with length {limit}"),
        4 => format!("slice bounds out of range [:{found}:{limit}]"),
        _ => format!("slice bounds out of range [:{found}] with capacity {limit}"),
    };
    panic(ctx, &text)
}

pub(super) extern "C" fn divide(ctx: &mut Ctx) -> u64 {
    panic(ctx, "integer divide by zero")
}

pub(super) extern "C" fn shift(ctx: &mut Ctx) -> u64 {
    panic(ctx, "negative shift amount")
}

pub(super) extern "C" fn make(ctx: &mut Ctx) -> u64 {
    panic(ctx, "makeslice: len out of range")
}

/// `x.(T)` does not hold.
pub(super) extern "C" fn assertion(ctx: &mut Ctx, info: u64, wanted: u64, from: u64) -> u64 {
    let types = &ctx.vm.program.types;
    let (wanted, from) = (Ty(wanted as u32), Ty(from as u32));
    let show = types.show(wanted);
    let from = types.show(from);
    let text = match TypeInfo::of(info) {
        None if types.is_interface(wanted) => {
            format!("interface conversion: interface is nil, not {show}")
        }
        None => format!("interface conversion: {from} is nil, not {show}"),
        Some(found) => {
            let found_text = types.show(found.ty());
            match types.missing_method(found.ty(), wanted) {
                Some(reason) if types.is_interface(wanted) => {
                    format!("interface conversion: {found_text} is not {show}: {reason}")
                }
                _ => format!("interface conversion: {from} is {found_text}, not {show}"),
            }
        }
    };
    begin(ctx, text.as_bytes())
}

pub(super) extern "C" fn stack_overflow(ctx: &mut Ctx) -> u64 {
    eprintln!("runtime: goroutine stack exceeds minigo's limit");
    fatal(ctx.vm, "fatal error: stack overflow")
}

/// `recover`, called by a function that `caller` has called: the panic whose deferred calls that
/// frame runs.
pub(super) extern "C" fn recover(ctx: &mut Ctx, caller: u64) -> u64 {
    let bound = caller as usize == ctx.bound_frame;
    let caller = if bound {
        ctx.bound_caller
    } else {
        caller as usize
    };
    let last = ctx.panics.last_mut();
    let found = last.filter(|panic| panic.frame == caller && !panic.recovered);
    let value = found.map_or([0, 0], |panic| {
        panic.recovered = true;
        panic.value
    });
    (ctx.results[0], ctx.results[1]) = (value[0] as u64, value[1] as u64);
    0
}

/// The deferred calls of a frame begin; a panic that goes up waits for them.
pub(super) extern "C" fn defer_begin(ctx: &mut Ctx, frame: u64) -> u64 {
    if ctx.panicking != 0 {
        ctx.panicking = 0;
        ctx.panics.push(Panic {
            value: ctx.pending,
            frame: frame as usize,
            recovered: false,
        });
    }
    0
}

/// A deferred call has returned; a panic of its own takes the place of the one before.
pub(super) extern "C" fn defer_after(ctx: &mut Ctx, frame: u64) -> u64 {
    let last = ctx.panics.last();
    if ctx.panicking != 0 && last.is_some_and(|panic| panic.frame == frame as usize) {
        ctx.panics.pop();
    }
    defer_begin(ctx, frame)
}

/// All deferred calls of a frame have returned: a panic that nothing has recovered goes on up.
pub(super) extern "C" fn defer_end(ctx: &mut Ctx, frame: u64) -> u64 {
    if ctx
        .panics
        .last()
        .is_none_or(|panic| panic.frame != frame as usize)
    {
        return 0;
    }
    match ctx.panics.pop() {
        Some(panic) if !panic.recovered => raise(ctx, panic.value),
        _ => 0,
    }
}

/// Ends the program if a panic has left the goroutine's first function.
pub(super) fn check(ctx: &mut Ctx) {
    if ctx.panicking == 0 {
        return;
    }
    ctx.panicking = 0;
    let [info, word] = ctx.pending;
    let mut text = format::panic_text(ctx, info as u64, word as u64);
    let is_nil = text.windows(11).any(|part| part == b"nil pointer");
    if is_nil {
        text.extend(b"\n[signal SIGSEGV: segmentation violation]");
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let number = ctx.number;
    fatal(
        ctx.vm,
        &format!("panic: {text}\n\ngoroutine {number} [running]:"),
    )
}
