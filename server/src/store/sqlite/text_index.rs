//! The index of texts: a database of its own beside the journal's, which can be deleted and is then made again.
//!
//! It holds current texts only. What is taken out of it leaves no trace in the file: `secure_delete` overwrites rows, and FTS5's own
//! `secure-delete` the words of the index.

use std::collections::HashMap;
use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use self::tables::{follower, place, words};

use super::pool::SqliteReader;
use crate::store::{StoreError, TextChange};

/// Texts that one search looks at before it answers with a shorter page.
const SCAN: i64 = 5000;

const SCHEMA: &str = "
    PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;
    CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, tokenize = 'unicode61 remove_diacritics 2');
    INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
    CREATE TABLE IF NOT EXISTS place (
        no      INTEGER PRIMARY KEY,      -- row of the journal that posted the message; the same in `words`
        room    BIGINT NOT NULL,
        seq     BIGINT NOT NULL,
        current BIGINT NOT NULL,          -- row of the journal with the text that is indexed
        UNIQUE (room, seq)
    );
    CREATE TABLE IF NOT EXISTS follower (one INTEGER PRIMARY KEY CHECK (one = 1), journal_id TEXT NOT NULL, next BIGINT NOT NULL);
";

/// The tables, as Diesel sees them: statements on them are prepared once.
mod tables {
    diesel::table! {
        words (rowid) {
            rowid -> BigInt,
            text -> Text,
        }
    }

    diesel::table! {
        place (no) {
            no -> BigInt,
            room -> BigInt,
            seq -> BigInt,
            current -> BigInt,
        }
    }

    diesel::table! {
        follower (one) {
            one -> Integer,
            journal_id -> Text,
            next -> BigInt,
        }
    }
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Hit {
    /// The row that posted it.
    #[diesel(sql_type = BigInt)]
    pub no: i64,
    /// The number of its room.
    #[diesel(sql_type = BigInt)]
    pub room: i64,
    /// Its seq.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// The row with the text that matched.
    #[diesel(sql_type = BigInt)]
    pub current: i64,
}

#[derive(QueryableByName)]
struct Position {
    #[diesel(sql_type = Text)]
    journal_id: String,
    #[diesel(sql_type = BigInt)]
    next: i64,
}

/// The connection that follows the journal.
pub struct TextIndex {
    connection: SqliteConnection,
}

impl std::fmt::Debug for TextIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TextIndex")
    }
}

impl TextIndex {
    /// Opens or makes the index of the journal `journal_id`, and tells the first row that is not in it. One that is damaged, or of another
    /// journal, or ahead of `size`, is made anew.
    pub fn open(path: &Path, journal_id: &str, size: i64) -> Result<(Self, i64), StoreError> {
        match Self::try_open(path, journal_id, size) {
            Ok(opened) => Ok(opened),
            Err(error) => {
                tracing::warn!(%error, "The search index is made anew");
                for suffix in ["", "-wal", "-shm"] {
                    let mut name = path.as_os_str().to_owned();
                    name.push(suffix);
                    match std::fs::remove_file(&name) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            return Err(StoreError::Io(error.to_string()));
                        }
                        _ => {}
                    }
                }
                Self::try_open(path, journal_id, size)
            }
        }
    }

    fn try_open(path: &Path, journal_id: &str, size: i64) -> Result<(Self, i64), StoreError> {
        super::open::keep_private(path).map_err(|error| StoreError::Io(error.to_string()))?;
        let text = path.to_str().ok_or_else(|| StoreError::Io("the path is not UTF-8".into()))?;
        let mut connection = SqliteConnection::establish(text).map_err(|error| StoreError::Io(error.to_string()))?;
        connection.batch_execute(SCHEMA)?;
        let found: Option<Position> = diesel::sql_query("SELECT journal_id, next FROM follower")
            .get_result(&mut connection)
            .optional()?;
        let next = match found {
            Some(position) if position.journal_id == journal_id && position.next <= size => position.next,
            Some(_) => return Err(StoreError::Database("it belongs to another journal".into())),
            None => {
                diesel::sql_query("INSERT INTO follower (one, journal_id, next) VALUES (1, ?, 0)")
                    .bind::<Text, _>(journal_id)
                    .execute(&mut connection)?;
                0
            }
        };
        Ok((Self { connection }, next))
    }

    /// Threads that search.
    pub fn reader(path: &Path) -> Result<SqliteReader, StoreError> {
        SqliteReader::start(path, 1)
    }

    /// Takes in what the rows before `next` do to texts.
    pub fn apply(&mut self, changes: &[TextChange], next: i64) -> Result<(), StoreError> {
        self.connection.immediate_transaction(|connection| {
            for change in changes {
                apply(connection, change)?;
            }
            diesel::update(follower::table)
                .set(follower::next.eq(next))
                .execute(connection)?;
            Ok(())
        })
    }
}

fn apply(connection: &mut SqliteConnection, change: &TextChange) -> Result<(), StoreError> {
    let known: Option<i64> = place::table
        .filter(place::room.eq(change.room).and(place::seq.eq(change.seq)))
        .select(place::no)
        .get_result(connection)
        .optional()?;
    let no = known.unwrap_or(change.index);
    if known.is_some() {
        diesel::delete(words::table.find(no)).execute(connection)?;
        diesel::delete(place::table.find(no)).execute(connection)?;
    }
    let Some(text) = &change.text else { return Ok(()) };
    diesel::insert_into(words::table)
        .values((words::rowid.eq(no), words::text.eq(text)))
        .execute(connection)?;
    diesel::insert_into(place::table)
        .values((
            place::no.eq(no),
            place::room.eq(change.room),
            place::seq.eq(change.seq),
            place::current.eq(change.index),
        ))
        .execute(connection)?;
    Ok(())
}

/// Messages that match, newest first, from before the row `before`; the last one may not be the last there is.
///
/// Returns at most `size` of them in `rooms` (by number, with the first seq that may be read), and from where to go on, if there may be more.
/// What is in other rooms leaves no trace in the answer.
pub(crate) fn find(
    connection: &mut SqliteConnection,
    query: &str,
    rooms: &HashMap<i64, i64>,
    before: i64,
    size: usize,
) -> Result<(Vec<Hit>, Option<i64>), StoreError> {
    let numbers: Vec<String> = rooms.keys().map(i64::to_string).collect();
    let found: Vec<Hit> = diesel::sql_query(format!(
        "SELECT p.no, p.room, p.seq, p.current FROM words w JOIN place p ON p.no = w.rowid
         WHERE words MATCH ? AND w.rowid < ? AND p.room IN ({}) ORDER BY w.rowid DESC LIMIT ?",
        numbers.join(",")
    ))
    .bind::<Text, _>(query)
    .bind::<BigInt, _>(before)
    .bind::<BigInt, _>(SCAN)
    .load(connection)?;
    let scanned_all = i64::try_from(found.len()).unwrap_or(SCAN) < SCAN;
    let last_scanned = found.last().map(|hit| hit.no);
    let mut hits: Vec<Hit> = found
        .into_iter()
        .filter(|hit| rooms.get(&hit.room).is_some_and(|first| hit.seq >= *first))
        .take(size + 1)
        .collect();
    if hits.len() > size {
        hits.truncate(size);
        return Ok((hits.clone(), hits.last().map(|hit| hit.no)));
    }
    Ok((hits, last_scanned.filter(|_| !scanned_all)))
}
