//! Watches the finalizer goroutine: which call takes too long, and whether its thread exists.
//!
//! The watchdog looks at the record that is published before each call, from time to time: two
//! looks that see the same one, a deadline apart, are a stuck call. So being watched costs a call
//! nothing. How another thread takes over: `queue::relief`.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::base::events::tell;
use crate::base::lock::{Lock, Rank};
use crate::base::os::OsThread;
use crate::calls::executor::Owner;
use crate::calls::failure::Cause;
use crate::calls::goroutine::Calls;
use crate::calls::queue::{LaneId, Sight, Turn, Watched, status};
use crate::calls::thread::ThreadOptions;

/// How often the watchdog looks, at most and at least.
const PERIODS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// Options of a watchdog: a thread that notices calls which take too long, and the end of the
/// thread that runs finalizers.
///
/// A call that has been running for longer than the deadline is reported once, as
/// [`Cause::Stuck`]. With [`hand_over`](Self::hand_over) another thread then takes over all calls
/// behind it, so that it holds up nothing but itself; its own objects stay alive until it returns,
/// and its thread ends after that.
///
/// A thread of [`Executor::Thread`](crate::Executor::Thread) that has ended inside of a call
/// without unwinding, as by a raw `exit` system call, is reported as [`Cause::ThreadEnded`], and
/// another one goes on behind that call.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// use std::time::Duration;
/// use fing::{Runtime, failure::Watchdog};
///
/// let runtime = Runtime::builder()
///     .watchdog(Watchdog::new(Duration::from_secs(10)).hand_over(4))
///     .on_failure(|failure| eprintln!("{failure}"))
///     .build()?;
/// # Ok::<(), fing::error::RuntimeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "options do nothing by themselves"]
pub struct Watchdog {
    deadline: Duration,
    most: usize,
}

impl Watchdog {
    /// A watchdog that reports calls which run for longer than `deadline`, up to a quarter later
    /// (at least a millisecond, at most a second). [`Duration::MAX`] reports none, and still
    /// notices that the thread has ended.
    pub const fn new(deadline: Duration) -> Watchdog {
        Watchdog { deadline, most: 0 }
    }

    /// Has another thread take over from one that is stuck, as long as fewer than `most` calls are
    /// stuck at a time. It needs [`Executor::Thread`](crate::Executor::Thread).
    ///
    /// Functions must bear that a call of one begins while another call has not returned. Where the
    /// system has no memory barrier on other threads (`membarrier` of Linux), calls are made one by
    /// one then, instead of in batches.
    pub const fn hand_over(self, most: usize) -> Watchdog {
        Watchdog { most, ..self }
    }

    pub(crate) fn hands_over(&self) -> bool {
        self.most > 0
    }
}

/// A thread that runs, or has run, blocks of a queue.
#[derive(Debug)]
struct Worker {
    turn: Arc<Turn>,
    thread: ThreadId,
    os: OsThread,
}

/// The threads of a goroutine: the one whose turn it is, and those that were relieved and are
/// stuck.
#[derive(Debug)]
pub(crate) struct Workers(Lock<Vec<Worker>>);

impl Workers {
    pub(crate) fn new() -> Workers {
        Workers(Lock::new(Rank::Workers, Vec::new()))
    }

    /// Whether the calling thread is one of them.
    pub(crate) fn has_this_thread(&self) -> bool {
        let this = thread::current().id();
        self.0.lock().iter().any(|worker| worker.thread == this)
    }

    /// States that the calling thread runs blocks by this turn.
    fn add(&self, turn: &Arc<Turn>) {
        self.remove(turn);
        self.0.lock().push(Worker {
            turn: turn.clone(),
            thread: thread::current().id(),
            os: OsThread::current(),
        });
    }

    fn remove(&self, turn: &Arc<Turn>) {
        let mut workers = self.0.lock();
        workers.retain(|worker| !Arc::ptr_eq(&worker.turn, turn));
    }

    /// Whether the thread of this turn has begun, and exists no more.
    fn has_ended(&self, turn: &Arc<Turn>) -> bool {
        let workers = self.0.lock();
        let found = workers
            .iter()
            .find(|worker| Arc::ptr_eq(&worker.turn, turn));
        found.is_some_and(|worker| !worker.os.exists())
    }

    /// The turns of threads that exist no more.
    fn ended(&self) -> Vec<Arc<Turn>> {
        let workers = self.0.lock();
        let ended = workers.iter().filter(|worker| !worker.os.exists());
        ended.map(|worker| worker.turn.clone()).collect()
    }
}

