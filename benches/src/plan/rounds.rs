//! Measuring: the rounds of all subjects of a group alternate, so that what else the machine does
//! affects all alike.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Field, Scenario, Sizes, Source};
use crate::contest::subjects::Spec;
use crate::contest::work::Work;
use crate::measure::samples::Summary;
use crate::measure::{Fault, Round, Subject};

/// What is measured.
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) subjects: Vec<Spec>,
    /// Numbers of objects; those of each work and suite if there are none.
    pub(crate) sizes: Vec<usize>,
    /// Rounds of each; chosen by the number of objects if `None`.
    pub(crate) rounds: Option<usize>,
    /// Rounds before, which do not count; the same.
    pub(crate) warm_rounds: Option<usize>,
}

/// What the subjects of a group do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Work(Field, Work),
    /// The suite of this name.
    Suite(&'static str),
}

/// Subjects that do the same with as many objects, round by round.
struct Group {
    task: Task,
    objects: usize,
    warm_rounds: usize,
    rounds: usize,
    subjects: Vec<Spec>,
}

/// All rounds of one subject in one group.
struct Measured {
    subject: Spec,
    task: Task,
    objects: usize,
    rounds: Vec<Round>,
}

/// More rounds where they are short.
fn rounds_of(objects: usize) -> usize {
    match objects {
        0..=10_000 => 21,
        10_001..=100_000 => 11,
        100_001..=1_000_000 => 5,
        _ => 3,
    }
}

/// Rounds that are not counted, in which runtimes compile and heaps grow.
fn warm_rounds_of(objects: usize) -> usize {
    (200_000 / objects).clamp(1, 5)
}

impl Source {
    fn task(&self) -> Task {
        match self {
            Source::Subjects { field, work, .. } => Task::Work(*field, *work),
            Source::Suite(suite, _) => Task::Suite(suite.name),
        }
    }

    /// Whether the scenario has a row for the subject, or needs it for another's row.
    fn needs(&self, subject: &Spec, all: &[Spec]) -> bool {
        let Source::Subjects {
            difference: true,
            field,
            work,
            ..
        } = *self
        else {
            return true;
        };
        let is_pair = |one: &Spec, plain: &Spec| {
            one.plain.as_ref() == Some(&plain.name) && plain.works_at(field, work)
        };
        all.iter()
            .any(|other| is_pair(subject, other) || is_pair(other, subject))
    }
}

impl Plan {
    /// Drops the subjects that no group has.
    pub(crate) fn keep_needed(&mut self) {
        let groups = self.groups();
        let needed = groups.iter().flat_map(|group| &group.subjects);
        let needed: BTreeSet<String> = needed.map(|subject| subject.name.clone()).collect();
        self.subjects
            .retain(|subject| needed.contains(&subject.name));
    }

    fn groups(&self) -> Vec<Group> {
        let mut tasks: Vec<Task> = self.scenarios.iter().map(|one| one.source.task()).collect();
        tasks.sort();
        tasks.dedup();
        let mut groups: Vec<Group> = tasks
            .into_iter()
            .flat_map(|task| match task {
                Task::Work(field, work) => self.groups_of_work(field, work),
                Task::Suite(name) => self.groups_of_suite(name),
            })
            .filter(|group| !group.subjects.is_empty())
            .collect();
        groups.sort_by_key(|group| group.objects);
        groups
    }

    /// The chosen numbers of objects, or these.
    fn sizes_or<'a>(&'a self, sizes: &'a [usize]) -> &'a [usize] {
        match &self.sizes[..] {
            [] => sizes,
            chosen => chosen,
        }
    }

