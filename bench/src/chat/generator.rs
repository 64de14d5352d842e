//! The load: one thread, one loop over non-blocking sockets, each connection a state machine.
//!
//! It must cost far less than the server it loads, or it measures itself: its own share of a core is part of every result. Sending and
//! receiving share one clock, so that a latency needs no synchronisation. At a fixed rate a message counts from when it was due, so that a
//! server that is behind cannot slow down the questions that would show it.

mod connection;
pub(super) mod sockets;
mod timer;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;

use self::connection::State;
use self::sockets::{Happened, Sockets};
use super::driver::{Driver, News};
use super::ledger::{Crowd, Ledger, Verdict};
use super::stamp::{self, Kind, Stamp};
use super::workload::{Pace, TEXT_BYTES};
use crate::cpu;
use crate::latency::histogram;
use crate::words::{Chance, Vocabulary};

/// How long it may take until all are open.
const OPEN_WITHIN: Duration = Duration::from_secs(120);
/// How long what was sent may take to arrive after the last send, as long as something arrives.
const DRAIN: Duration = Duration::from_secs(20);
/// How long nothing may arrive before the rest is given up.
const QUIET: Duration = Duration::from_secs(3);
/// Connections that are begun before it is looked at what came.
const IN_A_ROW: usize = 16;
/// The longest wait for something to happen.
const IDLE: Duration = Duration::from_millis(20);
/// Questions of one user that may wait for their answers before an answer no longer finds its question.
const QUESTIONS: usize = 64;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// Who there is.
    pub(super) crowd: Crowd,
    /// How fast they talk.
    pub(super) pace: Pace,
    /// How long they talk before it counts.
    pub(super) warm_up: Duration,
    /// How long it counts.
    pub(super) measure: Duration,
    /// After how many messages they stop, if before that time is over.
    pub(super) most: u64,
    /// What they say.
    pub(super) text: Text,
    /// Where the server is.
    pub(super) address: SocketAddr,
    /// The server's process.
    pub(super) pid: u32,
}

/// What follows the stamp of a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    /// Always the same, which costs nothing.
    Same,
    /// Words, by a chance that begins with this number.
    Words(u64),
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Measured {
    /// Messages sent within the measured time.
    pub(super) sends: u64,
    /// Messages sent in all.
    pub(super) all_sends: u64,
    /// Deliveries within the measured time.
    pub(super) deliveries: u64,
    /// Bytes that came within the measured time.
    pub(super) received: u64,
    /// From when a message was due until each receiver had it.
    pub(super) latency: Histogram<u64>,
    /// From when a message was due until the last receiver had it; at fixed rates.
    pub(super) last: Histogram<u64>,
    /// From when a question was due until its answer was there.
    pub(super) round_trip: Histogram<u64>,
    /// From a send to the server's answer that it is done; when taking turns.
    pub(super) answer: Histogram<u64>,
    /// How long all connections took to be open and in their rooms.
    pub(super) opening: Duration,
    /// Processor time of the server within the measured time.
    pub(super) server_time: Duration,
    /// Processor time of this thread within the measured time.
    pub(super) own_time: Duration,
    /// How long those who came late took until all of them had everything.
    pub(super) coming_back: Duration,
    /// [`Measured::latency`] of the others meanwhile.
    pub(super) meanwhile: Histogram<u64>,
    /// Processor time of the server until all connections were open.
    pub(super) opening_time: Duration,
    /// Processor time of everything but the server and this thread within the measured time.
    pub(super) others_time: Duration,
    /// Bytes of the server's memory: before the first connection, with all open, and in the end.
    pub(super) memory: [u64; 3],
    /// The same when the measured time began.
    pub(super) memory_begin: u64,
    /// Nothing lost, nothing twice.
    pub(super) verdict: Verdict,
    /// Sends that were not answered, where servers answer.
    pub(super) unanswered: u64,
    /// The first thing that went wrong on a connection.
    pub(super) failure: Option<String>,
}

