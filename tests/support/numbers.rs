//! A collector whose objects are numbers, none of which is ever reached.

use fing::foreign::Tracer;

/// With so many external bytes of each object.
pub(crate) struct NoneReached {
    pub(crate) external_bytes: usize,
}

// SAFETY: I16: there are no objects, only numbers, which finalizers do not follow.
unsafe impl Tracer for NoneReached {
    type Ref = usize;

    fn is_reached(&mut self, _: usize) -> bool {
        false
    }

    fn trace(&mut self, object: usize) -> usize {
        object
    }

    fn children(&mut self, _: usize, _: &mut dyn FnMut(&mut Self, usize)) {}

    fn external_bytes(&mut self, _: usize) -> usize {
        self.external_bytes
    }
}
