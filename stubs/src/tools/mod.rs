//! Telling debuggers and profilers about generated code, where the embedder asked for it.
#![deny(unsafe_code)]

mod gdb;
mod jitdump;
mod object;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use self::gdb::Registered;
use self::jitdump::JitDump;
use crate::lock::{lock, none_held};
use crate::unwind::Frames;
use crate::{Arch, StubError};

/// A piece of code that was published.
pub(crate) struct Code<'a> {
    pub(crate) address: usize,
    pub(crate) bytes: usize,
    pub(crate) name: &'a str,
    pub(crate) frames: Option<&'a Frames>,
}

/// The tools that are told of each piece of code.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    /// What the debugger knows, by the address of the code.
    debugger: Option<Mutex<HashMap<usize, Registered>>>,
    jitdump: Option<JitDump>,
    failures: AtomicU64,
}

impl Tools {
    /// # Errors
    /// The file for perf can't be made.
    pub(crate) fn new(debugger: bool, jitdump: Option<&Path>) -> Result<Tools, StubError> {
        Ok(Tools {
            debugger: debugger.then(Mutex::default),
            jitdump: jitdump.map(JitDump::create).transpose()?,
            failures: AtomicU64::new(0),
        })
    }

    /// Whether any tool is told.
    pub(crate) fn any(&self) -> bool {
        self.debugger.is_some() || self.jitdump.is_some()
    }

    /// Pieces of code that a tool could not be told of.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Tells the tools of a piece of code. What a tool can't be told is counted and reported: the
    /// code is as good without.
    pub(crate) fn announce(&self, code: &Code<'_>) {
        if let Some(debugger) = &self.debugger {
            match Tools::object(code) {
                Ok(image) => {
                    let registered = Registered::new(image);
                    lock(debugger).insert(code.address, registered);
                }
                Err(reason) => self.failed(code, &reason),
            }
        }
        if let Some(dump) = &self.jitdump
            && let Err(error) = dump.add(code)
        {
            self.failed(code, &error.to_string());
        }
    }

    fn object(code: &Code<'_>) -> Result<Box<[u8]>, String> {
        let arch = Arch::host().ok_or("no name for this machine")?;
        let frames = code.frames;
        let frames = frames.map(|frames| frames.debug_frame(code.address, code.bytes));
        object::object(arch, code, frames.transpose()?.as_deref())
    }

    fn failed(&self, code: &Code<'_>, reason: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let name = code.name;
        none_held();
        tracing::warn!(name, reason, "a tool could not be told of this code");
    }

    /// Takes back what the debugger was told of the code at this address.
    pub(crate) fn forget(&self, address: usize) {
        if let Some(debugger) = &self.debugger {
            lock(debugger).remove(&address);
        }
    }
}
