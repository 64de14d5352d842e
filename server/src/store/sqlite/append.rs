//! The connection that appends.

use std::future::{Future, ready};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

use super::{derive, find, load, log, restorations, tree};
use crate::domain::entry::Entry;
use crate::domain::facts::{Facts, Needs};
use crate::domain::state::State;
use crate::store::{Appender, Head, Identity, StoreError, Writes};

/// Appends to SQLite. Its futures are ready at once: they run on the writer's own thread, which may block.
pub struct SqliteAppender {
    connection: SqliteConnection,
    /// About how many bytes went into the write-ahead log since it was last moved into the database.
    logged: usize,
}

/// Bytes of the write-ahead log after which it is moved into the database.
const CHECKPOINT_BYTES: usize = 4 << 20;
/// About what a row costs the log beyond its own bytes, and what a commit does: pages are logged whole.
const ROW_BYTES: usize = 1024;
const COMMIT_BYTES: usize = 16 << 10;

impl std::fmt::Debug for SqliteAppender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteAppender")
    }
}

impl SqliteAppender {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self { connection, logged: 0 }
    }

    /// Who this journal is; made with its first start.
    pub fn identity(&mut self) -> Result<Identity, StoreError> {
        log::backfill(&mut self.connection)?;
        tree::backfill(&mut self.connection)?;
        restorations::backfill(&mut self.connection)?;
        load::identity(&mut self.connection)
    }

    /// What the database says of itself, if it is a backup that no server has started on yet.
    pub fn backup_mark(&mut self) -> Result<Option<crate::backup::Mark>, StoreError> {
        super::backup::mark(&mut self.connection)
    }

    /// Lets the database grow to no more than its size, or so many pages: a full disk for tests.
    #[cfg(test)]
    pub(crate) fn limit_pages(&mut self, pages: u32) -> Result<(), StoreError> {
        Ok(self.connection.batch_execute(&format!("PRAGMA max_page_count = {pages};"))?)
    }

    /// The newest rows, ascending, for the check at start.
    pub fn newest_rows(&mut self, count: i64) -> Result<Vec<load::StoredRow>, StoreError> {
        load::newest_rows(&mut self.connection, count)
    }
}

impl Appender for SqliteAppender {
    fn begin(&mut self, _known: i64) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send {
        // The data directory is locked: nobody else appends.
        ready(
            self.connection
                .batch_execute("BEGIN IMMEDIATE")
                .map(|()| Vec::new())
                .map_err(Into::into),
        )
    }

    fn find(&mut self, needs: &Needs) -> impl Future<Output = Result<Facts, StoreError>> + Send {
        ready(find::facts(&mut self.connection, needs))
    }

    fn write(&mut self, writes: &Writes) -> impl Future<Output = Result<(), StoreError>> + Send {
        let bytes = writes
            .rows
            .iter()
            .map(|row| row.head.len() + row.body.len() + ROW_BYTES)
            .sum::<usize>();
        self.logged += bytes + COMMIT_BYTES;
        ready(derive::write(&mut self.connection, writes))
    }

    fn commit(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(self.connection.batch_execute("COMMIT").map_err(Into::into))
    }

    fn roll_back(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send {
        // Some errors end the transaction by themselves; then nothing is left to roll back.
        ready(self.connection.batch_execute("ROLLBACK").or_else(|error| {
            if error.to_string().contains("no transaction is active") {
                Ok(())
            } else {
                Err(error.into())
            }
        }))
    }

    fn tend(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send {
        if self.logged < CHECKPOINT_BYTES {
            return ready(Ok(()));
        }
        // SQLite's automatic checkpoint ignores errors. A sync that failed must not be ignored: the next one would call it a success.
        let moved = self.connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE);");
        if moved.is_ok() {
            self.logged = 0;
        }
        ready(moved.map_err(Into::into))
    }

    fn load(&mut self) -> impl Future<Output = Result<(State, Head), StoreError>> + Send {
        ready(load::state(&mut self.connection))
    }

    fn settle(&mut self) -> impl Future<Output = Result<bool, StoreError>> + Send {
        ready(super::truncate_log(&mut self.connection))
    }
}
