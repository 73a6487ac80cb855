//! Models of who waits for a collection's calls while a later call of the same block takes long: it
//! waits until the waiting is over, so a wake-up that comes with the end of the block comes never.
#![forbid(unsafe_code)]

use super::meeting::Meeting;
use super::{
    BLOCK_RECORDS, CallId, CallStage, Deadline, LONG, LaneId, NO_BARRIERS, Publishing, Taken,
    TurnRef, World, check, check_within, join, thread,
};

/// A queue with the calls 1 and 2 of the collections of these numbers, in one block: 2 runs first,
/// and 1 waits for those who [wait](waiting) for its collection's other calls.
fn two_collections() -> World {
    let mut world = World::new(9);
    world.meets = Some((1, Meeting::of(2)));
    world.collect(1, [1]);
    world.collect(2, [2]);
    world
}

/// Waits for the calls of collection 2, and lets call 1 return then.
fn waiting(world: &World) -> thread::JoinHandle<()> {
    world.spawn(|world| {
        let left = world.queue.wait_for_collection(2, Deadline::after(LONG));
        assert!(left.is_nothing(), "{left:?}");
        if let Some((_, meeting)) = &world.meets {
            meeting.come();
        }
    })
}

/// The block begins before or after the waiting.
fn a_ticket_is_over_before_its_block() {
    let world = two_collections();
    let waiting = waiting(&world);
    let goroutine = world.start(Publishing::Right);
    join(waiting);
    world.end(goroutine, 2);
}

#[test]
fn a_ticket_is_over_though_its_block_is_not() {
    check(a_ticket_is_over_before_its_block);
}

#[test]
fn a_ticket_is_over_though_its_block_is_not_without_barriers() {
    NO_BARRIERS.set(true);
    check(a_ticket_is_over_before_its_block);
}

/// The goroutine with calls of which each is claimed as a whole, as in src/calls/goroutine.rs: such
/// a call leaves the progress where it is.
fn run_whole(world: &World, turn: &TurnRef) {
    while let Taken::Drain { int_arg_regs } = world.queue.take(turn, true) {
        while let Some((block, mut at)) = world.queue.next_block(turn, BLOCK_RECORDS, |_| ()) {
            let slots = block.slots();
            while at < slots.len() {
                if turn.is_cut(&slots[at]) {
                    match world.queue.pass(turn, at) {
                        Some(next) => at = next,
                        None => break,
                    }
                }
                turn.publish(&slots[at]);
                let end = world.queue.begin_batch(turn, &block, (at, at + 1), true);
                if end > at {
                    let number = slots[at].record().words[0];
                    world.call(turn.lane(), number, int_arg_regs, 1);
                }
                at = end;
            }
            world.queue.finish_block(turn, block, at);
        }
    }
}

#[test]
fn a_ticket_is_over_though_calls_are_claimed_as_a_whole() {
    check(|| {
        let world = two_collections();
        let waiting = waiting(&world);
        let goroutine = world.spawn(|world| run_whole(&world, &world.queue.turn()));
        join(waiting);
        world.end(goroutine, 2);
    });
}

/// The last call of a collection that is left is cancelled. It waits in another lane, and the
/// others, which are done, were in a block that runs still.
#[test]
fn a_ticket_is_over_when_its_last_call_is_cancelled() {
    check_within(2, || {
        let world = two_collections();
        world.collect_for(LaneId::POOL, 2, [3]);
        let goroutine = world.start(Publishing::Right);
        let waiting = waiting(&world);
        let stage = world.queue.cancel(CallId::Finalizer(3), |_| true);
        assert_eq!(stage, CallStage::Queued);
        join(waiting);
        world.end(goroutine, 3);
    });
}

/// A thread has ended a drain by a fault of its own, in call 2. Call 1 is handed out.
#[test]
fn a_ticket_is_over_when_a_call_behind_an_interrupted_one_is_handed_out() {
    check(|| {
        let world = two_collections();
        let turn = world.queue.turn();
        let taken = world.queue.take(&turn, false);
        assert_eq!(taken, Taken::Drain { int_arg_regs: 9 });
        let begun = world.queue.next_block(&turn, BLOCK_RECORDS, |_| ());
        assert!(begun.is_some());
        drop(begun);
        let waiting = waiting(&world);
        let taken = world.queue.take(&turn, false);
        assert_eq!(taken, Taken::Drain { int_arg_regs: 9 });
        let call = world.queue.hand_out(&turn, |_| ()).expect("call 1");
        assert_eq!(call.block.slots()[call.at].record().words[0], 1);
        world.call(LaneId::POOL, 1, 9, 1);
        world.queue.retire(&call.turn, Some(call.block));
        join(waiting);
        assert_eq!(world.queue.counts().executed, 2);
        assert_eq!(world.log.of(2).entered, 0);
    });
}

/// As src/calls/goroutine.rs makes calls that are lent a mutator and have a status: a record is
/// published before the thread enters the heap, and again before the call, which is not made if the
/// batch was ended meanwhile. `looks` for that, or takes it for made.
fn run_lent(world: &World, turn: &TurnRef, looks: bool) {
    let Taken::Drain { int_arg_regs } = world.queue.take(turn, true) else {
        return;
    };
    let Some((block, mut at)) = world.queue.next_block(turn, BLOCK_RECORDS, |_| ()) else {
        return;
    };
    let slots = block.slots();
    while at < slots.len() {
        if turn.is_cut(&slots[at]) {
            match world.queue.pass(turn, at) {
                Some(next) => at = next,
                None => break,
            }
        }
        turn.publish(&slots[at]);
        let end = world.queue.begin_batch(turn, &block, (at, at + 1), false);
        if end == at || !turn.publish(&slots[at]) {
            continue;
        }
        let made = turn.publish(&slots[at]);
        if made {
            let number = slots[at].record().words[0];
            world.call(turn.lane(), number, int_arg_regs, 1);
        }
        turn.reach(slots[at + usize::from(made)..].as_ptr());
        at = if looks { turn.reached(slots) } else { end };
    }
    world.queue.finish_block(turn, block, at);
}

fn wait_beside_lent_calls(looks: bool) {
    let world = World::new(9);
    world.collect(1, [1]);
    world.collect(2, [2]);
    let waiting = world.spawn(|world| {
        let left = world.queue.wait_for_collection(2, Deadline::after(LONG));
        assert!(left.is_nothing(), "{left:?}");
    });
    run_lent(&world, &world.queue.turn(), looks);
    join(waiting);
    let made = [1, 2].map(|number| world.log.of(number).entered);
    assert_eq!(made, [1, 1], "a call is lost");
}

#[test]
fn a_ticket_loses_no_call_that_is_lent_a_mutator() {
    check(|| wait_beside_lent_calls(true));
}

#[test]
#[should_panic(expected = "a call is lost")]
fn a_call_that_was_not_made_and_is_taken_for_made_is_found() {
    check(|| wait_beside_lent_calls(false));
}
