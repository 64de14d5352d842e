//! The fan-out: which streams are open on this node, and what the journal's writer tells them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use greffe_api::v1::SessionEndReason;
use greffe_api::v1::event_body::Content;
use ipnet::IpNet;

use super::mailbox::{Bounds, Load, Mailbox, Owner, Push};
use super::pages::Pages;
use super::runs::{Run, Runs};
use super::turnstile::{Turn, Turnstile};
use super::{Ending, Frame, Framed, Gone};
use crate::domain::clock::{Micros, from_timestamp, now};
use crate::domain::decide::network_is_welcome;
use crate::domain::entry::{Aside, Subject};
use crate::domain::error::Error;
use crate::domain::ids::{IdMap, RoomId, SessionId, UserId};
use crate::domain::permissions;
use crate::domain::standing::Alert;
use crate::domain::state::State;
use crate::journal::{Committed, Publish, UploadChange, View};
use crate::telemetry;
use crate::wake::wake_all;

/// A stream that is told of a room's events.
#[derive(Debug)]
struct Subscriber {
    mailbox: Arc<Mailbox>,
    /// Where the mailbox keeps the room.
    slot: usize,
    /// The first event that the reader may see.
    first_seq: i64,
}

#[derive(Debug, Default)]
struct Open {
    rooms: IdMap<RoomId, Vec<Subscriber>>,
    users: IdMap<UserId, Vec<Arc<Mailbox>>>,
    count: usize,
    closed: bool,
    draining: Option<Drain>,
}

/// What publishing a batch leads to.
#[derive(Default)]
struct Turns {
    /// Who has something to read.
    wakers: Vec<Waker>,
    /// Whose last stream was cut.
    went: Vec<UserId>,
}

/// What became of the events of a batch.
#[derive(Default)]
struct Counts {
    /// Events that wait for streams, counted for each.
    queued: u64,
    /// Streams that fell behind.
    overflowed: u64,
}

/// Whether everyone who is told of the room gets the same bytes, and goes on being told.
fn is_told_to_all(content: &Content) -> bool {
    matches!(
        content,
        Content::MessagePosted(_)
            | Content::MessageDeleted(_)
            | Content::ReactionAdded(_)
            | Content::ReactionRemoved(_)
            | Content::FileShared(_)
            | Content::FileRemoved(_)
    )
}

/// Whether texts that are in the journal are no longer shown.
fn takes_back(content: &Content) -> bool {
    matches!(
        content,
        Content::MessageEdited(_) | Content::MessageDeleted(_) | Content::ReactionRemoved(_) | Content::FileRemoved(_)
    )
}

/// Nobody new is taken for a while.
#[derive(Debug, Clone)]
pub struct Drain {
    /// Why, in the operator's words.
    pub reason: Arc<str>,
    /// When to come back.
    pub reconnect_after: Duration,
}

/// A stream that is open.
#[derive(Debug, Clone, Copy)]
pub struct OpenStream {
    /// Whose it is.
    pub owner: Owner,
    /// When it was opened.
    pub opened: Micros,
    /// How it is doing.
    pub load: Load,
}

/// Limits of the live feed.
#[derive(Debug, Clone, Copy)]
pub struct FeedLimits {
    /// How much may wait for one stream.
    pub bounds: Bounds,
    /// Connections on which one user may have streams.
    pub connections_per_user: usize,
    /// Members of a room up to which presence and typing are told.
    pub presence_members: usize,
}

/// The streams that are open on this node.
#[derive(Debug)]
pub struct Feed {
    view: View,
    limits: FeedLimits,
    frame: Frame,
    next_id: AtomicU64,
    delivered: AtomicU64,
    pages: Pages,
    turnstile: Turnstile,
    open: Mutex<Open>,
}

/// From where a stream delivers a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The room.
    pub room: RoomId,
    /// The last event that the client has.
    pub after: i64,
    /// The first event that the reader may see.
    pub first_seq: i64,
}

