//! Types that are defined while a program runs and given back when nothing names them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use fing::error::{AllocError, SetFinalizerError};
use fing::stubs::fuzzing::Rng;
use fing::types::{TypeDesc, TypeId, TypesError};
use fing::{
    Abi, Executor, FinalizerFn, Handle, HeapOptions, Mutator, Pointer, Runtime, RuntimeBuilder,
    Signature,
};

/// Collections after which every released type that nothing names was given back.
const LOOK: usize = 8;

fn inline() -> RuntimeBuilder {
    let heap = HeapOptions::default().poison(true);
    Runtime::builder().executor(Executor::Inline).heap(heap)
}

fn runtime() -> Runtime {
    inline().build().unwrap()
}

fn define(runtime: &Runtime, name: &str, text: &str) -> TypeId {
    runtime.types().define(name, text).unwrap()
}

/// Releases a type, and drops what is returned.
fn release(runtime: &Runtime, ty: TypeId) {
    drop(runtime.types().release(ty).unwrap());
}

fn collect(m: &mut Mutator) {
    (0..LOOK).for_each(|_| drop(m.gc().unwrap()));
}

fn is_there(runtime: &Runtime, ty: TypeId) -> bool {
    match runtime.types().desc(ty) {
        Ok(_) => true,
        Err(TypesError::GivenBack { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

extern "C" fn nothing(_: usize) {}

/// The function of this signature that does nothing with its argument.
fn finalizer(signature: Signature) -> FinalizerFn {
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap());
    // SAFETY: I8: a C function of one word, which it does not follow.
    unsafe { builder.at(nothing as *const ()) }
}

#[test]
fn what_names_a_type_keeps_it() {
    let runtime = runtime();
    let types = runtime.types();
    let mut m = runtime.attach().unwrap();
    let ty = define(&runtime, "main.T", "struct { Next *main.T; N int }");
    collect(&mut m);
    assert!(is_there(&runtime, ty), "it is not released");
    let held = types.release(ty).unwrap();
    assert_eq!((held.id(), held.size()), (ty, 16));
    collect(&mut m);
    assert!(is_there(&runtime, ty), "its descriptor is held");
    let object = m.root(m.alloc(ty).unwrap()).unwrap();
    drop(held);
    collect(&mut m);
    assert!(is_there(&runtime, ty), "there is an object");
    let pointer = types.pointer_to(ty).unwrap();
    let held = types.desc(pointer).unwrap();
    drop(object);
    collect(&mut m);
    assert!(is_there(&runtime, ty), "a type that mentions it is held");
    drop(held);
    let cell = m.root(m.alloc(pointer).unwrap()).unwrap();
    collect(&mut m);
    assert!(
        is_there(&runtime, ty),
        "there is an object that points to it"
    );
    drop(cell);
    let window = m.window(ty).unwrap();
    collect(&mut m);
    assert!(is_there(&runtime, ty), "it has a window");
    drop(window);
    let prepared = finalizer(types.parse_signature("func(*main.T)").unwrap());
    let prepared = runtime.prepare_finalizer(ty, &prepared).unwrap();
    collect(&mut m);
    assert!(is_there(&runtime, ty), "a finalizer was prepared for it");
    drop(prepared);
    let user = define(&runtime, "main.User", "struct { T *main.T }");
    collect(&mut m);
    assert!(is_there(&runtime, ty), "a type that stays mentions it");
    release(&runtime, user);
    let before = types.count();
    collect(&mut m);
    assert_eq!(
        [ty, pointer, user].map(|id| is_there(&runtime, id)),
        [false; 3]
    );
    assert_eq!(types.count(), before - 3);
    drop(m);
    runtime.verify_heap().unwrap();
}

#[test]
fn what_a_type_names_is_kept_with_it() {
    let runtime = runtime();
    let types = runtime.types();
    let mut m = runtime.attach().unwrap();
    let part = define(&runtime, "main.Part", "struct { N int }");
    let parameter = define(&runtime, "main.Parameter", "struct { N int }");
    let element = define(&runtime, "main.Element", "struct { P *int }");
    let face = define(&runtime, "main.Face", "interface { M(*main.Parameter) }");
    let whole = "struct { Part main.Part }";
    let whole = types.define_array("main.Whole", whole, element).unwrap();
    let method = "func(*main.Parameter)";
    types.add_method("*main.Whole", "M", method, 0).unwrap();
    let itab = types.itab(face, types.pointer_to(whole).unwrap()).unwrap();
    let object = m.root(m.alloc_array(whole, 3).unwrap()).unwrap();
    let all = [part, parameter, element, face, whole];
    all.iter().for_each(|ty| release(&runtime, *ty));
    collect(&mut m);
    assert_eq!(all.map(|ty| is_there(&runtime, ty)), [true; 5]);
    assert_eq!(itab.words()[0], types.desc(face).unwrap().address());
    drop(object);
    collect(&mut m);
    assert_eq!(all.map(|ty| is_there(&runtime, ty)), [false; 5]);
    // The methods are gone with the name.
    let again = define(&runtime, "main.Whole", "struct { M int }");
    assert!(types.method_set(again).unwrap().is_empty());
}

/// A definition that is refused defines nothing again: the type stays released.
#[test]
fn a_refused_definition_takes_no_release_back() {
    let runtime = runtime();
    let types = runtime.types();
    let mut m = runtime.attach().unwrap();
    let [byte, word] = ["uint8", "uint64"].map(|text| types.id(text).unwrap());
    let text = "struct { N int }";
    let list = types.define_array("main.List", text, byte).unwrap();
    let plain = define(&runtime, "main.Plain", text);
    [list, plain].iter().for_each(|ty| release(&runtime, *ty));
    let error = types.define_array("main.List", text, word).unwrap_err();
    let wanted =
        "define main.List: defined as elements of uint64, wanted elements of uint8 as before";
    assert_eq!(error.to_string(), wanted);
    let error = types.define_array("main.Plain", text, word).unwrap_err();
    let wanted = "define main.Plain: defined as elements of uint64, wanted no elements as before";
    assert_eq!(error.to_string(), wanted);
    collect(&mut m);
    assert_eq!([list, plain].map(|ty| is_there(&runtime, ty)), [false; 2]);
}

#[test]
fn circles_of_types_are_given_back() {
    let runtime = runtime();
    let types = runtime.types();
    let mut m = runtime.attach().unwrap();
    types.declare("main.B").unwrap();
    let a = define(&runtime, "main.A", "struct { B *main.B }");
    let b = define(&runtime, "main.B", "struct { A [2]main.A }");
    let held = types.release(a).unwrap();
    release(&runtime, b);
    collect(&mut m);
    assert!(is_there(&runtime, a) && is_there(&runtime, b));
    drop(held);
    collect(&mut m);
    assert!(!is_there(&runtime, a) && !is_there(&runtime, b));
    // Not even declared.
    assert!(types.id("*main.B").is_err());
}

#[test]
fn what_is_not_counted_keeps_its_type_for_good() {
    let runtime = runtime();
    let types = runtime.types();
    let mut m = runtime.attach().unwrap();
    let texts = ["main.Read", "main.Followed", "main.Finalized"];
    let each = texts.map(|name| define(&runtime, name, "struct { P *int; N int }"));
    let [read, followed, finalized] = each;
    each.iter().for_each(|ty| release(&runtime, *ty));
    runtime.field::<u64>(read, 8).unwrap();
    runtime.ref_field(followed, 0).unwrap();
    let function = finalizer(types.parse_signature("func(*main.Finalized)").unwrap());
    let prepared = runtime.prepare_finalizer(finalized, &function).unwrap();
    prepared.set_for_all().unwrap();
    drop(prepared);
    collect(&mut m);
    assert_eq!(each.map(|ty| is_there(&runtime, ty)), [true; 3]);
    // What fing needs itself.
    for name in ["struct {}", "runtime.weakObject"] {
        let object = m.alloc(read).unwrap();
        m.weak_cell(object).unwrap();
        let ty = types.id(name).unwrap();
        release(&runtime, ty);
        collect(&mut m);
        assert!(is_there(&runtime, ty), "{name}");
    }
}

#[test]
fn a_name_that_was_given_back_means_nothing_old() {
    let runtime = runtime();
    let types = runtime.types();
    let mut m = runtime.attach().unwrap();
    let old = define(&runtime, "main.T", "struct { P *int; N [3]int }");
    let old_pointer = types.pointer_to(old).unwrap();
    let signature = types.parse_signature("func(*main.T)").unwrap();
    let (finalize, parsed) = (finalizer(signature), types.parse("*main.T").unwrap());
    let kept = define(&runtime, "main.Kept", "struct { N int }");
    release(&runtime, old);
    collect(&mut m);
    let other = |error| matches!(error, TypesError::OtherRuntime { .. });
    assert!(types.intern(&parsed).is_err_and(other));
    // The index is used again, by another type.
    let new = define(&runtime, "main.T", "struct { N int }");
    assert_ne!(new, old);
    let gone = |error| matches!(error, TypesError::GivenBack { .. });
    assert!(types.desc(old).is_err_and(gone));
    assert!(types.release(old).is_err_and(gone));
    assert!(types.pointer_to(old).is_err_and(gone));
    let error = m.alloc(old).unwrap_err();
    let text = "is of a type that was given back, wanted one that is still there";
    assert!(error.to_string().ends_with(text), "{error}");
    assert!(matches!(
        error,
        AllocError::Type(TypesError::GivenBack { .. })
    ));
    // What was read when the name meant the old type does not fit the new one.
    assert!(types.intern(&parsed).is_err_and(other));
    let object = m.root(m.alloc(new).unwrap()).unwrap();
    let refused = m.set_finalizer(m.get(&object).unwrap(), &finalize);
    assert!(
        matches!(refused, Err(SetFinalizerError::NotAssignable { .. })),
        "{refused:?}"
    );
    let addr = m.get(&object).unwrap().addr();
    let refused = m.set_finalizer(Pointer::typed(old_pointer, addr), &finalize);
    assert!(
        matches!(refused, Err(SetFinalizerError::ObjectType(_))),
        "{refused:?}"
    );
    // What was read since does, and so does what means a type that stayed.
    let finalize = finalizer(types.parse_signature("func(*main.T)").unwrap());
    m.set_finalizer(m.get(&object).unwrap(), &finalize).unwrap();
    let user = define(&runtime, "main.User", "struct { K *main.Kept; T main.T }");
    assert_eq!(types.desc(user).unwrap().size(), 16);
    let finalize = finalizer(types.parse_signature("func(*main.Kept)").unwrap());
    let object = m.alloc(kept).unwrap();
    m.set_finalizer(object, &finalize).unwrap();
}

#[test]
fn defining_a_type_again_takes_its_release_back() {
    let runtime = runtime();
    let types = runtime.types();
    let mut m = runtime.attach().unwrap();
    let ty = define(&runtime, "main.T", "struct { N int }");
    release(&runtime, ty);
    assert_eq!(define(&runtime, "main.T", "struct { N int }"), ty);
    collect(&mut m);
    assert!(is_there(&runtime, ty));
    release(&runtime, ty);
    assert!(types.define("main.T", "struct { N string }").is_err());
    collect(&mut m);
    define(&runtime, "main.T", "struct { N string }");
    // Types without a name are released, too.
    let array = types.id("[1234]int").unwrap();
    release(&runtime, array);
    collect(&mut m);
    assert!(!is_there(&runtime, array));
    assert_ne!(types.id("[1234]int").unwrap(), array);
}

#[test]
fn windows_of_types_that_are_gone_are_closed() {
    let runtime = runtime();
    let mut m = runtime.attach().unwrap();
    for round in 0..50 {
        let name = format!("main.T{round}");
        let ty = define(&runtime, &name, "struct { A, B, C int }");
        release(&runtime, ty);
        let window = m.window(ty).unwrap();
        m.alloc_in(&window).unwrap();
        assert_eq!(m.window(ty).unwrap().address(), window.address());
        drop(window);
        collect(&mut m);
        assert!(!is_there(&runtime, ty));
        assert!(m.window(ty).is_err());
    }
    drop(m);
    runtime.verify_heap().unwrap();
}

/// The steady state of a VM that makes types all day.
#[test]
fn a_hundred_thousand_types_are_no_more_than_a_few() {
    let runtime = runtime();
    let types = runtime.types();
    let mut m = runtime.attach().unwrap();
    let rounds = fing_oracles::cases(100);
    let mut most = 0;
    for round in 0..rounds {
        for index in 0..1_000 {
            let name = format!("main.Shape{round}_{index}");
            let ty = define(
                &runtime,
                &name,
                "struct { Next unsafe.Pointer; X, Y float64 }",
            );
            let held = types.release(ty).unwrap();
            m.alloc(held.id()).unwrap();
        }
        m.gc().unwrap();
        most = most.max(types.count());
    }
    assert!(most < 20, "{most} types");
}

/// A VM that makes types, but hardly an object.
#[test]
fn released_types_make_a_collection_due() {
    let runtime = runtime();
    let types = runtime.types();
    let mut m = runtime.attach().unwrap();
    let mut named = Vec::new();
    let mut make = |m: &mut Mutator, kept: usize| {
        let (mut made, before) = (0, runtime.stats().heap.collections);
        while !m.collect_if_due() {
            let text = "struct { Next unsafe.Pointer; X, Y float64 }";
            let ty = define(&runtime, &format!("main.Shape{}_{made}", before), text);
            let desc = types.release(ty).unwrap();
            if made < kept {
                named.push(desc);
            }
            made += 1;
            assert!(made < 100_000, "no collection is due");
        }
        assert_eq!(runtime.stats().heap.collections, before + 1);
        made
    };
    assert_eq!([make(&mut m, 0), make(&mut m, 0)], [4096; 2]);
    // What is named is not looked at again and again.
    assert_eq!(make(&mut m, 3000), 4096);
    assert_eq!(make(&mut m, 0), 6000 - 3000);
    assert!(types.count() < 3020, "{}", types.count());
    // Only if collections are ever due.
    let before = runtime.set_gc_percent(None);
    for index in 0..10_000 {
        let ty = define(&runtime, &format!("main.T{index}"), "struct { N int }");
        release(&runtime, ty);
    }
    assert!(!m.is_collection_due());
    runtime.set_gc_percent(before);
    assert!(m.is_collection_due());
    // Defining them again takes the releases back, and with them the reason.
    for index in 0..10_000 {
        define(&runtime, &format!("main.T{index}"), "struct { N int }");
    }
    assert!(!m.is_collection_due());
}

/// Threads define, use and drop types while others collect.
#[test]
fn threads_make_types_while_others_collect() {
    let runtime = runtime();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let runtime = &runtime;
            scope.spawn(move || {
                let mut m = runtime.attach().unwrap();
                for round in 0..200 {
                    // Two threads define each type.
                    let name = format!("main.T{}_{}", thread / 2, round % 7);
                    let text = format!("struct {{ Next *{name}; N [{}]int }}", round % 7 + 1);
                    let ty = define(runtime, &name, &text);
                    let desc = runtime.types().release(ty).unwrap();
                    let object = m.root(m.alloc(desc.id()).unwrap()).unwrap();
                    let pointer = runtime.types().pointer_to(ty).unwrap();
                    if round % 5 == 0 {
                        m.gc().unwrap();
                    }
                    m.safepoint();
                    let found = m.type_of(m.get(&object).unwrap()).unwrap();
                    assert_eq!((found.id(), found.size()), (ty, desc.size()));
                    drop(desc);
                    drop(object);
                    // Gone or not, it means nothing else.
                    m.safepoint();
                    if let Ok(desc) = runtime.types().desc(pointer) {
                        assert_eq!(desc.ty().to_string(), format!("*{name}"));
                    }
                }
            });
        }
    });
    let mut m = runtime.attach().unwrap();
    collect(&mut m);
    assert!(runtime.types().id("main.T0_0").is_err());
    drop(m);
    runtime.verify_heap().unwrap();
}

