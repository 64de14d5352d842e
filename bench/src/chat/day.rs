//! A day's mix: many people in rooms of all sizes, who talk, edit, read, type, go and come back, at a fixed rate.

mod book;
mod life;
mod mix;
mod stream;
mod town;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use self::life::{Measured, Task};
use self::town::Town;
use super::figures::{Figures, busy, disturbed, quantiles};
use crate::report::{self, Column, Record};
use crate::{cpu, server, ui};

/// Measure a day's mix: sends, edits, read marks, typing, and people who go and come back, in rooms of all sizes.
#[derive(Debug, clap::Args)]
pub(crate) struct DayArgs {
    /// How many people there are
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(2..=20_000))]
    people: u32,
    /// How many rooms there are; the largest has a fifth of all people
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5000))]
    rooms: u32,
    /// How many things happen in a second; a fifth of them are messages
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How often it is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// How many seconds of each run are measured
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// How many seconds each run lasts before it counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=3600))]
    warm_up: u32,
    /// The processor cores that the server may use
    #[arg(long, value_delimiter = ',', default_value = "0")]
    server_cores: Vec<usize>,
    /// The processor core of the load generator
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// The greffe-server to measure; the one beside this program by default
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Where the servers' directories are made; on the disk that is to be measured
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
    /// Adds each run to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const COLUMNS: [Column; 7] = [
    column("latency_p50", "p50 us", 1e6),
    column("latency_p99", "p99 us", 1e6),
    column("latency_p999", "p99.9 us", 1e6),
    column("small_p99", "p99 us in rooms of up to 100", 1e6),
    column("deliveries_per_second", "deliveries/s", 1.0),
    column("server_seconds_per_million", "server CPU s/million", 1.0),
    column("server_share", "server's share", 1.0),
];
const MORE: [Column; 8] = [
    column("answer_p99", "answered p99 us", 1e6),
    column("opened_per_second", "opened/s", 1.0),
    column("back_p50", "back after p50 us", 1e6),
    column("back_p99", "back after p99 us", 1e6),
    column("memory_before", "MB without anyone", 1e-6),
    column("memory_open", "MB with all there", 1e-6),
    column("memory_after", "MB in the end", 1e-6),
    column("generator_share", "generator's share", 1.0),
];

/// Runs it and prints its tables.
pub(crate) fn run(args: &DayArgs) -> anyhow::Result<()> {
    cpu::raise_descriptors()?;
    let binary = args.server.clone().map_or_else(|| server::beside("greffe-server"), Ok)?;
    let home = tempfile::Builder::new()
        .prefix("greffe-bench-")
        .tempdir_in(&args.directory)
        .with_context(|| format!("nothing can be written in {}", args.directory.display()))?;
    ui::note(format_args!(
        "preparing {} accounts in {} rooms",
        args.people, args.rooms
    ));
    let prepared = home.path().join("prepared");
    let town = Town::make(&binary, prepared, args.people as usize, args.rooms as usize)?;
    let mut records = Vec::new();
    for round in 1..=args.runs {
        let record = once(args, &binary, home.path(), &town, round).with_context(|| format!("run {round}"))?;
        ui::note(format_args!("{}", line(&record)));
        if let Some(path) = &args.json {
            report::append(path, &record)?;
        }
        records.push(record);
    }
    let title = format!(
        "j: {} people in {} rooms, {} deeds/s",
        args.people, args.rooms, args.rate
    );
    ui::print(&report::list(&title, &records, &COLUMNS))?;
    ui::print(&report::list(&title, &records, &MORE))
}

