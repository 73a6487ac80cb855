//! Objects of fing's that own memory outside its heap: how much of it waits for a collection.
#![forbid(unsafe_code)]

use super::work::{OWNED, phase};
use crate::api::functions::{Finalizer, finalizers};
use crate::api::world::{Setup, World};
use crate::callees::{self, Kind};
use crate::measure::{Fault, Round, Subject};

/// A runtime with such objects. No memory is really owned: what a finalizer would free is counted.
pub(crate) struct Owners {
    world: World,
    finalizer: Finalizer,
    objects: usize,
}

impl Owners {
    /// # Errors
    /// The runtime's.
    pub(crate) fn new(objects: usize) -> Result<Owners, Fault> {
        let setup = Setup {
            paced: true,
            ..Setup::default()
        };
        let world = World::new(reachable(objects), setup)?;
        let mut all = finalizers(world.types(), Kind::Pointer)?;
        Ok(Owners {
            finalizer: all.swap_remove(0),
            world,
            objects,
        })
    }
}

fn reachable(objects: usize) -> usize {
    (objects / 10).max(1)
}

impl Subject for Owners {
    fn round(&mut self) -> Result<Round, Fault> {
        let (before, collections) = (callees::calls(), self.world.collections());
        let reachable = reachable(self.objects);
        let mut mutator = self.world.mutator()?;
        let array = self.world.array(&mutator)?;
        let array = mutator.root(array)?;
        let mut most = 0;
        for n in 0..self.objects {
            if mutator.collect_if_due() {
                self.world.run(&mut mutator)?;
            }
            let object = self.world.alloc(&mutator)?;
            self.world
                .set_owner(&mutator, object, &self.finalizer, OWNED as usize)?;
            let array = mutator.get(&array)?;
            self.world
                .keep(&mutator, array, n % reachable, Some(object))?;
            let freed = callees::calls() - before;
            most = most.max((n as u64 + 1 - freed) * OWNED);
        }
        let collections = self.world.collections() - collections;
        drop(array);
        mutator.gc()?;
        self.world.run(&mut mutator)?;
        mutator.gc()?;
        Ok(Round::from([
            (
                phase::OWNED.into(),
                most as f64 / (reachable as u64 * OWNED) as f64,
            ),
            (phase::COLLECTIONS.into(), collections as f64),
        ]))
    }
}
