//! Objects, registrations of their finalizers and cleanups, and the memory of these.
#![forbid(unsafe_code)]

use std::hint::black_box;

use super::{APPEND, CHECK, prepared, time_collection};
use crate::api::functions::{self, Finalizer};
use crate::api::world::{Cleanup, Mutator, Obj, Setup, World};
use crate::callees::Kind;
use crate::measure::clock::{time, try_time};
use crate::measure::floor::Floor;
use crate::measure::memory::resident;
use crate::measure::random::permutation;
use crate::measure::{Fault, Round, Subject, expect, rounds};

pub(super) fn memory(n: usize) -> Result<Round, Fault> {
    let (world, close) = prepared(n, Setup::default())?;
    let mut mutator = world.mutator()?;
    let before = world.table_bytes();
    // The objects are made before, and their own tables with them.
    let mut objects = Vec::with_capacity(n);
    let keep = world.fill(&mutator, |object| objects.push(object))?;
    let made = world.table_bytes();
    for object in objects {
        close.set(object)?;
    }
    let set = world.table_bytes() - made.max(before);
    drop(keep);
    mutator.gc()?;
    let queued = world.queue_bytes();
    expect("calls", world.run(&mut mutator)?, n)?;
    let count = functions::cleanup(world.types())?;
    let mut objects = Vec::with_capacity(n);
    let _keep = world.fill(&mutator, |object| objects.push(object))?;
    let before = resident()?;
    for object in objects {
        world.add_cleanup(&mutator, object, &count, 1)?;
    }
    let cleanups = resident()? - before;
    let each = |bytes: f64| bytes / n as f64;
    Ok(Round::from([
        ("fing.prepared".into(), each(set as f64)),
        ("fing.prepared-queued".into(), each(queued as f64)),
        ("fing.cleanup".into(), each(cleanups)),
    ]))
}

pub(super) fn allocate(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (world, mut floor) = (World::new(n, Setup::default())?, Floor::new(n));
    Ok(rounds(move || {
        let mut mutator = world.mutator()?;
        let append = floor.append();
        let alloc = try_time(n, || {
            for _ in 0..n {
                black_box(world.alloc(&mutator)?);
            }
            Ok::<(), Fault>(())
        })?;
        Ok(Round::from([
            (APPEND.into(), append),
            ("fing.alloc".into(), alloc),
            ("fing.free".into(), time_collection(&mut mutator, n)?),
        ]))
    }))
}

/// Registers and takes back, in the order of addresses and in random order.
fn registrations(
    world: &World,
    floor: &mut Floor,
    order: &[usize],
    set: impl Fn(&Mutator, Obj<'_>) -> Result<(), Fault>,
    clear: impl Fn(&Mutator, Obj<'_>) -> Result<bool, Fault>,
) -> Result<Round, Fault> {
    let n = order.len();
    let mut mutator = world.mutator()?;
    let mut round = Round::new();
    {
        let mut objects = Vec::with_capacity(n);
        let _keep = world.fill(&mutator, |object| objects.push(object))?;
        let mixed: Vec<Obj<'_>> = order.iter().map(|&i| objects[i]).collect();
        round.insert(APPEND.into(), floor.append());
        for (set_name, clear_name, objects) in [
            ("fing.set-in-order", "fing.clear-in-order", &objects),
            ("fing.set-random", "fing.clear-random", &mixed),
        ] {
            let took = try_time(n, || objects.iter().try_for_each(|&one| set(&mutator, one)))?;
            round.insert(set_name.into(), took);
            let mut cleared = 0;
            let took = try_time(n, || {
                for &object in objects {
                    cleared += u64::from(clear(&mutator, object)?);
                }
                Ok::<(), Fault>(())
            })?;
            expect("cleared", cleared, n)?;
            round.insert(clear_name.into(), took);
        }
    }
    mutator.gc()?;
    Ok(round)
}

pub(super) fn attach(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (world, close) = prepared(n, Setup::default())?;
    let (mut floor, order) = (Floor::new(n), permutation(n));
    Ok(rounds(move || {
        registrations(
            &world,
            &mut floor,
            &order,
            |_, object| Ok(close.set(object)?),
            |_, object| Ok(close.clear(object)?),
        )
    }))
}

pub(super) fn set(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let world = World::new(n, Setup::default())?;
    let close: Finalizer = functions::finalizers(world.types(), Kind::Pointer)?.swap_remove(0);
    let (mut floor, order) = (Floor::new(n), permutation(n));
    Ok(rounds(move || {
        registrations(
            &world,
            &mut floor,
            &order,
            |mutator, object| world.set(mutator, object, &close),
            |mutator, object| world.clear(mutator, object),
        )
    }))
}

/// All cleanups are stopped once, then added again, and run.
pub(super) fn clean_up(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (world, mut floor) = (World::new(n, Setup::default())?, Floor::new(n));
    let count = functions::cleanup(world.types())?;
    Ok(rounds(move || {
        let mut mutator = world.mutator()?;
        let keep;
        let (stop, add);
        {
            let mut objects = Vec::with_capacity(n);
            keep = world.fill(&mutator, |object| objects.push(object))?;
            let mut added: Vec<Cleanup> = Vec::with_capacity(n);
            for &object in &objects {
                added.push(world.add_cleanup(&mutator, object, &count, 1)?);
            }
            let mut stopped = 0;
            stop = time(n, || {
                stopped = added.iter().filter(|one| one.stop().is_cancelled()).count()
            });
            expect("stopped", stopped as u64, n)?;
            drop(added);
            add = try_time(n, || {
                for &object in &objects {
                    world.add_cleanup(&mutator, object, &count, 1)?;
                }
                Ok::<(), Fault>(())
            })?;
        }
        mutator.gc()?;
        let live = mutator.gc()?.deciding.as_nanos() as f64 / n as f64;
        drop(keep);
        let discover = time_collection(&mut mutator, n)?;
        expect("calls", world.run(&mut mutator)?, n)?;
        mutator.gc()?;
        let (append, scan) = (floor.append(), floor.scan());
        Ok(Round::from([
            (APPEND.into(), append),
            (CHECK.into(), floor.mark_checks()),
            ("floor.append-scan".into(), append + scan),
            ("fing.add".into(), add),
            ("fing.stop".into(), stop),
            ("fing.live".into(), live),
            ("fing.discover".into(), discover),
        ]))
    }))
}
