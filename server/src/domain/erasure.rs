//! Which bodies an erasure is about, by the heads of their rows: what people wrote, chose or shared, where they connected from, and what was written
//! of them. Not those that say what rooms are and who is in them, and not those of what operators did.

use greffe_api::v1::{EventHead, EventKind, RetentionClass};

/// By what a body of a kind is somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Who did it.
    Actor,
    /// To whom it was done.
    Subject,
    /// Either of them.
    Both,
    /// The session that it is about.
    Session,
    /// Who did it, or who sent the file that it is about.
    ActorOrOwner,
    /// Nothing: it stays.
    Nobody,
}

/// By what a body is a person's.
pub fn of_user(kind: EventKind) -> By {
    match kind {
        EventKind::LoggedIn | EventKind::SessionSeen | EventKind::SessionEnded => By::Session,
        EventKind::MessagePosted
        | EventKind::MessageEdited
        | EventKind::ReactionAdded
        | EventKind::ReactionRemoved
        | EventKind::RoomArchived
        | EventKind::MessageReported => By::Actor,
        EventKind::FileShared => By::ActorOrOwner,
        EventKind::MemberRemoved => By::Both,
        EventKind::UserRegistered
        | EventKind::UserUpdated
        | EventKind::PasswordChanged
        | EventKind::UserDisabled
        | EventKind::LoginRefused
        | EventKind::BanCreated => By::Subject,
        _ => By::Nobody,
    }
}

/// Whether a body is one of a room.
pub fn is_of_room(head: &EventHead, room: &str) -> bool {
    if head.room_id != room {
        let reported = matches!(head.kind(), EventKind::MessageReported | EventKind::ReportResolved);
        return reported && head.subject_id == room;
    }
    !matches!(
        head.kind(),
        EventKind::MemberJoined
            | EventKind::MemberLeft
            | EventKind::MemberInvited
            | EventKind::MemberRoleChanged
            | EventKind::MessageDeleted
            | EventKind::FileRemoved
    )
}

/// Whether a body is of a class of data that is kept for a time of its own.
pub fn is_of_class(kind: EventKind, class: RetentionClass) -> bool {
    match class {
        RetentionClass::Messages => matches!(
            kind,
            EventKind::MessagePosted | EventKind::MessageEdited | EventKind::ReactionAdded | EventKind::ReactionRemoved
        ),
        RetentionClass::Files => kind == EventKind::FileShared,
        RetentionClass::Connections => matches!(
            kind,
            EventKind::UserRegistered
                | EventKind::LoggedIn
                | EventKind::LoginRefused
                | EventKind::SessionSeen
                | EventKind::SessionEnded
                | EventKind::PasswordChanged
        ),
        RetentionClass::Unspecified => false,
    }
}
