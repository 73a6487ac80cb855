//! Models of the queue's threads: collector, finalizer goroutine, whoever waits, whoever stops.
//!
//! `cargo test -p fing-model`. Each model states what must hold however the threads are
//! interleaved; a wake-up that is lost leaves a thread waiting for ever, which loom reports as a
//! deadlock. That the models bite is shown by those that must fail (`should_panic`), and by changes
//! to src/calls/queue that were tried; each of these fails the models named:
//!
//! | change | models that fail |
//! |---|---|
//! | `wake` does not notify | `no_wake_up_is_lost` and others |
//! | `wake` takes no account of a drain of the pool that has begun | `who_is_first_does_not_...` |
//! | `stop` does not notify `work` | all that end by themselves |
//! | `take` does not notify `settled` when it parks | `no_wake_up_is_lost` and others |
//! | `take` leaves WAIT set when a drain begins | all |
//! | `next_block` leaves `running` empty | `stop_at_any_moment`, `roots_are_visible...` |
//! | `next_block` does not store the progress | `roots_are_visible_until_their_call_has_returned` |
//! | `next_block` ignores `stop` | `stop_at_any_moment` |
//! | `finish_block` leaves `running` | all but those of the roots |
//! | `finish_block` does not notify after `stop` | `stop_at_any_moment` |
//! | `finish_block` keeps the records of a spare block | all but `who_waits_is_woken` |
//! | `visit_references` leaves out the drain under way | `roots_are_visible...` |
//! | `discard` forgets the drain under way | `stop_at_any_moment`, `roots_are_visible...` |
//! | no fences between a record and the batch's end | `stop_lets_...`, `cancelling_is_exact` |
//! | `cut` does not lower the end | `stop_lets_no_further_call_begin` |
//! | a cancellation, ticket or withdrawal sets `cut` behind a stop | those of `stops` |
//! | `begin` of a batch stores `cut` over a lower end | `cancelling_one_in_front_...` |
//! | `cancel` takes the record that was reached for one in front of it | `cancelling_is_exact` |
//! | `pass` does not skip what was cancelled | `cancelling_is_exact` |
//! | `withdraw` takes the record that was reached for one in front of it | `taking_back_is_exact` |
//! | `finish_block` does not notify | `a_ticket_is_over_when_its_calls_are` and others |
//! | `next_block` never notifies | `a_ticket_is_over_though_its_block_is_not` and others |
//! | `begin` marks nothing without barriers | `..._its_block_is_not_without_barriers` |
//! | `claim` takes no account of marks | `...calls_are_claimed_as_a_whole` and others |
//! | `cancel` notifies only if the ticket has no call left | `a_ticket_..._is_cancelled` |
//! | `cancel` does not notify | `who_waits_is_told_that_all_was_cancelled` |
//! | `hand_out` does not notify | `a_ticket_..._is_handed_out` |
//! | `finish_block` or `fill` does not compare with the bounds | `demands_agree_with_the_queue` |
//! | `take_crossings` leaves what it returns | `demands_agree_with_the_queue` |
//! | `call_at` knows no cancelled records, or `pass` leaves them | `..._at_a_cancelled_call` |
//! | `end_behind` has no fences behind a claimed call | `a_claimed_call_is_taken_over_from` |
//! | `skip` leaves the progress | `a_skipped_call_is_counted_once...` |
//! | `take`, `next_block` or `interrupted` ignores a relief | `a_relieved_thread_takes_nothing` |
//! | a block that is gone on with has its lane's register count | `..._keeps_its_register_count` |
//! | `claim` for a relieved thread leaves the end | `a_call_that_was_handed_out_is_made_...` |
//! | roots are all from the progress on, or all but skipped ones | `a_cancelled_call_is_no_root` |
//! | so are those of a relieved thread | `a_call_that_was_taken_over_from_is_moved_once` |
//! | `close_lane` takes the block of a thread that is in a call | `a_mailbox_is_closed_while_...` |
//! | `cancel` leaves blocks of which all is cancelled | `nothing_is_waited_for_...` and others |
//! | `fill_in_order` does not purge | `a_cancelled_call_does_not_take_the_place...` |
//! | who lends a mutator takes a call that was not made for made | `a_ticket_loses_no_call...` |
//!
//! Drains of several blocks are too long for a model; tests of the queue itself have them.
#![forbid(unsafe_code)]

