//! The body of an entry as CLIF: from the caller's registers and stack to a block of arguments, the
//! handler's call, and the results on the way back.
//!
//! ```text
//! body(image, slot, state, base):
//!     arguments = bytes of the image, the caller's stack, and what its pointers point to
//!     results   = zeroes
//!     slot.handler(slot, state, arguments, results, code)      or a call that is given
//!     image and the caller's memory = results
//! ```
//! A block that is the words of registers in their order is not moved: it is where the image has
//! them. If both are, a veneer that can calls the handler itself, and there is no body.
//!
//! `image` is where the [veneer](super::veneer) has stored the argument registers and finds the
//! result registers again; `base` is the caller's argument base, `state` what the veneer read from
//! the slot, and `code` is a number that no other entry code of the process's `Entries` has. Blocks
//! are laid out as [`BlockLayout`](crate::BlockLayout) says.
//!
//! Only integers are loaded and stored, so no float register is touched, and nothing but two
//! addresses lives across the handler's call: they are kept on the stack, so that the body saves no
//! register and all bodies look alike to an unwinder.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, BlockArg, Function, InstBuilder, MemFlagsData, Signature, StackSlot, StackSlotData,
    StackSlotKind, Type, UserFuncName, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::moves::{Above, ArgumentMove, Destination, EntryKey, HiddenPointer, Origin, ResultMove};
use super::veneer::{Direct, HANDLER_OFFSET, Plan};
use crate::Compiler;
use crate::abi::Float32Image;
use crate::lower::STUB_NAME;

/// More bytes than this are copied or cleared in a loop.
const UNROLLED: u32 = 128;

/// What a call of the handler can be made of.
pub(crate) struct HandlerCall {
    slot: Value,
    state: Value,
    /// The addresses of the two blocks.
    pub(crate) arguments: Value,
    pub(crate) results: Value,
}

/// The handler's call: through the slot, in the machine's C convention. `code` is the number that
/// handlers are told.
pub(crate) fn through_slot(
    convention: CallConv,
    code: u64,
) -> impl FnOnce(&mut FunctionBuilder<'_>, HandlerCall) {
    move |builder, call| {
        let mut signature = Signature::new(convention);
        signature.params = vec![AbiParam::new(types::I64); 5];
        let signature = builder.import_signature(signature);
        let handler = builder
            .ins()
            .load(types::I64, unaligned(), call.slot, HANDLER_OFFSET);
        let code = builder.ins().iconst(types::I64, code as i64);
        let all = [call.slot, call.state, call.arguments, call.results, code];
        builder.ins().call_indirect(signature, handler, &all);
    }
}

/// The function of `key`, for a machine, which calls the handler by what `call` adds.
pub(crate) fn lower(
    compiler: &Compiler,
    key: &EntryKey,
    plan: &Plan,
    call: impl FnOnce(&mut FunctionBuilder<'_>, HandlerCall),
) -> Function {
    let isa = compiler.isa();
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(types::I64); 4];
    let name = UserFuncName::User(STUB_NAME);
    let mut function = Function::with_name_signature(name, signature);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut function, &mut context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let &[image, slot, state, base] = builder.block_params(entry) else {
        unreachable!("four parameters")
    };
    let in_place = InPlace::of(key, plan);
    let mut area = |bytes: u32| {
        let bytes = bytes.max(8).next_multiple_of(16);
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
        builder.create_sized_stack_slot(data)
    };
    let mut block = |at: Option<i32>, bytes| match at {
        Some(at) => Block::Image(at),
        None => Block::Own(area(bytes)),
    };
    let arguments = block(in_place.arguments, key.argument_bytes);
    let results = block(in_place.results, key.result_bytes);
    let kept = in_place.results.is_none().then(|| [area(8), area(8)]);
    let mut body = Body {
        plan,
        builder: &mut builder,
        image,
        base,
        arguments,
        results,
    };
    if let Some([kept_image, kept_base]) = kept {
        body.keep(image, kept_image);
        body.keep(base, kept_base);
    }
    if in_place.arguments.is_none() {
        let moved: u32 = key.arguments.iter().map(|m| m.size).sum();
        if moved < key.argument_bytes {
            body.clear(arguments, key.argument_bytes);
        }
        for m in &key.arguments {
            body.argument(m);
        }
    }
    body.clear(results, key.result_bytes);
    let blocks = HandlerCall {
        slot,
        state,
        arguments: body.address(arguments),
        results: body.address(results),
    };
    call(body.builder, blocks);
    if let Some([kept_image, kept_base]) = kept {
        body.image = body.kept(kept_image);
        body.base = body.kept(kept_base);
        body.set_results(key, compiler.gives_area_back());
    }
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(isa.frontend_config());
    function
}

