//! What a key must satisfy so that a stub can be made of it.
//!
//! [`lower`](crate::lower), [`compile`](crate::compile) and the interpreter check none of this
//! again: they index registers by position, add offsets as 32-bit numbers and hand Cranelift the
//! signatures that follow from the moves. An assignment leads to keys that satisfy it all; a key
//! that is read from text is refused if it does not.
#![forbid(unsafe_code)]

use super::{MAX_FRAME, Move, Parts, ResultMove, ResultSource, Source, Target, frame_class};
use crate::abi::{Aggregates, NativeConvention};
use crate::record::RECORD_ARGUMENT;
use crate::{Abi, Arch, Family, RegClass};

/// Largest offset in a block of arguments or results.
const MAX_BLOCK: u64 = 1 << 30;

/// The part that is wrong, as text, and what should stand there.
pub(super) type Refusal = (String, &'static str);

impl Parts {
    /// Checks that a stub can be made of this key.
    pub(super) fn validate(&self) -> Result<(), Refusal> {
        self.check_areas()?;
        self.check_vectors()?;
        for m in &self.moves {
            self.check_move(m)
                .map_err(|wanted| (format!("{}>{}", m.source, m.to), wanted))?;
        }
        for m in &self.results {
            self.check_result(m)
                .map_err(|wanted| (format!("{}>{}@{}", m.from, m.size, m.to), wanted))?;
        }
        if !self.registers_are_in_order() {
            let moves = self.moves.iter().filter(|m| position(m).is_some());
            let found: Vec<String> = moves.map(|m| format!("{}>{}", m.source, m.to)).collect();
            return Err((found.join(";"), "registers filled in order, without gaps"));
        }
        match self.native().filter(|table| table.callee_pops) {
            Some(table) => self.check_popped_words(table),
            None => Ok(()),
        }
    }

    fn native(&self) -> Option<&'static NativeConvention> {
        self.abi.native_table()
    }

    fn is_go(&self) -> bool {
        self.abi.family() == Family::Go
    }

    fn check_areas(&self) -> Result<(), Refusal> {
        let areas = [("frame", self.frame), ("hidden", self.hidden)];
        for (name, bytes) in areas {
            if u64::from(bytes) > MAX_FRAME || frame_class(bytes.into()) != bytes {
                return Err((format!("{name}={bytes}"), "a frame class in bytes"));
            }
        }
        let found = || format!("frame={};hidden={}", self.frame, self.hidden);
        if u64::from(self.frame) + u64::from(self.hidden) > MAX_FRAME {
            return Err((found(), "at most 512 MiB of both"));
        }
        if self.hidden > 0 && self.is_go() {
            return Err((found(), "no hidden area under Go's ABI"));
        }
        Ok(())
    }

    fn check_move(&self, m: &Move) -> Result<(), &'static str> {
        match m.source {
            Source::Bytes { from, size, signed } => {
                self.check_bytes(from, size)?;
                match m.to {
                    Target::Int(_) => {
                        self.check_word(size)?;
                        ensure(
                            !signed || size < 8,
                            "a sign only where there are bits above",
                        )?;
                    }
                    Target::Word(_) => {
                        ensure(matches!(size, 1 | 2 | 4 | 8), "1, 2, 4 or 8 bytes")?;
                        ensure(
                            !signed || size < 8,
                            "a sign only where there are bits above",
                        )?;
                    }
                    Target::Float(_) => {
                        ensure(!signed, "bytes without a sign")?;
                        self.check_float(size)?;
                        let positional = self.native().is_some_and(|table| table.positional);
                        ensure(!positional || size <= 8, "1 to 8 bytes")?;
                    }
                    Target::Frame(_) => ensure(!signed, "bytes without a sign")?,
                }
            }
            Source::Context | Source::FrameAddress(_) => {
                let is_word = matches!(m.to, Target::Int(_) | Target::Word(_));
                ensure(is_word, "an integer register or a word")?;
            }
        }
        if let Source::FrameAddress(offset) = m.source {
            ensure(
                self.has_frame_slot(),
                "an ABI with a frame of the stub's own",
            )?;
            ensure(offset < self.frame, "a place in the frame")?;
        }
        match m.to {
            Target::Int(n) => ensure(
                usize::from(n) < self.abi.int_regs(),
                "a register of the ABI",
            ),
            Target::Float(n) => ensure(
                usize::from(n) < self.abi.float_regs(),
                "a register of the ABI",
            ),
            Target::Frame(to) => {
                ensure(
                    self.has_frame_slot(),
                    "an ABI with a frame of the stub's own",
                )?;
                let size = match m.source {
                    Source::Bytes { size, .. } => size,
                    Source::Context | Source::FrameAddress(_) => 8,
                };
                ensure(fits(to, size, self.frame), "a place in the frame")
            }
            Target::Word(to) => {
                ensure(to % 8 == 0, "a multiple of 8")?;
                ensure(fits(to, 8, self.frame), "a place in the frame")
            }
        }
    }

    /// The bytes lie in the argument, or in a block of arguments.
    fn check_bytes(&self, from: u32, size: u32) -> Result<(), &'static str> {
        ensure(size > 0, "at least one byte")?;
        let end = u64::from(from) + u64::from(size);
        if self.block {
            ensure(end <= MAX_BLOCK, "bytes below 1 GiB")
        } else {
            ensure(end <= RECORD_ARGUMENT, "bytes of the record's 16")
        }
    }

    fn check_result(&self, m: &ResultMove) -> Result<(), &'static str> {
        ensure(self.block, "results only in a key with blocks")?;
        ensure(m.size > 0, "at least one byte")?;
        let end = u64::from(m.to) + u64::from(m.size);
        ensure(end <= MAX_BLOCK, "a place below 1 GiB")?;
        match m.from {
            ResultSource::Int(n, byte) => {
                self.check_word(m.size)?;
                self.check_result_register(RegClass::Int, n, byte, m.size)
            }
            ResultSource::Float(n, byte) => {
                self.check_float(m.size)?;
                self.check_result_register(RegClass::Float, n, byte, m.size)
            }
            ResultSource::Frame(from) => {
                ensure(self.is_go(), "results in the frame only under Go's ABI")?;
                ensure(fits(from, m.size, self.frame), "a place in the frame")
            }
            ResultSource::Hidden(from) => ensure(
                fits(from, m.size, self.hidden),
                "a place in the hidden area",
            ),
        }
    }

    fn check_result_register(
        &self,
        class: RegClass,
        n: u8,
        byte: u8,
        size: u32,
    ) -> Result<(), &'static str> {
        let count = self.abi.result_registers(class).len();
        ensure(usize::from(n) < count, "a result register of the ABI")?;
        // Cranelift has no function that returns values and takes a hidden pointer for others.
        ensure(
            self.hidden == 0,
            "all results in the hidden area if there is one",
        )?;
        // Under Go's ABI no two results share a register.
        ensure(byte == 0 || !self.is_go(), "the low bytes of the register")?;
        let byte = u32::from(byte);
        let is_whole = size == 16 && byte == 0 && self.is_alone(class, n);
        let is_aligned = self.shares_bytes() || byte.is_multiple_of(size);
        ensure(
            is_whole || is_aligned && byte + size <= 8,
            "an aligned part of the register",
        )
    }

    /// Whether one result at most is found in this register.
    fn is_alone(&self, class: RegClass, n: u8) -> bool {
        let is_there = |m: &&ResultMove| match (class, m.from) {
            (RegClass::Int, ResultSource::Int(own, _))
            | (RegClass::Float, ResultSource::Float(own, _)) => own == n,
            _ => false,
        };
        self.results.iter().filter(is_there).count() < 2
    }

    /// Whether registers carry any number of bytes, as C's structs are passed: on little-endian
    /// machines, where the callee has no other way than through memory to take them apart.
    fn shares_bytes(&self) -> bool {
        let has_structs = |table: &NativeConvention| table.aggregates != Aggregates::Words;
        self.native().is_some_and(has_structs) && !self.abi.machine().big_endian
    }

    /// Bytes of an integer register.
    fn check_word(&self, size: u32) -> Result<(), &'static str> {
        if self.shares_bytes() {
            return ensure(matches!(size, 1..=8), "1 to 8 bytes");
        }
        ensure(matches!(size, 1 | 2 | 4 | 8), "1, 2, 4 or 8 bytes")
    }

    /// Bytes of a float register. Those of riscv64 hold nothing but floats.
    fn check_float(&self, size: u32) -> Result<(), &'static str> {
        let is_vector = matches!(self.abi.arch(), Arch::Amd64 | Arch::Arm64);
        if self.shares_bytes() && is_vector {
            return ensure(matches!(size, 1..=8 | 16), "1 to 8 bytes, or 16");
        }
        ensure(matches!(size, 4 | 8), "4 or 8 bytes")
    }

    /// The number in `al` is System V's, and no less than the registers used.
    fn check_vectors(&self) -> Result<(), Refusal> {
        let Some(count) = self.vectors else {
            return Ok(());
        };
        let floats = self
            .moves
            .iter()
            .filter(|m| matches!(m.to, Target::Float(_)));
        let least = floats.count();
        let most = self.abi.float_regs();
        if self.abi == Abi::system_v() && (least..=most).contains(&count.into()) {
            return Ok(());
        }
        let wanted = "only under sysv/amd64, and no fewer than the float registers used";
        Err((format!("al={count}"), wanted))
    }

    /// Cranelift places the words itself where the callee takes them off the stack.
    fn has_frame_slot(&self) -> bool {
        self.native().is_none_or(|table| !table.callee_pops)
    }

    /// The registers of each class are filled from the first on, without gaps; where a hidden
    /// pointer takes an integer argument register, from the second on. Where C's structs may want a
    /// pair of registers, there may be gaps.
    fn registers_are_in_order(&self) -> bool {
        let positional = self.native().is_some_and(|table| table.positional);
        let has_pairs = self.shares_bytes() && !positional;
        let mut positions: [Vec<u8>; 2] = Default::default();
        for m in &self.moves {
            let Some((class, n)) = position(m) else {
                continue;
            };
            let is_second = class == RegClass::Float && !positional;
            if positional && class == RegClass::Float && self.is_doubled(m, n) {
                continue;
            }
            positions[usize::from(is_second)].push(n);
        }
        if has_pairs {
            positions[0].sort_unstable();
            let all = &positions[0];
            let rises = all.windows(2).all(|pair| pair[0] < pair[1]);
            let starts = all.first().is_none_or(|&n| n >= self.hidden_argument());
            if !rises || !starts {
                return false;
            }
            positions[0].clear();
        }
        let starts = [self.hidden_argument(), 0];
        positions.iter_mut().zip(starts).all(|(positions, first)| {
            positions.sort_unstable();
            positions
                .iter()
                .copied()
                .eq((first..).take(positions.len()))
        })
    }

    /// Whether the integer register of the same position carries the same word.
    fn is_doubled(&self, float: &Move, n: u8) -> bool {
        let is_word = matches!(float.source, Source::Bytes { size: 8, .. });
        let twin = |m: &Move| m.to == Target::Int(n) && m.source == float.source;
        is_word && self.moves.iter().any(twin)
    }

    /// Integer argument registers that the address of the hidden area takes.
    fn hidden_argument(&self) -> u8 {
        let takes = self.native().is_some_and(|table| table.hidden.is_none());
        u8::from(self.hidden > 0 && takes)
    }

    /// Stack arguments that Cranelift places: word after word, and only where no register is left
    /// for them.
    fn check_popped_words(&self, table: &NativeConvention) -> Result<(), Refusal> {
        let mut words: Vec<&Move> = self.moves.iter().collect();
        words.retain(|m| matches!(m.to, Target::Word(_)));
        words.sort_by_key(|m| m.to);
        let count = |class| {
            let of_class = |m: &&Move| position(m).is_some_and(|(own, _)| own == class);
            self.moves.iter().filter(of_class).count()
        };
        let ints_full =
            count(RegClass::Int) + usize::from(self.hidden_argument()) == table.int_args.len();
        let floats_full = count(RegClass::Float) == table.float_args.len();
        for (m, offset) in words.iter().zip((0..).step_by(8)) {
            let refuse = |wanted| Err((format!("{}>{}", m.source, m.to), wanted));
            if m.to != Target::Word(offset) {
                return refuse("words one after another from w0 on");
            }
            if !(ints_full || floats_full && is_float(m)) {
                return refuse("a word on the stack only if no register is left for it");
            }
        }
        let wanted = frame_class(8 * words.len() as u64);
        if self.frame != wanted {
            return Err((
                format!("frame={}", self.frame),
                "a frame of just the words on the stack",
            ));
        }
        Ok(())
    }
}

fn ensure(holds: bool, wanted: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(wanted) }
}

/// Whether `size` bytes from `from` on lie in an area.
fn fits(from: u32, size: u32, area: u32) -> bool {
    u64::from(from) + u64::from(size) <= u64::from(area)
}

/// Whether a float register can take what the move reads.
fn is_float(m: &Move) -> bool {
    let Source::Bytes { size, signed, .. } = m.source else {
        return false;
    };
    matches!(size, 4 | 8) && !signed
}

/// The register that a move fills.
fn position(m: &Move) -> Option<(RegClass, u8)> {
    match m.to {
        Target::Int(n) => Some((RegClass::Int, n)),
        Target::Float(n) => Some((RegClass::Float, n)),
        Target::Frame(_) | Target::Word(_) => None,
    }
}
