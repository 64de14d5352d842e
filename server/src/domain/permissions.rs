//! Who may see and do what in a room. Used before a change is stored and before anything is read or delivered.

use greffe_api::v1::RoomKind;

use super::error::Error;
use super::ids::{RoomId, UserId};
use super::state::{Member, Role, Room, State};

/// A room that `user` is in.
///
/// # Errors
/// [`Error::NotAMember`] if they may know that it exists, [`Error::RoomNotFound`] as if it did not exist otherwise.
pub fn member(state: &State, user: UserId, room: RoomId) -> Result<(&Room, Member), Error> {
    let room = state.room(room).ok_or(Error::RoomNotFound)?;
    match state.member(room, user) {
        Some(member) if member.role.is_in() => Ok((room, member)),
        place => Err(if is_visible(room, place) {
            Error::NotAMember
        } else {
            Error::RoomNotFound
        }),
    }
}

/// A room that `user` may know of: they are in it or invited, or it is public.
pub fn visible(state: &State, user: UserId, room: RoomId) -> Result<(&Room, Option<Member>), Error> {
    let room = state.room(room).ok_or(Error::RoomNotFound)?;
    let place = state.member(room, user);
    if is_visible(room, place) {
        Ok((room, place))
    } else {
        Err(Error::RoomNotFound)
    }
}

fn is_visible(room: &Room, place: Option<Member>) -> bool {
    matches!(room.kind, RoomKind::Public | RoomKind::General)
        || place.is_some_and(|member| member.role != Role::Removed)
}

/// A room that `user` is in and that can still be written.
pub fn writer(state: &State, user: UserId, room: RoomId) -> Result<(&Room, Member), Error> {
    let (room, member) = member(state, user, room)?;
    if room.archived.is_some() {
        return Err(Error::RoomArchived);
    }
    Ok((room, member))
}

/// Refuses what rooms that everyone or exactly two people are in do not have.
pub fn has_membership(room: &Room) -> Result<(), Error> {
    match room.kind {
        RoomKind::General => Err(Error::NotInThisKindOfRoom(
            "everyone is in `general`, and it stays as it is",
        )),
        RoomKind::Direct => Err(Error::NotInThisKindOfRoom(
            "a direct room has its two people, and stays as it is",
        )),
        RoomKind::Public | RoomKind::Private | RoomKind::Unspecified => Ok(()),
    }
}

/// Refuses who has less than `role`.
pub fn at_least(member: Member, role: Role) -> Result<(), Error> {
    if member.role >= role {
        return Ok(());
    }
    Err(Error::RoleTooLow {
        needed: if role == Role::Owner {
            "owners"
        } else {
            "owners and moderators"
        },
    })
}
