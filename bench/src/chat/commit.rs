//! The floor of durable sends: SQLite alone, writing what Greffe writes for a message.
//!
//! One thread commits groups, through Diesel, into tables with the same b-trees and rows of the same size, with the same settings. It
//! decides nothing, hashes nothing and encodes nothing, and nobody waits for it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use uuid::Uuid;

use super::figures::{Figures, quantiles};
use super::workload::TEXT_BYTES;
use crate::cpu;
use crate::latency::histogram;

/// Messages in a group at most: as many as Greffe's writer takes.
const GROUP: u32 = 1024;
/// Bytes of a message's head and leaf as they are stored, and of its body beside the text.
const HEAD: usize = 100;
const LEAF: usize = 32;
const BODY: usize = 64;
/// Bytes written after which the log is moved into the database.
const CHECKPOINT: usize = 4 * 1024 * 1024;
/// Bytes of a message in the log, by the estimate that the server uses: its row, and the pages that are written with it.
const LOGGED: usize = HEAD + BODY + TEXT_BYTES + 1024;

const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; \
                        PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864;";

const SCHEMA: &str = "
    CREATE TABLE journal (idx INTEGER PRIMARY KEY NOT NULL, head BLOB NOT NULL, body BLOB, leaf BLOB NOT NULL);
    CREATE TABLE room_event (
        room BIGINT NOT NULL, seq BIGINT NOT NULL, idx BIGINT NOT NULL, kind INTEGER NOT NULL, actor BIGINT NOT NULL,
        target BIGINT NOT NULL, state INTEGER NOT NULL, current BIGINT NOT NULL, PRIMARY KEY (room, seq)
    ) WITHOUT ROWID;
    CREATE TABLE request (
        no INTEGER PRIMARY KEY NOT NULL, key BLOB NOT NULL UNIQUE, idx BIGINT NOT NULL, digest BLOB NOT NULL, time BIGINT NOT NULL
    );";

diesel::table! {
    journal (idx) {
        idx -> BigInt,
        head -> Binary,
        body -> Nullable<Binary>,
        leaf -> Binary,
    }
}

diesel::table! {
    room_event (room, seq) {
        room -> BigInt,
        seq -> BigInt,
        idx -> BigInt,
        kind -> Integer,
        actor -> BigInt,
        target -> BigInt,
        state -> Integer,
        current -> BigInt,
    }
}

diesel::table! {
    request (no) {
        no -> BigInt,
        key -> Binary,
        idx -> BigInt,
        digest -> Binary,
        time -> BigInt,
    }
}

/// Commits groups of as many messages as may be on their way, or as a group may have, to a new database in `directory`, on the calling thread, for
/// `warm_up` and then for `measure`, which counts.
pub(super) fn run(
    directory: &Path,
    on_their_way: u32,
    warm_up: Duration,
    measure: Duration,
) -> anyhow::Result<Figures> {
    let messages = on_their_way.clamp(1, GROUP);
    let path = directory.join("commit.db");
    let path = path.to_str().context("the directory's path is not UTF-8")?;
    let mut connection = SqliteConnection::establish(path).context("a database cannot be made")?;
    connection.batch_execute(SETTINGS)?;
    connection.batch_execute(SCHEMA)?;
    let mut next = 0;
    let mut logged = 0;
    let mut group = |connection: &mut SqliteConnection| -> QueryResult<()> {
        connection.batch_execute("BEGIN IMMEDIATE")?;
        for _ in 0..messages {
            insert(connection, next)?;
            next += 1;
        }
        connection.batch_execute("COMMIT")?;
        logged += messages as usize * LOGGED;
        if logged >= CHECKPOINT {
            logged = 0;
            connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE);")?;
        }
        Ok(())
    };
    let begin = Instant::now();
    while begin.elapsed() < warm_up {
        group(&mut connection)?;
    }
    let mut times = histogram();
    let mut groups = 0_u32;
    let begin = Instant::now();
    let own = cpu::own_time();
    let all = cpu::time_of_all();
    while begin.elapsed() < measure {
        let since = Instant::now();
        group(&mut connection)?;
        times.saturating_record(since.elapsed().as_nanos() as u64);
        groups += 1;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let messages = f64::from(groups) * f64::from(messages);
    let busy = cpu::own_time().saturating_sub(own).as_secs_f64();
    let mut figures = Figures::from([
        ("sends_per_second", messages / seconds),
        ("server_seconds_per_million_sends", busy * 1e6 / messages),
        ("server_share", busy / seconds),
    ]);
    if let (Some(before), Some(now)) = (all, cpu::time_of_all()) {
        let others = now.saturating_sub(before).as_secs_f64() - busy;
        figures.insert("others_share", others / seconds);
    }
    quantiles(&mut figures, ["latency_p50", "latency_p99", "latency_p999"], &times);
    Ok(figures)
}

/// What a message leads to.
fn insert(connection: &mut SqliteConnection, index: i64) -> QueryResult<()> {
    diesel::insert_into(journal::table)
        .values((
            journal::idx.eq(index),
            journal::head.eq([1; HEAD].as_slice()),
            journal::body.eq([2; BODY + TEXT_BYTES].as_slice()),
            journal::leaf.eq([3; LEAF].as_slice()),
        ))
        .execute(connection)?;
    diesel::insert_into(room_event::table)
        .values((
            room_event::room.eq(index % 10),
            room_event::seq.eq(index / 10),
            room_event::idx.eq(index),
            room_event::kind.eq(10),
            room_event::actor.eq(index % 20),
            room_event::target.eq(0),
            room_event::state.eq(0),
            room_event::current.eq(index),
        ))
        .execute(connection)?;
    diesel::insert_into(request::table)
        .values((
            request::no.eq(index),
            // Ordered by time as far as what the server keeps of request ids of version 7, as the generator makes them.
            request::key.eq(Uuid::now_v7().as_bytes().as_slice()),
            request::idx.eq(index),
            request::digest.eq([4; 32].as_slice()),
            request::time.eq(index),
        ))
        .execute(connection)?;
    Ok(())
}
