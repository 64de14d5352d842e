//! The index of texts: a database of its own beside the journal's, which can be deleted and is then made again.
//!
//! It holds current texts only. What is taken out of it leaves no trace in the file: `secure_delete` overwrites rows, and FTS5's own
//! `secure-delete` the words of the index.
//!
//! It is in **parts**, each with the messages of so many rows of the journal, and a search goes from the newest part to older ones until its
//! page is full. A word is sought as the begin of others, for which FTS5 puts together the lists of all of them before it gives the first
//! message: a part bounds what that costs. Texts go into the newest part, the table `words`; when the next one begins, it is renamed.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use diesel::connection::{DefaultLoadingMode, SimpleConnection as _};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::upsert::excluded;

use self::tables::{follower, part, place, share, words};

use super::pool::SqliteReader;
use crate::store::{StoreError, TextChange};

/// Rows of the journal of a part: 2 to the power of this. With larger parts common words take longer, with smaller ones rare words, which
/// are sought in all of them: 131,072 rows take up to 12 ms and 0.1 ms.
const PART_BITS: u32 = 17;
/// Texts that one search looks at before it answers with a shorter page.
const SCAN: usize = 5000;
/// How long one search may take before it answers with a shorter page. Looked at between parts.
const PATIENCE: Duration = Duration::from_millis(20);
/// Where the caller's rooms have less than one in so many of a part's texts, FTS5 seeks the rooms as it does words, which costs the more the
/// more rooms they are. Otherwise the place of each text with the words is looked at, which costs the more the more texts are elsewhere.
const SPARSE: i64 = 16;
/// `PRAGMA user_version` of an index with these tables.
const LAYOUT: i64 = 2;

const SETTINGS: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;";

/// The tables of the newest part's words.
const WORDS: &str = "
    CREATE VIRTUAL TABLE words USING fts5(text, room, tokenize = 'unicode61 remove_diacritics 2', columnsize = 0);
    INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
";

const SCHEMA: &str = "
    CREATE TABLE place (
        no      INTEGER PRIMARY KEY,      -- row of the journal that posted the message; the same in `words`
        room    BIGINT NOT NULL,
        seq     BIGINT NOT NULL,
        current BIGINT NOT NULL,          -- row of the journal with the text that is indexed
        UNIQUE (room, seq)
    );
    CREATE TABLE part (
        no    INTEGER PRIMARY KEY,        -- the rows of its messages, without the last bits
        texts BIGINT NOT NULL             -- that came into it; those that went again are counted too
    );
    CREATE TABLE share (                  -- the same for each room
        part  BIGINT NOT NULL,
        room  BIGINT NOT NULL,
        texts BIGINT NOT NULL,
        PRIMARY KEY (part, room)
    ) WITHOUT ROWID;
    CREATE TABLE follower (one INTEGER PRIMARY KEY CHECK (one = 1), journal_id TEXT NOT NULL, next BIGINT NOT NULL);
    INSERT INTO part (no, texts) VALUES (0, 0);
";

