//! Signatures of Cranelift's, converted and called: the callees are made by Cranelift in this
//! process from the signature as it was before, so that it and not our rules says where their
//! values are.

use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Signature as Clif, types};
use cranelift_codegen::isa::CallConv;
use fing_stubs::clif::{ClifError, ClifSignature};
use fing_stubs::function::{Arg, Function, Ret};
use fing_stubs::fuzzing::Rng;
use fing_stubs::signature::Type;
use fing_stubs::{Abi, CacheOptions, CallStub, CodePolicy, Convention, GBlock, StubCache};
use target_lexicon::Triple;

#[path = "support/clif.rs"]
mod support;

use support::{block, callee, conventions, jit, random_signature, same};

fn call(stub: &CallStub, clif: &Clif, rng: &mut Rng, what: &str) {
    let given = block(rng, stub.results());
    let arguments = block(rng, stub.arguments());
    let inverted = |block: &[u128]| block.iter().map(|word| !word).collect::<Vec<u128>>();
    let (mut dump, mut found) = (inverted(&arguments), inverted(&given));
    let mut module = jit();
    let addresses = (dump.as_mut_ptr().addr(), given.as_ptr().addr());
    let blocks = (stub.arguments(), stub.results());
    let id = callee(&mut module, "callee", clif, blocks, addresses);
    module.finalize_definitions().unwrap();
    let code = module.get_finalized_function(id).addr();
    // SAFETY: the callee is a function of the signature that was converted, and the blocks are of
    // the stub's layouts.
    unsafe {
        let results = found.as_mut_ptr().cast();
        let g = GBlock::zeroed();
        stub.call(code, 0, arguments.as_ptr().cast(), results, &g)
            .unwrap();
    }
    assert!(
        same(stub.arguments(), &clif.params, &dump, &arguments),
        "arguments: {what}"
    );
    assert!(
        same(stub.results(), &clif.returns, &found, &given),
        "results: {what}"
    );
    // SAFETY: nothing of the module is used any more.
    unsafe { module.free_memory() };
}

/// Whether Cranelift and compilers of C may differ: not on one result and scalars, but for floats
/// on riscv64.
fn may_be_refused(clif: &Clif) -> bool {
    let mut values = clif.params.iter().chain(&clif.returns);
    let is_wide = values.any(|value| value.value_type.bytes() > 8);
    let floats = clif
        .params
        .iter()
        .filter(|param| param.value_type.is_float());
    let many_floats = cfg!(target_arch = "riscv64") && floats.count() > 8;
    clif.returns.len() > 1 || is_wide || many_floats
}

#[test]
fn values_of_random_signatures_arrive() {
    let policies = [CodePolicy::Generate, CodePolicy::Interpret];
    let caches =
        policies.map(|policy| StubCache::new(CacheOptions::default().policy(policy)).unwrap());
    let cases = fing_oracles::cases(300) as usize;
    for call_conv in conventions() {
        let mut rng = Rng::new(13);
        let (mut called, mut refused, mut many, mut wide) = (0, 0, 0, 0);
        for case in 0..cases {
            let clif = random_signature(&mut rng, call_conv);
            let (signature, abi) = match ClifSignature::new(&clif, &Triple::host()).convert() {
                Ok(converted) => converted,
                Err(error @ (ClifError::Place { .. } | ClifError::Assign { .. })) => {
                    assert!(may_be_refused(&clif), "case {case}: {clif}: {error}");
                    refused += 1;
                    continue;
                }
                Err(other) => panic!("case {case}: {clif}: {other}"),
            };
            for cache in &caches {
                // A callee that takes its arguments off the stack is not interpreted.
                let stub = match cache.call_stub(&signature, abi) {
                    Ok(stub) => stub,
                    Err(error) => {
                        assert!(error.is_environment() && abi.convention().unwrap().is_tail());
                        continue;
                    }
                };
                call(&stub, &clif, &mut rng, &format!("case {case}: {clif}"));
                called += 1;
            }
            many += usize::from(clif.returns.len() > 1);
            let mut values = clif.params.iter().chain(&clif.returns);
            wide += usize::from(values.any(|value| value.value_type.bytes() > 8));
        }
        println!("{call_conv}: {called} called, {refused} refused, {many} of several, {wide} wide");
        assert!(called * 4 > cases, "{call_conv}: {called} called");
        assert!(
            refused > 0 && refused < cases,
            "{call_conv}: {refused} refused"
        );
    }
}

