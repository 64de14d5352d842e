//! Writes a batch: the rows, and the tables derived from them.

use diesel::prelude::*;
use greffe_api::v1::BodyState;
use greffe_api::v1::event_body::Content;

use crate::domain::entry::{Aside, kind};
use crate::store::schema::{
    journal, journal_head, member, mention, reaction, read_mark, request, room, room_event, session, user,
};
use crate::store::{Row, StoreError, Writes};

/// Requests that are forgotten in one go, so that no batch waits long for it.
const FORGET_AT_ONCE: i64 = 2000;

pub(super) fn write(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), StoreError> {
    accounts(connection, writes)?;
    rooms(connection, writes)?;
    for row in &writes.rows {
        append(connection, row)?;
    }
    requests(connection, writes)?;
    if let Some(head) = &writes.head {
        diesel::update(journal_head::table)
            .set((
                journal_head::size.eq(i64::try_from(head.edge.size()).unwrap_or(i64::MAX)),
                journal_head::time.eq(head.time),
                journal_head::edge.eq(head.edge.to_bytes()),
            ))
            .execute(connection)?;
    }
    Ok(())
}

fn accounts(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), StoreError> {
    for account in &writes.users {
        diesel::insert_into(user::table)
            .values((
                user::no.eq(account.no),
                user::id.eq(account.id.to_string()),
                user::name.eq(&account.name),
                user::display_name.eq(&account.display_name),
                // The same batch sets it, below.
                user::password.eq(""),
                user::created.eq(account.created),
            ))
            .on_conflict(user::no)
            .do_update()
            .set(user::display_name.eq(&account.display_name))
            .execute(connection)?;
    }
    for (no, password) in &writes.passwords {
        diesel::update(user::table.find(no))
            .set(user::password.eq(password))
            .execute(connection)?;
    }
    for (owner, login) in &writes.sessions {
        diesel::insert_into(session::table)
            .values((
                session::no.eq(login.no),
                session::id.eq(login.id.to_string()),
                session::user.eq(owner),
                session::token.eq(&login.token.0[..]),
                session::created.eq(login.created),
                session::used.eq(login.used),
                session::seen.eq(login.seen_index),
            ))
            .on_conflict(session::no)
            .do_update()
            .set((session::used.eq(login.used), session::seen.eq(login.seen_index)))
            .execute(connection)?;
    }
    for no in &writes.sessions_gone {
        diesel::delete(session::table.find(no)).execute(connection)?;
    }
    for (no, used) in &writes.used {
        diesel::update(session::table.find(no))
            .set(session::used.eq(used))
            .execute(connection)?;
    }
    Ok(())
}

fn rooms(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), StoreError> {
    for write in &writes.rooms {
        let it = &write.room;
        let changing = (
            room::name.eq(&it.name),
            room::topic.eq(&it.topic),
            room::archived.eq(it.archived),
            room::head_seq.eq(it.head_seq),
        );
        // Most batches only move the newest seq.
        if diesel::update(room::table.find(it.no)).set(changing).execute(connection)? == 0 {
            diesel::insert_into(room::table)
                .values((
                    room::no.eq(it.no),
                    room::id.eq(it.id.to_string()),
                    room::kind.eq(it.kind as i32),
                    room::history.eq(it.history as i32),
                    room::created.eq(it.created),
                    room::direct_a.eq(write.direct.map(|(a, _)| a)),
                    room::direct_b.eq(write.direct.map(|(_, b)| b)),
                    changing,
                ))
                .execute(connection)?;
        }
    }
    for (in_room, person, place) in &writes.members {
        let Some(place) = place else {
            diesel::delete(member::table.find((in_room, person))).execute(connection)?;
            continue;
        };
        let values = (
            member::role.eq(super::load::role_number(place.role)),
            member::since.eq(place.since),
            member::first_seq.eq(place.first_seq),
            member::barred.eq(place.barred),
        );
        diesel::insert_into(member::table)
            .values((member::room.eq(in_room), member::user.eq(person), values))
            .on_conflict((member::room, member::user))
            .do_update()
            .set(values)
            .execute(connection)?;
    }
    for (person, in_room, seq) in &writes.read_marks {
        diesel::insert_into(read_mark::table)
            .values((
                read_mark::user.eq(person),
                read_mark::room.eq(in_room),
                read_mark::seq.eq(seq),
            ))
            .on_conflict((read_mark::user, read_mark::room))
            .do_update()
            .set(read_mark::seq.eq(seq))
            .execute(connection)?;
    }
    Ok(())
}

