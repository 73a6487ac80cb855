//! Exit stubs, entries, and making functions executable with their stack maps.

use std::collections::HashMap;

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    AbiParam, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind,
};
use cranelift_frontend::FunctionBuilder;
use cranelift_jit::JITModule;
use cranelift_module::{FuncId as Code, Linkage, Module};
use fing::vm::{Callers, Frames, RegisteredCode};

use super::body::Body;
use super::{Exit, Extra, Lower, Open, Registered};
use crate::run::{Entry, HeapTypes, ctx};
use crate::types::{Kind, Ty};

/// A program as machine code.
pub(crate) struct Compiled<'p> {
    /// Runs `main` and the initializers before it: called with the context and no closure.
    pub(crate) start: usize,
    pub(crate) entry: Entry,
    pub(crate) heap: HeapTypes<'p>,
    /// Addresses of words outside the heap that are roots.
    pub(crate) roots: Vec<usize>,
    /// For each type that interfaces may hold: the code of its methods, by number.
    pub(crate) methods: Vec<(Ty, Vec<usize>)>,
    /// By type of function that interfaces may hold: see [`Extra::Block`].
    pub(crate) blocks: HashMap<Ty, usize>,
    /// Numbers of the methods that the runtime calls: `Error` and `String`.
    pub(crate) error: Option<usize>,
    pub(crate) string: Option<usize>,
    pub(crate) clif: Option<String>,
    pub(crate) registered: Vec<RegisteredCode>,
    pub(crate) module: JITModule,
}

impl<'p> Lower<'p> {
    fn exit_signature(&self, params: usize) -> Signature {
        let mut signature = Signature::new(self.module.isa().default_call_conv());
        signature.params = vec![AbiParam::new(I64); params + 1];
        signature.returns = vec![AbiParam::new(I64)];
        signature
    }

    pub(super) fn declare_exit(&mut self, name: &'static str, params: usize) -> Result<(), String> {
        let signature = self.exit_signature(params);
        let code = self
            .module
            .declare_function(&format!("exit.{name}"), Linkage::Local, &signature)
            .map_err(|error| error.to_string())?;
        let exit = Exit {
            name,
            code,
            params,
            wanted: false,
        };
        self.helpers.insert(name, exit);
        Ok(())
    }