/// The tables, as Diesel sees them: statements on them are prepared once.
mod tables {
    diesel::table! {
        words (rowid) {
            rowid -> BigInt,
            text -> Text,
            room -> Text,
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
        part (no) {
            no -> BigInt,
            texts -> BigInt,
        }
    }

    diesel::table! {
        share (part, room) {
            part -> BigInt,
            room -> BigInt,
            texts -> BigInt,
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

/// The part of a message that was posted by row `no`.
fn part_of(no: i64) -> i64 {
    no >> PART_BITS
}

/// The table with the words of a part.
fn table(part: i64, newest: i64) -> String {
    if part == newest {
        "words".to_owned()
    } else {
        format!("words_{part}")
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

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

/// The connection that follows the journal.
pub struct TextIndex {
    connection: SqliteConnection,
    /// The part that texts go into.
    newest: i64,
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
        connection.batch_execute(SETTINGS)?;
        let mut number = |query: &str| diesel::sql_query(query).get_result::<Number>(&mut connection);
        let tables = number("SELECT count(*) AS value FROM sqlite_schema")?.value;
        let layout = number("SELECT user_version AS value FROM pragma_user_version")?.value;
        if tables == 0 {
            connection.batch_execute(&format!(
                "BEGIN; {WORDS} {SCHEMA} PRAGMA user_version = {LAYOUT}; COMMIT;"
            ))?;
        } else if layout != LAYOUT {
            return Err(StoreError::Database("it was made by another release".into()));
        }
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
        let newest: Option<i64> = part::table.select(diesel::dsl::max(part::no)).first(&mut connection)?;
        let newest = newest.ok_or_else(|| StoreError::Database("it has no parts".into()))?;
        Ok((Self { connection, newest }, next))
    }

    /// Threads that search.
    pub fn reader(path: &Path) -> Result<SqliteReader, StoreError> {
        SqliteReader::start(path, 1)
    }

    /// Takes out the texts of messages, given by number of the room and seq; `next` is where the index is.
    pub fn take_out(&mut self, places: &[(i64, i64)], next: i64) -> Result<(), StoreError> {
        let gone = places.iter().map(|(room, seq)| TextChange {
            index: next,
            room: *room,
            seq: *seq,
            text: None,
        });
        self.apply(&gone.collect::<Vec<_>>(), next)
    }

    /// Leaves nothing in the write-ahead log. False: somebody reads what was there before.
    pub fn settle(&mut self) -> Result<bool, StoreError> {
        super::truncate_log(&mut self.connection)
    }

    /// Takes in what the rows before `next` do to texts.
    pub fn apply(&mut self, changes: &[TextChange], next: i64) -> Result<(), StoreError> {
        let newest = self.newest;
        self.newest = self.connection.immediate_transaction(|connection| {
            let mut batch = Batch {
                connection,
                newest,
                added: HashMap::new(),
            };
            for change in changes {
                batch.apply(change)?;
            }
            batch.count()?;
            let newest = batch.newest;
            diesel::update(follower::table)
                .set(follower::next.eq(next))
                .execute(connection)?;
            Ok::<_, StoreError>(newest)
        })?;
        Ok(())
    }
}

/// Changes that become one transaction.
struct Batch<'a> {
    connection: &'a mut SqliteConnection,
    newest: i64,
    /// Texts that came into parts and rooms.
    added: HashMap<(i64, i64), i64>,
}

impl Batch<'_> {
    fn apply(&mut self, change: &TextChange) -> Result<(), StoreError> {
        let known: Option<i64> = place::table
            .filter(place::room.eq(change.room).and(place::seq.eq(change.seq)))
            .select(place::no)
            .get_result(self.connection)
            .optional()?;
        let no = known.unwrap_or(change.index);
        if known.is_some() {
            self.take_out(no)?;
        }
        let Some(text) = &change.text else { return Ok(()) };
        self.put_in(no, text, change.room)?;
        diesel::insert_into(place::table)
            .values((
                place::no.eq(no),
                place::room.eq(change.room),
                place::seq.eq(change.seq),
                place::current.eq(change.index),
            ))
            .execute(self.connection)?;
        Ok(())
    }

    fn take_out(&mut self, no: i64) -> Result<(), StoreError> {
        let part = part_of(no);
        if part == self.newest {
            diesel::delete(words::table.find(no)).execute(self.connection)?;
        } else {
            diesel::sql_query(format!("DELETE FROM {} WHERE rowid = ?", table(part, self.newest)))
                .bind::<BigInt, _>(no)
                .execute(self.connection)?;
        }
        diesel::delete(place::table.find(no)).execute(self.connection)?;
        Ok(())
    }

    fn put_in(&mut self, no: i64, text: &str, room: i64) -> Result<(), StoreError> {
        let part = part_of(no);
        if part > self.newest {
            self.begin(part)?;
        }
        if part == self.newest {
            diesel::insert_into(words::table)
                .values((
                    words::rowid.eq(no),
                    words::text.eq(text),
                    words::room.eq(room.to_string()),
                ))
                .execute(self.connection)?;
        } else {
            diesel::sql_query(format!(
                "INSERT INTO {} (rowid, text, room) VALUES (?, ?, ?)",
                table(part, self.newest)
            ))
            .bind::<BigInt, _>(no)
            .bind::<Text, _>(text)
            .bind::<Text, _>(room.to_string())
            .execute(self.connection)?;
        }
        *self.added.entry((part, room)).or_default() += 1;
        Ok(())
    }

    /// Begins a part, and leaves the one before in few pieces: little comes to it any more.
    fn begin(&mut self, part: i64) -> Result<(), StoreError> {
        let before = format!("words_{}", self.newest);
        self.connection.batch_execute(&format!(
            "ALTER TABLE words RENAME TO {before}; INSERT INTO {before} ({before}) VALUES ('optimize'); {WORDS}"
        ))?;
        diesel::insert_into(part::table)
            .values((part::no.eq(part), part::texts.eq(0)))
            .execute(self.connection)?;
        self.newest = part;
        Ok(())
    }

    /// Notes what came into parts and rooms.
    fn count(&mut self) -> Result<(), StoreError> {
        for ((part, room), texts) in &self.added {
            diesel::insert_into(share::table)
                .values((share::part.eq(part), share::room.eq(room), share::texts.eq(texts)))
                .on_conflict((share::part, share::room))
                .do_update()
                .set(share::texts.eq(share::texts + excluded(share::texts)))
                .execute(self.connection)?;
            diesel::update(part::table.find(part))
                .set(part::texts.eq(part::texts + texts))
                .execute(self.connection)?;
        }
        Ok(())
    }
}

/// Who searches for what.
struct Wanted<'a> {
    /// The words, as FTS5 wants them.
    query: &'a str,
    /// Rooms by number, with the first seq that may be read.
    rooms: &'a HashMap<i64, i64>,
    /// Their numbers, with commas.
    numbers: String,
    /// Only messages of rows before this one.
    before: i64,
    /// How many.
    size: usize,
}

/// Messages that match, newest first, from before the row `before`; the last one may not be the last there is.
///
/// Returns at most `size` of them in `rooms` (by number, with the first seq that may be read), and from where to go on, if there may be more.
/// What is in other rooms leaves no trace in the messages, and in where a page ends only by the time that it took.
pub(crate) fn find(
    connection: &mut SqliteConnection,
    query: &str,
    rooms: &HashMap<i64, i64>,
    before: i64,
    size: usize,
) -> Result<(Vec<Hit>, Option<i64>), StoreError> {
    find_within(connection, query, rooms, before, size, PATIENCE)
}

fn find_within(
    connection: &mut SqliteConnection,
    query: &str,
    rooms: &HashMap<i64, i64>,
    before: i64,
    size: usize,
    patience: Duration,
) -> Result<(Vec<Hit>, Option<i64>), StoreError> {
    let begin = Instant::now();
    let numbers: Vec<String> = rooms.keys().map(i64::to_string).collect();
    let wanted = Wanted {
        query,
        rooms,
        numbers: numbers.join(","),
        before,
        size,
    };
    // One state of the index, in which no part is renamed.
    connection.transaction(|connection| {
        let newest: Option<i64> = part::table.select(diesel::dsl::max(part::no)).first(connection)?;
        let parts: Vec<(i64, i64)> = part::table
            .filter(part::no.le(part_of(before.saturating_sub(1))))
            .order(part::no.desc())
            .load(connection)?;
        let mut hits = Vec::new();
        let mut scanned = 0;
        for (number, (part, texts)) in parts.into_iter().enumerate() {
            if number > 0 && begin.elapsed() > patience {
                return Ok((hits, Some((part + 1) << PART_BITS)));
            }
            let Some(matching) = wanted.matching(connection, part, texts)? else {
                continue;
            };
            let words = table(part, newest.unwrap_or(part));
            if let Some(next) = wanted.look(connection, &words, &matching, &mut hits, &mut scanned)? {
                return Ok((hits, Some(next)));
            }
        }
        Ok((hits, None))
    })
}

impl Wanted<'_> {
    /// The query for a part with so many texts; none if it has nothing from these rooms.
    fn matching(&self, connection: &mut SqliteConnection, part: i64, texts: i64) -> Result<Option<String>, StoreError> {
        let shares: Vec<Share> = diesel::sql_query(format!(
            "SELECT room, texts FROM share WHERE part = ? AND room IN ({})",
            self.numbers
        ))
        .bind::<BigInt, _>(part)
        .load(connection)?;
        if shares.is_empty() {
            return Ok(None);
        }
        let words = format!("text : ({})", self.query);
        let theirs: i64 = shares.iter().map(|share| share.texts).sum();
        if theirs.saturating_mul(SPARSE) >= texts {
            return Ok(Some(words));
        }
        let rooms: Vec<String> = shares.iter().map(|share| format!("\"{}\"", share.room)).collect();
        Ok(Some(format!("{words} AND room : ({})", rooms.join(" OR "))))
    }

    /// Adds what the table `words` has to `hits`, and tells from where to go on if the page is full, or enough was looked at.
    fn look(
        &self,
        connection: &mut SqliteConnection,
        words: &str,
        matching: &str,
        hits: &mut Vec<Hit>,
        scanned: &mut usize,
    ) -> Result<Option<i64>, StoreError> {
        let found = diesel::sql_query(format!(
            "SELECT p.no, p.room, p.seq, p.current FROM {words} w CROSS JOIN place p ON p.no = w.rowid
             WHERE w.{words} MATCH ? AND w.rowid < ? AND p.room IN ({}) ORDER BY w.rowid DESC",
            self.numbers
        ))
        .bind::<Text, _>(matching)
        .bind::<BigInt, _>(self.before)
        .load_iter::<Hit, DefaultLoadingMode>(connection)?;
        // Read one by one: a page needs few of them.
        for hit in found {
            let hit = hit?;
            if *scanned >= SCAN {
                return Ok(Some(hit.no + 1));
            }
            *scanned += 1;
            if self.rooms.get(&hit.room).is_none_or(|first| hit.seq < *first) {
                continue;
            }
            if hits.len() == self.size {
                return Ok(hits.last().map(|hit| hit.no));
            }
            hits.push(hit);
        }
        Ok(None)
    }
}

#[derive(QueryableByName)]
struct Share {
    #[diesel(sql_type = BigInt)]
    room: i64,
    #[diesel(sql_type = BigInt)]
    texts: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: i64 = 1 << PART_BITS;