mod cancelled;
mod lanes;
mod meeting;
mod relief;
mod roots;
mod stops;
mod tickets;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fing_stubs::Record;
use loom::thread;

use self::meeting::Meeting;
use crate::base::deadline::Deadline;
use crate::base::lock::WAITS_TOO_LATE;
use crate::base::sync::{NO_BARRIERS, NO_FENCES, Ordering, light_fence};
use crate::queue::{
    BLOCK_RECORDS, BacklogBound, Block, CallId, CallStage, DrainOrder, LaneId, Limit, Owned, Queue,
    References, Route, Slot, Tag, Taken, Turn, TurnRef, demand, status,
};

/// Forced switches of threads in one execution: three find every fault of the table above in
/// seconds.
const PREEMPTIONS: usize = 3;

// Models of three threads that cancel, or that look at bounds, have two, which find theirs.

/// Longer than any test: waits end because they are notified.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// What happened to a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fate {
    entered: u32,
    returned: u32,
    int_arg_regs: u8,
    drain: u32,
}

/// The fate of each record, by the number that is its first word. Not a part of the model: looking
/// adds no step.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<BTreeMap<u64, Fate>>>);

impl Log {
    fn fates(&self) -> MutexGuard<'_, BTreeMap<u64, Fate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, number: u64) -> Fate {
        self.fates().get(&number).copied().unwrap_or_default()
    }
}

/// How the goroutine publishes its progress.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Publishing {
    /// The record that is about to be called, as stubs do.
    Right,
    /// A fault to be found: one record ahead.
    Ahead,
}

/// One runtime's queue with what is known of its records.
#[derive(Clone)]
struct World {
    queue: Arc<Queue>,
    log: Log,
    /// The call with this number waits for others.
    meets: Option<(u64, Arc<Meeting>)>,
}

impl World {
    fn new(int_arg_regs: u8) -> World {
        World::with_pool(int_arg_regs, 0)
    }

    fn with_pool(int_arg_regs: u8, threads: usize) -> World {
        let queue = Queue::new(int_arg_regs, DrainOrder::Lifo, threads);
        queue.set_status(status::CREATED, true);
        World {
            queue: Arc::new(queue),
            log: Log::default(),
            meets: None,
        }
    }

    /// One whose goroutine is about to begin with a block of these, the last of which runs first.
    fn at_work(numbers: impl IntoIterator<Item = u64>) -> (World, TurnRef, loom::sync::Arc<Block>) {
        let world = World::new(9);
        world.collect(1, numbers);
        let turn = world.queue.turn();
        world.queue.take(&turn, false);
        let next = world.queue.next_block(&turn, BLOCK_RECORDS, |_| ());
        let (block, _) = next.expect("a block");
        (world, turn, block)
    }

    /// As the collector: records whose first word is a reference.
    fn push(&self, numbers: impl IntoIterator<Item = u64>) {
        let collection = self.queue.counts().queued + 1;
        self.collect(collection, numbers);
    }

    fn collect(&self, collection: u64, numbers: impl IntoIterator<Item = u64>) {
        self.collect_for(LaneId::EXECUTOR, collection, numbers);
    }

    fn collect_for(&self, lane: LaneId, collection: u64, numbers: impl IntoIterator<Item = u64>) {
        let tag = Tag::new(0, 1);
        self.queue.fill(collection, |due| {
            for number in numbers {
                let record = Record {
                    words: [number, 0],
                    ..Record::default()
                };
                due.push(&record, Route { lane, tag }, Owned::default());
            }
        });
    }

    /// The finalizer goroutine, as in src/calls/goroutine.rs: drains until it is stopped.
    fn goroutine(&self, publishing: Publishing) {
        self.run(&self.queue.turn(), publishing);
    }

