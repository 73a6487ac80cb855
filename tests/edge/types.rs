//! Types, type ids and signatures of another runtime, of one that is gone, and of none.

use fing::stubs::signature::{Kind, Signature, Type, parse_signature_with};
use fing::{CleanupOptions, FinalizerOptions, HeldValue, Pointer, TypeId, Types};

use super::{World, cleanup, finalizer, refused};

/// What a definition of `main.T` in another runtime may look like.
const DEFINITIONS: [&str; 2] = [
    "struct { P *main.T; N uint64 }",
    "struct { A [4000]uint64 }",
];

/// Types read by a runtime that defines `main.T` so; it is gone afterwards if `gone`.
struct Strange {
    ids: Vec<TypeId>,
    ty: Type,
    pointer: Type,
    finalizer: Signature,
    bulk: Signature,
    cleanup: Signature,
    _runtime: Option<fing::Runtime>,
}

impl Strange {
    fn new(definition: &str, gone: bool) -> Strange {
        let runtime = fing::Runtime::new().unwrap();
        let types = runtime.types();
        types.define("main.T", definition).unwrap();
        let id = |text| types.id(text).unwrap();
        let signature = |text| types.parse_signature(text).unwrap();
        Strange {
            ids: [
                "main.T",
                "*main.T",
                "uint64",
                "struct {}",
                "interface { M() }",
            ]
            .map(id)
            .to_vec(),
            ty: types.parse("main.T").unwrap(),
            pointer: types.parse("*main.T").unwrap(),
            finalizer: signature("func(*main.T)"),
            bulk: signature("func(**main.T, int)"),
            cleanup: signature("func(struct { T *main.T })"),
            _runtime: (!gone).then(|| runtime.clone()),
        }
    }

    fn all() -> impl Iterator<Item = Strange> {
        let each = |definition| [false, true].map(|gone| Strange::new(definition, gone));
        DEFINITIONS.into_iter().flat_map(each)
    }
}

/// `main.T` read by no runtime: nothing is known of it, or what it is defined as is.
fn nobodys() -> [Type; 2] {
    let number = Type::array(4, Type::uint8()).unwrap();
    [
        Type::opaque("main.T").unwrap(),
        Type::named("main.T", number).unwrap(),
    ]
}

#[test]
fn type_ids_of_another_runtime_are_refused() {
    for strange in Strange::all() {
        let world = World::new();
        let types: &Types = world.runtime.types();
        let (own, face) = (world.id("*main.T"), world.id("interface { M() }"));
        let any = world.finalizer("func(any)");
        for &id in &strange.ids {
            refused("desc", "Foreign", types.desc(id));
            refused("pointer_to", "Foreign", types.pointer_to(id));
            refused("element", "Foreign", types.element(id));
            let methods = types.method_set(id).map(|methods| methods.len());
            refused("method_set", "Foreign", methods);
            refused("has_uncommon", "Foreign", types.has_uncommon(id));
            refused("implements", "Foreign", types.implements(id, face));
            refused("implements by", "Foreign", types.implements(own, id));
            refused("itab", "Foreign", types.itab(id, own));
            refused("itab of", "Foreign", types.itab(face, id));
            refused("assignable", "Foreign", types.assignable(id, own));
            refused("assignable to", "Foreign", types.assignable(own, id));
            let prepared = world.runtime.prepare_finalizer(id, &any);
            refused("prepare_finalizer", "ObjectType", prepared);
            let mut m = world.runtime.attach().unwrap();
            refused("alloc", "Type", m.alloc(id));
            let addr = m.alloc(world.t).unwrap().addr();
            for addr in [0, addr, addr + 8] {
                let pointer = Pointer::typed(id, addr);
                refused(
                    "set_finalizer",
                    "ObjectType",
                    m.set_finalizer(pointer, &any),
                );
                refused("clear_finalizer", "ObjectType", m.clear_finalizer(pointer));
            }
            refused("alloc_collecting", "Type", m.alloc_collecting(id));
        }
        world.is_untouched();
    }
}

/// A type that has names is of the runtime that has read it.
#[test]
fn types_of_another_runtime_are_refused() {
    for strange in Strange::all() {
        let world = World::new();
        let types = world.runtime.types();
        for ty in [&strange.ty, &strange.pointer] {
            refused("intern", "OtherRuntime", types.intern(ty));
            refused("define_as", "OtherRuntime", types.define_as("main.U", ty));
        }
        assert!(types.parse("main.U").is_err(), "nothing was defined");
    }
}

