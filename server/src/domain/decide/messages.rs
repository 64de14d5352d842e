//! Messages: posting, editing, deleting, reacting, reading.

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{MessageDeleted, MessageEdited, MessagePosted, MessageReported, ReactionAdded, ReactionRemoved};

use super::{Answer, Context, Decision, Overwrite, permissions};
use crate::domain::caller::Caller;
use crate::domain::entry::{Aside, Draft, Subject};
use crate::domain::error::Error;
use crate::domain::facts::MessageFact;
use crate::domain::ids::RoomId;
use crate::domain::state::{Member, Role, Room};
use crate::domain::text::{Emoji, MessageText, Reason};

/// People whom one message can mention.
const MENTIONS: usize = 50;
/// Reactions that one message can have.
const REACTIONS: usize = 1000;
/// Reactions that one person can have on one message.
const OWN_REACTIONS: usize = 20;

/// Reports that one person may have open.
const REPORTS: usize = 50;

/// A message that the member may see and that was not deleted.
fn message(context: &Context<'_>, room: &Room, member: Member, seq: i64) -> Result<MessageFact, Error> {
    let message = context
        .facts
        .messages
        .get(&(room.id, seq))
        .filter(|_| seq >= member.first_seq)
        .ok_or(Error::MessageNotFound)?;
    if message.deleted {
        Err(Error::MessageDeleted)
    } else {
        Ok(*message)
    }
}

/// The members of a room whom a text mentions. Of people who are not in the room nothing is said.
fn mentions(context: &Context<'_>, room: &Room, text: &MessageText) -> Vec<String> {
    let users = text
        .mentioned_names(MENTIONS)
        .into_iter()
        .filter_map(|name| context.state.user_named(name));
    let members = users.filter(|user| context.state.member(room, user.id).is_some_and(|member| member.role.is_in()));
    members.map(|user| user.id.to_string()).collect()
}

pub(super) fn send(
    context: &Context<'_>,
    caller: &Caller,
    room: RoomId,
    text: &MessageText,
    reply_to: i64,
) -> Result<Decision, Error> {
    let (room, member) = permissions::writer(context.state, caller.user, room)?;
    if reply_to != 0 {
        // A deleted message can be replied to: its place is still there.
        match message(context, room, member, reply_to) {
            Ok(_) | Err(Error::MessageDeleted) => {}
            Err(error) => return Err(error),
        }
    }
    let posted = MessagePosted {
        text: text.as_str().into(),
        mentioned_user_ids: mentions(context, room, text),
    };
    Ok(Decision::event(
        Draft::in_room(room.id, caller.user, Content::MessagePosted(posted)).on(reply_to),
    ))
}

pub(super) fn edit(
    context: &Context<'_>,
    caller: &Caller,
    room: RoomId,
    seq: i64,
    text: &MessageText,
) -> Result<Decision, Error> {
    let (room, member) = permissions::writer(context.state, caller.user, room)?;
    if message(context, room, member, seq)?.author != caller.user {
        return Err(Error::NotTheAuthor);
    }
    let edited = MessageEdited {
        text: text.as_str().into(),
        mentioned_user_ids: mentions(context, room, text),
    };
    Ok(Decision::event(
        Draft::in_room(room.id, caller.user, Content::MessageEdited(edited)).on(seq),
    ))
}

pub(super) fn delete(context: &Context<'_>, caller: &Caller, room: RoomId, seq: i64) -> Result<Decision, Error> {
    let (room, member) = permissions::writer(context.state, caller.user, room)?;
    if message(context, room, member, seq)?.author != caller.user {
        permissions::at_least(member, Role::Moderator)?;
    }
    Ok(Decision::event(
        Draft::in_room(room.id, caller.user, Content::MessageDeleted(MessageDeleted {})).on(seq),
    ))
}

