//! The interpreter of assignments: performs a key's moves by hand, one record at a time.
//!
//! It is the way to call where no executable memory is to be had, the baseline that generated stubs
//! are measured against, and a second opinion on what they do: both read the same key, and share
//! nothing after it.
#![expect(unsafe_code, reason = "calls code by its address")]

use std::ops::Range;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::abi::Float32Image;
use crate::host::{CallImage, HAS_INTERPRETER, HAS_VECTORS, IS_BIG_ENDIAN, Place, Read};
use crate::key::{Move, ResultMove, ResultSource, Source, Target};
use crate::{Abi, Family, GBlock, Record, RegClass, StubError, StubKey};

/// An interpreter of one key, for a convention of this host.
#[derive(Debug)]
pub(crate) struct Interpreter {
    key: StubKey,
    abi: Abi,
    is_block: bool,
    vectors: Option<u8>,
    moves: Box<[Move]>,
    results: Box<[ResultMove]>,
    registers: Registers,
}

/// Where in an image the registers are that the ABI names.
#[derive(Debug)]
struct Registers {
    arg_ints: Box<[Place]>,
    arg_floats: Box<[Place]>,
    result_ints: Box<[Place]>,
    result_floats: Box<[Place]>,
    /// Go's closure context.
    context: Option<Place>,
    /// What the address of the hidden result area is passed in.
    hidden: Option<Place>,
    /// What a variadic function of System V's finds the number of vector registers in.
    vectors: Option<Place>,
}

impl Registers {
    /// `None`: the host has no image of one of them.
    fn of(abi: Abi) -> Option<Registers> {
        let places = |names: &[&str], of: fn(&str) -> Option<Place>| {
            let places = names.iter().map(|name| of(name));
            places.collect::<Option<Box<[Place]>>>()
        };
        let ints = |names| places(names, Place::of_int);
        let floats = |names| places(names, Place::of_float);
        let arg_ints = ints(abi.arg_registers(RegClass::Int))?;
        let own = abi.native_table().and_then(|table| table.hidden);
        Some(Registers {
            context: match abi.family() {
                Family::Go => Some(Place::of_int(abi.machine().context)?),
                _ => None,
            },
            hidden: match own {
                Some(name) => Some(Place::of_int(name)?),
                None => arg_ints.first().copied(),
            },
            vectors: Place::of_int("rax"),
            arg_ints,
            arg_floats: floats(abi.arg_registers(RegClass::Float))?,
            result_ints: ints(abi.result_registers(RegClass::Int))?,
            result_floats: floats(abi.result_registers(RegClass::Float))?,
        })
    }
}

/// The memory of one call after another: what lies at the stack pointer, and the hidden result
/// area.
struct Areas {
    /// What the convention wants below the argument base, then the frame.
    stack: Vec<u64>,
    /// Bytes below the argument base.
    base: usize,
    hidden: Vec<u64>,
}

impl Interpreter {
    pub(crate) fn new(key: &StubKey) -> Result<Interpreter, StubError> {
        let host = target_lexicon::Triple::host();
        let table = key.abi().native_table();
        let pops = table.is_some_and(|table| table.callee_pops) && key.needs_frame();
        let none = || StubError::NoInterpreter {
            host: host.to_string(),
            abi: key.abi(),
        };
        if !HAS_INTERPRETER || pops {
            return Err(none());
        }
        if key.has_vectors() && !HAS_VECTORS {
            return Err(StubError::NoInterpretedVectors {
                key: key.to_string(),
            });
        }
        if crate::compile::arch_of(&host) != Some(key.abi().arch()) {
            return Err(StubError::WrongHost {
                key: key.to_string(),
                wanted: key.abi().arch().to_string(),
                found: host.to_string(),
            });
        }
        Ok(Interpreter {
            registers: Registers::of(key.abi()).ok_or_else(none)?,
            key: key.clone(),
            abi: key.abi(),
            is_block: key.is_block(),
            vectors: key.vectors(),
            moves: key.moves().into(),
            results: key.results().into(),
        })
    }

