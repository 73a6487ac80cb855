//! A collection of the embedded heap, as the rooms that know no heap ask it.
#![expect(
    unsafe_code,
    reason = "makes the promise of a tracer; contains no unsafe block"
)]

use super::Cycle;
use crate::collector::Tracer;

// SAFETY: I14: nothing is freed before the sweep, and objects do not move; marks are what was reached.
unsafe impl Tracer for Cycle<'_> {
    type Ref = usize;

    fn is_reached(&mut self, object: usize) -> bool {
        self.is_marked(object)
    }

    fn trace(&mut self, object: usize) -> usize {
        self.mark(object);
        object
    }

    fn children(&mut self, object: usize, visit: &mut dyn FnMut(&mut Self, usize)) {
        Cycle::children(self, object, visit);
    }
}
