//! fing's heap as a subject: binary trees, without finalizers.
#![forbid(unsafe_code)]

use super::work::{CHURNED, SMALL_TREE, Work, phase};
use crate::api::world::{Handle, Mutator, Obj, Setup, World};
use crate::measure::clock::Laps;
use crate::measure::{Fault, Round, Subject, expect};

/// A tree of `nodes` nodes, both subtrees of a node being as nearly of one size as they can be;
/// `None` of none.
///
/// # Errors
/// The heap is full.
pub(crate) fn grow<'m>(
    world: &World,
    mutator: &'m Mutator,
    nodes: usize,
) -> Result<Option<Obj<'m>>, Fault> {
    let Some(below) = nodes.checked_sub(1) else {
        return Ok(None);
    };
    let left = grow(world, mutator, below / 2)?;
    let right = grow(world, mutator, below - below / 2)?;
    Ok(Some(world.node(mutator, [left, right])?))
}

/// A runtime in which trees grow.
pub(crate) struct Trees {
    world: World,
    churns: bool,
    nodes: usize,
}

impl Trees {
    /// `work` is [`Work::Tree`] or [`Work::TreeChurn`].
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) fn new(work: Work, nodes: usize) -> Result<Trees, Fault> {
        let churns = work == Work::TreeChurn;
        let setup = Setup {
            paced: churns,
            threaded: churns,
            ..Setup::default()
        };
        Ok(Trees {
            world: World::new(nodes, setup)?,
            churns,
            nodes,
        })
    }

    fn rooted(&self, mutator: &Mutator) -> Result<Handle, Fault> {
        let tree = grow(&self.world, mutator, self.nodes)?;
        Ok(mutator.root(tree.ok_or("a tree of nothing")?)?)
    }

    fn once(&self) -> Result<Round, Fault> {
        let mut mutator = self.world.mutator()?;
        let mut laps = Laps::new(self.nodes);
        let tree = self.rooted(&mutator)?;
        laps.end(phase::ALLOC);
        mutator.gc()?;
        laps.begin();
        let live = mutator.gc()?;
        laps.end(phase::LIVE);
        drop(tree);
        laps.begin();
        let free = mutator.gc()?;
        laps.end(phase::FREE);
        let found = live.live_objects.abs_diff(free.live_objects);
        expect("fing: nodes freed", found as u64, self.nodes)?;
        Ok(laps.finish())
    }

    fn churn(&self) -> Result<Round, Fault> {
        let mut mutator = self.world.mutator()?;
        let tree = self.rooted(&mutator)?;
        let trees = (CHURNED * self.nodes).div_ceil(SMALL_TREE);
        let mut laps = Laps::new(trees * SMALL_TREE);
        for _ in 0..trees {
            grow(&self.world, &mutator, SMALL_TREE)?;
            mutator.collect_if_due();
        }
        laps.end(phase::CHURN);
        drop(tree);
        mutator.gc()?;
        Ok(laps.finish())
    }
}

impl Subject for Trees {
    fn round(&mut self) -> Result<Round, Fault> {
        if self.churns {
            self.churn()
        } else {
            self.once()
        }
    }
}
