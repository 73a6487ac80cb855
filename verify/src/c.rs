//! Stubs in C programs: gcc compiles the callees, which compare their arguments with constants, and
//! a `main` that calls the stubs, which are linked in as bytes. One program holds many signatures.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::Write;

use fing_oracles::c::Toolchain;
use fing_stubs::{BlockLayout, Compiler, KeyOptions, Kind, Signature, StubKey, Type};

use crate::cases::image;
use crate::emulated::Form;
use crate::random::Random;
use crate::targets::Target;

/// What all programs begin with.
const PRELUDE: &str = r#"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { void *a, *b; } Interface;
typedef struct { void *code, *context; unsigned char words[16]; } Record;
typedef void ENTRY Stub(Record *first, Record **end, void **progress, void *g);

static int case_number, calls, faults;
static void *progress, *wanted_progress;
static Record records[4];

static void fault(const char *what) {
    faults++;
    printf("%d %s\n", case_number, what);
}
static void called(int number) {
    if (number != case_number) fault("another callee is called");
    if (progress != &records[calls]) fault("progress is not the record");
    calls++;
}
static void run(int number, Stub *stub, void *callee, const void *words) {
    static char g[512];
    case_number = number;
    calls = 0;
    for (int i = 0; i < 3; i++) {
        records[i].code = callee;
        records[i].context = (void *)0x1234567;
        memcpy(records[i].words, words, 16);
    }
    Record *end = records + 3;
    stub(records, &end, &progress, g);
    if (calls != 3) fault("not three calls");
    if (progress != records + 3) fault("progress is not the end");
}

/* Results: where, how many bytes, which. */
typedef struct { int at, size; const unsigned char *bytes; } Result;

static void run_block(int number, Stub *stub, void *callee, const void *arguments, int size,
                      int count, const Result *wanted) {
    static unsigned char block[4096] __attribute__((aligned(16)));
    const void *words[2] = {arguments, block};
    memset(block, 0xcc, sizeof block);
    run(number, stub, callee, words);
    for (int n = 0; n < count; n++)
        if (memcmp(block + wanted[n].at, wanted[n].bytes, wanted[n].size)) {
            char what[32];
            sprintf(what, "result %d differs", n);
            fault(what);
        }
    for (int at = size; at < sizeof block; at++)
        if (block[at] != 0xcc) {
            fault("memory behind the results has changed");
            break;
        }
}
"#;

/// The parts of a program, as they grow.
struct Program {
    callees: String,
    main: String,
    stubs: String,
    keys: HashMap<StubKey, usize>,
    target: Target,
}

/// Calls a callee compiled by gcc for each signature; each fault names its signature.
///
/// # Errors
/// Something does not compile, or the program does not run.
pub fn verify(
    toolchain: &Toolchain,
    compiler: &Compiler,
    target: Target,
    cases: &[(Signature, Form)],
    random: &mut Random,
) -> Result<Vec<String>, String> {
    let mut program = Program {
        callees: String::new(),
        main: String::new(),
        stubs: String::new(),
        keys: HashMap::new(),
        target,
    };
    for (number, (signature, form)) in cases.iter().enumerate() {
        let options = KeyOptions::default();
        let key = match form {
            Form::Record => StubKey::new(signature, target.abi(), options),
            Form::Block => StubKey::block(signature, target.abi(), options),
        };
        let key = key.map_err(|e| e.to_string())?;
        let stub = match program.keys.get(&key) {
            Some(&known) => known,
            None => {
                let compiled = compiler.compile(&key, false).map_err(|e| e.to_string())?;
                let bytes = compiled.image().map_err(|e| e.to_string())?;
                let stub = program.keys.len();
                program.stub(stub, &bytes);
                program.keys.insert(key, stub);
                stub
            }
        };
        program.case(number, stub, signature, *form, random);
    }
    let (c, assembly) = program.sources();
    let printed = toolchain.run(target.convention, &[("main.c", &c), ("stubs.S", &assembly)]);
    let printed = printed.or_else(|e| match e.split_once("exit status: 1\n") {
        Some((_, printed)) => Ok(printed.to_owned()),
        None => Err(e),
    })?;
    let mut faults = Vec::new();
    let mut done = false;
    for line in printed.lines() {
        match line.split_once(' ') {
            Some(("done", count)) => done = count == cases.len().to_string(),
            Some((number, what)) => {
                let signature = number.parse().ok().and_then(|n: usize| cases.get(n));
                let named = signature.map_or_else(|| number.to_owned(), |(s, _)| s.to_string());
                faults.push(format!(
                    "{named} by {} on {}: {what}",
                    target.convention, target.triple
                ));
            }
            None => faults.push(format!(
                "{}: the program printed {line:?}",
                target.convention
            )),
        }
    }
    if !done {
        faults.push(format!(
            "{} on {}: the program did not come to its end",
            target.convention, target.triple
        ));
    }
    Ok(faults)
}

