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
mod stamp;
mod talkers;
mod workload;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

pub(crate) use self::day::{DayArgs, run as run_day};
pub(crate) use self::floor::{FloorArgs, serve as serve_floor};
use self::ledger::Crowd;
pub(crate) use self::pairs::Pairs;
use self::peers::Peer;
use self::prepare::Prepared;
use self::run::Subject;
pub(crate) use self::talkers::{Speed, Talk, Talkers};
use self::workload::{Rooms, Workload};
use crate::report::{self, Record};
use crate::{cpu, server, ui};

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
    /// The processor cores that servers may use
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
    let binary = match &args.server {
        Some(path) => path.clone(),
        None => server::beside("greffe-server")?,
    };
    let home = tempfile::Builder::new()
        .prefix("greffe-bench-")
        .tempdir_in(&args.directory)
        .with_context(|| format!("nothing can be written in {}", args.directory.display()))?;
    let mut prepared: HashMap<(Crowd, Rooms), Prepared> = HashMap::new();
    let mut subjects = vec![Subject::Greffe];
    subjects.extend(args.peers.iter().copied().map(Subject::Peer));
    subjects.extend(args.floor.then_some(Subject::Floor));
    for &workload in &args.workloads {
        let key = (workload.crowd(), workload.rooms());
        if !prepared.contains_key(&key) {
            ui::note(format_args!("preparing {} accounts", key.0.users));
            let directory = home.path().join(format!("prepared-{}", prepared.len()));
            prepared.insert(key, Prepared::make(&binary, directory, key.0, key.1)?);
        }
        let place = run::Place {
            home: home.path(),
            binary: &binary,
            prepared: &prepared[&key],
            server_cores: &args.server_cores,
            load_core: args.load_core,
            warm_up: Duration::from_secs(args.warm_up.into()),
            measure: Duration::from_secs(args.seconds.into()),
        };
        let mut records: Vec<Record> = Vec::new();
        for round in 1..=args.runs as usize {
            let commit = Subject::Commit;
            let more = (args.floor && workload == Workload::P).then_some(&commit);
            let able = subjects
                .iter()
                .filter(|subject| !workload.needs_history() || **subject == Subject::Greffe);
            for &subject in able.chain(more) {
                let record = run::once(&place, subject, workload, round)
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
