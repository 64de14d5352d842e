//! What was ordered.

use std::collections::BTreeSet;

use super::time::micros;
use crate::v1::{EventHead, RecordScope};

/// What was ordered: rows that meet all conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Ids of users whose acts were ordered; empty: everyone's.
    pub users: BTreeSet<String>,
    /// Ids of rooms; empty: everywhere.
    pub rooms: BTreeSet<String>,
    /// From when on, in microseconds since 1970.
    pub from: Option<i64>,
    /// Before when.
    pub to: Option<i64>,
}

impl Scope {
    /// What a row of the journal says.
    pub fn of(scope: &RecordScope) -> Self {
        Self {
            users: scope.user_ids.iter().cloned().collect(),
            rooms: scope.room_ids.iter().cloned().collect(),
            from: scope.from.as_ref().map(micros),
            to: scope.to.as_ref().map(micros),
        }
    }

    /// All that one user did.
    pub fn of_user(user: &str) -> Self {
        Self {
            users: BTreeSet::from([user.to_owned()]),
            ..Self::default()
        }
    }

    /// Whether a row was ordered.
    pub fn meets(&self, head: &EventHead) -> bool {
        let time = time_of(head);
        (self.users.is_empty() || self.users.contains(&head.actor_id))
            && (self.rooms.is_empty() || self.rooms.contains(&head.room_id))
            && !self.is_before(time)
            && self.is_before_end(time)
    }

    /// Whether a time lies before what was ordered.
    pub(super) fn is_before(&self, time: i64) -> bool {
        self.from.is_some_and(|from| time < from)
    }

    /// Whether a time does not lie behind what was ordered.
    pub(super) fn is_before_end(&self, time: i64) -> bool {
        self.to.is_none_or(|to| time < to)
    }
}

/// When a row was committed, in microseconds since 1970.
pub(super) fn time_of(head: &EventHead) -> i64 {
    head.time.as_ref().map_or(i64::MIN, micros)
}
