//! Programs run by fing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fing::function::UncheckedBytes;
use fing::stubs::{CacheOptions, CodePolicy};
use fing::{
    Abi, Cleanup, CleanupArgument, CleanupFn, Executor, FinalizerFn, Handle, HeapOptions, Mutator,
    Obj, Runtime, Signature, TypeId, Weak,
};

use super::program::{Deed, Op, Param, Place, Program, ROOTS, Story, Type};

/// Bits of an object's state word.
const FINALIZER: u64 = 1;
const INNER: u64 = 2;

/// One program's runtime. Finalizers have it as context, so it stays where it is.
struct Machine {
    runtime: Runtime,
    types: [TypeId; 5],
    word: TypeId,
    /// By type and parameter.
    finalizers: Vec<[FinalizerFn; 3]>,
    inner: Option<FinalizerFn>,
    cleanup: Option<CleanupFn>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    roots: [Option<Handle>; ROOTS],
    globals: Vec<Handle>,
    objects: BTreeMap<u64, Known>,
    cleanups: BTreeMap<u32, Cleanup>,
    weaks: BTreeMap<u32, Pointer>,
    events: Vec<String>,
}

/// A weak pointer, and the number of its object.
struct Pointer {
    weak: Weak,
    target: u64,
}

/// What the program knows of an object without looking into it.
struct Known {
    ty: Type,
    deed: Deed,
    param: Param,
    again: u32,
    /// Where in its target each field points.
    places: [Place; 3],
}

extern "C-unwind" fn finalize(object: usize, machine: &Machine) {
    machine.finalized(object);
}

/// Two words that travel together: an interface by value.
#[repr(C)]
struct Interface(u64, usize);

extern "C-unwind" fn finalize_interface(Interface(_, object): Interface, machine: &Machine) {
    machine.finalized(object);
}

extern "C-unwind" fn finalize_inner(word: usize, machine: &Machine) {
    let event = machine.enter(|m, _| {
        let object = m.adopt(word - 8).unwrap();
        set_bit(m, object, INNER, false);
        format!("I{}", number(m, object))
    });
    machine.state.borrow_mut().events.push(event);
}

extern "C-unwind" fn clean_up(Interface(cleanup, object): Interface, machine: &Machine) {
    let mut event = format!("C{cleanup}");
    if object != 0 {
        let id = machine.enter(|m, _| number(m, m.adopt(object).unwrap()));
        event += &format!(":{id}");
    }
    machine.state.borrow_mut().events.push(event);
}

fn number(m: &Mutator, object: Obj<'_>) -> u64 {
    m.load_word(object, 0).unwrap()
}

fn bit(m: &Mutator, object: Obj<'_>, bit: u64) -> bool {
    m.load_word(object, 8).unwrap() & bit != 0
}

fn set_bit(m: &Mutator, object: Obj<'_>, bit: u64, on: bool) {
    let state = m.load_word(object, 8).unwrap();
    let state = if on { state | bit } else { state & !bit };
    m.store_word(object, 8, state).unwrap();
}

/// What fing does with a program, in a runtime of its own. Stubs cost more than a program does, so
/// most programs are run without.
pub(crate) fn run(program: &Program) -> Story {
    let stubs = program.0.len().is_multiple_of(8);
    let machine = Machine::new(if stubs {
        CodePolicy::Generate
    } else {
        CodePolicy::Interpret
    });
    let mut story = Story::new();
    // A panic is a difference like any other: the program that leads to it is to be made smaller.
    let told = catch_unwind(AssertUnwindSafe(|| {
        for op in &program.0 {
            match op {
                Op::Collect => story.push(machine.collect(1)),
                Op::Twice => story.push(machine.collect(2)),
                op => machine.step(op),
            }
        }
    }));
    if told.is_err() {
        story.push("a panic".to_owned());
    }
    story
}