/// Runs `task` with one driver for each user.
pub(super) fn run(task: Task, drivers: Vec<Box<dyn Driver>>) -> anyhow::Result<Measured> {
    let mut engine = Engine::new(task, drivers)?;
    let memory = [memory(task)?, 0, 0];
    engine.measured.memory = memory;
    let before = engine.sample()?.server;
    let begin = Instant::now();
    let late = task.crowd.late * task.crowd.rooms;
    let first = 0..(task.crowd.users - late) as usize;
    let at_once = engine
        .sockets
        .connections
        .first()
        .map_or(1, |connection| connection.driver.opening_at_once());
    engine.open(first, at_once, &mut Schedule::none())?;
    engine.measured.opening = begin.elapsed();
    engine.measured.opening_time = engine.sample()?.server.saturating_sub(before);
    engine.measured.memory[1] = self::memory(task)?;
    engine.talk()?;
    if late > 0 {
        engine.come_back()?;
    }
    engine.drain()?;
    match self::memory(task) {
        Ok(bytes) => engine.measured.memory[2] = bytes,
        // The connections have told of it.
        Err(_) if engine.measured.failure.is_some() => {}
        Err(error) => return Err(error),
    }
    Ok(engine.finish())
}

fn memory(task: Task) -> anyhow::Result<u64> {
    cpu::memory_of(task.pid).context("the server is gone")
}

struct Engine {
    task: Task,
    sockets: Sockets<dyn Driver>,
    happened: Vec<Happened>,
    clock: Instant,
    news: News,
    open: usize,
    ledger: Ledger,
    /// Nanoseconds between which things count.
    counted: std::ops::Range<u64>,
    /// Senders whose window has opened.
    willing: Vec<u32>,
    is_willing: Vec<bool>,
    /// For each sender the messages on their way: how many receivers each has reached, and the seq of the first.
    spreading: Vec<(u32, VecDeque<u64>)>,
    /// For each user, when its last questions were due.
    asked: Vec<[u64; QUESTIONS]>,
    /// When the last message of who takes turns was sent.
    turn: u64,
    answers: u64,
    text: Vec<u8>,
    words: Option<(Vocabulary, Chance)>,
    /// Whether those who stop reading have stopped.
    stalling: bool,
    measured: Measured,
}

impl Engine {
    fn new(task: Task, drivers: Vec<Box<dyn Driver>>) -> anyhow::Result<Self> {
        let users = task.crowd.users as usize;
        anyhow::ensure!(drivers.len() == users, "each user needs a driver");
        let echoes = drivers.first().context("there is nobody")?.echoes();
        Ok(Self {
            task,
            sockets: Sockets::new(drivers)?,
            happened: Vec::new(),
            clock: Instant::now(),
            news: News::default(),
            open: 0,
            ledger: Ledger::new(task.crowd, echoes),
            counted: u64::MAX..u64::MAX,
            willing: Vec::new(),
            is_willing: vec![false; users],
            spreading: vec![(0, VecDeque::new()); users],
            asked: vec![[0; QUESTIONS]; users],
            turn: 0,
            answers: 0,
            text: vec![b'x'; TEXT_BYTES],
            words: match task.text {
                Text::Same => None,
                Text::Words(seed) => Some((Vocabulary::new(), Chance::new(seed))),
            },
            stalling: false,
            measured: Measured {
                sends: 0,
                all_sends: 0,
                deliveries: 0,
                received: 0,
                latency: histogram(),
                last: histogram(),
                round_trip: histogram(),
                answer: histogram(),
                opening: Duration::ZERO,
                coming_back: Duration::ZERO,
                meanwhile: histogram(),
                opening_time: Duration::ZERO,
                others_time: Duration::ZERO,
                memory_begin: 0,
                server_time: Duration::ZERO,
                own_time: Duration::ZERO,
                memory: [0; 3],
                verdict: Verdict::default(),
                unanswered: 0,
                failure: None,
            },
        })
    }

    fn now(&self) -> u64 {
        nanoseconds(self.clock.elapsed())
    }

    /// Opens the connections of `users`, at most `at_once` at a time, while the others keep to `schedule`.
    fn open(&mut self, users: std::ops::Range<usize>, at_once: usize, schedule: &mut Schedule) -> anyhow::Result<()> {
        let deadline = Instant::now() + OPEN_WITHIN;
        let mut next = users.start;
        while self.open < users.end {
            // A few in a row only: each costs some 30 us, and what others have to say is read in between.
            let end = users.end.min(next + IN_A_ROW).min(self.open + at_once);
            while next < end {
                self.sockets.connect(next, self.task.address)?;
                next += 1;
            }
            let more = next < users.end.min(self.open + at_once);
            let wait = if more {
                self.keep_to(schedule);
                Duration::ZERO
            } else {
                self.keep_to(schedule)
            };
            self.turn_around(wait)?;
            if let Some(failure) = &self.measured.failure {
                bail!("a connection cannot be opened: {failure}");
            }
            if Instant::now() > deadline {
                bail!(
                    "after {OPEN_WITHIN:?} only {} of {} connections are open",
                    self.open,
                    users.end
                );
            }
        }
        Ok(())
    }

