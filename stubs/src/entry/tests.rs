//! The state of a slot, step by step. `model/` has it in every order of its threads' steps.
#![forbid(unsafe_code)]

use super::state::{Ending, Late, State};

#[test]
fn a_generation_lives_once() {
    let state = State::new();
    assert_eq!(state.enter(state.word()), Err(Late));
    assert_eq!(state.open(), Some(1));
    let first = state.word();
    state.enter(first).unwrap();
    let entered = state.enter_alone(|| true).unwrap();
    assert_eq!(state.enter_alone(|| false), Err(Late));
    assert_eq!(state.close_idle(1), Ending::Busy(2));
    assert_eq!(state.leave(), Ending::Busy(1));
    assert_eq!(state.close(1), Ending::Busy(1));
    assert_eq!(
        (state.enter(first), state.enter_alone(|| true)),
        (Err(Late), Err(Late))
    );
    assert_eq!(state.close(1), Ending::Closed);
    assert_eq!(state.leave_alone(entered), Ending::Free);
    assert_eq!(state.open(), Some(2));
    // A call that began in the first generation.
    assert_eq!(state.enter(first), Err(Late));
    assert_eq!(state.close(1), Ending::Closed);
    assert_eq!(state.close(2), Ending::Free);
}

/// What one thread does alone, with plain stores, is what all do together.
#[test]
fn one_thread_alone() {
    let state = State::new();
    assert_eq!(state.enter_alone(|| true), Err(Late));
    assert_eq!(state.open(), Some(1));
    let outer = state.enter_alone(|| true).unwrap();
    assert_eq!(state.close_alone(1, true), Ending::Busy(1));
    let inner = state.enter_alone(|| true).unwrap();
    assert_eq!(state.leave_alone(inner), Ending::Busy(1));
    assert_eq!(state.close_alone(1, false), Ending::Busy(1));
    assert_eq!(state.close_alone(1, false), Ending::Closed);
    assert_eq!(state.leave_alone(outer), Ending::Free);
    assert_eq!(state.open(), Some(2));
    assert_eq!(state.close_alone(1, false), Ending::Closed);
    assert_eq!(state.close_alone(2, true), Ending::Free);
    assert_eq!(state.enter_alone(|| true), Err(Late));
}

/// The last generation is never followed by one that was there before.
#[test]
fn generations_do_not_come_again() {
    let state = State::closed(u32::MAX - 1);
    assert_eq!(state.open(), Some(u32::MAX));
    assert_eq!(state.close(u32::MAX), Ending::Free);
    assert_eq!(state.open(), None);
}
