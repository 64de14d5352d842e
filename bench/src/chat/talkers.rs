//! People who talk in rooms of two, and someone who is in all these rooms and says nothing: who makes a journal grow, and who reads it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use greffe_api::v1::chat_service_client::ChatServiceClient;
use greffe_api::v1::room_service_client::RoomServiceClient;
use greffe_api::v1::{Hello, SendMessageRequest};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tonic::transport::Endpoint;
use uuid::Uuid;

use super::driver::Driver;
use super::drivers::greffe::{Greffe, Member};
use super::generator::{self, Measured, Task, Text};
use super::ledger::Crowd;
use super::prepare::{create, join, people, register};
use super::workload::{Pace, Rooms, TEXT_BYTES};
use crate::cpu;
use crate::words::{Chance, Vocabulary};

/// The same as workload `p`: durable sends, as fast as it goes.
const CROWD: Crowd = Crowd {
    users: 20,
    rooms: 10,
    senders: 2,
    stalled: 0,
    late: 0,
};
const WINDOW: u32 = 128;
/// Messages in the room that has few.
const FEW: u32 = 1000;
/// Bytes of each of them, of words.
const FEW_BYTES: usize = 100;

/// Who talks and who reads. Can be kept beside the server's directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Talkers {
    /// The token of each, and their room.
    members: Vec<(String, String)>,
    /// The token of who is in all rooms.
    pub(crate) reader: String,
    /// The rooms that are talked in.
    pub(crate) rooms: Vec<String>,
    /// A room of the reader's alone, with few messages, which are the oldest of all.
    pub(crate) quiet: String,
}

/// How fast they talk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Speed {
    /// As fast as it goes.
    Full,
    /// This many messages a second in all.
    PerSecond(f64),
}

/// How they talk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    /// How fast.
    pub(crate) speed: Speed,
    /// How long, before it counts and then.
    pub(crate) times: [Duration; 2],
    /// After how many messages they stop, if that comes first.
    pub(crate) most: u64,
    /// What they say begins with this chance; another number, other words.
    pub(crate) seed: u64,
    /// The generator's core.
    pub(crate) core: usize,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Said {
    /// Messages within the time that counts.
    pub(crate) sends: u64,
    /// Messages in all.
    pub(crate) all_sends: u64,
    /// Nanoseconds until each receiver had a message.
    pub(crate) latency: Histogram<u64>,
    /// Processor time within the time that counts: the server's, the generator's, and everything else's.
    pub(crate) server_time: Duration,
    pub(crate) own_time: Duration,
    pub(crate) others_time: Duration,
    /// What went wrong.
    problem: Option<String>,
}

impl Said {
    /// Refuses what lost or doubled something, or broke off.
    pub(crate) fn good(self) -> anyhow::Result<Self> {
        match &self.problem {
            None => Ok(self),
            Some(problem) => bail!("the talkers broke off, or something was lost: {problem}"),
        }
    }
}

impl Talkers {
    /// Makes them, their rooms, and the messages of the quiet one.
    pub(crate) async fn register(address: SocketAddr) -> anyhow::Result<Self> {
        let members = people(address, CROWD, Rooms::Public).await?;
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let reader = register(channel.clone(), CROWD.users).await?;
        let rooms: Vec<String> = members[..CROWD.rooms as usize]
            .iter()
            .map(|member| member.room.clone())
            .collect();
        for room in &rooms {
            join(RoomServiceClient::new(channel.clone()), reader.clone(), room.clone()).await?;
        }
        let mut client = RoomServiceClient::new(channel.clone());
        let quiet = create(&mut client, &reader, CROWD.rooms).await?;
        let (vocabulary, mut chance) = (Vocabulary::new(), Chance::new(0));
        let mut client = ChatServiceClient::new(channel);
        for _ in 0..FEW {
            let mut text = vec![0; FEW_BYTES];
            vocabulary.fill(&mut text, &mut chance);
            let request = SendMessageRequest {
                request_id: Uuid::now_v7().to_string(),
                room_id: quiet.clone(),
                text: String::from_utf8(text).context("words are UTF-8")?,
                reply_to_seq: 0,
            };
            client.send_message(reader.request(request)?).await?;
        }
        Ok(Self {
            members: members.into_iter().map(|member| (member.token, member.room)).collect(),
            reader: reader.token,
            rooms,
            quiet,
        })
    }

    /// Has them talk on the server at `server` (address and process). The calling thread is the load generator, and on its core for it.
    pub(crate) fn talk(&self, server: (SocketAddr, u32), how: Talk) -> anyhow::Result<Said> {
        let task = Task {
            crowd: CROWD,
            pace: match how.speed {
                Speed::Full => Pace::Window(WINDOW),
                Speed::PerSecond(rate) => Pace::PerSecond(rate),
            },
            warm_up: how.times[0],
            measure: how.times[1],
            most: how.most,
            text: Text::Words(how.seed),
            address: server.0,
            pid: server.1,
        };
        let drivers = self.members.iter().map(|(token, room)| {
            let member = Member {
                token: token.clone(),
                room: room.clone(),
                hello: Hello {
                    client_name: "greffe-bench".to_owned(),
                    ..Hello::default()
                },
            };
            Box::new(Greffe::new(&member, TEXT_BYTES)) as Box<dyn Driver>
        });
        let drivers = drivers.collect();
        let measured = cpu::pinned(&[how.core], || generator::run(task, drivers))?;
        let problem = problem(&measured);
        Ok(Said {
            sends: measured.sends,
            all_sends: measured.all_sends,
            latency: measured.latency,
            server_time: measured.server_time,
            own_time: measured.own_time,
            others_time: measured.others_time,
            problem,
        })
    }
}

fn problem(measured: &Measured) -> Option<String> {
    let number = measured.unanswered;
    measured
        .failure
        .clone()
        .or_else(|| (!measured.verdict.is_good()).then(|| format!("{:?}", measured.verdict)))
        .or_else(|| (number > 0).then(|| format!("{number} sends without an answer, or with more than one")))
}
