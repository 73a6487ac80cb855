//! The Go oracle itself: functions compiled by the Go compiler, mapped and called by hand, do what
//! Go says they do.
//!
//! Only the reference call of fing-oracles is used here, nothing of fing: what this file shows, the
//! other tests may rely on.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use fing_oracles::call::{self, Registers};
use fing_oracles::{Go, go};

/// 4.0 as a float32, and the ten bytes 1..10 as the two words of a frame they start in.
const FOUR: u64 = 0x4080_0000;
const BYTES: [u64; 2] = [0x0807_0605_0403_0201, 0x0a09];

/// An object of the shape of Go's TintPointer: one word, the address of a number.
struct Tint {
    number: Box<i64>,
    object: Box<u64>,
}

impl Tint {
    fn new(number: i64) -> Tint {
        let number = Box::new(number);
        let object = Box::new(&raw const *number as u64);
        Tint { number, object }
    }

    fn address(&self) -> u64 {
        &raw const *self.object as u64
    }
}

/// Calls `name` with argument words in the first integer registers and a plain function's closure
/// value in the context register.
fn call_go(go: &Go, name: &str, words: &[u64], frame: &mut [u64]) -> Registers {
    let code = go.address(name);
    let closure = [code as u64];
    let mut registers = Registers::junk();
    registers.ints[..words.len()].copy_from_slice(words);
    registers.context = closure.as_ptr() as u64;
    let g = registers.g;
    // SAFETY: `code` is a function of tests/go, which needs no live runtime; words and frame are
    // what its signature asks for.
    unsafe { call::call(code, &mut registers, frame) };
    assert_eq!(
        registers.flags & 0x400,
        0,
        "{name} left the direction flag set"
    );
    if !name.contains("ABI0") {
        assert_eq!(
            (registers.g, registers.zero),
            (g, [0; 2]),
            "{name}: Go leaves R14 and X15 as they were"
        );
    }
    registers
}

/// The results (5151, 4.0, 1..10) of Go's register ABI: RAX, X0, and the array at the frame word
/// `at`.
fn assert_results(registers: &Registers, frame: &[u64], at: usize) {
    assert_eq!(registers.ints[0], 5151);
    assert_eq!(registers.floats[0] & 0xffff_ffff, FOUR);
    assert_eq!(frame[at], BYTES[0]);
    assert_eq!(frame[at + 1] & 0xffff, BYTES[1]);
}

/// The last confirmed number.
fn confirmed(go: &Go) -> i64 {
    go.word("main.Confirmed", 0) as i64
}

#[test]
fn pointer_in_a_register() {
    let Some(go) = go() else { return };
    let tint = Tint::new(-1);
    // Results: 10 bytes, rounded to 16; spill slot: 8.
    let mut frame = [0; 3];
    let registers = call_go(&go, "main.FinalizePointer", &[tint.address()], &mut frame);
    assert_results(&registers, &frame, 0);
    assert_eq!((confirmed(&go), go.word("main.Calls", 0)), (-1, 1));
    assert_eq!(*tint.number, -1);
}

#[test]
fn interface_through_gos_own_itab() {
    let Some(go) = go() else { return };
    let tint = Tint::new(-2);
    let itab = go.word("main.ProtoTinter", 0);
    assert_ne!(itab, go.word("main.ProtoBystander", 0));
    let mut frame = [0; 4];
    let registers = call_go(
        &go,
        "main.FinalizeTinter",
        &[itab, tint.address()],
        &mut frame,
    );
    assert_results(&registers, &frame, 0);
    assert_eq!((confirmed(&go), go.word("main.Methods", 0)), (-2, 1));
    assert_eq!(
        [go.word("main.LastWord0", 0), go.word("main.LastWord1", 0)],
        [itab, tint.address()]
    );
}

#[test]
fn empty_interface_carries_the_type_word() {
    let Some(go) = go() else { return };
    let tint = Tint::new(-2);
    let type_word = go.word("main.ProtoAny", 0);
    assert_ne!(
        type_word,
        go.word("main.ProtoTinter", 0),
        "a type and an itab are different words"
    );
    let mut frame = [0; 4];
    let registers = call_go(
        &go,
        "main.FinalizeAny",
        &[type_word, tint.address()],
        &mut frame,
    );
    assert_results(&registers, &frame, 0);
    assert_eq!(confirmed(&go), -2);
}

/// golang/go#51457: 32 bytes of results, then two spill slots, which the callee does write.
#[test]
fn spill_slots_behind_the_results_are_written() {
    let Some(go) = go() else { return };
    let tint = Tint::new(-3);
    let words = [go.word("main.ProtoAny", 0), tint.address()];
    let mut frame = [0; 6];
    call_go(&go, "main.FinalizeSpill", &words, &mut frame);
    assert_eq!(frame, [5151, 5152, 5153, 5154, words[0], words[1]]);
    assert_eq!((confirmed(&go), go.word("main.Calls", 0)), (-3, 2));
    assert_eq!([0, 1].map(|i| go.word("main.Log", i) as i64), [7, -3]);
}