impl Feed {
    /// No streams yet. Their events are framed by `frame`.
    pub fn new(view: View, limits: FeedLimits, frame: Frame) -> Arc<Self> {
        Arc::new(Self {
            view,
            limits,
            frame,
            next_id: AtomicU64::new(1),
            delivered: AtomicU64::new(0),
            pages: Pages::default(),
            turnstile: Turnstile::default(),
            open: Mutex::default(),
        })
    }

    /// The state that the feed has published.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What streams read from the journal that lag.
    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Waits until it is a stream's turn to begin or to catch up, which lasts until it is dropped.
    pub async fn turn(&self) -> Turn {
        self.turnstile.turn().await
    }

    /// The message that holds the elements of a list of events.
    pub(super) fn framed(&self, elements: &[u8]) -> Framed {
        (self.frame)(elements)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream: registers it first, so that nothing published from now on is missed, and then lets `plan` look at the state and say
    /// where each room starts. What is published twice is dropped by its seq.
    ///
    /// # Errors
    /// [`Error::TooManyConnections`], [`Error::Stopping`], [`Error::Draining`], [`Error::SessionEnded`], [`Error::Banned`].
    pub(super) fn open<T>(
        &self,
        owner: Owner,
        plan: impl FnOnce(&State) -> (Vec<Start>, T),
    ) -> Result<(Arc<Mailbox>, T), Error> {
        let mailbox = Arc::new(Mailbox::new(
            self.next_id.fetch_add(1, Ordering::Relaxed),
            owner,
            self.limits.bounds,
        ));
        let mut open = self.lock();
        if open.closed {
            return Err(Error::Stopping);
        }
        if let Some(drain) = &open.draining {
            return Err(Error::Draining {
                retry_after: drain.reconnect_after,
                reason: drain.reason.to_string(),
            });
        }
        let streams = open.users.get(&owner.user).map_or(&[][..], Vec::as_slice);
        let connections: HashSet<u64> = streams.iter().map(|stream| stream.owner.connection).collect();
        let limit = self.limits.connections_per_user;
        if !connections.contains(&owner.connection) && connections.len() >= limit {
            return Err(Error::TooManyConnections { limit });
        }
        // The feed is locked, so nothing is published between this look and being registered.
        let planned = self.view.read(|state| -> Result<_, Error> {
            let alive = state.session(owner.session).is_some_and(|session| session.user == owner.user);
            if !alive {
                return Err(Error::SessionEnded);
            }
            // It may have been banned since the call was let in.
            network_is_welcome(state, owner.address.ip(), now())?;
            let (starts, more) = plan(state);
            let heads = starts
                .iter()
                .map(|start| state.room(start.room).map_or(0, |room| room.head_seq));
            Ok((
                starts.iter().copied().zip(heads.collect::<Vec<_>>()).collect::<Vec<_>>(),
                more,
            ))
        });
        let (starts, more) = planned?;
        for (start, head) in starts {
            let slot = mailbox.enter(start.room, start.after, head);
            let subscriber = Subscriber {
                mailbox: Arc::clone(&mailbox),
                slot,
                first_seq: start.first_seq,
            };
            open.rooms.entry(start.room).or_default().push(subscriber);
        }
        let streams = open.users.entry(owner.user).or_default();
        let came = streams.is_empty();
        streams.push(Arc::clone(&mailbox));
        open.count += 1;
        telemetry::streams_open(open.count);
        let wakers = if came {
            self.tell_presence(&open, owner.user, true)
        } else {
            Vec::new()
        };
        drop(open);
        wake_all(wakers);
        Ok((mailbox, more))
    }

    /// Forgets a stream.
    pub(super) fn close(&self, mailbox: &Arc<Mailbox>) {
        let mut open = self.lock();
        let went = open.forget(&self.view, std::slice::from_ref(mailbox));
        let wakers: Vec<Waker> = went
            .into_iter()
            .flat_map(|user| self.tell_presence(&open, user, false))
            .collect();
        drop(open);
        wake_all(wakers);
    }

    /// Tells those who share a small room with `user`.
    fn tell_presence(&self, open: &Open, user: UserId, online: bool) -> Vec<Waker> {
        let rooms: Vec<RoomId> = self.view.read(|state| {
            let small = |room: &crate::domain::state::Room| state.member_count(room) <= self.limits.presence_members;
            state
                .rooms_of(user)
                .filter(|(room, member)| member.role.is_in() && small(room))
                .map(|(room, _)| room.id)
                .collect()
        });
        let mut told = HashSet::new();
        let subscribers = rooms.iter().filter_map(|room| open.rooms.get(room)).flatten();
        subscribers
            .map(|subscriber| &subscriber.mailbox)
            .filter(|mailbox| mailbox.owner.user != user && told.insert(mailbox.id))
            .filter_map(|mailbox| mailbox.presence(user, online))
            .collect()
    }

    /// Of `users`, those who have a stream open.
    pub fn online(&self, users: impl IntoIterator<Item = UserId>) -> HashSet<UserId> {
        let open = self.lock();
        users.into_iter().filter(|user| open.users.contains_key(user)).collect()
    }

    /// Everyone who has a stream open.
    pub fn everyone_online(&self) -> HashSet<UserId> {
        self.lock().users.keys().copied().collect()
    }

    /// How many streams a session has open.
    pub fn streams_of(&self, user: UserId, session: SessionId) -> usize {
        self.lock().users.get(&user).map_or(0, |streams| {
            streams.iter().filter(|stream| stream.owner.session == session).count()
        })
    }

    /// All streams of some users, or of everyone.
    pub fn streams(&self, users: Option<&[UserId]>) -> Vec<OpenStream> {
        let open = self.lock();
        let streams: Vec<Arc<Mailbox>> = match users {
            Some(users) => users
                .iter()
                .filter_map(|user| open.users.get(user))
                .flatten()
                .cloned()
                .collect(),
            None => open.users.values().flatten().cloned().collect(),
        };
        drop(open);
        let open_stream = |stream: Arc<Mailbox>| OpenStream {
            owner: stream.owner,
            opened: stream.opened,
            load: stream.load(),
        };
        streams.into_iter().map(open_stream).collect()
    }

    /// How many events were handed to streams.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// How many users have a stream open.
    pub fn users_online(&self) -> usize {
        self.lock().users.len()
    }

    /// Whether nobody new is taken.
    pub fn draining(&self) -> Option<Drain> {
        self.lock().draining.clone()
    }

    /// Takes nobody new from now on, and ends every stream; or takes people again. Returns how many streams were ended.
    pub fn drain(&self, drain: Option<Drain>) -> usize {
        let mut open = self.lock();
        open.draining.clone_from(&drain);
        let Some(Drain {
            reason,
            reconnect_after,
        }) = drain
        else {
            return 0;
        };
        let all: Vec<Arc<Mailbox>> = open.users.values().flatten().cloned().collect();
        let ended = end_all(&all, &Ending::Draining(reason, reconnect_after));
        open.forget(&self.view, &all);
        ended
    }

    /// How many streams are open.
    pub fn count(&self) -> usize {
        self.lock().count
    }

    /// Tells the others in a room that somebody types. In rooms with too many members nobody is told.
    pub fn tell_typing(&self, room: RoomId, user: UserId, typing: bool) {
        let open = self.lock();
        let subscribers = open.rooms.get(&room).map_or(&[][..], Vec::as_slice);
        let others = subscribers
            .iter()
            .map(|subscriber| &subscriber.mailbox)
            .filter(|mailbox| mailbox.owner.user != user);
        let wakers: Vec<Waker> = others.filter_map(|mailbox| mailbox.typing(room, user, typing)).collect();
        drop(open);
        wake_all(wakers);
    }

    /// Whether a room is small enough for presence and typing.
    pub fn is_small(&self, state: &State, room: &crate::domain::state::Room) -> bool {
        state.member_count(room) <= self.limits.presence_members
    }

    /// Tells a user's other streams how far they have read.
    pub fn tell_read_mark(&self, user: UserId, room: RoomId, seq: i64, except: Option<u64>) {
        let open = self.lock();
        let streams = open.users.get(&user).map_or(&[][..], Vec::as_slice);
        let others = streams.iter().filter(|stream| Some(stream.id) != except);
        let wakers: Vec<Waker> = others.filter_map(|stream| stream.read_mark(room, seq)).collect();
        drop(open);
        wake_all(wakers);
    }

    /// Ends every stream, and lets no new one open.
    pub fn stop(&self, why: &Ending) {
        let mut open = self.lock();
        open.closed = true;
        let all: Vec<Arc<Mailbox>> = open.users.values().flatten().cloned().collect();
        drop(open);
        end_all(&all, why);
    }
}

/// Ends streams, and returns how many had not ended. Their readers are woken.
fn end_all(streams: &[Arc<Mailbox>], why: &Ending) -> usize {
    let ended = streams.iter().filter(|stream| !stream.has_ended()).count();
    let wakers: Vec<Waker> = streams.iter().filter_map(|stream| stream.end(why.clone())).collect();
    wake_all(wakers);
    ended
}

impl Open {
    /// Lets events of a room wait for everyone who is told of it. `shown` says which bytes somebody gets who sees the room from a seq on.
    fn deliver<'a>(
        &self,
        room: RoomId,
        seqs: (i64, i64),
        shown: impl Fn(i64) -> &'a Framed,
        turns: &mut Turns,
        counts: &mut Counts,
    ) {
        for subscriber in self.rooms.get(&room).into_iter().flatten() {
            let (waker, push) = subscriber.mailbox.events(subscriber.slot, seqs, shown(subscriber.first_seq));
            turns.wakers.extend(waker);
            match push {
                Push::Queued => counts.queued += seqs.1.abs_diff(seqs.0) + 1,
                Push::Overflowed => counts.overflowed += 1,
                Push::Skipped => {}
            }
        }
    }

