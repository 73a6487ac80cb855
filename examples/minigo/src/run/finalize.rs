//! Go's finalizers, cleanups and weak pointers on fing's.
//!
//! By default fing calls Rust closures that are lent the mutator, one for all closures of a type,
//! which are the contexts of registrations. With `--int-regs N` it calls functions of Go's ABI
//! ([`Go`]), one for each closure.
#![expect(unsafe_code, reason = "states which functions fing is to call")]

use fing::error::{AccessErrorKind, AddCleanupError, SetFinalizerError};
use fing::stubs::signature::Type;
use fing::{
    Abi, CleanupArgument, CleanupFn, FinalizerFn, FinalizerOptions, FinalizerState, HeldValue,
    Mutator, Pointer, PreparedFinalizer, Runtime, Signature,
};
use minigo_front::types::{Sig, Ty};

use super::callers::Go;
use super::fail::{self, OrFatal};
use super::object::write;
use super::{Ctx, TypeInfo, Vm, lock, message, sched};

/// A finalizer as it is registered.
#[derive(Clone, Copy)]
pub(super) struct Finalizer {
    /// The function's type.
    pub(super) function: Ty,
    pub(super) closure: usize,
    /// The type word of the pointer that it is called with, if it takes an interface.
    pub(super) word: Option<usize>,
}

/// Finalizers and cleanups of a program.
pub(super) struct Finalizers {
    /// With `--int-regs`.
    pub(super) go: Option<Go>,
    cleanup: CleanupFn,
}

impl Finalizers {
    pub(super) fn new(runtime: &Runtime, int_regs: Option<usize>) -> Result<Finalizers, String> {
        let go = int_regs.map(Go::new).transpose()?;
        let signature = runtime.types().parse_signature("func(unsafe.Pointer)");
        let signature = signature.map_err(message)?;
        let cleanup = match &go {
            Some(go) => go.cleanup(&signature)?,
            None => {
                let abi = Abi::host_native().map_err(message)?;
                let builder = CleanupFn::builder(signature, abi);
                // SAFETY: M5: a C function of a closure: the cleanups of this runtime are added
                // with closures only.
                unsafe { builder.at(run_cleanup as *const ()) }
            }
        };
        Ok(Finalizers { go, cleanup })
    }
}

/// The function that fing calls for a finalizer of objects of a type, which is not what the
/// function's parameter points to if the pointer was converted.
fn function(vm: &Vm, of: Finalizer, sig: &Sig, object: &Type) -> Result<FinalizerFn, String> {
    let go = vm.finalizers.go.as_ref();
    let types = |types: &[Ty]| -> Result<Vec<Type>, String> {
        let mut heap = lock(&vm.heap);
        let ty = |ty: &Ty| vm.runtime.types().parse(&heap.text(*ty)?).map_err(message);
        types.iter().map(ty).collect()
    };
    let results = if go.is_some() { &*sig.results } else { &[] };
    let params = match of.word {
        Some(_) => types(&sig.params)?,
        None => vec![Type::pointer_to(object.clone()).map_err(message)?],
    };
    let signature = Signature::new(None, params, types(results)?, false).map_err(message)?;
    match go {
        Some(go) => go.finalizer(vm, signature, of),
        None => Ok(lent(signature, of.word)),
    }
}

/// A function that is lent the mutator, and calls the closure that is the registration's context.
fn lent(signature: Signature, word: Option<usize>) -> FinalizerFn {
    let pointer = Type::unsafe_pointer();
    FinalizerFn::from_rust_with_object(signature, pointer, move |mutator, object, closure| {
        sched::with_ctx(|ctx| {
            run_with(ctx, mutator, |ctx| match word {
                None => ctx.call(closure.addr(), object.addr(), 0),
                Some(word) => ctx.call(closure.addr(), word, object.addr()),
            });
        });
    })
}

/// Runs a call of fing's with a mutator that the context has meanwhile.
fn run_with(ctx: &mut Ctx, mutator: &mut Mutator, body: impl FnOnce(&mut Ctx)) {
    ctx.mutator = mutator;
    body(ctx);
    fail::check(ctx);
    ctx.mutator = std::ptr::null_mut();
}

