//! What a stop has ended stays ended.
#![forbid(unsafe_code)]

use super::*;

/// The queue is stopped while a block runs; then another thread does something that concerns a
/// call behind the one that runs.
fn stop_and(then: impl Fn(&World)) {
    let world = World::new(9);
    world.collect(1, [1, 2]);
    world.collect(2, [3, 4]);
    let goroutine = world.start(Publishing::Right);
    world.queue.stop();
    let begun = world.log.fates().len();
    then(&world);
    join(goroutine);
    let ran = world.log.fates().len();
    assert!(ran <= begun + 1, "{begun} calls had begun, {ran} were made");
}

#[test]
fn cancelling_does_not_undo_a_stop() {
    check_within(2, || {
        stop_and(|world| {
            world.queue.cancel(CallId::Finalizer(1), |_| true);
        });
    });
}

#[test]
fn waiting_for_a_ticket_does_not_undo_a_stop() {
    check_within(2, || {
        stop_and(|world| {
            let at_once = Deadline::after(Duration::ZERO);
            world.queue.wait_for_collection(2, at_once);
        });
    });
}

#[test]
fn taking_back_does_not_undo_a_stop() {
    check_within(2, || {
        stop_and(|world| drop(world.queue.withdraw(|object, _| object == 1)));
    });
}
