//! The part of a Markdown document that `fing bench` writes: what stands between two marks.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::subject::Fault;

const BEGIN: &str = "<!-- begin: fing bench -->";
const END: &str = "<!-- end: fing bench -->";

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
    format!(
        "cargo run --release --features bench -- {}",
        arguments.join(" ")
    )
}
