//! What everyone reads: history, messages, unread counts.

use std::collections::HashMap;

use bytes::Bytes;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use greffe_api::v1::event_body::Content;
use greffe_api::v1::{BodyState, EventHead, EventKind};

use crate::journal::event::{decode_content, decode_head};
use crate::store::schema::{journal, reaction, read_mark, room, room_event, user};
use crate::store::{
    Currency, Place, Range, RoomEvent, RoomMessage, Scanned, StoreError, StoredEvent, TextChange, Unread,
};

/// Reactions of a message that are listed.
const REACTIONS: i64 = 100;
/// What a message costs a page beyond its text, about.
const MESSAGE_BYTES: usize = 256;
/// What a reaction costs it beyond its body, about.
const REACTION_BYTES: usize = 32;

fn currency(state: i32) -> Currency {
    if state == BodyState::Unspecified as i32 {
        Currency::Current
    } else if state == BodyState::Replaced as i32 {
        Currency::Replaced
    } else if state == BodyState::Erased as i32 {
        Currency::Erased
    } else {
        Currency::Deleted
    }
}

fn limit(range: Range) -> i64 {
    i64::try_from(range.limit).unwrap_or(i64::MAX)
}

type EventRow = (i64, i32, i32, i64, Vec<u8>, Option<Vec<u8>>);

pub(super) fn events(connection: &mut SqliteConnection, range: Range) -> Result<Vec<RoomEvent>, StoreError> {
    let query = room_event::table
        .inner_join(journal::table)
        .filter(
            room_event::room
                .eq(range.room)
                .and(room_event::seq.ge(range.first))
                .and(room_event::seq.le(range.last)),
        )
        .select((
            room_event::seq,
            room_event::kind,
            room_event::state,
            room_event::target,
            journal::head,
            journal::body,
        ))
        .limit(limit(range));
    if range.newest {
        let rows = query
            .order(room_event::seq.desc())
            .load_iter::<EventRow, DefaultLoadingMode>(connection)?;
        let mut found = page(rows, range.bytes)?;
        found.reverse();
        Ok(found)
    } else {
        page(
            query
                .order(room_event::seq.asc())
                .load_iter::<EventRow, DefaultLoadingMode>(connection)?,
            range.bytes,
        )
    }
}

/// Takes rows until they have so many bytes: read one by one, so that a page of large texts ends at its limit and not at a multiple of it.
fn page(rows: impl Iterator<Item = QueryResult<EventRow>>, limit: usize) -> Result<Vec<RoomEvent>, StoreError> {
    let mut found = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let (seq, kind, state, target, head, body) = row?;
        bytes += head.len() + body.as_ref().map_or(0, Vec::len);
        if bytes > limit && !found.is_empty() {
            break;
        }
        found.push(RoomEvent {
            seq,
            head: head.into(),
            body: body.map(Bytes::from),
            currency: currency(state),
            edits: (kind == EventKind::MessageEdited as i32).then_some(target),
        });
    }
    Ok(found)
}

/// Where a message is: its seq, its row, the row of its current text, and whether members may see that of `row`.
type Spot = (i64, i64, i64, i32);

pub(super) fn messages(
    connection: &mut SqliteConnection,
    range: Range,
) -> Result<(Vec<RoomMessage>, bool), StoreError> {
    let query = room_event::table
        .filter(
            room_event::room
                .eq(range.room)
                .and(room_event::seq.ge(range.first))
                .and(room_event::seq.le(range.last)),
        )
        .filter(room_event::kind.eq(EventKind::MessagePosted as i32))
        .select((room_event::seq, room_event::idx, room_event::current, room_event::state))
        // One more than asked for tells whether there is more.
        .limit(limit(range).saturating_add(1));
    let spots: Vec<Spot> = if range.newest {
        query.order(room_event::seq.desc()).load(connection)?
    } else {
        query.order(room_event::seq.asc()).load(connection)?
    };
    let mut more = spots.len() > range.limit;
    let mut found = Vec::with_capacity(spots.len());
    let mut bytes = 0;
    for spot in spots.into_iter().take(range.limit) {
        let message = message(connection, range.room, spot)?;
        bytes += message_bytes(&message);
        if bytes > range.bytes && !found.is_empty() {
            more = true;
            break;
        }
        found.push(message);
    }
    if range.newest {
        found.reverse();
    }
    Ok((found, more))
}

