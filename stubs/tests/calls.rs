//! Calls of any signature on this host: what arrives where, and what comes back, for seeded random
//! signatures, generated and interpreted, against callees that look at the machine itself.
//!
//! The values are graffiti: each byte of an argument is the number of the argument (high half) and
//! of the byte (low half). Where they must be is read off the assignment, which the checker vouches
//! for; keys and moves are not looked at.

#[cfg(feature = "faults")]
#[path = "../../tests/support/child.rs"]
mod child;
#[path = "support/probe/mod.rs"]
mod probe;

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use fing_stubs::abi::{Extension, Float32Image};
use fing_stubs::fuzzing::{self, Rng};
use fing_stubs::{
    Abi, Arch, Assignment, BlockLayout, CacheOptions, CallError, CallStub, CodePolicy, Convention,
    DEFAULT_FRAME_LIMIT, Family, GBlock, Kind, Piece, Place, Record, RegClass, Signature,
    StubCache, Value, assign,
};
use probe::{PROBE, PUSHED, Probe};

/// There is one probe at a time.
static TURN: Mutex<()> = Mutex::new(());

/// What padding in a block of results must still be afterwards.
const UNTOUCHED: u8 = 0xee;

/// Random signatures per ABI; `FING_CASES` overrides.
fn cases() -> u64 {
    fing_oracles::cases(150)
}

/// This machine.
fn host() -> Arch {
    Arch::host().unwrap()
}

/// Its C convention.
fn native() -> Abi {
    Abi::host_native().unwrap()
}

/// Its other conventions, but for Cranelift's own.
fn others() -> impl Iterator<Item = Abi> {
    let here = |c: &Convention| c.table().arch == host() && !c.is_tail();
    let all = Convention::ALL.into_iter().filter(here);
    all.map(Abi::native).filter(|&abi| abi != native())
}

fn cache(policy: CodePolicy) -> StubCache {
    StubCache::new(CacheOptions::default().policy(policy)).unwrap()
}

/// A block of words, so that it is aligned, of which the first `bytes` count.
struct Block {
    words: Vec<u64>,
    bytes: usize,
}

