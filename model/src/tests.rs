//! Models of the queue's threads: collector, finalizer goroutine, whoever waits, whoever stops.
//!
//! `cargo test -p fing-model`. Each model states what must hold however the threads are
//! interleaved; a wake-up that is lost leaves a thread waiting for ever, which loom reports as a
//! deadlock. That the models bite is shown by those that must fail (`should_panic`), and by changes
//! to src/calls/queue/mod.rs that were tried; each of these fails the models named:
//!
//! | change | models that fail |
//! |---|---|
//! | `wake` does not notify | `no_wake_up_is_lost` and others |
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
//!
//! Drains of several blocks are too long for a model; tests of the queue itself have them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fing_stubs::Record;
use loom::thread;

use crate::base::lock::WAITS_TOO_LATE;
use crate::base::sync::{Arc as SharedArc, Ordering};
use crate::queue::{Block, DrainOrder, Queue, Tag, Taken, TurnRef, Watched, status};

/// Forced switches of threads in one execution: three find every fault of the table above in
/// seconds.
const PREEMPTIONS: usize = 3;

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
}

impl World {
    fn new(int_arg_regs: u8) -> World {
        let queue = Queue::new(int_arg_regs, DrainOrder::Lifo);
        queue.set_status(status::CREATED, true);
        World {
            queue: Arc::new(queue),
            log: Log::default(),
        }
    }

    /// As the collector: records whose first word is a reference.
    fn push(&self, numbers: impl IntoIterator<Item = u64>) {
        self.queue.fill(|due| {
            for number in numbers {
                let record = Record {
                    words: [number, 0],
                    ..Record::default()
                };
                due.push(&record, Tag::new(0, 1));
            }
        });
    }

    /// The finalizer goroutine, as in src/calls/goroutine.rs: drains until it is stopped, then
    /// discards.
    fn goroutine(&self, publishing: Publishing) {
        self.turn(publishing, self.queue.turn());
    }

    /// As a thread that has taken over.
    fn turn(&self, publishing: Publishing, turn: TurnRef) {
        let mut drain = 0;
        while let Taken::Drain { int_arg_regs } = self.queue.take(true) {
            drain += 1;
            while let Some((block, _)) = self.queue.next_block(|_| ()) {
                if turn.is_guarded() {
                    if !self.guarded_block(&turn, block, int_arg_regs, drain) {
                        return;
                    }
                    continue;
                }
                let range = block.slots().as_ptr_range();
                let mut at = range.start.cast::<Record>();
                for slot in block.slots() {
                    let ahead = usize::from(publishing == Publishing::Ahead);
                    self.publish(at.wrapping_add(ahead));
                    self.call(slot.record().words[0], int_arg_regs, drain);
                    at = at.wrapping_add(1);
                }
                self.publish(range.end.cast());
                let executed = block.slots().len() as u64;
                assert!(self.queue.finish_block(&self.queue.turn(), block, executed));
            }
        }
        self.queue.discard();
    }

    /// Makes one call at a time. Returns false if the thread was relieved.
    fn guarded_block(
        &self,
        turn: &TurnRef,
        block: SharedArc<Block>,
        int_arg_regs: u8,
        drain: u32,
    ) -> bool {
        for (at, slot) in block.slots().iter().enumerate() {
            if !turn.claim(at) {
                self.queue.retire(turn, Some(block.clone()));
                return false;
            }
            self.call(slot.record().words[0], int_arg_regs, drain);
        }
        let executed = block.slots().len() as u64;
        self.queue.finish_block(turn, block, executed)
    }

    fn publish(&self, at: *const Record) {
        self.queue
            .progress()
            .store(at.cast_mut(), Ordering::Release);
    }

    fn call(&self, number: u64, int_arg_regs: u8, drain: u32) {
        {
            let mut fates = self.log.fates();
            let fate = fates.entry(number).or_default();
            fate.entered += 1;
            (fate.int_arg_regs, fate.drain) = (int_arg_regs, drain);
        }
        // A step inside the call, so that other threads can look at it.
        let parked = self.queue.status() & status::WAIT != 0;
        assert!(
            !parked || self.queue.turn().is_guarded(),
            "parked in a call"
        );
        self.log.fates().entry(number).or_default().returned += 1;
    }

