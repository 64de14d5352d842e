//! What a run gave, as figures with names, and which of them a workload is about.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::generator::{Measured, Task};
use super::workload::{Pace, Workload};
use crate::report::{self, Column, Record};

/// Share of a core from which on the generator may be what is measured.
const BUSY: f64 = 0.9;
/// Share of a core that other programs may take before they disturb.
const NOISE: f64 = 0.15;

/// Figures by name: seconds, bytes, numbers.
pub(super) type Figures = BTreeMap<&'static str, f64>;

/// Why a run's figures are not to be trusted.
pub(super) fn doubts(measured: &Measured, figures: &Figures) -> Vec<String> {
    let mut doubts: Vec<String> = measured.failure.iter().cloned().collect();
    if !measured.verdict.is_good() {
        doubts.push(format!("{:?}", measured.verdict));
    }
    if measured.unanswered > 0 {
        let number = measured.unanswered;
        doubts.push(format!("{number} sends without an answer, or with more than one"));
    }
    doubts.extend(busy(figures));
    doubts.extend(disturbed(figures));
    doubts
}

/// Whether the generator may be what was measured.
pub(super) fn busy(figures: &Figures) -> Option<String> {
    let own = figures.get("generator_share").filter(|own| **own > BUSY)?;
    Some(format!("the generator was busy for {own:.2} of the time"))
}

/// Whether something else disturbed a run.
pub(super) fn disturbed(figures: &Figures) -> Option<String> {
    let others = figures.get("others_share").filter(|others| **others > NOISE)?;
    Some(format!("other programs took {others:.2} of a core"))
}

fn share(time: Duration, of: Duration) -> f64 {
    time.as_secs_f64() / of.as_secs_f64()
}

/// A run's figures.
pub(super) fn figures(measured: &Measured, task: Task) -> Figures {
    let seconds = task.measure.as_secs_f64();
    let server = measured.server_time.as_secs_f64();
    let users = f64::from(task.crowd.users);
    let [before, open, after] = measured.memory.map(|bytes| bytes as f64);
    let mut figures = BTreeMap::from([
        ("generator_share", share(measured.own_time, task.measure)),
        ("memory_after", after),
        ("memory_growth", after - measured.memory_begin as f64),
        ("memory_per_connection", (open - before) / users),
        ("opened_per_second", users / measured.opening.as_secs_f64()),
        ("other_order", measured.verdict.other_order as f64),
        ("others_share", share(measured.others_time, task.measure)),
        (
            "server_seconds_per_opening",
            measured.opening_time.as_secs_f64() / users,
        ),
        ("server_share", server / seconds),
    ]);
    if measured.deliveries > 0 {
        figures.insert("deliveries_per_second", measured.deliveries as f64 / seconds);
        figures.insert(
            "bytes_per_delivery",
            measured.received as f64 / measured.deliveries as f64,
        );
        figures.insert("sends_per_second", measured.sends as f64 / seconds);
        figures.insert("server_seconds_per_million_sends", server * 1e6 / measured.sends as f64);
        figures.insert("server_seconds_per_million", server * 1e6 / measured.deliveries as f64);
    }
    if task.crowd.late > 0 {
        figures.insert("coming_back_seconds", measured.coming_back.as_secs_f64());
    }
    let stalled = task.crowd.stalled * task.crowd.rooms;
    if stalled > 0 {
        let more = after - measured.memory_begin as f64;
        figures.insert("memory_per_stalled", more / f64::from(stalled));
    }
    let histograms = [
        (["latency_p50", "latency_p99", "latency_p999"], &measured.latency),
        (
            ["meanwhile_p50", "meanwhile_p99", "meanwhile_p999"],
            &measured.meanwhile,
        ),
        (["last_p50", "last_p99", "last_p999"], &measured.last),
        (
            ["round_trip_p50", "round_trip_p99", "round_trip_p999"],
            &measured.round_trip,
        ),
        (["answer_p50", "answer_p99", "answer_p999"], &measured.answer),
    ];
    for (names, histogram) in histograms {
        quantiles(&mut figures, names, histogram);
    }
    figures
}

