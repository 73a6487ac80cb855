//! What programs run on: the heap, goroutines, and the functions that generated code calls.
#![deny(unsafe_code)]

mod callers;
mod equal;
mod fail;
mod finalize;
mod heap;
mod hosts;
mod library;
mod map;
mod object;
mod sched;
mod text;
mod value;

use std::collections::HashMap;
use std::sync::atomic::AtomicPtr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use fing::vm::{Frames, Stack};
use fing::{Executor, HeapOptions, Mutator, Runtime};
use minigo_front::program::Program;
use minigo_front::types::{Ty, Types};

use crate::lower::{Compiled, Lower};
pub(crate) use heap::HeapTypes;
pub(crate) use hosts::{CALLED, HELPERS};
pub(crate) use map::MAP;
pub(crate) use sched::STACK;

/// Where generated code finds the fields of a [`Ctx`].
pub(crate) mod ctx {
    /// The address of the word of fing's `Stack`.
    pub(crate) const STACK: i32 = 0;
    /// Not 0 while a panic goes up.
    pub(crate) const PANICKING: i32 = 8;
    /// Below this address the stack is used up.
    pub(crate) const STACK_LIMIT: i32 = 16;
    /// The address of a table of windows' addresses, by site.
    pub(crate) const WINDOWS: i32 = 24;
    /// Results that are not in registers.
    pub(crate) const RESULTS: i32 = 32;
    /// A value on its way to or from the host.
    pub(crate) const BUFFER: i32 = RESULTS + 8 * super::RESULT_WORDS as i32;
}

const RESULT_WORDS: usize = 256;
const BUFFER_WORDS: usize = 64;

/// What generated code of one goroutine works with: its first argument.
#[repr(C)]
pub(crate) struct Ctx {
    stack_word: usize,
    /// The object of the panic that goes up, or 0. There is no safepoint while there is one.
    panicking: usize,
    stack_limit: usize,
    windows: usize,
    results: [u64; RESULT_WORDS],
    buffer: [u64; BUFFER_WORDS],
    vm: &'static Vm,
    mutator: *mut Mutator,
    number: usize,
    panics: Vec<fail::Panic>,
    sites: object::Sites,
    prepared: finalize::Prepared,
    _stack: Stack,
}

/// What stands for a type in interfaces. Generated code reads the first word.
#[repr(C)]
pub(crate) struct TypeInfo {
    /// The code of the methods, by number.
    methods: AtomicPtr<usize>,
    ty: Ty,
}

/// A program that is running.
pub(crate) struct Vm {
    types: &'static Types,
    infos: &'static [TypeInfo],
    runtime: Runtime,
    frames: Frames,
    heap: Mutex<HeapTypes>,
    code: Compiled,
    sched: sched::Sched,
    finalizers: finalize::Finalizers,
    implements: Mutex<HashMap<(Ty, Ty), bool>>,
    parts: equal::Parts,
    maps: map::Layouts,
    stats: bool,
}

static VM: OnceLock<&'static Vm> = OnceLock::new();

/// How a program is run.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Options {
    /// Run the functions TestX of a file without a function main, as `go test` does.
    #[arg(long)]
    pub test: bool,
    /// Print the program as Cranelift's text, in place of running it.
    #[arg(long)]
    pub clif: bool,
    /// Collect at every safepoint, and overwrite dead objects.
    #[arg(long)]
    pub gc_stress: bool,
    /// Print the heap's and the finalizers' counters at the end.
    #[arg(long)]
    pub stats: bool,
    /// Call finalizers and cleanups by Go's ABI with so many integer argument registers.
    #[arg(long, value_name = "N")]
    pub int_regs: Option<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn message(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Compiles a checked program; none: it was printed.
pub(crate) fn prepare(
    mut program: Program,
    options: Options,
) -> Result<Option<&'static Vm>, String> {
    let types: &'static Types = Box::leak(Box::new(std::mem::take(&mut program.types)));
    let stress = options.gc_stress;
    let heap = HeapOptions::default().stress(stress).poison(stress);
    let builder = Runtime::builder().heap(heap).executor(Executor::Manual);
    let runtime = builder.on_due(sched::finalizers_due).build();
    let runtime = runtime.map_err(message)?;
    let frames = runtime.frames();
    let info = |ty| TypeInfo {
        methods: AtomicPtr::new(std::ptr::null_mut()),
        ty,
    };
    let infos: &'static [TypeInfo] = types.all().map(info).collect::<Vec<_>>().leak();
    let heap_types = HeapTypes::new(types, &runtime)?;
    let mutator = runtime.attach().map_err(message)?;
    let lower = Lower::new(&program, types, heap_types, infos, mutator, &options)?;
    let (code, heap) = lower.compile(&frames)?;
    drop(program);
    if let Some(clif) = code.clif {
        println!("{clif}");
        return Ok(None);
    }
    let vm: &'static Vm = Box::leak(Box::new(Vm {
        types,
        infos,
        finalizers: finalize::Finalizers::new(&runtime, options.int_regs)?,
        runtime,
        frames,
        heap: Mutex::new(heap),
        code,
        sched: sched::Sched::default(),
        implements: Mutex::default(),
        parts: types.all().map(|_| OnceLock::new()).collect(),
        maps: types.all().map(|_| OnceLock::new()).collect(),
        stats: options.stats,
    }));
    for global in &vm.code.globals {
        vm.runtime.add_global(global.clone());
    }
    VM.get_or_init(|| vm);
    let globals = || vm.code.roots.iter().map(|at| object::read(*at) as usize);
    let roots = vm.runtime.add_roots(move |visit| globals().for_each(visit));
    std::mem::forget(roots);
    Ok(Some(vm))
}
