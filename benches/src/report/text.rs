//! A report for a terminal.
#![forbid(unsafe_code)]

use super::table::Table;
use super::{LEGEND, Report};
use crate::plan::Scenario;

impl Report {
    /// As text.
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
            text += &format!("\n{name}: {about} ({unit})\n{}", table.to_text());
        }
        text
    }
}

impl Table {
    /// Columns side by side: names to the left, figures to the right.
    pub(super) fn to_text(&self) -> String {
        let lines = self.cells();
        let widths: Vec<usize> = (0..self.names() + self.sizes.len())
            .map(|n| lines.iter().map(|line| line[n].len()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in &lines {
            let cells = line.iter().zip(&widths).enumerate();
            let cells = cells.map(|(n, (cell, width))| match n < self.names() {
                true => format!("{cell:width$}"),
                false => format!("{cell:>width$}"),
            });
            text += cells.collect::<Vec<String>>().join("  ").trim_end();
            text.push('\n');
        }
        text
    }
}
