//! A key's bytes: what it says, in one form only, so that keys are equal when their bytes are.
//!
//! | bytes | meaning |
//! |---|---|
//! | `0b_ba......` | the ABI's number from 1 on; `b`: blocks; `a`: two numbers follow, the areas |
//! | `0b01sstt_zz` | a move of `1 << zz` bytes or a word, `ss` to `tt`; then both operands |
//! | `0b11sstt00` | the same of any size, which comes first |
//! | `0b10kk00zz` | a result of `1 << zz` bytes from `kk`; then from where and to where |
//! | `0b10kk0100` | the same of any size, which comes first |
//! | `0b0001nnnn` | `nnnn` float registers carry arguments of a variadic call |
//! | 0 | the end |
//!
//! Numbers take seven bits of each byte, the lowest first. A finalizer's key is some ten bytes: it
//! lies in the key itself.
#![forbid(unsafe_code)]

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{Move, ResultMove, ResultSource, Source, Target};
use crate::{Abi, Arch, Convention, Family};

/// Bytes that a key holds without an allocation.
const SHORT: usize = 15;

const BLOCK: u8 = 0x80;
const AREAS: u8 = 0x40;
const MOVE: u8 = 0x40;
const RESULT: u8 = 0x80;
const LONG_MOVE: u8 = 0xc0;
const LONG_RESULT: u8 = 0x04;
const VECTORS: u8 = 0x10;

/// A key in the open.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) abi: Abi,
    pub(super) block: bool,
    /// Of a variadic call under System V: float registers that carry arguments.
    pub(super) vectors: Option<u8>,
    pub(super) moves: Vec<Move>,
    pub(super) results: Vec<ResultMove>,
    pub(super) frame: u32,
    pub(super) hidden: u32,
}

/// A key's bytes, followed by zeroes where they are short.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Packed {
    Short([u8; SHORT]),
    Long(Arc<Long>),
}

/// What does not fit.
#[derive(PartialEq, Eq)]
pub(super) struct Long {
    /// Of the bytes: keys are made once and looked up often.
    hash: u64,
    bytes: Box<[u8]>,
}

/// Two words into one, each bit of which depends on all of theirs.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    product as u64 ^ (product >> 64) as u64
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

impl Packed {
    pub(super) fn hash_code(&self) -> u64 {
        match self {
            Packed::Short(bytes) => mix(word(&bytes[..8]), word(&bytes[SHORT - 8..])),
            Packed::Long(long) => long.hash,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Packed::Short(bytes) => bytes,
            Packed::Long(long) => &long.bytes,
        }
    }

    pub(super) fn abi(&self) -> Abi {
        let number = usize::from(self.bytes()[0] & !(BLOCK | AREAS)) - 1;
        match Arch::ALL.get(number) {
            Some(&arch) => Abi::go(arch),
            None => Abi::native(Convention::ALL[number - Arch::ALL.len()]),
        }
    }

    pub(super) fn is_block(&self) -> bool {
        self.bytes()[0] & BLOCK != 0
    }

    /// Frame and hidden area.
    pub(super) fn areas(&self) -> (u32, u32) {
        self.items().1
    }

    /// The moves and results, and before them the areas.
    pub(super) fn items(&self) -> (Items<'_>, (u32, u32)) {
        let bytes = self.bytes();
        let mut items = Items(&bytes[1..]);
        let areas = if bytes[0] & AREAS != 0 {
            (items.number(), items.number())
        } else {
            (0, 0)
        };
        (items, areas)
    }

    pub(super) fn parts(&self) -> Parts {
        let (items, (frame, hidden)) = self.items();
        let mut parts = Parts {
            abi: self.abi(),
            block: self.is_block(),
            vectors: None,
            moves: Vec::new(),
            results: Vec::new(),
            frame,
            hidden,
        };
        for item in items {
            match item {
                Item::Move(m) => parts.moves.push(m),
                Item::Result(m) => parts.results.push(m),
                Item::Vectors(count) => parts.vectors = Some(count),
            }
        }
        parts
    }
}

impl Hash for Packed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash_code());
    }
}

