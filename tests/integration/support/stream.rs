//! A live stream, read one thing at a time and always with a deadline.

use std::collections::VecDeque;
use std::pin::Pin;

use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};
use v1::chat_request::Action;
use v1::event_body::Content;
use v1::frame::Kind;
use v1::send_result::Outcome;

use super::{ErrorReason, Refusal, request_id, v1, within};

type Frames = Pin<Box<dyn futures_util::Stream<Item = Result<v1::Frame, Status>> + Send>>;

/// A live stream.
pub(crate) struct Stream {
    sender: Option<mpsc::Sender<v1::ChatRequest>>,
    frames: Frames,
    /// What has come and was not asked for yet; batches of events are taken apart.
    waiting: VecDeque<Kind>,
    /// Everything that was read so far, in order.
    pub(crate) seen: Vec<Kind>,
    /// How the stream ended, once it has.
    pub(crate) status: Option<Status>,
}

impl Stream {
    /// A stream over `Chat`.
    pub(crate) fn chat(sender: mpsc::Sender<v1::ChatRequest>, responses: Streaming<v1::ChatResponse>) -> Self {
        let frames = responses.map(|response| response.map(|response| response.frame.expect("a response has a frame")));
        Self::over(Some(sender), Box::pin(frames))
    }

    /// A stream over `Subscribe`.
    pub(crate) fn subscription(responses: Streaming<v1::SubscribeResponse>) -> Self {
        let frames = responses.map(|response| response.map(|response| response.frame.expect("a response has a frame")));
        Self::over(None, Box::pin(frames))
    }

    fn over(sender: Option<mpsc::Sender<v1::ChatRequest>>, frames: Frames) -> Self {
        Self {
            sender,
            frames,
            waiting: VecDeque::new(),
            seen: Vec::new(),
            status: None,
        }
    }

    /// The next frame, with batches of events taken apart; none when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Kind> {
        while self.waiting.is_empty() {
            if self.status.is_some() {
                return None;
            }
            match within("a frame", self.frames.next()).await {
                Some(Ok(frame)) => match checked(frame) {
                    Kind::Events(batch) => {
                        assert!(!batch.events.is_empty(), "an empty batch");
                        self.waiting.extend(
                            batch
                                .events
                                .into_iter()
                                .map(|event| Kind::Events(v1::Events { events: vec![event] })),
                        );
                    }
                    kind => self.waiting.push_back(kind),
                },
                Some(Err(status)) => self.status = Some(status),
                None => self.status = Some(Status::new(Code::Ok, "")),
            }
        }
        let kind = self.waiting.pop_front()?;
        self.seen.push(kind.clone());
        Some(kind)
    }

    /// Reads on until `pick` takes something; what it does not take stays in `seen` alone.
    pub(crate) async fn wait_for<T>(&mut self, what: &str, mut pick: impl FnMut(&Kind) -> Option<T>) -> T {
        let reading = async {
            while let Some(kind) = self.next().await {
                if let Some(value) = pick(&kind) {
                    return value;
                }
            }
            panic!(
                "the stream ended with {:?} before {what} came; seen: {:#?}",
                self.status, self.seen
            );
        };
        within(what, reading).await
    }

    /// `Started`, all of its frames as one. Must be what comes first.
    pub(crate) async fn started(&mut self) -> v1::Started {
        let mut whole: Option<v1::Started> = None;
        loop {
            let next = self.next().await;
            let Some(Kind::Started(part)) = next else {
                panic!("{next:?} came instead of Started ({:?})", self.status);
            };
            let more = part.more;
            match &mut whole {
                Some(whole) => whole.rooms.extend(part.rooms),
                None => whole = Some(part),
            }
            if !more {
                return whole.expect("there was a frame");
            }
        }
    }

    /// Reads up to `CaughtUp`: the events that came before it.
    pub(crate) async fn caught_up(&mut self) -> Vec<v1::Event> {
        let mut events = Vec::new();
        self.wait_for("CaughtUp", |kind| match kind {
            Kind::CaughtUp(_) => Some(()),
            kind => {
                events.extend(event_of(kind).cloned());
                None
            }
        })
        .await;
        events
    }

    /// The next event of a room, whatever comes in between.
    pub(crate) async fn event_in(&mut self, room: &str) -> v1::Event {
        self.wait_for("an event", |kind| {
            event_of(kind).filter(|event| head(event).room_id == room).cloned()
        })
        .await
    }

    /// Reads up to the message with a text: its event.
    pub(crate) async fn message(&mut self, text: &str) -> v1::Event {
        let what = format!("the message {text:?}");
        self.wait_for(&what, |kind| {
            event_of(kind).filter(|event| text_of(event) == Some(text)).cloned()
        })
        .await
    }

    /// Reads up to the event with a seq of a room.
    pub(crate) async fn event_at(&mut self, room: &str, seq: i64) -> v1::Event {
        let what = format!("the event {seq}");
        self.wait_for(&what, |kind| {
            event_of(kind)
                .filter(|event| head(event).room_id == room && head(event).seq == seq)
                .cloned()
        })
        .await
    }

    /// Reads up to `RoomGone` for a room.
    pub(crate) async fn room_gone(&mut self, room: &str) -> v1::RoomGone {
        self.wait_for("RoomGone", |kind| match kind {
            Kind::RoomGone(gone) if gone.room_id == room => Some(gone.clone()),
            _ => None,
        })
        .await
    }

    /// Reads up to `RoomState` for a room.
    pub(crate) async fn room_state(&mut self, room: &str) -> v1::RoomState {
        self.wait_for("RoomState", |kind| match kind {
            Kind::RoomState(state) if state.room.as_ref().is_some_and(|it| it.id == room) => Some(state.clone()),
            _ => None,
        })
        .await
    }

    /// Reads to the end: the reason, and the status after it.
    pub(crate) async fn ended(&mut self) -> (v1::EndReason, Status) {
        let mut last = None;
        while let Some(kind) = self.next().await {
            last = Some(kind);
        }
        let status = self.status.clone().expect("the stream has ended");
        let Some(Kind::Ended(ended)) = last else {
            panic!("the last frame was {last:?}, not Ended ({status:?})");
        };
        (ended.reason(), status)
    }

    /// Reads to the end and checks reason, status code and the reason in the status.
    pub(crate) async fn ends_with(&mut self, reason: v1::EndReason, code: Code, error: ErrorReason) {
        let (ended, status) = self.ended().await;
        assert_eq!(ended, reason, "{status:?}");
        assert_eq!(status.code(), code, "{status:?}");
        assert_eq!(Refusal::from(status).reason, error);
    }

    /// Sends an action.
    pub(crate) async fn act(&mut self, action: Action) {
        let request = v1::ChatRequest { action: Some(action) };
        self.act_raw(request).await;
    }

    /// Sends a frame.
    pub(crate) async fn act_raw(&mut self, request: v1::ChatRequest) {
        let sender = self.sender.as_ref().expect("only Chat sends");
        within("room for a frame", sender.send(request))
            .await
            .expect("the stream is open");
    }

    /// Sends a frame if the stream is still open.
    pub(crate) async fn try_act(&mut self, action: Action) -> bool {
        let sender = self.sender.as_ref().expect("only Chat sends");
        sender.send(v1::ChatRequest { action: Some(action) }).await.is_ok()
    }

    /// The sending half, for a task of its own.
    pub(crate) fn sender(&self) -> mpsc::Sender<v1::ChatRequest> {
        self.sender.clone().expect("only Chat sends")
    }

    /// Closes the sending half.
    pub(crate) fn close(&mut self) {
        self.sender = None;
    }

    /// Posts a message and gives its request id.
    pub(crate) async fn post(&mut self, room: &str, text: &str) -> String {
        let id = request_id();
        self.act(Action::SendMessage(v1::SendMessageRequest {
            request_id: id.clone(),
            room_id: room.to_owned(),
            text: text.to_owned(),
            reply_to_seq: 0,
        }))
        .await;
        id
    }

    /// Reads up to the answer to an action.
    pub(crate) async fn result(&mut self, request_id: &str) -> Result<v1::Receipt, Refusal> {
        self.wait_for("a result", |kind| match kind {
            Kind::SendResult(result) if result.request_id == request_id => Some(outcome(result)),
            _ => None,
        })
        .await
    }

    /// Reads up to the next answer, whichever action it is for.
    pub(crate) async fn next_result(&mut self) -> (String, Result<v1::Receipt, Refusal>) {
        self.wait_for("a result", |kind| match kind {
            Kind::SendResult(result) => Some((result.request_id.clone(), outcome(result))),
            _ => None,
        })
        .await
    }

    /// The events seen so far.
    pub(crate) fn events_seen(&self) -> impl Iterator<Item = &v1::Event> {
        self.seen.iter().filter_map(event_of)
    }
}

