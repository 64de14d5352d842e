//! The live streams, `Chat` and `Subscribe`: one implementation under both.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use greffe_api::v1::chat_request::Action;
use greffe_api::v1::frame::Kind;
use greffe_api::v1::send_result;
use greffe_api::v1::{
    Alert, CaughtUp, ChatRequest, Draining, EndReason, Ended, Heartbeat, Hello, MarkReadRequest, Presence, ReadMark,
    Reset, ResetCause, RoomGone, RoomGoneReason, RoomState, SendResult, SessionEndReason, Started, SubscribeRequest,
    Typing, UserPresence,
};
use prost::Message as _;
use prost_types::Duration as ProtoDuration;
use tokio::task::AbortHandle;
use tokio::time::Sleep;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

use super::live_body::LiveBody;
use super::status::in_band;
use super::{App, action, auth, convert, frames};
use crate::domain::caller::Caller;
use crate::domain::clock::{self, timestamp};
use crate::domain::command::{Change, Command, Outcome};
use crate::domain::error::{BanNotice, Error};
use crate::domain::ids::{RoomId, UserId};
use crate::domain::permissions;
use crate::domain::state::State;
use crate::domain::text::ClientName;
use crate::journal::writer::Reply;
use crate::live::feed::Start;
use crate::live::mailbox::{Lag, Mailbox, Next, Owner};
use crate::live::stream::LiveStream;
use crate::live::{Delivery, Ending, Gone};

/// Positions that a `Hello` may have.
const POSITIONS: usize = 10_000;
/// Bytes of room states in one `Started` frame: well below the 1 MiB that no frame exceeds.
const STARTED_BYTES: usize = 256 * 1024;
/// People in one `Presence` frame.
const PRESENCE_AT_ONCE: usize = 1000;
/// When a client may come back after the server stopped.
const COME_BACK: ProtoDuration = ProtoDuration { seconds: 1, nanos: 0 };
/// How long a client has for its `Hello`.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);

/// Opens `Subscribe`.
pub(super) fn subscribe(app: Arc<App>, request: Request<SubscribeRequest>) -> Result<LiveBody, Status> {
    let owner = owner(&app, &request)?;
    let hello = request.into_inner().hello.ok_or(Error::HelloExpected);
    Ok(LiveBody::new(async move { Ok(Live::open(app, owner, &hello?).await?) }))
}

/// Opens `Chat`. The answer's headers go out at once; the first frame waits for `Hello`.
pub(super) fn chat(app: Arc<App>, request: Request<Streaming<ChatRequest>>) -> Result<LiveBody, Status> {
    let owner = owner(&app, &request)?;
    let mut actions = request.into_inner();
    Ok(LiveBody::new(async move {
        let first = tokio::time::timeout(HELLO_PATIENCE, actions.message())
            .await
            .map_err(|_| Error::HelloExpected)?;
        let request = first.map_err(|status| undecodable(&app, status))?.ok_or(Error::HelloExpected)?;
        let Some(Action::Hello(hello)) = request.action else {
            return Err(Error::HelloExpected.into());
        };
        let mut live = Live::open(Arc::clone(&app), owner, &hello).await?;
        let inbound = Inbound {
            app,
            caller: owner.0,
            mailbox: Arc::clone(live.stream.mailbox()),
        };
        let faults = Arc::clone(&live.fault);
        live.inbound = Some(tokio::spawn(async move { inbound.run(actions, &faults).await }).abort_handle());
        Ok(live)
    }))
}

/// The last frame of a stream that is refused before it began.
pub(super) fn refusal(status: &Status) -> Bytes {
    let reason = match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition => EndReason::ProtocolError,
        Code::Unavailable if status.get_details_retry_info().is_some() => EndReason::Draining,
        Code::Unavailable => EndReason::ServerStopping,
        _ => EndReason::Refused,
    };
    let retry = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
    frames::message(Kind::Ended(Ended {
        reason: reason.into(),
        message: status.message().into(),
        reconnect_after: retry.and_then(|wait| wait.try_into().ok()),
    }))
}

