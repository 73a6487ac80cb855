//! Pointers that name a type of value that does not lie where they point.

use fing::{CallStage, FinalizerState, HeapOptions, Pointer, Runtime};

use super::{World, refused};

/// `main.Box`, its size and what lies in it at which offset.
const BOX: &str = "struct { P *main.T; A [15]uint8; B [16]uint8; C [17]uint8; F struct { N uint64; \
                   M [2]uint32 }; T main.T; I [3]int }";
const A: usize = 8;
const B: usize = 23;
const C: usize = 39;
const F: usize = 56;
const T: usize = 72;
const I: usize = 88;

fn boxes(builder: fing::RuntimeBuilder) -> World {
    let world = World::of(builder);
    let types = world.runtime.types();
    types.define("main.Box", BOX).unwrap();
    types.define("main.SameBox", BOX).unwrap();
    types.define("main.Big", "[500]uint64").unwrap();
    types.define("main.BoxP", "*main.Box").unwrap();
    types.define("main.BigP", "*main.Big").unwrap();
    types.define("main.Byte", "uint8").unwrap();
    world
}

/// A pointer's type, how far into a `main.Box` it points, and the error; none if it is good.
const ROWS: &[(&str, usize, Option<&str>)] = &[
    ("*main.Box", 0, None),
    ("main.BoxP", 0, None),
    // Larger, smaller, alike, first in it: not the value that lies there.
    ("*main.Big", 0, Some("Mismatch")),
    ("main.BigP", 0, Some("Mismatch")),
    ("*main.SameBox", 0, Some("Mismatch")),
    ("*uint64", 0, Some("Mismatch")),
    ("*main.T", 0, Some("Mismatch")),
    ("**main.Box", 0, Some("Mismatch")),
    ("**main.T", 0, None),
    ("*any", 0, Some("Mismatch")),
    ("*struct {}", 0, Some("Mismatch")),
    // Inside, what has no pointers and fewer than 16 bytes is good, if it lies there.
    ("*[15]uint8", A, None),
    ("*uint8", A, None),
    ("*uint8", A + 14, None),
    ("*[15]uint8", A + 1, Some("Mismatch")),
    ("*[14]uint8", A, Some("Mismatch")),
    ("*main.Byte", A, Some("Mismatch")),
    ("*int8", A, Some("Mismatch")),
    ("*uint64", A, Some("Mismatch")),
    ("*[16]uint8", B, Some("Interior")),
    ("*[15]uint8", B, Some("Mismatch")),
    ("*uint8", B, None),
    ("*uint8", B + 15, None),
    ("*[17]uint8", C, Some("Interior")),
    ("*struct { N uint64; M [2]uint32 }", F, Some("Interior")),
    ("*uint64", F, None),
    ("*uint64", F + 8, Some("Mismatch")),
    ("*[2]uint32", F + 8, None),
    ("*uint32", F + 12, None),
    ("*uint32", F + 14, Some("Mismatch")),
    // Pointers inside, and what has some.
    ("*main.T", T, Some("Interior")),
    ("**main.T", T, Some("Interior")),
    ("*uint64", T, Some("Mismatch")),
    ("*uint64", T + 8, None),
    ("*int", I, None),
    ("*int", I + 16, None),
    ("*int", I + 24, Some("NotInHeap")),
    ("*int64", I, Some("Mismatch")),
    ("*struct {}", I, Some("Mismatch")),
];

/// Red at A2: the type that a pointer names was taken on trust.
#[test]
fn a_pointer_names_the_value_that_lies_there() {
    for tiny in [false, true] {
        let heap = HeapOptions::default().tiny(tiny).poison(true);
        let world = boxes(Runtime::builder().heap(heap));
        let types = world.runtime.types();
        assert_eq!(types.desc(world.id("main.Box")).unwrap().size(), I + 24);
        let any = world.finalizer("func(any)");
        let mutator = world.runtime.attach().unwrap();
        for &(ty, offset, error) in ROWS {
            let what = format!("{ty} at {offset}");
            let object = mutator.alloc(world.id("main.Box")).unwrap();
            let pointer = Pointer::typed(world.id(ty), object.addr() + offset);
            let set = mutator.set_finalizer(pointer, &any);
            let Some(error) = error else {
                assert_eq!(set.unwrap(), FinalizerState::Set, "{what}");
                let cleared = mutator.clear_finalizer(pointer).unwrap();
                assert_eq!(
                    cleared,
                    FinalizerState::Cleared(CallStage::Registered),
                    "{what}"
                );
                continue;
            };
            refused(&what, error, set);
            refused(&what, error, mutator.clear_finalizer(pointer));
        }
        drop(mutator);
        world.is_untouched();
    }
}

