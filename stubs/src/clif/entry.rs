//! Entries in a `cranelift_module::Module` of the embedder's: a JIT's or an object file's.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::{self, AbiParam, InstBuilder, Value, types};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{
    DataId, FuncId, FuncOrDataId, Linkage, Module, ModuleDeclarations, ModuleReloc,
};

use super::module::{DefineError, Defined, Definition, check_target, refuse_setting};
use super::unwind::UnwindTable;
use crate::Arch;
use crate::compile::Compiler;
use crate::inward::{EntryKey, compile_followed};

/// Entries begin at multiples of this; enough for every machine.
const ALIGNMENT: u64 = 16;

/// What an entry of a module calls: a function of the module, and a word that it is told.
///
/// The function has the [`handler_signature`]. It may be defined in the module before or after the
/// entry, or imported: a function that has no symbol but an address is imported under a name that
/// the module resolves to it (`JITBuilder::symbol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHandler {
    function: FuncId,
    context: EntryContext,
}

/// The first argument of an [`EntryHandler`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryContext {
    /// A number, or an address that is known now.
    Word(u64),
    /// The address of a data object of the module, and so many bytes behind it.
    Data(DataId, i64),
    /// The address of a function of the module, such as one that the handler forwards to.
    Function(FuncId),
}

impl EntryHandler {
    /// A function of the module, which is told 0.
    pub fn new(function: FuncId) -> EntryHandler {
        EntryHandler {
            function,
            context: EntryContext::Word(0),
        }
    }

    /// The same function, which is told this.
    #[must_use]
    pub fn context(self, context: EntryContext) -> EntryHandler {
        EntryHandler { context, ..self }
    }
}

/// The signature of the handlers of entries in a module for this ISA, which is of the target's C
/// convention: three words,
///
/// 1. the handler's [context](EntryContext);
/// 2. the address of the block of arguments, which the handler may read;
/// 3. the address of the block of results, which is zeroed and which the handler may write.
///
/// There is no result. The blocks are laid out as [`BlockLayout::under`](crate::BlockLayout::under)
/// says for the caller's ABI, begin at multiples of 16 (on s390x, which aligns nothing to more, of
/// 8), and are gone when the handler returns.
pub fn handler_signature(isa: &dyn TargetIsa) -> ir::Signature {
    let mut signature = ir::Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(types::I64); 3];
    signature
}

