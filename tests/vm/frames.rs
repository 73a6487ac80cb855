//! References in frames of generated code.

use std::ptr::null_mut;

use fing::vm::{Callers, FrameError, Frames, RegisteredCode, Stack};
use fing::{
    Abi, Executor, FinalizerFn, FinalizerOptions, HeapOptions, HeldValue, Mutator, Runtime,
};
use fing::{TypeId, error::WorldError};

use crate::jit::Jit;

const VALUE: i32 = 8;
const DEAD: u64 = u64::from_ne_bytes([HeapOptions::POISON; 8]);

/// The context of generated code.
#[repr(C)]
struct Context {
    stack_word: usize,
    mutator: *mut Mutator,
    runtime: Runtime,
    ty: TypeId,
    /// Functions that the host calls.
    hold: usize,
    finalizer: Option<FinalizerFn>,
    /// The sum of what finalizers saw.
    seen: u64,
    failed: Option<WorldError>,
}

impl Context {
    fn with_mutator<R>(&mut self, body: impl FnOnce(&mut Context, &mut Mutator) -> R) -> R {
        let mutator = std::mem::replace(&mut self.mutator, null_mut());
        if mutator.is_null() {
            let runtime = self.runtime.clone();
            return runtime.enter(|mutator| body(self, mutator)).unwrap();
        }
        // SAFETY: I13: the mutator of this thread, which its owner does not use while generated
        // code runs.
        let result = body(self, unsafe { &mut *mutator });
        self.mutator = mutator;
        result
    }
}

extern "C" fn alloc(context: &mut Context, value: u64) -> usize {
    context.with_mutator(|context, mutator| {
        let object = mutator.alloc(context.ty).unwrap();
        mutator.store_word(object, 8, value).unwrap();
        object.addr()
    })
}

extern "C" fn collect(context: &mut Context) -> u64 {
    context.with_mutator(|context, mutator| {
        if let Err(error) = mutator.gc() {
            context.failed = Some(error);
        }
        // Cells of dead objects are used again.
        for _ in 0..4 {
            mutator.alloc(context.ty).unwrap();
        }
        0
    })
}

/// Sets a finalizer for a new object, collects, and has the finalizer run in this call.
extern "C" fn finalize(context: &mut Context, value: u64) -> u64 {
    let at = (&raw mut *context).expose_provenance() as u64;
    context.with_mutator(|context, mutator| {
        let object = mutator.alloc(context.ty).unwrap();
        mutator.store_word(object, 8, value).unwrap();
        let options = FinalizerOptions::new().context(HeldValue::Word(at));
        let finalizer = context.finalizer.as_ref().unwrap();
        mutator
            .set_finalizer_with(object, finalizer, options)
            .unwrap();
        mutator.gc().unwrap();
        let runtime = context.runtime.clone();
        mutator.native(|| runtime.run_finalizers().unwrap())
    })
}

/// Calls generated code again.
extern "C" fn again(context: &mut Context, depth: u64) -> u64 {
    let code = context.hold;
    call(code, context, depth)
}

fn call(code: usize, context: *mut Context, argument: u64) -> u64 {
    // SAFETY: I8: generated functions of this signature.
    let code: extern "C" fn(*mut Context, u64) -> u64 = unsafe { std::mem::transmute(code) };
    code(context, argument)
}

