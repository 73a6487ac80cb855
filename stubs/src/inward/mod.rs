//! The code of entries: from a signature and a caller's ABI to bytes, for any machine. Where they
//! lie and what they lead to is the affair of [`entry`](crate::entry).
#![forbid(unsafe_code)]

mod compile;
mod lower;
mod moves;
pub(crate) mod veneer;

pub use compile::{CompiledEntry, compile_entry};
pub use moves::EntryKey;
pub(crate) use moves::words_of;
