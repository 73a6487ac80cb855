//! Stubs in C programs: gcc compiles the callees, which compare their arguments with constants, and
//! a `main` that calls the stubs, which are linked in as bytes. One program holds many signatures.
#![forbid(unsafe_code)]

pub mod callers;
mod types;

use std::collections::HashMap;
use std::fmt::Write;

use fing_oracles::c::{self, CALLEES, Toolchain};
use fing_stubs::{
    Abi, BlockLayout, Compiler, KeyOptions, Kind, Signature, StubKey, Target as MoveTarget, Type,
};

use self::types::Types;
use crate::emulated::Form;
use crate::memory::Memory;
use crate::random::Random;
use crate::targets::Target;

/// What callees and the program that calls them share.
const HEADER: &str = r#"
#include <stdarg.h>
#include <stdint.h>

void *memcpy(void *, const void *, __SIZE_TYPE__);
void *memset(void *, int, __SIZE_TYPE__);

typedef struct { void *a, *b; } Interface;
typedef struct { void *a; int64_t length; } String;
typedef struct { void *a; int64_t length, capacity; } Slice;

void fault(const char *what);
void called(int number);

/* Whether bytes are the same where the mask has ones. */
static int same(const void *found, const unsigned char *wanted, const unsigned char *mask,
                int size) {
    for (int i = 0; i < size; i++)
        if ((((const unsigned char *)found)[i] ^ wanted[i]) & mask[i]) return 0;
    return 1;
}
"#;

/// What calls stubs.
const MAIN: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "header.h"

typedef struct { void *code, *context; unsigned char words[16]; } Record;
typedef void ENTRY Stub(Record *first, Record **end, void **progress, void *g);

static int case_number, calls, faults;
static void *progress;
static Record records[4];