/// Adds a histogram's p50, p99 and p99.9 in seconds, unless it is empty.
pub(super) fn quantiles(figures: &mut Figures, names: [&'static str; 3], histogram: &Histogram<u64>) {
    if !histogram.is_empty() {
        for (name, quantile) in names.into_iter().zip([0.5, 0.99, 0.999]) {
            figures.insert(name, histogram.value_at_quantile(quantile) as f64 / 1e9);
        }
    }
}

/// What a record says, in a line.
pub(super) fn line(record: &Record) -> String {
    let mut line = format!("{} {:<9} run {}:", record.workload, record.subject, record.run);
    let all = [
        ("deliveries_per_second", 1.0, "deliveries/s"),
        ("sends_per_second", 1.0, "sends/s"),
        ("latency_p50", 1e6, "us p50"),
        ("latency_p99", 1e6, "us p99"),
        ("memory_per_connection", 1.0 / 1024.0, "KiB each"),
        ("opened_per_second", 1.0, "opened/s"),
        ("server_seconds_per_million", 1.0, "s/million"),
        ("server_share", 1.0, "server"),
        ("generator_share", 1.0, "generator"),
    ];
    for (name, scale, unit) in all {
        if let Some(figure) = record.figures.get(name) {
            // Writing to a string does not fail.
            let _ = write!(line, " {} {unit},", report::short(figure * scale));
        }
    }
    line.pop();
    for doubt in &record.doubts {
        line.push_str("; DOUBTFUL: ");
        line.push_str(doubt);
    }
    line
}

/// The columns of a workload's table. The first is what it is about.
pub(super) fn columns(workload: Workload) -> &'static [Column] {
    match workload.load().pace {
        Pace::Silence => &[MEMORY, OPENED, OPENING],
        Pace::Window(_) if workload == Workload::S => &[STALLED, DELIVERIES, COST, P99, GENERATOR],
        Pace::Window(_) if workload == Workload::P => &[SENDS, SEND_COST, P50, P99, GENERATOR],
        Pace::Window(_) => &[DELIVERIES, SENDS, COST, BYTES, P50, P99, GENERATOR],
        Pace::PerSecond(_) if workload == Workload::E => &[LAST_P99, LAST_P50, P50, P99, COST, GENERATOR],
        Pace::PerSecond(_) if workload == Workload::G => &[BACK, P99, MEANWHILE, GENERATOR],
        Pace::PerSecond(_) => &[COST, P50, P99, P999, GENERATOR],
        Pace::Questions(_) => &[P50, P99, P999, TRIP_P50, TRIP_P99, SYNC_P50],
        Pace::Turns => &[ANSWER_P50, ANSWER_P99, SYNC_P50, SYNC_P99, P50, P99, SENDS],
    }
}

const fn column(figure: &'static str, heading: &'static str, scale: f64) -> Column {
    Column { figure, heading, scale }
}

const DELIVERIES: Column = column("deliveries_per_second", "million deliveries/s", 1e-6);
const SENDS: Column = column("sends_per_second", "sends/s", 1.0);
const COST: Column = column("server_seconds_per_million", "server CPU s/million", 1.0);
const BYTES: Column = column("bytes_per_delivery", "bytes each", 1.0);
const SEND_COST: Column = column("server_seconds_per_million_sends", "server CPU s/million sends", 1.0);
const BACK: Column = column("coming_back_seconds", "all back after s", 1.0);
const MEANWHILE: Column = column("meanwhile_p99", "others' p99 us meanwhile", 1e6);
const GENERATOR: Column = column("generator_share", "generator's share", 1.0);
const P50: Column = column("latency_p50", "p50 us", 1e6);
const P99: Column = column("latency_p99", "p99 us", 1e6);
const P999: Column = column("latency_p999", "p99.9 us", 1e6);
const LAST_P50: Column = column("last_p50", "last receiver p50 ms", 1e3);
const LAST_P99: Column = column("last_p99", "last receiver p99 ms", 1e3);
const TRIP_P50: Column = column("round_trip_p50", "round trip p50 us", 1e6);
const TRIP_P99: Column = column("round_trip_p99", "round trip p99 us", 1e6);
const ANSWER_P50: Column = column("answer_p50", "answered p50 us", 1e6);
const ANSWER_P99: Column = column("answer_p99", "answered p99 us", 1e6);
const SYNC_P50: Column = column("sync_p50", "disk sync p50 us", 1e6);
const SYNC_P99: Column = column("sync_p99", "disk sync p99 us", 1e6);
const MEMORY: Column = column("memory_per_connection", "KiB each", 1.0 / 1024.0);
const STALLED: Column = column("memory_per_stalled", "KiB more for each", 1.0 / 1024.0);
const OPENED: Column = column("opened_per_second", "opened/s", 1.0);
const OPENING: Column = column("server_seconds_per_opening", "server CPU ms each", 1e3);
