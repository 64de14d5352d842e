//! The file workloads: a large file up and down, beside nginx, `cp`, and the least that a durable, verified copy can take.

#![allow(
    clippy::cast_precision_loss,
    reason = "numbers of bytes and nanoseconds of a run are far from where casts lose something"
)]

mod beside_chat;
mod client;
mod source;
mod subject;

use std::path::PathBuf;

use anyhow::Context as _;

pub(crate) use self::beside_chat::{FilesChatArgs, run as run_beside_chat};
use self::source::Source;
use self::subject::{Figures, Place};
use crate::report::{self, Column, Record};
use crate::{server, ui};

/// Bytes of a chunk of an upload.
const CHUNK: usize = 256 * 1024;
/// Share of a core that other programs may take before they disturb.
const NOISE: f64 = 0.15;

/// Measure files: a large one up and down, beside nginx, cp and a bare copy with a hash.
#[derive(Debug, clap::Args)]
pub(crate) struct FilesArgs {
    /// How large the file is
    #[arg(long, default_value = "1GiB", value_parser = size)]
    size: u64,
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Bytes of a chunk of an upload
    #[arg(long, default_value = "256KiB", value_parser = size)]
    chunk: u64,
    /// The core of servers, and of programs that do without one
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The clients' core
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// The greffe-server to measure; the one beside this program by default
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Other builds of greffe-server to measure in turns with it
    #[arg(long, value_name = "NAME=PATH", value_parser = named)]
    beside: Vec<(String, PathBuf)>,
    /// Leaves out nginx
    #[arg(long)]
    without_nginx: bool,
    /// Leaves out cp and the programs that hash
    #[arg(long)]
    without_local: bool,
    /// Where directories are made; on the disk that is to be measured
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
    /// Adds each run to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const COLUMNS: [Column; 5] = [
    column("bytes_per_second", "MB/s", 1e-6),
    column("server_seconds_per_byte", "server CPU s/GB", 1e9),
    column("client_share", "client's share", 1.0),
    column("memory_growth", "memory + MiB", 1.0 / 1_048_576.0),
    column("others_share", "others' share", 1.0),
];

const fn column(figure: &'static str, heading: &'static str, scale: f64) -> Column {
    Column { figure, heading, scale }
}

/// A number of bytes, as `1GiB`, `256KiB` or `1000`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("use a number with KiB, MiB, GiB or nothing".to_owned()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "use a number from 1".to_owned())
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("use NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}

/// Runs them in turns, and prints a table for each way.
pub(crate) fn run(args: &FilesArgs) -> anyhow::Result<()> {
    let binary = args.server.clone().map_or_else(|| server::beside("greffe-server"), Ok)?;
    let builds: Vec<(String, PathBuf)> = std::iter::once(("greffe".to_owned(), binary))
        .chain(args.beside.iter().cloned())
        .collect();
    let home = tempfile::Builder::new()
        .prefix("greffe-bench-")
        .tempdir_in(&args.directory)
        .with_context(|| format!("nothing can be written in {}", args.directory.display()))?;
    let source = Source::make(home.path().join("source"), args.size)?;
    let chunk = usize::try_from(args.chunk).context("a chunk must fit into memory")?;
    let mut notes = Notes {
        json: args.json.as_deref(),
        up: Vec::new(),
        down: Vec::new(),
    };
    for round in 1..=args.runs as usize {
        for (name, binary) in &builds {
            let fresh = tempfile::Builder::new().prefix("run-").tempdir_in(home.path())?;
            let place = place(args, &source, binary, fresh.path(), chunk);
            let [up, down] = subject::greffe(&place).with_context(|| format!("{name}, run {round}"))?;
            notes.add(Way::Up, name, round, up)?;
            notes.add(Way::Down, name, round, down)?;
        }
        let fresh = tempfile::Builder::new().prefix("run-").tempdir_in(home.path())?;
        let place = place(args, &source, &builds[0].1, fresh.path(), chunk);
        if !args.without_nginx {
            let [put, verified, get] = subject::nginx(&place)?;
            notes.add(Way::Up, "nginx, PUT", round, put)?;
            notes.add(Way::Up, "nginx, PUT; openssl; sync", round, verified)?;
            notes.add(Way::Down, "nginx, GET", round, get)?;
        }
        if !args.without_local {
            for (number, (name, figures)) in subject::local(&place)?.into_iter().enumerate() {
                if number == 0 {
                    notes.add(Way::Down, name, round, figures.clone())?;
                }
                notes.add(Way::Up, name, round, figures)?;
            }
        }
    }
    ui::print(&report::table("upload", &notes.up, &COLUMNS))?;
    ui::print(&report::table("download", &notes.down, &COLUMNS))
}

fn place<'a>(
    args: &FilesArgs,
    source: &'a Source,
    binary: &'a std::path::Path,
    directory: &'a std::path::Path,
    chunk: usize,
) -> Place<'a> {
    Place {
        binary,
        source,
        directory,
        server_core: args.server_core,
        client_core: args.client_core,
        chunk,
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Up,
    Down,
}

/// What all runs gave.
struct Notes<'a> {
    json: Option<&'a std::path::Path>,
    up: Vec<Record>,
    down: Vec<Record>,
}

impl Notes<'_> {
    fn add(&mut self, way: Way, subject: &str, run: usize, figures: Figures) -> anyhow::Result<()> {
        let (workload, records) = match way {
            Way::Up => ("upload", &mut self.up),
            Way::Down => ("download", &mut self.down),
        };
        ui::note(format_args!(
            "run {run} {workload:<8} {}",
            subject::line(subject, &figures)
        ));
        let others = figures.get("others_share").copied().unwrap_or(0.0);
        let doubts = (others > NOISE).then(|| format!("other programs took {others:.2} of a core"));
        let record = Record {
            workload: workload.to_owned(),
            subject: subject.to_owned(),
            run,
            doubts: doubts.into_iter().collect(),
            figures,
        };
        if let Some(path) = self.json {
            report::append(path, &record)?;
        }
        records.push(record);
        Ok(())
    }
}
