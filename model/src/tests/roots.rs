//! What is a root, and until when.
#![forbid(unsafe_code)]

use super::*;

fn seen(world: &World) -> Vec<u64> {
    let mut seen = Vec::new();
    world.queue.visit_references(&mut |word| seen.push(word));
    seen
}

/// Also when the thread has come to it, and has not passed it.
#[test]
fn a_cancelled_call_is_no_root() {
    check(|| {
        let (world, turn, block) = World::at_work([1, 2, 3]);
        let slots = block.slots();
        turn.publish(&slots[0]);
        assert_eq!(world.queue.begin_batch(&turn, &block, (0, 3), false), 3);
        assert_eq!(cancel(&world, [2]), [2]);
        assert_eq!(seen(&world), [3, 1]);
        assert!(!turn.publish(&slots[1]), "the stub returns");
        assert_eq!(seen(&world), [1]);
        assert!(turn.is_cut(&slots[1]));
        assert_eq!(world.queue.pass(&turn, 1), Some(2));
        assert_eq!(seen(&world), [1]);
        world.queue.finish_block(&turn, block, 3);
    });
}

/// A collector that moves objects moves each reference once.
#[test]
fn a_call_that_was_taken_over_from_is_moved_once() {
    check(|| {
        let (world, _, block) = World::at_work([1, 2]);
        let sight = world.queue.sights().pop().unwrap();
        world.queue.relieve(sight, 1).unwrap();
        let words = || block.slots().iter().map(|slot| slot.record().words[0]);
        assert_eq!(words().collect::<Vec<_>>(), [2, 1]);
        world.queue.trace(References::All, &mut |word| word + 100);
        assert_eq!(words().collect::<Vec<_>>(), [102, 101]);
    });
}

/// A mailbox is closed by another thread than the one that drains it: its calls are roots until
/// they have returned, and each is made or counted as dropped.
fn close_a_mailbox_that_is_drained(forbids_barriers: bool) {
    let world = World::new(9);
    world.queue.set_status(status::WAIT, true);
    let mailbox = world.queue.open_lane();
    if forbids_barriers {
        NO_BARRIERS.set(true);
    }
    world.collect_for(mailbox, 1, [1, 2]);
    let owner = world.spawn(move |world| {
        if let Some(turn) = world.queue.turns_of(mailbox).pop() {
            world.run_due(&turn, Publishing::Right);
        }
    });
    world.queue.close_lane(mailbox);
    let begun = world.log.fates().clone();
    let seen = seen(&world);
    for (number, fate) in begun {
        let has_returned = fate.returned == 1 || world.log.of(number).returned == 1;
        let is_kept = has_returned || seen.contains(&number);
        assert!(is_kept, "a root is missing: {number}, seen {seen:?}");
    }
    let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
    assert_eq!(left.queued + left.running, 0, "{left:?}");
    join(owner);
    let made = world.log.fates().len() as u64;
    assert_eq!(made + left.discarded, 2, "{made} made, {left:?}");
    assert_eq!(world.queue.counts().executed, made);
}

#[test]
fn a_mailbox_is_closed_while_it_is_drained() {
    check_within(2, || close_a_mailbox_that_is_drained(false));
}

#[test]
fn a_mailbox_is_closed_while_it_is_drained_without_barriers() {
    NO_BARRIERS.set(true);
    check_within(2, || close_a_mailbox_that_is_drained(false));
}

/// A sandbox that was entered since forbids the system's call.
#[test]
fn a_mailbox_is_closed_while_it_is_drained_when_barriers_are_forbidden() {
    check_within(2, || {
        NO_BARRIERS.set(false);
        close_a_mailbox_that_is_drained(true);
    });
}

/// What a call stores in its object is there before a collection that finds the call done frees the
/// object, if stubs publish their progress with this ordering.
fn store_in_an_object(publishing: Ordering) {
    let world = World::new(9);
    world.collect(1, [1, 2]);
    let object = Arc::new(loom::sync::atomic::AtomicU32::new(0));
    let its = object.clone();
    let goroutine = world.spawn(move |world| {
        let turn = world.queue.turn();
        world.queue.take(&turn, true);
        let take = |_: &Block| ();
        let (block, _) = world.queue.next_block(&turn, BLOCK_RECORDS, take).unwrap();
        let slots = block.slots();
        assert_eq!(world.queue.begin_batch(&turn, &block, (0, 2), false), 2);
        let first = slots.as_ptr().cast::<Record>().cast_mut();
        for at in 0..=2 {
            turn.progress().store(first.wrapping_add(at), publishing);
            if at == 0 {
                // The call of record 2, which runs first.
                its.store(1, Ordering::Relaxed);
            }
        }
        world.queue.finish_block(&turn, block, 2);
    });
    if seen(&world) == [1] {
        let stored = object.load(Ordering::Relaxed);
        assert_eq!(stored, 1, "the call stores in what was freed");
    }
    join(goroutine);
}

#[test]
fn what_a_call_has_stored_is_seen_with_its_end() {
    check(|| store_in_an_object(Ordering::Release));
}

#[test]
#[should_panic(expected = "stores in what was freed")]
fn progress_without_release_is_found() {
    check(|| store_in_an_object(Ordering::Relaxed));
}
