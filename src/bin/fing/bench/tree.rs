//! fing's heap as a subject: binary trees, without finalizers, through its public interface, in this process.
#![forbid(unsafe_code)]

use fing::{Handle, Mutator, Obj, Runtime, TypeId};

use super::runtime::builder;
use super::subject::{CHURNED, Fault, Laps, Phase, Round, SMALL_TREE, Subject, Work};

/// A node: two references and two words, 32 bytes.
const NODE: (&str, &str) = (
    "bench.Node",
    "struct { Left *bench.Node; Right *bench.Node; A uint64; B uint64 }",
);
const LEFT: usize = 0;
const RIGHT: usize = 8;

/// A runtime in which trees grow.
pub(crate) struct Trees {
    runtime: Runtime,
    node: TypeId,
    churns: bool,
    nodes: usize,
}

impl Trees {
    /// `work` is [`Work::Tree`] or [`Work::TreeChurn`].
    ///
    /// # Errors
    /// The runtime's; all name what they wanted.
    pub(crate) fn new(work: Work, nodes: usize) -> Result<Trees, Fault> {
        let churns = work == Work::TreeChurn;
        let runtime = builder(churns).build()?;
        let node = runtime.types().define(NODE.0, NODE.1)?;
        Ok(Trees {
            runtime,
            node,
            churns,
            nodes,
        })
    }

    /// A tree of this many nodes, the two below each as large as they can be alike; `None` of none.
    fn make<'m>(&self, mutator: &'m Mutator, nodes: usize) -> Result<Option<Obj<'m>>, Fault> {
        let Some(below) = nodes.checked_sub(1) else {
            return Ok(None);
        };
        let left = self.make(mutator, below / 2)?;
        let right = self.make(mutator, below - below / 2)?;
        let node = mutator.alloc(self.node)?;
        for (offset, child) in [(LEFT, left), (RIGHT, right)] {
            if let Some(child) = child {
                mutator.store_addr(node, offset, child.addr())?;
            }
        }
        Ok(Some(node))
    }

    fn rooted(&self, mutator: &Mutator) -> Result<Handle, Fault> {
        let tree = self.make(mutator, self.nodes)?.ok_or("a tree of nothing")?;
        Ok(mutator.root(tree))
    }

    fn once(&self) -> Result<Round, Fault> {
        let mut mutator = self.runtime.attach()?;
        let mut laps = Laps::new(self.nodes);
        let tree = self.rooted(&mutator)?;
        laps.end(Phase::Alloc);
        mutator.gc()?;
        laps.begin();
        let live = mutator.gc()?;
        laps.end(Phase::Live);
        drop(tree);
        laps.begin();
        let free = mutator.gc()?;
        laps.end(Phase::Free);
        let found = live.live_objects.abs_diff(free.live_objects);
        if found != self.nodes {
            return Err(format!("fing: {found} nodes freed, wanted {}", self.nodes).into());
        }
        Ok(laps.finish())
    }

    fn churn(&self) -> Result<Round, Fault> {
        let mut mutator = self.runtime.attach()?;
        let tree = self.rooted(&mutator)?;
        let trees = (CHURNED * self.nodes).div_ceil(SMALL_TREE);
        let mut laps = Laps::new(trees * SMALL_TREE);
        for _ in 0..trees {
            self.make(&mutator, SMALL_TREE)?;
            mutator.collect_if_due();
        }
        laps.end(Phase::Churn);
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
