//! Writes a batch: the rows, and the tables derived from them.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use greffe_api::v1::event_body::Content;
use greffe_api::v1::{BodyState, EventKind};

use super::{insert, signed, tree};
use crate::domain::command::Erased;
use crate::domain::entry::Aside;
use crate::store::schema::{
    file, file_share, journal, journal_head, member, mention, reaction, read_mark, request, room, room_event, session,
    standing, upload, user,
};
use crate::store::{Row, StoreError, Writes};

/// Requests that are forgotten in one go, so that no batch waits long for it.
const FORGET_AT_ONCE: i64 = 2000;

pub(super) fn write(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), StoreError> {
    accounts(connection, writes)?;
    rooms(connection, writes)?;
    insert::rows(connection, &writes.rows)?;
    tree::write(connection, writes)?;
    signed::write(connection, &writes.signed)?;
    for row in &writes.rows {
        follow(connection, row)?;
    }
    requests(connection, writes)?;
    files(connection, writes)?;
    standing(connection, writes)?;
    for (room, actor, row) in &writes.erased {
        erase(connection, *room, *actor, row)?;
    }
    if let Some(identity) = &writes.identity {
        diesel::update(journal_head::table)
            .set((
                journal_head::journal_id.eq(&identity.journal_id),
                journal_head::epoch.eq(&identity.epoch),
            ))
            .execute(connection)?;
        // In the same transaction, so that a crash leaves either a backup or a server that goes on from it.
        super::backup::unmark(connection)?;
    }
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
        let changing = (
            user::name.eq(&account.name),
            user::display_name.eq(&account.display_name),
            user::roles.eq(super::load::roles_number(account.roles)),
            user::disabled.eq(account.disabled),
        );
        diesel::insert_into(user::table)
            .values((
                user::no.eq(account.no),
                user::id.eq(account.id.to_string()),
                // The same batch sets it, below; an account that was made by an operator has none yet.
                user::password.eq(""),
                user::created.eq(account.created),
                user::operator_identity.eq(account.is_operator_identity),
                changing,
            ))
            .on_conflict(user::no)
            .do_update()
            .set(changing)
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
                session::for_operators.eq(login.for_operators),
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
    for (no, head_seq) in &writes.heads {
        diesel::update(room::table.find(no))
            .set(room::head_seq.eq(head_seq))
            .execute(connection)?;
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

fn standing(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), StoreError> {
    for index in &writes.stands {
        diesel::insert_into(standing::table)
            .values((standing::idx.eq(index), standing::code.eq(None::<Vec<u8>>)))
            .execute(connection)?;
    }
    for (index, code) in &writes.codes {
        diesel::update(standing::table.find(index))
            .set(standing::code.eq(&code.0[..]))
            .execute(connection)?;
    }
    for index in &writes.falls {
        diesel::delete(standing::table.find(index)).execute(connection)?;
    }
    Ok(())
}

fn files(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), StoreError> {
    for new in &writes.files {
        diesel::insert_into(file::table)
            .values((
                file::no.eq(new.no),
                file::id.eq(new.id.to_string()),
                file::owner.eq(new.owner),
                file::size.eq(new.size),
            ))
            .execute(connection)?;
    }
    for (in_room, seq, shared) in &writes.shares {
        match shared {
            Some(no) => diesel::insert_into(file_share::table)
                .values((
                    file_share::room.eq(in_room),
                    file_share::seq.eq(seq),
                    file_share::file.eq(no),
                ))
                .execute(connection)?,
            None => diesel::delete(file_share::table.find((in_room, seq))).execute(connection)?,
        };
    }
    for no in &writes.files_gone {
        diesel::delete(file::table.find(no)).execute(connection)?;
    }
    for (owner, in_room, it) in &writes.uploads {
        let going = (upload::committed.eq(it.committed), upload::used.eq(it.used));
        diesel::insert_into(upload::table)
            .values((
                upload::id.eq(it.id.to_string()),
                upload::owner.eq(owner),
                upload::room.eq(in_room),
                upload::name.eq(&it.name),
                upload::media_type.eq(&it.media_type),
                upload::size.eq(it.size),
                upload::created.eq(it.created),
                going,
            ))
            .on_conflict(upload::id)
            .do_update()
            .set(going)
            .execute(connection)?;
    }
    for id in &writes.uploads_gone {
        diesel::delete(upload::table.find(id.to_string())).execute(connection)?;
    }
    Ok(())
}

fn requests(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), StoreError> {
    insert::requests(connection, &writes.requests)?;
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

/// Brings the other tables to what a row leads to. All rows of the batch are in the journal and in their rooms already.
fn follow(connection: &mut SqliteConnection, row: &Row) -> Result<(), StoreError> {
    let entry = &row.entry;
    super::log::note(connection, row)?;
    let Some(in_room) = row.room else { return Ok(()) };
    let target = entry.draft.target_seq;
    match &entry.draft.content {
        Content::MessagePosted(_) => mentions(connection, in_room, entry.seq, &row.mentioned)?,
        Content::MessageEdited(_) => {
            replace(connection, in_room, target, entry.seq)?;
            diesel::update(room_event::table.find((in_room, target)))
                .set(room_event::current.eq(entry.index))
                .execute(connection)?;
            mentions(connection, in_room, target, &row.mentioned)?;
        }
        Content::MessageDeleted(_) => delete(connection, in_room, target)?,
        // Name and hash of the file are no longer told in this room.
        Content::FileRemoved(_) => set_state(connection, in_room, target, BodyState::Deleted)?,
        Content::ReactionAdded(_) => {
            diesel::insert_into(reaction::table)
                .values((
                    reaction::room.eq(in_room),
                    reaction::target.eq(target),
                    reaction::user.eq(row.actor.unwrap_or(-1)),
                    reaction::seq.eq(entry.seq),
                    reaction::idx.eq(entry.index),
                ))
                .execute(connection)?;
        }
        Content::ReactionRemoved(_) => {
            if let Some(Aside::TakesBack(seq)) = entry.draft.aside {
                diesel::delete(reaction::table.find((in_room, target, row.actor.unwrap_or(-1), seq)))
                    .execute(connection)?;
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

// SQLite has no statistics here, and would rather walk through the whole room than use the index: it is told to.

/// The newest edit of a message before another one.
const EARLIER_EDIT: &str = "SELECT seq FROM room_event INDEXED BY room_event_edits
    WHERE room = ?1 AND target = ?2 AND kind = 11 AND seq < ?3 ORDER BY seq DESC LIMIT 1";
/// All edits of a message.
const DELETE_EDITS: &str = "UPDATE room_event INDEXED BY room_event_edits SET state = 2
    WHERE room = ?1 AND target = ?2 AND kind = 11 AND state <> 3";

#[derive(QueryableByName)]
struct Seq {
    #[diesel(sql_type = BigInt)]
    seq: i64,
}

/// The text of a message before its edit `seq` is no longer to be shown. All earlier ones are withheld already.
fn replace(connection: &mut SqliteConnection, in_room: i64, message: i64, seq: i64) -> Result<(), StoreError> {
    let earlier: Option<Seq> = diesel::sql_query(EARLIER_EDIT)
        .bind::<BigInt, _>(in_room)
        .bind::<BigInt, _>(message)
        .bind::<BigInt, _>(seq)
        .get_result(connection)
        .optional()?;
    let replaced = earlier.map_or(message, |earlier| earlier.seq);
    set_state(connection, in_room, replaced, BodyState::Replaced)?;
    forget_mentions(connection, in_room, message)
}

/// No text that a message ever had is to be shown any more.
fn delete(connection: &mut SqliteConnection, in_room: i64, message: i64) -> Result<(), StoreError> {
    set_state(connection, in_room, message, BodyState::Deleted)?;
    diesel::sql_query(DELETE_EDITS)
        .bind::<BigInt, _>(in_room)
        .bind::<BigInt, _>(message)
        .execute(connection)?;
    forget_mentions(connection, in_room, message)
}

/// Takes a body away, and what was derived from it.
fn erase(
    connection: &mut SqliteConnection,
    in_room: Option<i64>,
    actor: Option<i64>,
    row: &Erased,
) -> Result<(), StoreError> {
    diesel::update(journal::table.find(row.index))
        .set(journal::body.eq(None::<Vec<u8>>))
        .execute(connection)?;
    let Some(in_room) = in_room else { return Ok(()) };
    set_state(connection, in_room, row.seq, BodyState::Erased)?;
    match row.kind {
        EventKind::MessagePosted => forget_mentions(connection, in_room, row.seq)?,
        // The mentions of an older text went when this one came.
        EventKind::MessageEdited => {
            let message = room_event::table.find((in_room, row.target_seq));
            let current: Option<i64> = message.select(room_event::current).get_result(connection).optional()?;
            if current == Some(row.index) {
                forget_mentions(connection, in_room, row.target_seq)?;
            }
        }
        EventKind::ReactionAdded => {
            let reaction = reaction::table.find((in_room, row.target_seq, actor.unwrap_or(-1), row.seq));
            diesel::delete(reaction).execute(connection)?;
        }
        _ => {}
    }
    Ok(())
}

fn set_state(connection: &mut SqliteConnection, in_room: i64, seq: i64, state: BodyState) -> Result<(), StoreError> {
    // What is erased stays erased, whatever becomes of it then.
    let event = room_event::table
        .find((in_room, seq))
        .filter(room_event::state.ne(BodyState::Erased as i32));
    diesel::update(event)
        .set(room_event::state.eq(state as i32))
        .execute(connection)?;
    Ok(())
}

fn forget_mentions(connection: &mut SqliteConnection, in_room: i64, message: i64) -> Result<(), StoreError> {
    let mentions = mention::table.filter(mention::room.eq(in_room).and(mention::seq.eq(message)));
    diesel::delete(mentions).execute(connection)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;
    use diesel::sql_types::Text;

    use super::*;

    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    #[test]
    fn an_edit_looks_at_its_message_and_not_at_the_whole_room() {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection
            .batch_execute(include_str!("../../../migrations/sqlite/20261122000000_journal/up.sql"))
            .unwrap();
        for query in [EARLIER_EDIT, DELETE_EDITS] {
            let plan = diesel::sql_query(format!("EXPLAIN QUERY PLAN {query}"))
                .bind::<BigInt, _>(1)
                .bind::<BigInt, _>(1)
                .bind::<BigInt, _>(1);
            let steps: Vec<Step> = match query {
                EARLIER_EDIT => plan.load(&mut connection).unwrap(),
                _ => diesel::sql_query(format!("EXPLAIN QUERY PLAN {query}"))
                    .bind::<BigInt, _>(1)
                    .bind::<BigInt, _>(1)
                    .load(&mut connection)
                    .unwrap(),
            };
            let details: Vec<&str> = steps.iter().map(|step| step.detail.as_str()).collect();
            assert!(
                details[0].contains("INDEX room_event_edits (room=? AND target=?"),
                "{details:?}"
            );
            assert!(
                !details.iter().any(|detail| detail.contains("TEMP B-TREE")),
                "{details:?}"
            );
        }
    }
}
