//! An arena with objects of several types, whose finalizers are Rust functions: whole collections,
//! collections in parts, and what finalizers may do.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use fing::error::ExecutorError;
use fing::foreign::{CollectionError, Finalizers, Reference, Scope};
use fing::{Abi, FinalizerFn, FinalizerOptions, HeldValue, Order};
use fing_gc_arena::{ArenaError, FinalizerArena, Object, Objects, Typed};
use gc_arena::barrier::field;
use gc_arena::collect::Trace;
use gc_arena::lock::Lock;
use gc_arena::metrics::Pacing;
use gc_arena::{Collect, Gc, Mutation, Rootable};

/// Something of the system's, which has no references.
#[derive(Collect)]
#[collect(require_static)]
struct File {
    number: usize,
    _freed: Freed,
}

/// Refers to a file and to another folder.
#[derive(Collect)]
#[collect(no_drop)]
struct Folder<'gc> {
    #[collect(require_static)]
    number: usize,
    file: Lock<Option<FilePointer<'gc>>>,
    next: Lock<Option<FolderPointer<'gc>>>,
    #[collect(require_static)]
    _freed: Freed,
}

type FilePointer<'gc> = Gc<'gc, Typed<'gc, File>>;
type FolderPointer<'gc> = Gc<'gc, Typed<'gc, Folder<'gc>>>;

struct AllTyped;

// SAFETY: folders refer to `Typed` values only, which are all there is in these arenas.
unsafe impl Objects for AllTyped {
    unsafe fn trace<'gc>(object: Gc<'gc, ()>, visitor: &mut dyn Trace<'gc>) {
        FOLLOWED.with(|followed| followed.set(followed.get() + 1));
        assert!(!PANIC.take(), "planted");
        // SAFETY: the object is a `Typed` value.
        unsafe { Typed::trace_any(object, visitor) };
    }
}

thread_local! {
    static FOLLOWED: Cell<usize> = const { Cell::new(0) };
    /// Whether tracing the next object that is asked for panics.
    static PANIC: Cell<bool> = const { Cell::new(false) };
}

/// Counts, by number, how often an object was freed.
struct Freed(usize, Rc<Ledger>);

impl Drop for Freed {
    fn drop(&mut self) {
        let counts = self.1.freed.borrow()[self.0].clone();
        counts.set(counts.get() + 1);
    }
}

/// How often each object was finalized and freed, in order of their numbers.
#[derive(Default)]
struct Ledger {
    finalized: RefCell<Vec<Rc<Cell<usize>>>>,
    freed: RefCell<Vec<Rc<Cell<usize>>>>,
}

