//! One cell of the matrix: a target, checked by an oracle.
#![forbid(unsafe_code)]

use fing_oracles::emulator::{Isa, library};
use fing_stubs::abi::Aggregates;
use fing_stubs::entry::EntryKey;
use fing_stubs::{Abi, DEFAULT_FRAME_LIMIT, KeyOptions, Signature};

use crate::emulated::{Emulated, Form};
use crate::entries::Entered;
use crate::go::Program;
use crate::go::emulated::Loaded;
use crate::native::Mapped;
use crate::pulley::Pulley;
use crate::random::Random;
use crate::targets::Target;
use crate::{c, cases};

/// What a target is checked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oracle {
    /// The machine's registers and memory, in an emulator.
    Emulator,
    /// Functions compiled by gcc, or clang for Apple's convention, by themselves or under qemu.
    C,
    /// The same for signatures of C's types of all classes.
    Values,
    /// Functions compiled by the Go compiler, in an emulator.
    Go,
    /// Cranelift's portable interpreter, in this process.
    Pulley,
    /// Callers of entries: the machine's registers and memory, in an emulator.
    Entries,
    /// Callers of entries that are compiled by gcc, or clang for Apple's convention, by themselves
    /// or under qemu.
    Callers,
}

impl Oracle {
    /// All of them.
    pub const ALL: [Oracle; 7] = [
        Oracle::Emulator,
        Oracle::C,
        Oracle::Values,
        Oracle::Go,
        Oracle::Pulley,
        Oracle::Entries,
        Oracle::Callers,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Oracle::Emulator => "emulator",
            Oracle::C => "c",
            Oracle::Values => "values",
            Oracle::Go => "go",
            Oracle::Pulley => "pulley",
            Oracle::Entries => "entries",
            Oracle::Callers => "callers",
        }
    }

    /// Whether it has anything to say on this target.
    pub fn judges(self, target: Target) -> bool {
        let family = target.convention.split('/').next().unwrap_or_default();
        let pulley = target.triple.starts_with("pulley");
        match self {
            Oracle::Emulator => !pulley,
            Oracle::Go => family == "go",
            // No compiler of C has Cranelift's own conventions.
            Oracle::C | Oracle::Values | Oracle::Callers => {
                !pulley && !["go", "tail"].contains(&family)
            }
            Oracle::Pulley => pulley,
            // Callers by `tail` are refused.
            Oracle::Entries => !pulley && family != "tail",
        }
    }
}

/// How much to try.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Random signatures for each cell, beside the fixed ones.
    pub cases: u64,
    /// What the random signatures are made from.
    pub seed: u64,
}

/// What came of a cell.
#[derive(Clone, Debug)]
pub struct Row {
    /// The cell's target.
    pub target: Target,
    /// The cell's oracle.
    pub oracle: Oracle,
    /// Signatures tried.
    pub cases: u64,
    /// What went wrong, each with its signature.
    pub faults: Vec<String>,
    /// Why nothing was tried.
    pub skipped: Option<String>,
}

/// Runs a cell. `tick` is told of each case.
pub fn run(target: Target, oracle: Oracle, options: Options, tick: &dyn Fn(u64)) -> Row {
    let mut row = Row {
        target,
        oracle,
        cases: 0,
        faults: Vec::new(),
        skipped: None,
    };
    let outcome = match oracle {
        Oracle::Emulator => emulator(&mut row, options, tick),
        Oracle::C => by_c(&mut row, options, tick, random_case_by_c),
        Oracle::Values => by_c(&mut row, options, tick, random_values),
        Oracle::Go => by_go(&mut row, options, tick),
        Oracle::Pulley => pulley(&mut row, options, tick),
        Oracle::Entries => entries(&mut row, options, tick),
        Oracle::Callers => by_callers(&mut row, options, tick),
    };
    match outcome {
        Ok(()) => {}
        Err(Stop::Missing(what)) => row.skipped = Some(format!("{what} is not on this machine")),
        Err(Stop::Fault(what)) => row.faults.push(what),
    }
    row
}