/// Blocks that are parts of the image: the words of registers, in their order, whole. Most
/// functions of a few words have both; then nothing is moved.
struct InPlace {
    /// Their offsets in the image.
    arguments: Option<i32>,
    results: Option<i32>,
}

/// How the veneer can call the handler itself: if a body would only pass on what is in the image.
pub(crate) fn direct(key: &EntryKey, plan: &Plan, code: u64) -> Option<Direct> {
    let in_place = InPlace::of(key, plan);
    Some(Direct {
        arguments: in_place.arguments?,
        results: in_place.results?,
        words: key.result_bytes / 8,
        code,
    })
}

impl InPlace {
    fn of(key: &EntryKey, plan: &Plan) -> InPlace {
        let argument = |m: &ArgumentMove| match m.from {
            Origin::Int(n, 0) if m.size == 8 && !m.by_reference => Some(plan.int(n) - m.to as i32),
            _ => None,
        };
        let result = |m: &ResultMove| match m.to {
            Destination::Int(n, 0) if m.size == 8 => Some(plan.int_result(n) - m.from as i32),
            _ => None,
        };
        let no_hidden = key.hidden.is_none();
        let whole = |count: usize, bytes: u32| count as u32 * 8 == bytes;
        let of = |offsets: Option<Vec<i32>>, bytes: u32| {
            let offsets = offsets.filter(|all| whole(all.len(), bytes))?;
            let Some(&first) = offsets.first() else {
                return Some(0);
            };
            // Blocks are at multiples of 16.
            let same = first % 16 == 0 && offsets.iter().all(|&offset| offset == first);
            same.then_some(first)
        };
        let arguments = key.arguments.iter().map(argument).collect();
        let results = key.results.iter().map(result).collect();
        InPlace {
            arguments: of(arguments, key.argument_bytes),
            results: of(results, key.result_bytes).filter(|_| no_hidden),
        }
    }
}

/// Where a block is.
#[derive(Clone, Copy)]
enum Block {
    /// In the body's frame.
    Own(StackSlot),
    /// In the image, from this offset on.
    Image(i32),
}

struct Body<'a, 'b> {
    plan: &'a Plan,
    builder: &'a mut FunctionBuilder<'b>,
    image: Value,
    base: Value,
    arguments: Block,
    results: Block,
}

/// Addresses need not suit the types that are loaded there, so only traps are ruled out.
fn unaligned() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

impl Body<'_, '_> {
    fn keep(&mut self, value: Value, slot: StackSlot) {
        self.builder.ins().stack_store(types::I64, value, slot, 0);
    }

    fn kept(&mut self, slot: StackSlot) -> Value {
        self.builder
            .ins()
            .stack_load(types::I64, types::I64, slot, 0)
    }

    fn address(&mut self, block: Block) -> Value {
        match block {
            Block::Own(slot) => self.builder.ins().stack_addr(types::I64, slot, 0),
            Block::Image(at) => {
                let at = i64::from(at);
                self.builder.ins().iadd_imm_s(self.image, at)
            }
        }
    }

    fn load(&mut self, ty: Type, from: Value, offset: i32) -> Value {
        self.builder.ins().load(ty, unaligned(), from, offset)
    }

    fn store(&mut self, value: Value, to: Value, offset: i32) {
        self.builder.ins().store(unaligned(), value, to, offset);
    }

    fn argument(&mut self, m: &ArgumentMove) {
        let (from, offset) = self.origin(m.from, if m.by_reference { 8 } else { m.size });
        let (from, offset) = if m.by_reference {
            (self.load(types::I64, from, offset), 0)
        } else {
            (from, offset)
        };
        let to = self.address(self.arguments);
        self.copy(from, offset, to, m.to as i32, m.size);
    }

    /// Address and offset of the first of `size` bytes.
    fn origin(&self, from: Origin, size: u32) -> (Value, i32) {
        match from {
            Origin::Int(n, byte) => {
                let byte = self.plan.byte_of_int(byte, size);
                (self.image, self.plan.int(n) + byte)
            }
            Origin::Float(n, byte) => (self.image, self.plan.float(n) + i32::from(byte)),
            Origin::Stack(offset) => (self.base, offset as i32),
        }
    }

    fn set_results(&mut self, key: &EntryKey, gives_area_back: bool) {
        let results = self.address(self.results);
        for n in shared(key, |to| matches!(to, Destination::Int(..))) {
            let zero = self.builder.ins().iconst(types::I64, 0);
            self.store(zero, self.image, self.plan.int_result(n));
        }
        for n in shared(key, |to| matches!(to, Destination::Float(..))) {
            let above = match self.plan.abi.float32_image() {
                Float32Image::NanBoxed => -1,
                _ => 0,
            };
            let above = self.builder.ins().iconst(types::I64, above);
            self.store(above, self.image, self.plan.float_result(n));
        }
        let hidden = match key.hidden {
            Some(HiddenPointer::Argument) => {
                let pointer = self.load(types::I64, self.image, self.plan.int(0));
                if gives_area_back {
                    self.store(pointer, self.image, self.plan.int_result(0));
                }
                pointer
            }
            Some(HiddenPointer::OwnRegister) => {
                self.load(types::I64, self.image, self.plan.hidden())
            }
            None => self.base,
        };
        for m in &key.results {
            self.result(results, hidden, m);
        }
    }

