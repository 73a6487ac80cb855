//! Which bars are kept: a line for each bar and number of objects.
#![forbid(unsafe_code)]

use super::Report;
use crate::measure::samples::count;
use crate::plan::Bar;

impl Report {
    /// As text.
    pub(crate) fn to_bars(&self) -> String {
        let mut text = "\nBars\n".to_owned();
        for table in self.tables() {
            for row in &table.rows {
                let Some(bar) = row.bar else { continue };
                for (n, found) in table.sizes.iter().zip(&row.figures) {
                    let Some((summary, ratio)) = found else {
                        continue;
                    };
                    let ratio = ratio.map(|ratio| ratio.median);
                    let verdict = match bar.is_kept(summary.median, ratio) {
                        true => "kept  ",
                        false => "MISSED",
                    };
                    let ratio = match (bar, ratio) {
                        (Bar::RatioAtMost(_), Some(ratio)) => format!(", {ratio:.2}x"),
                        _ => String::new(),
                    };
                    text += &format!(
                        "{verdict} {}, {}, {}: {:.2} {}{ratio} ({bar})\n",
                        table.scenario.name,
                        row.subject,
                        count(*n),
                        summary.median,
                        table.scenario.unit,
                    );
                }
            }
        }
        text
    }
}