/// Who opens a stream, and on which connection.
fn owner<T>(app: &App, request: &Request<T>) -> Result<(Caller, u64), Error> {
    let caller = auth::caller(app, request)?;
    Ok((caller, auth::peer(request)?.id))
}

/// What tonic says of a frame that it did not accept, in our words.
fn undecodable(app: &App, status: Status) -> Status {
    match status.code() {
        // tonic's word for a message over the limit.
        Code::OutOfRange => Error::TooLarge {
            limit: app.config.limits.request_bytes,
        }
        .into(),
        Code::InvalidArgument => status,
        // The client went away, or broke the framing.
        _ => Error::Malformed("the stream broke off".into()).into(),
    }
}

/// Why a client's frames end its stream, for the frames that it gets.
type Fault = std::sync::Mutex<Option<Status>>;

/// An open stream.
pub(super) struct Live {
    app: Arc<App>,
    caller: Caller,
    stream: LiveStream,
    /// Messages that were taken from the mailbox, and go before anything else.
    taken: VecDeque<Bytes>,
    /// Messages that go next.
    out: BytesMut,
    inbound: Option<AbortHandle>,
    fault: Arc<Fault>,
    /// The status that follows the last frame.
    status: Option<Status>,
    /// When the session's use was last noted.
    noted: Instant,
    /// When something was last sent.
    sent: Instant,
    /// How long nothing may be sent.
    silence: Duration,
    /// Wakes the stream when nothing was sent for long.
    alarm: Pin<Box<Sleep>>,
}

/// What a stream does next.
pub(super) enum Step {
    /// Sends messages.
    Send(Bytes),
    /// Reads something first: [`Live::read`].
    Read(Reading),
    /// Ends with a status.
    End(Status),
}

/// What a stream reads before it goes on.
pub(super) enum Reading {
    /// A page of a room in which it lags.
    Page(Lag),
    /// A room's state.
    State(RoomId),
}

/// What `Hello` leads to.
struct Plan {
    rooms: Vec<RoomId>,
    resets: Vec<Reset>,
    gone: Vec<RoomGone>,
}

/// Looks at the state and says where each room starts.
fn plan(state: &State, user: UserId, hello: &Hello, epoch: &str) -> (Vec<Start>, Plan) {
    let wrong_epoch = !hello.epoch.is_empty() && hello.epoch != epoch;
    let mut starts = Vec::new();
    let mut plan = Plan {
        rooms: Vec::new(),
        resets: Vec::new(),
        gone: Vec::new(),
    };
    let positions: HashMap<&str, i64> = hello
        .positions
        .iter()
        .map(|position| (position.room_id.as_str(), position.after_seq))
        .collect();
    let mut served = HashSet::new();
    for (room, member) in state.rooms_of(user) {
        plan.rooms.push(room.id);
        let id = room.id.to_string();
        if !member.role.is_in() {
            // `Started` says that it is an invitation.
            served.insert(id);
            continue;
        }
        let position = positions.get(id.as_str()).copied();
        // Before the first event that they may read there is nothing to miss.
        let nothing = member.first_seq - 1;
        let asked = position.or(hello.other_rooms_after_seq).map(|after| after.max(nothing));
        let cause = match (position, asked) {
            (Some(_), _) if wrong_epoch => Some(ResetCause::Epoch),
            (Some(after), _) if after > room.head_seq => Some(ResetCause::BeyondHead),
            (_, Some(after)) if hello.max_replay.is_some_and(|max| room.head_seq.saturating_sub(after) > max) => {
                Some(ResetCause::TooMany)
            }
            _ => None,
        };
        if let Some(cause) = cause {
            plan.resets.push(Reset {
                room_id: id.clone(),
                epoch: epoch.into(),
                oldest_seq: member.first_seq,
                head_seq: room.head_seq,
                cause: cause.into(),
            });
        }
        let after = if cause.is_some() {
            room.head_seq
        } else {
            asked.unwrap_or(room.head_seq).min(room.head_seq)
        };
        starts.push(Start {
            room: room.id,
            after,
            first_seq: member.first_seq,
        });
        served.insert(id);
    }
    for position in hello.positions.iter().filter(|position| !served.contains(&position.room_id)) {
        let known = position
            .room_id
            .parse()
            .is_ok_and(|room| permissions::visible(state, user, room).is_ok());
        let reason = if known {
            RoomGoneReason::NotAMember
        } else {
            RoomGoneReason::NotFound
        };
        plan.gone.push(RoomGone {
            room_id: position.room_id.clone(),
            reason: reason.into(),
            message: String::new(),
        });
    }
    (starts, plan)
}