/// What is known of a type of a random program.
struct Made {
    id: TypeId,
    name: usize,
    size: usize,
    /// Names that it mentions.
    mentions: Vec<usize>,
    is_released: bool,
    is_gone: bool,
}

/// Which types must be there, by what names them.
fn named(made: &[Made], held: &[(usize, Arc<TypeDesc>)], objects: &[(usize, Handle)]) -> Vec<bool> {
    let mut named = vec![false; made.len()];
    let current: BTreeMap<usize, usize> = (0..made.len())
        .filter(|at| !made[*at].is_gone)
        .map(|at| (made[at].name, at))
        .collect();
    let mut open: Vec<usize> = current.values().copied().collect();
    open.retain(|at| !made[*at].is_released);
    open.extend(held.iter().map(|(at, _)| *at));
    open.extend(objects.iter().map(|(at, _)| *at));
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut named[at], true) {
            open.extend(made[at].mentions.iter().map(|name| current[name]));
        }
    }
    named
}

/// One random program, against a model of which types are there.
fn random_program(seed: u64) -> usize {
    let mut random = Rng::new(seed);
    let runtime = runtime();
    let types = runtime.types();
    let mut m = runtime.attach().unwrap();
    let (mut made, mut held, mut objects) = (Vec::<Made>::new(), Vec::new(), Vec::new());
    let mut given_back = 0;
    for _ in 0..150 {
        let there: Vec<usize> = (0..made.len()).filter(|at| !made[*at].is_gone).collect();
        let any = |random: &mut Rng| there[random.below(there.len())];
        match random.below(10) {
            0..3 if there.len() < 12 => {
                let taken = |name| there.iter().any(|at| made[*at].name == name);
                let Some(name) = (0..20).find(|name| !taken(*name)) else {
                    continue;
                };
                let words = 1 + random.below(4);
                let mut fields = format!("N [{words}]int");
                let (mut mentions, mut size) = (Vec::new(), 8 * words);
                for field in 0..random.below(3).min(there.len()) {
                    let other = &made[any(&mut random)];
                    let (prefix, bytes) = [("*", 8), ("", other.size)][random.below(2)];
                    fields += &format!("; F{field} {prefix}main.T{}", other.name);
                    mentions.push(other.name);
                    size += bytes;
                }
                let name_text = format!("main.T{name}");
                let id = define(&runtime, &name_text, &format!("struct {{ {fields} }}"));
                made.push(Made {
                    id,
                    name,
                    size,
                    mentions,
                    is_released: false,
                    is_gone: false,
                });
            }
            3..6 if !there.is_empty() => {
                let at = any(&mut random);
                release(&runtime, made[at].id);
                made[at].is_released = true;
            }
            6 if !there.is_empty() => {
                let at = any(&mut random);
                // By the type itself, or by one that mentions it.
                let id = match random.below(3) {
                    0 => types.pointer_to(made[at].id).unwrap(),
                    1 => types.id(&format!("[2]main.T{}", made[at].name)).unwrap(),
                    _ => made[at].id,
                };
                held.push((at, types.desc(id).unwrap()));
            }
            7 if !there.is_empty() => {
                let at = any(&mut random);
                let object = m.alloc(made[at].id).unwrap();
                objects.push((at, m.root(object).unwrap()));
            }
            8 if !held.is_empty() => drop(held.swap_remove(random.below(held.len()))),
            8 if !objects.is_empty() => drop(objects.swap_remove(random.below(objects.len()))),
            _ => {
                collect(&mut m);
                let named = named(&made, &held, &objects);
                for (ty, is_named) in made.iter_mut().zip(named) {
                    let was_gone = std::mem::replace(&mut ty.is_gone, !is_named);
                    given_back += usize::from(ty.is_gone && !was_gone);
                    assert_eq!(is_there(&runtime, ty.id), is_named, "main.T{}", ty.name);
                }
            }
        }
        for ty in made.iter().filter(|ty| !ty.is_gone) {
            let desc = types.desc(ty.id).unwrap();
            assert_eq!((desc.id(), desc.size()), (ty.id, ty.size));
        }
    }
    drop(m);
    runtime.verify_heap().unwrap();
    given_back
}

