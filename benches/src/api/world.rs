//! A runtime with its embedded heap, and everything that is registered with it. All errors are the
//! runtime's: something was refused, or the heap is full.
#![forbid(unsafe_code)]

use std::time::Duration;

use fing::error::SetFinalizerError;
use fing::executor::DrainOrder;
use fing::vm::Field;
pub(crate) use fing::{CallStage, Cleanup, Handle, Mutator, Obj};
use fing::{
    Executor, FinalizerOptions, FinalizerState, HeapOptions, HeldValue, PreparedFinalizer, Runtime,
    TypeId, Types,
};

use super::functions::{CleanupFunction, Finalizer, OBJECT};
use crate::measure::Fault;

/// How long finalizers may take to run.
const PATIENCE: Duration = Duration::from_secs(300);
/// A node of a binary tree: two references and two words, 32 bytes.
const NODE: (&str, &str) = (
    "bench.Node",
    "struct { Left *bench.Node; Right *bench.Node; A uint64; B uint64 }",
);

/// How a world's runtime is set up. By default nothing is collected, and no finalizer runs, unless
/// it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    /// Collections are due when the heap has doubled.
    pub(crate) paced: bool,
    /// A thread runs the finalizers.
    pub(crate) threaded: bool,
    /// Queued calls are run function by function.
    pub(crate) grouped: bool,
    /// Go functions are called with so many integer argument registers.
    pub(crate) int_arg_regs: Option<usize>,
}

/// A runtime with a type of 32 bytes without pointers, a type of tree nodes, and an array type for
/// `n` objects.
pub(crate) struct World {
    runtime: Runtime,
    object: TypeId,
    node: TypeId,
    array: TypeId,
    n: usize,
}

/// A finalizer that was prepared for the type of the objects.
pub(crate) struct Prepared(PreparedFinalizer);

impl World {
    /// For `n` objects.
    pub(crate) fn new(n: usize, setup: Setup) -> Result<World, Fault> {
        let mut builder = Runtime::builder()
            .heap(
                HeapOptions::default()
                    .limit(64 << 30)
                    .percent(setup.paced.then_some(100)),
            )
            .executor(match setup.threaded {
                true => Executor::Thread,
                false => Executor::Inline,
            });
        if setup.grouped {
            builder = builder.drain_order(DrainOrder::Grouped);
        }
        if let Some(count) = setup.int_arg_regs {
            builder = builder.int_arg_regs(count);
        }
        let runtime = builder.build()?;
        let types = runtime.types();
        let object = types.define(OBJECT.0, OBJECT.1)?;
        let node = types.define(NODE.0, NODE.1)?;
        let array = types.define("bench.Array", &format!("[{n}]*{}", OBJECT.0))?;
        Ok(World {
            runtime,
            object,
            node,
            array,
            n,
        })
    }

    /// The first word of the objects.
    pub(crate) fn field(&self) -> Result<Field<u64>, Fault> {
        Ok(self.runtime.field(self.object, 0)?)
    }

    /// The runtime's types.
    pub(crate) fn types(&self) -> &Types {
        self.runtime.types()
    }

    /// A handle of the runtime.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A mutator of this thread.
    pub(crate) fn mutator(&self) -> Result<Mutator, Fault> {
        Ok(self.runtime.attach()?)
    }

    // --------------------------------------------------------------------------------------
    // objects

