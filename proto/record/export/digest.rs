//! What an export tells besides its rows: gathered while they are gone through, by who makes it and by who checks it alike.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::manifest::Counts;
use super::row::Row;
use super::scope::{Scope, time_of};
use crate::v1::event_body::Content;
use crate::v1::{BodyState, EventHead, EventKind};

/// Why a row is in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It was ordered.
    Ordered,
    /// It is one of the journal's own, or of the case.
    Own,
    /// It shows that nothing is missing, or who was in a room.
    Context,
}

/// Which rows are in an export, by their heads.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) scope: Scope,
    pub(super) bodies_only: bool,
    /// The row that opened the case, if there is one.
    pub(super) case: Option<i64>,
    /// The row that ordered the export: the last one.
    pub(super) export: i64,
    /// Rows that approved or closed the case.
    pub(super) of_case: BTreeSet<i64>,
    /// Touched rooms, and the first and the last seq of their runs.
    pub(super) runs: BTreeMap<String, (i64, i64)>,
}

impl Selection {
    /// Why a row is in the export; none if it is not.
    pub(super) fn why(&self, head: &EventHead) -> Option<Why> {
        let of_case = head.index == self.export || Some(head.index) == self.case || self.of_case.contains(&head.index);
        if self.scope.meets(head) {
            Some(Why::Ordered)
        } else if of_case || is_own(head) {
            Some(Why::Own)
        } else if !self.bodies_only && (self.is_in_run(head) || self.is_membership(head)) {
            Some(Why::Context)
        } else {
            None
        }
    }

    pub(super) fn is_in_run(&self, head: &EventHead) -> bool {
        let run = self.runs.get(&head.room_id);
        head.seq > 0 && run.is_some_and(|(first, last)| (*first..=*last).contains(&head.seq))
    }

    fn is_membership(&self, head: &EventHead) -> bool {
        is_membership(head)
            && self.scope.is_before_end(time_of(head))
            && (self.runs.contains_key(&head.room_id)
                || self.scope.users.contains(&head.actor_id)
                || self.scope.users.contains(&head.subject_id))
    }
}

/// Whether a row is one of the journal's own.
pub(super) fn is_own(head: &EventHead) -> bool {
    head.index == 0 || matches!(head.kind(), EventKind::Restored | EventKind::KeyAdded)
}

/// Whether a row says who is in a room.
pub(super) fn is_membership(head: &EventHead) -> bool {
    matches!(
        head.kind(),
        EventKind::RoomCreated
            | EventKind::MemberJoined
            | EventKind::MemberLeft
            | EventKind::MemberInvited
            | EventKind::MemberRemoved
            | EventKind::MemberRoleChanged
    )
}

/// A file that was shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SharedFile {
    pub(super) id: String,
    pub(super) size: u64,
}

/// Something that became of a message later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Later {
    pub(super) index: i64,
    pub(super) time: i64,
    pub(super) deleted: bool,
}

/// What came of somebody's place in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) time: i64,
    pub(super) kind: EventKind,
    pub(super) actor: String,
    pub(super) subject: String,
}

/// What was gathered.
#[derive(Debug, Default)]
pub(super) struct Digest {
    pub(super) counts: Counts,
    /// Users and subjects of rows that were ordered.
    pub(super) people: BTreeSet<String>,
    /// Files that were shared, by hash.
    pub(super) files: BTreeMap<[u8; 32], SharedFile>,
    /// What became of messages, by room and seq.
    pub(super) later: HashMap<(String, i64), Vec<Later>>,
    /// Who came to touched rooms and went.
    pub(super) members: BTreeMap<String, Vec<Membership>>,
}

impl Digest {
    /// Takes in a row of the export.
    pub(super) fn take(&mut self, row: &Row, why: Why, runs: &BTreeMap<String, (i64, i64)>) {
        let head = &row.head;
        self.counts.rows += 1;
        if matches!(head.kind(), EventKind::MessageEdited | EventKind::MessageDeleted) {
            let later = Later {
                index: head.index,
                time: time_of(head),
                deleted: head.kind() == EventKind::MessageDeleted,
            };
            let message = (head.room_id.clone(), head.target_seq);
            self.later.entry(message).or_default().push(later);
        }
        if is_membership(head) && runs.contains_key(&head.room_id) {
            self.members.entry(head.room_id.clone()).or_default().push(Membership {
                time: time_of(head),
                kind: head.kind(),
                actor: head.actor_id.clone(),
                subject: head.subject_id.clone(),
            });
        }
        if why != Why::Ordered {
            return;
        }
        self.counts.ordered += 1;
        for id in [&head.actor_id, &head.subject_id] {
            // A user's id; sessions and rooms have others.
            if id.starts_with('u') && !self.people.contains(id) {
                self.people.insert(id.clone());
            }
        }
        if row.state == BodyState::Erased {
            self.counts.erased += 1;
        }
        if let Some(Content::FileShared(shared)) = row.content()
            && let Ok(hash) = <[u8; 32]>::try_from(&shared.sha256[..])
        {
            let file = SharedFile {
                id: shared.file_id,
                size: u64::try_from(shared.size).unwrap_or_default(),
            };
            if self.files.insert(hash, file).is_none() {
                self.counts.files += 1;
                self.counts.file_bytes += u64::try_from(shared.size).unwrap_or_default();
            }
        }
    }
}
