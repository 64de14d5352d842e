//! One kind of question, asked in one manner, beside nothing or while others talk.

use std::time::Duration;

use anyhow::Context as _;

use super::ask::{Answers, Client, Question, in_turn, per_second};
use super::{Bench, Figures, column, wait_for};
use crate::chat::{Speed, Talk};
use crate::cpu;
use crate::report::Column;
use crate::server::Process;

/// Connections that take turns at a fixed rate.
const CLIENTS: usize = 8;
/// How long the others talk before questions are asked.
const WARM_UP: Duration = Duration::from_secs(1);

/// What such a case's table has.
pub(super) const COLUMNS: [Column; 8] = [
    column("latency_p50", "p50 ms", 1e3),
    column("latency_p99", "p99 ms", 1e3),
    column("latency_p999", "p99.9 ms", 1e3),
    column("latency_max", "longest ms", 1e3),
    column("asked_per_second", "asked/s", 1.0),
    column("server_seconds_each", "server CPU ms each", 1e3),
    column("messages_each", "messages each", 1.0),
    column("sends_p99", "p99 ms of sends beside", 1e3),
];

/// How it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// Each of so many asks again when it has its answer.
    InTurn(usize),
    /// So many a second, whatever becomes of those before.
    PerSecond(f64),
}

/// Has `next`'s questions asked in the reader's name, beside `load` messages a second, if any.
pub(super) fn measure(
    bench: &Bench<'_>,
    server: &Process,
    manner: Manner,
    load: Option<f64>,
    next: impl FnMut() -> Question + Send,
) -> anyhow::Result<(Answers, Figures)> {
    let (address, pid) = (server.address, server.pid());
    let talkers = &bench.home.notes()?.talkers;
    let core = bench.args.load_core;
    let measure = bench.seconds();
    let ask = || {
        cpu::pin(&[core])?;
        wait_for(async {
            let number = match manner {
                Manner::InTurn(number) => number,
                Manner::PerSecond(_) => CLIENTS,
            };
            let mut clients = Vec::new();
            for _ in 0..number {
                clients.push(Client::connect(address, &talkers.reader).await?);
            }
            if load.is_some() {
                tokio::time::sleep(WARM_UP).await;
            }
            let before = (cpu::time_of(pid).context("the server is gone")?, cpu::own_time());
            let answers = match manner {
                Manner::InTurn(_) => in_turn(&clients, next, measure).await?,
                Manner::PerSecond(rate) => per_second(&clients, next, rate, measure).await?,
            };
            let after = (cpu::time_of(pid).context("the server is gone")?, cpu::own_time());
            let taken = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
            Ok::<_, anyhow::Error>((answers, taken))
        })
    };
    let (asked, said) = std::thread::scope(|scope| {
        let asking = scope.spawn(ask);
        let said = load.map(|rate| {
            let talk = Talk {
                speed: Speed::PerSecond(rate),
                times: [WARM_UP, measure],
                most: u64::MAX,
                seed: 1 << 48,
                core,
            };
            talkers.talk((address, pid), talk)?.good()
        });
        let asked = asking.join().map_err(|_| anyhow::anyhow!("who asked died"))?;
        Ok::<_, anyhow::Error>((asked?, said.transpose()?))
    })?;
    let (answers, (server_time, own_time)) = asked;
    let number = answers.times.len() as f64;
    let seconds = answers.elapsed.as_secs_f64();
    let at = |quantile: f64| answers.times.value_at_quantile(quantile) as f64 / 1e9;
    let mut figures = Figures::from([
        ("latency_p50", at(0.5)),
        ("latency_p99", at(0.99)),
        ("latency_p999", at(0.999)),
        ("latency_max", answers.times.max() as f64 / 1e9),
        ("asked", number),
        ("asked_per_second", number / seconds),
        ("messages_each", answers.messages as f64 / number),
        ("messages_least", answers.fewest as f64),
        ("clients_share", own_time.as_secs_f64() / seconds),
    ]);
    match said {
        None => {
            figures.insert("server_seconds_each", server_time.as_secs_f64() / number);
        }
        Some(said) => {
            figures.insert("sends_p50", said.latency.value_at_quantile(0.5) as f64 / 1e9);
            figures.insert("sends_p99", said.latency.value_at_quantile(0.99) as f64 / 1e9);
        }
    }
    Ok((answers, figures))
}
