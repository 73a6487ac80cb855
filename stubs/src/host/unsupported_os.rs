//! An operating system without a file of its own. `linux.rs` says what each item is for.
#![expect(unsafe_code, reason = "has the signatures of the other files")]

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use crate::{Gate, StubError};

pub(super) const MISSING: Option<&str> =
    Some("pages mapped writable and executable at two addresses: a file in stubs/src/host/");

/// There is none.
#[derive(Debug)]
pub(crate) struct Mapping(Infallible);

impl Mapping {
    pub(crate) fn new(_bytes: usize, _gate: Arc<Gate>) -> Result<Mapping, StubError> {
        Err(StubError::ExecutableMemory {
            operation: "mapping the same pages writable and executable at two addresses",
            source: io::Error::new(
                io::ErrorKind::Unsupported,
                "this operating system has no file in stubs/src/host/",
            ),
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn writable(&self, _offset: usize) -> *mut u8 {
        match self.0 {}
    }

    pub(crate) fn executable(&self, _offset: usize) -> usize {
        match self.0 {}
    }

    pub(crate) fn set_writable(&self, _on: bool) -> Result<(), StubError> {
        match self.0 {}
    }

    pub(crate) fn give_up_writing(&self) -> Result<(), StubError> {
        match self.0 {}
    }

    pub(crate) fn synchronize(&self, _offset: usize, _bytes: usize) {
        match self.0 {}
    }
}

pub(super) fn flush_instruction_cache(_start: usize, _bytes: usize) {
    unreachable!("no code memory is made on this operating system")
}

pub(crate) unsafe fn register_frame(_entry: *const u8) {
    unreachable!("no code memory is made on this operating system")
}

pub(crate) unsafe fn deregister_frame(_entry: *const u8) {
    unreachable!("no code memory is made on this operating system")
}