impl Program {
    /// A stub as bytes.
    fn stub(&mut self, stub: usize, bytes: &[u8]) {
        let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
        // Writing to a String never fails; the same below.
        let _ = writeln!(
            self.stubs,
            ".balign 16\n.globl stub_{stub}\nstub_{stub}:\n.byte {}",
            list.join(",")
        );
    }

    fn case(
        &mut self,
        number: usize,
        stub: usize,
        signature: &Signature,
        form: Form,
        random: &mut Random,
    ) {
        let block = BlockLayout::of(signature.arguments());
        let mut arguments = random.bytes(block.size().max(16) as usize);
        let mut parameters = Vec::new();
        let mut checks = String::new();
        for (n, (ty, &at)) in signature.arguments().zip(block.offsets()).enumerate() {
            let bytes = image(ty, random);
            arguments[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
            parameters.push(format!("{} a{n}", c_type(ty)));
            let _ = writeln!(
                checks,
                "    static const unsigned char w{n}[] = {};\n    if (memcmp(&a{n}, w{n}, sizeof \
                 a{n})) fault(\"argument {n} differs\");",
                initializer(&bytes)
            );
            if let Some(literal) = self.widened(ty, &bytes) {
                let _ = writeln!(
                    checks,
                    "    if ((int64_t)a{n} != (int64_t){literal}) fault(\"argument {n} is not \
                     widened\");"
                );
            }
        }
        let convention = if self.target.convention == "fastcall/amd64" {
            "__attribute__((ms_abi)) "
        } else {
            ""
        };
        let results = Results::new(signature, number, random);
        let result = if results.values.is_empty() {
            "void".to_owned()
        } else {
            format!("R{number}")
        };
        let _ = writeln!(
            self.callees,
            "{}static {convention}__attribute__((noinline, noclone)) {result} callee_{number}({}) \
             {{\n    called({number});\n{checks}{}}}",
            results.declaration,
            if parameters.is_empty() {
                "void".to_owned()
            } else {
                parameters.join(", ")
            },
            results.statements,
        );
        let _ = writeln!(
            self.callees,
            "static const unsigned char arguments_{number}[] __attribute__((aligned(16))) = {};",
            initializer(&arguments)
        );
        let call = match form {
            Form::Record => {
                format!("run({number}, stub_{stub}, callee_{number}, arguments_{number})")
            }
            Form::Block => {
                let list: Vec<String> = results
                    .values
                    .iter()
                    .map(|(at, bytes)| {
                        let list = initializer(bytes);
                        format!("{{{at}, {}, (const unsigned char[]){list}}}", bytes.len())
                    })
                    .collect();
                let _ = writeln!(
                    self.callees,
                    "static const Result results_{number}[{}] = {{{}}};",
                    list.len().max(1),
                    list.join(", ")
                );
                format!(
                    "run_block({number}, stub_{stub}, callee_{number}, arguments_{number}, {}, \
                     {}, results_{number})",
                    results.size,
                    list.len()
                )
            }
        };
        let _ = writeln!(self.main, "    extern Stub stub_{stub}; {call};");
    }

    /// A small integer's value in 64 bits: where a convention's callers widen, gcc's callees rely
    /// on it.
    fn widened(&self, ty: &Type, bytes: &[u8]) -> Option<String> {
        let signed = match ty.underlying() {
            Kind::Int8 | Kind::Int16 | Kind::Int32 => true,
            Kind::Uint8 | Kind::Uint16 | Kind::Uint32 => false,
            _ => return None,
        };
        let digits: String = if self.target.physical().isa.big_endian() {
            bytes.iter().map(|b| format!("{b:02x}")).collect()
        } else {
            bytes.iter().rev().map(|b| format!("{b:02x}")).collect()
        };
        let kind = format!("{}int{}_t", if signed { "" } else { "u" }, 8 * bytes.len());
        Some(format!("({kind})0x{digits}"))
    }

    fn sources(&self) -> (String, String) {
        let entry = if self.target.entry == "fastcall/amd64" {
            "__attribute__((ms_abi))"
        } else {
            ""
        };
        let count = self.main.lines().count();
        let c = format!(
            "#define ENTRY {entry}\n{PRELUDE}\n{}\nint main(void) {{\n{}    printf(\"done \
             {count}\\n\");\n    return faults != 0;\n}}\n",
            self.callees, self.main
        );
        let assembly = format!(
            ".text\n{}\n.section .note.GNU-stack,\"\",%progbits\n",
            self.stubs
        );
        (c, assembly)
    }
}

fn initializer(bytes: &[u8]) -> String {
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("{{{}}}", list.join(","))
}

/// C's type for a scalar or an interface.
fn c_type(ty: &Type) -> &'static str {
    match ty.underlying() {
        Kind::Bool => "_Bool",
        Kind::Int8 => "int8_t",
        Kind::Int16 => "int16_t",
        Kind::Int32 => "int32_t",
        Kind::Int64 | Kind::Int => "int64_t",
        Kind::Uint8 => "uint8_t",
        Kind::Uint16 => "uint16_t",
        Kind::Uint32 => "uint32_t",
        Kind::Uint64 | Kind::Uint | Kind::Uintptr => "uint64_t",
        Kind::Float32 => "float",
        Kind::Float64 => "double",
        Kind::Interface(_) => "Interface",
        _ => "void *",
    }
}

