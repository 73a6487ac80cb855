//! What a VM does all the time, beside the plain loads and stores of generated code: fields of
//! objects, allocation through windows, weak cells and maps, types that are defined at run time.
#![expect(
    unsafe_code,
    reason = "reads, writes and takes objects as generated code does"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::api::vm::{Mutator, Obj, Vm};
use crate::measure::clock::{time, try_time};
use crate::measure::{Fault, Round, Subject, callgrind, expect, rounds};
use crate::plan::{Bar, Row, Scenario, Sizes, Suite};

/// Objects whose fields are read and written again and again: they stay in the first cache.
const NEAR: usize = 512;
/// Objects of the two runs that valgrind counts, and those that are alive all the time.
const MADE: [usize; 2] = [200_000, 1_200_000];
const LIVE: usize = 10_000;

const fn suite(name: &'static str, start: fn(usize) -> Result<Box<dyn Subject>, Fault>) -> Suite {
    Suite {
        name,
        sizes: Sizes::Chosen(&[1_000_000], 10_000_000),
        rounds: 15,
        warm_rounds: 1,
        alone: false,
        programs: &[],
        start,
    }
}

static FIELDS: Suite = suite("vm-fields", fields);
static ALLOC: Suite = suite("vm-alloc", allocate);
static WEAK: Suite = Suite {
    sizes: Sizes::Chosen(&[100_000], 1_000_000),
    ..suite("vm-weak", weak)
};
static TYPES: Suite = Suite {
    sizes: Sizes::Chosen(&[10_000], 100_000),
    rounds: 5,
    ..suite("vm-types", types)
};
static INSTRUCTIONS: Suite =
    Suite::of_instructions("vm-instructions", MADE[1] - MADE[0], |_| Ok(instructions()));

const fn scenario(
    suite: &'static Suite,
    about: &'static str,
    unit: &'static str,
    rows: fn() -> Vec<Row>,
) -> Scenario {
    Scenario::of_suite(suite, "vm", about, unit, rows)
}

/// All scenarios, in the order of reports.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(
        &FIELDS,
        "a field of an object; more: than the plain load or store takes",
        "ns/access",
        || {
            // What a checked access may take beside the plain one.
            let more = |figure: &str| Row::alone(figure).bar(Bar::AtMost(1.0));
            vec![
                Row::alone("floor.read"),
                Row::beside("fing.read", "floor.read"),
                more("fing.read-more"),
                Row::beside("fing.read-byte", "floor.read"),
                Row::beside("fing.read-reference", "floor.read"),
                Row::alone("floor.write"),
                Row::beside("fing.write", "floor.write"),
                more("fing.write-more"),
                Row::beside("fing.write-reference", "floor.write"),
            ]
        },
    ),
    scenario(
        &ALLOC,
        "making objects that die at once, collections included",
        "ns/object",
        || {
            vec![
                Row::alone("fing.call"),
                Row::beside("fing.window", "fing.call"),
            ]
        },
    ),
    scenario(
        &INSTRUCTIONS,
        "making objects that die at once, collections included; clearing: of memory, apart",
        "instructions/object",
        || {
            vec![
                Row::alone("fing.window").bar(Bar::AtMost(40.0)),
                Row::alone("fing.window-clearing"),
                Row::alone("fing.call"),
                Row::alone("fing.call-clearing"),
            ]
        },
    ),
    scenario(
        &WEAK,
        "following a weak reference, and finding a value in a map",
        "ns/access",
        || {
            vec![
                Row::alone("floor.load"),
                Row::beside("fing.weak-cell", "floor.load"),
                Row::beside("fing.weak-cell-checked", "floor.load"),
                Row::beside("fing.weak", "floor.load"),
                Row::alone("floor.map"),
                Row::beside("fing.weak-map", "floor.map"),
                Row::beside("floor.hash-map", "floor.map"),
            ]
        },
    ),
    scenario(
        &TYPES,
        "defining a type of its own for each class of a program",
        "ns/type",
        || {
            vec![
                Row::alone("fing.define").bar(Bar::AtMost(1000.0)),
                Row::alone("fing.define-and-give-back"),
            ]
        },
    ),
];