/// Runs a call of fing's in the goroutine of this thread.
pub(super) fn in_goroutine(body: impl FnOnce(&mut Ctx)) {
    sched::with_ctx(|ctx| {
        let vm = ctx.vm;
        let entered = vm.runtime.enter(|mutator| run_with(ctx, mutator, body));
        entered.or_fatal("minigo");
    });
}

pub(super) extern "C" fn run_cleanup(closure: usize) {
    in_goroutine(|ctx| ctx.call(closure, 0, 0));
}

/// Finalizers that a goroutine has set, to be set for other objects of their types: by the type
/// words of the pointer and of the function.
pub(super) type Prepared = Vec<([u64; 2], PreparedFinalizer)>;

/// Sets a finalizer that was set before; false, without effect, if anything is out of the ordinary.
fn set_again(ctx: &Ctx, known: &PreparedFinalizer, object: u64, closure: u64) -> bool {
    if closure == 0 {
        return false;
    }
    let mutator = ctx.mutator_ref();
    // SAFETY: M1: a closure is an object, and the caller's frame has it.
    let closure = HeldValue::Object(unsafe { mutator.adopt_unchecked(closure as usize) });
    known.set_at(mutator, object as usize, closure).is_ok()
}

/// `runtime.SetFinalizer` of two interfaces.
pub(super) fn set_finalizer(ctx: &mut Ctx, object: [u64; 2], finalizer: [u64; 2]) {
    let infos = [object[0], finalizer[0]];
    let known = ctx.prepared.iter().find(|(of, _)| *of == infos);
    let is_known = known.is_some();
    if known.is_some_and(|(_, known)| set_again(ctx, known, object[1], finalizer[1])) {
        return;
    }
    let new = register(ctx, object, finalizer).or_fatal("fatal error: runtime.SetFinalizer");
    ctx.prepared
        .extend(new.filter(|_| !is_known).map(|new| (infos, new)));
}

/// Sets or clears a finalizer with all of Go's checks.
#[cold]
fn register(
    ctx: &mut Ctx,
    object: [u64; 2],
    mut finalizer: [u64; 2],
) -> Result<Option<PreparedFinalizer>, String> {
    let (vm, types) = (ctx.vm, ctx.types());
    if finalizer[1] == 0 {
        // A function that is nil panics when it is called.
        let panics = ctx.object_of("struct { code uintptr }");
        write(panics, vm.code.called["runtime.panicNil"] as u64);
        finalizer[1] = panics as u64;
    }
    let info = TypeInfo::of(object[0]).ok_or("first argument is nil")?;
    let shown = types.show(info.ty);
    let elem = types.pointee(info.ty);
    let elem = elem.ok_or_else(|| format!("first argument is {shown}, not pointer"))?;
    let (address, mutator) = (object[1] as usize, ctx.mutator());
    let made = mutator.adopt(address);
    let made = match made.and_then(|object| mutator.type_of(object)) {
        // The pointer may have been converted.
        Ok(made) => made,
        // That is an error, but for what is outside the heap.
        Err(_) => {
            let mut heap = lock(&vm.heap);
            let text = heap.text(elem);
            let id = text.and_then(|text| heap.id(&text));
            let id = id.map_err(|_| "the pointer's type is too large for minigo")?;
            vm.runtime.types().desc(id).map_err(message)?
        }
    };
    let pointer = vm.runtime.types().pointer_to(made.id());
    let value = Pointer::typed(pointer.map_err(message)?, address);
    let clear = || mutator.clear_finalizer(value).map_err(refused);
    let Some(TypeInfo { ty: called, .. }) = TypeInfo::of(finalizer[0]) else {
        return clear().map(|_| None);
    };
    let param = types.finalizer_param(info.ty, *called);
    // Go looks at the pointer before the function; for what never dies it does nothing.
    if param.is_err() && clear()? == FinalizerState::Ignored {
        return Ok(None);
    }
    let param = param?;
    let of = Finalizer {
        function: *called,
        closure: finalizer[1] as usize,
        word: types.is_interface(param).then_some(object[0] as usize),
    };
    let called = function(vm, of, types.func(*called), made.ty())?;
    let held = HeldValue::Object(mutator.adopt(of.closure).map_err(message)?);
    let options = FinalizerOptions::new().context(held);
    let set = mutator.set_finalizer_with(value, &called, options);
    set.map_err(refused)?;
    let reusable = vm.finalizers.go.is_none();
    let prepare = || vm.runtime.prepare_finalizer(made.id(), &called).ok();
    Ok(reusable.then(prepare).flatten())
}