#[test]
fn a_function_is_called_without_a_text() {
    let mut clif = Clif::new(CallConv::SystemV);
    clif.params = vec![
        AbiParam::new(types::I16).sext(),
        AbiParam::new(types::F64),
        AbiParam::new(types::I64),
    ];
    clif.returns = vec![AbiParam::new(types::F64)];
    let host = Triple::host();
    let typed = ClifSignature::new(&clif, &host);
    let typed = typed.parameter(2, Type::unsafe_pointer());
    let (signature, abi) = typed.convert().unwrap();
    assert_eq!(
        signature.to_string(),
        "func(int16, float64, unsafe.Pointer) (float64)"
    );
    assert_eq!(abi, Abi::host_native().unwrap());

    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let stub = cache.call_stub(&signature, abi).unwrap();
    let (mut dump, given) = ([0u64; 3], 2.5f64);
    let addresses = (dump.as_mut_ptr().addr(), (&raw const given).addr());
    let mut module = jit();
    let blocks = (stub.arguments(), stub.results());
    let id = callee(&mut module, "callee", &clif, blocks, addresses);
    module.finalize_definitions().unwrap();
    let code = module.get_finalized_function(id).addr();
    // SAFETY: the function has the signature it was made for.
    let function = unsafe { Function::at(&cache, code, &signature, abi).unwrap() };
    let pointer: *const u8 = (&raw const dump).cast();
    let mut found = 0.0f64;
    let arguments = [Arg::of(&-7i16), Arg::of(&0.5f64), Arg::of(&pointer)];
    // SAFETY: it writes to `dump`, which lives.
    unsafe { function.call(&arguments, Ret::of(&mut found)).unwrap() };
    assert_eq!(found, 2.5);
    // SAFETY: `dump` was written by the call.
    let dump = unsafe { (&raw const dump).read_volatile() };
    let small = dump[0].to_ne_bytes();
    assert_eq!(i16::from_ne_bytes([small[0], small[1]]), -7);
    assert_eq!(dump[1..], [0.5f64.to_bits(), pointer.addr() as u64]);
}

/// A signature of `(a, b) -> c, d` in Cranelift's words, without purposes.
fn parse(text: &str, call_conv: CallConv) -> Clif {
    let list = |text: &str| -> Vec<AbiParam> {
        let all = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        all.map(|one| {
            let (name, extension) = one.split_once(' ').unwrap_or((one, ""));
            let ty = |name| {
                Some(match name {
                    "i8" => types::I8,
                    "i16" => types::I16,
                    "i32" => types::I32,
                    "i64" => types::I64,
                    "i128" => types::I128,
                    "f16" => types::F16,
                    "f32" => types::F32,
                    "f64" => types::F64,
                    "f128" => types::F128,
                    _ => return None,
                })
            };
            let value = match name.split_once('x') {
                None => AbiParam::new(ty(name).unwrap()),
                Some((lane, count)) => {
                    AbiParam::new(ty(lane).unwrap().by(count.parse().unwrap()).unwrap())
                }
            };
            match extension {
                "sext" => value.sext(),
                "uext" => value.uext(),
                _ => value,
            }
        })
        .collect()
    };
    let (params, returns) = text.split_once("->").unwrap_or((text, ""));
    let mut clif = Clif::new(call_conv);
    clif.params = list(params);
    clif.returns = list(returns);
    clif
}

