//! Counts the connections that are refused or closed early, and logs them at most once a second for each cause.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::telemetry;

/// Time between two log lines about the same cause.
const QUIET: Duration = Duration::from_secs(1);

/// Why a connection is refused or closed early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server has as many connections as it may have.
    Full,
    /// Its address has too many on which nobody has logged in, waiting ones included.
    Address,
    /// It waited for others of its address, in vain.
    AddressWait,
    /// A trusted proxy's header cannot be read, or did not come in time.
    ProxyHeader,
    /// The TLS handshake failed.
    Handshake,
    /// The TLS handshake took too long.
    HandshakeTime,
    /// No HTTP/2 preface came in time.
    PrefaceTime,
    /// No request came in time.
    RequestTime,
    /// Nobody logged in in time, where only who logs in has a place.
    LoginTime,
    /// It took no bytes for too long.
    WriteStall,
    /// The system did not hand it over, for want of descriptors or memory.
    Accept,
}

/// Each cause's word for metrics, and its sentence for the log.
const CAUSES: [(Cause, &str, &str); 11] = [
    (
        Cause::Full,
        "full",
        "there are as many as there may be (limit connections; 64 of operators)",
    ),
    (
        Cause::Address,
        "address",
        "too many of their address have not logged in (limit connections_per_address)",
    ),
    (
        Cause::AddressWait,
        "address_wait",
        "others of their address did not log in (limit connections_per_address)",
    ),
    (
        Cause::ProxyHeader,
        "proxy_header",
        "a trusted proxy sent no readable PROXY header",
    ),
    (Cause::Handshake, "tls", "their TLS handshake failed"),
    (
        Cause::HandshakeTime,
        "tls_time",
        "their TLS handshake took too long (limit handshake_seconds)",
    ),
    (
        Cause::PrefaceTime,
        "preface_time",
        "they sent no HTTP/2 preface (limit handshake_seconds)",
    ),
    (
        Cause::RequestTime,
        "request_time",
        "they sent no request (limit handshake_seconds)",
    ),
    (
        Cause::LoginTime,
        "login_time",
        "nobody logged in on them at the operators' port",
    ),
    (
        Cause::WriteStall,
        "write_stall",
        "they took no bytes (limit write_stall_seconds)",
    ),
    (
        Cause::Accept,
        "accept",
        "the system could not hand them over; raise its limit of open files",
    ),
];

/// The connections that were refused or closed early.
#[derive(Debug, Default)]
pub(super) struct Refusals([Mutex<Since>; CAUSES.len()]);

/// What has happened since a cause's last log line.
#[derive(Debug, Default)]
struct Since {
    count: u64,
    line_at: Option<Instant>,
}

impl Refusals {
    /// Counts a connection, and writes a line unless there was one a moment ago.
    pub(super) fn add(&self, cause: Cause) {
        let Some((since, (_, word, sentence))) = self.0.iter().zip(CAUSES).find(|(_, (listed, _, _))| *listed == cause)
        else {
            return;
        };
        telemetry::connection_refused(word);
        if let Some(connections) = since.lock().unwrap_or_else(PoisonError::into_inner).line(Instant::now()) {
            tracing::warn!(
                connections,
                cause = word,
                "Closed {connections} connection(s): {sentence}"
            );
        }
    }
}

impl Since {
    /// Counts one; the number to log, if it is time for a line.
    fn line(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.line_at.is_some_and(|at| now.duration_since(at) < QUIET) {
            return None;
        }
        self.line_at = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_a_second_apart_and_none_is_left_out_of_the_count() {
        let mut since = Since::default();
        let start = Instant::now();
        assert_eq!(since.line(start), Some(1));
        for milliseconds in [0, 1, 500, 999] {
            assert_eq!(since.line(start + Duration::from_millis(milliseconds)), None);
        }
        assert_eq!(since.line(start + QUIET), Some(5));
        assert_eq!(since.line(start + QUIET * 5), Some(1));
    }

    #[test]
    fn every_cause_has_its_own_word() {
        for (i, (cause, word, _)) in CAUSES.iter().enumerate() {
            assert!(CAUSES[..i].iter().all(|(c, w, _)| c != cause && w != word), "{cause:?}");
        }
    }
}