    fn unsubscribe(&mut self, room: RoomId, goes: impl Fn(&Mailbox) -> bool) {
        if let Some(subscribers) = self.rooms.get_mut(&room) {
            subscribers.retain(|subscriber| !goes(&subscriber.mailbox));
            if subscribers.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    /// A user is in a room from the event `seq` on.
    fn enter(&mut self, view: &View, room: RoomId, user: UserId, seq: i64, wakers: &mut Vec<Waker>) {
        let place = view.read(|state| permissions::member(state, user, room).map(|(_, member)| member.first_seq));
        // Who is in the state no more was put out by a later event of the same batch, and sees nothing from before it.
        let first_seq = place.unwrap_or(seq);
        for stream in self.users.get(&user).into_iter().flatten() {
            let slot = stream.enter(room, seq - 1, seq - 1);
            let subscribers = self.rooms.entry(room).or_default();
            subscribers.push(Subscriber {
                mailbox: Arc::clone(stream),
                slot,
                first_seq,
            });
            wakers.extend(stream.state(room));
        }
    }

    fn tell_state(&self, room: RoomId, user: UserId, wakers: &mut Vec<Waker>) {
        wakers.extend(
            self.users
                .get(&user)
                .into_iter()
                .flatten()
                .filter_map(|stream| stream.state(room)),
        );
    }

    fn leave(&mut self, room: RoomId, user: UserId, why: &Gone, wakers: &mut Vec<Waker>) {
        self.unsubscribe(room, |mailbox| mailbox.owner.user == user);
        wakers.extend(
            self.users
                .get(&user)
                .into_iter()
                .flatten()
                .filter_map(|stream| stream.leave(room, why.clone())),
        );
    }

    /// Ends the streams of `user`, or of everyone, that `is_cut` names, and returns how many there were.
    ///
    /// They are forgotten at once: a client that does not read may keep its end open for long, and must neither seem to be there nor count.
    fn cut(
        &mut self,
        view: &View,
        user: Option<UserId>,
        is_cut: impl Fn(&Owner) -> bool,
        why: &Ending,
        turns: &mut Turns,
    ) -> usize {
        let of_user = user.map(|user| self.users.get(&user).into_iter().flatten());
        let of_all = user.is_none().then(|| self.users.values().flatten());
        let streams = of_user.into_iter().flatten().chain(of_all.into_iter().flatten());
        let cut: Vec<Arc<Mailbox>> = streams.filter(|stream| is_cut(&stream.owner)).cloned().collect();
        // One that ended already is forgotten, too: its client may never read that it did.
        let count = cut.iter().filter(|stream| !stream.has_ended()).count();
        turns.wakers.extend(cut.iter().filter_map(|stream| stream.end(why.clone())));
        turns.went.extend(self.forget(view, &cut));
        count
    }

    /// Forgets streams, and tells for whom it was the last one. Each room is gone through once, however many streams go.
    fn forget(&mut self, view: &View, streams: &[Arc<Mailbox>]) -> Vec<UserId> {
        let ids: HashSet<u64> = streams.iter().map(|stream| stream.id).collect();
        let users: HashSet<UserId> = streams.iter().map(|stream| stream.owner.user).collect();
        let rooms: HashSet<RoomId> = view.read(|state| {
            let rooms_of = |user: &UserId| state.rooms_of(*user).map(|(room, _)| room.id).collect::<Vec<_>>();
            users.iter().flat_map(rooms_of).collect()
        });
        for room in rooms {
            self.unsubscribe(room, |subscriber| ids.contains(&subscriber.id));
        }
        let mut went = Vec::new();
        for user in users {
            let Some(streams) = self.users.get_mut(&user) else {
                continue;
            };
            let before = streams.len();
            streams.retain(|stream| !ids.contains(&stream.id));
            self.count -= before - streams.len();
            if streams.is_empty() {
                self.users.remove(&user);
                went.push(user);
            }
        }
        telemetry::streams_open(self.count);
        went
    }

    fn alert(&self, alert: Alert, wakers: &mut Vec<Waker>) -> usize {
        let alert = Arc::new(alert);
        let mut count = 0;
        for stream in self.users.values().flatten().filter(|stream| !stream.has_ended()) {
            count += 1;
            wakers.extend(stream.alert(&alert));
        }
        count
    }

    /// Changes who is told of what, as the event says.
    ///
    /// `owners` are those of the sessions that the batch ends.
    fn follow(&mut self, view: &View, event: &Committed, owners: &HashMap<SessionId, UserId>, turns: &mut Turns) {
        let (entry, draft) = (&event.entry, &event.entry.draft);
        let wakers = &mut turns.wakers;
        let mut reached = 0;
        match (&draft.content, draft.room, draft.subject) {
            (Content::RoomCreated(created), Some(room), _) => {
                let pair = created.direct_user_ids.iter().filter_map(|id| id.parse().ok());
                let people: Vec<UserId> = if created.direct_user_ids.is_empty() {
                    draft.actor.into_iter().collect()
                } else {
                    pair.collect()
                };
                for user in people {
                    self.enter(view, room, user, entry.seq, wakers);
                }
            }
            (Content::MemberJoined(_), Some(room), Subject::User(user)) => {
                self.enter(view, room, user, entry.seq, wakers);
            }
            (Content::MemberInvited(_) | Content::MemberRoleChanged(_), Some(room), Subject::User(user)) => {
                self.tell_state(room, user, wakers);
            }
            (Content::MemberLeft(_), Some(room), Subject::User(user)) => self.leave(room, user, &Gone::Left, wakers),
            (Content::MemberRemoved(removed), Some(room), Subject::User(user)) => {
                self.leave(room, user, &Gone::Removed(removed.reason.clone()), wakers);
            }
            (Content::SessionEnded(ended), None, Subject::Session(session)) => {
                let why = Ending::Session(ended.reason(), ended.message.as_str().into());
                // A session that is not known before the batch has no stream.
                if let Some(owner) = owners.get(&session) {
                    reached = self.cut(view, Some(*owner), |owner| owner.session == session, &why, turns);
                }
            }
            (Content::BanCreated(ban), None, _) => {
                if let Ok(network) = ban.network.parse::<IpNet>() {
                    let why = Ending::Session(SessionEndReason::Banned, ban.reason.as_str().into());
                    let inside = |owner: &Owner| network.contains(&owner.address.ip().to_canonical());
                    reached = self.cut(view, None, inside, &why, turns);
                }
            }
            (Content::AlertSent(sent), None, _) => {
                let alert = Alert {
                    index: entry.index,
                    text: sent.text.clone(),
                    time: entry.time,
                    until: sent.valid_until.as_ref().map_or(entry.time, from_timestamp),
                };
                reached = self.alert(alert, wakers);
            }
            _ => {}
        }
        if let Some(Aside::Reaches(count) | Aside::Orders(_, count)) = &draft.aside {
            count.add(reached);
        }
    }
}

impl Publish for Arc<Feed> {
    fn erased(&self, rooms: &BTreeSet<RoomId>) {
        for room in rooms {
            self.pages.forget(*room);
        }
    }

    fn publish(&self, batch: &[Committed]) -> Vec<Waker> {
        if batch.is_empty() {
            return Vec::new();
        }
        // Locked before the state changes, so that a stream that opens sees the state that the feed has published, and no later one.
        let mut open = self.lock();
        let ended = batch
            .iter()
            .filter_map(|event| match (&event.entry.draft.content, event.entry.draft.subject) {
                (Content::SessionEnded(_), Subject::Session(session)) => Some(session),
                _ => None,
            });
        let owners: HashMap<SessionId, UserId> = self.view.read(|state| {
            ended
                .filter_map(|session| state.session(session).map(|known| (session, known.user)))
                .collect()
        });
        self.view.write(|state| {
            for event in batch {
                state.apply(&event.entry);
            }
        });
        for event in batch {
            let draft = &event.entry.draft;
            if let Some(room) = draft.room.filter(|_| takes_back(&draft.content)) {
                self.pages.forget(room);
            }
        }
        let mut turns = Turns::default();
        let mut counts = Counts::default();
        let mut runs = Runs::default();
        let hand_over = |open: &Open, run: Run, turns: &mut Turns, counts: &mut Counts| {
            let framed = (self.frame)(&run.elements);
            open.deliver(run.room, run.seqs, |_| &framed, turns, counts);
        };
        for event in batch {
            let (entry, draft) = (&event.entry, &event.entry.draft);
            if let Some(room) = draft.room.filter(|_| is_told_to_all(&draft.content)) {
                let full = runs.add(room, entry.seq, &event.element);
                if let Some(run) = full {
                    hand_over(&open, run, &mut turns, &mut counts);
                }
                continue;
            }
            // What changes who is told comes between what was before it and what is after it.
            for run in runs.take() {
                hand_over(&open, run, &mut turns, &mut counts);
            }
            open.follow(&self.view, event, &owners, &mut turns);
            let Some(room) = draft.room else { continue };
            let whole = (self.frame)(&event.element);
            let bare = event.bare.as_ref().map(|bare| (self.frame)(bare));
            // A text is not shown to who may not see the message that it belongs to.
            let shown = |first_seq| bare.as_ref().filter(|_| draft.target_seq < first_seq).unwrap_or(&whole);
            open.deliver(room, (entry.seq, entry.seq), shown, &mut turns, &mut counts);
        }
        for run in runs.take() {
            hand_over(&open, run, &mut turns, &mut counts);
        }
        for user in std::mem::take(&mut turns.went) {
            turns.wakers.extend(self.tell_presence(&open, user, false));
        }
        drop(open);
        self.delivered.fetch_add(counts.queued, Ordering::Relaxed);
        telemetry::live_events(counts.queued);
        for _ in 0..counts.overflowed {
            telemetry::live_catch_up();
        }
        turns.wakers
    }

    fn uploads(&self, changes: &[UploadChange]) {
        if !changes.is_empty() {
            self.view.write(|state| changes.iter().for_each(|change| change.apply(state)));
        }
    }

    fn touch(&self, sessions: &[(SessionId, Micros)]) {
        if !sessions.is_empty() {
            self.view
                .write(|state| sessions.iter().for_each(|(session, at)| state.touch(*session, *at)));
        }
    }
}
