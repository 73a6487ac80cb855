//! Entries in C programs: gcc compiles the callers, which compare results with constants, and a
//! handler that compares the block of arguments. The entries are linked in as bytes.
#![forbid(unsafe_code)]

use std::fmt::Write;

use fing_oracles::c::{CALLEES, Toolchain};
use fing_stubs::entry::{CompiledEntry, EntryKey, compile_entry};
use fing_stubs::signature::CType;
use fing_stubs::{BlockLayout, Compiler, Kind, Signature, Type};

use super::types::Types;
use super::{HEADER, Results, attribute, faults, initializer, widened};
use crate::memory::Memory;
use crate::random::Random;
use crate::targets::Target;

/// What entries call, and what runs the callers.
const MAIN: &str = r#"
#include <stdio.h>
#include <string.h>
#include "header.h"

typedef struct { int at, size; const unsigned char *bytes, *mask; } Value;
typedef struct { int count; const Value *values; } Values;
typedef struct { const char *slot; void (*call)(void); Values arguments, results; int size; } Case;

extern const Case cases[];
static int case_number, calls, faults;

void fault(const char *what) {
    faults++;
    printf("%d %s\n", case_number, what);
}
void called(int number) {
    if (number != case_number) fault("another caller runs");
}
void handle(const char *slot, uint64_t state, const unsigned char *arguments,
            unsigned char *results, uint64_t number) {
    const Case *c = &cases[case_number];
    calls++;
    if (slot != c->slot) fault("another slot is handled");
    if (state != 0x1122334455667788) fault("the slot's state differs");
    if (number != case_number) fault("another number is handled");
    for (int n = 0; n < c->arguments.count; n++) {
        const Value *value = &c->arguments.values[n];
        if (!same(arguments + value->at, value->bytes, value->mask, value->size)) {
            char what[32];
            sprintf(what, "argument %d differs", n);
            fault(what);
        }
    }
    for (int at = 0; at < c->size; at++)
        if (results[at]) {
            fault("the block of results is not zero");
            break;
        }
    for (int n = 0; n < c->results.count; n++) {
        const Value *value = &c->results.values[n];
        memcpy(results + value->at, value->bytes, value->size);
    }
}
"#;

/// Has code of gcc's call an entry for each signature; each fault names its signature. The key is
/// the signature's, or a wrong one that has to be found out.
///
/// # Errors
/// Something does not compile, or the program does not run.
pub fn verify(
    toolchain: &Toolchain,
    compiler: &Compiler,
    target: Target,
    cases: &[(Signature, EntryKey)],
    random: &mut Random,
) -> Result<Vec<String>, String> {
    let mut program = Program {
        callers: String::new(),
        data: String::new(),
        table: String::new(),
        entries: String::new(),
        slots: String::new(),
        types: Types::new(target.abi()),
        target,
    };
    for (number, (signature, key)) in cases.iter().enumerate() {
        let compiled = compile_entry(compiler, key, number as u64, false);
        program.entry(number, &compiled.map_err(|e| e.to_string())?);
        program.case(number, signature, random);
    }
    let Program {
        callers,
        data,
        table,
        entries,
        slots,
        types,
        ..
    } = program;
    let count = cases.len();
    let main = format!(
        "{MAIN}\n{data}\nconst Case cases[] = {{\n{table}}};\n\
         int main(void) {{\n    for (; case_number < {count}; case_number++) {{\n        \
         calls = 0;\n        cases[case_number].call();\n        \
         if (calls != 1) fault(\"not one call\");\n    }}\n    \
         printf(\"done {count}\\n\");\n    return faults != 0;\n}}\n"
    );
    let callers = format!("#include \"header.h\"\n{}\n{callers}", types.text);
    let assembly = format!(
        ".text\n{entries}\n.data\n.balign 8\n{slots}\n.section .note.GNU-stack,\"\",%progbits\n"
    );
    let sources = [
        ("header.h", HEADER),
        ("main.c", &main),
        (CALLEES, &callers),
        ("entries.S", &assembly),
    ];
    let signatures: Vec<_> = cases.iter().map(|(signature, _)| signature).collect();
    faults(toolchain, target, &signatures, &sources)
}

/// Whether the compiler's callers are known to be wrong, so that there is nothing to compare with.
///
/// clang 14 puts a struct of vectors among an Apple function's variadic arguments at the next
/// multiple of 8, where its own `va_arg`, and Apple's text, have 16.
pub fn is_miscompiled(target: Target, signature: &Signature) -> bool {
    let fixed = signature.fixed().unwrap_or(usize::MAX);
    let mut variadic = signature.arguments().skip(fixed);
    target.convention == "apple/arm64" && variadic.any(|ty| parts(target, ty).iter().any(is_vector))
}

fn is_vector(ty: &Type) -> bool {
    matches!(ty.underlying(), Kind::C(CType::Vector(..)))
}

/// All types that are in a struct, union or array.
fn parts(target: Target, ty: &Type) -> Vec<Type> {
    let own = match (ty.underlying(), target.abi().native_table()) {
        (Kind::Array(_, elem), _) => vec![elem.clone()],
        (_, Some(native)) => native
            .data
            .members(ty)
            .iter()
            .map(|m| m.ty.clone())
            .collect(),
        _ => Vec::new(),
    };
    let inner = own
        .iter()
        .flat_map(|ty| parts(target, ty))
        .collect::<Vec<_>>();
    [own, inner].concat()
}

