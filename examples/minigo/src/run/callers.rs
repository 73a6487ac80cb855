//! How fing calls finalizers and cleanups.
//!
//! By default they are Rust closures that are lent the mutator, one for all closures of a type,
//! which are the contexts of registrations.
//! With `--int-regs N` they are functions of Go's ABI with N integer argument registers: fing's
//! call stub passes the arguments by that ABI, an *entry* takes them from there into a block of
//! memory, and generated code calls the closure with what is in the block
//! ([`Extra::Block`](crate::lower)). An entry does not see the register in which Go's callers pass
//! a closure, so each closure has an entry of its own.
#![expect(unsafe_code, reason = "states which functions fing is to call")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fing::stubs::entry::{Call, CallbackOptions, Entries, SharedCallback};
use fing::stubs::signature::Type;
use fing::{Abi, Arch, CleanupFn, FinalizerFn, Mutator, Runtime, Signature};

use super::{Ctx, TypeInfo, Vm, fail, lock, sched};
use crate::types::Ty;

/// A finalizer as it is registered.
#[derive(Clone, Copy)]
pub(super) struct Finalizer<'a> {
    /// The function's type, and that of its parameter.
    pub(super) function: Ty,
    pub(super) param: Ty,
    /// The type of the pointer that it is called with.
    pub(super) pointer: &'a TypeInfo,
    pub(super) closure: usize,
    /// The closure is an object of the heap.
    pub(super) in_heap: bool,
}

/// What functions that need not be made twice differ in: the type of the parameter or the closure,
/// the type word of an interface, whether the context is an object.
type Key = (usize, Option<Ty>, bool);

pub(super) struct Callers {
    abi: Abi,
    /// With Go's ABI.
    go: Option<Go>,
    functions: Mutex<HashMap<Key, FinalizerFn>>,
}

struct Go {
    entries: Entries,
    /// By type of function: the code that calls its closures with a block of arguments.
    blocks: HashMap<Ty, usize>,
}

/// How many calls have come through entries.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Runs a call of fing's with a mutator that the context has meanwhile.
fn run_with(ctx: &mut Ctx, mutator: &mut Mutator, body: impl FnOnce(&mut Ctx)) {
    ctx.mutator = mutator;
    body(ctx);
    fail::check(ctx);
    ctx.mutator = std::ptr::null_mut();
}

/// Runs a call of fing's in the goroutine of this thread.
fn in_goroutine(body: impl FnOnce(&mut Ctx)) {
    sched::with_ctx(|ctx| {
        let vm = ctx.vm;
        let entered = vm.runtime.enter(|mutator| run_with(ctx, mutator, body));
        if let Err(error) = entered {
            fail::fatal(vm, &format!("minigo: {error}"));
        }
    });
}

/// Calls a closure with an object, behind the type word of an interface if there is one.
fn run_finalizer(mutator: &mut Mutator, info: Option<usize>, object: usize, closure: usize) {
    sched::with_ctx(|ctx| {
        run_with(ctx, mutator, |ctx| match info {
            None => ctx.call(closure, object, 0),
            Some(info) => ctx.call(closure, info, object),
        });
    });
}

extern "C" fn run_cleanup(closure: usize) {
    in_goroutine(|ctx| ctx.call(closure, 0, 0));
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Callers {
    pub(super) fn native() -> Result<Callers, String> {
        Ok(Callers {
            abi: Abi::host_native().map_err(text)?,
            go: None,
            functions: Mutex::default(),
        })
    }

    /// Whether one function is that of all closures of a type.
    pub(super) fn are_common(&self) -> bool {
        self.go.is_none()
    }

    /// By Go's ABI with so many integer argument registers.
    pub(super) fn go(int_regs: usize, blocks: HashMap<Ty, usize>) -> Result<Callers, String> {
        let arch = Arch::host().ok_or("--int-regs: this machine has none of Go's ABIs")?;
        let abi = Abi::go(arch).with_int_arg_regs(int_regs);
        let entries = Entries::new(Default::default()).map_err(text)?;
        Ok(Callers {
            abi: abi.map_err(|error| format!("--int-regs {int_regs}: {error}"))?,
            go: Some(Go { entries, blocks }),
            functions: Mutex::default(),
        })
    }

    /// The function of all cleanups: its argument is the closure.
    pub(super) fn cleanup(&self, runtime: &Runtime) -> Result<CleanupFn, String> {
        let signature = runtime.types().parse_signature("func(unsafe.Pointer)");
        let signature = signature.map_err(text)?;
        let builder = CleanupFn::builder(signature.clone(), self.abi);
        let Some(go) = &self.go else {
            // SAFETY: M6: a C function of a closure: the cleanups of this runtime are added with
            // closures only.
            return Ok(unsafe { builder.at(run_cleanup as *const ()) });
        };
        let run = |call: &mut Call<'_>| match call.argument(0) {
            Ok(closure) => run_cleanup(closure),
            Err(error) => call.refuse(error.to_string()),
        };
        let entry = go.entry(&signature, self.abi, run)?;
        let code = entry.address() as *const ();
        // SAFETY: M6: an entry for callers of this signature and ABI, called with closures only,
        // which is there as long as the function.
        Ok(unsafe { builder.keep_alive(entry).at(code) })
    }

    /// The function that fing calls for this finalizer.
    pub(super) fn finalizer(&self, vm: &Vm, of: Finalizer<'_>) -> Result<FinalizerFn, String> {
        let interface = vm.program.types.is_interface(of.param);
        let info = interface.then(|| of.pointer.ty());
        let key = match &self.go {
            None => (of.param.0 as usize, info, of.in_heap),
            Some(_) => (of.closure, info, of.in_heap),
        };
        if let Some(function) = lock(&self.functions).get(&key) {
            return Ok(function.clone());
        }
        let signature = signature(vm, of.function, self.go.is_some())?;
        let word = std::ptr::from_ref(of.pointer).expose_provenance();
        let word = interface.then_some(word);
        let function = match &self.go {
            None => lent(signature, word, of.in_heap),
            Some(go) => go.finalizer(signature, word, self.abi, of)?,
        };
        // With entries, a function is of one closure: that of one in the heap ends with it.
        if self.go.is_none() || !of.in_heap {
            lock(&self.functions).insert(key, function.clone());
        }
        Ok(function)
    }

    /// How many calls have come through entries, if there are any.
    pub(super) fn calls(&self) -> Option<u64> {
        self.go.as_ref().map(|_| CALLS.load(Ordering::Relaxed))
    }
}