    /// As [`Stub::run`](crate::Stub::run).
    ///
    /// # Safety
    /// The promises of [`Stub::run`](crate::Stub::run).
    pub(crate) unsafe fn run(
        &self,
        first: *const Record,
        end: &AtomicPtr<Record>,
        progress: &AtomicPtr<Record>,
        g: &GBlock,
    ) {
        let table = self.abi.native_table();
        let base = match table {
            Some(table) => table.argument_base as usize,
            None => self.abi.machine().argument_base as usize,
        };
        let mut areas = Areas {
            stack: vec![0; (base + self.key.frame() as usize).next_multiple_of(16) / 8],
            base,
            hidden: vec![0; self.key.hidden() as usize / 8],
        };
        let mut at = first;
        loop {
            progress.store(at.cast_mut(), Ordering::Release);
            // As in generated code, a thread that lowers the end has the order of this store and
            // this load enforced from its side.
            if at >= end.load(Ordering::Acquire).cast_const() {
                return;
            }
            // SAFETY: I6: the records of `first..end` are the caller's to vouch for; this one has
            // not been run.
            let record = unsafe { *at };
            // SAFETY: I5: the record's blocks are the caller's to vouch for.
            let mut image = unsafe { self.image(&record, g, &mut areas) };
            // SAFETY: I5: the image was made for the key's ABI, and a callee of that ABI is the
            // caller's promise.
            unsafe { image.call(record.code, &mut areas.stack) };
            for m in &*self.results {
                let block = std::ptr::with_exposed_provenance_mut::<u8>(record.words[1] as usize);
                let give = |bytes: &[u8]| {
                    // SAFETY: I5: the block of results has room for every result, by the caller's
                    // promise.
                    unsafe {
                        let to = block.add(m.to as usize);
                        std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, m.size as usize);
                    }
                };
                self.result(m, &image, &areas, give);
            }
            // SAFETY: I6: `at` is before the end, in the same slice.
            at = unsafe { at.add(1) };
        }
    }

    /// The register file of one call; writes stack arguments to the frame.
    ///
    /// # Safety
    /// The record's argument block, if the key has one, is readable.
    unsafe fn image(&self, record: &Record, g: &GBlock, areas: &mut Areas) -> CallImage {
        let registers = &self.registers;
        let mut image = CallImage::new();
        if let Some(context) = registers.context {
            image.set_int(context, record.context as u64);
            image.set_go(g);
        }
        if let (Some(hidden), false) = (registers.hidden, areas.hidden.is_empty()) {
            let address = areas.hidden.as_mut_ptr().expose_provenance() as u64;
            image.set_int(hidden, address);
        }
        if let (Some(register), Some(count)) = (registers.vectors, self.vectors) {
            image.set_int(register, count.into());
        }
        let float32 = self.abi.float32_image();
        let mut own = [0; 16];
        for (bytes, word) in own.chunks_exact_mut(8).zip(record.words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let mut read = Read::new();
        for &m in &*self.moves {
            if let (Source::Bytes { from, size, .. }, Target::Frame(offset), true) =
                (m.source, m.to, self.is_block)
            {
                let block = std::ptr::with_exposed_provenance::<u8>(record.words[0] as usize);
                for at in (0..size).step_by(Read::MOST) {
                    let count = Read::MOST.min((size - at) as usize);
                    // SAFETY: I5: the bytes are the argument's, which this block holds by the
                    // caller's promise.
                    let bytes = unsafe { read.bytes(block.add((from + at) as usize), count) };
                    areas.store(offset + at, bytes);
                }
                continue;
            }
            let bytes = match m.source {
                // SAFETY: I5: as above. No register takes more.
                Source::Bytes { from, size, .. } if self.is_block => unsafe {
                    let block = std::ptr::with_exposed_provenance::<u8>(record.words[0] as usize);
                    read.bytes(block.add(from as usize), size as usize)
                },
                Source::Bytes { from, size, .. } => &own[from as usize..(from + size) as usize],
                Source::Context => &record.context.to_ne_bytes(),
                // The address is of the frame before it is copied to the stack for the call; both
                // copies live through the call, and the callee only reads.
                Source::FrameAddress(offset) => {
                    let frame = areas.stack.as_mut_ptr().expose_provenance() + areas.base;
                    &(frame + offset as usize).to_ne_bytes()
                }
            };
            match m.to {
                Target::Int(n) => {
                    image.set_int(registers.arg_ints[usize::from(n)], extend(m, bytes));
                }
                Target::Float(n) if bytes.len() == 16 => {
                    let register = registers.arg_floats[usize::from(n)];
                    image.set_vector(register, [0, 8].map(|at| extend(m, &bytes[at..at + 8])));
                }
                Target::Float(n) => {
                    let value = float_register(float32, extend(m, bytes), bytes.len());
                    image.set_float(registers.arg_floats[usize::from(n)], value);
                }
                Target::Frame(offset) => areas.store(offset, bytes),
                Target::Word(offset) => areas.store(offset, &extend(m, bytes).to_ne_bytes()),
            }
        }
        image
    }

    /// Calls `give` with the bytes of a result.
    fn result(&self, m: &ResultMove, image: &CallImage, areas: &Areas, give: impl FnOnce(&[u8])) {
        let size = m.size as usize;
        let registers = &self.registers;
        match m.from {
            ResultSource::Int(n, byte) => {
                let word = image.int(registers.result_ints[usize::from(n)]);
                let (bytes, range) = low_bytes(word >> (8 * byte), size);
                give(&bytes[range]);
            }
            // Of a whole vector register; big-endian machines have none.
            ResultSource::Float(n, byte) if usize::from(byte) + size > 8 => {
                let words = image.vector(registers.result_floats[usize::from(n)]);
                give(&bytes(words, byte.into(), size));
            }
            ResultSource::Float(n, byte) => {
                let word = image.float(registers.result_floats[usize::from(n)]);
                let value = float_value(self.abi.float32_image(), word, size);
                let (bytes, range) = low_bytes(value >> (8 * byte), size);
                give(&bytes[range]);
            }
            ResultSource::Frame(offset) => {
                give(&bytes(&areas.stack, areas.base + offset as usize, size));
            }
            ResultSource::Hidden(offset) => give(&bytes(&areas.hidden, offset as usize, size)),
        }
    }
}

