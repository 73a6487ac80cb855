//! Every assignment Go's compiler printed (`tests/vectors`), against ours.

use fing_stubs::abi::{Abi, Arch, RegClass};
use fing_stubs::assign::{Place, Value, assign, pieces};
use fing_stubs::go_frame;
use fing_stubs::signature::{Kind, Signature};
use serde_json::{Value as Json, json};

fn lines(name: &str) -> Vec<Json> {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn signature(line: &Json) -> Signature {
    let text = line["sig"].as_str().unwrap();
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn number(line: &Json, name: &str) -> usize {
    line[name].as_u64().unwrap() as usize
}

/// The Go machine that names the registers of a configuration.
fn machine_for(ints: usize) -> Arch {
    if ints > 9 { Arch::Arm64 } else { Arch::Amd64 }
}

/// `{"st": 8}` or `{"r": ["I0"], "sp": 16}`.
fn grouped(value: &Value) -> Json {
    match &value.place {
        Place::Regs { pieces, spill } => {
            let class = |class| if class == RegClass::Int { "I" } else { "F" };
            let names: Vec<String> = pieces
                .iter()
                .map(|p| format!("{}{}", class(p.class), p.index))
                .collect();
            match spill {
                Some(spill) => json!({"r": names, "sp": spill}),
                None => json!({"r": names}),
            }
        }
        Place::Stack { offset } => json!({"st": offset}),
        place => panic!("{place:?} in a Go assignment"),
    }
}

#[test]
fn public_configurations() {
    let lines = lines("public.jsonl");
    let mut checked = 0;
    for line in &lines {
        let sig = signature(line);
        let id = &line["id"];
        let described = line["in"]
            .as_array()
            .unwrap()
            .iter()
            .chain(line["out"].as_array().unwrap());
        for (ty, wanted) in sig.arguments().chain(sig.results()).zip(described) {
            let layout = ty.layout().unwrap();
            let need = layout
                .need
                .map_or((255, 255), |need| (need.ints, need.floats));
            let pieces = pieces(ty);
            let pieces: Vec<Json> = pieces
                .iter()
                .map(|p| {
                    json!([
                        if p.class == RegClass::Int { "I" } else { "F" },
                        p.off,
                        p.size
                    ])
                })
                .collect();
            let found = json!({"type": ty.to_string(), "size": layout.size, "align": layout.align,
                               "need": [need.0, need.1], "pieces": pieces});
            assert_eq!(&found, wanted, "{id}");
        }
        for config in line["configs"].as_array().unwrap() {
            let (ints, floats) = (number(config, "int_regs"), number(config, "float_regs"));
            let a = assign(
                &sig,
                Abi::go(machine_for(ints))
                    .with_registers(ints, floats)
                    .unwrap(),
            )
            .unwrap();
            let found = json!({
                "int_regs": ints, "float_regs": floats,
                "in": a.args.iter().map(grouped).collect::<Vec<_>>(),
                "out": a.results.iter().map(grouped).collect::<Vec<_>>(),
                "args_end": a.args_end, "results_off": a.results_off, "results_end": a.results_end,
                "spill_off": a.spill_off, "spill_size": a.spill_size, "frame_size": a.frame_size,
            });
            assert_eq!(&found, config, "{id} {sig}");
            checked += 1;
        }
    }
    assert_eq!(checked, 302 * 16);
}

#[test]
fn every_64_bit_machine() {
    let mut checked = 0;
    for mut line in lines("arch.jsonl") {
        let sig = signature(&line);
        // A few texts leave the parentheses of a single result out.
        line["sig"] = json!(sig.to_string());
        let arch: Arch = line["arch"].as_str().unwrap().parse().unwrap();
        let a = assign(&sig, Abi::go(arch)).unwrap();
        assert_eq!(a.to_json(line["id"].as_str().unwrap(), &sig), line);
        checked += 1;
    }
    assert_eq!(checked, 302 * 6);
}

#[test]
fn signature_texts_are_printed_back() {
    let mut bare_results = 0;
    for line in lines("public.jsonl") {
        let (sig, text) = (signature(&line), line["sig"].as_str().unwrap());
        if sig.to_string() != text {
            let [result] = sig.results() else {
                panic!("{sig} is not {text}")
            };
            assert_eq!(
                sig.to_string(),
                text.replace(&format!(") {result}"), &format!(") ({result})"))
            );
            bare_results += 1;
        }
    }
    assert_eq!(bare_results, 34);
}

#[test]
fn finalizer_frames() {
    let lines = lines("finalizer.jsonl");
    for line in &lines {
        let sig = signature(line);
        let a = assign(&sig, Abi::go(Arch::Amd64)).unwrap();
        let abi0 = assign(&sig, Abi::go(Arch::Amd64).with_int_arg_regs(0).unwrap()).unwrap();
        let nret = go_frame::results_size(sig.results());
        let seed_regs = go_frame::seed_frame_with_registers(nret);
        let [param] = sig.params() else {
            panic!("{sig}")
        };
        let arg_kind = match param.underlying() {
            Kind::Pointer(_) => "pointer",
            Kind::Interface(methods) if methods.is_empty() => "empty interface",
            Kind::Interface(_) => "interface",
            _ => panic!("{sig}"),
        };
        let Place::Stack { offset } = abi0.args[0].place else {
            panic!("{sig}")
        };
        let words: Vec<u64> = (0..param.layout().unwrap().size / 8)
            .map(|word| offset + word * 8)
            .collect();
        let registers: Vec<String> = a.args[0]
            .pieces()
            .iter()
            .map(|p| format!("I{}", p.index))
            .collect();
        let found = json!({
            "id": line["id"], "sig": line["sig"], "arg_kind": arg_kind,
            "nret": nret,
            "frame_now": go_frame::frame(nret),
            "reflectcall_class_now": go_frame::class(go_frame::frame(nret)),
            "frame_seed_regs": seed_regs,
            "reflectcall_class_seed_regs": go_frame::class(seed_regs),
            "frame_seed_abi0": go_frame::seed_frame_abi0(nret),
            "amd64_frame_needed": a.frame_size,
            "amd64_spill_off": a.spill_off,
            "amd64_results_end": a.results_end,
            "seed_would_overflow": go_frame::seed_would_overflow(nret, a.frame_size),
            "arg_regs": registers, "arg_stack": words,
            "abi0_results_off": abi0.results_off,
        });
        assert_eq!(&found, line);
        // Two words beside the results are enough on every machine with any number of registers.
        for arch in Arch::GO {
            for ints in 0..=Abi::go(arch).int_regs() {
                let a = assign(&sig, Abi::go(arch).with_int_arg_regs(ints).unwrap()).unwrap();
                assert!(a.frame_size <= go_frame::frame(nret), "{sig} {}", a.abi);
            }
        }
    }
    assert_eq!(lines.len(), 59);
}

#[test]
fn frame_classes_end_at_a_gigabyte() {
    assert_eq!(go_frame::class(0), Some(16));
    assert_eq!(go_frame::class(17), Some(32));
    assert_eq!(go_frame::class(1 << 30), Some(1 << 30));
    assert_eq!(go_frame::class((1 << 30) + 1), None);
}
