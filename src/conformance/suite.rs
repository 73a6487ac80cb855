//! Runs programs on a subject and on the model, side by side, and shrinks failing ones.
#![forbid(unsafe_code)]

use std::any::Any;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::model::{Entry, Finalizer, Model, Object, Watcher};
use super::program::{Op, ROOTS, generate};
use super::{Call, Fault, Setup, Subject};
use crate::order::{Order, Scope};

/// Says how many programs are tried.
const VARIABLE: &str = "FING_CASES";
/// How many programs are tried with that unset.
const CASES: u64 = 250;
/// How many shorter programs are tried to explain a failure.
const TRIES: usize = 600;

/// Which programs are run, and for which order of finalization.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The order of finalization.
    pub order: Order,
    /// How many programs; `FING_CASES`, or else 250.
    pub cases: u64,
    /// The seed of the first program.
    pub seed: u64,
    #[doc(hidden)]
    pub fault: Option<Fault>,
}

/// Counts of what a suite did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Programs run.
    pub cases: u64,
    /// Collections, each compared with the model.
    pub collections: u64,
    /// Finalizers and cleanups run.
    pub calls: u64,
    /// Cycles reported.
    pub cycles: u64,
    /// Queued finalizers that became registered again, as their objects were revived.
    pub taken_back: u64,
    /// Entries of weak maps that collections have ended.
    pub ephemerons: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            cases,
            collections,
            calls,
            cycles,
            taken_back,
            ephemerons,
        } = self;
        write!(
            f,
            "{cases} programs, {collections} collections, {calls} calls, {taken_back} taken back, \
             {cycles} cycles reported, {ephemerons} ephemerons ended: as the model"
        )
    }
}

/// A program on which subject and model differ.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was different.
    pub message: String,
    /// The operations that show it, as few as were found.
    pub program: Vec<String>,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {}: {}", self.seed, self.message)?;
        for op in &self.program {
            writeln!(f, "    {op}")?;
        }
        Ok(())
    }
}

/// How many programs are tried with this value of [`VARIABLE`].
fn cases(value: Option<OsString>) -> u64 {
    let Some(value) = value else { return CASES };
    let text = value.to_string_lossy();
    let number = text.parse();
    number.unwrap_or_else(|e| panic!("{VARIABLE}={text}: {e}, wanted a number"))
}

impl Suite {
    /// The default suite for an order of finalization.
    ///
    /// # Panics
    /// If `FING_CASES` is set to something else than a number.
    pub fn new(order: Order) -> Suite {
        Suite {
            order,
            cases: cases(std::env::var_os(VARIABLE)),
            seed: 1,
            fault: None,
        }
    }

    /// Runs the suite.
    ///
    /// # Errors
    /// The first program on which the subject differs from the model, or panics.
    pub fn run<S: Subject>(&self) -> Result<Summary, Box<Failure>> {
        let mut summary = Summary::default();
        for seed in self.seed..self.seed + self.cases {
            let program = generate(seed);
            if let Err(message) = self.attempt::<S>(&program, &mut summary) {
                let (program, message) = self.shrink::<S>(program, message);
                return Err(Box::new(Failure {
                    seed,
                    message,
                    program: program.iter().map(|op| format!("{op:?}")).collect(),
                }));
            }
            summary.cases += 1;
        }
        Ok(summary)
    }

    fn attempt<S: Subject>(&self, program: &[Op], summary: &mut Summary) -> Result<(), String> {
        let run = || {
            let mut case = Case::<S>::new(self, summary);
            program
                .iter()
                .enumerate()
                .try_for_each(|(n, op)| {
                    let done = case.step(op);
                    done.map_err(|why| format!("operation {n}, {op:?}: {why}"))
                })
                .and_then(|()| case.wind_up().map_err(|why| format!("at the end: {why}")))
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| Err(text_of(&*payload)))
    }

