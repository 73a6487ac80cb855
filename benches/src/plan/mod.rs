//! What is measured, as data: scenarios, their rows and bars, and the suites of figures that some
//! of them show.
#![forbid(unsafe_code)]

pub(crate) mod rounds;

use crate::contest;
use crate::contest::process::in_new_process;
use crate::contest::work::Work;
use crate::measure::{Fault, Subject};
use crate::suites;

/// One table of a report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// As on the command line and in the report.
    pub(crate) name: &'static str,
    /// Several scenarios that one name chooses on the command line.
    pub(crate) group: &'static str,
    /// What is measured.
    pub(crate) about: &'static str,
    /// The unit of the figures.
    pub(crate) unit: &'static str,
    pub(crate) source: Source,
}

/// The rows of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// A row for each subject that takes part.
    Subjects {
        field: Field,
        work: Work,
        /// Their figures are added. A subject must have the first and the last. One between that is
        /// missing is part of another (a class that is registered when its objects are made, say).
        phases: &'static [&'static str],
        /// Whether the figure of the subject's neighbour that registers less is taken away, round
        /// by round.
        difference: bool,
        /// Bars of some subjects.
        bars: &'static [(&'static str, Bar)],
    },
    /// Chosen figures of the rounds of one suite.
    Suite(&'static Suite, fn() -> Vec<Row>),
}

/// The subjects of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    /// fing beside all others.
    Peers,
    /// fing beside itself, for each number of integer argument registers.
    Registers,
}

/// Figures that are measured together, in one process: fing's and those of the machine that they
/// are compared to.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) sizes: Sizes,
    /// Rounds that count, if no number is chosen.
    pub(crate) rounds: usize,
    /// Rounds before, which do not count.
    pub(crate) warm_rounds: usize,
    /// Whether each round is a new process.
    pub(crate) alone: bool,
    /// Programs that it takes.
    pub(crate) programs: &'static [&'static str],
    /// Makes the subject, for a number of objects.
    pub(crate) start: fn(usize) -> Result<Box<dyn Subject>, Fault>,
}

/// Numbers of objects of a suite.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sizes {
    /// This one; the command line does not choose.
    Fixed(usize),
    /// These, if the command line chooses none; and the most that can be chosen.
    Chosen(&'static [usize], usize),
}

/// A row of a suite's scenario.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The figure, which is also the row's name.
    pub(crate) figure: String,
    /// The figure that it is compared to.
    pub(crate) beside: Option<String>,
    pub(crate) bar: Option<Bar>,
}

/// What a figure must keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    /// The ratio is at most this.
    RatioAtMost(f64),
    /// The figure is at most this.
    AtMost(f64),
}

impl Bar {
    /// Whether the medians keep it; a ratio that is not there does not.
    pub(crate) fn is_kept(self, figure: f64, ratio: Option<f64>) -> bool {
        match self {
            Bar::RatioAtMost(most) => ratio.is_some_and(|ratio| ratio <= most),
            Bar::AtMost(most) => figure <= most,
        }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bar::RatioAtMost(most) => write!(f, "at most {most}x"),
            Bar::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}

impl Row {
    /// A figure by itself.
    pub(crate) fn alone(figure: impl Into<String>) -> Row {
        Row {
            figure: figure.into(),
            beside: None,
            bar: None,
        }
    }

    /// A figure beside another.
    pub(crate) fn beside(figure: impl Into<String>, beside: impl Into<String>) -> Row {
        Row {
            beside: Some(beside.into()),
            ..Row::alone(figure)
        }
    }

    /// The same with a bar.
    pub(crate) fn bar(self, bar: Bar) -> Row {
        Row {
            bar: Some(bar),
            ..self
        }
    }

    /// The same with a bar: its ratio is at most this.
    pub(crate) fn at_most(self, ratio: f64) -> Row {
        self.bar(Bar::RatioAtMost(ratio))
    }
}

impl Scenario {
    /// The rows of a suite, under the suite's name.
    pub(crate) const fn of_suite(
        suite: &'static Suite,
        group: &'static str,
        about: &'static str,
        unit: &'static str,
        rows: fn() -> Vec<Row>,
    ) -> Scenario {
        Scenario {
            name: suite.name,
            group,
            about,
            unit,
            source: Source::Suite(suite, rows),
        }
    }

    /// Whether a name on the command line chooses it.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name == name || self.group == name
    }

    /// Whether it has a bar.
    pub(crate) fn has_bars(&self) -> bool {
        match self.source {
            Source::Subjects { bars, .. } => !bars.is_empty(),
            Source::Suite(_, rows) => rows().iter().any(|row| row.bar.is_some()),
        }
    }
}

impl Suite {
    /// Figures of so many calls or things in each of many short rounds, in this process.
    pub(crate) const fn of_short_rounds(
        name: &'static str,
        count: usize,
        start: fn(usize) -> Result<Box<dyn Subject>, Fault>,
    ) -> Suite {
        Suite {
            name,
            sizes: Sizes::Fixed(count),
            rounds: 300,
            warm_rounds: 1,
            alone: false,
            programs: &[],
            start,
        }
    }

    /// Instructions that valgrind counts, for each of so many calls or things.
    pub(crate) const fn of_instructions(
        name: &'static str,
        count: usize,
        start: fn(usize) -> Result<Box<dyn Subject>, Fault>,
    ) -> Suite {
        Suite {
            rounds: 1,
            warm_rounds: 0,
            programs: &["valgrind"],
            ..Suite::of_short_rounds(name, count, start)
        }
    }

    /// The name of its subject.
    pub(crate) fn subject(&self) -> String {
        format!("fing.{}", self.name)
    }

    /// Its subject, in this process or in a new one for each round.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn subject_for(&self, objects: usize) -> Result<Box<dyn Subject>, Fault> {
        if self.alone {
            let suite = "suite".to_owned();
            return Ok(in_new_process([self.subject(), suite, objects.to_string()]));
        }
        (self.start)(objects)
    }
}

/// All scenarios, in the order of reports.
pub(crate) fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    [
        contest::scenarios::SCENARIOS,
        suites::calls::SCENARIOS,
        suites::instructions::SCENARIOS,
        suites::stubs::SCENARIOS,
        suites::values::SCENARIOS,
        suites::callbacks::SCENARIOS,
        suites::runtime::SCENARIOS,
        suites::collector::SCENARIOS,
        suites::vm::SCENARIOS,
        suites::minigo::SCENARIOS,
    ]
    .into_iter()
    .flatten()
}

/// All suites.
pub(crate) fn suites() -> Vec<&'static Suite> {
    let mut suites: Vec<&'static Suite> = Vec::new();
    for scenario in scenarios() {
        if let Source::Suite(suite, _) = scenario.source
            && suites.iter().all(|other| other.name != suite.name)
        {
            suites.push(suite);
        }
    }
    suites
}
