//! Finalizers that touch the heap, by a mutator that is lent to them and by one of their own.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{die, time_run};
use crate::api::functions;
use crate::api::world::{Prepared, Setup, World};
use crate::callees::Kind;
use crate::measure::clock::try_time;
use crate::measure::{Fault, Round, Subject, rounds};

pub(super) fn lend(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let world = World::new(n, Setup::default())?;
    let runtime = Arc::new(world.runtime().clone());
    let types = world.types();
    let finalizers: Vec<(&str, Prepared)> = vec![
        (
            "fing.counts",
            world.prepare(&functions::finalizers(types, Kind::Pointer)?[0])?,
        ),
        ("fing.lent", world.prepare(&functions::lent(types)?)?),
        (
            "fing.lent-rust",
            world.prepare(&functions::lent_rust(types, world.field()?)?)?,
        ),
        (
            "fing.lent-words",
            world.prepare(&functions::lent_rust_words(types)?)?,
        ),
        (
            "fing.entering",
            world.prepare(&functions::entering(&runtime)?)?,
        ),
    ];
    Ok(rounds(move || {
        let mut round = Round::new();
        for (name, close) in &finalizers {
            let mut mutator = world.mutator()?;
            die(&world, &mut mutator, close)?;
            round.insert((*name).into(), time_run(&world, &mut mutator, n)?);
            mutator.gc()?;
        }
        for (name, more) in [
            ("fing.lent", "fing.lent-more"),
            ("fing.lent-rust", "fing.lent-rust-more"),
        ] {
            round.insert(more.into(), round[name] - round["fing.counts"]);
        }
        let enter = || (0..n).try_for_each(|_| runtime.enter(|_| ()));
        round.insert("fing.enter".into(), try_time(n, enter)?);
        let mut mutator = world.mutator()?;
        let native = || {
            (0..n).for_each(|_| mutator.native(|| ()));
            Ok::<(), Fault>(())
        };
        round.insert("fing.native".into(), try_time(n, native)?);
        Ok(round)
    }))
}
