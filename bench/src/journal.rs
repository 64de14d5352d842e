//! A long journal: one that real clients filled with messages, and what appending, reading, searching and starting cost with it.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers of rows, bytes and nanoseconds of a run are far from where casts lose something"
)]

mod append;
mod ask;
mod case;
mod grow;
mod history;
mod home;
mod index;
mod restart;
mod search;
mod status;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use self::home::Home;
use crate::report::{self, Column, Record};
use crate::server::{self, Process};
use crate::{cpu, ui};

/// Figures by name: seconds, bytes, numbers.
type Figures = BTreeMap<&'static str, f64>;

/// Share of a core that other programs may take before they disturb.
const NOISE: f64 = 0.15;

/// Fill a journal with messages, and measure appending, history, search and restarts with it.
#[derive(Debug, clap::Args)]
pub(crate) struct JournalArgs {
    /// How many rows the journal is to have
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(20_000..))]
    rows: i64,
    /// A directory in which the journal is made and kept, or was kept: then it is used again, and grows if it has fewer rows. Otherwise it
    /// is made in a temporary directory
    #[arg(long, value_name = "DIRECTORY")]
    journal: Option<PathBuf>,
    /// What is to be measured; the journal grows before, where it must
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "append,index,history,search,restart"
    )]
    stages: Vec<Stage>,
    /// How often each is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// How many seconds each is measured; searches and pages, each kind of them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// How many seconds growing, or waiting for the search index, may take before it is left for the next time
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    patience: u32,
    /// The processor cores that the server may use
    #[arg(long, value_delimiter = ',', default_value = "0")]
    server_cores: Vec<usize>,
    /// The processor core of the load generator
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// The greffe-server to measure; the one beside this program by default
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Where a temporary directory is made; on the disk that is to be measured
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
    /// Adds each run to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Nothing: the journal only grows
    Grow,
    /// How fast messages are stored, with few rows and with many
    Append,
    /// How fast the search index follows
    Index,
    /// Pages of history
    History,
    /// Searches
    Search,
    /// How long a server takes until it is ready
    Restart,
}

/// With what, where and how often.
struct Bench<'a> {
    args: &'a JournalArgs,
    binary: PathBuf,
    home: Home,
}

/// Runs the stages and prints a table for each.
pub(crate) fn run(args: &JournalArgs) -> anyhow::Result<()> {
    cpu::raise_descriptors()?;
    let binary = args.server.clone().map_or_else(|| server::beside("greffe-server"), Ok)?;
    let home = Home::open(args.journal.as_deref(), &args.directory)?;
    let mut bench = Bench { args, binary, home };
    if !grow::grow(&mut bench)? {
        ui::note(format_args!(
            "the journal has not all its rows yet; run this again with the same --journal"
        ));
        return Ok(());
    }
    for stage in &args.stages {
        match stage {
            Stage::Grow => {}
            Stage::Append => append::run(&mut bench)?,
            Stage::Index => {
                if !index::run(&mut bench)? {
                    ui::note(format_args!(
                        "the search index is behind; run this again with the same --journal"
                    ));
                    return Ok(());
                }
            }
            Stage::History => history::run(&bench)?,
            Stage::Search => search::run(&bench)?,
            Stage::Restart => restart::run(&mut bench)?,
        }
    }
    Ok(())
}

/// Waits for what a client does. Its connections end with it: a server that stops would wait for them.
fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}

impl Bench<'_> {
    /// Starts a server on a directory.
    fn serve(&self, data: &Path) -> anyhow::Result<Process> {
        server::greffe(&self.binary, data, &self.args.server_cores, &[])
    }

    fn seconds(&self) -> Duration {
        Duration::from_secs(self.args.seconds.into())
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.args.patience.into())
    }

    /// Notes what a run gave.
    fn record(&self, workload: &str, subject: &str, run: u32, figures: Figures) -> anyhow::Result<Record> {
        let others = figures.get("others_share").copied().unwrap_or(0.0);
        let doubts = (others > NOISE).then(|| format!("other programs took {others:.2} of a core"));
        let record = Record {
            workload: workload.to_owned(),
            subject: subject.to_owned(),
            run: run as usize,
            doubts: doubts.into_iter().collect(),
            figures,
        };
        let figures: Vec<String> = record
            .figures
            .iter()
            .map(|(name, figure)| format!("{name} {}", report::short(*figure)))
            .collect();
        let doubts = record.doubts.join("; ");
        ui::note(format_args!(
            "{workload}, {subject}, run {run}: {} {doubts}",
            figures.join(", ")
        ));
        if let Some(path) = &self.args.json {
            report::append(path, &record)?;
        }
        Ok(record)
    }
}

const fn column(figure: &'static str, heading: &'static str, scale: f64) -> Column {
    Column { figure, heading, scale }
}

/// A number of rows as people say it: `10^6`, if it is near such a number, or in full.
fn rows_as_words(rows: i64) -> String {
    match rows {
        8_000..12_000 => "10^4 rows".to_owned(),
        800_000..1_200_000 => "10^6 rows".to_owned(),
        8_000_000..12_000_000 => "10^7 rows".to_owned(),
        _ => format!("{rows} rows"),
    }
}
