//! `greffe-admin status`

use std::time::Duration;

use greffe::admin_api::{GetStatusRequest, Rates, SelfCheck, ServerStatus};
use greffe::terminal::error::CommandError;
use greffe::terminal::time;
use greffe::{Error, Operator};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::bytes;
use crate::span;

/// Shows what the server is doing.
pub(crate) async fn run(context: &Context) -> Result<(), CommandError> {
    let status = ask(context.operator().await?).await?;
    if context.ui.is_json() {
        return context.ui.object(&object(&status));
    }
    let rows = lines(&status).into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    context.ui.table(&["WHAT", "NOW"], rows.collect())
}

/// Asks the server.
pub(crate) async fn ask(operator: &Operator) -> Result<ServerStatus, Error> {
    // An answer without the facts is one in which everything is zero, as the format of messages has it.
    Ok(operator.call(GetStatusRequest {}).await?.status.unwrap_or_default())
}

/// How long the server has been running, by its own clock.
pub(crate) fn uptime(status: &ServerStatus) -> Duration {
    match (
        time::instant(status.started_at.as_ref()),
        time::instant(status.time.as_ref()),
    ) {
        (Some(start), Some(now)) => now.duration_since(start).try_into().unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

/// The state of the server as a word or two.
pub(crate) fn state(status: &ServerStatus) -> String {
    match (&status.stop_at, status.draining) {
        (Some(_), _) => format!("stops at {}", time::day_and_time(status.stop_at.as_ref())),
        (None, true) => "draining: takes no new logins".to_owned(),
        (None, false) => "running".to_owned(),
    }
}

fn lines(status: &ServerStatus) -> Vec<(&'static str, String)> {
    let rates = status.rates.unwrap_or_default();
    vec![
        ("state", state(status)),
        ("version", status.version.clone()),
        ("up for", span::brief(uptime(status))),
        ("process", status.pid.to_string()),
        ("members connect to", status.listen.clone()),
        ("data directory", status.data_dir.clone()),
        ("journal", format!("{}, epoch {}", status.journal_id, status.epoch)),
        ("rows", status.rows.to_string()),
        ("users", format!("{}, {} online", status.users, status.users_online)),
        ("sessions", status.sessions.to_string()),
        (
            "streams",
            format!("{} over {} connections", status.streams, status.connections),
        ),
        ("rooms", status.rooms.to_string()),
        ("bans", status.bans.to_string()),
        ("open reports", status.open_reports.to_string()),
        ("database", bytes(status.database_bytes)),
        ("search index", bytes(status.search_bytes)),
        ("files", bytes(status.file_bytes)),
        ("disk left", bytes(status.disk_free_bytes)),
        ("waiting to be written", status.writer_queue.to_string()),
        ("waiting for slow readers", bytes(status.mailbox_bytes)),
        ("rows not yet searchable", status.search_lag.to_string()),
        ("rows a second", format!("{:.1}", rates.rows)),
        ("deliveries a second", format!("{:.1}", rates.deliveries)),
        (
            "logins a second",
            format!("{:.1}, refused {:.1}", rates.logins, rates.login_refusals),
        ),
        ("last self-check", self_check(status.self_check.as_ref())),
    ]
}

/// What the newest self-check found.
fn self_check(check: Option<&SelfCheck>) -> String {
    let Some(check) = check else {
        return "none since the start".to_owned();
    };
    let when = time::day_and_time(check.time.as_ref());
    if check.finding.is_empty() {
        format!("{when}: {} rows, in order", check.rows)
    } else {
        format!("{when}: NOT IN ORDER after {} rows: {}", check.rows, check.finding)
    }
}

fn object(status: &ServerStatus) -> Value {
    let Rates {
        rows,
        deliveries,
        logins,
        login_refusals,
    } = status.rates.unwrap_or_default();
    json!({
        "version": status.version,
        "started_at": time::json(status.started_at.as_ref()),
        "time": time::json(status.time.as_ref()),
        "journal_id": status.journal_id,
        "epoch": status.epoch,
        "rows": status.rows,
        "users": status.users,
        "users_online": status.users_online,
        "sessions": status.sessions,
        "streams": status.streams,
        "connections": status.connections,
        "rooms": status.rooms,
        "bans": status.bans,
        "open_reports": status.open_reports,
        "database_bytes": status.database_bytes,
        "search_bytes": status.search_bytes,
        "file_bytes": status.file_bytes,
        "disk_free_bytes": status.disk_free_bytes,
        "writer_queue": status.writer_queue,
        "mailbox_bytes": status.mailbox_bytes,
        "search_lag": status.search_lag,
        "rows_per_second": rows,
        "deliveries_per_second": deliveries,
        "logins_per_second": logins,
        "login_refusals_per_second": login_refusals,
        "draining": status.draining,
        "stop_at": time::json(status.stop_at.as_ref()),
        "data_dir": status.data_dir,
        "listen": status.listen,
        "pid": status.pid,
        "self_check": status.self_check.as_ref().map(|check| json!({
            "time": time::json(check.time.as_ref()),
            "rows": check.rows,
            "ok": check.finding.is_empty(),
            "finding": check.finding,
        })),
    })
}
