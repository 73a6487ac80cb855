//! Goroutines: a thread each, of which the one that holds the baton runs.
//!
//! A goroutine gives the baton away where it waits, to the first one in the queue of those that
//! can go on. So the order is the same in each run, and an empty queue without timers is a
//! deadlock. While a goroutine has no baton, its mutator is in a native region.
#![expect(
    unsafe_code,
    reason = "hands contexts to generated code and to other threads"
)]

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use fing::executor::Budget;

use super::fail::{self, OrFatal};
use super::object::{Sites, read};
use super::{BUFFER_WORDS, Ctx, RESULT_WORDS, VM, Vm, lock};

/// Bytes of a goroutine's stack.
pub(crate) const STACK: usize = 64 << 20;
/// Bytes of it that are left to the host.
const HOST_STACK: usize = 512 << 10;
/// The number of `main`'s goroutine, and of the one that runs finalizers.
const MAIN: usize = 1;
pub(super) const FINALIZERS: usize = 2;

thread_local! {
    /// The context of this thread's goroutine.
    static CTX: Cell<*mut Ctx> = const { Cell::new(ptr::null_mut()) };
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<usize>,
    sleeping: BTreeSet<(Instant, usize)>,
    threads: HashMap<usize, Thread>,
    last: usize,
    /// The finalizers' goroutine waits for something to run.
    idle: bool,
}

#[derive(Debug, Default)]
pub(super) struct Sched {
    state: Mutex<State>,
    /// The goroutine that has the baton.
    running: AtomicUsize,
}

impl Sched {
    pub(super) fn ready(&self, number: usize) {
        lock(&self.state).ready.push_back(number);
    }

    /// How many goroutines there are, without that of the finalizers.
    pub(super) fn count(&self) -> usize {
        lock(&self.state).threads.len() - 1
    }

    /// The next goroutine to run; waits for a timer if there is only that.
    fn next(&self) -> usize {
        loop {
            let mut state = lock(&self.state);
            let now = Instant::now();
            while let Some((at, number)) = state.sleeping.first().copied()
                && at <= now
            {
                state.sleeping.pop_first();
                state.ready.push_back(number);
            }
            if let Some(number) = state.ready.pop_front() {
                return number;
            }
            let first = state.sleeping.first().copied();
            drop(state);
            match first {
                Some((at, _)) => thread::sleep(at - now),
                None => fail::fatal("fatal error: all goroutines are asleep - deadlock!"),
            }
        }
    }

    fn give(&self, number: usize) {
        self.running.store(number, Ordering::Release);
        if let Some(thread) = lock(&self.state).threads.get(&number) {
            thread.unpark();
        }
    }

    fn take(&self, number: usize) {
        while self.running.load(Ordering::Acquire) != number {
            thread::park();
        }
    }

    /// Gives the baton away, and waits for it.
    fn switch(&self, number: usize) {
        let next = self.next();
        if next != number {
            self.give(next);
            self.take(number);
        }
    }
}

impl Ctx {
    fn new(vm: &'static Vm, number: usize, mutator: *mut fing::Mutator) -> Box<Ctx> {
        let stack = vm.frames.stack();
        let here = ptr::from_ref(&stack).addr();
        let sites = Sites::new(lock(&vm.heap).sites.len());
        Box::new(Ctx {
            stack_word: stack.address(),
            panicking: 0,
            stack_limit: here - STACK + HOST_STACK,
            windows: sites.addresses.as_ptr().expose_provenance(),
            results: [0; RESULT_WORDS],
            buffer: [0; BUFFER_WORDS],
            vm,
            mutator,
            number,
            panics: Vec::new(),
            sites,
            prepared: Vec::new(),
            _stack: stack,
        })
    }

    /// Gives the baton away until the goroutine is ready again.
    pub(super) fn wait(&mut self) {
        let (vm, number) = (self.vm, self.number);
        self.mutator().native(|| vm.sched.switch(number));
    }

    /// Lets the goroutines that are ready run.
    pub(super) fn make_way(&mut self) {
        self.vm.sched.ready(self.number);
        self.wait();
    }

    pub(super) fn sleep(&mut self, nanoseconds: i64) {
        let at = Instant::now() + Duration::from_nanos(nanoseconds.max(0) as u64);
        let mut state = lock(&self.vm.sched.state);
        state.sleeping.insert((at, self.number));
        drop(state);
        self.wait();
    }

    /// Calls a closure with up to two words.
    pub(super) fn call(&mut self, closure: usize, a: usize, b: usize) {
        self.call_code(read(closure) as usize, closure, [a, b, 0, 0]);
    }

