//! One live stream: what its mailbox holds and, where it is behind, what the journal holds.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use greffe_api::v1::BodyState;

use super::Ending;
use super::feed::{Feed, Start};
use super::mailbox::{Lag, Mailbox, Next, Owner};
use super::pages::Page;
use super::turnstile::ShortTurn;
use crate::domain::error::Error;
use crate::domain::permissions;
use crate::domain::state::State;
use crate::journal::event::put_element;
use crate::store::{Currency, Range, Reader, RoomEvent, StoreError};

/// Events that are read from the journal at a time.
const PAGE_EVENTS: i64 = 512;
/// Bytes that are read from the journal at a time: what a stream that catches up holds at most.
const PAGE_BYTES: usize = 256 * 1024;

/// An open stream. Dropping it closes it.
pub struct LiveStream {
    feed: Arc<Feed>,
    reader: Arc<dyn Reader>,
    mailbox: Arc<Mailbox>,
    /// While a page is read and sent.
    turn: Option<ShortTurn>,
}

impl LiveStream {
    /// Opens a stream; `plan` looks at the state and says where each room starts.
    pub fn open<T>(
        feed: &Arc<Feed>,
        reader: &Arc<dyn Reader>,
        owner: Owner,
        plan: impl FnOnce(&State) -> (Vec<Start>, T),
    ) -> Result<(Self, T), Error> {
        let (mailbox, more) = feed.open(owner, plan)?;
        Ok((
            Self {
                feed: Arc::clone(feed),
                reader: Arc::clone(reader),
                mailbox,
                turn: None,
            },
            more,
        ))
    }

    /// The stream's mailbox, for answers.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// What comes next, or a wake-up when something does. After [`Delivery::Ended`](super::Delivery::Ended) nothing comes any more.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        // Whoever asks for more has sent what it was given.
        self.turn = None;
        self.mailbox.poll(context)
    }

    /// The message with the next page of a room in which the stream lags. None if there is nothing to deliver (any more).
    pub async fn read(&mut self, lag: Lag) -> Option<Bytes> {
        let turn = self.feed.turn().await;
        let page = self.try_read(lag).await;
        self.turn = Some(turn.shortly());
        match page {
            Ok(events) => events,
            Err(error) => {
                tracing::error!(%error, "A stream could not read the journal");
                self.mailbox.end(Ending::ServerError);
                None
            }
        }
    }

    async fn try_read(&self, lag: Lag) -> Result<Option<Bytes>, StoreError> {
        // What is published now was published while the reader was in the room, so nothing after a removal is read.
        let user = self.mailbox.owner.user;
        let bounds = self.feed.view().read(|state| {
            permissions::member(state, user, lag.room).map(|(room, member)| (room.no, member.first_seq, room.head_seq))
        });
        let Ok((room, first_seq, head_seq)) = bounds else {
            // They were put out a moment ago, and the feed is about to tell the mailbox so.
            tokio::task::yield_now().await;
            return Ok(None);
        };
        let first = first_seq.max(lag.after + 1);
        if first > head_seq {
            self.mailbox.caught(lag, head_seq.max(lag.after));
            return Ok(None);
        }
        let range = Range {
            room,
            first,
            // Pages end where others' pages end, so that streams that begin apart come together.
            last: head_seq.min((first / PAGE_EVENTS + 1) * PAGE_EVENTS - 1),
            // The range has no more.
            limit: usize::MAX,
            bytes: PAGE_BYTES,
            newest: false,
        };
        let shared = self.feed.pages().page(lag.room, first, || self.page(range, 1)).await?;
        let own;
        let page = if first_seq <= shared.same_from {
            shared.as_ref()
        } else {
            own = self.page(range, first_seq).await?;
            &own
        };
        // A page that another stream asked for may go on after this reader was put out: then the state is looked at again, which knows.
        if page.last > head_seq {
            return Ok(None);
        }
        let message = page.message.clone();
        Ok(self
            .mailbox
            .caught(lag, page.last)
            .then_some(message)
            .filter(|message| !message.is_empty()))
    }

    /// Reads a page for readers who see the room from `first_seq` on.
    async fn page(&self, range: Range, first_seq: i64) -> Result<Page, StoreError> {
        let events = self.reader.events(range).await?;
        let message = if events.is_empty() {
            Bytes::new()
        } else {
            self.feed.framed(&elements(&events, first_seq)).message
        };
        Ok(Page {
            last: events.last().map_or(range.last, |event| event.seq),
            message,
            same_from: events.iter().filter_map(|event| event.edits).min().unwrap_or(i64::MAX),
        })
    }
}

/// Events as a member may see them who sees the room from `first_seq` on, as elements of a list of events.
pub fn elements(events: &[RoomEvent], first_seq: i64) -> Bytes {
    let mut out = BytesMut::new();
    for event in events {
        let (body, state) = match (event.currency, &event.body) {
            (Currency::Replaced, _) => (None, BodyState::Replaced),
            (Currency::Deleted, _) => (None, BodyState::Deleted),
            (Currency::Current, _) if event.edits.is_some_and(|message| message < first_seq) => {
                (None, BodyState::Withheld)
            }
            (Currency::Erased, _) | (Currency::Current, None) => (None, BodyState::Erased),
            (Currency::Current, Some(body)) => (Some(&body[..]), BodyState::Unspecified),
        };
        put_element(&mut out, &event.head, body, state);
    }
    out.freeze()
}

impl Drop for LiveStream {
    fn drop(&mut self) {
        self.feed.close(&self.mailbox);
    }
}