    /// Removes operations that are not needed for a failure.
    fn shrink<S: Subject>(&self, mut program: Vec<Op>, mut message: String) -> (Vec<Op>, String) {
        let mut tries = 0;
        let mut size = program.len() / 2;
        while size > 0 && tries < TRIES {
            let mut at = 0;
            while at < program.len() && tries < TRIES {
                let mut shorter = program.clone();
                shorter.drain(at..(at + size).min(program.len()));
                tries += 1;
                match self.attempt::<S>(&shorter, &mut Summary::default()) {
                    Err(why) => (program, message) = (shorter, why),
                    Ok(()) => at += size,
                }
            }
            size /= 2;
        }
        (program, message)
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
    });
    format!("panic: {}", text.unwrap_or_default())
}

struct Case<'a, S> {
    subject: S,
    model: Model,
    summary: &'a mut Summary,
    weak: BTreeSet<u64>,
    /// Entries that have not ended.
    ephemerons: BTreeSet<u64>,
    next: u64,
    cleanups: u64,
    watchers: u64,
    /// How many entries were added.
    added: u64,
}

impl<'a, S: Subject> Case<'a, S> {
    fn new(suite: &Suite, summary: &'a mut Summary) -> Case<'a, S> {
        let setup = Setup {
            order: suite.order,
            roots: ROOTS,
            fault: suite.fault,
        };
        Case {
            subject: S::make(&setup),
            model: Model {
                order: suite.order,
                roots: vec![None; ROOTS],
                ..Model::default()
            },
            summary,
            weak: BTreeSet::new(),
            ephemerons: BTreeSet::new(),
            next: 1,
            cleanups: 1,
            watchers: 1,
            added: 0,
        }
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        let held = |model: &Model, root: usize| model.roots[root];
        match *op {
            Op::Alloc { root, fields, keep } => {
                let id = self.next;
                self.next += 1;
                // With `keep` the root's object moves to the new object's first field.
                let before = held(&self.model, root).filter(|_| keep && fields > 0);
                let spare = ROOTS - 1;
                if before.is_some() && root != spare {
                    self.subject.copy(spare, Some(root));
                    self.model.roots[spare] = before;
                }
                self.subject.alloc(root, id, fields);
                let mut object = Object {
                    fields: vec![None; fields],
                    young: true,
                };
                if before.is_some() && root != spare {
                    self.subject.store(root, 0, Some(spare));
                    self.subject.copy(spare, None);
                    self.model.roots[spare] = None;
                    object.fields[0] = before;
                }
                self.model.objects.insert(id, object);
                self.model.roots[root] = Some(id);
            }
            Op::Copy { to, from } => {
                self.subject.copy(to, held(&self.model, from).map(|_| from));
                self.model.roots[to] = held(&self.model, from);
            }
            Op::Clear { root } => {
                self.subject.copy(root, None);
                self.model.roots[root] = None;
            }
            Op::Load { to, from, field } => {
                if let Some((object, field)) = self.field(from, field) {
                    self.subject.load(to, from, field);
                    self.model.roots[to] = self.model.objects[&object].fields[field];
                }
            }
            Op::Store {
                object,
                field,
                value,
            } => {
                if let Some((id, field)) = self.field(object, field) {
                    let new = value.and_then(|root| held(&self.model, root));
                    self.subject
                        .store(object, field, value.filter(|_| new.is_some()));
                    if let Some(found) = self.model.objects.get_mut(&id) {
                        found.fields[field] = new;
                    }
                }
            }
            Op::SetFinalizer {
                object,
                context,
                cycle,
            } => {
                if let Some(id) = held(&self.model, object) {
                    let with = context.and_then(|root| held(&self.model, root));
                    let root = context.filter(|_| with.is_some());
                    let set = self.subject.set_finalizer(object, root, cycle);
                    let free = !self.model.finalizers.contains_key(&id);
                    same("set_finalizer", set, free)?;
                    if free {
                        let finalizer = Finalizer {
                            context: with,
                            cycle,
                            reported: false,
                        };
                        self.model.finalizers.insert(id, finalizer);
                    }
                }
            }
            Op::ClearFinalizer { object } => {
                if let Some(id) = held(&self.model, object) {
                    let cleared = self.subject.clear_finalizer(object);
                    let there = self.model.finalizers.remove(&id).is_some();
                    let wanted = self.model.cancelled(
                        there,
                        |call| matches!(call, Call::Finalizer { object, .. } if *object == id),
                    );
                    same("clear_finalizer", cleared, wanted)?;
                }
            }
            Op::AddCleanup { object, argument } => {
                if let Some(id) = held(&self.model, object) {
                    let with = argument.and_then(|root| held(&self.model, root));
                    let with = with.filter(|&with| with != id);
                    let number = self.cleanups;
                    self.cleanups += 1;
                    self.subject
                        .add_cleanup(object, number, argument.filter(|_| with.is_some()));
                    self.model.cleanups.insert(number, (id, with));
                }
            }
            Op::StopCleanup { nth } => {
                if self.cleanups > 1 {
                    let number = 1 + nth as u64 % (self.cleanups - 1);
                    let stopped = self.subject.stop_cleanup(number);
                    let there = self.model.cleanups.remove(&number).is_some();
                    let wanted = self.model.cancelled(
                        there,
                        |call| matches!(call, Call::Cleanup { number: of, .. } if *of == number),
                    );
                    same("stop_cleanup", stopped, wanted)?;
                }
            }
            Op::AddWatcher { object, cycle } => {
                if let Some(id) = held(&self.model, object) {
                    let number = self.watchers;
                    self.watchers += 1;
                    self.subject.add_watcher(object, number, cycle);
                    let watcher = Watcher { object: id, cycle };
                    self.model.watchers.insert(number, watcher);
                }
            }
            Op::StopWatcher { nth } => {
                if self.watchers > 1 {
                    let number = 1 + nth as u64 % (self.watchers - 1);
                    let stopped = self.subject.stop_watcher(number);
                    let there = self.model.watchers.remove(&number).is_some();
                    let wanted = self.model.cancelled(
                        there,
                        |call| matches!(call, Call::Watcher { number: of, .. } if *of == number),
                    );
                    same("stop_watcher", stopped, wanted)?;
                }
            }
            Op::FinalizeAfter { object, parent } => {
                let both = held(&self.model, object).zip(held(&self.model, parent));
                if let Some((id, before)) = both {
                    let declared = self.subject.finalize_after(object, parent);
                    same("finalize_after", declared, self.model.declare(id, before))?;
                }
            }
            Op::MakeWeak { object } => {
                if let Some(id) = held(&self.model, object).filter(|_| S::features().weak) {
                    self.subject.make_weak(object, id);
                    self.model.weak.insert(id);
                    self.weak.insert(id);
                }
            }
            Op::AddEphemeron { map, key, value } => {
                let objects = [map, key, value].map(|root| held(&self.model, root));
                if let [Some(of), Some(with), Some(to)] = objects
                    && S::features().ephemerons
                {
                    self.added += 1;
                    let number = self.added;
                    self.subject.add_ephemeron(number, map, key, value);
                    let (map, key, value) = (of, with, to);
                    let entry = Entry { map, key, value };
                    self.model.entries.insert(number, entry);
                    self.ephemerons.insert(number);
                }
            }
            Op::SetEphemeronValue { nth, value } => {
                if let (Some(number), Some(to)) = (self.nth(nth), held(&self.model, value)) {
                    let set = self.subject.set_ephemeron_value(number, value);
                    let entry = self.model.entries.get_mut(&number);
                    let there = entry.map(|entry| entry.value = to).is_some();
                    same("set_ephemeron_value", set, there)?;
                }
            }
            Op::RemoveEphemeron { nth } => {
                if let Some(number) = self.nth(nth) {
                    let removed = self.subject.remove_ephemeron(number);
                    let there = self.model.entries.remove(&number).is_some();
                    same("remove_ephemeron", removed, there)?;
                    self.ephemerons.remove(&number);
                }
            }
            Op::Collect { minor, early } => {
                let features = S::features();
                let scope = if minor && features.minor {
                    Scope::Minor
                } else {
                    Scope::Full
                };
                self.subject.collect(scope, early && features.early);
                self.model.collect(scope);
                self.compare()?;
            }
            Op::Run { revive, collect } => drop(self.run(revive, collect)?),
        }
        Ok(())
    }

    /// Returns the object in a root, and one of its fields.
    fn field(&self, root: usize, field: usize) -> Option<(u64, usize)> {
        let object = self.model.roots[root]?;
        let fields = self.model.objects[&object].fields.len();
        (fields > 0).then(|| (object, field % fields))
    }

    /// The number of one of the entries that were added.
    fn nth(&self, nth: usize) -> Option<u64> {
        (self.added > 0).then(|| 1 + nth as u64 % self.added)
    }

    /// Runs what is due, on both. Returns whether anything was.
    fn run(&mut self, revive: Option<usize>, collect: Option<Scope>) -> Result<bool, String> {
        // Which objects stay young is known only after the last of several collections, so only
        // full ones are run then.
        let minor = S::features().minor && !S::features().ages;
        let collect = collect.map(|scope| if minor { scope } else { Scope::Full });
        let calls = self.subject.run(revive, collect);
        for call in &calls {
            self.model.begin(call)?;
            if let (Some(root), Some(object)) = (revive, call.object()) {
                self.model.roots[root] = Some(object);
            }
            if let Some(scope) = collect {
                self.model.collect(scope);
                self.summary.collections += 1;
                self.age();
            }
            self.model.end();
        }
        self.summary.calls += calls.len() as u64;
        let left = self.model.due();
        if !left.is_empty() {
            return Err(format!("was not run: {left:?}"));
        }
        if collect.is_some() && !calls.is_empty() {
            self.compare()?;
        }
        Ok(!calls.is_empty())
    }

    fn age(&mut self) {
        for id in self.subject.young() {
            if let Some(object) = self.model.objects.get_mut(&id) {
                object.young = true;
            }
        }
    }

    /// Compares subject and model after a collection.
    fn compare(&mut self) -> Result<(), String> {
        self.summary.collections += 1;
        self.summary.taken_back += std::mem::take(&mut self.model.taken_back);
        let mut objects = self.subject.objects();
        objects.sort_unstable();
        let wanted: Vec<u64> = self.model.objects.keys().copied().collect();
        same("objects", objects, wanted)?;
        for &id in &self.weak {
            let wanted = self.model.weak.contains(&id).then_some(id);
            same("the weak handle's object", self.subject.upgrade(id), wanted)?;
        }
        self.weak.retain(|id| self.model.weak.contains(id));
        for &number in &self.ephemerons {
            let wanted = self.model.entries.get(&number);
            let wanted = wanted.map(|entry| (entry.key, entry.value));
            let found = self.subject.ephemeron(number);
            same("the entry of a weak map", found, wanted)?;
        }
        let before = self.ephemerons.len();
        self.ephemerons
            .retain(|number| self.model.entries.contains_key(number));
        self.summary.ephemerons += (before - self.ephemerons.len()) as u64;
        let mut wanted = std::mem::take(&mut self.model.reports);
        for path in self.subject.take_cycles() {
            self.summary.cycles += 1;
            let admits = wanted.iter().position(|report| report.admits(&path));
            let at =
                admits.ok_or_else(|| format!("reported {path:?}, wanted one of {wanted:?}"))?;
            wanted.remove(at);
        }
        if !wanted.is_empty() {
            return Err(format!("was not reported: {wanted:?}"));
        }
        self.age();
        Ok(())
    }

    /// Drops everything, and collects until nothing happens any more.
    fn wind_up(&mut self) -> Result<(), String> {
        for root in 0..ROOTS {
            self.step(&Op::Clear { root })?;
        }
        loop {
            self.step(&Op::Collect {
                minor: false,
                early: false,
            })?;
            if !self.run(None, None)? && self.model.queue.is_empty() {
                return Ok(());
            }
        }
    }
}

fn same<T: PartialEq + fmt::Debug>(what: &str, found: T, wanted: T) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{what}: found {found:?}, wanted {wanted:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_of_cases_is_refused() {
        assert_eq!(cases(None), CASES);
        assert_eq!(cases(Some("20000".into())), 20_000);
        for (value, why) in [
            ("", "cannot parse integer from empty string"),
            ("all", "invalid digit found in string"),
            ("-1", "invalid digit found in string"),
            (
                "99999999999999999999",
                "number too large to fit in target type",
            ),
        ] {
            let refused = catch_unwind(|| cases(Some(value.into()))).unwrap_err();
            let wanted = format!("panic: FING_CASES={value}: {why}, wanted a number");
            assert_eq!(text_of(&*refused), wanted);
        }
    }
}
