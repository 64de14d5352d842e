//! A stretch of a day: everyone is there, and does what people do, at a fixed rate in all.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use greffe_api::v1::chat_request::Action;
use greffe_api::v1::event_body::Content;
use greffe_api::v1::frame::Kind;
use greffe_api::v1::send_result::Outcome;
use greffe_api::v1::{
    EditMessageRequest, Event, Hello, MarkReadRequest, RoomPosition, SendMessageRequest, SendResult, SetTypingRequest,
};
use hdrhistogram::Histogram;
use uuid::Uuid;

use super::book::{Book, Change};
use super::mix::{self, Deed};
use super::stream::Stream;
use super::town::Town;
use crate::chat::driver::News;
use crate::chat::generator::sockets::{Happened, Sockets};
use crate::chat::ledger::Verdict;
use crate::chat::stamp::{self, Stamp};
use crate::chat::workload::TEXT_BYTES;
use crate::cpu;
use crate::latency::histogram;
use crate::words::{Chance, Vocabulary};

/// Connections that are being opened at a time in the beginning.
const OPENING: usize = 64;
/// How long it may take until all are open.
const OPEN_WITHIN: Duration = Duration::from_secs(120);
/// How long somebody is away whose connection was lost.
const AWAY: Duration = Duration::from_secs(2);
/// How long what is on its way may take after the last deed.
const DRAIN: Duration = Duration::from_secs(20);
/// The longest wait for something to happen.
const IDLE: Duration = Duration::from_millis(20);
/// Members of a room up to which it is small: most rooms.
const SMALL: usize = 100;
/// How many people are looked at for one who can do what is to be done.
const TRIES: usize = 64;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// Deeds a second.
    pub(super) rate: f64,
    /// How long it goes on before it counts.
    pub(super) warm_up: Duration,
    /// How long it counts.
    pub(super) measure: Duration,
    /// Where the server is.
    pub(super) address: SocketAddr,
    /// The server's process.
    pub(super) pid: u32,
}

/// How often something happened within the measured time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) sends: u64,
    pub(super) edits: u64,
    pub(super) reads: u64,
    pub(super) typings: u64,
    pub(super) leaves: u64,
    /// Deeds for which nobody was found who could do them.
    pub(super) idle: u64,
    /// Messages and edits that reached somebody.
    pub(super) deliveries: u64,
    /// Those of them that somebody had missed while away.
    pub(super) missed: u64,
    /// Times that somebody was told that somebody types.
    pub(super) typing_told: u64,
    /// Times that somebody was told that somebody came or went.
    pub(super) presence_told: u64,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) counts: Counts,
    /// From when a message or an edit was due until each who was there had it.
    pub(super) latency: Histogram<u64>,
    /// The same in rooms of at most [`SMALL`].
    pub(super) small_latency: Histogram<u64>,
    /// From when it was due until its sender knew that it is stored.
    pub(super) answer: Histogram<u64>,
    /// From the begin of a new connection until its owner had what they missed.
    pub(super) back: Histogram<u64>,
    /// How long all connections took to be open, and the server's processor time for it.
    pub(super) opening: [Duration; 2],
    /// Processor time within the measured time: the server's, this thread's, and everything else's.
    pub(super) server_time: Duration,
    pub(super) own_time: Duration,
    pub(super) others_time: Duration,
    /// Bytes of the server's memory: before the first connection, with all open, when the measured time began, and in the end.
    pub(super) memory: [u64; 4],
    /// The most it had at any time.
    pub(super) memory_peak: u64,
    /// Nothing lost, nothing twice.
    pub(super) verdict: Verdict,
    /// Changes that were not answered.
    pub(super) unanswered: u64,
    /// The first thing that went wrong.
    pub(super) failure: Option<String>,
}