    fn groups_of_work(&self, field: Field, work: Work) -> Vec<Group> {
        let task = Task::Work(field, work);
        let takes_part = |subject: &&Spec| {
            let mut sources = self.scenarios.iter().map(|scenario| scenario.source);
            sources.any(|source| source.task() == task && source.needs(subject, &self.subjects))
        };
        let group = |&objects: &usize| {
            let subjects = self.subjects.iter().filter(takes_part);
            let warm_rounds = self.warm_rounds.unwrap_or(warm_rounds_of(objects));
            Group {
                task,
                objects,
                // A new process knows nothing of the last one's rounds.
                warm_rounds: if work.is_alone() { 0 } else { warm_rounds },
                rounds: self.rounds.unwrap_or(rounds_of(objects)),
                subjects: subjects
                    .filter(|subject| subject.does(field, work, objects))
                    .cloned()
                    .collect(),
            }
        };
        self.sizes_or(work.sizes()).iter().map(group).collect()
    }

    fn groups_of_suite(&self, name: &'static str) -> Vec<Group> {
        let mut groups = Vec::new();
        for subject in &self.subjects {
            let Some(suite) = subject.suite().filter(|suite| suite.name == name) else {
                continue;
            };
            let sizes = match &suite.sizes {
                Sizes::Fixed(n) => std::slice::from_ref(n),
                Sizes::Chosen(sizes, _) => self.sizes_or(sizes),
            };
            let most = match suite.sizes {
                Sizes::Fixed(n) => n,
                Sizes::Chosen(_, most) => most,
            };
            groups.extend(sizes.iter().filter(|n| **n <= most).map(|&objects| Group {
                task: Task::Suite(name),
                objects,
                warm_rounds: suite.warm_rounds,
                rounds: self.rounds.unwrap_or(suite.rounds),
                subjects: vec![subject.clone()],
            }));
        }
        groups
    }

    /// Measures all. What fails is reported at once and left out.
    pub(crate) fn measure(&self) -> Results {
        let groups = self.groups();
        let all = groups
            .iter()
            .map(|group| group.subjects.len() * (group.warm_rounds + group.rounds));
        let bar = ProgressBar::new(all.sum::<usize>() as u64);
        if let Ok(style) = ProgressStyle::with_template(
            "{elapsed_precise} {bar:30} {pos}/{len} rounds, {eta} left: {msg}",
        ) {
            bar.set_style(style);
        }
        let mut measured = Vec::new();
        let mut failed = Vec::new();
        for group in &groups {
            measured.extend(group.measure(&bar, &mut failed));
        }
        bar.finish_and_clear();
        Results { measured, failed }
    }
}

impl Task {
    fn start(self, subject: &Spec, objects: usize) -> Result<Box<dyn Subject>, Fault> {
        match (self, subject.suite()) {
            (Task::Work(_, work), _) => subject.start(work, objects),
            (Task::Suite(_), Some(suite)) => suite.subject_for(objects),
            (Task::Suite(name), None) => Err(format!("{}: no suite {name}", subject.name).into()),
        }
    }
}

impl Group {
    fn measure(&self, bar: &ProgressBar, failed: &mut Vec<String>) -> Vec<Measured> {
        let warm = self.warm_rounds;
        let each = (warm + self.rounds) as u64;
        let mut fail = |spec: &Spec, error: &dyn std::fmt::Display, left: u64| {
            let line = format!(
                "{} failed ({:?}, {} objects): {error}",
                spec.name, self.task, self.objects
            );
            bar.suspend(|| eprintln!("{line}"));
            failed.push(line);
            bar.inc(left);
        };
        let mut runners: Vec<(Measured, Box<dyn Subject>)> = Vec::new();
        for spec in &self.subjects {
            match self.task.start(spec, self.objects) {
                Ok(runner) => runners.push((
                    Measured {
                        subject: spec.clone(),
                        task: self.task,
                        objects: self.objects,
                        rounds: Vec::new(),
                    },
                    runner,
                )),
                Err(error) => fail(spec, &error, each),
            }
        }
        for number in 0..warm + self.rounds {
            let mut n = 0;
            while let Some((measured, runner)) = runners.get_mut(n) {
                bar.set_message(format!("{}, {}", measured.subject.name, self.objects));
                match runner.round() {
                    Ok(round) => {
                        if number >= warm {
                            measured.rounds.push(round);
                        }
                        bar.inc(1);
                        n += 1;
                    }
                    Err(error) => {
                        fail(&measured.subject, &error, each - number as u64);
                        // The others keep their order.
                        drop(runners.remove(n));
                    }
                }
            }
            // No subject is always after the same one.
            if !runners.is_empty() {
                runners.rotate_left(1);
            }
        }
        runners.into_iter().map(|(measured, _)| measured).collect()
    }
}

