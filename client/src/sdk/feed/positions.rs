//! Up to where each room has been told. The one place that decides what is a double and what is a gap.

use std::collections::HashMap;

use greffe_api::v1::{HistoryVisibility, MemberRole, RoomKind, RoomPosition, RoomState};

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the next one.
    Deliver,
    /// It was told already.
    Double,
    /// The events after the first number and before the second are missing.
    Gap(i64, i64),
}

/// Up to where a room has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Everything up to this seq.
    At(i64),
    /// Nothing yet: the first event that comes is right, whatever its seq. If the link breaks before, resume after this seq.
    Open(i64),
}

/// Up to where each room has been told, within one epoch.
#[derive(Debug, Default)]
pub(super) struct Positions {
    epoch: String,
    rooms: HashMap<String, Place>,
}

impl Positions {
    /// Begins with what is known from an earlier feed.
    pub(super) fn new(epoch: String, rooms: HashMap<String, i64>) -> Self {
        Self {
            epoch,
            rooms: rooms.into_iter().map(|(room, seq)| (room, Place::At(seq))).collect(),
        }
    }

    /// The epoch that the positions are of.
    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The positions to tell the server.
    pub(super) fn to_resume(&self) -> Vec<RoomPosition> {
        self.rooms
            .iter()
            .map(|(room_id, place)| {
                let (Place::At(after_seq) | Place::Open(after_seq)) = *place;
                RoomPosition {
                    room_id: room_id.clone(),
                    after_seq,
                }
            })
            .collect()
    }

    /// Takes up the epoch of a stream that begins. In another epoch nothing is known: should the link break before the server has said
    /// for each room where to page from, everything is read from the beginning.
    pub(super) fn enter_epoch(&mut self, epoch: &str) {
        if self.epoch != epoch {
            if !self.epoch.is_empty() {
                self.rooms.values_mut().for_each(|place| *place = Place::At(0));
            }
            epoch.clone_into(&mut self.epoch);
        }
    }

    /// Takes in a room at the beginning of a stream. `others_after` is what the server was asked for in rooms without a position.
    pub(super) fn start_room(&mut self, room_id: &str, state: &RoomState, others_after: Option<i64>) {
        if !is_member(state) {
            return;
        }
        let before_first = state.first_seq.saturating_sub(1).max(0);
        let place = match (self.rooms.get(room_id), others_after) {
            // Somebody who left and came back may see less than before.
            (Some(Place::At(seq) | Place::Open(seq)), _) => Place::At((*seq).max(before_first)),
            (None, Some(after)) => Place::At(after.max(before_first)),
            (None, None) => Place::At(state.head_seq),
        };
        self.rooms.insert(room_id.to_owned(), place);
    }

    /// Takes in a room that the user came into while the stream runs: what follows begins at an event that the server chooses.
    pub(super) fn add_room(&mut self, room_id: &str, state: &RoomState) {
        if is_member(state) && !self.rooms.contains_key(room_id) {
            // Should the link break before the first event: a direct room, and one that is read from the joining on, is then told whole.
            // Of other rooms only the newest is, because there the first readable event may lie years back.
            let told_whole = state.room.as_ref().is_some_and(|room| {
                room.kind() == RoomKind::Direct || room.history() == HistoryVisibility::FromJoining
            });
            let first = if told_whole {
                state.first_seq
            } else {
                state.first_seq.max(state.head_seq)
            };
            let resume_after = first.saturating_sub(1).max(0);
            self.rooms.insert(room_id.to_owned(), Place::Open(resume_after));
        }
    }

    /// Forgets a room.
    pub(super) fn remove_room(&mut self, room_id: &str) {
        self.rooms.remove(room_id);
    }

    /// Puts a room's position where paging is to begin.
    pub(super) fn set(&mut self, room_id: &str, seq: i64) {
        self.rooms.insert(room_id.to_owned(), Place::At(seq));
    }

    /// Up to where a room has been told, if that is known.
    #[cfg(test)]
    pub(super) fn get(&self, room_id: &str) -> Option<i64> {
        match self.rooms.get(room_id)? {
            Place::At(seq) => Some(*seq),
            Place::Open(_) => None,
        }
    }