impl Machine {
    fn new(policy: CodePolicy) -> Box<Machine> {
        let heap = HeapOptions::default()
            .limit(16 << 20)
            .percent(None)
            .poison(true)
            .tiny(true)
            .stress(false);
        let runtime = Runtime::builder()
            .executor(Executor::Inline)
            .code(CacheOptions::default().policy(policy))
            .heap(heap)
            .on_failure(|_| {})
            .build()
            .unwrap();
        let types = runtime.types();
        types
            .define("main.Numberer", "interface { Number() uint64 }")
            .unwrap();
        let ids = Type::ALL.map(|ty| {
            let pointers = match ty.fields() {
                0 => String::new(),
                fields => format!("P [{fields}]unsafe.Pointer; "),
            };
            let words = ty.size() / 8 - 2 - ty.fields();
            let data = match words {
                0 => String::new(),
                words => format!("Data [{words}]uint64"),
            };
            let text = format!("struct {{ ID uint64; State uint64; {pointers}{data} }}");
            let id = types.define(&format!("main.{ty:?}"), &text).unwrap();
            let receiver = format!("*main.{ty:?}");
            types
                .add_method(&receiver, "Number", "func() uint64", 0)
                .unwrap();
            id
        });
        let mut machine = Box::new(Machine {
            word: types.id("*uint64").unwrap(),
            types: ids,
            runtime,
            finalizers: Vec::new(),
            inner: None,
            cleanup: None,
            state: RefCell::default(),
        });
        machine.finalizers = Type::ALL
            .map(|ty| {
                let pointer = format!("*main.{ty:?}");
                [
                    machine.function(&pointer, finalize as *const ()),
                    machine.function("any", finalize_interface as *const ()),
                    machine.function("main.Numberer", finalize_interface as *const ()),
                ]
            })
            .into();
        machine.inner = Some(machine.function("*uint64", finalize_inner as *const ()));
        let (signature, context) = (machine.signature("any"), machine.context());
        let builder = CleanupFn::builder(signature, Abi::host_native().unwrap()).context(context);
        // SAFETY: I8: a System V function of an interface and its context, which outlives the
        // runtime's calls; it looks at no first word, whatever that is.
        machine.cleanup = Some(unsafe { builder.at(clean_up as *const ()) });
        machine
    }

    fn signature(&self, parameter: &str) -> Signature {
        let text = format!("func({parameter})");
        self.runtime.types().parse_signature(&text).unwrap()
    }