/// * `hold(n)`: an object of value n, kept over `hold(n - 1)`, or over a collection if n is 0, and
///   then the sum of its value and the result.
/// * `inner(n)`: the same for one object, called by `outer` only.
/// * `nested(n)`: an object of value n, kept over a call of the host that calls `hold(n)`.
/// * `finalizing(n)`: an object of value n, kept over the finalizer of another one.
/// * `finalizer(object, context)`: adds what it sees, with an object of its own kept meanwhile.
fn compile() -> Jit {
    let mut jit = Jit::new(&[
        ("alloc", alloc as *const (), 2),
        ("collect", collect as *const (), 1),
        ("finalize", finalize as *const (), 2),
        ("again", again as *const (), 2),
    ]);
    jit.declare("hold", 2, Callers::Any);
    jit.define("hold", 2, Callers::Any, |code| {
        let (context, n) = (code.params[0], code.params[1]);
        let object = code.call_ref("alloc", &[context, n]);
        let (deeper, last, done) = (
            code.b.create_block(),
            code.b.create_block(),
            code.b.create_block(),
        );
        let word = cranelift_codegen::ir::types::I64;
        let sum = code.b.append_block_param(done, word);
        use cranelift_codegen::ir::InstBuilder;
        code.b.ins().brif(n, deeper, &[], last, &[]);
        code.b.switch_to_block(deeper);
        let less = code.b.ins().iadd_imm_s(n, -1);
        let rest = code.call("hold", &[context, less]);
        code.b.ins().jump(done, &[rest.into()]);
        code.b.switch_to_block(last);
        let rest = code.call("collect", &[context]);
        code.b.ins().jump(done, &[rest.into()]);
        code.b.switch_to_block(done);
        let value = code.load(object, VALUE);
        code.b.ins().iadd(sum, value)
    });
    for (name, over) in [
        ("inner", "collect"),
        ("nested", "again"),
        ("finalizing", "finalize"),
    ] {
        let callers = match name {
            "inner" => Callers::Registered,
            _ => Callers::Any,
        };
        jit.define(name, 2, callers, |code| {
            let (context, n) = (code.params[0], code.params[1]);
            let object = code.call_ref("alloc", &[context, n]);
            let arguments = match over {
                "collect" => vec![context],
                _ => vec![context, n],
            };
            code.call(over, &arguments);
            code.load(object, VALUE)
        });
    }
    jit.define("outer", 2, Callers::Any, |code| {
        code.call("inner", &[code.params[0], code.params[1]])
    });
    jit.define("finalizer", 2, Callers::Any, |code| {
        use cranelift_codegen::ir::InstBuilder;
        let (object, context) = (code.params[0], code.params[1]);
        code.b.declare_value_needs_stack_map(object);
        let value = code.load(object, VALUE);
        let own = code.call_ref("alloc", &[context, value]);
        code.call("collect", &[context]);
        let (value, more) = (code.load(object, VALUE), code.load(own, VALUE));
        let sum = code.b.ins().iadd(value, more);
        let seen = std::mem::offset_of!(Context, seen) as i32;
        let before = code.load(context, seen);
        let after = code.b.ins().iadd(before, sum);
        code.store(after, context, seen);
        after
    });
    jit.finish();
    jit
}

struct Machine {
    jit: Jit,
    runtime: Runtime,
    ty: TypeId,
    frames: Frames,
    _code: Vec<RegisteredCode>,
}

impl Machine {
    fn new(without: &[&str], without_maps: &[&str]) -> Machine {
        let heap = HeapOptions::default().poison(true);
        let builder = Runtime::builder().executor(Executor::Inline).heap(heap);
        let runtime = builder.build().unwrap();
        let ty = "struct { Next *main.T; Value uint64 }";
        let ty = runtime.types().define("main.T", ty).unwrap();
        let (jit, frames) = (compile(), runtime.frames());
        let _code = jit.register(&frames, without, without_maps);
        Machine {
            jit,
            runtime,
            ty,
            frames,
            _code,
        }
    }

    fn context(&self, stack: &Stack) -> Context {
        let signature = self
            .runtime
            .types()
            .parse_signature("func(*main.T)")
            .unwrap();
        // SAFETY: I8: a generated function of an object and a word.
        let finalizer = unsafe {
            FinalizerFn::builder(signature, Abi::host_native().unwrap())
                .context_word()
                .at(std::ptr::with_exposed_provenance(
                    self.jit.address("finalizer"),
                ))
        };
        Context {
            stack_word: stack.address(),
            mutator: null_mut(),
            runtime: self.runtime.clone(),
            ty: self.ty,
            hold: self.jit.address("hold"),
            finalizer: Some(finalizer),
            seen: 0,
            failed: None,
        }
    }

    /// Runs a function, and returns its result and its context.
    fn run(&self, function: &str, argument: u64) -> (u64, Context) {
        let stack = self.frames.stack();
        let mut context = self.context(&stack);
        let mut mutator = self.runtime.attach().unwrap();
        context.mutator = &raw mut mutator;
        let code = self.jit.address(function);
        let result = stack.enter(|| call(code, &raw mut context, argument));
        assert!(!stack.is_in_host());
        (result, context)
    }
}

#[test]
fn references_in_frames_are_kept() {
    let machine = Machine::new(&[], &[]);
    assert!(machine.jit.maps("hold") >= 2);
    for depth in [0, 1, 10, 500] {
        let (sum, context) = machine.run("hold", depth);
        assert_eq!((sum, context.failed), (depth * (depth + 1) / 2, None));
    }
    assert_eq!(machine.run("outer", 7).0, 7);
    machine.runtime.verify_heap().unwrap();
    assert_eq!(machine.runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn frames_below_the_host_are_kept_while_it_calls_generated_code_again() {
    let machine = Machine::new(&[], &[]);
    for depth in [0, 1, 50] {
        assert_eq!(machine.run("nested", depth).0, depth);
    }
}

#[test]
fn frames_on_both_sides_of_a_stub_are_kept() {
    let machine = Machine::new(&[], &[]);
    for value in 1..20 {
        let (result, context) = machine.run("finalizing", value);
        assert_eq!((result, context.seen), (value, 2 * value));
    }
    assert_eq!(machine.runtime.stats().executed, 19);
    machine.runtime.verify_heap().unwrap();
}

#[test]
fn the_frames_of_every_thread_are_kept() {
    let machine = &Machine::new(&[], &[]);
    // The code and what it refers to are used by reference only.
    struct Shared<'m>(&'m Machine);
    // SAFETY: I31: nothing is compiled any more; what threads use of it is read only.
    unsafe impl Sync for Shared<'_> {}
    let shared = &Shared(machine);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                let shared: &Shared = shared;
                for depth in 0..60 {
                    let (sum, _) = shared.0.run("hold", depth);
                    assert_eq!(sum, depth * (depth + 1) / 2);
                }
            });
        }
    });
    machine.runtime.verify_heap().unwrap();
}