/// Red at A6: a signature of one runtime was accepted by another one that has a name spelled alike.
#[test]
fn signatures_of_another_runtime_are_refused() {
    let mut all: Vec<[Signature; 3]> = Strange::all()
        .map(|strange| [strange.finalizer, strange.bulk, strange.cleanup])
        .collect();
    for ty in nobodys() {
        let read = |text| parse_signature_with(text, &|_| Some(ty.clone())).unwrap();
        all.push([
            read("func(*main.T)"),
            read("func(**main.T, int)"),
            read("func(struct { T *main.T })"),
        ]);
    }
    for [single, bulk, clean] in all {
        let world = World::new();
        let single = finalizer(single, |builder| builder);
        let bulk = finalizer(bulk, |builder| builder.bulk());
        let clean = cleanup(clean, |builder| builder);
        let prepare = |function| world.runtime.prepare_finalizer(world.t, function);
        refused("prepare", "NotAssignable", prepare(&single));
        refused("prepare bulk", "NotBulk", prepare(&bulk));
        world
            .runtime
            .enter(|m| {
                let object = m.alloc(world.t).unwrap();
                refused("set", "NotAssignable", m.set_finalizer(object, &single));
                refused("set bulk", "NotBulk", m.set_finalizer(object, &bulk));
                let zeroes = m.add_cleanup(object, &clean, &[0; 8][..]);
                refused("add_cleanup", "Value", zeroes);
                refused(
                    "add_cleanup word",
                    "Value",
                    m.add_cleanup(object, &clean, 0u64),
                );
            })
            .unwrap();
        world.is_untouched();
    }
}

/// A context's type is one of the runtime that the function is registered with.
#[test]
fn types_of_contexts_of_another_runtime_are_refused() {
    let nobodys = nobodys().map(|ty| Type::pointer_to(ty).unwrap());
    let all = Strange::all().map(|strange| strange.pointer);
    for context in all.chain(nobodys) {
        let world = World::new();
        let function = finalizer(world.signature("func(*main.T)"), |builder| {
            builder.context_object(context.clone())
        });
        let clean = cleanup(world.signature("func(uint64)"), |builder| {
            builder.context_object(context)
        });
        let prepared = world.runtime.prepare_finalizer(world.t, &function);
        refused("prepare", "ContextType", prepared);
        world
            .runtime
            .enter(|m| {
                let object = m.alloc(world.t).unwrap();
                let held = HeldValue::Object(object);
                let options = FinalizerOptions::new().context(held);
                let set = m.set_finalizer_with(object, &function, options);
                refused("set", "ContextType", set);
                refused(
                    "set without",
                    "ContextType",
                    m.set_finalizer(object, &function),
                );
                let options = CleanupOptions::new().context(held);
                let added = m.add_cleanup_with(object, &clean, 1u64, options);
                refused("add_cleanup", "ContextType", added);
            })
            .unwrap();
        world.is_untouched();
    }
}

/// A type that was built, with another definition under a name of the runtime, marked as its own.
#[test]
fn forged_types_are_refused() {
    let world = World::new();
    let own = world.ty("main.T");
    let Kind::Named(named) = own.kind() else {
        panic!("{own} has a name");
    };
    let large = Type::array(4000, Type::uint8()).unwrap();
    let forged = Type::named("main.T", large).unwrap();
    let forged = forged.in_scope(named.scope()).unwrap();
    let read = |text| parse_signature_with(text, &|_| Some(forged.clone())).unwrap();
    let single = finalizer(read("func(*main.T)"), |builder| builder);
    let bulk = finalizer(read("func(**main.T, int)"), |builder| builder.bulk());
    let pointer = Type::pointer_to(forged.clone()).unwrap();
    let with_context = finalizer(world.signature("func(*main.T)"), |builder| {
        builder.context_object(pointer)
    });
    let prepare = |function| world.runtime.prepare_finalizer(world.t, function);
    refused("single", "NotAssignable", prepare(&single));
    refused("bulk", "NotBulk", prepare(&bulk));
    refused("context", "ContextType", prepare(&with_context));
    let types = world.runtime.types();
    refused("intern", "Mismatch", types.intern(&forged));
    refused("define_as", "Mismatch", types.define_as("main.U", &forged));
    world
        .runtime
        .enter(|m| {
            let [object, other] = [0; 2].map(|_| m.alloc(world.t).unwrap());
            refused("set", "NotAssignable", m.set_finalizer(object, &single));
            let clean = cleanup(read("func(*main.T)"), |builder| builder);
            refused(
                "cleanup",
                "NotAssignable",
                m.add_cleanup(object, &clean, other),
            );
            let word = m.add_cleanup(object, &clean, other.addr() as u64);
            refused("cleanup word", "Value", word);
        })
        .unwrap();
    world.is_untouched();
}

/// Without names a type means the same everywhere.
#[test]
fn types_without_names_are_of_every_runtime() {
    let world = World::new();
    let function = finalizer("func(*[2]uint64)".parse().unwrap(), |builder| builder);
    let clean = cleanup("func(*[2]uint64)".parse().unwrap(), |builder| builder);
    world
        .runtime
        .enter(|m| {
            let object = m.alloc(world.id("[2]uint64")).unwrap();
            m.set_finalizer(object, &function).unwrap();
            let other = m.alloc(world.t).unwrap();
            assert!(
                m.add_cleanup(other, &clean, object)
                    .unwrap()
                    .stop()
                    .is_cancelled()
            );
        })
        .unwrap();
    world.collect();
    assert_eq!(world.runtime.stats().executed, 1);
}
