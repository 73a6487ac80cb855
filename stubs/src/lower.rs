//! A stub key to CLIF: one compiled loop over records.
//!
//! ```text
//! stub(first, end, progress, g):            // first != end
//!     record = first
//!     do {
//!         *progress = record                // published before the call: who looks knows which record is running
//!         call(record.code, record.context, record.words, g)
//!         record += 32                      // ascending addresses
//!     } while record != end
//!     *progress = record
//! ```
//! An empty batch never gets here; see [`Stub::run`](crate::Stub::run).
//!
//! **The frame.** Cranelift lays out explicit stack slots from the stack pointer up, above the outgoing argument area.
//! None of our calls has outgoing stack arguments, so slot 0 begins exactly at the stack pointer of the call, which is
//! where the callee finds its argument base. The slot *is* the callee's frame: stack arguments are plain stores, and
//! results and spill slots are room in it. [`compile`](crate::compile) checks the place of the slot in every stub it
//! makes, so a change of layout in Cranelift is an error, never a wrong call.
//!
//! **Every register clobbered.** Go functions save nothing. A `try_call` with an empty exception table to a callee of
//! convention `PreserveAll` makes Cranelift treat every register as clobbered, on every ISA; the stub then saves its
//! caller's registers once per batch. Native callees are called with their own convention.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, ArgumentPurpose, BlockArg, BlockCall, ExceptionTableData, ExtFuncData, ExternalName,
    FuncRef, Function, InstBuilder, MemFlagsData, SigRef, Signature, StackSlot, StackSlotData,
    StackSlotKind, Type, UserExternalName, UserFuncName, Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use crate::Family;
use crate::key::{Move, StubKey, Target};
use crate::record::{CODE_OFFSET, CONTEXT_OFFSET, RECORD_SIZE, WORDS_OFFSET};
use crate::veneer::{Plan, image};

/// Module-level names: the veneer is function 0, the stub function 1, of namespace 0.
pub(crate) const VENEER_NAME: UserExternalName = UserExternalName {
    namespace: 0,
    index: 0,
};
pub(crate) const STUB_NAME: UserExternalName = UserExternalName {
    namespace: 0,
    index: 1,
};

/// The slot that is the callee's frame, if the key has one: always the first.
pub(crate) const FRAME_SLOT: u32 = 0;

/// Signature of every stub: first record, end, progress cell, g; no result.
pub(crate) fn stub_signature(native: CallConv) -> Signature {
    let mut signature = Signature::new(native);
    signature.params = vec![AbiParam::new(types::I64); 4];
    signature
}

/// What a veneer takes; see [`Plan`].
pub(crate) fn veneer_signature(plan: Plan, floats: &[Move]) -> Signature {
    let mut signature = Signature::new(CallConv::PreserveAll);
    match plan {
        Plan::Direct { .. } => {
            signature.params = vec![AbiParam::new(types::I64); 5];
            signature
                .params
                .extend(floats.iter().map(|m| AbiParam::new(float_type(*m))));
        }
        Plan::Image { .. } => signature.params.push(AbiParam::new(types::I64)),
    }
    signature
}

/// The stub's body for `key`, for a machine whose C convention is `native`.
pub(crate) fn lower(key: &StubKey, native: CallConv, config: TargetFrontendConfig) -> Function {
    let mut function =
        Function::with_name_signature(UserFuncName::User(STUB_NAME), stub_signature(native));
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut function, &mut builder_context);
    let [entry, head, next, exit] = [(); 4].map(|()| builder.create_block());
    builder.append_block_params_for_function_params(entry);
    let record = builder.append_block_param(head, types::I64);

    builder.switch_to_block(entry);
    let &[first, end, progress, g] = builder.block_params(entry) else {
        unreachable!("four parameters")
    };
    let mut call = CallBuilder::new(key, &mut builder, native, g, record, next);
    // A value of its own: the parameter's register is lost in the first call, and the allocator would rather move the
    // parameter back there in every round than leave it in another.
    let end = call.builder.ins().iadd_imm_s(end, 0);
    let [progress, g, end] = call.keep([progress, g, end]);
    call.g = g;
    call.builder.ins().jump(head, &[BlockArg::Value(first)]);

    call.builder.switch_to_block(head);
    let [running] = call.keep([record]);
    let cell = progress.value(call.builder);
    call.builder
        .ins()
        .store(MemFlagsData::trusted(), record, cell, 0);
    call.emit();

    builder.switch_to_block(next);
    let done = running.value(&mut builder);
    let following = builder.ins().iadd_imm_s(done, RECORD_SIZE);
    let end = end.value(&mut builder);
    let more = builder.ins().icmp(IntCC::NotEqual, following, end);
    builder
        .ins()
        .brif(more, head, &[BlockArg::Value(following)], exit, &[]);

    builder.switch_to_block(exit);
    let cell = progress.value(&mut builder);
    builder
        .ins()
        .store(MemFlagsData::trusted(), following, cell, 0);
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(config);
    function
}

