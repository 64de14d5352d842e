//! A row within a case's scope, as a line for people and as an object for programs.

use greffe::api::event_body::Content;
use greffe::api::{Event, EventHead, FileShared, MemberRole, MessagePosted, PeerAddress, RoomKind};
use greffe::record_api::CaseEntry;
use greffe::terminal::error::CommandError;
use greffe::terminal::text::{hex, visible};
use greffe::terminal::time;
use serde_json::{Map, Value, json};

use crate::commands::log::entry as log_entry;
use crate::context::Context;
use crate::output::{address_and_port, bytes, kind_name};

/// The head of a row; an empty one if there is none.
pub(crate) fn head(entry: &CaseEntry) -> EventHead {
    entry.event.as_ref().and_then(|event| event.head.clone()).unwrap_or_default()
}

/// Prints a row.
pub(super) fn show(entry: &CaseEntry, context: &Context) -> Result<(), CommandError> {
    if context.ui.is_json() {
        return context.ui.object(&object(entry));
    }
    let (place, what) = line(entry);
    context.ui.line_or_fold(&place, &what)
}

/// Time, number and room; and who did what.
fn line(entry: &CaseEntry) -> (String, String) {
    let head = head(entry);
    let room = match entry.room_kind() {
        _ if !entry.room_name.is_empty() => visible(&entry.room_name),
        _ if head.room_id.is_empty() => "-".to_owned(),
        RoomKind::Direct => format!("direct {}", visible(&head.room_id)),
        _ => format!("room {}", visible(&head.room_id)),
    };
    let room = if head.seq == 0 {
        room
    } else {
        format!("{room} #{}", head.seq)
    };
    let who = match (entry.actor_name.as_str(), head.actor_id.as_str()) {
        ("", "") => String::new(),
        ("", id) => format!("{} ", visible(id)),
        (name, _) => format!("{} ", visible(name)),
    };
    let when = time::day_and_time(head.time.as_ref());
    let content = content(entry);
    let what = match content {
        Some(content) => happened(&head, content, entry.event.as_ref()),
        None => format!("{} (erased)", log_entry::kind_name(head.kind).replace('_', " ")),
    };
    (format!("{when}  #{:<7} {room:<20}", head.index), format!("{who}{what}"))
}

fn content(entry: &CaseEntry) -> Option<&Content> {
    entry.event.as_ref()?.body.as_ref()?.content.as_ref()
}

/// What somebody did, for people; it goes on after their name.
fn happened(head: &EventHead, content: &Content, event: Option<&Event>) -> String {
    let whom = || visible(&head.subject_id);
    let because = |reason: &str| match reason {
        "" => String::new(),
        reason => format!(": {}", visible(reason)),
    };
    match content {
        Content::MessagePosted(MessagePosted { text, .. }) if head.target_seq != 0 => {
            format!("replied to #{}: {}", head.target_seq, visible(text))
        }
        Content::MessagePosted(MessagePosted { text, .. }) => format!("wrote: {}", visible(text)),
        Content::MessageEdited(edited) => format!("edited #{}: {}", head.target_seq, visible(&edited.text)),
        Content::MessageDeleted(_) => format!("deleted #{}", head.target_seq),
        Content::ReactionAdded(added) => format!("reacted to #{} with {}", head.target_seq, visible(&added.emoji)),
        Content::ReactionRemoved(removed) => {
            format!("took back {} on #{}", visible(&removed.emoji), head.target_seq)
        }
        Content::MemberJoined(_) if head.actor_id == head.subject_id => "joined".to_owned(),
        Content::MemberJoined(_) => format!("let {} in", whom()),
        Content::MemberLeft(_) => "left".to_owned(),
        Content::MemberInvited(_) => format!("invited {}", whom()),
        Content::MemberRemoved(removed) => format!("removed {}{}", whom(), because(&removed.reason)),
        Content::MemberRoleChanged(changed) => format!("made {} {}", whom(), role(changed.role())),
        Content::RoomCreated(made) if made.kind() == RoomKind::Direct => "opened the direct room".to_owned(),
        Content::RoomCreated(made) => format!(
            "made the {} room {}{}",
            kind_name(made.kind()),
            visible(&made.name),
            because(&made.topic)
        ),
        Content::RoomUpdated(updated) => {
            let name = updated.name.as_ref().map(|name| format!(" name {}", visible(name)));
            let topic = updated.topic.as_ref().map(|topic| format!(" topic {}", visible(topic)));
            let changes: Vec<_> = name.into_iter().chain(topic).collect();
            format!("gave the room the{}", changes.join(" and the"))
        }
        Content::RoomArchived(archived) => format!("archived the room{}", because(&archived.reason)),
        Content::FileShared(file) => format!(
            "shared {} ({}, SHA-256 {})",
            visible(&file.name),
            bytes(file.size),
            hex(&file.sha256)
        ),
        Content::FileRemoved(_) => format!("took away the file of #{}", head.target_seq),
        _ => event.map(log_entry::what).unwrap_or_default(),
    }
}

