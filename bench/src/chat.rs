//! The chat workloads: Greffe, other servers and the machine's own limits at the same work, in turns.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers of users, bytes and nanoseconds of a run are far from where casts lose something"
)]

mod commit;
mod day;
mod driver;
mod drivers;
mod figures;
mod floor;
mod generator;
mod h2;
mod ledger;
mod pairs;
mod peers;
mod prepare;
mod run;
mod setting;
mod stamp;
mod sweep;
mod talkers;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

pub(crate) use self::day::{DayArgs, run as run_day};
pub(crate) use self::floor::{FloorArgs, serve as serve_floor};
pub(crate) use self::pairs::Pairs;
use self::peers::Peer;
use self::prepare::Preparations;
use self::run::Subject;
use self::setting::SettingArgs;
pub(crate) use self::sweep::{PlotArgs, SweepArgs, plot, run as run_sweep};
pub(crate) use self::talkers::{Speed, Talk, Talkers};
use self::workload::Workload;
use crate::report::{self, Record};
use crate::{cpu, ui};

/// Measure chat: deliveries a second, latencies, processor time and memory.
#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    /// The workloads to run
    #[arg(value_enum, required = true)]
    workloads: Vec<Workload>,
    /// How often each is run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// How many seconds of each run are measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// How many seconds each run lasts before it counts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=3600))]
    warm_up: u32,
    #[command(flatten)]
    setting: SettingArgs,
    /// Other servers to measure beside Greffe, in turns with it
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Measures a bare gRPC fan-out too, and in workload p a bare group commit: the floors of what Greffe can cost
    #[arg(long)]
    floor: bool,
    /// Adds each run to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs them all and prints a table for each workload.
pub(crate) fn run(args: &ChatArgs) -> anyhow::Result<()> {
    cpu::raise_descriptors()?;
    let binary = args.setting.binary()?;
    let home = args.setting.home()?;
    let mut preparations = Preparations::new(&binary, home.path());
    let mut subjects = vec![Subject::Greffe];
    subjects.extend(args.peers.iter().copied().map(Subject::Peer));
    subjects.extend(args.floor.then_some(Subject::Floor));
    for &workload in &args.workloads {
        let load = workload.load();
        let place = run::Place {
            home: home.path(),
            binary: &binary,
            prepared: preparations.get(load.crowd, load.rooms)?,
            server_cores: &args.setting.server_cores,
            load_core: args.setting.load_core,
            warm_up: Duration::from_secs(args.warm_up.into()),
            measure: workload.measure().unwrap_or(Duration::from_secs(args.seconds.into())),
        };
        let mut records: Vec<Record> = Vec::new();
        for round in 1..=args.runs as usize {
            let commit = Subject::Commit;
            let more = (args.floor && workload == Workload::P).then_some(&commit);
            let able = subjects
                .iter()
                .filter(|subject| !workload.needs_history() || **subject == Subject::Greffe);
            for &subject in able.chain(more) {
                let record = run::once(&place, subject, workload.letter(), load, round)
                    .with_context(|| format!("workload {}, {}, run {round}", workload.letter(), subject.name()))?;
                ui::note(format_args!("{}", figures::line(&record)));
                if let Some(path) = &args.json {
                    report::append(path, &record)?;
                }
                records.push(record);
            }
        }
        let title = format!("{}: {}", workload.letter(), workload.title());
        ui::print(&report::table(&title, &records, figures::columns(workload)))?;
    }
    Ok(())
}
