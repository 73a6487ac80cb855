//! What a VM with generated code needs: roots, safepoints, allocation without a call, access to
//! fields. The code of these tests is compiled by Cranelift.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "vm/fields.rs"]
mod fields;
#[path = "vm/frames.rs"]
mod frames;
#[path = "support/jit.rs"]
mod jit;
#[path = "vm/roots.rs"]
mod roots;
#[path = "vm/windows.rs"]
mod windows;
