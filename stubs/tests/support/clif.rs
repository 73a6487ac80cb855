//! Functions that Cranelift compiles for a test, of random signatures of its own.

use cranelift_codegen::ir::{
    AbiParam, ArgumentPurpose, InstBuilder, MemFlagsData, Signature as Clif, Type as ClifType,
    Value, types,
};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use fing_stubs::BlockLayout;
use fing_stubs::clif::convention;
use fing_stubs::fuzzing::Rng;
use target_lexicon::Triple;

/// An ISA for this host.
pub(crate) fn isa(settings: &[(&str, &str)]) -> OwnedTargetIsa {
    let mut flags = settings::builder();
    // Without it there is no i128 in signatures of x86-64.
    flags.set("enable_llvm_abi_extensions", "true").unwrap();
    for (name, value) in settings {
        flags.set(name, value).unwrap();
    }
    let isa = cranelift_codegen::isa::lookup(Triple::host()).unwrap();
    isa.finish(settings::Flags::new(flags)).unwrap()
}

pub(crate) fn jit() -> JITModule {
    JITModule::new(JITBuilder::with_isa(isa(&[]), default_libcall_names()))
}

/// A function of this signature that writes its arguments to a block at `dump`, and takes its
/// results from one at `given`.
pub(crate) fn callee(
    module: &mut dyn Module,
    name: &str,
    clif: &Clif,
    blocks: (&BlockLayout, &BlockLayout),
    (dump, given): (usize, usize),
) -> FuncId {
    let mut context = module.make_context();
    context.func.signature = clif.clone();
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    let params: Vec<Value> = builder.block_params(block).to_vec();
    let flags = MemFlagsData::new().with_notrap();
    let to = builder.ins().iconst(types::I64, dump as i64);
    let from = builder.ins().iconst(types::I64, given as i64);
    for (&value, &at) in params.iter().zip(blocks.0.offsets()) {
        builder.ins().store(flags, value, to, at as i32);
    }
    let returned: Vec<Value> = clif
        .returns
        .iter()
        .zip(blocks.1.offsets())
        .map(|(result, &at)| {
            builder
                .ins()
                .load(result.value_type, flags, from, at as i32)
        })
        .collect();
    builder.ins().return_(&returned);
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
    let id = module
        .declare_function(name, Linkage::Export, clif)
        .unwrap();
    module.define_function(id, &mut context).unwrap();
    id
}

/// The conventions that have a table for this host.
pub(crate) fn conventions() -> Vec<CallConv> {
    let all = [
        CallConv::SystemV,
        CallConv::WindowsFastcall,
        CallConv::AppleAarch64,
        CallConv::Tail,
    ];
    let known = |call_conv: &CallConv| convention(*call_conv, &Triple::host()).is_ok();
    all.into_iter().filter(known).collect()
}

const SCALARS: &[ClifType] = &[
    types::I8,
    types::I16,
    types::I32,
    types::I64,
    types::F32,
    types::F64,
];

const WIDE: &[ClifType] = &[
    types::I128,
    types::I8X16,
    types::I32X4,
    types::F64X2,
    types::F32X4,
];

fn random_value(rng: &mut Rng, has_vectors: bool, is_param: bool) -> AbiParam {
    let ty = match rng.below(24) {
        0 if has_vectors => *rng.pick(WIDE),
        1 => types::I128,
        _ => *rng.pick(SCALARS),
    };
    let value = AbiParam::new(ty);
    match rng.below(3) {
        0 if ty.is_int() => value.sext(),
        1 if ty.is_int() => value.uext(),
        _ if ty == types::I64 && is_param && rng.one_in(4) => {
            AbiParam::special(ty, ArgumentPurpose::VMContext)
        }
        _ => value,
    }
}

pub(crate) fn random_signature(rng: &mut Rng, call_conv: CallConv) -> Clif {
    // Only there does Cranelift have them in the registers that compilers of C have.
    let has_vectors = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    let mut clif = Clif::new(call_conv);
    let params = rng.below(14);
    let results = [0, 1, 1, 1, 2, 2, 3, 5][rng.below(8)];
    clif.params = (0..params)
        .map(|_| random_value(rng, has_vectors, true))
        .collect();
    clif.returns = (0..results)
        .map(|_| random_value(rng, has_vectors, false))
        .collect();
    clif
}

/// A block's memory, which is aligned to 16 bytes.
pub(crate) fn block(rng: &mut Rng, layout: &BlockLayout) -> Vec<u128> {
    let words = layout.size().div_ceil(16) as usize;
    (0..words)
        .map(|_| u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()))
        .collect()
}

pub(crate) fn bytes(block: &[u128]) -> Vec<u8> {
    block.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Whether two blocks hold the same values; what is between them may be anything.
pub(crate) fn same(layout: &BlockLayout, values: &[AbiParam], a: &[u128], b: &[u128]) -> bool {
    let (a, b) = (bytes(a), bytes(b));
    values.iter().zip(layout.offsets()).all(|(value, &at)| {
        let range = at as usize..at as usize + value.value_type.bytes() as usize;
        a[range.clone()] == b[range]
    })
}
