//! Reads, within the transaction, what a batch needs to know. Each statement is prepared once and found again by its shape, so a batch of a
//! thousand commands costs a thousand look-ups in an index, and no parsing.
//!
//! Rows are found by key with `get_result`, never with `first`: that binds a LIMIT, and SQLite parses a statement again whose LIMIT is bound again.

use std::collections::HashMap;

use bytes::Bytes;
use diesel::prelude::*;
use greffe_api::v1::event_body::Content;
use greffe_api::v1::{BodyState, EventKind};

use super::log::first_since;
use crate::domain::clock::Micros;
use crate::domain::facts::{Answered, Facts, MessageFact, Needs, ReactionFact, RowFact, Trace};
use crate::domain::ids::UserId;
use crate::journal::event::{decode_body, decode_content, decode_head};
use crate::store::StoreError;
use crate::store::schema::{journal, reaction, read_mark, request, room_event, user};

pub(super) fn facts(connection: &mut SqliteConnection, needs: &Needs) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    for key in &needs.requests {
        let found: Option<(i64, Vec<u8>)> = request::table
            .filter(request::key.eq(&key.0[..]))
            .select((request::idx, request::digest))
            .get_result(connection)
            .optional()?;
        let Some((index, digest)) = found else { continue };
        let digest = digest
            .try_into()
            .map_err(|_| StoreError::Database("a request's digest has not 32 bytes".into()))?;
        let Some(row) = row(connection, index)? else { continue };
        facts.rows.insert(index, row.clone());
        facts.requests.insert(*key, Answered { index, digest, row });
    }
    let mut authors = HashMap::new();
    for (room, no, seq) in &needs.messages {
        let found: Option<(i64, i32, i64, i64)> = room_event::table
            .find((no, seq))
            .filter(room_event::kind.eq(EventKind::MessagePosted as i32))
            .select((
                room_event::actor,
                room_event::state,
                room_event::current,
                room_event::idx,
            ))
            .get_result(connection)
            .optional()?;
        let Some((actor, state, text_index, index)) = found else {
            continue;
        };
        let Some(author) = user_id(connection, &mut authors, actor)? else {
            continue;
        };
        facts.messages.insert(
            (*room, *seq),
            MessageFact {
                author,
                // What was erased, and not edited since, is no more than what was deleted.
                deleted: state == BodyState::Deleted as i32
                    || (state == BodyState::Erased as i32 && text_index == index),
                text_index,
            },
        );
    }
    for (room, no, target, user, user_no) in &needs.reactions {
        let on_message = reaction::room.eq(no).and(reaction::target.eq(target));
        let own: Vec<(i64, Option<Vec<u8>>)> = reaction::table
            .inner_join(journal::table)
            .filter(on_message.and(reaction::user.eq(user_no)))
            .select((reaction::seq, journal::body))
            .load(connection)?;
        let own = own.into_iter().filter_map(|(seq, body)| match decode_content(&body?) {
            Some(Content::ReactionAdded(added)) => Some(ReactionFact {
                seq,
                emoji: added.emoji,
            }),
            _ => None,
        });
        facts.reactions.insert((*room, *target, *user), own.collect());
        let count: i64 = reaction::table.filter(on_message).count().get_result(connection)?;
        facts
            .reaction_counts
            .insert((*room, *target), usize::try_from(count).unwrap_or(usize::MAX));
    }
    for (id, no) in &needs.passwords {
        let password: Option<String> = user::table.find(no).select(user::password).get_result(connection).optional()?;
        // An empty one is void.
        let password = password.filter(|password| !password.is_empty());
        facts.passwords.extend(password.map(|password| (*id, password)));
    }
    for (id, no, room, room_no) in &needs.read_marks {
        let seq: Option<i64> = read_mark::table
            .find((no, room_no))
            .select(read_mark::seq)
            .get_result(connection)
            .optional()?;
        facts.read_marks.extend(seq.map(|seq| ((*id, *room), seq)));
    }
    for trace in &needs.traces {
        let found = is_there(connection, trace)?;
        facts.traces.insert(trace.clone(), found);
    }
    for index in &needs.contents {
        let body: Option<Option<Vec<u8>>> = journal::table
            .find(index)
            .select(journal::body)
            .get_result(connection)
            .optional()?;
        let content = body.flatten().and_then(|body| decode_content(&body));
        facts.contents.extend(content.map(|content| (*index, content)));
    }
    for index in &needs.rows {
        facts.rows.extend(row(connection, *index)?.map(|row| (*index, row)));
    }
    Ok(facts)
}

/// Whether there is something of what somebody did in a room.
fn is_there(connection: &mut SqliteConnection, trace: &Trace) -> Result<bool, StoreError> {
    let mut at = |time: Option<Micros>, none: i64| time.map_or(Ok(none), |time| first_since(connection, time));
    let (first, end) = (at(trace.from, 0)?, at(trace.to, i64::MAX)?);
    let events = room_event::table
        .filter(
            room_event::room
                .eq(trace.room)
                .and(room_event::idx.ge(first))
                .and(room_event::idx.lt(end)),
        )
        .select(room_event::seq)
        .limit(1);
    let found: Option<i64> = if trace.users.is_empty() {
        events.first(connection).optional()?
    } else {
        let users = room_event::actor.eq_any(&trace.users);
        events.filter(users).first(connection).optional()?
    };
    Ok(found.is_some())
}

fn row(connection: &mut SqliteConnection, index: i64) -> Result<Option<RowFact>, StoreError> {
    let found: Option<(Vec<u8>, Option<Vec<u8>>)> = journal::table
        .find(index)
        .select((journal::head, journal::body))
        .get_result(connection)
        .optional()?;
    Ok(found.map(|(bytes, body)| {
        let head = decode_head(&bytes).unwrap_or_default();
        RowFact {
            head: Bytes::from(bytes),
            room: head.room_id.parse().ok(),
            seq: head.seq,
            salt: body.and_then(|body| decode_body(&body)?.salt.as_ref().try_into().ok()),
        }
    }))
}

fn user_id(
    connection: &mut SqliteConnection,
    known: &mut HashMap<i64, UserId>,
    no: i64,
) -> Result<Option<UserId>, StoreError> {
    if let Some(id) = known.get(&no) {
        return Ok(Some(*id));
    }
    let id: Option<String> = user::table.find(no).select(user::id).get_result(connection).optional()?;
    let id = id.and_then(|id| id.parse().ok());
    known.extend(id.map(|id| (no, id)));
    Ok(id)
}
