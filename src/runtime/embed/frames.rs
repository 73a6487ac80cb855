//! Frames of generated code as roots.
#![expect(
    unsafe_code,
    reason = "passes on the promise about code, and walks stacks with the world stopped"
)]

use std::ops::Range;

use fing_stubs::frames::{Callers, FrameError, RegisteredCode, Stack, StackMaps};

use crate::runtime::Runtime;
use crate::world::sources::RootSource;

/// The frames of generated code of one runtime: their references, as Cranelift's stack maps list
/// them, are roots of each collection.
///
/// The walk is that of [`fing_stubs::frames`], which says what generated code has to do. A
/// collection fails with [`WorldError::Roots`](crate::error::WorldError::Roots) and frees nothing
/// if the code of a frame is not registered.
#[derive(Debug)]
pub struct Frames {
    maps: StackMaps,
    _source: RootSource,
}

impl Frames {
    /// Registers code with its stack maps until the result is dropped; see [`StackMaps::add`].
    ///
    /// # Errors
    /// Those of [`StackMaps::add`].
    ///
    /// # Safety
    /// As [`StackMaps::add`] says; and the code runs only on stacks that [`stack`](Self::stack)
    /// returned, and only while a mutator of this runtime runs on the thread. Where a mutator parks
    /// or collects, the frames of its thread wait for an exit stub.
    pub unsafe fn add<S: IntoIterator<Item = u32>>(
        &self,
        code: Range<usize>,
        callers: Callers,
        maps: impl IntoIterator<Item = (u32, S)>,
    ) -> Result<RegisteredCode, FrameError> {
        // SAFETY: I31, as the caller promises: with the world stopped no mutator runs.
        unsafe { self.maps.add(code, callers, maps) }
    }

    /// Adds a stack that generated code will run on: one for each thread, or for each stack that a
    /// thread switches between.
    pub fn stack(&self) -> Stack {
        self.maps.stack()
    }
}

impl Runtime {
    /// Has collections find references in frames of generated code, until the result is dropped.
    pub fn frames(&self) -> Frames {
        let maps = StackMaps::new();
        let walked = maps.clone();
        let source = self.space().sources().add(move |visit| {
            // SAFETY: I31: sources are asked with the world stopped, when no code that is
            // registered runs, as is promised by whoever registers it.
            let walked = unsafe { walked.for_each_reference(visit) };
            walked.map(drop).map_err(|error| error.to_string())
        });
        Frames {
            maps,
            _source: source,
        }
    }
}
