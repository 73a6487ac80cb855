//! Calls that were cancelled while they waited are as if they had never been queued.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn nothing_is_waited_for_when_all_was_cancelled() {
    check(|| {
        let world = World::new(9);
        world.queue.set_status(status::WAIT, true);
        let lane = world.queue.open_lane();
        world.collect_for(lane, 1, [1]);
        assert_eq!(cancel(&world, [1]), [1]);
        assert_eq!(world.queue.due_in(lane), 0);
        let at_once = Deadline::after(Duration::ZERO);
        assert_eq!(world.queue.wait_until_settled(at_once), Ok(()));
    });
}

#[test]
fn who_waits_is_told_that_all_was_cancelled() {
    check(|| {
        let world = World::new(9);
        world.queue.set_status(status::WAIT, true);
        let lane = world.queue.open_lane();
        world.collect_for(lane, 1, [1]);
        let waiting = world.spawn(|world| world.queue.wait_until_settled(Deadline::after(LONG)));
        assert_eq!(cancel(&world, [1]), [1]);
        assert_eq!(join(waiting), Ok(()));
    });
}

#[test]
fn cancelled_calls_have_no_age() {
    check(|| {
        let world = World::new(9);
        world.queue.set_limits([Limit {
            bound: BacklogBound::Age(Duration::ZERO),
            demand: demand::REFUSE,
        }]);
        world.collect(1, [1]);
        assert_eq!(cancel(&world, [1]), [1]);
        assert_eq!(world.queue.exceeded(demand::REFUSE), None);
    });
}

/// At an exit an object is queued again whose call was cancelled.
#[test]
fn a_cancelled_call_does_not_take_the_place_of_a_later_one() {
    check(|| {
        let world = World::new(9);
        let tag = Tag::new(0, 1);
        let record = |context| Record {
            words: [1, 0],
            context,
            ..Record::default()
        };
        let lane = LaneId::EXECUTOR;
        let route = Route { lane, tag };
        let queue = &world.queue;
        queue.fill(1, |due| {
            due.push(&record(10), route, Owned::default());
        });
        assert_eq!(cancel(&world, [1]), [1]);
        queue.fill_in_order(2, |due| {
            due.push(&record(20), route, Owned::default());
        });
        let turn = queue.turn();
        assert_eq!(queue.take(&turn, false), Taken::Drain { int_arg_regs: 9 });
        let (block, _) = queue.next_block(&turn, BLOCK_RECORDS, |_| ()).unwrap();
        let contexts = block.slots().iter().map(|slot| slot.record().context);
        assert_eq!(contexts.collect::<Vec<_>>(), [20]);
        queue.finish_block(&turn, block, 1);
    });
}
