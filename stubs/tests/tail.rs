//! Functions of Cranelift's `tail` convention, as a VM compiles its own: made by Cranelift itself
//! in this process, so that it and not our table says where arguments and results are.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use cranelift_codegen::ir::{
    AbiParam, InstBuilder, MemFlagsData, Signature as Clif, Type, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use fing_stubs::assign::pieces;
use fing_stubs::fuzzing::{self, Rng};
use fing_stubs::{
    Abi, Assignment, BlockLayout, CacheOptions, CodePolicy, Convention, GBlock, Piece, RegClass,
    Signature, StubCache, assign,
};

fn module() -> JITModule {
    let mut flags = settings::builder();
    flags.set("preserve_frame_pointers", "true").unwrap();
    let isa = cranelift_codegen::isa::lookup(target_lexicon::Triple::host()).unwrap();
    let isa = isa.finish(settings::Flags::new(flags)).unwrap();
    JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()))
}

fn clif_type(piece: &Piece) -> Type {
    match (piece.class, piece.size) {
        (RegClass::Float, 4) => types::F32,
        (RegClass::Float, _) => types::F64,
        (RegClass::Int, 1) => types::I8,
        (RegClass::Int, 2) => types::I16,
        (RegClass::Int, 4) => types::I32,
        (RegClass::Int, _) => types::I64,
    }
}

/// A function that writes its arguments to `dump`, a block of them, and takes its results from
/// `given`, a block too.
fn callee(
    module: &mut JITModule,
    signature: &Signature,
    a: &Assignment,
    dump: usize,
    given: usize,
) -> usize {
    let arguments = BlockLayout::of(signature.arguments());
    let results = BlockLayout::of(signature.results());
    let mut clif = Clif::new(CallConv::Tail);
    if a.hidden_result.is_some() {
        clif.params.push(AbiParam::new(types::I64));
    }
    for value in &a.args {
        let parts = pieces(&value.ty);
        clif.params
            .extend(parts.iter().map(|p| AbiParam::new(clif_type(p))));
    }
    let returned: Vec<(u64, Piece)> = a
        .results
        .iter()
        .zip(results.offsets())
        .flat_map(|(value, &at)| value.pieces().iter().map(move |p| (at + p.off, p.clone())))
        .collect();
    clif.returns
        .extend(returned.iter().map(|(_, p)| AbiParam::new(clif_type(p))));

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
    let mut next = params.iter().skip(usize::from(a.hidden_result.is_some()));
    for (value, &at) in a.args.iter().zip(arguments.offsets()) {
        for piece in pieces(&value.ty) {
            let offset = (at + piece.off) as i32;
            builder
                .ins()
                .store(flags, *next.next().unwrap(), to, offset);
        }
    }
    for at in 0..a.hidden_result.unwrap_or(0) {
        let byte = builder.ins().load(types::I8, flags, from, at as i32);
        builder.ins().store(flags, byte, params[0], at as i32);
    }
    let values: Vec<Value> = returned
        .iter()
        .map(|(at, piece)| {
            builder
                .ins()
                .load(clif_type(piece), flags, from, *at as i32)
        })
        .collect();
    builder.ins().return_(&values);
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
    let id = module
        .declare_function("callee", Linkage::Export, &clif)
        .unwrap();
    module.define_function(id, &mut context).unwrap();
    module.finalize_definitions().unwrap();
    module.get_finalized_function(id).addr()
}

#[test]
fn random_signatures() {
    let abi = Abi::native(Convention::TailAmd64);
    let caches = [CodePolicy::Generate, CodePolicy::Interpret]
        .map(|policy| StubCache::new(CacheOptions::default().policy(policy)).unwrap());
    let (mut rng, mut interpreted) = (Rng::new(41), 0);
    for case in 0..150 {
        let signature = fuzzing::native_signature(&mut rng);
        let a = assign(&signature, abi).unwrap();
        if a.hidden_result.is_some_and(|bytes| bytes > 4096) {
            continue;
        }
        for cache in &caches {
            // The callee takes stack arguments off the stack, which the interpreter does not stand.
            let stub = match cache.call_stub(&signature, abi) {
                Ok(stub) => stub,
                Err(error) => {
                    assert!(error.is_environment() && a.frame_size > 0, "{error}");
                    continue;
                }
            };
            interpreted += usize::from(!stub.stub().is_generated());
            let bytes = |layout: &BlockLayout, rng: &mut Rng| -> Vec<u64> {
                let words = layout.size().div_ceil(8);
                (0..words).map(|_| rng.next_u64()).collect()
            };
            let arguments = bytes(stub.arguments(), &mut rng);
            let given = bytes(stub.results(), &mut rng);
            let mut dump = arguments.clone();
            // Every byte that is not padding is written anew.
            let mut found = given.clone();
            for (block, values, layout) in [
                (&mut dump, &a.args, stub.arguments()),
                (&mut found, &a.results, stub.results()),
            ] {
                for (value, &at) in values.iter().zip(layout.offsets()) {
                    for piece in pieces(&value.ty) {
                        for byte in at + piece.off..at + piece.off + piece.size {
                            block[byte as usize / 8] ^= 0xff << (byte % 8 * 8);
                        }
                    }
                }
            }
            let mut module = module();
            let (to, from) = (dump.as_mut_ptr().addr(), given.as_ptr().addr());
            let code = callee(&mut module, &signature, &a, to, from);
            // SAFETY: the callee was made for this signature by this convention, and the blocks are
            // of their layouts.
            unsafe {
                let results = found.as_mut_ptr().cast();
                stub.call(
                    code,
                    0,
                    arguments.as_ptr().cast(),
                    results,
                    &GBlock::zeroed(),
                )
                .unwrap();
            }
            assert_eq!(
                dump,
                arguments,
                "case {case}: {signature} by {}",
                stub.key()
            );
            let same = same_values(&a, stub.results(), &found, &given);
            assert!(same, "case {case}: {signature} by {}", stub.key());
            // SAFETY: nothing of the module is used any more.
            unsafe { module.free_memory() };
        }
    }
    assert!(interpreted > 10, "{interpreted}");
}

/// Whether both blocks hold the same results; arrays have no pieces and are compared whole.
fn same_values(a: &Assignment, layout: &BlockLayout, found: &[u64], given: &[u64]) -> bool {
    let byte = |block: &[u64], at: u64| block[at as usize / 8] >> (at % 8 * 8) & 0xff;
    a.results.iter().zip(layout.offsets()).all(|(value, &at)| {
        (at..at + value.size).all(|at| byte(found, at) == byte(given, at))
            || !value.pieces().is_empty()
                && value.pieces().iter().all(|piece| {
                    let from = at + piece.off;
                    (from..from + piece.size).all(|at| byte(found, at) == byte(given, at))
                })
    })
}
