//! Models of a window whose thread takes objects from it and goes on to others, beside a thread
//! that asks whether somebody has taken the object at an address. An object that was taken is so
//! for good. `Words::has` without the comparison of blocks fails the second.
#![forbid(unsafe_code)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering::*};

use super::BLOCK;
use super::words::Words;

const STRIDE: usize = 16;

/// The window is `before` until its thread goes on with `after`; an address is looked up twice, as
/// src/heap/find.rs does, if the block is the window's.
fn look_up(taken: usize, before: [usize; 2], after: [usize; 2]) {
    let words = Arc::new(Words::default());
    words.set(before[0], before[1]);
    let is_named = Arc::new(AtomicBool::new(true));
    let (theirs, names) = (words.clone(), is_named.clone());
    let owner = loom::thread::spawn(move || {
        while theirs.take(STRIDE).is_some() {}
        if after[0] / BLOCK != before[0] / BLOCK {
            names.store(false, Release);
        }
        theirs.set(after[0], after[1]);
        theirs.take(STRIDE);
    });
    let is_left = || is_named.load(Acquire) && words.has(taken);
    assert!(!is_left() && !is_left(), "an object that was taken is left");
    owner.join().expect("the window's thread");
}

#[test]
fn a_window_goes_on_in_its_block() {
    loom::model(|| {
        let at = 4 * BLOCK;
        look_up(
            at,
            [at + STRIDE, at + 2 * STRIDE],
            [at + 64, at + 64 + STRIDE],
        );
    });
}

#[test]
fn a_window_goes_on_in_a_block_before() {
    loom::model(|| {
        let (at, end, lower) = (5 * BLOCK - 2 * STRIDE, 5 * BLOCK, 2 * BLOCK);
        look_up(at, [at + STRIDE, end], [lower, lower + 2 * STRIDE]);
    });
}
