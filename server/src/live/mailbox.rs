//! What waits for one stream. Bounded: what is in the journal is forgotten and read again, what only overwrites itself is replaced, and
//! answers that are not read end the stream.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{Delivery, Ending, Framed, Gone, Waiting};
use crate::domain::clock::{Micros, now};
use crate::domain::ids::{IdMap, RoomId, SessionId, UserId};
use crate::domain::standing::{ALERTS, Alert};

/// Bytes for answers that are made ready with the first one.
const ANSWERS_AT_ONCE: usize = 1024;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of events.
    pub events: usize,
    /// Bytes of answers.
    pub answers: usize,
}

/// Whose stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// The connection.
    pub connection: u64,
    /// The address at its other end.
    pub address: SocketAddr,
}

/// How a stream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Bytes of frames that were handed to the connection.
    pub sent: u64,
    /// Bytes of events and answers that wait.
    pub queued: usize,
    /// Whether it reads the journal to catch up.
    pub catching_up: bool,
}

/// A room that a stream delivers.
#[derive(Debug, Clone, Copy)]
struct Slot {
    room: RoomId,
    /// The last event that was handed to the transport.
    delivered: i64,
    /// The last event that was handed over or waits in the mailbox.
    queued: i64,
    /// The newest event that was published while the stream was behind. None: the stream is live.
    behind: Option<i64>,
    /// The reader is not in the room any more.
    gone: bool,
    /// Counts how often the reader came to the room, so that a page that was read for an earlier stay is not delivered.
    stay: u32,
}

/// A room whose next events must be read from the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Where the mailbox keeps the room.
    pub slot: usize,
    /// The room.
    pub room: RoomId,
    /// The last event that was delivered.
    pub after: i64,
    stay: u32,
}

/// What a stream does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Hand this over.
    Deliver(Delivery),
    /// Read this from the journal.
    Read(Lag),
}

/// A change of rooms that waits: being put out of a room, being in it (again), or both in this order.
#[derive(Debug, Default)]
struct Turn {
    gone: Option<Gone>,
    state: bool,
}

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Slot>,
    slot_of: IdMap<RoomId, usize>,
    /// Answers, and events of all rooms.
    waiting: Waiting,
    /// Bytes of the events that wait. They are shared with the others in a room, but count for each.
    event_bytes: usize,
    /// Slots with events that wait.
    filled: Vec<usize>,
    turns: IdMap<RoomId, Turn>,
    turn_order: VecDeque<RoomId>,
    read_marks: BTreeMap<RoomId, i64>,
    typing: BTreeMap<(RoomId, UserId), bool>,
    presence: BTreeMap<UserId, bool>,
    alerts: VecDeque<Arc<Alert>>,
    /// The slot that was last read from the journal.
    last_read: usize,
    /// Whether a slot may be behind.
    lagging: bool,
    ending: Option<Ending>,
    caught_up_told: bool,
    ended_told: bool,
    waker: Option<Waker>,
}

/// What waits for one stream.
#[derive(Debug)]
pub struct Mailbox {
    /// Names the stream among those of this server.
    pub id: u64,
    /// Whose it is.
    pub owner: Owner,
    /// When it was opened.
    pub opened: Micros,
    bounds: Bounds,
    /// Bytes of frames that were handed to the connection.
    sent: AtomicU64,
    unanswered: AtomicUsize,
    inner: Mutex<Inner>,
}