fn requests(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), StoreError> {
    for new in &writes.requests {
        diesel::insert_into(request::table)
            .values((
                request::key.eq(&new.key.0[..]),
                request::idx.eq(new.index),
                request::digest.eq(&new.digest[..]),
                request::time.eq(new.time),
            ))
            .execute(connection)?;
    }
    let Some(before) = writes.forget_requests else {
        return Ok(());
    };
    // Rows are in the order of time, so the old ones are the first ones.
    let first: Vec<(i64, i64)> = request::table
        .select((request::no, request::time))
        .order(request::no)
        .limit(FORGET_AT_ONCE)
        .load(connection)?;
    if let Some((last, _)) = first.iter().take_while(|(_, time)| *time < before).last() {
        diesel::delete(request::table.filter(request::no.le(last))).execute(connection)?;
    }
    Ok(())
}

/// Appends a row, and notes where its room finds it.
fn append(connection: &mut SqliteConnection, row: &Row) -> Result<(), StoreError> {
    let entry = &row.entry;
    diesel::insert_into(journal::table)
        .values((
            journal::idx.eq(entry.index),
            journal::head.eq(&row.head[..]),
            journal::body.eq(&row.body[..]),
            journal::leaf.eq(&row.leaf[..]),
        ))
        .execute(connection)?;
    let Some(in_room) = row.room else { return Ok(()) };
    let target = entry.draft.target_seq;
    diesel::insert_into(room_event::table)
        .values((
            room_event::room.eq(in_room),
            room_event::seq.eq(entry.seq),
            room_event::idx.eq(entry.index),
            room_event::kind.eq(kind(&entry.draft.content) as i32),
            room_event::actor.eq(row.actor.unwrap_or(-1)),
            room_event::target.eq(target),
            room_event::state.eq(BodyState::Unspecified as i32),
            room_event::current.eq(entry.index),
        ))
        .execute(connection)?;
    match &entry.draft.content {
        Content::MessagePosted(_) => mentions(connection, in_room, entry.seq, &row.mentioned)?,
        Content::MessageEdited(_) => {
            withhold(connection, in_room, target, entry.seq, BodyState::Replaced)?;
            diesel::update(room_event::table.find((in_room, target)))
                .set(room_event::current.eq(entry.index))
                .execute(connection)?;
            mentions(connection, in_room, target, &row.mentioned)?;
        }
        Content::MessageDeleted(_) => withhold(connection, in_room, target, entry.seq, BodyState::Deleted)?,
        Content::ReactionAdded(_) => {
            diesel::insert_into(reaction::table)
                .values((
                    reaction::room.eq(in_room),
                    reaction::target.eq(target),
                    reaction::seq.eq(entry.seq),
                    reaction::idx.eq(entry.index),
                ))
                .execute(connection)?;
        }
        Content::ReactionRemoved(_) => {
            if let Some(Aside::TakesBack(seq)) = entry.draft.aside {
                diesel::delete(reaction::table.find((in_room, target, seq))).execute(connection)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn mentions(connection: &mut SqliteConnection, in_room: i64, seq: i64, users: &[i64]) -> Result<(), StoreError> {
    for person in users {
        diesel::insert_into(mention::table)
            .values((
                mention::user.eq(person),
                mention::room.eq(in_room),
                mention::seq.eq(seq),
            ))
            .on_conflict_do_nothing()
            .execute(connection)?;
    }
    Ok(())
}

/// Marks the texts that a message has had, all but that of the event `except`, as no longer to be shown, and forgets whom they mention.
fn withhold(
    connection: &mut SqliteConnection,
    in_room: i64,
    message: i64,
    except: i64,
    state: BodyState,
) -> Result<(), StoreError> {
    diesel::update(room_event::table.find((in_room, message)))
        .set(room_event::state.eq(state as i32))
        .execute(connection)?;
    // The kind is written out, so that SQLite sees that the partial index fits.
    let edits = diesel::dsl::sql::<diesel::sql_types::Bool>("kind = 11");
    let earlier = room_event::room
        .eq(in_room)
        .and(room_event::target.eq(message))
        .and(room_event::seq.ne(except))
        .and(edits);
    diesel::update(room_event::table.filter(earlier))
        .set(room_event::state.eq(state as i32))
        .execute(connection)?;
    diesel::delete(mention::table.filter(mention::room.eq(in_room).and(mention::seq.eq(message))))
        .execute(connection)?;
    Ok(())
}
