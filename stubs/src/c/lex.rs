//! Tokens of C, one at a time.
#![forbid(unsafe_code)]

/// A token, with its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An identifier or keyword.
    Word(&'a str),
    /// What begins with a digit.
    Number(&'a str),
    /// A punctuator: `...`, `<<`, `>>`, or one character.
    Sign(&'a str),
    /// The text is over.
    End,
}

/// The text from some place on.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// A comment that does not end: where it begins.
pub(super) struct OpenComment(pub(super) usize);

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    /// The next token and its first byte.
    pub(super) fn token(&mut self) -> Result<(usize, Token<'a>), OpenComment> {
        self.skip()?;
        let start = self.at;
        let rest = &self.text[start..];
        let Some(first) = rest.chars().next() else {
            return Ok((start, Token::End));
        };
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            let long = ["...", "<<", ">>"];
            let long = long.into_iter().find(|sign| rest.starts_with(sign));
            long.map_or(first.len_utf8(), str::len)
        };
        self.at += length;
        let text = &rest[..length];
        Ok((
            start,
            match first {
                '0'..='9' => Token::Number(text),
                _ if is_word(first) => Token::Word(text),
                _ => Token::Sign(text),
            },
        ))
    }

    /// Takes the rest of the line.
    pub(super) fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    /// Takes white space and comments.
    fn skip(&mut self) -> Result<(), OpenComment> {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_ascii_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.skip_line();
            } else if let Some(comment) = trimmed.strip_prefix("/*") {
                let end = comment.find("*/").ok_or(OpenComment(self.at))?;
                self.at += end + 4;
            } else {
                return Ok(());
            }
        }
    }
}