    /// The same with any turn, also one that was taken over in the middle of a block.
    fn run(&self, turn: &TurnRef, publishing: Publishing) {
        self.drain(turn, true, publishing);
    }

    /// As a thread that drains a mailbox: until nothing is due.
    fn run_due(&self, turn: &TurnRef, publishing: Publishing) {
        self.drain(turn, false, publishing);
    }

    fn drain(&self, turn: &TurnRef, park: bool, publishing: Publishing) {
        let mut drain = 0;
        while !turn.is_relieved()
            && let Taken::Drain { int_arg_regs } = self.queue.take(turn, park)
        {
            drain += 1;
            let mut next = self.queue.interrupted(turn, |_| ());
            let take = || self.queue.next_block(turn, BLOCK_RECORDS, |_| ());
            while let Some((block, from)) = next.or_else(take) {
                let part = (from, int_arg_regs, drain);
                let reached = self.run_block(turn, &block, part, publishing);
                self.queue.finish_block(turn, block, reached);
                if turn.is_relieved() {
                    return;
                }
                next = None;
            }
        }
    }

    /// As `run_block` there. Returns the number of the first record that was not run.
    fn run_block(
        &self,
        turn: &Turn,
        block: &Block,
        (from, int_arg_regs, drain): (usize, u8, u32),
        publishing: Publishing,
    ) -> usize {
        let slots = block.slots();
        let mut at = from;
        while at < slots.len() {
            if turn.is_cut(&slots[at]) {
                match self.queue.pass(turn, at) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            let batch = (at, slots.len());
            let end = self.queue.begin_batch(turn, block, batch, false);
            if end > at {
                at = self.stub(turn, slots, (at, int_arg_regs, drain), publishing);
            }
        }
        at
    }

    /// As the code of a stub: publishes a record, and calls it if it is in front of the end.
    /// Returns the number of the record that it has come to.
    fn stub(
        &self,
        turn: &Turn,
        slots: &[Slot],
        (from, int_arg_regs, drain): (usize, u8, u32),
        publishing: Publishing,
    ) -> usize {
        let first = slots.as_ptr().cast::<Record>();
        let ahead = usize::from(publishing == Publishing::Ahead);
        let mut at = from;
        loop {
            let published = if at < slots.len() { at + ahead } else { at };
            let published = first.wrapping_add(published).cast_mut();
            turn.progress().store(published, Ordering::Release);
            light_fence();
            let end = turn.end().load(Ordering::Relaxed);
            if first.wrapping_add(at) >= end.cast_const() {
                return at;
            }
            let number = slots[at].record().words[0];
            self.call(turn.lane(), number, int_arg_regs, drain);
            at += 1;
        }
    }

    fn call(&self, lane: LaneId, number: u64, int_arg_regs: u8, drain: u32) {
        {
            let mut fates = self.log.fates();
            let fate = fates.entry(number).or_default();
            fate.entered += 1;
            (fate.int_arg_regs, fate.drain) = (int_arg_regs, drain);
        }
        // A step inside the call, so that other threads can look at it.
        let parked = self.queue.status() & status::WAIT != 0;
        let relieved = self.queue.counts().taken_over > 0 || lane != LaneId::EXECUTOR;
        assert!(!parked || relieved, "parked in a call");
        if let Some((of, meeting)) = &self.meets
            && *of == number
        {
            meeting.come();
        }
        self.log.fates().entry(number).or_default().returned += 1;
    }

    fn start(&self, publishing: Publishing) -> thread::JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || world.goroutine(publishing))
    }

    fn spawn<R: 'static>(&self, part: impl FnOnce(World) -> R + 'static) -> thread::JoinHandle<R> {
        let world = self.clone();
        thread::spawn(move || part(world))
    }

    /// Ends the goroutine; then each of the `pushed` records was run once, or not at all and
    /// discarded.
    fn end(&self, goroutine: thread::JoinHandle<()>, pushed: u64) {
        self.queue.stop();
        join(goroutine);
        let counts = self.queue.counts();
        assert_eq!(counts.queued, pushed);
        let ended = counts.executed + counts.discarded + counts.cancelled;
        assert_eq!(ended, pushed);
        let fates = self.log.fates();
        assert_eq!(fates.len() as u64, counts.executed);
        assert!(
            fates.values().all(|f| (f.entered, f.returned) == (1, 1)),
            "{fates:?}"
        );
    }
}

