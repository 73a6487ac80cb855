//! Go's finalizers, cleanups and weak pointers on fing's.
#![forbid(unsafe_code)]

use std::sync::Mutex;

use fing::{
    Cleanup, CleanupArgument, CleanupFn, FinalizerFn, FinalizerOptions, HeldValue, Mutator,
    Pointer, PreparedFinalizer, Runtime,
};

use super::callers::{Callers, Finalizer};
use super::{Ctx, TypeInfo, fail, lock, sched};
use crate::types::{Kind, Ty};

/// Finalizers and cleanups of a program.
pub(super) struct Finalization {
    callers: Callers,
    cleanup: CleanupFn,
    /// By number, from 1.
    cleanups: Mutex<Vec<Cleanup>>,
}

impl Finalization {
    pub(super) fn new(runtime: &Runtime, callers: Callers) -> Result<Finalization, String> {
        Ok(Finalization {
            cleanup: callers.cleanup(runtime)?,
            callers,
            cleanups: Mutex::default(),
        })
    }

    /// How many calls were made by Go's ABI, with `--int-regs`.
    pub(super) fn calls_by_go(&self) -> Option<u64> {
        self.callers.calls()
    }
}

fn throw(ctx: &Ctx, text: &str) -> ! {
    fail::fatal(
        ctx.vm,
        &format!("fatal error: runtime.SetFinalizer: {text}"),
    )
}

pub(super) extern "C" fn set_finalizer(
    ctx: &mut Ctx,
    info: u64,
    word: u64,
    finalizer_info: u64,
    finalizer: u64,
) -> u64 {
    if ctx.set_known_finalizer((info, finalizer_info), word, finalizer) {
        return 0;
    }
    let vm = ctx.vm;
    let types = &vm.program.types;
    let words = (info, finalizer_info);
    let Some(info) = TypeInfo::of(info) else {
        throw(ctx, "first argument is nil");
    };
    let Some(elem) = types.pointee(info.ty()) else {
        throw(
            ctx,
            &format!("first argument is {}, not pointer", types.show(info.ty())),
        );
    };
    sched::start_finalizers(vm);
    let pointer = {
        let mut heap = lock(&vm.heap);
        heap.id(info.ty())
            .and_then(|pointer| heap.id(elem).map(|_| pointer))
    };
    let Ok(pointer) = pointer else {
        throw(ctx, "the pointer's type is too large for minigo");
    };
    let value = Pointer::typed(pointer, word as usize);
    let Some(function_info) = TypeInfo::of(finalizer_info) else {
        if let Err(error) = ctx.mutator().clear_finalizer(value) {
            refused(ctx, &error);
        }
        return 0;
    };
    let Kind::Func(sig) = types.kind(function_info.ty()) else {
        let ty = types.show(function_info.ty());
        throw(ctx, &format!("second argument is {ty}, not a function"));
    };
    let cannot = format!(
        "cannot pass {} to finalizer {}",
        types.show(info.ty()),
        types.show(function_info.ty())
    );
    let [param] = &*sig.params else {
        throw(ctx, &cannot);
    };
    if sig.variadic {
        throw(ctx, &format!("{cannot} because dotdotdot"));
    }
    if types.is_interface(*param) && types.missing_method(info.ty(), *param).is_some() {
        throw(ctx, &cannot);
    }
    let mutator = ctx.mutator();
    let in_heap = mutator.adopt(finalizer as usize);
    let function = vm.finalize.callers.finalizer(
        vm,
        Finalizer {
            function: function_info.ty(),
            param: *param,
            pointer: info,
            closure: finalizer as usize,
            in_heap: in_heap.is_ok(),
        },
    );
    let held = match in_heap {
        Ok(object) => HeldValue::Object(object),
        Err(_) => HeldValue::Word(finalizer),
    };
    let options = FinalizerOptions::new().context(held);
    let set = match &function {
        Ok(function) => mutator.set_finalizer_with(value, function, options),
        Err(error) => fail::fatal(vm, &format!("minigo: {error}")),
    };
    let is_object = in_heap.is_ok();
    match (set, &function) {
        (Err(error), _) => refused(ctx, &error),
        (Ok(_), Ok(function)) if vm.finalize.callers.are_common() => {
            ctx.note_finalizer(words, elem, is_object, function);
        }
        (Ok(_), _) => {}
    }
    0
}

/// The finalizer that a goroutine has set last, to be set for other objects of its type.
pub(super) struct Known {
    /// The type words of the pointer and of the function.
    infos: (u64, u64),
    /// Whether closures of it are objects of the heap.
    in_heap: bool,
    prepared: PreparedFinalizer,
}