    /// Has all those who are late come at once, while the others go on.
    fn come_back(&mut self) -> anyhow::Result<()> {
        let begin = self.now();
        let before = std::mem::replace(&mut self.measured.latency, histogram());
        self.counted = begin..u64::MAX;
        let counted = (self.measured.deliveries, self.measured.received);
        let users = self.sockets.connections.len();
        let mut schedule = Schedule::new(self.task, begin);
        self.open(self.open..users, users, &mut schedule)?;
        self.measured.coming_back = Duration::from_nanos(self.now() - begin);
        self.measured.meanwhile = std::mem::replace(&mut self.measured.latency, before);
        self.counted = u64::MAX..u64::MAX;
        (self.measured.deliveries, self.measured.received) = counted;
        Ok(())
    }

    /// Says what is due, and returns how long nothing is.
    fn keep_to(&mut self, schedule: &mut Schedule) -> Duration {
        let now = self.now();
        let kind = match self.task.pace {
            Pace::Questions(_) => Kind::Asked,
            _ => Kind::Said,
        };
        while let Some((sender, due)) = schedule.next(now) {
            self.say(sender, kind, due);
        }
        schedule.wait(now).map_or(IDLE, |wait| wait.min(IDLE))
    }

    /// Has everyone talk at the given pace until the measured time is over.
    fn talk(&mut self) -> anyhow::Result<()> {
        let begin = self.now();
        let from = begin + nanoseconds(self.task.warm_up);
        self.counted = from..from + nanoseconds(self.task.measure);
        let mut start = None;
        let mut schedule = Schedule::new(self.task, begin);
        match self.task.pace {
            Pace::Window(_) => self.task.crowd.all_senders().for_each(|sender| self.will(sender)),
            Pace::Turns => self.take_turn(begin),
            Pace::PerSecond(_) | Pace::Questions(_) | Pace::Silence => {}
        }
        loop {
            let now = self.now();
            if start.is_none() && now >= self.counted.start {
                start = Some(self.sample()?);
                self.measured.memory_begin = memory(self.task)?;
                self.stalling = self.task.crowd.stalled > 0;
            }
            if now >= self.counted.end || self.ledger.all_sent() >= self.task.most || self.measured.failure.is_some() {
                break;
            }
            if let Pace::Window(window) = self.task.pace {
                self.fill_windows(window, now);
            }
            let wait = self.keep_to(&mut schedule);
            self.turn_around(wait)?;
        }
        if let Some(start) = start {
            let end = self.sample()?;
            self.measured.server_time = end.server.saturating_sub(start.server);
            self.measured.own_time = end.own.saturating_sub(start.own);
            self.measured.sends = end.sent - start.sent;
            let all = end.all.saturating_sub(start.all);
            self.measured.others_time = all.saturating_sub(self.measured.server_time + self.measured.own_time);
        }
        Ok(())
    }

    /// Waits for what is on its way.
    fn drain(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut arrived = (self.arrived(), begin);
        while !self.is_done() && begin.elapsed() < DRAIN && arrived.1.elapsed() < QUIET {
            self.turn_around(IDLE)?;
            if self.arrived() != arrived.0 {
                arrived = (self.arrived(), Instant::now());
            }
        }
        Ok(())
    }

    fn finish(self) -> Measured {
        let unanswered = if self.answers_come() {
            self.ledger.all_sent().abs_diff(self.answers)
        } else {
            0
        };
        Measured {
            verdict: self.ledger.verdict(),
            all_sends: self.ledger.all_sent(),
            unanswered,
            ..self.measured
        }
    }

    fn arrived(&self) -> u64 {
        self.ledger.all_delivered() + self.answers
    }

    fn is_done(&self) -> bool {
        self.ledger.is_complete() && (!self.answers_come() || self.answers >= self.ledger.all_sent())
    }

    fn answers_come(&self) -> bool {
        self.sockets
            .connections
            .first()
            .is_some_and(|connection| connection.driver.answers())
    }

