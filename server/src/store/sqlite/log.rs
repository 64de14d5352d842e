//! The logs: which rows of the journal are in them, and reading them.

use std::collections::HashMap;

use diesel::prelude::*;
use greffe_api::v1::event_body::Content;

use super::load::rows_from;
use crate::domain::clock::{Micros, from_timestamp};
use crate::domain::entry::{Entry, Subject};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::log::{Log, logged};
use crate::journal::event::{decode, decode_head};
use crate::store::schema::{journal, log_event, user};
use crate::store::{LogPlace, LogRange, LoggedEvent, Row, StoreError, StoredEvent};

/// The rows of everyone.
pub(crate) const EVERYONE: i64 = -1;
/// Rows that are read at a time when the logs are made for a journal from before there were any.
const CHUNK: i64 = 10_000;

/// How the table writes a log.
pub(crate) fn number(log: Log) -> i32 {
    match log {
        Log::Connections => 0,
        Log::Audit => 1,
    }
}

/// Notes a row that is in a log.
pub(super) fn note(connection: &mut SqliteConnection, row: &Row) -> Result<(), StoreError> {
    match &row.logged {
        Some(place) => insert(connection, row.entry.index, place),
        None => Ok(()),
    }
}

fn insert(connection: &mut SqliteConnection, index: i64, place: &LogPlace) -> Result<(), StoreError> {
    for user in place.accounts.iter().copied().chain([EVERYONE]) {
        diesel::insert_into(log_event::table)
            .values((
                log_event::log.eq(number(place.log)),
                log_event::user.eq(user),
                log_event::idx.eq(index),
                log_event::about.eq(place.about),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// Tells of the events of a journal, one after the other, where they are logged: for those who have no tables to ask.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    users: HashMap<UserId, i64>,
    owners: HashMap<SessionId, UserId>,
}

impl Follower {
    /// The place of the next event, if it is logged.
    pub(crate) fn take(&mut self, entry: &Entry) -> Option<LogPlace> {
        match (&entry.draft.content, entry.draft.subject, entry.draft.actor) {
            (Content::UserRegistered(_), Subject::User(user), _) => _ = self.users.insert(user, entry.index),
            (Content::LoggedIn(_), Subject::Session(session), Some(user)) => _ = self.owners.insert(session, user),
            _ => {}
        }
        let logged = logged(&entry.draft, |session| self.owners.get(&session).copied())?;
        let number = |user| self.users.get(&user).copied();
        if let (Content::SessionEnded(_), Subject::Session(session)) = (&entry.draft.content, entry.draft.subject) {
            self.owners.remove(&session);
        }
        Some(LogPlace {
            log: logged.log,
            about: logged.about.and_then(number),
            accounts: logged.accounts().filter_map(number).collect(),
        })
    }
}

/// Makes the logs of a journal that was begun by a release without any. The first row of a journal is in a log, so there is something to do
/// only if there is nothing.
pub(super) fn backfill(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let known: Option<i64> = log_event::table.select(log_event::idx).first(connection).optional()?;
    if known.is_some() {
        return Ok(());
    }
    connection.immediate_transaction(|connection| {
        let mut follower = Follower::default();
        let mut next = 0;
        loop {
            let rows = rows_from(connection, next, CHUNK)?;
            let Some(last) = rows.last() else { return Ok(()) };
            next = last.index + 1;
            for row in rows {
                // What was erased is in no log any more.
                let entry = row.body.as_ref().and_then(|body| decode(&row.head, body));
                if let Some((entry, place)) = entry.and_then(|entry| Some((entry.index, follower.take(&entry)?))) {
                    insert(connection, entry, &place)?;
                }
            }
        }
    })
}

/// The first row of the journal whose time is not before `since`. Times never go back from one row to the next.
pub(super) fn first_since(connection: &mut SqliteConnection, since: Micros) -> Result<i64, StoreError> {
    let newest: Option<i64> = journal::table.select(diesel::dsl::max(journal::idx)).first(connection)?;
    let (mut low, mut high) = (0, newest.map_or(0, |newest| newest + 1));
    while low < high {
        let middle = low + (high - low) / 2;
        let head: Vec<u8> = journal::table.find(middle).select(journal::head).get_result(connection)?;
        let time = decode_head(&head).and_then(|head| head.time).as_ref().map_or(0, from_timestamp);
        if time < since {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

type LogRow = (Option<i64>, Vec<u8>, Option<Vec<u8>>);

pub(super) fn page(connection: &mut SqliteConnection, range: LogRange) -> Result<(Vec<LoggedEvent>, bool), StoreError> {
    let first = if range.since > 0 {
        range.first.max(first_since(connection, range.since)?)
    } else {
        range.first
    };
    let rows = log_event::table
        .inner_join(journal::table)
        .filter(
            log_event::log
                .eq(number(range.log))
                .and(log_event::user.eq(range.about.unwrap_or(EVERYONE)))
                .and(log_event::idx.ge(first))
                .and(log_event::idx.le(range.last)),
        )
        .select((log_event::about, journal::head, journal::body))
        .limit(i64::try_from(range.limit).unwrap_or(i64::MAX).saturating_add(1));
    let mut rows: Vec<LogRow> = if range.newest {
        rows.order(log_event::idx.desc()).load(connection)?
    } else {
        rows.order(log_event::idx).load(connection)?
    };
    let more = rows.len() > range.limit;
    rows.truncate(range.limit);
    if range.newest {
        rows.reverse();
    }
    let numbers: Vec<i64> = rows.iter().filter_map(|(about, ..)| *about).collect();
    let ids: Vec<(i64, String)> = user::table
        .filter(user::no.eq_any(numbers))
        .select((user::no, user::id))
        .load(connection)?;
    let ids: HashMap<i64, UserId> = ids.into_iter().filter_map(|(no, id)| Some((no, id.parse().ok()?))).collect();
    let row = |(about, head, body): LogRow| LoggedEvent {
        event: stored((head, body)),
        about: about.and_then(|about| ids.get(&about).copied()),
    };
    Ok((rows.into_iter().map(row).collect(), more))
}

fn stored((head, body): (Vec<u8>, Option<Vec<u8>>)) -> StoredEvent {
    StoredEvent {
        head: head.into(),
        body: body.map(Into::into),
    }
}

pub(crate) fn row(connection: &mut SqliteConnection, index: i64) -> Result<Option<StoredEvent>, StoreError> {
    let row = journal::table
        .find(index)
        .select((journal::head, journal::body))
        .first(connection)
        .optional()?;
    Ok(row.map(stored))
}
