//! The code of entries: from a signature and a caller's ABI to bytes, for any machine. Where they
//! lie and what they lead to is the affair of [`entry`](crate::entry), or of a module of the
//! embedder's.
#![forbid(unsafe_code)]

mod compile;
#[cfg(feature = "clif")]
mod followed;
mod lower;
mod moves;
pub(crate) mod veneer;

pub use compile::{CompiledEntry, compile_entry};
#[cfg(feature = "clif")]
pub(crate) use followed::compile_followed;
pub use moves::EntryKey;
pub(crate) use moves::words_of;
