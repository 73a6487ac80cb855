//! Results as text, as Markdown and as lines of JSON.
#![forbid(unsafe_code)]

use std::fmt::Write;

use serde::Serialize;

use super::machine::Facts;
use super::rounds::{Plan, Results};
use super::samples::{Summary, count, figure};
use super::scenario::Scenario;

/// Everything a report says.
pub(crate) struct Report {
    pub(crate) plan: Plan,
    pub(crate) results: Results,
    pub(crate) machine: Facts,
    /// Peers with their versions.
    pub(crate) peers: Facts,
    /// Peers that take no part, and why.
    pub(crate) skipped: Facts,
}

/// A line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    scenario: &'a str,
    subject: &'a str,
    n: usize,
    unit: &'a str,
    median: f64,
    min: f64,
    max: f64,
    runs: usize,
}

/// One scenario's figures: a row for each subject, a column for each number of objects.
pub(crate) struct Table {
    pub(crate) scenario: &'static Scenario,
    pub(crate) sizes: Vec<usize>,
    pub(crate) rows: Vec<Row>,
}

/// A subject's figures.
pub(crate) struct Row {
    pub(crate) subject: String,
    /// As many as there are sizes.
    pub(crate) figures: Vec<Option<(Summary, Option<Summary>)>>,
}

impl Row {
    /// Its first column, and one for each size.
    fn cells(&self) -> Vec<String> {
        let cell = |found: &Option<(Summary, Option<Summary>)>| match found {
            None => "-".to_owned(),
            Some((figures, ratio)) => {
                let range = format!(
                    "{} ({}-{})",
                    figure(figures.median),
                    figure(figures.min),
                    figure(figures.max)
                );
                match ratio {
                    Some(ratio) => format!("{range} {}x", figure(ratio.median)),
                    None => range,
                }
            }
        };
        std::iter::once(self.subject.clone())
            .chain(self.figures.iter().map(cell))
            .collect()
    }
}

impl Table {
    fn head(&self) -> Vec<String> {
        let sizes = self.sizes.iter().map(|objects| count(*objects));
        std::iter::once("subject".to_owned()).chain(sizes).collect()
    }

    /// Columns side by side.
    pub(crate) fn to_text(&self) -> String {
        let mut lines = vec![self.head()];
        lines.extend(self.rows.iter().map(Row::cells));
        let widths: Vec<usize> = (0..=self.sizes.len())
            .map(|n| lines.iter().map(|line| line[n].len()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in &lines {
            let mut row = String::new();
            for (n, (cell, width)) in line.iter().zip(&widths).enumerate() {
                // Names to the left, figures to the right.
                row += &if n == 0 {
                    format!("{cell:width$}")
                } else {
                    format!("  {cell:>width$}")
                };
            }
            text += row.trim_end();
            text.push('\n');
        }
        text
    }

    /// A table of Markdown.
    fn to_markdown(&self) -> String {
        let head = self.head();
        let mut text = format!("| {} |\n|---|", head.join(" | "));
        text += &"---:|".repeat(self.sizes.len());
        text.push('\n');
        for row in &self.rows {
            text += &format!("| {} |\n", row.cells().join(" | "));
        }
        text
    }
}

impl Report {
    /// A table for each scenario of the plan, without empty rows, columns and tables.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let table = |scenario: &&'static Scenario| {
            let figures = |objects: usize| {
                let of = move |subject| self.results.figures(scenario, subject, objects);
                self.plan.subjects.iter().map(of).collect::<Vec<_>>()
            };
            let columns = self.plan.sizes.iter().map(|size| (*size, figures(*size)));
            let columns: Vec<_> = columns
                .filter(|(_, column)| column.iter().any(Option::is_some))
                .collect();
            let rows = self
                .plan
                .subjects
                .iter()
                .enumerate()
                .map(|(n, subject)| Row {
                    subject: subject.name.clone(),
                    figures: columns.iter().map(|(_, column)| column[n]).collect(),
                });
            Table {
                scenario,
                sizes: columns.iter().map(|(size, _)| *size).collect(),
                rows: rows
                    .filter(|row| row.figures.iter().any(Option::is_some))
                    .collect(),
            }
        };
        let tables = self.plan.scenarios.iter().map(table);
        tables.filter(|table| !table.rows.is_empty()).collect()
    }

    /// Headings with pairs.
    pub(crate) fn facts(&self) -> Vec<(&'static str, Facts)> {
        let about = self.peers.iter().map(|(name, version)| {
            let peer = super::peers::PEERS.iter().find(|peer| peer.name == name);
            let about = peer.map_or("", |peer| peer.about);
            (name.clone(), format!("{version}: {about}"))
        });
        let failed = self.results.failed.iter();
        [
            ("Machine", self.machine.clone()),
            ("Peers", about.collect()),
            ("Skipped", self.skipped.clone()),
            (
                "Failed",
                failed
                    .map(|line| ("failed".to_owned(), line.clone()))
                    .collect(),
            ),
        ]
        .into_iter()
        .filter(|(_, facts)| !facts.is_empty())
        .collect()
    }

    /// For a terminal.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (heading, facts) in self.facts() {
            text += &format!("{heading}\n");
            for (name, value) in facts {
                text += &format!("  {name}: {value}\n");
            }
        }
        text += &format!("\n{LEGEND}\n");
        for table in self.tables() {
            let Scenario {
                name, about, unit, ..
            } = table.scenario;
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{name}: {about} ({unit})\n{}", table.to_text());
        }
        text
    }

    /// For a document, below a heading of the second level.
    pub(crate) fn to_markdown(&self, command: &str) -> String {
        let mut text = format!("```console\n$ {command}\n```\n\n| | |\n|---|---|\n");
        for (heading, facts) in self.facts() {
            for (name, value) in facts {
                text += &match heading {
                    "Skipped" => format!("| {name} | skipped: {value} |\n"),
                    _ => format!("| {name} | {value} |\n"),
                };
            }
        }
        text += &format!("\n{LEGEND}\n");
        for table in self.tables() {
            let Scenario {
                name, about, unit, ..
            } = table.scenario;
            let figures = table.to_markdown();
            let _ = write!(text, "\n### {name}\n\n{about}; {unit}\n\n{figures}");
        }
        text
    }

    /// One object a line.
    ///
    /// # Errors
    /// A figure that JSON cannot hold; there is none.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        let mut text = String::new();
        for table in self.tables() {
            for row in &table.rows {
                for (n, figures) in table.sizes.iter().zip(&row.figures) {
                    let Some((summary, _)) = figures else {
                        continue;
                    };
                    text += &serde_json::to_string(&Line {
                        scenario: table.scenario.name,
                        subject: &row.subject,
                        n: *n,
                        unit: table.scenario.unit,
                        median: summary.median,
                        min: summary.min,
                        max: summary.max,
                        runs: summary.runs,
                    })?;
                    text.push('\n');
                }
            }
        }
        Ok(text)
    }
}

/// How to read a table.
pub(crate) const LEGEND: &str = "\
A cell is the median of all rounds, (smallest-largest), and how many times that is what fing takes for the same thing \
in the same round: the median of the rounds' ratios. Rounds of all subjects alternate.";
