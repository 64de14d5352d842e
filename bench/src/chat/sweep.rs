//! Sweeps: one thing grows from point to point and all else stays, so that a picture can show what it does.

mod gathered;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

use super::ledger::Crowd;
use super::peers::Peer;
use super::prepare::Preparations;
use super::run::{self, Subject};
use super::setting::SettingArgs;
use super::workload::{Load, Pace, Rooms};
use super::{figures, run::Place};
use crate::plot::{Axis, Unit};
use crate::report::Record;
use crate::{cpu, plot, ui};

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sweep {
    /// Members of one room, 10 of whom talk as fast as it goes
    Members,
    /// Rooms of 10, all of whom talk as fast as it goes
    Rooms,
    /// Senders, each in a room of two, as fast as it goes
    Senders,
    /// Messages a second in a room of 100
    Rate,
}

/// Measure how throughput and latency change as members, rooms, senders and the load grow, and draw it
#[derive(Debug, clap::Args)]
pub(crate) struct SweepArgs {
    /// What grows; all by default
    #[arg(value_enum)]
    sweeps: Vec<Sweep>,
    /// How often each point is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// How many seconds of each run are measured
    #[arg(long, default_value = "1", value_parser = seconds)]
    seconds: Duration,
    /// How many seconds each run lasts before it counts
    #[arg(long, default_value = "0.5", value_parser = seconds)]
    warm_up: Duration,
    #[command(flatten)]
    setting: SettingArgs,
    /// Other servers to measure beside Greffe and the bare gRPC fan-out, in turns with them
    #[arg(long, value_enum, value_delimiter = ',', default_value = "nats,inspircd")]
    peers: Vec<Peer>,
    /// Where each sweep's runs and picture go
    #[arg(long, value_name = "DIRECTORY", default_value = "bench/plots")]
    into: PathBuf,
}

/// Draw what was measured before
#[derive(Debug, clap::Args)]
pub(crate) struct PlotArgs {
    /// Where the runs are, and the pictures go
    #[arg(value_name = "DIRECTORY", default_value = "bench/plots")]
    directory: PathBuf,
}

/// A line of a sweep's file.
#[derive(Debug, Serialize)]
struct Run<'a> {
    /// How many of what grows there were.
    at: u32,
    /// How long it was measured.
    seconds: f64,
    /// How many cores servers had.
    server_cores: usize,
    #[serde(flatten)]
    record: &'a Record,
}

impl Sweep {
    /// The name of its files.
    fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Rooms => "rooms",
            Self::Senders => "senders",
            Self::Rate => "rate",
        }
    }

    /// How many there are of what grows.
    fn points(self) -> &'static [u32] {
        match self {
            Self::Members => &[10, 30, 100, 300, 1000],
            Self::Rooms => &[10, 20, 50, 100, 200],
            Self::Senders => &[1, 3, 10, 30, 100],
            Self::Rate => &[100, 300, 1000, 3000, 9000, 18_000],
        }
    }

    /// What is to be done at a point.
    fn load(self, point: u32) -> Load {
        let crowd = |users, rooms, senders| Crowd {
            users,
            rooms,
            senders,
            stalled: 0,
            late: 0,
        };
        let (crowd, pace) = match self {
            Self::Members => (crowd(point, 1, 10), Pace::Window(32)),
            Self::Rooms => (crowd(10 * point, point, 10), Pace::Window(4)),
            Self::Senders => (crowd(2 * point, point, 1), Pace::Window(32)),
            Self::Rate => (crowd(100, 1, 10), Pace::PerSecond(f64::from(point))),
        };
        Load {
            crowd,
            rooms: Rooms::Public,
            pace,
            is_about_commits: false,
        }
    }

    /// What else is measured: durable sends have a floor of their own.
    fn more(self) -> Option<Subject> {
        (self == Self::Senders).then_some(Subject::Commit)
    }

    /// What its picture is called.
    fn title(self) -> &'static str {
        match self {
            Self::Members => "Throughput by members of a room",
            Self::Rooms => "Throughput by rooms",
            Self::Senders => "Throughput by senders",
            Self::Rate => "Latency by load",
        }
    }

    /// What is done.
    fn what(self) -> &'static str {
        match self {
            Self::Members => {
                "One room, 10 of whose members talk as fast as it goes, with 32 messages of each on their way"
            }
            Self::Rooms => "Rooms of 10, all of whom talk as fast as it goes, with 4 messages of each on their way",
            Self::Senders => "Rooms of two, one of whom talks as fast as it goes, with 32 messages on their way",
            Self::Rate => {
                "One room of 100, 10 of whom talk at a fixed rate; from when a message is due until each member has it"
            }
        }
    }

    /// What grows, as an axis says it.
    fn across(self) -> Axis {
        let label = match self {
            Self::Members => "members of the room",
            Self::Rooms => "rooms of 10",
            Self::Senders => "senders",
            Self::Rate => "messages a second, each delivered 100 times",
        };
        Axis {
            label,
            unit: Unit::Number,
        }
    }

    /// The figures that are drawn, each in a panel.
    fn figures(self) -> &'static [(&'static str, Axis)] {
        const DELIVERIES: Axis = Axis {
            label: "deliveries a second",
            unit: Unit::Number,
        };
        const SENDS: Axis = Axis {
            label: "messages a second",
            unit: Unit::Number,
        };
        const MEDIAN: Axis = Axis {
            label: "latency, median",
            unit: Unit::Seconds,
        };
        const TAIL: Axis = Axis {
            label: "latency, 99th percentile",
            unit: Unit::Seconds,
        };
        match self {
            Self::Members | Self::Rooms => &[("deliveries_per_second", DELIVERIES)],
            Self::Senders => &[("sends_per_second", SENDS)],
            Self::Rate => &[("latency_p50", MEDIAN), ("latency_p99", TAIL)],
        }
    }

    /// Where its runs are.
    fn runs(self, directory: &Path) -> PathBuf {
        directory.join(self.name()).with_extension("jsonl")
    }
}

