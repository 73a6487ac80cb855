//! Panics, `recover`, and errors that end the program.
#![forbid(unsafe_code)]

use super::object::bytes;
use super::{Ctx, TypeInfo, VM};
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
pub(super) fn fatal(text: &str) -> ! {
    eprintln!("{text}");
    match VM.get() {
        Some(vm) => vm.exit(2),
        None => std::process::exit(2),
    }
}

/// What ends the program if it is an error.
pub(super) trait OrFatal<T> {
    fn or_fatal(self, what: &str) -> T;
}

impl<T, E: std::fmt::Display> OrFatal<T> for Result<T, E> {
    fn or_fatal(self, what: &str) -> T {
        self.unwrap_or_else(|error| fatal(&format!("{what}: {error}")))
    }
}

pub(super) fn stack_overflow() {
    fatal(
        "runtime: goroutine stack exceeds 1000000000-byte limit\n\
         fatal error: stack overflow",
    )
}

/// Begins a panic of the runtime's, in words of its own.
pub(super) fn panic(ctx: &mut Ctx, text: &str) {
    begin(ctx, &format!("runtime error: {text}"));
}

/// Begins a panic whose value is a fault with this text.
pub(super) fn begin(ctx: &mut Ctx, text: &str) {
    let at = ctx.new_bytes(text.as_bytes());
    ctx.call_library("runtime.fault", [at, text.len(), 0, 0]);
}

fn raise(ctx: &mut Ctx, value: [usize; 2]) {
    ctx.pending = value;
    ctx.panicking = 1;
}

/// `panic`.
pub(super) fn value(ctx: &mut Ctx, info: usize, word: usize) {
    match info {
        0 => panic(ctx, "panic called with nil argument"),
        _ => raise(ctx, [info, word]),
    }
}

/// `x.(T)` does not hold.
pub(super) fn assertion(ctx: &mut Ctx, info: u64, wanted: Ty, from: Ty) {
    let types = ctx.types();
    let to_interface = types.is_interface(wanted);
    let from = types.show(from);
    let show = types.show(wanted);
    let found = TypeInfo::of(info).map(|found| found.ty);
    let missing = found.and_then(|found| types.missing_method(found, wanted));
    let text = match (found.map(|found| types.show(found)), missing) {
        (None, _) if to_interface => format!("interface is nil, not {show}"),
        (None, _) => format!("{from} is nil, not {show}"),
        (Some(found), Some(reason)) if to_interface => {
            // Whatever is wrong with it.
            let mut words = reason.split("method ").last().unwrap_or("").split(' ');
            format!(
                "{found} is not {show}: missing method {}",
                words.next().unwrap_or("")
            )
        }
        (Some(found), _) => format!("{from} is {found}, not {show}"),
    };
    begin(ctx, &format!("interface conversion: {text}"));
}

/// `recover`, called by a function that `caller` has called: the panic whose deferred calls that
/// frame runs.
pub(super) fn recover(ctx: &mut Ctx, caller: usize) {
    let bound = caller == ctx.bound_frame;
    let caller = if bound { ctx.bound_caller } else { caller };
    let last = ctx.panics.last_mut();
    let found = last.filter(|panic| panic.frame == caller && !panic.recovered);
    let value = found.map_or([0, 0], |panic| {
        panic.recovered = true;
        panic.value
    });
    ctx.leave(value);
}

/// The deferred calls of a frame begin; a panic that goes up waits for them.
pub(super) fn defer_begin(ctx: &mut Ctx, frame: usize) {
    if std::mem::take(&mut ctx.panicking) != 0 {
        ctx.panics.push(Panic {
            value: ctx.pending,
            frame,
            recovered: false,
        });
    }
}

/// A deferred call has returned; a panic of its own takes the place of the one before.
pub(super) fn defer_after(ctx: &mut Ctx, frame: usize) {
    if ctx.panicking != 0 {
        ctx.panics.pop_if(|panic| panic.frame == frame);
    }
    defer_begin(ctx, frame);
}

/// All deferred calls of a frame have returned: a panic that nothing has recovered goes on up.
pub(super) fn defer_end(ctx: &mut Ctx, frame: usize) {
    let ended = ctx.panics.pop_if(|panic| panic.frame == frame);
    if let Some(panic) = ended.filter(|panic| !panic.recovered) {
        raise(ctx, panic.value);
    }
}

/// Ends the program if a panic has left the goroutine's first function.
pub(super) fn check(ctx: &mut Ctx) {
    if std::mem::take(&mut ctx.panicking) == 0 {
        return;
    }
    let [info, word] = ctx.pending;
    ctx.call_library("runtime.panicText", [info, word, 0, 0]);
    let text = String::from_utf8_lossy(bytes(ctx.results[0], ctx.results[1]));
    let signal = match text.contains("nil pointer") {
        true => "\n[signal SIGSEGV: segmentation violation]",
        false => "",
    };
    let number = ctx.number;
    fatal(&format!(
        "panic: {text}{signal}\n\ngoroutine {number} [running]:"
    ))
}
