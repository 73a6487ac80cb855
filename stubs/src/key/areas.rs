//! What a key's frame is used for, for faults that make it too small.
#![forbid(unsafe_code)]

use super::{Parts, ResultSource, Source, StubKey, Target, frame_class};

impl StubKey {
    /// The same moves with areas of other sizes.
    pub(crate) fn with_areas(&self, frame: u32, hidden: u32) -> StubKey {
        StubKey::from_parts(&Parts {
            frame,
            hidden,
            ..self.packed.parts()
        })
    }

    /// Bytes of frame up to the end of the stack arguments.
    pub(crate) fn argument_frame(&self) -> u32 {
        let end = |m: &super::Move| match (m.to, m.source) {
            (Target::Frame(to), Source::Bytes { size, .. }) => to + size,
            (Target::Frame(to) | Target::Word(to), _) => to + 8,
            _ => 0,
        };
        let bytes = self.moves().iter().map(end).max().unwrap_or(0);
        frame_class(bytes.into())
    }

    /// Bytes of frame up to the end of the stack arguments and of the stack results that are moved.
    pub(crate) fn used_frame(&self) -> u32 {
        let end = |m: &super::ResultMove| match m.from {
            ResultSource::Frame(from) => from + m.size,
            _ => 0,
        };
        let bytes = self.results().iter().map(end).max().unwrap_or(0);
        self.argument_frame().max(frame_class(bytes.into()))
    }
}