pub(super) fn react(
    context: &Context<'_>,
    caller: &Caller,
    room: RoomId,
    seq: i64,
    emoji: &Emoji,
) -> Result<Decision, Error> {
    let (room, member) = permissions::writer(context.state, caller.user, room)?;
    message(context, room, member, seq)?;
    let own = context
        .facts
        .reactions
        .get(&(room.id, seq, caller.user))
        .map_or(&[][..], Vec::as_slice);
    if own.iter().any(|reaction| reaction.emoji == emoji.as_str()) {
        return Err(Error::AlreadyReacted);
    }
    if own.len() >= OWN_REACTIONS {
        return Err(Error::TooMany {
            what: "reactions of yours on this message",
            limit: OWN_REACTIONS,
        });
    }
    if context.facts.reaction_counts.get(&(room.id, seq)).copied().unwrap_or(0) >= REACTIONS {
        return Err(Error::TooMany {
            what: "reactions on this message",
            limit: REACTIONS,
        });
    }
    let added = ReactionAdded {
        emoji: emoji.as_str().into(),
    };
    Ok(Decision::event(
        Draft::in_room(room.id, caller.user, Content::ReactionAdded(added)).on(seq),
    ))
}

pub(super) fn unreact(
    context: &Context<'_>,
    caller: &Caller,
    room: RoomId,
    seq: i64,
    emoji: &Emoji,
) -> Result<Decision, Error> {
    let (room, member) = permissions::writer(context.state, caller.user, room)?;
    message(context, room, member, seq).or_else(|error| match error {
        // One's reaction to a message that was deleted since can still be taken back.
        Error::MessageDeleted => context
            .facts
            .messages
            .get(&(room.id, seq))
            .copied()
            .ok_or(Error::MessageNotFound),
        other => Err(other),
    })?;
    let mut own = context.facts.reactions.get(&(room.id, seq, caller.user)).into_iter().flatten();
    let reaction = own
        .find(|reaction| reaction.emoji == emoji.as_str())
        .ok_or(Error::ReactionNotFound)?;
    let removed = ReactionRemoved {
        emoji: emoji.as_str().into(),
    };
    let draft = Draft::in_room(room.id, caller.user, Content::ReactionRemoved(removed)).on(seq);
    Ok(Decision::event(draft.with(Aside::TakesBack(reaction.seq))))
}

pub(super) fn report(
    context: &Context<'_>,
    caller: &Caller,
    room: RoomId,
    seq: i64,
    reason: &Reason,
) -> Result<Decision, Error> {
    let (room, member) = permissions::member(context.state, caller.user, room)?;
    let message = message(context, room, member, seq)?;
    match context.state.standing().reports_of(caller.user, room.id, seq) {
        (_, true) => return Err(Error::AlreadyReported),
        (count, _) if count >= REPORTS => {
            return Err(Error::TooMany {
                what: "open reports of yours",
                limit: REPORTS,
            });
        }
        _ => {}
    }
    let reported = MessageReported {
        reason: reason.as_str().into(),
        text_index: message.text_index,
    };
    let draft = Draft::outside_rooms(
        Some(caller.user),
        Subject::Room(room.id),
        Content::MessageReported(reported),
    );
    Ok(Decision::event(draft.on(seq)))
}

pub(super) fn mark_read(context: &Context<'_>, caller: &Caller, room: RoomId, seq: i64) -> Result<Decision, Error> {
    let (room, _) = permissions::member(context.state, caller.user, room)?;
    if seq < 1 || seq > room.head_seq {
        return Err(Error::invalid(
            "seq",
            format!("it must be from 1 to the room's newest seq, which is {}", room.head_seq),
        ));
    }
    let before = context.facts.read_marks.get(&(caller.user, room.id)).copied().unwrap_or(0);
    if seq <= before {
        return Ok(Decision::events(Vec::new(), Answer::Read(before)));
    }
    Ok(Decision::overwrite(
        Overwrite::ReadMark {
            user: caller.user,
            room: room.id,
            seq,
        },
        Answer::Read(seq),
    ))
}
