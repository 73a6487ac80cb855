//! Panics, `recover`, and errors that end the program.
//!
//! A panic is an object of the prelude's type `panicking`, whose deferred calls run in the order in
//! which the frames of functions that defer are left.
#![forbid(unsafe_code)]

use std::io::Write;
use std::mem::take;

use fing::Handle;

use super::object::{read, write};
use super::{Ctx, VM};

/// Where the object of a panic has the one that it has begun during, and that it is recovered.
const BEFORE: usize = 16;
const RECOVERED: usize = 24;

/// A panic whose deferred calls run.
pub(super) struct Panic {
    object: Handle,
    /// The frame of the function whose deferred calls run.
    frame: usize,
}

/// Ends the program as Go's runtime does.
pub(super) fn fatal(text: impl AsRef<[u8]>) -> ! {
    let line = [text.as_ref(), b"\n"].concat();
    drop(std::io::stderr().write_all(&line));
    VM.get()
        .map_or_else(|| std::process::exit(2), |vm| vm.exit(2))
}

/// What ends the program if it is an error.
pub(super) trait OrFatal<T> {
    fn or_fatal(self, what: &str) -> T;
}

impl<T, E: std::fmt::Display> OrFatal<T> for Result<T, E> {
    fn or_fatal(self, what: &str) -> T {
        self.unwrap_or_else(|error| fatal(format!("{what}: {error}")))
    }
}

/// [`fatal`] as a function of the host.
pub(super) fn end(text: &[u8]) {
    fatal(text)
}

/// Begins a panic of the runtime's, in words of its own.
pub(super) fn panic(ctx: &mut Ctx, text: &str) {
    begin(ctx, format!("runtime error: {text}"));
}

/// Begins a panic whose value is a fault with this text.
pub(super) fn begin(ctx: &mut Ctx, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    let at = ctx.new_bytes(text);
    ctx.call_library("runtime.fault", [at, text.len(), 0, 0]);
}

/// `recover`, called in this frame: the panic whose deferred calls the frame runs that has called
/// it, apart from those that only pass the call on.
pub(super) fn recover(ctx: &mut Ctx, frame: usize) {
    let called_by = |frame: usize| (read(frame) as usize, read(frame + 8) as usize);
    let (mut caller, mut at) = called_by(frame);
    let passing = |at| ctx.vm.code.passing.range(..=at).next_back();
    while passing(at).is_some_and(|(_, end)| at < *end) {
        (caller, at) = called_by(caller);
    }
    let last = ctx.panics.last().filter(|panic| panic.frame == caller);
    let object = last.map_or(0, |panic| panic.object.addr());
    if object == 0 || read(object + RECOVERED) != 0 {
        return ctx.leave([0, 0]);
    }
    write(object + RECOVERED, 1);
    ctx.leave([0, 8].map(|offset| read(object + offset) as usize));
}

/// The deferred calls of a frame begin; a panic that goes up waits for them.
pub(super) fn defer_begin(ctx: &mut Ctx, frame: usize) {
    let object = take(&mut ctx.panicking);
    if object != 0 {
        let object = ctx.root(object);
        ctx.panics.push(Panic { object, frame });
    }
}

/// A deferred call has returned: a panic that it has recovered is over, and one of its own takes
/// the place of the one before.
pub(super) fn defer_after(ctx: &mut Ctx, frame: usize) {
    let raised = ctx.panicking;
    let is_over = |object| raised != 0 || read(object + RECOVERED) != 0;
    let over = |panic: &mut Panic| panic.frame == frame && is_over(panic.object.addr());
    let before = ctx.panics.pop_if(over);
    if let Some(panic) = before.filter(|_| raised != 0) {
        let mut first = raised;
        while read(first + BEFORE) != 0 {
            first = read(first + BEFORE) as usize;
        }
        write(first + BEFORE, panic.object.addr() as u64);
    }
    defer_begin(ctx, frame);
}

/// All deferred calls of a frame have returned: a panic that nothing has recovered goes on up.
pub(super) fn defer_end(ctx: &mut Ctx, frame: usize) {
    if let Some(panic) = ctx.panics.pop_if(|panic| panic.frame == frame) {
        ctx.panicking = panic.object.addr();
    }
}

/// Ends the program if a panic has left the goroutine's first function.
pub(super) fn check(ctx: &mut Ctx) {
    let panic = take(&mut ctx.panicking);
    if panic != 0 {
        ctx.call_library("runtime.die", [panic, ctx.number, 0, 0]);
        fatal("panic while printing panic value");
    }
}