    fn sample(&self) -> anyhow::Result<Sample> {
        Ok(Sample {
            server: cpu::time_of(self.task.pid).context("the server is gone")?,
            own: cpu::own_time(),
            all: cpu::time_of_all().context("this machine's processor time cannot be read")?,
            sent: self.ledger.all_sent(),
        })
    }

    /// Writes what waits, waits at most `wait` for something to happen, and takes what came.
    fn turn_around(&mut self, wait: Duration) -> anyhow::Result<()> {
        let mut happened = std::mem::take(&mut self.happened);
        self.sockets.wait(wait, &mut happened)?;
        for event in happened.drain(..) {
            match event {
                Happened::Readable(user) => self.read(user),
                Happened::Writable(user) => {
                    if let Err(error) = self.sockets.writable(user) {
                        self.fail(user, format!("cannot be opened: {error}"));
                    }
                }
                Happened::Broken(user, error) => self.fail(user, format!("cannot be written to: {error}")),
            }
        }
        self.happened = happened;
        Ok(())
    }

    fn fail(&mut self, user: usize, why: impl std::fmt::Display) {
        self.sockets.connections[user].close();
        self.measured.failure.get_or_insert_with(|| format!("user {user}: {why}"));
    }

    fn read(&mut self, user: usize) {
        if self.stalling && self.task.crowd.stalls(user as u32) {
            return;
        }
        loop {
            let received = match self.sockets.read(user, &mut self.news) {
                Ok(received) => received,
                Err(error) => {
                    self.fail(user, error);
                    return;
                }
            };
            let now = self.now();
            if self.counted.contains(&now) {
                self.measured.received += received.bytes as u64;
            }
            self.take_news(user, now);
            // What did not fill the buffer was all there was: the next edge will tell of more.
            if !received.is_full {
                return;
            }
        }
    }

    /// Acts on what came for `user`.
    fn take_news(&mut self, user: usize, now: u64) {
        if let Some(failure) = self.news.failure.take() {
            self.fail(user, failure);
        }
        if std::mem::take(&mut self.news.ready) && self.sockets.connections[user].state == State::Opening {
            self.sockets.connections[user].state = State::Ready;
            self.open += 1;
        }
        let answers = std::mem::take(&mut self.news.answers);
        if answers > 0 {
            self.answers += u64::from(answers);
            if self.task.pace == Pace::Turns {
                record(&mut self.measured.answer, &self.counted, now, self.turn);
                self.next_turn(now);
            }
        }
        let mut stamps = std::mem::take(&mut self.news.stamps);
        for stamp in stamps.drain(..) {
            self.delivered(user as u32, stamp, now);
        }
        self.news.stamps = stamps;
    }

    /// Acts on a message that came for `user`.
    fn delivered(&mut self, user: u32, stamp: Stamp, now: u64) {
        let Stamp {
            kind,
            sender,
            seq,
            time,
        } = stamp;
        self.ledger.receive(user, sender, seq);
        if sender == user && kind != Kind::Said {
            // The echo of a question or an answer tells nothing.
            return;
        }
        if !self.task.crowd.is_late(user) {
            self.measured.deliveries += u64::from(self.counted.contains(&now));
            record(&mut self.measured.latency, &self.counted, now, time);
        }
        match kind {
            Kind::Said => match self.task.pace {
                Pace::Window(window) if !self.is_willing[sender as usize] && self.ledger.may_send(sender, window) => {
                    self.will(sender);
                }
                Pace::PerSecond(_) => self.spread(sender, seq, now, time),
                Pace::Turns => self.next_turn(now),
                Pace::Window(_) | Pace::Questions(_) | Pace::Silence => {}
            },
            Kind::Asked => {
                self.answer(user, seq, now);
            }
            Kind::Answered => {
                let due = self.asked[user as usize][seq as usize % QUESTIONS];
                record(&mut self.measured.round_trip, &self.counted, now, due);
            }
        }
    }

    /// Notes that a sender may send again.
    fn will(&mut self, sender: u32) {
        self.is_willing[sender as usize] = true;
        self.willing.push(sender);
    }

    fn fill_windows(&mut self, window: u32, now: u64) {
        let mut willing = std::mem::take(&mut self.willing);
        for sender in willing.drain(..) {
            self.is_willing[sender as usize] = false;
            while self.ledger.may_send(sender, window)
                && self.ledger.all_sent() < self.task.most
                && self.sockets.connections[sender as usize].state == State::Ready
            {
                self.say(sender, Kind::Said, now);
            }
        }
        self.willing = willing;
    }