impl Parts {
    pub(super) fn pack(&self) -> Packed {
        let number = match self.abi.family() {
            Family::Go => Arch::ALL.iter().position(|&arch| arch == self.abi.arch()),
            Family::Native(convention) => Convention::ALL
                .iter()
                .position(|&other| other == convention)
                .map(|index| Arch::ALL.len() + index),
        };
        let has_areas = self.frame > 0 || self.hidden > 0;
        let mut out = Writer(Vec::with_capacity(2 * SHORT));
        out.0.push(
            number.map_or(0, |index| index as u8 + 1)
                | if self.block { BLOCK } else { 0 }
                | if has_areas { AREAS } else { 0 },
        );
        if has_areas {
            out.number(self.frame);
            out.number(self.hidden);
        }
        out.0.extend(self.vectors.map(|count| VECTORS | count));
        self.moves.iter().for_each(|m| out.one_move(m));
        self.results.iter().for_each(|m| out.result(m));
        let bytes = out.0;
        if bytes.len() <= SHORT {
            let mut short = [0; SHORT];
            short[..bytes.len()].copy_from_slice(&bytes);
            return Packed::Short(short);
        }
        let hash = bytes.chunks(8).fold(bytes.len() as u64, |hash, chunk| {
            mix(hash.rotate_left(32), word(chunk))
        });
        Packed::Long(Arc::new(Long {
            hash,
            bytes: bytes.into(),
        }))
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u32) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// The header with the size in it, or before the operands if it is none of 1, 2, 4 and 8.
    fn header(&mut self, short: u8, long: u8, size: u32) {
        if matches!(size, 1 | 2 | 4 | 8) {
            self.0.push(short | size.trailing_zeros() as u8);
        } else {
            self.0.push(long);
            self.number(size);
        }
    }

    fn one_move(&mut self, m: &Move) {
        let (reads, size, from) = match m.source {
            Source::Bytes { from, size, signed } => (u8::from(signed), size, Some(from)),
            Source::Context => (2, 8, None),
            Source::FrameAddress(offset) => (3, 8, Some(offset)),
        };
        let (goes, to) = match m.to {
            Target::Int(n) => (0, u32::from(n)),
            Target::Float(n) => (1, u32::from(n)),
            Target::Frame(offset) => (2, offset),
            Target::Word(offset) => (3, offset),
        };
        let kinds = reads << 4 | goes << 2;
        self.header(MOVE | kinds, LONG_MOVE | kinds, size);
        if let Some(from) = from {
            self.number(from);
        }
        self.number(to);
    }

    fn result(&mut self, m: &ResultMove) {
        let (kind, place, byte) = match m.from {
            ResultSource::Int(n, byte) => (0, u32::from(n), Some(byte)),
            ResultSource::Float(n, byte) => (1, u32::from(n), Some(byte)),
            ResultSource::Frame(offset) => (2, offset, None),
            ResultSource::Hidden(offset) => (3, offset, None),
        };
        let header = RESULT | kind << 4;
        self.header(header, header | LONG_RESULT, m.size);
        self.number(place);
        self.0.extend(byte);
        self.number(m.to);
    }
}

/// One move, in or out, or the number of vector registers.
pub(super) enum Item {
    Move(Move),
    Result(ResultMove),
    Vectors(u8),
}

/// Reads moves and results, in the order they were written.
pub(super) struct Items<'a>(&'a [u8]);

impl Items<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    fn number(&mut self) -> u32 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= u32::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 || shift > 28 {
                return number;
            }
        }
    }

    fn one_move(&mut self, header: u8) -> Move {
        let size = match header & LONG_MOVE {
            LONG_MOVE => self.number(),
            _ => 1 << (header & 3),
        };
        let source = match header >> 4 & 3 {
            2 => Source::Context,
            3 => Source::FrameAddress(self.number()),
            signed => Source::Bytes {
                from: self.number(),
                size,
                signed: signed == 1,
            },
        };
        let to = self.number();
        let to = match header >> 2 & 3 {
            0 => Target::Int(to as u8),
            1 => Target::Float(to as u8),
            2 => Target::Frame(to),
            _ => Target::Word(to),
        };
        Move { source, to }
    }

    fn result(&mut self, header: u8) -> ResultMove {
        let size = match header & LONG_RESULT {
            0 => 1 << (header & 3),
            _ => self.number(),
        };
        let place = self.number();
        let from = match header >> 4 & 3 {
            0 => ResultSource::Int(place as u8, self.byte()),
            1 => ResultSource::Float(place as u8, self.byte()),
            2 => ResultSource::Frame(place),
            _ => ResultSource::Hidden(place),
        };
        let to = self.number();
        ResultMove { from, size, to }
    }
}

