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
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use fing::executor::Budget;

use super::object::{Sites, read};
use super::{BUFFER_WORDS, Ctx, Entry, RESULT_WORDS, Vm, fail, lock};

pub(super) static VM: OnceLock<&'static Vm> = OnceLock::new();

/// Bytes of a goroutine's stack.
const STACK: usize = 64 << 20;
/// Bytes of it that are left to the host.
const HOST_STACK: usize = 512 << 10;
/// The goroutine that runs finalizers.
pub(super) const FINALIZERS: usize = 2;

thread_local! {
    /// The context of this thread's goroutine.
    static CTX: Cell<*mut Ctx> = const { Cell::new(std::ptr::null_mut()) };
}

/// What a goroutine waits on for the baton.
#[derive(Debug, Default)]
struct Baton {
    held: Mutex<bool>,
    given: Condvar,
}

impl Baton {
    fn give(&self) {
        *lock(&self.held) = true;
        self.given.notify_one();
    }

    fn take(&self) {
        let held = lock(&self.held);
        let waited = self.given.wait_while(held, |held| !*held);
        *waited.unwrap_or_else(std::sync::PoisonError::into_inner) = false;
    }
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<usize>,
    sleeping: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    sleeps: u64,
    batons: HashMap<usize, Arc<Baton>>,
    last: usize,
    ended: usize,
    /// The finalizers' goroutine exists, and waits for something to run.
    finalizers: bool,
    idle: bool,
    /// Closures that goroutines were started with and have not called yet.
    starting: HashMap<usize, usize>,
}

#[derive(Debug, Default)]
pub(super) struct Sched(Mutex<State>);

impl Sched {
    fn baton(&self, number: usize) -> Arc<Baton> {
        lock(&self.0).batons.entry(number).or_default().clone()
    }

    pub(super) fn ready(&self, number: usize) {
        lock(&self.0).ready.push_back(number);
    }

    pub(super) fn visit(&self, visit: &mut dyn FnMut(usize)) {
        lock(&self.0)
            .starting
            .values()
            .for_each(|closure| visit(*closure));
    }

    /// The next goroutine to run; waits for a timer if there is only that.
    fn next(&self, vm: &Vm) -> usize {
        loop {
            let mut state = lock(&self.0);
            let now = Instant::now();
            while let Some(Reverse((at, _, number))) = state.sleeping.peek().copied()
                && at <= now
            {
                state.sleeping.pop();
                state.ready.push_back(number);
            }
            if let Some(number) = state.ready.pop_front() {
                return number;
            }
            let Some(Reverse((at, ..))) = state.sleeping.peek().copied() else {
                drop(state);
                fail::fatal(vm, "fatal error: all goroutines are asleep - deadlock!");
            };
            drop(state);
            std::thread::sleep(at - now);
        }
    }

    /// Gives the baton away, and waits for it.
    fn switch(&self, vm: &Vm, number: usize) {
        let next = self.next(vm);
        if next != number {
            self.baton(next).give();
            self.baton(number).take();
        }
    }
}

impl Ctx {
    fn new(vm: &'static Vm, number: usize) -> Box<Ctx> {
        let stack = vm.frames.stack();
        let here = std::ptr::from_ref(&stack).addr();
        let sites = Sites::new(lock(&vm.heap).sites());
        let ctx = Box::new(Ctx {
            stack_word: stack.address(),
            panicking: 0,
            stack_limit: here - STACK + HOST_STACK,
            bound_frame: 0,
            bound_caller: 0,
            windows: sites.address(),
            results: [0; RESULT_WORDS],
            buffer: [0; BUFFER_WORDS],
            vm,
            mutator: std::ptr::null_mut(),
            number,
            roots: Vec::new(),
            panics: Vec::new(),
            pending: [0; 2],
            cases: Vec::new(),
            sites,
            finalizer: None,
            _stack: stack,
        });
        lock(&vm.contexts).push(std::ptr::from_ref(&*ctx).expose_provenance());
        ctx
    }

    /// Gives the baton away until the goroutine is ready again.
    pub(super) fn wait(&mut self) {
        let (vm, number) = (self.vm, self.number);
        self.mutator().native(|| vm.sched.switch(vm, number));
    }

    /// Calls a closure with up to two words.
    pub(super) fn call(&mut self, closure: usize, a: usize, b: usize) {
        self.call_code(read(closure) as usize, closure, a, b);
    }

    /// Calls code of no more than two words, whose results are left in the context.
    pub(super) fn call_code(&mut self, code: usize, closure: usize, a: usize, b: usize) {
        type Function = extern "C" fn(usize, *mut Ctx, usize, usize, usize);
        let Entry(entry) = self.vm.entry;
        let entry = std::ptr::with_exposed_provenance::<()>(entry);
        // SAFETY: M2: the entry has this signature, and calls `code` with a context, a closure and
        // two words, of which functions of fewer ignore the rest.
        let entry: Function = unsafe { std::mem::transmute(entry) };
        entry(code, self, closure, a, b);
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        let address = std::ptr::from_ref(self).addr();
        lock(&self.vm.contexts).retain(|other| *other != address);
    }
}