/// A callee's results: as one C value, which is the scalar itself if there is one only, else a
/// struct.
struct Results {
    /// The type, `R` and the number.
    declaration: String,
    /// What returns them.
    statements: String,
    /// Offsets in the block, and what must be there.
    values: Vec<(u64, Vec<u8>)>,
    /// Bytes of the block.
    size: u64,
}

impl Results {
    fn new(signature: &Signature, number: usize, random: &mut Random) -> Results {
        let block = BlockLayout::of(signature.results());
        let mut fields = String::new();
        let mut assignments = String::new();
        let mut values = Vec::new();
        let scalar =
            matches!(signature.results(), [one] if !matches!(one.underlying(), Kind::Array(..)));
        for (n, (ty, &at)) in signature.results().iter().zip(block.offsets()).enumerate() {
            let bytes = image(ty, random);
            let _ = match ty.underlying() {
                Kind::Array(length, elem) => write!(fields, "{} r{n}[{length}]; ", c_type(elem)),
                _ => write!(fields, "{} r{n}; ", c_type(ty)),
            };
            let field = if scalar {
                "r".to_owned()
            } else {
                format!("r.r{n}")
            };
            let _ = writeln!(
                assignments,
                "    static const unsigned char v{n}[] = {};\n    memcpy(&{field}, v{n}, sizeof \
                 v{n});",
                initializer(&bytes)
            );
            values.push((at, bytes));
        }
        let declaration = match signature.results() {
            [] => String::new(),
            [one] if scalar => format!("typedef {} R{number};\n", c_type(one)),
            _ => format!("typedef struct {{ {fields}}} R{number};\n"),
        };
        let statements = if values.is_empty() {
            String::new()
        } else {
            format!(
                "    R{number} r;\n    memset(&r, 0x5a, sizeof r);\n{assignments}    return r;\n"
            )
        };
        Results {
            declaration,
            statements,
            values,
            size: block.size(),
        }
    }
}
