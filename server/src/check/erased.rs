//! Bodies that are gone: each has to be covered by a row that says why.

use std::collections::{HashMap, HashSet};

use diesel::SqliteConnection;
use greffe_api::v1::event_body::Content;
use greffe_api::v1::{ErasureBegun, EventHead, EventKind, RoomCreated};

use super::CheckError;
use crate::domain::clock::{Micros, from_timestamp};
use crate::domain::entry::{Entry, Subject};
use crate::domain::erasure::{By, is_of_class, is_of_room, of_user};
use crate::domain::ids::RoomId;
use crate::domain::record::CLASSES;
use crate::domain::state::State;
use crate::journal::event::{decode, decode_erased};
use crate::store::StoreError;
use crate::store::sqlite::load::StoredRow;
use crate::store::sqlite::log::row;

/// What may be gone.
#[derive(Default)]
pub(super) struct Tombstones {
    users: HashSet<String>,
    /// Rooms, and what they were.
    rooms: HashMap<String, RoomCreated>,
    /// Files whose bytes were erased.
    files: HashSet<String>,
    /// Before when data of each class was erased.
    before: Vec<(greffe_api::v1::RetentionClass, Micros)>,
    /// Sessions of these users.
    sessions: HashSet<String>,
    /// Where files were shared whose rows do not say whose they were, by room and seq.
    unexplained: HashMap<(String, i64), i64>,
}

impl Tombstones {
    /// Reads what was erased. That these rows are in the journal, and no others, is found out later.
    pub(super) fn read(connection: &mut SqliteConnection, state: &State) -> Result<Self, CheckError> {
        let mut tombstones = Self::default();
        for erasure in state.record().erasures() {
            let Some(index) = erasure.begun else { continue };
            let stored = row(connection, index)?;
            let entry = stored.and_then(|stored| decode(&stored.head, stored.body.as_ref()?));
            let Some(entry) = entry else {
                return Err(CheckError::Read(StoreError::Database(format!(
                    "row {index} cannot be read"
                ))));
            };
            if let Content::ErasureBegun(begun) = &entry.draft.content {
                tombstones.add(entry.draft.subject, begun);
            }
        }
        let applied = CLASSES
            .iter()
            .filter_map(|class| Some((*class, state.record().erased_before(*class)?)));
        tombstones.before = applied.collect();
        Ok(tombstones)
    }

    fn add(&mut self, subject: Subject, begun: &ErasureBegun) {
        self.files.extend(begun.file_ids.iter().cloned());
        match subject {
            Subject::User(user) => _ = self.users.insert(user.to_string()),
            Subject::Room(room) => {
                let was = RoomCreated {
                    kind: begun.room_kind,
                    history: begun.history,
                    direct_user_ids: begun.direct_user_ids.clone(),
                    ..RoomCreated::default()
                };
                self.rooms.insert(room.to_string(), was);
            }
            Subject::None | Subject::Session(_) => {}
        }
    }

    /// The event of a row whose body is gone: without words, and with what is known of it otherwise.
    pub(super) fn entry(&mut self, row: &StoredRow, head: &EventHead, state: &State) -> Result<Entry, String> {
        self.take(head)?;
        let entry = decode_erased(&row.head).and_then(|entry| self.complete(entry, state));
        entry.ok_or_else(|| "its body is gone, which is never erased".into())
    }

    /// Takes in a row whose body is gone.
    fn take(&mut self, head: &EventHead) -> Result<(), String> {
        if self.is_explained(head) {
            return Ok(());
        }
        if head.kind() == EventKind::FileShared {
            // That a file of an erased person was shared here is told by the row that took it away.
            self.unexplained.insert((head.room_id.clone(), head.seq), head.index);
            return Ok(());
        }
        Err("its body is gone, and no row says that it was erased".into())
    }

    fn is_explained(&mut self, head: &EventHead) -> bool {
        let time = head.time.as_ref().map_or(i64::MAX, from_timestamp);
        let is_old = |(class, before): &(_, Micros)| time < *before && is_of_class(head.kind(), *class);
        let (acts, is_subject) = (
            self.users.contains(&head.actor_id),
            self.users.contains(&head.subject_id),
        );
        let is_theirs = match of_user(head.kind()) {
            By::Actor | By::ActorOrOwner => acts,
            By::Subject => is_subject,
            By::Both => acts || is_subject,
            By::Session => {
                if acts && head.kind() == EventKind::LoggedIn {
                    self.sessions.insert(head.subject_id.clone());
                }
                self.sessions.contains(&head.subject_id)
            }
            By::Nobody => false,
        };
        is_theirs
            || [&head.room_id, &head.subject_id]
                .into_iter()
                .any(|room| self.rooms.contains_key(room) && is_of_room(head, room))
            || self.before.iter().any(is_old)
    }

    /// Takes in a row that is whole: it may say whose a file was.
    pub(super) fn pass(&mut self, entry: &Entry) {
        if let (Content::FileRemoved(removed), Some(room)) = (&entry.draft.content, entry.draft.room)
            && self.files.contains(&removed.file_id)
        {
            self.unexplained.remove(&(room.to_string(), entry.draft.target_seq));
        }
    }

    /// An event without words, with what is known of it otherwise. None if nobody can know.
    fn complete(&self, mut entry: Entry, state: &State) -> Option<Entry> {
        // An account outlives the row that made it, if that had an address.
        if let (Content::UserRegistered(made), Subject::User(user)) = (&mut entry.draft.content, entry.draft.subject)
            && !self.users.contains(&user.to_string())
        {
            let user = state.user(user)?;
            (made.name, made.display_name) = (user.name.clone(), user.display_name.clone());
        }
        if let Content::RoomCreated(created) = &mut entry.draft.content {
            let room: RoomId = entry.draft.room?;
            created.clone_from(self.rooms.get(&room.to_string())?);
        }
        Some(entry)
    }

    /// Whether all that is gone was erased.
    pub(super) fn compare(&self) -> Result<(), CheckError> {
        match self.unexplained.values().min() {
            None => Ok(()),
            Some(index) => Err(CheckError::Row {
                index: *index,
                why: "its body is gone, and no row says that it was erased".into(),
            }),
        }
    }
}