    fn start(&self, publishing: Publishing) -> thread::JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || world.goroutine(publishing))
    }

    fn spawn(&self, part: impl FnOnce(World) + 'static) -> thread::JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || part(world))
    }

    /// Ends the goroutine; then each of the `pushed` records was run once, or not at all and
    /// discarded.
    fn end(&self, goroutine: thread::JoinHandle<()>, pushed: u64) {
        self.queue.stop();
        join(goroutine);
        self.queue.discard();
        let counts = self.queue.counts();
        assert_eq!(counts.queued, pushed);
        assert_eq!(counts.executed + counts.discarded, pushed);
        let fates = self.log.fates();
        assert_eq!(fates.len() as u64, counts.executed);
        assert!(
            fates.values().all(|f| (f.entered, f.returned) == (1, 1)),
            "{fates:?}"
        );
    }
}

fn join(thread: thread::JoinHandle<()>) {
    thread.join().expect("a thread of the model");
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    check_bounded(PREEMPTIONS, model);
}

fn check_bounded(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
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
    assert_eq!(world.queue.wait_until_settled(LONG), Ok(()));
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
            assert_eq!(world.queue.wait_until_settled(LONG), Ok(()));
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
            assert_eq!(world.queue.wait_until_ended(LONG), Ok(()));
            let ended = world.log.fates().clone();
            assert!(ended.values().all(|fate| fate.entered == fate.returned));
            world.queue.discard();
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
        assert_eq!(world.queue.wait_until_settled(LONG), Ok(()));
        let fates = [1, 2, 3].map(|number| world.log.of(number));
        assert_eq!(fates[2].int_arg_regs, 0);
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let same_drain = fates[a].drain == fates[b].drain;
            assert!(!same_drain || fates[a].int_arg_regs == fates[b].int_arg_regs);
        }
        world.end(goroutine, 3);
    });
}

/// A watchdog that takes every call it sees for stuck: whatever it does, and whenever, each record
/// runs once, and is a root until its call has returned.
fn take_over(fault: bool) {
    let world = World::new(9);
    world.queue.guard_turns();
    world.push([1, 2]);
    let goroutine = world.start(Publishing::Right);
    let other = world.spawn(move |world| {
        let Watched::Turn(_, Some(sight)) = world.queue.sight() else {
            return;
        };
        if fault {
            // As if the thread were not asked.
            let (turn, _) = world.queue.replace(&world.queue.turn()).expect("in force");
            return world.turn(Publishing::Right, turn);
        }
        if let Some(turn) = world.queue.relieve(sight, 1) {
            world.turn(Publishing::Right, turn);
        }
    });
    let mut seen = Vec::new();
    world.queue.visit_references(&mut |word| seen.push(word));
    for number in 1..=2 {
        let kept = seen.contains(&number) || world.log.of(number).returned == 1;
        assert!(kept, "a root is missing: {number}, seen {seen:?}");
    }
    assert_eq!(world.queue.wait_until_settled(LONG), Ok(()));
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
    // Three threads that all run: with a third switch it takes a minute, and finds no more.
    check_bounded(2, || take_over(false));
}

/// The model finds a record that waits for ever, as the relieved thread ends the other one's block.
#[test]
#[should_panic(expected = "deadlock")]
fn taking_over_without_asking_is_found() {
    check(|| take_over(true));
}

/// A thread that has ended inside of the call of record 3, the first that runs.
#[test]
fn a_thread_that_has_ended_is_replaced() {
    check(|| {
        let world = World::new(9);
        world.push([1, 2, 3]);
        let ended = world.queue.turn();
        let goroutine = world.spawn(|world| {
            let taken = world.queue.take(true);
            assert_eq!(taken, Taken::Drain { int_arg_regs: 9 });
            let (block, _) = world.queue.next_block(|_| ()).expect("records");
            world.publish(block.slots().as_ptr().cast());
        });
        join(goroutine);
        let other = world.spawn(move |world| {
            let (turn, left) = world.queue.replace(&ended).expect("in force");
            let left = left.expect("the record of the call");
            assert_eq!(left.block.slots()[left.records][0].record().words[0], 3);
            world.queue.retire(&ended, Some(left.block));
            world.turn(Publishing::Right, turn);
        });
        assert_eq!(world.queue.wait_until_settled(LONG), Ok(()));
        let returned = [1, 2, 3].map(|number| world.log.of(number).returned);
        assert_eq!(returned, [1, 1, 0]);
        assert_eq!(world.queue.counts().executed, 3);
        world.queue.stop();
        join(other);
    });
}
