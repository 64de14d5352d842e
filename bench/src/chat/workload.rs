//! The workloads: how many people, in which rooms, and how fast they talk.

use std::time::Duration;

use clap::ValueEnum;

use super::ledger::Crowd;

/// Bytes of every text.
pub(super) const TEXT_BYTES: usize = 128;

/// Messages that those who come back have missed, within the measured time; those of the warm-up come to it.
const MISSED: u32 = 1000;
/// How long they are away.
const AWAY: Duration = Duration::from_secs(10);

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Workload {
    /// One room of 100, 10 of whom talk as fast as it goes.
    A,
    /// 100 rooms of 10, all of whom talk as fast as it goes.
    B,
    /// 20 pairs, each with 10 questions a second that are answered at once.
    C,
    /// 5,000 connections that are silent: memory, and how fast they are opened.
    D,
    /// One room of 1,000, 20 messages a second: when the last one has it.
    E,
    /// A room of two, one of whom says the next thing when the last one is done.
    F,
    /// One room of 1,010, 1,000 of whom come back at once after 1,000 messages that they missed.
    G,
    /// One room of 100, 10 of whom say 100 things a second each.
    K,
    /// 10 rooms of two, both of whom talk as fast as it goes: durable sends.
    P,
    /// One room of 200, 10 of whom talk as fast as it goes, while 100 stop reading: their memory.
    S,
}

/// Where people are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rooms {
    /// In rooms that everyone can join.
    Public,
    /// In pairs, talking directly.
    Direct,
    /// In none.
    Nowhere,
}

/// How fast people talk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// As fast as it goes: this many messages of a sender may be on their way to somebody.
    Window(u32),
    /// This many messages a second in all, due at fixed times however the server does.
    PerSecond(f64),
    /// This many questions a second in all, each of which is answered.
    Questions(f64),
    /// The next one when the one before is done.
    Turns,
    /// Not at all.
    Silence,
}

/// What is to be done: who there is, where they are, and how fast they talk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Load {
    /// Who there is.
    pub(super) crowd: Crowd,
    /// Where they are.
    pub(super) rooms: Rooms,
    /// How fast they talk.
    pub(super) pace: Pace,
    /// Whether its latency has a durable write in it, so that one is to be measured beside it.
    pub(super) is_about_commits: bool,
}

impl Load {
    /// How many messages may be on their way; at fixed rates nobody knows, and it is one.
    pub(super) fn on_their_way(&self) -> u32 {
        match self.pace {
            Pace::Window(window) => window * self.crowd.all_senders().end,
            Pace::PerSecond(_) | Pace::Questions(_) | Pace::Turns | Pace::Silence => 1,
        }
    }
}

impl Workload {
    /// The letter that names it.
    pub(super) fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
            Self::D => "d",
            Self::E => "e",
            Self::F => "f",
            Self::G => "g",
            Self::K => "k",
            Self::P => "p",
            Self::S => "s",
        }
    }

    /// What it is, for a table's heading.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::A => "1 room x 100, 10 senders, window 32",
            Self::B => "100 rooms x 10, all send, window 4",
            Self::C => "20 pairs, ping-pong, 10 pings/s each",
            Self::D => "5,000 idle connections",
            Self::E => "1 room x 1,000, 20 messages/s",
            Self::F => "a room of two, one message at a time",
            Self::G => "1,000 come back at once, 1,000 missed messages each",
            Self::K => "1 room x 100, 10 senders, 1,000 messages/s",
            Self::P => "10 rooms of two, both send, window 128",
            Self::S => "1 room x 200, 100 stop reading",
        }
    }

    /// What is to be done.
    pub(super) fn load(self) -> Load {
        Load {
            crowd: self.crowd(),
            rooms: self.rooms(),
            pace: self.pace(),
            is_about_commits: matches!(self, Self::C | Self::F),
        }
    }

    /// Who there is.
    fn crowd(self) -> Crowd {
        let late = if self == Self::G { 1000 } else { 0 };
        let (users, rooms, senders, stalled) = match self {
            Self::A | Self::K => (100, 1, 10, 0),
            Self::B => (1000, 100, 10, 0),
            Self::C => (40, 20, 2, 0),
            Self::D => (5000, 1, 0, 0),
            Self::E => (1000, 1, 1, 0),
            Self::F => (2, 1, 1, 0),
            Self::G => (1010, 1, 10, 0),
            Self::P => (20, 10, 2, 0),
            Self::S => (200, 1, 10, 100),
        };
        Crowd {
            users,
            rooms,
            senders,
            stalled,
            late,
        }
    }

    /// Where they are.
    fn rooms(self) -> Rooms {
        match self {
            Self::C => Rooms::Direct,
            Self::D => Rooms::Nowhere,
            _ => Rooms::Public,
        }
    }

    /// How long it is measured, if that is not as one likes.
    pub(super) fn measure(self) -> Option<Duration> {
        (self == Self::G).then_some(AWAY)
    }

    /// Whether only a server that keeps messages can do it.
    pub(super) fn needs_history(self) -> bool {
        self == Self::G
    }

    /// How fast they talk.
    pub(super) fn pace(self) -> Pace {
        match self {
            Self::A | Self::S => Pace::Window(32),
            Self::B => Pace::Window(4),
            Self::P => Pace::Window(128),
            Self::C => Pace::Questions(200.0),
            Self::D => Pace::Silence,
            Self::E => Pace::PerSecond(20.0),
            Self::F => Pace::Turns,
            Self::G => Pace::PerSecond(f64::from(MISSED) / AWAY.as_secs_f64()),
            Self::K => Pace::PerSecond(1000.0),
        }
    }
}
