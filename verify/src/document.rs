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
- **entries**: the other direction, in Unicorn: callers of entries (`docs/callbacks.md`) with junk
  in every register but their arguments'; the block that the handler gets, and what the caller finds
  at the return: results, extensions, preserved registers, its stack. Every number of integer
  registers is tried.
- **callers**: the same, called by code that gcc compiled, as a program that runs by itself or under
  qemu: signatures of all classes of C's values, variadic ones too, and Go's own cases of Windows
  callbacks. Callers of Apple's convention are compiled by clang 14, and run on Linux's arm64; left
  out are variadic structs of vectors, which its callers have at other places than its callees.
- `-`: no such oracle. No compiler of C has `tail`; Go has one convention for each machine.
";

const FOREIGN: &str = "
A foreign suite judges System V's convention too: `cargo run -p fing-abi-cafe` is a C compiler to
abi-cafe, whose sets it calls gcc in and is called by gcc. `verify/abi-cafe/sets.tsv` lists those
that abi-cafe itself writes no C for, with the reasons; all others pass.
";

const HOSTS: &str = "
## Hosts

Machines that the whole runtime runs on. `scripts/test-host` brings what a host's tests take, builds
them and runs them; it fails when their number is another one than here. What is left out there,
with the reasons, is in `scripts/hosts.tsv`, and the script prints it.

| host | tests run | tests passed |
|---|---|---|
";

const HOSTS_TAIL: &str = "
`scripts/test-host HOST demo` runs `fing demo` there: objects with every number of the machine's
argument registers.
On arm64, riscv64 and s390x everything was only emulated: no real machine of these has run it. qemu
shows no weak memory order, so there the models under loom are the judge. Its user mode honours
arm64's cache maintenance; on riscv64 and s390x it does not see changed code behind a second mapping
by any of the machine's own means, so the tests there have the mapping made again
(`FING_EMULATOR_MAPS_CODE_AGAIN`). Tests of random cases try a quarter of them in an emulator,
which is ten times as slow; `FING_CASES=n` has them try n (`oracles/src/amount.rs`).
";

/// Hosts beside the one that tests run on natively: name in `scripts/hosts.tsv`, target, and what
/// runs the tests.
const FOREIGN_HOSTS: [[&str; 3]; 4] = [
    ["aarch64", "aarch64-unknown-linux-gnu", "under qemu 10"],
    ["riscv64", "riscv64gc-unknown-linux-gnu", "under qemu 10"],
    ["s390x", "s390x-unknown-linux-gnu", "under qemu 10"],
    ["musl", "x86_64-unknown-linux-musl", "natively"],
];

/// The table of hosts; how many tests passed is read from `scripts/hosts.tsv`.
fn hosts() -> String {
    let rows = include_str!("../../scripts/hosts.tsv").lines();
    let passed: Vec<Vec<&str>> = rows.map(|row| row.split('\t').collect()).collect();
    let mut text = "| x86_64-unknown-linux-gnu | natively, by `./test` | all |\n".to_owned();
    for [name, triple, how] in FOREIGN_HOSTS {
        let row = passed
            .iter()
            .find(|row| row[..] == ["passed", name, row[row.len() - 1]]);
        let count = row.map_or("-", |row| row[2]);
        text.push_str(&format!("| {triple} | {how} | {count} |\n"));
    }
    text
}

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
    text.push_str(FOREIGN);
    text.push_str(HOSTS);
    text.push_str(&hosts());
    text.push_str(HOSTS_TAIL);
    text
}
