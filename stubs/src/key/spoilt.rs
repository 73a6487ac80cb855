//! Keys as a wrong reading of C's rules would make them, for faults.
#![forbid(unsafe_code)]

use super::{Move, Parts, Source, StubKey, Target};

impl StubKey {
    fn with_parts(&self, change: impl FnOnce(&mut Parts)) -> StubKey {
        let mut parts = self.packed.parts();
        change(&mut parts);
        StubKey::from_parts(&parts)
    }

    /// No vector register is said to carry an argument of a variadic call.
    pub(crate) fn without_vectors(&self) -> StubKey {
        self.with_parts(|parts| parts.vectors = parts.vectors.map(|_| 0))
    }

    /// Small integers are extended by the other sign.
    pub(crate) fn with_other_extension(&self) -> StubKey {
        self.with_parts(|parts| {
            for m in &mut parts.moves {
                let is_word = matches!(m.to, Target::Int(_) | Target::Word(_));
                if let (
                    Source::Bytes {
                        size: 1 | 2 | 4,
                        signed,
                        ..
                    },
                    true,
                ) = (&mut m.source, is_word)
                {
                    *signed = !*signed;
                }
            }
        })
    }

    /// Where an integer and a float register carry two words that lie together in memory, each has
    /// the other's.
    pub(crate) fn with_classes_swapped(&self) -> StubKey {
        self.with_parts(|parts| {
            let from = |m: &Move| match m.source {
                Source::Bytes { from, size: 8, .. } => Some(from),
                _ => None,
            };
            for n in 1..parts.moves.len() {
                let (a, b) = (parts.moves[n - 1], parts.moves[n]);
                let classes = (a.to, b.to);
                let differ = matches!(
                    classes,
                    (Target::Int(_), Target::Float(_)) | (Target::Float(_), Target::Int(_))
                );
                if differ && from(&a).is_some_and(|at| from(&b) == Some(at + 8)) {
                    (parts.moves[n - 1].to, parts.moves[n].to) = (b.to, a.to);
                }
            }
        })
    }

    /// The last float register's bytes are in an integer register.
    pub(crate) fn with_last_float_as_word(&self) -> StubKey {
        self.with_parts(|parts| {
            let next = next(&parts.moves, false);
            let mut floats = parts.moves.iter_mut().rev();
            if let Some(m) = floats.find(|m| matches!(m.to, Target::Float(_))) {
                m.to = Target::Int(next);
            }
        })
    }

    /// The last integer register's bytes are in a float register.
    pub(crate) fn with_last_word_as_float(&self) -> StubKey {
        self.with_parts(|parts| {
            let next = next(&parts.moves, true);
            let mut words = parts.moves.iter_mut().rev();
            if let Some(m) = words.find(|m| matches!(m.to, Target::Int(_))) {
                m.to = Target::Float(next);
            }
        })
    }
}

/// How many registers of a class are filled.
fn next(moves: &[Move], float: bool) -> u8 {
    let count = moves.iter().filter(|m| match m.to {
        Target::Int(_) => !float,
        Target::Float(_) => float,
        Target::Frame(_) | Target::Word(_) => false,
    });
    count.count() as u8
}