/// Runs `body` with the context of this thread.
pub(super) fn with_ctx<R>(body: impl FnOnce(&mut Ctx) -> R) -> Option<R> {
    let ctx = CTX.get();
    // SAFETY: M4: it is set while the thread's goroutine exists, and what has the context calls
    // the host only, which is where this is called.
    unsafe { ctx.as_mut() }.map(body)
}

fn spawn(vm: &'static Vm, number: usize, body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK);
    if let Err(error) = thread.spawn(body) {
        fail::fatal(
            vm,
            &format!("fatal error: no thread for goroutine {number}: {error}"),
        );
    }
}

/// Runs the goroutine of `main`, and ends the process when it returns.
pub(super) fn run_main(vm: &'static Vm, start: usize) -> Result<(), String> {
    lock(&vm.sched.0).last = FINALIZERS;
    spawn(vm, 1, move || {
        goroutine(vm, 1, |ctx| {
            ctx.call_code(start, 0, 0, 0);
            fail::check(ctx);
            vm.exit(0)
        });
    });
    loop {
        std::thread::park();
    }
}

fn goroutine(vm: &'static Vm, number: usize, body: impl FnOnce(&mut Ctx)) {
    let mut mutator = match vm.runtime.attach() {
        Ok(mutator) => mutator,
        Err(error) => fail::fatal(vm, &format!("minigo: {error}")),
    };
    let mut ctx = Ctx::new(vm, number);
    ctx.mutator = &raw mut mutator;
    CTX.set(&raw mut *ctx);
    body(&mut ctx);
    CTX.set(std::ptr::null_mut());
}

pub(super) extern "C" fn go(ctx: &mut Ctx, closure: u64) -> u64 {
    let vm = ctx.vm;
    let number = {
        let mut state = lock(&vm.sched.0);
        state.last += 1;
        let number = state.last;
        state.starting.insert(number, closure as usize);
        state.ready.push_back(number);
        number
    };
    let baton = vm.sched.baton(number);
    spawn(vm, number, move || {
        baton.take();
        goroutine(vm, number, |ctx| {
            // From here on it is kept by the frame of its function, as long as that needs it.
            lock(&vm.sched.0).starting.remove(&number);
            ctx.call(closure as usize, 0, 0);
            fail::check(ctx);
        });
        let mut state = lock(&vm.sched.0);
        state.ended += 1;
        state.batons.remove(&number);
        drop(state);
        let next = vm.sched.next(vm);
        vm.sched.baton(next).give();
    });
    0
}

pub(super) extern "C" fn gosched(ctx: &mut Ctx) -> u64 {
    ctx.vm.sched.ready(ctx.number);
    ctx.wait();
    0
}

pub(super) extern "C" fn count(ctx: &mut Ctx) -> u64 {
    let state = lock(&ctx.vm.sched.0);
    (state.last - FINALIZERS - state.ended) as u64 + 1
}

pub(super) extern "C" fn sleep(ctx: &mut Ctx, nanoseconds: u64) -> u64 {
    if (nanoseconds as i64) <= 0 {
        return gosched(ctx);
    }
    {
        let mut state = lock(&ctx.vm.sched.0);
        state.sleeps += 1;
        let at = Instant::now() + Duration::from_nanos(nanoseconds.min(u64::MAX >> 4));
        let entry = (at, state.sleeps, ctx.number);
        state.sleeping.push(Reverse(entry));
    }
    ctx.wait();
    0
}

// ----------------------------------------------------------------------------------------------
// finalizers

/// Whether the finalizers' goroutine can go on, and nobody has made way for it yet.
static DUE: AtomicBool = AtomicBool::new(false);

/// fing has queued calls: the finalizers' goroutine can go on.
pub(super) fn finalizers_due() {
    let Some(vm) = VM.get() else { return };
    let mut state = lock(&vm.sched.0);
    if state.finalizers && state.idle {
        state.idle = false;
        state.ready.push_back(FINALIZERS);
        DUE.store(true, Ordering::Relaxed);
    }
}

/// Lets the finalizers' goroutine run if it can, so that a program that makes objects for a long
/// time does not keep those that are due. To be called where a goroutine makes an object.
pub(super) fn make_way(ctx: &mut Ctx) {
    if DUE.load(Ordering::Relaxed) && ctx.number != FINALIZERS {
        DUE.store(false, Ordering::Relaxed);
        gosched(ctx);
    }
}

/// Starts the finalizers' goroutine with the first registration.
pub(super) fn start_finalizers(vm: &'static Vm) {
    let mut state = lock(&vm.sched.0);
    if std::mem::replace(&mut state.finalizers, true) {
        return;
    }
    state.idle = true;
    drop(state);
    let baton = vm.sched.baton(FINALIZERS);
    spawn(vm, FINALIZERS, move || {
        let mut ctx = Ctx::new(vm, FINALIZERS);
        CTX.set(&raw mut *ctx);
        loop {
            baton.take();
            loop {
                let drained = match vm.runtime.drain(Budget::unlimited()) {
                    Ok(drained) => drained,
                    Err(error) => fail::fatal(vm, &format!("minigo: {error}")),
                };
                if drained.left == 0 {
                    lock(&vm.sched.0).idle = true;
                    break;
                }
            }
            let next = vm.sched.next(vm);
            if next == FINALIZERS {
                baton.give();
            } else {
                vm.sched.baton(next).give();
            }
        }
    });
}