impl Areas {
    /// Writes bytes at an offset from the argument base.
    fn store(&mut self, offset: u32, bytes: &[u8]) {
        for (at, &byte) in (self.base + offset as usize..).zip(bytes) {
            let mut word = self.stack[at / 8].to_ne_bytes();
            word[at % 8] = byte;
            self.stack[at / 8] = u64::from_ne_bytes(word);
        }
    }
}

/// `size` bytes from byte `from` on.
fn bytes(words: &[u64], from: usize, size: usize) -> Vec<u8> {
    let byte = |at: usize| words[at / 8].to_ne_bytes()[at % 8];
    (from..from + size).map(byte).collect()
}

/// At most 8 bytes, as they lie in memory, in the low end of a register.
fn extend(m: Move, bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let value = if IS_BIG_ENDIAN {
        word[8 - bytes.len()..].copy_from_slice(bytes);
        u64::from_be_bytes(word)
    } else {
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let unused = 64 - 8 * bytes.len() as u32;
    match m.source {
        Source::Bytes { signed: true, .. } => ((value << unused) as i64 >> unused) as u64,
        _ => value,
    }
}

/// The low `size` bytes of a register, as they lie in memory.
fn low_bytes(word: u64, size: usize) -> ([u8; 8], Range<usize>) {
    if IS_BIG_ENDIAN {
        (word.to_be_bytes(), 8 - size..8)
    } else {
        (word.to_le_bytes(), 0..size)
    }
}

/// A float of `size` bytes as its register holds it.
fn float_register(image: Float32Image, value: u64, size: usize) -> u64 {
    match image {
        Float32Image::High if size == 4 => value << 32,
        Float32Image::NanBoxed if size == 4 => value | 0xffff_ffff << 32,
        Float32Image::AsDouble if size == 4 => f64::from(f32::from_bits(value as u32)).to_bits(),
        _ => value,
    }
}

/// The value in a float register, where [`float_register`] had it.
fn float_value(image: Float32Image, register: u64, size: usize) -> u64 {
    match image {
        Float32Image::High if size == 4 => register >> 32,
        Float32Image::AsDouble if size == 4 => (f64::from_bits(register) as f32).to_bits().into(),
        _ => register,
    }
}