/// Refuses a `Hello` that cannot be meant.
fn check_hello(hello: &Hello) -> Result<(), Error> {
    ClientName::parse("hello.client_name", hello.client_name.clone())?;
    ClientName::parse("hello.client_version", hello.client_version.clone())?;
    if hello.positions.len() > POSITIONS {
        return Err(Error::invalid(
            "hello.positions",
            format!("at most {POSITIONS} are allowed"),
        ));
    }
    let mut seen = HashSet::new();
    if !hello.positions.iter().all(|position| seen.insert(&position.room_id)) {
        return Err(Error::invalid("hello.positions", "each room may be named once"));
    }
    let negative = hello.positions.iter().any(|position| position.after_seq < 0);
    if negative
        || hello.max_replay.is_some_and(|max| max < 0)
        || hello.other_rooms_after_seq.is_some_and(|after| after < 0)
    {
        return Err(Error::invalid("hello", "positions and max_replay must be 0 or more"));
    }
    Ok(())
}

impl Live {
    /// Opens a stream, and makes its first frames.
    async fn open(app: Arc<App>, (caller, connection): (Caller, u64), hello: &Hello) -> Result<Box<Self>, Error> {
        check_hello(hello)?;
        let owner = Owner {
            user: caller.user,
            session: caller.session,
            connection,
            address: caller.address,
        };
        // What is told before the first events costs as much as they do.
        let feed = Arc::clone(&app.feed);
        let _turn = feed.turn().await;
        let (stream, plan) = LiveStream::open(&app.feed, &app.reader, owner, |state| {
            plan(state, caller.user, hello, &app.identity.epoch)
        })?;
        let silence = Duration::from_secs(app.config.limits.heartbeat_seconds).min(auth::note_after(&app));
        let now = Instant::now();
        let mut live = Box::new(Self {
            app,
            caller,
            stream,
            taken: VecDeque::new(),
            out: BytesMut::new(),
            inbound: None,
            fault: Arc::default(),
            status: None,
            noted: now,
            sent: now,
            silence,
            alarm: Box::pin(tokio::time::sleep(silence)),
        });
        if let Err(error) = live.start(plan).await {
            tracing::warn!(%error, "A stream could not read the journal");
            live.end_with(EndReason::ServerError, Error::Unreadable.into());
        }
        Ok(live)
    }