impl Iterator for Items<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let header = self.byte();
        match header & LONG_MOVE {
            0 if header & VECTORS != 0 => Some(Item::Vectors(header & !VECTORS)),
            0 => None,
            RESULT => Some(Item::Result(self.result(header))),
            _ => Some(Item::Move(self.one_move(header))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::StubKey;
    use super::*;

    fn packed(text: &str) -> Packed {
        text.parse::<StubKey>().unwrap().packed
    }

    #[test]
    fn keys_of_finalizers_need_no_allocation() {
        for text in [
            "go/amd64;8@0>i0;frame=16",
            "go/amd64;8@0>i0;8@8>i1;frame=1024",
            "go/riscv64;4@0>f0;4@4>f1;8@8>i0;frame=48",
            "sysv/amd64;8@0>i0;8@8>i1;ctx>i2",
            "sysv/amd64;8@0>i1;hidden=131072",
            "go/amd64;block;8@0>i0;i0>8@0",
        ] {
            assert!(matches!(packed(text), Packed::Short(_)), "{text}");
        }
        assert_eq!(size_of::<StubKey>(), 16);
    }

    #[test]
    fn every_number_comes_back() {
        for n in [0, 1, 127, 128, 16383, 16384, 1 << 21, 1 << 30, u32::MAX] {
            let mut writer = Writer(Vec::new());
            writer.number(n);
            let mut items = Items(&writer.0);
            assert_eq!((items.number(), items.0.len()), (n, 0));
        }
    }

    #[test]
    fn every_kind_of_move_and_result_comes_back() {
        let abis = Arch::ALL.map(Abi::go);
        for abi in abis
            .into_iter()
            .chain(Convention::ALL.iter().map(|&c| Abi::native(c)))
        {
            let sources = [1, 2, 4, 8, 16, 24, 3, 1 << 20]
                .into_iter()
                .flat_map(|size| {
                    [false, true].map(|signed| Source::Bytes {
                        from: size * 3,
                        size,
                        signed,
                    })
                });
            let sources = sources.chain([Source::Context, Source::FrameAddress(1 << 29)]);
            let targets = [
                Target::Int(0),
                Target::Int(30),
                Target::Float(14),
                Target::Frame(1 << 30),
                Target::Word(8),
            ];
            let moves = sources
                .flat_map(|source| targets.map(|to| Move { source, to }))
                .collect::<Vec<_>>();
            let from = [
                ResultSource::Int(3, 0),
                ResultSource::Int(0, 7),
                ResultSource::Float(14, 4),
                ResultSource::Frame(300),
                ResultSource::Hidden(0),
            ];
            let results = from.into_iter().flat_map(|from| {
                [1, 2, 4, 8, 10, 1 << 20].map(|size| ResultMove {
                    from,
                    size,
                    to: size * 5,
                })
            });
            for (frame, hidden, block) in [(0, 0, true), (16, 0, false), (0, 1 << 30, true)] {
                let parts = Parts {
                    abi,
                    block,
                    vectors: block.then_some(8),
                    moves: moves.clone(),
                    results: results.clone().collect(),
                    frame,
                    hidden,
                };
                let packed = parts.pack();
                assert_eq!(format!("{:?}", packed.parts()), format!("{parts:?}"));
                assert_eq!(packed.areas(), (frame, hidden));
            }
        }
    }

    #[test]
    fn equal_bytes_are_equal_keys() {
        let texts = [
            "go/amd64;8@0>i0",
            "go/arm64;8@0>i0",
            "go/amd64;8@8>i0",
            "go/amd64;4@0>i0",
            "go/amd64;8@0>i0;frame=16",
            "go/amd64;block;8@0>i0",
            "go/amd64;block;8@0>i0;i0>8@0",
            "go/amd64;block;8@0>i0;i0>8@0;i1>8@8;i2>8@16;i3>8@24",
            "go/amd64;block;8@0>i0;i0>8@0;i1>8@8;i2>8@16;i3>8@32",
        ];
        for a in texts {
            for b in texts {
                assert_eq!(packed(a) == packed(b), a == b, "{a} {b}");
                assert_eq!(
                    packed(a).hash_code() == packed(b).hash_code(),
                    a == b,
                    "{a} {b}"
                );
            }
        }
    }
}