/// Everything that was measured.
pub(crate) struct Results {
    measured: Vec<Measured>,
    /// What went wrong, one line each.
    pub(crate) failed: Vec<String>,
}

/// A figure, and its ratio to the one beside it.
pub(crate) type Figures = (Summary, Option<Summary>);

impl Results {
    fn find(&self, task: Task, subject: &str, objects: usize) -> &[Round] {
        let of = |measured: &&Measured| {
            measured.subject.name == subject && measured.objects == objects && measured.task == task
        };
        let found = self.measured.iter().find(of);
        found.map_or(&[], |measured| &measured.rounds)
    }

    /// The numbers of objects with which the scenario was measured, ascending.
    pub(crate) fn sizes(&self, scenario: &Scenario) -> Vec<usize> {
        let task = scenario.source.task();
        let measured = self.measured.iter().filter(|one| one.task == task);
        let mut sizes: Vec<usize> = measured.map(|one| one.objects).collect();
        sizes.sort();
        sizes.dedup();
        sizes
    }

    /// The sum of phases of a subject, less that of its plain neighbour if a difference is wanted.
    pub(crate) fn of_subject(
        &self,
        scenario: &Scenario,
        subject: &Spec,
        objects: usize,
    ) -> Option<Figures> {
        let Source::Subjects {
            phases, difference, ..
        } = scenario.source
        else {
            return None;
        };
        let find = |name| sums(self.find(scenario.source.task(), name, objects), phases);
        let samples = find(&subject.name);
        if difference {
            let plain = find(subject.plain.as_deref()?);
            let differences = samples.iter().zip(&plain).map(|(a, b)| a - b);
            // A difference is near nothing, on either side of it, so a ratio would say nothing.
            return Some((Summary::of(differences)?, None));
        }
        figures(&samples, &find(&subject.beside))
    }

    /// A figure of a suite's rounds, and its ratio to another figure of the same rounds.
    pub(crate) fn of_suite(
        &self,
        scenario: &Scenario,
        figure: &str,
        beside: Option<&str>,
        objects: usize,
    ) -> Option<Figures> {
        let Source::Suite(suite, _) = scenario.source else {
            return None;
        };
        let rounds = self.find(scenario.source.task(), &suite.subject(), objects);
        let all = |name| {
            rounds
                .iter()
                .filter_map(move |round| round.get(name).copied())
        };
        let samples: Vec<f64> = all(figure).collect();
        let beside: Vec<f64> = beside.into_iter().flat_map(all).collect();
        figures(&samples, &beside)
    }
}

/// The sum of some phases in each round that has the first and the last.
fn sums(rounds: &[Round], phases: &[&str]) -> Vec<f64> {
    let sum = |round: &Round| -> Option<f64> {
        let ends = [phases.first()?, phases.last()?];
        let found = phases.iter().filter_map(|phase| round.get(*phase));
        let total: f64 = found.sum();
        ends.iter()
            .all(|phase| round.contains_key(**phase))
            .then_some(total)
    };
    rounds.iter().filter_map(sum).collect()
}

fn figures(samples: &[f64], beside: &[f64]) -> Option<Figures> {
    let ratios = samples.iter().zip(beside).map(|(a, b)| a / b);
    // To nothing there is no ratio.
    let ratios = ratios.filter(|ratio| ratio.is_finite());
    Some((Summary::of(samples.iter().copied())?, Summary::of(ratios)))
}
