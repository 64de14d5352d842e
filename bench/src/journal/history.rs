//! Pages of history, of the size that a client gets that asks for none in particular.

use super::ask::{Client, Question};
use super::case::{COLUMNS, Manner, measure};
use super::{Bench, wait_for};
use crate::words::Chance;
use crate::{report, ui};

/// Messages of a page: the server's `limits.page_default`.
const PAGE: i64 = 100;
/// Clients who ask at once.
const CROWD: usize = 8;
/// Pages a second, and messages a second beside them.
const PAGES: f64 = 50.0;
const SENDS: f64 = 1000.0;

/// Which pages.
#[derive(Clone, Copy, Debug)]
enum Place {
    Newest,
    Anywhere,
}

/// Measures them and prints a table.
pub(super) fn run(bench: &Bench<'_>) -> anyhow::Result<()> {
    let server = bench.serve(&bench.home.data())?;
    let talkers = &bench.home.notes()?.talkers;
    let heads = wait_for(async {
        let client = Client::connect(server.address, &talkers.reader).await?;
        let mut heads = Vec::new();
        for room in &talkers.rooms {
            heads.push((room.clone(), client.head_seq(room).await?));
        }
        Ok::<_, anyhow::Error>(heads)
    })?;
    let mut records = Vec::new();
    for round in 1..=bench.args.runs {
        for (manner, load, how) in [
            (Manner::InTurn(1), None, "one client"),
            (Manner::InTurn(CROWD), None, "8 clients at once"),
            (Manner::PerSecond(PAGES), None, "50 a second"),
            (
                Manner::PerSecond(PAGES),
                Some(SENDS),
                "50 a second beside 1,000 sends/s",
            ),
        ] {
            for (place, what) in [(Place::Newest, "newest page"), (Place::Anywhere, "any page")] {
                let mut chance = Chance::new(round.into());
                let next = || {
                    let (room, head) = &heads[chance.below(heads.len() as u32) as usize];
                    let middle = PAGE + 1 + (chance.share() * (head - PAGE) as f64) as i64;
                    Question::Page {
                        room: room.clone(),
                        before: match place {
                            Place::Newest => None,
                            Place::Anywhere => Some(middle),
                        },
                    }
                };
                let (answers, figures) = measure(bench, &server, manner, load, next)?;
                // What came before the first message of a room is no message.
                anyhow::ensure!(
                    answers.fewest > PAGE as usize / 2,
                    "a page had only {} messages",
                    answers.fewest
                );
                records.push(bench.record("h history", &format!("{what}, {how}"), round, figures)?);
            }
        }
    }
    server.stop()?;
    ui::print(&report::list("h: pages of 100 messages", &records, &COLUMNS))
}