#[test]
fn random_programs_give_back_what_nothing_names() {
    let mut given_back = 0;
    let first = fing_oracles::seed();
    for seed in first..first + fing_oracles::cases(200) {
        let run = std::panic::catch_unwind(|| random_program(seed));
        given_back += run.unwrap_or_else(|_| panic!("seed {seed}"));
    }
    assert!(given_back > 0);
}

/// A thread asks for a type by its name while others give it back: it gets the type or an error,
/// and the name is free again.
#[test]
fn a_name_that_is_asked_for_is_given_back() {
    let runtime = runtime();
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(SeqCst) {
                for text in ["main.X", "*main.X", "[2]main.X", "struct { A main.X }"] {
                    let _ = runtime.types().id(text);
                }
            }
        });
        for n in 0..3000 {
            let text = ["struct { A int }", "struct { A, B, C int }"][n % 2];
            if let Ok(ty) = runtime.types().define("main.X", text) {
                release(&runtime, ty);
            }
            runtime.gc().unwrap();
        }
        end.store(true, SeqCst);
    });
    // What the thread has made of the type before it was released is released with it.
    let left = runtime.types().id("main.X").ok();
    left.into_iter().for_each(|ty| release(&runtime, ty));
    runtime.enter(collect).unwrap();
    let there = runtime.types().id("main.X");
    assert!(there.is_err(), "{there:?}");
    let again = runtime.types().define("main.X", "struct { Other uint8 }");
    assert!(again.is_ok(), "{again:?}");
}

