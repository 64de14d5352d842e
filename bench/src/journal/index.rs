//! How fast the search index follows, and what everything takes on the disk.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::status::Operator;
use super::{Bench, Figures, column, wait_for};
use crate::report::{self, Column};
use crate::{cpu, disk, ui};

/// How often it is looked at.
const STEP: Duration = Duration::from_millis(500);

const COLUMNS: [Column; 6] = [
    column("rows_per_second", "rows indexed/s", 1.0),
    column("seconds", "caught up after s", 1.0),
    column("database_bytes", "database GB", 1e-9),
    column("database_bytes_per_row", "bytes a row", 1.0),
    column("index_bytes", "index GB", 1e-9),
    column("index_bytes_per_row", "bytes a row in it", 1.0),
];

/// Waits until the index has everything. Returns whether it has.
pub(super) fn run(bench: &mut Bench<'_>) -> anyhow::Result<bool> {
    let data = bench.home.data();
    let server = bench.serve(&data)?;
    let begin = Instant::now();
    let patience = bench.patience();
    let outcome = wait_for(async {
        let mut operator = Operator::connect(&server).await?;
        let first = operator.status().await?;
        let before = cpu::time_of(server.pid()).context("the server is gone")?;
        let begin = Instant::now();
        let mut now = first.clone();
        while now.search_lag > 0 && begin.elapsed() < patience {
            tokio::time::sleep(STEP).await;
            now = operator.status().await?;
        }
        let taken = cpu::time_of(server.pid()).context("the server is gone")?.saturating_sub(before);
        let indexed = (now.rows - now.search_lag) - (first.rows - first.search_lag);
        Ok::<_, anyhow::Error>((now, indexed, taken))
    });
    let (now, indexed, taken) = outcome?;
    let seconds = begin.elapsed().as_secs_f64();
    server.stop()?;
    let notes = bench.home.notes.as_mut().context("somebody talked")?;
    if indexed > 0 {
        notes.indexed = (notes.indexed.0 + indexed, notes.indexed.1 + seconds);
    }
    let (rows, seconds) = notes.indexed;
    bench.home.keep()?;
    ui::note(format_args!(
        "{indexed} rows were indexed with {taken:.1?} of the server's core; {} are left",
        now.search_lag
    ));
    if now.search_lag > 0 {
        return Ok(false);
    }
    let [database, index] = [disk::bytes_of(&data, "greffe.db")?, disk::bytes_of(&data, "search.db")?];
    let of_row = |bytes: u64| bytes as f64 / now.rows as f64;
    let mut figures = Figures::from([
        ("database_bytes", database as f64),
        ("database_bytes_per_row", of_row(database)),
        ("index_bytes", index as f64),
        ("index_bytes_per_row", of_row(index)),
        ("rows", now.rows as f64),
    ]);
    if rows > 0 {
        figures.insert("rows_per_second", rows as f64 / seconds);
        figures.insert("seconds", seconds);
    }
    let record = bench.record("h index", "greffe", 1, figures)?;
    ui::print(&report::list("h: the search index follows", &[record], &COLUMNS))?;
    Ok(true)
}
