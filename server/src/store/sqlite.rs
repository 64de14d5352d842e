//! The store on SQLite: one connection writes, on the writer's thread; a few threads read, each with a connection of its own.

mod append;
pub(crate) mod backup;
mod derive;
mod find;
mod insert;
pub(crate) mod load;
pub(crate) mod log;
mod open;
mod pool;
mod read;
mod restorations;
mod signed;
pub mod text_index;
pub(crate) mod tree;

pub use append::SqliteAppender;
pub use open::{OpenError, Opened, open, open_for_check};
pub use pool::SqliteReader;
pub(crate) use pool::connect as open_to_read;

use diesel::prelude::*;
use diesel::result::Error as DieselError;

use super::StoreError;

impl StoreError {
    /// What SQLite says, sorted. Diesel passes on SQLite's texts and not its codes; these are the texts of `sqlite3ErrStr`.
    fn from_text(text: String) -> Self {
        let has = |part: &str| text.contains(part);
        if has("database or disk is full") {
            Self::Full
        } else if has("database is locked") || has("database table is locked") {
            Self::Locked
        } else if has("disk I/O error")
            || has("unable to open database file")
            || has("malformed")
            || has("not a database")
        {
            Self::Io(text)
        } else {
            Self::Database(text)
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Moved {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    busy: i32,
}

/// Moves what is in the write-ahead log into the database, and leaves the log empty; unless somebody reads what it was before.
pub(crate) fn truncate_log(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let moved: Moved = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(connection)?;
    Ok(moved.busy == 0)
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        Self::from_text(error.to_string())
    }
}
