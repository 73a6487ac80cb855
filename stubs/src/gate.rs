//! A flag that a forked child finds changed, without a look at the process's number.
#![expect(
    unsafe_code,
    reason = "maps a page that the kernel clears in forked children"
)]

use std::sync::atomic::Ordering;

/// What a [`Gate`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateState {
    /// It was not closed, and this is the process that made it.
    Open,
    /// It was closed by the process that made it, which this is.
    Closed,
    /// This process is a fork of the one that made it.
    Forked,
}

/// A flag that is open until it is closed, and that a forked child finds neither open nor closed.
///
/// After a `fork` only the thread that called it exists, and locks that others held are never given
/// back. So what has threads and locks must know, before it takes one, that it is in a forked
/// child. On Linux a gate is a word on a page that the kernel clears in children
/// (`MADV_WIPEONFORK`): asking costs one load. Elsewhere it compares process numbers.
#[derive(Debug)]
pub struct Gate {
    word: imp::Word,
    owner: u32,
}

const OPEN: u32 = 2;
const CLOSED: u32 = 1;

impl Gate {
    /// An open gate of this process.
    ///
    /// # Errors
    /// The system has no page for it.
    pub fn new() -> std::io::Result<Gate> {
        let word = imp::Word::new()?;
        word.cell().store(OPEN, Ordering::Relaxed);
        let owner = std::process::id();
        Ok(Gate { word, owner })
    }

    /// Whether it is open, and this is the process that made it.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.word.cell().load(Ordering::Acquire) == OPEN && self.is_same_process()
    }

    /// Whether a look at its word shows that this is the process that made it. Where that does not
    /// show it, [`Gate::is_forked`] finds out.
    #[inline]
    pub(crate) fn is_surely_own(&self) -> bool {
        self.word.is_cleared_by_fork() && self.word.cell().load(Ordering::Relaxed) != 0
    }

    /// Whether this is a fork of the process that made it.
    #[inline]
    pub fn is_forked(&self) -> bool {
        self.word.cell().load(Ordering::Relaxed) == 0 || !self.is_same_process()
    }

    /// Whether the process is the same, as far as the word does not say that.
    #[inline]
    fn is_same_process(&self) -> bool {
        self.word.is_cleared_by_fork() || std::process::id() == self.owner
    }

    /// What it says now.
    #[inline]
    pub fn state(&self) -> GateState {
        match self.word.cell().load(Ordering::Acquire) {
            0 => GateState::Forked,
            _ if !self.is_same_process() => GateState::Forked,
            OPEN => GateState::Open,
            _ => GateState::Closed,
        }
    }

    /// Closes it for good. Does nothing in a forked child.
    pub fn close(&self) {
        if !self.is_forked() {
            self.word.cell().store(CLOSED, Ordering::Release);
        }
    }

    /// The process that made it.
    pub fn owner(&self) -> u32 {
        self.owner
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::ptr::NonNull;
    use std::sync::atomic::AtomicU32;

    /// A page of its own, of which one word is used.
    #[derive(Debug)]
    pub(super) struct Word {
        page: NonNull<AtomicU32>,
        cleared: bool,
    }

    // SAFETY: I24: the page is the value's own, and only its atomic word is accessed.
    unsafe impl Send for Word {}
    // SAFETY: I24: as above.
    unsafe impl Sync for Word {}

    /// Smaller than any page: the kernel rounds up.
    const BYTES: usize = size_of::<AtomicU32>();

    impl Word {
        pub(super) fn new() -> io::Result<Word> {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: I24: a new mapping at an address of the kernel's choice.
            let page = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, protection, flags, -1, 0) };
            let page = NonNull::new(page).filter(|_| page != libc::MAP_FAILED);
            let page = page.ok_or_else(io::Error::last_os_error)?;
            // Kernels before 4.14 and emulators may not know this advice.
            // SAFETY: I24: the mapping just made.
            let advised = unsafe { libc::madvise(page.as_ptr(), BYTES, libc::MADV_WIPEONFORK) };
            Ok(Word {
                page: page.cast(),
                cleared: advised == 0,
            })
        }

        #[inline(always)]
        pub(super) fn cell(&self) -> &AtomicU32 {
            // SAFETY: I24: the page is mapped as long as the value, zeroed or written as a word.
            unsafe { self.page.as_ref() }
        }

        #[inline(always)]
        pub(super) fn is_cleared_by_fork(&self) -> bool {
            self.cleared
        }
    }

    impl Drop for Word {
        fn drop(&mut self) {
            // SAFETY: I24: the value's own mapping, in a forked child as well: it was inherited.
            unsafe { libc::munmap(self.page.as_ptr().cast(), BYTES) };
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::sync::atomic::AtomicU32;

    #[derive(Debug)]
    pub(super) struct Word(AtomicU32);

    impl Word {
        pub(super) fn new() -> io::Result<Word> {
            Ok(Word(AtomicU32::new(0)))
        }

        pub(super) fn cell(&self) -> &AtomicU32 {
            &self.0
        }

        pub(super) fn is_cleared_by_fork(&self) -> bool {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_open_until_it_is_closed() {
        let gate = Gate::new().unwrap();
        assert!(gate.is_open() && !gate.is_forked() && gate.state() == GateState::Open);
        gate.close();
        assert!(!gate.is_open() && !gate.is_forked() && gate.state() == GateState::Closed);
        assert_eq!(gate.owner(), std::process::id());
    }
}
