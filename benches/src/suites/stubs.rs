//! What making, finding and keeping stubs costs.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use fing_stubs::{Abi, Arch, Signature, Stub, StubCache, StubError, StubKey};

use super::batch::with_frame;
use crate::measure::clock::since;
use crate::measure::memory::Mappings;
use crate::measure::samples::Summary;
use crate::measure::{Fault, Round, Subject, rounds};
use crate::plan::{Bar, Row, Scenario, Sizes, Source, Suite};

/// Distinct stubs of a round. A new process for each: its first stub is measured, and its memory.
static MAKING: Suite = Suite {
    name: "stubs-make",
    sizes: Sizes::Chosen(&[10_000], 10_000),
    rounds: 3,
    warm_rounds: 0,
    alone: true,
    programs: &[],
    start: |n| Ok(rounds(move || make(n))),
};

static FINDING: Suite = Suite {
    name: "stubs-find",
    sizes: Sizes::Chosen(&[10_000], 10_000),
    rounds: 51,
    warm_rounds: 1,
    alone: false,
    programs: &[],
    start: find,
};

static FRAMES: Suite = Suite {
    name: "stubs-frame",
    sizes: Sizes::Fixed(super::batch::RECORDS),
    rounds: 300,
    warm_rounds: 1,
    alone: false,
    programs: &[],
    start: call_with_frames,
};

const fn scenario(
    name: &'static str,
    about: &'static str,
    unit: &'static str,
    suite: &'static Suite,
    rows: fn() -> Vec<Row>,
) -> Scenario {
    Scenario {
        name,
        group: "stubs",
        about,
        unit,
        source: Source::Suite(suite, rows),
    }
}

/// All scenarios, in the order of reports.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("stubs-make", "making one stub", "us", &MAKING, || {
        vec![
            Row::alone("fing.first"),
            Row::alone("fing.next").bar(Bar::AtMost(40.0)),
            Row::alone("fing.last-tenth"),
        ]
    }),
    scenario(
        "stubs-memory",
        "memory of the process for one stub",
        "B/stub",
        &MAKING,
        || {
            vec![
                // 2048 kB for 10,000.
                Row::alone("fing.all").bar(Bar::AtMost(209.7)),
                Row::alone("fing.heap"),
                Row::alone("fing.code"),
                Row::alone("fing.code-of-cache").bar(Bar::AtMost(200.0)),
            ]
        },
    ),
    scenario(
        "stubs-mappings",
        "mappings of the process for all stubs",
        "mappings",
        &MAKING,
        || {
            vec![
                Row::alone("fing.mappings"),
                Row::alone("fing.code-mappings").bar(Bar::AtMost(2.0)),
            ]
        },
    ),
    scenario(
        "stubs-find",
        "finding a stub in the cache",
        "ns",
        &FINDING,
        || {
            vec![
                Row::alone("fing.among-8").bar(Bar::AtMost(20.0)),
                Row::beside("fing.among-all", "fing.among-8"),
                Row::beside("fing.two-threads", "fing.among-8"),
                Row::beside("fing.by-signature", "fing.among-8"),
            ]
        },
    ),
    scenario(
        "stubs-frame",
        "a call in a batch, with room for so many bytes of results on its frame",
        "ns/call",
        &FRAMES,
        || {
            FRAME_BYTES
                .map(|bytes| Row::beside(frame(bytes), frame(0)))
                .into()
        },
    ),
];

/// Distinct keys of Go stubs, by number: two pieces of the argument in two registers, with and
/// without a frame.
fn key(n: usize) -> Result<StubKey, StubError> {
    const FRAMES: [&str; 4] = ["", ";frame=16", ";frame=32", ";frame=48"];
    const PIECES: usize = 9 + 13 + 15 + 16;
    let piece = |n: usize| match n {
        0..9 => (8, n),
        9..22 => (4, n - 9),
        22..37 => (2, n - 22),
        _ => (1, n - 37),
    };
    let (pair, frame) = (n / FRAMES.len(), FRAMES[n % FRAMES.len()]);
    let [(a, x), (b, y)] = [pair / PIECES, pair % PIECES].map(piece);
    format!("go/amd64;{a}@{x}>i0;{b}@{y}>i1{frame}").parse()
}

/// A cache with some other stubs: all that is made once is made.
fn warm_cache() -> Result<StubCache, Fault> {
    let cache = StubCache::new(Default::default())?;
    for text in ["func(*int)", "func(any)", "func(int8)", "func(float64)"] {
        cache.for_signature(&text.parse()?, Abi::system_v())?;
    }
    for text in ["func(float64)", "func(float32) [10]int"] {
        cache.for_signature(&text.parse()?, Abi::go(Arch::Amd64))?;
    }
    Ok(cache)
}