/// What `type_of` returns names the type, as every descriptor does.
#[test]
fn a_descriptor_outlives_its_mutator() {
    let runtime = runtime();
    let ty = define(&runtime, "main.T", "struct { A, B uint64 }");
    let desc = runtime
        .enter(|m| m.type_of(m.alloc(ty).unwrap()).unwrap())
        .unwrap();
    release(&runtime, ty);
    runtime.enter(collect).unwrap();
    assert!(is_there(&runtime, ty));
    assert_eq!((desc.size(), desc.id()), (16, ty));
    drop(desc);
    runtime.enter(collect).unwrap();
    assert!(!is_there(&runtime, ty));
}

/// Names of the runtime's own types are no program's.
#[test]
fn names_of_the_runtimes_own_are_refused() {
    let runtime = runtime();
    let types = runtime.types();
    let byte = types.id("uint8").unwrap();
    for name in ["runtime.weakObject", "runtime.argument"] {
        let wanted = Err(TypesError::Reserved { name: name.into() });
        assert_eq!(types.define(name, "int"), wanted);
        assert_eq!(
            types.define_as(name, types.desc(byte).unwrap().ty()),
            wanted
        );
        assert_eq!(types.define_array(name, "int", byte), wanted);
        assert_eq!(types.declare(name).map(|()| byte), wanted);
        assert_eq!(types.declare_local(name, "main.T").map(|()| byte), wanted);
    }
    runtime
        .enter(|m| m.weak_cell(m.alloc(byte).unwrap()).map(drop))
        .unwrap()
        .unwrap();
}
