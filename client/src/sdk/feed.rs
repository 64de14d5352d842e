//! The live feed: what happens in the user's rooms, each event once and in order, whatever the link does.

mod link;
mod outbox;
mod positions;

use std::collections::HashMap;
use std::time::Duration;

use greffe_api::v1::{
    AddReactionRequest, Alert, ChatRequest, DeleteMessageRequest, EditMessageRequest, EndReason, Event, ReadMark,
    Receipt, RemoveReactionRequest, Reset, RoomGone, RoomState, SendMessageRequest, Typing, UserPresence, chat_request,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::client::Client;
use super::error::Error;
pub use outbox::{Outbox, Ticket};

/// Items that may wait for the reader. Beyond them the feed stops reading, and the server keeps what is missed in its journal.
const ITEM_QUEUE: usize = 256;

/// Where a feed begins, and how much it catches up on.
#[derive(Clone, Debug, Default)]
pub struct FeedOptions {
    /// The epoch of `positions`, from an earlier feed, page or receipt. Empty on a first visit.
    pub epoch: String,
    /// The seq of the last event that is known already, by room id.
    pub positions: HashMap<String, i64>,
    /// Where to begin in other rooms: 0 is from the first event that the user may read. `None`: only what happens from now on.
    /// After a reconnect it is always 0, so that nothing is missed in rooms that were joined meanwhile.
    pub other_rooms_after_seq: Option<i64>,
    /// If more than this many events were missed in a room, it is read in pages instead of on the stream. `None`: all on the stream.
    pub max_replay: Option<i64>,
    /// When a room has to be read in pages, only this many of its newest events are; the others are told of by [`Item::Skipped`].
    /// `None`: all of them.
    pub newest_only: Option<i64>,
}

/// What a feed tells.
#[derive(Clone, Debug)]
pub enum Item {
    /// The stream has begun, or has begun again. What was missed follows.
    Connected {
        /// The epoch of all seqs from now on.
        epoch: String,
        /// The id of the user.
        user_id: String,
        /// The user's rooms, invitations included.
        rooms: Vec<RoomState>,
    },
    /// Something happened in a room. Those of one room ascend without gaps; none comes twice.
    Event(Box<Event>),
    /// Everything that was missed has been told; what follows is live.
    CaughtUp,
    /// A room's state changed for the user, or it is a new one.
    RoomState(Box<RoomState>),
    /// The user is no longer in a room.
    RoomGone(RoomGone),
    /// The position in a room could not be served. Its events follow again from the first, or after a [`Item::Skipped`].
    Reset(Reset),
    /// Events of a room that are left out because `FeedOptions::newest_only` says so: from the first to the last, both included.
    Skipped {
        /// The room's id.
        room_id: String,
        /// The first seq that is left out.
        first: i64,
        /// The last one.
        last: i64,
    },
    /// Who came online or went offline.
    Presence(Vec<UserPresence>),
    /// Who is typing.
    Typing(Typing),
    /// The user has read further elsewhere.
    ReadMark(ReadMark),
    /// A message from the operator to everyone. Each is told once.
    Alert(Alert),
    /// The server is about to stop, or wants its clients to go for a while; the feed comes back by itself.
    Draining {
        /// When it will be worth to try again, if the server says so.
        reconnect_after: Option<Duration>,
        /// Why, in the operator's words; may be empty. Escape it before it reaches a terminal.
        message: String,
    },
    /// The link broke; the feed tries again by itself, for as long as it takes.
    Disconnected {
        /// What the server said of it in the stream; unspecified if it said nothing.
        reason: EndReason,
        /// Why. The text is the server's own, if it said something in the stream.
        why: Error,
        /// When it tries: not before the server asked for, and a little later by chance.
        retry_in: Duration,
    },
    /// The feed is over: it makes no sense to come back without a new login, or at all. Nothing follows.
    Ended {
        /// Why, if the server said so in the stream.
        reason: EndReason,
        /// What it said beside, such as the operator's words to someone who is kicked; may be empty. Escape it before it reaches a terminal.
        message: String,
        /// The refusal.
        error: Error,
    },
}

/// Something to do in a room.
#[derive(Clone, Debug)]
pub enum Action {
    /// Post a message.
    Send {
        /// The room's id.
        room_id: String,
        /// The text.
        text: String,
        /// The message that this one replies to, or 0.
        reply_to_seq: i64,
    },
    /// Replace the text of one's own message.
    Edit {
        /// The room's id.
        room_id: String,
        /// The message.
        seq: i64,
        /// The new text.
        text: String,
    },
    /// Delete a message.
    Delete {
        /// The room's id.
        room_id: String,
        /// The message.
        seq: i64,
    },
    /// React to a message.
    React {
        /// The room's id.
        room_id: String,
        /// The message.
        seq: i64,
        /// One emoji or a short word.
        emoji: String,
    },
    /// Take back a reaction.
    Unreact {
        /// The room's id.
        room_id: String,
        /// The message.
        seq: i64,
        /// The reaction, as it was added.
        emoji: String,
    },
}

impl Action {
    /// A message that replies to none.
    pub fn send(room_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Send {
            room_id: room_id.into(),
            text: text.into(),
            reply_to_seq: 0,
        }
    }

    /// The frame that does it.
    fn frame(&self, request_id: &str) -> ChatRequest {
        use chat_request::Action as Frame;
        let request_id = request_id.to_owned();
        let action = match self.clone() {
            Self::Send {
                room_id,
                text,
                reply_to_seq,
            } => Frame::SendMessage(SendMessageRequest {
                request_id,
                room_id,
                text,
                reply_to_seq,
            }),
            Self::Edit { room_id, seq, text } => Frame::EditMessage(EditMessageRequest {
                request_id,
                room_id,
                seq,
                text,
            }),
            Self::Delete { room_id, seq } => Frame::DeleteMessage(DeleteMessageRequest {
                request_id,
                room_id,
                seq,
            }),
            Self::React { room_id, seq, emoji } => Frame::AddReaction(AddReactionRequest {
                request_id,
                room_id,
                seq,
                emoji,
            }),
            Self::Unreact { room_id, seq, emoji } => Frame::RemoveReaction(RemoveReactionRequest {
                request_id,
                room_id,
                seq,
                emoji,
            }),
        };
        ChatRequest { action: Some(action) }
    }
}

/// A running feed. Dropping it closes the stream.
///
/// Read it steadily: while nobody takes its items, answers to sends wait behind them.
#[derive(Debug)]
pub struct Feed {
    items: mpsc::Receiver<Item>,
    outbox: Outbox,
    task: JoinHandle<()>,
}

impl Feed {
    /// Waits for the next item; `None` after [`Item::Ended`]. Cancel safe.
    pub async fn next(&mut self) -> Option<Item> {
        self.items.recv().await
    }

    /// Where to put what is to be sent. Cheap to clone.
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Opens the live feed of the user. It connects in the background, and again whenever the link breaks.
    pub fn feed(&self, options: FeedOptions) -> Feed {
        let (items_in, items) = mpsc::channel(ITEM_QUEUE);
        let (outbox, queue) = outbox::outbox();
        let task = tokio::spawn(link::run(self.clone(), options, items_in, queue));
        Feed { items, outbox, task }
    }
}

/// The receipt of what was done, or the refusal.
pub(crate) type Outcome = Result<Receipt, Error>;
