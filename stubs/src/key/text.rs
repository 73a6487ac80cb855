//! A key as text, and back.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::valid::Refusal;
use super::{Move, Parts, ResultMove, ResultSource, Source, StubKey, Target, erase};
use crate::quote::short;
use crate::{Abi, Family, StubError};

impl fmt::Display for StubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.packed.parts();
        match key.abi.family() {
            Family::Go => write!(f, "go/{}", key.abi.arch())?,
            Family::Native(convention) => write!(f, "{convention}")?,
        }
        if key.block {
            write!(f, ";block")?;
        }
        if let Some(count) = key.vectors {
            write!(f, ";al={count}")?;
        }
        for m in &key.moves {
            write!(f, ";{}>{}", m.source, m.to)?;
        }
        for m in &key.results {
            write!(f, ";{}>{}@{}", m.from, m.size, m.to)?;
        }
        if key.frame > 0 {
            write!(f, ";frame={}", key.frame)?;
        }
        if key.hidden > 0 {
            write!(f, ";hidden={}", key.hidden)?;
        }
        Ok(())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Source::Bytes { from, size, signed } => {
                write!(f, "{}{size}@{from}", if signed { "s" } else { "" })
            }
            Source::Context => f.write_str("ctx"),
            Source::FrameAddress(offset) => write!(f, "&m{offset}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Int(n) => write!(f, "i{n}"),
            Target::Float(n) => write!(f, "f{n}"),
            Target::Frame(offset) => write!(f, "m{offset}"),
            Target::Word(offset) => write!(f, "w{offset}"),
        }
    }
}

impl fmt::Display for ResultSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResultSource::Int(n, 0) => write!(f, "i{n}"),
            ResultSource::Float(n, 0) => write!(f, "f{n}"),
            ResultSource::Int(n, byte) => write!(f, "i{n}+{byte}"),
            ResultSource::Float(n, byte) => write!(f, "f{n}+{byte}"),
            ResultSource::Frame(offset) => write!(f, "m{offset}"),
            ResultSource::Hidden(offset) => write!(f, "h{offset}"),
        }
    }
}

impl FromStr for StubKey {
    type Err = StubError;

    /// # Errors
    /// The text is not a key, or it is one of which no stub can be made.
    fn from_str(text: &str) -> Result<StubKey, StubError> {
        read(text).map_err(|(found, wanted)| StubError::Key {
            text: short(text).to_string(),
            found: short(&found).to_string(),
            wanted,
        })
    }
}

fn read(text: &str) -> Result<StubKey, Refusal> {
    let mut parts = text.split(';').peekable();
    let abi = parts.next().unwrap_or_default();
    let Ok(abi) = abi.parse::<Abi>() else {
        return Err((abi.to_owned(), "an ABI such as go/amd64 or sysv/amd64"));
    };
    let mut key = Parts {
        abi: erase(abi),
        block: parts.next_if_eq(&"block").is_some(),
        vectors: None,
        moves: Vec::new(),
        results: Vec::new(),
        frame: 0,
        hidden: 0,
    };
    for part in parts {
        let area = |value: &str, area: &mut u32| match number(value) {
            Some(bytes) if bytes > 0 && *area == 0 => {
                *area = bytes;
                Ok(())
            }
            _ => Err((part.to_owned(), "bytes of an area, each area once")),
        };
        if let Some(value) = part.strip_prefix("frame=") {
            area(value, &mut key.frame)?;
        } else if let Some(value) = part.strip_prefix("hidden=") {
            area(value, &mut key.hidden)?;
        } else if let Some(value) = part.strip_prefix("al=") {
            let vectors = number(value).filter(|_| key.vectors.is_none());
            key.vectors = Some(vectors.ok_or_else(|| (part.to_owned(), "al= once"))?);
        } else if let Some(m) = parse_move(part) {
            key.moves.push(m);
        } else if let Some(m) = parse_result(part) {
            key.results.push(m);
        } else {
            let wanted = "a move such as 8@0>i0, a result such as i0>8@0, or frame=, hidden=, al=";
            return Err((part.to_owned(), wanted));
        }
    }
    key.validate()?;
    Ok(StubKey::from_parts(&key))
}

fn parse_move(part: &str) -> Option<Move> {
    let (source, to) = part.split_once('>')?;
    let to = match to.split_at_checked(1)? {
        ("i", n) => Target::Int(number(n)?),
        ("f", n) => Target::Float(number(n)?),
        ("m", n) => Target::Frame(number(n)?),
        ("w", n) => Target::Word(number(n)?),
        _ => return None,
    };
    if source == "ctx" {
        let source = Source::Context;
        return Some(Move { source, to });
    }
    if let Some(offset) = source.strip_prefix("&m") {
        let source = Source::FrameAddress(number(offset)?);
        return Some(Move { source, to });
    }
    let (signed, rest) = match source.strip_prefix('s') {
        Some(rest) => (true, rest),
        None => (false, source),
    };
    let (size, from) = rest.split_once('@')?;
    let source = Source::Bytes {
        from: number(from)?,
        size: number(size)?,
        signed,
    };
    Some(Move { source, to })
}

fn parse_result(part: &str) -> Option<ResultMove> {
    let (from, to) = part.split_once('>')?;
    let (size, to) = to.split_once('@')?;
    let (kind, place) = from.split_at_checked(1)?;
    let (place, byte) = match place.split_once('+') {
        Some((place, byte)) => (place, number(byte).filter(|&n: &u8| n > 0)?),
        None => (place, 0),
    };
    let from = match kind {
        "i" => ResultSource::Int(number(place)?, byte),
        "f" => ResultSource::Float(number(place)?, byte),
        "m" if byte == 0 => ResultSource::Frame(number(place)?),
        "h" if byte == 0 => ResultSource::Hidden(number(place)?),
        _ => return None,
    };
    Some(ResultMove {
        from,
        size: number(size)?,
        to: number(to)?,
    })
}

/// A number as it is printed: digits without a sign.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
