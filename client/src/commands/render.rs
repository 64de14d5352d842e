//! What happened, in words for people and in objects for programs.

use std::collections::HashMap;

use greffe::api::{
    Alert, BodyState, Event, EventHead, EventKind, MemberRole, Message, Receipt, Room, RoomKind, RoomState, User,
    event_body::Content,
};
use greffe::{Client, Code, Error};
use serde_json::{Value, json};

use super::files::described;
use crate::text::{excerpt, hex, visible, visible_lines};
use crate::time;

/// Names that are remembered. Beyond them all are asked for again.
const NAMES: usize = 20_000;

/// What stands before the name of the operator's identity wherever it speaks. No user name has capitals or these brackets, and nothing
/// that a person chose stands in this place.
pub(crate) const OPERATOR_TAG: &str = "<OPERATOR>";

/// What every line of an alert begins with.
const ALERT_MARK: &str = "!!";

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    /// The user name.
    pub(crate) name: String,
    /// Whether it is the operator's identity, which nobody else can have.
    pub(crate) is_operator: bool,
}

impl Author {
    /// Somebody of this name, who is not the operator.
    fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            is_operator: false,
        }
    }

    /// The name, safe to show, with the operator's mark if it is theirs.
    pub(crate) fn marked(&self) -> String {
        if self.is_operator {
            format!("{OPERATOR_TAG} {}", visible(&self.name))
        } else {
            visible(&self.name)
        }
    }
}

impl From<&User> for Author {
    fn from(user: &User) -> Self {
        Self {
            name: user.name.clone(),
            is_operator: user.is_operator,
        }
    }
}

/// The names of users, asked for once each.
#[derive(Debug)]
pub(crate) struct Names {
    client: Client,
    users: HashMap<String, Author>,
    me: String,
}

impl Names {
    /// Starts with the user's own.
    pub(crate) async fn new(client: &Client) -> Result<Self, Error> {
        let me = client.me().await?;
        Ok(Self {
            client: client.clone(),
            users: HashMap::from([(me.id.clone(), Author::from(&me))]),
            me: me.id,
        })
    }

    /// The user's own id.
    pub(crate) fn me(&self) -> &str {
        &self.me
    }

    /// Remembers a user.
    pub(crate) fn learn(&mut self, user: &User) {
        self.insert(&user.id, Author::from(user));
    }

    fn insert(&mut self, id: &str, author: Author) {
        if self.users.len() >= NAMES {
            let me = self.users.remove(&self.me);
            self.users.clear();
            self.users.extend(me.map(|me| (self.me.clone(), me)));
        }
        self.users.insert(id.to_owned(), author);
    }

    /// The name of a user; for nobody, the server.
    pub(crate) async fn user(&mut self, id: &str) -> Result<String, Error> {
        Ok(self.author(id).await?.name)
    }

    /// Who a user is; for nobody, the server.
    pub(crate) async fn author(&mut self, id: &str) -> Result<Author, Error> {
        if id.is_empty() {
            return Ok(Author::named("the server"));
        }
        if let Some(author) = self.users.get(id) {
            return Ok(author.clone());
        }
        let author = match self.client.user_by_id(id).await {
            Ok(user) => Author::from(&user),
            Err(error) if error.code == Code::NotFound => Author::named(id),
            Err(error) => return Err(error),
        };
        self.insert(id, author.clone());
        Ok(author)
    }

    /// What a room is called: its name, or `@` and the other person.
    pub(crate) async fn room(&mut self, room: &Room) -> Result<String, Error> {
        if room.kind() != RoomKind::Direct {
            return Ok(room.name.clone());
        }
        let me = self.me.clone();
        let other = room.direct_user_ids.iter().find(|id| **id != me).cloned().unwrap_or(me);
        Ok(format!("@{}", self.user(&other).await?))
    }
}

