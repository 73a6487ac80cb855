//! A static executable's segments and symbols, of any machine, to be put into an emulator's memory.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use object::{Object, ObjectKind, ObjectSegment, ObjectSymbol};

use crate::emulator::{Emulator, EmulatorError, Protection};
use crate::image::ImageError;

const PAGE: u64 = 4096;

/// A static executable.
#[derive(Debug)]
pub struct Executable {
    segments: Vec<Segment>,
    symbols: HashMap<String, u64>,
}

#[derive(Debug)]
struct Segment {
    address: u64,
    size: u64,
    bytes: Vec<u8>,
    protection: Protection,
}

impl Executable {
    /// Reads the executable `path`.
    ///
    /// # Errors
    ///
    /// See [`ImageError`].
    pub fn read(path: &Path) -> Result<Executable, ImageError> {
        let bytes = fs::read(path)?;
        let file = object::File::parse(&*bytes)?;
        if file.kind() != ObjectKind::Executable {
            return Err(ImageError::Kind(file.kind()));
        }
        let mut segments = Vec::new();
        for segment in file.segments() {
            let permissions = segment.permissions();
            segments.push(Segment {
                address: segment.address(),
                size: segment.size(),
                bytes: segment.data()?.to_vec(),
                protection: match (permissions.writable(), permissions.executable()) {
                    (true, _) => Protection::ReadWrite,
                    (false, true) => Protection::ReadExecute,
                    (false, false) => Protection::Read,
                },
            });
        }
        let symbols = file
            .symbols()
            .filter(|symbol| symbol.is_definition())
            .filter_map(|symbol| Some((symbol.name().ok()?.to_owned(), symbol.address())))
            .collect();
        Ok(Executable { segments, symbols })
    }

    /// Address of a function or variable.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.symbols.get(name).copied()
    }

    /// Puts the segments where they belong.
    ///
    /// # Errors
    ///
    /// Their pages are taken.
    pub fn load(&self, emulator: &mut Emulator) -> Result<(), EmulatorError> {
        for segment in &self.segments {
            let start = segment.address & !(PAGE - 1);
            let end = (segment.address + segment.size).next_multiple_of(PAGE);
            if start == end {
                continue;
            }
            emulator.map(start, end - start, segment.protection)?;
            emulator.write(segment.address, &segment.bytes)?;
        }
        Ok(())
    }
}