/// Why a cell ended early.
enum Stop {
    Missing(&'static str),
    Fault(String),
}

impl From<String> for Stop {
    fn from(what: String) -> Stop {
        Stop::Fault(what)
    }
}

/// How many cases [`run`] will tell of, about.
pub fn expected_cases(target: Target, oracle: Oracle, options: Options) -> u64 {
    match oracle {
        Oracle::Emulator => options.cases + 2 * (target.abi().int_regs() as u64 + 1),
        Oracle::C | Oracle::Values | Oracle::Pulley | Oracle::Entries => options.cases,
        Oracle::Callers => options.cases + cases::callbacks().len() as u64,
        Oracle::Go => 2 * options.cases + cases::vectors().len() as u64,
    }
}

/// A random case: a signature, the target's convention with so many registers, and where the
/// arguments are.
pub fn random_case(target: Target, random: &mut Random, n: u64) -> (Signature, Abi, Form) {
    let full = target.abi();
    let form = if n.is_multiple_of(2) {
        Form::Record
    } else {
        Form::Block
    };
    let table = full.native_table();
    let has_structs = table.is_some_and(|table| table.aggregates != Aggregates::Words);
    let signature = match (target.is_go(), form) {
        (true, Form::Record) => cases::one_argument(random),
        (true, Form::Block) => cases::many_arguments(random),
        (false, form) if has_structs && n % 4 > 1 => cases::c(random, full, form),
        (false, Form::Record) => cases::native(random, 1),
        (false, Form::Block) => cases::native(random, 12),
    };
    if !target.is_go() {
        return (signature, full, form);
    }
    let mut below = |count: usize| random.below(count as u64 + 1) as usize;
    let abi = full.with_registers(below(full.int_regs()), below(full.float_regs()));
    (signature, abi.unwrap_or(full), form)
}

fn emulator(row: &mut Row, options: Options, tick: &dyn Fn(u64)) -> Result<(), Stop> {
    let library = library().ok_or(Stop::Missing("unicorn"))?;
    let target = row.target;
    let mut random = Random::for_purpose(options.seed, target.convention);
    let mut emulated = Emulated::new(library, target, options.seed)?;
    let full = target.abi();
    let mut abis = vec![full];
    if target.is_go() {
        abis.extend((0..full.int_regs()).filter_map(|n| full.with_int_arg_regs(n).ok()));
    }
    let finalizers = |abi| cases::finalizers().map(|signature| (signature, abi, Form::Record));
    let fixed = abis.into_iter().flat_map(finalizers);
    let random = (0..options.cases).map(|n| random_case(target, &mut random, n));
    for (n, (signature, abi, form)) in fixed.chain(random).enumerate() {
        let key_options = KeyOptions::default().context_argument(!target.is_go() && n % 3 == 2);
        row.cases += 1;
        tick(1);
        if let Err(fault) = emulated.verify(&signature, abi, key_options, form) {
            row.faults.push(fault.to_string());
        }
    }
    Ok(())
}

/// Signatures in one C program.
const PROGRAM: usize = 250;

/// A signature and where its arguments are.
type Case = (Signature, Form);

fn random_case_by_c(target: Target, random: &mut Random, n: u64) -> Case {
    let (signature, _, form) = random_case(target, random, n);
    (signature, form)
}

/// A signature of C's types of all classes.
fn random_values(target: Target, random: &mut Random, _: u64) -> Case {
    (cases::c(random, target.abi(), Form::Block), Form::Block)
}

fn by_c(
    row: &mut Row,
    options: Options,
    tick: &dyn Fn(u64),
    case: fn(Target, &mut Random, u64) -> Case,
) -> Result<(), Stop> {
    let toolchain = c::toolchain(row.target).ok_or(Stop::Missing("gcc for it, clang or qemu"))?;
    let mut random = Random::for_purpose(options.seed, row.target.convention);
    let all: Vec<Case> = (0..options.cases)
        .map(|n| case(row.target, &mut random, n))
        .collect();
    let compiler = row.target.compiler().map_err(|e| e.to_string())?;
    for part in all.chunks(PROGRAM) {
        row.cases += part.len() as u64;
        row.faults.extend(c::verify(
            &toolchain,
            &compiler,
            row.target,
            part,
            &mut random,
        )?);
        tick(part.len() as u64);
    }
    Ok(())
}

fn by_go(row: &mut Row, options: Options, tick: &dyn Fn(u64)) -> Result<(), Stop> {
    let library = library().ok_or(Stop::Missing("unicorn"))?;
    let isa = row.target.physical().isa;
    let mut random = Random::for_purpose(options.seed, row.target.convention);
    // Vectors, then any signatures, then such as a stub takes.
    let mut signatures = cases::vectors();
    signatures.extend((0..options.cases / 2).map(|_| cases::many_arguments(&mut random)));
    let by_stub = signatures.len();
    signatures.extend((0..options.cases).map(|_| cases::one_argument(&mut random)));
    let program = Program::build(isa, &signatures, &mut random).ok_or(Stop::Missing("go"))??;
    let mut loaded = Loaded::new(library, &program, row.target, options.seed)?;
    let mapped = match isa {
        Isa::Amd64 => Some(Mapped::new(&program)?),
        _ => None,
    };
    for number in 0..signatures.len() {
        row.cases += 1;
        tick(1);
        let mut outcome = loaded
            .call(number)
            .and_then(|()| loaded.call_by_stub(number, row.target, Form::Block));
        if number >= by_stub {
            outcome = outcome.and_then(|()| loaded.call_by_stub(number, row.target, Form::Record));
        }
        if let Some(mapped) = &mapped {
            outcome = outcome.and_then(|()| mapped.call(number));
            if number >= by_stub {
                outcome = outcome.and_then(|()| mapped.call_by_stub(number));
            }
        }
        row.faults.extend(outcome.err());
    }
    Ok(())
}

fn pulley(row: &mut Row, options: Options, tick: &dyn Fn(u64)) -> Result<(), Stop> {
    let mut random = Random::for_purpose(options.seed, row.target.triple);
    let mut pulley = Pulley::new(row.target, options.seed)?;
    for n in 0..options.cases {
        let (signature, _, form) = random_case(row.target, &mut random, n);
        row.cases += 1;
        tick(1);
        row.faults.extend(pulley.verify(&signature, form).err());
    }
    Ok(())
}

fn entries(row: &mut Row, options: Options, tick: &dyn Fn(u64)) -> Result<(), Stop> {
    let library = library().ok_or(Stop::Missing("unicorn"))?;
    let mut entered = Entered::new(library, row.target, options.seed)?;
    for _ in 0..options.cases {
        let (signature, abi) = entered.case();
        row.cases += 1;
        tick(1);
        row.faults.extend(entered.verify(&signature, abi).err());
    }
    Ok(())
}

fn by_callers(row: &mut Row, options: Options, tick: &dyn Fn(u64)) -> Result<(), Stop> {
    let target = row.target;
    let toolchain = c::toolchain(target).ok_or(Stop::Missing("gcc for it, clang or qemu"))?;
    let mut random = Random::for_purpose(options.seed, &format!("callers {}", target.convention));
    let mut signatures = cases::callbacks();
    let mut case = |n| match n % 3 {
        0 => cases::native(&mut random, 14),
        _ => cases::c(&mut random, target.abi(), Form::Block),
    };
    signatures.extend((0..options.cases).map(|n| {
        loop {
            let signature = case(n);
            if !c::callers::is_miscompiled(target, &signature) {
                return signature;
            }
        }
    }));
    let compiler = target.compiler().map_err(|e| e.to_string())?;
    for part in signatures.chunks(PROGRAM) {
        let keyed = part.iter().map(|signature| {
            let key = EntryKey::new(signature, target.abi(), DEFAULT_FRAME_LIMIT);
            Ok((signature.clone(), key.map_err(|e| e.to_string())?))
        });
        let keyed = keyed.collect::<Result<Vec<_>, String>>()?;
        row.cases += part.len() as u64;
        let outcome = c::callers::verify(&toolchain, &compiler, target, &keyed, &mut random);
        row.faults.extend(outcome?);
        tick(part.len() as u64);
    }
    Ok(())
}
