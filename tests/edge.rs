//! The edge of the safe API. Whatever safe code hands in (an address, an object, a handle, a weak
//! pointer, a type, a signature, a context, an argument) may be of another runtime, of one that is
//! gone, of another type, or of an object that a collection has freed. It is refused by an error
//! that says so, or is nil; no memory is reached by it.

#[path = "edge/arguments.rs"]
mod arguments;
#[path = "edge/cycles.rs"]
mod cycles;
#[path = "edge/foreign.rs"]
mod foreign;
#[path = "edge/freed.rs"]
mod freed;
#[path = "edge/functions.rs"]
mod functions;
#[path = "edge/growth.rs"]
mod growth;
#[path = "support/linear.rs"]
mod linear;
#[path = "edge/objects.rs"]
mod objects;
#[path = "edge/pointers.rs"]
mod pointers;
#[path = "edge/types.rs"]
mod types;

use std::fmt::Debug;
use std::sync::Mutex;

use fing::function::FunctionBuilder;
use fing::stubs::Type;
use fing::{
    Abi, CleanupFn, Executor, FinalizerFn, HeapOptions, PreparedFinalizer, Runtime, RuntimeBuilder,
    Signature, TypeId,
};

/// What finalizers and cleanups of a test were called with: their first word and their context.
#[derive(Default)]
struct Log(Mutex<Vec<[usize; 2]>>);

impl Log {
    fn take(&self) -> Vec<[usize; 2]> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A function of one word with a log as its context.
extern "C" fn note(word: usize, log: &Log) {
    log.0.lock().unwrap().push([word, 0]);
}

/// A function of any argument, with or without a context.
extern "C" fn nothing() {}

/// A runtime whose finalizers run when a test says so, and that overwrites what it frees.
struct World {
    runtime: Runtime,
    /// `struct { P *main.T; N uint64 }`.
    t: TypeId,
    log: Box<Log>,
}

impl World {
    fn new() -> World {
        World::with(Runtime::builder())
    }

    fn with(builder: RuntimeBuilder) -> World {
        let heap = HeapOptions::default().poison(true);
        World::of(builder.heap(heap))
    }

    fn of(builder: RuntimeBuilder) -> World {
        let runtime = builder.executor(Executor::Inline).build().unwrap();
        let types = runtime.types();
        let t = types.define("main.T", "struct { P *main.T; N uint64 }");
        World {
            t: t.unwrap(),
            runtime,
            log: Box::default(),
        }
    }

    fn signature(&self, text: &str) -> Signature {
        self.runtime.types().parse_signature(text).unwrap()
    }

    fn ty(&self, text: &str) -> Type {
        self.runtime.types().parse(text).unwrap()
    }

    fn id(&self, text: &str) -> TypeId {
        self.runtime.types().id(text).unwrap()
    }

    /// A finalizer that does nothing.
    fn finalizer(&self, signature: &str) -> FinalizerFn {
        finalizer(self.signature(signature), |builder| builder)
    }

    /// A cleanup that does nothing.
    fn cleanup(&self, signature: &str) -> CleanupFn {
        cleanup(self.signature(signature), |builder| builder)
    }

    fn prepared(&self, function: &FinalizerFn) -> PreparedFinalizer {
        self.runtime.prepare_finalizer(self.t, function).unwrap()
    }

    /// A finalizer that logs its object.
    fn note(&self, signature: &str) -> FinalizerFn {
        let builder = FinalizerFn::builder(self.signature(signature), Abi::host_native().unwrap());
        // SAFETY: I8: a System V function of one word and the log, which outlives the runtime.
        unsafe {
            builder
                .context(&raw const *self.log as usize)
                .at(note as *const ())
        }
    }

    /// A cleanup that logs its argument.
    fn note_word(&self, signature: &str) -> CleanupFn {
        let builder = CleanupFn::builder(self.signature(signature), Abi::host_native().unwrap());
        // SAFETY: I8: as above; it does not follow the word.
        unsafe {
            builder
                .context(&raw const *self.log as usize)
                .at(note as *const ())
        }
    }

    /// Collects, runs what is due, looks whether the heap is sound, and returns what was logged.
    fn collect(&self) -> Vec<[usize; 2]> {
        self.runtime.gc().unwrap();
        self.runtime.run_finalizers().unwrap();
        self.runtime.verify_heap().unwrap();
        self.log.take()
    }

    /// Nothing is registered, and the heap is sound.
    fn is_untouched(&self) {
        let stats = self.runtime.stats();
        assert_eq!((stats.finalizers, stats.cleanups, stats.queued), (0, 0, 0));
        self.runtime.verify_heap().unwrap();
    }
}

fn finalizer(
    signature: Signature,
    options: impl FnOnce(FunctionBuilder<FinalizerFn>) -> FunctionBuilder<FinalizerFn>,
) -> FinalizerFn {
    let builder = options(FinalizerFn::builder(signature, Abi::host_native().unwrap()));
    // SAFETY: I8: it looks at no argument.
    unsafe { builder.at(nothing as *const ()) }
}

fn cleanup(
    signature: Signature,
    options: impl FnOnce(FunctionBuilder<CleanupFn>) -> FunctionBuilder<CleanupFn>,
) -> CleanupFn {
    let builder = options(CleanupFn::builder(signature, Abi::host_native().unwrap()));
    // SAFETY: I8: it looks at no argument.
    unsafe { builder.at(nothing as *const ()) }
}

/// `outcome` is the error variant of this name.
#[track_caller]
fn refused<T: Debug, E: Debug>(what: &str, variant: &str, outcome: Result<T, E>) {
    match outcome {
        Ok(value) => panic!("{what}: accepted ({value:?}), wanted the error {variant}"),
        Err(error) => {
            let text = format!("{error:?}");
            let found = text.split([' ', '(', '{']).next().unwrap_or_default();
            assert_eq!(found, variant, "{what}: {text}");
        }
    }
}
