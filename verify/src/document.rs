//! The text of docs/targets.md: which conventions are generated for which machine, and who judges
//! each.
#![forbid(unsafe_code)]

use crate::run::Oracle;
use crate::targets::TARGETS;

const HEAD: &str = "# Targets

Conventions that stubs are generated for, and what each is compared with. `cargo run -p fing-verify`
runs the table: at least 1000 random signatures for each cell, beside the fixed ones;
`cargo test -p fing-verify` runs each cell with fewer. A cell that fails, fails the build. The file
is written by `BLESS=1 cargo test -p fing-verify --test targets` and checked without it.

";

const TAIL: &str = "
- **emulator**: the machine's own registers, frame and memory at the first instruction of every
  callee, in Unicorn. `oracles/src/convention.rs` says a second time which physical registers these
  must be. The callee then changes everything its convention allows; at the end the caller's
  registers, stack and memory must be as they were. Every number of integer registers is tried.
- **c**: callees compiled by gcc. The stub is linked in as bytes, and the program runs by itself or
  under qemu. gcc decides whether a struct comes back in registers or behind the hidden pointer.
  Callees of Apple's convention are compiled by clang 14, and run on Linux's arm64.
- **values**: the same for signatures of C's types of all classes, variadic ones too. The compiler
  is asked about sizes and alignments as well.
- **go**: callees compiled by the Go compiler, with their arguments compared and their results
  known. They are called by hand from the assignment, and by stubs, in the emulator; on x86-64 also
  in the process itself, by stubs and by the interpreter. The 302 signatures of
  `stubs/tests/vectors/public.jsonl` are always among them.
- **pulley**: Pulley's registers and stack at every callee, in this process, in both byte orders.
- `-`: no such oracle. No compiler of C has `tail`; Go has one convention for each machine.
";

/// The whole text.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    let names = Oracle::ALL.map(Oracle::name).join(" | ");
    text.push_str(&format!("| target | convention | {names} |\n"));
    text.push_str(&format!("|---|---|{}\n", "---|".repeat(Oracle::ALL.len())));
    for target in TARGETS {
        let cells = Oracle::ALL.map(|oracle| if oracle.judges(*target) { "yes" } else { "-" });
        text.push_str(&format!(
            "| {} | `{}` | {} |\n",
            target.triple,
            target.convention,
            cells.join(" | ")
        ));
    }
    text.push_str(TAIL);
    text
}