/// About what a message costs a page.
fn message_bytes(message: &RoomMessage) -> usize {
    let text = message
        .current
        .as_ref()
        .and_then(|(_, body)| body.as_ref())
        .map_or(0, Bytes::len);
    MESSAGE_BYTES
        + text
        + message
            .reactions
            .iter()
            .map(|(_, body)| body.len() + REACTION_BYTES)
            .sum::<usize>()
}

pub(super) fn messages_at(connection: &mut SqliteConnection, places: &[Place]) -> Result<Vec<RoomMessage>, StoreError> {
    let mut found = Vec::with_capacity(places.len());
    for place in places {
        let spot: Option<Spot> = room_event::table
            .find((place.room_no, place.seq))
            .filter(room_event::kind.eq(EventKind::MessagePosted as i32))
            .select((room_event::seq, room_event::idx, room_event::current, room_event::state))
            .get_result(connection)
            .optional()?;
        let expected =
            |(_, _, current, state): &Spot| *current == place.current && currency(*state) != Currency::Deleted;
        if let Some(spot) = spot.filter(expected) {
            found.push(message(connection, place.room_no, spot)?);
        }
    }
    Ok(found)
}

fn message(
    connection: &mut SqliteConnection,
    in_room: i64,
    (seq, index, current, state): Spot,
) -> Result<RoomMessage, StoreError> {
    let posted: Vec<u8> = journal::table.find(index).select(journal::head).get_result(connection)?;
    let current = if currency(state) == Currency::Deleted {
        None
    } else {
        let (head, body): (Vec<u8>, Option<Vec<u8>>) = journal::table
            .find(current)
            .select((journal::head, journal::body))
            .get_result(connection)?;
        Some((head.into(), body.map(Bytes::from)))
    };
    let reactions: Vec<(Vec<u8>, Option<Vec<u8>>)> = reaction::table
        .inner_join(journal::table)
        .filter(reaction::room.eq(in_room).and(reaction::target.eq(seq)))
        .order(reaction::seq)
        .limit(REACTIONS)
        .select((journal::head, journal::body))
        .load(connection)?;
    let reactions = reactions
        .into_iter()
        .filter_map(|(head, body)| Some((head.into(), body?.into())))
        .collect();
    Ok(RoomMessage {
        posted: posted.into(),
        current,
        reactions,
    })
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

pub(super) fn unread(
    connection: &mut SqliteConnection,
    person: i64,
    rooms: &[(i64, i64)],
) -> Result<Vec<Unread>, StoreError> {
    // Counted up to 1,000, among the next 10,000 events, so that a room that somebody never reads costs no more than that.
    const MESSAGES: &str = "SELECT count(*) AS n FROM (SELECT 1 FROM
        (SELECT kind, actor, state FROM room_event WHERE room = ?1 AND seq > ?2 ORDER BY seq LIMIT 10000)
        WHERE kind = 10 AND actor <> ?3 AND state < 2 LIMIT 1000)";
    const MENTIONS: &str =
        "SELECT count(*) AS n FROM (SELECT 1 FROM mention m JOIN room_event e ON e.room = m.room AND e.seq = m.seq
        WHERE m.user = ?3 AND m.room = ?1 AND m.seq > ?2 AND e.actor <> ?3 LIMIT 1000)";
    let mut all = Vec::with_capacity(rooms.len());
    for (in_room, first_seq) in rooms {
        let read_seq: i64 = read_mark::table
            .find((person, in_room))
            .select(read_mark::seq)
            .get_result(connection)
            .optional()?
            .unwrap_or(0);
        let after = read_seq.max(first_seq - 1);
        let mut count = |query: &str| -> Result<i32, StoreError> {
            let count: Count = diesel::sql_query(query)
                .bind::<BigInt, _>(in_room)
                .bind::<BigInt, _>(after)
                .bind::<BigInt, _>(person)
                .get_result(connection)?;
            Ok(i32::try_from(count.n).unwrap_or(i32::MAX))
        };
        all.push(Unread {
            read_seq,
            messages: count(MESSAGES)?,
            mentions: count(MENTIONS)?,
        });
    }
    Ok(all)
}

