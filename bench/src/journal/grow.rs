//! Growing a journal, by sends of real clients.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::home::{Notes, Step};
use super::status::Operator;
use super::{Bench, wait_for};
use crate::chat::{Speed, Talk, Talkers};
use crate::disk::{self, Settle};
use crate::server::Process;
use crate::{report, ui};

/// Numbers of rows at which a copy is kept, if the journal is to have more.
pub(super) const COPIES: [i64; 2] = [10_000, 1_000_000];
/// Rows of a step whose rate is noted.
const STEP: i64 = 1_000_000;
/// How long a step may take.
const LONG: Duration = Duration::from_secs(600);

/// Makes the journal, or goes on with it, until it has the rows that it is to have. Returns whether that is so.
pub(super) fn grow(bench: &mut Bench<'_>) -> anyhow::Result<bool> {
    let begin = Instant::now();
    let data = bench.home.data();
    let target = bench.args.rows;
    if bench
        .home
        .notes
        .as_ref()
        .and_then(|notes| notes.growth.last())
        .is_some_and(|step| step.rows >= target)
    {
        return Ok(true);
    }
    let mut server = bench.serve(&data)?;
    if bench.home.notes.is_none() {
        bench.home.notes = Some(Notes {
            talkers: wait_for(Talkers::register(server.address))?,
            growth: Vec::new(),
            indexed: (0, 0.0),
        });
        bench.home.keep()?;
    }
    let mut rows = wait_for(rows(&server))?;
    while rows < target && begin.elapsed() < bench.patience() {
        let copy = COPIES.into_iter().find(|copy| rows < *copy && *copy < target);
        let end = (rows + STEP).min(copy.unwrap_or(target));
        let step = step(bench, &server, rows, end)?;
        let status = wait_for(async { Operator::connect(&server).await?.status().await })?;
        rows = status.rows;
        anyhow::ensure!(rows >= end, "{end} rows were to be there, and {rows} are");
        ui::note(format_args!(
            "{rows} rows, the last of them at {} a second, {} us of the server's core each, generator {:.2}, {} not indexed yet",
            report::short(step.rate),
            report::short(step.server_seconds * 1e6),
            step.generator_share,
            status.search_lag,
        ));
        let notes = bench.home.notes.as_mut().context("somebody talked")?;
        notes.growth.push(Step {
            rows,
            lag: status.search_lag,
            ..step
        });
        bench.home.keep()?;
        if copy == Some(end) {
            server.stop()?;
            let copy = bench.home.at(end);
            disk::copy_directory(&data, &copy)?;
            disk::settle(&copy, Settle::Sync)?;
            server = bench.serve(&data)?;
        }
    }
    server.stop()?;
    Ok(rows >= target)
}

/// Has the talkers say so much that the journal goes from `rows` rows to `end`.
fn step(bench: &Bench<'_>, server: &Process, rows: i64, end: i64) -> anyhow::Result<Step> {
    let most = u64::try_from(end - rows).context("a journal grows")?;
    let talk = Talk {
        speed: Speed::Full,
        times: [Duration::ZERO, LONG],
        most,
        seed: rows as u64,
        core: bench.args.load_core,
    };
    let talkers = &bench.home.notes()?.talkers;
    let begin = Instant::now();
    let said = talkers.talk((server.address, server.pid()), talk)?.good()?;
    let seconds = begin.elapsed().as_secs_f64();
    let sent = said.all_sends as f64;
    Ok(Step {
        rows: end,
        lag: 0,
        rate: sent / seconds,
        server_seconds: said.server_time.as_secs_f64() / sent,
        generator_share: said.own_time.as_secs_f64() / seconds,
    })
}

/// Rows of the server's journal.
pub(super) async fn rows(server: &Process) -> anyhow::Result<i64> {
    Ok(Operator::connect(server).await?.status().await?.rows)
}
