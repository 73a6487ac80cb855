//! fing's stubs compared with what others say of the same calls. Not shipped: the tests and `cargo
//! run -p fing-verify` use it.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

pub mod c;
pub mod cases;
pub mod document;
pub mod emulated;
pub mod entries;
pub mod expect;
pub mod go;
pub mod machine;
pub mod memory;
pub mod native;
pub mod pulley;
pub mod random;
pub mod run;
pub mod targets;
