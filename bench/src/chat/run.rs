//! One run: a fresh server, a connection for each user, the load, and what is to be said of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::driver::Driver;
use super::drivers::greffe::Greffe;
use super::floor;
use super::generator::{self, Measured, Task};
use super::peers::Peer;
use super::prepare::Prepared;
use super::workload::{Pace, TEXT_BYTES, Workload};
use crate::cpu;
use crate::report::{Column, Record};
use crate::server::{self, Process};

/// Share of a core from which on the generator may be what is measured.
const BUSY: f64 = 0.9;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// This workspace's server.
    Greffe,
    /// Another server.
    Peer(Peer),
    /// What gRPC itself costs.
    Floor,
}

impl Subject {
    /// The name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Greffe => "greffe",
            Self::Peer(peer) => peer.name(),
            Self::Floor => "floor",
        }
    }
}

/// With what, where and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// Where directories can be made.
    pub(super) home: &'a Path,
    /// The Greffe server.
    pub(super) binary: &'a Path,
    /// What it starts with.
    pub(super) prepared: &'a Prepared,
    /// The servers' cores.
    pub(super) server_cores: &'a [usize],
    /// The generator's core.
    pub(super) load_core: usize,
    /// How long it runs before it counts.
    pub(super) warm_up: Duration,
    /// How long it counts.
    pub(super) measure: Duration,
}

/// Starts a server, has `workload` run, and stops it again.
pub(super) fn once(place: &Place<'_>, subject: Subject, workload: Workload, run: usize) -> anyhow::Result<Record> {
    let directory = tempfile::Builder::new().prefix("run-").tempdir_in(place.home)?;
    let (process, drivers) = start(place, subject, workload, directory.path())?;
    let task = Task {
        crowd: workload.crowd(),
        pace: workload.pace(),
        warm_up: place.warm_up,
        measure: place.measure,
        address: process.address,
        pid: process.pid(),
    };
    let measured = cpu::pinned(&[place.load_core], || generator::run(task, drivers))?;
    process.stop()?;
    Ok(Record {
        workload: workload.letter().to_owned(),
        subject: subject.name().to_owned(),
        run,
        doubts: doubts(&measured, task),
        figures: figures(&measured, task),
    })
}

/// A running server, and a driver for each user.
fn start(
    place: &Place<'_>,
    subject: Subject,
    workload: Workload,
    directory: &Path,
) -> anyhow::Result<(Process, Vec<Box<dyn Driver>>)> {
    match subject {
        Subject::Greffe => {
            let data = directory.join("data");
            place.prepared.copy(&data)?;
            let process = server::greffe(place.binary, &data, place.server_cores, &[])?;
            let members = place.prepared.members.iter();
            let drivers = members.map(|member| Box::new(Greffe::new(member, TEXT_BYTES)) as Box<dyn Driver>);
            Ok((process, drivers.collect()))
        }
        Subject::Peer(peer) => {
            let process = peer.start(directory, place.server_cores)?;
            Ok((process, peer.drivers(workload.crowd(), workload.is_direct())))
        }
        Subject::Floor => {
            let address = server::free_address()?;
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("floor").arg(address.to_string());
            let process = Process::start(command, place.server_cores, &directory.join("floor.log"), address)?;
            Ok((process, floor::drivers(workload.crowd())))
        }
    }
}

/// Why a run's figures are not to be trusted.
fn doubts(measured: &Measured, task: Task) -> Vec<String> {
    let mut doubts: Vec<String> = measured.failure.iter().cloned().collect();
    if !measured.verdict.is_good() {
        doubts.push(format!("{:?}", measured.verdict));
    }
    if measured.unanswered > 0 {
        doubts.push(format!(
            "{} sends without an answer, or with more than one",
            measured.unanswered
        ));
    }
    let share = share(measured.own_time, task.measure);
    if share > BUSY {
        doubts.push(format!("the generator was busy for {share:.2} of the time"));
    }
    doubts
}

fn share(time: Duration, of: Duration) -> f64 {
    time.as_secs_f64() / of.as_secs_f64()
}

