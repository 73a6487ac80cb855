//! Branches, and what is checked before an operation.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, MemFlagsData, Value};

use super::body::{Body, Vals};
use crate::layout::Word;
use crate::run::ctx;

impl Body<'_, '_, '_> {
    /// Goes on in a new block if the condition is 0, else in the returned one, which is current
    /// then and must end in a jump.
    pub(super) fn branch_if(&mut self, condition: Value) -> (Block, Block) {
        let (bad, good) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(condition, bad, &[], good, &[]);
        (bad, good)
    }

    /// Panics by a function of the host if the condition is not 0.
    pub(super) fn panic_if(&mut self, condition: Value, name: &str, args: &[Value]) {
        let (bad, good) = self.branch_if(condition);
        self.b.set_cold_block(bad);
        self.b.switch_to_block(bad);
        self.host(name, args);
        self.b.ins().jump(self.unwind, &[]);
        self.b.switch_to_block(good);
    }

    pub(super) fn check_nil(&mut self, address: Value) {
        let nil = match self.nil {
            Some(nil) => nil,
            None => {
                let nil = self.b.create_block();
                self.b.set_cold_block(nil);
                *self.nil.insert(nil)
            }
        };
        let go_on = self.b.create_block();
        self.b.ins().brif(address, go_on, &[], nil, &[]);
        self.b.switch_to_block(go_on);
    }

    /// Panics unless `index < length`, both unsigned.
    pub(super) fn check_index(&mut self, index: Value, length: Value) {
        let outside = self
            .b
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
        self.panic_if(outside, "panic_index", &[index, length]);
    }

    /// A point where a collection may happen.
    pub(super) fn safepoint(&mut self) {
        let address = self.lo.heap.flag();
        let address = self.int(address as i64);
        let flag = self.b.ins().load(I32, MemFlagsData::trusted(), address, 0);
        let (poll, go_on) = self.branch_if(flag);
        self.b.set_cold_block(poll);
        self.b.switch_to_block(poll);
        self.host("poll", &[]);
        self.b.ins().jump(go_on, &[]);
        self.b.switch_to_block(go_on);
    }

    /// Panics if the stack is used up.
    pub(super) fn check_stack(&mut self) {
        let at = self.b.ins().get_stack_pointer(I64);
        let limit = self.load_int(self.ctx, ctx::STACK_LIMIT);
        let below = self.b.ins().icmp(IntCC::UnsignedLessThan, at, limit);
        self.panic_if(below, "stack_overflow", &[]);
    }

    /// A merge point with parameters of these words.
    pub(super) fn block_of(&mut self, words: &[Word]) -> (Block, Vals) {
        let block = self.b.create_block();
        let mut values = Vec::new();
        for word in words {
            let value = self.b.append_block_param(block, word.clif);
            values.push(if word.reference {
                self.reference(value)
            } else {
                value
            });
        }
        (block, values)
    }

    pub(super) fn jump(&mut self, block: Block, values: &[Value]) {
        let args: Vec<BlockArg> = values.iter().map(|value| BlockArg::Value(*value)).collect();
        self.b.ins().jump(block, &args);
    }

    /// After a jump out: what follows is never run.
    pub(super) fn unreachable(&mut self) {
        let block = self.b.create_block();
        self.b.switch_to_block(block);
    }
}
