//! Stubs in Cranelift modules that are not this crate's: a JIT's, and an object file that gcc
//! links. A module has it all: callee, stub, and the function that calls the stub.

use std::sync::atomic::AtomicPtr;

use cranelift_codegen::ir::{
    AbiParam, InstBuilder, MemFlagsData, Signature as Clif, StackSlotData, StackSlotKind, types,
};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};
use fing_stubs::clif::{ClifSignature, DefineError, define_stub, stub_signature};
use fing_stubs::fuzzing::Rng;
use fing_stubs::seed::{self, Observation};
use fing_stubs::{
    Abi, Arch, BlockLayout, Compiler, GBlock, KeyOptions, Record, StubError, StubKey,
};
use target_lexicon::Triple;

#[path = "support/library.rs"]
mod library;
#[path = "support/clif.rs"]
mod support;

use support::{block, callee, conventions, isa, jit, random_signature, same};

/// A function in C's convention of three addresses (arguments, results, g) that calls `callee`
/// once, through `stub`, with a record that it makes on its stack.
fn caller(module: &mut dyn Module, name: &str, stub: FuncId, callee: FuncId) -> FuncId {
    let mut clif = Clif::new(module.isa().default_call_conv());
    clif.params = vec![AbiParam::new(types::I64); 3];
    let mut context = module.make_context();
    context.func.signature = clif.clone();
    let stub = module.declare_func_in_func(stub, &mut context.func);
    let callee = module.declare_func_in_func(callee, &mut context.func);
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
    let code = builder.ins().func_addr(types::I64, callee);
    let flags = MemFlagsData::new();
    for (value, at) in [(code, 0), (params[0], 16), (params[1], 24)] {
        builder.ins().store(flags, value, first, at);
    }
    let last = builder.ins().iadd_imm_s(first, size_of::<Record>() as i64);
    let end = builder.ins().stack_addr(types::I64, end, 0);
    builder.ins().store(flags, last, end, 0);
    let progress = builder.ins().stack_addr(types::I64, progress, 0);
    builder.ins().call(stub, &[first, end, progress, params[2]]);
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
    let id = module
        .declare_function(name, Linkage::Export, &clif)
        .unwrap();
    module.define_function(id, &mut context).unwrap();
    id
}

/// One call through a stub of a module.
struct Case {
    clif: Clif,
    arguments: BlockLayout,
    results: BlockLayout,
    values: Vec<u128>,
    dump: Vec<u128>,
    given: Vec<u128>,
    found: Vec<u128>,
    caller: FuncId,
    name: String,
}

type Caller = unsafe extern "C" fn(*const u128, *mut u128, *const GBlock);

impl Case {
    /// Defines callee, stub and caller of random signature; `None` if it is not converted.
    fn define(
        module: &mut dyn Module,
        compiler: &Compiler,
        rng: &mut Rng,
        n: usize,
    ) -> Option<Case> {
        let call_conv = *rng.pick(&conventions());
        let clif = random_signature(rng, call_conv);
        let converted = ClifSignature::new(&clif, module.isa().triple()).convert();
        let (signature, abi) = converted.ok()?;
        let key = StubKey::block(&signature, abi, KeyOptions::default()).unwrap();
        let arguments = BlockLayout::under(abi, signature.arguments());
        let results = BlockLayout::under(abi, signature.results());
        let (values, given) = (block(rng, &arguments), block(rng, &results));
        let inverted = |block: &[u128]| block.iter().map(|word| !word).collect::<Vec<u128>>();
        let (dump, found) = (inverted(&values), inverted(&given));
        let addresses = (
            dump.as_ptr().expose_provenance(),
            given.as_ptr().expose_provenance(),
        );
        let name = format!("caller_{n}");
        let callee = callee(
            module,
            &format!("callee_{n}"),
            &clif,
            (&arguments, &results),
            addresses,
        );
        let stub = define_stub(compiler, module, &format!("stub_{n}"), Linkage::Local, &key);
        let caller = caller(module, &name, stub.unwrap().id, callee);
        Some(Case {
            clif,
            arguments,
            results,
            values,
            dump,
            given,
            found,
            caller,
            name,
        })
    }