    fn result(&mut self, results: Value, hidden: Value, m: &ResultMove) {
        let from = m.from as i32;
        let (to, offset) = match m.to {
            Destination::Int(n, _) if m.above != Above::Rest => {
                let value = self.load(int_type(m.size), results, from);
                let value = match (m.size, m.above) {
                    (8, _) => value,
                    (_, Above::Sign) => self.builder.ins().sextend(types::I64, value),
                    _ => self.builder.ins().uextend(types::I64, value),
                };
                return self.store(value, self.image, self.plan.int_result(n));
            }
            Destination::Int(n, byte) => {
                let byte = self.plan.byte_of_int(byte, m.size);
                (self.image, self.plan.int_result(n) + byte)
            }
            Destination::Float(n, byte) => {
                (self.image, self.plan.float_result(n) + i32::from(byte))
            }
            Destination::Stack(offset) => (self.base, offset as i32),
            Destination::Hidden(offset) => (hidden, offset as i32),
        };
        self.copy(results, from, to, offset, m.size);
    }

    /// Zeroes to the first bytes of a block, rounded up to words.
    fn clear(&mut self, block: Block, bytes: u32) {
        if bytes == 0 {
            return;
        }
        let (start, words) = (self.address(block), bytes.next_multiple_of(8));
        let zero = self.builder.ins().iconst(types::I64, 0);
        if words > UNROLLED {
            return self.each_word(words, |body, at| {
                let to = body.builder.ins().iadd(start, at);
                body.store(zero, to, 0);
            });
        }
        for at in (0..words).step_by(8) {
            self.store(zero, start, at as i32);
        }
    }

    fn copy(&mut self, from: Value, offset: i32, to: Value, at: i32, size: u32) {
        let (mut from, mut offset, mut to, mut at) = (from, offset, to, at);
        let mut rest = 0..size;
        if size > UNROLLED {
            from = self.builder.ins().iadd_imm_s(from, i64::from(offset));
            to = self.builder.ins().iadd_imm_s(to, i64::from(at));
            (offset, at) = (0, 0);
            let words = size / 8 * 8;
            self.each_word(words, |body, at| {
                let source = body.builder.ins().iadd(from, at);
                let target = body.builder.ins().iadd(to, at);
                let word = body.load(types::I64, source, 0);
                body.store(word, target, 0);
            });
            rest.start = words;
        }
        while !rest.is_empty() {
            let left = rest.end - rest.start;
            let bytes = [8, 4, 2, 1].into_iter().find(|&n| n <= left).unwrap_or(1);
            let value = self.load(int_type(bytes), from, offset + rest.start as i32);
            self.store(value, to, at + rest.start as i32);
            rest.start += bytes;
        }
    }

    /// A loop over the offsets `0, 8, .. bytes`, which is a multiple of 8 above 0.
    fn each_word(&mut self, bytes: u32, word: impl FnOnce(&mut Self, Value)) {
        let (head, after) = (self.builder.create_block(), self.builder.create_block());
        let at = self.builder.append_block_param(head, types::I64);
        let zero = self.builder.ins().iconst(types::I64, 0);
        self.builder.ins().jump(head, &[BlockArg::Value(zero)]);
        self.builder.switch_to_block(head);
        word(self, at);
        let next = self.builder.ins().iadd_imm_s(at, 8);
        let end = i64::from(bytes);
        let more = self.builder.ins().icmp_imm_s(IntCC::NotEqual, next, end);
        let again = [BlockArg::Value(next)];
        self.builder.ins().brif(more, head, &again, after, &[]);
        self.builder.switch_to_block(after);
    }
}

/// Positions of the result registers of a kind that are put together from parts.
fn shared(key: &EntryKey, kind: impl Fn(Destination) -> bool) -> Vec<u8> {
    let parts = key
        .results
        .iter()
        .filter(|m| m.above == Above::Rest && kind(m.to));
    let mut all: Vec<u8> = parts
        .filter(|m| m.size < 8)
        .filter_map(|m| match m.to {
            Destination::Int(n, _) | Destination::Float(n, _) => Some(n),
            Destination::Stack(_) | Destination::Hidden(_) => None,
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn int_type(bytes: u32) -> Type {
    match bytes {
        1 => types::I8,
        2 => types::I16,
        4 => types::I32,
        _ => types::I64,
    }
}
