//! A Go callee, through the veneer.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::{
    AbiParam, BlockCall, ExceptionTableData, ExtFuncData, ExternalName, FuncRef, InstBuilder,
    SigRef, Signature, Value, types,
};
use cranelift_codegen::isa::CallConv;

use super::{CallBuilder, ResultRegisters, VENEER_NAME, float_type};
use crate::RegClass;
use crate::abi::Float32Image;
use crate::key::{Move, Source};
use crate::record::{CODE_OFFSET, CONTEXT_OFFSET};
use crate::veneer::{Facts, Form, Plan, image};

/// What a veneer takes, so many integers in the `Direct` form; see [`Plan`].
fn veneer_signature(plan: &Plan, ints: usize, floats: &[Move]) -> Signature {
    let mut signature = Signature::new(CallConv::PreserveAll);
    match plan.form {
        Form::Direct => {
            signature.params = vec![AbiParam::new(types::I64); ints];
            let floats = floats.iter().map(|m| AbiParam::new(float_type(size(m))));
            signature.params.extend(floats);
        }
        Form::Image => signature.params.push(AbiParam::new(types::I64)),
    }
    signature
}

fn size(m: &Move) -> u32 {
    match m.source {
        Source::Bytes { size, .. } => size,
        Source::Context | Source::FrameAddress(_) => 8,
    }
}

impl CallBuilder<'_, '_> {
    pub(super) fn call_veneer(&mut self, plan: Plan) -> ResultRegisters {
        let ints = self.int_moves();
        let floats = self.key.register_moves(RegClass::Float);
        let (mut arguments, mut integers) = (Vec::new(), 1);
        match (plan.form, self.save) {
            (Form::Image, Some(slot)) => {
                let code = self.load_word(CODE_OFFSET);
                let context = self.load_word(CONTEXT_OFFSET);
                let g = self.g.value(self.builder);
                for (value, offset) in [
                    (code, image::CODE),
                    (context, image::CONTEXT),
                    (g, image::G),
                ] {
                    self.stack_store(value, slot, offset);
                }
                for (n, &m) in (0..).zip(&ints) {
                    let value = self.word(m);
                    self.stack_store(value, slot, plan.int(n));
                }
                for (n, &m) in (0..).zip(&floats) {
                    self.image_float(m, plan.float(n));
                }
                arguments.push(self.builder.ins().stack_addr(types::I64, slot, 0));
            }
            _ => {
                let facts = Facts::of(self.key.abi().arch());
                if facts.is_some_and(|facts| facts.words_last) {
                    let mut words: Vec<Value> = ints.iter().map(|&m| self.word(m)).collect();
                    let context = self.load_word(CONTEXT_OFFSET);
                    let g = self.g.value(self.builder);
                    // Last, since the record's address may lie where it goes.
                    let code = self.load_word(CODE_OFFSET);
                    arguments.extend([code, g, context]);
                    arguments.append(&mut words);
                } else {
                    let code = self.load_word(CODE_OFFSET);
                    let context = self.load_word(CONTEXT_OFFSET);
                    let mut words: Vec<Value> = ints.iter().map(|&m| self.word(m)).collect();
                    // A word the callee has no use for: any value will do, and this one is at hand.
                    words.resize(2, code);
                    arguments.append(&mut words);
                    let g = self.g.value(self.builder);
                    arguments.extend([context, code, g]);
                }
                integers = arguments.len();
                arguments.extend(floats.iter().map(|&m| self.float(m)));
            }
        }
        let signature = self
            .builder
            .import_signature(veneer_signature(&plan, integers, &floats));
        let veneer = self.veneer(signature);
        self.call_and_forget_registers(veneer, signature, &arguments);
        ResultRegisters::Image {
            slot: self.save,
            plan,
        }
    }

    /// The stub's veneer, called by this signature.
    pub(super) fn veneer(&mut self, signature: SigRef) -> FuncRef {
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

    /// A float word of the image: the register's 64 bits as memory holds them.
    fn image_float(&mut self, m: Move, offset: i32) {
        let Some(slot) = self.save else { return };
        let value = self.float(m);
        self.builder
            .ins()
            .stack_store(types::I64, value, slot, offset);
        // On every machine a lone float32 is at the start of the word, its high half where the high
        // half counts.
        if size(&m) == 4 && self.key.abi().machine().float32 == Float32Image::NanBoxed {
            let ones = self.builder.ins().iconst(types::I32, 0xffff_ffff);
            self.builder
                .ins()
                .stack_store(types::I64, ones, slot, offset + 4);
        }
    }

    /// A call after which no register is trusted, and which goes on in a new block.
    fn call_and_forget_registers(
        &mut self,
        callee: FuncRef,
        signature: SigRef,
        arguments: &[Value],
    ) {
        #[cfg(feature = "faults")]
        if self.machine.fault == Some(crate::faults::Fault::CalleeSaved) {
            // An ordinary C callee keeps what it must, so Cranelift saves nothing for it.
            self.builder.func.dfg.signatures[signature].call_conv = self.machine.native;
            self.builder.ins().call(callee, arguments);
            return;
        }
        let after = self.builder.create_block();
        let normal = BlockCall::new(after, [], &mut self.builder.func.dfg.value_lists);
        let table = self
            .builder
            .func
            .dfg
            .exception_tables
            .push(ExceptionTableData::new(signature, normal, []));
        self.builder.ins().try_call(callee, arguments, table);
        self.builder.switch_to_block(after);
    }
}
