//! The store on SQLite: one connection writes, on the writer's thread; a few threads read, each with a connection of its own.

mod append;
mod derive;
mod find;
mod load;
mod open;
mod pool;
mod read;

pub use append::SqliteAppender;
pub use open::{OpenError, Opened, open, open_for_check};
pub use pool::SqliteReader;

use diesel::result::Error as DieselError;

use super::StoreError;

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        // Diesel passes on SQLite's texts and not its codes. The texts are those of `sqlite3ErrStr`, which SQLite keeps stable.
        let text = error.to_string();
        if text.contains("database or disk is full") {
            Self::Full
        } else if text.contains("database is locked") || text.contains("database table is locked") {
            Self::Locked
        } else if ["disk I/O error", "unable to open database file", "malformed", "not a database"].iter().any(|io| text.contains(io)) {
            Self::Io(text)
        } else {
            Self::Database(text)
        }
    }
}
