//! What programs run on: the heap, goroutines, and the functions that generated code calls.

mod callers;
mod chan;
mod fail;
mod finalize;
mod format;
mod heap;
mod library;
mod map;
mod object;
mod sched;
mod show;
mod text;

use std::collections::HashMap;
use std::sync::atomic::AtomicPtr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fing::vm::{Frames, Stack};
use fing::{Executor, HeapOptions, Mutator, Runtime};

use crate::check::entity::Program;
use crate::lower::{Compiled, Lower};
use crate::types::Ty;
use callers::Callers;
pub(crate) use heap::HeapTypes;

/// Where generated code finds the fields of a [`Ctx`].
pub(crate) mod ctx {
    /// The address of the word of fing's `Stack`.
    pub(crate) const STACK: i32 = 0;
    /// Not 0 while a panic goes up.
    pub(crate) const PANICKING: i32 = 8;
    /// Below this address the stack is used up.
    pub(crate) const STACK_LIMIT: i32 = 16;
    /// The frame of a function that calls for the one around it, and that one's frame.
    pub(crate) const BOUND_FRAME: i32 = 24;
    pub(crate) const BOUND_CALLER: i32 = 32;
    /// The address of a table of windows' addresses, by site.
    pub(crate) const WINDOWS: i32 = 40;
    /// Results that are not in registers.
    pub(crate) const RESULTS: i32 = 48;
    /// A value on its way to or from the host.
    pub(crate) const BUFFER: i32 = RESULTS + 8 * super::RESULT_WORDS as i32;
}

const RESULT_WORDS: usize = 256;
const BUFFER_WORDS: usize = 64;

/// What generated code of one goroutine works with: its first argument.
#[repr(C)]
pub(crate) struct Ctx {
    stack_word: usize,
    panicking: u64,
    stack_limit: usize,
    bound_frame: usize,
    bound_caller: usize,
    windows: usize,
    results: [u64; RESULT_WORDS],
    buffer: [u64; BUFFER_WORDS],
    vm: &'static Vm,
    mutator: *mut Mutator,
    number: usize,
    /// Values that functions of the host hold while a collection may happen.
    roots: Vec<usize>,
    panics: Vec<fail::Panic>,
    /// The panic that goes up.
    pending: [usize; 2],
    cases: Vec<chan::SelectCase>,
    sites: object::Sites,
    finalizer: Option<finalize::Known>,
    _stack: Stack,
}

/// What stands for a type in interfaces. Generated code reads the first word.
#[repr(C)]
pub(crate) struct TypeInfo {
    /// The code of the methods, by number.
    methods: AtomicPtr<usize>,
    ty: Ty,
}

/// How the host calls generated code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry(pub(crate) usize);

/// A program that is running.
pub(crate) struct Vm {
    program: &'static Program,
    runtime: Runtime,
    frames: Frames,
    heap: Mutex<HeapTypes<'static>>,
    entry: Entry,
    /// How many methods interfaces have; numbers of `Error` and `String`.
    methods: usize,
    error: Option<usize>,
    string: Option<usize>,
    sched: sched::Sched,
    finalize: finalize::Finalization,
    /// The addresses of contexts, whose roots collections ask for.
    contexts: Mutex<Vec<usize>>,
    implements: Mutex<HashMap<(Ty, Ty), bool>>,
    maps: map::Layouts,
    /// Of the type of run-time panics.
    fault: Ty,
    stats: bool,
}

/// How a program is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Print Cranelift's text of the program in place of running it.
    pub clif: bool,
    /// Collect at every safepoint, and overwrite dead objects.
    pub gc_stress: bool,
    /// Print the heap's and the finalizers' counters when the program ends.
    pub stats: bool,
    /// Have finalizers and cleanups called by Go's ABI with so many integer argument registers.
    pub int_regs: Option<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A function of the host that generated code calls: name, address, number of words.
