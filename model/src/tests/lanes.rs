//! Models of lanes: several threads that take blocks from the lane of the pool, and a lane of a
//! mailbox that is drained beside the goroutine, or closed.
#![forbid(unsafe_code)]

use super::meeting::Meeting;
use super::{
    Arc, CallId, CallStage, Deadline, LONG, LaneId, Publishing, Taken, TurnRef, World, check,
    check_within, join, thread,
};

/// Starts the threads of the pool.
fn start(world: &World) -> Vec<thread::JoinHandle<()>> {
    let turns = world.queue.turns_of(LaneId::POOL);
    let run = |turn: TurnRef| world.spawn(move |world| world.run(&turn, Publishing::Right));
    turns.into_iter().map(run).collect()
}

/// Two threads share what two collections queue: each call is made once, and the ticket of each
/// collection is over when its calls are.
#[test]
fn a_pool_runs_each_call_once() {
    check_within(2, || {
        let world = World::with_pool(9, 2);
        let threads = start(&world);
        world.collect_for(LaneId::POOL, 1, [1, 2]);
        world.queue.wake();
        let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
        assert!(left.is_nothing(), "{left:?}");
        assert_eq!([1, 2].map(|number| world.log.of(number).returned), [1, 1]);
        world.queue.stop();
        threads.into_iter().for_each(join);
        assert_eq!(world.queue.counts().executed, 2);
        assert!(world.log.fates().values().all(|fate| fate.entered == 1));
    });
}

/// Two calls that wait for each other need both threads of the pool. One of these may have begun a
/// drain, and be in its call, before the threads are woken; the other one, asleep, is woken then.
#[test]
fn who_is_first_does_not_keep_the_other_asleep() {
    check_within(2, || {
        let world = World::with_pool(9, 2);
        let calls = Meeting::of(2);
        let run = |turn: TurnRef| {
            let calls = calls.clone();
            world.spawn(move |world| {
                while let Taken::Drain { .. } = world.queue.take(&turn, true) {
                    while let Some((block, _)) = world.queue.next_block(&turn, 1, |_| ()) {
                        calls.come();
                        world.queue.finish_block(&turn, block, 1);
                    }
                }
            })
        };
        let turns = world.queue.turns_of(LaneId::POOL);
        let threads: Vec<_> = turns.into_iter().map(run).collect();
        world.collect_for(LaneId::POOL, 1, [1, 2]);
        world.queue.wake();
        let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
        assert!(left.is_nothing(), "{left:?}");
        world.queue.stop();
        threads.into_iter().for_each(join);
        assert_eq!(world.queue.counts().executed, 2);
    });
}

/// Stopped at any moment: each call was made once, or not at all and counted as discarded.
#[test]
fn a_pool_is_stopped_at_any_moment() {
    check_within(2, || {
        let world = World::with_pool(9, 2);
        world.collect_for(LaneId::POOL, 1, [1, 2]);
        let threads = start(&world);
        world.queue.stop();
        let ended = world.queue.wait_until_ended(Deadline::after(LONG));
        assert_eq!(ended, Ok(()));
        threads.into_iter().for_each(join);
        let counts = world.queue.counts();
        assert_eq!(counts.executed + counts.discarded, 2);
        let fates = world.log.fates();
        assert_eq!(fates.len() as u64, counts.executed);
        assert!(
            fates
                .values()
                .all(|fate| (fate.entered, fate.returned) == (1, 1))
        );
    });
}

/// A collection at any moment finds each record whose call has not returned, whichever thread has
/// it.
#[test]
fn roots_of_a_pool_are_visible_until_their_call_has_returned() {
    check_within(2, || {
        let world = World::with_pool(9, 2);
        world.collect_for(LaneId::POOL, 1, [1, 2]);
        let threads = start(&world);
        let mut seen = Vec::new();
        world.queue.visit_references(&mut |word| seen.push(word));
        for number in 1..=2 {
            let kept = seen.contains(&number) || world.log.of(number).returned == 1;
            assert!(kept, "a root is missing: {number}, seen {seen:?}");
        }
        world.queue.stop();
        threads.into_iter().for_each(join);
    });
}

/// A thread that goes on with a block of one drain does not run blocks of the next one by the
/// register count of the first.
#[test]
fn a_register_count_is_of_one_drain() {
    check_within(1, || {
        let world = World::with_pool(9, 2);
        world.collect_for(LaneId::POOL, 1, [1]);
        let threads = start(&world);
        let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
        assert!(left.is_nothing(), "{left:?}");
        world.queue.set_int_arg_regs(4);
        world.collect_for(LaneId::POOL, 2, [2]);
        world.queue.wake();
        let left = world.queue.wait_for_collection(2, Deadline::after(LONG));
        assert!(left.is_nothing(), "{left:?}");
        world.queue.stop();
        threads.into_iter().for_each(join);
        assert_eq!(world.log.of(1).int_arg_regs, 9);
        assert_eq!(world.log.of(2).int_arg_regs, 4);
    });
}

/// A call of the pool is cancelled while two threads run: it is made or cancelled, never both.
#[test]
fn cancelling_in_a_pool_is_exact() {
    check_within(2, || {
        let world = World::with_pool(9, 2);
        world.collect_for(LaneId::POOL, 1, [1, 2]);
        let threads = start(&world);
        let stage = world.queue.cancel(CallId::Finalizer(1), |_| true);
        let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
        assert!(left.is_nothing(), "{left:?}");
        world.queue.stop();
        threads.into_iter().for_each(join);
        let made = u32::from(stage != CallStage::Queued);
        let fates = [1, 2].map(|number| world.log.of(number).returned);
        assert_eq!(fates, [made, 1], "{stage:?}");
    });
}

/// A mailbox is closed while a collection queues for it and the goroutine runs: what was queued for
/// it was made or is counted as discarded, and the goroutine's own calls are made.
#[test]
fn a_mailbox_is_closed_at_any_moment() {
    check_within(2, || {
        let world = World::new(9);
        let mailbox = world.queue.open_lane();
        let goroutine = world.start(Publishing::Right);
        let owner = world.spawn(move |world| {
            let turn = world.queue.turns_of(mailbox).pop().expect("open");
            world.run_due(&turn, Publishing::Right);
            world.queue.close_lane(mailbox);
        });
        world.collect_for(mailbox, 1, [1]);
        world.collect(2, [2]);
        world.queue.wake();
        join(owner);
        let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
        assert_eq!(left.queued + left.running, 0, "{left:?}");
        assert_eq!(u64::from(world.log.of(1).returned) + left.discarded, 1);
        let left = world.queue.wait_for_collection(2, Deadline::after(LONG));
        assert!(left.is_nothing(), "{left:?}");
        world.end(goroutine, 2);
    });
}

/// What waits is woken when a mailbox is closed: nobody waits for its calls any more.
#[test]
fn closing_wakes_who_waits() {
    check(|| {
        let world = World::new(9);
        let mailbox = world.queue.open_lane();
        world.collect_for(mailbox, 1, [1]);
        let waiting = world.spawn(|world| {
            let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
            assert_eq!((left.queued, left.running, left.discarded), (0, 0, 1));
        });
        world.queue.close_lane(mailbox);
        join(waiting);
        assert_eq!(Arc::strong_count(&world.queue), 1);
    });
}
