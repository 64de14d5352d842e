//! What the chat knows: rooms, what was said lately, who is online, what is on its way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use greffe::api::{MemberRole, RoomKind, RoomState};

/// Messages of a room that replies and edits can name.
const REMEMBERED: usize = 500;
/// How often it is told at most that a person is typing.
const TYPING_PAUSE: Duration = Duration::from_secs(60);

/// A message that replies and edits can name.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Its seq.
    pub(crate) seq: i64,
    /// The author's name.
    pub(crate) author: String,
    /// Its text.
    pub(crate) text: String,
    /// Whether the user wrote it.
    pub(crate) mine: bool,
}

/// A room of the user.
#[derive(Clone, Debug)]
pub(crate) struct RoomView {
    /// The room as the server told it last.
    pub(crate) state: RoomState,
    /// What it is called.
    pub(crate) label: String,
    /// The user's newest own message in it.
    pub(crate) my_last: Option<i64>,
    /// Up to where a history has shown it: what the feed tells of that is not shown again.
    pub(crate) shown: i64,
    said: VecDeque<Said>,
}

impl RoomView {
    /// The room's id.
    pub(crate) fn id(&self) -> &str {
        self.state.room.as_ref().map_or("", |room| room.id.as_str())
    }

    /// Whether the user is in it, not only invited.
    pub(crate) fn is_mine(&self) -> bool {
        !matches!(self.state.my_role(), MemberRole::Unspecified | MemberRole::Invited)
    }

    /// Whether it is a conversation of two.
    pub(crate) fn is_direct(&self) -> bool {
        self.state.room.as_ref().is_some_and(|room| room.kind() == RoomKind::Direct)
    }

    /// Remembers what was said; a seq that is known gets the new text.
    pub(crate) fn remember(&mut self, said: Said) {
        if let Some(known) = self.said.iter_mut().find(|known| known.seq == said.seq) {
            known.text = said.text;
            return;
        }
        if self.said.len() >= REMEMBERED {
            self.said.pop_front();
        }
        self.said.push_back(said);
    }

    /// Forgets a message that was deleted.
    pub(crate) fn forget(&mut self, seq: i64) {
        self.said.retain(|said| said.seq != seq);
        if self.my_last == Some(seq) {
            self.my_last = None;
        }
    }

    /// The newest message of somebody else, if one is remembered.
    pub(crate) fn last_of_others(&self) -> Option<i64> {
        self.said.iter().filter(|said| !said.mine).map(|said| said.seq).max()
    }

    /// What was said in a message, if it is remembered.
    pub(crate) fn said(&self, seq: i64) -> Option<&Said> {
        self.said.iter().find(|said| said.seq == seq)
    }
}

/// The rooms of the user, and which one is the current.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    all: HashMap<String, RoomView>,
    current: Option<String>,
    /// Where the user was before a private conversation.
    back: Option<String>,
}

impl Rooms {
    /// Takes in a room as the server tells it.
    pub(crate) fn update(&mut self, state: RoomState, label: String) {
        let Some(room) = &state.room else { return };
        if let Some(view) = self.all.get_mut(&room.id) {
            view.state = state;
            view.label = label;
        } else {
            let view = RoomView {
                label,
                my_last: None,
                shown: 0,
                said: VecDeque::new(),
                state: state.clone(),
            };
            self.all.insert(room.id.clone(), view);
        }
    }

    /// Forgets a room; returns it. If it was the current one, there is none now: a line typed for it must not go to another room.
    pub(crate) fn remove(&mut self, room_id: &str) -> Option<RoomView> {
        if self.current.as_deref() == Some(room_id) {
            self.current = None;
        }
        if self.back.as_deref() == Some(room_id) {
            self.back = None;
        }
        self.all.remove(room_id)
    }

    /// Forgets the rooms that are not among these; returns them.
    pub(crate) fn keep_only(&mut self, ids: &HashSet<String>) -> Vec<RoomView> {
        let gone: Vec<String> = self.all.keys().filter(|id| !ids.contains(*id)).cloned().collect();
        gone.iter().filter_map(|id| self.remove(id)).collect()
    }

    /// A room by its id.
    pub(crate) fn get(&self, room_id: &str) -> Option<&RoomView> {
        self.all.get(room_id)
    }

    /// A room by its id.
    pub(crate) fn get_mut(&mut self, room_id: &str) -> Option<&mut RoomView> {
        self.all.get_mut(room_id)
    }

    /// A room by what it is called; capitals make no difference.
    pub(crate) fn find(&self, label: &str) -> Option<&RoomView> {
        let label = label.strip_prefix('#').unwrap_or(label).to_lowercase();
        let found = self
            .all
            .values()
            .filter(|view| view.label.to_lowercase() == label || view.id() == label);
        found.min_by_key(|view| (!view.is_mine(), view.id().to_owned()))
    }