    /// The next step, or a wake-up when there is one.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Some(messages) = self.taken.pop_front() {
            return Poll::Ready(self.send(messages));
        }
        while self.out.is_empty() {
            if let Some(status) = self.status.take() {
                return Poll::Ready(Step::End(status));
            }
            match self.stream.poll(context) {
                Poll::Ready(Next::Deliver(Delivery::Waiting(waiting))) => {
                    let (first, more) = frames::of_waiting(waiting);
                    self.taken = more.into();
                    return Poll::Ready(self.send(first));
                }
                Poll::Ready(Next::Deliver(Delivery::State(room))) => {
                    return Poll::Ready(Step::Read(Reading::State(room)));
                }
                Poll::Ready(Next::Read(lag)) => return Poll::Ready(Step::Read(Reading::Page(lag))),
                Poll::Ready(Next::Deliver(delivery)) => self.deliver(delivery),
                Poll::Pending => {
                    std::task::ready!(self.alarm.as_mut().poll(context));
                    let quiet = self.sent.elapsed();
                    let left = self.silence.saturating_sub(quiet);
                    let next = if left.is_zero() { self.silence } else { left };
                    self.alarm.as_mut().reset(tokio::time::Instant::now() + next);
                    if left.is_zero() {
                        let time = Some(timestamp(clock::now()));
                        frames::put(&mut self.out, Kind::Heartbeat(Heartbeat { time }));
                    }
                }
            }
        }
        let out = std::mem::take(&mut self.out).freeze();
        Poll::Ready(self.send(out))
    }

    fn send(&mut self, messages: Bytes) -> Step {
        self.sent = Instant::now();
        self.note_use();
        self.stream.mailbox().count_sent(messages.len());
        Step::Send(messages)
    }

    /// Reads what comes next, and makes its frame. If there is nothing to tell any more, there is none.
    pub(super) async fn read(&mut self, reading: Reading) {
        match reading {
            Reading::Page(lag) => {
                // Shared with other streams, so it is sent as it is.
                self.taken.extend(self.stream.read(lag).await);
            }
            Reading::State(room) => match self.app.room_states(self.caller.user, &[room]).await {
                Ok(states) => states
                    .into_iter()
                    .for_each(|state| frames::put(&mut self.out, Kind::RoomState(state))),
                Err(error) => {
                    tracing::warn!(%error, "A stream could not read the journal");
                    self.end_with(EndReason::ServerError, Error::Unreadable.into());
                }
            },
        }
    }

    /// An open stream is use of its session, whether it is quiet or not.
    fn note_use(&mut self) {
        if self.sent.duration_since(self.noted) >= auth::note_after(&self.app) {
            self.noted = self.sent;
            let Caller { session, address, .. } = self.caller;
            self.app.journal.note(Command::Use { session, from: address });
        }
    }

    /// Makes the frames before the first event: who I am, my rooms, what cannot be served, who is there.
    async fn start(&mut self, Plan { rooms, resets, gone }: Plan) -> Result<(), Error> {
        let states = self.app.room_states(self.caller.user, &rooms).await?;
        let now = clock::now();
        let mut alerts: Vec<Alert> = self.app.view().read(|state| state.standing().alerts(now).map(alert).collect());
        let mut parts: Vec<Vec<RoomState>> = vec![Vec::new()];
        let mut bytes = 0;
        for state in states {
            bytes += state.encoded_len() + 8;
            if bytes > STARTED_BYTES {
                parts.push(Vec::new());
                bytes = state.encoded_len() + 8;
            }
            parts.last_mut().expect("there is always one part").push(state);
        }
        let count = parts.len();
        for (number, rooms) in parts.into_iter().enumerate() {
            let started = Started {
                session_id: self.caller.session.to_string(),
                user_id: self.caller.user.to_string(),
                server_time: Some(timestamp(clock::now())),
                epoch: self.app.identity.epoch.clone(),
                rooms,
                alerts: std::mem::take(&mut alerts),
                more: number + 1 < count,
            };
            frames::put(&mut self.out, Kind::Started(started));
        }
        let resets = resets.into_iter().map(Kind::Reset);
        let gone = gone.into_iter().map(Kind::RoomGone);
        let present = self.present();
        let present = present
            .chunks(PRESENCE_AT_ONCE)
            .map(|users| Kind::Presence(Presence { users: users.to_vec() }));
        resets
            .chain(gone)
            .chain(present)
            .for_each(|kind| frames::put(&mut self.out, kind));
        Ok(())
    }

    /// Who is online of those who share a small room with the reader.
    fn present(&self) -> Vec<UserPresence> {
        let me = self.caller.user;
        let near: HashSet<UserId> = self.app.view().read(|state| {
            let small = state
                .rooms_of(me)
                .filter(|(room, member)| member.role.is_in() && self.app.feed.is_small(state, room));
            let mut near = HashSet::new();
            for (room, _) in small {
                if room.id == state.general() {
                    near.extend(state.users_from("").map(|user| user.id));
                } else {
                    near.extend(
                        room.members
                            .iter()
                            .filter(|(_, member)| member.role.is_in())
                            .map(|(user, _)| *user),
                    );
                }
            }
            near
        });
        let online = self.app.feed.online(near);
        online
            .into_iter()
            .filter(|user| *user != me)
            .map(|user| UserPresence {
                user_id: user.to_string(),
                online: true,
            })
            .collect()
    }

    /// Makes the frame of a delivery that is told as it is.
    fn deliver(&mut self, delivery: Delivery) {
        let kind = match delivery {
            // Are told by their callers.
            Delivery::Waiting(_) | Delivery::State(_) => return,
            Delivery::CaughtUp => Kind::CaughtUp(CaughtUp {}),
            Delivery::Gone(room, why) => {
                let (reason, message) = match why {
                    Gone::Left => (RoomGoneReason::Left, String::new()),
                    Gone::Removed(message) => (RoomGoneReason::Removed, message),
                };
                Kind::RoomGone(RoomGone {
                    room_id: room.to_string(),
                    reason: reason.into(),
                    message,
                })
            }
            Delivery::ReadMark(room, seq) => Kind::ReadMark(ReadMark {
                room_id: room.to_string(),
                seq,
            }),
            Delivery::Typing(room, user, typing) => Kind::Typing(Typing {
                room_id: room.to_string(),
                user_id: user.to_string(),
                typing,
            }),
            Delivery::Presence(users) => {
                let users = users.into_iter().map(|(user, online)| UserPresence {
                    user_id: user.to_string(),
                    online,
                });
                Kind::Presence(Presence { users: users.collect() })
            }
            Delivery::Alert(it) => Kind::Alert(alert(&it)),
            Delivery::Ended(why) => return self.ended(why),
        };
        frames::put(&mut self.out, kind);
    }

    fn ended(&mut self, why: Ending) {
        // What the client itself did wrong is told as that.
        let fault = self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(status) = fault {
            return self.end_with(EndReason::ProtocolError, status);
        }
        let (reason, status): (EndReason, Status) = match why {
            Ending::Stopping => return self.drain(EndReason::ServerStopping, "", COME_BACK, Error::Stopping.into()),
            Ending::Maintenance(words) => {
                return self.drain(EndReason::Maintenance, &words, COME_BACK, Error::Stopping.into());
            }
            Ending::Draining(words, retry_after) => {
                let reason = words.to_string();
                let status = Error::Draining { retry_after, reason }.into();
                let after = retry_after.try_into().unwrap_or(COME_BACK);
                return self.drain(EndReason::Draining, &words, after, status);
            }
            Ending::SlowReader => (EndReason::SlowReader, Error::SlowReader.into()),
            Ending::Session(why, words) => {
                let (reason, status) = self.session_end(why, &words);
                return self.end_with_words(reason, &words, status);
            }
            Ending::ServerError => (EndReason::ServerError, Error::Unreadable.into()),
        };
        self.end_with(reason, status);
    }

    /// How a stream ends whose session did.
    fn session_end(&self, why: SessionEndReason, words: &str) -> (EndReason, Status) {
        let words = words.to_owned();
        let (reason, error) = match why {
            SessionEndReason::Kicked => (EndReason::Kicked, Error::Kicked { words }),
            SessionEndReason::Banned => {
                let Caller { user, address, .. } = self.caller;
                let now = clock::now();
                let (until, network) = self.app.view().read(|state| {
                    let account = state.standing().ban_of(user, now);
                    let ban = account.or_else(|| state.standing().ban_at(address.ip(), now));
                    (ban.and_then(|ban| ban.until), account.is_none())
                });
                let notice = BanNotice {
                    network,
                    until,
                    reason: words,
                };
                (EndReason::Banned, Error::Banned(notice))
            }
            SessionEndReason::Disabled => (EndReason::Disabled, Error::AccountDisabled { reason: words }),
            SessionEndReason::PasswordReset => (EndReason::PasswordReset, Error::SessionEnded),
            SessionEndReason::Revoked | SessionEndReason::RoleLost => (EndReason::Revoked, Error::SessionEnded),
            SessionEndReason::PasswordChanged => (EndReason::PasswordChanged, Error::SessionEnded),
            SessionEndReason::Expired | SessionEndReason::Restored => (EndReason::Expired, Error::SessionEnded),
            SessionEndReason::LoggedOut | SessionEndReason::Unspecified => (EndReason::LoggedOut, Error::SessionEnded),
        };
        (reason, error.into())
    }

    /// Tells that clients are to go, and when to come back; the last frame follows.
    fn drain(&mut self, reason: EndReason, words: &str, after: ProtoDuration, status: Status) {
        let ended = Ended {
            reason: reason.into(),
            message: words_or(words, &status),
            reconnect_after: Some(after),
        };
        self.status = Some(status);
        let draining = Draining {
            reconnect_after: Some(after),
            message: words.into(),
        };
        frames::put(&mut self.out, Kind::Draining(draining));
        frames::put(&mut self.out, Kind::Ended(ended));
    }

    fn end_with(&mut self, reason: EndReason, status: Status) {
        self.end_with_words(reason, "", status);
    }

    fn end_with_words(&mut self, reason: EndReason, words: &str, status: Status) {
        let ended = Ended {
            reason: reason.into(),
            message: words_or(words, &status),
            reconnect_after: None,
        };
        self.status = Some(status);
        frames::put(&mut self.out, Kind::Ended(ended));
    }
}