impl Known {
    /// Sets it for the object at `word`. Returns false, without effect, if that is not as usual.
    fn set(&self, mutator: &Mutator, word: u64, closure: u64) -> bool {
        let Ok(object) = mutator.adopt(word as usize) else {
            return false;
        };
        let context = match (self.in_heap, mutator.adopt(closure as usize)) {
            (true, Ok(closure)) => HeldValue::Object(closure),
            (false, Err(_)) => HeldValue::Word(closure),
            _ => return false,
        };
        self.prepared.set_with(object, context).is_ok()
    }
}

impl Ctx {
    /// Sets a finalizer whose types are those of the last one. Returns false, without effect, if it
    /// is another one, or anything is out of the ordinary.
    fn set_known_finalizer(&mut self, infos: (u64, u64), word: u64, closure: u64) -> bool {
        // Out of the way while the mutator is borrowed.
        let Some(known) = self.finalizer.take_if(|known| known.infos == infos) else {
            return false;
        };
        let set = known.set(self.mutator(), word, closure);
        self.finalizer = Some(known);
        set
    }

    fn note_finalizer(
        &mut self,
        infos: (u64, u64),
        elem: Ty,
        in_heap: bool,
        function: &FinalizerFn,
    ) {
        let vm = self.vm;
        let Ok(id) = lock(&vm.heap).id(elem) else {
            return;
        };
        let prepared = vm.runtime.prepare_finalizer(id, function);
        self.finalizer = prepared.ok().map(|prepared| Known {
            infos,
            in_heap,
            prepared,
        });
    }
}

/// Ends the program with Go's words for what fing has refused. A pointer to a variable of the
/// package is no error in Go, and has no effect.
fn refused(ctx: &Ctx, error: &fing::error::SetFinalizerError) {
    use fing::error::SetFinalizerError::NotInHeap;
    if matches!(error, NotInHeap { addr, .. } if *addr != 0) {
        return;
    }
    let text = error.go_text().unwrap_or_else(|| error.to_string());
    let text = text.trim_start_matches("runtime.SetFinalizer: ");
    throw(ctx, text)
}

pub(super) extern "C" fn add_cleanup(
    ctx: &mut Ctx,
    pointer: u64,
    closure: u64,
    argument: u64,
) -> u64 {
    let vm = ctx.vm;
    if pointer == 0 {
        return fail::begin(ctx, b"runtime.AddCleanup: ptr is nil");
    }
    if argument == pointer {
        let text = b"runtime.AddCleanup: ptr is equal to arg, cleanup will never run";
        return fail::begin(ctx, text);
    }
    sched::start_finalizers(vm);
    let mutator = ctx.mutator();
    let held = match mutator.adopt(closure as usize) {
        Ok(object) => CleanupArgument::Object(object),
        Err(_) => CleanupArgument::Word(closure),
    };
    let added = mutator.add_cleanup(pointer as usize, &vm.finalize.cleanup, held);
    match added {
        Ok(cleanup) => {
            let mut cleanups = lock(&vm.finalize.cleanups);
            cleanups.push(cleanup);
            cleanups.len() as u64
        }
        Err(error) => {
            let text = error.go_text().unwrap_or_else(|| error.to_string());
            fail::fatal(vm, &format!("fatal error: {text}"))
        }
    }
}

pub(super) extern "C" fn stop_cleanup(ctx: &mut Ctx, number: u64) -> u64 {
    let cleanups = lock(&ctx.vm.finalize.cleanups);
    if let Some(cleanup) = (number as usize)
        .checked_sub(1)
        .and_then(|at| cleanups.get(at))
    {
        cleanup.stop();
    }
    0
}

/// The weak cell of a pointer, which is what a weak pointer is.
pub(super) extern "C" fn weak_make(ctx: &mut Ctx, pointer: u64) -> u64 {
    if pointer == 0 {
        return 0;
    }
    let vm = ctx.vm;
    match ctx.mutator().weak_cell(pointer as usize) {
        Ok(cell) => cell.addr() as u64,
        Err(error) => {
            let text = error.go_text().unwrap_or_else(|| error.to_string());
            fail::fatal(vm, &format!("fatal error: {text}"))
        }
    }
}

/// `runtime.GC`: collects, and lets others run, among them the finalizers.
pub(super) extern "C" fn collect(ctx: &mut Ctx) -> u64 {
    if let Err(error) = ctx.mutator().gc() {
        fail::fatal(ctx.vm, &format!("minigo: {error}"));
    }
    sched::gosched(ctx)
}

/// `runtime.KeepAlive`: that its argument is used here is all.
pub(super) extern "C" fn keep_alive(_: &mut Ctx, _info: u64, _word: u64) -> u64 {
    0
}
