//! Go's finalizers, cleanups and weak pointers on fing's.
#![expect(unsafe_code, reason = "states which functions fing is to call")]

use std::collections::HashMap;
use std::sync::Mutex;

use fing::{
    Abi, Cleanup, CleanupArgument, CleanupFn, FinalizerFn, FinalizerOptions, HeldValue, Pointer,
    Runtime, Weak,
};

use super::object::write;
use super::{Ctx, TypeInfo, fail, lock, sched};
use crate::types::{Kind, Ty};

/// What is registered with a finalizer whose parameter is an interface: the closure, and the type
/// of the pointer that it is called with.
const HELD: &str = "struct { closure unsafe.Pointer; info uintptr }";

/// Finalizers and cleanups of a program.
pub(super) struct Finalization {
    cleanup: CleanupFn,
    /// By parameter, and whether the closure is an object.
    functions: Mutex<HashMap<(Ty, bool), FinalizerFn>>,
    /// By number, from 1.
    cleanups: Mutex<Vec<Cleanup>>,
    weak: Mutex<WeakPointers>,
}

/// Weak pointers by number, from 1. A weak pointer in an object of the heap is its number, as
/// fing's own has a destructor; so the table only grows.
#[derive(Default)]
struct WeakPointers {
    all: Vec<Weak>,
    numbers: HashMap<Weak, u64>,
}

/// Runs a call of fing's in the goroutine of this thread.
fn in_goroutine(body: impl FnOnce(&mut Ctx)) {
    sched::with_ctx(|ctx| {
        let vm = ctx.vm;
        let entered = vm.runtime.enter(|mutator| {
            ctx.mutator = mutator;
            body(ctx);
            fail::check(ctx);
            ctx.mutator = std::ptr::null_mut();
        });
        if let Err(error) = entered {
            fail::fatal(vm, &format!("minigo: {error}"));
        }
    });
}

extern "C" fn run_pointer(object: usize, closure: usize) {
    in_goroutine(|ctx| ctx.call(closure, object, 0));
}

extern "C" fn run_interface(_type: usize, object: usize, held: usize) {
    in_goroutine(|ctx| {
        let (closure, info) = (super::object::read(held), super::object::read(held + 8));
        ctx.call(closure as usize, info as usize, object);
    });
}

extern "C" fn run_cleanup(closure: usize) {
    in_goroutine(|ctx| ctx.call(closure, 0, 0));
}

impl Finalization {
    pub(super) fn new(runtime: &Runtime) -> Result<Finalization, String> {
        let signature = runtime.types().parse_signature("func(unsafe.Pointer)");
        let signature = signature.map_err(|error| error.to_string())?;
        let abi = Abi::host_native().map_err(|error| error.to_string())?;
        // SAFETY: M6: `run_cleanup` is a C function of a word, which is a closure: the cleanups of
        // this runtime are added with closures only.
        let cleanup = unsafe { CleanupFn::builder(signature, abi).at(run_cleanup as *const ()) };
        Ok(Finalization {
            cleanup,
            functions: Mutex::default(),
            cleanups: Mutex::default(),
            weak: Mutex::default(),
        })
    }

    /// fing's function for Go functions of this parameter.
    fn function(&self, ctx: &Ctx, param: Ty, in_heap: bool) -> Result<FinalizerFn, String> {
        let mut functions = lock(&self.functions);
        if let Some(function) = functions.get(&(param, in_heap)) {
            return Ok(function.clone());
        }
        let vm = ctx.vm;
        let interface = vm.program.types.is_interface(param);
        let text = lock(&vm.heap).text(param)?;
        let signature = vm.runtime.types().parse_signature(&format!("func({text})"));
        let signature = signature.map_err(|error| error.to_string())?;
        let abi = Abi::host_native().map_err(|error| error.to_string())?;
        let builder = FinalizerFn::builder(signature, abi);
        let any_object = vm.runtime.types().parse("unsafe.Pointer");
        let any_object = any_object.map_err(|error| error.to_string())?;
        let builder = match in_heap {
            true => builder.context_object(any_object),
            false => builder.context_word(),
        };
        let code = if interface {
            run_interface as *const ()
        } else {
            run_pointer as *const ()
        };
        // SAFETY: M6: a C function of a pointer or an interface, and of a closure as its context:
        // it is registered with such contexts only.
        let function = unsafe { builder.at(code) };
        functions.insert((param, in_heap), function.clone());
        Ok(function)
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
    let vm = ctx.vm;
    let types = &vm.program.types;
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
    let interface = types.is_interface(*param);
    if interface && types.missing_method(info.ty(), *param).is_some() {
        throw(ctx, &cannot);
    }
    let mut closure = finalizer as usize;
    if interface {
        let held = ctx.object_of(HELD);
        write(held, finalizer);
        write(
            held + 8,
            std::ptr::from_ref(info).expose_provenance() as u64,
        );
        closure = held;
    }
    let mutator = ctx.mutator() as *mut fing::Mutator;
    // SAFETY: M3: the context's mutator, which nothing else uses while this function runs.
    let mutator = unsafe { &*mutator };
    let in_heap = mutator.adopt(closure);
    let function = match vm.finalize.function(ctx, *param, in_heap.is_ok()) {
        Ok(function) => function,
        Err(error) => throw(ctx, &error),
    };
    let held = match in_heap {
        Ok(object) => HeldValue::Object(object),
        Err(_) => HeldValue::Word(closure as u64),
    };
    let options = FinalizerOptions::new().context(held);
    if let Err(error) = mutator.set_finalizer_with(value, &function, options) {
        refused(ctx, &error);
    }
    0
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

pub(super) extern "C" fn weak_make(ctx: &mut Ctx, pointer: u64) -> u64 {
    if pointer == 0 {
        return 0;
    }
    match ctx.mutator().downgrade(pointer as usize) {
        Ok(weak) => {
            let mut table = lock(&ctx.vm.finalize.weak);
            let next = table.all.len() as u64 + 1;
            let number = *table.numbers.entry(weak.clone()).or_insert(next);
            if number == next {
                table.all.push(weak);
            }
            number
        }
        Err(error) => {
            let text = error.go_text().unwrap_or_else(|| error.to_string());
            fail::fatal(ctx.vm, &format!("fatal error: {text}"))
        }
    }
}

pub(super) extern "C" fn weak_value(ctx: &mut Ctx, number: u64) -> u64 {
    let vm = ctx.vm;
    let Some(at) = (number as usize).checked_sub(1) else {
        return 0;
    };
    let weak = lock(&vm.finalize.weak).all[at].clone();
    match ctx.mutator().upgrade_addr(&weak) {
        Ok(address) => address.unwrap_or(0) as u64,
        Err(error) => fail::fatal(vm, &format!("minigo: {error}")),
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