/// A value of the loop that lives across calls.
///
/// A native callee keeps registers, and the register allocator finds them. Where every register is clobbered all of
/// them live in memory, and the allocator would store each again in every round: there they are stored once, by hand.
#[derive(Clone, Copy)]
enum Kept {
    Value(Value),
    Stored(StackSlot),
}

impl Kept {
    fn value(self, builder: &mut FunctionBuilder<'_>) -> Value {
        match self {
            Kept::Value(value) => value,
            Kept::Stored(slot) => builder.ins().stack_load(types::I64, types::I64, slot, 0),
        }
    }
}

/// One record's call, in the loop's body.
struct CallBuilder<'a, 'b> {
    key: &'a StubKey,
    builder: &'a mut FunctionBuilder<'b>,
    native: CallConv,
    g: Kept,
    record: Value,
    next: cranelift_codegen::ir::Block,
    frame: Option<StackSlot>,
}

impl<'a, 'b> CallBuilder<'a, 'b> {
    fn new(
        key: &'a StubKey,
        builder: &'a mut FunctionBuilder<'b>,
        native: CallConv,
        g: Value,
        record: Value,
        next: cranelift_codegen::ir::Block,
    ) -> Self {
        let frame = (key.frame() > 0).then(|| {
            let bytes = key.frame() + argument_base(key) as u32;
            builder.create_sized_stack_slot(StackSlotData::new(
                StackSlotKind::ExplicitSlot,
                bytes,
                4,
            ))
        });
        CallBuilder {
            key,
            builder,
            native,
            g: Kept::Value(g),
            record,
            next,
            frame,
        }
    }