fn converted(target: &str, call_conv: CallConv, text: &str) -> String {
    let target: Triple = target.parse().unwrap();
    let clif = parse(text, call_conv);
    match ClifSignature::new(&clif, &target).convert() {
        Ok((signature, abi)) => format!("{abi} {signature}"),
        Err(error) => error.to_string(),
    }
}

const X86_64: &str = "x86_64-unknown-linux-gnu";
const ARM64: &str = "aarch64-unknown-linux-gnu";
const RISCV64: &str = "riscv64gc-unknown-linux-gnu";
const S390X: &str = "s390x-unknown-linux-gnu";
const SYSTEM_V: CallConv = CallConv::SystemV;
const FASTCALL: CallConv = CallConv::WindowsFastcall;
const APPLE: CallConv = CallConv::AppleAarch64;
const TAIL: CallConv = CallConv::Tail;

#[test]
fn what_both_pass_alike_is_converted() {
    let seven = "i64, i64, i64, i64, i64, i64, i64";
    let rows: &[(&str, CallConv, String, &str)] = &[
        (X86_64, SYSTEM_V, "".into(), "sysv/amd64 func()"),
        (
            X86_64,
            SYSTEM_V,
            "i8 sext, i8 uext, i8".into(),
            "sysv/amd64 func(int8, uint8, uint8)",
        ),
        (
            X86_64,
            SYSTEM_V,
            "->i64, f32".into(),
            "sysv/amd64 func() (uint64, float32)",
        ),
        (
            X86_64,
            SYSTEM_V,
            "->i128 sext".into(),
            "sysv/amd64 func() (C.int128)",
        ),
        (
            X86_64,
            SYSTEM_V,
            format!("{seven}, f32x4 -> i64x2"),
            "sysv/amd64 func(uint64, uint64, uint64, uint64, uint64, uint64, uint64, \
             C.vector[4]float32) (C.vector[2]uint64)",
        ),
        (
            X86_64,
            FASTCALL,
            "i32, f32x4, i64 -> f32".into(),
            "fastcall/amd64 func(uint32, C.vector[4]float32, uint64) (float32)",
        ),
        (
            X86_64,
            TAIL,
            "i8 -> i8, i16, f32, i64, f64".into(),
            "tail/amd64 func(uint8) (uint8, uint16, float32, uint64, float64)",
        ),
        (
            ARM64,
            SYSTEM_V,
            "->f64, f64, f64".into(),
            "aapcs/arm64 func() (float64, float64, float64)",
        ),
        (
            ARM64,
            SYSTEM_V,
            "i64, i128".into(),
            "aapcs/arm64 func(uint64, C.uint128)",
        ),
        (
            ARM64,
            APPLE,
            format!("{seven}, i64, i8, i32 sext"),
            "apple/arm64 func(uint64, uint64, uint64, uint64, uint64, uint64, uint64, uint64, \
             uint8, int32)",
        ),
        (
            RISCV64,
            SYSTEM_V,
            "->i64, f64".into(),
            "lp64d/riscv64 func() (uint64, float64)",
        ),
        (
            S390X,
            SYSTEM_V,
            "i128 -> f32".into(),
            "elf/s390x func(C.uint128) (float32)",
        ),
        (
            S390X,
            TAIL,
            "i32 -> i8, i8".into(),
            "tail/s390x func(uint32) (uint8, uint8)",
        ),
    ];
    for (target, call_conv, text, wanted) in rows {
        assert_eq!(converted(target, *call_conv, text), *wanted, "{text}");
    }
}

