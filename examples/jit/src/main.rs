//! A VM with generated code, made by docs/embedding.md alone: lists of cells that loops build and
//! read, with finalizers that are generated code too.
//!
//!     cargo run --manifest-path examples/jit/Cargo.toml

mod compile;

use std::cell::Cell;
use std::error::Error;

use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::types::I64;
use fing::vm::{Callers, Window};
use fing::{Abi, Executor, FinalizerFn, FinalizerOptions, HeapOptions, HeldValue};
use fing::{Mutator, Order, Runtime};

use compile::Compiler;

/// What generated code gets as its first argument.
#[repr(C)]
struct Thread {
    /// The address of the stack's word.
    stack_word: usize,
    /// The address of the window's two words.
    window_words: usize,
    /// The address of the safepoint flag.
    flag: usize,
    /// The mutator that runs: the thread's, or the one that a finalizer has entered with.
    mutator: *mut Mutator,
    window: Window,
    runtime: Runtime,
    close: FinalizerFn,
    /// The address of the generated finalizer.
    finalize: usize,
    closed: Vec<usize>,
}

thread_local! {
    /// The thread's, for finalizers.
    static THREAD: Cell<*mut Thread> = const { Cell::new(std::ptr::null_mut()) };
}

impl Thread {
    fn of<'t>(thread: *mut Thread) -> &'t mut Thread {
        // SAFETY: the only thread, which `run` has made and keeps.
        unsafe { &mut *thread }
    }

    fn mutator(&mut self) -> &mut Mutator {
        // SAFETY: the one that runs, which nothing else uses while generated code runs.
        unsafe { &mut *self.mutator }
    }
}

/// The slow path of an allocation.
extern "C" fn refill(thread: &mut Thread) -> usize {
    thread.mutator().collect_if_due();
    let window = thread.window.clone();
    thread.mutator().alloc_in(&window).expect("memory").addr()
}

/// A safepoint whose flag was set.
extern "C" fn safepoint(thread: &mut Thread) -> usize {
    thread.mutator().collect_at_safepoint().into()
}

/// Gives a cell a finalizer: `close_cell`, with generated code as its context.
extern "C" fn set_finalizer(thread: &mut Thread, cell: usize) -> usize {
    let (close, code) = (
        thread.close.clone(),
        HeldValue::Word(thread.finalize as u64),
    );
    let mutator = thread.mutator();
    let cell = mutator.adopt(cell).expect("a cell");
    let set = mutator.set_finalizer_with(cell, &close, FinalizerOptions::new().context(code));
    set.expect("a cell without a finalizer");
    0
}

/// What generated finalizers tell.
extern "C" fn closed(thread: &mut Thread, value: usize) -> usize {
    thread.closed.push(value);
    0
}

/// The finalizer that fing calls: runs the generated one, as this thread, with a mutator.
extern "C" fn close_cell(cell: usize, code: usize) {
    let thread = Thread::of(THREAD.get());
    let (before, runtime) = (thread.mutator, thread.runtime.clone());
    let ran = runtime.enter(|mutator| {
        thread.mutator = mutator;
        // SAFETY: the context is the address of generated code of this signature.
        let code: extern "C" fn(&mut Thread, usize) -> usize = unsafe { std::mem::transmute(code) };
        code(thread, cell);
    });
    thread.mutator = before;
    ran.expect("this thread is not collecting");
}

/// Where the fields of a cell are, and how far cells are apart.
struct Layout {
    next: usize,
    value: usize,
    stride: usize,
}

/// * `main(n)`: builds two lists, and adds up both.
/// * `build(n)`: a list of the numbers from 1 to n; each tenth cell gets a finalizer.
/// * `sum(list)`: of its numbers.
/// * `finalize(cell)`: tells the host the number, by way of a new cell.
fn compile(at: &Layout) -> Result<Compiler, Box<dyn Error>> {
    let mut compiler = Compiler::new(&[
        ("refill", refill as *const u8, 1),
        ("safepoint", safepoint as *const u8, 1),
        ("set_finalizer", set_finalizer as *const u8, 2),
        ("closed", closed as *const u8, 2),
    ])?;
    compiler.define("build", 2, Callers::Registered, |code| {
        let [head, body, tenth, more, done] = [(); 5].map(|()| code.b.create_block());
        let [left, list] = [(); 2].map(|()| code.b.append_block_param(head, I64));
        code.b.declare_value_needs_stack_map(list);
        let nil = code.b.ins().iconst(I64, 0);
        code.b
            .ins()
            .jump(head, &[code.params[1].into(), nil.into()]);
        code.b.switch_to_block(head);
        code.safepoint();
        code.b.ins().brif(left, body, &[], done, &[]);
        code.b.switch_to_block(body);
        let cell = code.alloc(at.stride);
        code.store(list, cell, at.next);
        code.store(left, cell, at.value);
        let rest = code.b.ins().urem_imm_u(left, 10);
        code.b.ins().brif(rest, more, &[], tenth, &[]);
        code.b.switch_to_block(tenth);
        code.call("set_finalizer", &[code.params[0], cell]);
        code.b.ins().jump(more, &[]);
        code.b.switch_to_block(more);
        let left = code.b.ins().iadd_imm_s(left, -1);
        code.b.ins().jump(head, &[left.into(), cell.into()]);
        code.b.switch_to_block(done);
        list
    })?;
    compiler.define("sum", 2, Callers::Registered, |code| {
        let [head, body, done] = [(); 3].map(|()| code.b.create_block());
        let [list, sum] = [(); 2].map(|()| code.b.append_block_param(head, I64));
        code.b.declare_value_needs_stack_map(list);
        let zero = code.b.ins().iconst(I64, 0);
        code.b
            .ins()
            .jump(head, &[code.params[1].into(), zero.into()]);
        code.b.switch_to_block(head);
        code.safepoint();
        code.b.ins().brif(list, body, &[], done, &[]);
        code.b.switch_to_block(body);
        let value = code.load(I64, list, at.value);
        let next = code.load(I64, list, at.next);
        let sum = code.b.ins().iadd(sum, value);
        code.b.ins().jump(head, &[next.into(), sum.into()]);
        code.b.switch_to_block(done);
        code.b.block_params(head)[1]
    })?;
    compiler.define("main", 2, Callers::Any, |code| {
        let (thread, n) = (code.params[0], code.params[1]);
        let lists = [(); 2].map(|()| {
            let list = code.call("build", &[thread, n]);
            code.b.declare_value_needs_stack_map(list);
            list
        });
        let [first, second] = lists.map(|list| code.call("sum", &[thread, list]));
        code.b.ins().iadd(first, second)
    })?;
    compiler.define("finalize", 2, Callers::Any, |code| {
        let cell = code.params[1];
        code.b.declare_value_needs_stack_map(cell);
        let copy = code.alloc(at.stride);
        code.safepoint();
        let value = code.load(I64, cell, at.value);
        code.store(value, copy, at.value);
        code.call("closed", &[code.params[0], value])
    })?;
    Ok(compiler)
}

