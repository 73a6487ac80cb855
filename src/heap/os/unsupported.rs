//! An operating system without a file of its own. `unix.rs` says what each item is for.
#![expect(unsafe_code, reason = "has the signatures of the other file")]

use std::convert::Infallible;
use std::io;
use std::ptr::NonNull;

/// There is none.
#[derive(Debug)]
pub(crate) struct Mapping(Infallible);

impl Mapping {
    pub(crate) fn reserve(_bytes: usize) -> io::Result<Mapping> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "reserving addresses for a heap: this operating system has no file in src/heap/os/",
        ))
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        match self.0 {}
    }

    pub(crate) unsafe fn release(&self, _offset: usize, _bytes: usize) -> io::Result<()> {
        match self.0 {}
    }
}
