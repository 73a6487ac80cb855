//! A thread that is relieved, has ended or was handed a call, wherever it is in the code.
#![forbid(unsafe_code)]

use super::*;

/// A block of which the first call is claimed as a whole and the others are not, as
/// src/calls/goroutine.rs has them.
fn run_claiming_the_first(world: &World, turn: &TurnRef) {
    let Taken::Drain { int_arg_regs } = world.queue.take(turn, true) else {
        return;
    };
    let take = |_: &Block| ();
    let Some((block, mut at)) = world.queue.next_block(turn, BLOCK_RECORDS, take) else {
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
        let whole = at == 0;
        let to = if whole { 1 } else { slots.len() };
        let end = world.queue.begin_batch(turn, &block, (at, to), whole);
        if end == at {
            continue;
        }
        let batch = (at, int_arg_regs, 1);
        at = match whole {
            true => {
                let number = slots[at].record().words[0];
                world.call(turn.lane(), number, int_arg_regs, 1);
                end
            }
            false => world.stub(turn, slots, batch, Publishing::Right),
        };
    }
    world.queue.finish_block(turn, block, at);
}

/// What lies behind a call that was claimed is not claimed, and is run by one thread.
#[test]
fn a_claimed_call_is_taken_over_from() {
    check(|| {
        let world = World::new(9);
        world.collect(1, [1, 2]);
        let goroutine = world.spawn(|world| {
            run_claiming_the_first(&world, &world.queue.turn());
        });
        let sight = world.queue.sights().pop();
        let turn = sight.and_then(|sight| world.queue.relieve(sight, 2));
        if let Some(turn) = turn {
            world.run_due(&turn, Publishing::Right);
        }
        join(goroutine);
        let fates = world.log.fates();
        let once = |number: &u64| fates.get(number).is_some_and(|fate| fate.entered == 1);
        assert!([1, 2].iter().all(once), "not once each: {fates:?}");
    });
}

/// Three calls, of which the first was made and the second is cancelled, the stub having come to
/// it; then the thread's place is taken as `take` says.
fn at_a_cancelled_call(take: impl Fn(&World, &TurnRef) -> Option<TurnRef>, goes_on: bool) {
    let (world, turn, block) = World::at_work([1, 2, 3]);
    let slots = block.slots();
    assert_eq!(world.queue.begin_batch(&turn, &block, (0, 3), false), 3);
    assert!(turn.publish(&slots[0]));
    world.call(turn.lane(), 3, 9, 1);
    assert_eq!(cancel(&world, [2]), [2]);
    assert!(!turn.publish(&slots[1]), "the stub returns");
    let new = take(&world, &turn);
    if goes_on {
        let reached = world.run_block(&turn, &block, (1, 9, 1), Publishing::Right);
        world.queue.finish_block(&turn, block, reached);
    }
    if let Some(new) = new {
        world.run_due(&new, Publishing::Right);
    }
    let made = [1, 2, 3].map(|number| world.log.of(number).entered);
    assert_eq!(made, [1, 0, 1]);
    let counts = world.queue.counts();
    assert_eq!((counts.executed, counts.cancelled), (2, 1));
}

#[test]
fn a_thread_is_not_relieved_at_a_cancelled_call() {
    check(|| {
        let relieve = |world: &World, _: &TurnRef| {
            let sight = world.queue.sights().pop()?;
            world.queue.relieve(sight, 2)
        };
        at_a_cancelled_call(relieve, true);
    });
}

#[test]
fn a_thread_that_has_ended_at_a_cancelled_call_is_replaced() {
    check(|| {
        let replace = |world: &World, ended: &TurnRef| {
            let (new, left) = world.queue.replace(ended)?;
            assert!(left.is_none(), "a cancelled call is reported: {left:?}");
            Some(new)
        };
        at_a_cancelled_call(replace, false);
    });
}

/// The thread has skipped a record, as its function is in quarantine, and not come to the next one.
#[test]
fn a_skipped_call_is_counted_once_though_its_thread_is_relieved() {
    check(|| {
        let (world, turn, block) = World::at_work([1]);
        turn.publish(&block.slots()[0]);
        assert_eq!(world.queue.begin_batch(&turn, &block, (0, 1), true), 1);
        let sight = world.queue.sights().pop().unwrap();
        let behind = block.slots()[1..].as_ptr();
        world.queue.skip(&turn, &block.tags()[..1], false, behind);
        let counts = world.queue.counts();
        assert_eq!((counts.executed, counts.quarantined), (0, 1));
        let new = world.queue.relieve(sight, 1);
        world.queue.finish_block(&turn, block, 1);
        if let Some(new) = new {
            world.run_due(&new, Publishing::Right);
        }
        let counts = world.queue.counts();
        assert_eq!((counts.executed, counts.quarantined), (0, 1));
    });
}

/// One that a fault of the runtime's own has made begin anew.
#[test]
fn a_relieved_thread_takes_nothing() {
    check(|| {
        let (world, turn, block) = World::at_work([1, 2]);
        let sight = world.queue.sights().pop().unwrap();
        world.queue.relieve(sight, 1).unwrap();
        drop(block);
        assert_eq!(world.queue.take(&turn, false), Taken::Nothing);
        assert!(world.queue.interrupted(&turn, |_| ()).is_none());
        let next = world.queue.next_block(&turn, BLOCK_RECORDS, |_| ());
        assert!(next.is_none());
    });
}

#[test]
fn a_block_that_is_gone_on_with_keeps_its_register_count() {
    check(|| {
        let world = World::with_pool(9, 2);
        world.collect_for(LaneId::POOL, 1, [1]);
        let turns = world.queue.turns_of(LaneId::POOL);
        let first = Taken::Drain { int_arg_regs: 9 };
        assert_eq!(world.queue.take(&turns[0], false), first);
        let (block, _) = world.queue.next_block(&turns[0], 1, |_| ()).unwrap();
        world.queue.set_int_arg_regs(0);
        world.collect_for(LaneId::POOL, 2, [2]);
        let second = Taken::Drain { int_arg_regs: 0 };
        assert_eq!(world.queue.take(&turns[1], false), second);
        // The first thread was restarted.
        drop(block);
        assert_eq!(world.queue.take(&turns[0], false), first);
    });
}

/// A call that was handed out is made as a drain would.
#[test]
fn a_call_that_was_handed_out_is_made_without_barriers() {
    NO_BARRIERS.set(true);
    check(|| {
        let world = World::new(9);
        world.collect(1, [1]);
        let turn = world.queue.turn();
        world.queue.take(&turn, false);
        let call = world.queue.hand_out(&turn, |_| ()).expect("call 1");
        let slots = call.block.slots();
        assert!(!call.turn.is_cut(&slots[call.at]));
        call.turn.publish(&slots[call.at]);
        let batch = (call.at, slots.len());
        let end = world
            .queue
            .begin_batch(&call.turn, &call.block, batch, false);
        assert_eq!(end, call.at + 1);
        let is_in_front = call.turn.publish(&slots[call.at]);
        assert!(is_in_front, "the call would be tried for ever");
        world.queue.retire(&call.turn, Some(call.block));
    });
}