/// An operator's words or, if there are none, the status's.
fn words_or(words: &str, status: &Status) -> String {
    let words = if words.is_empty() { status.message() } else { words };
    words.to_owned()
}

fn alert(alert: &crate::domain::standing::Alert) -> Alert {
    Alert {
        index: alert.index,
        text: alert.text.clone(),
        time: Some(timestamp(alert.time)),
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(inbound) = &self.inbound {
            inbound.abort();
        }
    }
}

/// What a client sends on its stream. It is always read, whatever waits elsewhere, because HTTP/2 closes a connection with many small unread
/// frames: what is too much is refused in-band.
struct Inbound {
    app: Arc<App>,
    caller: Caller,
    mailbox: Arc<Mailbox>,
}

impl Inbound {
    async fn run(self, mut actions: Streaming<ChatRequest>, fault: &Fault) {
        let status = loop {
            match actions.message().await {
                Ok(Some(ChatRequest {
                    action: Some(Action::Hello(_)),
                })) => break Error::HelloExpected.into(),
                // What comes after the stream was ended is read, so that the connection lives, and not done.
                Ok(Some(ChatRequest { action: Some(action) })) if !self.mailbox.has_ended() => self.act(action),
                Ok(Some(ChatRequest { action: Some(_) })) => {}
                Ok(Some(ChatRequest { action: None })) => {
                    break Error::Malformed("a frame must have an action that this server knows".into()).into();
                }
                // The client sends no more; it may go on reading.
                Ok(None) => return,
                Err(status) => break undecodable(&self.app, status),
            }
        };
        *fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(status);
        if let Some(waker) = self.mailbox.end(Ending::ServerError) {
            waker.wake();
        }
    }