pub(super) fn text_changes(
    connection: &mut SqliteConnection,
    first: i64,
    count: i64,
) -> Result<(Vec<TextChange>, i64), StoreError> {
    let rows: Vec<(i64, Vec<u8>, Option<Vec<u8>>)> = journal::table
        .filter(journal::idx.ge(first))
        .order(journal::idx)
        .limit(count)
        .select((journal::idx, journal::head, journal::body))
        .load(connection)?;
    let next = rows.last().map_or(first, |(index, _, _)| index + 1);
    let mut rooms = HashMap::new();
    let mut changes = Vec::new();
    for (index, head, body) in rows {
        let Some(head) = decode_head(&head) else { continue };
        let (seq, text) = match (head.kind(), body.and_then(|body| decode_content(&body))) {
            (EventKind::MessagePosted, Some(Content::MessagePosted(posted))) => (head.seq, Some(posted.text)),
            (EventKind::MessageEdited, Some(Content::MessageEdited(edited))) => (head.target_seq, Some(edited.text)),
            (EventKind::MessageDeleted, _) => (head.target_seq, None),
            _ => continue,
        };
        if !rooms.contains_key(&head.room_id) {
            let no: Option<i64> = room::table
                .filter(room::id.eq(&head.room_id))
                .select(room::no)
                .get_result(connection)
                .optional()?;
            rooms.insert(head.room_id.clone(), no);
        }
        if let Some(Some(room)) = rooms.get(&head.room_id) {
            changes.push(TextChange {
                index,
                room: *room,
                seq,
                text,
            });
        }
    }
    Ok((changes, next))
}

/// Rows of a page of the journal at most.
const PAGE_ROWS: i64 = 4096;

pub(super) fn stored_rows(
    connection: &mut SqliteConnection,
    begin: i64,
    end: i64,
    bodies: bool,
) -> Result<Vec<StoredEvent>, StoreError> {
    let rows = journal::table
        .filter(journal::idx.ge(begin).and(journal::idx.lt(end)))
        .order(journal::idx)
        .limit(PAGE_ROWS);
    if !bodies {
        let heads: Vec<Vec<u8>> = rows.select(journal::head).load(connection)?;
        let bare = |head: Vec<u8>| StoredEvent {
            head: head.into(),
            body: None,
        };
        return Ok(heads.into_iter().map(bare).collect());
    }
    let rows = rows
        .select((journal::head, journal::body))
        .load_iter::<(Vec<u8>, Option<Vec<u8>>), DefaultLoadingMode>(connection)?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let (head, body) = row?;
        bytes += head.len() + body.as_ref().map_or(0, Vec::len);
        found.push(StoredEvent {
            head: head.into(),
            body: body.map(Bytes::from),
        });
        if bytes >= SCAN_BYTES {
            break;
        }
    }
    Ok(found)
}

pub(super) fn newest_seq(connection: &mut SqliteConnection, in_room: i64, size: i64) -> Result<i64, StoreError> {
    let seq: Option<i64> = room_event::table
        .filter(room_event::room.eq(in_room).and(room_event::idx.lt(size)))
        .order(room_event::seq.desc())
        .select(room_event::seq)
        .first(connection)
        .optional()?;
    Ok(seq.unwrap_or(0))
}

/// Bytes of rows after which a scan gives what it has.
const SCAN_BYTES: usize = 1 << 20;

pub(super) fn scan(
    connection: &mut SqliteConnection,
    first: i64,
    count: i64,
    keep: &dyn Fn(&EventHead, Option<&[u8]>) -> bool,
) -> Result<Scanned, StoreError> {
    let rows = journal::table
        .filter(journal::idx.ge(first))
        .order(journal::idx)
        .limit(count)
        .select((journal::idx, journal::head, journal::body))
        .load_iter::<(i64, Vec<u8>, Option<Vec<u8>>), DefaultLoadingMode>(connection)?;
    let (mut found, mut bytes, mut next) = (Vec::new(), 0, None);
    for row in rows {
        let (index, head, body) = row?;
        next = Some(index + 1);
        let decoded = decode_head(&head).ok_or_else(|| StoreError::Database(format!("row {index} has no head")))?;
        if !keep(&decoded, body.as_deref()) {
            continue;
        }
        bytes += head.len() + body.as_ref().map_or(0, Vec::len);
        let event = StoredEvent {
            head: head.into(),
            body: body.map(Bytes::from),
        };
        found.push((decoded, event));
        if bytes >= SCAN_BYTES {
            break;
        }
    }
    Ok((found, next))
}

pub(super) fn password(connection: &mut SqliteConnection, no: i64) -> Result<Option<String>, StoreError> {
    let password: Option<String> = user::table.find(no).select(user::password).get_result(connection).optional()?;
    // An empty one is void.
    Ok(password.filter(|password| !password.is_empty()))
}