#[test]
fn what_they_pass_in_other_places_is_refused() {
    let eight_floats = "f64, f64, f64, f64, f64, f64, f64, f64";
    let five = "i64, i64, i64, i64, i64";
    let rows: &[(&str, CallConv, String, &str)] = &[
        // C has both in RAX.
        (
            X86_64,
            SYSTEM_V,
            "->i32, i32".into(),
            "result 1 is i32, which Cranelift passes as bytes 0..4 in rdx, wanted bytes 0..4 in \
             rax from byte 4, where sysv/amd64 passes uint32",
        ),
        (
            X86_64,
            SYSTEM_V,
            "->i64, i64, f64".into(),
            "result 0 is i64, which Cranelift passes as bytes 0..8 in rax, wanted part of one \
             struct in the caller's memory, where sysv/amd64 passes uint64",
        ),
        // C takes the register that an integer of two words left.
        (
            X86_64,
            SYSTEM_V,
            format!("{five}, i128, i64"),
            "parameter 6 is i64, which Cranelift passes as bytes 0..8 on the stack at 16, wanted \
             bytes 0..8 in r9, where sysv/amd64 passes uint64",
        ),
        (
            X86_64,
            FASTCALL,
            "->i64, i64".into(),
            "result 0 is i64, which Cranelift passes as bytes 0..8 in rax, wanted part of one \
             struct in the caller's memory, where fastcall/amd64 passes uint64",
        ),
        (
            X86_64,
            FASTCALL,
            "i128".into(),
            "parameter 0 is i128, which Cranelift passes as bytes 0..8 in rcx, bytes 8..16 in rdx, \
             wanted the address of a copy in rcx, where fastcall/amd64 passes C.uint128",
        ),
        (
            X86_64,
            TAIL,
            "->i64, i64, i64, i64, i64, i64, i64, i64, i64".into(),
            "result 0 is i64, which Cranelift passes as bytes 0..8 in rax, wanted part of one \
             struct in the caller's memory, where tail/amd64 passes uint64",
        ),
        (
            ARM64,
            SYSTEM_V,
            "->i64, f64".into(),
            "result 1 is f64, which Cranelift passes as bytes 0..8 in d0, wanted bytes 0..8 in \
             x1, where aapcs/arm64 passes float64",
        ),
        // C leaves no register behind an integer of two words that found none.
        (
            ARM64,
            SYSTEM_V,
            format!("{five}, i64, i64, i128, i64"),
            "parameter 8 is i64, which Cranelift passes as bytes 0..8 in x7, wanted bytes 0..8 on \
             the stack at 16, where aapcs/arm64 passes uint64",
        ),
        (
            RISCV64,
            SYSTEM_V,
            format!("{eight_floats}, f64"),
            "parameter 8 is f64, which Cranelift passes as bytes 0..8 on the stack at 0, wanted \
             bytes 0..8 in x10, where lp64d/riscv64 passes float64",
        ),
        (
            S390X,
            SYSTEM_V,
            "->i64, i64".into(),
            "result 0 is i64, which Cranelift passes as bytes 0..8 in r2, wanted part of one \
             struct in the caller's memory, where elf/s390x passes uint64",
        ),
    ];
    for (target, call_conv, text, wanted) in rows {
        let wanted = format!("CLIF signature: {wanted}");
        assert_eq!(converted(target, *call_conv, text), wanted, "{text}");
    }
}