    /// Keeps values across calls; to be called where they are defined.
    fn keep<const N: usize>(&mut self, values: [Value; N]) -> [Kept; N] {
        values.map(|value| match self.key.abi().family() {
            Family::Go => {
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 8, 3);
                let slot = self.builder.create_sized_stack_slot(data);
                self.stack_store(value, slot, 0);
                Kept::Stored(slot)
            }
            _ => Kept::Value(value),
        })
    }

    fn emit(&mut self) {
        for &m in self.key.moves() {
            if let (Target::Frame(offset), Some(slot)) = (m.to, self.frame) {
                let value = self.load_int(m, int_type(m.size));
                self.stack_store(value, slot, argument_base(self.key) + offset as i32);
            }
        }
        let code = self.load_word(CODE_OFFSET);
        match self.key.abi().family() {
            Family::Go => self.call_veneer(code),
            _ => self.call_native(code),
        }
    }

    /// A Go callee, through the veneer.
    fn call_veneer(&mut self, code: Value) {
        let (ints, floats) = self.key.register_moves();
        let context = self.load_word(CONTEXT_OFFSET);
        let plan = Plan::choose(ints.len(), floats.len());
        let mut arguments = Vec::new();
        match plan {
            Plan::Direct { .. } => {
                let mut words: Vec<Value> =
                    ints.iter().map(|&m| self.load_int(m, types::I64)).collect();
                // A word the callee has no use for: any value will do, and this one is at hand.
                words.resize(2, code);
                let g = self.g.value(self.builder);
                arguments.extend([words[0], words[1], context, code, g]);
                arguments.extend(floats.iter().map(|&m| self.load_float(m)));
            }
            Plan::Image { ints: n, .. } => {
                let bytes = image::float(n, floats.len() as u8) as u32;
                let slot = self.builder.create_sized_stack_slot(StackSlotData::new(
                    StackSlotKind::ExplicitSlot,
                    bytes,
                    4,
                ));
                let g = self.g.value(self.builder);
                for (value, offset) in [
                    (code, image::CODE),
                    (context, image::CONTEXT),
                    (g, image::G),
                ] {
                    self.stack_store(value, slot, offset);
                }
                for (n, &m) in (0..).zip(&ints) {
                    let value = self.load_int(m, types::I64);
                    self.stack_store(value, slot, image::int(n));
                }
                for (k, &m) in (0..).zip(&floats) {
                    let value = self.load_float(m);
                    self.stack_store(value, slot, image::float(n, k));
                }
                arguments.push(self.builder.ins().stack_addr(types::I64, slot, 0));
            }
        }
        let signature = self
            .builder
            .import_signature(veneer_signature(plan, &floats));
        let veneer = self.import_veneer(signature);
        let table = self.empty_exception_table(signature);
        self.builder.ins().try_call(veneer, &arguments, table);
    }

    /// A native callee, by its own convention: hidden result pointer, the argument, the context if it is an argument.
    fn call_native(&mut self, code: Value) {
        let (ints, floats) = self.key.register_moves();
        let mut signature = Signature::new(self.native);
        let mut arguments = Vec::new();
        if self.key.hidden() > 0 {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, self.key.hidden(), 4);
            let slot = self.builder.create_sized_stack_slot(data);
            signature
                .params
                .push(AbiParam::special(types::I64, ArgumentPurpose::StructReturn));
            arguments.push(self.builder.ins().stack_addr(types::I64, slot, 0));
        }
        for m in ints {
            signature.params.push(AbiParam::new(types::I64));
            arguments.push(self.load_int(m, types::I64));
        }
        if self.key.context_argument().is_some() {
            signature.params.push(AbiParam::new(types::I64));
            arguments.push(self.load_word(CONTEXT_OFFSET));
        }
        for m in floats {
            signature.params.push(AbiParam::new(float_type(m)));
            arguments.push(self.load_float(m));
        }
        let signature = self.builder.import_signature(signature);
        self.builder
            .ins()
            .call_indirect(signature, code, &arguments);
        self.builder.ins().jump(self.next, &[]);
    }

    fn stack_store(&mut self, value: Value, slot: StackSlot, offset: i32) {
        self.builder
            .ins()
            .stack_store(types::I64, value, slot, offset);
    }

    fn load_word(&mut self, offset: i32) -> Value {
        self.builder
            .ins()
            .load(types::I64, MemFlagsData::trusted(), self.record, offset)
    }

    /// The bytes of a move as an integer, extended to `ty` as the move says.
    fn load_int(&mut self, m: Move, ty: Type) -> Value {
        let narrow = int_type(m.size);
        let offset = WORDS_OFFSET + i32::from(m.from);
        let value = self.builder.ins().load(
            narrow,
            MemFlagsData::new().with_notrap(),
            self.record,
            offset,
        );
        match (narrow == ty, m.signed) {
            (true, _) => value,
            (false, true) => self.builder.ins().sextend(ty, value),
            (false, false) => self.builder.ins().uextend(ty, value),
        }
    }

    fn load_float(&mut self, m: Move) -> Value {
        let offset = WORDS_OFFSET + i32::from(m.from);
        self.builder.ins().load(
            float_type(m),
            MemFlagsData::new().with_notrap(),
            self.record,
            offset,
        )
    }

    fn import_veneer(&mut self, signature: SigRef) -> FuncRef {
        let name = self
            .builder
            .func
            .declare_imported_user_function(VENEER_NAME);
        self.builder.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        })
    }

    fn empty_exception_table(
        &mut self,
        signature: SigRef,
    ) -> cranelift_codegen::ir::ExceptionTable {
        let normal = BlockCall::new(self.next, [], &mut self.builder.func.dfg.value_lists);
        self.builder
            .func
            .dfg
            .exception_tables
            .push(ExceptionTableData::new(signature, normal, []))
    }
}

/// Bytes between the stack pointer at the call and the argument base.
fn argument_base(key: &StubKey) -> i32 {
    match key.abi().family() {
        Family::Go => key.abi().machine().argument_base as i32,
        _ => 0,
    }
}

fn int_type(bytes: u8) -> Type {
    match bytes {
        1 => types::I8,
        2 => types::I16,
        4 => types::I32,
        _ => types::I64,
    }
}

fn float_type(m: Move) -> Type {
    if m.size == 4 { types::F32 } else { types::F64 }
}
