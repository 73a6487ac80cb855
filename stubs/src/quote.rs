//! How errors repeat what a caller gave: up to [`MAX_QUOTED`] characters of it, then `...`.
//!
//! Signatures, types, keys and names come from texts of any length. An error that repeats one of
//! them stays short, and of a large one only the beginning is formatted.
//!
//! ```
//! use fing_stubs::quote::short;
//!
//! assert_eq!(short(&"main.Node").to_string(), "main.Node");
//! let long = short(&"x".repeat(1_000_000)).to_string();
//! assert_eq!(long, format!("{}...", "x".repeat(80)));
//! ```
#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter, Write};

/// Most characters of a caller's text that an error repeats.
pub const MAX_QUOTED: usize = 80;

/// Prints the beginning of a value; see [`short`].
#[derive(Clone, Copy, Debug)]
pub struct Short<'a, T: ?Sized>(&'a T);

/// The value's text, of which no more than [`MAX_QUOTED`] characters are printed, followed by `...`
/// if there are more.
pub fn short<T: Display + ?Sized>(value: &T) -> Short<'_, T> {
    Short(value)
}

/// Passes on the first characters; an error ends the formatting of what follows.
struct Beginning<'a, 'b> {
    to: &'a mut Formatter<'b>,
    left: usize,
    is_cut: bool,
}

impl Write for Beginning<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.char_indices().nth(self.left) {
            None => {
                self.left -= text.chars().count();
                self.to.write_str(text)
            }
            Some((end, _)) => {
                self.left = 0;
                self.is_cut = true;
                self.to.write_str(&text[..end])?;
                Err(fmt::Error)
            }
        }
    }
}

impl<T: Display + ?Sized> Display for Short<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut beginning = Beginning {
            to: f,
            left: MAX_QUOTED,
            is_cut: false,
        };
        match write!(beginning, "{}", self.0) {
            Err(_) if beginning.is_cut => f.write_str("..."),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_first_characters() {
        for (count, cut) in [(0, false), (MAX_QUOTED, false), (MAX_QUOTED + 1, true)] {
            let text = "é".repeat(count);
            let wanted = "é".repeat(count.min(MAX_QUOTED)) + if cut { "..." } else { "" };
            assert_eq!(short(&text).to_string(), wanted);
        }
    }

    #[test]
    fn what_is_not_shown_is_not_formatted() {
        struct Pieces<'a>(&'a std::cell::Cell<u32>);
        impl Display for Pieces<'_> {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                (0..1000).try_for_each(|_| {
                    self.0.set(self.0.get() + 1);
                    f.write_str("int, ")
                })
            }
        }
        let pieces = std::cell::Cell::new(0);
        assert!(short(&Pieces(&pieces)).to_string().ends_with("..."));
        assert_eq!(pieces.get() as usize, MAX_QUOTED / 5 + 1);
    }
}
