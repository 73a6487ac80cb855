//! A small compiler for tests: functions written with Cranelift's builder, exit stubs, stack maps.

use std::collections::HashMap;

use cranelift_codegen::Context;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    AbiParam, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind, Value,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use fing::vm::{Callers, Frames, RegisteredCode};

/// Where generated code finds the address of its stack's word in its context, its first argument.
pub(crate) const STACK: i32 = 0;

/// A stack map: the offset of a return address, and those of slots.
type Map = (u32, Vec<u32>);

struct Function {
    id: FuncId,
    bytes: usize,
    callers: Callers,
    maps: Vec<Map>,
}

pub(crate) struct Jit {
    module: JITModule,
    context: Context,
    builder: FunctionBuilderContext,
    functions: HashMap<&'static str, Function>,
}

/// The body of a function, while it is written.
pub(crate) struct Code<'a, 'f> {
    pub(crate) b: &'a mut FunctionBuilder<'f>,
    module: &'a mut JITModule,
    functions: &'a HashMap<&'static str, Function>,
    pub(crate) params: Vec<Value>,
}

fn signature(params: usize, conv: CallConv) -> Signature {
    let mut signature = Signature::new(conv);
    signature.params = vec![AbiParam::new(I64); params];
    signature.returns = vec![AbiParam::new(I64)];
    signature
}

impl Code<'_, '_> {
    /// Calls a function by its name. The value is no reference until it is declared to be one.
    pub(crate) fn call(&mut self, name: &str, arguments: &[Value]) -> Value {
        let id = self.functions[name].id;
        let function = self.module.declare_func_in_func(id, self.b.func);
        let call = self.b.ins().call(function, arguments);
        self.b.inst_results(call)[0]
    }

    /// As [`Code::call`]; the result is a reference.
    pub(crate) fn call_ref(&mut self, name: &str, arguments: &[Value]) -> Value {
        let value = self.call(name, arguments);
        self.b.declare_value_needs_stack_map(value);
        value
    }

    pub(crate) fn load(&mut self, address: Value, offset: i32) -> Value {
        self.b
            .ins()
            .load(I64, MemFlagsData::trusted(), address, offset)
    }

    pub(crate) fn store(&mut self, value: Value, address: Value, offset: i32) {
        let flags = MemFlagsData::trusted();
        self.b.ins().store(flags, value, address, offset);
    }
}

impl Jit {
    /// A compiler for code that calls these functions of the host: name, address, parameters. The
    /// first parameter is the context. Generated code calls them by the exit stub of that name.
    pub(crate) fn new(host: &[(&'static str, *const (), usize)]) -> Jit {
        let flags = [("preserve_frame_pointers", "true")];
        let mut builder = JITBuilder::with_flags(&flags, default_libcall_names()).unwrap();
        for (name, address, _) in host {
            builder.symbol(format!("host.{name}"), address.cast());
        }
        let module = JITModule::new(builder);
        let mut jit = Jit {
            context: module.make_context(),
            module,
            builder: FunctionBuilderContext::new(),
            functions: HashMap::new(),
        };
        for (name, _, params) in host {
            jit.define_exit(name, *params);
        }
        jit
    }

    fn define_exit(&mut self, name: &'static str, params: usize) {
        let conv = self.module.isa().default_call_conv();
        let signature = signature(params, conv);
        let symbol = format!("host.{name}");
        let host = self
            .module
            .declare_function(&symbol, Linkage::Import, &signature);
        let host = host.unwrap();
        self.define(name, params, Callers::Registered, |code| {
            let record = code.b.create_sized_stack_slot(StackSlotData::new(
                StackSlotKind::ExplicitSlot,
                16,
                3,
            ));
            let word = code.load(code.params[0], STACK);
            let previous = code.load(word, 0);
            let fp = code.b.ins().get_frame_pointer(I64);
            let at = code.b.ins().stack_addr(I64, record, 0);
            code.store(previous, at, 0);
            code.store(fp, at, 8);
            code.store(at, word, 0);
            let function = code.module.declare_func_in_func(host, code.b.func);
            let call = code.b.ins().call(function, &code.params);
            code.store(previous, word, 0);
            code.b.inst_results(call)[0]
        });
    }

    /// Declares a function that others call before it is defined, or itself.
    pub(crate) fn declare(&mut self, name: &'static str, params: usize, callers: Callers) {
        let conv = self.module.isa().default_call_conv();
        let signature = signature(params, conv);
        let id = self
            .module
            .declare_function(name, Linkage::Local, &signature);
        let function = Function {
            id: id.unwrap(),
            bytes: 0,
            callers,
            maps: Vec::new(),
        };
        self.functions.insert(name, function);
    }

    /// Defines a function of words that returns a word.
    pub(crate) fn define(
        &mut self,
        name: &'static str,
        params: usize,
        callers: Callers,
        body: impl FnOnce(&mut Code<'_, '_>) -> Value,
    ) {
        if !self.functions.contains_key(name) {
            self.declare(name, params, callers);
        }
        let conv = self.module.isa().default_call_conv();
        self.context.func.signature = signature(params, conv);
        let mut b = FunctionBuilder::new(&mut self.context.func, &mut self.builder);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let mut code = Code {
            params: b.block_params(entry).to_vec(),
            b: &mut b,
            module: &mut self.module,
            functions: &self.functions,
        };
        let result = body(&mut code);
        b.ins().return_(&[result]);
        b.seal_all_blocks();
        b.finalize(self.module.target_config());
        let function = self.functions.get_mut(name).unwrap();
        self.module
            .define_function(function.id, &mut self.context)
            .unwrap();
        let buffer = &self.context.compiled_code().unwrap().buffer;
        function.bytes = buffer.total_size() as usize;
        let maps = buffer.user_stack_maps().iter();
        let slots = |(at, _, map): &(u32, u32, _)| (*at, slots(map));
        function.maps = maps.map(slots).collect();
        self.module.clear_context(&mut self.context);
    }

    /// Makes all functions executable.
    pub(crate) fn finish(&mut self) {
        self.module.finalize_definitions().unwrap();
    }

    pub(crate) fn address(&self, name: &str) -> usize {
        let id = self.functions[name].id;
        self.module.get_finalized_function(id).expose_provenance()
    }

    /// How many stack maps the function has.
    pub(crate) fn maps(&self, name: &str) -> usize {
        self.functions[name].maps.len()
    }

    /// Registers all functions but `without`, and those `without_maps` without their stack maps.
    pub(crate) fn register(
        &self,
        frames: &Frames,
        without: &[&str],
        without_maps: &[&str],
    ) -> Vec<RegisteredCode> {
        let all = self.functions.iter();
        let all = all.filter(|(name, _)| !without.contains(name));
        let register = |(name, function): (&&str, &Function)| {
            let start = self.address(name);
            let maps = match without_maps.contains(name) {
                true => Vec::new(),
                false => function.maps.clone(),
            };
            // SAFETY: I31: Cranelift has compiled it with frame pointers, these are its maps, and
            // it calls the host through exit stubs. The tests that leave out something say so.
            unsafe { frames.add(start..start + function.bytes, function.callers, maps) }.unwrap()
        };
        all.map(register).collect()
    }
}

fn slots(map: &cranelift_codegen::ir::UserStackMap) -> Vec<u32> {
    map.entries().map(|(_, offset)| offset).collect()
}
