//! What can go wrong between a signature and a call. Three classes, never mixed: the caller's
//! mistake, the environment, our own bug.
#![forbid(unsafe_code)]

use crate::gate::Gate;
use crate::quote::short;
use crate::{Abi, AbiError, AssignError, ParseError, Signature, Type, TypeError};

/// Why there is no stub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StubError {
    /// The caller's: a batch stub passes exactly one argument.
    #[error("stub for {}: found {found} parameters, wanted exactly 1", short(.signature))]
    NotOneParameter {
        /// The signature as given.
        signature: Signature,
        /// Its number of parameters, receiver included.
        found: usize,
    },
    /// The caller's: the arguments are not numbers or addresses in the two words of a record.
    #[error(
        "stub for {}: wanted one or two parameters, each an integer or a pointer",
        short(.signature)
    )]
    NotWords {
        /// The signature as given.
        signature: Signature,
    },
    /// The caller's: the argument does not fit a record.
    #[error(
        "stub for {}: parameter 0 is {} of {found} bytes, wanted at most {limit}",
        short(.signature),
        short(.ty)
    )]
    ArgumentTooLarge {
        /// The signature as given.
        signature: Signature,
        /// Type of the argument.
        ty: Type,
        /// Its size in bytes.
        found: u64,
        /// Bytes a record holds.
        limit: u64,
    },
    /// The caller's: the frame is past the configured limit.
    #[error(
        "stub for {}: the frame is {found} bytes, wanted at most {limit} (the frame limit)",
        short(.signature)
    )]
    FrameTooLarge {
        /// The signature as given.
        signature: Signature,
        /// Bytes of stack arguments, stack results, spill slots and hidden result.
        found: u64,
        /// The limit in force.
        limit: u64,
    },
    /// The caller's: an assignment that was not made of this signature, or has been changed since.
    #[error(
        "stub for {}: found another assignment, wanted the one that {abi} makes of it",
        short(.signature)
    )]
    OtherAssignment {
        /// The signature as given.
        signature: Signature,
        /// The assignment's ABI.
        abi: Abi,
    },
    /// The caller's: this text is not a stub key.
    #[error("stub key {text:?}: found {found:?}, wanted {wanted}")]
    Key {
        /// The text, shortened.
        text: String,
        /// The part that is wrong, shortened.
        found: String,
        /// What should stand there.
        wanted: &'static str,
    },
    /// The caller's: the signature has no assignment under this ABI.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// The caller's: there is no such ABI.
    #[error(transparent)]
    Abi(#[from] AbiError),
    /// The caller's: the signature does not parse.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The caller's: there is no such type.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// The caller's: code for one machine, to be run on another.
    #[error("stub {}: it is code for {wanted}, and this host is {found}", short(.key))]
    WrongHost {
        /// The key asked for.
        key: String,
        /// Machine the stub is for.
        wanted: String,
        /// Machine this is.
        found: String,
    },
    /// The environment's: no stub generator for this machine.
    #[error("stub {}: no generated stubs for {abi} here: {reason}", short(.key))]
    NoGenerator {
        /// The key asked for.
        key: String,
        /// The ABI.
        abi: Abi,
        /// What is missing.
        reason: String,
    },
    /// The environment's: this build makes no code for that machine.
    #[error(
        "compiler for {target}: {reason} (feature all-arch brings every machine Cranelift has)"
    )]
    NoTarget {
        /// The target's triple.
        target: String,
        /// What Cranelift said.
        reason: String,
    },
    /// The environment's: this crate has not been brought to this host. `docs/porting.md` says what
    /// that takes.
    #[error("host {host}: stubs cannot run here; missing: {missing}")]
    UnsupportedHost {
        /// The host's target triple.
        host: String,
        /// What is missing.
        missing: &'static str,
    },
    /// The environment's: no memory to run code from.
    #[error(
        "executable memory: {operation} failed: {source} \
         (a cache does without generated code under CodePolicy::Interpret \
         and CodePolicy::GenerateOrInterpret)"
    )]
    ExecutableMemory {
        /// The system call or step.
        operation: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The environment's: the file in which perf finds generated code can't be made.
    #[error("jitdump: making {} failed: {source}", .path.display())]
    JitDump {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The environment's, as the embedder has set it up: no code is made any more.
    #[error("code arena: sealed, so that no more stubs can be made (StubCache::seal)")]
    Sealed,
    /// The environment's: the arena is full.
    #[error(
        "code arena: wanted {wanted} bytes, found {free} of {capacity} free (the cache's arena \
         capacity)"
    )]
    ArenaFull {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes left for code of this kind.
        free: usize,
        /// The arena's capacity in bytes.
        capacity: usize,
    },
    /// The environment's: the cache belongs to the process that made it, and this is a forked
    /// child.
    #[error(
        "stub cache: made by process {owner}, used by its fork {found}; a forked child needs a \
         cache of its own"
    )]
    Forked {
        /// Process that made the cache.
        owner: u32,
        /// This process.
        found: u32,
    },
    /// The environment's: no interpreter for this host.
    #[error("interpreter of assignments: none for {abi} on this host, which is {host}")]
    NoInterpreter {
        /// The ABI.
        abi: Abi,
        /// This host.
        host: String,
    },
    /// The caller's: a callback's function has its arguments or results elsewhere in memory than
    /// the callers, or wants them aligned to more than 16 bytes.
    #[error(
        "callback {}: found a function by {found}, wanted one that lays out its values as {wanted} \
         does, and none at more than 16 bytes",
        short(.signature)
    )]
    OtherLayout {
        /// The callback's signature.
        signature: Signature,
        /// The function's ABI.
        found: Abi,
        /// The callers'.
        wanted: Abi,
    },
    /// The environment's: the interpreter passes 16 bytes in a float register on x86-64 and arm64
    /// only.
    #[error(
        "stub {}: found 16 bytes in a float register, wanted at most 8 to interpret it on this \
         host",
        short(.key)
    )]
    NoInterpretedVectors {
        /// The key asked for.
        key: String,
    },
    /// Ours: always a bug in this library.
    #[error("stub {}: {step} failed; this is a bug in fing-stubs: {detail}", short(.key))]
    Internal {
        /// The key asked for.
        key: String,
        /// Step of the pipeline.
        step: &'static str,
        /// What was found, with the code in question.
        detail: String,
    },
}

impl StubError {
    /// The error for a forked child of the process that made the gate.
    #[inline]
    pub(crate) fn check_fork(gate: &Gate) -> Result<(), StubError> {
        if !gate.is_forked() {
            return Ok(());
        }
        Err(StubError::Forked {
            owner: gate.owner(),
            found: std::process::id(),
        })
    }

    /// True if the caller asked for nothing wrong: this machine or process can't give it.
    pub fn is_environment(&self) -> bool {
        use StubError::*;
        matches!(
            self,
            NoGenerator { .. }
                | NoTarget { .. }
                | UnsupportedHost { .. }
                | ExecutableMemory { .. }
                | JitDump { .. }
                | ArenaFull { .. }
                | Sealed
                | Forked { .. }
                | NoInterpreter { .. }
                | NoInterpretedVectors { .. }
        )
    }
}
