//! Loads, stores and copies of a stub's body.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlagsData, StackSlot, Type, Value, types};

use super::{CallBuilder, ResultRegisters, float_type, int_type};
use crate::key::{Move, ResultMove, ResultSource, Source};
use crate::record::{CONTEXT_OFFSET, WORDS_OFFSET};

/// Copies of more bytes than this are loops.
const UNROLLED: u32 = 128;

/// Blocks may lie at any address that suits their types, so only traps are ruled out.
fn unaligned() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

impl CallBuilder<'_, '_> {
    pub(super) fn stack_store(&mut self, value: Value, slot: StackSlot, offset: i32) {
        self.builder
            .ins()
            .stack_store(types::I64, value, slot, offset);
    }

    /// A word of the record.
    pub(super) fn load_word(&mut self, offset: i32) -> Value {
        self.builder
            .ins()
            .load(types::I64, MemFlagsData::trusted(), self.record, offset)
    }

    fn load_argument(&mut self, ty: Type, from: u32) -> Value {
        let base = if self.key.is_block() { 0 } else { WORDS_OFFSET };
        let offset = base + from as i32;
        self.builder
            .ins()
            .load(ty, unaligned(), self.arguments, offset)
    }

    /// What a move reads, as an integer register takes it.
    pub(super) fn word(&mut self, m: Move) -> Value {
        match m.source {
            Source::Context => self.load_word(CONTEXT_OFFSET),
            Source::FrameAddress(offset) => match self.frame {
                Some(slot) => {
                    let offset = self.base + offset as i32;
                    self.builder.ins().stack_addr(types::I64, slot, offset)
                }
                None => self.record,
            },
            Source::Bytes { from, size, signed } => {
                if !matches!(size, 1 | 2 | 4 | 8) {
                    return self.odd_word(from, size);
                }
                let narrow = int_type(size);
                let value = self.load_argument(narrow, from);
                match (narrow == types::I64, signed) {
                    (true, _) => value,
                    (false, true) => self.builder.ins().sextend(types::I64, value),
                    (false, false) => self.builder.ins().uextend(types::I64, value),
                }
            }
        }
    }

    /// Bytes of a struct that are no whole integer, on a little-endian machine: those of an
    /// integer, and above them those of others. Nothing behind them is read.
    fn odd_word(&mut self, from: u32, size: u32) -> Value {
        let mut word = None;
        for (at, bytes) in chunks(0, size) {
            let value = self.load_argument(int_type(bytes), from + at);
            let value = self.builder.ins().uextend(types::I64, value);
            word = Some(match word {
                None => value,
                Some(low) => {
                    let high = self.builder.ins().ishl_imm_u(value, 8 * i64::from(at));
                    self.builder.ins().bor(low, high)
                }
            });
        }
        word.unwrap_or(self.record)
    }

    /// What a move reads, as a float register takes it.
    pub(super) fn float(&mut self, m: Move) -> Value {
        match m.source {
            Source::Bytes {
                from,
                size: size @ (4 | 8),
                ..
            } => self.load_argument(float_type(size), from),
            Source::Bytes { from, size: 16, .. } => self.load_argument(types::I8X16, from),
            Source::Bytes { .. } | Source::Context | Source::FrameAddress(_) => {
                let word = self.word(m);
                let flags = MemFlagsData::new();
                self.builder.ins().bitcast(types::F64, flags, word)
            }
        }
    }

    /// The bytes a move reads, to a stack slot.
    pub(super) fn copy_in(&mut self, m: Move, slot: StackSlot, to: i32) {
        let Source::Bytes { from, size, .. } = m.source else {
            let word = self.word(m);
            return self.stack_store(word, slot, to);
        };
        if size > UNROLLED {
            let base = if self.key.is_block() { 0 } else { WORDS_OFFSET };
            let from = i64::from(from) + i64::from(base);
            let source = self.builder.ins().iadd_imm_s(self.arguments, from);
            let target = self.builder.ins().stack_addr(types::I64, slot, to);
            return self.copy_loop(source, target, size);
        }
        for (at, bytes) in chunks(0, size) {
            let value = self.load_argument(int_type(bytes), from + at);
            self.builder
                .ins()
                .stack_store(types::I64, value, slot, to + at as i32);
        }
    }

