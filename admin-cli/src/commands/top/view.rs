//! What the live view shows: the server in a few lines, then its live streams, the busiest first.

use std::collections::HashMap;

use greffe::admin_api::{AdminSession, LiveStream, ServerStatus};
use greffe::terminal::text::visible;
use greffe::terminal::time;
use jiff::Timestamp;

use crate::commands::status;
use crate::output::{address_and_port, bytes};
use crate::span;

/// A stream, as far as it can be known again: its connection, and when it was opened.
type StreamKey = (i64, Option<Timestamp>);

/// What is remembered from one look to the next, to tell how fast bytes flow.
#[derive(Debug, Default)]
pub(super) struct View {
    sent: HashMap<StreamKey, i64>,
    at: Option<Timestamp>,
}

struct Row<'a> {
    session: &'a AdminSession,
    stream: &'a LiveStream,
    /// Bytes a second since the last look.
    rate: i64,
}

impl View {
    /// The lines to show, at most `height`; safe to show.
    pub(super) fn lines(&mut self, status: &ServerStatus, sessions: &[AdminSession], height: usize) -> Vec<String> {
        let now = time::instant(status.time.as_ref());
        let passed = match (self.at, now) {
            (Some(before), Some(now)) => now.duration_since(before).as_millis(),
            _ => 0,
        };
        let key = |stream: &LiveStream| (stream.connection, time::instant(stream.opened_at.as_ref()));
        let mut rows: Vec<Row<'_>> = Vec::new();
        for session in sessions {
            for stream in &session.streams {
                let before = self.sent.get(&key(stream)).copied().unwrap_or(stream.sent_bytes);
                let more = i128::from(stream.sent_bytes.saturating_sub(before).max(0));
                let rate = (more * 1000).checked_div(passed.max(0)).unwrap_or(0);
                rows.push(Row {
                    session,
                    stream,
                    rate: i64::try_from(rate).unwrap_or(i64::MAX),
                });
            }
        }
        if passed != 0 || self.at.is_none() {
            self.at = now;
            self.sent = rows.iter().map(|row| (key(row.stream), row.stream.sent_bytes)).collect();
        }
        rows.sort_by_key(|row| (-row.rate, -row.stream.queued_bytes, &row.session.user_name));
        let mut lines = head(status);
        lines.extend(rows.iter().map(|row| line(row, now)));
        lines.truncate(height.max(1));
        lines
    }
}

fn head(status: &ServerStatus) -> Vec<String> {
    let rates = status.rates.unwrap_or_default();
    vec![
        format!(
            "{} at {}   up {}   {}   (q quits)",
            visible(&status.version),
            visible(&status.listen),
            span::brief(status::uptime(status)),
            status::state(status)
        ),
        format!(
            "users {} ({} online)   sessions {}   streams {}   connections {}   rooms {}   rows {}",
            status.users,
            status.users_online,
            status.sessions,
            status.streams,
            status.connections,
            status.rooms,
            status.rows
        ),
        format!(
            "a second, over a minute: rows {:.1}   deliveries {:.1}   logins {:.1}   refused {:.1}",
            rates.rows, rates.deliveries, rates.logins, rates.login_refusals
        ),
        format!(
            "waiting: to be written {}   for slow readers {}   to be searchable {}   disk left {}",
            status.writer_queue,
            bytes(status.mailbox_bytes),
            status.search_lag,
            bytes(status.disk_free_bytes)
        ),
        String::new(),
        format!(
            "{:<20} {:<24} {:>8} {:>12} {:>12} {:>12}  {}",
            "USER", "FROM", "FOR", "SENT", "A SECOND", "QUEUED", "CLIENT"
        ),
    ]
}

fn line(row: &Row<'_>, now: Option<Timestamp>) -> String {
    let Row { session, stream, rate } = row;
    let opened = time::instant(stream.opened_at.as_ref());
    let open = match (opened, now) {
        (Some(opened), Some(now)) => span::brief(now.duration_since(opened).try_into().unwrap_or_default()),
        _ => String::new(),
    };
    let state = if stream.catching_up { " (catching up)" } else { "" };
    format!(
        "{:<20.20} {:<24} {open:>8} {:>12} {:>12} {:>12}  {}{state}",
        visible(&session.user_name),
        visible(&address_and_port(&stream.address, stream.port)),
        bytes(stream.sent_bytes),
        bytes(*rate),
        bytes(stream.queued_bytes),
        visible(&session.client)
    )
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp as Wire;

    use super::*;

    fn status(seconds: i64) -> ServerStatus {
        ServerStatus {
            time: Some(Wire { seconds, nanos: 0 }),
            ..ServerStatus::default()
        }
    }

    fn session(user: &str, connection: i64, sent_bytes: i64) -> AdminSession {
        AdminSession {
            user_name: user.into(),
            streams: vec![LiveStream {
                connection,
                sent_bytes,
                address: "10.0.0.7".into(),
                port: 5,
                ..LiveStream::default()
            }],
            ..AdminSession::default()
        }
    }

    #[test]
    fn the_busiest_streams_come_first() {
        let mut view = View::default();
        view.lines(&status(10), &[session("ann", 1, 0), session("bob", 2, 0)], 50);
        let lines = view.lines(&status(12), &[session("ann", 1, 100), session("bob", 2, 4096)], 50);
        assert!(lines[6].starts_with("bob") && lines[6].contains("2.0 KiB"), "{lines:?}");
        assert!(lines[7].starts_with("ann") && lines[7].contains("50 B"), "{lines:?}");
    }

    #[test]
    fn no_more_lines_than_fit() {
        let sessions: Vec<_> = (0..100).map(|number| session("u", number, 0)).collect();
        assert_eq!(View::default().lines(&status(1), &sessions, 10).len(), 10);
    }
}
