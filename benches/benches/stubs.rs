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

use fing_benches::calls::with_frame;
use fing_benches::samples::Summary;
use fing_stubs::{Abi, Arch, Signature, Stub, StubCache, StubError, StubKey};

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

    let keys: Vec<StubKey> = (0..8).map(key).collect::<Result<_, _>>()?;
    // What the process needs once, pages of its own code among it, is there before.
    let few = warm_cache()?;
    for key in &keys {
        few.get(key)?;
    }
    // That cache has code of its own.
    let others = Memory::now()?.code_mappings;
    let cache = warm_cache()?;
    // Touched before, so that it does not count.
    let mut each = vec![f64::NAN; STUBS];
    let before = Memory::now()?;
    for (n, each) in each.iter_mut().enumerate() {
        // Dropped again: of keys, too, what remains is what the cache keeps.
        let key = key(n)?;
        let begun = Instant::now();
        drop(cache.get(&key)?);
        *each = begun.elapsed().as_nanos() as f64 / 1000.0;
    }
    let after = Memory::now()?;
    let last = Summary::of(each[STUBS - 1000..].iter().copied());
    let each = Summary::of(each);
    println!("next stub, us                    {each:.1}");
    println!("the last 1000 of {STUBS}, us     {last:.1}");
    bar("next stub, us", each.median, 40.0);

    let kilobytes = |bytes: u64| bytes as f64 / 1024.0;
    let of_a_stub = |bytes: u64| bytes as f64 / STUBS as f64;
    for (what, bytes) in [
        ("all", after.resident - before.resident),
        ("code", after.code - before.code),
        ("heap", after.heap - before.heap),
    ] {
        println!(
            "{STUBS} stubs, resident memory: {what:5} +{:.0} kB, {:.1} bytes a stub",
            kilobytes(bytes),
            of_a_stub(bytes)
        );
    }
    println!(
        "{STUBS} stubs: mappings             +{}",
        after.mappings - before.mappings
    );
    bar(
        "all memory of 10,000 stubs, kB",
        kilobytes(after.resident - before.resident),
        2048.0,
    );
    let mappings = after.code_mappings - others;
    bar("mappings for code", mappings as f64, 2.0);
    bar(
        "bytes of code for a stub",
        cache.stats().code_bytes as f64 / STUBS as f64,
        200.0,
    );

    let hit = hit(&few, &keys)?;
    println!("found again among 8, ns          {hit}");
    println!(
        "found again among {STUBS}, ns     {}",
        self::hit(&cache, &keys)?
    );
    bar("found again, ns", hit.median, 20.0);
    println!(
        "by two threads at once, ns       {}",
        hit_by_two(&few, &keys)?
    );
    println!("signature to stub, ns            {}", from_signature(&few)?);
    by_frame(&few)
}

/// Microseconds from nothing to the first stub.
fn cold() -> Result<f64, Box<dyn Error>> {
    let signature: Signature = "func(any)".parse()?;
    let begun = Instant::now();
    let cache = StubCache::new(Default::default())?;
    black_box(cache.for_signature(&signature, Abi::go(Arch::Amd64))?);
    Ok(begun.elapsed().as_nanos() as f64 / 1000.0)
}

/// Distinct keys of Go stubs, by number: two pieces of the argument in two registers, with and without a frame.
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

/// A cache with some other stubs, so that all that is made once is made.
fn warm_cache() -> Result<StubCache, Box<dyn Error>> {
    let cache = StubCache::new(Default::default())?;
    for text in ["func(*int)", "func(any)", "func(int8)", "func(float64)"] {
        cache.for_signature(&text.parse()?, Abi::system_v())?;
    }
    for text in ["func(float64)", "func(float32) [10]int"] {
        cache.for_signature(&text.parse()?, Abi::go(Arch::Amd64))?;
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

/// What a call takes by the bytes of results that its frame has room for.
fn by_frame(cache: &StubCache) -> Result<(), Box<dyn Error>> {
    for bytes in [0, 64, 1024, 4096, 16 << 10, 60 << 10] {
        let samples = (0..300).map(|_| with_frame(cache, bytes));
        let each = Summary::of(samples.collect::<Result<Vec<f64>, _>>()?);
        println!("a call, {bytes:5} bytes of results, ns  {each}");
    }
    Ok(())
}

/// What /proc says of this process.
struct Memory {
    resident: u64,
    mappings: usize,
    /// Resident bytes of code memory, each page counted once.
    code: u64,
    code_mappings: usize,
    /// Resident bytes of the allocator's own mapping; what it maps apart is elsewhere.
    heap: u64,
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
                heap: 0,
            },
            false,
        );
        let mut is_heap = false;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("Rss:"), Some(kilobytes)) => {
                    let bytes = kilobytes.parse::<u64>()? * 1024;
                    memory.resident += bytes;
                    if is_code {
                        memory.code = memory.code.max(bytes);
                    }
                    if is_heap {
                        memory.heap += bytes;
                    }
                }
                (Some(range), _) if !range.ends_with(':') => {
                    memory.mappings += 1;
                    is_code = line.contains("memfd:fing-stubs");
                    is_heap = line.ends_with("[heap]");
                    memory.code_mappings += usize::from(is_code);
                }
                _ => {}
            }
        }
        Ok(memory)
    }
}
