//! The lines of `people.jsonl`, `rooms.jsonl` and `messages.jsonl`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::hex;
use super::row::Row;
use super::scope::time_of;
use super::time::rfc3339;
use crate::v1::event_body::Content;
use crate::v1::{BodyState, EventKind, MemberRole, PeerAddress, RoomKind};

/// What somebody is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// The user name.
    pub name: String,
    /// The name to show.
    pub display_name: String,
}

/// What a room is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its kind.
    pub kind: RoomKind,
    /// Its name.
    pub name: String,
    /// Its newest seq.
    pub newest_seq: i64,
}

/// A line of `people.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonLine {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) display_name: String,
}

/// A line of `rooms.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoomLine {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) first_seq: i64,
    pub(super) last_seq: i64,
    pub(super) newest_seq: i64,
}

/// The names that stand in an export.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) people: BTreeMap<String, PersonLine>,
    pub(super) rooms: BTreeMap<String, RoomLine>,
}

/// A value as a line.
pub(super) fn line<T: Serialize>(value: &T) -> String {
    let mut line = serde_json::to_string(value).expect("it has texts, numbers and lists only");
    line.push('\n');
    line
}

/// What `rooms.jsonl` calls a kind of room.
pub(super) fn room_kind(kind: RoomKind) -> &'static str {
    match kind {
        RoomKind::General => "general",
        RoomKind::Public => "public",
        RoomKind::Private => "private",
        RoomKind::Direct => "direct",
        RoomKind::Unspecified => "unspecified",
    }
}

/// What a kind of row is called.
pub(super) fn kind_name(kind: i32) -> String {
    match EventKind::try_from(kind) {
        Ok(kind) => {
            let name = kind.as_str_name();
            name.strip_prefix("EVENT_KIND_").unwrap_or(name).to_ascii_lowercase()
        }
        Err(_) => kind.to_string(),
    }
}

/// A text, or null instead of an empty one.
fn some(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

/// A line of `messages.jsonl`: of a row that was ordered.
pub(super) fn message(row: &Row, names: &Names) -> String {
    let head = &row.head;
    let number = |seq: i64| if seq == 0 { Value::Null } else { json!(seq) };
    let room = names.rooms.get(&head.room_id);
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| _ = object.insert(name.to_owned(), value);
    put("index", json!(head.index));
    put("time", json!(rfc3339(time_of(head))));
    put("room", some(&head.room_id));
    put("room_name", room.map_or(Value::Null, |room| json!(room.name)));
    put("seq", number(head.seq));
    put("kind", json!(kind_name(head.kind)));
    put("actor", some(&head.actor_id));
    let actor = names.people.get(&head.actor_id);
    put("actor_name", actor.map_or(Value::Null, |actor| json!(actor.name)));
    put("subject", some(&head.subject_id));
    put("target_seq", number(head.target_seq));
    let state = if row.state == BodyState::Erased {
        "erased"
    } else {
        "present"
    };
    put("state", json!(state));
    for (name, value) in row.content().iter().flat_map(says) {
        put(name, value);
    }
    line(&object)
}

/// What a row says.
fn says(content: &Content) -> Vec<(&'static str, Value)> {
    let text = |text: &str, mentions: &[String]| vec![("text", json!(text)), ("mentions", json!(mentions))];
    match content {
        Content::MessagePosted(posted) => text(&posted.text, &posted.mentioned_user_ids),
        Content::MessageEdited(edited) => text(&edited.text, &edited.mentioned_user_ids),
        Content::ReactionAdded(added) => vec![("emoji", json!(added.emoji))],
        Content::ReactionRemoved(removed) => vec![("emoji", json!(removed.emoji))],
        Content::MemberJoined(joined) => vec![("role", json!(role(joined.role())))],
        Content::MemberRoleChanged(changed) => vec![("role", json!(role(changed.role())))],
        Content::MemberRemoved(removed) => vec![("reason", json!(removed.reason))],
        Content::RoomArchived(archived) => vec![("reason", json!(archived.reason))],
        Content::UserDisabled(disabled) => vec![("reason", json!(disabled.reason))],
        Content::RoomCreated(created) => vec![
            ("room_kind", json!(room_kind(created.kind()))),
            ("name", json!(created.name)),
            ("topic", json!(created.topic)),
            ("people", json!(created.direct_user_ids)),
        ],
        Content::RoomUpdated(updated) => vec![("name", json!(updated.name)), ("topic", json!(updated.topic))],
        Content::FileShared(shared) => {
            let file = json!({
                "id": shared.file_id,
                "name": shared.name,
                "size": shared.size,
                "sha256": hex(&shared.sha256),
                "media_type": shared.media_type,
                "owner": shared.owner_id,
            });
            vec![("file", file)]
        }
        Content::FileRemoved(removed) => vec![("file_id", json!(removed.file_id))],
        Content::UserRegistered(made) => vec![
            ("name", json!(made.name)),
            ("display_name", json!(made.display_name)),
            ("address", json!(address(made.peer.as_ref()))),
        ],
        Content::UserUpdated(updated) => vec![("display_name", json!(updated.display_name))],
        Content::LoggedIn(login) => vec![
            ("address", json!(address(login.peer.as_ref()))),
            ("client", json!(login.client)),
        ],
        Content::SessionSeen(seen) => vec![("address", json!(address(seen.peer.as_ref())))],
        Content::SessionEnded(ended) => vec![("address", json!(address(ended.peer.as_ref())))],
        Content::PasswordChanged(changed) => vec![("address", json!(address(changed.peer.as_ref())))],
        _ => Vec::new(),
    }
}

fn role(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Unspecified => "unspecified",
        MemberRole::Invited => "invited",
        MemberRole::Member => "member",
        MemberRole::Moderator => "moderator",
        MemberRole::Owner => "owner",
    }
}

/// An address and its port.
pub(super) fn address(peer: Option<&PeerAddress>) -> Option<String> {
    let peer = peer?;
    let is_v6 = matches!(peer.address.parse(), Ok(IpAddr::V6(_)));
    Some(if is_v6 {
        format!("[{}]:{}", peer.address, peer.port)
    } else {
        format!("{}:{}", peer.address, peer.port)
    })
}
