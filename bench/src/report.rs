//! What runs gave: a JSON line for each, and tables of medians with their spread.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

/// What one run gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    /// The workload's name.
    pub(crate) workload: String,
    /// What was measured: a server's name.
    pub(crate) subject: String,
    /// Which of the interleaved runs, from 1.
    pub(crate) run: usize,
    /// Why its figures are not to be trusted. Empty: they are.
    pub(crate) doubts: Vec<String>,
    /// What was measured, by name.
    pub(crate) figures: BTreeMap<&'static str, f64>,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// The figure's name in [`Record::figures`].
    pub(crate) figure: &'static str,
    /// Its heading, with the unit.
    pub(crate) heading: &'static str,
    /// By what the figure is multiplied to be in the heading's unit.
    pub(crate) scale: f64,
}

/// Adds a record to a file, as a line of JSON.
pub(crate) fn append(path: &Path, record: &Record) -> anyhow::Result<()> {
    let problem = || format!("{} cannot be written", path.display());
    let mut file = File::options().create(true).append(true).open(path).with_context(problem)?;
    let line = serde_json::to_string(record).context("a record is plain data")?;
    writeln!(file, "{line}").with_context(problem)
}

/// A table of one workload: a line for each subject in the order of their first runs, with medians, the least and the greatest value, and
/// for the first column how many times the other subject's figure the first one's is, taken run by run.
pub(crate) fn table(title: &str, records: &[Record], columns: &[Column]) -> String {
    lines(title, records, columns, true)
}

/// [`table`] of what is not to be compared with each other.
pub(crate) fn list(title: &str, records: &[Record], columns: &[Column]) -> String {
    lines(title, records, columns, false)
}

fn lines(title: &str, records: &[Record], columns: &[Column], compared: bool) -> String {
    let mut subjects: Vec<&str> = Vec::new();
    for record in records {
        if !subjects.contains(&record.subject.as_str()) {
            subjects.push(&record.subject);
        }
    }
    let columns: Vec<Column> = columns
        .iter()
        .copied()
        .filter(|column| records.iter().any(|record| record.figures.contains_key(column.figure)))
        .collect();
    let first = subjects.first().copied().unwrap_or_default();
    let mut lines = vec![Vec::from([title.to_owned()])];
    lines[0].extend(columns.iter().map(|column| column.heading.to_owned()));
    let compared = compared && subjects.len() > 1;
    if compared {
        lines[0].push(format!("{first} is"));
    }
    let trusted = trusted(records);
    for subject in &subjects {
        let own: Vec<&Record> = trusted.iter().copied().filter(|record| record.subject == *subject).collect();
        let doubtful = records
            .iter()
            .filter(|record| record.subject == *subject && !record.doubts.is_empty())
            .count();
        let mark = match doubtful {
            0 => String::new(),
            _ if own.iter().all(|record| record.doubts.is_empty()) => format!(" ({doubtful} doubtful left out)"),
            _ => " (all doubtful)".to_owned(),
        };
        let mut line = vec![format!("{subject}{mark}")];
        line.extend(columns.iter().map(|column| {
            let figures = own.iter().filter_map(|record| record.figures.get(column.figure));
            spread(figures.map(|figure| figure * column.scale).collect())
        }));
        if compared {
            let ratio = columns
                .first()
                .and_then(|column| ratio(&trusted, column.figure, first, subject));
            line.push(
                ratio
                    .filter(|_| *subject != first)
                    .map_or(String::new(), |ratio| format!("{ratio:.2} x")),
            );
        }
        lines.push(line);
    }
    aligned(&lines)
}

/// The records without doubts; of a subject that has none, all.
fn trusted(records: &[Record]) -> Vec<&Record> {
    let good = |record: &Record| record.doubts.is_empty();
    let has_good = |subject: &str| records.iter().any(|other| other.subject == subject && good(other));
    records
        .iter()
        .filter(|record| good(record) || !has_good(&record.subject))
        .collect()
}

/// How many times `other`'s figure that of `first` is: the median of the runs that both have, or the ratio of medians if there are none.
fn ratio(records: &[&Record], figure: &str, first: &str, other: &str) -> Option<f64> {
    let of = |subject: &str| -> BTreeMap<usize, f64> {
        let own = records.iter().filter(|record| record.subject == subject);
        own.filter_map(|record| Some((record.run, *record.figures.get(figure)?)))
            .collect()
    };
    let (first, other) = (of(first), of(other));
    let ratios = first
        .iter()
        .filter_map(|(run, figure)| Some(figure / other.get(run)?))
        .collect();
    median(ratios).or_else(|| Some(median(first.into_values().collect())? / median(other.into_values().collect())?))
}

/// The median; of an even number of values the upper one of the two in the middle. None of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The median, and in brackets the least and the greatest.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match (median(values.clone()), values.first(), values.last()) {
        (Some(median), Some(least), Some(greatest)) if values.len() > 1 => {
            format!("{} ({} to {})", short(median), short(*least), short(*greatest))
        }
        (Some(median), ..) => short(median),
        _ => "-".to_owned(),
    }
}

/// Three digits, more only of what is large.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A table in Markdown, which can be read as it is.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        for column in 0..columns {
            let cell = line.get(column).map_or("", String::as_str);
            // Writing to a string does not fail.
            let _ = write!(out, "| {cell:<width$} ", width = width(column).unwrap_or(0));
        }
        out.push_str("|\n");
        if number == 0 {
            out.push_str(&"| --- ".repeat(columns));
            out.push_str("|\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMN: Column = Column {
        figure: "speed",
        heading: "speed",
        scale: 1.0,
    };

    fn record(subject: &str, run: usize, speed: f64, doubts: &[&str]) -> Record {
        Record {
            workload: "w".to_owned(),
            subject: subject.to_owned(),
            run,
            doubts: doubts.iter().map(|doubt| (*doubt).to_owned()).collect(),
            figures: BTreeMap::from([("speed", speed)]),
        }
    }

    #[test]
    fn a_table_compares_run_by_run() {
        let records = [
            record("one", 1, 10.0, &[]),
            record("two", 1, 5.0, &[]),
            record("one", 2, 300.0, &[]),
            record("two", 2, 100.0, &[]),
            record("one", 3, 20.0, &[]),
            record("two", 3, 5.0, &[]),
        ];
        let table = table("title", &records, &[COLUMN]);
        assert!(table.contains("| title | speed              | one is |"), "{table}");
        assert!(table.contains("| one   | 20.0 (10.0 to 300) |        |"), "{table}");
        assert!(table.contains("| two   | 5.00 (5.00 to 100) | 3.00 x |"), "{table}");
    }

    #[test]
    fn doubtful_runs_count_only_where_there_is_no_other() {
        let records = [
            record("one", 1, 10.0, &[]),
            record("one", 2, 99.0, &["disturbed"]),
            record("two", 2, 5.0, &["disturbed"]),
        ];
        let table = table("title", &records, &[COLUMN]);
        assert!(table.contains("| one (1 doubtful left out) | 10.0  |"), "{table}");
        assert!(
            table.contains("| two (all doubtful)        | 5.00  | 2.00 x |"),
            "{table}"
        );
    }
}