    /// Counts how far a message has come, and records when its last receiver has it.
    fn spread(&mut self, sender: u32, seq: u32, now: u64, due: u64) {
        let receivers = self.ledger.receivers();
        let (first, reached) = &mut self.spreading[sender as usize];
        let Some(place) = seq.checked_sub(*first).map(|place| place as usize) else {
            return;
        };
        if reached.len() <= place {
            reached.resize(place + 1, 0);
        }
        reached[place] += 1;
        if reached[place] == receivers {
            record(&mut self.measured.last, &self.counted, now, due);
        }
        while reached.front() == Some(&receivers) {
            reached.pop_front();
            *first += 1;
        }
    }

    /// The next message of who takes turns, once the one before is answered, if the server answers, and has arrived.
    fn next_turn(&mut self, now: u64) {
        if self.is_done() && now < self.counted.end {
            self.take_turn(now);
        }
    }

    fn take_turn(&mut self, now: u64) {
        self.turn = now;
        self.say(0, Kind::Said, now);
    }

    /// Answers the question `seq` of `user`'s partner.
    fn answer(&mut self, user: u32, seq: u32, now: u64) {
        // An answer has the number of its question, which is also its place among the answers: the partner's questions are all answered.
        let number = self.ledger.send(user);
        debug_assert_eq!(number, seq, "questions arrive in order");
        self.put(user, Kind::Answered, number, now);
    }

    fn say(&mut self, sender: u32, kind: Kind, due: u64) {
        let seq = self.ledger.send(sender);
        if kind == Kind::Asked {
            self.asked[sender as usize][seq as usize % QUESTIONS] = due;
        }
        self.put(sender, kind, seq, due);
    }

    fn put(&mut self, sender: u32, kind: Kind, seq: u32, time: u64) {
        Stamp {
            kind,
            sender,
            seq,
            time,
        }
        .write(&mut self.text);
        if let Some((vocabulary, chance)) = &mut self.words {
            vocabulary.fill(&mut self.text[stamp::BYTES..], chance);
        }
        self.sockets.connections[sender as usize].say(&self.text);
        self.sockets.wants_to_write(sender as usize);
    }
}

/// Counters at one moment.
struct Sample {
    server: Duration,
    own: Duration,
    all: Duration,
    sent: u64,
}

/// When which sender is to say something, at a fixed rate.
struct Schedule {
    begin: u64,
    /// Nanoseconds between messages; infinite without a rate.
    gap: f64,
    senders: u64,
    said: u64,
}

impl Schedule {
    /// Nobody says anything.
    fn none() -> Self {
        Self {
            begin: 0,
            gap: f64::INFINITY,
            senders: 1,
            said: 0,
        }
    }

    fn new(task: Task, begin: u64) -> Self {
        let senders = u64::from(task.crowd.all_senders().end);
        let (rate, senders) = match task.pace {
            Pace::PerSecond(rate) => (rate, senders),
            // Of each two only one asks.
            Pace::Questions(rate) => (rate, u64::from(task.crowd.rooms)),
            Pace::Window(_) | Pace::Turns | Pace::Silence => (0.0, senders),
        };
        Self {
            begin,
            gap: 1e9 / rate,
            senders,
            said: 0,
        }
    }

    fn due(&self) -> Option<u64> {
        self.gap.is_finite().then(|| self.begin + (self.said as f64 * self.gap) as u64)
    }

    /// The next sender whose time has come, and when that was.
    fn next(&mut self, now: u64) -> Option<(u32, u64)> {
        let due = self.due().filter(|due| *due <= now)?;
        let sender = self.said % self.senders;
        self.said += 1;
        Some((sender as u32, due))
    }

    /// How long until the next one.
    fn wait(&self, now: u64) -> Option<Duration> {
        self.due().map(|due| Duration::from_nanos(due.saturating_sub(now)))
    }
}

/// Records the time from `since` to `now`, if `now` counts.
fn record(histogram: &mut Histogram<u64>, counted: &std::ops::Range<u64>, now: u64, since: u64) {
    if counted.contains(&now) {
        histogram.saturating_record(now.saturating_sub(since));
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const _: () = assert!(TEXT_BYTES >= stamp::BYTES, "a text must hold its stamp");
