//! Entries in Cranelift modules that are not this crate's. Callers are functions that Cranelift
//! itself compiles for a random signature, and stubs for Go's conventions; `clif_entries_gcc.rs`
//! has gcc's.

use std::sync::atomic::AtomicPtr;

use cranelift_codegen::ir::{
    AbiParam, InstBuilder, MemFlagsData, Signature as Clif, StackSlotData, StackSlotKind, Value,
    types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::settings;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{DataId, FuncId, Linkage, Module, ModuleError, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};
use fing_stubs::clif::{
    ClifSignature, DefineError, Defined, Definition, EntryContext, EntryHandler, define_entry,
    define_stub, handler_signature,
};
use fing_stubs::entry::EntryKey;
use fing_stubs::fuzzing::{self, Rng};
use fing_stubs::{
    Abi, Arch, BlockLayout, Compiler, DEFAULT_FRAME_LIMIT, GBlock, KeyOptions, Record, Signature,
    StubError, StubKey, Type,
};
use target_lexicon::Triple;

#[path = "support/clif.rs"]
#[expect(dead_code, reason = "modules without an import")]
mod support;

use support::{block, callee, conventions, isa, random_signature, same};

/// A context: where the handler leaves the arguments and finds the results.
#[repr(C)]
struct Blocks {
    dump: *mut u8,
    dump_bytes: usize,
    given: *const u8,
    given_bytes: usize,
}

unsafe extern "C" fn take(blocks: &Blocks, arguments: *const u8, results: *mut u8) {
    let alignment = if cfg!(target_arch = "s390x") { 8 } else { 16 };
    let is_aligned = |address: *const u8| address.addr().is_multiple_of(alignment);
    assert!(is_aligned(arguments) && is_aligned(results));
    // SAFETY: what the context and the entry's blocks are made for.
    unsafe {
        let results = std::slice::from_raw_parts_mut(results, blocks.given_bytes);
        assert!(results.iter().all(|&byte| byte == 0), "{results:?}");
        std::ptr::copy_nonoverlapping(arguments, blocks.dump, blocks.dump_bytes);
        std::ptr::copy_nonoverlapping(blocks.given, results.as_mut_ptr(), blocks.given_bytes);
    }
}

/// A module with `take` as an import.
fn jit() -> (JITModule, FuncId) {
    let mut builder = JITBuilder::with_isa(isa(&[]), default_libcall_names());
    builder.symbol("take", take as *const u8);
    let mut module = JITModule::new(builder);
    let signature = handler_signature(module.isa());
    let take = module.declare_function("take", Linkage::Import, &signature);
    (module, take.unwrap())
}

fn object(isa: cranelift_codegen::isa::OwnedTargetIsa) -> ObjectModule {
    let builder = ObjectBuilder::new(isa, "entries", default_libcall_names()).unwrap();
    ObjectModule::new(builder)
}

fn key(signature: &Signature, abi: Abi) -> EntryKey {
    EntryKey::new(signature, abi, DEFAULT_FRAME_LIMIT).unwrap()
}

/// The blocks of one call: what the caller passes and finds, and what the handler does.
struct Values {
    arguments: BlockLayout,
    results: BlockLayout,
    passed: Vec<u128>,
    dump: Vec<u128>,
    given: Vec<u128>,
    found: Vec<u128>,
    /// At an address that stays.
    blocks: Box<Blocks>,
}

impl Values {
    fn new(rng: &mut Rng, signature: &Signature, abi: Abi) -> Values {
        let arguments = BlockLayout::under(abi, signature.arguments());
        let results = BlockLayout::under(abi, signature.results());
        let (passed, given) = (block(rng, &arguments), block(rng, &results));
        let inverted = |block: &[u128]| block.iter().map(|word| !word).collect::<Vec<u128>>();
        let (mut dump, found) = (inverted(&passed), inverted(&given));
        let blocks = Box::new(Blocks {
            dump: dump.as_mut_ptr().cast(),
            dump_bytes: arguments.size() as usize,
            given: given.as_ptr().cast(),
            given_bytes: results.size() as usize,
        });
        Values {
            arguments,
            results,
            passed,
            dump,
            given,
            found,
            blocks,
        }
    }

    fn handler(&self, take: FuncId) -> EntryHandler {
        let address = (&raw const *self.blocks).expose_provenance();
        EntryHandler::new(take).context(EntryContext::Word(address as u64))
    }
}

/// A function in C's convention of two addresses (arguments, results) that calls a function of this
/// signature with the arguments from the one block, and stores what it returns to the other.
fn caller(
    module: &mut dyn Module,
    name: &str,
    clif: &Clif,
    function: FuncId,
    values: &Values,
) -> FuncId {
    let mut signature = Clif::new(module.isa().default_call_conv());
    signature.params = vec![AbiParam::new(types::I64); 2];
    let mut context = module.make_context();
    context.func.signature = signature.clone();
    let function = module.declare_func_in_func(function, &mut context.func);
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let blocks: Vec<Value> = builder.block_params(entry).to_vec();
    let flags = MemFlagsData::new().with_notrap();
    let arguments: Vec<Value> = clif
        .params
        .iter()
        .zip(values.arguments.offsets())
        .map(|(param, &at)| {
            builder
                .ins()
                .load(param.value_type, flags, blocks[0], at as i32)
        })
        .collect();
    let call = builder.ins().call(function, &arguments);
    let returned = builder.inst_results(call).to_vec();
    for (value, &at) in returned.into_iter().zip(values.results.offsets()) {
        builder.ins().store(flags, value, blocks[1], at as i32);
    }
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
    let id = module
        .declare_function(name, Linkage::Export, &signature)
        .unwrap();
    module.define_function(id, &mut context).unwrap();
    id
}

#[test]
fn generated_code_calls_entries_of_its_own_module() {
    type Caller = unsafe extern "C" fn(*const u128, *mut u128);
    let compiler = Compiler::host().unwrap();
    let mut rng = Rng::new(31);
    let (mut module, take) = jit();
    let count = fing_oracles::cases(200);
    // Entries are for all but this.
    let mut conventions = conventions();
    conventions.retain(|&convention| convention != CallConv::Tail);
    let mut cases = Vec::new();
    for n in 0..count {
        let convention = *rng.pick(&conventions);
        let clif = random_signature(&mut rng, convention);
        let converted = ClifSignature::new(&clif, module.isa().triple()).convert();
        let Ok((signature, abi)) = converted else {
            continue;
        };
        let values = Values::new(&mut rng, &signature, abi);
        // Code of the module calls it by the signature that it was declared with.
        let name = format!("entry_{n}");
        let declared = module
            .declare_function(&name, Linkage::Local, &clif)
            .unwrap();
        let caller = caller(
            &mut module,
            &format!("caller_{n}"),
            &clif,
            declared,
            &values,
        );
        let entry = define_entry(
            &compiler,
            &mut module,
            &name,
            Linkage::Local,
            &key(&signature, abi),
            values.handler(take),
        );
        assert_eq!(entry.unwrap().id, declared);
        cases.push((clif, values, caller));
    }
    module.finalize_definitions().unwrap();
    assert!(cases.len() as u64 * 4 > count, "{}", cases.len());
    for (clif, mut values, caller) in cases {
        let code = module.get_finalized_function(caller).expose_provenance();
        // SAFETY: the code of `caller`, for an entry and blocks of one signature.
        unsafe {
            let caller = std::mem::transmute::<usize, Caller>(code);
            caller(values.passed.as_ptr(), values.found.as_mut_ptr());
        }
        // The handler has written there behind the compiler's back.
        let dump = std::hint::black_box(&values.dump);
        assert!(
            same(&values.arguments, &clif.params, dump, &values.passed),
            "{clif}: arguments"
        );
        assert!(
            same(&values.results, &clif.returns, &values.found, &values.given),
            "{clif}: results"
        );
    }
    // SAFETY: nothing of the module is used any more.
    unsafe { module.free_memory() };
}

type Stub = unsafe extern "C" fn(
    *const Record,
    *const AtomicPtr<Record>,
    *const AtomicPtr<Record>,
    *const GBlock,
);

/// The bytes of a block's values that have no padding, which may be anything.
fn value_bytes(types: &[&Type], layout: &BlockLayout, block: &[u128]) -> Vec<u8> {
    let bytes = support::bytes(block);
    let mut values = Vec::new();
    for (ty, &at) in types.iter().zip(layout.offsets()) {
        let size = ty.layout().unwrap().size;
        if !ty.to_string().contains("struct") {
            values.extend_from_slice(&bytes[at as usize..(at + size) as usize]);
        }
    }
    values
}

#[test]
fn go_callers_of_every_register_count() {
    let compiler = Compiler::host().unwrap();
    let mut rng = Rng::new(32);
    let (mut module, take) = jit();
    let go = Abi::go(Arch::host().unwrap());
    let mut cases = Vec::new();
    for count in 0..=go.int_regs() {
        let abi = go.with_int_arg_regs(count).unwrap();
        for n in 0..8 {
            let signature = fuzzing::random_signature(&mut rng);
            let Ok(stub) = StubKey::block(&signature, abi, KeyOptions::default()) else {
                continue;
            };
            let Ok(entry) = EntryKey::new(&signature, abi, DEFAULT_FRAME_LIMIT) else {
                continue;
            };
            let values = Values::new(&mut rng, &signature, abi);
            let (stub_name, name) = (format!("stub_{count}_{n}"), format!("entry_{count}_{n}"));
            let handler = values.handler(take);
            let linkage = Linkage::Local;
            let entry = define_entry(&compiler, &mut module, &name, linkage, &entry, handler);
            let stub = define_stub(&compiler, &mut module, &stub_name, linkage, &stub);
            cases.push((signature, values, stub.unwrap().id, entry.unwrap().id));
        }
    }
    assert!(cases.len() > 4 * go.int_regs(), "{}", cases.len());
    module.finalize_definitions().unwrap();
    for (signature, mut values, stub, entry) in cases {
        let address = |id| module.get_finalized_function(id).expose_provenance();
        let words = [
            values.passed.as_ptr().expose_provenance() as u64,
            values.found.as_mut_ptr().expose_provenance() as u64,
        ];
        let record = Record {
            code: address(entry),
            context: 0,
            words,
        };
        let end = AtomicPtr::new((&raw const record).wrapping_add(1).cast_mut());
        let progress = AtomicPtr::new(std::ptr::null_mut());
        // SAFETY: a stub and an entry of one signature and ABI, and blocks of its.
        unsafe {
            let stub = std::mem::transmute::<usize, Stub>(address(stub));
            stub(&record, &end, &progress, &GBlock::zeroed());
        }
        let found = std::hint::black_box((&values.dump, &values.found));
        let arguments: Vec<_> = signature.arguments().collect();
        let results: Vec<_> = signature.results().iter().collect();
        assert_eq!(
            value_bytes(&arguments, &values.arguments, found.0),
            value_bytes(&arguments, &values.arguments, &values.passed),
            "{signature}: arguments"
        );
        assert_eq!(
            value_bytes(&results, &values.results, found.1),
            value_bytes(&results, &values.results, &values.given),
            "{signature}: results"
        );
    }
    // SAFETY: nothing of the module is used any more.
    unsafe { module.free_memory() };
}

/// A handler that calls the function its context names, by a stub of the module's.
fn forward(module: &mut dyn Module, name: &str, stub: FuncId) -> FuncId {
    let signature = handler_signature(module.isa());
    let mut context = module.make_context();
    context.func.signature = signature.clone();
    let stub = module.declare_func_in_func(stub, &mut context.func);
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let params = builder.block_params(entry).to_vec();
    let slot = |bytes| StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
    let record = builder.create_sized_stack_slot(slot(size_of::<Record>() as u32));
    let [end, progress] = [8, 8].map(|bytes| builder.create_sized_stack_slot(slot(bytes)));
    let first = builder.ins().stack_addr(types::I64, record, 0);
    // Code, context, and the two blocks.
    for (value, at) in params.iter().zip([0, 16, 24]) {
        builder.ins().store(MemFlagsData::new(), *value, first, at);
    }
    let last = builder.ins().iadd_imm_s(first, size_of::<Record>() as i64);
    let end = builder.ins().stack_addr(types::I64, end, 0);
    builder.ins().store(MemFlagsData::new(), last, end, 0);
    let progress = builder.ins().stack_addr(types::I64, progress, 0);
    let g = builder.ins().iconst(types::I64, 0);
    builder.ins().call(stub, &[first, end, progress, g]);
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
    let id = module
        .declare_function(name, Linkage::Local, &signature)
        .unwrap();
    module.define_function(id, &mut context).unwrap();
    id
}

/// C calls a function of the VM's own convention, with nothing but the module in between.
#[test]
fn an_entry_and_a_stub_make_a_bridge() {
    let compiler = Compiler::host().unwrap();
    let (mut module, _) = jit();
    let triple = module.isa().triple().clone();
    let mut clif = Clif::new(CallConv::Tail);
    clif.params = [types::I32, types::F64, types::I64]
        .map(AbiParam::new)
        .to_vec();
    clif.returns = vec![AbiParam::new(types::F64)];
    let (signature, tail) = ClifSignature::new(&clif, &triple).convert().unwrap();
    let arguments = BlockLayout::under(tail, signature.arguments());
    let results = BlockLayout::under(tail, signature.results());
    let (dump, given) = (Box::new([0u128; 2]), Box::new([0x4004_0000_0000_0000u128]));
    let addresses = (
        dump.as_ptr().expose_provenance(),
        given.as_ptr().expose_provenance(),
    );
    let callee = callee(
        &mut module,
        "callee",
        &clif,
        (&arguments, &results),
        addresses,
    );
    let stub = StubKey::block(&signature, tail, KeyOptions::default()).unwrap();
    let stub = define_stub(&compiler, &mut module, "stub", Linkage::Local, &stub).unwrap();
    let handler = EntryHandler::new(forward(&mut module, "forward", stub.id))
        .context(EntryContext::Function(callee));
    let key = key(&signature, Abi::host_native().unwrap());
    let entry = define_entry(
        &compiler,
        &mut module,
        "entry",
        Linkage::Export,
        &key,
        handler,
    );
    module.finalize_definitions().unwrap();
    let code = module
        .get_finalized_function(entry.unwrap().id)
        .expose_provenance();
    // SAFETY: an entry of this signature.
    let entry = unsafe { std::mem::transmute::<usize, extern "C" fn(u32, f64, u64) -> f64>(code) };
    let given = f64::from_ne_bytes(given[0].to_ne_bytes()[..8].try_into().unwrap());
    assert_eq!(entry(7, 0.5, u64::MAX), given);
    let dump = support::bytes(std::hint::black_box(&*dump));
    assert_eq!(dump[..4], 7u32.to_ne_bytes());
    assert_eq!(dump[8..16], 0.5f64.to_ne_bytes());
    assert_eq!(dump[16..24], u64::MAX.to_ne_bytes());
    // SAFETY: nothing of the module is used any more.
    unsafe { module.free_memory() };
}

extern "C-unwind" fn throw(payload: u64, _: *const u8, _: *mut u8) {
    std::panic::resume_unwind(Box::new(payload));
}

unsafe extern "C" {
    fn __register_frame(entry: *const u8);
    fn __deregister_frame(entry: *const u8);
}

/// The table of a function that a JIT has defined, as long as this value lives.
struct Registered {
    section: Vec<u8>,
}

impl Registered {
    fn new(module: &JITModule, defined: &Defined) -> Registered {
        let code = module.get_finalized_function(defined.id).addr();
        let section = defined.unwind.as_ref().unwrap().section_at(code as u64);
        let registered = Registered { section };
        assert!(!registered.entries().is_empty());
        for entry in registered.entries() {
            // SAFETY: a complete table, which stays until it is taken back, of code that stays too.
            unsafe { __register_frame(entry) };
        }
        registered
    }

    /// What this host's unwinder takes: the section, or each of its frame description entries.
    fn entries(&self) -> Vec<*const u8> {
        let section = &self.section;
        if cfg!(target_env = "gnu") {
            return vec![section.as_ptr()];
        }
        let word = |at: usize| u32::from_ne_bytes(section[at..at + 4].try_into().unwrap());
        let mut entries = Vec::new();
        let mut at = 0;
        while word(at) != 0 {
            if word(at + 4) != 0 {
                entries.push(section[at..].as_ptr());
            }
            at += 4 + word(at) as usize;
        }
        entries
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        for entry in self.entries() {
            // SAFETY: registered in `new`.
            unsafe { __deregister_frame(entry) };
        }
    }
}

/// By its table alone the unwinder finds the way from the handler to the caller, and restores the
/// registers that the caller lives in.
#[test]
fn a_panic_leaves_an_entry_by_its_unwind_table() {
    let compiler = Compiler::host().unwrap();
    let mut builder = JITBuilder::with_isa(isa(&[]), default_libcall_names());
    builder.symbol("throw", throw as *const u8);
    let mut module = JITModule::new(builder);
    let handler = handler_signature(module.isa());
    let throw = module
        .declare_function("throw", Linkage::Import, &handler)
        .unwrap();
    // With blocks in the image, with blocks in the body's frame, and with large ones.
    let signatures = [
        "func(int64) float64",
        "func(int64, int8, float32) float64",
        "func(int64, [600]int64) float64",
    ];
    let abi = Abi::host_native().unwrap();
    for (n, text) in (0..).zip(signatures) {
        let mut signature: Signature = text.parse().unwrap();
        if n == 2 {
            // C passes an array in a struct.
            signature = "func(int64, struct{ a [600]int64 }) float64"
                .parse()
                .unwrap();
        }
        let key = key(&signature, abi);
        let handler = EntryHandler::new(throw).context(EntryContext::Word(100 + n));
        let name = format!("entry_{n}");
        let entry = define_entry(
            &compiler,
            &mut module,
            &name,
            Linkage::Export,
            &key,
            handler,
        )
        .unwrap();
        module.finalize_definitions().unwrap();
        let code = module.get_finalized_function(entry.id).expose_provenance();
        let registered = Registered::new(&module, &entry);
        #[repr(C)]
        struct Large([i64; 600]);
        // SAFETY: entries of these signatures.
        let call: Box<dyn Fn() -> f64> = unsafe {
            match n {
                0 => {
                    type F = extern "C-unwind" fn(i64) -> f64;
                    let entry = std::mem::transmute::<usize, F>(code);
                    Box::new(move || entry(1))
                }
                1 => {
                    type F = extern "C-unwind" fn(i64, i8, f32) -> f64;
                    let entry = std::mem::transmute::<usize, F>(code);
                    Box::new(move || entry(1, -2, 3.0))
                }
                _ => {
                    type F = extern "C-unwind" fn(i64, Large) -> f64;
                    let entry = std::mem::transmute::<usize, F>(code);
                    Box::new(move || entry(1, Large([5; 600])))
                }
            }
        };
        let before: Vec<u64> = std::hint::black_box((n..n + 12).collect());
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_err();
        assert_eq!(payload.downcast_ref::<u64>(), Some(&(100 + n)), "{text}");
        assert_eq!(before, (n..n + 12).collect::<Vec<u64>>());
        drop(registered);
    }
    // SAFETY: nothing of the module is used any more.
    unsafe { module.free_memory() };
}

/// From the handler through an entry for Go's callers, and the veneer, the stub and the entrance
/// that made the call.
#[test]
fn a_panic_leaves_a_stub_by_its_unwind_table() {
    type Stub = unsafe extern "C-unwind" fn(
        *const Record,
        *const AtomicPtr<Record>,
        *const AtomicPtr<Record>,
        *const GBlock,
    );
    let compiler = Compiler::host().unwrap();
    let mut builder = JITBuilder::with_isa(isa(&[]), default_libcall_names());
    builder.symbol("throw", throw as *const u8);
    let mut module = JITModule::new(builder);
    let throw = declare(&mut module, "throw");
    let go = Abi::go(Arch::host().unwrap());
    let mut abis = vec![Abi::host_native().unwrap()];
    abis.extend((0..=go.int_regs()).map(|count| go.with_int_arg_regs(count).unwrap()));
    // One whose veneer jumps, and one whose veneer calls.
    let signatures = ["func(*int)", "func(int, float64, [3]string) (int, float64)"];
    let mut cases = Vec::new();
    for (abi, text) in abis
        .iter()
        .flat_map(|abi| signatures.map(|text| (abi, text)))
    {
        if text.contains('[') && abi.convention().is_some() {
            continue;
        }
        let signature: Signature = text.parse().unwrap();
        let n = cases.len() as u64;
        let stub = StubKey::block(&signature, *abi, KeyOptions::default()).unwrap();
        let handler = EntryHandler::new(throw).context(EntryContext::Word(n));
        let (key, linkage) = (key(&signature, *abi), Linkage::Local);
        let name = format!("entry_{n}");
        let entry = define_entry(&compiler, &mut module, &name, linkage, &key, handler);
        let stub = define_stub(&compiler, &mut module, &format!("stub_{n}"), linkage, &stub);
        cases.push((format!("{text} by {abi}"), stub.unwrap(), entry.unwrap()));
    }
    module.finalize_definitions().unwrap();
    for (n, (what, stub, entry)) in (0u64..).zip(cases) {
        let registered = [&stub, &entry].map(|defined| Registered::new(&module, defined));
        let address = |id| module.get_finalized_function(id).expose_provenance();
        let blocks = [[0u128; 8]; 2];
        let record = Record {
            code: address(entry.id),
            context: 0,
            words: blocks
                .each_ref()
                .map(|block| block.as_ptr().expose_provenance() as u64),
        };
        let end = AtomicPtr::new((&raw const record).wrapping_add(1).cast_mut());
        let progress = AtomicPtr::new(std::ptr::null_mut());
        let call = || {
            // SAFETY: a stub and an entry of one signature and ABI, and blocks that are large
            // enough for its values.
            unsafe {
                let stub = std::mem::transmute::<usize, Stub>(address(stub.id));
                stub(&record, &end, &progress, &GBlock::zeroed());
            }
        };
        let before: Vec<u64> = std::hint::black_box((n..n + 12).collect());
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_err();
        assert_eq!(payload.downcast_ref::<u64>(), Some(&n), "{what}");
        assert_eq!(before, (n..n + 12).collect::<Vec<u64>>(), "{what}");
        drop(registered);
    }
    // SAFETY: nothing of the module is used any more.
    unsafe { module.free_memory() };
}

fn declare(module: &mut dyn Module, name: &str) -> FuncId {
    let signature = handler_signature(module.isa());
    let declared = module.declare_function(name, Linkage::Import, &signature);
    declared.unwrap()
}

#[test]
fn what_does_not_fit_the_module_is_refused() {
    let compiler = Compiler::host().unwrap();
    let native = Abi::host_native().unwrap();
    let own = key(&"func(int64) int64".parse().unwrap(), native);
    let define = |module: &mut ObjectModule, key: &EntryKey, handler| {
        define_entry(&compiler, module, "a", Linkage::Export, key, handler)
    };

    let mut module = object(isa(&[("enable_pinned_reg", "true")]));
    let handler = EntryHandler::new(declare(&mut module, "handler"));
    let error = define(&mut module, &own, handler).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{own}: the module is compiled with enable_pinned_reg, wanted without: code of the \
             module changes that register, which an entry's caller wants back"
        ),
    );

    let mut module = object(isa(&[]));
    let good = declare(&mut module, "handler");
    let handler = EntryHandler::new(good);
    let other = Arch::ALL
        .into_iter()
        .find(|&arch| Some(arch) != Arch::host())
        .unwrap();
    let other = key(&"func(*int)".parse().unwrap(), Abi::go(other));
    let error = define(&mut module, &other, handler).unwrap_err();
    assert!(
        matches!(error, DefineError::Stub(StubError::WrongHost { .. })),
        "{error}"
    );

    // Handlers and contexts that are none.
    let mut two = handler_signature(module.isa());
    two.params.pop();
    let wrong = module
        .declare_function("two", Linkage::Import, &two)
        .unwrap();
    let error = define(&mut module, &own, EntryHandler::new(wrong)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{own}: handler \"two\" has the signature {two}, wanted {}",
            handler_signature(module.isa())
        ),
    );
    let unknown = |found: EntryHandler, module: &mut ObjectModule, role: &str, id: &str| {
        let error = define(module, &own, found).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{own}: {role} is {id}, wanted one that the module has declared"),
        );
    };
    let far = FuncId::from_u32(77);
    unknown(EntryHandler::new(far), &mut module, "handler", "funcid77");
    let context = handler.context(EntryContext::Function(far));
    unknown(context, &mut module, "context", "funcid77");
    let context = handler.context(EntryContext::Data(DataId::from_u32(5), 0));
    unknown(context, &mut module, "context", "dataid5");
    let local = module
        .declare_data("of_threads", Linkage::Import, true, true)
        .unwrap();
    let context = handler.context(EntryContext::Data(local, 0));
    let error = define(&mut module, &own, context).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{own}: context is thread-local data \"of_threads\", wanted data with one address"),
    );

    // Nothing was declared until now, and what is refused by the module is as the module says.
    assert!(module.declarations().get_name("a").is_none());
    define(&mut module, &own, handler).unwrap();
    let error = define(&mut module, &own, handler).unwrap_err();
    let DefineError::Module { what, error, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*what, Definition::Entry(own.to_string()));
    assert!(matches!(**error, ModuleError::DuplicateDefinition(_)));
    let mut module = object(isa(&[]));
    let handler = EntryHandler::new(declare(&mut module, "handler"));
    module
        .declare_data("a", Linkage::Export, true, false)
        .unwrap();
    let error = define(&mut module, &own, handler).unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("{own} as \"a\": ")),
        "{error}"
    );

    // Of the host's machine on another system.
    let target: Triple = match Arch::host().unwrap() {
        Arch::Amd64 => "x86_64-unknown-freebsd".parse().unwrap(),
        Arch::Arm64 => "aarch64-unknown-freebsd".parse().unwrap(),
        _ => return,
    };
    let foreign = cranelift_codegen::isa::lookup(target.clone()).unwrap();
    let foreign = foreign
        .finish(settings::Flags::new(settings::builder()))
        .unwrap();
    let mut module = object(foreign);
    let handler = EntryHandler::new(declare(&mut module, "handler"));
    assert_eq!(
        define(&mut module, &own, handler).unwrap_err().to_string(),
        format!(
            "{own}: the module is for {target}, wanted {}, the compiler's target",
            compiler.triple()
        ),
    );
}