    fn run(mut self, code: usize) {
        // SAFETY: the code of `caller`, for callee, stub and blocks of one signature.
        unsafe {
            let caller: Caller = std::mem::transmute::<usize, Caller>(code);
            caller(
                self.values.as_ptr(),
                self.found.as_mut_ptr(),
                &GBlock::zeroed(),
            );
        }
        // The callee has written there behind the compiler's back.
        let dump = std::hint::black_box(&self.dump);
        assert!(
            same(&self.arguments, &self.clif.params, dump, &self.values),
            "{}",
            self.clif
        );
        assert!(
            same(&self.results, &self.clif.returns, &self.found, &self.given),
            "{}",
            self.clif
        );
    }
}

#[test]
fn generated_code_calls_through_stubs_of_its_own_module() {
    let compiler = Compiler::host().unwrap();
    let mut rng = Rng::new(14);
    let mut module = jit();
    let number = fing_oracles::cases(100) as usize;
    let define = |n| Case::define(&mut module, &compiler, &mut rng, n);
    let defined: Vec<Case> = (0..number).filter_map(define).collect();
    module.finalize_definitions().unwrap();
    assert!(defined.len() * 4 > number, "{}", defined.len());
    for case in defined {
        let code = module
            .get_finalized_function(case.caller)
            .expose_provenance();
        case.run(code);
    }
    // SAFETY: nothing of the module is used any more.
    unsafe { module.free_memory() };
}

#[test]
fn an_object_file_has_stubs_too() {
    let compiler = Compiler::host().unwrap();
    let mut rng = Rng::new(15);
    let isa = isa(&[("is_pic", "true")]);
    let builder = ObjectBuilder::new(isa, "stubs", default_libcall_names()).unwrap();
    let mut module = ObjectModule::new(builder);
    let define = |n| Case::define(&mut module, &compiler, &mut rng, n);
    let defined: Vec<Case> = (0..40).filter_map(define).collect();
    assert!(defined.len() > 10, "{}", defined.len());
    let object = module.finish().emit().unwrap();
    // Cranelift puts the address of a function into the code there.
    let options: &[&str] = match cfg!(target_arch = "s390x") {
        true => &[],
        false => &[library::CODE_STAYS],
    };
    let files: &[(&str, &[u8])] = &[("object.o", &object)];
    let Some(function) = library::open("clif_modules", options, files) else {
        return;
    };
    for case in defined {
        let code = function(&case.name);
        case.run(code);
    }
}

#[test]
fn go_functions_are_called_for_every_register_count() {
    type Stub = unsafe extern "C" fn(
        *const Record,
        *const AtomicPtr<Record>,
        *const AtomicPtr<Record>,
        *const GBlock,
    );
    let compiler = Compiler::host().unwrap();
    let mut module = jit();
    let signature = "func(*int) (int, float32, [10]uint8)".parse().unwrap();
    let stubs: Vec<(u8, FuncId)> = (0..=seed::MAX_INT_ARG_REGS)
        .map(|count| {
            let abi = Abi::go(Arch::host().unwrap());
            let abi = abi.with_int_arg_regs(count.into()).unwrap();
            let key = StubKey::new(&signature, abi, KeyOptions::default()).unwrap();
            let name = format!("go_{count}");
            let stub = define_stub(&compiler, &mut module, &name, Linkage::Export, &key);
            (count, stub.unwrap().id)
        })
        .collect();
    module.finalize_definitions().unwrap();
    for (count, stub) in stubs {
        let code = seed::pointer(count).unwrap();
        // An object is a word with the address of a number.
        let numbers = [-1i64, -2, -3];
        let objects = numbers
            .each_ref()
            .map(|number| (&raw const *number).expose_provenance());
        let observation = Observation::new(code);
        let records = objects.each_ref().map(|object| Record {
            code,
            context: observation.context(),
            words: [(&raw const *object).expose_provenance() as u64, 0],
        });
        let end = AtomicPtr::new(records.as_ptr_range().end.cast_mut());
        let progress = AtomicPtr::new(std::ptr::null_mut());
        let address = module.get_finalized_function(stub).expose_provenance();
        // SAFETY: a stub of a key for this function's ABI, and objects of its kind.
        unsafe {
            let stub = std::mem::transmute::<usize, Stub>(address);
            stub(records.as_ptr(), &end, &progress, &GBlock::zeroed());
        }
        assert_eq!(progress.into_inner(), end.into_inner());
        assert_eq!(observation.faults(), [], "{count}");
        assert_eq!(
            (observation.calls(), observation.confirmed()),
            (3, -3),
            "{count}"
        );
    }
    // SAFETY: nothing of the module is used any more.
    unsafe { module.free_memory() };
}

