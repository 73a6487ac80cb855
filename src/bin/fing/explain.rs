//! `fing explain`: one signature from declaration to machine code, on one page.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use fing::stubs::{Abi, Assignment, Compiler, Signature, StubError, StubKey, assign, go_frame};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A finalizer's signature, such as `func(*int) (int, float32, [10]uint8)`
    signature: String,
    /// Calling convention of the function
    #[arg(long, value_enum, default_value = "go")]
    abi: Convention,
    /// Integer argument registers of Go's ABI; 0 is ABI0 [default: all the machine has]
    #[arg(long, value_name = "N")]
    int_regs: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Convention {
    /// Go's ABIInternal, or ABI0
    Go,
    /// System V on x86-64, as C has it
    Sysv,
}

pub(crate) fn run(arguments: &Arguments) -> super::Output {
    match page(arguments) {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("fing explain: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn page(arguments: &Arguments) -> Result<super::Output, StubError> {
    let signature: Signature = arguments.signature.parse()?;
    let abi = match (arguments.abi, arguments.int_regs) {
        (Convention::Go, ints) => super::layout::go_abi("amd64", ints, None)?,
        (Convention::Sysv, None) => Abi::system_v(),
        (Convention::Sysv, Some(ints)) => Abi::system_v().with_int_arg_regs(ints)?,
    };
    let assignment = assign(&signature, abi)?;
    let key = StubKey::of(&signature, &assignment, Default::default())?;
    let compiled = Compiler::host()?.compile(&key, true)?;
    Ok((|| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "signature   {signature}")?;
        writeln!(out, "ABI         {abi}\n")?;
        section(
            &mut out,
            "assignment, as Go's compiler prints it",
            &assignment.to_go_lines(),
        )?;
        section(&mut out, "frame", &assignment.frame_picture())?;
        section(
            &mut out,
            "frame size",
            &frame_rules(&signature, &assignment, &key),
        )?;
        section(&mut out, "stub key", &key.to_string())?;
        section(&mut out, "CLIF", &compiled.clif())?;
        let bytes = compiled.code.len();
        section(
            &mut out,
            &format!("machine code, {bytes} bytes"),
            compiled.listing().unwrap_or_default(),
        )?;
        if !compiled.veneer().is_empty() {
            let title = format!("veneer, {} bytes", compiled.veneer().len());
            let lines: Vec<String> = compiled
                .veneer_listing()
                .iter()
                .map(|(offset, text)| format!("{offset:4x}: {text}"))
                .collect();
            section(&mut out, &title, &lines.join("\n"))?;
        }
        section(
            &mut out,
            "bytes",
            &hex(compiled.code.iter().chain(compiled.veneer())),
        )?;
        Ok(ExitCode::SUCCESS)
    })())
}

/// What fing reserves, and what Go reserves, which does not ask the ABI.
fn frame_rules(signature: &Signature, assignment: &Assignment, key: &StubKey) -> String {
    let nret = go_frame::results_size(signature.results());
    let now = go_frame::frame(nret);
    let class =
        |frame| go_frame::class(frame).map_or("too large".to_owned(), |class| class.to_string());
    let needed = assignment.frame_size;
    let mut text = format!(
        "the ABI needs          {needed:>6} bytes: stack arguments, stack results, spill slots\n\
         fing's stub reserves   {:>6} bytes: that, rounded up so that signatures share stubs\n\
         Go reserves            {now:>6} bytes: 2 words + all results as if on the stack; its frame class is {}",
        key.frame(),
        class(now),
    );
    if key.hidden() > 0 {
        text += &format!(
            "\nfing's stub adds       {:>6} bytes: results behind the hidden pointer",
            key.hidden()
        );
    }
    if assignment.abi.int_regs() > 0 && go_frame::seed_would_overflow(nret, needed) {
        text += &format!(
            "\nGo's first register version reserved {nret} bytes, class {}: too small here (golang/go#51457)",
            class(nret)
        );
    }
    text
}

fn section(out: &mut impl Write, title: &str, text: &str) -> std::io::Result<()> {
    writeln!(out, "{title}")?;
    for line in text.trim_end().lines() {
        writeln!(out, "{}", format!("    {line}").trim_end())?;
    }
    writeln!(out)
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    let digits: Vec<String> = bytes.map(|byte| format!("{byte:02x}")).collect();
    digits
        .chunks(32)
        .map(|line| line.join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}
