//! The entrance that all stubs of a cache for Go functions share: x86-64 alone has one, because
//! Cranelift has a convention there whose callees keep no register.
#![cfg(target_arch = "x86_64")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use fing_stubs::{Abi, Arch, CacheOptions, GBlock, Record, StubCache};

/// Stubs with one veneer hold it, and their entrance, together; it stays for the last of them and
/// goes with it.
#[test]
fn stubs_share_what_is_the_same_in_all() {
    extern "C" fn nothing() {}
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let get = |n: u64, go: bool| {
        let abi = if go {
            Abi::go(Arch::Amd64)
        } else {
            Abi::system_v()
        };
        let signature = format!("func(*int) [{}]int", 2 + 4 * n).parse().unwrap();
        cache.for_signature(&signature, abi).unwrap()
    };
    let first = get(0, true);
    let one = cache.stats().code_bytes;
    assert_eq!(one, first.code_bytes());
    let others: Vec<_> = (1..20).map(|n| get(n, true)).collect();
    let shared = others[0].entrance().unwrap();
    assert!(
        others
            .iter()
            .all(|stub| stub.entrance() == Some(shared) && stub.entry() != first.entry())
    );
    let of_each = (cache.stats().code_bytes - one) / others.len();
    assert!(of_each < one * 2 / 3, "{of_each} of {one} bytes");
    assert_eq!(get(0, false).entrance(), None);

    drop(first);
    cache.trim();
    let record = Record {
        code: nothing as *const () as usize,
        ..Record::default()
    };
    for stub in &others {
        // SAFETY: I5: the callee reads and changes nothing.
        unsafe {
            stub.run_all(&[record; 3], &GBlock::zeroed());
        }
    }
    drop(others);
    assert!(cache.trim() > 0);
    assert_eq!(cache.stats().code_bytes, 0);
    assert_eq!(get(0, true).code_bytes(), one);
}

/// A Go function changes every register. If it unwinds, what its caller's caller wants back is
/// where the entrance put it.
#[test]
fn registers_come_back_from_a_panic_through_an_entrance() {
    extern "C-unwind" fn panics() {
        std::panic::resume_unwind(Box::new("from a callee"));
    }
    #[unsafe(naked)]
    extern "C-unwind" fn clobbers() {
        std::arch::naked_asm!(
            "mov rbx, -1",
            "mov r12, -1",
            "mov r13, -1",
            "mov r14, -1",
            "mov r15, -1",
            "jmp {panics}",
            panics = sym panics,
        )
    }
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let record = Record {
        code: clobbers as *const () as usize,
        ..Record::default()
    };
    for text in ["func(*int)", "func(any) [30]int", "func(float64)"] {
        let stub = cache
            .for_signature(&text.parse().unwrap(), Abi::go(Arch::Amd64))
            .unwrap();
        assert!(stub.entrance().is_some());
        let mut live: [u64; 8] = std::array::from_fn(|n| std::hint::black_box(n as u64 + 1));
        for round in 1..4 {
            // SAFETY: I5: the callee reads nothing, changes registers as a Go function may, and
            // panics.
            let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
                stub.run_all(&[record; 2], &GBlock::zeroed())
            }));
            assert!(outcome.is_err());
            live = live.map(|n| n * 3 + round);
        }
        let wanted: [u64; 8] = std::array::from_fn(|n| 27 * (n as u64 + 1) + 9 + 6 + 3);
        assert_eq!(live, wanted, "{text}");
    }
}
