//! What making, finding and keeping stubs costs.
//!
//! `cargo bench -p fing-benches --bench stubs`; takes some seconds, Linux only (it reads /proc).
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use fing_benches::samples::Summary;
use fing_stubs::{Abi, Arch, Signature, Stub, StubCache, StubKey};

/// Distinct stubs for the marginal cost and for memory.
const STUBS: usize = 10_000;
/// Processes for the cold cost.
const PROCESSES: usize = 20;
/// Set in a process that measures its own first stub.
const COLD: &str = "cold";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == COLD) {
        println!("{}", cold()?);
        return Ok(());
    }
    let bar = |text: &str, found: f64, bar: f64| {
        let kept = if found <= bar { "kept  " } else { "MISSED" };
        println!("{kept} {text}: {found:.1} (at most {bar})");
    };
    let processes = (0..PROCESSES).map(|_| {
        let output = Command::new(std::env::current_exe()?).arg(COLD).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse::<f64>()?)
    });
    let first = processes.collect::<Result<Vec<f64>, Box<dyn Error>>>()?;
    println!("first stub of a process, us      {:.0}", Summary::of(first));

    let keys = keys();
    let cache = warm_cache()?;
    let before = Memory::now()?;
    let (mut stubs, mut each) = (Vec::with_capacity(STUBS), Vec::with_capacity(STUBS));
    for key in &keys {
        let begun = Instant::now();
        stubs.push(cache.get(key)?);
        each.push(begun.elapsed().as_nanos() as f64 / 1000.0);
    }
    let after = Memory::now()?;
    let last = Summary::of(each[STUBS - 1000..].iter().copied());
    let each = Summary::of(each);
    println!("next stub, us                    {each:.1}");
    println!("the last 1000 of {STUBS}, us     {last:.1}");
    bar("next stub, us", each.median, 40.0);

    let kilobytes = (after.resident - before.resident) as f64 / 1024.0;
    let code = stubs.iter().map(|stub| stub.code_bytes()).sum::<usize>();
    println!(
        "{STUBS} stubs: resident memory      +{kilobytes:.0} kB, of it code +{} kB",
        after.code / 1024
    );
    println!(
        "{STUBS} stubs: mappings             +{}",
        after.mappings - before.mappings
    );
    bar(
        "code memory of 10,000 stubs, kB",
        after.code as f64 / 1024.0,
        2048.0,
    );
    bar("mappings for code", after.code_mappings as f64, 2.0);
    bar(
        "bytes of code for a stub",
        code as f64 / STUBS as f64,
        200.0,
    );

    let few = warm_cache()?;
    let hit = hit(&few, &keys[..8])?;
    println!("found again among 8, ns          {hit}");
    println!(
        "found again among {STUBS}, ns     {}",
        self::hit(&cache, &keys[..8])?
    );
    bar("found again, ns", hit.median, 20.0);
    println!(
        "by two threads at once, ns       {}",
        hit_by_two(&few, &keys[..8])?
    );
    println!("signature to stub, ns            {}", from_signature(&few)?);
    Ok(())
}

/// Microseconds from nothing to the first stub.
fn cold() -> Result<f64, Box<dyn Error>> {
    let signature: Signature = "func(any)".parse()?;
    let begun = Instant::now();
    let cache = StubCache::new(Default::default())?;
    black_box(cache.for_signature(&signature, Abi::go(Arch::Amd64))?);
    Ok(begun.elapsed().as_nanos() as f64 / 1000.0)
}

/// Distinct keys of Go stubs: two pieces of the argument in two registers, with and without a frame.
fn keys() -> Vec<StubKey> {
    let pieces: Vec<String> = [8, 4, 2, 1]
        .into_iter()
        .flat_map(|size| (0..=16 - size).map(move |from| format!("{size}@{from}")))
        .collect();
    let frames = ["", ";frame=16", ";frame=32", ";frame=48"];
    let pairs = pieces
        .iter()
        .flat_map(|a| pieces.iter().map(move |b| (a, b)));
    pairs
        .flat_map(|(a, b)| frames.map(|frame| format!("go/amd64;{a}>i0;{b}>i1{frame}")))
        .filter_map(|text| text.parse().ok())
        .take(STUBS)
        .collect()
}

/// A cache with some stubs of another ABI, so that all that is made once is made.
fn warm_cache() -> Result<StubCache, Box<dyn Error>> {
    let cache = StubCache::new(Default::default())?;
    for text in ["func(*int)", "func(any)", "func(int8)", "func(float64)"] {
        cache.for_signature(&text.parse()?, Abi::system_v())?;
    }
    Ok(cache)
}

/// Samples of `run`, which does `count` things, in nanoseconds a thing.
fn samples(count: usize, mut run: impl FnMut()) -> Summary {
    Summary::of((0..51).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_nanos() as f64 / count as f64
    }))
}

const HITS: usize = 10_000;

fn find(cache: &StubCache, keys: &[StubKey]) {
    for key in keys.iter().cycle().take(HITS) {
        black_box::<Option<Arc<Stub>>>(cache.get(black_box(key)).ok());
    }
}

fn hit(cache: &StubCache, keys: &[StubKey]) -> Result<Summary, Box<dyn Error>> {
    let _held = keys
        .iter()
        .map(|key| cache.get(key))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(samples(HITS, || find(cache, keys)))
}

fn hit_by_two(cache: &StubCache, keys: &[StubKey]) -> Result<Summary, Box<dyn Error>> {
    let _held = keys
        .iter()
        .map(|key| cache.get(key))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(samples(HITS, || {
        std::thread::scope(|scope| {
            scope.spawn(|| find(cache, keys));
            find(cache, keys);
        });
    }))
}

fn from_signature(cache: &StubCache) -> Result<Summary, Box<dyn Error>> {
    let signature: Signature = "func(any)".parse()?;
    let abi = Abi::go(Arch::Amd64);
    cache.for_signature(&signature, abi)?;
    Ok(samples(1000, || {
        for _ in 0..1000 {
            black_box(cache.for_signature(black_box(&signature), abi).ok());
        }
    }))
}

/// What /proc says of this process.
struct Memory {
    resident: u64,
    mappings: usize,
    /// Resident bytes of code memory, each page counted once.
    code: u64,
    code_mappings: usize,
}

impl Memory {
    fn now() -> Result<Memory, Box<dyn Error>> {
        let text = fs::read_to_string("/proc/self/smaps")?;
        let (mut memory, mut is_code) = (
            Memory {
                resident: 0,
                mappings: 0,
                code: 0,
                code_mappings: 0,
            },
            false,
        );
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("Rss:"), Some(kilobytes)) => {
                    let bytes = kilobytes.parse::<u64>()? * 1024;
                    memory.resident += bytes;
                    if is_code {
                        memory.code = memory.code.max(bytes);
                    }
                }
                (Some(range), _) if !range.ends_with(':') => {
                    memory.mappings += 1;
                    is_code = line.contains("memfd:fing-stubs");
                    memory.code_mappings += usize::from(is_code);
                }
                _ => {}
            }
        }
        Ok(memory)
    }
}