/// The parts of a program, as they grow.
struct Program {
    callers: String,
    /// Arguments and results.
    data: String,
    /// The array of cases.
    table: String,
    /// Entries with their veneers and bodies.
    entries: String,
    slots: String,
    types: Types,
    target: Target,
}

impl Program {
    /// An entry as bytes but for its two addresses, and its slot.
    fn entry(&mut self, number: usize, compiled: &CompiledEntry) {
        let image = compiled.image(0, 0);
        let veneer = compiled.veneer_offset();
        let slot = compiled.entry_bytes() - 8;
        let body = veneer + compiled.veneer_bytes() - 8;
        let start = (body + 8).next_multiple_of(16);
        let list = |bytes: &[u8]| {
            let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
            list.join(",")
        };
        // Writing to a String never fails; the same below.
        let _ = writeln!(
            self.entries,
            ".balign 16\n.globl entry_{number}\nentry_{number}:\n.byte {}\n.8byte slot_{number}\n\
             .byte {}\n.8byte entry_{number} + {start}\n.byte {}",
            list(&image[..slot]),
            list(&image[slot + 8..body]),
            list(&image[body + 8..]),
        );
        let _ = writeln!(
            self.slots,
            ".globl slot_{number}\nslot_{number}:\n\
             .8byte entry_{number} + {veneer}, 0x1122334455667788, handle"
        );
    }

    fn case(&mut self, number: usize, signature: &Signature, random: &mut Random) {
        let abi = self.target.abi();
        let block = BlockLayout::under(abi, signature.arguments());
        let (mut values, mut types, mut body) = (Vec::new(), Vec::new(), String::new());
        for (n, (ty, &at)) in signature.arguments().zip(block.offsets()).enumerate() {
            let value = Memory::random(abi, ty, random);
            let name = self.types.name(ty);
            let _ = writeln!(
                body,
                "    static const unsigned char w{n}[] = {};\n    {name} a{n};\n    \
                 memcpy(&a{n}, w{n}, sizeof a{n});",
                initializer(&value.bytes)
            );
            types.push(name);
            values.push((at, value));
        }
        let given: Vec<String> = (0..types.len()).map(|n| format!("a{n}")).collect();
        if let Some(fixed) = signature.fixed() {
            types.truncate(fixed);
            types.push("...".into());
        }
        if types.is_empty() {
            types.push("void".into());
        }
        let results = Results::new(abi, signature, number, &mut self.types, random);
        let (result, place) = match results.values[..] {
            [] => ("void".to_owned(), String::new()),
            _ => (format!("R{number}"), format!("R{number} r = ")),
        };
        let _ = writeln!(body, "    {place}entry_{number}({});", given.join(", "));
        for (n, ((_, value), ty)) in results.values.iter().zip(signature.results()).enumerate() {
            let (bytes, mask) = (initializer(&value.bytes), initializer(&value.mask));
            // A copy is looked at: what has an address is not taken from its register.
            let (field, copy) = match results.is_scalar {
                true => ("copy".to_owned(), format!("    R{number} copy = r;\n")),
                false => (format!("r.r{n}"), String::new()),
            };
            let size = value.bytes.len();
            let _ = writeln!(
                body,
                "    static const unsigned char v{n}[] = {bytes}, k{n}[] = {mask};\n{copy}    \
                 if (!same(&{field}, v{n}, k{n}, {size})) fault(\"result {n} differs\");"
            );
            let literal = widened(self.target, ty, &value.bytes).filter(|_| results.is_scalar);
            if let Some(literal) = literal {
                let _ = writeln!(
                    body,
                    "    if ((int64_t)r != (int64_t){literal}) fault(\"result {n} is not \
                     widened\");"
                );
            }
        }
        let _ = writeln!(
            self.callers,
            "{}{}{result} entry_{number}({});\nvoid caller_{number}(void) {{\n    \
             called({number});\n{body}}}",
            results.declaration,
            attribute(self.target),
            types.join(", ")
        );
        let arguments = self.values(number, "arguments", &values);
        let left = self.values(number, "results", &results.values);
        let _ = writeln!(
            self.data,
            "extern char slot_{number}[];\nvoid caller_{number}(void);"
        );
        let size = results.size;
        let _ = writeln!(
            self.table,
            "    {{slot_{number}, caller_{number}, {arguments}, {left}, {size}}},"
        );
    }

    /// Defines values with their places, and gives what names them in the table.
    fn values(&mut self, number: usize, what: &str, values: &[(u64, Memory)]) -> String {
        let list: Vec<String> = values
            .iter()
            .map(|(at, Memory { bytes, mask })| {
                let [list, mask] = [bytes, mask].map(|bytes| initializer(bytes));
                let size = bytes.len();
                format!(
                    "{{{at}, {size}, (const unsigned char[]){list}, (const unsigned char[]){mask}}}"
                )
            })
            .collect();
        let name = format!("{what}_{number}");
        let count = list.len();
        let _ = writeln!(
            self.data,
            "static const Value {name}[{}] = {{{}}};",
            count.max(1),
            list.join(", ")
        );
        format!("{{{count}, {name}}}")
    }
}
