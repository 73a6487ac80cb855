//! Results as one page of HTML that needs nothing else: tables, and plots drawn by `plotters`.
#![forbid(unsafe_code)]

use std::error::Error;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::table::Table;
use super::{LEGEND, Report};
use crate::measure::samples::{count, figure};
use crate::plan::{Field, Source};

type Plotted = Result<String, Box<dyn Error>>;

/// Colours of subjects: fing's, what is by hand, peers.
const FING: RGBColor = RGBColor(0x1b, 0x6c, 0xa8);
const HAND: RGBColor = RGBColor(0x4d, 0x9a, 0x4d);
const PEER: RGBColor = RGBColor(0xb8, 0x6b, 0x2e);

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}\
td,th{padding:.15em .7em;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}\
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn colour(subject: &str) -> RGBColor {
    match subject.split('.').next() {
        Some("fing") => FING,
        Some("loop" | "libffi" | "floor") => HAND,
        _ => PEER,
    }
}

/// The whole page.
///
/// # Errors
/// The plotting library's.
pub(crate) fn page(report: &Report) -> Plotted {
    let mut body = String::from("<h1>fing: measured beside others</h1>\n");
    for (heading, facts) in report.facts() {
        body += &format!("<h2>{heading}</h2>\n<table>");
        for (name, value) in facts {
            body += &format!("<tr><td>{}<td>{}", escape(&name), escape(&value));
        }
        body += "</table>\n";
    }
    body += &format!("<p>{LEGEND}</p>\n");
    for table in report.tables() {
        let scenario = table.scenario;
        body += &format!(
            "<h2 id=\"{0}\">{0}</h2>\n<p>{1}, {2}</p>\n{3}\n",
            scenario.name,
            escape(scenario.about),
            scenario.unit,
            plots(&table)?
        );
        let text = escape(&table.to_text());
        body += &format!("<details><summary>figures</summary><pre>{text}</pre></details>\n");
    }
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>fing-benches</title>\n<style>{STYLE}</style>\n<body>\n{body}</body></html>\n"
    ))
}

fn plots(table: &Table) -> Plotted {
    if let Source::Subjects {
        field: Field::Registers,
        ..
    } = table.scenario.source
    {
        return by_registers(table);
    }
    let mut text = bars(table)?;
    if table.sizes.len() > 1 {
        text += &by_size(table)?;
    }
    Ok(text)
}

/// Smallest and largest of some figures, with room around them, for a logarithmic axis.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let low = low.min(high).max(1e-3);
    low / 1.5..high.max(low) * 2.0
}

