//! A static, non-PIE ELF executable mapped into this process at its own addresses, never started.
//! Contains unsafe code.
//!
//! Each PT_LOAD segment goes to the address it names, filled and protected as it asks. Nothing of
//! the program's start-up runs, so only functions that need no live runtime may be called. The
//! mapping stays for the life of the process.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::{io, ptr};

use object::{Object, ObjectKind, ObjectSegment, ObjectSymbol};

/// Why a file could not be mapped.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file cannot be read.
    #[error("map image: cannot read the file: {0}")]
    Read(#[from] io::Error),
    /// The file is no ELF file that can be understood.
    #[error("map image: {0}")]
    Elf(#[from] object::Error),
    /// The file is position-independent, an object or a library: its addresses are not its own.
    #[error(
        "map image: file is {0:?}, wanted a static executable at fixed addresses (CGO_ENABLED=0, \
         not PIE)"
    )]
    Kind(ObjectKind),
    /// A segment's pages are taken, or the system refuses them.
    #[error("map image: segment at {address:#x}, {size:#x} bytes: {operation}: {error}")]
    Segment {
        /// Where the segment wants to be.
        address: u64,
        /// Its size in memory, in bytes.
        size: u64,
        /// What was asked of the system.
        operation: &'static str,
        /// The system's answer.
        error: io::Error,
    },
}

/// A mapped executable and its symbols.
#[derive(Debug)]
pub struct Image {
    symbols: HashMap<String, Symbol>,
}

type Segment<'data, 'file> = object::Segment<'data, 'file>;

#[derive(Debug, Clone, Copy)]
struct Symbol {
    address: u64,
    size: u64,
}

impl Image {
    /// Maps the executable `path`, for the rest of the process's life.
    ///
    /// # Errors
    ///
    /// See [`ImageError`]. What was mapped before the error stays mapped.
    pub fn map(path: &Path) -> Result<Image, ImageError> {
        let bytes = fs::read(path)?;
        let file = object::File::parse(&*bytes)?;
        if file.kind() != ObjectKind::Executable {
            return Err(ImageError::Kind(file.kind()));
        }
        let opened = File::open(path)?;
        for segment in file.segments() {
            if segment.permissions().executable() {
                map_code(&opened, &segment)?;
            } else {
                map_data(&segment)?;
            }
        }
        let symbols = file
            .symbols()
            .filter(|symbol| symbol.is_definition())
            .filter_map(|symbol| {
                Some((
                    symbol.name().ok()?.to_owned(),
                    Symbol {
                        address: symbol.address(),
                        size: symbol.size(),
                    },
                ))
            })
            .collect();
        Ok(Image { symbols })
    }

    /// Address of the function or variable `name` (`main.FinalizePointer`; an assembly function's
    /// own entry ends in `.abi0`).
    ///
    /// # Panics
    ///
    /// If the program has no such symbol (the linker drops what `main` does not reach).
    pub fn address(&self, name: &str) -> usize {
        self.symbol(name).address as usize
    }

    /// The 64-bit word `index` of the variable `name`.
    ///
    /// # Panics
    ///
    /// If there is no such variable or it has no such word.
    pub fn word(&self, name: &str, index: usize) -> u64 {
        let address = self.word_address(name, index);
        // SAFETY: the word lies within a variable of a segment that `map_segment` mapped readable,
        // for good. Volatile: foreign code writes it.
        unsafe { ptr::read_volatile(address as *const u64) }
    }

    /// Zeroes the variable `name`.
    ///
    /// # Panics
    ///
    /// If there is no such variable, or it is not a whole number of words.
    pub fn zero(&self, name: &str) {
        let words = self.symbol(name).size as usize / 8;
        for index in 0..words {
            let address = self.word_address(name, index);
            // SAFETY: as in `word`; Go puts variables that it initialises to zero into a writable
            // segment.
            unsafe { ptr::write_volatile(address as *mut u64, 0) }
        }
    }

    fn word_address(&self, name: &str, index: usize) -> u64 {
        let symbol = self.symbol(name);
        assert!(
            (index as u64) < symbol.size / 8,
            "oracle image: {name} has {} bytes, wanted word {index}",
            symbol.size
        );
        symbol.address + 8 * index as u64
    }

    fn symbol(&self, name: &str) -> Symbol {
        *self
            .symbols
            .get(name)
            .unwrap_or_else(|| panic!("oracle image: no symbol {name}"))
    }
}

/// The pages of a segment: address of the first, bytes of all, and how far into them it begins.
fn pages(segment: &Segment) -> (u64, u64, u64) {
    // SAFETY: asks the system for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let start = segment.address() & !(page - 1);
    let end = (segment.address() + segment.size()).next_multiple_of(page);
    (start, end - start, segment.address() - start)
}

fn failed(segment: &Segment, operation: &'static str) -> ImageError {
    ImageError::Segment {
        address: segment.address(),
        size: segment.size(),
        operation,
        error: io::Error::last_os_error(),
    }
}

/// Maps a segment with code from the file itself: so the kernel sees to it that instruction fetches
/// see the code, on machines that do not by themselves.
fn map_code(file: &File, segment: &Segment) -> Result<(), ImageError> {
    let (start, length, into) = pages(segment);
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED_NOREPLACE;
    let offset = (segment.file_range().0 - into) as libc::off_t;
    // SAFETY: MAP_FIXED_NOREPLACE never replaces a mapping of this process: it fails where one is.
    let mapped = unsafe {
        libc::mmap(
            start as *mut libc::c_void,
            length as usize,
            libc::PROT_READ | libc::PROT_EXEC,
            flags,
            file.as_raw_fd(),
            offset,
        )
    };
    if mapped == libc::MAP_FAILED || mapped as u64 != start {
        return Err(failed(segment, "mmap of the file at a fixed address"));
    }
    Ok(())
}

/// Maps a segment without code: anonymous pages at exactly its place, its bytes, then its
/// protection.
fn map_data(segment: &Segment) -> Result<(), ImageError> {
    let data = segment.data()?;
    let (start, length, _) = pages(segment);
    let (start, length) = (start as *mut libc::c_void, length as usize);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: MAP_FIXED_NOREPLACE never replaces a mapping of this process: it fails where one is.
    let mapped = unsafe {
        libc::mmap(
            start,
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED || mapped != start {
        return Err(failed(segment, "mmap at a fixed address"));
    }
    // SAFETY: `data` is at most the segment's size (an ELF segment's file size), and these fresh
    // pages hold the whole segment.
    unsafe { ptr::copy_nonoverlapping(data.as_ptr(), segment.address() as *mut u8, data.len()) };
    let protection = match segment.permissions().writable() {
        true => libc::PROT_READ | libc::PROT_WRITE,
        false => libc::PROT_READ,
    };
    // SAFETY: these are the pages mapped above; no Rust reference points into them.
    if unsafe { libc::mprotect(start, length, protection) } != 0 {
        return Err(failed(segment, "mprotect"));
    }
    Ok(())
}