/// Declares a function in a module and defines it as an entry: foreign code calls it by the
/// signature and ABI of `key`, and it calls `handler` with the arguments in memory, and returns the
/// results that the handler leaves in memory.
///
/// It may be called by any thread, and by several at once. It needs nothing of this crate when it
/// runs, no slot and no lock, so it may be in an object file. It calls its handler, and names its
/// context, as the module's own code would: by relocations that suit the module's setting `is_pic`.
/// On s390x Cranelift writes the address of an imported context into the code all the same, so
/// there a shared library wants a context of its own.
///
/// A function of the name that is declared already keeps its signature, which is what code of the
/// module calls it by; it is not compared with the key. Else the function is declared without
/// parameters and results, since Cranelift has no signature for Go's conventions, and code of the
/// module that calls it takes its address (`func_addr`) and calls that by a signature of its own.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// use cranelift_jit::{JITBuilder, JITModule};
/// use cranelift_module::{Linkage, Module, default_libcall_names};
/// use fing_stubs::clif::{EntryContext, EntryHandler, define_entry, handler_signature};
/// use fing_stubs::entry::EntryKey;
/// use fing_stubs::{Abi, Compiler, DEFAULT_FRAME_LIMIT};
///
/// /// Of any function of two numbers: the context says what to multiply their sum by.
/// extern "C" fn sum(factor: u64, arguments: &[i64; 2], result: &mut i64) {
///     *result = factor as i64 * (arguments[0] + arguments[1]);
/// }
///
/// let mut builder = JITBuilder::new(default_libcall_names())?;
/// builder.symbol("sum", sum as *const u8);
/// let mut module = JITModule::new(builder);
/// let signature = handler_signature(module.isa());
/// let handler = module.declare_function("sum", Linkage::Import, &signature)?;
/// let handler = EntryHandler::new(handler).context(EntryContext::Word(10));
///
/// let signature = "func(int64, int64) int64".parse()?;
/// let key = EntryKey::new(&signature, Abi::host_native()?, DEFAULT_FRAME_LIMIT)?;
/// let compiler = Compiler::for_target(module.isa().triple().clone())?;
/// let entry =
///     define_entry(&compiler, &mut module, "ten_times", Linkage::Export, &key, handler)?;
/// module.finalize_definitions()?;
///
/// let code = module.get_finalized_function(entry.id);
/// // SAFETY: an entry of this signature, and a handler that takes its blocks.
/// let ten_times: extern "C" fn(i64, i64) -> i64 = unsafe { std::mem::transmute(code) };
/// assert_eq!(ten_times(2, 3), 50);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What an entry of a module is not
///
/// * It is no [`Callback`](crate::entry::Callback): there is one for each handler and context, it
///   lives as long as the module's code, and nobody reports late calls or calls of another thread.
///   A closure with state of its own is a context that points to it.
/// * No unwinder knows its frame until the embedder puts [`Defined::unwind`] where its unwinder
///   looks. Only then may a panic leave a handler, and only if the caller can be unwound too.
/// * It is no code with stack maps: to the walk of [`frames`](crate::frames) it is the host's.
///
/// # Errors
/// A module for another target than the compiler's, or with the setting `enable_pinned_reg`; a
/// handler of another signature; a function or data object that the module does not have, or data
/// that each thread has its own of; the entry's own errors, as
/// [`compile_entry`](crate::entry::compile_entry)'s: nothing has been declared then. The module's:
/// a name that is defined already or is that of data, memory that can't be had.
pub fn define_entry(
    compiler: &Compiler,
    module: &mut dyn Module,
    name: &str,
    linkage: Linkage,
    key: &EntryKey,
    handler: EntryHandler,
) -> Result<Defined, DefineError> {
    let what = Definition::Entry(key.to_string());
    check_target(compiler, module.isa(), &what)?;
    refuse_setting(
        module.isa().flags().enable_pinned_reg(),
        "enable_pinned_reg",
        "code of the module changes that register, which an entry's caller wants back",
        &what,
    )?;
    let wanted = handler_signature(module.isa());
    check_handler(module.declarations(), handler, &wanted, &what)?;
    let isa = compiler.isa_for_module(module.isa().flags().is_pic())?;
    let compiled = compile_followed(compiler, &isa, key, |builder, blocks| {
        let context = context(module, builder, handler.context);
        let callee = module.declare_func_in_func(handler.function, builder.func);
        if isa.flags().is_pic() && compiler.arch() == Some(Arch::S390x) {
            // There Cranelift has no global offset table, and would write an imported function's
            // address into the code. For a relative call the linker makes a way.
            builder.func.dfg.ext_funcs[callee].colocated = true;
        }
        let all = [context, blocks.arguments, blocks.results];
        builder.ins().call(callee, &all);
    })?;
    let unwind = UnwindTable::of(compiler, &what, &compiled.states)?;
    let signature = match module.get_name(name) {
        Some(FuncOrDataId::Func(id)) => {
            let declared = module.declarations().get_function_decl(id);
            declared.signature.clone()
        }
        _ => ir::Signature::new(module.isa().default_call_conv()),
    };
    let refused = |error| what.refused(name, error);
    let id = module
        .declare_function(name, linkage, &signature)
        .map_err(refused)?;
    let relocations: Vec<ModuleReloc> = compiled
        .relocations
        .iter()
        .map(|relocation| ModuleReloc::from_mach_reloc(relocation, &compiled.function, id))
        .collect();
    module
        .define_function_bytes(id, ALIGNMENT, &compiled.code, &relocations)
        .map_err(refused)?;
    Ok(Defined { id, unwind })
}

/// Whether the module has what an entry refers to, as it has to be.
fn check_handler(
    declarations: &ModuleDeclarations,
    handler: EntryHandler,
    wanted: &ir::Signature,
    what: &Definition,
) -> Result<(), DefineError> {
    let function = |id: FuncId, role| {
        // The declarations are a table by number, which panics on one that it has not.
        let (count, _) = declarations.get_functions().size_hint();
        match (id.as_u32() as usize) < count {
            true => Ok(declarations.get_function_decl(id)),
            false => Err(DefineError::Unknown {
                what: what.clone(),
                role,
                found: id.to_string(),
            }),
        }
    };
    let declared = function(handler.function, "handler")?;
    if declared.signature != *wanted {
        return Err(DefineError::Handler {
            what: what.clone(),
            handler: declared.linkage_name(handler.function).into_owned(),
            found: declared.signature.to_string(),
            wanted: wanted.to_string(),
        });
    }
    match handler.context {
        EntryContext::Word(_) => {}
        EntryContext::Function(id) => {
            function(id, "context")?;
        }
        EntryContext::Data(id, _) => {
            let mut all = declarations.get_data_objects();
            let Some((_, declared)) = all.find(|(known, _)| *known == id) else {
                return Err(DefineError::Unknown {
                    what: what.clone(),
                    role: "context",
                    found: id.to_string(),
                });
            };
            if declared.tls {
                return Err(DefineError::ThreadLocal {
                    what: what.clone(),
                    data: declared.linkage_name(id).into_owned(),
                });
            }
        }
    }
    Ok(())
}

fn context(
    module: &mut dyn Module,
    builder: &mut FunctionBuilder<'_>,
    context: EntryContext,
) -> Value {
    match context {
        EntryContext::Word(word) => builder.ins().iconst(types::I64, word as i64),
        EntryContext::Data(id, offset) => {
            let data = module.declare_data_in_func(id, builder.func);
            let address = builder.ins().symbol_value(types::I64, data);
            builder.ins().iadd_imm_s(address, offset)
        }
        EntryContext::Function(id) => {
            let function = module.declare_func_in_func(id, builder.func);
            builder.ins().func_addr(types::I64, function)
        }
    }
}
