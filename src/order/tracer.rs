//! The interface through which fing asks a collector what is reachable.
#![expect(
    unsafe_code,
    reason = "declares the one unsafe trait; contains no unsafe block"
)]

use std::fmt::Debug;

/// A reference to an object in the collector's representation: an address, or a number that stands
/// for one. It must fit a word, because queued calls store words.
pub trait Reference: Copy + Eq + Debug + Send + Sync + 'static {
    /// The word that represents the reference. Finalizers are called with it.
    fn to_word(self) -> u64;

    /// The reference that a word represents. Called only with words that [`to_word`](Self::to_word)
    /// returned.
    fn from_word(word: u64) -> Self;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Reference for $number {
            fn to_word(self) -> u64 {
                self as u64
            }

            fn from_word(word: u64) -> Self {
                word as $number
            }
        }
    )*};
}

numbers!(usize, u64, u32);

/// Which objects a collection may free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Young ones only. Registrations of old objects are not looked at.
    Minor,
    /// All objects.
    Full,
}

/// What a collector implements so that [`Finalizers`](crate::foreign::Finalizers) can ask what is
/// reachable, while it has the world stopped.
///
/// A tracer must not call [`Finalizers`](crate::foreign::Finalizers), which hold a lock while they
/// call the tracer.
///
/// Objects are named by the address they had before the collection, until [`trace`](Self::trace)
/// has returned another.
///
/// # Safety
/// Finalizers are called with the words of what `trace` returns, and may rely on these rules:
///
/// * `is_reached` returns whether this collection has reached the object so far. In a minor
///   collection every old object is reached. By this alone a full collection in topological order
///   knows that a finalizer has revived what is behind it.
/// * What `trace` returns is the object's address after this collection, and the object is whole
///   there, with all that is reachable from it, until the next one.
/// * `children` visits every reference in the object, in any order.
/// * Between [`begin`](crate::foreign::Finalizers::begin) and the step that returns false nothing
///   is freed. From the first step on, only the collector touches objects.
pub unsafe trait Tracer {
    /// How the collector names objects.
    type Ref: Reference;

    /// Whether the object has been reached in this collection.
    fn is_reached(&mut self, object: Self::Ref) -> bool;

    /// Reaches the object, unless it was reached before: marks or copies it, and queues it so that
    /// its references are followed. Returns its address after this collection, the same for every
    /// call with the old address.
    fn trace(&mut self, object: Self::Ref) -> Self::Ref;

    /// Calls `visit` with every reference in an object that has not been reached. This must not
    /// reach the object, nor store anything in it: it may be dead, or be copied later.
    fn children(&mut self, object: Self::Ref, visit: &mut dyn FnMut(&mut Self, Self::Ref))
    where
        Self: Sized;

    /// Stores in `reached[i]` what [`is_reached`](Self::is_reached) returns for `objects[i]`. The
    /// slices are of the same length. For collectors that can look up several objects at once.
    fn are_reached(&mut self, objects: &[Self::Ref], reached: &mut [bool]) {
        for (object, reached) in objects.iter().zip(reached) {
            *reached = self.is_reached(*object);
        }
    }

    /// Whether a minor collection may move or free the object, named by its address after this
    /// collection. Collectors without generations, and those in which all survivors are old, leave
    /// the default.
    fn is_young(&mut self, object: Self::Ref) -> bool {
        let _ = object;
        false
    }

    /// Returns how many bytes outside the heap the object owns, such as those of a buffer that its
    /// finalizer or cleanup frees. Called once for each of its calls that becomes due, with the
    /// address that the object has before it is traced; they count in the
    /// [backlog](crate::observe::Backlog) until the call has ended. The default is 0.
    fn external_bytes(&mut self, object: Self::Ref) -> usize {
        let _ = object;
        0
    }

    /// Whether [`trace`](Self::trace) may return another address than it was given. Collectors that
    /// do not move objects before the last step is over may return false: `trace` is then not
    /// called to look up where a reached object is.
    fn moves(&self) -> bool {
        true
    }
}