#[test]
fn what_has_no_type_purpose_or_convention_is_refused() {
    let types_wanted = "wanted i8 to i128, f32, f64 or a vector of them of 8 or 16 bytes";
    for (text, wanted) in [
        ("i8, f16", format!("parameter 1 is f16, {types_wanted}")),
        ("-> f128", format!("result 0 is f128, {types_wanted}")),
        ("i8x4", format!("parameter 0 is i8x4, {types_wanted}")),
        ("i64x4", format!("parameter 0 is i64x4, {types_wanted}")),
    ] {
        let wanted = format!("CLIF signature: {wanted}");
        assert_eq!(converted(X86_64, SYSTEM_V, text), wanted);
    }
    assert_eq!(
        converted(X86_64, CallConv::Winch, ""),
        "CLIF signature: call convention winch on x86_64-unknown-linux-gnu, wanted system_v, \
         windows_fastcall, tail",
    );
    assert_eq!(
        converted("i686-unknown-linux-gnu", SYSTEM_V, ""),
        "CLIF signature: call convention system_v on i686-unknown-linux-gnu, wanted a machine \
         that this crate has a native convention for",
    );
    assert_eq!(
        converted(X86_64, TAIL, "i64, i128"),
        "CLIF signature (i64, i128) tail: assign: parameter 1 is C.uint128, which tail/amd64 does \
         not pass: it is a convention of scalars and interfaces",
    );

    let target: Triple = X86_64.parse().unwrap();
    let wanted = "wanted a normal value, or a vmctx among the parameters";
    for (purpose, name) in [
        (ArgumentPurpose::StructReturn, "sret"),
        (ArgumentPurpose::StructArgument(8), "sarg(8)"),
    ] {
        let mut clif = Clif::new(SYSTEM_V);
        clif.params = vec![AbiParam::special(types::I64, purpose)];
        let error = ClifSignature::new(&clif, &target).convert().unwrap_err();
        let text = format!("CLIF signature: parameter 0 is i64 {name}, {wanted}");
        assert_eq!(error.to_string(), text);
    }
    let mut clif = Clif::new(SYSTEM_V);
    clif.returns = vec![AbiParam::special(types::I64, ArgumentPurpose::VMContext)];
    let error = ClifSignature::new(&clif, &target).convert().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("CLIF signature: result 0 is i64 vmctx, {wanted}")
    );
    // Cranelift has no text for it.
    clif.returns = vec![AbiParam::new(types::INVALID)];
    let error = ClifSignature::new(&clif, &target).convert().unwrap_err();
    let wanted = format!("CLIF signature: result 0 is types::INVALID, {types_wanted}");
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn a_type_that_is_given_must_travel_as_the_value() {
    let target: Triple = X86_64.parse().unwrap();
    let clif = parse("i64, i8 uext, f32 -> i64", SYSTEM_V);
    let whole = || ClifSignature::new(&clif, &target);
    let ty = |text: &str| text.parse::<Type>().unwrap();
    let good = whole()
        .parameter(0, ty("string"))
        .parameter(0, ty("map[string]int"))
        .parameter(1, ty("bool"))
        .result(0, ty("struct { A int32; B float32 }"));
    let (signature, abi) = good.convert().unwrap();
    assert_eq!(abi, Abi::native(Convention::SystemV));
    assert_eq!(
        signature.to_string(),
        "func(map[string]int, bool, float32) (struct { A int32; B float32 })",
    );
    for (given, wanted) in [
        (
            whole().parameter(0, ty("int32")),
            "parameter 0 is i64, which Cranelift passes as bytes 0..8 in rdi, wanted bytes 0..4 \
             in rdi, where sysv/amd64 passes int32",
        ),
        (
            whole().parameter(0, ty("string")),
            "parameter 0 is i64, which Cranelift passes as bytes 0..8 in rdi, wanted bytes 0..8 \
             in rdi, bytes 8..16 in rsi, where sysv/amd64 passes string",
        ),
        (
            whole().parameter(2, ty("int32")),
            "parameter 2 is f32, which Cranelift passes as bytes 0..4 in xmm0, wanted bytes 0..4 \
             in rdx, where sysv/amd64 passes int32",
        ),
        (
            whole().parameter(1, ty("int8")),
            "parameter 1 is i8 uext, and was given as int8, wanted a type of the same sign",
        ),
        (
            whole().parameter(3, ty("int8")),
            "int8 was given for parameter 3, found 3 of them in the signature",
        ),
        (
            whole().result(1, ty("int8")),
            "int8 was given for result 1, found 1 of them in the signature",
        ),
        (
            whole().parameter(0, Type::opaque("main.T").unwrap()),
            "parameter 0 is main.T, which is opaque; wanted a type of known size, or main.T \
             behind a pointer",
        ),
    ] {
        let error = given.convert().unwrap_err().to_string();
        assert_eq!(error, format!("CLIF signature: {wanted}"));
    }
}
