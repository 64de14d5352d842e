//! The check of a running server's journal, in portions, each a short read of its own, so that the write-ahead log can be emptied in between and
//! nobody waits.
//!
//! It verifies every row, the tree, the parts of it that are kept, checkpoints, seqs, and the places of rows in rooms and logs; and, unless
//! something was erased, people, rooms, memberships, files and what stands. Texts that are withheld, reactions, mentions, salts and the bytes of
//! files are left to `greffe-server check`: they need more memory or more of the disk than a server at work should give.

use std::collections::HashMap;
use std::path::Path;

use diesel::prelude::*;
use greffe_api::v1::{EventHead, EventKind};

use super::checkpoints::Checkpoints;
use super::{CheckError, Names, find_logged, place};
use crate::domain::clock::from_timestamp;
use crate::domain::state::State;
use crate::journal::event::decode;
use crate::journal::tree::{Edge, leaf_hash};
use crate::journal::verify::check_row;
use crate::lifecycle::DATABASE;
use crate::store::sqlite::load::{StoredRow, known_identity, rows_from, state};
use crate::store::sqlite::log::Follower;
use crate::store::sqlite::{open_to_read, tree};
use crate::store::{StoreError, is_kept};

/// Rows of a portion.
const PORTION: i64 = 2000;

/// What rows lead to, as long as nothing was erased.
#[derive(Default)]
struct Fold {
    state: State,
    logs: Follower,
}

/// A journal that is being checked.
pub(crate) struct Walk {
    connection: SqliteConnection,
    checkpoints: Checkpoints,
    /// Rows that there were at the beginning.
    end: i64,
    next: i64,
    time: i64,
    edge: Edge,
    subtrees: i64,
    names: Names,
    /// Newest seqs of rooms, and their numbers.
    rooms: HashMap<String, (i64, i64)>,
    fold: Option<Box<Fold>>,
}

impl Walk {
    /// Begins with the journal of a data directory, as many rows as it has now.
    pub(crate) fn begin(data_dir: &Path) -> Result<Self, CheckError> {
        let mut connection = open_to_read(&data_dir.join(DATABASE))?;
        // Before the size: the journal may grow in between, and what was signed of it must be among what is checked.
        let checkpoints = Checkpoints::read(data_dir, &mut connection)?;
        let (size, _) = tree::newest(&mut connection)?;
        Ok(Self {
            connection,
            checkpoints,
            end: i64::try_from(size).unwrap_or(i64::MAX),
            next: 0,
            time: i64::MIN,
            edge: Edge::default(),
            subtrees: 0,
            names: Names::default(),
            rooms: HashMap::new(),
            fold: Some(Box::default()),
        })
    }

    /// Rows that were checked.
    pub(crate) fn rows(&self) -> i64 {
        self.next
    }

    /// Checks a portion. True: it was the last one.
    ///
    /// # Errors
    /// What is wrong first.
    pub(crate) fn portion(&mut self) -> Result<bool, CheckError> {
        self.in_one_read(|walk| {
            if walk.next < walk.end {
                let rows = rows_from(&mut walk.connection, walk.next, PORTION.min(walk.end - walk.next))?;
                if rows.is_empty() {
                    let why = "it is missing".to_owned();
                    return Err(CheckError::Row { index: walk.next, why });
                }
                rows.iter().try_for_each(|row| walk.take(row))?;
                return Ok(false);
            }
            walk.finish().map(|()| true)
        })
    }

