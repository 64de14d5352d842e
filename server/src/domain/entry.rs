//! A row of the journal, in parsed form.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{EventKind, PeerAddress};

use super::clock::Micros;
use super::ids::{CodeHash, RequestId, RoomId, SessionId, TokenHash, UserId};
use super::operator::Order;

/// What an event was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subject {
    /// Nothing beyond its room.
    #[default]
    None,
    /// A person.
    User(UserId),
    /// A login.
    Session(SessionId),
    /// A room whose members are not told.
    Room(RoomId),
}

impl Subject {
    /// The user, if it is one.
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::None | Self::Session(_) | Self::Room(_) => None,
        }
    }
}

/// What is to be appended: an event before the writer gave it its place and time.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The room that it is about.
    pub room: Option<RoomId>,
    /// Who did it.
    pub actor: Option<UserId>,
    /// What it was done to.
    pub subject: Subject,
    /// The message that it is about, or 0.
    pub target_seq: i64,
    /// What happened.
    pub content: Content,
    /// What is stored with the event and is no part of it.
    pub aside: Option<Aside>,
}

impl Draft {
    /// An event that no room's members are told of.
    pub fn outside_rooms(actor: Option<UserId>, subject: Subject, content: Content) -> Self {
        Self {
            room: None,
            actor,
            subject,
            target_seq: 0,
            content,
            aside: None,
        }
    }

    /// An event that the members of `room` are told of.
    pub fn in_room(room: RoomId, actor: UserId, content: Content) -> Self {
        Self {
            room: Some(room),
            actor: Some(actor),
            subject: Subject::None,
            target_seq: 0,
            content,
            aside: None,
        }
    }

    /// The same, about someone.
    #[must_use]
    pub fn about(mut self, user: UserId) -> Self {
        self.subject = Subject::User(user);
        self
    }

    /// The same, about a message.
    #[must_use]
    pub fn on(mut self, seq: i64) -> Self {
        self.target_seq = seq;
        self
    }

    /// The same, with something that is stored beside it.
    #[must_use]
    pub fn with(mut self, aside: Aside) -> Self {
        self.aside = Some(aside);
        self
    }
}

/// Counts the streams that events reach: those that are cut, or that an alert is handed to. Known once the events are published.
#[derive(Debug, Clone, Default)]
pub struct Reached(Arc<AtomicUsize>);

impl Reached {
    /// Counts some.
    pub fn add(&self, streams: usize) {
        self.0.fetch_add(streams, Ordering::Relaxed);
    }

    /// How many there were so far.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What goes with an event and not into the journal: into tables, in the same transaction, or to whoever asked.
#[derive(Clone)]
pub enum Aside {
    /// The hash of the password of the event's subject, as a PHC string. Secrets are never in the journal, which is exported.
    Password(String),
    /// The hash of the token of the session that the event began.
    Token(TokenHash),
    /// The hash of the one-time code that the event made.
    Code(CodeHash),
    /// The seq of the event that added the reaction which this event takes back.
    TakesBack(i64),
    /// Counts the streams that the event reaches.
    Reaches(Reached),
    /// The same, of an event that is done by more than being stored.
    Orders(Order, Reached),
}

impl std::fmt::Debug for Aside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Aside(..)")
    }
}

/// An event with its place and time.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Number of the row.
    pub index: i64,
    /// When it was committed.
    pub time: Micros,
    /// Number of the event within its room, or 0.
    pub seq: i64,
    /// The request that caused it.
    pub request: Option<RequestId>,
    /// The event.
    pub draft: Draft,
}

