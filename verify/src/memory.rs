//! Values as they lie in memory.
#![forbid(unsafe_code)]

use fing_stubs::signature::{CType, LongDouble};
use fing_stubs::{Abi, Kind, Type};

use crate::random::Random;

/// A value as it lies in memory, with which of its bits count: not padding, not a blank field.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Ones where a bit counts.
    pub mask: Vec<u8>,
}

impl Memory {
    /// A random value, laid out by an ABI.
    pub fn random(abi: Abi, ty: &Type, random: &mut Random) -> Memory {
        let size = abi.layout_of(ty).map_or(0, |layout| layout.size) as usize;
        let mut memory = Memory {
            bytes: random.bytes(size),
            mask: vec![0; size],
        };
        memory.value(abi, ty, 0);
        memory
    }

    /// Whether `found` is the same where it counts.
    pub fn is(&self, found: &[u8]) -> bool {
        self.bytes.len() == found.len()
            && self
                .bytes
                .iter()
                .zip(found)
                .zip(&self.mask)
                .all(|((a, b), mask)| (a ^ b) & mask == 0)
    }

    /// Sets the mask of a value that begins at byte `at`, and makes a `bool` 0 or 1.
    fn value(&mut self, abi: Abi, ty: &Type, at: usize) {
        let size = abi.layout_of(ty).map_or(0, |layout| layout.size) as usize;
        let native = abi.native_table();
        match (ty.underlying(), native) {
            (Kind::Array(len, elem), _) => {
                let each = size.checked_div(*len as usize).unwrap_or(0);
                if each > 0 {
                    (0..*len as usize).for_each(|n| self.value(abi, elem, at + n * each));
                }
            }
            (Kind::Struct(_) | Kind::C(CType::Record(_)), Some(native)) => {
                for member in native.data.members(ty) {
                    match member.bits {
                        None => self.value(abi, member.ty, at + member.offset as usize),
                        Some((first, count)) => {
                            (first..first + count)
                                .for_each(|bit| self.bit(abi, 8 * at as u64 + bit));
                        }
                    }
                }
            }
            (Kind::Struct(fields), None) => {
                for field in fields {
                    let offset = at + field.offset as usize;
                    if &*field.name != "_" {
                        self.value(abi, &field.ty, offset);
                    } else {
                        let before = self.mask.clone();
                        self.value(abi, &field.ty, offset);
                        self.mask = before;
                    }
                }
            }
            (Kind::Bool, _) => {
                self.bytes[at] &= 1;
                self.mask[at] = 0xff;
            }
            (Kind::C(ty @ (CType::LongDouble | CType::ComplexLongDouble)), Some(native))
                if native.data.long_double == LongDouble::X87 =>
            {
                let parts = if matches!(ty, CType::LongDouble) {
                    1
                } else {
                    2
                };
                for part in 0..parts {
                    // A number that the x87 unit does not change when it is loaded: normal, finite.
                    let number = at + 16 * part;
                    self.mask[number..number + 10].fill(0xff);
                    self.bytes[number + 7] |= 0x80;
                    self.bytes[number + 8] |= 1;
                    self.bytes[number + 9] &= 0xbf;
                }
            }
            _ => self.mask[at..at + size].fill(0xff),
        }
    }

    /// A bit of a bit-field counts.
    fn bit(&mut self, abi: Abi, bit: u64) {
        let mask = if abi.machine().big_endian {
            0x80 >> (bit % 8)
        } else {
            1 << (bit % 8)
        };
        self.mask[(bit / 8) as usize] |= mask;
    }
}
