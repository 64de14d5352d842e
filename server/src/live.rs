//! Live delivery: a hint that something is in the journal, with the bytes at hand.
//!
//! Each stream has a bounded [`mailbox::Mailbox`]. When it overflows it is forgotten, and the stream reads the journal from what it delivered
//! last until it has caught up: the same way in which it begins after a reconnect.

pub mod feed;
pub mod mailbox;
pub mod stream;

use bytes::Bytes;

use crate::domain::ids::{RoomId, UserId};

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server stops.
    Stopping,
    /// Too many answers wait unread.
    SlowReader,
    /// The session was logged out.
    LoggedOut,
    /// The session was revoked.
    Revoked,
    /// The password was changed from another session.
    PasswordChanged,
    /// The session expired.
    Expired,
    /// The journal could not be read.
    ServerError,
}

/// Why somebody is no longer in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// They left.
    Left,
    /// They were removed, with these words.
    Removed(String),
}

/// What a stream delivers next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// An encoded answer to a send.
    Answer(Bytes),
    /// Encoded events, one element of a list after the other.
    Events(Bytes),
    /// The replay is complete.
    CaughtUp,
    /// The state of a room changed for the reader.
    State(RoomId),
    /// The reader is no longer in a room.
    Gone(RoomId, Gone),
    /// The reader has read further, elsewhere.
    ReadMark(RoomId, i64),
    /// Someone types, or has stopped.
    Typing(RoomId, UserId, bool),
    /// Who came and went.
    Presence(Vec<(UserId, bool)>),
    /// The last delivery.
    Ended(Ending),
}
