//! Loads, stores, and new objects.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};

use super::body::{Body, Made, Vals};
use crate::layout::Word;
use crate::run::ctx;
use crate::types::Ty;

impl Body<'_, '_, '_> {
    pub(super) fn load_word(&mut self, word: &Word, at: Value, offset: i32) -> Value {
        let flags = MemFlagsData::trusted();
        let value = self
            .b
            .ins()
            .load(word.clif, flags, at, offset + word.offset as i32);
        if word.reference {
            self.reference(value)
        } else {
            value
        }
    }

    pub(super) fn load(&mut self, ty: Ty, at: Value, offset: i32) -> Made<Vals> {
        let words = self.words(ty)?;
        Ok(words
            .iter()
            .map(|word| self.load_word(word, at, offset))
            .collect())
    }

    pub(super) fn load_int(&mut self, at: Value, offset: i32) -> Value {
        self.b.ins().load(I64, MemFlagsData::trusted(), at, offset)
    }

    pub(super) fn store_int(&mut self, value: Value, at: Value, offset: i32) {
        self.b
            .ins()
            .store(MemFlagsData::trusted(), value, at, offset);
    }

    pub(super) fn store(&mut self, ty: Ty, values: &[Value], at: Value, offset: i32) -> Made<()> {
        for (word, value) in self.words(ty)?.iter().zip(values) {
            self.store_int(*value, at, offset + word.offset as i32);
        }
        Ok(())
    }

    /// An address that leads into an object.
    pub(super) fn inside(&mut self, at: Value, offset: i64) -> Value {
        if offset == 0 {
            return at;
        }
        let inside = self.b.ins().iadd_imm_s(at, offset);
        self.reference(inside)
    }

    /// A new object of a type, which is zero.
    pub(super) fn new_object(&mut self, ty: Ty) -> Made<Value> {
        let text = self.lo.heap.text(ty)?;
        self.new_of(&text)
    }

    /// A new object of a type of the heap's: the next one of this goroutine's window, or, if that
    /// is empty or the type has none, what the host makes. No function of Go's runs in between, so
    /// there is no panic to look for.
    pub(super) fn new_of(&mut self, text: &str) -> Made<Value> {
        let number = self.lo.heap.site(text)?;
        let site = self.int(number as i64);
        let Some(stride) = self.lo.stride(number) else {
            let object = self.host("new", &[site]);
            return Ok(self.reference(object));
        };
        let (end, object) = self.block_of(&[Word {
            clif: I64,
            reference: true,
            offset: 0,
        }]);
        let windows = self.load_int(self.ctx, ctx::WINDOWS);
        let window = self.load_int(windows, 8 * number as i32);
        let next = self.load_int(window, 0);
        let behind = self.b.ins().iadd_imm_s(next, stride as i64);
        let limit = self.load_int(window, 8);
        let above = IntCC::UnsignedGreaterThan;
        let empty = self.b.ins().icmp(above, behind, limit);
        let (refill, take) = self.branch_if(empty);
        self.b.set_cold_block(refill);
        self.b.switch_to_block(refill);
        let made = self.host("refill", &[site]);
        self.jump(end, &[made]);
        self.b.switch_to_block(take);
        self.store_int(behind, window, 0);
        self.jump(end, &[next]);
        self.b.switch_to_block(end);
        Ok(object[0])
    }

    /// Leaves a value in the context for the host.
    pub(super) fn leave_in_buffer(&mut self, ty: Ty, values: &[Value]) -> Made<()> {
        self.store(ty, values, self.ctx, ctx::BUFFER)
    }
}