/// Has the people of `town` live as `task` says.
pub(super) fn run(task: Task, town: &Town) -> anyhow::Result<Measured> {
    let mut life = Life::new(task, town)?;
    let before = life.sample()?.server;
    life.measured.memory[0] = memory(task)?;
    let begin = Instant::now();
    life.come()?;
    life.measured.opening = [begin.elapsed(), life.sample()?.server.saturating_sub(before)];
    life.measured.memory[1] = memory(task)?;
    life.live()?;
    life.drain()?;
    // If the server is gone, the connections have told of it.
    life.measured.memory[3] = cpu::memory_of(task.pid).unwrap_or_default();
    life.measured.memory_peak = cpu::peak_of(task.pid).unwrap_or_default();
    Ok(life.finish())
}

fn memory(task: Task) -> anyhow::Result<u64> {
    cpu::memory_of(task.pid).context("the server is gone")
}

/// A person.
#[derive(Debug, Default)]
struct Person {
    /// Whether everything that was missed is there, and what comes is live.
    is_there: bool,
    /// When the connection was begun.
    came: u64,
    /// The next change's number.
    next: u32,
    /// Changes without an answer, oldest first.
    unanswered: Vec<Unanswered>,
    /// The last message that is known to be stored: the room's number, and its seq.
    last: Option<(u32, i64)>,
}

#[derive(Debug)]
struct Unanswered {
    request_id: String,
    /// The room, if it is a new message.
    posted: Option<u32>,
    due: u64,
}

struct Life<'a> {
    task: Task,
    town: &'a Town,
    /// The numbers of rooms by their ids.
    rooms: HashMap<&'a str, u32>,
    sockets: Sockets<Stream>,
    happened: Vec<Happened>,
    news: News,
    clock: Instant,
    people: Vec<Person>,
    book: Book,
    chance: Chance,
    vocabulary: Vocabulary,
    epoch: String,
    /// How many are there.
    there: usize,
    /// Who is away, and when they come back.
    away: VecDeque<(u64, u32)>,
    /// Nanoseconds between which things count.
    counted: Range<u64>,
    stamps: Vec<Stamp>,
    measured: Measured,
}

impl<'a> Life<'a> {
    fn new(task: Task, town: &'a Town) -> anyhow::Result<Self> {
        let people = town.tokens.len();
        let book = Book::new(town);
        let rooms = town.rooms.iter().zip(0..);
        let rooms: HashMap<&str, u32> = rooms.map(|(room, number)| (room.id.as_str(), number)).collect();
        let streams = town.tokens.iter().zip(0..);
        let streams = streams.map(|(token, person)| Box::new(Stream::new(token, hello(town, &book, person, ""))));
        Ok(Self {
            task,
            town,
            rooms,
            sockets: Sockets::new(streams.collect())?,
            happened: Vec::new(),
            news: News::default(),
            clock: Instant::now(),
            people: std::iter::repeat_with(Person::default).take(people).collect(),
            book,
            chance: Chance::new(23),
            vocabulary: Vocabulary::new(),
            epoch: String::new(),
            there: 0,
            away: VecDeque::new(),
            counted: u64::MAX..u64::MAX,
            stamps: Vec::new(),
            measured: Measured {
                counts: Counts::default(),
                latency: histogram(),
                small_latency: histogram(),
                answer: histogram(),
                back: histogram(),
                opening: [Duration::ZERO; 2],
                server_time: Duration::ZERO,
                own_time: Duration::ZERO,
                others_time: Duration::ZERO,
                memory: [0; 4],
                memory_peak: 0,
                verdict: Verdict::default(),
                unanswered: 0,
                failure: None,
            },
        })
    }

    fn now(&self) -> u64 {
        nanoseconds(self.clock.elapsed())
    }

    /// Opens all connections, some at a time.
    fn come(&mut self) -> anyhow::Result<()> {
        let people = self.people.len();
        let mut next = 0;
        let deadline = Instant::now() + OPEN_WITHIN;
        while self.there < people {
            while next < people && next - self.there < OPENING {
                self.sockets.connect(next, self.task.address)?;
                next += 1;
            }
            self.turn_around(IDLE)?;
            if let Some(failure) = &self.measured.failure {
                bail!("a connection cannot be opened: {failure}");
            }
            if Instant::now() > deadline {
                bail!(
                    "after {OPEN_WITHIN:?} only {} of {people} connections are open",
                    self.there
                );
            }
        }
        Ok(())
    }

