//! How long a server takes until it is ready, after it stopped or was killed.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ask::{Client, Question};
use super::{Bench, Figures, column, rows_as_words, wait_for};
use crate::chat::{Speed, Talk};
use crate::disk::{self, Settle};
use crate::report::{self, Column};
use crate::ui;

/// How long the talkers talk until the server is killed.
const UNTIL_KILLED: Duration = Duration::from_millis(2500);

const COLUMNS: [Column; 4] = [
    column("ready_seconds", "ready after ms", 1e3),
    column("answered_seconds", "first page after ms", 1e3),
    column("log_bytes", "write-ahead log before, MB", 1e-6),
    column("server_seconds", "server CPU ms", 1e3),
];

/// Starts servers and prints a table.
pub(super) fn run(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let mut records = Vec::new();
    for round in 1..=bench.args.runs {
        for (killed, cold, what) in [
            (false, false, "after it stopped"),
            (true, false, "after kill -9 under full load"),
            (false, true, "after it stopped, nothing in memory"),
            (true, true, "after kill -9, nothing in memory"),
        ] {
            if killed {
                crash(bench, round)?;
            }
            let data = bench.home.data();
            disk::settle(&data, if cold { Settle::Forget } else { Settle::Sync })?;
            let figures = start(bench)?;
            records.push(bench.record("i restart", what, round, figures)?);
        }
    }
    let title = format!("i: a start with {}", rows_as_words(bench.args.rows));
    ui::print(&report::list(&title, &records, &COLUMNS))
}

/// Kills a server while it stores messages as fast as it can.
fn crash(bench: &Bench<'_>, round: u32) -> anyhow::Result<()> {
    let server = bench.serve(&bench.home.data())?;
    let pid = Pid::from_raw(i32::try_from(server.pid()).context("a pid is a small number")?);
    let talk = Talk {
        speed: Speed::Full,
        times: [Duration::ZERO, 2 * UNTIL_KILLED],
        most: u64::MAX,
        seed: (1 << 56) + u64::from(round),
        core: bench.args.load_core,
    };
    let talkers = &bench.home.notes()?.talkers;
    let said = std::thread::scope(|scope| {
        let killing = scope.spawn(|| {
            std::thread::sleep(UNTIL_KILLED);
            kill(pid, Signal::SIGKILL)
        });
        let said = talkers.talk((server.address, server.pid()), talk)?;
        killing
            .join()
            .map_err(|_| anyhow::anyhow!("who should kill died"))?
            .context("the server cannot be killed")?;
        Ok::<_, anyhow::Error>(said)
    })?;
    anyhow::ensure!(said.good().is_err(), "the server was to be killed while it worked");
    Ok(())
}

/// Starts a server, asks it for a page, and stops it.
fn start(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let data = bench.home.data();
    let log = disk::bytes_of(&data, "greffe.db-wal")?;
    let talkers = &bench.home.notes()?.talkers;
    let begin = Instant::now();
    let server = bench.serve(&data)?;
    let ready = begin.elapsed();
    let messages = wait_for(async {
        let client = Client::connect(server.address, &talkers.reader).await?;
        let room = talkers.rooms.first().context("there are rooms")?.clone();
        client.ask(Question::Page { room, before: None }).await
    })?;
    let answered = begin.elapsed();
    anyhow::ensure!(messages > 0, "the newest page is empty");
    let taken = crate::cpu::time_of(server.pid()).context("the server is gone")?;
    server.stop()?;
    Ok(Figures::from([
        ("ready_seconds", ready.as_secs_f64()),
        ("answered_seconds", answered.as_secs_f64()),
        ("log_bytes", log as f64),
        ("server_seconds", taken.as_secs_f64()),
    ]))
}
