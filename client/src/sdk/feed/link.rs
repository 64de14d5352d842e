//! The life of a feed: one link after the other, and what comes over them.

use std::time::Duration;

use greffe_api::v1::chat_service_client::ChatServiceClient;
use greffe_api::v1::{
    Alert, ChatRequest, ChatResponse, Draining, EndReason, Ended, ErrorReason, Event, Frame, Hello, ListEventsResponse,
    Reset, RoomState, Started, chat_request, frame, list_events_request,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::super::client::Client;
use super::super::error::{Error, reason, reason_name};
use super::super::pauses::Pauses;
use super::outbox::{Due, Queue};
use super::positions::{Positions, Step};
use super::{FeedOptions, Item};

/// How long the server may take to begin a stream.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Frames that may wait for the link's own buffers.
const FRAME_QUEUE: usize = 16;
/// Events asked for at once when a room is read in pages. The server may give fewer.
const PAGE: i32 = 500;
/// A frame is about 1 MiB at most.
const LARGEST_FRAME: usize = 4 * 1024 * 1024;
/// What a heartbeat may be late before the link counts as broken, beside a second interval.
const HEARTBEAT_GRACE: Duration = Duration::from_secs(10);
/// The heartbeat's interval if the server does not say.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(30);
/// An interval longer than this would leave broken links unnoticed.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(300);

/// How long a server that takes nothing any more may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Before the index of the first alert.
const NO_ALERT: i64 = -1;

/// How a link ended.
#[derive(Debug)]
enum End {
    /// It broke: try again, not before the given time.
    Broken(EndReason, Error, Option<Duration>),
    /// The server does not want this client to come back by itself. The text is what it said beside the reason.
    Final(EndReason, String, Error),
    /// Nobody reads the feed any more.
    Unread,
}

impl From<Error> for End {
    /// By the status alone: whether to come back.
    fn from(error: Error) -> Self {
        match error.code {
            Code::Unavailable | Code::ResourceExhausted => {
                let after = error.retry_after;
                Self::Broken(EndReason::Unspecified, error, after)
            }
            // Greffe gives each refusal a reason: without one it is from something between here and there, such as a proxy.
            Code::Unknown | Code::Cancelled | Code::Internal | Code::DeadlineExceeded | Code::Aborted
                if error.reason.is_empty() =>
            {
                Self::Broken(EndReason::Unspecified, error, None)
            }
            _ => Self::Final(EndReason::Unspecified, String::new(), error),
        }
    }
}

/// Follows the feed until it ends or nobody reads it.
pub(super) async fn run(client: Client, options: FeedOptions, items: mpsc::Sender<Item>, queue: Queue) {
    let mut link = Link::new(client, options, items, queue);
    loop {
        let (reason, why, after) = match link.follow().await {
            Ok(never) => match never {},
            Err(End::Broken(reason, why, after)) => (reason, why, after),
            Err(End::Final(reason, message, error)) => {
                link.queue.refuse_all(&error);
                // Nobody may be listening any more, and that is fine.
                drop(link.items.send(Item::Ended { reason, message, error }).await);
                return;
            }
            Err(End::Unread) => return,
        };
        let retry_in = link.pauses.next(after);
        let disconnected = Item::Disconnected { reason, why, retry_in };
        if link.items.send(disconnected).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(retry_in) => {}
            () = link.items.closed() => return,
        }
    }
}

struct Link {
    client: Client,
    items: mpsc::Sender<Item>,
    queue: Queue,
    positions: Positions,
    others_after: Option<i64>,
    max_replay: Option<i64>,
    newest_only: Option<i64>,
    pauses: Pauses,
    /// The index of the newest alert that was told. Each is told once, and those that are still valid come again with every `Started`.
    newest_alert: i64,
    /// What the server said before it closed the stream.
    end: Option<Ended>,
    /// What it said before that about going away.
    draining: Option<Draining>,
}

