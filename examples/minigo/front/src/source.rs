//! Source files, places in them, and compile errors.

use std::fmt;

/// A place in the sources: an offset in all their texts in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pos(pub(crate) u32);

/// What is wrong with a program, and where.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) pos: Pos,
    pub(crate) message: String,
}

pub(crate) type Checked<T> = Result<T, Fault>;

/// Returns a fault as an error.
pub(crate) fn fault<T>(pos: Pos, message: impl Into<String>) -> Checked<T> {
    let message = message.into();
    Err(Fault { pos, message })
}

/// A compile error, with its place in the program's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1, as Go counts.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line, column) = (&self.file, self.line, self.column);
        write!(f, "{file}:{line}:{column}: {}", self.message)
    }
}

impl std::error::Error for CompileError {}

/// The texts of all files of a program in a row, and where each begins.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    text: String,
    files: Vec<(String, usize)>,
}

impl Sources {
    /// Adds a file; returns the place where it begins.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> Pos {
        let start = self.text.len();
        self.files.push((name.to_owned(), start));
        self.text += text;
        self.text += "\n";
        Pos(start as u32)
    }

    /// Returns the error with file, line and column.
    pub(crate) fn error(&self, fault: &Fault) -> CompileError {
        let at = fault.pos.0 as usize;
        let found = self.files.iter().rfind(|(_, start)| *start <= at);
        let (file, start) = found.cloned().unwrap_or_default();
        let before = &self.text[start..at];
        CompileError {
            file,
            line: before.matches('\n').count() + 1,
            column: before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1,
            message: fault.message.clone(),
        }
    }
}