    /// Has people do things until the measured time is over.
    fn live(&mut self) -> anyhow::Result<()> {
        let begin = self.now();
        let from = begin + nanoseconds(self.task.warm_up);
        self.counted = from..from + nanoseconds(self.task.measure);
        let gap = 1e9 / self.task.rate;
        let mut done = 0_u64;
        let mut start = None;
        loop {
            let now = self.now();
            if start.is_none() && now >= from {
                start = Some(self.sample()?);
                self.measured.memory[2] = memory(self.task)?;
            }
            if now >= self.counted.end || self.measured.failure.is_some() {
                break;
            }
            let due = |done: u64| begin + (done as f64 * gap) as u64;
            while due(done) <= now {
                self.act(due(done));
                done += 1;
            }
            self.bring_back(now)?;
            let mut wait = Duration::from_nanos(due(done) - now).min(IDLE);
            if let Some((until, _)) = self.away.front() {
                wait = wait.min(Duration::from_nanos(until - now));
            }
            self.turn_around(wait)?;
        }
        if let Some(start) = start {
            let end = self.sample()?;
            self.measured.server_time = end.server.saturating_sub(start.server);
            self.measured.own_time = end.own.saturating_sub(start.own);
            let all = end.all.saturating_sub(start.all);
            self.measured.others_time = all.saturating_sub(self.measured.server_time + self.measured.own_time);
        }
        Ok(())
    }

    /// Waits until everyone is back and has everything.
    fn drain(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < DRAIN && self.measured.failure.is_none() {
            let all_there = self.there == self.people.len();
            if all_there && self.book.is_complete() && self.people.iter().all(|person| person.unanswered.is_empty()) {
                break;
            }
            self.bring_back(self.now())?;
            self.turn_around(IDLE)?;
        }
        Ok(())
    }

    fn finish(self) -> Measured {
        let unanswered = self.people.iter().map(|person| person.unanswered.len() as u64);
        Measured {
            verdict: self.book.verdict(),
            unanswered: unanswered.sum(),
            ..self.measured
        }
    }

    /// Connects those whose time has come.
    fn bring_back(&mut self, now: u64) -> anyhow::Result<()> {
        while let Some((_, person)) = self.away.front().copied().filter(|(until, _)| *until <= now) {
            self.away.pop_front();
            let hello = hello(self.town, &self.book, person, &self.epoch);
            let stream = Stream::new(&self.town.tokens[person as usize], hello);
            self.sockets.replace(person as usize, Box::new(stream), self.task.address)?;
            self.people[person as usize].came = now;
        }
        Ok(())
    }

    /// Has somebody do something that was due at `due`.
    fn act(&mut self, due: u64) {
        let deed = mix::draw(&mut self.chance);
        let done = (0..TRIES).any(|_| {
            let person = self.chance.below(self.people.len() as u32);
            self.people[person as usize].is_there && self.do_it(deed, person, due)
        });
        if self.counted.contains(&due) {
            let counts = &mut self.measured.counts;
            let count = match deed {
                _ if !done => &mut counts.idle,
                Deed::Send => &mut counts.sends,
                Deed::Edit => &mut counts.edits,
                Deed::Read => &mut counts.reads,
                Deed::Type => &mut counts.typings,
                Deed::Leave => &mut counts.leaves,
            };
            *count += 1;
        }
    }

