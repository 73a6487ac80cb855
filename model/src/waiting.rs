//! In place of the runtime's module of the same name: within one world nobody is refused.
#![forbid(unsafe_code)]

/// Identifies a thread as long as it lives.
pub(crate) type ThreadKey = usize;

#[derive(Debug)]
pub(crate) struct Waiting;

impl Waiting {
    pub(crate) fn begin(_: usize, _: ThreadKey, _: bool) -> Waiting {
        Waiting
    }

    pub(crate) fn wait_for(&self, _: Vec<ThreadKey>) -> bool {
        true
    }

    pub(crate) fn resolve(_: usize, _: ThreadKey) {}
}
