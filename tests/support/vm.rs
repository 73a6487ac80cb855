//! A runtime for tests whose finalizers and cleanups are Rust closures.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use fing::{
    Abi, CleanupFn, FinalizerFn, Handle, Mutator, Obj, Runtime, RuntimeBuilder, Signature, TypeId,
};

pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What a closure is called with: the words of its argument.
type Body = Box<dyn Fn([usize; 2]) + Send + Sync>;

/// 32 bytes of results, as many as make the caller give an area for them.
#[repr(C)]
struct Results([i64; 4]);

extern "C-unwind" fn one(word: usize, body: &Body) {
    body([word, 0]);
}

/// An interface by value, which C conventions pass as this struct: in two registers, or as the
/// address of a copy.
#[repr(C)]
struct Interface([usize; 2]);

extern "C-unwind" fn two(argument: Interface, body: &Body) {
    body(argument.0);
}

extern "C-unwind" fn two_with_results(argument: Interface, body: &Body) -> Results {
    body(argument.0);
    Results([1, 2, 3, 4])
}

/// A runtime with a few types: `main.T`, a number and a pointer; and pointers to numbers with names
/// and methods.
pub(crate) struct Vm {
    pub(crate) runtime: Runtime,
    pub(crate) t: TypeId,
}

impl Vm {
    pub(crate) fn new() -> Vm {
        Vm::with(Runtime::builder())
    }

    pub(crate) fn with(builder: RuntimeBuilder) -> Vm {
        let runtime = builder.build().unwrap();
        let types = runtime.types();
        let t = types
            .define("main.T", "struct { V int; P unsafe.Pointer }")
            .unwrap();
        Vm { runtime, t }
    }

    /// A function of one parameter, pointer or interface, that runs `body` with the parameter's
    /// words.
    pub(crate) fn function(
        &self,
        signature: &str,
        body: impl Fn([usize; 2]) + Send + Sync + 'static,
    ) -> FinalizerFn {
        let (signature, code, body) = self.parts(signature, body);
        let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
            .context(std::ptr::from_ref::<Body>(&body).addr())
            .keep_alive(body);
        // SAFETY: I8: C functions of the parameter's words and the closure, which the
        // function keeps.
        unsafe { builder.at(code) }
    }

    /// The same as a cleanup.
    pub(crate) fn cleanup(
        &self,
        signature: &str,
        body: impl Fn([usize; 2]) + Send + Sync + 'static,
    ) -> CleanupFn {
        let (signature, code, body) = self.parts(signature, body);
        let builder = CleanupFn::builder(signature, Abi::host_native().unwrap())
            .context(std::ptr::from_ref::<Body>(&body).addr())
            .keep_alive(body);
        // SAFETY: I8: as above; it looks at no more than the words' values.
        unsafe { builder.at(code) }
    }

    fn parts(
        &self,
        signature: &str,
        body: impl Fn([usize; 2]) + Send + Sync + 'static,
    ) -> (Signature, *const (), Arc<Body>) {
        let signature = self.runtime.types().parse_signature(signature).unwrap();
        let parameter = signature.arguments().next().unwrap();
        let code = match (parameter.layout().unwrap().size, signature.results().len()) {
            (16, 0) => two as *const (),
            (16, _) => two_with_results as *const (),
            _ => one as *const (),
        };
        (signature, code, Arc::new(Box::new(body)))
    }

    /// A function that sends a message each time it is called.
    pub(crate) fn sender(&self, signature: &str) -> (FinalizerFn, Receiver<[usize; 2]>) {
        let (sender, receiver): (Sender<_>, _) = channel();
        let send = move |words| sender.send(words).unwrap();
        (self.function(signature, send), receiver)
    }

    /// A cleanup that sends a message each time it is called.
    pub(crate) fn cleanup_sender(&self, signature: &str) -> (CleanupFn, Receiver<[usize; 2]>) {
        let (sender, receiver): (Sender<_>, _) = channel();
        let send = move |words| sender.send(words).unwrap();
        (self.cleanup(signature, send), receiver)
    }

    pub(crate) fn enter<R>(&self, body: impl FnOnce(&mut Mutator) -> R) -> R {
        self.runtime.enter(body).unwrap()
    }

    /// A `main.T` of this number that nothing refers to, given to `body`.
    pub(crate) fn doomed<R>(&self, number: u64, body: impl FnOnce(&Mutator, Obj<'_>) -> R) -> R {
        self.enter(|m| {
            let object = m.alloc(self.t).unwrap();
            m.store_word(object, 0, number).unwrap();
            body(m, object)
        })
    }

    /// A rooted `main.T`.
    pub(crate) fn rooted(&self) -> Handle {
        self.doomed(0, |m, object| m.root(object).unwrap())
    }

    /// Collects, and waits until what is due has run.
    pub(crate) fn collect(&self) {
        self.runtime.gc().unwrap();
        self.runtime
            .block_until_finalizer_queue_empty(LONG)
            .unwrap();
    }
}

/// What was sent so far.
pub(crate) fn sent<T>(receiver: &Receiver<T>) -> Vec<T> {
    receiver.try_iter().collect()
}
