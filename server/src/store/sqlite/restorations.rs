//! Restores in journals from before they were among the rows that stand.

use diesel::prelude::*;
use greffe_api::v1::EventKind;
use greffe_api::v1::event_body::Content;

use super::load::known_identity;
use super::log::{EVERYONE, number};
use crate::domain::log::Log;
use crate::journal::event::{decode_content, decode_head};
use crate::store::StoreError;
use crate::store::schema::{journal, log_event, standing};

/// Rows of the audit log that are read at a time.
const CHUNK: i64 = 1000;

type Logged = (i64, Vec<u8>);

/// Has the rows stand with which the journal went on from a backup. Costs nothing if all of them do: then the newest one, or the first row, says
/// the id that the journal has.
pub(super) fn backfill(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let Some(identity) = known_identity(connection)? else {
        return Ok(());
    };
    if known_id(connection)?.is_none_or(|id| id == identity.journal_id) {
        return Ok(());
    }
    connection.immediate_transaction(|connection| {
        let mut next = 0;
        loop {
            let rows: Vec<Logged> = log_event::table
                .inner_join(journal::table)
                .filter(
                    log_event::log
                        .eq(number(Log::Audit))
                        .and(log_event::user.eq(EVERYONE))
                        .and(log_event::idx.ge(next)),
                )
                .order(log_event::idx)
                .limit(CHUNK)
                .select((log_event::idx, journal::head))
                .load(connection)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            next = last + 1;
            let restored = |head: &[u8]| decode_head(head).is_some_and(|head| head.kind() == EventKind::Restored);
            for (index, _) in rows.iter().filter(|(_, head)| restored(head)) {
                diesel::insert_or_ignore_into(standing::table)
                    .values((standing::idx.eq(index), standing::code.eq(None::<Vec<u8>>)))
                    .execute(connection)?;
            }
        }
    })
}

/// The journal's id as the newest restore that stands says it, or else the first row. None of an empty journal.
fn known_id(connection: &mut SqliteConnection) -> Result<Option<String>, StoreError> {
    let bodies: Vec<Option<Vec<u8>>> = standing::table
        .inner_join(journal::table)
        .order(standing::idx.desc())
        .select(journal::body)
        .load(connection)?;
    let newest = bodies.into_iter().flatten().find_map(|body| match decode_content(&body) {
        Some(Content::Restored(restored)) => Some(restored.journal_id),
        _ => None,
    });
    if newest.is_some() {
        return Ok(newest);
    }
    let first: Option<Option<Vec<u8>>> = journal::table.find(0).select(journal::body).first(connection).optional()?;
    Ok(match first.flatten().and_then(|body| decode_content(&body)) {
        Some(Content::JournalCreated(created)) => Some(created.journal_id),
        _ => None,
    })
}