type Slots = Rootable![Vec<Option<FolderPointer<'_>>>];
type VmArena = FinalizerArena<Slots, AllTyped>;

type OnClose = Box<dyn Fn(&Vm)>;
type OnRemove = Box<dyn Fn(&Vm, Object)>;

struct Vm {
    arena: RefCell<Option<Rc<VmArena>>>,
    ledger: Rc<Ledger>,
    close: FinalizerFn,
    remove: FinalizerFn,
    /// What the finalizer of a file does beside being counted.
    on_close: RefCell<OnClose>,
    /// What that of a folder does.
    on_remove: RefCell<OnRemove>,
}

/// The finalizer of a file: reads it, whose memory is there until this returns.
extern "C-unwind" fn close(file: &Typed<'_, File>, vm: &Vm) {
    let before = file.number;
    vm.count(before);
    (vm.on_close.borrow())(vm);
    assert_eq!(file.number, before);
}

/// The finalizer of a folder, as fing passes it: a word.
extern "C-unwind" fn remove(folder: usize, vm: &Vm) {
    let folder = Object::from_word(folder as u64);
    let number = |vm: &Vm| {
        vm.arena().mutate(|mc, _| {
            // SAFETY: this is called with folders, which live until it returns.
            let folder: FolderPointer<'_> = unsafe { folder.pointer(mc) };
            folder.number
        })
    };
    let before = number(vm);
    vm.count(before);
    (vm.on_remove.borrow())(vm, folder);
    assert_eq!(number(vm), before);
}

impl Vm {
    /// Makes a VM whose root has so many slots. It stays where it is: finalizers have its address.
    fn new(order: Order, slots: usize) -> Box<Vm> {
        let builder = || {
            let signature = "func(unsafe.Pointer)".parse().unwrap();
            FinalizerFn::builder(signature, Abi::host_native().unwrap()).context_word()
        };
        // SAFETY: C functions of a pointer and of a word, which are set for what they take.
        let (close, remove) = unsafe {
            (
                builder().at(close as *const ()),
                builder().at(remove as *const ()),
            )
        };
        let options = Finalizers::builder().order(order);
        let arena = FinalizerArena::new(options, |_| vec![None; slots]).unwrap();
        Box::new(Vm {
            arena: RefCell::new(Some(Rc::new(arena))),
            ledger: Rc::default(),
            close,
            remove,
            on_close: RefCell::new(Box::new(|_| ())),
            on_remove: RefCell::new(Box::new(|_, _| ())),
        })
    }

    fn arena(&self) -> Rc<VmArena> {
        self.arena.borrow().clone().unwrap()
    }

    fn count(&self, number: usize) {
        let finalized = &self.ledger.finalized.borrow()[number];
        finalized.set(finalized.get() + 1);
    }

    /// The numbers of what was finalized, and of what was freed, each once.
    fn over(&self) -> [Vec<usize>; 2] {
        [&self.ledger.finalized, &self.ledger.freed].map(|counts| {
            let counts = counts.borrow();
            let numbers = counts
                .iter()
                .enumerate()
                .filter(|(_, count)| count.get() > 0);
            numbers
                .map(|(number, count)| {
                    assert_eq!(count.get(), 1, "object {number}");
                    number
                })
                .collect()
        })
    }

    fn entry(&self) -> (usize, Freed) {
        let number = self.ledger.freed.borrow().len();
        self.ledger.freed.borrow_mut().push(Rc::default());
        self.ledger.finalized.borrow_mut().push(Rc::default());
        (number, Freed(number, self.ledger.clone()))
    }

    fn finalize(&self, object: Object, function: &FinalizerFn) {
        let word = std::ptr::from_ref(self).expose_provenance() as u64;
        let options = FinalizerOptions::new().context(HeldValue::Word(word));
        // SAFETY: the object is alive, of the function's type, and the VM outlives its arena.
        let set = unsafe {
            self.arena()
                .finalizers()
                .set_finalizer_with(object, function, options)
        };
        set.unwrap();
    }

    /// Makes a file with a finalizer.
    fn file<'gc>(&self, mc: &Mutation<'gc>) -> FilePointer<'gc> {
        let (number, _freed) = self.entry();
        let file = Typed::alloc(mc, File { number, _freed });
        self.finalize(Object::of(file), &self.close);
        file
    }

    /// Makes a folder with a finalizer.
    fn folder<'gc>(
        &self,
        mc: &Mutation<'gc>,
        file: Option<FilePointer<'gc>>,
        next: Option<FolderPointer<'gc>>,
    ) -> FolderPointer<'gc> {
        let (number, _freed) = self.entry();
        let folder = Folder {
            number,
            file: Lock::new(file),
            next: Lock::new(next),
            _freed,
        };
        let folder = Typed::alloc(mc, folder);
        self.finalize(Object::of(folder), &self.remove);
        folder
    }

    /// Puts a folder with a file in a slot.
    fn keep(&self, slot: usize) {
        self.arena()
            .mutate_root(|mc, slots| {
                let folder = self.folder(mc, Some(self.file(mc)), None);
                slots[slot] = Some(folder);
            })
            .unwrap();
    }

    fn forget(&self, slot: usize) {
        let forget = self.arena().mutate_root(|_, slots| slots[slot] = None);
        forget.unwrap();
    }

    /// Collects and finalizes once. Returns how many calls were made.
    fn cycle(&self) -> u64 {
        self.arena().finish_cycle().unwrap();
        self.arena().run_finalizers().unwrap()
    }
}

