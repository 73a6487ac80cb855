//! The seed callees, called by the oracle's reference call: no stub of ours is involved.

use super::*;
use fing_oracles::call::{self, Registers};

const BYTES: [u8; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const ITAB: usize = 0x17ab;

/// A number, and the object that points to it and (for the C callees) to the observation.
struct Object {
    words: Box<[usize; 2]>,
    _number: Box<i64>,
}

impl Object {
    fn new(number: i64, observation: &Observation) -> Object {
        let number = Box::new(number);
        Object {
            words: Box::new([&raw const *number as usize, observation.context()]),
            _number: number,
        }
    }

    fn address(&self) -> usize {
        &raw const *self.words as usize
    }
}

/// Calls `code` as a finalizer with these words for `n` argument registers.
fn call_with(
    code: usize,
    n: u8,
    words: &[usize],
    observation: &Observation,
    frame: &mut [u64],
) -> Registers {
    let mut registers = Registers::junk();
    registers.context = observation.context() as u64;
    let words = words.iter().map(|word| *word as u64);
    if words.len() <= usize::from(n) {
        words
            .zip(&mut registers.ints)
            .for_each(|(word, register)| *register = word);
    } else {
        words
            .zip(frame.iter_mut())
            .for_each(|(word, slot)| *slot = word);
    }
    // SAFETY: `code` is a seed callee, with its argument where its ABI puts it, a context that is
    // an observation, and a whole frame.
    unsafe { call::call(code, &mut registers, frame) };
    registers
}

fn frame_bytes(frame: &[u64]) -> Vec<u8> {
    frame.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Looks for (5151, 4.0, 1..10): in the frame at `results`, or in registers with the bytes at
/// `results`.
fn assert_results(n: u8, registers: &Registers, frame: &[u64], results: usize) {
    let bytes = frame_bytes(frame);
    let at = if n == 0 {
        assert_eq!(bytes[results..results + 8], 5151_u64.to_ne_bytes());
        assert_eq!(bytes[results + 8..results + 12], 4.0_f32.to_ne_bytes());
        results + 12
    } else {
        assert_eq!(registers.ints[0], 5151);
        // The half of the register that lies first in memory.
        let float = registers.floats[0].to_ne_bytes();
        assert_eq!(float[..4], 4.0_f32.to_ne_bytes());
        results
    };
    assert_eq!(bytes[at..at + 10], BYTES);
}

#[test]
fn pointer_case_for_every_register_count() {
    for n in 0..=MAX_INT_ARG_REGS {
        let code = pointer(n).unwrap();
        let observation = Observation::new(code);
        let object = Object::new(-1, &observation);
        observation.expected[1].store(object.address(), Ordering::Relaxed);
        let mut frame = vec![0; if n == 0 { 4 } else { 3 }];
        let registers = call_with(code, n, &[object.address()], &observation, &mut frame);
        assert_eq!(
            (
                observation.faults(),
                observation.calls(),
                observation.confirmed()
            ),
            (vec![], 1, -1),
            "{n} registers"
        );
        assert_results(n, &registers, &frame, if n == 0 { 8 } else { 0 });
        assert_eq!(
            observation.int_arg_regs.load(Ordering::Relaxed),
            u64::from(n)
        );
    }
    assert_eq!(usize::from(MAX_INT_ARG_REGS), call::INTS);
    assert_eq!(pointer(MAX_INT_ARG_REGS + 1), None);
}

#[test]
fn interface_case_for_every_register_count() {
    for n in 0..=MAX_INT_ARG_REGS {
        let code = interface(n).unwrap();
        let observation = Observation::new(code);
        let object = Object::new(-2, &observation);
        let words = [ITAB, object.address()];
        observation
            .expected
            .iter()
            .zip(words)
            .for_each(|(slot, word)| slot.store(word, Ordering::Relaxed));
        let mut frame = vec![0; if n == 0 { 5 } else { 4 }];
        let registers = call_with(code, n, &words, &observation, &mut frame);
        assert_eq!(
            (
                observation.faults(),
                observation.calls(),
                observation.confirmed()
            ),
            (vec![], 1, -2),
            "{n} registers"
        );
        assert_results(n, &registers, &frame, if n < 2 { 16 } else { 0 });
    }
    assert_eq!(interface(MAX_INT_ARG_REGS + 1), None);
}

#[test]
fn every_entry_has_its_own_address() {
    let all: std::collections::HashSet<_> = (0..=MAX_INT_ARG_REGS)
        .flat_map(|n| [pointer(n), interface(n)])
        .flatten()
        .collect();
    assert_eq!(all.len(), 2 * (usize::from(MAX_INT_ARG_REGS) + 1));
}

#[test]
fn registers_and_frame_are_written_down_as_found() {
    let code = interface(MAX_INT_ARG_REGS).unwrap();
    let observation = Observation::new(code);
    let object = Object::new(-2, &observation);
    let mut frame = [11, 12, 13, 14];
    let words = [ITAB, object.address()];
    call_with(code, MAX_INT_ARG_REGS, &words, &observation, &mut frame);
    let sent = Registers::junk();
    let found: Vec<u64> = observation
        .ints
        .iter()
        .map(|word| word.load(Ordering::Relaxed))
        .collect();
    assert_eq!(found[..2], [ITAB as u64, object.address() as u64]);
    assert_eq!(found[2..], sent.ints[2..]);
    assert_eq!(observation.g.load(Ordering::Relaxed), sent.g);
    assert_eq!(
        observation
            .frame
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed))[..4],
        [11, 12, 13, 14]
    );
    // No exception traps, and rounding is to the nearest. Exceptions that were noted don't matter.
    let (bits, wanted) = match std::env::consts::ARCH {
        "x86_64" => (0x7f80, 0x1f80),
        "riscv64" => (0xe0, 0),
        "s390x" => (0xff00_0007, 0),
        _ => (u64::MAX, 0),
    };
    let control = observation.float_control.load(Ordering::Relaxed);
    assert_eq!(control & bits, wanted, "{control:#x}");
}