    /// Calls a function of the library, one of [`CALLED`](super::CALLED).
    pub(super) fn call_library(&mut self, name: &str, words: [usize; 4]) {
        self.call_code(self.vm.code.called[name], 0, words);
    }

    /// Calls code of no more than four words, whose results are left in the context.
    pub(super) fn call_code(&mut self, code: usize, closure: usize, [a, b, c, d]: [usize; 4]) {
        type Function = extern "C" fn(usize, *mut Ctx, usize, usize, usize, usize, usize);
        let entry = ptr::with_exposed_provenance::<()>(self.vm.code.entry);
        // SAFETY: M2: the entry has this signature, and calls `code` with a context, a closure and
        // four words, of which functions of fewer ignore the rest.
        let entry: Function = unsafe { std::mem::transmute(entry) };
        entry(code, self, closure, a, b, c, d);
    }
}

/// Runs `body` with the context of this thread.
pub(super) fn with_ctx<R>(body: impl FnOnce(&mut Ctx) -> R) -> Option<R> {
    let ctx = CTX.get();
    // SAFETY: M4: it is set while the thread's goroutine exists, and what has the context calls
    // the host only, which is where this is called.
    unsafe { ctx.as_mut() }.map(body)
}

/// Starts a goroutine, which waits for the baton. That of the finalizers has a mutator for each of
/// their calls only.
fn spawn(vm: &'static Vm, number: usize, body: impl FnOnce(&mut Ctx) + Send + 'static) {
    let run = move || {
        vm.sched.take(number);
        let attach = || vm.runtime.attach().or_fatal("minigo");
        let mut mutator = (number != FINALIZERS).then(attach);
        let pointer = mutator.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        let mut ctx = Ctx::new(vm, number, pointer);
        CTX.set(&raw mut *ctx);
        body(&mut ctx);
        fail::check(&mut ctx);
        CTX.set(ptr::null_mut());
        drop((ctx, mutator));
        lock(&vm.sched.state).threads.remove(&number);
        vm.sched.give(vm.sched.next());
    };
    let thread = thread::Builder::new().stack_size(STACK).spawn(run);
    let thread = thread.or_fatal("fatal error: no thread for a goroutine");
    let mut state = lock(&vm.sched.state);
    state.threads.insert(number, thread.thread().clone());
}

impl Vm {
    /// Runs the goroutine of `main`, and ends the process when it returns. That of the finalizers
    /// waits for something to run.
    pub(crate) fn run(&'static self) -> ! {
        lock(&self.sched.state).last = FINALIZERS;
        lock(&self.sched.state).idle = true;
        spawn(self, MAIN, move |ctx| {
            // Only now, as this thread has taken over the compiler's memory.
            spawn(self, FINALIZERS, move |_| {
                loop {
                    let drain = || self.runtime.drain(Budget::unlimited()).or_fatal("minigo");
                    while drain().left > 0 {}
                    lock(&self.sched.state).idle = true;
                    self.sched.switch(FINALIZERS);
                }
            });
            ctx.call_code(self.code.start, 0, [0; 4]);
            fail::check(ctx);
            self.exit(0)
        });
        self.sched.give(MAIN);
        loop {
            thread::park();
        }
    }
}

/// The statement `go`.
pub(super) fn go(ctx: &mut Ctx, closure: usize) {
    if closure == 0 {
        fail::fatal("fatal error: go of nil func value");
    }
    let (vm, closure) = (ctx.vm, ctx.root(closure));
    let mut state = lock(&vm.sched.state);
    state.last += 1;
    let number = state.last;
    state.ready.push_back(number);
    drop(state);
    spawn(vm, number, move |ctx| {
        // From here on it is kept by the frame of its function, as long as that needs it.
        let address = closure.addr();
        drop(closure);
        ctx.call(address, 0, 0);
    });
}

// ----------------------------------------------------------------------------------------------
// finalizers

/// Whether the finalizers' goroutine can go on, and nobody has made way for it yet.
static DUE: AtomicBool = AtomicBool::new(false);

/// fing has queued calls: the finalizers' goroutine can go on.
pub(super) fn finalizers_due() {
    let Some(vm) = VM.get() else { return };
    let mut state = lock(&vm.sched.state);
    if std::mem::take(&mut state.idle) {
        state.ready.push_back(FINALIZERS);
        DUE.store(true, Ordering::Relaxed);
    }
}

/// Lets the finalizers' goroutine run if it can, so that a program that makes objects for a long
/// time does not keep those that are due. To be called where a goroutine makes an object.
pub(super) fn make_way_for_finalizers(ctx: &mut Ctx) {
    if DUE.load(Ordering::Relaxed) && ctx.number != FINALIZERS {
        DUE.store(false, Ordering::Relaxed);
        ctx.make_way();
    }
}