    /// Makes an object.
    #[inline]
    pub(crate) fn alloc<'m>(&self, mutator: &'m Mutator) -> Result<Obj<'m>, Fault> {
        Ok(mutator.alloc(self.object)?)
    }

    /// Makes a rooted object, after a collection if one is due.
    pub(crate) fn alloc_collecting(&self, mutator: &mut Mutator) -> Result<Handle, Fault> {
        Ok(mutator.alloc_collecting(self.object)?)
    }

    /// Makes an array for all objects.
    pub(crate) fn array<'m>(&self, mutator: &'m Mutator) -> Result<Obj<'m>, Fault> {
        Ok(mutator.alloc(self.array)?)
    }

    /// Makes all objects, gives each to `each`, and returns an array that keeps them.
    #[inline]
    pub(crate) fn fill<'m>(
        &self,
        mutator: &'m Mutator,
        mut each: impl FnMut(Obj<'m>),
    ) -> Result<Handle, Fault> {
        let array = self.array(mutator)?;
        for n in 0..self.n {
            let object = self.alloc(mutator)?;
            self.keep(mutator, array, n, Some(object))?;
            each(object);
        }
        Ok(mutator.root(array)?)
    }

    /// Stores a reference in an array, or clears it.
    #[inline]
    pub(crate) fn keep(
        &self,
        mutator: &Mutator,
        array: Obj<'_>,
        n: usize,
        object: Option<Obj<'_>>,
    ) -> Result<(), Fault> {
        Ok(mutator.store_addr(array, 8 * n, object.map_or(0, Obj::addr))?)
    }

    /// The object that an array keeps.
    #[inline]
    pub(crate) fn kept<'m>(
        &self,
        mutator: &'m Mutator,
        array: Obj<'m>,
        n: usize,
    ) -> Result<Option<Obj<'m>>, Fault> {
        Ok(mutator.load_ref(array, 8 * n)?)
    }

    /// Makes a node of a tree.
    #[inline]
    pub(crate) fn node<'m>(
        &self,
        mutator: &'m Mutator,
        children: [Option<Obj<'m>>; 2],
    ) -> Result<Obj<'m>, Fault> {
        let node = mutator.alloc(self.node)?;
        for (n, child) in children.into_iter().enumerate() {
            if let Some(child) = child {
                mutator.store_addr(node, 8 * n, child.addr())?;
            }
        }
        Ok(node)
    }

    // --------------------------------------------------------------------------------------
    // finalizers

    /// Sets an object's finalizer.
    #[inline]
    pub(crate) fn set(
        &self,
        mutator: &Mutator,
        object: Obj<'_>,
        finalizer: &Finalizer,
    ) -> Result<(), Fault> {
        mutator.set_finalizer(object, finalizer)?;
        Ok(())
    }

    /// Sets an object's finalizer, with a context for this registration only.
    #[inline]
    pub(crate) fn set_closure(
        &self,
        mutator: &Mutator,
        object: Obj<'_>,
        closure: &Finalizer,
        context: usize,
    ) -> Result<(), Fault> {
        let options = FinalizerOptions::new().context(HeldValue::Word(context as u64));
        mutator.set_finalizer_with(object, closure, options)?;
        Ok(())
    }

    /// Sets the finalizer of an object that owns so many bytes outside the heap.
    #[inline]
    pub(crate) fn set_owner(
        &self,
        mutator: &Mutator,
        object: Obj<'_>,
        finalizer: &Finalizer,
        external_bytes: usize,
    ) -> Result<(), Fault> {
        let options = FinalizerOptions::new().external_bytes(external_bytes);
        mutator.set_finalizer_with(object, finalizer, options)?;
        Ok(())
    }

    /// Takes an object's finalizer back. Returns whether it had one.
    #[inline]
    pub(crate) fn clear(&self, mutator: &Mutator, object: Obj<'_>) -> Result<bool, Fault> {
        let state = mutator.clear_finalizer(object)?;
        Ok(state == FinalizerState::Cleared(CallStage::Registered))
    }

    /// Adds a cleanup with a number.
    #[inline]
    pub(crate) fn add_cleanup(
        &self,
        mutator: &Mutator,
        object: Obj<'_>,
        function: &CleanupFunction,
        number: u64,
    ) -> Result<Cleanup, Fault> {
        Ok(mutator.add_cleanup(object, function, number)?)
    }

    /// Prepares a finalizer for the type of the objects.
    pub(crate) fn prepare(&self, finalizer: &Finalizer) -> Result<Prepared, Fault> {
        let prepared = self.runtime.prepare_finalizer(self.object, finalizer)?;
        Ok(Prepared(prepared))
    }

    /// Runs what is queued, and returns how many calls were made.
    pub(crate) fn run(&self, mutator: &mut Mutator) -> Result<u64, Fault> {
        Ok(mutator.native(|| self.runtime.run_finalizers())?)
    }

    /// Collects, and waits until a thread has run what was queued.
    pub(crate) fn settle(&self) -> Result<(), Fault> {
        self.runtime.gc()?;
        self.runtime.block_until_finalizer_queue_empty(PATIENCE)?;
        Ok(())
    }

    // --------------------------------------------------------------------------------------
    // statistics

    /// Collections so far.
    pub(crate) fn collections(&self) -> u64 {
        self.runtime.stats().heap.collections
    }

    /// Bytes of the heap's tables, registrations among them.
    pub(crate) fn table_bytes(&self) -> usize {
        self.runtime.stats().heap.table_bytes
    }

    /// Bytes of the queue.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.runtime.stats().queue_bytes
    }
}

impl Prepared {
    /// Sets an object's finalizer.
    #[inline]
    pub(crate) fn set(&self, object: Obj<'_>) -> Result<(), SetFinalizerError> {
        self.0.set(object)
    }

    /// Takes it back. Returns whether there was one.
    #[inline]
    pub(crate) fn clear(&self, object: Obj<'_>) -> Result<bool, SetFinalizerError> {
        Ok(self.0.clear(object)?.is_cancelled())
    }

    /// Gives it to every object of the type that is made from now on.
    pub(crate) fn set_for_all(&self) -> Result<(), SetFinalizerError> {
        self.0.set_for_all()
    }
}