/// Go's words for what fing has refused.
fn refused(error: SetFinalizerError) -> String {
    let text = error.go_text().unwrap_or_else(|| message(&error));
    text.trim_start_matches("runtime.SetFinalizer: ").to_owned()
}

/// `runtime.AddCleanup`: what is called is the closure, which has the function and the argument. Of
/// these Go looks whether they keep the object; the argument is 0 unless it is a pointer.
pub(super) fn add_cleanup(ctx: &mut Ctx, words: [usize; 4]) {
    let [pointer, closure, function, argument] = words;
    let (vm, mutator) = (ctx.vm, ctx.mutator());
    let base = base_of(mutator, pointer);
    let within = |addr| base.is_some() && base_of(mutator, addr) == base;
    // Go does not know parts of its tiny blocks apart.
    let object = mutator.adopt(base.unwrap_or_default());
    let object = object.and_then(|object| mutator.type_of(object));
    let tiny = object.is_ok_and(|ty| ty.size() <= 16 && !ty.has_pointers());
    let cleanup = mutator.adopt(closure).or_fatal("minigo");
    let added = match base.unwrap_or_default() {
        _ if argument == pointer && pointer != 0 => {
            Err(AddCleanupError::ArgumentIsObject { addr: argument })
        }
        base if !tiny && within(argument) => Err(AddCleanupError::ArgumentWithinObject {
            addr: argument,
            base,
        }),
        base if references(mutator, function).any(within) => Err(AddCleanupError::ClosesOver {
            context: function,
            base,
        }),
        _ => {
            let function = &vm.finalizers.cleanup;
            mutator.add_cleanup(pointer, function, CleanupArgument::Object(cleanup))
        }
    };
    match added {
        Ok(added) => ctx.leave(added.words().map(|word| word as usize)),
        Err(error) => fail::begin(ctx, error.go_text().unwrap_or_else(|| message(error))),
    }
}

/// Where the object begins that an address is in.
fn base_of(mutator: &Mutator, addr: usize) -> Option<usize> {
    match mutator.adopt(addr) {
        Ok(_) => Some(addr),
        Err(error) => match *error.kind() {
            AccessErrorKind::Interior { base, .. } => Some(base),
            _ => None,
        },
    }
}

/// What an object refers to.
fn references(mutator: &Mutator, object: usize) -> impl Iterator<Item = usize> {
    let mut found = Vec::new();
    if let Ok(object) = mutator.adopt(object)
        && let Ok(desc) = mutator.type_of(object)
    {
        desc.ty().for_each_pointer_word(&mut |offset| {
            found.extend(mutator.load_addr(object, offset as usize));
        });
    }
    found.into_iter()
}

/// The weak cell of a pointer, which is what a weak pointer is.
pub(super) fn weak_make(ctx: &mut Ctx, pointer: usize) -> usize {
    if pointer == 0 {
        return 0;
    }
    let cell = ctx.mutator().weak_cell(pointer);
    let cell = cell.map_err(|error| error.go_text().unwrap_or_else(|| message(error)));
    cell.or_fatal("fatal error").addr()
}

/// `runtime.GC`: collects, and lets others run, among them the finalizers.
pub(super) fn collect(ctx: &mut Ctx) {
    ctx.mutator().gc().or_fatal("minigo");
    ctx.make_way();
}
