//! The functions of cleanups. All cleanups of one function and one kind of argument have one use of its shape in common,
//! counted here, so that adding one need not look the function up anywhere else.
#![forbid(unsafe_code)]

use crate::shapes::Argument;

/// Functions that are known at a time, a power of two.
const KNOWN: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Functions {
    /// Cleanups by shape.
    counts: Vec<u64>,
    /// By hash of the identity.
    known: [Option<Known>; KNOWN],
}

/// A function with a kind of argument, of which there is a cleanup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its identity: as long as a cleanup names the shape, the function lives, and no other has it.
    pub(super) function: usize,
    pub(super) argument: Argument,
    pub(super) shape: u32,
    /// Bytes of the parameter, if that is a word and no pointer: then any word will do.
    pub(super) number: Option<u8>,
}

fn slot(function: usize) -> usize {
    let mixed = (function as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - KNOWN.ilog2())) as usize
}

impl Functions {
    /// What is known of the function with this identity.
    #[inline]
    pub(super) fn find(&self, function: usize) -> Option<Known> {
        self.known[slot(function)].filter(|known| known.function == function)
    }

    /// The shape of the function with this identity for this kind of argument, if it is known.
    pub(super) fn shape(&self, function: usize, argument: Argument) -> Option<u32> {
        let known = self.find(function);
        known
            .filter(|known| known.argument == argument)
            .map(|known| known.shape)
    }

    /// Notes for [`Functions::find`] what was found out about a function. A cleanup names the shape.
    pub(super) fn remember(&mut self, known: Known) {
        self.known[slot(known.function)] = Some(known);
    }

    /// One more cleanup names the shape. True: the first, so that it keeps the use of the shape that it was found with.
    #[inline]
    pub(super) fn add(&mut self, shape: u32) -> bool {
        let at = shape as usize;
        match self.counts.get_mut(at) {
            Some(count) => {
                *count += 1;
                *count == 1
            }
            None => {
                self.grow(at);
                self.counts[at] = 1;
                true
            }
        }
    }

    #[cold]
    fn grow(&mut self, at: usize) {
        self.counts.resize(at + 1, 0);
    }

    /// So many cleanups name the shape no more. True: these were the last, so that its use is to be given back.
    #[inline]
    pub(super) fn remove(&mut self, shape: u32, many: u64) -> bool {
        let count = &mut self.counts[shape as usize];
        *count -= many;
        let last = *count == 0;
        if last {
            self.forget(shape);
        }
        last
    }

    #[cold]
    fn forget(&mut self, shape: u32) {
        for known in &mut self.known {
            if known.is_some_and(|known| known.shape == shape) {
                *known = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: Argument = Argument::Image { references: 0 };

    fn known(function: usize, shape: u32) -> Known {
        Known {
            function,
            argument: NUMBER,
            shape,
            number: Some(8),
        }
    }

    #[test]
    fn a_function_is_known_while_a_cleanup_names_it() {
        let mut functions = Functions::default();
        let known = known(0x7f00_1234_5670, 5);
        assert_eq!(functions.find(0x7f00_1234_5670), None);
        assert!(functions.add(5) && !functions.add(5) && functions.add(2));
        functions.remember(known);
        assert_eq!(functions.find(0x7f00_1234_5670), Some(known));
        assert_eq!(functions.find(0x7f00_1234_5680), None);
        assert_eq!(functions.shape(0x7f00_1234_5670, NUMBER), Some(5));
        assert_eq!(functions.shape(0x7f00_1234_5670, Argument::Block), None);
        assert!(!functions.remove(5, 1) && functions.remove(2, 1));
        assert_eq!(functions.find(0x7f00_1234_5670), Some(known));
        assert!(!functions.add(5) && functions.remove(5, 2));
        assert_eq!(functions.find(0x7f00_1234_5670), None);
        assert!(functions.add(5));
        assert_eq!(
            functions.find(0x7f00_1234_5670),
            None,
            "it may be another one"
        );
    }

    #[test]
    fn many_functions_push_each_other_out() {
        let mut functions = Functions::default();
        let all: Vec<Known> = (1..100)
            .map(|n| known(0x7f00_0000_0000 + 96 * n, n as u32))
            .collect();
        for known in &all {
            assert!(functions.add(known.shape));
            functions.remember(*known);
            assert_eq!(functions.find(known.function), Some(*known));
        }
        let left = all
            .iter()
            .filter(|known| functions.find(known.function).is_some());
        assert!((4..=KNOWN).contains(&left.count()));
    }
}
