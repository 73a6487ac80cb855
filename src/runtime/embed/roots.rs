//! Roots that the embedder finds.
#![forbid(unsafe_code)]

use crate::runtime::Runtime;
use crate::world::sources::RootSource;

impl Runtime {
    /// Adds a source of roots: each collection calls `source`, on the thread that collects and with
    /// the world stopped, and keeps what it visits alive, until the result is dropped. For frames
    /// of an interpreter, globals, tables beside the heap. For frames of generated code see
    /// [`vm::Frames`](crate::vm::Frames).
    ///
    /// `source` visits addresses. One in an object of this heap keeps that object, as in a pointer
    /// word; any other one, 0 included, is ignored. An address may be visited more than once. Each
    /// object that a mutator will still touch must be visited, of parked mutators too.
    ///
    /// While it runs, no mutator does, so it may read what they have written. It must not wait for
    /// a thread that waits for the collection, such as one that holds a lock while it comes to a
    /// safepoint. It gets an error where it tries to collect, to enter, to attach or to run
    /// finalizers.
    /// If it panics, nothing is freed, and whoever collects gets
    /// [`WorldError::Roots`](crate::error::WorldError::Roots). A `Runtime` that it owns is never
    /// dropped: it should own a [`WeakRuntime`](crate::ends::WeakRuntime).
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use std::sync::{Arc, Mutex};
    ///
    /// let runtime = fing::Runtime::new()?;
    /// let word = runtime.types().id("uint64")?;
    /// let stack = Arc::new(Mutex::new(Vec::new()));
    /// let frames = stack.clone();
    /// let source = runtime.add_roots(move |visit| {
    ///     frames.lock().unwrap().iter().for_each(|&address| visit(address));
    /// });
    /// let object = runtime.enter(|m| m.alloc(word).map(|object| object.addr()))??;
    /// stack.lock().unwrap().push(object);
    /// assert_eq!(runtime.gc()?.live_objects, 1);
    /// drop(source);
    /// assert_eq!(runtime.gc()?.live_objects, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_roots(
        &self,
        source: impl Fn(&mut dyn FnMut(usize)) + Send + Sync + 'static,
    ) -> RootSource {
        self.space().sources().add(move |visit| {
            source(visit);
            Ok(())
        })
    }
}