impl Link {
    fn new(client: Client, options: FeedOptions, items: mpsc::Sender<Item>, queue: Queue) -> Self {
        Self {
            client,
            items,
            queue,
            positions: Positions::new(options.epoch, options.positions),
            others_after: options.other_rooms_after_seq,
            max_replay: options.max_replay,
            newest_only: options.newest_only,
            pauses: Pauses::default(),
            newest_alert: NO_ALERT,
            end: None,
            draining: None,
        }
    }

    /// Opens a stream and follows it to its end.
    async fn follow(&mut self) -> Result<std::convert::Infallible, End> {
        self.end = None;
        self.draining = None;
        let silence = self.longest_silence().await?;
        let (frames, mut stream) = self.open().await?;
        self.queue.rewind();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                frame = stream.message() => {
                    heard = Instant::now();
                    match frame {
                        Ok(Some(ChatResponse { frame: Some(Frame { kind: Some(kind) }) })) => {
                            if let Err(end) = self.take(kind).await {
                                return Err(self.hear_out(&mut stream, end).await);
                            }
                        }
                        // A frame that this version does not know.
                        Ok(Some(_)) => {}
                        Ok(None) => return Err(self.ended(Error::unreachable("the server closed the stream"))),
                        Err(status) => return Err(self.ended(status.into())),
                    }
                    // Reading pages and waiting for the reader take their time; silence is measured only while listening.
                    heard = heard.max(Instant::now());
                }
                due = self.queue.due() => match due {
                    Due::Frame(frame) => {
                        if let Err(end) = send(&frames, frame).await {
                            return Err(self.hear_out(&mut stream, end).await);
                        }
                    }
                    Due::Overdue => return Err(broken("the server did not answer a send")),
                },
                () = tokio::time::sleep_until(heard + silence) => {
                    return Err(broken("the server has been silent for too long"));
                }
                () = self.items.closed() => return Err(End::Unread),
            }
        }
    }

    /// Looks for what the server said last, when something else than the end of the stream ended the link: whom it sends away it also
    /// refuses, and may have taken nothing more from. What else the frames tell is told again on the next link.
    async fn hear_out(&mut self, stream: &mut Streaming<ChatResponse>, end: End) -> End {
        if matches!(end, End::Unread) {
            return end;
        }
        let last_words = async {
            loop {
                match stream.message().await {
                    Ok(Some(response)) => match response.frame.and_then(|frame| frame.kind) {
                        Some(frame::Kind::Draining(draining)) => self.draining = Some(draining),
                        Some(frame::Kind::Ended(ended)) => self.end = Some(ended),
                        _ => {}
                    },
                    Ok(None) => return Error::unreachable("the server closed the stream"),
                    Err(status) => return status.into(),
                }
            }
        };
        let closed = timeout(LAST_WORDS, last_words)
            .await
            .unwrap_or_else(|_| Error::unreachable("the server does not close the stream"));
        match self.ended(closed) {
            End::Broken(EndReason::Unspecified, ..) => end,
            said => said,
        }
    }

    /// How long a stream may say nothing: two heartbeats and some.
    async fn longest_silence(&self) -> Result<Duration, End> {
        let info = self.client.server_info().await?;
        let seconds = info.limits.as_ref().map_or(0, |limits| limits.heartbeat_seconds);
        let interval = u64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds > 0)
            .map_or(DEFAULT_HEARTBEAT, Duration::from_secs);
        Ok(interval.min(LONGEST_HEARTBEAT) * 2 + HEARTBEAT_GRACE)
    }

    /// Opens the stream and takes in its beginning.
    async fn open(&mut self) -> Result<(mpsc::Sender<ChatRequest>, Streaming<ChatResponse>), End> {
        let options = self.client.options();
        let hello = Hello {
            client_name: options.client_name.clone(),
            client_version: options.client_version.clone(),
            epoch: self.positions.epoch().to_owned(),
            positions: self.positions.to_resume(),
            max_replay: self.max_replay,
            other_rooms_after_seq: self.others_after,
        };
        let hello = ChatRequest {
            action: Some(chat_request::Action::Hello(hello)),
        };
        if let Some(observer) = &options.observer {
            observer("/greffe.v1.ChatService/Chat", &hello.encode_to_vec());
        }
        let (frames, outgoing) = mpsc::channel(FRAME_QUEUE);
        send(&frames, hello).await?;
        let request = self.client.request(ReceiverStream::new(outgoing));
        let mut service = ChatServiceClient::new(self.client.channel()).max_decoding_message_size(LARGEST_FRAME);
        let open = async {
            let mut stream = service.chat(request).await?.into_inner();
            let started = started(&mut stream).await;
            Ok::<_, tonic::Status>((stream, started))
        };
        let (stream, started) = match timeout(START_TIMEOUT, open).await {
            Ok(Ok(begun)) => begun,
            Ok(Err(status)) => return Err(Error::from(status).into()),
            Err(_) => return Err(broken("the server did not begin the stream in time")),
        };
        let started = match started {
            Ok(started) => started,
            Err((end, error)) => {
                self.end = end;
                return Err(self.ended(error));
            }
        };
        self.start(started).await?;
        Ok((frames, stream))
    }

    async fn start(&mut self, started: Started) -> Result<(), End> {
        if started.epoch != self.positions.epoch() {
            // Rows of another journal have the same numbers for other things.
            self.newest_alert = NO_ALERT;
        }
        self.positions.enter_epoch(&started.epoch);
        for state in &started.rooms {
            if let Some(room) = &state.room {
                self.positions.start_room(&room.id, state, self.others_after);
            }
        }
        // Whoever comes back wants to miss nothing, also in rooms that are new by then.
        self.others_after = Some(0);
        let Started {
            epoch,
            user_id,
            rooms,
            alerts,
            ..
        } = started;
        self.emit(Item::Connected { epoch, user_id, rooms }).await?;
        for alert in alerts {
            self.alert(alert).await?;
        }
        Ok(())
    }

    async fn take(&mut self, kind: frame::Kind) -> Result<(), End> {
        match kind {
            // Further `Started` frames belong to the beginning, which is over.
            frame::Kind::Started(_) | frame::Kind::Heartbeat(_) => Ok(()),
            frame::Kind::Events(events) => {
                for event in events.events {
                    self.event(event).await?;
                }
                Ok(())
            }
            frame::Kind::CaughtUp(_) => {
                self.pauses.reset();
                self.emit(Item::CaughtUp).await
            }
            frame::Kind::Reset(reset) => self.reset(reset).await,
            frame::Kind::RoomState(state) => self.room_state(state).await,
            frame::Kind::RoomGone(gone) => {
                self.positions.remove_room(&gone.room_id);
                self.emit(Item::RoomGone(gone)).await
            }
            frame::Kind::SendResult(result) => {
                self.queue.answer(result);
                Ok(())
            }
            frame::Kind::Presence(presence) => self.emit(Item::Presence(presence.users)).await,
            frame::Kind::Typing(typing) => self.emit(Item::Typing(typing)).await,
            frame::Kind::ReadMark(mark) => self.emit(Item::ReadMark(mark)).await,
            frame::Kind::Alert(alert) => self.alert(alert).await,
            frame::Kind::Draining(draining) => {
                let item = Item::Draining {
                    reconnect_after: wait(draining.reconnect_after),
                    message: draining.message.clone(),
                };
                self.draining = Some(draining);
                self.emit(item).await
            }
            frame::Kind::Ended(ended) => {
                self.end = Some(ended);
                Ok(())
            }
        }
    }

    async fn event(&mut self, event: Event) -> Result<(), End> {
        let Some(head) = &event.head else { return Ok(()) };
        let (room_id, seq) = (head.room_id.clone(), head.seq);
        let mut step = self.positions.step(&room_id, seq);
        if let Step::Gap(after, before) = step {
            // The server promises that there are no gaps. Should there be one, what is missing is read, never skipped.
            self.page(&room_id, after, before - 1).await?;
            self.positions.set(&room_id, before - 1);
            step = self.positions.step(&room_id, seq);
        }
        match step {
            Step::Deliver => self.emit(Item::Event(Box::new(event))).await,
            Step::Double | Step::Gap(..) => Ok(()),
        }
    }

    async fn room_state(&mut self, state: RoomState) -> Result<(), End> {
        if let Some(room) = &state.room {
            self.positions.add_room(&room.id, &state);
        }
        self.emit(Item::RoomState(Box::new(state))).await
    }

    async fn reset(&mut self, reset: Reset) -> Result<(), End> {
        let room_id = reset.room_id.clone();
        let (oldest, head) = (reset.oldest_seq.max(1), reset.head_seq);
        let from = self.newest_only.map_or(oldest, |newest| {
            oldest.max(head.saturating_sub(newest.max(0)).saturating_add(1))
        });
        self.positions.set(&room_id, from - 1);
        self.emit(Item::Reset(reset)).await?;
        if from > oldest {
            self.emit(Item::Skipped {
                room_id: room_id.clone(),
                first: oldest,
                last: from - 1,
            })
            .await?;
        }
        self.page(&room_id, from - 1, head).await?;
        self.positions.set(&room_id, head);
        Ok(())
    }

    /// Reads a room's events after one seq, up to another one, in pages.
    async fn page(&mut self, room_id: &str, mut after: i64, up_to: i64) -> Result<(), End> {
        while after < up_to {
            let from = list_events_request::From::AfterSeq(after);
            let ListEventsResponse {
                events,
                has_more,
                first_seq,
                ..
            } = self.client.list_events(room_id, Some(from), PAGE).await?;
            // The user may see less than before: what lies before `first_seq` is not theirs to read.
            if first_seq - 1 > after {
                after = first_seq - 1;
                self.positions.set(room_id, after.min(up_to));
            }
            if events.is_empty() && has_more {
                return Err(Error::malformed("the events of a page").into());
            }
            for event in events {
                let seq = event.head.as_ref().map_or(0, |head| head.seq);
                if seq > up_to {
                    return Ok(());
                }
                match self.positions.step(room_id, seq) {
                    Step::Deliver => self.emit(Item::Event(Box::new(event))).await?,
                    Step::Double => {}
                    Step::Gap(..) => return Err(Error::malformed("events within a page").into()),
                }
                after = seq;
            }
            if !has_more {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn alert(&mut self, alert: Alert) -> Result<(), End> {
        if alert.index <= self.newest_alert {
            return Ok(());
        }
        self.newest_alert = alert.index;
        self.emit(Item::Alert(alert)).await
    }

    async fn emit(&self, item: Item) -> Result<(), End> {
        self.items.send(item).await.map_err(|_| End::Unread)
    }

    /// Judges the end of a stream.
    fn ended(&mut self, error: Error) -> End {
        judge(self.end.take(), self.draining.take(), error)
    }
}

fn wait(wait: Option<prost_types::Duration>) -> Option<Duration> {
    wait.and_then(|wait| wait.try_into().ok())
}

/// Judges the end of a stream: what the server said in the stream goes before the status. If the link broke after it said that it would
/// go, and before the last frame, that is why.
fn judge(said: Option<Ended>, draining: Option<Draining>, mut error: Error) -> End {
    let told = draining.as_ref().and_then(|draining| wait(draining.reconnect_after));
    let said = said.or_else(|| {
        draining.map(|draining| Ended {
            reason: EndReason::Draining.into(),
            message: draining.message,
            reconnect_after: draining.reconnect_after,
        })
    });
    let Some(said) = said else { return End::from(error) };
    let after = wait(said.reconnect_after).max(told).max(error.retry_after);
    let reason = said.reason();
    let message = said.message;
    match reason {
        EndReason::ServerStopping
        | EndReason::SlowReader
        | EndReason::ServerError
        | EndReason::Maintenance
        | EndReason::Draining => {
            if !message.is_empty() {
                error.message = message;
            }
            End::Broken(reason, error, after)
        }
        EndReason::Kicked => End::Final(reason, message, refusal(ErrorReason::Kicked, error)),
        EndReason::Banned => End::Final(reason, message, refusal(ErrorReason::Banned, error)),
        EndReason::Disabled => End::Final(reason, message, refusal(ErrorReason::AccountDisabled, error)),
        EndReason::LoggedOut
        | EndReason::Revoked
        | EndReason::PasswordChanged
        | EndReason::Expired
        | EndReason::PasswordReset => End::Final(reason, message, refusal(ErrorReason::SessionEnded, error)),
        EndReason::Unspecified | EndReason::ProtocolError | EndReason::Refused => match End::from(error) {
            End::Broken(_, why, asked) => End::Broken(reason, why, asked.max(after)),
            End::Final(_, _, error) => End::Final(reason, message, error),
            End::Unread => End::Unread,
        },
    }
}

/// The refusal that a stream ends with, also if the link broke after the last frame and before the status.
fn refusal(reason: ErrorReason, error: Error) -> Error {
    if error.reason != reason::UNREACHABLE {
        return error;
    }
    let (code, message) = match reason {
        ErrorReason::Kicked => (Code::PermissionDenied, "an operator has kicked you"),
        ErrorReason::Banned => (Code::PermissionDenied, "you are banned"),
        ErrorReason::AccountDisabled => (Code::PermissionDenied, "the operator has closed this account"),
        _ => (Code::Unauthenticated, "the session has ended"),
    };
    Error::local(code, reason_name(reason), message)
}

/// Reads the `Started` frames, of which there are several if the user is in many rooms.
async fn started(stream: &mut Streaming<ChatResponse>) -> Result<Started, (Option<Ended>, Error)> {
    let mut whole: Option<Started> = None;
    let mut end = None;
    loop {
        let response = match stream.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return Err((end, Error::unreachable("the server closed the stream"))),
            Err(status) => return Err((end, status.into())),
        };
        match response.frame.and_then(|frame| frame.kind) {
            Some(frame::Kind::Started(part)) => {
                let more = part.more;
                let whole = match &mut whole {
                    Some(whole) => {
                        whole.rooms.extend(part.rooms);
                        whole.alerts.extend(part.alerts);
                        whole
                    }
                    None => whole.insert(part),
                };
                if !more {
                    return Ok(std::mem::take(whole));
                }
            }
            Some(frame::Kind::Ended(ended)) => end = Some(ended),
            _ => {}
        }
    }
}

fn broken(why: &str) -> End {
    End::Broken(EndReason::Unspecified, Error::unreachable(why), None)
}

async fn send(frames: &mpsc::Sender<ChatRequest>, frame: ChatRequest) -> Result<(), End> {
    // The queue is full only if the link takes nothing, closed only if it is gone: either way it is broken.
    match timeout(START_TIMEOUT, frames.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(broken("the link is closed")),
        Err(_) => Err(broken("the link takes nothing any more")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::super::outbox::outbox;
    use super::*;
    use crate::sdk::client::Options;

    fn said(reason: EndReason, message: &str) -> Ended {
        Ended {
            reason: reason.into(),
            message: message.into(),
            reconnect_after: None,
        }
    }

    fn draining(seconds: i64) -> Draining {
        Draining {
            reconnect_after: Some(prost_types::Duration { seconds, nanos: 0 }),
            message: "new disks".into(),
        }
    }

    fn status(code: Code, reason: &str, message: &str) -> Error {
        let details = ErrorDetails::with_error_info(reason, "greffe", HashMap::new());
        Status::with_error_details(code, message, details).into()
    }

    #[test]
    fn whom_an_operator_sent_away_does_not_come_back() {
        for (reason, code, name) in [
            (EndReason::Kicked, Code::PermissionDenied, "KICKED"),
            (EndReason::Banned, Code::PermissionDenied, "BANNED"),
            (EndReason::Disabled, Code::PermissionDenied, "ACCOUNT_DISABLED"),
            (EndReason::PasswordReset, Code::Unauthenticated, "SESSION_ENDED"),
        ] {
            let link_broke = Error::unreachable("the server closed the stream");
            for error in [status(code, name, "no"), link_broke] {
                let End::Final(told, message, error) = judge(Some(said(reason, "spam")), None, error) else {
                    panic!("{reason:?} is not final");
                };
                assert_eq!((told, message.as_str()), (reason, "spam"));
                assert_eq!((error.code, error.reason.as_str()), (code, name));
            }
        }
    }

    #[test]
    fn from_maintenance_and_drains_one_comes_back_when_the_server_says() {
        for reason in [EndReason::Maintenance, EndReason::Draining, EndReason::ServerStopping] {
            let ended = Ended {
                reconnect_after: draining(90).reconnect_after,
                ..said(reason, "new disks")
            };
            let error = status(Code::Unavailable, "SERVER_DRAINING", "come back");
            let End::Broken(told, why, after) = judge(Some(ended), Some(draining(60)), error) else {
                panic!("{reason:?} is final");
            };
            assert_eq!((told, why.message.as_str()), (reason, "new disks"));
            assert_eq!(after, Some(Duration::from_secs(90)));
        }
    }

    #[test]
    fn a_drain_counts_also_if_the_last_frame_was_lost() {
        let End::Broken(reason, why, after) = judge(None, Some(draining(60)), Error::unreachable("gone")) else {
            panic!("a drain is final");
        };
        assert_eq!((reason, why.message.as_str()), (EndReason::Draining, "new disks"));
        assert_eq!(after, Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_server_that_drains_is_asked_again_when_it_says() {
        let mut error = status(Code::Unavailable, "SERVER_DRAINING", "come back");
        error.retry_after = Some(Duration::from_secs(30));
        assert!(error.is_refused_for_now());
        let End::Broken(_, _, after) = judge(Some(said(EndReason::Refused, "come back")), None, error) else {
            panic!("a drain is final");
        };
        assert_eq!(after, Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_ban_before_the_stream_began_is_final() {
        let error = status(Code::PermissionDenied, "BANNED", "you are banned");
        let end = judge(Some(said(EndReason::Refused, "you are banned")), None, error);
        assert!(matches!(end, End::Final(EndReason::Refused, ..)), "{end:?}");
    }

    #[tokio::test]
    async fn each_alert_is_told_once_however_often_the_link_begins_again() -> Result<(), Error> {
        let alert = |index| Alert {
            index,
            text: format!("alert {index}"),
            time: None,
        };
        let started = |epoch: &str, indexes: &[i64]| Started {
            epoch: epoch.into(),
            alerts: indexes.iter().copied().map(alert).collect(),
            ..Default::default()
        };
        // It takes links and says nothing: what it would say is given to the link below.
        let silent =
            std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| Error::unreachable(error.to_string()))?;
        let address = silent.local_addr().map_err(|error| Error::unreachable(error.to_string()))?;
        let client = Client::connect(&format!("http://{address}"), Options::default()).await?;
        let (items, mut told) = mpsc::channel(64);
        let (_outbox, queue) = outbox();
        let mut link = Link::new(client, FeedOptions::default(), items, queue);
        let unread = |_| Error::unreachable("nobody reads");
        link.start(started("e", &[0, 4])).await.map_err(unread)?;
        link.take(frame::Kind::Alert(alert(9))).await.map_err(unread)?;
        link.start(started("e", &[4, 9, 12])).await.map_err(unread)?;
        link.start(started("restored", &[4])).await.map_err(unread)?;
        drop(link);
        let mut indexes = Vec::new();
        while let Some(item) = told.recv().await {
            if let Item::Alert(alert) = item {
                indexes.push(alert.index);
            }
        }
        assert_eq!(indexes, [0, 4, 9, 12, 4]);
        Ok(())
    }
}
