//! A report as lines of JSON. `benches/README.md` describes them.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::Report;

/// A line: one figure.
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

impl Report {
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
