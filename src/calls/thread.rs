//! The thread that runs finalizers, as its embedder wants it.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::base::events::guarded;

/// Options of the thread that an [`Executor::Thread`](crate::Executor::Thread) starts.
///
/// ```
/// use fing::executor::ThreadOptions;
/// let options = ThreadOptions::new()
///     .name("finalizers")
///     .stack_size(4 << 20)
///     .on_start(|| println!("finalizers run here"));
/// # let _ = options;
/// ```
#[derive(Clone)]
#[must_use = "options do nothing by themselves"]
pub struct ThreadOptions {
    name: String,
    stack_size: Option<usize>,
    on_start: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Default for ThreadOptions {
    fn default() -> Self {
        ThreadOptions::new()
    }
}

impl ThreadOptions {
    /// Returns the defaults: the name `fing`, the stack size of the standard library, no hook.
    pub fn new() -> ThreadOptions {
        ThreadOptions {
            name: "fing".to_owned(),
            stack_size: None,
            on_start: None,
        }
    }

    /// Sets the thread's name. Linux shows its first 15 bytes. With a byte 0 in it the thread can't
    /// be started, which the first registration reports.
    pub fn name(self, name: impl Into<String>) -> ThreadOptions {
        ThreadOptions {
            name: name.into(),
            ..self
        }
    }

    /// Sets the size of the thread's stack in bytes. The system rounds it up, and may have a least
    /// size. Finalizers run on this stack, each with its stub's frame.
    pub fn stack_size(self, bytes: usize) -> ThreadOptions {
        ThreadOptions {
            stack_size: Some(bytes),
            ..self
        }
    }

    /// Sets a hook that the thread calls before it runs the first finalizer: to set its priority,
    /// say, or to register it with another runtime. A panic is caught and told as a `tracing`
    /// event.
    pub fn on_start(self, hook: impl Fn() + Send + Sync + 'static) -> ThreadOptions {
        ThreadOptions {
            on_start: Some(Arc::new(hook)),
            ..self
        }
    }

    /// Starts a thread that runs `body` after the hook.
    pub(super) fn spawn(&self, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        if self.name.contains('\0') {
            let text = format!("thread name {:?}, wanted one without a byte 0", self.name);
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
        }
        let mut builder = std::thread::Builder::new().name(self.name.clone());
        if let Some(bytes) = self.stack_size {
            builder = builder.stack_size(bytes);
        }
        let hook = self.on_start.clone();
        let whole = move || {
            if let Some(hook) = hook {
                guarded("the hook of the thread's start", || hook());
            }
            body();
        };
        builder.spawn(whole).map(drop)
    }
}

impl std::fmt::Debug for ThreadOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadOptions")
            .field("name", &self.name)
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}