/// The kind that goes with a content.
pub fn kind(content: &Content) -> EventKind {
    match content {
        Content::MessagePosted(_) => EventKind::MessagePosted,
        Content::MessageEdited(_) => EventKind::MessageEdited,
        Content::MessageDeleted(_) => EventKind::MessageDeleted,
        Content::ReactionAdded(_) => EventKind::ReactionAdded,
        Content::ReactionRemoved(_) => EventKind::ReactionRemoved,
        Content::MemberJoined(_) => EventKind::MemberJoined,
        Content::MemberLeft(_) => EventKind::MemberLeft,
        Content::MemberInvited(_) => EventKind::MemberInvited,
        Content::MemberRemoved(_) => EventKind::MemberRemoved,
        Content::MemberRoleChanged(_) => EventKind::MemberRoleChanged,
        Content::RoomCreated(_) => EventKind::RoomCreated,
        Content::RoomUpdated(_) => EventKind::RoomUpdated,
        Content::RoomArchived(_) => EventKind::RoomArchived,
        Content::FileShared(_) => EventKind::FileShared,
        Content::FileRemoved(_) => EventKind::FileRemoved,
        Content::UserRegistered(_) => EventKind::UserRegistered,
        Content::UserUpdated(_) => EventKind::UserUpdated,
        Content::PasswordChanged(_) => EventKind::PasswordChanged,
        Content::LoggedIn(_) => EventKind::LoggedIn,
        Content::LoginRefused(_) => EventKind::LoginRefused,
        Content::SessionSeen(_) => EventKind::SessionSeen,
        Content::SessionEnded(_) => EventKind::SessionEnded,
        Content::RefusalsCounted(_) => EventKind::RefusalsCounted,
        Content::JournalCreated(_) => EventKind::JournalCreated,
        Content::ClockStepped(_) => EventKind::ClockStepped,
        Content::UserRolesChanged(_) => EventKind::UserRolesChanged,
        Content::UserDisabled(_) => EventKind::UserDisabled,
        Content::UserEnabled(_) => EventKind::UserEnabled,
        Content::PasswordReset(_) => EventKind::PasswordReset,
        Content::InvitationCreated(_) => EventKind::InvitationCreated,
        Content::InvitationRevoked(_) => EventKind::InvitationRevoked,
        Content::Restored(_) => EventKind::Restored,
        Content::KeyAdded(_) => EventKind::KeyAdded,
        Content::OperatorActed(_) => EventKind::OperatorActed,
        Content::AlertSent(_) => EventKind::AlertSent,
        Content::NoticeSet(_) => EventKind::NoticeSet,
        Content::BanCreated(_) => EventKind::BanCreated,
        Content::BanLifted(_) => EventKind::BanLifted,
        Content::MessageReported(_) => EventKind::MessageReported,
        Content::ReportResolved(_) => EventKind::ReportResolved,
        Content::FileQuarantined(_) => EventKind::FileQuarantined,
        Content::FileReleased(_) => EventKind::FileReleased,
        Content::CaseOpened(_) => EventKind::CaseOpened,
        Content::CaseApproved(_) => EventKind::CaseApproved,
        Content::CaseClosed(_) => EventKind::CaseClosed,
        Content::ExportOrdered(_) => EventKind::ExportOrdered,
        Content::ExportMade(_) => EventKind::ExportMade,
        Content::HoldAdded(_) => EventKind::HoldAdded,
        Content::HoldReleased(_) => EventKind::HoldReleased,
        Content::ErasureOrdered(_) => EventKind::ErasureOrdered,
        Content::ErasureBegun(_) => EventKind::ErasureBegun,
        Content::ErasureDone(_) => EventKind::ErasureDone,
        Content::RetentionSet(_) => EventKind::RetentionSet,
        Content::RetentionApplied(_) => EventKind::RetentionApplied,
    }
}

/// An address as events carry it.
pub fn peer(address: SocketAddr) -> Option<PeerAddress> {
    Some(PeerAddress {
        address: address.ip().to_string(),
        port: u32::from(address.port()),
    })
}

/// The address that an event carries.
pub fn peer_ip(peer: Option<&PeerAddress>) -> Option<IpAddr> {
    peer.and_then(|peer| peer.address.parse().ok())
}