pub(crate) type Helper = (&'static str, *const (), usize);

macro_rules! helpers {
    ($($name:literal $module:ident::$function:ident ($($arg:ident),*)),* $(,)?) => {
        &[$(($name, {
            helpers!(@type $function $($arg)*);
            let function: $function = $module::$function;
            function as *const ()
        }, <[&str]>::len(&[$(stringify!($arg)),*]))),*]
    };
    (@type $function:ident $($arg:ident)*) => {
        #[expect(non_camel_case_types, reason = "named as the function")]
        type $function = extern "C" fn(&mut Ctx $(, helpers!(@word $arg))*) -> u64;
    };
    (@word $arg:ident) => { u64 };
}

/// All functions of the host: those that generated code calls by itself, and those of the prelude
/// that have no body.
pub(crate) static HELPERS: HelperTable = HelperTable(helpers![
    "new" object::new(site),
    "refill" object::refill(site),
    "new_array" object::new_array(elem, count),
    "grow" object::grow(elem, at, length, cap, wanted),
    "move" object::copy(to, from, bytes),
    "poll" object::poll(),
    "interfaces_equal" object::interfaces_equal(t, a, u, b),
    "implements" object::implements(info, interface),
    "concat" text::concat(a, a_length, b, b_length),
    "compare" text::compare(a, a_length, b, b_length),
    "next_rune" text::next_rune(at, length, index),
    "text_of_bytes" text::of_bytes(at, length),
    "text_of_runes" text::of_runes(at, length),
    "text_of_rune" text::of_rune(rune),
    "bytes_of_text" text::to_bytes(at, length),
    "runes_of_text" text::to_runes(at, length),
    "panic_nil" fail::nil(),
    "panic_index" fail::index(index, length),
    "panic_slice" fail::slice(found, limit, kind),
    "panic_divide" fail::divide(),
    "panic_shift" fail::shift(),
    "panic_make" fail::make(),
    "panic_assertion" fail::assertion(info, wanted, from),
    "panic_value" fail::value(info, word),
    "stack_overflow" fail::stack_overflow(),
    "recover" fail::recover(caller),
    "defer_begin" fail::defer_begin(frame),
    "defer_after" fail::defer_after(frame),
    "defer_end" fail::defer_end(frame),
    "map_new" map::new(ty),
    "map_len" map::len(at),
    "map_get" map::get(ty, at),
    "map_set" map::set(ty, at),
    "map_delete" map::delete(ty, at),
    "map_next" map::next(ty, at, index),
    "map_clear" map::clear(at),
    "chan_new" chan::new(ty, size),
    "chan_len" chan::len(at),
    "chan_cap" chan::cap(at),
    "chan_send" chan::send(ty, at),
    "chan_receive" chan::receive(ty, at),
    "chan_close" chan::close(at),
    "select_begin" chan::select_begin(),
    "select_send" chan::select_send(ty, at),
    "select_receive" chan::select_receive(ty, at),
    "select_run" chan::select_run(default),
    "go" sched::go(closure),
    "weak_make" finalize::weak_make(pointer),
    "add_cleanup" finalize::add_cleanup(pointer, closure, argument),
    "print_text" library::print_text(at, length),
    "print_bool" library::print_bool(value),
    "print_int" library::print_int(value),
    "print_uint" library::print_uint(value),
    "print_float" library::print_float(bits),
    "runtime.GC" finalize::collect(),
    "runtime.Gosched" sched::gosched(),
    "runtime.SetFinalizer" finalize::set_finalizer(info, word, finalizer_info, finalizer),
    "runtime.KeepAlive" finalize::keep_alive(info, word),
    "runtime.stopCleanup" finalize::stop_cleanup(cleanup),
    "runtime.NumGoroutine" sched::count(),
    "runtime.readMemStats" library::mem_stats(),
    "time.Sleep" sched::sleep(nanoseconds),
    "time.now" library::now(),
    "fmt.Println" format::println(at, length, cap),
    "fmt.Print" format::print(at, length, cap),
    "fmt.Sprint" format::sprint(at, length, cap),
    "fmt.Sprintln" format::sprintln(at, length, cap),
    "fmt.Printf" format::printf(format, format_length, at, length, cap),
    "fmt.Sprintf" format::sprintf(format, format_length, at, length, cap),
    "os.Exit" library::exit(code),
    "strings.index" text::index(at, length, part, part_length),
    "strconv.Itoa" text::itoa(value),
]);

/// Addresses of functions, which any thread may read.
pub(crate) struct HelperTable(&'static [Helper]);

// SAFETY: M5: the addresses are those of functions.
unsafe impl Sync for HelperTable {}

impl std::ops::Deref for HelperTable {
    type Target = [Helper];

    fn deref(&self) -> &[Helper] {
        self.0
    }
}

/// Compiles a checked program and runs it. Ends the process when the program ends.
pub(crate) fn run(program: Program, options: Options) -> Result<(), String> {
    let program: &'static Program = Box::leak(Box::new(program));
    let heap = HeapOptions::default()
        .stress(options.gc_stress)
        .poison(options.gc_stress);
    let builder = Runtime::builder().heap(heap).executor(Executor::Manual);
    let runtime = builder.on_due(sched::finalizers_due).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let frames = runtime.frames();
    let infos: &'static [TypeInfo] = program
        .types
        .all()
        .map(|ty| TypeInfo {
            methods: AtomicPtr::new(std::ptr::null_mut()),
            ty,
        })
        .collect::<Vec<_>>()
        .leak();
    let heap_types = HeapTypes::new(&program.types, &runtime)?;
    let mutator = runtime.attach().map_err(|error| error.to_string())?;
    let lower = Lower::new(program, heap_types, infos, mutator, &options)?;
    let compiled = lower.compile(&frames)?;
    if let Some(clif) = compiled.clif {
        println!("{clif}");
        return Ok(());
    }
    start(program, runtime, frames, infos, compiled, options)
}

fn start(
    program: &'static Program,
    runtime: Runtime,
    frames: Frames,
    infos: &'static [TypeInfo],
    compiled: Compiled<'static>,
    options: Options,
) -> Result<(), String> {
    let mut methods = 0;
    for (ty, table) in compiled.methods {
        methods = table.len();
        let table = table.leak().as_mut_ptr();
        let info = &infos[ty.0 as usize];
        info.methods
            .store(table, std::sync::atomic::Ordering::Release);
    }
    let named = program.types.all().find(|ty| {
        program
            .types
            .named(*ty)
            .is_some_and(|named| named.name == "runtime.Fault")
    });
    let fault = named.ok_or("the prelude has no runtime.Fault")?;
    let callers = match options.int_regs {
        Some(count) => Callers::go(count, compiled.blocks)?,
        None => Callers::native()?,
    };
    let finalize = finalize::Finalization::new(&runtime, callers)?;
    let vm: &'static Vm = Box::leak(Box::new(Vm {
        program,
        runtime,
        frames,
        heap: Mutex::new(compiled.heap),
        entry: compiled.entry,
        methods,
        error: compiled.error,
        string: compiled.string,
        sched: sched::Sched::default(),
        finalize,
        contexts: Mutex::default(),
        implements: Mutex::default(),
        maps: map::Layouts::of(&program.types),
        fault,
        stats: options.stats,
    }));
    // Code and its stack maps stay as long as the process.
    std::mem::forget((compiled.module, compiled.registered));
    object::INFOS.get_or_init(|| infos);
    sched::VM.get_or_init(|| vm);
    let globals = compiled.roots;
    std::mem::forget(
        vm.runtime
            .add_roots(move |visit| object::visit_roots(vm, &globals, visit)),
    );
    sched::run_main(vm, compiled.start)
}
