//! Copies a database while it is in use, and marks the copy, so that who starts a server on it knows that it is one.

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::open::uri;
use crate::backup::{Mark, Note};
use crate::domain::clock::Micros;
use crate::domain::ids::FileId;
use crate::journal::tree::Edge;
use crate::store::StoreError;
use crate::store::schema::{file, journal_head};

diesel::table! {
    /// One row, in a copy that no server has started on yet; elsewhere there is no such table.
    backup_mark (one) {
        /// Always 1.
        one -> Integer,
        /// When the copy was made, in microseconds since 1970.
        made_at -> BigInt,
        /// Who made it.
        made_by -> Text,
        /// Why.
        reason -> Text,
        /// The journal's id in the copy.
        journal_id -> Text,
        /// Its epoch.
        epoch -> Text,
        /// Its rows.
        size -> BigInt,
        /// The root of its tree.
        root -> Binary,
    }
}

/// How long the database may be locked before a copy is given up. Nothing that a server does locks it for readers.
const PATIENCE_MS: u32 = 5000;

/// Copies the database at `from`, as it is at one moment, to the file at `to`, which must be there and empty. Writers and readers of `from` go on;
/// its write-ahead log grows until the copy is made, because it cannot be emptied while somebody reads what is before it.
///
/// # Errors
/// Nothing is kept of the copy that can be relied on.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let to = to.to_str().ok_or_else(|| StoreError::Io("the path is not UTF-8".into()))?;
    let from = uri(from, "mode=ro").ok_or_else(|| StoreError::Io("the path is not UTF-8".into()))?;
    let mut connection = SqliteConnection::establish(&from).map_err(|error| StoreError::Io(error.to_string()))?;
    connection.batch_execute(&format!(
        "PRAGMA busy_timeout = {PATIENCE_MS}; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;"
    ))?;
    // Pages that are free, and what was deleted in others, are not in the copy.
    diesel::sql_query("VACUUM INTO ?")
        .bind::<Text, _>(to)
        .execute(&mut connection)?;
    Ok(())
}

/// Writes into a copy that it is one, and returns what it says of itself.
///
/// # Errors
/// It is no database of ours, or cannot be written.
pub(crate) fn set_mark(copy: &Path, note: &Note) -> Result<Mark, StoreError> {
    let url = uri(copy, "mode=rw").ok_or_else(|| StoreError::Io("the path is not UTF-8".into()))?;
    let mut connection = SqliteConnection::establish(&url).map_err(|error| StoreError::Io(error.to_string()))?;
    // One file is all that a backup's database is, until a server starts on it.
    connection
        .batch_execute("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;")?;
    connection.immediate_transaction(|connection| {
        let (size, edge, journal_id, epoch): (i64, Vec<u8>, String, String) = journal_head::table
            .select((
                journal_head::size,
                journal_head::edge,
                journal_head::journal_id,
                journal_head::epoch,
            ))
            .first(connection)?;
        let leaves =
            u64::try_from(size).map_err(|_| StoreError::Database("the journal's size cannot be read".into()))?;
        let edge = Edge::from_bytes(leaves, &edge).map_err(|error| StoreError::Database(error.to_string()))?;
        let mark = Mark {
            note: note.clone(),
            journal_id,
            epoch,
            size,
            root: edge.root(),
        };
        // A copy of a copy says of itself when it was made, and by whom.
        unmark(connection)?;
        connection.batch_execute(
            "CREATE TABLE backup_mark (
                 one        INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
                 made_at    BIGINT NOT NULL,
                 made_by    TEXT NOT NULL,
                 reason     TEXT NOT NULL,
                 journal_id TEXT NOT NULL,
                 epoch      TEXT NOT NULL,
                 size       BIGINT NOT NULL,
                 root       BLOB NOT NULL
             );",
        )?;
        diesel::insert_into(backup_mark::table)
            .values((
                backup_mark::one.eq(1),
                backup_mark::made_at.eq(note.made_at),
                backup_mark::made_by.eq(&note.made_by),
                backup_mark::reason.eq(&note.reason),
                backup_mark::journal_id.eq(&mark.journal_id),
                backup_mark::epoch.eq(&mark.epoch),
                backup_mark::size.eq(mark.size),
                backup_mark::root.eq(&mark.root[..]),
            ))
            .execute(connection)?;
        Ok(mark)
    })
}

/// The ids of all files that a copy knows.
///
/// # Errors
/// It cannot be read.
pub(crate) fn file_ids(copy: &Path) -> Result<Vec<FileId>, StoreError> {
    let url = uri(copy, "mode=ro").ok_or_else(|| StoreError::Io("the path is not UTF-8".into()))?;
    let mut connection = SqliteConnection::establish(&url).map_err(|error| StoreError::Io(error.to_string()))?;
    let ids: Vec<String> = file::table.select(file::id).load(&mut connection)?;
    let read = |id: String| {
        id.parse()
            .map_err(|_| StoreError::Database("a file's id cannot be read".into()))
    };
    ids.into_iter().map(read).collect()
}

#[derive(QueryableByName)]
struct Tables {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

type MarkRow = (Micros, String, String, String, String, i64, Vec<u8>);

/// What a database says of itself, if it is a backup that no server has started on yet.
///
/// # Errors
/// It cannot be read.
pub(crate) fn mark(connection: &mut SqliteConnection) -> Result<Option<Mark>, StoreError> {
    let found: Tables =
        diesel::sql_query("SELECT count(*) AS count FROM sqlite_schema WHERE type = 'table' AND name = 'backup_mark'")
            .get_result(connection)?;
    if found.count == 0 {
        return Ok(None);
    }
    let row: MarkRow = backup_mark::table
        .select((
            backup_mark::made_at,
            backup_mark::made_by,
            backup_mark::reason,
            backup_mark::journal_id,
            backup_mark::epoch,
            backup_mark::size,
            backup_mark::root,
        ))
        .first(connection)?;
    let (made_at, made_by, reason, journal_id, epoch, size, root) = row;
    let root = root
        .try_into()
        .map_err(|_| StoreError::Database("the root in the backup's mark cannot be read".into()))?;
    Ok(Some(Mark {
        note: Note {
            made_at,
            made_by,
            reason,
        },
        journal_id,
        epoch,
        size,
        root,
    }))
}

/// Takes the mark off, if there is one: in the transaction that gives the journal its new id.
pub(super) fn unmark(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    Ok(connection.batch_execute("DROP TABLE IF EXISTS backup_mark;")?)
}
