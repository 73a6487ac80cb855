//! What fing's speed is measured with: callees that do next to nothing, the ways to call them, and arithmetic on samples.
//!
//! Everything is measured side by side in one run and reported as a ratio; nanoseconds depend on the machine. Linux on x86-64 only.

pub mod callees;
pub mod calls;
pub mod figures;
pub mod machine;
pub mod samples;