#[test]
fn a_chain_of_types_is_finalized_in_order() {
    let vm = Vm::new(Order::Go, 1);
    vm.keep(0);
    assert_eq!(vm.cycle(), 0);
    // The file is 0, the folder, which refers to it, 1.
    vm.forget(0);
    assert_eq!(vm.cycle(), 1);
    assert_eq!(vm.over(), [vec![1], vec![]]);
    assert_eq!(vm.cycle(), 1);
    assert_eq!(vm.over(), [vec![0, 1], vec![1]]);
    assert_eq!(vm.cycle(), 0);
    assert_eq!(vm.over(), [vec![0, 1], vec![0, 1]]);

    let vm = Vm::new(Order::Topological, 1);
    vm.keep(0);
    vm.forget(0);
    assert_eq!(vm.cycle(), 2);
    vm.cycle();
    assert_eq!(vm.over(), [vec![0, 1], vec![0, 1]]);
}

#[test]
fn objects_without_types_at_hand_are_followed() {
    // Three folders without finalizers between two that have them.
    let vm = Vm::new(Order::Topological, 1);
    vm.arena().mutate(|mc, _| {
        let mut folder = vm.folder(mc, None, None);
        for _ in 0..3 {
            let (number, _freed) = vm.entry();
            let next = Lock::new(Some(folder));
            let file = Lock::new(None);
            folder = Typed::alloc(
                mc,
                Folder {
                    number,
                    file,
                    next,
                    _freed,
                },
            );
        }
        vm.folder(mc, None, Some(folder));
    });
    let calls = Rc::new(RefCell::new(Vec::new()));
    let log = calls.clone();
    let before = FOLLOWED.get();
    *vm.on_remove.borrow_mut() = Box::new(move |vm, _| log.borrow_mut().push(vm.over()[0].clone()));
    assert_eq!(vm.cycle(), 2);
    assert!(FOLLOWED.get() > before + 3, "every one of them was asked");
    assert_eq!(*calls.borrow(), [vec![4], vec![0, 4]]);
}

#[test]
fn a_finalizer_collects_mutates_and_revives() {
    let vm = Vm::new(Order::Go, 2);
    vm.keep(0);
    vm.forget(0);
    *vm.on_remove.borrow_mut() = Box::new(|vm, folder| {
        // The folder is nobody's now, and is kept as its finalizer runs.
        vm.arena().finish_cycle().unwrap();
        vm.arena().finish_cycle().unwrap();
        assert_eq!(vm.over()[1], []);
        let revived = vm.arena().mutate_root(|mc, slots| {
            // SAFETY: as in `remove`.
            slots[1] = Some(unsafe { folder.pointer(mc) });
        });
        revived.unwrap();
    });
    assert_eq!(vm.cycle(), 1);
    assert_eq!(vm.cycle(), 0);
    // Revived, it has no finalizer. Its file has, and is kept by it.
    assert_eq!(vm.over(), [vec![1], vec![]]);
    vm.forget(1);
    assert_eq!(vm.cycle(), 1);
    vm.cycle();
    assert_eq!(vm.over(), [vec![0, 1], vec![0, 1]]);
}

#[test]
fn a_weak_handle_ends_before_the_finalizer_runs() {
    let vm = Vm::new(Order::Go, 1);
    vm.keep(0);
    let (weak, own) = vm.arena().mutate(|_, slots| {
        let folder = slots[0].unwrap();
        // SAFETY: the object is alive.
        let weak = unsafe { vm.arena().finalizers().downgrade(Object::of(folder)) };
        (weak, Object::of(folder))
    });
    vm.arena().finish_cycle().unwrap();
    assert_eq!(vm.arena().finalizers().upgrade(weak), Some(own));
    vm.forget(0);
    vm.arena().finish_cycle().unwrap();
    assert_eq!(vm.arena().finalizers().upgrade(weak), None);
    // The folder is whole all the same, until its finalizer has run.
    assert_eq!(vm.over(), [vec![], vec![]]);
}

