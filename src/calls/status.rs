//! Functions that return whether they have failed.
#![forbid(unsafe_code)]

use fing_stubs::{BlockLayout, Kind, Signature};

use crate::calls::failure::Cause;

/// Where the status of a function is in the block of its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusResult {
    offset: usize,
    form: Form,
    /// Words of the block.
    words: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Signed { size: usize },
    Unsigned { size: usize },
    Interface,
}

impl StatusResult {
    /// Returns where the last result is. `None` if it is neither an integer nor an interface.
    pub(crate) fn of(signature: &Signature) -> Option<StatusResult> {
        let result = signature.results().last()?;
        let size = result.layout().map(|layout| layout.size as usize)?;
        let form = match result.underlying() {
            Kind::Int | Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64 => {
                Form::Signed { size }
            }
            Kind::Uint
            | Kind::Uint8
            | Kind::Uint16
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Uintptr => Form::Unsigned { size },
            Kind::Interface(_) => Form::Interface,
            _ => return None,
        };
        let block = BlockLayout::of(signature.results());
        // A block of words is as aligned as a word.
        if block.align() > align_of::<u64>() as u64 {
            return None;
        }
        Some(StatusResult {
            offset: *block.offsets().last()? as usize,
            form,
            words: block.size().div_ceil(8) as usize,
        })
    }

    /// Words of the block of results.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Returns why the call has failed, if the results say so.
    pub(super) fn read(&self, block: &[u64]) -> Option<Cause> {
        let at = self.offset / 8;
        let (size, signed) = match self.form {
            Form::Interface => {
                let words = [block[at], block[at + 1]];
                return (words[0] != 0).then_some(Cause::Error(words));
            }
            Form::Signed { size } => (size, true),
            Form::Unsigned { size } => (size, false),
        };
        // In memory the value is its first bytes on every machine; a number has its low bytes
        // first or last.
        let from = self.offset % 8;
        let bytes = &block[at].to_ne_bytes()[from..from + size];
        let mut number = [0; 8];
        let place = if cfg!(target_endian = "big") {
            8 - size
        } else {
            0
        };
        number[place..place + size].copy_from_slice(bytes);
        let unused = 64 - 8 * size as u32;
        let number = u64::from_ne_bytes(number);
        let status = match signed {
            true => (number << unused) as i64 >> unused,
            false => number as i64,
        };
        (status != 0).then_some(Cause::Status(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(results: &str) -> Option<StatusResult> {
        StatusResult::of(&format!("func(*int) {results}").parse().unwrap())
    }

    /// A block of results in which each value is at its place, as bytes of this machine's order.
    fn block(values: &[(usize, &[u8])]) -> Vec<u64> {
        let mut bytes = [0xaa_u8; 32];
        for (at, value) in values {
            bytes[*at..at + value.len()].copy_from_slice(value);
        }
        bytes
            .chunks(8)
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn the_last_result_counts_by_its_own_bytes() {
        let read = |results: &str, values: &[(usize, &[u8])]| {
            status(results).unwrap().read(&block(values))
        };
        let minus = (-3_i32).to_ne_bytes();
        assert_eq!(read("int32", &[(0, &minus)]), Some(Cause::Status(-3)));
        assert_eq!(read("int32", &[(0, &[0; 4])]), None);
        assert_eq!(read("uint8", &[(0, &[0xff])]), Some(Cause::Status(255)));
        assert_eq!(read("int8", &[(0, &[0xff])]), Some(Cause::Status(-1)));
        let both: &[(usize, &[u8])] = &[(0, &[1; 8]), (8, &[0, 0])];
        assert_eq!(read("(int64, int16)", both), None);
        let large = u64::MAX.to_ne_bytes();
        assert_eq!(read("uint64", &[(0, &large)]), Some(Cause::Status(-1)));
        let nil: &[(usize, &[u8])] = &[(0, &[1; 8]), (8, &[0; 16])];
        assert_eq!(read("(int, error)", nil), None);
        let error: &[(usize, &[u8])] = &[(8, &7_u64.to_ne_bytes()), (16, &9_u64.to_ne_bytes())];
        assert_eq!(read("(int, error)", error), Some(Cause::Error([7, 9])));
    }

    #[test]
    fn other_results_are_no_status() {
        for results in ["", "bool", "float64", "*int", "string", "(error, bool)"] {
            assert_eq!(status(results), None, "{results}");
        }
        assert_eq!(status("([3]int, int32)").unwrap().words(), 4);
    }
}