/// A number of seconds above 0, or a part of one.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=3600.0).contains(number));
    number
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "use a number of seconds up to 3600".to_owned())
}

/// How far it is, for whoever waits.
struct Progress {
    done: usize,
    of: usize,
    begin: Instant,
}

impl Progress {
    /// Tells that a run is done.
    fn tell(&mut self, record: &Record) {
        self.done += 1;
        let left = self.begin.elapsed() / self.done as u32 * (self.of - self.done) as u32;
        ui::note(format_args!(
            "[{}/{}, {} min {:02} s left] {}",
            self.done,
            self.of,
            left.as_secs() / 60,
            left.as_secs() % 60,
            figures::line(record)
        ));
    }
}

/// Runs sweeps, and draws each when it is done.
pub(crate) fn run(args: &SweepArgs) -> anyhow::Result<()> {
    cpu::raise_descriptors()?;
    std::fs::create_dir_all(&args.into).with_context(|| format!("{} cannot be made", args.into.display()))?;
    let sweeps = if args.sweeps.is_empty() {
        Sweep::value_variants()
    } else {
        &args.sweeps
    };
    let binary = args.setting.binary()?;
    let home = args.setting.home()?;
    let mut preparations = Preparations::new(&binary, home.path());
    let mut subjects = vec![Subject::Greffe, Subject::Floor];
    subjects.extend(args.peers.iter().copied().map(Subject::Peer));
    let each = |sweep: &Sweep| sweep.points().len() * (subjects.len() + usize::from(sweep.more().is_some()));
    let mut progress = Progress {
        done: 0,
        of: sweeps.iter().map(each).sum::<usize>() * args.runs as usize,
        begin: Instant::now(),
    };
    for &sweep in sweeps {
        let path = sweep.runs(&args.into);
        let problem = || format!("{} cannot be written", path.display());
        let mut file = File::create(&path).with_context(problem)?;
        for &point in sweep.points() {
            let load = sweep.load(point);
            let place = Place {
                home: home.path(),
                binary: &binary,
                prepared: preparations.get(load.crowd, load.rooms)?,
                server_cores: &args.setting.server_cores,
                load_core: args.setting.load_core,
                warm_up: args.warm_up,
                measure: args.seconds,
            };
            let name = format!("{} {point}", sweep.name());
            for round in 1..=args.runs as usize {
                for subject in subjects.iter().copied().chain(sweep.more()) {
                    let record = run::once(&place, subject, &name, load, round)
                        .with_context(|| format!("{name}, {}, run {round}", subject.name()))?;
                    progress.tell(&record);
                    let line = Run {
                        at: point,
                        seconds: args.seconds.as_secs_f64(),
                        server_cores: args.setting.server_cores.len(),
                        record: &record,
                    };
                    let line = serde_json::to_string(&line).context("a record is plain data")?;
                    writeln!(file, "{line}").with_context(problem)?;
                }
            }
        }
        draw(sweep, &args.into)?;
    }
    Ok(())
}

/// Draws each sweep whose runs are there.
pub(crate) fn plot(args: &PlotArgs) -> anyhow::Result<()> {
    let mut drawn = 0;
    for &sweep in Sweep::value_variants() {
        if sweep.runs(&args.directory).exists() {
            draw(sweep, &args.directory)?;
            drawn += 1;
        }
    }
    anyhow::ensure!(
        drawn > 0,
        "there are no runs in {}: `sweep` makes some",
        args.directory.display()
    );
    Ok(())
}

/// Draws a sweep whose runs are in `directory`.
fn draw(sweep: Sweep, directory: &Path) -> anyhow::Result<()> {
    let runs = gathered::read(&sweep.runs(directory))?;
    let picture = gathered::picture(sweep, &runs);
    let path = directory.join(sweep.name()).with_extension("svg");
    std::fs::write(&path, plot::draw(&picture)).with_context(|| format!("{} cannot be written", path.display()))?;
    ui::note(format_args!("drawn: {}", path.display()));
    Ok(())
}