/// What an event tells people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// A message. `reply_to` is 0 if it replies to none.
    Message {
        /// The text as it was sent.
        text: String,
        /// The message that it replies to.
        reply_to: i64,
    },
    /// A new text for a message.
    Edit {
        /// The message.
        target: i64,
        /// The new text.
        text: String,
    },
    /// A file, in words that are safe to show. It matters as much as a message.
    File(String),
    /// Anything else, in words that are safe to show. It matters less than a message.
    Notice(String),
    /// Nothing that this version knows.
    Nothing,
}

/// Says what an event tells people. The author is named by whoever shows it.
pub(crate) async fn tell(names: &mut Names, event: &Event) -> Result<Telling, Error> {
    let Some(head) = &event.head else {
        return Ok(Telling::Nothing);
    };
    let subject = async |names: &mut Names| Ok::<_, Error>(visible(&names.user(&head.subject_id).await?));
    let Some(content) = event.body.as_ref().and_then(|body| body.content.as_ref()) else {
        return Ok(without_body(head, event.body_state()));
    };
    let target = head.target_seq;
    Ok(match content {
        Content::MessagePosted(message) => Telling::Message {
            text: message.text.clone(),
            reply_to: target,
        },
        Content::MessageEdited(edit) => Telling::Edit {
            target,
            text: edit.text.clone(),
        },
        Content::MessageDeleted(_) => Telling::Notice(format!("deleted #{target}")),
        Content::ReactionAdded(reaction) => {
            Telling::Notice(format!("reacted {} to #{target}", visible(&reaction.emoji)))
        }
        Content::ReactionRemoved(reaction) => {
            Telling::Notice(format!("took back {} from #{target}", visible(&reaction.emoji)))
        }
        Content::MemberJoined(_) => Telling::Notice("joined".to_owned()),
        Content::MemberLeft(_) => Telling::Notice("left".to_owned()),
        Content::MemberInvited(_) => Telling::Notice(format!("invited {}", subject(names).await?)),
        Content::MemberRemoved(removed) => {
            Telling::Notice(format!("removed {}{}", subject(names).await?, because(&removed.reason)))
        }
        Content::MemberRoleChanged(change) => {
            Telling::Notice(format!("made {} {}", subject(names).await?, role_name(change.role())))
        }
        Content::RoomCreated(_) => Telling::Notice("created the room".to_owned()),
        Content::RoomUpdated(update) => {
            let name = update
                .name
                .as_ref()
                .map(|name| format!("renamed the room to {}", visible(name)));
            let topic = update.topic.as_ref().map(|topic| match topic.as_str() {
                "" => "removed the topic".to_owned(),
                topic => format!("set the topic: {}", visible(topic)),
            });
            Telling::Notice(name.into_iter().chain(topic).collect::<Vec<_>>().join(", and "))
        }
        Content::FileShared(shared) => {
            let whose = if shared.owner_id == head.actor_id {
                "a file".to_owned()
            } else {
                format!("a file of {}", visible(&names.user(&shared.owner_id).await?))
            };
            let file = described(&shared.name, shared.size, &shared.file_id);
            Telling::File(format!("shared {whose}: {file}"))
        }
        Content::FileRemoved(_) => Telling::Notice(format!("took away the file of #{target}")),
        Content::RoomArchived(archived) => Telling::Notice(format!("archived the room{}", because(&archived.reason))),
        _ => Telling::Nothing,
    })
}

fn without_body(head: &EventHead, state: BodyState) -> Telling {
    let why = match state {
        BodyState::Replaced => "was edited later",
        BodyState::Deleted => "was deleted",
        BodyState::Erased => "was erased",
        BodyState::Withheld => "is from before you may read",
        BodyState::Unspecified | BodyState::OutOfScope => return Telling::Nothing,
    };
    match head.kind() {
        EventKind::MessagePosted => Telling::Notice(format!("wrote a message that {why}")),
        EventKind::MessageEdited => Telling::Notice(format!("edited #{}, which {why}", head.target_seq)),
        EventKind::FileShared => Telling::Notice(format!("shared a file that {why}")),
        _ => Telling::Notice(format!("did something that {why}")),
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {}", visible(reason))
    }
}

