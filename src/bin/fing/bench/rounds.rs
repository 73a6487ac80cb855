//! Measuring: the rounds of all subjects alternate, so that whatever else the machine does hits all alike.
#![forbid(unsafe_code)]

use indicatif::{ProgressBar, ProgressStyle};

use super::samples::Summary;
use super::scenario::{Field, Scenario};
use super::subject::{Round, Subject, Work};
use super::subjects::Spec;

/// What is measured.
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) subjects: Vec<Spec>,
    /// Numbers of objects.
    pub(crate) sizes: Vec<usize>,
    /// Rounds of each; chosen by the number of objects if `None`.
    pub(crate) rounds: Option<usize>,
    /// Rounds before, which do not count; the same.
    pub(crate) warm_rounds: Option<usize>,
}

/// Subjects that do the same work with as many objects, round by round.
struct Group {
    work: Work,
    objects: usize,
    warm_rounds: usize,
    rounds: usize,
    subjects: Vec<Spec>,
}

/// All rounds of one subject in one group.
pub(crate) struct Measured {
    pub(crate) subject: Spec,
    work: Work,
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

impl Plan {
    fn groups(&self) -> Vec<Group> {
        let mut kinds: Vec<(Field, Work)> = self
            .scenarios
            .iter()
            .map(|scenario| (scenario.field, scenario.work))
            .collect();
        kinds.sort();
        kinds.dedup();
        let mut groups = Vec::new();
        for &objects in &self.sizes {
            for &(field, work) in &kinds {
                let subjects = self
                    .subjects
                    .iter()
                    .filter(|subject| subject.field == field && subject.does(work, objects));
                let warm = self.warm_rounds.unwrap_or(warm_rounds_of(objects));
                groups.push(Group {
                    work,
                    objects,
                    // A new process does not know the last one's rounds.
                    warm_rounds: if work == Work::Memory { 0 } else { warm },
                    rounds: self.rounds.unwrap_or(rounds_of(objects)),
                    subjects: subjects.cloned().collect(),
                });
            }
        }
        groups
    }

    /// Measures all. What fails is named aloud and left out.
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

impl Group {
    fn measure(&self, bar: &ProgressBar, failed: &mut Vec<String>) -> Vec<Measured> {
        let warm = self.warm_rounds;
        let each = (warm + self.rounds) as u64;
        let mut fail = |spec: &Spec, error: &dyn std::fmt::Display, left: u64| {
            let line = format!(
                "{} failed ({:?}, {} objects): {error}",
                spec.name, self.work, self.objects
            );
            bar.suspend(|| eprintln!("{line}"));
            failed.push(line);
            bar.inc(left);
        };
        let mut runners: Vec<(Measured, Box<dyn Subject>)> = Vec::new();
        for spec in &self.subjects {
            match spec.start(self.work, self.objects) {
                Ok(runner) => runners.push((
                    Measured {
                        subject: spec.clone(),
                        work: self.work,
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
                        // Its neighbours keep their order.
                        drop(runners.remove(n));
                    }
                }
            }
            // Nobody is always after the same one.
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

impl Measured {
    /// The scenario's figure in each round; empty if it is not this group's, or a phase is missing.
    fn samples(&self, scenario: &Scenario) -> Vec<f64> {
        if scenario.field != self.subject.field || scenario.work != self.work {
            return Vec::new();
        }
        let sum = |round: &Round| -> Option<f64> {
            let ends = [scenario.phases.first()?, scenario.phases.last()?];
            let found = scenario.phases.iter().filter_map(|phase| round.get(phase));
            let total: f64 = found.sum();
            ends.iter()
                .all(|phase| round.contains_key(phase))
                .then_some(total)
        };
        self.rounds.iter().filter_map(sum).collect()
    }
}

impl Results {
    fn find(&self, scenario: &Scenario, subject: &str, objects: usize) -> Vec<f64> {
        let of = |measured: &&Measured| {
            measured.subject.name == subject
                && measured.objects == objects
                && measured.work == scenario.work
        };
        let found = self.measured.iter().find(of);
        found.map_or(Vec::new(), |measured| measured.samples(scenario))
    }

    /// The figure of a subject, and how many times that is what the subject beside it takes.
    pub(crate) fn figures(
        &self,
        scenario: &Scenario,
        subject: &Spec,
        objects: usize,
    ) -> Option<(Summary, Option<Summary>)> {
        let samples = self.find(scenario, &subject.name, objects);
        if scenario.difference {
            let plain = self.find(scenario, subject.plain.as_deref()?, objects);
            let differences = samples.iter().zip(&plain).map(|(a, b)| a - b);
            // What is near nothing, on either side of it, has no ratio.
            return Some((Summary::of(differences)?, None));
        }
        let beside = self.find(scenario, &subject.beside, objects);
        let ratios = samples.iter().zip(&beside).map(|(a, b)| a / b);
        Some((Summary::of(samples.iter().copied())?, Summary::of(ratios)))
    }
}
