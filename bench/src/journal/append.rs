//! How fast messages are stored: with few rows, and with many.

use std::time::Duration;

use super::grow::{COPIES, rows};
use super::{Bench, Figures, column, rows_as_words, wait_for};
use crate::chat::{Speed, Talk};
use crate::disk::{self, Settle};
use crate::report::{self, Column};
use crate::ui;

/// How long it runs before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

const COLUMNS: [Column; 6] = [
    column("sends_per_second", "sends/s", 1.0),
    column("server_seconds_per_million_sends", "server CPU s/million sends", 1.0),
    column("latency_p50", "p50 us", 1e6),
    column("latency_p99", "p99 us", 1e6),
    column("rows_before", "rows before", 1.0),
    column("generator_share", "generator's share", 1.0),
];

/// Measures them in turns: the journal itself, which goes on growing, and copies from when it was shorter.
pub(super) fn run(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let mut records = Vec::new();
    for round in 1..=bench.args.runs {
        let figures = window(bench, &bench.home.data(), round)?;
        records.push(bench.record("h append", &rows_as_words(bench.args.rows), round, figures)?);
        for copy in COPIES.into_iter().rev().filter(|copy| bench.home.at(*copy).exists()) {
            let scratch = bench.home.scratch()?;
            let data = scratch.path().join("data");
            disk::copy_directory(&bench.home.at(copy), &data)?;
            disk::settle(&data, Settle::Sync)?;
            let figures = window(bench, &data, round)?;
            records.push(bench.record("h append", &rows_as_words(copy), round, figures)?);
        }
    }
    ui::print(&report::table("h: durable sends", &records, &COLUMNS))
}

fn window(bench: &Bench<'_>, data: &std::path::Path, round: u32) -> anyhow::Result<Figures> {
    let server = bench.serve(data)?;
    let before = wait_for(rows(&server))?;
    let talk = Talk {
        speed: Speed::Full,
        times: [WARM_UP, bench.seconds()],
        most: u64::MAX,
        // Other words than those that are there.
        seed: u64::from(round) << 32,
        core: bench.args.load_core,
    };
    let said = bench.home.notes()?.talkers.talk((server.address, server.pid()), talk)?.good()?;
    server.stop()?;
    let seconds = bench.seconds().as_secs_f64();
    let sends = said.sends as f64;
    Ok(Figures::from([
        ("sends_per_second", sends / seconds),
        (
            "server_seconds_per_million_sends",
            said.server_time.as_secs_f64() * 1e6 / sends,
        ),
        ("latency_p50", said.latency.value_at_quantile(0.5) as f64 / 1e9),
        ("latency_p99", said.latency.value_at_quantile(0.99) as f64 / 1e9),
        ("rows_before", before as f64),
        ("generator_share", said.own_time.as_secs_f64() / seconds),
        ("others_share", said.others_time.as_secs_f64() / seconds),
    ]))
}
