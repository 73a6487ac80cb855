//! The compiler: Cranelift functions of words, with exit stubs and stack maps.

use std::collections::HashMap;
use std::error::Error;
use std::mem::offset_of;

use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::IntCC::UnsignedGreaterThan;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    AbiParam, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind, Type, Value,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use fing::vm::{Callers, Frames, RegisteredCode};

use crate::Thread;

/// A function of the host: its name, its address, the number of its words.
pub type Host = (&'static str, *const u8, usize);

/// A stack map: where a return address is in the code, and the slots of the frame.
type Map = (u32, Vec<u32>);

/// A function that was compiled, and who calls it.
struct Compiled {
    id: FuncId,
    bytes: usize,
    callers: Callers,
    maps: Vec<Map>,
}

/// Addresses by name; what keeps the code registered; the code.
type Finished = (HashMap<&'static str, usize>, Vec<RegisteredCode>, JITModule);

pub struct Compiler {
    module: JITModule,
    context: Context,
    builders: FunctionBuilderContext,
    functions: HashMap<&'static str, Compiled>,
}

/// A function while it is written. Its first parameter is the thread.
pub struct Code<'c, 'f> {
    pub b: FunctionBuilder<'f>,
    pub params: Vec<Value>,
    module: &'c mut JITModule,
    functions: &'c HashMap<&'static str, Compiled>,
}

impl Code<'_, '_> {
    pub fn load(&mut self, ty: Type, address: Value, offset: usize) -> Value {
        let flags = MemFlagsData::trusted();
        self.b.ins().load(ty, flags, address, offset as i32)
    }

    pub fn store(&mut self, value: Value, address: Value, offset: usize) {
        let flags = MemFlagsData::trusted();
        self.b.ins().store(flags, value, address, offset as i32);
    }

    fn call_id(&mut self, id: FuncId, words: &[Value]) -> Value {
        let function = self.module.declare_func_in_func(id, self.b.func);
        let call = self.b.ins().call(function, words);
        self.b.inst_results(call)[0]
    }

    /// Calls a function by its name; one of the host by its exit stub.
    pub fn call(&mut self, name: &str, words: &[Value]) -> Value {
        self.call_id(self.functions[name].id, words)
    }

    /// Calls the host if the safepoint flag is set.
    pub fn safepoint(&mut self) {
        let thread = self.params[0];
        let (set, clear) = (self.b.create_block(), self.b.create_block());
        let flag = self.load(I64, thread, offset_of!(Thread, flag));
        let flag = self.load(I32, flag, 0);
        self.b.ins().brif(flag, set, &[], clear, &[]);
        self.b.switch_to_block(set);
        self.call("safepoint", &[thread]);
        self.b.ins().jump(clear, &[]);
        self.b.switch_to_block(clear);
    }

    /// Takes an object from the thread's window.
    pub fn alloc(&mut self, stride: usize) -> Value {
        let thread = self.params[0];
        let blocks = [(); 3].map(|()| self.b.create_block());
        let [slow, fast, made] = blocks;
        let result = self.b.append_block_param(made, I64);
        let window = self.load(I64, thread, offset_of!(Thread, window_words));
        let object = self.load(I64, window, 0);
        let next = self.b.ins().iadd_imm_s(object, stride as i64);
        let end = self.load(I64, window, 8);
        let over = self.b.ins().icmp(UnsignedGreaterThan, next, end);
        self.b.ins().brif(over, slow, &[], fast, &[]);
        self.b.switch_to_block(slow);
        let refilled = self.call("refill", &[thread]);
        self.b.ins().jump(made, &[refilled.into()]);
        self.b.switch_to_block(fast);
        self.store(next, window, 0);
        self.b.ins().jump(made, &[object.into()]);
        self.b.switch_to_block(made);
        self.b.declare_value_needs_stack_map(result);
        result
    }
}

impl Compiler {
    pub fn new(host: &[Host]) -> Result<Compiler, Box<dyn Error>> {
        let flags = [("preserve_frame_pointers", "true")];
        let mut builder = JITBuilder::with_flags(&flags, default_libcall_names())?;
        for (name, address, _) in host {
            builder.symbol(format!("host.{name}"), *address);
        }
        let module = JITModule::new(builder);
        let mut compiler = Compiler {
            context: module.make_context(),
            module,
            builders: FunctionBuilderContext::new(),
            functions: HashMap::new(),
        };
        for &(name, _, words) in host {
            let signature = compiler.signature(words);
            let symbol = format!("host.{name}");
            let module = &mut compiler.module;
            let host = module.declare_function(&symbol, Linkage::Import, &signature)?;
            // The exit stub: links { previous record, frame pointer }, calls, unlinks it.
            compiler.define(name, words, Callers::Registered, |code| {
                let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 3);
                let slot = code.b.create_sized_stack_slot(slot);
                let thread = code.params[0];
                let word = code.load(I64, thread, offset_of!(Thread, stack_word));
                let previous = code.load(I64, word, 0);
                let record = code.b.ins().stack_addr(I64, slot, 0);
                let frame = code.b.ins().get_frame_pointer(I64);
                code.store(previous, record, 0);
                code.store(frame, record, 8);
                code.store(record, word, 0);
                let words = code.params.clone();
                let result = code.call_id(host, &words);
                code.store(previous, word, 0);
                result
            })?;
        }
        Ok(compiler)
    }

    fn signature(&self, words: usize) -> Signature {
        let mut signature = self.module.make_signature();
        signature.params = vec![AbiParam::new(I64); words];
        signature.returns.push(AbiParam::new(I64));
        signature
    }

    /// Defines a function of words. `body` returns its result.
    pub fn define(
        &mut self,
        name: &'static str,
        words: usize,
        callers: Callers,
        body: impl FnOnce(&mut Code<'_, '_>) -> Value,
    ) -> Result<(), Box<dyn Error>> {
        let signature = self.signature(words);
        let id = self
            .module
            .declare_function(name, Linkage::Local, &signature)?;
        self.context.func.signature = signature;
        let mut b = FunctionBuilder::new(&mut self.context.func, &mut self.builders);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let mut code = Code {
            params: b.block_params(entry).to_vec(),
            b,
            module: &mut self.module,
            functions: &self.functions,
        };
        let result = body(&mut code);
        code.b.ins().return_(&[result]);
        code.b.seal_all_blocks();
        code.b.finalize(self.module.target_config());
        self.module.define_function(id, &mut self.context)?;
        let buffer = &self.context.compiled_code().expect("compiled").buffer;
        let maps = buffer.user_stack_maps().iter();
        let maps = maps.map(|(at, _, map)| (*at, map.entries().map(|(_, slot)| slot).collect()));
        let compiled = Compiled {
            id,
            bytes: buffer.total_size() as usize,
            callers,
            maps: maps.collect(),
        };
        self.functions.insert(name, compiled);
        self.module.clear_context(&mut self.context);
        Ok(())
    }

    /// Ends compiling: registers all code. Returns the addresses by name, and what keeps the code
    /// registered, which is dropped before the module.
    pub fn finish(mut self, frames: &Frames) -> Result<Finished, Box<dyn Error>> {
        self.module.finalize_definitions()?;
        let (mut addresses, mut registered) = (HashMap::new(), Vec::new());
        for (
            name,
            Compiled {
                id,
                bytes,
                callers,
                maps,
            },
        ) in self.functions
        {
            let start = self.module.get_finalized_function(id).expose_provenance();
            // SAFETY: Cranelift's code with frame pointers, with its own maps; it calls the host by
            // exit stubs, and `main` calls it while its mutator runs.
            registered.push(unsafe { frames.add(start..start + bytes, callers, maps) }?);
            addresses.insert(name, start);
        }
        Ok((addresses, registered, self.module))
    }
}
