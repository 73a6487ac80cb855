//! Safepoints of generated code: one word to test, and what to call when it is set.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::runtime::Runtime;

/// A word of 32 bits that is not 0 while threads with a mutator should come to a safepoint: because
/// a thread wants to stop the world, a collection is due, or the heap is
/// [stressed](crate::HeapOptions::stress).
///
/// Generated code loads it in loops and where functions begin. If it is not 0, it calls a function
/// of the host, with its references in a stack map, and that calls
/// [`Mutator::collect_at_safepoint`](crate::Mutator::collect_at_safepoint). It may also be set for
/// a moment when nothing is to be done.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// let runtime = fing::Runtime::new()?;
/// let flag = runtime.safepoint_flag();
/// let bytes = runtime.types().id("[4096]uint8")?;
/// let mut mutator = runtime.attach()?;
/// while !flag.is_set() {
///     mutator.alloc(bytes)?;
/// }
/// assert!(mutator.collect_at_safepoint());
/// assert!(!flag.is_set());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SafepointFlag(Arc<AtomicU32>);

impl SafepointFlag {
    /// Returns the address of the word. It stays the same, and may be read as long as the runtime
    /// or a clone of this exists. Only the runtime writes it.
    pub fn address(&self) -> usize {
        self.0.as_ptr().expose_provenance()
    }

    /// Whether the word is not 0 now.
    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed) != 0
    }
}

impl Runtime {
    /// Returns the word that generated code tests at its safepoints.
    pub fn safepoint_flag(&self) -> SafepointFlag {
        SafepointFlag(self.space().heap().wanted().clone())
    }
}
