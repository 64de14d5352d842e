//! A large file goes up and down between two people, again and again, while two others talk.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ring::digest::{Context, SHA256};

use super::client::Client;
use super::source::{Source, finished};
use super::subject::{self, growth, settle, watch};
use crate::chat::Pairs;
use crate::{cpu, report, server, ui};

/// Questions a second.
const RATE: f64 = 20.0;
/// How long the conversation goes before it counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// How much less of the core the file's clients get than the conversation's: theirs is not what is measured.
const NICE: i32 = 10;

/// Measure a conversation before and while 1 GiB goes up and down between two others, and compare every byte's hash.
#[derive(Debug, clap::Args)]
pub(crate) struct FilesChatArgs {
    /// How large the file is
    #[arg(long, default_value = "1GiB", value_parser = super::size)]
    size: u64,
    /// How many seconds the conversation lasts, before and during
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How often each is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// The server's core
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The clients' core
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// The greffe-server to measure; the one beside this program by default
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Where directories are made; on the disk that is to be measured
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

/// What one run gave.
struct Outcome {
    before_p99: f64,
    during_p99: f64,
    growth: f64,
    round_trips: u32,
}

/// Runs them and prints a line for each, and the medians.
pub(crate) fn run(args: &FilesChatArgs) -> anyhow::Result<()> {
    let home = tempfile::Builder::new()
        .prefix("greffe-bench-")
        .tempdir_in(&args.directory)
        .with_context(|| format!("nothing can be written in {}", args.directory.display()))?;
    let source = Source::make(home.path().join("source"), args.size)?;
    let mut outcomes = Vec::new();
    for round in 1..=args.runs {
        let outcome = once(args, &source).with_context(|| format!("run {round}"))?;
        ui::print(&format!(
            "run {round}: p99 {:.0} us before, {:.0} us during ({:.2} x), memory + {:.1} MiB, {} x up and down, every hash equal",
            outcome.before_p99 * 1e6,
            outcome.during_p99 * 1e6,
            outcome.during_p99 / outcome.before_p99,
            outcome.growth / 1_048_576.0,
            outcome.round_trips,
        ))?;
        outcomes.push(outcome);
    }
    let median = |of: &dyn Fn(&Outcome) -> f64| report::median(outcomes.iter().map(of).collect()).unwrap_or(f64::NAN);
    ui::print(&format!(
        "median: p99 {:.2} x, memory + {:.1} MiB",
        median(&|outcome| outcome.during_p99 / outcome.before_p99),
        median(&|outcome| outcome.growth / 1_048_576.0),
    ))
}

fn once(args: &FilesChatArgs, source: &Source) -> anyhow::Result<Outcome> {
    let binary = args.server.clone().map_or_else(|| server::beside("greffe-server"), Ok)?;
    let directory = tempfile::Builder::new().prefix("run-").tempdir_in(&args.directory)?;
    let process = subject::start(&binary, directory.path(), args.size, &[args.server_core])?;
    let (pid, address) = (process.pid(), process.address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pairs = runtime.block_on(Pairs::register(address, 2))?;
    settle(source, directory.path())?;
    let seconds = Duration::from_secs(args.seconds.into());
    let talk = || pairs.talk(1, RATE, (address, pid), args.client_core, [WARM_UP, seconds]);
    let before = talk()?;
    let memory = watch(pid)?;
    let (during, round_trips) = std::thread::scope(|scope| {
        let transfers = scope.spawn(|| {
            rustix::process::nice(NICE).context("a thread cannot step back")?;
            cpu::pin(&[args.client_core])?;
            std::thread::sleep(WARM_UP);
            let until = Instant::now() + seconds;
            let mut round_trips = 0;
            runtime.block_on(async {
                while round_trips == 0 || Instant::now() < until {
                    round_trip(&pairs, address, source).await?;
                    round_trips += 1;
                }
                Ok::<_, anyhow::Error>(round_trips)
            })
        });
        let during = talk();
        let transfers = transfers.join().map_err(|_| anyhow::anyhow!("the transfers died"))?;
        Ok::<_, anyhow::Error>((during?, transfers?))
    })?;
    let growth = growth(pid, memory)?;
    process.stop()?;
    Ok(Outcome {
        before_p99: before.value_at_quantile(0.99) as f64 / 1e9,
        during_p99: during.value_at_quantile(0.99) as f64 / 1e9,
        growth,
        round_trips,
    })
}

/// Up by one, down by the other one, who checks the hash.
async fn round_trip(pairs: &Pairs, address: std::net::SocketAddr, source: &Source) -> anyhow::Result<()> {
    let [one, other] = pairs.tokens(0);
    let mut sender = Client::connect(address, &one).await?;
    let id = sender.upload(source, &pairs.room(0), super::CHUNK).await?;
    let mut hash = Context::new(&SHA256);
    let mut receiver = Client::connect(address, &other).await?;
    receiver.download(&id, |chunk| hash.update(chunk)).await?;
    anyhow::ensure!(finished(hash) == source.sha256, "what came down is not what went up");
    Ok(())
}
