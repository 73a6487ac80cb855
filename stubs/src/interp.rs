//! The interpreter of assignments: performs a key's moves by hand, one record at a time.
//!
//! It is the way to call where no executable memory is to be had, the baseline that generated stubs are measured
//! against, and a second opinion on what they do: both read the same key, and share nothing after it.
#![expect(unsafe_code, reason = "calls code by its address")]

use std::sync::atomic::{AtomicPtr, Ordering};

use crate::host::{CallImage, HAS_SHIM};
use crate::key::{Move, Target};
use crate::{Family, GBlock, Record, RegClass, StubError, StubKey};

/// A key, checked to be one this host's interpreter can serve.
#[derive(Debug)]
pub(crate) struct Interpreter {
    key: StubKey,
}

impl Interpreter {
    pub(crate) fn new(key: &StubKey) -> Result<Interpreter, StubError> {
        let host = target_lexicon::Triple::host();
        if !HAS_SHIM {
            return Err(StubError::NoInterpreter {
                host: host.to_string(),
            });
        }
        if crate::compile::go_arch(&host) != Some(key.abi().arch()) {
            return Err(StubError::WrongHost {
                key: key.to_string(),
                wanted: key.abi().arch().to_string(),
                found: host.to_string(),
            });
        }
        Ok(Interpreter { key: key.clone() })
    }

    /// As [`Stub::run`](crate::Stub::run).
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn run(
        &self,
        first: *const Record,
        end: *const Record,
        progress: &AtomicPtr<Record>,
        g: &GBlock,
    ) {
        let mut frame = vec![0u64; self.key.frame() as usize / 8];
        let mut hidden = vec![0u64; self.key.hidden() as usize / 8];
        let mut at = first;
        while at != end {
            progress.store(at.cast_mut(), Ordering::Release);
            // SAFETY: I6: the records of `first..end` are the caller's to vouch for; this one has not been run.
            let record = unsafe { *at };
            let mut image = self.image(&record, g, &mut frame, &mut hidden);
            // SAFETY: I5: the image was made for the key's ABI, and a callee of that ABI is the caller's promise.
            unsafe { image.call(record.code, &mut frame) };
            // SAFETY: I6: `at` is before `end`, in the same slice.
            at = unsafe { at.add(1) };
        }
        progress.store(end.cast_mut(), Ordering::Release);
    }

    /// The register file of one call; writes stack arguments to `frame`.
    fn image(
        &self,
        record: &Record,
        g: &GBlock,
        frame: &mut [u64],
        hidden: &mut [u64],
    ) -> CallImage {
        let abi = self.key.abi();
        let (ints, floats) = (
            abi.arg_registers(RegClass::Int),
            abi.arg_registers(RegClass::Float),
        );
        let mut image = CallImage::new();
        let mut known = true;
        if abi.family() == Family::Go {
            known &= image.set_int(abi.machine().context, record.context as u64);
            image.set_g(g);
        }
        if !hidden.is_empty() {
            known &= image.set_int(ints[0], hidden.as_mut_ptr().expose_provenance() as u64);
        }
        if let Some(register) = self.key.context_argument() {
            known &= image.set_int(ints[usize::from(register)], record.context as u64);
        }
        for m in self.key.moves() {
            let value = extend(*m, record);
            match m.to {
                Target::Int(n) => known &= image.set_int(ints[usize::from(n)], value),
                Target::Float(n) => known &= image.set_float(floats[usize::from(n)], value),
                Target::Frame(offset) => store(frame, offset as usize, m.size.into(), value),
            }
        }
        debug_assert!(known, "{}: a register this host does not have", self.key);
        image
    }
}

/// The move's bytes of the argument, extended to a word as the move says.
fn extend(m: Move, record: &Record) -> u64 {
    let [low, high] = record.words.map(u64::to_ne_bytes);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&low);
    bytes[8..].copy_from_slice(&high);
    let from = usize::from(m.from);
    let mut word = [0; 8];
    word[..m.size.into()].copy_from_slice(&bytes[from..from + usize::from(m.size)]);
    let value = u64::from_le_bytes(word);
    let unused = 64 - 8 * u32::from(m.size);
    if m.signed {
        ((value << unused) as i64 >> unused) as u64
    } else {
        value
    }
}

/// Writes the low `size` bytes of `value` at byte `offset` of the frame.
fn store(frame: &mut [u64], offset: usize, size: usize, value: u64) {
    let shift = offset % 8 * 8;
    let mask = if size == 8 {
        u64::MAX
    } else {
        (1 << (8 * size)) - 1
    };
    let word = &mut frame[offset / 8];
    *word = *word & !(mask << shift) | (value & mask) << shift;
}