    /// Bytes of a stack slot to the block of results.
    pub(super) fn copy_out(
        &mut self,
        slot: Option<StackSlot>,
        from: i32,
        block: Value,
        to: i32,
        size: u32,
    ) {
        let Some(slot) = slot else { return };
        if size > UNROLLED {
            let source = self.builder.ins().stack_addr(types::I64, slot, from);
            let target = self.builder.ins().iadd_imm_s(block, i64::from(to));
            return self.copy_loop(source, target, size);
        }
        for (at, bytes) in chunks(0, size) {
            let at = at as i32;
            let ty = int_type(bytes);
            let value = self
                .builder
                .ins()
                .stack_load(types::I64, ty, slot, from + at);
            self.builder.ins().store(unaligned(), value, block, to + at);
        }
    }

    /// Copies word by word in a loop, then what is left.
    fn copy_loop(&mut self, source: Value, target: Value, size: u32) {
        let (body, after) = (self.builder.create_block(), self.builder.create_block());
        let at = self.builder.append_block_param(body, types::I64);
        let zero = self.builder.ins().iconst(types::I64, 0);
        self.builder.ins().jump(body, &[BlockArg::Value(zero)]);

        self.builder.switch_to_block(body);
        let from = self.builder.ins().iadd(source, at);
        let to = self.builder.ins().iadd(target, at);
        let word = self.builder.ins().load(types::I64, unaligned(), from, 0);
        self.builder.ins().store(unaligned(), word, to, 0);
        let following = self.builder.ins().iadd_imm_s(at, 8);
        let words = size / 8 * 8;
        let more = self
            .builder
            .ins()
            .icmp_imm_s(IntCC::NotEqual, following, i64::from(words));
        self.builder
            .ins()
            .brif(more, body, &[BlockArg::Value(following)], after, &[]);

        self.builder.switch_to_block(after);
        for (at, bytes) in chunks(words, size) {
            let ty = int_type(bytes);
            let value = self.builder.ins().load(ty, unaligned(), source, at as i32);
            self.builder
                .ins()
                .store(unaligned(), value, target, at as i32);
        }
    }

    /// A part of a result register to the block of results.
    pub(super) fn register_out(&mut self, results: &ResultRegisters, m: ResultMove, block: Value) {
        let to = m.to as i32;
        match results {
            ResultRegisters::Values { ints, floats } => {
                let (value, byte) = match m.from {
                    ResultSource::Int(n, byte) => (ints[usize::from(n)], byte),
                    ResultSource::Float(n, byte) => (floats[usize::from(n)], byte),
                    ResultSource::Frame(_) | ResultSource::Hidden(_) => return,
                };
                if matches!(m.size, 1 | 2 | 4 | 8 | 16) {
                    let value = self.part(value, byte, m.size);
                    self.builder.ins().store(unaligned(), value, block, to);
                    return;
                }
                for (at, bytes) in chunks(0, m.size) {
                    let part = self.part(value, byte + at as u8, bytes);
                    let to = to + at as i32;
                    self.builder.ins().store(unaligned(), part, block, to);
                }
            }
            ResultRegisters::Image { slot, plan } => {
                let big_endian = self.key.abi().machine().big_endian;
                let offset = match m.from {
                    // The low bytes of an integer; a float lies at the start of its word on every
                    // machine.
                    ResultSource::Int(n, _) if big_endian => plan.int(n) + 8 - m.size as i32,
                    ResultSource::Int(n, _) => plan.int(n),
                    ResultSource::Float(n, _) => plan.float(n),
                    ResultSource::Frame(_) | ResultSource::Hidden(_) => return,
                };
                self.copy_out(*slot, offset, block, to, m.size);
            }
        }
    }

    /// `size` bytes of a register's value, from byte `byte` on.
    fn part(&mut self, value: Value, byte: u8, size: u32) -> Value {
        let ty = self.builder.func.dfg.value_type(value);
        if byte == 0 && ty.bytes() == size {
            return value;
        }
        let whole = if ty == types::F64 {
            let flags = MemFlagsData::new();
            self.builder.ins().bitcast(types::I64, flags, value)
        } else {
            value
        };
        let shifted = match byte {
            0 => whole,
            _ => self.builder.ins().ushr_imm_u(whole, 8 * i64::from(byte)),
        };
        if size == 8 {
            shifted
        } else {
            self.builder.ins().ireduce(int_type(size), shifted)
        }
    }
}

/// `from..to` in pieces of 8, 4, 2 and 1 bytes: (first byte, bytes).
fn chunks(from: u32, to: u32) -> impl Iterator<Item = (u32, u32)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let bytes = [8, 4, 2, 1].into_iter().find(|&n| at + n <= to)?;
        at += bytes;
        Some((at - bytes, bytes))
    })
}