/// A bar for each subject, at the number of objects that most subjects have; a line from its
/// smallest to its largest.
fn bars(table: &Table) -> Plotted {
    let having = |n: usize| {
        let rows = table.rows.iter();
        rows.filter(|row| row.figures[n].is_some()).count()
    };
    // Of the columns that are as full as any, the last.
    let Some(column) = (0..table.sizes.len()).max_by_key(|n| having(*n)) else {
        return Ok(String::new());
    };
    let shown: Vec<_> = table
        .rows
        .iter()
        .filter_map(|row| Some((row.subject.as_str(), row.figures[column]?.0)))
        .collect();
    let span = range(shown.iter().flat_map(|(_, s)| [s.min, s.max]));
    let floor = span.start;
    let last = shown.len() as i32;
    let mut svg = String::new();
    {
        let height = 70 + 24 * shown.len() as u32;
        let area = SVGBackend::with_string(&mut svg, (900, height)).into_drawing_area();
        let title = format!(
            "{}, {} objects, {}",
            table.scenario.name,
            count(table.sizes[column]),
            table.scenario.unit
        );
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(130)
            .build_cartesian_2d(span.log_scale(), (0..last - 1).into_segmented())?;
        let name = |at: &SegmentValue<i32>| match at {
            SegmentValue::CenterOf(n) => shown
                .get((last - 1 - n) as usize)
                .map_or(String::new(), |(name, _)| (*name).to_owned()),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(shown.len())
            .y_label_formatter(&name)
            .x_label_formatter(&|value| figure(*value))
            .draw()?;
        for (n, (subject, summary)) in shown.iter().enumerate() {
            let at = last - 1 - n as i32;
            let from = (floor, SegmentValue::Exact(at));
            // A difference may be nothing, or less, which such an axis does not have.
            let to = (summary.median.max(floor), SegmentValue::Exact(at + 1));
            let mut bar = Rectangle::new([from, to], colour(subject).filled());
            bar.set_margin(3, 3, 0, 0);
            chart.draw_series([bar])?;
            let line =
                [summary.min, summary.max].map(|x| (x.max(floor), SegmentValue::CenterOf(at)));
            chart.draw_series([PathElement::new(line, BLACK.stroke_width(1))])?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// A line for each subject that has more than one number of objects.
fn by_size(table: &Table) -> Plotted {
    let lines = table.rows.iter().map(|row| {
        let points = table.sizes.iter().zip(&row.figures);
        let points = points.filter_map(|(n, found)| Some((*n as f64, found.as_ref()?.0.median)));
        let points = points.filter(|(_, figure)| *figure > 0.0);
        (row.subject.clone(), points.collect::<Vec<_>>())
    });
    let lines: Vec<_> = lines.filter(|(_, points)| points.len() > 1).collect();
    let sizes = table.sizes.iter().map(|n| *n as f64);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (900, 420)).into_drawing_area();
        let span = range(lines.iter().flat_map(|(_, points)| points).map(|(_, y)| *y));
        let across = range(sizes);
        let chart = ChartBuilder::on(&area)
            .caption(
                format!("{}, by number of objects", table.scenario.name),
                ("sans-serif", 16),
            )
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(60)
            .right_y_label_area_size(10)
            .build_cartesian_2d(
                (across.start..across.end * 3.0).log_scale(),
                span.log_scale(),
            )?;
        draw_lines(chart, &lines, &|x| count(x.round() as usize))?;
        area.present()?;
    }
    Ok(svg)
}

/// A line for each kind of argument, by the number at the end of the subjects' names.
fn by_registers(table: &Table) -> Plotted {
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for row in &table.rows {
        let Some((kind, count)) = row.subject.rsplit_once('-') else {
            continue;
        };
        let Some((summary, _)) = row.figures.iter().rev().flatten().next() else {
            continue;
        };
        let point = (count.parse::<f64>()?, summary.median);
        match lines.iter_mut().find(|(name, _)| name == kind) {
            Some((_, points)) => points.push(point),
            None => lines.push((kind.to_owned(), vec![point])),
        }
    }
    let points = || lines.iter().flat_map(|(_, points)| points);
    let high = points().map(|(_, y)| *y).fold(0.0, f64::max) * 1.2;
    let most = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (900, 300)).into_drawing_area();
        let chart = ChartBuilder::on(&area)
            .caption(table.scenario.name, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..most * 1.3, 0.0..high)?;
        draw_lines(chart, &lines, &|x| format!("{x:.0}"))?;
        area.present()?;
    }
    Ok(svg)
}

/// Lines with their names at their right ends.
fn draw_lines<X, Y>(
    mut chart: ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    lines: &[(String, Vec<(f64, f64)>)],
    label: &dyn Fn(&f64) -> String,
) -> Result<(), Box<dyn Error>>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_label_formatter(label)
        .y_label_formatter(&|value| figure(*value))
        .draw()?;
    for (name, points) in lines {
        let line = LineSeries::new(points.iter().copied(), colour(name).stroke_width(2));
        chart.draw_series(line.point_size(3))?;
        let Some(end) = points.last() else { continue };
        let style = ("sans-serif", 12).into_font().color(&colour(name));
        let text = EmptyElement::at(*end) + Text::new(name.clone(), (8, -6), style);
        chart.draw_series([text])?;
    }
    Ok(())
}