/// With every machine's entries in object files: position-independent ones need no change of their
/// code when they are loaded.
#[cfg(feature = "all-arch")]
#[test]
fn entries_of_other_machines() {
    use cranelift_codegen::settings::Configurable;
    use object::{Object, ObjectSection, RelocationKind};

    let targets = [
        (
            "x86_64-unknown-linux-gnu",
            "sysv/amd64",
            &["fastcall/amd64"][..],
        ),
        ("aarch64-unknown-linux-gnu", "aapcs/arm64", &["apple/arm64"]),
        ("riscv64gc-unknown-linux-gnu", "lp64d/riscv64", &[]),
        ("s390x-unknown-linux-gnu", "elf/s390x", &[]),
    ];
    let signature: Signature = "func(int8, float32, *int, int64) int32".parse().unwrap();
    for (target, native, others) in targets {
        let target: Triple = target.parse().unwrap();
        let compiler = Compiler::for_target(target.clone()).unwrap();
        let native: Abi = native.parse().unwrap();
        let others = others.iter().map(|abi| abi.parse().unwrap());
        let abis: Vec<Abi> = [native, Abi::go(native.arch())]
            .into_iter()
            .chain(others)
            .collect();
        for is_pic in ["true", "false"] {
            let mut flags = settings::builder();
            flags.set("is_pic", is_pic).unwrap();
            let mut builder = cranelift_codegen::isa::lookup(target.clone()).unwrap();
            if native.arch() == Arch::Arm64 {
                // An entry begins with a landing pad.
                builder.set("use_bti", "true").unwrap();
            }
            let mut module = object(builder.finish(settings::Flags::new(flags)).unwrap());
            let handler = EntryHandler::new(declare(&mut module, "handler"));
            let data = module
                .declare_data("data", Linkage::Hidden, true, false)
                .unwrap();
            let handler = handler.context(EntryContext::Data(data, 8));
            let mut contents = cranelift_module::DataDescription::new();
            contents.define_zeroinit(16);
            module.define_data(data, &contents).unwrap();
            for (n, &abi) in abis.iter().enumerate() {
                let (name, key) = (format!("entry_{n}"), key(&signature, abi));
                let linkage = Linkage::Export;
                let entry = define_entry(&compiler, &mut module, &name, linkage, &key, handler);
                let table = entry.unwrap().unwind.unwrap();
                // The veneer and the body.
                let addends = table.relocatable().addresses.iter().map(|at| at.addend);
                let addends: Vec<i64> = addends.collect();
                assert!(
                    matches!(addends[..], [0, body] if body > 0),
                    "{abi}: {addends:?}"
                );
                // The same addresses in an order of bytes that is the machine's.
                let section = table.section_at(0x0102_0304_0506_0700);
                let mut address = 0x0102_0304_0506_0700u64.to_le_bytes();
                if native.arch() == Arch::S390x {
                    address.reverse();
                }
                assert!(section.windows(8).any(|bytes| bytes == address), "{abi}");
            }
            let bytes = module.finish().emit().unwrap();
            let file = object::File::parse(&*bytes).unwrap();
            let text = file.section_by_name(".text").unwrap();
            let relocations: Vec<_> = text.relocations().collect();
            assert!(
                relocations.len() >= 2 * abis.len(),
                "{target}: {relocations:?}"
            );
            let is_absolute = |kind| kind == RelocationKind::Absolute;
            let absolute = relocations
                .iter()
                .filter(|(_, found)| is_absolute(found.kind()));
            // Else each handler's address is in the code.
            let wanted = if is_pic == "true" { 0 } else { abis.len() };
            assert_eq!(
                absolute.count(),
                wanted,
                "{target}, is_pic={is_pic}: {relocations:?}"
            );
        }
    }
}

/// Windows' unwinders take another form, which Cranelift has of the body only.
#[cfg(feature = "all-arch")]
#[test]
fn entries_for_windows_have_no_table() {
    let target: Triple = "x86_64-pc-windows-msvc".parse().unwrap();
    let compiler = Compiler::for_target(target.clone()).unwrap();
    let windows = cranelift_codegen::isa::lookup(target).unwrap();
    let windows = windows.finish(settings::Flags::new(settings::builder()));
    let mut module = object(windows.unwrap());
    let handler = EntryHandler::new(declare(&mut module, "handler"));
    let fastcall = Abi::native(fing_stubs::Convention::Fastcall);
    let key = key(&"func(int64) int64".parse().unwrap(), fastcall);
    let linkage = Linkage::Export;
    let entry = define_entry(&compiler, &mut module, "entry", linkage, &key, handler).unwrap();
    assert_eq!(entry.unwind, None);
}
