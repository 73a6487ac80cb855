//! A report as the part of a Markdown document between two marks.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::table::Table;
use super::{LEGEND, Report};
use crate::measure::Fault;
use crate::plan::Scenario;

const BEGIN: &str = "<!-- begin: fing-benches -->";
const END: &str = "<!-- end: fing-benches -->";

/// A document with room for the tables.
pub(crate) struct Document {
    path: PathBuf,
    before: String,
    after: String,
}

impl Document {
    /// # Errors
    /// It cannot be read, or has not the two marks.
    pub(crate) fn read(path: &Path) -> Result<Document, Fault> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("--document {}: {error}", path.display()))?;
        let split = text
            .split_once(BEGIN)
            .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) = split.ok_or_else(|| {
            let path = path.display();
            format!("--document {path}: wanted the lines {BEGIN} and {END}")
        })?;
        Ok(Document {
            path: path.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }

    /// Replaces what is between the marks.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, text: &str) -> std::io::Result<()> {
        let Document {
            path,
            before,
            after,
        } = self;
        std::fs::write(path, format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))
    }
}

/// How this run was started, as one would type it in the checkout.
pub(crate) fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments = arguments.join(" ");
    format!("cargo run --release -p fing-benches -- {arguments}")
}

impl Report {
    /// For a document, below a heading of the second level.
    pub(crate) fn to_markdown(&self, command: &str) -> String {
        let mut text = format!("```console\n$ {command}\n```\n\n| | |\n|---|---|\n");
        for (heading, facts) in self.facts() {
            for (name, value) in facts {
                text += &match heading {
                    "Skipped" => format!("| {name} | skipped: {value} |\n"),
                    _ => format!("| {name} | {value} |\n"),
                };
            }
        }
        text += &format!("\n{LEGEND}\n");
        for table in self.tables() {
            let Scenario {
                name, about, unit, ..
            } = table.scenario;
            let figures = table.to_markdown();
            text += &format!("\n### {name}\n\n{about}; {unit}\n\n{figures}");
        }
        text
    }
}

impl Table {
    fn to_markdown(&self) -> String {
        let columns = "---|".repeat(self.names()) + &"---:|".repeat(self.sizes.len());
        let mut lines = self.cells().into_iter().map(|line| line.join(" | "));
        let head = lines.next().unwrap_or_default();
        let mut text = format!("| {head} |\n|{columns}\n");
        for line in lines {
            text += &format!("| {line} |\n");
        }
        text
    }
}
