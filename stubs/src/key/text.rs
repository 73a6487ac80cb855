//! A key as text, and back.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::{
    MAX_FRAME, Move, Parts, ResultMove, ResultSource, Source, StubKey, Target, erase, frame_class,
};
use crate::record::RECORD_ARGUMENT;
use crate::{Abi, Family, RegClass, StubError};

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

    fn from_str(text: &str) -> Result<StubKey, StubError> {
        let bad = |found: &str, wanted| StubError::Key {
            text: text.to_owned(),
            found: found.to_owned(),
            wanted,
        };
        let mut parts = text.split(';').peekable();
        let abi_text = parts.next().unwrap_or_default();
        let abi: Abi = erase(
            abi_text
                .parse()
                .map_err(|_| bad(abi_text, "an ABI such as go/amd64 or sysv/amd64"))?,
        );
        let mut key = Parts {
            abi,
            block: parts.next_if_eq(&"block").is_some(),
            moves: Vec::new(),
            results: Vec::new(),
            frame: 0,
            hidden: 0,
        };
        for part in parts {
            let class = |value: &str| {
                let bytes = number(value).filter(|&n| n > 0 && frame_class(n.into()) == n);
                bytes.ok_or_else(|| bad(part, "a frame class in bytes"))
            };
            if let Some(value) = part.strip_prefix("frame=") {
                key.frame = class(value)?;
            } else if let Some(value) = part.strip_prefix("hidden=") {
                key.hidden = class(value)?;
            } else if let Some(m) = key.parse_move(part) {
                key.moves.push(m);
            } else {
                let result = key.parse_result(part).ok_or_else(|| {
                    bad(
                        part,
                        "a move such as 8@0>i0, a result such as i0>8@0, or frame=, hidden=",
                    )
                })?;
                key.results.push(result);
            }
        }
        key.check_areas()
            .map_err(|(found, wanted)| bad(&found, wanted))?;
        let key = StubKey::from_parts(&key);
        if !key.is_sound() {
            let found = key.to_string();
            return Err(bad(&found, "registers filled in order, without gaps"));
        }
        Ok(key)
    }
}

impl Parts {
    fn parse_move(&self, part: &str) -> Option<Move> {
        let (source, to) = part.split_once('>')?;
        let to = match to.split_at_checked(1)? {
            ("i", n) => Target::Int(register(n, self.abi.int_regs())?),
            ("f", n) => Target::Float(register(n, self.abi.float_regs())?),
            ("m", n) => Target::Frame(number(n)?),
            ("w", n) => Target::Word(number(n).filter(|n| n % 8 == 0)?),
            _ => return None,
        };
        let source = if source == "ctx" {
            Source::Context
        } else if let Some(offset) = source.strip_prefix("&m") {
            Source::FrameAddress(number(offset)?)
        } else {
            let (signed, rest) = match source.strip_prefix('s') {
                Some(rest) => (true, rest),
                None => (false, source),
            };
            let (size, from) = rest.split_once('@')?;
            let (size, from) = (number(size)?, number(from)?);
            let in_record = u64::from(from) + u64::from(size) <= RECORD_ARGUMENT;
            let scalar = matches!(size, 1 | 2 | 4 | 8);
            let fits = scalar || size > 0 && matches!(to, Target::Frame(_));
            if !fits || !(self.block || in_record) {
                return None;
            }
            Source::Bytes { from, size, signed }
        };
        // Only bytes go to the frame as they are.
        let bytes = matches!(source, Source::Bytes { signed: false, .. });
        (bytes || !matches!(to, Target::Frame(_))).then_some(Move { source, to })
    }

    fn parse_result(&self, part: &str) -> Option<ResultMove> {
        let (from, to) = part.split_once('>')?;
        let (size, to) = to.split_once('@')?;
        let (size, to) = (number(size)?, number(to)?);
        let (kind, place) = from.split_at_checked(1)?;
        let (place, byte) = match place.split_once('+') {
            Some((place, byte)) => (place, number(byte).filter(|&n| n > 0 && n + size <= 8)?),
            None => (place, 0),
        };
        let count = |class| self.abi.result_registers(class).len();
        let from = match kind {
            "i" => ResultSource::Int(register(place, count(RegClass::Int))?, byte as u8),
            "f" => ResultSource::Float(register(place, count(RegClass::Float))?, byte as u8),
            "m" => ResultSource::Frame(number(place)?),
            "h" => ResultSource::Hidden(number(place)?),
            _ => return None,
        };
        let memory = matches!(from, ResultSource::Frame(_) | ResultSource::Hidden(_));
        let fits = matches!(size, 1 | 2 | 4 | 8) || size > 0 && memory && byte == 0;
        (fits && self.block).then_some(ResultMove { from, size, to })
    }

    /// Everything lies in the areas the key has.
    fn check_areas(&self) -> Result<(), (String, &'static str)> {
        let frame = u64::from(self.frame);
        for m in &self.moves {
            let size = match m.source {
                Source::Bytes { size, .. } => u64::from(size),
                Source::Context | Source::FrameAddress(_) => 8,
            };
            let end = match m.to {
                Target::Frame(offset) => u64::from(offset) + size,
                Target::Word(offset) => u64::from(offset) + 8,
                _ => 0,
            };
            let address = match m.source {
                Source::FrameAddress(offset) => u64::from(offset),
                _ => 0,
            };
            if end.max(address) > frame {
                return Err((format!("{}>{}", m.source, m.to), "a place in the frame"));
            }
        }
        for m in &self.results {
            let (end, area) = match m.from {
                ResultSource::Frame(offset) => (u64::from(offset) + u64::from(m.size), frame),
                ResultSource::Hidden(offset) => (
                    u64::from(offset) + u64::from(m.size),
                    u64::from(self.hidden),
                ),
                _ => (0, 0),
            };
            if end > area {
                let found = format!("{}>{}@{}", m.from, m.size, m.to);
                return Err((found, "a place in the frame or the hidden area"));
            }
        }
        Ok(())
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&n| u64::from(n) <= MAX_FRAME)
}

fn register(text: &str, count: usize) -> Option<u8> {
    text.parse().ok().filter(|&n: &u8| usize::from(n) < count)
}