    fn act(&self, action: Action) {
        let app = &self.app;
        match action {
            Action::Hello(_) => {}
            Action::SendMessage(request) => self.change(request.request_id.clone(), action::send(app, request)),
            Action::EditMessage(request) => self.change(request.request_id.clone(), action::edit(app, request)),
            Action::DeleteMessage(request) => {
                let change = action::delete(&request);
                self.change(request.request_id, change);
            }
            Action::AddReaction(request) => self.change(request.request_id.clone(), action::react(request)),
            Action::RemoveReaction(request) => self.change(request.request_id.clone(), action::unreact(request)),
            Action::MarkRead(request) => self.mark_read(&request),
            Action::SetTyping(request) => {
                let allowed = app.view().read(|state| state.session(self.caller.session).is_some());
                if let Err(error) = if allowed {
                    app.set_typing(&self.caller, &request)
                } else {
                    Err(Error::SessionEnded)
                } {
                    self.refuse(String::new(), &error);
                }
            }
        }
    }

    /// Hands a change to the writer, in the order of frames; the answer comes through the mailbox.
    fn change(&self, id: String, change: Result<Change, Error>) {
        let limit = self.app.config.limits.unanswered_sends;
        let parsed = convert::request_id(&id).and_then(|request| Ok((request, change?)));
        let (request, change) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return self.refuse(id, &error),
        };
        if !self.mailbox.begin_send(limit) {
            return self.refuse(id, &Error::TooManyUnanswered { limit });
        }
        let (app, mailbox, named) = (Arc::clone(&self.app), Arc::clone(&self.mailbox), id.clone());
        let reply: Reply = Box::new(move |outcome| {
            let outcome = match outcome.and_then(convert::stored) {
                Ok(receipt) => send_result::Outcome::Receipt(convert::receipt(&app, &receipt)),
                Err(error) => send_result::Outcome::Error(in_band(&error)),
            };
            mailbox.finish_send(&result(named, outcome))
        });
        let command = Command::Change {
            caller: self.caller,
            request,
            change,
        };
        if let Err(error) = self.app.journal.enqueue(command, reply) {
            let answer = result(id, send_result::Outcome::Error(in_band(&error)));
            if let Some(waker) = self.mailbox.finish_send(&answer) {
                waker.wake();
            }
        }
    }

    fn mark_read(&self, request: &MarkReadRequest) {
        let room = match self
            .app
            .check_marking(&self.caller)
            .and_then(|()| convert::room_id(&request.room_id))
        {
            Ok(room) => room,
            Err(error) => return self.refuse(String::new(), &error),
        };
        let limit = self.app.config.limits.unanswered_sends;
        if !self.mailbox.begin_send(limit) {
            return self.refuse(String::new(), &Error::TooManyUnanswered { limit });
        }
        let (app, mailbox, user) = (Arc::clone(&self.app), Arc::clone(&self.mailbox), self.caller.user);
        let reply: Reply = Box::new(move |outcome| match outcome {
            Ok(Outcome::Read(seq)) => {
                app.feed.tell_read_mark(user, room, seq, Some(mailbox.id));
                mailbox.forget_send();
                None
            }
            Ok(_) => {
                mailbox.forget_send();
                None
            }
            Err(error) => mailbox.finish_send(&result(String::new(), send_result::Outcome::Error(in_band(&error)))),
        });
        let command = Command::MarkRead {
            caller: self.caller,
            room,
            seq: request.seq,
        };
        if let Err(error) = self.app.journal.enqueue(command, reply) {
            self.mailbox.forget_send();
            self.refuse(String::new(), &error);
        }
    }

    fn refuse(&self, id: String, error: &Error) {
        // A request id is the client's; a wrong one may be anything, and is not sent back in full.
        let id = if id.len() <= 64 { id } else { String::new() };
        if let Some(waker) = self.mailbox.answer(&result(id, send_result::Outcome::Error(in_band(error)))) {
            waker.wake();
        }
    }
}

/// The message of an answer.
fn result(request_id: String, outcome: send_result::Outcome) -> Bytes {
    frames::message(Kind::SendResult(SendResult {
        request_id,
        outcome: Some(outcome),
    }))
}
