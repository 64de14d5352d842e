//! The runs of rooms: whether anything is missing.

use std::collections::{BTreeMap, BTreeSet};

use super::super::digest::{Selection, Why};
use super::super::lines::{Names, RoomLine};
use super::super::scope::{Scope, time_of};
use super::Finding;
use crate::v1::EventHead;

/// What was seen of a room's run.
#[derive(Debug, Default)]
struct Run {
    last: i64,
    /// Whether the newest row lies behind the period.
    is_over: bool,
}

/// What was seen of all of them.
#[derive(Debug, Default)]
pub(super) struct Runs {
    bodies_only: bool,
    seen: BTreeMap<String, Run>,
    touched: BTreeSet<String>,
}

impl Runs {
    pub(super) fn new(names: &Names, bodies_only: bool) -> Result<Self, Finding> {
        for room in names.rooms.values() {
            let (first, last, newest) = (room.first_seq, room.last_seq, room.newest_seq);
            let in_order = if bodies_only {
                (first, last) == (0, 0)
            } else {
                0 <= first && first <= last
            };
            if !in_order || (first == 0) != (last == 0) || last > newest || newest < 0 {
                return Err(Finding::new("rooms.jsonl", format!("the run of {} is none", room.id)));
            }
        }
        Ok(Self {
            bodies_only,
            ..Self::default()
        })
    }

    /// Takes in a row.
    pub(super) fn take(&mut self, head: &EventHead, why: Why, selection: &Selection) -> Result<(), String> {
        if head.room_id.is_empty() {
            return if head.seq == 0 {
                Ok(())
            } else {
                Err("it has a seq and no room".into())
            };
        }
        if why == Why::Ordered && !self.touched.contains(&head.room_id) {
            self.touched.insert(head.room_id.clone());
        }
        if self.bodies_only || !selection.is_in_run(head) {
            return if why == Why::Ordered && !self.bodies_only {
                Err("it was ordered, and is in no run of its room".into())
            } else {
                Ok(())
            };
        }
        let (first, last) = selection.runs.get(&head.room_id).copied().unwrap_or_default();
        let (time, scope) = (time_of(head), &selection.scope);
        let run = self.seen.entry(head.room_id.clone()).or_default();
        if run.last == 0 {
            if head.seq != first || !(head.seq == 1 || scope.is_before(time)) {
                return Err("its room's run does not begin as it has to".into());
            }
        } else if Some(head.seq) != run.last.checked_add(1) {
            return Err(format!(
                "its seq is {} and not {}: something is missing",
                head.seq,
                run.last.saturating_add(1)
            ));
        } else if scope.is_before(time) {
            return Err("its room's run begins earlier than it has to".into());
        }
        run.last = head.seq;
        run.is_over = !scope.is_before_end(time);
        if run.is_over && head.seq != last {
            return Err("its room's run ends later than it has to".into());
        }
        Ok(())
    }

    /// Whether the rooms are those of the rows, and their runs whole.
    pub(super) fn compare(&self, scope: &Scope, rooms: &BTreeMap<String, RoomLine>) -> Result<(), String> {
        let want: BTreeSet<&String> = self.touched.iter().chain(&scope.rooms).collect();
        if rooms.keys().collect::<BTreeSet<_>>() != want {
            return Err("it has other rooms than what was ordered touches".into());
        }
        if self.bodies_only {
            return Ok(());
        }
        for room in rooms.values() {
            let run = self.seen.get(&room.id);
            let last = run.map_or(0, |run| run.last);
            if last != room.last_seq {
                return Err(format!(
                    "the run of {} ends at {last}, and not at {}",
                    room.id, room.last_seq
                ));
            }
            if !run.is_some_and(|run| run.is_over) && last != room.newest_seq {
                return Err(format!(
                    "the run of {} ends within the period, before the room does",
                    room.id
                ));
            }
        }
        Ok(())
    }

    /// Which ends rest on the server's word.
    pub(super) fn notes(&self, rooms: &BTreeMap<String, RoomLine>) -> Vec<String> {
        let open = rooms
            .values()
            .filter(|room| !self.seen.get(&room.id).is_some_and(|run| run.is_over));
        let open: Vec<&str> = open.map(|room| room.id.as_str()).collect();
        match open.as_slice() {
            [] => Vec::new(),
            few if few.len() <= 5 => vec![format!(
                "that these rooms had no later event rests on the server's signed word: {}",
                few.join(", ")
            )],
            many => vec![format!(
                "that {} rooms had no later event rests on the server's signed word",
                many.len()
            )],
        }
    }
}