    fn change(index: i64, (room, seq): (i64, i64), text: Option<&str>) -> TextChange {
        TextChange {
            index,
            room,
            seq,
            text: text.map(str::to_owned),
        }
    }

    fn open() -> (tempfile::TempDir, TextIndex) {
        let directory = tempfile::tempdir().unwrap();
        let (index, next) = TextIndex::open(&directory.path().join("search.db"), "j", 0).unwrap();
        assert_eq!(next, 0);
        (directory, index)
    }

    /// The rows of all messages with these words in some rooms, and how many each page had.
    fn pages(
        index: &mut TextIndex,
        query: &str,
        rooms: &[i64],
        size: usize,
        patience: Duration,
    ) -> (Vec<i64>, Vec<usize>) {
        let rooms: HashMap<i64, i64> = rooms.iter().map(|room| (*room, 1)).collect();
        let (mut all, mut sizes) = (Vec::new(), Vec::new());
        let mut before = i64::MAX;
        loop {
            let (hits, next) = find_within(&mut index.connection, query, &rooms, before, size, patience).unwrap();
            sizes.push(hits.len());
            all.extend(hits.iter().map(|hit| hit.no));
            match next {
                Some(next) => before = next,
                None => return (all, sizes),
            }
        }
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_in_several_parts_is_found_newest_first() {
        let (_directory, mut index) = open();
        let rows = [1, 2, PART + 7, 3 * PART, 3 * PART + 1, 4 * PART - 1, 4 * PART];
        let posts: Vec<TextChange> = rows.iter().map(|row| change(*row, (1, *row), Some("tea with milk"))).collect();
        // In one transaction and in several.
        index.apply(&posts[..5], rows[4] + 1).unwrap();
        for post in &posts[5..] {
            index.apply(std::slice::from_ref(post), post.index + 1).unwrap();
        }
        let newest_first: Vec<i64> = rows.into_iter().rev().collect();
        assert_eq!(
            pages(&mut index, "\"te\"* \"milk\"*", &[1], 2, LONG),
            (newest_first.clone(), vec![2, 2, 2, 1])
        );
        // A page that ends with a part, and one that could have had more.
        assert_eq!(pages(&mut index, "\"tea\"*", &[1], 7, LONG), (newest_first, vec![7]));
        // Old parts change, too.
        let now = 5 * PART;
        index
            .apply(
                &[
                    change(now, (1, 2), Some("coffee")),
                    change(now + 1, (1, 3 * PART), None),
                    change(now + 2, (1, 4 * PART), Some("tea again")),
                ],
                now + 3,
            )
            .unwrap();
        let (found, _) = pages(&mut index, "\"tea\"*", &[1], 100, LONG);
        assert_eq!(found, [4 * PART, 4 * PART - 1, 3 * PART + 1, PART + 7, 1]);
        assert_eq!(pages(&mut index, "\"coffee\"*", &[1], 100, LONG).0, [2]);
        assert_eq!(pages(&mut index, "\"again\"*", &[1], 100, LONG).0, [4 * PART]);
    }

    #[test]
    fn a_search_that_takes_long_goes_on_in_the_next_page() {
        let (_directory, mut index) = open();
        let rows: Vec<i64> = (0..5).flat_map(|part| [part * PART, part * PART + 9]).collect();
        let posts: Vec<TextChange> = rows.iter().map(|row| change(*row, (1, row + 1), Some("tea"))).collect();
        index.apply(&posts, 5 * PART).unwrap();
        let (found, sizes) = pages(&mut index, "\"tea\"*", &[1], 100, Duration::ZERO);
        assert_eq!(found, rows.into_iter().rev().collect::<Vec<_>>());
        assert_eq!(sizes, [2; 5]);
        let (found, sizes) = pages(&mut index, "\"coffee\"*", &[1], 100, Duration::ZERO);
        assert!(found.is_empty());
        assert_eq!(sizes, [0; 5]);
    }

    #[test]
    fn rooms_with_few_texts_are_sought_and_those_with_many_are_filtered() {
        let (_directory, mut index) = open();
        // Room 2 has most of the texts, room 1 one in fifty, and room 12 is never to be taken for either.
        let room = |row: i64| match row % 50 {
            0 => 1,
            1 => 12,
            _ => 2,
        };
        let posts: Vec<TextChange> = (0..500).map(|row| change(row, (room(row), row + 1), Some("tea 1"))).collect();
        index.apply(&posts, 500).unwrap();
        for rooms in [&[1][..], &[12], &[1, 12], &[2], &[1, 2]] {
            let first_seqs: HashMap<i64, i64> = rooms.iter().map(|room| (*room, 1)).collect();
            let numbers: Vec<String> = rooms.iter().map(i64::to_string).collect();
            let wanted = Wanted {
                query: "\"te\"*",
                rooms: &first_seqs,
                numbers: numbers.join(","),
                before: i64::MAX,
                size: 100,
            };
            let matching = wanted.matching(&mut index.connection, 0, 500).unwrap().unwrap();
            assert_eq!(matching.contains("room :"), !rooms.contains(&2), "{matching}");
            let theirs: Vec<i64> = (0..500).rev().filter(|row| rooms.contains(&room(*row))).collect();
            assert_eq!(pages(&mut index, "\"te\"*", rooms, 7, LONG).0, theirs, "{rooms:?}");
            assert_eq!(
                pages(&mut index, "\"te\"* \"1\"*", rooms, 100, LONG).0,
                theirs,
                "{rooms:?}"
            );
            assert_eq!(pages(&mut index, "\"2\"*", rooms, 100, LONG).0, [0; 0], "{rooms:?}");
        }
        assert_eq!(pages(&mut index, "\"tea\"*", &[3], 100, LONG).0, [0; 0]);
    }

    #[test]
    fn an_index_with_other_tables_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("search.db");
        let mut before = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        before
            .batch_execute(
                "CREATE VIRTUAL TABLE words USING fts5(text);
                 CREATE TABLE follower (one INTEGER PRIMARY KEY, journal_id TEXT NOT NULL, next BIGINT NOT NULL);
                 INSERT INTO follower VALUES (1, 'j', 7);",
            )
            .unwrap();
        drop(before);
        let (mut index, next) = TextIndex::open(&path, "j", 7).unwrap();
        assert_eq!(next, 0);
        index.apply(&[change(3, (1, 1), Some("tea"))], 7).unwrap();
        drop(index);
        let (mut index, next) = TextIndex::open(&path, "j", 7).unwrap();
        assert_eq!(next, 7);
        assert_eq!(pages(&mut index, "\"tea\"*", &[1], 100, LONG).0, [3]);
    }
}
