//! Pairs of people with a room between them, for what is measured beside a conversation.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use hdrhistogram::Histogram;

use super::driver::Driver;
use super::drivers::greffe::{Greffe, Member};
use super::generator::{self, Task, Text};
use super::ledger::Crowd;
use super::prepare::people;
use super::workload::{Pace, Rooms, TEXT_BYTES};
use crate::cpu;

/// People on a server, each of whom talks directly with one other.
#[derive(Debug)]
pub(crate) struct Pairs {
    members: Vec<Member>,
    pairs: u32,
}

impl Pairs {
    /// Registers them.
    pub(crate) async fn register(address: SocketAddr, pairs: u32) -> anyhow::Result<Self> {
        let crowd = Crowd {
            users: 2 * pairs,
            rooms: pairs,
            senders: 2,
            stalled: 0,
            late: 0,
        };
        let members = people(address, crowd, Rooms::Direct).await?;
        Ok(Self { members, pairs })
    }

    /// The two of a pair.
    fn pair(&self, pair: u32) -> [&Member; 2] {
        [pair, pair + self.pairs].map(|user| &self.members[user as usize])
    }

    /// The tokens of the two of a pair.
    pub(crate) fn tokens(&self, pair: u32) -> [String; 2] {
        self.pair(pair).map(|member| member.token.clone())
    }

    /// The room of a pair.
    pub(crate) fn room(&self, pair: u32) -> String {
        self.pair(pair)[0].room.clone()
    }

    /// Has one of a pair ask `rate` questions a second, which the other answers at once; returns how many nanoseconds each message took from
    /// when it was due. The calling thread is the load generator, and stays on `core` for it.
    pub(crate) fn talk(
        &self,
        pair: u32,
        rate: f64,
        server: (SocketAddr, u32),
        core: usize,
        times: [Duration; 2],
    ) -> anyhow::Result<Histogram<u64>> {
        let task = Task {
            crowd: Crowd {
                users: 2,
                rooms: 1,
                senders: 2,
                stalled: 0,
                late: 0,
            },
            pace: Pace::Questions(rate),
            warm_up: times[0],
            measure: times[1],
            most: u64::MAX,
            text: Text::Same,
            address: server.0,
            pid: server.1,
        };
        let drivers = self.pair(pair).into_iter();
        let drivers = drivers.map(|member| Box::new(Greffe::new(member, TEXT_BYTES)) as Box<dyn Driver>);
        let drivers = drivers.collect();
        let measured = cpu::pinned(&[core], || generator::run(task, drivers))?;
        if let Some(failure) = measured.failure {
            bail!("the conversation ended: {failure}");
        }
        if !measured.verdict.is_good() || measured.unanswered > 0 {
            bail!(
                "the conversation lost something: {:?}, {} without an answer",
                measured.verdict,
                measured.unanswered
            );
        }
        Ok(measured.latency)
    }
}
