//! Source files, places in them, and compile errors.
#![forbid(unsafe_code)]

use std::fmt;

/// A place in the sources: an offset in all their texts in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pos(pub(crate) u32);

/// What is wrong with a program, and where.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) pos: Pos,
    pub(crate) message: String,
}

pub(crate) type Checked<T> = Result<T, Fault>;

/// Returns a fault as an error.
pub(crate) fn fault<T>(pos: Pos, message: impl Into<String>) -> Checked<T> {
    Err(Fault {
        pos,
        message: message.into(),
    })
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
        let CompileError {
            file,
            line,
            column,
            message,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

impl std::error::Error for CompileError {}

#[derive(Debug)]
struct File {
    name: String,
    start: u32,
    text: String,
}

/// All files of a program.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: Vec<File>,
}

impl Sources {
    /// Adds a file; returns the place where it begins.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> Pos {
        let last = self.files.last();
        let start = last.map_or(0, |file| file.start + file.text.len() as u32 + 1);
        self.files.push(File {
            name: name.to_owned(),
            start,
            text: text.to_owned(),
        });
        Pos(start)
    }

    /// Returns the error with file, line and column.
    pub(crate) fn error(&self, fault: &Fault) -> CompileError {
        let found = self.files.iter().rfind(|file| file.start <= fault.pos.0);
        let (file, line, column) = found.map_or((String::new(), 1, 1), |file| {
            let at = ((fault.pos.0 - file.start) as usize).min(file.text.len());
            let before = &file.text.as_bytes()[..at];
            let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
            let start = before
                .iter()
                .rposition(|&b| b == b'\n')
                .map_or(0, |n| n + 1);
            (file.name.clone(), line, at - start + 1)
        });
        CompileError {
            file,
            line,
            column,
            message: fault.message.clone(),
        }
    }
}