/// One run on a fresh server.
fn once(args: &DayArgs, binary: &Path, home: &Path, town: &Town, run: u32) -> anyhow::Result<Record> {
    let directory = tempfile::Builder::new().prefix("run-").tempdir_in(home)?;
    let data = directory.path().join("data");
    town.copy(&data)?;
    let process = server::greffe(binary, &data, &args.server_cores, &[])?;
    let task = Task {
        rate: args.rate.into(),
        warm_up: Duration::from_secs(args.warm_up.into()),
        measure: Duration::from_secs(args.seconds.into()),
        address: process.address,
        pid: process.pid(),
    };
    let measured = cpu::pinned(&[args.load_core], || life::run(task, town))?;
    process.stop()?;
    let figures = figures(&measured, task, town);
    Ok(Record {
        workload: "j".to_owned(),
        subject: "greffe".to_owned(),
        run: run as usize,
        doubts: doubts(&measured, &figures),
        figures,
    })
}

/// Why a run's figures are not to be trusted.
fn doubts(measured: &Measured, figures: &Figures) -> Vec<String> {
    let mut doubts: Vec<String> = measured.failure.iter().cloned().collect();
    if !measured.verdict.is_good() || measured.verdict.other_order > 0 {
        doubts.push(format!("{:?}", measured.verdict));
    }
    if measured.unanswered > 0 {
        doubts.push(format!("{} changes without an answer", measured.unanswered));
    }
    doubts.extend(busy(figures));
    doubts.extend(disturbed(figures));
    doubts
}

fn figures(measured: &Measured, task: Task, town: &Town) -> Figures {
    let seconds = task.measure.as_secs_f64();
    let server = measured.server_time.as_secs_f64();
    let counts = measured.counts;
    let people = town.tokens.len() as f64;
    let places: usize = town.rooms.iter().map(|room| room.members.len()).sum();
    let [opening, opening_time] = measured.opening.map(|time| time.as_secs_f64());
    let [before, open, begin, after] = measured.memory.map(|bytes| bytes as f64);
    let mut figures = Figures::from([
        ("rooms_per_person", places as f64 / people),
        ("generator_share", measured.own_time.as_secs_f64() / seconds),
        ("others_share", measured.others_time.as_secs_f64() / seconds),
        ("server_share", server / seconds),
        ("server_seconds_per_million", server * 1e6 / counts.deliveries as f64),
        ("opened_per_second", people / opening),
        ("server_seconds_per_opening", opening_time / people),
        ("memory_before", before),
        ("memory_open", open),
        ("memory_begin", begin),
        ("memory_after", after),
        ("memory_peak", measured.memory_peak as f64),
        ("memory_per_connection", (open - before) / people),
    ]);
    let rates = [
        ("sends_per_second", counts.sends),
        ("edits_per_second", counts.edits),
        ("reads_per_second", counts.reads),
        ("typings_per_second", counts.typings),
        ("leaves_per_second", counts.leaves),
        ("idle_per_second", counts.idle),
        ("deliveries_per_second", counts.deliveries),
        ("missed_per_second", counts.missed),
        ("typing_told_per_second", counts.typing_told),
        ("presence_told_per_second", counts.presence_told),
    ];
    figures.extend(rates.map(|(name, count)| (name, count as f64 / seconds)));
    for (names, histogram) in [
        (["latency_p50", "latency_p99", "latency_p999"], &measured.latency),
        (["small_p50", "small_p99", "small_p999"], &measured.small_latency),
        (["answer_p50", "answer_p99", "answer_p999"], &measured.answer),
        (["back_p50", "back_p99", "back_p999"], &measured.back),
    ] {
        quantiles(&mut figures, names, histogram);
    }
    figures
}

/// What a record says, in a line.
fn line(record: &Record) -> String {
    let figures = record.figures.iter();
    let figures: Vec<String> = figures
        .map(|(name, figure)| format!("{name} {}", report::short(*figure)))
        .collect();
    let doubts = record.doubts.iter().map(|doubt| format!("; DOUBTFUL: {doubt}"));
    format!(
        "j run {}: {}{}",
        record.run,
        figures.join(", "),
        doubts.collect::<String>()
    )
}

const fn column(figure: &'static str, heading: &'static str, scale: f64) -> Column {
    Column { figure, heading, scale }
}