/// Microseconds from nothing to the first stub.
fn first() -> Result<f64, Fault> {
    let signature: Signature = "func(any)".parse()?;
    let begun = Instant::now();
    let cache = StubCache::new(Default::default())?;
    black_box(cache.for_signature(&signature, Abi::go(Arch::Amd64))?);
    Ok(since(begun, 1000))
}

fn make(stubs: usize) -> Result<Round, Fault> {
    let first = first()?;
    // What the process needs once, such as the pages of its own code, is there before the memory is
    // read.
    let other = warm_cache()?;
    for n in 0..8 {
        other.get(&key(n)?)?;
    }
    let code_of_others = Mappings::now()?.code_mappings;
    let cache = warm_cache()?;
    // Written before, so that its own memory does not count.
    let mut each = vec![f64::NAN; stubs];
    let before = Mappings::now()?;
    for (n, each) in each.iter_mut().enumerate() {
        // Stub and key are dropped at once: what remains is what the cache keeps.
        let key = key(n)?;
        let begun = Instant::now();
        drop(cache.get(&key)?);
        *each = since(begun, 1000);
    }
    let after = Mappings::now()?;
    let median = |samples: &[f64]| {
        Summary::of(samples.iter().copied()).map_or(f64::NAN, |summary| summary.median)
    };
    let of_a_stub = |bytes: f64| bytes / stubs as f64;
    Ok(Round::from([
        ("fing.first".into(), first),
        ("fing.next".into(), median(&each)),
        (
            "fing.last-tenth".into(),
            median(&each[stubs - stubs / 10..]),
        ),
        (
            "fing.all".into(),
            of_a_stub(after.resident - before.resident),
        ),
        ("fing.heap".into(), of_a_stub(after.heap - before.heap)),
        ("fing.code".into(), of_a_stub(after.code - before.code)),
        (
            "fing.code-of-cache".into(),
            of_a_stub(cache.stats().code_bytes as f64),
        ),
        ("fing.mappings".into(), after.mappings - before.mappings),
        (
            "fing.code-mappings".into(),
            after.code_mappings - code_of_others,
        ),
    ]))
}

/// Look-ups of a sample.
const FINDS: usize = 10_000;

fn find(stubs: usize) -> Result<Box<dyn Subject>, Fault> {
    let (few, all) = (warm_cache()?, warm_cache()?);
    let keys: Vec<StubKey> = (0..8).map(key).collect::<Result<_, _>>()?;
    for n in 0..stubs {
        all.get(&key(n)?)?;
    }
    let signature: Signature = "func(any)".parse()?;
    Ok(rounds(move || {
        let sample = |body: &dyn Fn()| {
            let begun = Instant::now();
            body();
            since(begun, FINDS)
        };
        Ok(Round::from([
            ("fing.among-8".into(), sample(&|| find_all(&few, &keys))),
            ("fing.among-all".into(), sample(&|| find_all(&all, &keys))),
            (
                "fing.two-threads".into(),
                sample(&|| {
                    std::thread::scope(|scope| {
                        scope.spawn(|| find_all(&few, &keys));
                        find_all(&few, &keys);
                    });
                }),
            ),
            (
                "fing.by-signature".into(),
                sample(&|| {
                    for _ in 0..FINDS {
                        let found = few.for_signature(black_box(&signature), Abi::go(Arch::Amd64));
                        black_box(found.ok());
                    }
                }),
            ),
        ]))
    }))
}

fn find_all(cache: &StubCache, keys: &[StubKey]) {
    for key in keys.iter().cycle().take(FINDS) {
        black_box::<Option<Arc<Stub>>>(cache.get(black_box(key)).ok());
    }
}

/// Bytes of results on a frame.
const FRAME_BYTES: [u64; 6] = [0, 64, 1024, 4096, 16 << 10, 60 << 10];

fn frame(bytes: u64) -> String {
    format!("fing.frame-{bytes}")
}

fn call_with_frames(_: usize) -> Result<Box<dyn Subject>, Fault> {
    let cache = warm_cache()?;
    Ok(rounds(move || {
        let mut round = Round::new();
        for bytes in FRAME_BYTES {
            round.insert(frame(bytes).into(), with_frame(&cache, bytes)?);
        }
        Ok(round)
    }))
}