    /// Has `person` do something, and returns whether they could.
    fn do_it(&mut self, deed: Deed, person: u32, due: u64) -> bool {
        let places = self.book.places(person);
        if places.is_empty() {
            return false;
        }
        let place = self.chance.below(places.len() as u32) as usize;
        let room = places[place].room;
        let action = match deed {
            Deed::Send => Action::SendMessage(SendMessageRequest {
                request_id: self.change(person, room, Some(room), due),
                room_id: self.id(room),
                text: self.text(person, due),
                reply_to_seq: 0,
            }),
            Deed::Edit => {
                let Some((room, seq)) = self.people[person as usize].last else {
                    return false;
                };
                Action::EditMessage(EditMessageRequest {
                    request_id: self.change(person, room, None, due),
                    room_id: self.id(room),
                    seq,
                    text: self.text(person, due),
                })
            }
            Deed::Read => {
                let Some(seq) = self.book.read(person, place) else {
                    return false;
                };
                Action::MarkRead(MarkReadRequest {
                    room_id: self.id(room),
                    seq,
                })
            }
            Deed::Type => Action::SetTyping(SetTypingRequest {
                room_id: self.id(room),
                typing: true,
            }),
            Deed::Leave => return self.leave(person),
        };
        self.sockets.connections[person as usize].driver.act(action);
        self.sockets.wants_to_write(person as usize);
        true
    }

    /// Notes that `person` makes a change in `room`, and returns its request id.
    fn change(&mut self, person: u32, room: u32, posted: Option<u32>, due: u64) -> String {
        self.book.make(room);
        let request_id = Uuid::now_v7().to_string();
        self.people[person as usize].unanswered.push(Unanswered {
            request_id: request_id.clone(),
            posted,
            due,
        });
        request_id
    }

    /// A text with the stamp of `person`'s next change.
    fn text(&mut self, person: u32, due: u64) -> String {
        let next = &mut self.people[person as usize].next;
        let stamp = Stamp {
            kind: stamp::Kind::Said,
            sender: person,
            seq: *next,
            time: due,
        };
        *next += 1;
        let mut text = vec![0; TEXT_BYTES];
        stamp.write(&mut text);
        self.vocabulary.fill(&mut text[stamp::BYTES..], &mut self.chance);
        String::from_utf8(text).expect("stamps and words are ASCII")
    }

    fn id(&self, room: u32) -> String {
        self.town.rooms[room as usize].id.clone()
    }

    /// Cuts `person`'s connection, unless they wait for an answer: then a client would have to ask again.
    fn leave(&mut self, person: u32) -> bool {
        if !self.people[person as usize].unanswered.is_empty() {
            return false;
        }
        self.sockets.connections[person as usize].close();
        self.people[person as usize].is_there = false;
        self.there -= 1;
        self.away.push_back((self.now() + nanoseconds(AWAY), person));
        true
    }

    /// Writes what waits, waits at most `wait` for something to happen, and takes what came.
    fn turn_around(&mut self, wait: Duration) -> anyhow::Result<()> {
        let mut happened = std::mem::take(&mut self.happened);
        self.sockets.wait(wait, &mut happened)?;
        for event in happened.drain(..) {
            match event {
                Happened::Readable(person) => self.read(person),
                Happened::Writable(person) => {
                    if let Err(error) = self.sockets.writable(person) {
                        self.fail(person, format!("cannot be opened: {error}"));
                    }
                }
                Happened::Broken(person, error) => self.fail(person, format!("cannot be written to: {error}")),
            }
        }
        self.happened = happened;
        Ok(())
    }

    fn fail(&mut self, person: usize, why: impl std::fmt::Display) {
        self.sockets.connections[person].close();
        self.measured.failure.get_or_insert_with(|| format!("person {person}: {why}"));
    }

    fn read(&mut self, person: usize) {
        loop {
            let received = match self.sockets.read(person, &mut self.news) {
                Ok(received) => received,
                Err(error) => return self.fail(person, error),
            };
            if let Some(failure) = self.news.failure.take() {
                return self.fail(person, failure);
            }
            let now = self.now();
            let mut frames = std::mem::take(&mut self.sockets.connections[person].driver.frames);
            for frame in frames.drain(..) {
                self.take(person as u32, frame, now);
            }
            self.sockets.connections[person].driver.frames = frames;
            // What did not fill the buffer was all there was: the next edge will tell of more.
            if !received.is_full {
                return;
            }
        }
    }

