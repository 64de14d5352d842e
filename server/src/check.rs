//! `greffe-server check`: verifies a data directory offline. Every row of the journal is hashed again, and people, rooms, memberships, the places of
//! events, the texts that are withheld, reactions, mentions and
//! the bytes of files are compared with what the journal says. Passwords, sessions and read marks are not
//! in the journal, and cannot be compared.

mod checkpoints;
mod erased;
pub(crate) mod running;
mod salts;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use diesel::prelude::*;
use greffe_api::v1::event_body::Content;
use greffe_api::v1::{BodyState, EventHead, EventKind};
use serde::Serialize;

use self::checkpoints::Checkpoints;
use self::erased::Tombstones;
use self::salts::Salts;
use crate::blobs;
use crate::domain::clock::timestamp;
use crate::domain::entry::Entry;
use crate::domain::ids::{FileId, RoomId, UserId, hex};
use crate::domain::state::State;
use crate::journal::event::{decode, decode_body};
use crate::journal::tree::{Edge, Hash, Subtree, leaf_hash};
use crate::journal::verify::check_row;
use crate::lifecycle::{DATABASE, DataDir, StartError};
use crate::staging::sha256_of_file;
use crate::store::LogPlace;
use crate::store::schema::{log_event, mention, reaction, room, room_event, user};
use crate::store::sqlite::load::{StoredRow, known_identity, rows_from, state};
use crate::store::sqlite::log::{EVERYONE, Follower, number};
use crate::store::sqlite::{OpenError, backup, open_for_check, tree};
use crate::store::{Identity, StoreError, is_kept};

/// Rows that are read at a time.
const CHUNK: i64 = 10_000;

