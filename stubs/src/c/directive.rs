//! Lines that begin with `#`, as far as a preprocessor leaves them.
#![forbid(unsafe_code)]

use super::lex::Token;
use super::parse::{Parser, Refusal};

impl Parser<'_, '_> {
    /// `#pragma pack(push, 2)`, or where a preprocessor says a line is from.
    pub(super) fn directive(&mut self) -> Result<(), Refusal> {
        self.step()?;
        match self.peek() {
            Token::Number(_) | Token::Word("line") => self.lexer.skip_line(),
            Token::Word("pragma") => {
                self.step()?;
                if self.peek() != Token::Word("pack") {
                    return Err(self.unexpected("\"pack\""));
                }
                self.step()?;
                return self.pragma_pack();
            }
            _ => {
                let wanted = "\"pragma pack\" (the text is to be preprocessed)";
                return Err(self.unexpected(wanted));
            }
        }
        self.step()
    }

    fn pragma_pack(&mut self) -> Result<(), Refusal> {
        let start = self.place();
        self.expect_step("(")?;
        let mut value = None;
        let mut is_push = false;
        match self.peek() {
            Token::Word("push") => {
                self.step()?;
                is_push = true;
                value = self.pack.last().copied().flatten();
                if self.peek() == Token::Sign(",") {
                    self.step()?;
                    value = Some(self.pack_bytes()?);
                }
            }
            Token::Word("pop") => {
                self.step()?;
                if self.pack.len() == 1 {
                    let found = "\"pop\"".to_owned();
                    return Err(self.refusal(start, found, "a push before it"));
                }
                self.pack.pop();
                return self.expect_step(")");
            }
            Token::Sign(")") => {}
            _ => value = Some(self.pack_bytes()?),
        }
        if !is_push {
            self.pack.pop();
        }
        self.pack.push(value);
        self.expect_step(")")
    }

    fn pack_bytes(&mut self) -> Result<u64, Refusal> {
        let bytes = match self.peek() {
            Token::Number(text) => ["1", "2", "4", "8", "16"].into_iter().find(|n| *n == text),
            _ => None,
        };
        let bytes = bytes.and_then(|text| text.parse().ok());
        let bytes = bytes.ok_or_else(|| self.unexpected("1, 2, 4, 8 or 16"))?;
        self.step()?;
        Ok(bytes)
    }

    fn expect_step(&mut self, sign: &'static str) -> Result<(), Refusal> {
        if self.peek() != Token::Sign(sign) {
            return Err(self.unexpected(sign));
        }
        self.step()
    }
}
