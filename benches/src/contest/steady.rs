//! A steady state of fing's: as many objects live on, each with a finalizer, and the oldest is
//! replaced all the time.
#![forbid(unsafe_code)]

use super::work::{MEASURED, WARM_UP, WINDOW, phase};
use crate::api::functions::{Finalizer, finalizers};
use crate::api::world::{Setup, World};
use crate::callees::Kind;
use crate::measure::memory::resident;
use crate::measure::{Fault, Round, Subject};

/// Objects after which a runtime that has not collected as often as it should is taken not to.
const MOST_OBJECTS: usize = 1_000_000_000;

/// A runtime in such a state.
pub(crate) struct Steady {
    world: World,
    /// `None`: the same without finalizers.
    finalizer: Option<Finalizer>,
    live: usize,
}

impl Steady {
    /// # Errors
    /// The runtime's.
    pub(crate) fn new(finalized: bool, live: usize) -> Result<Steady, Fault> {
        let setup = Setup {
            paced: true,
            threaded: true,
            ..Setup::default()
        };
        let world = World::new(live, setup)?;
        let mut all = finalizers(world.types(), Kind::Pointer)?;
        let finalizer = finalized.then(|| all.swap_remove(0));
        Ok(Steady {
            world,
            finalizer,
            live,
        })
    }
}

impl Subject for Steady {
    fn round(&mut self) -> Result<Round, Fault> {
        let mut mutator = self.world.mutator()?;
        let array = self.world.array(&mutator)?;
        let array = mutator.root(array)?;
        let (mut objects, mut memory) = (Vec::new(), Vec::new());
        let mut since = 0;
        for n in 0..MOST_OBJECTS {
            if mutator.collect_if_due() {
                objects.push(since as f64);
                memory.push(resident()? / f64::from(1 << 20));
                since = 0;
                if objects.len() == WARM_UP + MEASURED {
                    return figures(&objects, &memory);
                }
            }
            let object = self.world.alloc(&mutator)?;
            if let Some(finalizer) = &self.finalizer {
                self.world.set(&mutator, object, finalizer)?;
            }
            let array = mutator.get(&array)?;
            self.world
                .keep(&mutator, array, n % self.live, Some(object))?;
            since += 1;
        }
        Err(format!(
            "fing: {} collections of {MOST_OBJECTS} objects",
            objects.len()
        )
        .into())
    }
}

/// The figures of the collections after the warm-up.
fn figures(objects: &[f64], memory: &[f64]) -> Result<Round, Fault> {
    use phase::{
        FIRST_MEMORY, FIRST_OBJECTS, LAST_MEMORY, LAST_OBJECTS, MEMORY_GROWTH, OBJECTS_GROWTH,
    };
    let mut round = Round::new();
    for (values, [first, last, growth]) in [
        (objects, [FIRST_OBJECTS, LAST_OBJECTS, OBJECTS_GROWTH]),
        (memory, [FIRST_MEMORY, LAST_MEMORY, MEMORY_GROWTH]),
    ] {
        let measured = &values[WARM_UP..];
        let mean = |window: &[f64]| window.iter().sum::<f64>() / window.len() as f64;
        let (at_first, at_last) = (
            mean(&measured[..WINDOW]),
            mean(&measured[measured.len() - WINDOW..]),
        );
        round.insert(first.into(), at_first);
        round.insert(last.into(), at_last);
        round.insert(growth.into(), at_last / at_first);
    }
    Ok(round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_last_window_to_the_first_after_the_warm_up() {
        let all = WARM_UP + MEASURED;
        let objects: Vec<f64> = (0..all).map(|n| n as f64).collect();
        let memory = vec![8.0; all];
        let round = figures(&objects, &memory).unwrap();
        assert_eq!(round[phase::FIRST_OBJECTS], 7.0);
        assert_eq!(round[phase::LAST_OBJECTS], 22.0);
        assert_eq!(round[phase::OBJECTS_GROWTH], 22.0 / 7.0);
        assert_eq!(round[phase::MEMORY_GROWTH], 1.0);
    }
}
