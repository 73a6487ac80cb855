//! Keeping a value alive up to a point of the program.
#![forbid(unsafe_code)]

use std::ops::Deref;

/// Keeps `value`, such as a handle, alive until this call. As in Go, nothing else is ordered by it.
#[inline(never)]
pub fn keep_alive<T: ?Sized>(value: &T) {
    std::hint::black_box(value);
}

/// [`keep_alive`] at the end of a scope, however that is left: what Go writes as `defer
/// runtime.KeepAlive(x)`.
///
/// ```
/// use fing::{KeepAlive, Runtime};
/// let runtime = Runtime::new()?;
/// let word = runtime.types().id("uint64")?;
/// let object = runtime.enter(|m| m.alloc(word).map(|object| m.root(object)))??;
/// {
///     let _object = KeepAlive::new(object);
///     assert_eq!(runtime.gc()?.live_objects, 1);
/// }
/// assert_eq!(runtime.gc()?.live_objects, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it keeps its value until it is dropped"]
pub struct KeepAlive<T>(T);

impl<T> KeepAlive<T> {
    /// Keeps `value`: a handle, or a reference to one.
    pub fn new(value: T) -> KeepAlive<T> {
        KeepAlive(value)
    }
}

impl<T> Deref for KeepAlive<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for KeepAlive<T> {
    fn drop(&mut self) {
        keep_alive(&self.0);
    }
}
