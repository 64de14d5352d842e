//! Live delivery: a hint that something is in the journal, with the bytes at hand.
//!
//! Each stream has a bounded [`mailbox::Mailbox`]. When it overflows it is forgotten, and the stream reads the journal from what it delivered
//! last until it has caught up: the same way in which it begins after a reconnect.

pub mod feed;
pub mod mailbox;
mod pages;
mod runs;
pub mod stream;
mod turnstile;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
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

/// Events of one room that were committed together, encoded once for everyone who is live in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    /// The message that holds them, as it is sent.
    pub message: Bytes,
    /// Where in it the first element of the list of events is; the list goes on to the end.
    pub elements_at: usize,
}

impl Framed {
    /// The elements of the list of events, one after the other.
    pub fn elements(&self) -> &[u8] {
        self.message.get(self.elements_at..).unwrap_or_default()
    }
}

/// Makes the message that holds the elements of a list of events.
pub type Frame = fn(&[u8]) -> Framed;

/// Answers and events that wait for a stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Messages with answers to sends, one after the other, as they are sent.
    pub answers: BytesMut,
    /// The first events. Mostly there are no others, and nothing is allocated for a receiver who keeps up.
    pub first: Option<Framed>,
    /// The events after them.
    pub more: Vec<Framed>,
}

/// What a stream delivers next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Answers and events.
    Waiting(Waiting),
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