impl Block {
    fn of(bytes: u64, byte: impl Fn(usize) -> u8) -> Block {
        let bytes = bytes as usize;
        let word = |w: usize| u64::from_ne_bytes(std::array::from_fn(|i| byte(8 * w + i)));
        Block {
            words: (0..bytes.div_ceil(8)).map(word).collect(),
            bytes,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let all = self.words.iter().flat_map(|word| word.to_ne_bytes());
        all.take(self.bytes).collect()
    }
}

fn arguments(layout: &BlockLayout, values: &[Value]) -> Block {
    let mut bytes = vec![0x55; layout.size() as usize];
    for (i, (value, &offset)) in values.iter().zip(layout.offsets()).enumerate() {
        for j in 0..value.size as usize {
            bytes[offset as usize + j] = graffiti(i, j);
        }
    }
    Block::of(layout.size(), |i| bytes.get(i).copied().unwrap_or(0))
}

fn graffiti(value: usize, byte: usize) -> u8 {
    (value << 4 | byte & 15) as u8
}

/// Byte offset of the frame in the words that a probe writes down.
fn base(a: &Assignment) -> usize {
    a.abi.native_table().map_or(0, |table| table.argument_base) as usize
}

/// The bytes of a value that a register holds of it, as they lie in memory.
fn held(a: &Assignment, piece: &Piece, word: u64) -> Vec<u8> {
    let (at, size) = (piece.reg_off as usize, piece.size as usize);
    if !a.abi.machine().big_endian {
        return word.to_le_bytes()[at..at + size].to_vec();
    }
    let high = piece.class == RegClass::Float && a.abi.float32_image() == Float32Image::High;
    let from = if high { at } else { 8 - at - size };
    word.to_be_bytes()[from..from + size].to_vec()
}

/// What else the convention says of the register of an argument whose bytes are `value`.
fn check_rest(a: &Assignment, piece: &Piece, word: u64, value: &[u8]) {
    let extension = a.abi.native_table().map(|table| table.extension);
    if piece.class == RegClass::Float {
        let boxed = a.abi.float32_image() == Float32Image::NanBoxed && piece.size == 4;
        assert!(!boxed || word >> 32 == 0xffff_ffff, "{word:#x} is no box");
    } else if value.len() <= 4 && !matches!(piece.kind.underlying(), Kind::Float32) {
        let signed = matches!(piece.kind.underlying(), Kind::Int8 | Kind::Int16);
        let low = |n: usize| match a.abi.machine().big_endian {
            false => value.get(n),
            true => value.iter().rev().nth(n),
        };
        let last = low(value.len() - 1).copied().unwrap_or(0);
        let above = if signed && last > 0x7f { 0xff } else { 0 };
        let bytes = std::array::from_fn(|n| low(n).copied().unwrap_or(above));
        let wanted = i32::from_le_bytes(bytes);
        match extension {
            Some(Extension::Caller) => assert_eq!(word as i32, wanted, "extension"),
            Some(Extension::CallerFromBit31) => {
                assert_eq!(word as i64, i64::from(wanted), "extension");
            }
            _ => {}
        }
    }
}

/// The stack pointer at the call.
fn stack_pointer(a: &Assignment, probe: &Probe) -> u64 {
    probe.found(a.abi.machine().stack_pointer) + PUSHED
}

/// Every argument is where the assignment says.
fn check_arguments(a: &Assignment, probe: &Probe, frame: &Block, generated: bool) {
    let frame_bytes = frame.bytes();
    let is_at = |i: usize, from: usize, size: usize, offset: u64| {
        let at = base(a) + offset as usize;
        let wanted: Vec<u8> = (from..from + size).map(|j| graffiti(i, j)).collect();
        assert_eq!(
            frame_bytes[at..at + size],
            wanted,
            "argument {i} at {offset}"
        );
    };
    for (i, value) in a.args.iter().enumerate() {
        for piece in value.pieces() {
            let name = a.arg_register(piece.class, piece.index);
            let (from, size) = (piece.off as usize, piece.size as usize);
            let wanted: Vec<u8> = (from..from + size).map(|j| graffiti(i, j)).collect();
            let word = probe.found(name);
            assert_eq!(held(a, piece, word), wanted, "argument {i} in {name}");
            check_rest(a, piece, word, &wanted);
        }
        match &value.place {
            Place::Stack { offset } => is_at(i, 0, value.size as usize, *offset),
            Place::Split { offset, .. } => is_at(i, 8, 8, *offset),
            Place::Reference { pointer, copy } => {
                is_at(i, 0, value.size as usize, *copy);
                let address = match &**pointer {
                    Place::Stack { offset } => {
                        let at = base(a) + *offset as usize;
                        u64::from_ne_bytes(frame_bytes[at..at + 8].try_into().unwrap())
                    }
                    place => {
                        let piece = &place.pieces()[0];
                        probe.found(a.arg_register(piece.class, piece.index))
                    }
                };
                let frame_at = stack_pointer(a, probe) + base(a) as u64;
                if generated {
                    assert_eq!(address, frame_at + copy, "address of argument {i}");
                }
            }
            Place::Regs { .. } => {}
            place => panic!("argument {i} is at {place:?}"),
        }
    }
}

/// The block of results as it must be, from what the callee left.
fn results(
    a: &Assignment,
    layout: &BlockLayout,
    probe: &Probe,
    fill: &Block,
    hidden: &Block,
) -> Vec<u8> {
    let mut wanted = vec![UNTOUCHED; layout.size() as usize];
    for (value, &to) in a.results.iter().zip(layout.offsets()) {
        let to = to as usize;
        let size = value.size as usize;
        match &value.place {
            Place::Stack { offset } => {
                let at = base(a) + *offset as usize;
                wanted[to..to + size].copy_from_slice(&fill.bytes()[at..at + size]);
            }
            Place::Hidden { offset } => {
                let at = *offset as usize;
                wanted[to..to + size].copy_from_slice(&hidden.bytes()[at..at + size]);
            }
            place => {
                for piece in place.pieces() {
                    let name = a.result_register(piece.class, piece.index);
                    let bytes = held(a, piece, probe.left(name));
                    let to = to + piece.off as usize;
                    wanted[to..to + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
    }
    wanted
}

/// Calls through `stub`, twice in one batch if `batch`, and checks everything.
fn check(stub: &CallStub, signature: &Signature, abi: Abi, rng: &mut Rng) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let a = assign(signature, abi).unwrap();
    fing_stubs::check::check(signature, &a).unwrap();
    let junk = |rng: &mut Rng, bytes: u64| {
        let seed = rng.next_u64() as u8;
        Block::of(bytes, |i| seed.wrapping_mul(31).wrapping_add((7 * i) as u8))
    };
    let frame_bytes = base(&a) as u64 + a.frame_size;
    let mut frame = junk(rng, frame_bytes);
    let frame_fill = junk(rng, frame_bytes);
    let hidden = junk(rng, a.hidden_result.unwrap_or(0));
    let own = abi.native_table().and_then(|table| table.hidden);
    let first = || abi.arg_registers(RegClass::Int).first().copied();
    let hidden_register = own.or_else(first).and_then(probe::int);
    let mut probe = Probe {
        calls: 0,
        ints: [0; _],
        floats: [0; _],
        frame_words: frame_bytes / 8,
        frame: frame.words.as_mut_ptr(),
        frame_fill: frame_fill.words.as_ptr(),
        hidden_bytes: hidden.bytes as u64,
        hidden_register: hidden_register.unwrap_or(0) as u64,
        hidden_fill: hidden.words.as_ptr().cast(),
        ints_out: std::array::from_fn(|_| rng.next_u64()),
        floats_out: std::array::from_fn(|_| rng.next_u64()),
    };
    let code = probe::callee(abi.family());
    let context = match abi.family() {
        Family::Go => 0x00c0_ffee,
        Family::Native(_) => 0,
    };
    let arguments = arguments(stub.arguments(), &a.args);
    let mut block = Block::of(stub.results().size(), |_| UNTOUCHED);
    let g = GBlock::zeroed();
    PROBE.store(&raw mut probe as usize, Ordering::SeqCst);
    let to = block.words.as_mut_ptr().cast();
    let from = arguments.words.as_ptr().cast();
    // SAFETY: I5: the callee takes and leaves whatever the assignment says, and both blocks are of
    // their layouts.
    match stub.stub().entry() {
        // The same as below, with a look at the registers that the stub must keep.
        Some(entry) => {
            let words = [from, to as *const u8].map(|block: *const u8| block.addr() as u64);
            let record = [Record {
                code,
                context,
                words,
            }];
            let range = record.as_ptr_range();
            let (first, end) = (range.start.addr(), range.end.addr());
            let mut progress = 0usize;
            let (cell, limit) = (&raw mut progress, (&raw const end).addr());
            let g = (&raw const g).addr();
            let called = stub.stub().entrance().unwrap_or(entry);
            // SAFETY: I5, I6: as above; these are a stub's arguments, and its entrance's.
            let kept =
                unsafe { probe::keeps_registers(first, limit, cell.addr(), g, entry, called) };
            assert_eq!(kept, 1, "a register that the caller wants back is lost");
            // SAFETY: the stub wrote to the cell, behind the compiler's back.
            assert_eq!(unsafe { cell.read_volatile() }, end);
        }
        // SAFETY: I5: as above.
        None => unsafe { stub.call(code, context, from, to, &g).unwrap() },
    }
    // SAFETY: the callee wrote to the probe, behind the compiler's back.
    let probe = unsafe { std::ptr::read_volatile(&raw const probe) };
    assert_eq!(probe.calls, 1);
    check_arguments(&a, &probe, &frame, stub.stub().is_generated());
    match abi.native_table() {
        None => {
            let machine = abi.machine();
            assert_eq!(probe.found(machine.context), 0x00c0_ffee);
            assert_eq!(probe.found(machine.g), &raw const g as u64);
            assert_eq!(machine.zero.map_or(0, |name| probe.found(name)), 0);
        }
        Some(table) => {
            let at = stack_pointer(&a, &probe);
            assert_eq!(at % table.stack_align, 0, "the stack is aligned");
        }
    }
    let wanted = results(&a, stub.results(), &probe, &frame_fill, &hidden);
    assert_eq!(block.bytes(), wanted, "results");
}

/// Seeded random signatures by `abi`, generated and interpreted.
fn property(seed: u64, next: impl FnMut(&mut Rng) -> (Signature, Abi)) {
    let caches = [CodePolicy::Generate, CodePolicy::Interpret].map(cache);
    property_of(&caches, seed, next);
}

fn property_of(
    caches: &[StubCache],
    seed: u64,
    mut next: impl FnMut(&mut Rng) -> (Signature, Abi),
) {
    let mut rng = Rng::new(seed);
    for case in 0..cases() {
        let (signature, abi) = next(&mut rng);
        let a = assign(&signature, abi).unwrap();
        if a.frame_size + a.hidden_result.unwrap_or(0) > DEFAULT_FRAME_LIMIT {
            continue;
        }
        for cache in caches {
            let stub = cache.call_stub(&signature, abi).unwrap();
            let mut rng = Rng::new(seed ^ case);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                check(&stub, &signature, abi, &mut rng);
            }));
            if let Err(panic) = outcome {
                eprintln!("case {case}: {signature} by {abi}, key {}", stub.key());
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn go_at_every_register_count() {
    property(1, |rng| {
        let signature = fuzzing::random_signature(rng);
        (signature, fuzzing::random_go_abi(rng, host()))
    });
}

#[test]
fn the_machines_c_convention() {
    property(2, |rng| (fuzzing::native_signature(rng), native()));
}

#[test]
fn its_other_conventions() {
    for abi in others() {
        property(3, |rng| (fuzzing::native_signature(rng), abi));
    }
}

/// What random signatures seldom have: values far larger than registers, on the way in and back.
#[test]
fn large_values() {
    let mut rng = Rng::new(4);
    for policy in [CodePolicy::Generate, CodePolicy::Interpret] {
        let cache = cache(policy);
        let go = Abi::go(host());
        let go_rows = [
            (
                "func([200]uint8, int8, [1001]uint8) ([300]uint16, string)",
                go,
            ),
            (
                "func([5000]int, struct {}, [3]uint8) ([4000]int, [7]uint8)",
                go.with_int_arg_regs(0).unwrap(),
            ),
        ];
        let native_rows = others().chain([native()]).flat_map(|abi| {
            [
                ("func(int8, int16, float32) [1001]uint8", abi),
                ("func(interface{}, interface{}, interface{}) [33]uint8", abi),
            ]
        });
        for (text, abi) in native_rows.chain(go_rows) {
            let signature = text.parse().unwrap();
            let stub = cache.call_stub(&signature, abi).unwrap();
            check(&stub, &signature, abi, &mut rng);
        }
    }
}

#[test]
fn blocks_are_checked() {
    let cache = cache(CodePolicy::Generate);
    let stub = cache
        .call_stub(&"func(int, int8) int16".parse().unwrap(), native())
        .unwrap();
    let (words, mut result) = ([0u64; 3], [0u16; 2]);
    // SAFETY: I5: none of these calls is made.
    let errors = unsafe {
        let (from, to): (*const u8, *mut u8) = (words.as_ptr().cast(), result.as_mut_ptr().cast());
        let g = GBlock::zeroed();
        [
            stub.call(0, 0, from.add(4), to, &g),
            stub.call(0, 0, from, to.add(1), &g),
            stub.call_bytes(0, 0, &[0; 15], &mut [0; 2], &g),
            stub.call_bytes(0, 0, &[0; 16], &mut [0; 3], &g),
        ]
    };
    let blocks = errors.map(|error| match error.unwrap_err() {
        CallError::Misaligned { block, wanted, .. } | CallError::Size { block, wanted, .. } => {
            (block, wanted)
        }
        error => panic!("{error}"),
    });
    let wanted = [
        ("arguments", 8),
        ("results", 2),
        ("arguments", 16),
        ("results", 2),
    ];
    assert_eq!(blocks, wanted);
}

/// A panic passes through a stub that stores results, and so through a veneer that calls. The
/// callee is a C function, which a Go caller on s390x has no register save area for.
#[test]
fn a_panic_passes_through_a_call_with_results() {
    extern "C-unwind" fn panics(_: u64) -> u64 {
        panic!("from below")
    }
    for policy in [CodePolicy::Generate, CodePolicy::Interpret] {
        let cache = cache(policy);
        let go = (host() != Arch::S390x).then(|| Abi::go(host()));
        for abi in [native()].into_iter().chain(go) {
            let stub = cache
                .call_stub(&"func(int) int".parse().unwrap(), abi)
                .unwrap();
            let mut result = 7u64;
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let to = (&raw mut result).cast();
                // SAFETY: I5: the callee reads one register, whichever, keeps what a Go function
                // may change, and panics.
                unsafe {
                    stub.call(
                        panics as *const () as usize,
                        0,
                        (&raw const result).cast(),
                        to,
                        &GBlock::zeroed(),
                    )
                }
            }));
            assert_eq!((outcome.is_err(), result), (true, 7), "{}", stub.key());
        }
    }
}

/// Mistakes planted in generated stubs, each looked for in a process of its own, because some
/// overwrite what they should not.
#[cfg(feature = "faults")]
mod faults {
    use super::*;
    use fing_stubs::faults::Fault;

    fn look(fault: Option<Fault>) {
        let options = CacheOptions::default();
        let cache = match fault {
            Some(fault) => StubCache::with_fault(options, fault),
            None => StubCache::new(options),
        };
        let caches = [cache.unwrap()];
        property_of(&caches, 1, |rng| {
            let signature = fuzzing::random_signature(rng);
            (signature, fuzzing::random_go_abi(rng, host()))
        });
        property_of(&caches, 2, |rng| (fuzzing::native_signature(rng), native()));
    }

    #[test]
    fn child() {
        let is = |fault: &Fault| child::is_child(&format!("{fault:?}"));
        match Fault::ALL.into_iter().find(is) {
            Some(fault) => look(Some(fault)),
            None if child::is_child("none") => look(None),
            None => {}
        }
    }

    #[test]
    fn every_fault_is_found() {
        let passes = |part: &str| child::run("faults::child", part).status.success();
        assert!(passes("none"), "nothing planted, and a fault is found");
        for fault in Fault::ALL {
            assert!(!passes(&format!("{fault:?}")), "{fault:?} is not found");
        }
    }
}