    /// Defines the stub by which generated code calls a function of the host; see
    /// [`fing::stubs::frames`] for what it leaves on the stack.
    fn define_exit(&mut self, exit: Exit) -> Result<(), String> {
        let signature = self.exit_signature(exit.params);
        let host = format!("host.{}", exit.name);
        let host = self
            .module
            .declare_function(&host, Linkage::Import, &signature)
            .map_err(|error| error.to_string())?;
        self.context.func.signature = signature;
        let mut b = FunctionBuilder::new(&mut self.context.func, &mut self.builder);
        let block = b.create_block();
        b.append_block_params_for_function_params(block);
        b.switch_to_block(block);
        let params_of = b.block_params(block).to_vec();
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 3);
        let slot = b.create_sized_stack_slot(slot);
        let flags = MemFlagsData::trusted();
        let word = b.ins().load(I64, flags, params_of[0], ctx::STACK);
        let previous = b.ins().load(I64, flags, word, 0);
        let fp = b.ins().get_frame_pointer(I64);
        let record = b.ins().stack_addr(I64, slot, 0);
        b.ins().store(flags, previous, record, 0);
        b.ins().store(flags, fp, record, 8);
        b.ins().store(flags, record, word, 0);
        let callee = self.module.declare_func_in_func(host, b.func);
        let call = b.ins().call(callee, &params_of);
        let result = b.inst_results(call)[0];
        b.ins().store(flags, previous, word, 0);
        b.ins().return_(&[result]);
        b.seal_all_blocks();
        b.finalize(self.module.target_config());
        self.define(exit.code)
    }

    /// The function by which the host calls closures with up to two words. It leaves the registers
    /// of two results in the context, whatever the closure returns.
    fn define_entry(&mut self) -> Result<Code, String> {
        let mut signature = Signature::new(self.module.isa().default_call_conv());
        signature.params = vec![AbiParam::new(I64); 5];
        let name = self
            .module
            .declare_function("entry", Linkage::Local, &signature);
        let name = name.map_err(|error| error.to_string())?;
        let mut inner = Signature::new(signature.call_conv);
        inner.params = vec![AbiParam::new(I64); 4];
        inner.returns = vec![AbiParam::new(I64); 2];
        self.context.func.signature = signature;
        let mut b = FunctionBuilder::new(&mut self.context.func, &mut self.builder);
        let block = b.create_block();
        b.append_block_params_for_function_params(block);
        b.switch_to_block(block);
        let params = b.block_params(block).to_vec();
        let inner = b.import_signature(inner);
        let call = b.ins().call_indirect(inner, params[0], &params[1..]);
        let results = b.inst_results(call).to_vec();
        for (result, offset) in results.into_iter().zip([0, 8]) {
            b.ins().store(
                MemFlagsData::trusted(),
                result,
                params[1],
                ctx::RESULTS + offset,
            );
        }
        b.ins().return_(&[]);
        b.seal_all_blocks();
        b.finalize(self.module.target_config());
        self.define(name)?;
        Ok(name)
    }

    /// Compiles the function in the context, and keeps its stack maps.
    pub(super) fn define(&mut self, code: Code) -> Result<(), String> {
        if let Some(clif) = &mut self.clif {
            let name = &self.module.declarations().get_function_decl(code).name;
            let name = name.clone().unwrap_or_default();
            clif.push_str(&format!("; {name}\n{}\n", self.context.func.display()));
        }
        let defined = self.module.define_function(code, &mut self.context);
        defined.map_err(|error| format!("{error:?}"))?;
        if let Some(compiled) = self.context.compiled_code() {
            let maps = compiled.buffer.user_stack_maps().iter();
            let maps =
                maps.map(|(at, _, map)| (*at, map.entries().map(|(_, slot)| slot).collect()));
            let maps = maps.collect();
            let bytes = compiled.buffer.total_size();
            self.registered.push(Registered { code, bytes, maps });
        }
        self.module.clear_context(&mut self.context);
        Ok(())
    }

    /// Makes the program's own functions, and of the library what they come to.
    pub(crate) fn compile(mut self, frames: &Frames) -> Result<Compiled<'p>, String> {
        for (index, func) in self.p.funcs.iter().enumerate() {
            if &*func.package == "main" {
                self.func(index);
            }
        }
        let start = Body::start(&mut self)?;
        let string = self.text_method("String");
        let error = self.text_method("Error");
        // Wrappers may need further ones.
        let tables = loop {
            while let Some(open) = self.open.pop() {
                match open {
                    Open::Func(index) => Body::function(&mut self, index)?,
                    Open::Extra(extra) => Body::extra(&mut self, extra)?,
                    Open::Exit(name) => self.define_exit(self.helpers[name])?,
                }
            }
            let known = (self.held.len(), self.methods.len());
            let mut tables = Vec::new();
            for ty in self.held.clone() {
                tables.push((ty, self.method_table(ty)?));
                if self.blocks && matches!(self.p.types.kind(ty), Kind::Func(_)) {
                    self.extra(Extra::Block(ty))?;
                }
            }
            if self.open.is_empty() && known == (self.held.len(), self.methods.len()) {
                break tables;
            }
        };
        let entry = self.define_entry()?;
        self.module
            .finalize_definitions()
            .map_err(|error| error.to_string())?;
        let address = |code| self.module.get_finalized_function(code).expose_provenance();
        let table = |(ty, codes): (Ty, Vec<Option<Code>>)| {
            (
                ty,
                codes
                    .into_iter()
                    .map(|code| code.map_or(0, address))
                    .collect(),
            )
        };
        let methods = tables.into_iter().map(table).collect();
        let blocks = self.extras.iter().filter_map(|(extra, code)| match extra {
            Extra::Block(ty) => Some((*ty, address(*code))),
            _ => None,
        });
        let blocks = blocks.collect();
        let registered = self.register(frames, entry)?;
        Ok(Compiled {
            start: address(start),
            entry: Entry(address(entry)),
            heap: self.heap,
            roots: self.global_roots,
            methods,
            blocks,
            error,
            string,
            clif: self.clif,
            registered,
            module: self.module,
        })
    }

    #[expect(
        unsafe_code,
        reason = "states what code is where, and what its stack maps are"
    )]
    fn register(&self, frames: &Frames, entry: Code) -> Result<Vec<RegisteredCode>, String> {
        let register = |function: &Registered| {
            let start = self
                .module
                .get_finalized_function(function.code)
                .expose_provenance();
            let code = start..start + function.bytes as usize;
            let callers = match function.code == entry {
                true => Callers::Any,
                false => Callers::Registered,
            };
            let maps = function.maps.clone();
            // SAFETY: I31: Cranelift has compiled it with frame pointers, these are its maps, and
            // it calls the host through exit stubs, on stacks of these frames.
            unsafe { frames.add(code, callers, maps) }.map_err(|error| error.to_string())
        };
        self.registered.iter().map(register).collect()
    }
}
