//! Bytes that wait for one receiver, and receivers that wait to be woken.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{BufMut as _, Bytes, BytesMut};
use greffe_api::v1::Event;
use http_body::{Body, Frame};
use prost::Message as _;
use prost::encoding::encode_varint;
use tokio::sync::Notify;
use tonic::Status;

/// Bytes that gRPC puts before each message.
const PREFIX: usize = 5;
/// Bytes before the events of a message: gRPC's, and twice a tag with a length that always takes five bytes.
const BEFORE: usize = PREFIX + 2 * FIELD;
/// A tag and a length.
const FIELD: usize = 6;
/// Tags of `ChatResponse.frame` and `Frame.events`.
const FRAME_TAG: u8 = 0x0A;
const EVENTS_TAG: u8 = 0x12;
/// Tag of `Events.events`.
const EVENT_TAG: u8 = 0x0A;

/// What waits for one receiver.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Whole messages.
    answers: BytesMut,
    /// Events behind room for what goes before them.
    events: BytesMut,
    waker: Option<Waker>,
    is_closed: bool,
}

/// Receivers that have something to send, until the work at hand is done.
#[derive(Default)]
pub(super) struct Sleepers {
    wakers: Mutex<Vec<Waker>>,
    some: Notify,
}

/// An event as an element of `Events`.
pub(super) fn element(event: &Event) -> Vec<u8> {
    let length = event.encoded_len();
    let mut bytes = Vec::with_capacity(FIELD + length);
    bytes.push(EVENT_TAG);
    encode_varint(length as u64, &mut bytes);
    event.encode_raw(&mut bytes);
    bytes
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event, as [`element`] makes it.
    pub(super) fn push(&self, element: &[u8], sleepers: &Sleepers) {
        let mut waiting = self.lock();
        if waiting.events.is_empty() {
            waiting.events.reserve(BEFORE + element.len());
            waiting.events.put_bytes(0, BEFORE);
        }
        waiting.events.extend_from_slice(element);
        sleepers.add(waiting.waker.take());
    }

    /// Adds a message of its own.
    pub(super) fn answer(&self, message: &[u8], sleepers: &Sleepers) {
        let mut waiting = self.lock();
        waiting.answers.put_u8(0);
        waiting.answers.put_u32(message.len() as u32);
        waiting.answers.extend_from_slice(message);
        sleepers.add(waiting.waker.take());
    }

    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    /// All that waits, in one or two steps; nothing when it is closed.
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut waiting = self.lock();
        if !waiting.answers.is_empty() {
            return Poll::Ready(Some(waiting.answers.split().freeze()));
        }
        if !waiting.events.is_empty() {
            let mut events = waiting.events.split();
            drop(waiting);
            let length = events.len();
            events[1..PREFIX].copy_from_slice(&((length - PREFIX) as u32).to_be_bytes());
            field(&mut events[PREFIX..PREFIX + FIELD], FRAME_TAG, length - PREFIX - FIELD);
            field(&mut events[PREFIX + FIELD..BEFORE], EVENTS_TAG, length - BEFORE);
            return Poll::Ready(Some(events.freeze()));
        }
        if waiting.is_closed {
            return Poll::Ready(None);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Writes a tag, and a length in five bytes: more than needed, and valid.
fn field(place: &mut [u8], tag: u8, length: usize) {
    place[0] = tag;
    for (number, byte) in place[1..].iter_mut().enumerate() {
        *byte = (length >> (7 * number) & 0x7F) as u8 | if number < FIELD - 2 { 0x80 } else { 0 };
    }
}

impl Sleepers {
    fn add(&self, waker: Option<Waker>) {
        let Some(waker) = waker else {
            return;
        };
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.push(waker);
        if wakers.len() == 1 {
            self.some.notify_one();
        }
    }

    /// Wakes them, again and again, each time after all else that was ready has run.
    pub(super) async fn wake(self: Arc<Self>) {
        loop {
            self.some.notified().await;
            tokio::task::yield_now().await;
            let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

/// A response's body: what comes into a mailbox.
pub(super) struct Outgoing(pub(super) Arc<Mailbox>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use greffe_api::v1::frame::Kind;
    use greffe_api::v1::{ChatResponse, Events};

    use super::*;

    #[test]
    fn what_waits_is_one_message_that_a_client_can_read() {
        let mailbox = Mailbox::default();
        let sleepers = Sleepers::default();
        let events: Vec<Event> = (0..300)
            .map(|body_state| Event {
                body_state,
                ..Event::default()
            })
            .collect();
        for event in &events {
            mailbox.push(&element(event), &sleepers);
        }
        let Poll::Ready(Some(bytes)) = mailbox.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("nothing waits");
        };
        let (prefix, message) = bytes.split_at(PREFIX);
        assert_eq!(prefix[1..], (message.len() as u32).to_be_bytes());
        let frame = ChatResponse::decode(message).unwrap().frame.unwrap();
        assert_eq!(frame.kind, Some(Kind::Events(Events { events })));
    }
}