/// What a program has done.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Of the numbers in two lists, of which one was built after the other.
    sum: usize,
    /// What the finalizers have told.
    closed: Vec<usize>,
    /// Objects that are left when all is finalized.
    left: usize,
}

/// Runs `main(n)`, and finalizes everything.
fn run(n: usize, heap: HeapOptions) -> Result<Outcome, Box<dyn Error>> {
    // One of a list's finalizers in each collection, in Go's order; here all of them.
    let runtime = Runtime::builder()
        .order(Order::Topological)
        .executor(Executor::Inline);
    let runtime = runtime.heap(heap).build()?;
    let ty = runtime
        .types()
        .define("main.Cell", "struct { Next *main.Cell; Value int }")?;
    let desc = runtime.types().desc(ty)?;
    let field = |name| desc.field_offset(name).ok_or("no such field");
    let (next, value) = (field("Next")?, field("Value")?);
    let mut mutator = runtime.attach()?;
    let (window, flag) = (mutator.window(ty)?, runtime.safepoint_flag());
    let stride = window.stride();
    let (frames, compiler) = (
        runtime.frames(),
        compile(&Layout {
            next,
            value,
            stride,
        })?,
    );
    let (addresses, _code, _module) = compiler.finish(&frames)?;
    let stack = frames.stack();
    let close = FinalizerFn::of_any_object(Abi::host_native()?).context_word();
    let mut thread = Thread {
        stack_word: stack.address(),
        window_words: window.address(),
        flag: flag.address(),
        mutator: &raw mut mutator,
        window,
        runtime: runtime.clone(),
        // SAFETY: a C function of an object and of a word, which is the address of `finalize`.
        close: unsafe { close.at(close_cell as *const ()) },
        finalize: addresses["finalize"],
        closed: Vec::new(),
    };
    let thread = &raw mut thread;
    THREAD.set(thread);
    // SAFETY: a generated function of the thread and a word.
    let main: extern "C" fn(*mut Thread, usize) -> usize =
        unsafe { std::mem::transmute(addresses["main"]) };
    let sum = stack.enter(|| main(thread, n));
    let left = loop {
        let mutator = Thread::of(thread).mutator();
        let live = mutator.gc()?.live_objects;
        // Finalizers enter the heap themselves.
        if mutator.native(|| runtime.run_finalizers())? == 0 {
            break live;
        }
    };
    let closed = std::mem::take(&mut Thread::of(thread).closed);
    Ok(Outcome { sum, closed, left })
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:?}", run(100, HeapOptions::default())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In Rust, what `run` is to return.
    fn wanted(n: usize) -> Outcome {
        let mut closed: Vec<usize> = (1..=n).filter(|value| value % 10 == 0).collect();
        closed.extend(closed.clone());
        closed.sort_unstable();
        let sum = n * (n + 1);
        Outcome {
            sum,
            closed,
            left: 0,
        }
    }

    fn sorted(outcome: Result<Outcome, Box<dyn Error>>) -> Outcome {
        let mut outcome = outcome.unwrap();
        outcome.closed.sort_unstable();
        outcome
    }

    #[test]
    fn lists_are_summed_and_finalized() {
        // Enough for collections to become due.
        for n in [0, 1, 10, 100_000] {
            assert_eq!(sorted(run(n, HeapOptions::default())), wanted(n));
        }
    }

    #[test]
    fn so_they_are_with_a_collection_at_every_safepoint() {
        let mut options = HeapOptions::default();
        (options.stress, options.poison) = (true, true);
        assert_eq!(sorted(run(100, options)), wanted(100));
    }

    /// The page says to begin with the dependencies that this crate has.
    #[test]
    fn the_dependencies_are_those_of_the_page() {
        let page = include_str!("../../../docs/embedding.md");
        let own = include_str!("../Cargo.toml");
        let cranelift = own.lines().filter(|line| line.starts_with("cranelift"));
        let stated = cranelift.map(|line| page.contains(line));
        assert_eq!(stated.collect::<Vec<_>>(), [true; 4]);
    }
}