/// Red with the mutant that F1 names: elements of 16 bytes, and pointers 16 bytes into an object.
#[test]
fn interior_pointers_are_to_elements_of_less_than_16_bytes() {
    let world = World::new();
    let any = world.finalizer("func(any)");
    let mutator = world.runtime.attach().unwrap();
    for offset in [8, 15, 16, 17, 24] {
        for size in 1..=33 {
            let rest = 80 - size;
            let text = format!("struct {{ A [{offset}]uint8; B [{size}]uint8; C [{rest}]uint8 }}");
            let object = mutator.alloc(world.id(&text)).unwrap();
            let element = world.id(&format!("*[{size}]uint8"));
            let set = mutator.set_finalizer(Pointer::typed(element, object.addr() + offset), &any);
            match size < 16 {
                true => assert_eq!(set.unwrap(), FinalizerState::Set, "{text}"),
                false => refused(&text, "Interior", set),
            }
        }
    }
    assert_eq!(world.runtime.stats().finalizers, 5 * 15);
}

/// The elements of an object of variable length, as many as it has room for, are values as those
/// of an array are.
#[test]
fn a_pointer_may_be_to_an_element() {
    let world = World::new();
    let types = world.runtime.types();
    let pair = types.define("main.Pair", "struct { A, B uint32 }").unwrap();
    let header = "struct { N uint64; P *main.T }";
    let pairs = types.define_array("main.Pairs", header, pair).unwrap();
    let any = world.finalizer("func(any)");
    let mutator = world.runtime.attach().unwrap();
    let object = mutator.alloc_array(pairs, 9).unwrap();
    let room = 16 + 8 * mutator.capacity(object).unwrap();
    for (ty, offset, error) in [
        ("*uint64", 0, None),
        ("*uint32", 0, Some("Mismatch")),
        ("*main.Pair", 8, Some("Mismatch")),
        ("*main.Pair", 16, None),
        ("*main.Pair", 24, None),
        ("*uint32", 28, None),
        ("*uint32", 30, Some("Mismatch")),
        ("*uint64", 24, Some("Mismatch")),
        ("*main.Pair", 28, Some("Mismatch")),
        ("*main.Pair", 16 + 8 * 8, None),
        ("*main.Pair", room - 8, None),
        ("*main.Pair", room - 4, Some("Mismatch")),
        ("*main.Pair", room, Some("NotInHeap")),
    ] {
        let what = format!("{ty} at {offset}");
        let pointer = Pointer::typed(world.id(ty), object.addr() + offset);
        let set = mutator.set_finalizer(pointer, &any);
        match error {
            None => {
                assert_eq!(set.unwrap(), FinalizerState::Set, "{what}");
                mutator.clear_finalizer(pointer).unwrap();
            }
            Some(error) => refused(&what, error, set),
        }
    }
}

/// Values that share a block have no types of their own: what is good is what lies in the block.
#[test]
fn a_pointer_to_a_tiny_value_stays_within_its_block() {
    let heap = HeapOptions::default().tiny(true);
    let world = boxes(Runtime::builder().heap(heap));
    let any = world.finalizer("func(any)");
    let mutator = world.runtime.attach().unwrap();
    let value = mutator.alloc(world.id("uint32")).unwrap();
    let block = value.addr() & !15;
    for offset in 0..16 {
        for size in 1..=24 {
            let element = world.id(&format!("*[{size}]uint8"));
            let pointer = Pointer::typed(element, block + offset);
            let set = mutator.set_finalizer(pointer, &any);
            let what = format!("{size} bytes at {offset}");
            if offset + size <= 16 {
                set.unwrap();
                mutator.clear_finalizer(pointer).unwrap();
            } else if offset > 0 && size >= 16 {
                refused(&what, "Interior", set);
            } else {
                refused(&what, "Mismatch", set);
            }
        }
        for ty in ["*main.Big", "*main.T", "**int"] {
            let set = mutator.set_finalizer(Pointer::typed(world.id(ty), block + offset), &any);
            refused(ty, if offset == 0 { "Mismatch" } else { "Interior" }, set);
        }
    }
    drop(mutator);
    world.is_untouched();
}

/// A finalizer that was prepared for a type is for objects of that type.
#[test]
fn a_prepared_finalizer_is_for_objects_of_its_type() {
    let world = boxes(Runtime::builder());
    let prepared = world.prepared(&world.finalizer("func(*main.T)"));
    let mutator = world.runtime.attach().unwrap();
    for ty in ["main.Box", "main.Big", "uint64", "[2]uint64", "*main.T"] {
        let object = mutator.alloc(world.id(ty)).unwrap();
        refused(ty, "OtherType", prepared.set(object));
        refused(ty, "OtherType", prepared.clear(object));
        let nothing = mutator.set_finalizer(object, prepared.function());
        refused(ty, "NotAssignable", nothing);
    }
    // Also when the mutator knows the function.
    let own = mutator.alloc(world.t).unwrap();
    mutator.set_finalizer(own, prepared.function()).unwrap();
    mutator.clear_finalizer(own).unwrap();
    let other = mutator.alloc(world.id("[2]uint64")).unwrap();
    let set = mutator.set_finalizer(other, prepared.function());
    refused("known", "NotAssignable", set);
    drop(mutator);
    world.is_untouched();
}