/// A role in words.
pub(crate) fn role_name(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Unspecified => "no member",
        MemberRole::Invited => "invited",
        MemberRole::Member => "member",
        MemberRole::Moderator => "moderator",
        MemberRole::Owner => "owner",
    }
}

/// A kind of room in a word.
pub(crate) fn kind_name(kind: RoomKind) -> &'static str {
    match kind {
        RoomKind::Unspecified => "unknown",
        RoomKind::General => "general",
        RoomKind::Public => "public",
        RoomKind::Private => "private",
        RoomKind::Direct => "direct",
    }
}

/// An alert on lines of their own. Nothing that a person wrote begins with this mark, and each line of an alert does.
pub(crate) fn alert_lines(time: &str, text: &str) -> Vec<String> {
    let mut lines = visible_lines(text).into_iter();
    let first = lines.next().unwrap_or_default();
    let first = format!("{ALERT_MARK} {time} ALERT from the server: {first}");
    let rest = lines.map(|line| format!("{ALERT_MARK}     | {line}"));
    std::iter::once(first).chain(rest).collect()
}

/// An alert for programs.
pub(crate) fn alert_object(alert: &Alert) -> Value {
    json!({
        "kind": "alert",
        "index": alert.index,
        "text": alert.text,
        "time": time::json(alert.time.as_ref()),
    })
}

/// A message on one line, for lists.
pub(crate) fn short(text: &str) -> String {
    excerpt(text, 60)
}

/// An event for programs.
pub(crate) async fn event_object(names: &mut Names, room: &str, event: &Event) -> Result<Value, Error> {
    let head = event.head.clone().unwrap_or_default();
    let content = event.body.as_ref().and_then(|body| body.content.as_ref());
    let (text, mentions) = match content {
        Some(Content::MessagePosted(message)) => (Some(&message.text), &message.mentioned_user_ids[..]),
        Some(Content::MessageEdited(edit)) => (Some(&edit.text), &edit.mentioned_user_ids[..]),
        _ => (None, &[][..]),
    };
    let author = if head.actor_id.is_empty() {
        None
    } else {
        Some(names.author(&head.actor_id).await?)
    };
    let mut object = json!({
        "room": room,
        "room_id": head.room_id,
        "seq": head.seq,
        "index": head.index,
        "kind": kind_word(head.kind, "EVENT_KIND_", EventKind::try_from(head.kind).ok().map(|kind| kind.as_str_name())),
        "author": author.as_ref().map(|author| &author.name),
        "author_id": none_if_empty(&head.actor_id),
        "author_is_operator": author.as_ref().is_some_and(|author| author.is_operator),
        "text": text,
        "body_state": body_state(event.body_state),
        "target_seq": head.target_seq,
        "time": time::json(head.time.as_ref()),
    });
    let mut add = |key: &str, value: Value| {
        if let Some(object) = object.as_object_mut() {
            object.insert(key.to_owned(), value);
        }
    };
    if !head.subject_id.is_empty() {
        add("subject", json!(names.user(&head.subject_id).await?));
        add("subject_id", json!(head.subject_id));
    }
    if !mentions.is_empty() {
        let mut mentioned = Vec::new();
        for id in mentions {
            mentioned.push(names.user(id).await?);
        }
        add("mentions", json!(mentioned));
    }
    match content {
        Some(Content::ReactionAdded(reaction)) => add("emoji", json!(reaction.emoji)),
        Some(Content::ReactionRemoved(reaction)) => add("emoji", json!(reaction.emoji)),
        Some(Content::MemberJoined(joined)) => add("role", json!(role_name(joined.role()))),
        Some(Content::MemberRoleChanged(change)) => add("role", json!(role_name(change.role()))),
        Some(Content::MemberRemoved(removed)) => add("reason", json!(removed.reason)),
        Some(Content::RoomArchived(archived)) => add("reason", json!(archived.reason)),
        Some(Content::FileShared(shared)) => {
            let owner = names.user(&shared.owner_id).await?;
            add("file_id", json!(shared.file_id));
            add("name", json!(shared.name));
            add("size", json!(shared.size));
            add("sha256", json!(hex(&shared.sha256)));
            add("media_type", json!(shared.media_type));
            add("owner", json!(owner));
            add("owner_id", json!(shared.owner_id));
        }
        Some(Content::FileRemoved(removed)) => add("file_id", json!(removed.file_id)),
        Some(Content::RoomCreated(created)) => {
            add("name", json!(created.name));
            add("topic", json!(created.topic));
        }
        Some(Content::RoomUpdated(update)) => {
            add("name", json!(update.name));
            add("topic", json!(update.topic));
        }
        _ => {}
    }
    Ok(object)
}