/// Starts a thread that runs `begin` and then, with the turn that this returns, the goroutine.
pub(super) fn spawn_worker(
    owner: &Arc<dyn Owner>,
    options: &ThreadOptions,
    begin: impl FnOnce(&Calls) -> Option<Arc<Turn>> + Send + 'static,
) -> std::io::Result<()> {
    let owner = owner.clone();
    options.spawn(move || {
        let calls = owner.calls();
        if let Some(turn) = begin(calls) {
            calls.workers.add(&turn);
            if turn.lane() == LaneId::EXECUTOR {
                calls.queue.set_status(status::CREATED, true);
            }
            calls.run_until_stopped(&*owner, &turn);
            calls.workers.remove(&turn);
        }
    })
}

/// Starts the watchdog's thread. It ends when the queue is stopped and nothing runs. `executor` are
/// the options of the executor's threads, if it has threads of its own.
pub(super) fn spawn(
    owner: &Arc<dyn Owner>,
    options: Watchdog,
    executor: Option<ThreadOptions>,
) -> std::io::Result<()> {
    let mut watching = Watching {
        owner: owner.clone(),
        options,
        executor,
        seen: Vec::new(),
    };
    thread::Builder::new()
        .name("fing watchdog".to_owned())
        .spawn(move || watching.run())
        .map(drop)
}

/// A call that was seen, and since when.
struct Seen {
    sight: Sight,
    since: Instant,
    reported: bool,
}

struct Watching {
    owner: Arc<dyn Owner>,
    options: Watchdog,
    /// Options of the executor's threads, if it has threads of its own.
    executor: Option<ThreadOptions>,
    seen: Vec<Seen>,
}

impl Watching {
    fn run(&mut self) {
        let period = (self.options.deadline / 4).clamp(PERIODS.0, PERIODS.1);
        let owner = self.owner.clone();
        let calls = owner.calls();
        while let Watched::Turns(turns) = calls.queue.watch(period) {
            for turn in turns {
                self.bury(calls, &turn);
            }
            self.look(calls, calls.queue.sights());
            calls.pressure.look(&calls.queue);
        }
    }

    /// Has the place of a thread that has ended taken by another one.
    fn bury(&mut self, calls: &Calls, turn: &Arc<Turn>) {
        if calls.workers.has_ended(turn) {
            let ended = turn.clone();
            let replace = move |calls: &Calls| {
                let (turn, left) = calls.queue.replace(&ended)?;
                calls.workers.remove(&ended);
                calls.workers.add(&turn);
                if let Some(left) = left {
                    let shape = calls
                        .shapes
                        .get(left.block.tags()[left.records.start].shape());
                    calls.fail(&shape, &left.block, left.records, Cause::ThreadEnded);
                    calls.queue.retire(&ended, Some(left.block));
                }
                Some(turn)
            };
            self.spawn(turn.lane(), replace);
            return;
        }
        // One that was relieved may end in its call as well: then nothing is a root for it.
        for ended in calls.workers.ended() {
            if ended.is_relieved() {
                calls.workers.remove(&ended);
                calls.queue.retire(&ended, None);
            }
        }
    }

    /// Starts a thread of a lane that has threads of the runtime.
    fn spawn(
        &self,
        lane: LaneId,
        begin: impl FnOnce(&Calls) -> Option<Arc<Turn>> + Send + 'static,
    ) {
        let pool = self.owner.calls().pool.as_ref();
        let options = match lane {
            LaneId::EXECUTOR => self.executor.as_ref(),
            LaneId::POOL => pool.map(|pool| &pool.options),
            _ => None,
        };
        let Some(options) = options else {
            return;
        };
        if let Err(error) = spawn_worker(&self.owner, options, begin) {
            // The next look tries again.
            tell(|| tracing::error!(%error, "no thread to take over the finalizer goroutine"));
        }
    }

    fn look(&mut self, calls: &Calls, sights: Vec<Sight>) {
        self.seen.retain(|seen| sights.contains(&seen.sight));
        for sight in sights {
            let Some(seen) = self.seen.iter_mut().find(|seen| seen.sight == sight) else {
                self.seen.push(Seen {
                    sight,
                    since: Instant::now(),
                    reported: false,
                });
                continue;
            };
            let time = seen.since.elapsed();
            if time < self.options.deadline {
                continue;
            }
            if !std::mem::replace(&mut seen.reported, true) {
                report(calls, sight, time);
            }
            let most = self.options.most;
            if most > 0
                && let Some(lane) = calls.queue.lane_of(sight)
            {
                self.spawn(lane, move |calls| calls.queue.relieve(sight, most));
            }
        }
    }
}

/// Reports a call that is stuck, if it has not returned meanwhile.
fn report(calls: &Calls, sight: Sight, time: Duration) {
    // What is told of the object is read while the record is a root for certain.
    let found = calls.queue.look_at(sight, |block, at| {
        let shape = calls.shapes.get(block.tags()[at].shape());
        let failure = calls.describe(&shape, &block.slots()[at..=at], Cause::Stuck(time));
        (shape, failure)
    });
    if let Some((shape, failure)) = found {
        calls.answer(&shape, failure, |_| ());
    }
}
