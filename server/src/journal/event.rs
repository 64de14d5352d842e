//! The bytes of an event: made once, then stored, sent and exported as they are.

use bytes::{BufMut, Bytes, BytesMut};
use greffe_api::v1::event_body::Content;
use greffe_api::v1::{self, BodyState, EventBody, EventHead, EventKind};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::tree::{Hash, leaf_hash};
use crate::domain::clock::{from_timestamp, timestamp};
use crate::domain::entry::{Draft, Entry, Subject, kind};
use crate::domain::ids::{RequestId, sha256};

/// Tag of a length-delimited field 1: `Event.head`, and the list of events in `Events` and `ListEventsResponse`.
const TAG_1: u8 = 0x0A;
/// Tag of a length-delimited field 2: `Event.body`.
const TAG_2: u8 = 0x12;
/// Tag of a varint field 3: `Event.body_state`.
const TAG_3: u8 = 0x18;

/// An event's two parts, as stored, in the bytes of the whole event.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The event as an element of a list of events.
    pub element: Bytes,
    /// The bytes of the head.
    pub head: Bytes,
    /// The bytes of the body.
    pub body: Bytes,
    /// The salt in the body.
    pub salt: [u8; 16],
    /// The head's leaf in the tree.
    pub leaf: Hash,
}

/// The bytes of an `EventBody`, without a copy of what is in it.
fn encode_body(entry: &Entry, salt: &[u8]) -> Vec<u8> {
    let content = &entry.draft.content;
    let request = entry.request.map(|request| request.to_string());
    let request_len = request.as_ref().map_or(0, |request| field_len(request.len()));
    let mut body = Vec::with_capacity(field_len(salt.len()) + request_len + content.encoded_len());
    body.put_u8(TAG_1);
    encode_varint(salt.len() as u64, &mut body);
    body.put_slice(salt);
    if let Some(request) = request {
        body.put_u8(TAG_2);
        encode_varint(request.len() as u64, &mut body);
        body.put_slice(request.as_bytes());
    }
    content.encode(&mut body);
    body
}

/// Encodes an event with a salt that no other event has.
pub fn encode(entry: &Entry, salt: [u8; 16]) -> Parts {
    let draft = &entry.draft;
    let body = encode_body(entry, &salt);
    let head = EventHead {
        index: entry.index,
        time: Some(timestamp(entry.time)),
        room_id: draft.room.map(|room| room.to_string()).unwrap_or_default(),
        seq: entry.seq,
        kind: kind(&draft.content).into(),
        actor_id: draft.actor.map(|actor| actor.to_string()).unwrap_or_default(),
        subject_id: match draft.subject {
            Subject::None => String::new(),
            Subject::User(user) => user.to_string(),
            Subject::Session(session) => session.to_string(),
            Subject::Room(room) => room.to_string(),
        },
        target_seq: draft.target_seq,
        commitment: Bytes::copy_from_slice(&commitment(&body)),
    }
    .encode_to_vec();
    let mut out = BytesMut::new();
    put_element(&mut out, &head, Some(&body), BodyState::Unspecified);
    let element = out.freeze();
    let body_at = element.len() - body.len();
    let head_at = body_at + body.len() - field_len(body.len()) - head.len();
    Parts {
        head: element.slice(head_at..head_at + head.len()),
        body: element.slice(body_at..),
        element,
        salt,
        leaf: leaf_hash(&head),
    }
}

/// The commitment to a body.
pub fn commitment(body: &[u8]) -> Hash {
    sha256(&[body])
}

/// Bytes of a field of `len` bytes with a tag of one byte.
fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// Writes an event as an element of a list of events.
///
/// `body` is none where members may not see it; `state` then says why, and is 0 otherwise.
pub fn put_element(out: &mut BytesMut, head: &[u8], body: Option<&[u8]>, state: BodyState) {
    let body_len = body.map_or(0, |body| field_len(body.len()));
    let state_len = if state == BodyState::Unspecified { 0 } else { 2 };
    let event_len = field_len(head.len()) + body_len + state_len;
    out.reserve(field_len(event_len));
    out.put_u8(TAG_1);
    encode_varint(event_len as u64, out);
    out.put_u8(TAG_1);
    encode_varint(head.len() as u64, out);
    out.put_slice(head);
    if let Some(body) = body {
        out.put_u8(TAG_2);
        encode_varint(body.len() as u64, out);
        out.put_slice(body);
    }
    if state != BodyState::Unspecified {
        out.put_u8(TAG_3);
        encode_varint(u64::from((state as i32).unsigned_abs()), out);
    }
}

/// The head alone of an edit, for members who may not see the message, as an element of a list of events.
pub fn withheld(head: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_element(&mut out, head, None, BodyState::Withheld);
    out.freeze()
}

/// Reads a stored head. None if it is none: the database was damaged.
pub fn decode_head(head: &[u8]) -> Option<EventHead> {
    EventHead::decode(head).ok()
}

/// Reads a stored body. None if it is none: the database was damaged.
pub fn decode_body(body: &[u8]) -> Option<EventBody> {
    EventBody::decode(body).ok()
}

/// Reads what a stored body says.
pub fn decode_content(body: &[u8]) -> Option<Content> {
    decode_body(body)?.content
}

/// What the head of an event tells whose body was erased: the event without words. None if the bytes are none of a head.
///
/// Kinds whose bodies say what something is, and not only what it is called, are not erased; but for rooms, which are told of elsewhere.
pub fn decode_erased(head: &[u8]) -> Option<Entry> {
    let head = decode_head(head)?;
    let content = without_words(head.kind())?;
    entry(&head, content, None)
}