/// A planted fault: the object's cell is poisoned, or has another object.
fn is_lost(value: u64) -> bool {
    value == DEAD || value == 0
}

#[test]
fn a_dropped_stack_map_is_seen() {
    let machine = Machine::new(&[], &["inner"]);
    assert!(is_lost(machine.run("outer", 7).0));
}

#[test]
fn a_missed_exit_frame_is_seen() {
    let machine = Machine::new(&[], &[]);
    let stack = machine.frames.stack();
    let mut context = machine.context(&stack);
    // Exit stubs of this context write to a word that is no stack's.
    let mut elsewhere = 0usize;
    context.stack_word = (&raw mut elsewhere).expose_provenance();
    let mut mutator = machine.runtime.attach().unwrap();
    context.mutator = &raw mut mutator;
    let value = call(machine.jit.address("outer"), &raw mut context, 7);
    assert!(is_lost(value));
}

#[test]
fn a_frame_without_registered_code_stops_the_collection() {
    // The function between two that are registered: the walk would end there.
    let machine = Machine::new(&["outer"], &[]);
    let (value, context) = machine.run("outer", 7);
    assert_eq!(value, 7, "nothing was freed");
    let Some(WorldError::Roots { found }) = context.failed else {
        panic!("{:?}", context.failed);
    };
    assert!(
        found.contains("is called by registered code only"),
        "{found}"
    );
    // The one that calls an exit stub.
    let machine = Machine::new(&["inner"], &[]);
    let (value, context) = machine.run("outer", 7);
    let Some(WorldError::Roots { found }) = context.failed else {
        panic!("{:?}", context.failed);
    };
    assert!(
        found.contains("an exit stub was called by the code at"),
        "{found}"
    );
    assert_eq!(value, 7);
}

#[test]
fn code_that_is_wrong_is_refused() {
    let runtime = Runtime::new().unwrap();
    let frames = runtime.frames();
    let add = |code: std::ops::Range<usize>, maps: Vec<(u32, Vec<u32>)>| {
        // SAFETY: I31: no such code ever runs.
        unsafe { frames.add(code, Callers::Any, maps) }
    };
    let kept = add(0x1000..0x1100, vec![(4, vec![0, 8]), (0x100, vec![])]).unwrap();
    for (code, there) in [
        (0x1000..0x1100, true),
        (0x10ff..0x1200, true),
        (0xf00..0x1001, true),
        (0xf00..0x1200, true),
        (0x1100..0x1200, false),
        (0xf00..0x1000, false),
    ] {
        let found = add(code.clone(), vec![]).map(drop);
        let overlap = FrameError::Overlap {
            found: code,
            there: 0x1000..0x1100,
        };
        assert_eq!(found, if there { Err(overlap) } else { Ok(()) });
    }
    drop(kept);
    drop(add(0x1000..0x1100, vec![]).unwrap());
    let empty = 0x1000..0x1000;
    let found = add(empty.clone(), vec![]).map(drop);
    assert_eq!(found, Err(FrameError::Empty { found: empty }));
    let bytes = 0x100;
    for found in [0, 0x101, u32::MAX] {
        let error = add(0x1000..0x1100, vec![(found, vec![])]).map(drop);
        assert_eq!(error, Err(FrameError::Offset { found, bytes }));
    }
    let error = add(0x1000..0x1100, vec![(8, vec![16, 12])]).map(drop);
    assert_eq!(error, Err(FrameError::Slot { at: 8, found: 12 }));
    let error = add(
        0x1000..0x1100,
        vec![(8, vec![16]), (4, vec![]), (8, vec![])],
    )
    .map(drop);
    assert_eq!(error, Err(FrameError::Twice { found: 8 }));
    assert_eq!(runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn a_panic_through_generated_code_leaves_no_record() {
    let machine = Machine::new(&[], &[]);
    let stack = machine.frames.stack();
    // As an exit stub would, whose frame a panic unwinds.
    // SAFETY: I31: the word of the stack, which lives as long as that.
    let word = unsafe { &mut *std::ptr::with_exposed_provenance_mut::<usize>(stack.address()) };
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        stack.enter(|| {
            *word = 1;
            panic!("through the frames");
        })
    }));
    assert!(caught.is_err() && !stack.is_in_host());
    machine.runtime.gc().unwrap();
}