/// The word at an address, as generated code reads and writes it.
#[inline(always)]
fn word<'m>(object: Obj<'m>, offset: usize) -> &'m AtomicU64 {
    let at = object.addr() + offset;
    // SAFETY: a word of the object, which is there as long as its `Obj`.
    unsafe { AtomicU64::from_ptr(std::ptr::with_exposed_provenance_mut(at)) }
}

fn objects<'m>(vm: &Vm, mutator: &'m Mutator, n: usize) -> Result<Vec<Obj<'m>>, Fault> {
    (0..n).map(|_| vm.alloc(mutator)).collect()
}

/// Does something `n` times, with one object after the other.
#[inline(always)]
fn each<'m>(
    objects: &[Obj<'m>],
    n: usize,
    mut access: impl FnMut(Obj<'m>) -> Result<(), Fault>,
) -> Result<f64, Fault> {
    let turns = n.div_ceil(objects.len());
    try_time(turns * objects.len(), || {
        (0..turns).try_for_each(|_| {
            let objects = black_box(objects);
            objects.iter().try_for_each(|&object| access(object))
        })
    })
}

fn fields(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let vm = Vm::new()?;
    let [value, next] = vm.offsets()?;
    let mutator = vm.mutator()?;
    Ok(rounds(move || {
        let (vm, mutator, fields) = (&vm, &mutator, vm.fields());
        let objects = objects(vm, mutator, NEAR)?;
        for (n, &object) in objects.iter().enumerate() {
            fields.set_value(mutator, object, n as u64)?;
            fields.set_next(mutator, object, objects[NEAR - 1 - n])?;
        }
        let (mut sum, mut number) = (0, 0);
        let read = each(&objects, n, |object| {
            sum += word(object, value).load(Relaxed);
            Ok(())
        })?;
        let checked = each(&objects, n, |object| {
            sum += fields.value(mutator, object)?;
            Ok(())
        })?;
        let bytes = each(&objects, n, |object| {
            sum += u64::from(fields.byte(mutator, object)?);
            Ok(())
        })?;
        let references = each(&objects, n, |object| {
            sum += u64::from(fields.next(mutator, object)?.is_some());
            Ok(())
        })?;
        let write = each(&objects, n, |object| {
            number += 1;
            word(object, value).store(number, Relaxed);
            Ok(())
        })?;
        let checked_write = each(&objects, n, |object| {
            number += 1;
            fields.set_value(mutator, object, number)
        })?;
        let first = objects[0];
        let write_reference = each(&objects, n, |object| {
            fields.set_next(mutator, object, first)
        })?;
        expect("reference", word(first, next).load(Relaxed), first.addr())?;
        black_box((sum, number));
        Ok(Round::from([
            ("floor.read".into(), read),
            ("fing.read".into(), checked),
            ("fing.read-more".into(), checked - read),
            ("fing.read-byte".into(), bytes),
            ("fing.read-reference".into(), references),
            ("floor.write".into(), write),
            ("fing.write".into(), checked_write),
            ("fing.write-more".into(), checked_write - write),
            ("fing.write-reference".into(), write_reference),
        ]))
    }))
}

/// Makes objects through a window, as generated code does, and stores a word in each.
fn make_in_window(vm: &Vm, mutator: &mut Mutator, n: usize) -> Result<(), Fault> {
    let (window, stride) = vm.window(mutator)?;
    let [value, _] = vm.offsets()?;
    let words = std::ptr::with_exposed_provenance::<[AtomicU64; 2]>(window.address());
    // SAFETY: the window's words, as long as `window` exists.
    let [next, end] = unsafe { &*words };
    for number in 0..n as u64 {
        let first = next.load(Relaxed);
        let behind = first + stride as u64;
        let object = if behind > end.load(Relaxed) {
            vm.refill(mutator, &window)?
        } else {
            next.store(behind, Relaxed);
            first as usize
        };
        let at = std::ptr::with_exposed_provenance_mut(object + value);
        // SAFETY: a word of the object, which is new.
        unsafe { AtomicU64::from_ptr(at) }.store(number, Relaxed);
    }
    Ok(())
}

/// Makes objects by a call for each.
fn make_by_call(vm: &Vm, mutator: &mut Mutator, n: usize) -> Result<(), Fault> {
    let fields = vm.fields();
    for number in 0..n as u64 {
        mutator.collect_if_due();
        let object = vm.alloc(mutator)?;
        fields.set_value(mutator, object, number)?;
    }
    Ok(())
}

fn allocate(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let vm = Vm::new()?;
    let mut mutator = vm.mutator()?;
    Ok(rounds(move || {
        let call = try_time(n, || make_by_call(&vm, &mut mutator, n))?;
        let window = try_time(n, || make_in_window(&vm, &mut mutator, n))?;
        Ok(Round::from([
            ("fing.call".into(), call),
            ("fing.window".into(), window),
        ]))
    }))
}

/// Makes so many objects.
type Make = fn(&Vm, &mut Mutator, usize) -> Result<(), Fault>;

/// Ways to make objects, by the names of their figures.
const WAYS: [(&str, Make); 2] = [("window", make_in_window), ("call", make_by_call)];

/// Makes so many objects in a way, for valgrind to count, beside some that stay alive.
///
/// # Errors
/// There is no such way, or the heap is full.
pub(crate) fn make_objects(way: &str, n: usize) -> Result<(), Fault> {
    let found = WAYS.iter().find(|(name, _)| *name == way);
    let (_, make) = found.ok_or_else(|| format!("no way {way:?}"))?;
    let vm = Vm::new()?;
    let mut mutator = vm.mutator()?;
    let (first, stride) = vm.slots()?;
    let table = vm.table(&mutator, LIVE)?;
    for n in 0..LIVE {
        vm.keep(&mutator, table, first + n * stride, vm.alloc(&mutator)?)?;
    }
    let _live = mutator.root(table)?;
    make(&vm, &mut mutator, n)
}

fn instructions() -> Box<dyn Subject> {
    rounds(|| {
        let mut round = Round::new();
        for (way, _) in WAYS {
            let count = |n: usize| callgrind::count(&["objects", way, &n.to_string()]);
            let (few, many) = (count(MADE[0])?, count(MADE[1])?);
            let each = |more: f64| more / (MADE[1] - MADE[0]) as f64;
            let clearing = each(many.in_libc - few.in_libc);
            round.insert(format!("fing.{way}-clearing").into(), clearing);
            let own = each(many.all - few.all) - clearing;
            round.insert(format!("fing.{way}").into(), own);
        }
        Ok(round)
    })
}

/// Where the search for a key begins in a table of `mask + 1` slots.
#[inline(always)]
fn hash(key: usize, mask: usize) -> usize {
    (key >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & mask
}

fn weak(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let vm = Vm::new()?;
    let mut mutator = vm.mutator()?;
    let (first, stride) = vm.slots()?;
    Ok(rounds(move || {
        // What the last round has left is garbage.
        mutator.gc()?;
        let (vm, mutator) = (&vm, &mutator);
        let near = objects(vm, mutator, NEAR)?;
        let cells = near.iter().map(|&object| vm.weak_cell(mutator, object));
        let cells = cells.collect::<Result<Vec<_>, Fault>>()?;
        let handles = near.iter().map(|&object| vm.downgrade(mutator, object));
        let handles = handles.collect::<Result<Vec<_>, Fault>>()?;
        let mut sum = 0;
        let load = each(&near, n, |object| {
            sum += usize::from(word(object, 0).load(Relaxed) != 0);
            Ok(())
        })?;
        let cell = each(&cells, n, |cell| {
            sum += usize::from(word(cell, 0).load(Relaxed) != 0);
            Ok(())
        })?;
        let checked = each(&cells, n, |cell| {
            sum += usize::from(vm.follow(mutator, cell)?.is_some());
            Ok(())
        })?;
        let mut at = (0..NEAR).cycle();
        let handle = each(&near, n, |_| {
            let handle = &handles[at.next().unwrap_or(0)];
            sum += usize::from(vm.upgrade(mutator, handle)?.is_some());
            Ok(())
        })?;

        // A map of n keys: as a table of entries in the heap, as one of pairs, and Rust's own.
        let keys = objects(vm, mutator, n)?;
        let mask = (2 * n).next_power_of_two() - 1;
        let table = vm.table(mutator, mask + 1)?;
        let mut pairs = vec![[0; 2]; mask + 1];
        let mut map = HashMap::with_capacity(n);
        for &key in &keys {
            let mut slot = hash(key.addr(), mask);
            while pairs[slot][0] != 0 {
                slot = (slot + 1) & mask;
            }
            pairs[slot] = [key.addr(), near[slot % NEAR].addr()];
            map.insert(key.addr(), near[slot % NEAR].addr());
            let entry = vm.ephemeron(mutator, key, near[slot % NEAR])?;
            vm.keep(mutator, table, first + slot * stride, entry)?;
        }
        let plain = time(n, || {
            for key in &keys {
                let mut slot = hash(key.addr(), mask);
                while pairs[slot][0] != key.addr() {
                    slot = (slot + 1) & mask;
                }
                sum ^= pairs[slot][1];
            }
        });
        let mut found = 0;
        let weak_map = time(n, || {
            for key in &keys {
                let mut slot = hash(key.addr(), mask);
                let value = loop {
                    let entry = word(table, first + slot * stride).load(Relaxed) as usize;
                    // SAFETY: an entry of the table: the key is there, so the search ends at one.
                    let [entry_key, value] =
                        unsafe { &*std::ptr::with_exposed_provenance::<[AtomicU64; 2]>(entry) };
                    if entry_key.load(Relaxed) as usize == key.addr() {
                        break value.load(Relaxed) as usize;
                    }
                    slot = (slot + 1) & mask;
                };
                found += usize::from(value != 0);
            }
        });
        expect("values", found as u64, n)?;
        let hash_map = time(n, || keys.iter().for_each(|key| sum ^= map[&key.addr()]));
        black_box(sum);
        Ok(Round::from([
            ("floor.load".into(), load),
            ("fing.weak-cell".into(), cell),
            ("fing.weak-cell-checked".into(), checked),
            ("fing.weak".into(), handle),
            ("floor.map".into(), plain),
            ("fing.weak-map".into(), weak_map),
            ("floor.hash-map".into(), hash_map),
        ]))
    }))
}

fn types(n: usize) -> Result<Box<dyn Subject>, Fault> {
    Ok(rounds(move || {
        let vm = Vm::new()?;
        let names: Vec<String> = (0..n).map(|n| format!("bench.Class{n}")).collect();
        let layouts = names.iter();
        let layouts = layouts.map(|name| format!("struct {{ Next *{name}; Value int }}"));
        let layouts: Vec<String> = layouts.collect();
        let define = try_time(n, || {
            let all = names.iter().zip(&layouts);
            all.into_iter()
                .try_for_each(|(name, layout)| vm.define(name, layout).map(drop))
        })?;
        let vm = Vm::new()?;
        let passing = try_time(n, || {
            let all = names.iter().zip(&layouts);
            all.into_iter()
                .try_for_each(|(name, layout)| vm.define_in_passing(name, layout))?;
            vm.collect()
        })?;
        expect("types left", vm.types_left(), 0)?;
        Ok(Round::from([
            ("fing.define".into(), define),
            ("fing.define-and-give-back".into(), passing),
        ]))
    }))
}
