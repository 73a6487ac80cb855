//! An emulator of four machines: memory, registers by name, "run until". Room with unsafe code in `unicorn.rs` only.
//!
//! It is the Unicorn library, loaded at run time. There are no callbacks: a run goes from one address until another, and
//! between two runs the test looks at the registers and memory, and changes them as a callee would.

mod isa;
mod unicorn;

pub use isa::Isa;
pub use unicorn::{Emulator, EmulatorError, Library, Protection, library};