    /// What every function is called with beside its argument.
    fn context(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn function(&self, parameter: &str, code: *const ()) -> FinalizerFn {
        let builder = FinalizerFn::builder(self.signature(parameter), Abi::host_native().unwrap());
        let builder = builder.context(self.context());
        // SAFETY: I8: the functions above are System V, of the parameter they are given here and
        // their context, which outlives the runtime's calls.
        unsafe { builder.at(code) }
    }

    /// Runs `body` with a mutator, and with the state, which no finalizer has at the same time.
    fn enter<R>(&self, body: impl FnOnce(&Mutator, &mut State) -> R) -> R {
        self.runtime
            .enter(|m| body(m, &mut self.state.borrow_mut()))
            .unwrap()
    }

    fn collect(&self, times: u32) -> String {
        for _ in 0..times {
            self.runtime.gc().unwrap();
        }
        self.runtime.run_finalizers().unwrap();
        let mut events = std::mem::take(&mut self.state.borrow_mut().events);
        events.sort();
        self.enter(|m, state| {
            for (at, (number, pointer)) in state.weaks.iter().enumerate() {
                let alive = m.upgrade(&pointer.weak).unwrap().is_some();
                let mut event = format!("w{number}{}", if alive { "+" } else { "-" });
                let mut before = state.weaks.iter().take(at);
                if let Some((equal, _)) = before.find(|(_, other)| other.weak == pointer.weak) {
                    event += &format!("={equal}");
                }
                events.push(event);
            }
        });
        events.join(" ")
    }

    fn set_finalizer(&self, m: &Mutator, known: &Known, object: Obj<'_>) {
        set_bit(m, object, FINALIZER, true);
        let function = &self.finalizers[known.ty as usize][known.param as usize];
        m.set_finalizer(object, function).unwrap();
    }

    fn finalized(&self, object: usize) {
        self.enter(|m, state| {
            let object = m.adopt(object).unwrap();
            let id = number(m, object);
            let whole = |pointer: &Pointer| {
                pointer.target == id && m.upgrade(&pointer.weak).unwrap().is_some()
            };
            let whole = state.weaks.iter().filter(|(_, pointer)| whole(pointer));
            let whole: String = whole.map(|(number, _)| format!("!w{number}")).collect();
            state.events.push(format!("F{id}{whole}"));
            set_bit(m, object, FINALIZER, false);
            let known = state.objects.get_mut(&id).unwrap();
            let first = (known.ty.fields() > 0 && known.places[0] == Place::Start)
                .then(|| m.load_ref(object, 16).unwrap())
                .flatten();
            match known.deed {
                Deed::Plain => {}
                Deed::Keep => state.globals.push(m.root(object).unwrap()),
                Deed::Again if known.again == 0 => {}
                Deed::Again => {
                    known.again -= 1;
                    self.set_finalizer(m, known, object);
                }
                Deed::Save => state
                    .globals
                    .extend(first.map(|first| m.root(first).unwrap())),
                Deed::Cut if known.ty.fields() == 0 => {}
                Deed::Cut => m.store_ref(object, 16, None).unwrap(),
                Deed::Child => {
                    if let Some(child) = first.filter(|&child| !bit(m, child, FINALIZER)) {
                        let known = state.objects.get_mut(&number(m, child)).unwrap();
                        (known.deed, known.param) = (Deed::Plain, Param::Pointer);
                        self.set_finalizer(m, known, child);
                    }
                }
            }
        });
    }

    fn step(&self, op: &Op) {
        self.enter(|m, state| self.run(m, state, op));
    }

    fn run(&self, m: &Mutator, state: &mut State, op: &Op) {
        let root = |state: &State, root: usize| {
            let handle = state.roots[root].as_ref();
            handle.map(|handle| m.get(handle).unwrap())
        };
        let subject = match *op {
            Op::Alloc { root, number, ty } => {
                let object = m.alloc(self.types[ty as usize]).unwrap();
                m.store_word(object, 0, number.into()).unwrap();
                let known = Known {
                    ty,
                    deed: Deed::Plain,
                    param: Param::Pointer,
                    again: 0,
                    places: [Place::Start; 3],
                };
                state.objects.insert(number.into(), known);
                state.roots[root] = Some(m.root(object).unwrap());
                return;
            }
            Op::Stop { number } => {
                if let Some(cleanup) = state.cleanups.get(&number) {
                    cleanup.stop().is_cancelled();
                }
                return;
            }
            Op::DropGlobals => return state.globals.clear(),
            Op::Strong { number, root } => {
                let weak = state.weaks.get(&number);
                if let Some(object) = weak.and_then(|to| m.upgrade(&to.weak).unwrap()) {
                    state.roots[root] = Some(m.root(object).unwrap());
                }
                return;
            }
            Op::Collect | Op::Twice => return,
            Op::Link { root, .. }
            | Op::Cut { root, .. }
            | Op::Fin { root, .. }
            | Op::Clear { root }
            | Op::Inner { root }
            | Op::ClearInner { root }
            | Op::Cleanup { root, .. }
            | Op::Weak { root, .. }
            | Op::Copy { root, .. }
            | Op::Drop { root } => root,
        };
        let Some(object) = root(state, subject) else {
            return;
        };
        let id = number(m, object);
        let ty = state.objects[&id].ty;
        match *op {
            Op::Link {
                field, to, place, ..
            } => {
                let Some(target) = root(state, to).filter(|_| field < ty.fields()) else {
                    return;
                };
                let of = state.objects[&number(m, target)].ty;
                let addr = target.addr() + place.offset(of);
                m.store_addr(object, 16 + 8 * field, addr).unwrap();
                if let Some(known) = state.objects.get_mut(&id) {
                    known.places[field] = place;
                }
            }
            Op::Cut { field, .. } if field < ty.fields() => {
                m.store_ref(object, 16 + 8 * field, None).unwrap();
            }
            Op::Fin { deed, param, .. } if !bit(m, object, FINALIZER) => {
                if let Some(known) = state.objects.get_mut(&id) {
                    (known.deed, known.param, known.again) = (deed, param, 2);
                    self.set_finalizer(m, known, object);
                }
            }
            Op::Clear { .. } => {
                set_bit(m, object, FINALIZER, false);
                m.clear_finalizer(object).unwrap();
            }
            Op::Inner { .. } | Op::ClearInner { .. } => {
                let on = matches!(op, Op::Inner { .. });
                if on && bit(m, object, INNER) {
                    return;
                }
                set_bit(m, object, INNER, on);
                let word = fing::Pointer::typed(self.word, object.addr() + 8);
                let state = match on {
                    true => m.set_finalizer(word, self.inner.as_ref().unwrap()),
                    false => m.clear_finalizer(word),
                };
                state.unwrap();
            }
            Op::Cleanup {
                number: cleanup,
                place,
                argument,
                ..
            } => {
                let argument = argument.and_then(|argument| root(state, argument));
                // An interface has what a Go struct of a number and a pointer has: one word that is
                // not followed, one that is.
                let words = [cleanup as usize, argument.map_or(0, Obj::addr)];
                let bytes = words.map(usize::to_ne_bytes).concat();
                // SAFETY: I16: `clean_up` takes any number in place of an interface's first word,
                // and the second word is nil or an object.
                let bytes = unsafe { UncheckedBytes::new(&bytes) };
                let pointer = object.addr() + place.offset(ty);
                let function = self.cleanup.as_ref().unwrap();
                let added = m.add_cleanup(pointer, function, CleanupArgument::Unchecked(bytes));
                state.cleanups.insert(cleanup, added.unwrap());
            }
            Op::Weak {
                number: weak,
                place,
                ..
            } => {
                let pointer = object.addr() + place.offset(ty);
                let pointer = Pointer {
                    weak: m.downgrade(pointer).unwrap(),
                    target: id,
                };
                state.weaks.insert(weak, pointer);
            }
            Op::Copy { to, .. } => state.roots[to] = state.roots[subject].clone(),
            Op::Drop { .. } => state.roots[subject] = None,
            _ => {}
        }
    }
}
