//! Between the domain's types and those of the API.

use std::collections::HashSet;

use greffe_api::v1;
use greffe_api::v1::event_body::Content;

use super::App;
use crate::domain::clock::timestamp;
use crate::domain::command::{Outcome, Receipt};
use crate::domain::error::Error;
use crate::domain::ids::{FileId, RequestId, RoomId, SessionId, UserId};
use crate::domain::state::{Member, Role, Room, State, User};
use crate::journal::event::{decode_content, decode_head};
use crate::store::{RoomMessage, Unread};

pub(super) fn room_id(text: &str) -> Result<RoomId, Error> {
    text.parse().map_err(|_| Error::RoomNotFound)
}

pub(super) fn user_id(text: &str) -> Result<UserId, Error> {
    text.parse().map_err(|_| Error::UserNotFound)
}

pub(super) fn file_id(text: &str) -> Result<FileId, Error> {
    text.parse().map_err(|_| Error::FileNotFound)
}

pub(super) fn upload_id(text: &str) -> Result<FileId, Error> {
    text.parse().map_err(|_| Error::UploadNotFound)
}

pub(super) fn session_id(text: &str) -> Result<SessionId, Error> {
    text.parse().map_err(|_| Error::SessionNotFound)
}

pub(super) fn request_id(text: &str) -> Result<RequestId, Error> {
    RequestId::parse(text).ok_or(Error::InvalidRequestId)
}

pub(super) fn seq(field: &'static str, seq: i64) -> Result<i64, Error> {
    if seq >= 1 {
        Ok(seq)
    } else {
        Err(Error::invalid(field, "it must be 1 or more"))
    }
}

pub(super) fn receipt(app: &App, receipt: &Receipt) -> v1::Receipt {
    v1::Receipt {
        epoch: app.identity.epoch.clone(),
        index: receipt.index,
        room_id: receipt.room.map(|room| room.to_string()).unwrap_or_default(),
        seq: receipt.seq,
        time: Some(timestamp(receipt.time)),
        leaf_hash: receipt.leaf.to_vec().into(),
    }
}

/// The receipt of an outcome that has one.
pub(super) fn stored(outcome: Outcome) -> Result<Receipt, Error> {
    match outcome {
        Outcome::Stored(receipt) => Ok(receipt),
        Outcome::LoggedIn { .. }
        | Outcome::Acted { .. }
        | Outcome::Ended(_)
        | Outcome::Read(_)
        | Outcome::Upload(_)
        | Outcome::Erased(_)
        | Outcome::Done => Err(Error::Internal),
    }
}

pub(super) fn user(user: &User, online: &HashSet<UserId>) -> v1::User {
    v1::User {
        id: user.id.to_string(),
        name: user.name.clone(),
        display_name: user.display_name.clone(),
        created_at: Some(timestamp(user.created)),
        online: online.contains(&user.id),
        is_operator: user.is_operator_identity,
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) fn room(state: &State, room: &Room) -> v1::Room {
    v1::Room {
        id: room.id.to_string(),
        kind: room.kind.into(),
        name: room.name.clone(),
        topic: room.topic.clone(),
        history: room.history.into(),
        created_at: Some(timestamp(room.created)),
        archived_at: room.archived.map(timestamp),
        member_count: count(state.member_count(room)),
        direct_user_ids: room.direct.map(|(a, b)| vec![a.to_string(), b.to_string()]).unwrap_or_default(),
    }
}

/// A room as somebody sees it, whose place in it is `place`, before what they have not read is known.
pub(super) fn room_state(state: &State, it: &Room, place: Option<Member>) -> v1::RoomState {
    let member = place.filter(|member| member.role.is_in());
    v1::RoomState {
        room: Some(room(state, it)),
        my_role: place.map_or(v1::MemberRole::Unspecified, |member| member.role.to_api()).into(),
        head_seq: member.map_or(0, |_| it.head_seq),
        first_seq: member.map_or(0, |member| member.first_seq),
        read_seq: 0,
        unread_count: 0,
        mention_count: 0,
    }
}

pub(super) fn set_unread(room: &mut v1::RoomState, unread: Unread) {
    (room.read_seq, room.unread_count, room.mention_count) = (unread.read_seq, unread.messages, unread.mentions);
}

pub(super) fn member(user: &User, place: Member) -> v1::Member {
    v1::Member {
        user_id: user.id.to_string(),
        user_name: user.name.clone(),
        role: place.role.to_api().into(),
        since: Some(timestamp(place.since)),
    }
}

pub(super) fn role(role: v1::MemberRole) -> Result<Role, Error> {
    Role::from_api(role).ok_or_else(|| Error::invalid("role", "it must be member, moderator or owner"))
}

/// A message as it stands now. None if the stored bytes are damaged.
pub(super) fn message(stored: &RoomMessage) -> Option<v1::Message> {
    let posted = decode_head(&stored.posted)?;
    let mut message = v1::Message {
        room_id: posted.room_id,
        seq: posted.seq,
        author_id: posted.actor_id,
        posted_at: posted.time,
        text: String::new(),
        reply_to_seq: posted.target_seq,
        mentioned_user_ids: Vec::new(),
        edited_at: None,
        deleted: stored.current.is_none(),
        reactions: stored
            .reactions
            .iter()
            .filter_map(|(head, body)| reaction(head, body))
            .collect(),
    };
    if let Some((head, body)) = &stored.current {
        match body.as_ref().and_then(|body| decode_content(body)) {
            Some(Content::MessagePosted(posted)) => {
                (message.text, message.mentioned_user_ids) = (posted.text, posted.mentioned_user_ids);
            }
            Some(Content::MessageEdited(edited)) => {
                (message.text, message.mentioned_user_ids) = (edited.text, edited.mentioned_user_ids);
                message.edited_at = decode_head(head)?.time;
            }
            // Erased, which is as good as deleted for those who only show messages.
            _ => message.deleted = true,
        }
    }
    Some(message)
}

fn reaction(head: &[u8], body: &[u8]) -> Option<v1::Reaction> {
    let Content::ReactionAdded(added) = decode_content(body)? else {
        return None;
    };
    Some(v1::Reaction {
        user_id: decode_head(head)?.actor_id,
        emoji: added.emoji,
    })
}
