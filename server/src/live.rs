//! Live delivery: a hint that something is in the journal, with the bytes at hand.
//!
//! Each stream has a bounded [`mailbox::Mailbox`]. When it overflows it is forgotten, and the stream reads the journal from what it delivered
//! last until it has caught up: the same way in which it begins after a reconnect.

pub mod feed;
pub mod mailbox;
pub mod stream;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use greffe_api::v1::SessionEndReason;

use crate::domain::ids::{RoomId, UserId};
use crate::domain::standing::Alert;

/// Why a stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The server stops.
    Stopping,
    /// An operator stops the server, in these words.
    Maintenance(Arc<str>),
    /// An operator wants clients to go for a while, in these words, and to come back after that time.
    Draining(Arc<str>, Duration),
    /// Too many answers wait unread.
    SlowReader,
    /// The session ended; the words are an operator's, or empty.
    Session(SessionEndReason, Arc<str>),
    /// The journal could not be read.
    ServerError,
}

impl Ending {
    /// Whether what waits is delivered first: the reader has done nothing to lose it, and may not come back soon.
    fn is_gentle(&self) -> bool {
        matches!(self, Self::Stopping | Self::Maintenance(_) | Self::Draining(..))
    }
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
    /// The operator tells everyone something.
    Alert(Arc<Alert>),
    /// The last delivery.
    Ended(Ending),
}