/// A generator of random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// The mutator and its finalizers work while the arena is marked and swept in small parts: each
/// finalizer runs once, not while its object is reachable, and before the object is freed.
#[test]
fn collecting_in_parts_loses_nothing() {
    let cases = std::env::var("FING_CASES").ok();
    let cases: u64 = cases.map_or(40, |cases| cases.parse().unwrap());
    let mut phases = [0; 4];
    for seed in 1..=cases {
        let order = [Order::Go, Order::Topological][seed as usize % 2];
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let vm = Vm::new(order, SLOTS);
        vm.arena().metrics().set_pacing(Pacing {
            sleep_factor: 0.0,
            min_sleep: 0,
            ..Pacing::DEFAULT
        });
        let program = Rc::new(Cell::new(true));
        let running = program.clone();
        *vm.on_remove.borrow_mut() = Box::new(move |vm, folder| {
            if running.get() {
                disturb(vm, folder, order);
            }
        });
        for _ in 0..200 {
            step(&vm, &mut random);
            phases[vm.arena().collection_phase() as usize] += 1;
        }
        program.set(false);
        (0..SLOTS).for_each(|slot| vm.forget(slot));
        // What died while marking is under way may need a collection more.
        while vm.cycle() + vm.cycle() + vm.cycle() > 0 {}
        let all: Vec<usize> = (0..vm.ledger.freed.borrow().len()).collect();
        assert_eq!(vm.over(), [all.clone(), all], "seed {seed}");
    }
    let [sleeping, marking, marked, sweeping] = phases;
    println!("{sleeping} sleeping, {marking} marking, {marked} marked, {sweeping} sweeping");
    assert!(marking > 10 * cases && sweeping > 10 * cases);
}

const SLOTS: usize = 8;

/// One operation of a random program.
fn step(vm: &Vm, random: &mut Random) {
    let [slot, other] = [random.below(SLOTS), random.below(SLOTS)];
    match random.below(7) {
        0 | 1 => vm.keep(slot),
        2 => vm.forget(slot),
        // Pointers are stored in objects that may be marked already. Older ones only: there are
        // no cycles.
        3 | 4 => vm.arena().mutate(|mc, slots| {
            let pair = slots[slot].zip(slots[other]);
            if let Some((from, to)) = pair.filter(|(from, to)| from.number > to.number) {
                set_next(mc, from, Some(to));
            }
        }),
        5 => drop(vm.arena().run_finalizers().unwrap()),
        _ => {
            vm.arena().metrics().adjust_debt(random.below(6) as f64);
            vm.arena().collect_debt().unwrap();
        }
    }
}

/// What a finalizer does while a program runs: makes an object that has what the dead one had,
/// keeps one or the other of them, and collects a little.
fn disturb(vm: &Vm, folder: Object, order: Order) {
    let choice = vm.ledger.freed.borrow().len();
    let changed = vm.arena().mutate_root(|mc, slots| {
        // SAFETY: as in `remove`.
        let folder: FolderPointer<'_> = unsafe { folder.pointer(mc) };
        // In topological order the finalizer of what it refers to may be next.
        let may_revive = order == Order::Go;
        assert!(!may_revive || !is_reachable(slots, folder.number));
        let new = vm.folder(mc, None, folder.next.get().filter(|_| may_revive));
        if choice.is_multiple_of(3) {
            let kept = if may_revive && choice.is_multiple_of(2) {
                folder
            } else {
                new
            };
            slots[choice % SLOTS] = Some(kept);
        }
    });
    changed.unwrap();
    vm.arena().collect_debt().unwrap();
}

fn set_next<'gc>(mc: &Mutation<'gc>, folder: FolderPointer<'gc>, next: Option<FolderPointer<'gc>>) {
    let folder = Typed::value(Gc::write(mc, folder));
    field!(folder, Folder, next).unlock().set(next);
}

