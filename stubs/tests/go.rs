//! Go callees on this host, for every number of argument registers, generated and interpreted:
//! callees that look at physical registers and frame words and leave nothing as it was.

use std::sync::atomic::Ordering;

use fing_stubs::seed::{self, Observation};
use fing_stubs::{Abi, Arch, CacheOptions, CodePolicy, GBlock, Record, Stub, StubCache};

/// An object as the seed callees want it: a word that is the address of the number to confirm.
struct Object {
    number: Box<i64>,
    word: Box<usize>,
}

impl Object {
    fn new(number: i64) -> Object {
        let number = Box::new(number);
        let word = Box::new(&raw const *number as usize);
        Object { number, word }
    }

    fn address(&self) -> usize {
        &raw const *self.word as usize
    }
}

/// Go's ABI on this machine, with all its registers.
fn host() -> Abi {
    Abi::go(Arch::host().unwrap())
}

fn caches() -> [StubCache; 2] {
    [CodePolicy::Generate, CodePolicy::Interpret]
        .map(|policy| StubCache::new(CacheOptions::default().policy(policy)).unwrap())
}

/// Calls a seed callee over a batch; live values around the call show that the caller's registers
/// come back.
fn call(stub: &Stub, code: usize, itab: Option<usize>) -> Observation {
    let objects: Vec<Object> = (1..=5).map(|n| Object::new(-n)).collect();
    let mut observation = Observation::new(code);
    observation.expected[0] = itab.unwrap_or(0).into();
    let record = |object: &Object| {
        let words = match itab {
            Some(itab) => [itab as u64, object.address() as u64],
            None => [object.address() as u64, 0],
        };
        Record {
            code,
            context: observation.context(),
            words,
        }
    };
    let records: Vec<Record> = objects.iter().map(record).collect();
    let (mut ints, mut floats) = ([3u64; 12], [0.5f64; 12]);
    for round in 0..3u32 {
        for n in 0..12 {
            ints[n] = std::hint::black_box(ints[n] * 7 + u64::from(round));
            floats[n] = std::hint::black_box(floats[n] * 1.5);
        }
        // SAFETY: I5: a callee of the stub's ABI, with its observation as context and objects of
        // its kind.
        unsafe { stub.run_all(&records, &GBlock::zeroed()) };
    }
    assert!(
        ints.iter().all(|&n| n == ((3 * 7) * 7 + 1) * 7 + 2)
            && floats.iter().all(|&x| x == 0.5 * 1.5f64.powi(3))
    );
    assert_eq!(*objects[4].number, -5);
    observation
}

#[test]
fn every_register_count() {
    for cache in caches() {
        for count in 0..=seed::MAX_INT_ARG_REGS {
            let abi = host().with_int_arg_regs(count.into()).unwrap();
            let cases = [
                (
                    "func(*int) (int, float32, [10]uint8)",
                    seed::pointer(count),
                    None,
                ),
                (
                    "func(interface{ M() }) (int, float32, [10]uint8)",
                    seed::interface(count),
                    Some(0x1234_5678),
                ),
            ];
            for (text, code, itab) in cases {
                let stub = cache.for_signature(&text.parse().unwrap(), abi).unwrap();
                let seen = call(&stub, code.unwrap(), itab);
                assert_eq!(seen.faults(), [], "{} for {text}", stub.key());
                assert_eq!(
                    (seen.calls(), seen.confirmed()),
                    (15, -5),
                    "{} for {text}",
                    stub.key()
                );
                assert_eq!(seen.int_arg_regs.load(Ordering::Relaxed), u64::from(count));
            }
        }
    }
}

#[test]
fn sixty_kilobytes_of_stack_results() {
    for cache in caches() {
        let signature = "func(*int) [7680]uint64".parse().unwrap();
        let stub = cache.for_signature(&signature, host()).unwrap();
        assert!(
            (61448..=65536).contains(&stub.key().frame()),
            "{}",
            stub.key()
        );
        let code = seed::sixty_kilobytes().unwrap();
        let observation = Observation::new(code);
        let record = Record {
            code,
            context: observation.context(),
            words: [0; 2],
        };
        // SAFETY: I5: a Go function of this signature, whose context is an observation.
        unsafe { stub.run_all(&[record; 3], &GBlock::zeroed()) };
        assert_eq!(observation.calls(), 3);
    }
}

/// Equal keys mean interchangeable stubs: whatever signature led to a key, the stub calls the same
/// way.
#[test]
fn signatures_of_one_key_share_its_stub() {
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let mut by_key = std::collections::HashMap::new();
    let mut rng = fing_stubs::fuzzing::Rng::new(11);
    for _ in 0..2000 {
        let signature = fing_stubs::fuzzing::finalizer_signature(&mut rng);
        let abi = host()
            .with_int_arg_regs(rng.below(host().int_regs() + 1))
            .unwrap();
        let Ok(key) = cache.key(&signature, abi, false) else {
            continue;
        };
        by_key
            .entry(key)
            .or_insert_with(Vec::new)
            .push((signature, abi));
    }
    for (key, signatures) in &by_key {
        let assignment = |(signature, abi): &(_, _)| fing_stubs::assign(signature, *abi).unwrap();
        let first = assignment(&signatures[0]);
        for other in &signatures[1..] {
            let other = assignment(other);
            // The argument travels the same way, and the frame holds what each callee may touch.
            let way = |a: &fing_stubs::Assignment| -> Vec<_> {
                a.args[0]
                    .pieces()
                    .iter()
                    .map(|p| (p.class, p.index, p.off, p.size))
                    .collect()
            };
            assert_eq!(way(&first), way(&other), "{key}");
            assert!(other.frame_size <= key.frame().into(), "{key}");
        }
    }
    assert!(
        by_key.len() > 10 && by_key.values().any(|signatures| signatures.len() > 10),
        "{}",
        by_key.len()
    );
}

/// golang/go#51457: the frame has room for results *and* for the spill slots above them.
#[test]
fn spill_slots_have_room() {
    for cache in caches() {
        let stub = cache
            .for_signature(&"func(interface{}) [4]int64".parse().unwrap(), host())
            .unwrap();
        assert_eq!(stub.key().frame(), 48);
    }
}

#[test]
fn register_counts_share_stubs_where_words_go_the_same_way() {
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    for count in 0..=host().int_regs() {
        let abi = host().with_int_arg_regs(count).unwrap();
        cache
            .for_signature(&"func(*int)".parse().unwrap(), abi)
            .unwrap();
    }
    assert_eq!(cache.stats().stubs, 2);
}
