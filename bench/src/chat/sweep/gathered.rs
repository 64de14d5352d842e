//! A sweep's runs, read again and gathered into lines.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use super::Sweep;
use crate::plot::{Line, Panel, Picture, Point};
use crate::report;

/// Whose lines have the first colours, so that everyone has the same in each picture.
const KNOWN: [&str; 5] = ["greffe", "floor", "nats", "inspircd", "sqlite"];

/// Who is no server.
const FLOORS: [&str; 2] = ["floor", "sqlite"];

/// A run, of what [`super::Run`] wrote what a picture needs.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Gathered {
    at: u32,
    seconds: f64,
    server_cores: usize,
    subject: String,
    run: usize,
    doubts: Vec<String>,
    figures: BTreeMap<String, f64>,
}

/// Reads a sweep's runs.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Gathered>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let runs = text.lines().zip(1..).map(|(line, number)| {
        serde_json::from_str(line).with_context(|| format!("line {number} of {} is no run", path.display()))
    });
    runs.collect()
}

/// The picture of a sweep.
pub(super) fn picture(sweep: Sweep, runs: &[Gathered]) -> Picture {
    let panel = |(figure, up): &(&str, _)| Panel {
        across: sweep.across(),
        up: *up,
        lines: lines(figure, runs),
    };
    Picture {
        title: sweep.title().to_owned(),
        subtitles: [sweep.what().to_owned(), how(runs)],
        panels: sweep.figures().iter().map(panel).collect(),
    }
}

/// How it was measured.
fn how(runs: &[Gathered]) -> String {
    let Some(first) = runs.first() else {
        return String::new();
    };
    let cores = match first.server_cores {
        1 => "one core".to_owned(),
        number => format!("{number} cores"),
    };
    let each = runs.iter().map(|run| run.run).max().unwrap_or_default();
    let seconds = first.seconds;
    let spread = match each {
        0 | 1 => format!("one run of {seconds} s"),
        runs => format!("medians of {runs} runs of {seconds} s, in bands from the least to the greatest"),
    };
    let hollow = if runs.iter().any(|run| !run.doubts.is_empty()) {
        "; hollow: doubtful runs only"
    } else {
        ""
    };
    format!("Servers on {cores}, texts of 128 bytes; {spread}{hollow}")
}

/// A line for each subject, those that are known first.
fn lines(figure: &str, runs: &[Gathered]) -> Vec<Line> {
    let mut subjects: Vec<&str> = KNOWN.to_vec();
    for run in runs {
        if !subjects.contains(&run.subject.as_str()) {
            subjects.push(&run.subject);
        }
    }
    let line = |(style, subject): (usize, &&str)| Line {
        name: (*subject).to_owned(),
        style,
        is_floor: FLOORS.contains(subject),
        points: points(figure, runs, subject),
    };
    let lines = subjects.iter().enumerate().map(line);
    lines.filter(|line| !line.points.is_empty()).collect()
}

/// A subject's points. Doubtful runs count only where there are no others.
fn points(figure: &str, runs: &[Gathered], subject: &str) -> Vec<Point> {
    let mut at_points: BTreeMap<u32, [Vec<f64>; 2]> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.subject == subject) {
        if let Some(value) = run.figures.get(figure) {
            at_points.entry(run.at).or_default()[usize::from(!run.doubts.is_empty())].push(*value);
        }
    }
    let point = |(at, [good, doubtful]): (u32, [Vec<f64>; 2])| {
        let (values, doubtful) = if good.is_empty() {
            (doubtful, true)
        } else {
            (good, false)
        };
        Some(Point {
            at: f64::from(at),
            least: values.iter().copied().reduce(f64::min)?,
            greatest: values.iter().copied().reduce(f64::max)?,
            median: report::median(values)?,
            doubtful,
        })
    };
    at_points.into_iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(subject: &str, at: u32, run: usize, speed: f64, doubts: &[&str]) -> Gathered {
        Gathered {
            at,
            seconds: 1.0,
            server_cores: 1,
            subject: subject.to_owned(),
            run,
            doubts: doubts.iter().map(|doubt| (*doubt).to_owned()).collect(),
            figures: BTreeMap::from([("speed".to_owned(), speed)]),
        }
    }

    #[test]
    fn runs_become_points_with_their_spread_and_doubtful_ones_only_where_there_are_no_others() {
        let runs = [
            run("other", 100, 1, 7.0, &["disturbed"]),
            run("greffe", 100, 1, 5.0, &[]),
            run("greffe", 100, 2, 9.0, &[]),
            run("greffe", 100, 3, 6.0, &[]),
            run("greffe", 10, 1, 1.0, &[]),
            run("greffe", 10, 2, 99.0, &["disturbed"]),
        ];
        let lines = lines("speed", &runs);
        let names: Vec<_> = lines.iter().map(|line| (line.name.as_str(), line.style)).collect();
        assert_eq!(names, [("greffe", 0), ("other", KNOWN.len())]);
        let point = |at, median, least, greatest, doubtful| Point {
            at,
            median,
            least,
            greatest,
            doubtful,
        };
        assert_eq!(
            lines[0].points,
            [point(10.0, 1.0, 1.0, 1.0, false), point(100.0, 6.0, 5.0, 9.0, false)]
        );
        assert_eq!(lines[1].points, [point(100.0, 7.0, 7.0, 7.0, true)]);
    }

    #[test]
    fn what_a_sweep_writes_can_be_read_again() {
        let record = report::Record {
            workload: "members 10".to_owned(),
            subject: "greffe".to_owned(),
            run: 2,
            doubts: vec!["disturbed".to_owned()],
            figures: BTreeMap::from([("deliveries_per_second", 0.5)]),
        };
        let line = super::super::Run {
            at: 10,
            seconds: 1.5,
            server_cores: 1,
            record: &record,
        };
        let read: Gathered = serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap();
        assert_eq!((read.at, read.run, read.subject.as_str()), (10, 2, "greffe"));
        assert_eq!(
            (read.doubts, read.figures["deliveries_per_second"]),
            (record.doubts, 0.5)
        );
        let picture = picture(Sweep::Members, &[]);
        assert_eq!(picture.panels.len(), 1);
    }
}