#[test]
fn what_does_not_fit_the_module_is_refused() {
    let compiler = Compiler::host().unwrap();
    let native = Abi::host_native().unwrap();
    let key = |abi| StubKey::new(&"func(*int)".parse().unwrap(), abi, KeyOptions::default());
    let own = key(native).unwrap();
    let object = |isa| {
        let builder = ObjectBuilder::new(isa, "stubs", default_libcall_names()).unwrap();
        ObjectModule::new(builder)
    };

    let mut module = object(isa(&[("enable_pinned_reg", "true")]));
    let error = define_stub(&compiler, &mut module, "a", Linkage::Export, &own).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "stub {own}: the module is compiled with enable_pinned_reg, wanted without: a stub \
             restores that register for its caller"
        ),
    );
    // Nothing was declared.
    assert!(module.declarations().get_name("a").is_none());

    let mut module = object(isa(&[]));
    let other = Abi::go(
        Arch::ALL
            .into_iter()
            .find(|&arch| Some(arch) != Arch::host())
            .unwrap(),
    );
    let other = key(other).unwrap();
    let error = define_stub(&compiler, &mut module, "a", Linkage::Export, &other).unwrap_err();
    assert!(
        matches!(error, DefineError::Stub(StubError::WrongHost { .. })),
        "{error}"
    );
    assert!(module.declarations().get_name("a").is_none());

    define_stub(&compiler, &mut module, "a", Linkage::Export, &own).unwrap();
    let error = define_stub(&compiler, &mut module, "a", Linkage::Export, &own).unwrap_err();
    assert!(matches!(error, DefineError::Module { .. }));
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("stub {own} as \"a\": ")),
        "{text}"
    );
    let signature = stub_signature(module.isa());
    assert_eq!(signature.params.len(), 4);
    assert!(
        module
            .declare_function("a", Linkage::Export, &signature)
            .is_ok()
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
    let error = define_stub(&compiler, &mut object(foreign), "a", Linkage::Export, &own);
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "stub {own}: the module is for {target}, wanted {}, the compiler's target",
            compiler.triple()
        ),
    );
}

/// Where the build has the ISA: on arm64, or with all of them.
#[test]
fn a_module_with_landing_pads_is_refused() {
    let target: Triple = "aarch64-unknown-linux-gnu".parse().unwrap();
    let Ok(mut builder) = cranelift_codegen::isa::lookup(target.clone()) else {
        println!("this build has no arm64");
        return;
    };
    builder.set("use_bti", "true").unwrap();
    let isa = builder
        .finish(settings::Flags::new(settings::builder()))
        .unwrap();
    let builder = ObjectBuilder::new(isa, "stubs", default_libcall_names()).unwrap();
    let compiler = Compiler::for_target(target).unwrap();
    let key = "aapcs/arm64;8@0>i0".parse().unwrap();
    let mut module = ObjectModule::new(builder);
    let error = define_stub(&compiler, &mut module, "a", Linkage::Export, &key).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stub aapcs/arm64;8@0>i0: the module is compiled with use_bti, wanted without: a stub does \
         not begin with a landing pad",
    );
}
