//! Rooms: making, changing and closing them, and who is in them.

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{
    HistoryVisibility, MemberInvited, MemberJoined, MemberLeft, MemberRemoved, MemberRoleChanged, RoomArchived,
    RoomCreated, RoomKind, RoomUpdated,
};

use super::{Answer, Context, Decision, permissions};
use crate::domain::caller::Caller;
use crate::domain::entry::Draft;
use crate::domain::error::Error;
use crate::domain::ids::{RoomId, UserId};
use crate::domain::state::Role;
use crate::domain::text::{Line, RoomName};

/// Refuses who is in as many rooms as one may be.
fn has_place(context: &Context<'_>, user: UserId) -> Result<(), Error> {
    let limit = context.rules.rooms_per_user;
    if context.state.room_count_of(user) < limit {
        Ok(())
    } else {
        Err(Error::TooMany {
            what: "rooms that you are in",
            limit,
        })
    }
}

/// Refuses a name that a public room has. Private rooms need no name of their own, but none may pass for `general`.
fn name_is_free(context: &Context<'_>, kind: RoomKind, name: &RoomName, except: Option<RoomId>) -> Result<(), Error> {
    let taken = context
        .state
        .public_room_named(name.as_str())
        .filter(|room| Some(room.id) != except);
    match taken {
        Some(room) if kind == RoomKind::Public || room.kind == RoomKind::General => Err(Error::RoomNameTaken),
        _ => Ok(()),
    }
}

pub(super) fn create(
    context: &Context<'_>,
    caller: &Caller,
    kind: RoomKind,
    name: &RoomName,
    topic: &Line,
    history: HistoryVisibility,
) -> Result<Decision, Error> {
    has_place(context, caller.user)?;
    name_is_free(context, kind, name, None)?;
    let history = match (history, kind) {
        (HistoryVisibility::Unspecified, RoomKind::Private) => HistoryVisibility::FromJoining,
        (HistoryVisibility::Unspecified, _) => HistoryVisibility::FromStart,
        (chosen, _) => chosen,
    };
    let created = RoomCreated {
        kind: kind.into(),
        name: name.as_str().into(),
        topic: topic.as_str().into(),
        history: history.into(),
        direct_user_ids: Vec::new(),
    };
    Ok(Decision::event(Draft::in_room(
        RoomId::random(),
        caller.user,
        Content::RoomCreated(created),
    )))
}

pub(super) fn update(
    context: &Context<'_>,
    caller: &Caller,
    room: RoomId,
    name: Option<&RoomName>,
    topic: Option<&Line>,
) -> Result<Decision, Error> {
    let (room, member) = permissions::member(context.state, caller.user, room)?;
    permissions::has_membership(room)?;
    permissions::at_least(member, if name.is_some() { Role::Owner } else { Role::Moderator })?;
    if room.archived.is_some() {
        return Err(Error::RoomArchived);
    }
    if let Some(name) = name {
        name_is_free(context, room.kind, name, Some(room.id))?;
    }
    let updated = RoomUpdated {
        name: name.map(|name| name.as_str().into()),
        topic: topic.map(|topic| topic.as_str().into()),
    };
    Ok(Decision::event(Draft::in_room(
        room.id,
        caller.user,
        Content::RoomUpdated(updated),
    )))
}

pub(super) fn archive(context: &Context<'_>, caller: &Caller, room: RoomId, reason: &Line) -> Result<Decision, Error> {
    let (room, member) = permissions::member(context.state, caller.user, room)?;
    permissions::has_membership(room)?;
    permissions::at_least(member, Role::Owner)?;
    if room.archived.is_some() {
        return Err(Error::RoomArchived);
    }
    let archived = RoomArchived {
        reason: reason.as_str().into(),
    };
    Ok(Decision::event(Draft::in_room(
        room.id,
        caller.user,
        Content::RoomArchived(archived),
    )))
}

pub(super) fn join(context: &Context<'_>, caller: &Caller, room: RoomId) -> Result<Decision, Error> {
    let (room, place) = permissions::visible(context.state, caller.user, room)?;
    match place {
        Some(member) if member.role.is_in() => return Err(Error::AlreadyAMember),
        Some(member) if member.role == Role::Removed => return Err(Error::InvitationRequired),
        _ => {}
    }
    if room.archived.is_some() {
        return Err(Error::RoomArchived);
    }
    has_place(context, caller.user)?;
    // A room that everybody left is taken over by who comes next.
    let role = if room.member_count == 0 {
        Role::Owner
    } else {
        Role::Member
    };
    let joined = MemberJoined {
        role: role.to_api().into(),
    };
    Ok(Decision::event(
        Draft::in_room(room.id, caller.user, Content::MemberJoined(joined)).about(caller.user),
    ))
}

