//! The API of the record, `greffe.record.v1`: cases, holds, erasures, exports and checkpoints. Calls are recorded in the same way as those of operators.

mod cases;
mod checkpoints;
mod erasures;
mod exports;
mod holds;

use greffe_api::record_api::v1::NamedSubject;
use prost_types::Timestamp;

use super::App;
use crate::domain::clock::{Micros, from_timestamp};
use crate::domain::error::Error;
use crate::domain::ids::{RoomId, UserId};
use crate::domain::record::Scope;
use crate::domain::state::State;
use crate::domain::text::Reason;

/// The oldest time that a request may name, and the newest: the years 1 to 9999.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

impl App {
    /// A room by its id, or by its name if it is public.
    fn any_room(&self, name_or_id: &str) -> Result<RoomId, Error> {
        self.view().read(|state| {
            let by_id = || name_or_id.parse().ok().and_then(|id| state.room(id));
            let found = state.public_room_named(name_or_id).or_else(by_id);
            found.map(|room| room.id).ok_or(Error::RoomNotFound)
        })
    }

    /// A scope as a request gives it.
    fn scope(&self, users: &[String], rooms: &[String], [from, to]: [Option<&Timestamp>; 2]) -> Result<Scope, Error> {
        let mut scope = Scope {
            users: users.iter().map(|user| self.account(user)).collect::<Result<_, _>>()?,
            rooms: rooms.iter().map(|room| self.any_room(room)).collect::<Result<_, _>>()?,
            from: time("from", from)?,
            to: time("to", to)?,
        };
        once(&mut scope.users);
        once(&mut scope.rooms);
        Ok(scope)
    }
}

/// Leaves each id once, in the order of ids.
fn once<T: Ord>(ids: &mut Vec<T>) {
    ids.sort_unstable();
    ids.dedup();
}

/// A time that a request gives.
fn time(field: &'static str, given: Option<&Timestamp>) -> Result<Option<Micros>, Error> {
    let Some(given) = given else { return Ok(None) };
    if !TIMES.contains(&given.seconds) || !(0..1_000_000_000).contains(&given.nanos) {
        return Err(Error::invalid(field, "it is no time between the years 1 and 9999"));
    }
    Ok(Some(from_timestamp(given)))
}

/// A text that stands in the record, and must not be empty.
fn words(field: &'static str, text: String) -> Result<Reason, Error> {
    Reason::parse(field, text)
}

fn named_users(state: &State, users: &[UserId]) -> Vec<NamedSubject> {
    let named = |id: &UserId| NamedSubject {
        id: id.to_string(),
        name: state.user(*id).map(|user| user.name.clone()).unwrap_or_default(),
    };
    users.iter().map(named).collect()
}

fn named_rooms(state: &State, rooms: &[RoomId]) -> Vec<NamedSubject> {
    let named = |id: &RoomId| NamedSubject {
        id: id.to_string(),
        name: state.room(*id).map(|room| room.name.clone()).unwrap_or_default(),
    };
    rooms.iter().map(named).collect()
}