/// A message as it stands now, for programs.
pub(crate) async fn message_object(names: &mut Names, room: &str, message: &Message) -> Result<Value, Error> {
    let mut reactions = Vec::new();
    for reaction in &message.reactions {
        reactions.push(json!({"user": names.user(&reaction.user_id).await?, "emoji": reaction.emoji}));
    }
    let author = names.author(&message.author_id).await?;
    Ok(json!({
        "room": room,
        "room_id": message.room_id,
        "seq": message.seq,
        "kind": "message",
        "author": author.name,
        "author_id": message.author_id,
        "author_is_operator": author.is_operator,
        "text": if message.deleted { None } else { Some(&message.text) },
        "deleted": message.deleted,
        "edited_at": time::json(message.edited_at.as_ref()),
        "reply_to_seq": message.reply_to_seq,
        "reactions": reactions,
        "time": time::json(message.posted_at.as_ref()),
    }))
}

/// A receipt for programs.
pub(crate) fn receipt_object(room: &str, receipt: &Receipt, request_id: &str) -> Value {
    json!({
        "room": room,
        "room_id": receipt.room_id,
        "seq": receipt.seq,
        "index": receipt.index,
        "time": time::json(receipt.time.as_ref()),
        "epoch": receipt.epoch,
        "leaf_hash": hex(&receipt.leaf_hash),
        "request_id": none_if_empty(request_id),
    })
}

/// A room for programs.
pub(crate) fn room_object(label: &str, state: &RoomState) -> Value {
    let room = state.room.clone().unwrap_or_default();
    json!({
        "room": label,
        "room_id": room.id,
        "kind": kind_name(room.kind()),
        "topic": room.topic,
        "members": room.member_count,
        "role": role_name(state.my_role()),
        "head_seq": state.head_seq,
        "first_seq": state.first_seq,
        "read_seq": state.read_seq,
        "unread": state.unread_count,
        "mentions": state.mention_count,
        "created_at": time::json(room.created_at.as_ref()),
        "archived_at": time::json(room.archived_at.as_ref()),
    })
}

/// Why an event comes without its body, as programs get it.
fn body_state(number: i32) -> String {
    match BodyState::try_from(number) {
        Ok(BodyState::Unspecified) => "present".to_owned(),
        known => kind_word(number, "BODY_STATE_", known.ok().map(|state| state.as_str_name())),
    }
}

/// An enum's name as programs get it: without prefix, in small letters; a number that this version does not know as `unknown_N`.
pub(crate) fn kind_word(number: i32, prefix: &str, name: Option<&str>) -> String {
    name.and_then(|name| name.strip_prefix(prefix))
        .map_or_else(|| format!("unknown_{number}"), str::to_ascii_lowercase)
}

fn none_if_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_of_many_lines_is_an_alert_in_each_of_them() {
        assert_eq!(
            alert_lines("12:00", "one\ntwo\u{1b}[2J\u{202e}"),
            ["!! 12:00 ALERT from the server: one", "!!     | two\\u{1b}[2J\\u{202e}"]
        );
        assert_eq!(alert_lines("12:00", "").len(), 1);
    }

    #[test]
    fn only_the_operators_identity_has_the_operators_mark() {
        let user = |name: &str, is_operator| User {
            name: name.into(),
            display_name: OPERATOR_TAG.into(),
            is_operator,
            ..Default::default()
        };
        assert_eq!(Author::from(&user("operator", true)).marked(), "<OPERATOR> operator");
        assert_eq!(Author::from(&user("0perator", false)).marked(), "0perator");
    }
}