/// A run's figures: seconds, bytes, numbers.
fn figures(measured: &Measured, task: Task) -> BTreeMap<&'static str, f64> {
    let seconds = task.measure.as_secs_f64();
    let server = measured.server_time.as_secs_f64();
    let [before, open, after] = measured.memory.map(|bytes| bytes as f64);
    let mut figures = BTreeMap::from([
        ("deliveries_per_second", measured.deliveries as f64 / seconds),
        ("sends_per_second", measured.sends as f64 / seconds),
        ("server_seconds_per_million", server * 1e6 / measured.deliveries as f64),
        ("server_share", server / seconds),
        ("generator_share", share(measured.own_time, task.measure)),
        ("memory_per_connection", (open - before) / f64::from(task.crowd.users)),
        ("memory_after", after),
        (
            "opened_per_second",
            f64::from(task.crowd.users) / measured.opening.as_secs_f64(),
        ),
        ("other_order", measured.verdict.other_order as f64),
    ]);
    let mut quantiles = |names: [&'static str; 3], histogram: &Histogram<u64>| {
        if !histogram.is_empty() {
            for (name, quantile) in names.into_iter().zip([0.5, 0.99, 0.999]) {
                figures.insert(name, histogram.value_at_quantile(quantile) as f64 / 1e9);
            }
        }
    };
    quantiles(["latency_p50", "latency_p99", "latency_p999"], &measured.latency);
    quantiles(["last_p50", "last_p99", "last_p999"], &measured.last);
    quantiles(
        ["round_trip_p50", "round_trip_p99", "round_trip_p999"],
        &measured.round_trip,
    );
    quantiles(["answer_p50", "answer_p99", "answer_p999"], &measured.answer);
    figures
}

/// What a record says, in a line.
pub(super) fn line(record: &Record) -> String {
    let figure = |name: &str, scale: f64| record.figures.get(name).map_or(f64::NAN, |figure| figure * scale);
    let mut line = format!(
        "{} {:<10} run {}: {:>9.0} deliveries/s {:>7.0} sends/s, p50 {:>6.0} p99 {:>6.0} us, server {:.2} ({:.3} s/M), generator {:.2}",
        record.workload,
        record.subject,
        record.run,
        figure("deliveries_per_second", 1.0),
        figure("sends_per_second", 1.0),
        figure("latency_p50", 1e6),
        figure("latency_p99", 1e6),
        figure("server_share", 1.0),
        figure("server_seconds_per_million", 1.0),
        figure("generator_share", 1.0),
    );
    for doubt in &record.doubts {
        line.push_str("; DOUBTFUL: ");
        line.push_str(doubt);
    }
    line
}

/// The columns of a workload's table. The first is what it is about.
pub(super) fn columns(workload: Workload) -> &'static [Column] {
    match workload.pace() {
        Pace::Window(_) => &[DELIVERIES, SENDS, COST, P50, P99, GENERATOR],
        Pace::PerSecond(_) if workload == Workload::E => &[LAST_P99, LAST_P50, P50, P99, COST, GENERATOR],
        Pace::PerSecond(_) => &[COST, P50, P99, P999, GENERATOR],
        Pace::Questions(_) => &[P50, P99, P999, TRIP_P50, TRIP_P99, GENERATOR],
        Pace::Turns => &[ANSWER_P50, ANSWER_P99, P50, P99, SENDS, GENERATOR],
    }
}

const fn column(figure: &'static str, heading: &'static str, scale: f64) -> Column {
    Column { figure, heading, scale }
}

const DELIVERIES: Column = column("deliveries_per_second", "million deliveries/s", 1e-6);
const SENDS: Column = column("sends_per_second", "sends/s", 1.0);
const COST: Column = column("server_seconds_per_million", "server CPU s/million", 1.0);
const GENERATOR: Column = column("generator_share", "generator's share", 1.0);
const P50: Column = column("latency_p50", "p50 us", 1e6);
const P99: Column = column("latency_p99", "p99 us", 1e6);
const P999: Column = column("latency_p999", "p99.9 us", 1e6);
const LAST_P50: Column = column("last_p50", "last receiver p50 ms", 1e3);
const LAST_P99: Column = column("last_p99", "last receiver p99 ms", 1e3);
const TRIP_P50: Column = column("round_trip_p50", "round trip p50 us", 1e6);
const TRIP_P99: Column = column("round_trip_p99", "round trip p99 us", 1e6);
const ANSWER_P50: Column = column("answer_p50", "answer p50 us", 1e6);
const ANSWER_P99: Column = column("answer_p99", "answer p99 us", 1e6);