    /// Judges an event. [`Step::Deliver`] also moves the position on.
    pub(super) fn step(&mut self, room_id: &str, seq: i64) -> Step {
        match self.rooms.get_mut(room_id) {
            Some(Place::At(last)) if seq <= *last => Step::Double,
            Some(Place::At(last)) if seq > last.saturating_add(1) => Step::Gap(*last, seq),
            Some(place) => {
                *place = Place::At(seq);
                Step::Deliver
            }
            None => {
                self.set(room_id, seq);
                Step::Deliver
            }
        }
    }
}

fn is_member(state: &RoomState) -> bool {
    !matches!(state.my_role(), MemberRole::Unspecified | MemberRole::Invited)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room(first_seq: i64, head_seq: i64) -> RoomState {
        RoomState {
            my_role: MemberRole::Member.into(),
            first_seq,
            head_seq,
            ..Default::default()
        }
    }

    proptest! {
        /// However streams are cut, repeated and cut again: each seq is delivered once, in order.
        #[test]
        fn every_seq_is_delivered_once_and_in_order(cuts in prop::collection::vec((0i64..40, 0i64..6), 1..12)) {
            let mut positions = Positions::new("e".into(), HashMap::from([("r".into(), 0)]));
            let mut told = Vec::new();
            for (sent, overlap) in cuts {
                let after = positions.to_resume()[0].after_seq;
                let from = (after + 1 - overlap).max(1);
                for seq in from..=after + sent {
                    match positions.step("r", seq) {
                        Step::Deliver => told.push(seq),
                        Step::Double => {}
                        Step::Gap(..) => prop_assert!(false, "a gap before {}", seq),
                    }
                }
            }
            prop_assert_eq!(&told, &(1..).take(told.len()).collect::<Vec<i64>>());
        }

        /// A hole is always found, and named exactly.
        #[test]
        fn a_hole_is_found(last in 0i64..1000, hole in 1i64..1000) {
            let mut positions = Positions::new("e".into(), HashMap::from([("r".into(), last)]));
            prop_assert_eq!(positions.step("r", last + 1 + hole), Step::Gap(last, last + 1 + hole));
            prop_assert_eq!(positions.get("r"), Some(last));
        }
    }

    #[test]
    fn a_first_visit_begins_at_the_head_and_a_later_one_at_the_beginning() {
        let mut positions = Positions::default();
        positions.enter_epoch("e");
        positions.start_room("a", &room(1, 9), None);
        positions.start_room("b", &room(5, 9), Some(0));
        assert_eq!((positions.get("a"), positions.get("b")), (Some(9), Some(4)));
    }

    #[test]
    fn a_direct_room_whose_first_message_was_cut_off_is_resumed_from_its_beginning() {
        let mut direct = room(1, 3);
        direct.room = Some(greffe_api::v1::Room {
            kind: RoomKind::Direct.into(),
            ..Default::default()
        });
        let mut positions = Positions::default();
        positions.enter_epoch("e");
        positions.add_room("direct", &direct);
        assert_eq!(positions.to_resume()[0].after_seq, 0);
        let mut positions = Positions::default();
        positions.add_room("public", &room(1, 3));
        assert_eq!(positions.to_resume()[0].after_seq, 2);
    }

    #[test]
    fn an_invitation_has_no_position() {
        let mut positions = Positions::default();
        let invited = RoomState {
            my_role: MemberRole::Invited.into(),
            ..Default::default()
        };
        positions.start_room("a", &invited, Some(0));
        positions.add_room("a", &invited);
        assert_eq!(positions.to_resume().len(), 0);
        positions.add_room("a", &room(3, 7));
        assert_eq!(positions.step("a", 7), Step::Deliver);
        assert_eq!(positions.step("a", 7), Step::Double);
    }

    #[test]
    fn another_epoch_forgets_every_position() {
        let mut positions = Positions::new("old".into(), HashMap::from([("r".into(), 40)]));
        positions.enter_epoch("old");
        assert_eq!(positions.get("r"), Some(40));
        positions.enter_epoch("new");
        assert_eq!((positions.get("r"), positions.epoch()), (Some(0), "new"));
    }
}