/// What a frame says. No frame exceeds 1 MiB.
fn checked(frame: v1::Frame) -> Kind {
    let length = frame.encoded_len();
    assert!(length <= 1 << 20, "a frame has {length} bytes");
    frame.kind.expect("a frame says something")
}

/// The outcome of an action.
pub(crate) fn outcome(result: &v1::SendResult) -> Result<v1::Receipt, Refusal> {
    match result.outcome.clone().expect("a result has an outcome") {
        Outcome::Receipt(receipt) => Ok(receipt),
        Outcome::Error(error) => Err(Refusal::from(error)),
    }
}

/// The event in a frame, where batches were taken apart.
pub(crate) fn event_of(kind: &Kind) -> Option<&v1::Event> {
    match kind {
        Kind::Events(batch) => batch.events.first(),
        _ => None,
    }
}

/// The head of an event.
pub(crate) fn head(event: &v1::Event) -> &v1::EventHead {
    event.head.as_ref().expect("an event has a head")
}

/// The content of an event, where its body is present.
pub(crate) fn content(event: &v1::Event) -> Option<&Content> {
    event.body.as_ref().and_then(|body| body.content.as_ref())
}

/// The text of a message or an edit, where its body is present.
pub(crate) fn text_of(event: &v1::Event) -> Option<&str> {
    match content(event)? {
        Content::MessagePosted(message) => Some(&message.text),
        Content::MessageEdited(edit) => Some(&edit.text),
        _ => None,
    }
}

/// The seqs of the events of a room.
pub(crate) fn seqs<'a>(events: impl IntoIterator<Item = &'a v1::Event>, room: &str) -> Vec<i64> {
    let heads = events.into_iter().map(head);
    heads.filter(|head| head.room_id == room).map(|head| head.seq).collect()
}

/// A hello that continues a room after a seq.
pub(crate) fn resume(epoch: &str, room: &str, after_seq: i64) -> v1::Hello {
    v1::Hello {
        epoch: epoch.to_owned(),
        positions: vec![v1::RoomPosition {
            room_id: room.to_owned(),
            after_seq,
        }],
        ..v1::Hello::default()
    }
}
