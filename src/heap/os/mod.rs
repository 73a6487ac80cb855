//! The heap's only calls of the operating system: to reserve addresses, release memory, and unmap.
//! One file for each family of systems, with the same items.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "unsupported.rs")]
mod system;

pub(super) use system::Mapping;
