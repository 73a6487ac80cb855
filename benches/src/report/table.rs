//! One scenario's figures as cells.
#![forbid(unsafe_code)]

use crate::contest::subjects::Spec;
use crate::measure::samples::{count, figure};
use crate::plan::rounds::{Figures, Plan, Results};
use crate::plan::{self, Bar, Scenario, Source};

/// One scenario's figures: a row for each subject, a column for each number of objects.
pub(super) struct Table {
    pub(super) scenario: &'static Scenario,
    pub(super) sizes: Vec<usize>,
    pub(super) rows: Vec<Row>,
}

/// A subject's figures.
pub(super) struct Row {
    pub(super) subject: String,
    /// The figure in the ratio, and the bar, if the table has a column for each.
    pub(super) beside: Option<String>,
    pub(super) bar: Option<Bar>,
    /// As many as there are sizes.
    pub(super) figures: Vec<Option<Figures>>,
}

impl Table {
    pub(super) fn of(scenario: &'static Scenario, plan: &Plan, results: &Results) -> Table {
        let sizes = results.sizes(scenario);
        let mut rows = match scenario.source {
            Source::Subjects { bars, .. } => subjects(scenario, bars, plan, results, &sizes),
            Source::Suite(_, rows) => suite(scenario, rows(), results, &sizes),
        };
        rows.retain(|row| row.figures.iter().any(Option::is_some));
        let shown = |n: &usize| rows.iter().any(|row| row.figures[*n].is_some());
        let columns: Vec<usize> = (0..sizes.len()).filter(shown).collect();
        for row in &mut rows {
            row.figures = columns.iter().map(|n| row.figures[*n]).collect();
        }
        Table {
            scenario,
            sizes: columns.iter().map(|n| sizes[*n]).collect(),
            rows,
        }
    }

    /// Whether it says what each row is compared to, and its bar.
    fn has_bars(&self) -> bool {
        self.scenario.has_bars() || self.rows.iter().any(|row| row.beside.is_some())
    }

    /// Number of columns of text before the figures.
    pub(super) fn names(&self) -> usize {
        if self.has_bars() { 3 } else { 1 }
    }

    /// The head, and a line for each row.
    pub(super) fn cells(&self) -> Vec<Vec<String>> {
        let names = |names: [String; 3]| names.into_iter().take(self.names());
        let head = names(["subject", "beside", "bar"].map(str::to_owned));
        let sizes = self.sizes.iter().map(|objects| count(*objects));
        let mut lines = vec![head.chain(sizes).collect()];
        lines.extend(self.rows.iter().map(|row| {
            let beside = row.beside.clone().unwrap_or_default();
            let bar = row.bar.map_or(String::new(), |bar| bar.to_string());
            let figures = row.figures.iter().map(cell);
            let names = names([row.subject.clone(), beside, bar]);
            names.chain(figures).collect::<Vec<String>>()
        }));
        lines
    }
}

fn cell(found: &Option<Figures>) -> String {
    let Some((figures, ratio)) = found else {
        return "-".to_owned();
    };
    let [median, min, max] = [figures.median, figures.min, figures.max].map(figure);
    match ratio {
        Some(ratio) => format!("{median} ({min}-{max}) {}x", figure(ratio.median)),
        None => format!("{median} ({min}-{max})"),
    }
}

fn subjects(
    scenario: &Scenario,
    bars: &[(&str, Bar)],
    plan: &Plan,
    results: &Results,
    sizes: &[usize],
) -> Vec<Row> {
    let row = |subject: &Spec| {
        let figures = sizes
            .iter()
            .map(|n| results.of_subject(scenario, subject, *n));
        let bar = bars.iter().find(|(name, _)| *name == subject.name);
        Row {
            subject: subject.name.clone(),
            beside: scenario.has_bars().then(|| subject.beside.clone()),
            bar: bar.map(|(_, bar)| *bar),
            figures: figures.collect(),
        }
    };
    plan.subjects.iter().map(row).collect()
}

fn suite(
    scenario: &Scenario,
    rows: Vec<plan::Row>,
    results: &Results,
    sizes: &[usize],
) -> Vec<Row> {
    let row = |row: plan::Row| {
        let of = |n: &usize| results.of_suite(scenario, &row.figure, row.beside.as_deref(), *n);
        Row {
            figures: sizes.iter().map(of).collect(),
            subject: row.figure,
            beside: row.beside,
            bar: row.bar,
        }
    };
    rows.into_iter().map(row).collect()
}
