//! `fing layout`: assignments for signatures from the command line or standard input.
#![forbid(unsafe_code)]

use std::io::{BufRead, Write};
use std::process::ExitCode;

use fing::stubs::{Abi, Signature, assign};

use crate::convention::Convention;

/// The longest line read from standard input, in bytes; longer ones are reported and skipped.
const LINE_LIMIT: u64 = 16 << 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    convention: Convention,
    /// Signatures such as `func(*int, string) (int, error)`; without any, they are read from
    /// standard input, one a line, each optionally after an id and a tab
    #[arg(value_name = "SIGNATURE")]
    signatures: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> super::Output {
    let abi = match arguments.convention.abi() {
        Ok(abi) => abi,
        Err(error) => {
            eprintln!("fing layout: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut printer = Printer {
        abi,
        json: arguments.convention.json,
        bad: 0,
    };
    for (number, signature) in (1..).zip(&arguments.signatures) {
        printer.signature(
            &format!("argument {number}"),
            &number.to_string(),
            0,
            signature,
        )?;
    }
    if arguments.signatures.is_empty() {
        printer.standard_input()?;
    }
    Ok(if printer.bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Printer {
    abi: Abi,
    json: bool,
    bad: u64,
}

impl Printer {
    fn standard_input(&mut self) -> std::io::Result<()> {
        let mut input = std::io::stdin().lock();
        for number in 1u64.. {
            let mut line = Vec::new();
            if std::io::Read::take(&mut input, LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let place = format!("line {number}");
            if line.len() as u64 == LINE_LIMIT && line.last() != Some(&b'\n') {
                self.complain(
                    &place,
                    format_args!("found a line longer than {LINE_LIMIT} bytes"),
                );
                input.skip_until(b'\n')?;
                continue;
            }
            let Ok(line) = str::from_utf8(&line) else {
                self.complain(&place, format_args!("found bytes that are not UTF-8"));
                continue;
            };
            let line = line.trim_end_matches(['\n', '\r']);
            if line.trim().is_empty() {
                continue;
            }
            let (id, signature) = line.split_once('\t').unwrap_or(("", line));
            let before = if id.len() < line.len() && line.contains('\t') {
                id.chars().count() + 1
            } else {
                0
            };
            let number = number.to_string();
            self.signature(
                &place,
                if before == 0 { &number } else { id },
                before,
                signature,
            )?;
        }
        Ok(())
    }

    /// Prints one assignment. `before` is the number of characters of the line in front of the
    /// signature.
    fn signature(
        &mut self,
        place: &str,
        id: &str,
        before: usize,
        text: &str,
    ) -> std::io::Result<()> {
        let signature: Signature = match text.parse() {
            Ok(signature) => signature,
            Err(fing::stubs::ParseError { column, reason, .. }) => {
                self.complain(place, format_args!("column {}: {reason}", before + column));
                return Ok(());
            }
        };
        let assignment = match assign(&signature, self.abi) {
            Ok(assignment) => assignment,
            Err(error) => {
                self.complain(place, format_args!("{error}"));
                return Ok(());
            }
        };
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", assignment.to_json(id, &signature))
        } else {
            writeln!(
                out,
                "{signature}\n{}\n",
                assignment.frame_picture().trim_end()
            )
        }
    }

    fn complain(&mut self, place: &str, what: std::fmt::Arguments<'_>) {
        self.bad += 1;
        eprintln!("fing layout: {place}: {what}");
    }
}