/// A row for programs: the members that a line of an export's `messages.jsonl` has, and the kind of the room.
fn object(entry: &CaseEntry) -> Value {
    let head = head(entry);
    let given = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    let number = |number: i64| if number == 0 { Value::Null } else { json!(number) };
    let room_kind = (!head.room_id.is_empty()).then(|| kind_name(entry.room_kind()));
    let room_name = (!head.room_id.is_empty()).then_some(&entry.room_name);
    let content = content(entry);
    let mut object = Map::new();
    for (name, value) in [
        ("index", json!(head.index)),
        ("time", time::json(head.time.as_ref())),
        ("room", given(&head.room_id)),
        ("room_name", json!(room_name)),
        ("room_kind", json!(room_kind)),
        ("seq", number(head.seq)),
        ("kind", json!(log_entry::kind_name(head.kind))),
        ("actor", given(&head.actor_id)),
        ("actor_name", given(&entry.actor_name)),
        ("subject", given(&head.subject_id)),
        ("target_seq", number(head.target_seq)),
        ("state", json!(if content.is_some() { "present" } else { "erased" })),
    ] {
        object.insert(name.to_owned(), value);
    }
    if let Some(Value::Object(says)) = content.map(says) {
        object.extend(says);
    }
    Value::Object(object)
}

/// What a row says, as in `messages.jsonl`.
fn says(content: &Content) -> Value {
    match content {
        Content::MessagePosted(posted) => json!({"text": posted.text, "mentions": posted.mentioned_user_ids}),
        Content::MessageEdited(edited) => json!({"text": edited.text, "mentions": edited.mentioned_user_ids}),
        Content::ReactionAdded(added) => json!({"emoji": added.emoji}),
        Content::ReactionRemoved(removed) => json!({"emoji": removed.emoji}),
        Content::MemberJoined(joined) => json!({"role": role(joined.role())}),
        Content::MemberRoleChanged(changed) => json!({"role": role(changed.role())}),
        Content::MemberRemoved(removed) => json!({"reason": removed.reason}),
        Content::RoomArchived(archived) => json!({"reason": archived.reason}),
        Content::UserDisabled(disabled) => json!({"reason": disabled.reason}),
        Content::RoomCreated(made) => json!({
            "room_kind": kind_name(made.kind()),
            "name": made.name,
            "topic": made.topic,
            "people": made.direct_user_ids,
        }),
        Content::RoomUpdated(updated) => json!({"name": updated.name, "topic": updated.topic}),
        Content::FileShared(shared) => json!({"file": file(shared)}),
        Content::FileRemoved(removed) => json!({"file_id": removed.file_id}),
        Content::UserRegistered(made) => json!({
            "name": made.name,
            "display_name": made.display_name,
            "address": address(made.peer.as_ref()),
        }),
        Content::UserUpdated(updated) => json!({"display_name": updated.display_name}),
        Content::LoggedIn(login) => json!({"address": address(login.peer.as_ref()), "client": login.client}),
        Content::SessionSeen(seen) => json!({"address": address(seen.peer.as_ref())}),
        Content::SessionEnded(ended) => json!({"address": address(ended.peer.as_ref())}),
        Content::PasswordChanged(changed) => json!({"address": address(changed.peer.as_ref())}),
        _ => json!({}),
    }
}

