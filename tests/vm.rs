//! What a VM with generated code needs: roots, safepoints, allocation without a call, access to
//! fields. The code of these tests is compiled by Cranelift.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "vm/arrays.rs"]
mod arrays;
#[path = "vm/fields.rs"]
mod fields;
#[path = "vm/frames.rs"]
mod frames;
#[path = "vm/growth.rs"]
mod growth;
#[path = "support/jit.rs"]
mod jit;
#[path = "support/linear.rs"]
mod linear;
#[path = "vm/parked.rs"]
mod parked;
#[path = "vm/roots.rs"]
mod roots;
#[path = "vm/weak.rs"]
mod weak;
#[path = "vm/windows.rs"]
mod windows;
#[path = "vm/words.rs"]
mod words;
