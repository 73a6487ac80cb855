//! Implements [`Tracer`] for a collection of the embedded heap.
#![expect(
    unsafe_code,
    reason = "makes the promise of a tracer; contains no unsafe block"
)]

use super::Marking;
use crate::order::Tracer;

// SAFETY: I16, I14: nothing is freed before the sweep, objects do not move, and exactly the objects
// reached are marked.
unsafe impl Tracer for Marking<'_> {
    type Ref = usize;

    fn is_reached(&mut self, object: usize) -> bool {
        self.is_marked(object)
    }

    fn trace(&mut self, object: usize) -> usize {
        self.mark(object);
        object
    }

    fn children(&mut self, object: usize, visit: &mut dyn FnMut(&mut Self, usize)) {
        Marking::children(self, object, visit);
    }
}
