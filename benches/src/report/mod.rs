//! A report: tables of figures with the facts they depend on, in several forms.
#![forbid(unsafe_code)]

pub(crate) mod bars;
pub(crate) mod json;
pub(crate) mod markdown;
pub(crate) mod page;
mod table;
mod text;

use crate::contest::peers::PEERS;
use crate::measure::machine::Facts;
use crate::plan::rounds::{Plan, Results};
use table::Table;

/// Everything a report says.
pub(crate) struct Report {
    pub(crate) plan: Plan,
    pub(crate) results: Results,
    pub(crate) machine: Facts,
    /// Peers with their versions.
    pub(crate) peers: Facts,
    /// Peers and suites that take no part, and why.
    pub(crate) skipped: Facts,
}

/// How to read a table.
const LEGEND: &str = "\
A cell is the median of all rounds, (smallest-largest), and its ratio to the figure beside it: the \
median of the ratios in the same round. Without a column that names another figure, that is what \
fing takes for the same thing. Rounds of all subjects alternate.";

impl Report {
    /// A table for each scenario of the plan, without empty rows, columns and tables.
    fn tables(&self) -> Vec<Table> {
        let scenarios = self.plan.scenarios.iter();
        let tables = scenarios.map(|scenario| Table::of(scenario, &self.plan, &self.results));
        tables.filter(|table| !table.rows.is_empty()).collect()
    }

    /// Headings with pairs.
    fn facts(&self) -> Vec<(&'static str, Facts)> {
        let about = self.peers.iter().map(|(name, version)| {
            let peer = PEERS.iter().find(|peer| peer.name == name);
            let about = peer.map_or("", |peer| peer.about);
            (name.clone(), format!("{version}: {about}"))
        });
        let failed = self.results.failed.iter();
        let failed = failed.map(|line| ("failed".to_owned(), line.clone()));
        [
            ("Machine", self.machine.clone()),
            ("Peers", about.collect()),
            ("Skipped", self.skipped.clone()),
            ("Failed", failed.collect()),
        ]
        .into_iter()
        .filter(|(_, facts)| !facts.is_empty())
        .collect()
    }
}
