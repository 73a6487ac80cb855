//! Whether many things take as long, each, as few do.

use std::fs;

/// How many times as many the second time.
const TIMES: usize = 8;
/// How many times as long they may take: a third of what they do if each looks at all others, as
/// memory that is farther away takes its part.
const LONGEST: u64 = 20;

/// What this thread has run so far, in nanoseconds of the processor.
fn processor_time() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// Holds that `run` takes the same time for each of so many things, and of eight times as many.
/// What `prepare` does is not counted.
pub(crate) fn is_linear_after<T>(
    what: &str,
    count: usize,
    prepare: impl Fn(usize) -> T,
    run: impl Fn(T),
) {
    let time = |count| {
        let prepared = prepare(count);
        let before = processor_time()?;
        run(prepared);
        Some(processor_time()? - before)
    };
    let best = |count| (0..3).filter_map(|_| time(count)).min();
    let (Some(few), Some(many)) = (best(count), best(TIMES * count)) else {
        eprintln!("not measured: this system does not tell the time of a thread");
        return;
    };
    assert!(
        many < LONGEST * few,
        "{TIMES} times as many {what} took {many} ns, and {few} ns before"
    );
}

/// As [`is_linear_after`], with nothing to prepare.
pub(crate) fn is_linear(what: &str, count: usize, run: impl Fn(usize)) {
    is_linear_after(what, count, |count| count, run);
}