/// The type of a function as fing has it, with or without results.
fn signature(vm: &Vm, function: Ty, with_results: bool) -> Result<Signature, String> {
    let text_of = |types: &[Ty]| -> Result<String, String> {
        let mut heap = lock(&vm.heap);
        let texts = types.iter().map(|ty| heap.text(*ty));
        Ok(texts.collect::<Result<Vec<String>, String>>()?.join(", "))
    };
    let sig = vm.program.types.sig(function);
    let sig = sig.ok_or("a finalizer that is no function")?;
    let mut signature = format!("func({})", text_of(&sig.params)?);
    if with_results {
        signature = format!("{signature} ({})", text_of(&sig.results)?);
    }
    vm.runtime.types().parse_signature(&signature).map_err(text)
}

/// A function that is lent the mutator, and calls the closure that is the registration's context.
fn lent(signature: Signature, info: Option<usize>, in_heap: bool) -> FinalizerFn {
    if in_heap {
        let any = Type::unsafe_pointer();
        return FinalizerFn::from_rust_with_object(
            signature,
            any,
            move |mutator, object, closure| {
                run_finalizer(mutator, info, object.addr(), closure.addr());
            },
        );
    }
    FinalizerFn::from_rust_with_word(signature, move |mutator, object, closure| {
        run_finalizer(mutator, info, object.addr(), closure as usize);
    })
}

impl Go {
    /// An address that is a function of this signature and ABI.
    fn entry(
        &self,
        signature: &Signature,
        abi: Abi,
        run: impl Fn(&mut Call<'_>) + Send + Sync + 'static,
    ) -> Result<Arc<SharedCallback>, String> {
        let point = self.entries.point(signature, abi).map_err(text)?;
        let counted = move |call: &mut Call<'_>| {
            CALLS.fetch_add(1, Ordering::Relaxed);
            run(call);
        };
        let entry = SharedCallback::at(&point, CallbackOptions::default(), counted);
        Ok(Arc::new(entry.map_err(text)?))
    }

    fn finalizer(
        &self,
        signature: Signature,
        info: Option<usize>,
        abi: Abi,
        of: Finalizer<'_>,
    ) -> Result<FinalizerFn, String> {
        let block = self.blocks.get(&of.function).copied();
        let block = block.ok_or("no code calls the finalizer by blocks")?;
        // The registration's context keeps the closure until the call has returned.
        let closure = of.closure;
        let entry = self.entry(&signature, abi, move |call| {
            let arguments = call.arguments().as_ptr().expose_provenance();
            let results = call.results().as_mut_ptr().expose_provenance();
            in_goroutine(|ctx| ctx.call_code(block, closure, arguments, results));
        })?;
        let mut builder = FinalizerFn::builder(signature, abi);
        if let Some(info) = info {
            builder = builder.interface_word(info);
        }
        let builder = match of.in_heap {
            true => builder.context_object(Type::unsafe_pointer()),
            false => builder.context_word(),
        };
        let code = entry.address() as *const ();
        // SAFETY: M6: an entry for callers of this signature and ABI, of a closure whose parameter
        // the type of the object was checked for, which is there as long as the function.
        Ok(unsafe { builder.keep_alive(entry).at(code) })
    }
}