    /// All rooms, by what they are called.
    pub(crate) fn sorted(&self) -> Vec<&RoomView> {
        let mut rooms: Vec<_> = self.all.values().collect();
        rooms.sort_by_cached_key(|view| view.label.to_lowercase());
        rooms
    }

    /// The current room.
    pub(crate) fn current(&self) -> Option<&RoomView> {
        self.get(self.current.as_deref()?)
    }

    /// Whether a room is the current one.
    pub(crate) fn is_current(&self, room_id: &str) -> bool {
        self.current.as_deref() == Some(room_id)
    }

    /// Goes to a room. From a room to a private conversation, the way back is remembered.
    pub(crate) fn enter(&mut self, room_id: &str) {
        let into_private = self.get(room_id).is_some_and(RoomView::is_direct);
        let from_private = self.current().is_some_and(RoomView::is_direct);
        if !into_private {
            self.back = None;
        } else if !from_private {
            self.back.clone_from(&self.current);
        }
        self.current = Some(room_id.to_owned());
    }

    /// Where `/back` goes.
    pub(crate) fn way_back(&self) -> Option<&str> {
        self.back.as_deref()
    }

    /// What the prompt says.
    pub(crate) fn prompt(&self) -> String {
        self.current()
            .map_or_else(|| "(no room)".to_owned(), |view| crate::text::visible(&view.label))
    }
}

/// Who was told to be typing, and when.
#[derive(Debug, Default)]
pub(crate) struct TypingTold {
    last: HashMap<String, Instant>,
}

impl TypingTold {
    /// Whether it is time to tell again that a person is typing.
    pub(crate) fn is_due(&mut self, user_id: &str, now: Instant) -> bool {
        self.last.retain(|_, told| now.saturating_duration_since(*told) < TYPING_PAUSE);
        if self.last.contains_key(user_id) {
            return false;
        }
        self.last.insert(user_id.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use greffe::api::Room;

    use super::*;

    fn room(id: &str, kind: RoomKind) -> RoomState {
        let room = Room {
            id: id.into(),
            kind: kind.into(),
            ..Default::default()
        };
        RoomState {
            room: Some(room),
            my_role: MemberRole::Member.into(),
            ..Default::default()
        }
    }

    fn rooms() -> Rooms {
        let mut rooms = Rooms::default();
        rooms.update(room("g", RoomKind::General), "general".into());
        rooms.update(room("p", RoomKind::Public), "Pub".into());
        rooms.update(room("b", RoomKind::Direct), "@bob".into());
        rooms.update(room("c", RoomKind::Direct), "@carol".into());
        rooms
    }

    #[test]
    fn back_leads_to_the_room_before_the_private_conversations() {
        let mut rooms = rooms();
        rooms.enter("p");
        rooms.enter("b");
        rooms.enter("c");
        assert_eq!(rooms.way_back(), Some("p"));
        rooms.enter("g");
        assert_eq!(rooms.way_back(), None);
    }

    #[test]
    fn a_room_that_is_gone_is_replaced_by_none() {
        let mut rooms = rooms();
        rooms.enter("p");
        assert!(rooms.remove("p").is_some());
        assert!(rooms.current().is_none());
        assert_eq!(rooms.prompt(), "(no room)");
    }

    #[test]
    fn rooms_are_found_whatever_the_case() {
        let rooms = rooms();
        assert_eq!(rooms.find("#pUB").map(RoomView::id), Some("p"));
        assert_eq!(rooms.find("@BOB").map(RoomView::id), Some("b"));
        assert!(rooms.find("nothing").is_none());
    }

    #[test]
    fn typing_is_told_once_a_minute() {
        let mut told = TypingTold::default();
        let now = Instant::now();
        assert!(told.is_due("a", now));
        assert!(!told.is_due("a", now + Duration::from_secs(59)));
        assert!(told.is_due("b", now));
        assert!(told.is_due("a", now + Duration::from_secs(61)));
    }

    #[test]
    fn an_edit_changes_what_was_said_and_a_deletion_forgets_it() {
        let mut rooms = rooms();
        let Some(view) = rooms.get_mut("g") else {
            unreachable!("general is there")
        };
        let said = |text: &str| Said {
            seq: 4,
            author: "bob".into(),
            text: text.into(),
            mine: false,
        };
        view.remember(said("one"));
        view.remember(said("two"));
        view.remember(Said {
            seq: 5,
            mine: true,
            ..said("three")
        });
        assert_eq!(view.last_of_others(), Some(4));
        assert_eq!(view.said(4).map(|said| said.text.as_str()), Some("two"));
        view.forget(4);
        assert!(view.said(4).is_none() && view.last_of_others().is_none());
    }
}