pub(super) fn leave(context: &Context<'_>, caller: &Caller, room: RoomId) -> Result<Decision, Error> {
    let (room, place) = permissions::visible(context.state, caller.user, room)?;
    permissions::has_membership(room)?;
    let member = place.filter(|member| member.role != Role::Removed).ok_or(Error::NotAMember)?;
    if member.role == Role::Owner && room.member_count > 1 && !room.has_other_owner(caller.user) {
        return Err(Error::LastOwner);
    }
    Ok(Decision::event(
        Draft::in_room(room.id, caller.user, Content::MemberLeft(MemberLeft {})).about(caller.user),
    ))
}

pub(super) fn invite(context: &Context<'_>, caller: &Caller, room: RoomId, user: UserId) -> Result<Decision, Error> {
    let (room, member) = permissions::member(context.state, caller.user, room)?;
    permissions::has_membership(room)?;
    if room.kind == RoomKind::Private {
        permissions::at_least(member, Role::Moderator)?;
    }
    if room.archived.is_some() {
        return Err(Error::RoomArchived);
    }
    context.state.user(user).ok_or(Error::UserNotFound)?;
    match context.state.member(room, user).map(|place| place.role) {
        Some(Role::Invited) => return Err(Error::AlreadyInvited),
        Some(Role::Removed) => permissions::at_least(member, Role::Moderator)?,
        Some(_) => return Err(Error::AlreadyAMember),
        None => {}
    }
    // Bounded apart from the rooms that somebody is in: nobody must be able to fill those of others.
    let limit = context.rules.invitations_per_user;
    if context.state.invitation_count_of(user) >= limit {
        return Err(Error::TooMany {
            what: "invitations that wait for the user",
            limit,
        });
    }
    Ok(Decision::event(
        Draft::in_room(room.id, caller.user, Content::MemberInvited(MemberInvited {})).about(user),
    ))
}

pub(super) fn remove(
    context: &Context<'_>,
    caller: &Caller,
    room: RoomId,
    user: UserId,
    reason: &Line,
) -> Result<Decision, Error> {
    let (room, member) = permissions::member(context.state, caller.user, room)?;
    permissions::has_membership(room)?;
    permissions::at_least(member, Role::Moderator)?;
    if user == caller.user {
        return Err(Error::invalid(
            "user_id",
            "nobody removes themselves; leave the room instead",
        ));
    }
    let place = context
        .state
        .member(room, user)
        .filter(|place| place.role != Role::Removed)
        .ok_or(Error::MemberNotFound)?;
    if place.role >= Role::Moderator {
        permissions::at_least(member, Role::Owner)?;
    }
    let removed = MemberRemoved {
        reason: reason.as_str().into(),
    };
    Ok(Decision::event(
        Draft::in_room(room.id, caller.user, Content::MemberRemoved(removed)).about(user),
    ))
}

pub(super) fn set_role(
    context: &Context<'_>,
    caller: &Caller,
    room: RoomId,
    user: UserId,
    role: Role,
) -> Result<Decision, Error> {
    let (room, member) = permissions::member(context.state, caller.user, room)?;
    permissions::has_membership(room)?;
    permissions::at_least(member, Role::Owner)?;
    let place = context
        .state
        .member(room, user)
        .filter(|place| place.role.is_in())
        .ok_or(Error::MemberNotFound)?;
    if place.role == Role::Owner && role != Role::Owner && !room.has_other_owner(user) {
        return Err(Error::LastOwner);
    }
    let changed = MemberRoleChanged {
        role: role.to_api().into(),
    };
    Ok(Decision::event(
        Draft::in_room(room.id, caller.user, Content::MemberRoleChanged(changed)).about(user),
    ))
}

pub(super) fn open_direct(context: &Context<'_>, caller: &Caller, user: UserId) -> Result<Decision, Error> {
    if user == caller.user {
        return Err(Error::invalid("user_id", "a direct room is for two people"));
    }
    context.state.user(user).ok_or(Error::UserNotFound)?;
    if let Some(room) = context.state.direct(caller.user, user) {
        return Ok(Decision::events(
            Vec::new(),
            Answer::Earlier {
                index: room.no,
                remember: true,
            },
        ));
    }
    has_place(context, caller.user)?;
    let created = RoomCreated {
        kind: RoomKind::Direct.into(),
        name: String::new(),
        topic: String::new(),
        history: HistoryVisibility::FromStart.into(),
        direct_user_ids: vec![caller.user.to_string(), user.to_string()],
    };
    Ok(Decision::event(Draft::in_room(
        RoomId::random(),
        caller.user,
        Content::RoomCreated(created),
    )))
}