fn join<R>(thread: thread::JoinHandle<R>) -> R {
    thread.join().expect("a thread of the model")
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    check_within(PREEMPTIONS, model);
}

fn check_within(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Two collections, each waking: when all is settled everything was run, and the goroutine is
/// parked.
fn settle(publishing: Publishing) {
    let world = World::new(9);
    let goroutine = world.start(publishing);
    world.push([1, 2]);
    world.queue.wake();
    world.push([3]);
    world.queue.wake();
    assert_eq!(
        world.queue.wait_until_settled(Deadline::after(LONG)),
        Ok(())
    );
    let counts = world.queue.counts();
    assert_eq!((counts.executed, counts.discarded), (3, 0));
    world.end(goroutine, 3);
}

#[test]
fn no_wake_up_is_lost() {
    check(|| settle(Publishing::Right));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_wait_that_begins_too_late_is_found() {
    WAITS_TOO_LATE.set(true);
    check(|| settle(Publishing::Right));
}

/// A second thread waits while the collector is still at work.
#[test]
fn who_waits_is_woken() {
    check(|| {
        let world = World::new(9);
        let goroutine = world.start(Publishing::Right);
        world.push([1]);
        let waiting = world.spawn(|world| {
            assert_eq!(
                world.queue.wait_until_settled(Deadline::after(LONG)),
                Ok(())
            );
            assert_eq!(world.log.of(1).returned, 1);
        });
        world.queue.wake();
        join(waiting);
        world.end(goroutine, 1);
    });
}

/// Stopped at any moment: what runs is waited for, and nothing begins afterwards; the rest is
/// discarded, by whoever comes first.
#[test]
fn stop_at_any_moment() {
    check(|| {
        let world = World::new(9);
        let goroutine = world.start(Publishing::Right);
        let stopping = world.spawn(|world| {
            world.queue.stop();
            assert_eq!(world.queue.wait_until_ended(Deadline::after(LONG)), Ok(()));
            let ended = world.log.fates().clone();
            assert!(ended.values().all(|fate| fate.entered == fate.returned));
            assert_eq!(*world.log.fates(), ended);
        });
        world.push([1, 2]);
        world.queue.wake();
        world.push([3]);
        world.queue.wake();
        join(stopping);
        world.end(goroutine, 3);
    });
}

/// A collection at any moment: every record pushed before it whose call has not returned after it
/// was seen.
fn look(publishing: Publishing) {
    let world = World::new(9);
    let goroutine = world.start(publishing);
    world.push([1, 2]);
    world.queue.wake();
    for pushed in [2, 3] {
        let mut seen = Vec::new();
        world.queue.visit_references(&mut |word| seen.push(word));
        for number in 1..=pushed {
            assert!(
                seen.contains(&number) || world.log.of(number).returned == 1,
                "a root is missing: {number} of {pushed}, seen {seen:?}"
            );
        }
        if pushed == 2 {
            world.push([3]);
            world.queue.wake();
        }
    }
    world.end(goroutine, 3);
}

#[test]
fn roots_are_visible_until_their_call_has_returned() {
    check(|| look(Publishing::Right));
}

#[test]
#[should_panic(expected = "a root is missing")]
fn progress_published_too_early_is_found() {
    check(|| look(Publishing::Ahead));
}

/// The register count changes at any moment: it is the same throughout a drain, and the new one for
/// all that is pushed later.
#[test]
fn register_count_is_read_once_a_drain() {
    check(|| {
        let world = World::new(9);
        let goroutine = world.start(Publishing::Right);
        world.push([1, 2]);
        let setting = world.spawn(|world| {
            assert_eq!(world.queue.set_int_arg_regs(0), 9);
            world.push([3]);
            world.queue.wake();
        });
        world.queue.wake();
        join(setting);
        assert_eq!(
            world.queue.wait_until_settled(Deadline::after(LONG)),
            Ok(())
        );
        let fates = [1, 2, 3].map(|number| world.log.of(number));
        assert_eq!(fates[2].int_arg_regs, 0);
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let same_drain = fates[a].drain == fates[b].drain;
            assert!(!same_drain || fates[a].int_arg_regs == fates[b].int_arg_regs);
        }
        world.end(goroutine, 3);
    });
}

/// A stop while a block runs: at most the call that is running then goes on.
fn stop_in_a_block() {
    let world = World::new(9);
    world.push([1, 2, 3]);
    let goroutine = world.start(Publishing::Right);
    world.queue.stop();
    let begun = world.log.fates().len();
    join(goroutine);
    let counts = world.queue.counts();
    let ran = world.log.fates().len();
    assert!(ran <= begun + 1, "{begun} calls had begun, {ran} were made");
    assert_eq!(
        (counts.executed, counts.discarded),
        (ran as u64, 3 - ran as u64)
    );
}

#[test]
fn stop_lets_no_further_call_begin() {
    check(stop_in_a_block);
}

#[test]
#[should_panic(expected = "calls had begun")]
fn a_stop_without_fences_is_found() {
    NO_FENCES.set(true);
    check(stop_in_a_block);
}

/// Two threads cancel each call of a block that is about to run or runs. Each call is made or
/// cancelled, once; and who is told that it was cancelled is right.
fn cancel_at_any_moment() {
    let world = World::new(9);
    world.collect(1, [1, 2]);
    let goroutine = world.start(Publishing::Right);
    let cancelling = world.spawn(|world| cancel(&world, [2, 1]));
    let mine = cancel(&world, [1]);
    let theirs = join(cancelling);
    let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
    assert!(left.is_nothing(), "{left:?}");
    let cancelled: Vec<u64> = mine.into_iter().chain(theirs).collect();
    made_or_gone_once(&world, &cancelled);
    assert_eq!(world.queue.counts().cancelled, cancelled.len() as u64);
    world.end(goroutine, 2);
}

/// Of the calls 1 and 2 each was made, or cancelled or taken back, once.
fn made_or_gone_once(world: &World, gone: &[u64]) {
    for number in [1, 2] {
        let times = gone.iter().filter(|of| **of == number).count();
        let made = world.log.of(number).entered as usize;
        assert_eq!(
            times + made,
            1,
            "call {number} was cancelled or taken back {times} times, made {made}"
        );
    }
}

fn cancel(world: &World, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut cancelled = Vec::new();
    for number in numbers {
        match world.queue.cancel(CallId::Finalizer(number), |_| true) {
            CallStage::Queued => cancelled.push(number),
            CallStage::Running => {}
            CallStage::Done => {
                let gone = world.log.of(number).returned == 1;
                let other = world.queue.counts().cancelled > 0;
                assert!(gone || other, "call {number} is said to be done");
            }
            CallStage::Registered => panic!("the queue registers nothing"),
        }
    }
    cancelled
}

/// Two calls of three are cancelled, the later one first: a batch that begins after the first
/// cancellation is lowered again by the second.
fn cancel_two_in_front() {
    let world = World::new(9);
    world.collect(1, [1, 2, 3]);
    let goroutine = world.start(Publishing::Right);
    let cancelled = cancel(&world, [1, 2]);
    let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
    assert!(left.is_nothing(), "{left:?}");
    made_or_gone_once(&world, &cancelled);
    world.end(goroutine, 3);
}

#[test]
fn cancelling_one_in_front_of_another_is_exact() {
    check(cancel_two_in_front);
}

#[test]
fn cancelling_is_exact() {
    check_within(2, cancel_at_any_moment);
}

#[test]
fn cancelling_is_exact_without_barriers() {
    NO_BARRIERS.set(true);
    check_within(2, cancel_at_any_moment);
}

#[test]
#[should_panic(expected = "times, made")]
fn cancelling_without_fences_is_found() {
    NO_FENCES.set(true);
    check_within(2, cancel_at_any_moment);
}

/// A collection takes calls back, of which one may be running, while another thread cancels one:
/// each is made, taken back or cancelled, once.
fn take_back_at_any_moment() {
    let world = World::new(9);
    world.collect(1, [1, 2]);
    let goroutine = world.start(Publishing::Right);
    let cancelling = world.spawn(|world| cancel(&world, [1]));
    let taken_back = world.queue.withdraw(|_, _| true);
    let gone: Vec<u64> = taken_back
        .iter()
        .map(|taken| taken.record.words[0])
        .collect();
    let cancelled = join(cancelling);
    let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
    assert!(left.is_nothing(), "{left:?}");
    made_or_gone_once(&world, &[gone, cancelled].concat());
    world.end(goroutine, 2);
}

#[test]
fn taking_back_is_exact() {
    check_within(2, take_back_at_any_moment);
}

#[test]
fn taking_back_is_exact_without_barriers() {
    NO_BARRIERS.set(true);
    check_within(2, take_back_at_any_moment);
}

#[test]
#[should_panic(expected = "times, made")]
fn taking_back_without_fences_is_found() {
    NO_FENCES.set(true);
    check_within(2, take_back_at_any_moment);
}

/// Who waits for a collection's calls is woken when they are done, though the block has calls of
/// an earlier one.
#[test]
fn a_ticket_is_over_when_its_calls_are() {
    check(|| {
        let world = World::new(9);
        world.collect(1, [1]);
        world.collect(2, [2]);
        let goroutine = world.start(Publishing::Right);
        let waiting = world.spawn(|world| {
            let left = world.queue.wait_for_collection(2, Deadline::after(LONG));
            assert!(left.is_nothing(), "{left:?}");
            assert_eq!(world.log.of(2).returned, 1);
        });
        join(waiting);
        world.end(goroutine, 2);
    });
}

/// A stop tells who waits that calls were dropped.
#[test]
fn a_ticket_is_told_of_dropped_calls() {
    check(|| {
        let world = World::new(9);
        world.collect(1, [1, 2]);
        let goroutine = world.start(Publishing::Right);
        let waiting = world.spawn(|world| {
            let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
            assert_eq!(left.queued + left.running, 0);
            let made = world.log.fates().len() as u64;
            assert_eq!(made + left.discarded, 2);
        });
        world.queue.stop();
        join(waiting);
        world.end(goroutine, 2);
    });
}

/// A watchdog that takes the call it sees for stuck: whenever it looks, each record runs once, and
/// is a root until its call has returned.
fn take_over() {
    let world = World::new(9);
    world.collect(1, [1, 2]);
    let goroutine = world.start(Publishing::Right);
    let other = world.spawn(|world| {
        let sight = world.queue.sights().pop();
        let relieve = || sight.and_then(|sight| world.queue.relieve(sight, 2));
        let turn = relieve();
        // The thread that has taken over is in no call yet.
        assert!(turn.is_none() || relieve().is_none());
        if let Some(turn) = turn {
            world.run(&turn, Publishing::Right);
        }
    });
    let mut seen = Vec::new();
    world.queue.visit_references(&mut |word| seen.push(word));
    for number in 1..=2 {
        let kept = seen.contains(&number) || world.log.of(number).returned == 1;
        assert!(kept, "a root is missing: {number}, seen {seen:?}");
    }
    let left = world.queue.wait_for_collection(1, Deadline::after(LONG));
    assert!(left.is_nothing(), "{left:?}");
    world.queue.stop();
    join(goroutine);
    join(other);
    let fates = world.log.fates();
    let once = |number: &u64| fates.get(number).is_some_and(|fate| fate.entered == 1);
    assert!([1, 2].iter().all(once), "not once each: {fates:?}");
    let counts = world.queue.counts();
    assert_eq!((counts.executed, counts.stuck), (2, 0));
}

#[test]
fn a_stuck_call_is_taken_over_from() {
    check_within(2, take_over);
}

#[test]
fn a_stuck_call_is_taken_over_from_without_barriers() {
    NO_BARRIERS.set(true);
    check_within(2, take_over);
}

#[test]
#[should_panic(expected = "not once each")]
fn taking_over_without_fences_is_found() {
    NO_FENCES.set(true);
    check_within(2, take_over);
}

/// A thread that has ended inside of the call of record 3, the first that runs.
#[test]
fn a_thread_that_has_ended_is_replaced() {
    check(|| {
        let world = World::new(9);
        world.push([1, 2, 3]);
        let ended = world.queue.turn();
        let in_call = ended.clone();
        let goroutine = world.spawn(move |world| {
            let taken = world.queue.take(&in_call, true);
            assert_eq!(taken, Taken::Drain { int_arg_regs: 9 });
            let (block, _) = world
                .queue
                .next_block(&in_call, BLOCK_RECORDS, |_| ())
                .expect("records");
            assert_eq!(block.slots()[0].record().words[0], 3);
        });
        join(goroutine);
        let other = world.spawn(move |world| {
            let (turn, left) = world.queue.replace(&ended).expect("in force");
            let left = left.expect("the record of the call");
            assert_eq!(left.block.slots()[left.records][0].record().words[0], 3);
            world.queue.retire(&ended, Some(left.block));
            world.run(&turn, Publishing::Right);
        });
        let settled = world.queue.wait_until_settled(Deadline::after(LONG));
        assert_eq!(settled, Ok(()));
        let returned = [1, 2, 3].map(|number| world.log.of(number).returned);
        assert_eq!(returned, [1, 1, 0]);
        assert_eq!(world.queue.counts().executed, 3);
        world.queue.stop();
        join(other);
    });
}

/// Bounds: what is asked of threads agrees with the queue when nothing changes it any more, however
/// collector, goroutine and a thread that looks are interleaved; and each bound that is passed is
/// taken once.
#[test]
fn demands_agree_with_the_queue() {
    check_within(2, || {
        let world = World::new(9);
        world.queue.set_limits([Limit {
            bound: BacklogBound::Calls(1),
            demand: demand::REFUSE,
        }]);
        world.push([1, 2]);
        assert_eq!(world.queue.demands(), demand::REFUSE | demand::TELL);
        let goroutine = world.start(Publishing::Right);
        let looking = world.spawn(|world| {
            let crossings = world.queue.take_crossings();
            let found: Vec<BacklogBound> =
                crossings.iter().map(|crossing| crossing.found).collect();
            assert_eq!(
                found,
                [BacklogBound::Calls(2)],
                "taken by this thread first"
            );
            if let Some(exceeded) = world.queue.exceeded(demand::REFUSE) {
                assert_ne!(exceeded.found, BacklogBound::Calls(1));
            }
        });
        world.queue.wake();
        world.push([3]);
        world.queue.wake();
        let settled = world.queue.wait_until_settled(Deadline::after(LONG));
        assert_eq!(settled, Ok(()));
        join(looking);
        assert_eq!(world.queue.demands() & demand::REFUSE, 0);
        assert!(world.queue.exceeded(demand::REFUSE).is_none());
        // Passed again only if the looking thread has found it kept in between.
        assert!(world.queue.take_crossings().len() <= 1);
        assert_eq!(world.queue.demands(), 0);
        world.end(goroutine, 3);
    });
}

/// A thread that assists by waiting is woken when the backlog is within its bound, or when the
/// queue is stopped.
#[test]
fn relief_is_told() {
    for stops in [false, true] {
        check_within(2, move || {
            let world = World::new(9);
            world.queue.set_limits([Limit {
                bound: BacklogBound::Calls(0),
                demand: demand::ASSIST,
            }]);
            world.push([1, 2]);
            let waiting =
                world.spawn(|world| world.queue.wait_for_relief(Deadline::after(LONG), u64::MAX));
            let goroutine = world.start(Publishing::Right);
            world.queue.wake();
            if stops {
                world.queue.stop();
            }
            assert!(join(waiting) <= 2);
            world.end(goroutine, 2);
        });
    }
}
