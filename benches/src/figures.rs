//! What a benchmark prints: times of the thread, medians beside those of a floor, and whether they keep a bar.

use crate::samples::Summary;

/// Nanoseconds an object, for one thing that was measured several times.
pub type Figures = Vec<f64>;

/// The middle one of them.
pub fn median(figures: &[f64]) -> f64 {
    Summary::of(figures.iter().copied()).median
}

/// Nanoseconds this thread has been running, without those that it waited for a processor.
fn clock() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock of this thread is always there, and `now` is a whole timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Runs `body` and says how many nanoseconds that took for each of `n`.
pub fn time(n: usize, body: impl FnOnce()) -> f64 {
    let from = clock();
    body();
    (clock() - from) / n as f64
}

/// The head of the table that [`row`] prints.
pub fn head() {
    println!(
        "{:<58} {:>8} {:>8} {:>8} {:>8} {:>7}",
        "ns an object", "fing", "floor", "ratio", "of min.", "bar"
    );
}

/// A printed line: medians, and beside their ratio that of the minimums, which a busy machine disturbs less.
pub fn row(name: &str, found: &[f64], floor: &[f64], bar: f64) {
    let [found, floor] = [found, floor].map(|figures| Summary::of(figures.iter().copied()));
    let (ratio, least) = (found.median / floor.median, found.min / floor.min);
    let verdict = if ratio <= bar { "" } else { "  missed" };
    println!(
        "{name:<58} {:>8.2} {:>8.2} {ratio:>7.2}x {least:>7.2}x {bar:>6.1}x{verdict}",
        found.median, floor.median
    );
}

/// A permutation of `0..n`, the same every time.
pub fn shuffled(n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in (1..n).rev() {
        order.swap(i, (next(&mut state) % (i as u64 + 1)) as usize);
    }
    order
}

/// The next number of a sequence (xorshift64).
pub fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