void fault(const char *what) {
    faults++;
    printf("%d %s\n", case_number, what);
}
void called(int number) {
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

/* Results: where, how many bytes, which, with a mask. */
typedef struct { int at, size; const unsigned char *bytes, *mask; } Result;

static void run_block(int number, Stub *stub, void *callee, const void *arguments, int size,
                      int count, const Result *wanted) {
    static unsigned char block[4096] __attribute__((aligned(64)));
    const void *words[2] = {arguments, block};
    memset(block, 0xcc, sizeof block);
    run(number, stub, callee, words);
    for (int n = 0; n < count; n++)
        if (!same(block + wanted[n].at, wanted[n].bytes, wanted[n].mask, wanted[n].size)) {
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
    /// Arguments and results.
    data: String,
    main: String,
    stubs: String,
    keys: HashMap<StubKey, usize>,
    types: Types,
    target: Target,
}

/// The compilers for a target; `None` if they are not here, which has been said aloud.
pub fn toolchain(target: Target) -> Option<Toolchain> {
    if target.convention == "apple/arm64" {
        c::apple_toolchain()
    } else {
        c::toolchain(target.physical().isa)
    }
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
        data: String::new(),
        main: String::new(),
        stubs: String::new(),
        keys: HashMap::new(),
        types: Types::new(target.abi()),
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
    let (main, callees, assembly) = program.sources();
    let sources = [
        ("header.h", HEADER),
        ("main.c", &main),
        (CALLEES, &callees),
        ("stubs.S", &assembly),
    ];
    let signatures: Vec<_> = cases.iter().map(|(signature, _)| signature).collect();
    faults(toolchain, target, &signatures, &sources)
}

/// Runs a program that prints a case's number and what is wrong with it, for each fault a line, and
/// at the end `done` and the number of cases.
fn faults(
    toolchain: &Toolchain,
    target: Target,
    cases: &[&Signature],
    sources: c::Sources<'_>,
) -> Result<Vec<String>, String> {
    let printed = toolchain.run(target.convention, sources);
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
                let named = signature.map_or_else(|| number.to_owned(), |s| s.to_string());
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
        let abi = self.target.abi();
        let block = BlockLayout::under(abi, signature.arguments());
        let mut arguments = random.bytes(block.size().max(16) as usize);
        let mut parameters = Vec::new();
        let mut checks = String::new();
        let fixed = signature.fixed().unwrap_or(usize::MAX);
        if fixed < usize::MAX {
            let _ = writeln!(
                checks,
                "    VA_LIST list;\n    VA_START(list, a{});",
                fixed - 1
            );
        }
        for (n, (ty, &at)) in signature.arguments().zip(block.offsets()).enumerate() {
            let value = Memory::random(abi, ty, random);
            let name = self.types.name(ty);
            arguments[at as usize..at as usize + value.bytes.len()].copy_from_slice(&value.bytes);
            if n < fixed {
                parameters.push(format!("{name} a{n}"));
            } else {
                checks.push_str(&self.variadic_argument(ty, &name, n));
            }
            let _ = writeln!(
                checks,
                // A copy is looked at: what has an address is not taken from its register.
                "    static const unsigned char w{n}[] = {}, k{n}[] = {};\n    {name} c{n} = \
                 a{n};\n    if (!same(&c{n}, w{n}, k{n}, {})) fault(\"argument {n} differs\");",
                initializer(&value.bytes),
                initializer(&value.mask),
                value.bytes.len()
            );
            if let Some(literal) = widened(self.target, ty, &value.bytes) {
                let _ = writeln!(
                    checks,
                    "    if ((int64_t)a{n} != (int64_t){literal}) fault(\"argument {n} is not \
                     widened\");"
                );
            }
        }
        if signature.fixed().is_some() {
            parameters.push("...".into());
        }
        let convention = attribute(self.target);
        let results = Results::new(abi, signature, number, &mut self.types, random);
        let result = if results.values.is_empty() {
            "void".to_owned()
        } else {
            format!("R{number}")
        };
        let _ = writeln!(
            self.callees,
            "{}{convention}{result} callee_{number}({}) \
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
            self.data,
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
                    .map(|(at, Memory { bytes, mask })| {
                        let lists = [bytes, mask].map(|bytes| initializer(bytes));
                        let [bytes_list, mask_list] = lists;
                        format!(
                            "{{{at}, {}, (const unsigned char[]){bytes_list}, (const unsigned \
                             char[]){mask_list}}}",
                            bytes.len()
                        )
                    })
                    .collect();
                let _ = writeln!(
                    self.data,
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
        let _ = writeln!(
            self.main,
            "    extern Stub stub_{stub}; extern char callee_{number}[]; {call};"
        );
    }

    /// Declares argument `n`, which is passed in place of `...`, and reads it from `list`.
    fn variadic_argument(&self, ty: &Type, name: &str, n: usize) -> String {
        let layout = self.target.abi().layout_of(ty);
        let size = layout.map_or(0, |layout| layout.size);
        // gcc's va_arg of Microsoft's lists does not know what is passed by reference.
        if self.target.convention == "fastcall/amd64" && !matches!(size, 1 | 2 | 4 | 8) {
            return format!("    {name} a{n} = *va_arg(list, {name} *);\n");
        }
        // gcc's va_arg reads a value that was passed in two integer registers as one of 16 bytes,
        // at the type's alignment (seen for unions with a long double, gcc 12): a fault, since the
        // saved registers lie at multiples of 8. The same type with that alignment is read right.
        if layout.is_some_and(|layout| layout.align > 8) && in_two_integer_registers(self, ty) {
            return format!(
                "    typedef {name} U{n} __attribute__((aligned(8)));\n    {name} a{n};\n    if \
                 (list->gp_offset <= 32) {{ U{n} u = va_arg(list, U{n}); memcpy(&a{n}, &u, \
                 sizeof u); }}\n    else a{n} = va_arg(list, {name});\n"
            );
        }
        format!("    {name} a{n} = va_arg(list, {name});\n")
    }

    fn sources(&self) -> (String, String, String) {
        let entry = if self.target.entry == "fastcall/amd64" {
            "__attribute__((ms_abi))"
        } else {
            ""
        };
        let (list, start) = if self.target.convention == "fastcall/amd64" {
            ("__builtin_ms_va_list", "__builtin_ms_va_start")
        } else {
            ("va_list", "va_start")
        };
        let count = self.main.lines().count();
        let main = format!(
            "#define ENTRY {entry}\n{MAIN}\n{}\nint main(void) {{\n{}    printf(\"done \
             {count}\\n\");\n    return faults != 0;\n}}\n",
            self.data, self.main
        );
        let callees = format!(
            "#include \"header.h\"\n#define VA_LIST {list}\n#define VA_START {start}\n{}\n{}\n",
            self.types.text, self.callees
        );
        let assembly = format!(
            ".text\n{}\n.section .note.GNU-stack,\"\",%progbits\n",
            self.stubs
        );
        (main, callees, assembly)
    }
}

/// Whether System V passes a first argument of this type in two integer registers.
fn in_two_integer_registers(program: &Program, ty: &Type) -> bool {
    let abi = program.target.abi();
    if abi != Abi::system_v() {
        return false;
    }
    let signature = Signature::new(None, vec![ty.clone()], Vec::new(), false);
    let key = signature
        .ok()
        .and_then(|signature| StubKey::block(&signature, abi, KeyOptions::default()).ok());
    key.is_some_and(|key| {
        let moves = key.moves();
        moves.len() == 2 && moves.iter().all(|m| matches!(m.to, MoveTarget::Int(_)))
    })
}

/// A small integer's value in 64 bits: where a convention's callers widen, gcc's callees rely
/// on it.
fn widened(target: Target, ty: &Type, bytes: &[u8]) -> Option<String> {
    let signed = match ty.underlying() {
        Kind::Int8 | Kind::Int16 | Kind::Int32 => true,
        Kind::Uint8 | Kind::Uint16 | Kind::Uint32 => false,
        _ => return None,
    };
    let digits: String = if target.physical().isa.big_endian() {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    } else {
        bytes.iter().rev().map(|b| format!("{b:02x}")).collect()
    };
    let kind = format!("{}int{}_t", if signed { "" } else { "u" }, 8 * bytes.len());
    Some(format!("({kind})0x{digits}"))
}

/// What a function of the target's convention is declared with.
fn attribute(target: Target) -> &'static str {
    if target.convention == "fastcall/amd64" {
        "__attribute__((ms_abi)) "
    } else {
        ""
    }
}

fn initializer(bytes: &[u8]) -> String {
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("{{{}}}", list.join(","))
}

/// A callee's results: as one C value, which is the scalar itself if there is one only, else a
/// struct.
struct Results {
    /// The type, `R` and the number.
    declaration: String,
    /// What returns them.
    statements: String,
    /// Offsets in the block, and what must be there.
    values: Vec<(u64, Memory)>,
    /// Bytes of the block.
    size: u64,
    /// There is one, which is no array.
    is_scalar: bool,
}

impl Results {
    fn new(
        abi: Abi,
        signature: &Signature,
        number: usize,
        types: &mut Types,
        random: &mut Random,
    ) -> Results {
        let block = BlockLayout::under(abi, signature.results());
        let mut fields = String::new();
        let mut assignments = String::new();
        let mut values = Vec::new();
        let scalar =
            matches!(signature.results(), [one] if !matches!(one.underlying(), Kind::Array(..)));
        for (n, (ty, &at)) in signature.results().iter().zip(block.offsets()).enumerate() {
            let value = Memory::random(abi, ty, random);
            let _ = write!(fields, "{} r{n}; ", types.name(ty));
            let field = if scalar {
                "r".to_owned()
            } else {
                format!("r.r{n}")
            };
            let _ = writeln!(
                assignments,
                "    static const unsigned char v{n}[] = {};\n    memcpy(&{field}, v{n}, sizeof \
                 v{n});",
                initializer(&value.bytes)
            );
            values.push((at, value));
        }
        let declaration = match signature.results() {
            [] => String::new(),
            [one] if scalar => format!("typedef {} R{number};\n", types.name(one)),
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
            is_scalar: scalar,
        }
    }
}
