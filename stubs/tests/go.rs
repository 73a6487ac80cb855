//! Go callees on this host, for every number of argument registers, generated and interpreted: callees that look at
//! physical registers and frame words and leave nothing as it was.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

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

fn caches() -> [StubCache; 2] {
    [CodePolicy::Generate, CodePolicy::Interpret].map(|policy| {
        StubCache::new(CacheOptions {
            policy,
            ..Default::default()
        })
        .unwrap()
    })
}

/// Calls a seed callee over a batch; live values around the call show that the caller's registers come back.
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
        // SAFETY: I5: a callee of the stub's ABI, with its observation as context and objects of its kind.
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
            let abi = Abi::go(Arch::Amd64)
                .with_int_arg_regs(count.into())
                .unwrap();
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

/// golang/go#51457: the frame has room for results *and* for the spill slots above them.
#[test]
fn spill_slots_have_room() {
    for cache in caches() {
        let stub = cache
            .for_signature(
                &"func(interface{}) [4]int64".parse().unwrap(),
                Abi::go(Arch::Amd64),
            )
            .unwrap();
        assert_eq!(stub.key().frame(), 48);
    }
}

#[test]
fn register_counts_share_stubs_where_words_go_the_same_way() {
    let cache = StubCache::new(Default::default()).unwrap();
    for count in 0..=9 {
        let abi = Abi::go(Arch::Amd64).with_int_arg_regs(count).unwrap();
        cache
            .for_signature(&"func(*int)".parse().unwrap(), abi)
            .unwrap();
    }
    assert_eq!(cache.stats().stubs, 2);
}