    /// Acts on what the server said to `person`.
    fn take(&mut self, person: u32, frame: Kind, now: u64) {
        let counts = self.counted.contains(&now);
        match frame {
            Kind::Started(started) => self.epoch = started.epoch,
            Kind::CaughtUp(_) => self.is_there(person, now),
            Kind::Events(events) => {
                for event in &events.events {
                    self.heard(person, event, now);
                }
            }
            Kind::SendResult(result) => self.answered(person, result, now),
            Kind::Typing(_) => self.measured.counts.typing_told += u64::from(counts),
            Kind::Presence(presence) if counts => self.measured.counts.presence_told += presence.users.len() as u64,
            Kind::Reset(_) | Kind::Ended(_) | Kind::Draining(_) | Kind::RoomGone(_) => {
                self.fail(person as usize, format!("did not expect {frame:?}"));
            }
            _ => {}
        }
    }

    /// `person` has what they missed.
    fn is_there(&mut self, person: u32, now: u64) {
        let state = &mut self.people[person as usize];
        if std::mem::replace(&mut state.is_there, true) {
            return;
        }
        self.there += 1;
        let came = state.came;
        if self.counted.contains(&now) {
            self.measured.back.saturating_record(now.saturating_sub(came));
        }
    }

    fn heard(&mut self, person: u32, event: &Event, now: u64) {
        let head = event.head.as_ref();
        let Some((room, head)) = head.and_then(|head| Some((*self.rooms.get(head.room_id.as_str())?, head))) else {
            return;
        };
        let text = match event.body.as_ref().and_then(|body| body.content.as_ref()) {
            Some(Content::MessagePosted(posted)) => posted.text.as_str(),
            Some(Content::MessageEdited(edited)) => edited.text.as_str(),
            // A text that was replaced since comes without it.
            _ => "",
        };
        self.stamps.clear();
        stamp::scan(text.as_bytes(), &mut self.stamps);
        let stamp = self.stamps.first().copied();
        let change = stamp.map(|stamp| Change {
            sender: stamp.sender,
            number: stamp.seq,
        });
        self.book.arrive(person, room, head.seq, change);
        if !self.counted.contains(&now) {
            return;
        }
        self.measured.counts.deliveries += 1;
        if !self.people[person as usize].is_there {
            self.measured.counts.missed += 1;
        } else if let Some(stamp) = stamp {
            let taken = now.saturating_sub(stamp.time);
            self.measured.latency.saturating_record(taken);
            if self.town.rooms[room as usize].members.len() <= SMALL {
                self.measured.small_latency.saturating_record(taken);
            }
        }
    }

    fn answered(&mut self, person: u32, result: SendResult, now: u64) {
        let receipt = match result.outcome {
            Some(Outcome::Receipt(receipt)) => receipt,
            outcome => return self.fail(person as usize, format!("something was refused: {outcome:?}")),
        };
        let state = &mut self.people[person as usize];
        let place = state
            .unanswered
            .iter()
            .position(|change| change.request_id == result.request_id);
        let Some(place) = place else {
            return self.fail(person as usize, "an answer to nothing, or the second one");
        };
        let change = state.unanswered.remove(place);
        if let Some(room) = change.posted {
            state.last = Some((room, receipt.seq));
        }
        if self.counted.contains(&now) {
            self.measured.answer.saturating_record(now.saturating_sub(change.due));
        }
    }

    fn sample(&self) -> anyhow::Result<Sample> {
        Ok(Sample {
            server: cpu::time_of(self.task.pid).context("the server is gone")?,
            own: cpu::own_time(),
            all: cpu::time_of_all().context("this machine's processor time cannot be read")?,
        })
    }
}

/// Processor times at one moment.
struct Sample {
    server: Duration,
    own: Duration,
    all: Duration,
}

/// How `person` begins: with what they have of each of their rooms.
fn hello(town: &Town, book: &Book, person: u32, epoch: &str) -> Hello {
    let positions = book.places(person).iter().map(|place| RoomPosition {
        room_id: town.rooms[place.room as usize].id.clone(),
        after_seq: place.at,
    });
    Hello {
        client_name: "greffe-bench".to_owned(),
        epoch: epoch.to_owned(),
        positions: positions.collect(),
        ..Hello::default()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
