//! Telling an embedder's thread that calls are due: a hook, and on Unix a descriptor to poll.
#![forbid(unsafe_code)]

use crate::base::events::{drop_guarded, guarded};

/// The hook that is called when calls have become due.
pub(crate) type DueHook = dyn Fn() + Send + Sync;

/// How the threads that drain a lane are told that calls are due.
#[derive(Default)]
pub(crate) struct Signal {
    hook: Option<Box<DueHook>>,
    #[cfg(unix)]
    descriptor: std::sync::OnceLock<descriptor::Descriptor>,
}

impl std::fmt::Debug for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signal").finish_non_exhaustive()
    }
}

impl Signal {
    pub(crate) fn new(hook: Option<Box<DueHook>>) -> Signal {
        Signal {
            hook,
            #[cfg(unix)]
            descriptor: Default::default(),
        }
    }

    /// Calls are due. Runs the hook, so no lock may be held.
    pub(crate) fn raise(&self) {
        #[cfg(unix)]
        if let Some(descriptor) = self.descriptor.get() {
            descriptor.set();
        }
        if let Some(hook) = &self.hook {
            guarded("the hook for calls that are due", hook);
        }
    }

    /// A drain begins: from now on, what becomes due is told anew.
    pub(crate) fn begin(&self) {
        #[cfg(unix)]
        if let Some(descriptor) = self.descriptor.get() {
            descriptor.clear();
        }
    }

    /// A drain has ended before its time: the descriptor stays readable.
    pub(crate) fn end(&self, left: u64) {
        #[cfg(unix)]
        if let Some(descriptor) = self.descriptor.get().filter(|_| left > 0) {
            descriptor.set();
        }
        #[cfg(not(unix))]
        let _ = left;
    }

    /// The descriptor, which is readable as long as calls are due that no drain has begun with.
    #[cfg(unix)]
    pub(crate) fn descriptor(
        &self,
        is_due: impl FnOnce() -> bool,
    ) -> std::io::Result<std::os::fd::BorrowedFd<'_>> {
        let descriptor = match self.descriptor.get() {
            Some(descriptor) => descriptor,
            None => {
                let made = descriptor::Descriptor::new()?;
                let descriptor = self.descriptor.get_or_init(|| made);
                if is_due() {
                    descriptor.set();
                }
                descriptor
            }
        };
        Ok(descriptor.borrow())
    }
}

impl Drop for Signal {
    /// Whoever drops the last reference: a thread that raises it may, too.
    fn drop(&mut self) {
        if let Some(hook) = self.hook.take() {
            drop_guarded("the hook for calls that are due", hook);
        }
    }
}

#[cfg(unix)]
mod descriptor {
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    /// A pair of sockets: one is readable when a byte was written to the other.
    pub(super) struct Descriptor {
        read: UnixStream,
        write: UnixStream,
    }

    impl Descriptor {
        pub(super) fn new() -> std::io::Result<Descriptor> {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            write.set_nonblocking(true)?;
            Ok(Descriptor { read, write })
        }

        pub(super) fn borrow(&self) -> BorrowedFd<'_> {
            self.read.as_fd()
        }

        pub(super) fn set(&self) {
            // If the socket is full, it is readable already.
            let _ = (&self.write).write(&[1]);
        }

        pub(super) fn clear(&self) {
            let mut bytes = [0; 256];
            while matches!((&self.read).read(&mut bytes), Ok(count) if count > 0) {}
        }
    }
}
