//! A subscriber of `tracing` that makes a file for Perfetto and Chrome (`chrome://tracing`) of what
//! the library tells: spans on their threads, the phases of collections, the length of the queue.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::Debug;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Phases of a collection, with the fields of its event that have their times.
const PHASES: [(&str, &str); 4] = [
    ("stopping", "stopping_ns"),
    ("marking", "marking_ns"),
    ("deciding", "deciding_ns"),
    ("sweeping", "sweeping_ns"),
];

/// What was told so far. Clones share it.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Shared>);

struct Shared {
    begun: Instant,
    last_span: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    spans: HashMap<u64, (&'static str, Map<String, Value>)>,
    threads: HashMap<ThreadId, u64>,
    events: Vec<Value>,
}

impl Trace {
    /// A trace of everything in this process from now on.
    pub(crate) fn begin() -> std::io::Result<Trace> {
        let trace = Trace(Arc::new(Shared {
            begun: Instant::now(),
            last_span: AtomicU64::new(0),
            told: Mutex::default(),
        }));
        let set = tracing::subscriber::set_global_default(trace.clone());
        set.map(|()| trace).map_err(std::io::Error::other)
    }

    /// Writes what was told so far.
    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        let file = std::fs::File::create(path)?;
        let mut file = std::io::BufWriter::new(file);
        let trace = json!({ "traceEvents": self.told().events, "displayTimeUnit": "ns" });
        serde_json::to_writer(&mut file, &trace)?;
        file.flush()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since the trace began.
    fn now(&self) -> f64 {
        self.0.begun.elapsed().as_nanos() as f64 / 1000.0
    }
}

impl Told {
    /// This thread's number; names the thread when it is first met.
    fn thread(&mut self) -> u64 {
        let thread = std::thread::current();
        if let Some(&number) = self.threads.get(&thread.id()) {
            return number;
        }
        let number = self.threads.len() as u64 + 1;
        self.threads.insert(thread.id(), number);
        let name = thread.name().unwrap_or("(no name)");
        self.events.push(json!({
            "name": "thread_name", "ph": "M", "pid": std::process::id(), "tid": number,
            "args": { "name": name },
        }));
        number
    }

    fn push(&mut self, name: &str, phase: &str, time: f64, more: Value) {
        let thread = self.thread();
        let mut event = json!({
            "name": name, "ph": phase, "ts": time, "pid": std::process::id(), "tid": thread,
        });
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        self.events.push(event);
    }
}

/// Fields as JSON.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        self.0.insert(field.name().to_owned(), text.into());
    }
}

impl Subscriber for Trace {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("fing")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.0.last_span.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fields = Fields::default();
        span.record(&mut fields);
        let name = span.metadata().name();
        self.told().spans.insert(id, (name, fields.0));
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some((_, known)) = self.told().spans.get_mut(&span.into_u64()) {
            known.extend(fields.0);
        }
    }

    /// A trace has no arrows between spans.
    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (now, mut fields) = (self.now(), fields.0);
        let message = fields.remove("message").unwrap_or_default();
        let message = message.as_str().unwrap_or("event");
        let mut told = self.told();
        if message == "queue" {
            return told.push("queue", "C", now, json!({ "args": fields }));
        }
        if message == "collection" {
            let times = PHASES.map(|(_, field)| fields.get(field).and_then(Value::as_u64));
            let times = times.map(|time| time.unwrap_or(0) as f64 / 1000.0);
            let mut at = now - times.iter().sum::<f64>();
            for ((name, _), time) in PHASES.into_iter().zip(times) {
                told.push(name, "X", at, json!({ "dur": time }));
                at += time;
            }
        }
        told.push(message, "i", now, json!({ "s": "t", "args": fields }));
    }

    fn enter(&self, span: &Id) {
        let now = self.now();
        let mut told = self.told();
        if let Some((name, fields)) = told.spans.get(&span.into_u64()).cloned() {
            told.push(name, "B", now, json!({ "args": fields }));
        }
    }

    fn exit(&self, span: &Id) {
        let now = self.now();
        let mut told = self.told();
        if let Some((name, _)) = told.spans.get(&span.into_u64()).cloned() {
            told.push(name, "E", now, Value::Null);
        }
    }

    /// The library's spans have one owner each.
    fn try_close(&self, span: Id) -> bool {
        self.told().spans.remove(&span.into_u64()).is_some()
    }
}
