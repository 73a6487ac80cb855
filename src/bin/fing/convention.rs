//! The options by which commands are given a machine and a calling convention.
#![forbid(unsafe_code)]

use fing::stubs::{Abi, AbiError, Arch, Compiler};
use target_lexicon::Triple;

/// The machine and the calling convention of functions.
#[derive(clap::Args)]
pub(crate) struct Convention {
    /// Calling convention: go, or a native one of the machine (sysv, fastcall, aapcs, apple, lp64d,
    /// elf, c, tail)
    #[arg(long, default_value = "go")]
    abi: String,
    /// Machine: a name (amd64, arm64, riscv64, s390x, ppc64, loong64) or a target such as
    /// aarch64-unknown-linux-gnu; `fing targets` lists those that stubs are made for
    /// [default: this one]
    #[arg(long, visible_alias = "arch", value_name = "MACHINE", value_parser = machine)]
    target: Option<Machine>,
    /// Integer argument registers of Go's ABI; 0 is ABI0 [default: all the machine has]
    #[arg(long, value_name = "N")]
    int_regs: Option<usize>,
    /// Float argument registers of Go's ABI [default: all the machine has, but none with
    /// `--int-regs 0`]
    #[arg(long, value_name = "M")]
    float_regs: Option<usize>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// A machine as it was named.
#[derive(Clone)]
enum Machine {
    Arch(Arch),
    Triple(Triple),
}

fn machine(text: &str) -> Result<Machine, String> {
    if let Ok(arch) = text.parse() {
        return Ok(Machine::Arch(arch));
    }
    let triple = text.parse().map_err(|_| {
        let names: Vec<&str> = Arch::ALL.iter().map(|arch| arch.name()).collect();
        let names = names.join(", ");
        format!("found {text}, wanted a machine ({names}) or a target triple")
    });
    triple.map(Machine::Triple)
}

/// The target that stubs for a machine are made for when only the machine is named.
fn usual_target(arch: Arch) -> &'static str {
    match arch.name() {
        "amd64" => "x86_64-unknown-linux-gnu",
        "arm64" => "aarch64-unknown-linux-gnu",
        "riscv64" => "riscv64gc-unknown-linux-gnu",
        "s390x" => "s390x-unknown-linux-gnu",
        "ppc64" => "powerpc64le-unknown-linux-gnu",
        "loong64" => "loongarch64-unknown-linux-gnu",
        other => other,
    }
}

impl Convention {
    /// The target, if a machine was named.
    pub(crate) fn triple(&self) -> Option<Triple> {
        match self.target.as_ref()? {
            Machine::Triple(triple) => Some(triple.clone()),
            Machine::Arch(arch) => usual_target(*arch).parse().ok(),
        }
    }

    /// The ABI on the machine that was named, or on this one.
    pub(crate) fn abi(&self) -> Result<Abi, AbiError> {
        let machine = match &self.target {
            None => Arch::host().map_or(std::env::consts::ARCH.to_owned(), |arch| arch.to_string()),
            Some(Machine::Arch(arch)) => arch.to_string(),
            Some(Machine::Triple(triple)) => match Compiler::arch_of(triple) {
                Some(arch) => arch.to_string(),
                None => triple.architecture.to_string(),
            },
        };
        let abi: Abi = format!("{}/{machine}", self.abi).parse()?;
        let ints = self.int_regs;
        let abi = ints.map_or(Ok(abi), |ints| abi.with_int_arg_regs(ints))?;
        let floats = self.float_regs;
        floats.map_or(Ok(abi), |floats| abi.with_registers(abi.int_regs(), floats))
    }
}
