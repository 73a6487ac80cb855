//! Panics, `recover`, and errors that end the program.
#![forbid(unsafe_code)]

use minigo_front::types::Ty;

use super::object::{bytes, read};
use super::{Ctx, TypeInfo, VM};

/// The values of panics, each of a deferred call of the one before, and whether they are recovered.
pub(super) type Chain = Vec<([usize; 2], bool)>;

/// A panic whose deferred calls run.
#[derive(Debug)]
pub(crate) struct Panic {
    /// It is the last one.
    pub(super) chain: Chain,
    /// The frame of the function whose deferred calls run.
    frame: usize,
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
    end(b"runtime: goroutine stack exceeds 1000000000-byte limit\nfatal error: stack overflow");
}

/// [`fatal`] as a function of the host.
pub(super) fn end(text: &[u8]) {
    fatal(&String::from_utf8_lossy(text))
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

fn raise(ctx: &mut Ctx, chain: Chain) {
    ctx.pending = chain;
    ctx.panicking = 1;
}

/// `panic`.
pub(super) fn value(ctx: &mut Ctx, info: usize, word: usize) {
    raise(ctx, vec![([info, word], false)]);
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
            let mut words = reason.split(' ').skip_while(|word| *word != "method");
            let name = words.nth(1).unwrap_or_default();
            format!("{found} is not {show}: missing method {name}")
        }
        (Some(found), _) => {
            let same = if found == show {
                " (types from different scopes)"
            } else {
                ""
            };
            format!("{from} is {found}, not {show}{same}")
        }
    };
    begin(ctx, &format!("interface conversion: {text}"));
}

/// `recover`, called in this frame: the panic whose deferred calls the frame runs that has called
/// it, apart from those that only pass the call on.
pub(super) fn recover(ctx: &mut Ctx, frame: usize) {
    let called_by = |frame: usize| (read(frame) as usize, read(frame + 8) as usize);
    let (mut caller, mut at) = called_by(frame);
    let passing = &ctx.vm.passing;
    while passing[..passing.partition_point(|code| code.start <= at)]
        .last()
        .is_some_and(|code| code.contains(&at))
    {
        (caller, at) = called_by(caller);
    }
    let last = ctx.panics.last_mut().filter(|panic| panic.frame == caller);
    let last = last.and_then(|panic| panic.chain.last_mut());
    let value = match last {
        Some((value, recovered @ false)) => {
            *recovered = true;
            *value
        }
        _ => [0, 0],
    };
    ctx.leave(value);
}

/// The deferred calls of a frame begin; a panic that goes up waits for them.
pub(super) fn defer_begin(ctx: &mut Ctx, frame: usize) {
    if std::mem::take(&mut ctx.panicking) != 0 {
        let chain = std::mem::take(&mut ctx.pending);
        ctx.panics.push(Panic { chain, frame });
    }
}

/// A deferred call has returned: a panic that it has recovered is over, and one of its own takes
/// the place of the one before.
pub(super) fn defer_after(ctx: &mut Ctx, frame: usize) {
    let raised = ctx.panicking != 0;
    let over = |panic: &mut Panic| {
        panic.frame == frame && (raised || panic.chain.last().is_some_and(|last| last.1))
    };
    let before = ctx.panics.pop_if(over);
    if let Some(mut panic) = before.filter(|_| raised) {
        panic.chain.append(&mut ctx.pending);
        ctx.pending = panic.chain;
    }
    defer_begin(ctx, frame);
}

/// All deferred calls of a frame have returned: a panic that nothing has recovered goes on up.
pub(super) fn defer_end(ctx: &mut Ctx, frame: usize) {
    if let Some(panic) = ctx.panics.pop_if(|panic| panic.frame == frame) {
        raise(ctx, panic.chain);
    }
}

/// The text of the value of a panic.
fn shown(ctx: &mut Ctx, [info, word]: [usize; 2]) -> String {
    ctx.call_library("runtime.panicText", [info, word, 0, 0]);
    String::from_utf8_lossy(bytes(ctx.results[0], ctx.results[1])).into_owned()
}

/// Ends the program if a panic has left the goroutine's first function.
pub(super) fn check(ctx: &mut Ctx) {
    defer_begin(ctx, 0);
    let Some(Panic { chain, .. }) = ctx.panics.last() else {
        return;
    };
    let (chain, mut text) = (chain.clone(), String::new());
    for (index, (value, recovered)) in chain.iter().enumerate() {
        let same = |other: usize| chain.get(other).is_some_and(|it| it.0 == *value);
        if !same(index.wrapping_sub(1)) {
            let mark = [["", ""], [" [recovered]", " [recovered, repanicked]"]];
            let mark = mark[usize::from(*recovered)][usize::from(same(index + 1))];
            let value = shown(ctx, *value);
            text += &format!("{}panic: {value}{mark}\n", &"\t"[..index.min(1)]);
        }
    }
    if text.contains("nil pointer") {
        text += "[signal SIGSEGV: segmentation violation]\n";
    }
    fatal(&format!("{text}\ngoroutine {} [running]:", ctx.number))
}
