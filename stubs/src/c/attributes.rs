//! GNU's attributes and `_Alignas`.
#![forbid(unsafe_code)]

use super::lex::Token;
use super::parse::{Parser, Refusal};
use super::specifiers::Specifiers;

/// What attributes ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes {
    pub(super) is_packed: bool,
    pub(super) aligned: Option<u64>,
    pub(super) vector: Option<u64>,
}

/// Attributes that change nothing about how a value travels.
const IGNORED: &[&str] = &[
    "access",
    "alloc_align",
    "alloc_size",
    "artificial",
    "cold",
    "const",
    "deprecated",
    "format",
    "format_arg",
    "hot",
    "leaf",
    "malloc",
    "may_alias",
    "nonnull",
    "noreturn",
    "nothrow",
    "pure",
    "returns_nonnull",
    "returns_twice",
    "sentinel",
    "unused",
    "used",
    "visibility",
    "warn_unused_result",
];

impl Parser<'_, '_> {
    /// Reads attributes that stand here, and `_Alignas`.
    pub(super) fn attributes(&mut self, specifiers: &mut Specifiers) -> Result<(), Refusal> {
        let mut attributes = specifiers.attributes;
        self.attributes_into(&mut attributes)?;
        specifiers.attributes = attributes;
        Ok(())
    }

    pub(super) fn attributes_into(&mut self, into: &mut Attributes) -> Result<(), Refusal> {
        loop {
            match self.peek() {
                Token::Word("__attribute__" | "__attribute") => {
                    self.next()?;
                    self.expect("(", "\"((\"")?;
                    self.expect("(", "\"((\"")?;
                    while !self.take(")")? {
                        self.attribute(into)?;
                        if self.peek() != Token::Sign(")") {
                            self.expect(",", "\",\" or \"))\"")?;
                        }
                    }
                    self.expect(")", "\"))\"")?;
                }
                Token::Word("_Alignas") => {
                    self.next()?;
                    self.expect("(", "\"(\"")?;
                    let bytes = self.count(2, "a number of bytes")?;
                    self.expect(")", "\")\"")?;
                    into.align(bytes);
                }
                _ => return Ok(()),
            }
        }
    }

    fn attribute(&mut self, into: &mut Attributes) -> Result<(), Refusal> {
        let Token::Word(word) = self.peek() else {
            return Err(self.unexpected("an attribute"));
        };
        let name = word.strip_prefix("__").and_then(|n| n.strip_suffix("__"));
        let name = name.unwrap_or(word);
        if !["packed", "aligned", "vector_size"].contains(&name) && !IGNORED.contains(&name) {
            let wanted = "an attribute that is known (packed, aligned, vector_size, or one without \
                          meaning for calls)";
            return Err(self.unexpected(wanted));
        }
        self.next()?;
        match name {
            "packed" => into.is_packed = true,
            "aligned" if self.take("(")? => {
                let bytes = self.count(2, "a number of bytes")?;
                self.expect(")", "\")\"")?;
                into.align(bytes);
            }
            // The largest alignment that the machine has a use for.
            "aligned" => into.align(self.scope.model.max_align),
            "vector_size" => {
                self.expect("(", "\"(\"")?;
                into.vector = Some(self.count(2, "a number of bytes")?);
                self.expect(")", "\")\"")?;
            }
            _ => self.skip_arguments()?,
        }
        Ok(())
    }

    /// The arguments of an attribute that is ignored.
    fn skip_arguments(&mut self) -> Result<(), Refusal> {
        let mut open = 0u32;
        loop {
            match self.peek() {
                Token::Sign("(") => open += 1,
                Token::Sign(")") if open > 0 => open -= 1,
                Token::End => return Err(self.unexpected("\")\"")),
                _ if open > 0 => {}
                _ => return Ok(()),
            }
            self.next()?;
            if open == 0 {
                return Ok(());
            }
        }
    }
}

impl Attributes {
    /// The largest of all alignments counts.
    fn align(&mut self, bytes: u64) {
        self.aligned = self.aligned.max(Some(bytes));
    }
}