fn file(shared: &FileShared) -> Value {
    json!({
        "id": shared.file_id,
        "name": shared.name,
        "size": shared.size,
        "sha256": hex(&shared.sha256),
        "media_type": shared.media_type,
        "owner": shared.owner_id,
    })
}

fn address(peer: Option<&PeerAddress>) -> Option<String> {
    peer.map(|peer| address_and_port(&peer.address, peer.port))
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

#[cfg(test)]
mod tests {
    use greffe::api::{EventBody, EventKind, MessageDeleted, MessageEdited, RoomUpdated};

    use super::*;

    fn entry(kind: EventKind, target_seq: i64, content: Option<Content>) -> CaseEntry {
        CaseEntry {
            event: Some(Event {
                head: Some(EventHead {
                    index: 102,
                    room_id: "r1".into(),
                    seq: 8,
                    kind: kind.into(),
                    actor_id: "u1".into(),
                    target_seq,
                    ..EventHead::default()
                }),
                body: content.map(|content| EventBody {
                    content: Some(content),
                    ..EventBody::default()
                }),
                ..Event::default()
            }),
            actor_name: "bob".into(),
            room_name: "general".into(),
            room_kind: RoomKind::General.into(),
        }
    }

    fn posted(text: &str) -> Content {
        Content::MessagePosted(MessagePosted {
            text: text.into(),
            mentioned_user_ids: vec![],
        })
    }

    #[test]
    fn who_wrote_what_is_told_without_harm() {
        let text = "two\nlines \u{1b}[2J\u{202e}x";
        let (place, what) = line(&entry(EventKind::MessagePosted, 0, Some(posted(text))));
        assert!(place.contains("#102     general #8"), "{place}");
        assert_eq!(what, "bob wrote: two\\nlines \\u{1b}[2J\\u{202e}x");
        let mut direct = entry(EventKind::MessagePosted, 7, Some(posted("yes")));
        direct.room_name.clear();
        direct.room_kind = RoomKind::Direct.into();
        let (place, what) = line(&direct);
        assert!(
            place.contains("direct r1 #8") && what == "bob replied to #7: yes",
            "{place}{what}"
        );
    }

    #[test]
    fn edits_deletions_and_what_was_erased_are_told_as_such() {
        let edited = Content::MessageEdited(MessageEdited {
            text: "new".into(),
            ..MessageEdited::default()
        });
        let deleted = Content::MessageDeleted(MessageDeleted {});
        let renamed = Content::RoomUpdated(RoomUpdated {
            name: Some("plans".into()),
            topic: Some("what to do".into()),
        });
        for (entry, expected) in [
            (entry(EventKind::MessageEdited, 7, Some(edited)), "bob edited #7: new"),
            (entry(EventKind::MessageDeleted, 7, Some(deleted)), "bob deleted #7"),
            (
                entry(EventKind::RoomUpdated, 0, Some(renamed)),
                "bob gave the room the name plans and the topic what to do",
            ),
            (entry(EventKind::MessagePosted, 0, None), "bob message posted (erased)"),
        ] {
            assert_eq!(line(&entry).1, expected);
        }
    }

    #[test]
    fn objects_have_the_members_of_an_exports_lines() {
        let found = object(&entry(EventKind::MessagePosted, 0, Some(posted("hi"))));
        assert_eq!(
            found.to_string(),
            r#"{"index":102,"time":null,"room":"r1","room_name":"general","room_kind":"general","seq":8,"kind":"message_posted","actor":"u1","actor_name":"bob","subject":null,"target_seq":null,"state":"present","text":"hi","mentions":[]}"#
        );
        let erased = object(&entry(EventKind::MessagePosted, 0, None));
        assert_eq!((&erased["state"], &erased["text"]), (&json!("erased"), &Value::Null));
        let mut unknown = entry(EventKind::MessagePosted, 0, None);
        if let Some(head) = unknown.event.as_mut().and_then(|event| event.head.as_mut()) {
            head.kind = 9999;
        }
        assert_eq!(object(&unknown)["kind"], "9999");
    }
}