    /// Sees the database as it is at one moment.
    fn in_one_read<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, CheckError>) -> Result<T, CheckError> {
        let begin = |walk: &mut Self, sql: &str| -> Result<(), CheckError> {
            diesel::sql_query(sql)
                .execute(&mut walk.connection)
                .map(|_| ())
                .map_err(|error| CheckError::Read(StoreError::from(error)))
        };
        begin(self, "BEGIN")?;
        let outcome = read(self);
        begin(self, "COMMIT")?;
        outcome
    }

    fn take(&mut self, row: &StoredRow) -> Result<(), CheckError> {
        let index = self.next;
        let wrong = |why: String| CheckError::Row { index, why };
        if row.index != index {
            return Err(wrong(format!("the next row is {}", row.index)));
        }
        let head = check_row(index, &row.head, row.body.as_deref(), &row.leaf).map_err(wrong)?;
        let at = head.time.as_ref().map_or(i64::MIN, from_timestamp);
        if at < self.time {
            return Err(wrong("its time lies before that of the row before".into()));
        }
        self.time = at;
        if let Some(number) = self.seq(&head).map_err(wrong)? {
            place(&mut self.connection, number, &head).map_err(|error| error.unwrap_or_else(wrong))?;
        }
        if may_erase(head.kind()) {
            self.fold = None;
        }
        match &row.body {
            // What it said is not known any more, and so what came of it.
            None => self.fold = None,
            Some(body) => {
                let entry =
                    decode(&row.head, body).ok_or_else(|| wrong("its body is not of its head's kind".into()))?;
                self.names.take(&entry, &self.edge).map_err(wrong)?;
                self.checkpoints.take(&entry);
                if let Some(fold) = &mut self.fold {
                    fold.state.apply(&entry);
                    if let Some(place) = fold.logs.take(&entry) {
                        find_logged(&mut self.connection, index, &place)
                            .map_err(|error| error.unwrap_or_else(wrong))?;
                    }
                }
            }
        }
        let mut full = Vec::new();
        self.edge
            .push_telling(leaf_hash(&row.head), |subtree, root| full.push((subtree, *root)));
        for (subtree, root) in full.into_iter().filter(|(subtree, _)| is_kept(*subtree)) {
            self.subtrees += 1;
            if tree::kept_root(&mut self.connection, subtree)? != Some(root) {
                return Err(wrong("a part of the tree that ends with it is kept otherwise".into()));
            }
        }
        self.checkpoints.pass(&self.edge);
        self.next += 1;
        Ok(())
    }

    /// Checks a row's seq; the number of its room.
    fn seq(&mut self, head: &EventHead) -> Result<Option<i64>, String> {
        if head.room_id.is_empty() {
            return Ok(None);
        }
        let created = head.kind() == EventKind::RoomCreated;
        let (newest, number) = match self.rooms.get_mut(&head.room_id) {
            Some(room) => room,
            None if created => self.rooms.entry(head.room_id.clone()).or_insert((0, head.index)),
            None => return Err("its room was never created".into()),
        };
        if head.seq != *newest + 1 {
            return Err(format!("its seq is {} and not {}", head.seq, *newest + 1));
        }
        *newest = head.seq;
        Ok(Some(*number))
    }

    /// What came meanwhile, and what all rows together lead to.
    fn finish(&mut self) -> Result<(), CheckError> {
        loop {
            let rows = rows_from(&mut self.connection, self.next, PORTION)?;
            if rows.is_empty() {
                break;
            }
            rows.iter().try_for_each(|row| self.take(row))?;
        }
        self.checkpoints.compare()?;
        let missing = || CheckError::Derived("the journal's head is missing".into());
        let identity = known_identity(&mut self.connection)?.ok_or_else(missing)?;
        self.names.compare(&identity)?;
        if tree::count_kept(&mut self.connection)? != self.subtrees {
            let why = "more parts of the tree are kept than the rows have";
            return Err(CheckError::Derived(why.into()));
        }
        let (stored, head) = state(&mut self.connection)?;
        if head.edge != self.edge {
            let why = "the stored tree is not that of the rows";
            return Err(CheckError::Derived(why.into()));
        }
        if self.fold.as_ref().is_some_and(|fold| !fold.state.has_same_record(&stored)) {
            return Err(CheckError::Derived("people, rooms or memberships differ".into()));
        }
        Ok(())
    }
}

/// Whether bodies of rows before it may be gone from then on.
fn may_erase(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::ErasureOrdered | EventKind::ErasureBegun | EventKind::ErasureDone | EventKind::RetentionApplied
    )
}