/// What a Go callee may change, these do: a stub that counts on any register but the stack
/// pointer (and RBP on x86-64) fails here.
#[test]
fn all_registers_come_back_as_junk() {
    let code = pointer(MAX_INT_ARG_REGS).unwrap();
    let observation = Observation::new(code);
    let object = Object::new(-1, &observation);
    let words = [object.address()];
    let after = call_with(code, MAX_INT_ARG_REGS, &words, &observation, &mut [0; 3]);
    let junk = u64::from_le_bytes(*b"knujknuj");
    assert_eq!(after.ints[1..], [junk; call::INTS - 1]);
    assert_eq!((after.context, after.g), (junk, junk));
    assert!(after.zero[..call::ZERO_WORDS].iter().all(|&word| word != 0));
    assert_eq!(after.floats[1..], [u64::MAX; call::FLOATS - 1]);
}

#[test]
fn faults_in_arguments_and_fixed_registers_are_found() {
    let code = interface(MAX_INT_ARG_REGS).unwrap();
    let check = |prepare: &dyn Fn(&Observation, &mut Registers), fault| {
        let observation = Observation::new(code);
        let object = Object::new(-2, &observation);
        let mut registers = Registers::junk();
        registers.context = observation.context() as u64;
        registers.ints[..2].copy_from_slice(&[ITAB as u64, object.address() as u64]);
        prepare(&observation, &mut registers);
        // SAFETY: as in `call_with`; what `prepare` spoils is looked at, never followed.
        unsafe { call::call(code, &mut registers, &mut [0; 4]) };
        assert_eq!(observation.faults(), [fault]);
        assert_eq!(
            observation.confirmed(),
            if fault == Fault::Object { 0 } else { -2 }
        );
    };
    let ones = [u64::MAX; 64];
    check(
        &|observation, _| observation.code.store(1, Ordering::Relaxed),
        Fault::Context,
    );
    check(
        &|observation, _| observation.expected[0].store(1, Ordering::Relaxed),
        Fault::Word0,
    );
    check(
        &|observation, _| observation.expected[1].store(1, Ordering::Relaxed),
        Fault::Object,
    );
    check(&|_, registers| registers.ints[1] = 0, Fault::Object);
    check(&|_, registers| registers.g = ones.as_ptr() as u64, Fault::G);
    for word in 0..call::ZERO_WORDS {
        check(&|_, registers| registers.zero[word] = 1, Fault::Zero);
    }
}

#[test]
fn confirmed_numbers_are_logged_in_order() {
    let code = pointer(1).unwrap();
    let observation = Observation::new(code);
    let mut log = [0_i64; 2];
    observation
        .log
        .store(log.as_mut_ptr() as usize, Ordering::Relaxed);
    observation.log_len.store(2, Ordering::Relaxed);
    for number in [-5, -6, -7] {
        let object = Object::new(number, &observation);
        call_with(code, 1, &[object.address()], &observation, &mut [0; 3]);
    }
    assert_eq!(
        (observation.calls(), observation.confirmed(), log),
        (3, -7, [-5, -6])
    );
}

#[test]
fn a_large_result_is_written_up_to_the_end_of_the_frame() {
    let code = sixty_kilobytes().unwrap();
    let observation = Observation::new(code);
    let mut frame = vec![0; 7681];
    call_with(code, 1, &[0], &observation, &mut frame);
    assert_eq!(observation.calls(), 1);
    assert!(frame.iter().all(|&word| word == u64::MAX));
}

#[test]
fn callees_of_the_c_convention() {
    #[repr(C)]
    #[derive(Debug, PartialEq)]
    struct Results(i64, f32, [u8; 10]);
    #[repr(C)]
    struct Interface(usize, usize);

    let observation = Observation::default();
    let object = Object::new(-1, &observation);
    let itab = || Interface(ITAB, object.address());
    let expect = |code: Option<usize>, word0| {
        let code = code.unwrap();
        observation.code.store(code, Ordering::Relaxed);
        observation.expected[0].store(word0, Ordering::Relaxed);
        std::ptr::with_exposed_provenance::<()>(code)
    };
    let wanted = Results(5151, 4.0, BYTES);
    let code = expect(native_pointer(), 0);
    // SAFETY: the callee's C signature, as its documentation gives it, and an object of two words.
    let plain: extern "C" fn(usize) = unsafe { std::mem::transmute(code) };
    plain(object.address());
    let code = expect(native_pointer_results(), 0);
    // SAFETY: as above.
    let results: extern "C" fn(usize) -> Results = unsafe { std::mem::transmute(code) };
    assert_eq!(results(object.address()), wanted);
    let code = expect(native_interface(), ITAB);
    // SAFETY: as above.
    let plain: extern "C" fn(Interface) = unsafe { std::mem::transmute(code) };
    plain(itab());
    let code = expect(native_interface_results(), ITAB);
    // SAFETY: as above.
    let results: extern "C" fn(Interface) -> Results = unsafe { std::mem::transmute(code) };
    assert_eq!(results(itab()), wanted);
    assert_eq!(
        (
            observation.faults(),
            observation.calls(),
            observation.confirmed()
        ),
        (vec![], 4, -1)
    );
}