#[test]
fn no_result_stack_check_and_write_barrier() {
    let Some(go) = go() else { return };
    for (name, number) in [
        ("main.FinalizeNothing", -4),
        ("main.FinalizeChain", -5),
        ("main.FinalizeStore", -6),
    ] {
        let tint = Tint::new(number);
        call_go(&go, name, &[tint.address()], &mut [0; 3]);
        assert_eq!(confirmed(&go), number, "{name}");
        if name == "main.FinalizeStore" {
            assert_eq!(go.word("main.Saved", 0), *tint.object);
        }
    }
}

#[test]
fn closure_reads_its_captured_variable_through_the_context() {
    let Some(go) = go() else { return };
    let tint = Tint::new(-1);
    let code = go.address("main.NewClosure.func1");
    let closure = [code as u64, 41];
    let mut registers = Registers::junk();
    registers.ints[0] = tint.address();
    registers.context = closure.as_ptr() as u64;
    let mut frame = [0; 3];
    // SAFETY: a function of tests/go with its one argument, and a closure value as Go lays it out.
    unsafe { call::call(code, &mut registers, &mut frame) };
    assert_results(&registers, &frame, 0);
    assert_eq!((go.word("main.Captured", 0), confirmed(&go)), (41, 40));
}

/// Assembly functions take everything on the frame. Their `.abi0` entry is the function itself and
/// needs neither R14 nor X15.
#[test]
fn abi0_takes_everything_on_the_frame() {
    let Some(go) = go() else { return };
    let tint = Tint::new(-1);
    let mut frame = [tint.address(), 0, 0, 0];
    call_go(&go, "main.ABI0Pointer.abi0", &[], &mut frame);
    assert_eq!(
        frame,
        [
            tint.address(),
            5151,
            FOUR | 0x0403_0201 << 32,
            0x0a09_0807_0605
        ]
    );
    assert_eq!(confirmed(&go), -1);

    for (name, proto) in [
        ("main.ABI0Tinter.abi0", "main.ProtoTinter"),
        ("main.ABI0Any.abi0", "main.ProtoAny"),
    ] {
        let tint = Tint::new(-2);
        let words = [go.word(proto, 0), tint.address()];
        let mut frame = [words[0], words[1], 0, 0, 0];
        call_go(&go, name, &[], &mut frame);
        assert_eq!(
            frame[2..],
            [5151, FOUR | 0x0403_0201 << 32, 0x0a09_0807_0605],
            "{name}"
        );
        assert_eq!(confirmed(&go), -2, "{name}");
        assert_eq!(
            [go.word("main.LastWord0", 0), go.word("main.LastWord1", 0)],
            words,
            "{name}"
        );
    }
}

/// The wrapper Go makes around an assembly function turns the register ABI into ABI0. It works with
/// a zeroed goroutine, but afterwards reloads R14 from the thread's own storage, where Go keeps its
/// goroutine and this process something else: a caller must not count on R14.
#[test]
fn gos_wrapper_turns_registers_into_abi0() {
    let Some(go) = go() else { return };
    let tint = Tint::new(-7);
    let mut frame = [0; 3];
    let registers = call_go(&go, "main.ABI0Pointer", &[tint.address()], &mut frame);
    assert_results(&registers, &frame, 0);
    assert_eq!(confirmed(&go), -7);
}

/// func Wide(a int8, b float32, s string, p []byte, x float64, late [2]int64, z uint16) (int,
/// float64, uint8, string)
#[test]
fn a_call_with_every_kind_of_place() {
    let Some(go) = go() else { return };
    let code = go.address("main.Wide");
    let (text, bytes) = (b"hello", [1_u8, 2, 3]);
    let mut registers = Registers::junk();
    let junk = 0xffff_ffff_ffff_ff00;
    registers.ints[..7].copy_from_slice(&[
        junk | 7,
        text.as_ptr() as u64,
        5,
        bytes.as_ptr() as u64,
        3,
        4,
        0xffff_ffff_ffff_0000 | 100,
    ]);
    registers.floats[0] = 0xffff_ffff_0000_0000 | u64::from(2.5_f32.to_bits());
    registers.floats[1] = 3.0_f64.to_bits();
    // Stack: the array (arrays of two never travel in registers), then 61 bytes of spill slots.
    let mut frame = [8, 9, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: a function of tests/go with arguments of its signature, in the places Go gives them.
    unsafe { call::call(code, &mut registers, &mut frame) };
    assert_eq!(registers.ints[0], 7 + 5 + 3 + 4 + 100 + 6);
    assert_eq!(registers.floats[0], 7.5_f64.to_bits());
    assert_eq!(registers.ints[1] & 0xff, u64::from(b'h'));
    assert_eq!(registers.ints[2..4], [text.as_ptr() as u64 + 1, 4]);
    let sum = [0, 1, 2, 3].map(|i| f64::from_bits(go.word("main.Sum", i)));
    assert_eq!(sum, [2.5, 3.0, 8.0, 9.0]);
}
