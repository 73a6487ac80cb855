//! A collector whose objects are numbers.

use fing::FinalizerFn;
use fing::foreign::{Finalizers, Finished, Scope, Tracer};

/// A collector of numbers that follows nothing and reaches what it is told.
pub(crate) struct Reaching(pub(crate) Vec<u64>);

// SAFETY: I16: there are no objects, only numbers, which finalizers do not follow.
unsafe impl Tracer for Reaching {
    type Ref = u64;

    fn is_reached(&mut self, object: u64) -> bool {
        self.0.contains(&object)
    }

    fn trace(&mut self, object: u64) -> u64 {
        self.0.push(object);
        object
    }

    fn children(&mut self, _: u64, _: &mut dyn FnMut(&mut Self, u64)) {}

    fn moves(&self) -> bool {
        false
    }
}

/// Collects with only these objects reached, and hands over what is due.
pub(crate) fn collect_foreign(finalizers: &Finalizers<u64>, reached: &[u64]) -> Finished<u64> {
    let mut tracer = Reaching(reached.to_vec());
    // SAFETY: I16: as above.
    unsafe { finalizers.collect(Scope::Full, &mut tracer, |_| ()) }.unwrap();
    finalizers.finish()
}

pub(crate) fn set_foreign(finalizers: &Finalizers<u64>, object: u64, function: &FinalizerFn) {
    // SAFETY: I16: the functions of these tests follow no word.
    unsafe { finalizers.set_finalizer(object, function) }.unwrap();
}
