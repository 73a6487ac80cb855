//! `fing explain`: one signature from declaration to machine code, on one page.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use fing::stubs::{
    Abi, Assignment, Compiled, Compiler, Signature, StubError, StubKey, assign, go_frame,
};

use crate::convention::Convention;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A signature, such as `func(*int) (int, float32, [10]uint8)`
    signature: String,
    #[command(flatten)]
    convention: Convention,
}

pub(crate) fn run(arguments: &Arguments) -> super::Output {
    match Explanation::of(arguments) {
        Ok(explanation) => {
            let mut out = std::io::stdout().lock();
            match arguments.convention.json {
                false => explanation.page(&mut out)?,
                true => writeln!(out, "{}", explanation.json())?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("fing explain: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Every stage of one signature.
struct Explanation {
    target: String,
    signature: Signature,
    abi: Abi,
    assignment: Assignment,
    key: StubKey,
    compiled: Compiled,
}

impl Explanation {
    fn of(arguments: &Arguments) -> Result<Explanation, StubError> {
        let signature: Signature = arguments.signature.parse()?;
        let compiler = match arguments.convention.triple() {
            Some(triple) => Compiler::for_target(triple)?,
            None => Compiler::host()?,
        };
        let abi = arguments.convention.abi()?;
        let assignment = assign(&signature, abi)?;
        // A finalizer's stub reads its one argument from a record; any other reads a block of
        // arguments.
        let key = match StubKey::of(&signature, &assignment, Default::default()) {
            Err(StubError::NotOneParameter { .. } | StubError::ArgumentTooLarge { .. }) => {
                StubKey::block(&signature, abi, Default::default())?
            }
            key => key?,
        };
        let compiled = compiler.compile(&key, true)?;
        let target = compiler.triple().to_string();
        Ok(Explanation {
            target,
            signature,
            abi,
            assignment,
            key,
            compiled,
        })
    }

    fn page(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Explanation {
            target,
            signature,
            abi,
            assignment,
            key,
            compiled,
        } = self;
        writeln!(out, "signature   {signature}")?;
        writeln!(out, "ABI         {abi}")?;
        writeln!(out, "target      {target}\n")?;
        section(
            out,
            "assignment, as Go's compiler prints it",
            &assignment.to_go_lines(),
        )?;
        section(out, "frame", &assignment.frame_picture())?;
        section(out, "frame size", &frame_rules(signature, assignment, key))?;
        section(out, "stub key", &key.to_string())?;
        section(out, "CLIF", &compiled.clif())?;
        let bytes = compiled.code.len();
        let listing = compiled.listing().unwrap_or_default();
        section(out, &format!("machine code, {bytes} bytes"), listing)?;
        if let Some(listing) = compiled.entrance_listing() {
            let bytes = compiled.entrance().len();
            let title = format!("entrance, {bytes} bytes, shared by all stubs");
            section(out, &title, listing)?;
        }
        if !compiled.veneer().is_empty() {
            let title = format!("veneer, {} bytes", compiled.veneer().len());
            section(out, &title, &self.veneer().join("\n"))?;
        }
        section(
            out,
            "bytes",
            &hex(compiled.code.iter().chain(compiled.veneer()), 32, " "),
        )
    }

    /// The stages as fields; `assignment` is what `fing layout --json` prints.
    fn json(&self) -> serde_json::Value {
        let Explanation {
            target,
            signature,
            abi,
            assignment,
            key,
            compiled,
        } = self;
        let nret = go_frame::results_size(signature.results());
        serde_json::json!({
            "signature": signature.to_string(),
            "abi": abi.to_string(),
            "target": target,
            "assignment": assignment.to_json("", signature),
            "key": key.to_string(),
            "frame": {
                "needed": assignment.frame_size,
                "reserved": key.frame(),
                "hidden": key.hidden(),
                "go": go_frame::frame(nret),
            },
            "clif": compiled.clif(),
            "code": hex(compiled.code.iter(), usize::MAX, ""),
            "listing": compiled.listing().unwrap_or_default(),
            "entrance": hex(compiled.entrance().iter(), usize::MAX, ""),
            "entrance_listing": compiled.entrance_listing().unwrap_or_default(),
            "veneer": hex(compiled.veneer().iter(), usize::MAX, ""),
            "veneer_listing": self.veneer(),
        })
    }

    fn veneer(&self) -> Vec<String> {
        let listing = self.compiled.veneer_listing().iter();
        listing
            .map(|(offset, text)| format!("{offset:4x}: {text}"))
            .collect()
    }
}

/// The spill space that fing reserves, and the one that Go reserves, which does not depend on the
/// ABI.
fn frame_rules(signature: &Signature, assignment: &Assignment, key: &StubKey) -> String {
    let nret = go_frame::results_size(signature.results());
    let now = go_frame::frame(nret);
    let class =
        |frame| go_frame::class(frame).map_or("too large".to_owned(), |class| class.to_string());
    let needed = assignment.frame_size;
    let mut text = format!(
        "the ABI needs          {needed:>6} bytes: stack arguments, stack results, spill slots\n\
         fing's stub reserves   {:>6} bytes: that, rounded up so that signatures share stubs\n\
         Go reserves            {now:>6} bytes: 2 words + all results as if on the stack; its \
         frame class is {}",
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
            "\nGo's first register version reserved {nret} bytes, class {}: too small here \
             (golang/go#51457)",
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

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>, line: usize, between: &str) -> String {
    let digits: Vec<String> = bytes.map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<String> = digits.chunks(line).map(|line| line.join(between)).collect();
    lines.join("\n")
}
