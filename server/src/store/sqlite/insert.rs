//! Inserts what every message adds: a row of the journal, its place in a room, and the answer to its request.
//!
//! A batch has many of them, and most of what an insertion costs is the statement, not the row: so several rows share one. It is prepared once,
//! which Diesel does if it has a fixed number of rows, whose values are owned.

use std::fmt::Debug;

use bytes::Bytes;
use diesel::expression::AsExpression;
use diesel::prelude::*;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::Binary;
use diesel::sqlite::Sqlite;
use greffe_api::v1::BodyState;

use crate::domain::entry::kind;
use crate::store::schema::{journal, request, room_event};
use crate::store::{NewRequest, Row, StoreError};

/// Rows that are inserted with one statement. What is left of a batch is inserted row by row.
const AT_ONCE: usize = 16;

/// Bytes that are not copied to be bound.
#[derive(Debug, AsExpression)]
#[diesel(sql_type = Binary)]
struct Blob<T: AsRef<[u8]> + Debug>(T);

impl<T: AsRef<[u8]> + Debug> ToSql<Binary, Sqlite> for Blob<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> diesel::serialize::Result {
        out.set_value(self.0.as_ref());
        Ok(IsNull::No)
    }
}

#[derive(Insertable)]
#[diesel(table_name = journal, treat_none_as_default_value = false)]
struct JournalRow {
    idx: i64,
    head: Blob<Bytes>,
    body: Blob<Bytes>,
    leaf: Blob<[u8; 32]>,
}

impl From<&Row> for JournalRow {
    fn from(row: &Row) -> Self {
        Self {
            idx: row.entry.index,
            head: Blob(row.head.clone()),
            body: Blob(row.body.clone()),
            leaf: Blob(row.leaf),
        }
    }
}

#[derive(Insertable)]
#[diesel(table_name = room_event, treat_none_as_default_value = false)]
struct RoomEventRow {
    room: i64,
    seq: i64,
    idx: i64,
    kind: i32,
    actor: i64,
    target: i64,
    state: i32,
    current: i64,
}

impl RoomEventRow {
    /// The place of a row in its room, if it has one.
    fn of(row: &Row) -> Option<Self> {
        let entry = &row.entry;
        Some(Self {
            room: row.room?,
            seq: entry.seq,
            idx: entry.index,
            kind: kind(&entry.draft.content) as i32,
            actor: row.actor.unwrap_or(-1),
            target: entry.draft.target_seq,
            state: BodyState::Unspecified as i32,
            current: entry.index,
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = request, treat_none_as_default_value = false)]
struct RequestRow {
    key: Blob<[u8; 16]>,
    idx: i64,
    digest: Blob<[u8; 32]>,
    time: i64,
}

impl From<&NewRequest> for RequestRow {
    fn from(new: &NewRequest) -> Self {
        Self {
            key: Blob(new.key.0),
            idx: new.index,
            digest: Blob(new.digest),
            time: new.time,
        }
    }
}

/// Inserts all that an iterator gives into a table. A macro, because Diesel's traits for it are many and its own.
macro_rules! insert_all {
    ($connection:expr, $table:expr, $rows:expr) => {{
        let mut rows = $rows.peekable();
        while rows.peek().is_some() {
            let next: Vec<_> = rows.by_ref().take(AT_ONCE).collect();
            match <[_; AT_ONCE]>::try_from(next) {
                Ok(all) => _ = diesel::insert_into($table).values(all).execute($connection)?,
                Err(few) => {
                    for row in few {
                        diesel::insert_into($table).values(row).execute($connection)?;
                    }
                }
            }
        }
    }};
}

/// Inserts rows of the journal, and where their rooms find them.
pub(super) fn rows(connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), StoreError> {
    insert_all!(connection, journal::table, rows.iter().map(JournalRow::from));
    insert_all!(connection, room_event::table, rows.iter().filter_map(RoomEventRow::of));
    Ok(())
}

/// Inserts the answers to requests.
pub(super) fn requests(connection: &mut SqliteConnection, requests: &[NewRequest]) -> Result<(), StoreError> {
    insert_all!(connection, request::table, requests.iter().map(RequestRow::from));
    Ok(())
}