impl Mailbox {
    /// An empty one, before the stream has rooms.
    pub fn new(id: u64, owner: Owner, bounds: Bounds) -> Self {
        Self {
            id,
            owner,
            opened: now(),
            bounds,
            sent: AtomicU64::new(0),
            unanswered: AtomicUsize::new(0),
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that were handed to the connection.
    pub fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How the stream is doing.
    pub fn load(&self) -> Load {
        let inner = self.lock();
        Load {
            sent: self.sent.load(Ordering::Relaxed),
            queued: inner.event_bytes + inner.waiting.answers.len(),
            catching_up: inner.slots.iter().any(|slot| slot.behind.is_some() && !slot.gone),
        }
    }

    /// Counts a send that waits for its answer, unless `limit` of them wait already.
    pub fn begin_send(&self, limit: usize) -> bool {
        // One task sends on a stream, so nobody counts between the two steps.
        let free = self.unanswered.load(Ordering::Acquire) < limit;
        if free {
            self.unanswered.fetch_add(1, Ordering::AcqRel);
        }
        free
    }

    /// Counts an answer to a send, and lets it wait.
    pub fn finish_send(&self, answer: &[u8]) -> Option<Waker> {
        self.unanswered.fetch_sub(1, Ordering::AcqRel);
        self.answer(answer)
    }

    /// Counts an answer that is not told.
    pub fn forget_send(&self) {
        self.unanswered.fetch_sub(1, Ordering::AcqRel);
    }

    /// Lets the message of an answer wait. If too many wait already, the stream ends.
    pub fn answer(&self, answer: &[u8]) -> Option<Waker> {
        let mut inner = self.lock();
        if inner.ending.is_some() {
            return None;
        }
        if inner.waiting.answers.len() + answer.len() > self.bounds.answers {
            return inner.end(Ending::SlowReader);
        }
        if inner.waiting.answers.is_empty() {
            // One who sends much gets several at once.
            inner.waiting.answers.reserve(ANSWERS_AT_ONCE);
        }
        inner.waiting.answers.extend_from_slice(answer);
        inner.waker.take()
    }

    /// Begins to deliver a room after the event `after`. If `published` is greater, the journal is read up to there first.
    ///
    /// Returns where the room is kept, for [`Mailbox::events`].
    pub(super) fn enter(&self, room: RoomId, after: i64, published: i64) -> usize {
        let mut inner = self.lock();
        let behind = (published > after).then_some(published);
        inner.lagging |= behind.is_some();
        if let Some(number) = inner.slot_of.get(&room).copied() {
            let slot = &mut inner.slots[number];
            // Seqs only grow: what was delivered of an earlier stay, or read from the journal a moment ago, is not delivered again.
            let after = after.max(slot.delivered);
            if slot.gone {
                *slot = Slot {
                    room,
                    delivered: after,
                    queued: after,
                    behind,
                    gone: false,
                    stay: slot.stay + 1,
                };
            }
            return number;
        }
        inner.slots.push(Slot {
            room,
            delivered: after,
            queued: after,
            behind,
            gone: false,
            stay: 0,
        });
        let number = inner.slots.len() - 1;
        inner.slot_of.insert(room, number);
        number
    }

    /// Tells the reader of a room's state before anything else of the room.
    pub(super) fn state(&self, room: RoomId) -> Option<Waker> {
        let mut inner = self.lock();
        if inner.ending.is_some() {
            return None;
        }
        inner.turn(room).state = true;
        inner.waker.take()
    }

    /// Delivers no more of a room, not even what waits.
    pub(super) fn leave(&self, room: RoomId, why: Gone) -> Option<Waker> {
        let mut inner = self.lock();
        if inner.ending.is_some() {
            return None;
        }
        if let Some(number) = inner.slot_of.get(&room).copied() {
            if inner.slots[number].queued != inner.slots[number].delivered {
                inner.forget_events();
            }
            inner.slots[number].gone = true;
            inner.slots[number].behind = None;
        }
        inner.read_marks.remove(&room);
        inner.typing.retain(|(typed_in, _), _| *typed_in != room);
        let turn = inner.turn(room);
        turn.state = false;
        turn.gone = Some(why);
        inner.waker.take()
    }

    /// Lets the events `first` to `last` of a room wait, if the stream is not behind in it.
    pub(super) fn events(&self, slot: usize, (first, last): (i64, i64), events: &Framed) -> (Option<Waker>, Push) {
        let mut inner = self.lock();
        if inner.ending.is_some() {
            return (None, Push::Skipped);
        }
        let limit = self.bounds.events;
        let (waiting, more) = (inner.event_bytes, events.message.len());
        let Some(place) = inner.slots.get_mut(slot).filter(|place| !place.gone) else {
            return (None, Push::Skipped);
        };
        if let Some(newest) = &mut place.behind {
            *newest = last.max(*newest);
            return (inner.waker.take(), Push::Skipped);
        }
        if last <= place.queued {
            return (None, Push::Skipped);
        }
        // A part of them may have been read from the journal a moment ago; then the rest is read there, too.
        if first != place.queued + 1 || (waiting + more > limit && waiting > 0) {
            inner.forget_events();
            inner.fall_behind(slot, last);
            return (inner.waker.take(), Push::Overflowed);
        }
        let is_new = place.queued == place.delivered;
        place.queued = last;
        if is_new {
            inner.filled.push(slot);
        }
        inner.event_bytes += more;
        if inner.waiting.first.is_none() {
            inner.waiting.first = Some(events.clone());
        } else {
            inner.waiting.more.push(events.clone());
        }
        (inner.waker.take(), Push::Queued)
    }

    /// Lets the newest read mark of a room wait.
    pub(super) fn read_mark(&self, room: RoomId, seq: i64) -> Option<Waker> {
        let mut inner = self.lock();
        if inner.ending.is_some() {
            return None;
        }
        // A mark that was set before the reader left may be told after it.
        if inner.slot_of.get(&room).is_none_or(|slot| inner.slots[*slot].gone) {
            return None;
        }
        inner.read_marks.insert(room, seq);
        inner.waker.take()
    }

    /// Lets the newest word on who types wait.
    pub(super) fn typing(&self, room: RoomId, user: UserId, typing: bool) -> Option<Waker> {
        let mut inner = self.lock();
        if inner.ending.is_some() {
            return None;
        }
        inner.typing.insert((room, user), typing);
        inner.waker.take()
    }

    /// Lets the newest word on who is there wait.
    pub(super) fn presence(&self, user: UserId, online: bool) -> Option<Waker> {
        let mut inner = self.lock();
        if inner.ending.is_some() {
            return None;
        }
        inner.presence.insert(user, online);
        inner.waker.take()
    }

    /// Lets an alert wait. The number is that of alerts that are shown at a time.
    pub(super) fn alert(&self, alert: &Arc<Alert>) -> Option<Waker> {
        let mut inner = self.lock();
        if inner.ending.is_some() {
            return None;
        }
        if inner.alerts.len() == ALERTS {
            inner.alerts.pop_front();
        }
        inner.alerts.push_back(Arc::clone(alert));
        inner.waker.take()
    }

    /// Ends the stream. Unless the server stops, nothing that waits is delivered any more.
    pub fn end(&self, why: Ending) -> Option<Waker> {
        self.lock().end(why)
    }

    /// Whether the stream has been ended, told or not.
    pub fn has_ended(&self) -> bool {
        self.lock().ending.is_some()
    }

    /// Notes that events of a room up to `to` were read from the journal and are about to be delivered.
    ///
    /// Returns whether they may be: the reader may have been removed meanwhile.
    pub(super) fn caught(&self, lag: Lag, to: i64) -> bool {
        let mut inner = self.lock();
        if inner.ending.is_some() {
            return false;
        }
        let Some(slot) = inner.slots.get_mut(lag.slot) else {
            return false;
        };
        if slot.gone || slot.stay != lag.stay || slot.delivered != lag.after || slot.behind.is_none() {
            return false;
        }
        (slot.delivered, slot.queued) = (to, to);
        // Nothing can be published between this look and going live: publishing takes the same lock.
        slot.behind = slot.behind.filter(|newest| *newest > to);
        true
    }

    /// What comes next, or a wake-up when something does.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<Next> {
        let mut inner = self.lock();
        if let Some(next) = inner.next() {
            return Poll::Ready(next);
        }
        // Mostly it is the same task that asks again.
        if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            inner.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    /// It waits.
    Queued,
    /// The stream has it, will read it, or may not have it.
    Skipped,
    /// It did not fit, and the stream is behind from now on.
    Overflowed,
}

impl Inner {
    fn turn(&mut self, room: RoomId) -> &mut Turn {
        if !self.turns.contains_key(&room) {
            self.turn_order.push_back(room);
        }
        self.turns.entry(room).or_default()
    }

    fn end(&mut self, why: Ending) -> Option<Waker> {
        if self.ending.is_none() {
            let is_gentle = why.is_gentle();
            self.ending = Some(why);
            if !is_gentle {
                self.alerts.clear();
                self.waiting = Waiting::default();
                self.event_bytes = 0;
                self.turns.clear();
                self.turn_order.clear();
            }
            self.read_marks.clear();
            self.typing.clear();
            self.presence.clear();
        }
        self.waker.take()
    }

    /// Forgets the events that wait: their rooms are behind, from what was delivered.
    fn forget_events(&mut self) {
        (self.waiting.first, self.waiting.more) = (None, Vec::new());
        self.event_bytes = 0;
        for number in self.filled.drain(..) {
            let slot = &mut self.slots[number];
            slot.behind.get_or_insert(slot.queued);
            slot.queued = slot.delivered;
            self.lagging = true;
        }
    }

    /// What was published of a room up to `newest` is to be read from the journal.
    fn fall_behind(&mut self, slot: usize, newest: i64) {
        self.slots[slot].behind = Some(newest);
        self.lagging = true;
    }

    fn next(&mut self) -> Option<Next> {
        if self.ended_told {
            return None;
        }
        if let Some(alert) = self.alerts.pop_front() {
            return Some(Next::Deliver(Delivery::Alert(alert)));
        }
        if let Some(delivery) = self.next_turn() {
            return Some(Next::Deliver(delivery));
        }
        if self.waiting.first.is_some() || !self.waiting.answers.is_empty() {
            for number in self.filled.drain(..) {
                let slot = &mut self.slots[number];
                slot.delivered = slot.queued;
            }
            self.event_bytes = 0;
            // Nothing is kept of the buffers: an idle stream costs no more than its slots.
            return Some(Next::Deliver(Delivery::Waiting(std::mem::take(&mut self.waiting))));
        }
        if let Some(why) = self.ending.clone() {
            self.ended_told = true;
            return Some(Next::Deliver(Delivery::Ended(why)));
        }
        if let Some(lag) = self.next_lag() {
            return Some(Next::Read(lag));
        }
        if !self.caught_up_told {
            self.caught_up_told = true;
            return Some(Next::Deliver(Delivery::CaughtUp));
        }
        if let Some((room, seq)) = self.read_marks.pop_first() {
            return Some(Next::Deliver(Delivery::ReadMark(room, seq)));
        }
        if let Some(((room, user), typing)) = self.typing.pop_first() {
            return Some(Next::Deliver(Delivery::Typing(room, user, typing)));
        }
        if !self.presence.is_empty() {
            return Some(Next::Deliver(Delivery::Presence(
                std::mem::take(&mut self.presence).into_iter().collect(),
            )));
        }
        None
    }

    /// Rooms that lag take turns, so that one that is written faster than it is read holds up no other.
    fn next_lag(&mut self) -> Option<Lag> {
        if !self.lagging {
            return None;
        }
        let count = self.slots.len();
        let turns = (0..count).map(|turn| (self.last_read + 1 + turn) % count);
        let lags = |number: &usize| self.slots[*number].behind.is_some() && !self.slots[*number].gone;
        let Some(number) = turns.into_iter().find(lags) else {
            self.lagging = false;
            return None;
        };
        self.last_read = number;
        let slot = &self.slots[number];
        Some(Lag {
            slot: number,
            room: slot.room,
            after: slot.delivered,
            stay: slot.stay,
        })
    }

    fn next_turn(&mut self) -> Option<Delivery> {
        let room = *self.turn_order.front()?;
        let turn = self.turns.get_mut(&room)?;
        if let Some(gone) = turn.gone.take() {
            if !turn.state {
                self.forget_turn(room);
            }
            return Some(Delivery::Gone(room, gone));
        }
        self.forget_turn(room);
        Some(Delivery::State(room))
    }

    fn forget_turn(&mut self, room: RoomId) {
        self.turns.remove(&room);
        self.turn_order.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use greffe_api::v1::SessionEndReason;
    use proptest::prelude::*;

    use super::*;

    fn mailbox(events: usize) -> Mailbox {
        let owner = Owner {
            user: UserId::random(),
            session: SessionId::random(),
            connection: 1,
            address: "127.0.0.1:1".parse().unwrap(),
        };
        Mailbox::new(1, owner, Bounds { events, answers: 100 })
    }

    fn revoked() -> Ending {
        Ending::Session(SessionEndReason::Revoked, "".into())
    }

    fn next(mailbox: &Mailbox) -> Option<Next> {
        mailbox.lock().next()
    }

    /// Events, each of which is a number.
    fn framed(values: impl IntoIterator<Item = i64>) -> Framed {
        let message: Vec<u8> = values.into_iter().flat_map(i64::to_be_bytes).collect();
        Framed {
            message: message.into(),
            elements_at: 0,
        }
    }

    fn push(mailbox: &Mailbox, slot: usize, seq: i64) -> Push {
        mailbox.events(slot, (seq, seq), &framed([seq])).1
    }

    fn numbers(waiting: &Waiting) -> Vec<i64> {
        let events = waiting.first.iter().chain(&waiting.more);
        let numbers = events.flat_map(|events| events.elements().as_chunks::<8>().0);
        numbers.map(|number| i64::from_be_bytes(*number)).collect()
    }

    #[test]
    fn events_that_wait_are_handed_over_together() {
        let (mailbox, room) = (mailbox(100), RoomId::random());
        let slot = mailbox.enter(room, 4, 4);
        for seq in 5..8 {
            assert_eq!(push(&mailbox, slot, seq), Push::Queued);
        }
        assert_eq!(push(&mailbox, slot, 7), Push::Skipped);
        mailbox.answer(b"an answer");
        let Some(Next::Deliver(Delivery::Waiting(waiting))) = next(&mailbox) else {
            panic!("events wait")
        };
        assert_eq!(
            (numbers(&waiting), &waiting.answers[..]),
            (vec![5, 6, 7], &b"an answer"[..])
        );
        assert_eq!(next(&mailbox), Some(Next::Deliver(Delivery::CaughtUp)));
        assert_eq!(next(&mailbox), None);
    }

    #[test]
    fn who_leaves_gets_nothing_that_waits_of_that_room() {
        let (mailbox, left, kept) = (mailbox(100), RoomId::random(), RoomId::random());
        let (a, b) = (mailbox.enter(left, 0, 0), mailbox.enter(kept, 0, 0));
        let _ = (push(&mailbox, a, 1), push(&mailbox, b, 1));
        mailbox.leave(left, Gone::Left);
        assert_eq!(next(&mailbox), Some(Next::Deliver(Delivery::Gone(left, Gone::Left))));
        let Some(Next::Read(lag)) = next(&mailbox) else {
            panic!("the other room's event is read again")
        };
        assert_eq!((lag.room, lag.after), (kept, 0));
        assert_eq!(push(&mailbox, a, 2), Push::Skipped);
    }

    #[test]
    fn a_page_read_before_a_removal_is_not_delivered_after_it() {
        let (mailbox, room) = (mailbox(100), RoomId::random());
        let slot = mailbox.enter(room, 0, 9);
        let Some(Next::Read(lag)) = next(&mailbox) else {
            panic!("the stream is behind")
        };
        mailbox.leave(room, Gone::Removed("why".into()));
        assert!(!mailbox.caught(lag, 9));
        assert_eq!(mailbox.enter(room, 20, 20), slot);
        assert!(!mailbox.caught(lag, 9));
    }

    #[test]
    fn a_stream_that_was_ended_gets_nothing_any_more() {
        let (mailbox, room, user) = (mailbox(100), RoomId::random(), UserId::random());
        let slot = mailbox.enter(room, 0, 0);
        mailbox.end(revoked());
        assert_eq!(push(&mailbox, slot, 1), Push::Skipped);
        mailbox.state(RoomId::random());
        mailbox.leave(room, Gone::Left);
        mailbox.presence(user, true);
        mailbox.typing(room, user, true);
        mailbox.read_mark(room, 1);
        mailbox.answer(b"late");
        assert_eq!(next(&mailbox), Some(Next::Deliver(Delivery::Ended(revoked()))));
        assert_eq!(next(&mailbox), None);
    }

    #[test]
    fn a_room_that_always_lags_does_not_hold_up_another() {
        let (mailbox, busy, quiet) = (mailbox(100), RoomId::random(), RoomId::random());
        let (a, _) = (mailbox.enter(busy, 0, 100), mailbox.enter(quiet, 0, 5));
        let mut read = Vec::new();
        for round in 1..4 {
            let Some(Next::Read(lag)) = next(&mailbox) else {
                panic!("both rooms lag")
            };
            read.push(lag.room);
            assert!(mailbox.caught(lag, lag.after + 1));
            push(&mailbox, a, 100 + round);
        }
        assert!(read.contains(&quiet) && read.contains(&busy));
    }

    #[test]
    fn answers_that_nobody_reads_end_the_stream() {
        let mailbox = mailbox(100);
        mailbox.answer(&[0; 100]);
        assert!(matches!(next(&mailbox), Some(Next::Deliver(Delivery::Waiting(_)))));
        mailbox.answer(&[0; 100]);
        assert!(!mailbox.has_ended());
        mailbox.answer(&[0; 1]);
        assert_eq!(next(&mailbox), Some(Next::Deliver(Delivery::Ended(Ending::SlowReader))));
        assert_eq!(next(&mailbox), None);
    }

    #[test]
    fn only_the_newest_of_what_overwrites_itself_waits() {
        let (mailbox, room, user) = (mailbox(100), RoomId::random(), UserId::random());
        for typing in [true, false, true] {
            mailbox.typing(room, user, typing);
            mailbox.presence(user, typing);
        }
        assert_eq!(next(&mailbox), Some(Next::Deliver(Delivery::CaughtUp)));
        assert_eq!(next(&mailbox), Some(Next::Deliver(Delivery::Typing(room, user, true))));
        assert_eq!(
            next(&mailbox),
            Some(Next::Deliver(Delivery::Presence(vec![(user, true)])))
        );
        assert_eq!(next(&mailbox), None);
    }

    /// What can happen to a stream, against a journal that is a number.
    #[derive(Debug, Clone)]
    enum Happening {
        Publish(usize, i64),
        Read(usize),
    }

    proptest! {
        /// Whatever the order of publishing and reading, and however small the mailbox: each event once, in order, all of them.
        #[test]
        fn every_event_is_delivered_once_and_in_order(
            happenings in prop::collection::vec(
                prop_oneof![
                    (0..3_usize, 1..4_i64).prop_map(|(room, count)| Happening::Publish(room, count)),
                    (1..5_usize).prop_map(Happening::Read),
                ], 1..300),
            limit in 8..64_usize,
        ) {
            let mailbox = mailbox(limit);
            let rooms: Vec<RoomId> = (0..3).map(|_| RoomId::random()).collect();
            let slots: Vec<usize> = rooms.iter().map(|room| mailbox.enter(*room, 0, 0)).collect();
            let mut heads = [0_i64; 3];
            let mut got: [Vec<i64>; 3] = Default::default();
            // Each event's bytes name its room, so that what waits together can be told apart.
            let tagged = |room: usize, seqs: std::ops::RangeInclusive<i64>| {
                framed(seqs.map(|seq| seq * 3 + i64::try_from(room).unwrap()))
            };
            let mut deliver = |page: i64, heads: &[i64; 3]| -> bool {
                match next(&mailbox) {
                    Some(Next::Deliver(Delivery::Waiting(waiting))) => {
                        for value in numbers(&waiting) {
                            got[usize::try_from(value % 3).unwrap()].push(value / 3);
                        }
                        true
                    }
                    Some(Next::Deliver(_)) => true,
                    Some(Next::Read(lag)) => {
                        let room = rooms.iter().position(|room| *room == lag.room).unwrap();
                        let to = heads[room].min(lag.after + page);
                        if mailbox.caught(lag, to) {
                            got[room].extend(lag.after + 1..=to);
                        }
                        true
                    }
                    None => false,
                }
            };
            for happening in happenings {
                match happening {
                    Happening::Publish(room, count) => {
                        let first = heads[room] + 1;
                        heads[room] += count;
                        let _ = mailbox.events(slots[room], (first, heads[room]), &tagged(room, first..=heads[room]));
                    }
                    Happening::Read(times) => {
                        for _ in 0..times {
                            deliver(3, &heads);
                        }
                    }
                }
            }
            while deliver(3, &heads) {}
            for (room, seqs) in got.iter().enumerate() {
                prop_assert_eq!(seqs, &(1..=heads[room]).collect::<Vec<_>>());
            }
        }
    }
}
