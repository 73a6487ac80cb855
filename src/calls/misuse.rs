//! What a call did wrong with a mutator.
#![forbid(unsafe_code)]

use crate::base::events::tell;

/// A call that returned with a mutator in a state that would have stopped the collector for good.
/// The state was mended before anything else ran.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MutatorMisuse {
    /// What the call did.
    pub kind: MisuseKind,
    /// Signature of the function.
    pub signature: String,
    /// Address of the function; 0 for a [Rust closure](crate::FinalizerFn::from_rust).
    pub code: usize,
    /// The words it was called with: an object's address, or an interface, or a cleanup's argument.
    pub words: [u64; 2],
}

/// What a call did with a mutator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MisuseKind {
    /// It made a mutator and returned without dropping it. The mutator was revoked: no collection
    /// waits for it, and each use of it but dropping it panics.
    Kept,
    /// It put another mutator in the place of the one that was lent to it. That other one was
    /// dropped, and the lent one was revoked if it was kept.
    Replaced,
}

impl std::fmt::Display for MutatorMisuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MutatorMisuse {
            signature,
            code,
            words: [first, second],
            ..
        } = self;
        let (found, wanted) = match self.kind {
            MisuseKind::Kept => ("returned with a mutator that it had made", "it dropped"),
            MisuseKind::Replaced => (
                "replaced the mutator that was lent to it",
                "it left in its place",
            ),
        };
        write!(
            f,
            "the function {signature} at {code:#x}, called with [{first:#x}, {second:#x}], \
             {found}, wanted {wanted}"
        )
    }
}

/// The hook that is called with each misuse.
pub(crate) type MisuseHook = dyn Fn(&MutatorMisuse) + Send + Sync;

/// The hook of a runtime that is given none.
pub(crate) fn tell_misuse(misuse: &MutatorMisuse) {
    tell(|| tracing::error!(%misuse, "a mutator was not left as it must be"));
}