/// What a check found to be in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Always true: what is not in order is an error.
    pub ok: bool,
    /// How many rows the journal has.
    pub size: i64,
    /// The root of its tree, in hex.
    pub root: String,
    /// Its id.
    pub journal_id: String,
    /// Its epoch.
    pub epoch: String,
    /// How many bodies were erased.
    pub erased: i64,
    /// There if it is a backup that no server has started on yet.
    pub backup: Option<Backup>,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// When it was made: RFC 3339, in UTC.
    pub made_at: String,
    /// Who made it.
    pub made_by: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "size  {}\nroot  {}\nepoch {}", self.size, self.root, self.epoch)?;
        if let Some(backup) = &self.backup {
            // What people wrote must not reach the terminal as it is.
            let (by, reason) = (backup.made_by.escape_debug(), backup.reason.escape_debug());
            writeln!(f, "This is a backup, made {} by {by}: {reason}", backup.made_at)?;
        }
        f.write_str("The journal, and what can be derived from it, are in order.")
    }
}

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The directory cannot be used: it is locked, or missing.
    #[error(transparent)]
    DataDir(#[from] StartError),
    /// The database cannot be opened, or is damaged.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database could not be read.
    #[error("the database cannot be read: {0}")]
    Read(#[from] StoreError),
    /// The journal is not what it was.
    #[error("row {index} of the journal is not what was written: {why}")]
    Row {
        /// The first row that is wrong.
        index: i64,
        /// What is wrong with it.
        why: String,
    },
    /// The journal is not the one that was signed.
    #[error("the journal is not what was signed: {0}")]
    Checkpoint(String),
    /// There is no room for what has to be remembered meanwhile.
    #[error("no temporary file can be used: {0}; set TMPDIR to a directory with room")]
    Temporary(#[from] std::io::Error),
    /// The tables do not fit the journal.
    #[error("the tables are not what the journal says: {0}")]
    Derived(String),
}

impl CheckError {
    /// Whether data was found to be changed, and not just unreadable.
    pub fn is_tampered(&self) -> bool {
        match self {
            Self::Row { .. }
            | Self::Derived(_)
            | Self::Checkpoint(_)
            | Self::Read(StoreError::Database(_))
            | Self::Open(OpenError::Damaged { .. }) => true,
            Self::DataDir(_) | Self::Open(_) | Self::Read(_) | Self::Temporary(_) => false,
        }
    }
}

/// What the journal says about where a room's events are, and which texts are current.
#[derive(Default)]
struct Rooms {
    head_seq: HashMap<String, i64>,
    numbers: HashMap<String, i64>,
    /// Texts that are no longer to be shown, by number of the room and seq.
    withheld: HashMap<(i64, i64), BodyState>,
    /// The seqs of a message's edits so far.
    edits: HashMap<(i64, i64), Vec<i64>>,
    sequenced: i64,
    /// Bodies that are erased, by number of the room and seq.
    erased: HashSet<(i64, i64)>,
}

impl Rooms {
    fn take(&mut self, head: &EventHead) -> Result<Option<i64>, String> {
        if head.room_id.is_empty() {
            return Ok(None);
        }
        let newest = self.head_seq.entry(head.room_id.clone()).or_insert(0);
        if head.seq != *newest + 1 {
            return Err(format!("its seq is {} and not {}", head.seq, *newest + 1));
        }
        *newest = head.seq;
        if head.kind() == EventKind::RoomCreated {
            self.numbers.insert(head.room_id.clone(), head.index);
        }
        let number = *self.numbers.get(&head.room_id).ok_or("its room was never created")?;
        let message = (number, head.target_seq);
        match head.kind() {
            EventKind::MessageEdited => {
                let edits = self.edits.entry(message).or_default();
                for seq in edits.iter().chain([&head.target_seq]) {
                    self.withheld.insert((number, *seq), BodyState::Replaced);
                }
                edits.push(head.seq);
            }
            EventKind::FileRemoved => {
                self.withheld.insert((number, head.target_seq), BodyState::Deleted);
            }
            EventKind::MessageDeleted => {
                for seq in self.edits.get(&message).into_iter().flatten().chain([&head.target_seq]) {
                    self.withheld.insert((number, *seq), BodyState::Deleted);
                }
            }
            _ => {}
        }
        self.sequenced += 1;
        Ok(Some(number))
    }

    /// Notes that a body is gone.
    fn erase(&mut self, head: &EventHead) {
        if let Some(number) = self.numbers.get(&head.room_id) {
            self.erased.insert((*number, head.seq));
        }
    }

    /// Why the texts are withheld that are no longer to be shown.
    fn withheld(&self) -> HashMap<(i64, i64), BodyState> {
        let mut withheld = self.withheld.clone();
        withheld.extend(self.erased.iter().map(|place| (*place, BodyState::Erased)));
        withheld
    }
}

/// Reactions and mentions, as the journal says.
#[derive(Default)]
struct Folds {
    /// Seqs of the events that added reactions which stand, by message, user and emoji.
    reactions: HashMap<(RoomId, i64, UserId, String), i64>,
    /// Whom the current texts of messages mention.
    mentions: HashMap<(RoomId, i64), Vec<UserId>>,
    /// Hashes of files, as far as they were not erased.
    hashes: HashMap<FileId, Vec<u8>>,
}

impl Folds {
    fn take(&mut self, entry: &Entry) {
        let (Some(room), Some(actor)) = (entry.draft.room, entry.draft.actor) else {
            return;
        };
        let target = entry.draft.target_seq;
        let people = |ids: &[String]| ids.iter().filter_map(|id| id.parse().ok()).collect::<Vec<UserId>>();
        match &entry.draft.content {
            Content::ReactionAdded(added) => {
                self.reactions.insert((room, target, actor, added.emoji.clone()), entry.seq);
            }
            Content::ReactionRemoved(removed) => {
                self.reactions.remove(&(room, target, actor, removed.emoji.clone()));
            }
            Content::MessagePosted(posted) if !posted.mentioned_user_ids.is_empty() => {
                self.mentions.insert((room, entry.seq), people(&posted.mentioned_user_ids));
            }
            Content::MessageEdited(edited) => {
                self.mentions.insert((room, target), people(&edited.mentioned_user_ids));
            }
            Content::FileShared(shared) => {
                let id = shared.file_id.parse().ok();
                self.hashes.extend(id.map(|id| (id, shared.sha256.to_vec())));
            }
            Content::MessageDeleted(_) => {
                self.mentions.remove(&(room, target));
            }
            _ => {}
        }
    }

    fn compare(&self, connection: &mut SqliteConnection, state: &State) -> Result<(), CheckError> {
        let read = |error: diesel::result::Error| CheckError::Read(error.into());
        let room_no = |id: RoomId| state.room(id).map(|room| room.no);
        let user_no = |id: UserId| state.user(id).map(|user| user.no);
        let want: HashSet<_> = self
            .reactions
            .iter()
            .map(|((room, target, user, _), seq)| (room_no(*room), *target, user_no(*user), *seq))
            .collect();
        let have: Vec<(i64, i64, i64, i64)> = reaction::table
            .select((reaction::room, reaction::target, reaction::user, reaction::seq))
            .load(connection)
            .map_err(read)?;
        let have: HashSet<_> = have
            .into_iter()
            .map(|(room, target, user, seq)| (Some(room), target, Some(user), seq))
            .collect();
        if want != have {
            return Err(CheckError::Derived(
                "other reactions stand than were added and not taken back".into(),
            ));
        }
        let want: HashSet<_> = self
            .mentions
            .iter()
            .flat_map(|((room, seq), users)| users.iter().map(|user| (user_no(*user), room_no(*room), *seq)))
            .collect();
        let have: Vec<(i64, i64, i64)> = mention::table.load(connection).map_err(read)?;
        let have: HashSet<_> = have
            .into_iter()
            .map(|(user, room, seq)| (Some(user), Some(room), seq))
            .collect();
        if want != have {
            return Err(CheckError::Derived(
                "others are mentioned than the current texts mention".into(),
            ));
        }
        Ok(())
    }
}

/// The names that the journal had: its first one, and a new one with each restore from a backup.
#[derive(Default)]
struct Names {
    journal_id: Option<String>,
    /// Since the newest restore.
    epoch: Option<String>,
}

impl Names {
    /// `edge` is that of the rows before.
    fn take(&mut self, entry: &Entry, edge: &Edge) -> Result<(), String> {
        match &entry.draft.content {
            Content::JournalCreated(created) if entry.index == 0 => {
                self.journal_id = Some(created.journal_id.clone());
                // Older releases did not say it.
                self.epoch = Some(created.epoch.clone()).filter(|epoch| !epoch.is_empty());
            }
            Content::JournalCreated(_) => return Err("a journal begins twice".into()),
            Content::Restored(restored) => {
                if self.journal_id.as_ref().is_some_and(|id| *id != restored.previous_journal_id) {
                    return Err("it goes on from a backup of another journal".into());
                }
                if restored.previous_size != entry.index || restored.previous_root[..] != edge.root()[..] {
                    return Err("it goes on from another backup than the rows before it".into());
                }
                self.journal_id = Some(restored.journal_id.clone());
                self.epoch = Some(restored.epoch.clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// Compares the newest names with those that the server goes by.
    fn compare(&self, identity: &Identity) -> Result<(), CheckError> {
        let other = match (&self.journal_id, &self.epoch) {
            (Some(id), epoch) => {
                *id != identity.journal_id || epoch.as_ref().is_some_and(|epoch| *epoch != identity.epoch)
            }
            (None, _) => true,
        };
        if other {
            return Err(CheckError::Derived(
                "the journal has another id or epoch than its rows say".into(),
            ));
        }
        Ok(())
    }
}

/// Verifies the data directory, or the backup, at `path`.
pub fn check(path: &Path) -> Result<Report, CheckError> {
    if !path.join(DATABASE).exists() {
        return Err(OpenError::Missing {
            path: path.join(DATABASE),
        }
        .into());
    }
    let data_dir = DataDir::lock_to_look(path)?;
    inspect(data_dir.path())
}

/// Verifies a directory that nobody else uses, without locking it.
pub(crate) fn inspect(path: &Path) -> Result<Report, CheckError> {
    let mut connection = open_for_check(&path.join(DATABASE))?;
    let missing = || CheckError::Derived("the journal's head is missing".into());
    let identity = known_identity(&mut connection)?.ok_or_else(missing)?;
    let mark = backup::mark(&mut connection)?;
    let (stored, stored_head) = state(&mut connection)?;

    let mut edge = Edge::default();
    let mut subtrees = Vec::new();
    let mut checkpoints = Checkpoints::read(path, &mut connection)?;
    let mut rooms = Rooms::default();
    let mut folded = State::default();
    let mut folds = Folds::default();
    let mut logs = Follower::default();
    let mut names = Names::default();
    let mut tombstones = Tombstones::read(&mut connection, &stored)?;
    let (mut next, mut erased, mut time, mut in_logs) = (0, 0, i64::MIN, 0);
    let mut salts = Salts::default();
    loop {
        let rows = rows_from(&mut connection, next, CHUNK)?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let wrong = |why: String| CheckError::Row { index: next, why };
            if row.index != next {
                return Err(wrong(format!("the next row is {}", row.index)));
            }
            let head = check_row(row.index, &row.head, row.body.as_deref(), &row.leaf).map_err(wrong)?;
            let at = head.time.as_ref().map_or(i64::MIN, crate::domain::clock::from_timestamp);
            if at < time {
                return Err(wrong("its time lies before that of the row before".into()));
            }
            time = at;
            if let Some(number) = rooms.take(&head).map_err(wrong)? {
                place(&mut connection, number, &head).map_err(|error| error.unwrap_or_else(wrong))?;
            }
            let entry = match &row.body {
                None => {
                    erased += 1;
                    tombstones.entry(&row, &head, &stored).map_err(wrong)?
                }
                Some(body) => {
                    let entry = whole(&row, body, &mut salts)?;
                    names.take(&entry, &edge).map_err(wrong)?;
                    checkpoints.take(&entry);
                    tombstones.pass(&entry);
                    folds.take(&entry);
                    entry
                }
            };
            folded.apply(&entry);
            if let Some(place) = logs.take(&entry) {
                in_logs += find_logged(&mut connection, next, &place).map_err(|error| error.unwrap_or_else(wrong))?;
            }
            if row.body.is_none() {
                rooms.erase(&head);
                if head.kind() == EventKind::MessageEdited {
                    folds.take(&entry);
                }
            }
            edge.push_telling(leaf_hash(&row.head), |subtree, root| {
                if is_kept(subtree) {
                    subtrees.push((subtree, *root));
                }
            });
            checkpoints.pass(&edge);
            next += 1;
        }
    }
    unique(salts)?;
    checkpoints.compare()?;
    tombstones.compare()?;
    names.compare(&identity)?;
    if let Some(mark) = &mark
        && !mark.is_of(&identity, &edge)
    {
        return Err(CheckError::Derived("the backup's mark is not of this journal".into()));
    }
    stored_tree(&mut connection, &stored_head.edge, &edge, subtrees)?;
    if !folded.has_same_record(&stored) {
        return Err(CheckError::Derived("people, rooms or memberships differ".into()));
    }
    folds.compare(&mut connection, &folded)?;
    count_logged(&mut connection, in_logs)?;
    texts(&mut connection, &rooms)?;
    bytes(path, &stored, &folds.hashes)?;
    Ok(Report {
        ok: true,
        size: next,
        root: hex(&edge.root()),
        journal_id: identity.journal_id,
        epoch: identity.epoch,
        erased,
        backup: mark.map(|mark| Backup {
            made_at: timestamp(mark.note.made_at).to_string(),
            made_by: mark.note.made_by,
            reason: mark.note.reason,
        }),
    })
}

/// Refuses a salt that two rows have.
fn unique(salts: Salts) -> Result<(), CheckError> {
    match salts.repeated()? {
        None => Ok(()),
        Some(index) => Err(CheckError::Row {
            index,
            why: "its salt is that of another row".into(),
        }),
    }
}

/// The event of a row that has its body.
fn whole(row: &StoredRow, body: &[u8], salts: &mut Salts) -> Result<Entry, CheckError> {
    let salt = decode_body(body).map(|body| body.salt).unwrap_or_default();
    salts.take(<[u8; 16]>::try_from(&salt[..]).unwrap_or_default(), row.index)?;
    decode(&row.head, body).ok_or_else(|| CheckError::Row {
        index: row.index,
        why: "its body is not of its head's kind".into(),
    })
}

/// Whether the tree that is stored, `stored` and the parts that are kept for proofs, is that of the rows.
fn stored_tree(
    connection: &mut SqliteConnection,
    stored: &Edge,
    edge: &Edge,
    mut subtrees: Vec<(Subtree, Hash)>,
) -> Result<(), CheckError> {
    if stored != edge {
        let why = if edge.size() == stored.size() {
            "has another edge"
        } else {
            "has another size"
        };
        return Err(CheckError::Derived(format!(
            "the stored tree {why} than that of the {} rows",
            edge.size()
        )));
    }
    subtrees.sort_unstable_by_key(|(subtree, _)| (subtree.level, subtree.number));
    if tree::kept(connection)? != subtrees {
        return Err(CheckError::Derived(
            "the parts of the tree that are kept for proofs are not those of the rows".into(),
        ));
    }
    Ok(())
}

/// Whether the logs have as many entries as the journal says.
fn count_logged(connection: &mut SqliteConnection, want: i64) -> Result<(), CheckError> {
    let have: i64 = log_event::table
        .count()
        .get_result(connection)
        .map_err(|error| CheckError::Read(error.into()))?;
    if have != want {
        return Err(CheckError::Derived(format!(
            "the logs have {have} entries and the journal {want}"
        )));
    }
    Ok(())
}

/// Whether the logs know a row for everyone and for each account that it is about; how many entries that makes.
fn find_logged(
    connection: &mut SqliteConnection,
    index: i64,
    place: &LogPlace,
) -> Result<i64, Result<CheckError, String>> {
    let mut count = 0;
    for user in place.accounts.iter().copied().chain([EVERYONE]) {
        let found: Option<Option<i64>> = log_event::table
            .find((number(place.log), user, index))
            .select(log_event::about)
            .first(connection)
            .optional()
            .map_err(|error| Ok(CheckError::Read(error.into())))?;
        if found != Some(place.about) {
            return Err(Err("its log has it otherwise, or not at all".to_owned()));
        }
        count += 1;
    }
    Ok(count)
}

/// Whether the table of a room's events knows an event as its head says. The inner error is what is wrong with the row.
fn place(connection: &mut SqliteConnection, number: i64, head: &EventHead) -> Result<(), Result<CheckError, String>> {
    let found: Option<(i64, i32, i64, i64)> = room_event::table
        .find((number, head.seq))
        .select((room_event::idx, room_event::kind, room_event::actor, room_event::target))
        .first(connection)
        .optional()
        .map_err(|error| Ok(CheckError::Read(error.into())))?;
    let (index, kind, actor, target) = found.ok_or_else(|| Err("its room does not know it".to_owned()))?;
    let author: Option<i64> = if actor < 0 {
        None
    } else {
        let no = user::table
            .find(actor)
            .filter(user::id.eq(&head.actor_id))
            .select(user::no)
            .first(connection)
            .optional();
        no.map_err(|error| Ok(CheckError::Read(error.into())))?
    };
    let right = (index, kind, target) == (head.index, head.kind, head.target_seq)
        && (author == Some(actor) || (actor < 0 && head.actor_id.is_empty()));
    if right {
        Ok(())
    } else {
        Err(Err("its room has it otherwise".into()))
    }
}

/// Whether the bytes of every file are there, also of those that were taken away, and are what the journal says.
fn bytes(path: &Path, state: &State, hashes: &HashMap<FileId, Vec<u8>>) -> Result<(), CheckError> {
    let directory = path.join(blobs::DIRECTORY);
    for file in state.files().iter() {
        let wrong = |why: String| CheckError::Derived(format!("the bytes of file {}: {why}", file.id));
        let found = sha256_of_file(&blobs::path_in(&directory, file.id), file.size);
        let found = found.map_err(|error| wrong(error.to_string()))?;
        // Of a file whose row was erased only the size is known.
        if hashes.get(&file.id).is_some_and(|hash| hash[..] != found[..]) {
            return Err(wrong("they are not those that were sent".into()));
        }
    }
    Ok(())
}

/// Whether the texts that are withheld from members are those that the journal says were replaced or deleted, and whether the current ones are.
fn texts(connection: &mut SqliteConnection, rooms: &Rooms) -> Result<(), CheckError> {
    let read = |error: diesel::result::Error| CheckError::Read(error.into());
    let withheld: Vec<(i64, i64, i32)> = room_event::table
        .filter(room_event::state.ne(BodyState::Unspecified as i32))
        .select((room_event::room, room_event::seq, room_event::state))
        .load(connection)
        .map_err(read)?;
    let want = rooms.withheld();
    let same = withheld.len() == want.len()
        && withheld
            .iter()
            .all(|(number, seq, state)| want.get(&(*number, *seq)).is_some_and(|want| *want as i32 == *state));
    if !same {
        return Err(CheckError::Derived(
            "other texts are withheld than were replaced or deleted".into(),
        ));
    }
    let moved: Vec<(i64, i64, i64)> = room_event::table
        .filter(room_event::current.ne(room_event::idx))
        .select((room_event::room, room_event::seq, room_event::current))
        .load(connection)
        .map_err(read)?;
    if moved.len() != rooms.edits.len() {
        return Err(CheckError::Derived(
            "other messages are edited than the journal says".into(),
        ));
    }
    for (number, seq, current) in moved {
        let newest = rooms.edits.get(&(number, seq)).and_then(|edits| edits.last());
        let index: Option<i64> = match newest {
            Some(newest) => room_event::table
                .find((number, *newest))
                .select(room_event::idx)
                .first(connection)
                .optional()
                .map_err(read)?,
            None => None,
        };
        if index != Some(current) {
            return Err(CheckError::Derived(format!(
                "message {seq} of the room made by row {number} has another current text"
            )));
        }
    }
    let count: i64 = room_event::table.count().get_result(connection).map_err(read)?;
    if count != rooms.sequenced {
        return Err(CheckError::Derived(format!(
            "rooms know {count} events and the journal {}",
            rooms.sequenced
        )));
    }
    let count: i64 = room::table.count().get_result(connection).map_err(read)?;
    if usize::try_from(count).ok() != Some(rooms.numbers.len()) {
        return Err(CheckError::Derived(format!(
            "there are {count} rooms and not {}",
            rooms.numbers.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use greffe_api::v1::{JournalCreated, Restored};

    use super::*;
    use crate::domain::entry::{Draft, Subject};

    fn entry(index: i64, content: Content) -> Entry {
        Entry {
            index,
            time: 0,
            seq: 0,
            request: None,
            draft: Draft::outside_rooms(None, Subject::None, content),
        }
    }

    fn created(id: &str) -> Content {
        Content::JournalCreated(JournalCreated {
            journal_id: id.into(),
            ..JournalCreated::default()
        })
    }

    fn restored(from: &str, to: &str, edge: &Edge) -> Restored {
        Restored {
            previous_journal_id: from.into(),
            previous_size: i64::try_from(edge.size()).unwrap(),
            previous_root: edge.root().to_vec().into(),
            journal_id: to.into(),
            epoch: format!("epoch of {to}"),
            ..Restored::default()
        }
    }

    fn identity(id: &str) -> Identity {
        Identity {
            journal_id: id.into(),
            epoch: format!("epoch of {id}"),
        }
    }

    #[test]
    fn a_journal_has_the_names_of_its_newest_restore() {
        let mut edge = Edge::default();
        let mut names = Names::default();
        names.take(&entry(0, created("a")), &edge).unwrap();
        edge.push([0; 32]);
        names.compare(&identity("a")).unwrap();
        assert!(names.compare(&identity("b")).is_err());

        for (index, from, to) in [(1, "a", "b"), (2, "b", "c")] {
            names
                .take(&entry(index, Content::Restored(restored(from, to, &edge))), &edge)
                .unwrap();
            edge.push([1; 32]);
            names.compare(&identity(to)).unwrap();
            assert!(names.compare(&identity("a")).is_err());
        }
        let other_epoch = Identity {
            epoch: "another".into(),
            ..identity("c")
        };
        assert!(names.compare(&other_epoch).is_err());
        assert!(
            names.take(&entry(3, created("d")), &edge).is_err(),
            "a journal begins once"
        );
    }

    #[test]
    fn a_restore_goes_on_from_the_rows_before_it() {
        let mut edge = Edge::default();
        edge.push([0; 32]);
        let good = restored("a", "b", &edge);
        let take = |restored: Restored| {
            let mut names = Names {
                journal_id: Some("a".into()),
                epoch: None,
            };
            names.take(&entry(1, Content::Restored(restored)), &edge)
        };
        take(good.clone()).unwrap();
        let of_another = Restored {
            previous_journal_id: "c".into(),
            ..good.clone()
        };
        let longer = Restored {
            previous_size: 2,
            ..good.clone()
        };
        let otherwise = Restored {
            previous_root: vec![1; 32].into(),
            ..good
        };
        for bad in [of_another, longer, otherwise] {
            assert!(take(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