fn without_words(kind: EventKind) -> Option<Content> {
    Some(match kind {
        EventKind::MessagePosted => Content::MessagePosted(v1::MessagePosted::default()),
        EventKind::MessageEdited => Content::MessageEdited(v1::MessageEdited::default()),
        EventKind::ReactionAdded => Content::ReactionAdded(v1::ReactionAdded::default()),
        EventKind::ReactionRemoved => Content::ReactionRemoved(v1::ReactionRemoved::default()),
        EventKind::MemberRemoved => Content::MemberRemoved(v1::MemberRemoved::default()),
        EventKind::RoomCreated => Content::RoomCreated(v1::RoomCreated::default()),
        EventKind::RoomUpdated => Content::RoomUpdated(v1::RoomUpdated::default()),
        EventKind::RoomArchived => Content::RoomArchived(v1::RoomArchived::default()),
        EventKind::FileShared => Content::FileShared(v1::FileShared::default()),
        EventKind::UserRegistered => Content::UserRegistered(v1::UserRegistered::default()),
        EventKind::UserUpdated => Content::UserUpdated(v1::UserUpdated::default()),
        EventKind::PasswordChanged => Content::PasswordChanged(v1::PasswordChanged::default()),
        EventKind::UserDisabled => Content::UserDisabled(v1::UserDisabled::default()),
        EventKind::LoggedIn => Content::LoggedIn(v1::LoggedIn::default()),
        EventKind::LoginRefused => Content::LoginRefused(v1::LoginRefused::default()),
        EventKind::SessionSeen => Content::SessionSeen(v1::SessionSeen::default()),
        EventKind::SessionEnded => Content::SessionEnded(v1::SessionEnded::default()),
        EventKind::BanCreated => Content::BanCreated(v1::BanCreated::default()),
        EventKind::MessageReported => Content::MessageReported(v1::MessageReported::default()),
        EventKind::ReportResolved => Content::ReportResolved(v1::ReportResolved::default()),
        _ => return None,
    })
}

/// Reads a stored event back. None if the bytes are none of an event with its body: the body was erased, or the database was damaged.
pub fn decode(head: &[u8], body: &[u8]) -> Option<Entry> {
    let (head, body) = (decode_head(head)?, decode_body(body)?);
    let content = body.content?;
    (kind(&content) == head.kind())
        .then(|| entry(&head, content, RequestId::parse(&body.request_id)))
        .flatten()
}

fn entry(head: &EventHead, content: Content, request: Option<RequestId>) -> Option<Entry> {
    let optional = |text: &String| (!text.is_empty()).then(|| text.clone());
    let subject = match optional(&head.subject_id) {
        None => Subject::None,
        Some(id) if id.starts_with('u') => Subject::User(id.parse().ok()?),
        Some(id) if id.starts_with('r') => Subject::Room(id.parse().ok()?),
        Some(id) => Subject::Session(id.parse().ok()?),
    };
    let draft = Draft {
        room: optional(&head.room_id).map(|id| id.parse()).transpose().ok()?,
        actor: optional(&head.actor_id).map(|id| id.parse()).transpose().ok()?,
        subject,
        target_seq: head.target_seq,
        content,
        aside: None,
    };
    Some(Entry {
        index: head.index,
        time: from_timestamp(head.time.as_ref()?),
        seq: head.seq,
        request,
        draft,
    })
}

#[cfg(test)]
mod tests {
    use greffe_api::v1::{Event, Events, MessagePosted};

    use super::*;
    use crate::domain::ids::{RoomId, UserId, random};

    fn entry() -> Entry {
        let posted = MessagePosted {
            text: "secret words".into(),
            mentioned_user_ids: Vec::new(),
        };
        Entry {
            index: 7,
            time: 1_700_000_000_123_456,
            seq: 3,
            request: RequestId::parse("0f8fad5b-d9cb-469f-a165-70867728950e"),
            draft: Draft::in_room(RoomId::random(), UserId::random(), Content::MessagePosted(posted)).on(2),
        }
    }

    #[test]
    fn an_element_is_what_a_list_of_events_holds() {
        let parts = encode(&entry(), random());
        let mut out = BytesMut::from(&parts.element[..]);
        put_element(&mut out, &parts.head, None, BodyState::Deleted);
        let events = Events::decode(out.freeze()).unwrap();
        let whole = Event {
            head: decode_head(&parts.head),
            body: decode_body(&parts.body),
            body_state: BodyState::Unspecified.into(),
        };
        let bare = Event {
            head: decode_head(&parts.head),
            body: None,
            body_state: BodyState::Deleted.into(),
        };
        assert_eq!(events.events, [whole, bare]);
    }

    #[test]
    fn an_event_survives_being_stored_and_read() {
        let entry = entry();
        let parts = encode(&entry, random());
        assert_eq!(decode_body(&parts.body).unwrap().encode_to_vec(), parts.body);
        assert_eq!(decode_head(&parts.head).unwrap().encode_to_vec(), parts.head);
        let read = decode(&parts.head, &parts.body).unwrap();
        assert_eq!(
            (read.index, read.time, read.seq, read.request),
            (entry.index, entry.time, entry.seq, entry.request)
        );
        assert_eq!(
            (read.draft.room, read.draft.actor, read.draft.content),
            (entry.draft.room, entry.draft.actor, entry.draft.content)
        );
        assert!(decode(&parts.body, &parts.head).is_none());
    }

    #[test]
    fn the_head_commits_to_the_body_and_says_nothing_of_it() {
        let (first, second) = (encode(&entry(), random()), encode(&entry(), random()));
        assert_eq!(
            decode_head(&first.head).unwrap().commitment,
            commitment(&first.body).to_vec()
        );
        assert_ne!(first.salt, second.salt);
        assert_ne!(commitment(&first.body), commitment(&second.body));
        assert!(!first.head.windows(6).any(|window| window == b"secret" || window == b"0f8fad"));
    }
}