fn is_reachable(slots: &[Option<FolderPointer<'_>>], number: usize) -> bool {
    slots.iter().any(|&slot| {
        let mut folders = std::iter::successors(slot, |folder| folder.next.get());
        folders.any(|folder| folder.number == number)
    })
}

#[test]
fn inside_of_mutate_nothing_is_collected() {
    let vm = Vm::new(Order::Go, 1);
    let mutating = |operation| ArenaError::Mutating { operation };
    vm.arena().mutate(|_, _| {
        let arena = vm.arena();
        let errors = [
            arena.finish_cycle().unwrap_err(),
            arena.collect_debt().unwrap_err(),
            arena.mutate_root(|_, _| ()).unwrap_err(),
        ];
        let operations = ["finish_cycle", "collect_debt", "mutate_root"];
        assert_eq!(errors, operations.map(mutating));
        arena.mutate(|_, _| ());
    });
    let text = mutating("finish_cycle").to_string();
    assert_eq!(
        text,
        "finish_cycle: called inside of mutate, wanted outside of it"
    );
    assert!(vm.arena().finish_cycle().unwrap().is_some());
}

#[test]
fn a_collection_that_was_begun_elsewhere_is_not_swept() {
    let vm = Vm::new(Order::Go, 1);
    vm.keep(0);
    vm.forget(0);
    // SAFETY: it is given no tracer.
    let elsewhere = unsafe { vm.arena().finalizers().begin(Scope::Full) }.unwrap();
    let error = vm.arena().finish_cycle().unwrap_err();
    assert_eq!(error, ArenaError::Collection(CollectionError::UnderWay));
    assert_eq!(vm.over(), [vec![], vec![]]);
    drop(elsewhere);
    assert_eq!(vm.cycle(), 1);
}

#[test]
fn a_panic_while_tracing_gives_the_collection_up() {
    let vm = Vm::new(Order::Go, 1);
    vm.keep(0);
    vm.forget(0);
    PANIC.set(true);
    let collected = catch_unwind(AssertUnwindSafe(|| vm.arena().finish_cycle()));
    assert!(collected.is_err());
    assert_eq!(vm.over(), [vec![], vec![]]);
    assert_eq!([vm.cycle(), vm.cycle(), vm.cycle()], [1, 1, 0]);
    assert_eq!(vm.over(), [vec![0, 1], vec![0, 1]]);
}

#[test]
fn an_arena_that_is_dropped_finalizes_nothing_more() {
    let vm = Vm::new(Order::Go, 1);
    vm.keep(0);
    vm.forget(0);
    vm.arena().finish_cycle().unwrap();
    let finalizers = vm.arena().finalizers().clone();
    assert_eq!(finalizers.stats().backlog.calls, 1);
    vm.arena.take();
    assert_eq!(vm.over(), [vec![], vec![0, 1]]);
    assert_eq!(finalizers.run_finalizers(), Ok(0));
    assert_eq!(finalizers.stats().discarded, 1);
}

#[test]
fn an_arena_that_a_finalizer_drops_is_leaked() {
    let vm = Vm::new(Order::Go, 0);
    vm.arena()
        .mutate(|mc, _| [vm.file(mc), vm.file(mc)].map(Object::of));
    *vm.on_close.borrow_mut() = Box::new(|vm| drop(vm.arena.take()));
    let finalizers = vm.arena().finalizers().clone();
    vm.arena().finish_cycle().unwrap();
    assert_eq!(finalizers.run_finalizers(), Ok(2));
    // The second call has read its file, whose memory is never given back.
    assert_eq!(vm.over(), [vec![0, 1], vec![]]);
}

#[test]
fn a_finalizer_that_runs_finalizers_is_told() {
    let vm = Vm::new(Order::Go, 1);
    vm.keep(0);
    vm.forget(0);
    let told = Rc::new(Cell::new(None));
    let tell = told.clone();
    *vm.on_remove.borrow_mut() = Box::new(move |vm, _| tell.set(vm.arena().run_finalizers().err()));
    assert_eq!(vm.cycle(), 1);
    assert_eq!(told.take(), Some(ExecutorError::Reentered));
}
